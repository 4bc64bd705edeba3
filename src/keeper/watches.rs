//! Watches: which connection wants to hear of which path.
//!
//! Two tables, one for data and being, one for lists of children. A connection stands in a table at
//! most once per path, with up to three modes: one-shot, persistent, and persistent for all below.
//! Nothing of this is stored; a connection that goes takes its watches along.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::jute::{AddWatchMode, WatcherKind, event};

use super::ConnId;
use super::path;
use super::tree::Change;

/// How a connection watches a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Modes {
    once: bool,
    persistent: bool,
    recursive: bool,
}

impl Modes {
    fn is_empty(self) -> bool {
        self == Modes::default()
    }
}

#[derive(Clone, Debug, Default)]
struct Table {
    by_path: HashMap<Arc<str>, BTreeMap<ConnId, Modes>>,
    by_conn: HashMap<ConnId, HashSet<Arc<str>>>,
    /// How many recursive watches there are: with none, parents need no look.
    recursive: usize,
}

impl Table {
    fn add(&mut self, path: &str, conn: ConnId, set: impl FnOnce(&mut Modes)) {
        let key: Arc<str> = match self.by_path.get_key_value(path) {
            Some((key, _)) => key.clone(),
            None => path.into(),
        };
        let watchers = self.by_path.entry(key.clone()).or_default();
        let modes = watchers.entry(conn).or_default();
        let before = modes.recursive;
        set(modes);
        self.recursive += usize::from(modes.recursive && !before);
        self.by_conn.entry(conn).or_default().insert(key);
    }

    fn remove(&mut self, path: &str, conn: ConnId) -> bool {
        let Some(watchers) = self.by_path.get_mut(path) else {
            return false;
        };
        let Some(modes) = watchers.remove(&conn) else {
            return false;
        };
        self.recursive -= usize::from(modes.recursive);
        if watchers.is_empty() {
            self.by_path.remove(path);
        }
        if let Some(paths) = self.by_conn.get_mut(&conn) {
            paths.remove(path);
            if paths.is_empty() {
                self.by_conn.remove(&conn);
            }
        }
        true
    }

    fn has(&self, path: &str, conn: ConnId) -> bool {
        self.by_path.get(path).is_some_and(|w| w.contains_key(&conn))
    }

    fn drop_conn(&mut self, conn: ConnId) {
        for path in self.by_conn.remove(&conn).unwrap_or_default() {
            if let Some(watchers) = self.by_path.get_mut(&path) {
                if let Some(modes) = watchers.remove(&conn) {
                    self.recursive -= usize::from(modes.recursive);
                }
                if watchers.is_empty() {
                    self.by_path.remove(&path);
                }
            }
        }
    }

    /// Who hears of `kind` at `path`. One-shot watches are gone afterwards.
    fn fire(&mut self, path: &str, kind: i32) -> BTreeSet<ConnId> {
        let mut heard = BTreeSet::new();
        let mut spent = Vec::new();
        if let Some(watchers) = self.by_path.get_mut(path) {
            for (conn, modes) in watchers {
                let recursive = modes.recursive && kind != event::NODE_CHILDREN_CHANGED;
                if modes.once || modes.persistent || recursive {
                    heard.insert(*conn);
                }
                modes.once = false;
                if modes.is_empty() {
                    spent.push(*conn);
                }
            }
        }
        for conn in spent {
            self.remove(path, conn);
        }
        if self.recursive > 0 && kind != event::NODE_CHILDREN_CHANGED {
            let mut at = path;
            while let Some(above) = path::parent(at).filter(|above| *above != at) {
                let watchers = self.by_path.get(above).into_iter().flatten();
                heard.extend(
                    watchers
                        .filter(|(_, modes)| modes.recursive)
                        .map(|(conn, _)| *conn),
                );
                at = above;
            }
        }
        heard
    }

    fn len(&self) -> usize {
        self.by_conn.values().map(HashSet::len).sum()
    }
}

/// An event for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fired {
    /// Who hears of it.
    pub(super) conn: ConnId,
    /// One of [`event`].
    pub(super) kind: i32,
    /// Where it happened.
    pub(super) path: Arc<str>,
}

/// All watches.
#[derive(Clone, Debug, Default)]
pub(super) struct Watches {
    data: Table,
    child: Table,
}

impl Watches {
    /// One event at the next change of data or being.
    pub(super) fn watch_data(&mut self, path: &str, conn: ConnId) {
        self.data.add(path, conn, |modes| modes.once = true);
    }

    /// One event at the next change of the list of children.
    pub(super) fn watch_children(&mut self, path: &str, conn: ConnId) {
        self.child.add(path, conn, |modes| modes.once = true);
    }

    /// Events until removed.
    pub(super) fn add(&mut self, path: &str, conn: ConnId, mode: AddWatchMode) {
        match mode {
            AddWatchMode::Persistent => {
                self.data.add(path, conn, |modes| modes.persistent = true);
                self.child.add(path, conn, |modes| modes.persistent = true);
            }
            AddWatchMode::PersistentRecursive => {
                self.data.add(path, conn, |modes| modes.recursive = true);
                self.child.add(path, conn, |modes| modes.recursive = true);
            }
        }
    }

    /// Whether the connection has such a watch.
    pub(super) fn has(&self, path: &str, conn: ConnId, kind: WatcherKind) -> bool {
        match kind {
            WatcherKind::Children => self.child.has(path, conn),
            WatcherKind::Data => self.data.has(path, conn),
            WatcherKind::Any => self.child.has(path, conn) || self.data.has(path, conn),
        }
    }

