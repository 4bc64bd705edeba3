//! The table of a cleaning: for each key of the dirty part the offset of its last message. Bounded by the
//! memory it is given, and never larger than its content needs.
//!
//! Keys are represented by 128 bits of keyed SipHash, drawn anew for each table: two keys meet with a chance
//! that no log is long enough for, and nobody can make them meet on purpose (0.9.0.1 takes MD5, where
//! anybody can). An entry has 24 bytes, as in 0.9.0.1, so that as much memory holds as many keys.
//!
//! The table is cut into shards that grow one at a time, so that growing needs little more than what is
//! there: at most a shard's worth beyond the bound.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::message::Offset;

/// Bytes of an entry.
pub(crate) const ENTRY_BYTES: usize = std::mem::size_of::<Entry>();
/// Slots that a shard has at least when the table is full grown, if there is more than one: few enough
/// entries would fall unevenly.
const SHARD_SLOTS: usize = 32 * 1024;
/// No more shards than these.
const MOST_SHARDS: usize = 64;
/// Slots that a shard begins with.
const FIRST_SLOTS: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct OffsetMap {
    first: RandomState,
    second: RandomState,
    shards: Vec<Shard>,
    /// Slots of a full-grown shard.
    shard_slots: usize,
    len: usize,
    capacity: usize,
}

/// A table with linear probing; at least one slot is free unless it has none.
#[derive(Debug, Default)]
struct Shard {
    slots: Vec<Entry>,
    used: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    hash: Hash,
    /// The offset plus one; 0 in a free slot.
    value: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hash(u64, u64);

impl OffsetMap {
    /// An empty table that will hold as many keys as `load_factor` of what fits `memory` bytes; at least
    /// one.
    pub(crate) fn new(memory: usize, load_factor: f64) -> OffsetMap {
        let slots = (memory / ENTRY_BYTES).max(2);
        let shards = (slots / SHARD_SLOTS).clamp(1, MOST_SHARDS);
        OffsetMap {
            first: RandomState::new(),
            second: RandomState::new(),
            shards: (0..shards).map(|_| Shard::default()).collect(),
            shard_slots: slots / shards,
            len: 0,
            capacity: ((slots as f64 * load_factor) as usize).clamp(1, slots - 1),
        }
    }

    /// Keys that it may hold.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Keys that it holds.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The share of its slots that are taken, from 0 to 1.
    pub(crate) fn utilization(&self) -> f64 {
        self.len as f64 / (self.shard_slots * self.shards.len()) as f64
    }

    /// Remembers the offset of a key in place of an earlier one, and returns true; or returns false and
    /// changes nothing if there is no room for one more key.
    #[must_use]
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let at = self.shard_of(hash);
        let full = self.len >= self.capacity;
        let shard = &mut self.shards[at];
        let found = shard.find(hash);
        if let Some(found) = found
            && shard.slots[found].value != 0
        {
            shard.slots[found].value = stored(offset);
            return true;
        }
        if full {
            return false;
        }
        let Some(free) = shard.make_room(hash, self.shard_slots, found) else {
            return false;
        };
        shard.slots[free] = Entry {
            hash,
            value: stored(offset),
        };
        shard.used += 1;
        self.len += 1;
        true
    }

    /// The offset of a key, if it is here.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Offset> {
        let hash = self.hash(key);
        let shard = &self.shards[self.shard_of(hash)];
        let value = shard.slots[shard.find(hash)?].value;
        value.checked_sub(1).map(u64::cast_signed)
    }

    fn hash(&self, key: &[u8]) -> Hash {
        let half = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            hasher.write(key);
            hasher.finish()
        };
        Hash(half(&self.first), half(&self.second))
    }

    fn shard_of(&self, hash: Hash) -> usize {
        scaled(hash.1, self.shards.len())
    }
}

impl Shard {
    /// The slot of `hash`, or the free one where it belongs; `None` only if there are no slots.
    fn find(&self, hash: Hash) -> Option<usize> {
        let mut at = match self.slots.len() {
            0 => return None,
            n => scaled(hash.0, n),
        };
        loop {
            let entry = &self.slots[at];
            if entry.value == 0 || entry.hash == hash {
                return Some(at);
            }
            at += 1;
            if at == self.slots.len() {
                at = 0;
            }
        }
    }

