//! What a set must be before it may enter a log, and how it gets its offsets. Pure: bytes in, bytes
//! out; what needs no lock is apart from what needs to know the next offset.

use bytes::{BufMut, Bytes, BytesMut};

use crate::config::LogConfig;
use crate::message::builder::wrap;
use crate::message::deep::inflate;
use crate::message::set::{ENTRY_OVERHEAD, next_entry};
use crate::message::{Codec, MessageRef, Offset, crc32, set};

use super::{Error, Result};

/// The most that the sets inside one append may inflate to, as a multiple of `max.message.bytes`.
/// Real batches stay far below; what goes beyond is meant to exhaust memory.
const INFLATE_FACTOR: usize = 64;
/// Little limits must not keep ordinary batches out.
const INFLATE_LEAST: usize = 16 << 20;

/// What a leader knows of a set after looking at it; see [`check_for_leader`].
#[derive(Debug)]
pub(crate) struct Checked {
    /// The messages as plain entries whose offsets are still to be given.
    plain: BytesMut,
    /// How many; none if all wrappers were empty.
    pub(crate) messages: u64,
    /// Entries of the set as it came.
    entries: u64,
    /// What they will be stored with.
    target: Codec,
    /// Whether `plain` is the set as it came, rather than taken out of wrappers.
    in_place: bool,
}

/// Looks at every message of a producer's set. What follows the last whole entry is cut off, as
/// Kafka does. Wrappers are opened here, so that only the writing needs the log's lock.
///
/// Magic other than 0 and lengths that do not fit their message are refused as corrupt: 0.9.0.1
/// stores them and its consumers stumble.
pub(crate) fn check_for_leader(mut set: BytesMut, config: &LogConfig) -> Result<Checked> {
    let shallow = scan(&set, config)?;
    set.truncate(shallow.valid);
    let target = match config.compression_type.as_str() {
        "producer" => shallow.codec,
        name => Codec::parse(name).unwrap_or(shallow.codec),
    };
    let untouched = shallow.codec == Codec::None && target == Codec::None;
    // Kafka asks for keys that are not empty where it leaves a set as it is, for any key elsewhere.
    if config.compact && (shallow.null_key || untouched && shallow.empty_key) {
        return Err(Error::MissingKey);
    }
    if untouched {
        return Ok(Checked {
            plain: set,
            messages: shallow.messages,
            entries: shallow.messages,
            target,
            in_place: true,
        });
    }
    let (plain, messages) = flatten(&set.freeze(), config)?;
    Ok(Checked {
        plain,
        messages,
        entries: shallow.messages,
        target,
        in_place: false,
    })
}

impl Checked {
    /// Whether the set held no whole entry.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Gives the messages the offsets from `first` on and returns the bytes to be written.
    ///
    /// # Errors
    /// [`Error::TooLarge`], as compressing anew may make a wrapper grow.
    pub(crate) fn assign(mut self, first: Offset, config: &LogConfig) -> Result<Bytes> {
        let mut at = 0;
        let mut offset = first;
        while at < self.plain.len() {
            let (size, rest) = header_mut(&mut self.plain[at..]);
            rest.copy_from_slice(&offset.to_be_bytes());
            at += ENTRY_OVERHEAD + size;
            offset += 1;
        }
        if self.in_place {
            return Ok(self.plain.freeze());
        }
        let out = match self.target {
            _ if self.messages == 0 => return Ok(Bytes::new()),
            Codec::None => self.plain.freeze(),
            codec => wrap(codec, &self.plain, offset - 1).freeze(),
        };
        let mut at = 0;
        while let Some(entry) = next_entry(&out, at)? {
            check_size(entry.end - at, config)?;
            at = entry.end;
        }
        Ok(out)
    }
}

/// The size of the entry that `entry` begins with, and the place of its offset. All entries were
/// checked to be whole.
#[inline]
fn header_mut(entry: &mut [u8]) -> (usize, &mut [u8]) {
    let size = set::u32_at(entry, 8) as usize;
    (size, &mut entry[..8])
}

/// What a follower knows of a set after looking at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copied {
    /// An offset at or below that of the first message and above all before it.
    pub(crate) first: Offset,
    /// Offset of the last entry.
    pub(crate) last: Offset,
    /// Entries.
    pub(crate) messages: u64,
    /// Bytes of whole entries; a fetched set may be cut anywhere.
    pub(crate) valid: usize,
}

