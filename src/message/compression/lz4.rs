//! LZ4 frames as 0.9 writes them, with the header checksum that its first implementation got wrong,
//! and as everybody else does.
//!
//! ```text
//! frame = 04 22 4d 18  FLG  BD  [content size:u64]  HC  block*  00000000  [content checksum:u32]
//! block = size:u32 (bit 31: stored as it is)  bytes  [block checksum:u32]      (little-endian)
//! ```
//!
//! 0.9 computes HC over the magic too; readers of 0.9 accept nothing else, so we write it so, and
//! accept both.

use lz4_flex::block::{compress_into, decompress_into, decompress_into_with_dict, get_maximum_output_size};
use xxhash_rust::xxh32::xxh32;

use super::undecodable;
use crate::message::{Codec, Error, Result};

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// FLG as written: version 1, independent blocks, nothing else.
const FLG: u8 = 0x60;
/// BD as written: blocks of at most 64 KiB.
const BD: u8 = 0x40;
const BLOCK: usize = 64 * 1024;
const STORED: u32 = 1 << 31;
/// How far back a linked block may refer.
const WINDOW: usize = 64 * 1024;
/// No LZ4 sequence of n bytes yields more than 255 n: the bound for what a block claims.
const MOST_GROWTH: usize = 256;

pub(super) fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() / 2 + 64);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[FLG, BD]);
    out.push(header_checksum(&out));
    for block in bytes.chunks(BLOCK) {
        let at = out.len() + 4;
        out.resize(at + get_maximum_output_size(block.len()), 0);
        let n = compress_into(block, &mut out[at..]).expect("the output has room for the worst case");
        let size = if n < block.len() {
            out.truncate(at + n);
            n as u32
        } else {
            out.truncate(at);
            out.extend_from_slice(block);
            block.len() as u32 | STORED
        };
        out[at - 4..at].copy_from_slice(&size.to_le_bytes());
    }
    out.extend_from_slice(&0u32.to_le_bytes());
    out
}

/// The checksum byte over `bytes`.
fn header_checksum(bytes: &[u8]) -> u8 {
    (xxh32(bytes, 0) >> 8) as u8
}

/// What the frame's header promises of the rest.
struct Frame {
    independent: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_size: Option<u64>,
    most_per_block: usize,
}

pub(super) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>> {
    let mut rest = bytes;
    let frame = header(&mut rest)?;
    let mut out = Vec::new();
    loop {
        let size = u32_le(&mut rest)?;
        if size == 0 {
            break;
        }
        let stored = size & STORED != 0;
        let block = take(&mut rest, (size & !STORED) as usize)?;
        if frame.block_checksums && u32_le(&mut rest)? != xxh32(block, 0) {
            return Err(damaged("block checksum"));
        }
        add_block(&frame, block, stored, limit, &mut out)?;
    }
    if frame.content_checksum && u32_le(&mut rest)? != xxh32(&out, 0) {
        return Err(damaged("content checksum"));
    }
    if frame.content_size.is_some_and(|n| n != out.len() as u64) {
        return Err(damaged("content size"));
    }
    Ok(out)
}

fn header(rest: &mut &[u8]) -> Result<Frame> {
    let start = *rest;
    if take(rest, 4)? != MAGIC {
        return Err(damaged("magic"));
    }
    let descriptor = take(rest, 2)?;
    let (flg, bd) = (descriptor[0], descriptor[1]);
    if flg >> 6 != 1 {
        return Err(damaged("version"));
    }
    if flg & 1 != 0 {
        return Err(damaged("a dictionary is asked for"));
    }
    let content_size = match flg & 8 {
        0 => None,
        _ => {
            let mut n = [0; 8];
            n.copy_from_slice(take(rest, 8)?);
            Some(u64::from_le_bytes(n))
        }
    };
    let most_per_block = match (bd >> 4) & 7 {
        n @ 4..=7 => 1 << (8 + 2 * n),
        _ => return Err(damaged("block size")),
    };
    let described = &start[..start.len() - rest.len()];
    let checksum = take(rest, 1)?[0];
    if checksum != header_checksum(described) && checksum != header_checksum(&described[4..]) {
        return Err(damaged("header checksum"));
    }
    Ok(Frame {
        independent: flg & 0x20 != 0,
        block_checksums: flg & 0x10 != 0,
        content_checksum: flg & 4 != 0,
        content_size,
        most_per_block,
    })
}

fn add_block(frame: &Frame, block: &[u8], stored: bool, limit: usize, out: &mut Vec<u8>) -> Result<()> {
    let at = out.len();
    let room = limit - at;
    let too_much = Error::InflatesTooMuch {
        codec: Codec::Lz4,
        limit,
    };
    if stored {
        if block.len() > room {
            return Err(too_much);
        }
        out.extend_from_slice(block);
        return Ok(());
    }
    let possible = frame.most_per_block.min(block.len().saturating_mul(MOST_GROWTH));
    let given = possible.min(room);
    out.resize(at + given, 0);
    let result = if frame.independent || at == 0 {
        decompress_into(block, &mut out[at..])
    } else {
        let (before, into) = out.split_at_mut(at);
        decompress_into_with_dict(block, into, &before[at.saturating_sub(WINDOW)..])
    };
    match result {
        Ok(n) => {
            out.truncate(at + n);
            Ok(())
        }
        Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if given < possible => Err(too_much),
        Err(e) => Err(undecodable(Codec::Lz4, e)),
    }
}

fn damaged(what: &str) -> Error {
    undecodable(Codec::Lz4, what)
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Result<&'a [u8]> {
    match rest.split_at_checked(n) {
        Some((head, tail)) => {
            *rest = tail;
            Ok(head)
        }
        None => Err(damaged("it ends too early")),
    }
}

fn u32_le(rest: &mut &[u8]) -> Result<u32> {
    let mut n = [0; 4];
    n.copy_from_slice(take(rest, 4)?);
    Ok(u32::from_le_bytes(n))
}