    /// A free slot for `hash`, which is at `free` as the shard is; the shard grows if it is rather full.
    /// `None` if it is full grown and full.
    fn make_room(&mut self, hash: Hash, most: usize, free: Option<usize>) -> Option<usize> {
        let slots = self.slots.len();
        if slots < most && self.used + 1 > slots / 4 * 3 {
            self.grow((slots * 2).clamp(FIRST_SLOTS, most.max(FIRST_SLOTS)));
            return self.find(hash);
        }
        // One slot stays free: it ends every search.
        free.filter(|_| self.used + 1 < slots)
    }

    fn grow(&mut self, slots: usize) {
        let before = std::mem::replace(&mut self.slots, vec![Entry::default(); slots]);
        for entry in before.into_iter().filter(|e| e.value != 0) {
            let free = self.find(entry.hash).expect("a grown shard has free slots");
            self.slots[free] = entry;
        }
    }
}

fn stored(offset: Offset) -> u64 {
    offset.cast_unsigned().saturating_add(1)
}

/// `hash` as a place among `n`.
fn scaled(hash: u64, n: usize) -> usize {
    ((u128::from(hash) * n as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn bytes(map: &OffsetMap) -> usize {
        map.shards.iter().map(|s| s.slots.capacity() * ENTRY_BYTES).sum()
    }

    #[test]
    fn what_was_put_last_is_found_and_nothing_else() {
        let mut map = OffsetMap::new(1 << 20, 0.9);
        let mut model = HashMap::new();
        for (n, key) in (0..30_000u64).map(|n| (n, format!("key {}", n * 7919 % 10_007))) {
            assert!(map.put(key.as_bytes(), n.cast_signed()));
            model.insert(key, n.cast_signed());
        }
        assert_eq!(map.len(), model.len());
        for (key, offset) in &model {
            assert_eq!(map.get(key.as_bytes()), Some(*offset));
        }
        for absent in ["", "key", "key 10007", "key -1"] {
            assert_eq!(map.get(absent.as_bytes()), None, "{absent}");
        }
        assert!(map.put(b"", 0));
        assert_eq!(
            map.get(b""),
            Some(0),
            "offset 0 and the empty key are as good as others"
        );
    }

    #[test]
    fn an_empty_table_finds_nothing_and_takes_no_memory() {
        let map = OffsetMap::new(128 << 20, 0.9);
        assert_eq!((map.get(b"x"), map.len(), bytes(&map)), (None, 0, 0));
        assert_eq!(map.capacity(), 5_033_164, "as many as 0.9.0.1's default");
    }

    #[test]
    fn it_takes_as_many_keys_as_its_load_allows_and_no_memory_beyond_its_bound() {
        for memory in [1 << 20, 3 << 20, 9 << 20] {
            let mut map = OffsetMap::new(memory, 0.9);
            let mut most = 0;
            let mut n = 0i64;
            while map.put(&n.to_be_bytes(), n) {
                n += 1;
                most = most.max(bytes(&map));
            }
            assert_eq!(map.len(), map.capacity(), "{memory}");
            assert!((map.utilization() - 0.9).abs() < 0.001);
            assert!(most <= memory, "{memory} {most}");
            assert!(map.put(&5i64.to_be_bytes(), 99), "a key that is there has room");
            assert_eq!(map.get(&5i64.to_be_bytes()), Some(99));
            assert_eq!(map.get(&n.to_be_bytes()), None);
            for n in [0, 1, n / 2, n - 1] {
                assert!(map.get(&n.to_be_bytes()).is_some());
            }
        }
    }

    #[test]
    fn few_keys_take_little_memory() {
        let mut map = OffsetMap::new(128 << 20, 0.9);
        for n in 0..10_000i64 {
            assert!(map.put(&n.to_be_bytes(), n));
        }
        assert!(bytes(&map) < 20_000 * ENTRY_BYTES * 2, "{}", bytes(&map));
    }

    #[test]
    fn odd_load_factors_are_brought_into_range() {
        for (load, capacity) in [(0.0, 1), (-1.0, 1), (f64::NAN, 1), (1.0, 9), (50.0, 9)] {
            let mut map = OffsetMap::new(10 * ENTRY_BYTES, load);
            assert_eq!(map.capacity(), capacity, "{load}");
            let taken = (0..20i64).filter(|n| map.put(&n.to_be_bytes(), *n)).count();
            assert_eq!(taken, capacity);
            assert_eq!(map.get(b"absent"), None);
        }
    }
}