/// Looks at a set that was copied from the leader: checksums and rising offsets from `next` on.
/// What the leader accepted is not judged again: no limit of size, no look at magic or keys.
pub(crate) fn check_for_follower(set: &[u8], next: Offset) -> Result<Copied> {
    let mut copied = Copied {
        first: next,
        last: next - 1,
        messages: 0,
        valid: 0,
    };
    while let Some(entry) = next_entry(set, copied.valid)? {
        check_crc(entry.message, copied.valid)?;
        if entry.offset <= copied.last {
            return Err(Error::OutOfOrder {
                offset: entry.offset,
                expected: copied.last + 1,
            });
        }
        // The first offset inside a wrapper is not worth inflating it.
        let plain = entry.message[5] & Codec::MASK.cast_unsigned() == 0;
        copied = Copied {
            first: if copied.messages == 0 && plain {
                entry.offset
            } else {
                copied.first
            },
            last: entry.offset,
            messages: copied.messages + 1,
            valid: entry.end,
        };
    }
    Ok(copied)
}

struct Shallow {
    valid: usize,
    messages: u64,
    /// Of the last compressed entry.
    codec: Codec,
    /// A plain message has no key.
    null_key: bool,
    /// A plain message has an empty key.
    empty_key: bool,
}

fn scan(set: &[u8], config: &LogConfig) -> Result<Shallow> {
    let mut found = Shallow {
        valid: 0,
        messages: 0,
        codec: Codec::None,
        null_key: false,
        empty_key: false,
    };
    while let Some(entry) = next_entry(set, found.valid)? {
        check_size(entry.end - found.valid, config)?;
        check_crc(entry.message, found.valid)?;
        let message = MessageRef::parse(entry.message, entry.offset, found.valid)?;
        check_magic(&message)?;
        match message.codec()? {
            Codec::None => {
                found.null_key |= message.key.is_none();
                found.empty_key |= message.key.is_some_and(<[u8]>::is_empty);
            }
            codec => found.codec = codec,
        }
        found.valid = entry.end;
        found.messages += 1;
    }
    Ok(found)
}

/// Takes all messages out of their wrappers. Inner checksums are not looked at and wrappers in
/// wrappers stay closed, both as in Kafka.
fn flatten(set: &Bytes, config: &LogConfig) -> Result<(BytesMut, u64)> {
    let most = usize::try_from(config.max_message_bytes).unwrap_or(0);
    let limit = most.saturating_mul(INFLATE_FACTOR).max(INFLATE_LEAST);
    let mut plain = BytesMut::new();
    let (mut messages, mut at) = (0, 0);
    while let Some(entry) = next_entry(set, at)? {
        let message = MessageRef::parse(entry.message, entry.offset, at)?;
        let codec = message.codec()?;
        if codec == Codec::None {
            plain.put_slice(&set[at..entry.end]);
            messages += 1;
        } else {
            let inner = inflate(codec, message.value, limit.saturating_sub(plain.len()))?;
            messages += check_inner(&inner, codec, config)?;
            plain = match (plain.is_empty(), inner.try_into_mut()) {
                // The one wrapper of nearly every set: no copy.
                (true, Ok(inner)) => inner,
                (_, Ok(inner)) => joined(plain, &inner),
                (_, Err(inner)) => joined(plain, &inner),
            };
        }
        at = entry.end;
    }
    Ok((plain, messages))
}

fn joined(mut plain: BytesMut, more: &[u8]) -> BytesMut {
    plain.put_slice(more);
    plain
}

/// Counts the messages of an unwrapped set. Bytes behind the last one are an error: Kafka would drop
/// a message that it then acknowledges.
fn check_inner(set: &[u8], codec: Codec, config: &LogConfig) -> Result<u64> {
    let (mut messages, mut at) = (0, 0);
    while let Some(entry) = next_entry(set, at)? {
        let message = MessageRef::parse(entry.message, entry.offset, at)?;
        check_magic(&message)?;
        if config.compact && message.key.is_none() {
            return Err(Error::MissingKey);
        }
        messages += 1;
        at = entry.end;
    }
    if at < set.len() {
        return Err(Error::Undecodable {
            reason: crate::message::Error::Undecodable {
                codec,
                reason: "the set inside ends within a message".to_owned(),
            },
        });
    }
    Ok(messages)
}

#[inline]
fn check_size(entry: usize, config: &LogConfig) -> Result<()> {
    if u64::try_from(config.max_message_bytes).is_ok_and(|limit| entry as u64 <= limit) {
        return Ok(());
    }
    Err(Error::TooLarge {
        size: entry as u64,
        limit: config.max_message_bytes,
    })
}

#[inline]
fn check_crc(message: &[u8], position: usize) -> Result<()> {
    let (stored, computed) = (set::u32_at(message, 0), crc32(&message[4..]));
    if stored == computed {
        return Ok(());
    }
    Err(crate::message::Error::Checksum {
        position,
        stored,
        computed,
    }
    .into())
}

fn check_magic(message: &MessageRef<'_>) -> Result<()> {
    if message.magic == 0 {
        return Ok(());
    }
    Err(crate::message::Error::Magic {
        position: message.position,
        magic: message.magic,
    }
    .into())
}

#[cfg(test)]
mod tests;
