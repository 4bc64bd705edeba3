//! Building message sets as a producer sends them.

use bytes::{BufMut, Bytes, BytesMut};

use super::set::{ENTRY_OVERHEAD, MIN_MESSAGE};
use super::{Codec, Offset, compression, crc32};

/// Room that a set takes from the beginning, if it may grow so far.
const AT_ONCE: usize = 64 << 10;

/// Collects messages into one set with the offsets 0, 1, 2 and so on.
#[derive(Debug)]
pub struct SetBuilder {
    codec: Codec,
    limit: usize,
    set: BytesMut,
    count: Offset,
}

impl SetBuilder {
    /// An empty set that takes messages up to `limit` bytes before compression.
    pub fn new(codec: Codec, limit: usize) -> SetBuilder {
        SetBuilder {
            codec,
            limit,
            set: BytesMut::with_capacity(limit.min(AT_ONCE)),
            count: 0,
        }
    }

    /// Adds a message and returns true, or returns false and changes nothing if the set would pass
    /// its limit. The first message always fits.
    #[must_use]
    pub fn append(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> bool {
        let size = entry_size(key, value);
        if self.count > 0 && self.set.len() + size > self.limit {
            return false;
        }
        put_entry(&mut self.set, self.count, 0, key, value);
        self.count += 1;
        true
    }

    /// Bytes so far, before compression.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Messages so far.
    pub fn count(&self) -> u64 {
        self.count.unsigned_abs()
    }

    /// The set: the messages themselves, or with a codec one wrapper around them that has the last
    /// one's offset. Empty if nothing was added.
    pub fn finish(self) -> Bytes {
        if self.codec == Codec::None || self.count == 0 {
            return self.set.freeze();
        }
        wrap(self.codec, &self.set, self.count - 1).freeze()
    }
}

/// One wrapper with `offset` around `set`.
pub(crate) fn wrap(codec: Codec, set: &[u8], offset: Offset) -> BytesMut {
    let value = compression::compress(codec, set);
    let mut out = BytesMut::with_capacity(ENTRY_OVERHEAD + MIN_MESSAGE + value.len());
    put_entry(&mut out, offset, codec.id(), None, Some(&value));
    out
}

/// Bytes that [`put_entry`] adds.
pub fn entry_size(key: Option<&[u8]>, value: Option<&[u8]>) -> usize {
    ENTRY_OVERHEAD + MIN_MESSAGE + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len)
}

/// Adds one entry with a magic 0 message to `out`.
///
/// # Panics
/// If the message is 2 GiB or more; callers bound what they write.
pub fn put_entry(
    out: &mut BytesMut,
    offset: Offset,
    attributes: i8,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) {
    let size = entry_size(key, value);
    out.reserve(size);
    out.put_i64(offset);
    out.put_i32(i32::try_from(size - ENTRY_OVERHEAD).expect("messages are bounded by the caller"));
    let crc_at = out.len();
    out.put_u32(0);
    out.put_i8(0);
    out.put_i8(attributes);
    crate::util::codec::put_bytes(out, key);
    crate::util::codec::put_bytes(out, value);
    let crc = crc32(&out[crc_at + 4..]);
    out[crc_at..crc_at + 4].copy_from_slice(&crc.to_be_bytes());
}
