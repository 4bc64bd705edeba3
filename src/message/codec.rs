//! The codecs by number and by name.

use super::{Error, Result};

/// How the value of a message is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not at all: the value is the user's.
    #[default]
    None,
    /// One or more gzip members.
    Gzip,
    /// snappy-java's stream, or one bare snappy block.
    Snappy,
    /// An LZ4 frame with the header checksum of 0.9.
    Lz4,
}

impl Codec {
    /// The attribute bits that hold the codec.
    pub const MASK: i8 = 7;

    /// The number in a message's attributes.
    pub fn id(self) -> i8 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
        }
    }

    /// The codec that `attributes` name; the bits above the lowest three do not count.
    pub fn from_attributes(attributes: i8) -> Result<Codec> {
        match attributes & Codec::MASK {
            0 => Ok(Codec::None),
            1 => Ok(Codec::Gzip),
            2 => Ok(Codec::Snappy),
            3 => Ok(Codec::Lz4),
            other => Err(Error::UnknownCodec(other.unsigned_abs())),
        }
    }

    /// Kafka's class name, as its tools print it.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "NoCompressionCodec",
            Codec::Gzip => "GZIPCompressionCodec",
            Codec::Snappy => "SnappyCompressionCodec",
            Codec::Lz4 => "LZ4CompressionCodec",
        }
    }

    /// The codec by its name in configurations; `none` and `uncompressed` both mean none.
    pub fn parse(name: &str) -> Option<Codec> {
        match name {
            "none" | "uncompressed" => Some(Codec::None),
            "gzip" => Some(Codec::Gzip),
            "snappy" => Some(Codec::Snappy),
            "lz4" => Some(Codec::Lz4),
            _ => None,
        }
    }
}
