//! Reading a segment a buffer at a time, each time whole entries. Knows their headers only.
//!
//! Where one buffer ends and the next begins decides where the cleaned segment gets its index entries, so it
//! is as in 0.9.0.1: a buffer begins at an entry and holds as many whole ones as fit; one that cannot hold a
//! single entry is doubled up to the broker's `message.max.bytes`, and the segment's end brings it back.
//! Beyond that, where 0.9.0.1 gives up for good (KAFKA-4019, KAFKA-6834), it grows to what the entry needs.

use crate::log::data_file::DataFile;
use crate::log::{Error, Result};
use crate::message::Offset;
use crate::message::set::{ENTRY_OVERHEAD, MIN_MESSAGE, u32_at, u64_at};
use crate::util::fs;

/// The bytes of one segment, in order.
pub(crate) struct Chunks<'a> {
    data: &'a DataFile,
    buffer: &'a mut Vec<u8>,
    /// What the buffer may hold now.
    room: usize,
    /// What it may hold at most without need.
    most: usize,
    at: u64,
    end: u64,
    last: Option<Offset>,
}

/// How large the buffer had to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grown {
    pub(crate) from: usize,
    pub(crate) to: usize,
}

impl<'a> Chunks<'a> {
    /// Reads `data` from its byte `from`, an entry's beginning. The buffer holds `room` bytes, and grows to
    /// `most` when an entry is larger.
    pub(crate) fn new(
        data: &'a DataFile,
        from: u64,
        buffer: &'a mut Vec<u8>,
        room: usize,
        most: usize,
    ) -> Chunks<'a> {
        Chunks {
            data,
            buffer,
            room: room.max(1),
            most,
            at: from,
            end: data.size(),
            last: None,
        }
    }

    /// The next whole entries, or `None` at the end. A growth of the buffer is told to `grown`. Zeros, as
    /// preallocation leaves them, are the end.
    ///
    /// # Errors
    /// [`Error::Damaged`] where no next entry can be found: a size that no message has, an entry that
    /// passes the segment's end, an offset that does not rise.
    pub(crate) fn next(&mut self, mut grown: impl FnMut(Grown)) -> Result<Option<&[u8]>> {
        loop {
            let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
            if left == 0 {
                return Ok(None);
            }
            let length = left.min(self.room);
            self.buffer.resize(length, 0);
            let got = fs::read_at(self.data.file(), self.buffer, self.at)
                .map_err(|e| self.data.failed("read", e))?;
            if got < length {
                return Err(self.damaged(0, format!("{got} bytes are left where {length} must be")));
            }
            match self.walk(left)? {
                Walked::Entries(valid) => {
                    self.at += valid as u64;
                    return Ok(Some(&self.buffer[..valid]));
                }
                Walked::End => return Ok(None),
                Walked::Needs(needed) => {
                    let from = self.room;
                    while self.room < needed && self.room < self.most {
                        self.room = self.room.saturating_mul(2).min(self.most);
                    }
                    self.room = self.room.max(needed);
                    grown(Grown { from, to: self.room });
                }
            }
        }
    }

    /// How many bytes of the buffer are whole entries. `left` are the segment's bytes from there on.
    fn walk(&mut self, left: usize) -> Result<Walked> {
        let mut at = 0;
        while let Some(header) = self.buffer.get(at..at + ENTRY_OVERHEAD) {
            let (offset, size) = (u64_at(header, 0).cast_signed(), u32_at(header, 8).cast_signed());
            if (offset, size) == (0, 0) {
                // The rest of the file is none of this: what follows is not read.
                self.end = self.at + at as u64;
                return Ok(if at == 0 { Walked::End } else { Walked::Entries(at) });
            }
            let Some(size) = usize::try_from(size).ok().filter(|s| *s >= MIN_MESSAGE) else {
                return Err(self.damaged(at, format!("Invalid message size: {size}")));
            };
            let needed = ENTRY_OVERHEAD + size;
            if needed > left - at {
                return Err(self.damaged(at, format!("a message of {size} bytes passes the segment's end")));
            }
            if at + needed > self.buffer.len() {
                return Ok(if at == 0 {
                    Walked::Needs(needed)
                } else {
                    Walked::Entries(at)
                });
            }
            if self.last.is_some_and(|last| offset <= last) {
                return Err(self.damaged(at, format!("offset {offset} follows {}", self.last.unwrap_or(-1))));
            }
            self.last = Some(offset);
            at += needed;
        }
        match at {
            0 if left < ENTRY_OVERHEAD && self.buffer.iter().all(|b| *b == 0) => Ok(Walked::End),
            0 if left < ENTRY_OVERHEAD => Err(self.damaged(0, format!("{left} bytes are no message"))),
            0 => Ok(Walked::Needs(ENTRY_OVERHEAD + MIN_MESSAGE)),
            _ => Ok(Walked::Entries(at)),
        }
    }

    fn damaged(&self, at: usize, reason: String) -> Error {
        Error::Damaged {
            path: self.data.path().to_owned(),
            reason: format!("{reason} at byte {}", self.at + at as u64),
        }
    }
}