    /// Removes them; says whether there was one.
    pub(super) fn remove(&mut self, path: &str, conn: ConnId, kind: WatcherKind) -> bool {
        let child = kind != WatcherKind::Data && self.child.remove(path, conn);
        let data = kind != WatcherKind::Children && self.data.remove(path, conn);
        child || data
    }

    /// The connection is gone.
    pub(super) fn drop_conn(&mut self, conn: ConnId) {
        self.data.drop_conn(conn);
        self.child.drop_conn(conn);
    }

    /// What a change tells to whom, in ZooKeeper's order.
    pub(super) fn fire(&mut self, change: &Change, events: &mut Vec<Fired>) {
        let mut tell = |heard: BTreeSet<ConnId>, kind: i32, path: &Arc<str>| {
            events.extend(heard.into_iter().map(|conn| Fired {
                conn,
                kind,
                path: path.clone(),
            }));
        };
        let path = match change {
            Change::DataChanged(path) => {
                let kind = event::NODE_DATA_CHANGED;
                return tell(self.data.fire(path, kind), kind, path);
            }
            Change::Created(path) => {
                let kind = event::NODE_CREATED;
                tell(self.data.fire(path, kind), kind, path);
                path
            }
            Change::Deleted(path) => {
                let kind = event::NODE_DELETED;
                let told = self.data.fire(path, kind);
                let also = self.child.fire(path, kind);
                let rest = also.difference(&told).copied().collect();
                tell(told, kind, path);
                tell(rest, kind, path);
                path
            }
        };
        if let Some(parent) = path::parent(path) {
            let kind = event::NODE_CHILDREN_CHANGED;
            let heard = self.child.fire(parent, kind);
            if !heard.is_empty() {
                tell(heard, kind, &parent.into());
            }
        }
    }

    /// All watches in both tables.
    pub(super) fn len(&self) -> usize {
        self.data.len() + self.child.len()
    }

    /// Watches on data: connections, paths, and pairs of both.
    pub(super) fn data_counts(&self) -> (usize, usize, usize) {
        (self.data.by_conn.len(), self.data.by_path.len(), self.data.len())
    }

    /// Watches on data by connection, in order.
    pub(super) fn data_by_conn(&self) -> BTreeMap<ConnId, BTreeSet<&str>> {
        let by_conn = self.data.by_conn.iter();
        by_conn
            .map(|(conn, paths)| (*conn, paths.iter().map(|p| &**p).collect()))
            .collect()
    }

    /// Watches on data by path, in order.
    pub(super) fn data_by_path(&self) -> BTreeMap<&str, Vec<ConnId>> {
        let by_path = self.data.by_path.iter();
        by_path
            .map(|(path, watchers)| (&**path, watchers.keys().copied().collect()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnId = ConnId(1);
    const B: ConnId = ConnId(2);

    fn fire(w: &mut Watches, change: Change) -> Vec<(u64, i32, String)> {
        let mut events = Vec::new();
        w.fire(&change, &mut events);
        events
            .into_iter()
            .map(|e| (e.conn.0, e.kind, e.path.to_string()))
            .collect()
    }

    fn told(conn: ConnId, kind: i32, path: &str) -> (u64, i32, String) {
        (conn.0, kind, path.to_owned())
    }

    #[test]
    fn a_one_shot_watch_fires_once() {
        let mut w = Watches::default();
        w.watch_data("/a", A);
        w.watch_data("/a", A);
        assert_eq!(w.len(), 1);
        let changed = Change::DataChanged("/a".into());
        assert_eq!(
            fire(&mut w, changed.clone()),
            [told(A, event::NODE_DATA_CHANGED, "/a")]
        );
        assert!(fire(&mut w, changed).is_empty());
        assert_eq!(w.len(), 0);
    }

    #[test]
    fn a_delete_tells_each_connection_once_and_then_the_parents_watchers() {
        let mut w = Watches::default();
        w.watch_data("/a", A);
        w.watch_children("/a", A);
        w.watch_children("/a", B);
        w.watch_children("/", A);
        assert_eq!(
            fire(&mut w, Change::Deleted("/a".into())),
            [
                told(A, event::NODE_DELETED, "/a"),
                told(B, event::NODE_DELETED, "/a"),
                told(A, event::NODE_CHILDREN_CHANGED, "/"),
            ]
        );
        assert_eq!(w.len(), 0);
    }

    #[test]
    fn a_persistent_watch_stays_and_hears_of_children() {
        let mut w = Watches::default();
        w.add("/a", A, AddWatchMode::Persistent);
        for _ in 0..2 {
            assert_eq!(
                fire(&mut w, Change::Created("/a/b".into())),
                [told(A, event::NODE_CHILDREN_CHANGED, "/a")]
            );
        }
        assert!(w.remove("/a", A, WatcherKind::Any));
        assert!(!w.remove("/a", A, WatcherKind::Any));
    }

    #[test]
    fn a_recursive_watch_hears_of_all_below_but_not_of_lists() {
        let mut w = Watches::default();
        w.add("/a", A, AddWatchMode::PersistentRecursive);
        assert_eq!(
            fire(&mut w, Change::Created("/a/b/c".into())),
            [told(A, event::NODE_CREATED, "/a/b/c")]
        );
        assert_eq!(
            fire(&mut w, Change::Deleted("/a/b/c".into())),
            [told(A, event::NODE_DELETED, "/a/b/c")]
        );
        assert!(fire(&mut w, Change::Created("/ab".into())).is_empty());
        w.drop_conn(A);
        assert_eq!((w.len(), w.data.recursive, w.child.recursive), (0, 0, 0));
    }
}
