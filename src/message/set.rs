//! The layout of sets and messages, and shallow views of them. Copies nothing, looks into no
//! compressed value.

use super::{Codec, Error, Offset, Result, crc32};

/// Bytes before each message: its offset and its size.
pub const ENTRY_OVERHEAD: usize = 12;
/// Bytes of the smallest message: checksum, magic, attributes and two lengths.
pub const MIN_MESSAGE: usize = 14;
/// Position of magic within a message.
const MAGIC_AT: usize = 4;
/// Position of the attributes within a message.
const ATTRIBUTES_AT: usize = 5;
/// Position of the key's length within a message.
const KEY_AT: usize = 6;

/// One message seen in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRef<'a> {
    /// The entry's offset; for a wrapper that of its last message.
    pub offset: Offset,
    /// The checksum as stored.
    pub crc: u32,
    /// The format version as stored.
    pub magic: i8,
    /// The codec in bits 0-2.
    pub attributes: i8,
    /// The key, `None` for null.
    pub key: Option<&'a [u8]>,
    /// The value, `None` for null.
    pub value: Option<&'a [u8]>,
    /// Bytes of the message, without the 12 before it.
    pub size: usize,
    /// Byte position of the entry in its set.
    pub position: usize,
    bytes: &'a [u8],
}

impl<'a> MessageRef<'a> {
    /// Views the message `bytes` (checksum to end of value) that was found at `position`.
    pub fn parse(bytes: &'a [u8], offset: Offset, position: usize) -> Result<MessageRef<'a>> {
        if bytes.len() < MIN_MESSAGE {
            return Err(Error::TooSmall {
                position,
                size: i32::try_from(bytes.len()).unwrap_or(i32::MAX),
            });
        }
        let (key, value_at) = field(bytes, KEY_AT, "key", position)?;
        let (value, _) = field(bytes, value_at, "value", position)?;
        Ok(MessageRef {
            offset,
            crc: u32_at(bytes, 0),
            magic: bytes[MAGIC_AT] as i8,
            attributes: bytes[ATTRIBUTES_AT] as i8,
            key,
            value,
            size: bytes.len(),
            position,
            bytes,
        })
    }

    /// The codec that the attributes name.
    pub fn codec(&self) -> Result<Codec> {
        Codec::from_attributes(self.attributes)
    }

    /// The checksum of the bytes as they are.
    pub fn computed_crc(&self) -> u32 {
        crc32(&self.bytes[4..])
    }

    /// Fails with [`Error::Checksum`] unless the stored checksum is that of the bytes.
    pub fn check_crc(&self) -> Result<()> {
        let computed = self.computed_crc();
        if computed == self.crc {
            return Ok(());
        }
        Err(Error::Checksum {
            position: self.position,
            stored: self.crc,
            computed,
        })
    }

    /// The whole message, from its checksum to the end of its value.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Position right after this entry in its set.
    pub fn end(&self) -> usize {
        self.position + ENTRY_OVERHEAD + self.size
    }
}

/// Goes through the entries of a set. Ends silently before an entry that is not there whole: a
/// fetched set may be cut anywhere. After an error it is at its end.
#[derive(Clone, Debug)]
pub struct SetIter<'a> {
    set: &'a [u8],
    at: usize,
}

impl<'a> SetIter<'a> {
    /// Starts at the first entry.
    pub fn new(set: &'a [u8]) -> SetIter<'a> {
        SetIter { set, at: 0 }
    }

    /// Starts at the entry at `position`, which must begin there.
    pub fn at(set: &'a [u8], position: usize) -> SetIter<'a> {
        SetIter { set, at: position }
    }

    /// Position behind the last entry that was returned.
    pub fn position(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for SetIter<'a> {
    type Item = Result<MessageRef<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let position = self.at;
        let entry = match next_entry(self.set, position) {
            Ok(Some(entry)) => entry,
            Ok(None) => return None,
            Err(e) => {
                self.set = &self.set[..position];
                return Some(Err(e));
            }
        };
        let message = MessageRef::parse(entry.message, entry.offset, position);
        match message {
            Ok(_) => self.at = entry.end,
            Err(_) => self.set = &self.set[..position],
        }
        Some(message)
    }
}

/// An entry whose message nobody has looked at yet.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The entry's offset.
    pub offset: Offset,
    /// The message, from its checksum to its end; at least 14 bytes.
    pub message: &'a [u8],
    /// Position right after the entry.
    pub end: usize,
}

/// The entry at `position`, or `None` if it is not there whole.
///
/// # Errors
/// [`Error::TooSmall`] for a size that no message has.
#[inline]
pub fn next_entry(set: &[u8], position: usize) -> Result<Option<Entry<'_>>> {
    let Some(header) = set.get(position..position + ENTRY_OVERHEAD) else {
        return Ok(None);
    };
    let size = u32_at(header, 8) as i32;
    let Some(size) = usize::try_from(size).ok().filter(|s| *s >= MIN_MESSAGE) else {
        return Err(Error::TooSmall { position, size });
    };
    let start = position + ENTRY_OVERHEAD;
    if set.len() - start < size {
        return Ok(None);
    }
    Ok(Some(Entry {
        offset: u64_at(header, 0) as i64,
        message: &set[start..start + size],
        end: start + size,
    }))
}

/// The nullable field at `at` of a message, and the position behind it.
fn field<'a>(
    message: &'a [u8],
    at: usize,
    name: &'static str,
    position: usize,
) -> Result<(Option<&'a [u8]>, usize)> {
    let malformed = |length| Error::Malformed {
        position,
        field: name,
        length,
    };
    let start = at + 4;
    if message.len() < start {
        return Err(malformed(0));
    }
    let length = u32_at(message, at) as i32;
    // Any negative length is null: Kafka's readers ask no more than that.
    let Ok(n) = usize::try_from(length) else {
        return Ok((None, start));
    };
    match message.len() - start {
        left if left >= n => Ok((Some(&message[start..start + n]), start + n)),
        _ => Err(malformed(length)),
    }
}

/// The big-endian number at `at`; the caller has checked that it is there.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(out)
}

/// The big-endian number at `at`; the caller has checked that it is there.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(out)
}

#[cfg(test)]
mod tests;
