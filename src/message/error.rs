//! What can be wrong with messages.

use super::Codec;

/// Result of looking at messages.
pub type Result<T> = std::result::Result<T, Error>;

/// What is wrong with a message, and where in its set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The size field is below the smallest message.
    #[error("message at byte {position} has size {size}, the least is 14")]
    TooSmall {
        /// Byte position of the entry in its set.
        position: usize,
        /// The size as read.
        size: i32,
    },
    /// The key or value does not fit the message.
    #[error("message at byte {position} has a {field} of length {length} that does not fit it")]
    Malformed {
        /// Byte position of the entry in its set.
        position: usize,
        /// `key` or `value`.
        field: &'static str,
        /// The length as read.
        length: i32,
    },
    /// The stored checksum is not that of the bytes.
    #[error("Message is corrupt (stored crc = {stored}, computed crc = {computed})")]
    Checksum {
        /// Byte position of the entry in its set.
        position: usize,
        /// The checksum in the message.
        stored: u32,
        /// The checksum of its bytes.
        computed: u32,
    },
    /// A format version that magic 0 readers cannot read.
    #[error("message at byte {position} has magic {magic}, only 0 is known")]
    Magic {
        /// Byte position of the entry in its set.
        position: usize,
        /// The magic as read.
        magic: i8,
    },
    /// A codec number that nobody defined.
    #[error("{0} is an unknown compression codec")]
    UnknownCodec(u8),
    /// Compressed bytes that do not follow their format, or end too early.
    #[error("{} stream is damaged: {reason}", codec.name())]
    Undecodable {
        /// The codec that the message names.
        codec: Codec,
        /// What was expected or found.
        reason: String,
    },
    /// Compressed bytes that grow beyond what may be held in memory.
    #[error("{} stream inflates past {limit} bytes", codec.name())]
    InflatesTooMuch {
        /// The codec that the message names.
        codec: Codec,
        /// The bound in bytes.
        limit: usize,
    },
}
