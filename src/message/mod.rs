//! Messages as bytes: how they lie in a set, how to look at them, build them and compress them.
//! Pure: knows no file, no socket and no broker.
//!
//! Read [`set`] first (the layout), then [`deep`] (inside compressed messages), [`builder`],
//! [`compression`].
//!
//! A *message set* is a run of entries with no count before and no mark after:
//!
//! ```text
//! entry   = offset:i64  size:i32  message            (size counts the message alone)
//! message = crc:u32  magic:i8(0)  attributes:i8  key  value
//! key     = length:i32(-1 is null) bytes             (value alike)
//! ```
//!
//! All numbers are big-endian. The CRC-32 covers everything after itself. Bits 0-2 of the
//! attributes name a codec; a message with one is a *wrapper*: its value is a compressed message
//! set, its offset that of the last message inside, and the inner offsets are the log's own.

pub mod builder;
pub mod codec;
pub mod compression;
pub mod deep;
pub mod error;
pub mod set;

pub use builder::SetBuilder;
pub use codec::Codec;
pub use deep::{DeepIter, Message, flatten};
pub use error::{Error, Result};
pub use set::{MessageRef, SetIter};

/// The place of a message in its partition; the first message ever has 0.
pub type Offset = i64;

/// The checksum of messages: CRC-32 as zlib computes it.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}
