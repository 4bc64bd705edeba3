//! What to clean: how dirty a log is, which log comes first, which segments become one, and since when a
//! deleted key's marker may be forgotten. Pure: a log describes its segments, this counts.
//!
//! ```text
//!          clean                        dirty               not looked at
//! |---------------------------|---------------------------|--------------|
//! log start             first dirty offset           end of what may be cleaned
//! ```
//!
//! The segment that grows is never looked at, nor what replicas may still have to give up.

use std::ops::Range;
use std::time::Duration;

use crate::message::Offset;
use crate::util::clock::WallMs;

/// What the rules need to know of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentFacts {
    /// Its first offset.
    pub(crate) base: Offset,
    /// The next segment's.
    pub(crate) next: Offset,
    /// Bytes of its messages.
    pub(crate) size: u64,
    /// Bytes of its index.
    pub(crate) index_size: u64,
    /// When it last grew; a cleaned one keeps the time of the last that it was made of.
    pub(crate) modified: WallMs,
}

/// Where the cleaning of a log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstDirty {
    /// As was remembered, or at the log's start if nothing was.
    At(Offset),
    /// What was remembered lies before the log's start, which counts instead.
    Reset {
        /// The log's start.
        start: Offset,
        /// What was remembered.
        remembered: Offset,
    },
}

impl FirstDirty {
    /// For a log that begins at `start` and whose cleaning may reach `end`.
    pub(crate) fn of(remembered: Option<Offset>, start: Offset, end: Offset) -> FirstDirty {
        match remembered {
            Some(remembered) if remembered < start => FirstDirty::Reset { start, remembered },
            remembered => FirstDirty::At(remembered.unwrap_or(start).min(end.max(start))),
        }
    }

    /// The offset.
    pub(crate) fn offset(self) -> Offset {
        match self {
            FirstDirty::At(offset) | FirstDirty::Reset { start: offset, .. } => offset,
        }
    }
}

/// How dirty a log is. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dirt {
    pub(crate) clean: u64,
    pub(crate) dirty: u64,
}

impl Dirt {
    /// Of a log with these segments to look at. The cleaning may have stopped within a segment:
    /// `within` are the bytes before `first_dirty` in the one that holds it.
    pub(crate) fn of(segments: &[SegmentFacts], first_dirty: Offset, within: u64) -> Dirt {
        let mut dirt = Dirt::default();
        for s in segments {
            let clean = match first_dirty {
                f if f >= s.next => s.size,
                f if f > s.base => within.min(s.size),
                _ => 0,
            };
            dirt.clean += clean;
            dirt.dirty += s.size - clean;
        }
        dirt
    }

    /// The dirty share, from 0 to 1; `None` if there is nothing at all.
    pub(crate) fn ratio(self) -> Option<f64> {
        let all = self.clean + self.dirty;
        (all > 0).then(|| self.dirty as f64 / all as f64)
    }
}

/// A log that may be cleaned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<T> {
    pub(crate) log: T,
    pub(crate) ratio: f64,
    /// `min.cleanable.dirty.ratio`
    pub(crate) least: f64,
}

/// The dirtiest of those that are dirty enough; of equals the first.
pub(crate) fn filthiest<T>(candidates: impl IntoIterator<Item = Candidate<T>>) -> Option<T> {
    let enough = candidates.into_iter().filter(|c| c.ratio > c.least);
    let dirtiest = enough.reduce(|a, b| if b.ratio > a.ratio { b } else { a });
    dirtiest.map(|c| c.log)
}

/// Which neighbours become one segment: as many as stay within both bounds together and whose offsets
/// still fit four bytes behind the first one's. A segment that passes a bound alone stays alone.
///
/// 0.9.0.1 looks at the last offset in each index, which may be far below the last message's
/// (KAFKA-5413); here it is the next segment's base.
pub(crate) fn groups(
    segments: &[SegmentFacts],
    segment_bytes: u64,
    segment_index_bytes: u64,
) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut at = 0;
    while let Some(first) = segments.get(at) {
        let (mut size, mut index_size) = (first.size, first.index_size);
        let mut end = at + 1;
        while let Some(next) = segments.get(end) {
            size += next.size;
            index_size += next.index_size;
            let fits = size <= segment_bytes
                && index_size <= segment_index_bytes
                && next.next - 1 - first.base <= Offset::from(i32::MAX);
            if !fits {
                break;
            }
            end += 1;
        }
        groups.push(at..end);
        at = end;
    }
    groups
}

/// Until when a deleted key's marker must have been written to be forgotten: `delete.retention.ms` before
/// the last clean segment last grew. `None` if nothing is clean yet: all are kept.
pub(crate) fn delete_horizon(
    segments: &[SegmentFacts],
    first_dirty: Offset,
    delete_retention: Duration,
) -> Option<WallMs> {
    let last_clean = segments.iter().rfind(|s| s.next <= first_dirty)?;
    let retention = i64::try_from(delete_retention.as_millis()).unwrap_or(i64::MAX);
    Some(WallMs(last_clean.modified.0.saturating_sub(retention)))
}

/// Whether markers of deleted keys stay in this segment. They stay where they may never have been seen:
/// in what was not cleaned before (0.9.0.1 goes by times alone).
pub(crate) fn retains_deletes(
    segment: &SegmentFacts,
    first_dirty: Offset,
    delete_horizon: Option<WallMs>,
) -> bool {
    segment.next > first_dirty || delete_horizon.is_none_or(|horizon| segment.modified > horizon)
}

/// How much of a dirty segment the table of keys takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// All: there is room even if every offset has a key of its own.
    Whole,
    /// What there is room for, perhaps all.
    UntilFull,
    /// Nothing: it is for the next time.
    Nothing,
}

/// The share of the segment that comes next, with room for `room` of `capacity` keys.
///
/// Segments are taken in whole, as in 0.9.0.1, so that both stop at the same places. One that an empty
/// table may not hold ends 0.9.0.1's cleaner for good (KAFKA-3587); here it is taken in as far as it goes,
/// which for a segment with many gaps or few keys is to its end (KAFKA-3894).
pub(crate) fn share(segment: &SegmentFacts, from: Offset, room: u64, capacity: u64) -> Share {
    let offsets = u64::try_from(segment.next - from.max(segment.base)).unwrap_or(0);
    match offsets {
        n if n > capacity => Share::UntilFull,
        n if n <= room => Share::Whole,
        _ => Share::Nothing,
    }
}

#[cfg(test)]
mod tests;
