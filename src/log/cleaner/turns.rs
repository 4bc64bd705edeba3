//! Who may touch a log's rolled segments: the cleaner, or those who cut, shorten or delete the log. The
//! latter interrupt the former and wait until it has let go. Does not know what either of them does.
//!
//! ```text
//!            begin                 pause                  let go
//!   idle ------------> running ------------> interrupted ---------> paused
//!    ^                   | let go                                     |
//!    +-------------------+<-------------------- last pause over ------+
//! ```
//!
//! Pauses are counted: two truncations that overlap both have their peace (KAFKA-7441), and a pause ends
//! with its owner, also when that one fails (KAFKA-3123).

use std::sync::{Condvar, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::cluster::TopicPartition;
use crate::util::clock::Mono;

use super::TARGET;

/// The turns of one log.
#[derive(Debug)]
pub(crate) struct Turns {
    topic_partition: TopicPartition,
    state: Mutex<State>,
    /// Rings when the cleaner has let go.
    let_go: Condvar,
    /// Rings when the cleaner is to let go.
    interrupted: Notify,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    pauses: u32,
    /// No more cleaning, ever.
    ended: bool,
    set_aside: Option<SetAside>,
}

/// A log that could not be cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetAside {
    /// How often in a row it failed.
    pub(crate) failures: u32,
    /// When it is tried again.
    pub(crate) again: Mono,
}

impl Turns {
    /// Nobody's turn.
    pub(crate) fn new(topic_partition: TopicPartition) -> Turns {
        Turns {
            topic_partition,
            state: Mutex::default(),
            let_go: Condvar::new(),
            interrupted: Notify::new(),
        }
    }

    /// The cleaner's turn until the result is dropped; `None` if another cleans this log, or if it is
    /// paused.
    pub(crate) fn begin(&self) -> Option<Running<'_>> {
        let mut state = self.lock();
        if !is_free(&state) {
            return None;
        }
        state.running = true;
        Some(Running { turns: self })
    }

    /// Whether [`Self::begin`] would give the turn.
    pub(crate) fn is_free(&self) -> bool {
        is_free(&self.lock())
    }

    /// Interrupts the cleaner and keeps it off until the result is dropped. Returns when it has let go,
    /// which takes as long as it takes to copy one buffer or to sync one segment.
    ///
    /// Not to be called with the log's append lock held: the cleaner may be waiting for it.
    pub(crate) fn pause(&self) -> Paused<'_> {
        let mut state = self.lock();
        state.pauses += 1;
        let interrupted = self.wait_until_let_go(state);
        if interrupted {
            ::log::info!(target: TARGET, "The cleaning for partition {} is aborted and paused", self.topic_partition);
        }
        Paused {
            turns: self,
            interrupted,
        }
    }

    /// Interrupts the cleaner and keeps it off for good: the log is closed or goes.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        if self.wait_until_let_go(state) {
            ::log::info!(target: TARGET, "The cleaning for partition {} is aborted", self.topic_partition);
        }
    }

    /// How it stands with a log that could not be cleaned.
    pub(crate) fn set_aside(&self) -> Option<SetAside> {
        self.lock().set_aside
    }

    /// Leaves the log alone for a while; with `None` takes it up again. Something about it may have changed.
    pub(crate) fn put_aside(&self, until: Option<SetAside>) {
        self.lock().set_aside = until;
    }

    /// Whether there was somebody to wait for.
    fn wait_until_let_go(&self, mut state: MutexGuard<'_, State>) -> bool {
        let running = state.running;
        self.interrupted.notify_waiters();
        while state.running {
            state = self.let_go.wait(state).expect("a log's cleaner panicked");
        }
        running
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a log's cleaner panicked")
    }
}

fn is_free(state: &State) -> bool {
    !state.running && state.pauses == 0 && !state.ended
}

/// The cleaner's turn.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    turns: &'a Turns,
}

impl Running<'_> {
    /// Whether the cleaner is to let go.
    pub(crate) fn is_interrupted(&self) -> bool {
        let state = self.turns.lock();
        state.pauses > 0 || state.ended
    }

    /// Returns when the cleaner is to let go.
    pub(crate) async fn interrupted(&self) {
        let rings = self.turns.interrupted.notified();
        tokio::pin!(rings);
        rings.as_mut().enable();
        if !self.is_interrupted() {
            rings.await;
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.turns.lock().running = false;
        self.turns.let_go.notify_all();
    }
}

/// The turn of somebody who changes the log.
#[derive(Debug)]
pub(crate) struct Paused<'a> {
    turns: &'a Turns,
    interrupted: bool,
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        state.pauses -= 1;
        if self.interrupted && state.pauses == 0 && !state.ended {
            ::log::info!(target: TARGET, "Compaction for partition {} is resumed", self.turns.topic_partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn turns() -> Turns {
        Turns::new(TopicPartition::new("t", 0))
    }

    #[test]
    fn one_cleaner_at_a_time_and_none_while_paused() {
        let turns = turns();
        let running = turns.begin().unwrap();
        assert!(turns.begin().is_none());
        drop(running);
        let (one, two) = (turns.pause(), turns.pause());
        drop(one);
        assert!(turns.begin().is_none(), "the other pause lasts");
        drop(two);
        assert!(turns.is_free());
        turns.end();
        assert!(turns.begin().is_none());
    }

    #[test]
    fn a_pause_interrupts_and_waits_until_the_cleaner_has_let_go() {
        let turns = turns();
        let let_go = AtomicBool::new(false);
        let running = turns.begin().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _paused = turns.pause();
                assert!(let_go.load(Ordering::Relaxed));
            });
            while !running.is_interrupted() {
                std::thread::yield_now();
            }
            let_go.store(true, Ordering::Relaxed);
            drop(running);
        });
        assert!(turns.is_free(), "the pause is over with its owner");
    }

    #[test]
    fn an_interrupted_sleeper_wakes() {
        let turns = turns();
        let running = turns.begin().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| turns.end());
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(running.interrupted());
            drop(running);
        });
    }
}
