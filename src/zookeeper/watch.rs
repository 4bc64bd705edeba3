//! One-shot watches: the promise that a change after a read will be told.
//!
//! The table lives in the session's core and outlives connections; knows no socket.

use std::collections::HashMap;

use tokio::sync::oneshot;

use crate::jute::event;

/// What a watch tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchedEvent {
    /// The node was made.
    Created,
    /// The node was removed.
    Deleted,
    /// The node's data was set.
    DataChanged,
    /// A child of the node was made or removed.
    ChildrenChanged,
    /// The session is over; all that was watched must be read again in the next one.
    SessionLost,
}

/// A watch that has not fired. Dropping it forgets it.
#[derive(Debug)]
pub struct Watch {
    pub(super) event: oneshot::Receiver<WatchedEvent>,
}

impl Watch {
    /// Returns what happened, once. Survives reconnections; ends with
    /// [`WatchedEvent::SessionLost`] when the session expires or is closed.
    pub async fn fired(self) -> WatchedEvent {
        self.event.await.unwrap_or(WatchedEvent::SessionLost)
    }
}

/// Which change of a node a watch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchKind {
    /// Data and being, of a node that is there.
    Data,
    /// Being, of a node that may not be there.
    Exist,
    /// The list of children.
    Child,
}

type Waiters = HashMap<String, Vec<oneshot::Sender<WatchedEvent>>>;

/// All watches of a session, by full path.
#[derive(Debug, Default)]
pub(super) struct WatchTable {
    data: Waiters,
    exist: Waiters,
    child: Waiters,
    /// Paths of which forgotten watches are swept out when this many are held.
    sweep_at: usize,
}

/// The paths to register again after a reconnection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WatchedPaths {
    pub(super) data: Vec<String>,
    pub(super) exist: Vec<String>,
    pub(super) child: Vec<String>,
}

impl WatchTable {
    /// Adds one.
    pub(super) fn add(&mut self, kind: WatchKind, path: String, waiter: oneshot::Sender<WatchedEvent>) {
        let held = self.data.len() + self.exist.len() + self.child.len();
        if held >= self.sweep_at.max(64) {
            self.sweep();
            self.sweep_at = 2 * (self.data.len() + self.exist.len() + self.child.len());
        }
        let waiters = match kind {
            WatchKind::Data => &mut self.data,
            WatchKind::Exist => &mut self.exist,
            WatchKind::Child => &mut self.child,
        };
        let waiters = waiters.entry(path).or_default();
        waiters.retain(|w| !w.is_closed());
        waiters.push(waiter);
    }

    /// Tells those who wait for this event of the server.
    pub(super) fn fire(&mut self, kind: i32, path: &str) {
        let (event, tables): (_, &mut [&mut Waiters]) = match kind {
            event::NODE_CREATED => (WatchedEvent::Created, &mut [&mut self.data, &mut self.exist]),
            event::NODE_DATA_CHANGED => (WatchedEvent::DataChanged, &mut [&mut self.data, &mut self.exist]),
            event::NODE_CHILDREN_CHANGED => (WatchedEvent::ChildrenChanged, &mut [&mut self.child]),
            event::NODE_DELETED => (
                WatchedEvent::Deleted,
                &mut [&mut self.data, &mut self.exist, &mut self.child],
            ),
            _ => return,
        };
        for table in tables {
            for waiter in table.remove(path).unwrap_or_default() {
                // Whoever dropped the watch does not want to know.
                let _ = waiter.send(event);
            }
        }
    }

    /// Tells everybody that the session is over.
    pub(super) fn session_lost(&mut self) {
        for table in [&mut self.data, &mut self.exist, &mut self.child] {
            for waiter in table.drain().flat_map(|(_, waiters)| waiters) {
                let _ = waiter.send(WatchedEvent::SessionLost);
            }
        }
    }

    /// The paths that somebody still waits for, sorted.
    pub(super) fn paths(&mut self) -> WatchedPaths {
        self.sweep();
        let sorted = |table: &Waiters| {
            let mut paths: Vec<String> = table.keys().cloned().collect();
            paths.sort_unstable();
            paths
        };
        WatchedPaths {
            data: sorted(&self.data),
            exist: sorted(&self.exist),
            child: sorted(&self.child),
        }
    }

    fn sweep(&mut self) {
        for table in [&mut self.data, &mut self.exist, &mut self.child] {
            table.retain(|_, waiters| {
                waiters.retain(|w| !w.is_closed());
                !waiters.is_empty()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(table: &mut WatchTable, kind: WatchKind, path: &str) -> oneshot::Receiver<WatchedEvent> {
        let (send, receive) = oneshot::channel();
        table.add(kind, path.into(), send);
        receive
    }

    #[test]
    fn an_event_reaches_those_who_wait_for_it_once() {
        let mut table = WatchTable::default();
        let mut data = watch(&mut table, WatchKind::Data, "/a");
        let mut child = watch(&mut table, WatchKind::Child, "/a");
        let mut exist = watch(&mut table, WatchKind::Exist, "/b");
        table.fire(event::NODE_CHILDREN_CHANGED, "/a");
        assert_eq!(child.try_recv(), Ok(WatchedEvent::ChildrenChanged));
        table.fire(event::NODE_DELETED, "/a");
        table.fire(event::NODE_CREATED, "/b");
        assert_eq!(data.try_recv(), Ok(WatchedEvent::Deleted));
        assert_eq!(exist.try_recv(), Ok(WatchedEvent::Created));
        assert_eq!(table.paths(), WatchedPaths::default());
    }

    #[test]
    fn forgotten_watches_are_neither_kept_nor_registered_again() {
        let mut table = WatchTable::default();
        let kept = watch(&mut table, WatchKind::Data, "/kept");
        for i in 0..10_000 {
            drop(watch(&mut table, WatchKind::Exist, &format!("/{i}")));
        }
        assert!(table.exist.len() < 200);
        assert_eq!(table.paths().data, ["/kept"]);
        assert!(table.paths().exist.is_empty());
        drop(kept);
    }
}
