//! Which partition a record goes to: the rules of 0.9's new and old producer, which do not agree.
//! Pure; knows no record's content but the key.

use std::collections::HashMap;

use crate::util::random;

/// The hash of the new producer's keys: 32-bit murmur2 with Kafka's seed, blocks little-endian.
pub fn murmur2(bytes: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // Lengths are below 2^31 here; murmur2 takes them modulo 2^32 in any case.
    #[allow(clippy::cast_possible_truncation)]
    let mut h = SEED ^ (bytes.len() as u32);
    let mut blocks = bytes.chunks_exact(4);
    for block in &mut blocks {
        let mut k = u32::from_le_bytes([block[0], block[1], block[2], block[3]]).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = blocks.remainder();
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^= h >> 15;
    h.cast_signed()
}

/// `java.util.Arrays.hashCode` of the bytes, which the old producer's ByteArrayPartitioner uses.
pub fn java_bytes_hash(bytes: &[u8]) -> i32 {
    bytes.iter().fold(1, |h: i32, b| {
        h.wrapping_mul(31).wrapping_add(i32::from(b.cast_signed()))
    })
}

/// What a partitioner sees of a topic.
#[derive(Clone, Copy, Debug)]
pub struct Partitions<'a> {
    /// How many partitions there are; above 0.
    pub count: i32,
    /// Those that have a leader, in the metadata's order.
    pub available: &'a [i32],
}

/// The new producer's rule (DefaultPartitioner): murmur2 of the key over all partitions; without a
/// key round robin over those that have a leader, from a random start.
#[derive(Debug)]
pub struct RoundRobin {
    counter: i32,
}

impl Default for RoundRobin {
    fn default() -> Self {
        RoundRobin::starting_at(random_i32())
    }
}

impl RoundRobin {
    /// The first record without a key gets this number.
    pub fn starting_at(counter: i32) -> RoundRobin {
        RoundRobin { counter }
    }

    /// The record's partition.
    pub fn choose(&mut self, key: Option<&[u8]>, topic: Partitions<'_>) -> i32 {
        if let Some(key) = key {
            return positive(murmur2(key)) % topic.count;
        }
        let next = positive(self.counter);
        self.counter = self.counter.wrapping_add(1);
        match i32::try_from(topic.available.len()) {
            Ok(n) if n > 0 => {
                topic.available[usize::try_from(next % n).expect("a remainder of positives is not negative")]
            }
            _ => next % topic.count,
        }
    }
}

/// The old producer's rule: a key's Java hash; without a key one random partition that has a leader,
/// kept per topic until the metadata is fetched anew.
///
/// That all records without a key go to one partition for minutes is Kafka's.
#[derive(Debug, Default)]
pub struct Sticky {
    chosen: HashMap<String, i32>,
}

impl Sticky {
    /// The record's partition, or `None` while no partition of the topic has a leader.
    pub fn choose(&mut self, name: &str, key: Option<&[u8]>, topic: Partitions<'_>) -> Option<i32> {
        if let Some(key) = key {
            return Some(java_abs(java_bytes_hash(key)) % topic.count);
        }
        if let Some(chosen) = self.chosen.get(name) {
            return Some(*chosen);
        }
        let n = i32::try_from(topic.available.len()).ok().filter(|n| *n > 0)?;
        let index = usize::try_from(positive(random_i32()) % n).ok()?;
        let chosen = *topic.available.get(index)?;
        self.chosen.insert(name.to_owned(), chosen);
        Some(chosen)
    }

    /// Forgets every choice; called after each metadata refresh and each failed attempt.
    pub fn forget(&mut self) {
        self.chosen.clear();
    }
}

/// Kafka's Utils.toPositive: without the sign bit.
fn positive(n: i32) -> i32 {
    n & 0x7fff_ffff
}

/// Kafka's Utils.abs: the magnitude, 0 for the least number.
fn java_abs(n: i32) -> i32 {
    n.checked_abs().unwrap_or(0)
}

fn random_i32() -> i32 {
    random::number() as u32 as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_gives_kafkas_own_vectors() {
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("abc", 479_470_107),
            ("a-little-bit-long-string", -985_981_536),
        ] {
            assert_eq!(murmur2(text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn keys_go_over_all_partitions_whether_they_have_a_leader_or_not() {
        let mut p = RoundRobin::starting_at(0);
        for (count, expected) in [
            (3, [0, 2, 1, 1, 2, 2]),
            (2, [0, 1, 1, 1, 0, 1]),
            (4, [0, 3, 3, 3, 2, 3]),
        ] {
            let got: Vec<i32> = (1..=6i32)
                .map(|k| {
                    p.choose(
                        Some(&k.to_be_bytes()),
                        Partitions {
                            count,
                            available: &[1],
                        },
                    )
                })
                .collect();
            assert_eq!(got, expected, "{count} partitions");
        }
    }

    #[test]
    fn without_a_key_partitions_with_a_leader_take_turns_in_metadata_order() {
        let mut p = RoundRobin::starting_at(i32::MAX);
        let t = Partitions {
            count: 4,
            available: &[3, 0, 2],
        };
        // i32::MAX, then the wrap to i32::MIN (0 without its sign), 1, 2 ...
        let got: Vec<i32> = (0..5).map(|_| p.choose(None, t)).collect();
        assert_eq!(got, [0, 3, 0, 2, 3]);
        let none = Partitions {
            count: 4,
            available: &[],
        };
        assert_eq!(RoundRobin::starting_at(6).choose(None, none), 2);
    }

    #[test]
    fn the_old_producer_keeps_a_partition_until_told_to_forget() {
        let mut p = Sticky::default();
        let t = Partitions {
            count: 9,
            available: &[1, 4, 7],
        };
        let first = p.choose("t", None, t).unwrap();
        assert!((0..50).all(|_| p.choose("t", None, t) == Some(first)));
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            p.forget();
            seen.insert(p.choose("t", None, t).unwrap());
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [1, 4, 7]);
        assert_eq!(
            p.choose(
                "u",
                None,
                Partitions {
                    count: 2,
                    available: &[]
                }
            ),
            None
        );
    }

    #[test]
    fn the_old_producer_hashes_keys_as_java_hashes_byte_arrays() {
        assert_eq!(java_bytes_hash(b"abc"), 126_145);
        assert_eq!(java_bytes_hash(&[0xff]), 30);
        assert_eq!(java_bytes_hash(b""), 1);
        let t = Partitions {
            count: 4,
            available: &[],
        };
        assert_eq!(Sticky::default().choose("t", Some(b"abc"), t), Some(1));
        assert_eq!(java_abs(i32::MIN), 0);
    }
}
