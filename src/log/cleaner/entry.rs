//! Looking at one entry as the cleaner must: what may be believed, and what is inside. Pure.

use bytes::Bytes;

use crate::message::deep::{INFLATE_LIMIT, inflate};
use crate::message::set::{Entry, next_entry};
use crate::message::{self, Codec, MessageRef};

/// What an entry holds.
#[derive(Debug)]
pub(crate) enum Content<'a> {
    /// One message.
    Message(MessageRef<'a>),
    /// A wrapper; the set inside is whole and each of its messages can be read.
    Wrapper(Codec, Bytes),
    /// Something that cannot be read, and why: a wrong checksum, another format, a damaged value. What it
    /// says about keys is not to be believed, so it supersedes nothing and is kept as it is. 0.9.0.1
    /// believes anything that has the right length, and ends its cleaner for good over the rest.
    Unreadable(message::Error),
}

impl<'a> Content<'a> {
    /// Looks at `entry`, which begins at `position` of its segment's buffer.
    pub(crate) fn of(entry: &Entry<'a>, position: usize) -> Content<'a> {
        look(entry, position).unwrap_or_else(Content::Unreadable)
    }
}

fn look<'a>(entry: &Entry<'a>, position: usize) -> message::Result<Content<'a>> {
    let message = read(entry, position)?;
    message.check_crc()?;
    let codec = message.codec()?;
    if codec == Codec::None {
        return Ok(Content::Message(message));
    }
    let inner = inflate(codec, message.value, INFLATE_LIMIT)?;
    let mut at = 0;
    while let Some(entry) = next_entry(&inner, at)? {
        read(&entry, at)?;
        at = entry.end;
    }
    if at < inner.len() {
        return Err(message::Error::Undecodable {
            codec,
            reason: "the set inside ends within a message".to_owned(),
        });
    }
    Ok(Content::Wrapper(codec, inner))
}

fn read<'a>(entry: &Entry<'a>, position: usize) -> message::Result<MessageRef<'a>> {
    let message = MessageRef::parse(entry.message, entry.offset, position)?;
    match message.magic {
        0 => Ok(message),
        magic => Err(message::Error::Magic { position, magic }),
    }
}

/// The messages of a set that [`Content::of`] found to be readable.
pub(crate) fn messages(inner: &Bytes) -> impl Iterator<Item = MessageRef<'_>> {
    message::SetIter::new(inner).filter_map(Result::ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::SetBuilder;
    use crate::message::builder::{put_entry, wrap};
    use bytes::BytesMut;

    fn look_at(set: &[u8]) -> String {
        let entry = next_entry(set, 0).unwrap().unwrap();
        match Content::of(&entry, 0) {
            Content::Message(m) => format!("message {:?}", m.key),
            Content::Wrapper(codec, inner) => {
                format!("{} of {}", codec.name(), messages(&inner).count())
            }
            Content::Unreadable(e) => e.to_string(),
        }
    }

    fn plain() -> BytesMut {
        let mut set = BytesMut::new();
        put_entry(&mut set, 3, 0, Some(b"k"), None);
        set
    }

    #[test]
    fn messages_and_wrappers_of_every_codec_can_be_read() {
        assert_eq!(look_at(&plain()), "message Some([107])");
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4] {
            let mut builder = SetBuilder::new(codec, usize::MAX);
            assert!(builder.append(Some(b"k"), None) && builder.append(None, None));
            assert_eq!(look_at(&builder.finish()), format!("{} of 2", codec.name()));
        }
    }

    #[test]
    fn what_cannot_be_believed_is_unreadable() {
        let mut wrong_crc = plain();
        wrong_crc[13] ^= 1;
        assert!(look_at(&wrong_crc).starts_with("Message is corrupt"));
        let with = |attributes, value: &[u8]| {
            let mut set = BytesMut::new();
            put_entry(&mut set, 3, attributes, Some(b"k"), Some(value));
            look_at(&set)
        };
        assert_eq!(with(7, b""), "7 is an unknown compression codec");
        assert!(with(1, b"no gzip").contains("GZIPCompressionCodec"));
        let set = plain();
        let cut = look_at(&wrap(Codec::Gzip, &set[..set.len() - 1], 3));
        assert!(cut.contains("ends within a message"), "{cut}");
        let mut newer = plain();
        newer[16] = 1;
        let crc = crate::message::crc32(&newer[16..]);
        newer[12..16].copy_from_slice(&crc.to_be_bytes());
        assert!(look_at(&newer).contains("magic 1"));
    }
}
