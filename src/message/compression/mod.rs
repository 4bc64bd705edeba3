//! The three codecs, in the forms that 0.9 writes and in all forms that its clients send.
//!
//! Decompression never holds more than its caller allows, whatever lengths the bytes claim, and
//! never hands out the beginning of a damaged stream as if it were the whole.

mod gzip;
mod lz4;
mod snappy;

use super::{Codec, Error, Result};

/// `bytes` compressed as a 0.9 broker does it; a copy when `codec` is none.
pub fn compress(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    match codec {
        Codec::None => bytes.to_vec(),
        Codec::Gzip => gzip::compress(bytes),
        Codec::Snappy => snappy::compress(bytes),
        Codec::Lz4 => lz4::compress(bytes),
    }
}

/// What `bytes` were before compression.
///
/// # Errors
/// [`Error::InflatesTooMuch`] once more than `limit` bytes come out, [`Error::Undecodable`] for a
/// stream that breaks its format or ends too early.
pub fn decompress(codec: Codec, bytes: &[u8], limit: usize) -> Result<Vec<u8>> {
    match codec {
        Codec::None if bytes.len() > limit => Err(Error::InflatesTooMuch { codec, limit }),
        Codec::None => Ok(bytes.to_vec()),
        Codec::Gzip => gzip::decompress(bytes, limit),
        Codec::Snappy => snappy::decompress(bytes, limit),
        Codec::Lz4 => lz4::decompress(bytes, limit),
    }
}

/// An [`Error::Undecodable`] with its reason.
fn undecodable(codec: Codec, reason: impl ToString) -> Error {
    Error::Undecodable {
        codec,
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests;
