//! When a waiting produce or fetch is done. Pure.

use crate::log::LogPosition;
use crate::message::Offset;

use super::error::AfterAppend;

/// What one partition says to a produce that waits for its replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicated {
    /// Not all in-sync replicas have it.
    NotYet,
    /// They have.
    Yes,
    /// It will not come true.
    Failed(AfterAppend),
}

/// Judges an append whose last message has offset `last`: all in-sync replicas have it once the high
/// watermark is past it, and then they must be enough.
pub(super) fn produce_done(last: Offset, high_watermark: Offset, in_sync: usize, least: i32) -> Replicated {
    if high_watermark <= last {
        Replicated::NotYet
    } else if i32::try_from(in_sync).unwrap_or(i32::MAX) < least {
        Replicated::Failed(AfterAppend::TooFew)
    } else {
        Replicated::Yes
    }
}

/// What is worth reading of one partition for a fetch that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// So many bytes.
    Bytes(u64),
    /// An answer at once: what there is cannot be counted without reading.
    Everything,
}

/// Compares where a fetch begins with where what it may see ends (high watermark or log end).
///
/// Another segment means that the log rolled or was cut: read again at once.
pub(super) fn fetch_worth(from: &LogPosition, end: &LogPosition, max_bytes: i32) -> Worth {
    if end.offset == from.offset {
        return Worth::Bytes(0);
    }
    if end.segment != from.segment {
        return Worth::Everything;
    }
    let there = end.position.saturating_sub(from.position);
    Worth::Bytes(there.min(u64::try_from(max_bytes).unwrap_or(0)))
}

/// Whether a fetch over partitions of these worths has `min_bytes`.
pub(super) fn fetch_done(worths: impl IntoIterator<Item = Worth>, min_bytes: i32) -> bool {
    let mut sum = 0;
    for worth in worths {
        match worth {
            Worth::Everything => return true,
            Worth::Bytes(n) => sum += n,
        }
    }
    i64::try_from(sum).unwrap_or(i64::MAX) >= i64::from(min_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: Offset, segment: Offset, position: u64) -> LogPosition {
        LogPosition {
            offset,
            segment,
            position,
        }
    }

    #[test]
    fn a_produce_waits_for_the_high_watermark_and_then_for_enough_replicas() {
        assert_eq!(produce_done(9, 9, 3, 1), Replicated::NotYet);
        assert_eq!(produce_done(9, 10, 2, 2), Replicated::Yes);
        assert_eq!(produce_done(9, 10, 1, 2), Replicated::Failed(AfterAppend::TooFew));
    }

    #[test]
    fn a_fetch_counts_bytes_within_a_segment_up_to_each_partitions_maximum() {
        let worth = |max| fetch_worth(&at(3, 0, 100), &at(9, 0, 400), max);
        assert_eq!(worth(1000), Worth::Bytes(300));
        assert_eq!(worth(50), Worth::Bytes(50));
        assert!(!fetch_done([worth(50), worth(49)], 100));
        assert!(fetch_done([worth(50), worth(50)], 100));
        assert!(!fetch_done([fetch_worth(&at(3, 0, 100), &at(3, 0, 100), 9)], 1));
    }

    #[test]
    fn a_roll_or_a_cut_ends_the_wait_but_an_empty_new_segment_does_not() {
        assert_eq!(fetch_worth(&at(3, 0, 100), &at(9, 5, 40), 9), Worth::Everything);
        assert_eq!(fetch_worth(&at(9, 5, 40), &at(3, 0, 100), 9), Worth::Everything);
        assert_eq!(fetch_worth(&at(9, 5, 40), &at(9, 9, 0), 9), Worth::Bytes(0));
        assert!(fetch_done([Worth::Everything], i32::MAX));
    }
}
