//! One ordered set of deadlines, for purgatories, sessions, heartbeats and idle connections.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use super::clock::Mono;

/// Keys with at most one deadline each, in order of time.
///
/// Does not read a clock: the owner asks for [`next`](Self::next), sleeps, and pops what is due.
#[derive(Clone, Debug)]
pub struct DeadlineQueue<K> {
    order: BTreeSet<(Mono, u64, K)>,
    places: HashMap<K, (Mono, u64)>,
    /// Keeps first come, first served among equal deadlines.
    sequence: u64,
}

impl<K: Clone + Ord + Hash> Default for DeadlineQueue<K> {
    fn default() -> Self {
        DeadlineQueue {
            order: BTreeSet::new(),
            places: HashMap::new(),
            sequence: 0,
        }
    }
}

impl<K: Clone + Ord + Hash> DeadlineQueue<K> {
    /// Gives `key` the deadline `at`, in place of any it had.
    pub fn set(&mut self, key: K, at: Mono) {
        self.remove(&key);
        self.sequence += 1;
        self.places.insert(key.clone(), (at, self.sequence));
        self.order.insert((at, self.sequence, key));
    }

    /// Takes `key` out; says whether it was there.
    pub fn remove(&mut self, key: &K) -> bool {
        match self.places.remove_entry(key) {
            Some((key, (at, seq))) => self.order.remove(&(at, seq, key)),
            None => false,
        }
    }

    /// The deadline of `key`.
    pub fn get(&self, key: &K) -> Option<Mono> {
        self.places.get(key).map(|(at, _)| *at)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Mono> {
        self.order.first().map(|(at, _, _)| *at)
    }

    /// Takes out and returns one key whose deadline is `now` or earlier, the earliest first.
    pub fn pop_due(&mut self, now: Mono) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, _, key) = self.order.pop_first()?;
        self.places.remove(&key);
        Some(key)
    }

    /// How many keys wait.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_deadline_and_ties_keep_their_order() {
        let mut q = DeadlineQueue::default();
        let at = Mono::from_millis;
        q.set("a", at(5));
        q.set("b", at(3));
        q.set("c", at(3));
        q.set("a", at(4));
        assert_eq!(q.next(), Some(at(3)));
        assert_eq!(q.pop_due(at(2)), None);
        assert_eq!(q.pop_due(at(9)), Some("b"));
        assert_eq!(q.pop_due(at(9)), Some("c"));
        assert!(q.remove(&"a"));
        assert!(!q.remove(&"a"));
        assert!(q.is_empty());
    }
}
