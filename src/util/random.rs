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

/// A random UUID in the usual 36 characters, lower-case.
pub fn uuid() -> String {
    let (high, low) = (number(), number());
    // Version 4 (random), variant 1.
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_the_form_of_a_random_one() {
        let parts: Vec<String> = uuid().split('-').map(str::to_owned).collect();
        assert_eq!(
            parts.iter().map(String::len).collect::<Vec<_>>(),
            [8, 4, 4, 4, 12]
        );
        assert!(parts[2].starts_with('4'));
        assert!(parts[3].starts_with(['8', '9', 'a', 'b']));
        assert!(
            parts
                .concat()
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        );
        assert_ne!(uuid(), uuid());
    }

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
