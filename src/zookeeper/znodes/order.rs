//! The order in which Scala 2.11's maps give their entries, which Kafka's JSON in ZooKeeper shows.
//!
//! Three kinds meet there: immutable maps of up to four entries keep the order of insertion, larger
//! ones walk a trie of mixed hash bits, and mutable maps walk their table from its last bucket to its
//! first. Configurations come from a Java table instead. Knows nothing of JSON.

use crate::cluster::TopicPartition;
use crate::util::java::string_hash;

/// The hash of Kafka's TopicAndPartition: MurmurHash3 over the fields of a Scala case class.
pub(crate) fn partition_hash(at: &TopicPartition) -> i32 {
    let mut h = 0xcafe_babe_u32;
    for field in [string_hash(&at.topic), at.partition] {
        let k = (field as u32).wrapping_mul(0xcc9e_2d51).rotate_left(15);
        h = (h ^ k.wrapping_mul(0x1b87_3593)).rotate_left(13);
        h = h.wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    h ^= 2;
    h = (h ^ h >> 16).wrapping_mul(0x85eb_ca6b);
    h = (h ^ h >> 13).wrapping_mul(0xc2b2_ae35);
    (h ^ h >> 16) as i32
}

/// What the trie of an immutable map makes of a hash before it takes five bits at a time.
fn trie_hash(hash: i32) -> u32 {
    let mut h = hash as u32;
    h = h.wrapping_add(!(h << 9));
    h ^= h >> 14;
    h = h.wrapping_add(h << 4);
    h ^ (h >> 10)
}

/// Orders distinct keys as an immutable map does that they were put into in the order given.
pub(crate) fn immutable<T>(items: Vec<T>, hash: impl Fn(&T) -> i32) -> Vec<T> {
    if items.len() <= 4 {
        return items;
    }
    let mut items = items;
    // A trie visits the lowest five bits first; reversing their groups makes that a number to sort by.
    items.sort_by_key(|item| {
        let h = trie_hash(hash(item));
        (0..7).fold(0u64, |key, level| {
            key << 5 | u64::from(h.checked_shr(level * 5).unwrap_or(0) & 31)
        })
    });
    items
}

/// Orders distinct keys as a mutable map does that they were put into in the order given.
pub(crate) fn mutable<T>(items: Vec<T>, hash: impl Fn(&T) -> i32) -> Vec<T> {
    let mut table: Vec<Vec<T>> = empty_table(16);
    for (count, item) in (1..).zip(items) {
        let size = table.len();
        // The newest entry of a bucket is its first.
        table[bucket(hash(&item), size)].insert(0, item);
        if count > size / 4 * 3 {
            let old = std::mem::replace(&mut table, empty_table(size * 2));
            for item in old.into_iter().rev().flatten() {
                table[bucket(hash(&item), size * 2)].insert(0, item);
            }
        }
    }
    table.into_iter().rev().flatten().collect()
}

/// Orders distinct keys as a `java.util.Properties` does (from Java 9 on a ConcurrentHashMap) that they
/// were put into in the order given.
pub(crate) fn properties<T>(items: Vec<T>, hash: impl Fn(&T) -> i32) -> Vec<T> {
    let spread = |item: &T| {
        let h = hash(item) as u32;
        (h ^ h >> 16) as usize
    };
    let mut table: Vec<Vec<T>> = empty_table(16);
    for (count, item) in (1..).zip(items) {
        let size = table.len();
        table[spread(&item) & (size - 1)].push(item);
        if count >= size / 4 * 3 {
            table = grown(table, spread);
        }
    }
    table.into_iter().flatten().collect()
}

/// A table of twice the size. Of each bucket, the entries at its end that go the same way keep their
/// order; those before them come out reversed.
fn grown<T>(table: Vec<Vec<T>>, spread: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let size = table.len();
    let mut larger = empty_table(size * 2);
    for (at, chain) in table.into_iter().enumerate() {
        let goes_up = |item: &T| spread(item) & size != 0;
        let Some(last) = chain.last().map(goes_up) else {
            continue;
        };
        let run = chain.iter().rev().take_while(|i| goes_up(i) == last).count();
        let kept_from = chain.len() - run;
        for (place, item) in chain.into_iter().enumerate() {
            let up = goes_up(&item);
            let target = &mut larger[if up { at + size } else { at }];
            if place < kept_from {
                target.insert(0, item);
            } else {
                target.push(item);
            }
        }
    }
    larger
}

fn empty_table<T>(size: usize) -> Vec<Vec<T>> {
    std::iter::repeat_with(Vec::new).take(size).collect()
}

/// The bucket of a hash in a table whose size is a power of two. The rotation stays that of a table of
/// 16, however large it has grown.
fn bucket(hash: i32, size: usize) -> usize {
    let ones = (size - 1) as u32;
    let mixed = (hash as u32)
        .wrapping_mul(0x9e37_75cd)
        .swap_bytes()
        .wrapping_mul(0x9e37_75cd)
        .rotate_right(4);
    (mixed >> ones.leading_zeros()) as usize & (size - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_tables_of_integers_are_walked_as_scala_walks_them() {
        let walk = |n: i32| mutable((0..n).collect(), |i| *i);
        assert_eq!(walk(2), [1, 0]);
        assert_eq!(walk(3), [2, 1, 0]);
        assert_eq!(walk(4), [2, 1, 3, 0]);
    }

    #[test]
    fn tables_grow_and_partitions_are_hashed_as_scala_does() {
        let partitions = |n: i32| (0..n).map(|p| TopicPartition::new("t", p)).collect::<Vec<_>>();
        let numbers = |all: Vec<TopicPartition>| all.iter().map(|at| at.partition).collect::<Vec<_>>();
        assert_eq!(partition_hash(&TopicPartition::new("t", 0)), -1_995_633_424);
        assert_eq!(partition_hash(&TopicPartition::new("orders", 7)), 545_584_988);
        let walked = numbers(mutable(partitions(14), partition_hash));
        assert_eq!(walked, [7, 8, 13, 6, 0, 1, 3, 4, 2, 11, 12, 9, 5, 10]);
        let walked = numbers(immutable(partitions(13), partition_hash));
        assert_eq!(walked, [1, 2, 12, 9, 3, 7, 0, 11, 5, 10, 4, 8, 6]);
        let ints = mutable((0..30).collect(), |i| *i);
        assert_eq!(ints[..12], [23, 8, 17, 26, 11, 29, 2, 20, 5, 14, 4, 13]);
    }

    #[test]
    fn larger_immutable_maps_of_strings_are_walked_by_hash() {
        let walk = |n: i32| -> Vec<String> {
            immutable((0..n).map(|i| i.to_string()).collect(), |s: &String| {
                string_hash(s)
            })
        };
        assert_eq!(walk(5), ["4", "1", "0", "2", "3"]);
        assert_eq!(walk(8), ["4", "5", "6", "1", "0", "2", "7", "3"]);
    }

    #[test]
    fn java_properties_keep_their_order_within_a_bucket_until_they_grow() {
        let names = [
            "cleanup.policy",
            "compression.type",
            "delete.retention.ms",
            "file.delete.delay.ms",
            "flush.messages",
            "flush.ms",
            "index.interval.bytes",
            "max.message.bytes",
            "min.cleanable.dirty.ratio",
            "min.insync.replicas",
            "preallocate",
            "retention.bytes",
            "retention.ms",
            "segment.bytes",
            "segment.index.bytes",
            "segment.jitter.ms",
            "segment.ms",
            "unclean.leader.election.enable",
        ];
        let written = [
            "compression.type",
            "file.delete.delay.ms",
            "max.message.bytes",
            "min.insync.replicas",
            "preallocate",
            "segment.jitter.ms",
            "index.interval.bytes",
            "min.cleanable.dirty.ratio",
            "unclean.leader.election.enable",
            "delete.retention.ms",
            "retention.bytes",
            "cleanup.policy",
            "flush.ms",
            "retention.ms",
            "segment.bytes",
            "segment.ms",
            "flush.messages",
            "segment.index.bytes",
        ];
        let read_back = [
            "compression.type",
            "file.delete.delay.ms",
            "max.message.bytes",
            "min.insync.replicas",
            "segment.jitter.ms",
            "preallocate",
            "min.cleanable.dirty.ratio",
            "index.interval.bytes",
            "unclean.leader.election.enable",
            "retention.bytes",
            "delete.retention.ms",
            "cleanup.policy",
            "flush.ms",
            "retention.ms",
            "segment.bytes",
            "segment.ms",
            "segment.index.bytes",
            "flush.messages",
        ];
        let hash = |name: &&str| string_hash(name);
        assert_eq!(properties(names.to_vec(), hash), written);
        assert_eq!(properties(immutable(written.to_vec(), hash), hash), read_back);
    }
}
