//! Which partitions a fetcher asks for next. Pure.
//!
//! Where a copy ends is asked of its log each time; remembered is only who failed and must wait.

use std::collections::HashMap;
use std::time::Duration;

use crate::cluster::TopicPartition;
use crate::util::clock::Mono;
use crate::util::java;

/// Partitions that wait after a failure.
#[derive(Debug, Default)]
pub(super) struct FetchProgress {
    delayed: HashMap<TopicPartition, Mono>,
}

impl FetchProgress {
    /// Does not ask for it before `now + delay`.
    pub(super) fn delay(&mut self, id: &TopicPartition, now: Mono, delay: Duration) {
        self.delayed.insert(id.clone(), now + delay);
    }

    /// Whether it may be asked for.
    pub(super) fn is_due(&mut self, id: &TopicPartition, now: Mono) -> bool {
        match self.delayed.get(id) {
            Some(until) if now < *until => false,
            Some(_) => {
                self.delayed.remove(id);
                true
            }
            None => true,
        }
    }

    /// When the first one that waits may be asked for.
    pub(super) fn next_due(&self) -> Option<Mono> {
        self.delayed.values().min().copied()
    }
}

/// Which of a broker's fetchers copies a partition: Kafka's hash, so that a log names the same one.
pub(super) fn fetcher_of(id: &TopicPartition, fetchers: usize) -> usize {
    let hash = java::string_hash(&id.topic);
    let hash = hash.wrapping_mul(31).wrapping_add(id.partition) & i32::MAX;
    usize::try_from(hash).unwrap_or(0) % fetchers.max(1)
}

/// What a follower whose end the leader does not know must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutOfRange {
    /// Cut the log to the leader's end.
    CutTo(i64),
    /// The leader's end is below, but the topic forbids to lose what is here.
    Forbidden,
    /// Drop everything and begin at the leader's first offset.
    StartAt(i64),
    /// The leader has the follower's end by now: ask again.
    Again,
}

/// Compares the copy's end with the leader's first and next offsets.
pub(super) fn out_of_range(mine: i64, leader_start: i64, leader_end: i64, may_lose: bool) -> OutOfRange {
    if leader_end < mine {
        if may_lose {
            OutOfRange::CutTo(leader_end)
        } else {
            OutOfRange::Forbidden
        }
    } else if leader_start > mine {
        OutOfRange::StartAt(leader_start)
    } else {
        OutOfRange::Again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_failed_waits_and_then_is_asked_for_again() {
        let mut progress = FetchProgress::default();
        let (a, b) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        let at = Mono::from_millis;
        progress.delay(&a, at(10), Duration::from_millis(5));
        assert!(!progress.is_due(&a, at(14)));
        assert!(progress.is_due(&b, at(14)));
        assert_eq!(progress.next_due(), Some(at(15)));
        assert!(progress.is_due(&a, at(15)));
        assert_eq!(progress.next_due(), None);
    }

    #[test]
    fn the_fetcher_is_chosen_by_kafkas_hash() {
        // "abc".hashCode() is 96354: 31 * 96354 + 2 = 2986976.
        assert_eq!(fetcher_of(&TopicPartition::new("abc", 2), 7), 2_986_976 % 7);
        assert_eq!(
            fetcher_of(&TopicPartition::new("a-long-topic-name-that-overflows", 3), 1),
            0
        );
    }

    #[test]
    fn a_copy_beyond_the_leaders_end_is_cut_if_it_may_and_one_before_its_start_begins_anew() {
        assert_eq!(out_of_range(10, 0, 8, true), OutOfRange::CutTo(8));
        assert_eq!(out_of_range(10, 0, 8, false), OutOfRange::Forbidden);
        assert_eq!(out_of_range(10, 12, 20, true), OutOfRange::StartAt(12));
        assert_eq!(out_of_range(10, 5, 20, true), OutOfRange::Again);
    }
}
