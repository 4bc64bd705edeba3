//! Messages as their users see them: those inside wrappers one by one.

use bytes::Bytes;

use super::{Codec, Offset, Result, SetIter, compression};

/// The most that one wrapper may inflate to when it is read: far beyond what a producer batches,
/// and little enough to hold.
pub const INFLATE_LIMIT: usize = 256 << 20;

/// One message that shares its bytes with the set it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its offset in the partition.
    pub offset: Offset,
    /// `None` for null.
    pub key: Option<Bytes>,
    /// `None` for null: a tombstone.
    pub value: Option<Bytes>,
    /// The checksum as stored.
    pub crc: u32,
}

/// All messages of `set` in order, those inside wrappers with their own offsets. A partial entry at
/// the end is left out. A wrapper inside a wrapper is handed out as it is, as Kafka does.
///
/// # Errors
/// The first thing wrong with any message; with `check_crc` also a wrong checksum, in wrappers and
/// inside them.
pub fn flatten(set: &Bytes, check_crc: bool) -> Result<Vec<Message>> {
    let mut out = Vec::new();
    for message in SetIter::new(set) {
        let message = message?;
        if check_crc {
            message.check_crc()?;
        }
        let codec = message.codec()?;
        if codec == Codec::None {
            out.push(shared(set, &message));
            continue;
        }
        let inner = inflate(codec, message.value, INFLATE_LIMIT)?;
        for message in SetIter::new(&inner) {
            let message = message?;
            if check_crc {
                message.check_crc()?;
            }
            out.push(shared(&inner, &message));
        }
    }
    Ok(out)
}

/// The set inside a wrapper's value.
pub(crate) fn inflate(codec: Codec, value: Option<&[u8]>, limit: usize) -> Result<Bytes> {
    match value {
        Some(v) => Ok(compression::decompress(codec, v, limit)?.into()),
        None => Err(super::Error::Undecodable {
            codec,
            reason: "the value is null".to_owned(),
        }),
    }
}

fn shared(set: &Bytes, message: &super::MessageRef<'_>) -> Message {
    Message {
        offset: message.offset,
        key: message.key.map(|k| set.slice_ref(k)),
        value: message.value.map(|v| set.slice_ref(v)),
        crc: message.crc,
    }
}
