//! Where requests wait that cannot be answered yet (kafka.server.DelayedOperation).
//!
//! A waiting request is its connection's own task, asleep: there is no other task, no reaper and no
//! queue. Its contract: it looks whether it is done after it has put itself on the lists, so no event is
//! missed; it is completed exactly once, as only its own task completes it, whether an event or the
//! deadline comes first; when it ends, however it ends, it is on no list.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::util::clock::{Clock, Mono};

/// Those who wait for one kind of event on one partition.
#[derive(Debug, Default)]
pub(super) struct WaitList {
    waiting: Mutex<HashMap<u64, Arc<Notify>>>,
}

impl WaitList {
    /// The event happened: everyone looks again.
    pub(super) fn wake(&self) {
        for one in self.lock().values() {
            one.notify_one();
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Who waits; the same request has the same number on every list.
    pub(super) fn ids(&self) -> Vec<u64> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Notify>>> {
        self.waiting.lock().expect("a holder of a wait list panicked")
    }
}

/// A place on several lists, given up when dropped.
struct Waiting<'a> {
    lists: Vec<&'a WaitList>,
    id: u64,
    event: Arc<Notify>,
}

impl<'a> Waiting<'a> {
    fn on(lists: Vec<&'a WaitList>) -> Waiting<'a> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let event = Arc::new(Notify::new());
        for list in &lists {
            list.lock().insert(id, event.clone());
        }
        Waiting { lists, id, event }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        for list in &self.lists {
            list.lock().remove(&self.id);
        }
    }
}

/// Waits until `done` says so, asking it at first and after each event on one of `lists`, or until
/// `deadline`. Returns whether it came true.
pub(super) async fn wait_until(
    lists: Vec<&WaitList>,
    clock: &Clock,
    deadline: Mono,
    mut done: impl FnMut() -> bool + Send,
) -> bool {
    let waiting = Waiting::on(lists);
    let expired = clock.sleep_until(deadline);
    tokio::pin!(expired);
    loop {
        if done() {
            return true;
        }
        if clock.now() >= deadline {
            return false;
        }
        tokio::select! {
            biased;
            () = waiting.event.notified() => {}
            () = &mut expired => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::*;
    use crate::util::clock::WallMs;

    struct Case {
        lists: [Arc<WaitList>; 2],
        flag: Arc<AtomicBool>,
        asked: Arc<AtomicU64>,
        clock: Clock,
        task: tokio::task::JoinHandle<bool>,
    }

    async fn waiting() -> Case {
        let lists = [Arc::new(WaitList::default()), Arc::new(WaitList::default())];
        let (flag, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clock = Clock::manual(WallMs(0));
        let task = tokio::spawn({
            let (lists, flag, asked, clock) = (lists.clone(), flag.clone(), asked.clone(), clock.clone());
            async move {
                let lists = lists.iter().map(|l| &**l).collect();
                wait_until(lists, &clock, Mono::from_millis(100), || {
                    asked.fetch_add(1, Ordering::SeqCst);
                    flag.load(Ordering::SeqCst)
                })
                .await
            }
        });
        while asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        Case {
            lists,
            flag,
            asked,
            clock,
            task,
        }
    }

    #[tokio::test]
    async fn an_event_on_any_list_that_makes_it_true_ends_the_wait_and_leaves_no_trace() {
        let case = waiting().await;
        case.lists[0].wake();
        while case.asked.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            case.lists[0].len(),
            1,
            "an event that changes nothing keeps it waiting"
        );
        case.flag.store(true, Ordering::SeqCst);
        case.lists[1].wake();
        assert!(case.task.await.unwrap());
        assert_eq!(case.lists[0].len() + case.lists[1].len(), 0);
    }

    #[tokio::test]
    async fn the_deadline_ends_it_and_asks_once_more() {
        let case = waiting().await;
        case.clock.advance(Duration::from_millis(100));
        assert!(!case.task.await.unwrap());
        let case = waiting().await;
        case.flag.store(true, Ordering::SeqCst);
        case.clock.advance(Duration::from_millis(100));
        assert!(case.task.await.unwrap(), "it came true, although nobody said so");
    }

    #[tokio::test]
    async fn a_client_that_goes_leaves_no_waiter_behind() {
        let case = waiting().await;
        case.task.abort();
        assert!(case.task.await.unwrap_err().is_cancelled());
        assert_eq!(case.lists[0].len() + case.lists[1].len(), 0);
    }

    #[tokio::test]
    async fn what_is_true_at_once_does_not_wait_even_past_its_deadline() {
        let clock = Clock::manual(WallMs(0));
        assert!(wait_until(Vec::new(), &clock, Mono::from_millis(0), || true).await);
        assert!(!wait_until(Vec::new(), &clock, Mono::from_millis(0), || false).await);
    }
}
