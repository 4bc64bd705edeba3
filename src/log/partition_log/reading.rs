//! Reading from a log without getting into the way of appends.

use std::ops::Bound;
use std::sync::Arc;

use crate::log::segment::{Found, Segment};
use crate::log::{Error, Result};
use crate::message::Offset;
use crate::util::clock::WallMs;
use crate::util::fs::{FileOwner, FileSlice};

use super::{Fetched, Log, LogPosition};

impl Log {
    /// The messages from `offset` on: at most `max_bytes`, of one segment, all below `up_to` (a high
    /// watermark) if it is given.
    ///
    /// The first entry handed out is the first whose offset is `offset` or more. A wrapper has the
    /// offset of its last message, so the first messages inside may be below; readers skip them. The
    /// slice may end within an entry, even the first. At the log's end, at `up_to` or above it the
    /// answer is empty.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] outside what is kept, [`Error::NegativeSize`]; [`Error::Storage`] takes the
    /// log directory out of use.
    pub fn read(&self, offset: Offset, max_bytes: i32, up_to: Option<Offset>) -> Result<Fetched> {
        self.directory.watch(self.look_up(offset, max_bytes, up_to))
    }

    fn look_up(&self, offset: Offset, max_bytes: i32, up_to: Option<Offset>) -> Result<Fetched> {
        let max = usize::try_from(max_bytes).map_err(|_| Error::NegativeSize(max_bytes))?;
        let (end, mut segment) = self.floor(offset)?;
        if offset == end.offset {
            return Ok(Fetched { at: end, slice: None });
        }
        loop {
            let limit = limit(&segment, &end);
            // A bound that is the end bounds nothing.
            let bound = up_to.filter(|b| *b < end.offset).map(|b| b.max(offset));
            if let Some(found) = segment.read(offset, max, bound, limit)? {
                return Ok(Fetched {
                    at: LogPosition {
                        offset,
                        segment: segment.base(),
                        position: found.position,
                    },
                    slice: (found.len > 0).then(|| self.slice(&segment, found)),
                });
            }
            // Nothing that high here: an empty segment, or one that lost its last messages.
            match self.above(segment.base()) {
                Some(next) if next.base() <= end.segment => segment = next,
                _ => {
                    return Ok(Fetched { at: end, slice: None });
                }
            }
        }
    }

    /// Part of a segment; a disk that fails while it is sent takes the log directory out of use.
    fn slice(&self, segment: &Arc<Segment>, found: Found) -> FileSlice {
        let mut slice = segment.data().slice(found.position, found.len);
        let (directory, segment) = (Arc::clone(&self.directory), Arc::clone(segment));
        slice.owner = Some(FileOwner::new(move |e| {
            let _ = directory.watch(Err::<(), _>(segment.data().failed("read", e)));
        }));
        slice
    }

    /// An offset at which an entry begins about `bytes` before that of `offset`, or the log's first; never
    /// above `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] outside what is kept.
    pub fn back(&self, offset: Offset, bytes: u64) -> Result<Offset> {
        let (end, mut segment) = self.floor(offset)?;
        let limit = limit(&segment, &end);
        let mut before = segment.find(offset, limit)?.map_or(limit, |found| found.position);
        let mut left = bytes;
        while before <= left {
            left -= before;
            match self.below(segment.base()) {
                Some(older) => segment = older,
                None => return Ok(segment.base().min(offset)),
            }
            before = segment.size();
        }
        // In a gap the entry found is the one behind it.
        Ok(segment.offset_near(before - left)?.min(offset))
    }

    /// Where `offset` is, or will be if it is the next; `None` outside of what is kept.
    pub fn locate(&self, offset: Offset) -> Option<LogPosition> {
        let end = self.end();
        if offset == end.offset {
            return Some(end);
        }
        self.read(offset, 0, None).ok().map(|fetched| fetched.at)
    }

    /// Offsets that messages appended up to `timestamp` are below, the nearest first, at most `max`:
    /// beginnings of segments that had last grown by then, and the log's end if that time is not in
    /// the past. -1 asks for the end, -2 for the beginning.
    pub fn offsets_before(&self, timestamp: i64, max: i32, now: WallMs) -> Vec<Offset> {
        let (mut known, last_has_some): (Vec<(Offset, i64)>, bool) = {
            let segments = self.segments();
            let last = segments.last_key_value().expect("a log has a segment").1;
            (
                segments.values().map(|s| (s.base(), s.modified().0)).collect(),
                last.size() > 0,
            )
        };
        if last_has_some {
            known.push((self.end().offset, now.0));
        }
        let count = match timestamp {
            -1 => known.len(),
            -2 => 1,
            _ => known
                .iter()
                .rposition(|(_, t)| *t <= timestamp)
                .map_or(0, |i| i + 1),
        };
        let newest_first = known[..count].iter().rev().map(|(offset, _)| *offset);
        newest_first.take(usize::try_from(max).unwrap_or(0)).collect()
    }

    /// The log's end and the segment in which to look for `offset`, as of one moment.
    fn floor(&self, offset: Offset) -> Result<(LogPosition, Arc<Segment>)> {
        let segments = self.segments();
        let end = self.end();
        let floor = segments.range(..=offset).next_back();
        match floor {
            Some((_, segment)) if offset <= end.offset => Ok((end, Arc::clone(segment))),
            _ => Err(Error::OutOfRange {
                offset,
                start: *segments.first_key_value().expect("a log has a segment").0,
                end: end.offset,
            }),
        }
    }

    fn below(&self, base: Offset) -> Option<Arc<Segment>> {
        let segments = self.segments();
        let below = segments.range(..base).next_back();
        below.map(|(_, segment)| Arc::clone(segment))
    }

    fn above(&self, base: Offset) -> Option<Arc<Segment>> {
        let segments = self.segments();
        let mut above = segments.range((Bound::Excluded(base), Bound::Unbounded));
        above.next().map(|(_, segment)| Arc::clone(segment))
    }
}

/// How many bytes of `segment` may be read when the log ends at `end`.
fn limit(segment: &Segment, end: &LogPosition) -> u64 {
    if segment.base() == end.segment {
        end.position
    } else {
        segment.size()
    }
}
