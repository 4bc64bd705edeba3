//! Random numbers for spreading load and choosing places; not for secrets.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A random number, different on each call: std seeds its hash maps so.
pub fn number() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A random number below `n`; 0 when `n` is 0.
pub fn below(n: usize) -> usize {
    match n {
        0 => 0,
        n => (number() % n as u64) as usize,
    }
}

/// Puts the items into a random order.
pub fn shuffle<T>(items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffling_keeps_the_items_and_reaches_every_order() {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10_000 {
            let mut items = [1, 2, 3];
            shuffle(&mut items);
            seen.insert(items);
        }
        assert_eq!(seen.len(), 6);
        assert_eq!(below(0), 0);
    }
}
