//! Reading a `.log` file from its beginning to find out which of its bytes are messages, and to
//! write its index anew. Holds one buffer, whatever sizes the file claims.

use std::path::Path;

use crate::message::Offset;
use crate::message::set::{ENTRY_OVERHEAD, MIN_MESSAGE, u32_at, u64_at};
use crate::util::fs;

use super::data_file::DataFile;
use super::offset_index::OffsetIndex;
use super::{Error, Result};

/// Bytes read at once.
const BUFFER: usize = 256 * 1024;
/// How many bytes are read before it is told.
const TELL: u64 = 8 * 1024 * 1024;

/// What a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Bytes from the beginning that are messages.
    pub(crate) valid: u64,
    /// The offset after the last of them.
    pub(crate) next: Offset,
    /// Why the rest are none, if there is a rest that is more than a torn end.
    pub(crate) problem: Option<String>,
}

/// Goes through `data`, checks each message, and fills `index` (which is emptied first) with an
/// entry about every `interval` bytes; see [`walk`]. Compressed values are not looked into: the index
/// names the offset after the message before, which is that of the first message inside unless a
/// cleaner made gaps, and never too high. `progress` is told of the bytes that are messages, some at a time.
pub(crate) fn rebuild(
    data: &DataFile,
    index: &OffsetIndex,
    base: Offset,
    interval: u64,
    checksums: bool,
    progress: &dyn Fn(u64),
) -> Result<Scan> {
    index.clear()?;
    let (mut indexed, mut told) = (0, 0);
    let scan = walk(data, base, checksums, |forward, found| {
        if found.position - told >= TELL {
            progress(found.position - told);
            told = found.position;
        }
        if found.position - indexed > interval {
            let codec = forward.attributes(found.position)? & 7;
            index.append(if codec == 0 { found.offset } else { found.due }, found.position)?;
            indexed = found.position;
        }
        Ok(())
    })?;
    index.write_out()?;
    progress(scan.valid - told);
    if let Some(problem) = &scan.problem {
        warn_invalid(data.path(), scan.valid, problem);
    }
    Ok(scan)
}

/// A message that a walk came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Where its entry begins.
    pub(crate) position: u64,
    /// Its offset, of a wrapper that of the last message inside.
    pub(crate) offset: Offset,
    /// The offset after that of the message before, the segment's base for the first.
    pub(crate) due: Offset,
}

/// Goes through `data` and shows `each` message. A message ends the walk when it is cut off, when its
/// size is none, and with `checksums` when its checksum is wrong or its offset does not rise.
pub(crate) fn walk(
    data: &DataFile,
    base: Offset,
    checksums: bool,
    mut each: impl FnMut(&mut Forward<'_>, Passed) -> Result<()>,
) -> Result<Scan> {
    let size = data.size();
    let mut forward = Forward::new(data, size);
    let (mut at, mut next) = (0, base);
    let problem = loop {
        let header = match forward.get(at, ENTRY_OVERHEAD)? {
            Some(bytes) => (u64_at(bytes, 0) as i64, u32_at(bytes, 8) as i32),
            None => break None,
        };
        let (offset, message_size) = header;
        let length = match usize::try_from(message_size) {
            Ok(n) if n >= MIN_MESSAGE => n,
            // Zeros are what preallocation and torn pages leave.
            Ok(0) if offset == 0 => break None,
            _ => break Some(format!("Message found with corrupt size ({message_size})")),
        };
        if at + (ENTRY_OVERHEAD + length) as u64 > size {
            break None;
        }
        if checksums && offset < next {
            break Some(format!("offset {offset} found where {next} or more was due"));
        }
        if checksums && let Some(problem) = forward.check(at + ENTRY_OVERHEAD as u64, length)? {
            break Some(problem);
        }
        let passed = Passed {
            position: at,
            offset,
            due: next,
        };
        each(&mut forward, passed)?;
        at += (ENTRY_OVERHEAD + length) as u64;
        // What is trusted ends where its last message says, whatever one before says.
        if offset >= base {
            next = offset.saturating_add(1);
        }
    };
    Ok(Scan {
        valid: at,
        next,
        problem,
    })
}

/// Where the messages end, from the entry at `from` on, if nothing but zeros is behind them. If no entry is
/// at `from`, all are looked at.
pub(crate) fn zeros_behind(data: &DataFile, from: u64) -> Result<Option<u64>> {
    let size = data.size();
    let mut at = messages_end(data, from)?;
    if at == from && from > 0 {
        at = messages_end(data, 0)?;
    }
    let (mut forward, mut seen) = (Forward::new(data, size), at);
    while seen < size {
        let n = usize::try_from(size - seen).map_or(BUFFER, |left| left.min(BUFFER));
        match forward.get(seen, n)? {
            Some(bytes) if bytes.iter().all(|b| *b == 0) => seen += n as u64,
            _ => return Ok(None),
        }
    }
    Ok((at < size).then_some(at))
}

/// Where the last whole message ends, from the entry at `from` on.
fn messages_end(data: &DataFile, from: u64) -> Result<u64> {
    let (mut headers, mut at) = (data.headers(from, data.size()), from);
    loop {
        match headers.next() {
            Ok(Some(header)) => at = header.next,
            Ok(None) | Err(Error::Damaged { .. }) => return Ok(at),
            Err(e) => return Err(e),
        }
    }
}

fn warn_invalid(path: &Path, at: u64, problem: &str) {
    ::log::warn!(
        "Found invalid messages in log segment {} at byte offset {at}: {problem}.",
        path.display()
    );
}

/// A buffer that moves forward over the file.
pub(crate) struct Forward<'a> {
    data: &'a DataFile,
    end: u64,
    buffer: Vec<u8>,
    filled: usize,
    at: u64,
}

