//! Which partitions a fetcher asks for next. Pure.
//!
//! Where a copy ends is asked of its log each time; remembered is only who failed and must wait.

use std::collections::HashMap;
use std::time::Duration;

use crate::cluster::TopicPartition;
use crate::util::clock::Mono;
use crate::util::java;

/// The first pause of those that grow.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The pause after so many failures in a row: short at first, `longest` at last.
pub(super) fn growing(failures: u32, longest: Duration) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.min(20)).min(longest)
}

/// Partitions that wait after a failure.
#[derive(Debug, Default)]
pub(super) struct FetchProgress {
    waiting: HashMap<TopicPartition, Wait>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    until: Mono,
    failures: u32,
}

impl FetchProgress {
    /// Does not ask for it before `now + delay`.
    pub(super) fn delay(&mut self, id: &TopicPartition, now: Mono, delay: Duration) {
        let wait = Wait {
            until: now + delay,
            failures: 0,
        };
        self.waiting.insert(id.clone(), wait);
    }

    /// Asks for it again soon, and less soon each time, at last after `longest`.
    pub(super) fn retry(&mut self, id: &TopicPartition, now: Mono, longest: Duration) {
        let failures = self.waiting.get(id).map_or(0, |w| w.failures);
        let wait = Wait {
            until: now + growing(failures, longest),
            failures: failures.saturating_add(1),
        };
        self.waiting.insert(id.clone(), wait);
    }

    /// It was answered.
    pub(super) fn succeeded(&mut self, id: &TopicPartition) {
        if !self.waiting.is_empty() {
            self.waiting.remove(id);
        }
    }

    /// Forgets those that are not to be copied any more.
    pub(super) fn retain(&mut self, keep: impl Fn(&TopicPartition) -> bool) {
        self.waiting.retain(|id, _| keep(id));
    }

    /// Whether it may be asked for.
    pub(super) fn is_due(&self, id: &TopicPartition, now: Mono) -> bool {
        self.waiting.is_empty() || self.waiting.get(id).is_none_or(|w| now >= w.until)
    }

    /// When the first one that waits may be asked for.
    pub(super) fn next_due(&self) -> Option<Mono> {
        self.waiting.values().map(|w| w.until).min()
    }
}

/// Which of a broker's fetchers copies a partition: Kafka's hash, so that a log names the same one.
pub(super) fn fetcher_of(id: &TopicPartition, fetchers: usize) -> usize {
    let hash = java::string_hash(&id.topic);
    let hash = hash.wrapping_mul(31).wrapping_add(id.partition) & i32::MAX;
    usize::try_from(hash).unwrap_or(0) % fetchers.max(1)
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
        progress.succeeded(&a);
        assert_eq!(progress.next_due(), None);
    }

    #[test]
    fn a_leader_that_is_not_ready_is_asked_soon_and_then_less_often() {
        let mut progress = FetchProgress::default();
        let a = TopicPartition::new("t", 0);
        let longest = Duration::from_millis(100);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            progress.retry(&a, Mono::from_millis(0), longest);
            pauses.push(progress.next_due().unwrap().0.as_millis());
        }
        assert_eq!(pauses, [20, 40, 80, 100, 100]);
        assert_eq!(growing(u32::MAX, longest), longest);
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
}