enum Walked {
    /// That many bytes are whole entries; more than none.
    Entries(usize),
    /// The first entry needs a buffer of this many bytes.
    Needs(usize),
    /// There are no more messages.
    End,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::testing::stored;

    struct Read {
        lengths: Vec<usize>,
        grown: Vec<(usize, usize)>,
        end: Result<()>,
    }

    fn read(bytes: &[u8], room: usize, most: usize) -> Read {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        std::fs::write(&path, bytes).unwrap();
        let data = DataFile::open(path).unwrap();
        let mut buffer = Vec::new();
        let mut chunks = Chunks::new(&data, 0, &mut buffer, room, most);
        let (mut lengths, mut grown, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        let end = loop {
            match chunks.next(|g| grown.push((g.from, g.to))) {
                Ok(Some(part)) => {
                    lengths.push(part.len());
                    whole.extend_from_slice(part);
                }
                Ok(None) => break Ok(()),
                Err(e) => break Err(e),
            }
        };
        assert!(bytes.starts_with(&whole));
        Read { lengths, grown, end }
    }

    fn entries(sizes: &[usize]) -> Vec<u8> {
        let one = |(offset, size): (i64, &usize)| stored(offset, &vec![7; size - 26]);
        (1..).zip(sizes).flat_map(one).collect()
    }

    #[test]
    fn a_buffer_begins_at_an_entry_and_holds_whole_ones() {
        let set = entries(&[30, 30, 50, 26, 60, 30]);
        assert_eq!(read(&set, 60, 60).lengths, [60, 50, 26, 60, 30]);
        assert_eq!(read(&set, 1000, 60).lengths, [226]);
        assert!(read(&[], 60, 60).lengths.is_empty());
    }

    #[test]
    fn it_doubles_for_a_large_entry_and_passes_the_bound_only_when_it_must() {
        let set = entries(&[30, 100, 30, 30, 500, 30]);
        let seen = read(&set, 40, 200);
        assert_eq!(seen.grown, [(40, 160), (160, 500)]);
        assert_eq!(seen.lengths, [30, 160, 500, 30]);
        assert_eq!(read(&set, 1, 1).lengths, [30, 100, 60, 500, 30]);
    }

    #[test]
    fn zeros_end_a_segment() {
        for zeros in [1, 11, 12, 13, 5000] {
            let mut set = entries(&[30, 40]);
            set.resize(70 + zeros, 0);
            for room in [35, 70, 75, 82, 83, 10_000] {
                let seen = read(&set, room, 100);
                let all: usize = seen.lengths.iter().sum();
                assert_eq!((all, seen.end.is_ok()), (70, true), "{zeros} {room}");
            }
        }
    }

    #[test]
    fn what_is_no_entry_is_damage_and_says_where() {
        let whole = entries(&[30, 40]);
        let mut cut = whole[..35].to_vec();
        cut[30] = 1;
        let with = |at: usize, byte: u8| {
            let mut set = whole.clone();
            set[at] = byte;
            read(&set, 30, 100)
        };
        for (seen, words) in [
            (with(41, 3), "Invalid message size: 3 at byte 30"),
            (with(38, 0x80), "Invalid message size: -"),
            (with(40, 1), "passes the segment's end at byte 30"),
            (with(37, 1), "offset 1 follows 1 at byte 30"),
            (read(&whole[..69], 30, 100), "passes the segment's end at byte 30"),
            (read(&cut, 30, 100), "5 bytes are no message at byte 30"),
        ] {
            assert_eq!(seen.lengths, [30], "{words}");
            let said = seen.end.unwrap_err().to_string();
            assert!(said.contains(words) && said.contains("x.log"), "{said}");
        }
    }
}
