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

/// So many wake one another in a row: to wake another thread takes longer than to answer a partition's
/// followers on the one that has just appended. More are woken at once.
const IN_A_ROW: usize = 3;

/// Those who wait for one kind of event on one partition.
#[derive(Debug, Default)]
pub(super) struct WaitList {
    waiting: Mutex<HashMap<u64, Arc<Event>>>,
}

impl WaitList {
    /// The event happened: everyone looks again.
    pub(super) fn wake(&self) {
        let waiting = self.lock();
        if (2..=IN_A_ROW).contains(&waiting.len()) {
            let row = waiting.values().cloned().collect();
            drop(waiting);
            wake_in_a_row(row);
        } else {
            waiting.values().for_each(|one| one.notify.notify_one());
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

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Event>>> {
        self.waiting.lock().expect("a holder of a wait list panicked")
    }
}

/// How one request hears that it should look again.
#[derive(Debug)]
struct Event {
    notify: Notify,
    /// Whom it wakes when it wakes; `None` once it has ended and wakes nobody any more.
    row: Mutex<Option<Vec<Arc<Event>>>>,
}

impl Event {
    fn new() -> Arc<Event> {
        Arc::new(Event {
            notify: Notify::new(),
            row: Mutex::new(Some(Vec::new())),
        })
    }

    fn row(&self) -> MutexGuard<'_, Option<Vec<Arc<Event>>>> {
        self.row.lock().expect("a holder of a row panicked")
    }

    /// Wakes whom it was to wake.
    fn pass_on(&self) {
        let row = self.row().as_mut().map(std::mem::take);
        wake_in_a_row(row.unwrap_or_default());
    }

    /// As [`pass_on`](Event::pass_on), for the last time.
    fn end(&self) {
        let row = self.row().take();
        wake_in_a_row(row.unwrap_or_default());
    }
}

/// Wakes one of `row`, who wakes the others.
fn wake_in_a_row(mut row: Vec<Arc<Event>>) {
    while let Some(first) = row.pop() {
        // Who has ended wakes nobody: then the next one is the first.
        if let Some(behind) = &mut *first.row() {
            for one in row.drain(..) {
                // However often something happens before the first one looks, the row does not grow.
                if !behind.iter().any(|there| Arc::ptr_eq(there, &one)) {
                    behind.push(one);
                }
            }
            first.notify.notify_one();
        }
    }
}

/// A place on several lists, given up when dropped.
struct Waiting<'a> {
    lists: Vec<&'a WaitList>,
    id: u64,
    event: Arc<Event>,
}

impl<'a> Waiting<'a> {
    fn on(lists: Vec<&'a WaitList>) -> Waiting<'a> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let event = Event::new();
        for list in &lists {
            list.lock().insert(id, event.clone());
        }
        Waiting { lists, id, event }
    }

    /// Returns after the next event, when others have been woken who are to be woken by this one.
    async fn event(&self) {
        self.event.notify.notified().await;
        self.event.pass_on();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        for list in &self.lists {
            list.lock().remove(&self.id);
        }
        self.event.end();
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
            () = waiting.event() => {}
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

    /// Tasks that wait on `list` until they have looked twice.
    async fn looking_twice(list: &Arc<WaitList>, how_many: usize) -> Vec<tokio::task::JoinHandle<bool>> {
        let spawn = |_| {
            let list = list.clone();
            tokio::spawn(async move {
                let mut looks = 0;
                let done = || {
                    looks += 1;
                    looks == 2
                };
                let clock = Clock::manual(WallMs(0));
                wait_until(vec![&list], &clock, Mono::from_millis(1), done).await
            })
        };
        let tasks = (0..how_many).map(spawn).collect();
        while list.len() < how_many {
            tokio::task::yield_now().await;
        }
        tasks
    }

    #[tokio::test]
    async fn everyone_looks_again_after_one_event_however_many_they_are() {
        for how_many in 1..=IN_A_ROW + 2 {
            let list = Arc::new(WaitList::default());
            let tasks = looking_twice(&list, how_many).await;
            list.wake();
            for task in tasks {
                assert!(task.await.unwrap());
            }
        }
    }

    #[tokio::test]
    async fn who_goes_before_it_has_woken_the_next_one_does_so_in_going() {
        // Who is the first in the row is not known: each is, now and then.
        for round in 0..30 {
            let list = Arc::new(WaitList::default());
            let mut tasks = looking_twice(&list, IN_A_ROW).await;
            list.wake();
            let stays = tasks.swap_remove(round % IN_A_ROW);
            tasks.iter().for_each(|task| task.abort());
            assert!(stays.await.unwrap());
        }
    }

    #[tokio::test]
    async fn events_that_nobody_has_seen_yet_take_no_more_memory_than_one() {
        let list = Arc::new(WaitList::default());
        let tasks = looking_twice(&list, IN_A_ROW).await;
        (0..1000).for_each(|_| list.wake());
        for one in list.lock().values() {
            assert!(one.row().as_ref().unwrap().len() <= IN_A_ROW);
        }
        for task in tasks {
            assert!(task.await.unwrap());
        }
    }
}
