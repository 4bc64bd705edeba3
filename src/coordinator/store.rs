//! Message sets of the offsets topic's records. Pure; the shell appends them.

use bytes::BytesMut;

use super::effect::Store;
use super::error::Unstored;
use super::offsets::{Committed, Expired};
use super::schema::{group_key, put_offset_key, put_offset_value};
use crate::message::Offset;
use crate::message::builder::put_entry;

/// The largest group that is put into bytes at all; no topic takes a message of that size.
const GROUP_MAX: usize = 1 << 30;

/// Enough for the keys and values of most offsets.
const RECORD: usize = 128;

/// Tombstones go in sets of at most about so many bytes.
const TOMBSTONES: usize = 256 << 10;

/// What a group commits for one partition.
#[derive(Clone, Debug)]
pub struct Commitment {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// What.
    pub committed: Committed,
}

/// A record for each commitment, in their order.
pub fn commitments(group: &str, all: &[Commitment]) -> BytesMut {
    let (mut set, mut record) = (BytesMut::new(), BytesMut::with_capacity(RECORD));
    for (c, at) in all.iter().zip(0..) {
        record.clear();
        put_offset_key(&mut record, group, &c.topic, c.partition);
        let key = record.len();
        put_offset_value(&mut record, &c.committed);
        let (key, value) = record.split_at(key);
        put_entry(&mut set, at, 0, Some(key), Some(value));
    }
    set
}

/// A group's record.
///
/// # Errors
/// [`Unstored::TooLarge`]
pub fn group(store: &Store) -> Result<BytesMut, Unstored> {
    let sizes = store
        .record
        .members
        .iter()
        .map(|m| m.id.len() + m.client_id.len() + m.subscription.len() + m.assignment.len());
    if sizes.sum::<usize>() > GROUP_MAX {
        return Err(Unstored::TooLarge);
    }
    let mut set = BytesMut::new();
    let (key, value) = (group_key(&store.group), store.record.encode());
    put_entry(&mut set, 0, 0, Some(&key), Some(&value));
    Ok(set)
}

/// The tombstone of a group.
pub fn group_tombstone(group: &str) -> BytesMut {
    let mut set = BytesMut::new();
    put_entry(&mut set, 0, 0, Some(&group_key(group)), None);
    set
}

/// The tombstones of offsets, in sets of a moderate size.
pub fn tombstones(expired: &[Expired]) -> Vec<BytesMut> {
    let mut sets = vec![(BytesMut::new(), 0 as Offset)];
    let mut key = BytesMut::with_capacity(RECORD);
    for e in expired {
        if sets.last().is_some_and(|(set, _)| set.len() >= TOMBSTONES) {
            sets.push((BytesMut::new(), 0));
        }
        if let Some((set, at)) = sets.last_mut() {
            key.clear();
            put_offset_key(&mut key, &e.group, &e.topic, e.partition);
            put_entry(set, *at, 0, Some(&key), None);
            *at += 1;
        }
    }
    sets.into_iter()
        .map(|(set, _)| set)
        .filter(|s| !s.is_empty())
        .collect()
}
