//! snappy in snappy-java's stream form, and as one bare block.
//!
//! ```text
//! stream = 82 'S' 'N' 'A' 'P' 'P' 'Y' 00  version:i32  compatible:i32  chunk*
//! chunk  = length:i32  block            (all big-endian)
//! ```

use super::undecodable;
use crate::message::set::u32_at;
use crate::message::{Codec, Error, Result};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER: usize = 16;
/// Uncompressed bytes per chunk, as the broker of 0.9 writes.
const BLOCK: usize = 32 * 1024;
/// No snappy element of n bytes yields more than 64 n: a block that claims more lies.
const MOST_GROWTH: usize = 64;

pub(super) fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = snap::raw::Encoder::new();
    let mut out = Vec::with_capacity(HEADER + bytes.len() / 2 + 64);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    for block in bytes.chunks(BLOCK) {
        let at = out.len() + 4;
        out.resize(at + snap::raw::max_compress_len(block.len()), 0);
        let n = encoder
            .compress(block, &mut out[at..])
            .expect("the output has room for the worst case");
        out.truncate(at + n);
        let length = u32::try_from(n).expect("a block is small");
        out[at - 4..at].copy_from_slice(&length.to_be_bytes());
    }
    out
}

pub(super) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    if bytes.len() < HEADER || !bytes.starts_with(&MAGIC) {
        block(bytes, limit, &mut out)?;
        return Ok(out);
    }
    let version = u32_at(bytes, 8) as i32;
    if version < 1 {
        return Err(undecodable(Codec::Snappy, format!("stream version {version}")));
    }
    let mut rest = &bytes[HEADER..];
    while !rest.is_empty() {
        let chunk = rest.get(..4).and_then(|l| rest[4..].get(..u32_at(l, 0) as usize));
        let Some(chunk) = chunk else {
            return Err(undecodable(Codec::Snappy, "a chunk is cut short"));
        };
        block(chunk, limit, &mut out)?;
        rest = &rest[4 + chunk.len()..];
    }
    Ok(out)
}

/// Adds the content of one block to `out`.
fn block(bytes: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<()> {
    let bad = |e: snap::Error| undecodable(Codec::Snappy, e);
    let length = snap::raw::decompress_len(bytes).map_err(bad)?;
    if length > limit - out.len() {
        return Err(Error::InflatesTooMuch {
            codec: Codec::Snappy,
            limit,
        });
    }
    if length > bytes.len().saturating_mul(MOST_GROWTH) {
        return Err(undecodable(Codec::Snappy, "a block claims more than it can hold"));
    }
    let at = out.len();
    out.resize(at + length, 0);
    snap::raw::Decoder::new()
        .decompress(bytes, &mut out[at..])
        .map_err(bad)?;
    Ok(())
}
