//! gzip as java.util.zip writes and reads it.

use std::io::{Read, Write};

use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};

use super::undecodable;
use crate::message::{Codec, Error, Result};

/// Operating system byte of the header: Java of that time says 0.
const JAVA_OS: u8 = 0;
/// The two bytes that begin every member, and the only method there is.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

pub(super) fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new()
        .operating_system(JAVA_OS)
        .write(Vec::with_capacity(bytes.len() / 2 + 64), Compression::default());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("a Vec takes every write")
}

/// Reads all members; what follows the last and is none is ignored, as Java does.
pub(super) fn decompress(mut bytes: &[u8], limit: usize) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len().saturating_mul(3).min(limit));
    loop {
        let room = (limit - out.len()) as u64;
        let mut member = GzDecoder::new(bytes).take(room + 1);
        member
            .read_to_end(&mut out)
            .map_err(|e| undecodable(Codec::Gzip, e))?;
        if out.len() > limit {
            return Err(Error::InflatesTooMuch {
                codec: Codec::Gzip,
                limit,
            });
        }
        bytes = member.into_inner().into_inner();
        if !bytes.starts_with(&MAGIC) {
            return Ok(out);
        }
    }
}
