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

/// All messages of `set` in order, as [`DeepIter`] hands them out.
///
/// # Errors
/// The first thing wrong with any message; with `check_crc` also a wrong checksum, in wrappers and
/// inside them.
pub fn flatten(set: &Bytes, check_crc: bool) -> Result<Vec<Message>> {
    DeepIter::new(set.clone(), check_crc).collect()
}

/// Goes through the messages of a set, those inside wrappers one by one with their own offsets. A
/// partial entry at the end is left out. A wrapper inside a wrapper is handed out as it is, as Kafka
/// does. At most one wrapper is open at a time, and none before it is reached. After an error it is at
/// its end.
#[derive(Clone, Debug)]
pub struct DeepIter {
    set: Bytes,
    /// Position of the next entry.
    at: usize,
    /// The open wrapper's set, and the position of its next entry.
    inside: Option<(Bytes, usize)>,
    check_crc: bool,
    last: Option<Offset>,
}

impl DeepIter {
    /// Starts at the first message; with `check_crc` wrong checksums are errors, in wrappers and inside
    /// them.
    pub fn new(set: Bytes, check_crc: bool) -> DeepIter {
        DeepIter {
            set,
            at: 0,
            inside: None,
            check_crc,
            last: None,
        }
    }

    /// The offset of the last entry of the set itself that was reached; a wrapper's is that of its last
    /// message. `None` before the first.
    pub fn last_offset(&self) -> Option<Offset> {
        self.last
    }

    fn step(&mut self) -> Result<Option<Message>> {
        loop {
            if let Some((inner, at)) = &mut self.inside {
                match SetIter::at(inner, *at).next().transpose()? {
                    Some(message) => {
                        *at = message.end();
                        if self.check_crc {
                            message.check_crc()?;
                        }
                        return Ok(Some(shared(inner, &message)));
                    }
                    None => self.inside = None,
                }
            }
            let Some(message) = SetIter::at(&self.set, self.at).next().transpose()? else {
                return Ok(None);
            };
            self.at = message.end();
            self.last = Some(message.offset);
            if self.check_crc {
                message.check_crc()?;
            }
            match message.codec()? {
                Codec::None => return Ok(Some(shared(&self.set, &message))),
                codec => self.inside = Some((inflate(codec, message.value, INFLATE_LIMIT)?, 0)),
            }
        }
    }
}

impl Iterator for DeepIter {
    type Item = Result<Message>;

    fn next(&mut self) -> Option<Result<Message>> {
        let stepped = self.step();
        if stepped.is_err() {
            self.inside = None;
            self.at = self.set.len();
        }
        stepped.transpose()
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::SetBuilder;

    fn set(codec: Codec, from: usize, count: usize) -> Vec<u8> {
        let mut builder = SetBuilder::new(codec, 1 << 20);
        for i in from..from + count {
            assert!(builder.append(None, Some(i.to_string().as_bytes())));
        }
        builder.finish().to_vec()
    }

    #[test]
    fn messages_before_damage_are_handed_out_and_none_after_it() {
        let whole = [
            set(Codec::None, 0, 2),
            set(Codec::Gzip, 2, 3),
            set(Codec::None, 5, 1),
        ]
        .concat();
        let values = |bytes: &[u8]| -> Vec<Option<String>> {
            DeepIter::new(Bytes::copy_from_slice(bytes), true)
                .map(|m| Some(String::from_utf8(m.ok()?.value?.to_vec()).unwrap()))
                .collect()
        };
        let good = |n: usize| (0..n).map(|i| Some(i.to_string())).collect::<Vec<_>>();
        assert_eq!(values(&whole), good(6));
        assert_eq!(
            values(&whole[..whole.len() - 1]),
            good(5),
            "a cut end is no damage"
        );
        let mut damaged = whole.clone();
        let wrapper_at = set(Codec::None, 0, 2).len();
        damaged[wrapper_at + 40] ^= 1;
        assert_eq!(values(&damaged), [good(2), vec![None]].concat());
    }

    #[test]
    fn the_last_offset_is_that_of_the_entry_reached() {
        let bytes = [set(Codec::Snappy, 0, 3), set(Codec::None, 3, 1)].concat();
        let mut iter = DeepIter::new(bytes.into(), true);
        assert_eq!(iter.last_offset(), None);
        assert_eq!(iter.next().unwrap().unwrap().offset, 0);
        assert_eq!(iter.last_offset(), Some(2), "the wrapper has its last one's");
        assert_eq!(iter.by_ref().count(), 3);
        assert_eq!(iter.last_offset(), Some(0));
    }
}