impl<'a> Forward<'a> {
    fn new(data: &'a DataFile, end: u64) -> Forward<'a> {
        let length = usize::try_from(end).map_or(BUFFER, |e| e.min(BUFFER));
        Forward {
            data,
            end,
            buffer: vec![0; length],
            filled: 0,
            at: 0,
        }
    }

    /// The `n` bytes at `position`, or `None` if the file ends before or `n` is more than the buffer.
    fn get(&mut self, position: u64, n: usize) -> Result<Option<&[u8]>> {
        if position + n as u64 > self.end || n > self.buffer.len() {
            return Ok(None);
        }
        let held = position >= self.at && position + n as u64 <= self.at + self.filled as u64;
        if !held {
            self.filled = fs::read_at(self.data.file(), &mut self.buffer, position)
                .map_err(|e| self.data.failed("read", e))?;
            self.at = position;
        }
        let start = usize::try_from(position - self.at).unwrap_or(usize::MAX);
        Ok(self.buffer[..self.filled].get(start..start + n))
    }

    /// What is wrong with the checksum of the message of `length` bytes at `position`.
    fn check(&mut self, position: u64, length: usize) -> Result<Option<String>> {
        if let Some(message) = self.get(position, length)? {
            let (stored, computed) = (u32_at(message, 0), crate::message::crc32(&message[4..]));
            return Ok(differs(stored, computed));
        }
        let Some(stored) = self.get(position, 4)?.map(|b| u32_at(b, 0)) else {
            return Ok(Some("it is cut short".to_owned()));
        };
        let mut hasher = crc32fast::Hasher::new();
        let (mut at, end) = (position + 4, position + length as u64);
        while at < end {
            let n = usize::try_from(end - at).map_or(BUFFER, |left| left.min(self.buffer.len()));
            let Some(part) = self.get(at, n)? else {
                return Ok(Some("it is cut short".to_owned()));
            };
            hasher.update(part);
            at += n as u64;
        }
        Ok(differs(stored, hasher.finalize()))
    }

    /// The attributes of the entry at `position`, which is there whole.
    fn attributes(&mut self, position: u64) -> Result<u8> {
        let message = self.get(position + ENTRY_OVERHEAD as u64, MIN_MESSAGE)?;
        Ok(message.map_or(0, |m| m[5]))
    }
}

fn differs(stored: u32, computed: u32) -> Option<String> {
    (stored != computed).then(|| {
        crate::message::Error::Checksum {
            position: 0,
            stored,
            computed,
        }
        .to_string()
    })
}
