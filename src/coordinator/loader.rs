//! Reads what one partition of the offsets topic holds. Blocking; the shell runs it on a thread of its
//! own.
//!
//! Kafka reads up to the high watermark, which a new leader may not have raised yet: offsets that were
//! acknowledged stay unknown then. Here all is read that the new leader has: it never cuts its own log,
//! so everything in it will be committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::log::{error, warn};
use bytes::{Bytes, BytesMut};

use super::offsets::OffsetTable;
use super::schema::{self, GroupRecord, Key};
use crate::log::{self, Log};
use crate::message::set::next_entry;
use crate::message::{self, Message, Offset, flatten};
use crate::util::fs::{self, Context, FileSlice};

/// What was read: of each key the last record.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Groups that have members.
    pub groups: BTreeMap<Arc<str>, GroupRecord>,
    /// Committed offsets.
    pub offsets: OffsetTable,
}

/// Reads the log from its beginning to its present end, `buffer` bytes at a time, more only where a
/// record does not fit. Asks `wanted` before each read and returns nothing once it is not.
///
/// A record that cannot be understood is skipped with a line in the log.
///
/// # Errors
/// What kept the log from being read.
pub fn read(
    log: &Log,
    buffer: usize,
    retention: Duration,
    wanted: impl Fn() -> bool,
) -> log::Result<Option<Loaded>> {
    let mut loaded = Loaded::default();
    let mut next = log.start_offset();
    let end = log.end().offset;
    let mut size = buffer;
    while next < end {
        if !wanted() {
            return Ok(None);
        }
        let fetched = log.read(next, i32::try_from(size).unwrap_or(i32::MAX), None)?;
        let Some(slice) = fetched.slice else { break };
        let bytes = contents(&slice)?;
        match whole(&bytes) {
            Ok(Some((length, last))) => {
                loaded.take(&log.name(), bytes.slice(..length), next, retention);
                next = last + 1;
                size = buffer;
            }
            // All that the file has, and still no whole entry: its end is torn.
            Ok(None) if slice.len < size => break,
            Ok(None) => size = size.saturating_mul(2),
            Err(e) => {
                error!(
                    "Error in loading offsets from {}: what stands behind offset {next} cannot be read: {e}",
                    log.name()
                );
                break;
            }
        }
    }
    Ok(Some(loaded))
}

fn contents(slice: &FileSlice) -> log::Result<Bytes> {
    let mut bytes = BytesMut::zeroed(slice.len);
    let got = fs::read_at(&slice.file, &mut bytes, slice.position)
        .inspect_err(|_| slice.look_into(0))
        .during("read", "a segment".as_ref())?;
    bytes.truncate(got);
    Ok(bytes.freeze())
}

/// Length of the whole entries at the beginning of a set, and the offset of the last one.
fn whole(set: &Bytes) -> message::Result<Option<(usize, Offset)>> {
    let (mut at, mut last) = (0, None);
    while let Some(entry) = next_entry(set, at)? {
        at = entry.end;
        last = Some(entry.offset);
    }
    Ok(last.map(|last| (at, last)))
}

impl Loaded {
    /// Takes the records of a set that have offset `from` or more.
    fn take(&mut self, log: &str, set: Bytes, from: Offset, retention: Duration) {
        let messages = match flatten(&set, false) {
            Ok(messages) => messages,
            Err(e) => {
                error!("Error in loading offsets from {log} at offset {from}: {e}");
                return;
            }
        };
        for message in messages.into_iter().filter(|m| m.offset >= from) {
            let offset = message.offset;
            if let Err(why) = self.apply(message, retention) {
                warn!("Skipping the record at offset {offset} of {log}: {why}");
            }
        }
    }

    fn apply(&mut self, message: Message, retention: Duration) -> Result<(), String> {
        let key = message.key.ok_or("it has no key")?;
        let described = |e: schema::Error| e.to_string();
        match (Key::decode(key).map_err(described)?, message.value) {
            (
                Key::Offset {
                    group,
                    topic,
                    partition,
                },
                None,
            ) => {
                self.offsets.remove(&group, &topic, partition);
            }
            (
                Key::Offset {
                    group,
                    topic,
                    partition,
                },
                Some(value),
            ) => {
                let committed = schema::decode_offset_value(value, retention).map_err(described)?;
                self.offsets
                    .put(&group, &topic, partition, message.offset, committed);
            }
            (Key::Group(group), None) => {
                self.groups.remove(&*group);
            }
            (Key::Group(group), Some(value)) => {
                let mut record = GroupRecord::decode(value).map_err(described)?;
                if record.members.is_empty() {
                    self.groups.remove(&*group);
                    return Ok(());
                }
                record.own_bytes();
                self.groups.insert(group.into(), record);
            }
        }
        Ok(())
    }
}
