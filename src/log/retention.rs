//! Which segments a log may lose. Pure: the log describes its segments, this counts.

use std::time::Duration;

use crate::message::Offset;
use crate::util::clock::WallMs;

/// What the rules need to know of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// The offset after its last message.
    pub(crate) next: Offset,
    /// Its bytes.
    pub(crate) size: u64,
    /// When it last grew.
    pub(crate) modified: WallMs,
}

/// How many of the oldest segments have not grown for longer than `retention`. The last one counts
/// only if it holds something.
pub(crate) fn expired(segments: &[Summary], retention: Option<Duration>, now: WallMs) -> usize {
    let Some(retention) = retention else {
        return 0;
    };
    let too_old = |s: &Summary| {
        let age = now.0.saturating_sub(s.modified.0);
        u128::try_from(age).is_ok_and(|age| age > retention.as_millis())
    };
    prefix(segments, too_old)
}

/// How many of the oldest segments can go with `retention_bytes` still left; negative for no bound.
pub(crate) fn beyond_size(segments: &[Summary], retention_bytes: i64) -> usize {
    let Ok(bound) = u64::try_from(retention_bytes) else {
        return 0;
    };
    let mut left: u64 = segments.iter().map(|s| s.size).sum();
    prefix(segments, |s| match left.checked_sub(s.size) {
        Some(rest) if rest >= bound => {
            left = rest;
            true
        }
        _ => false,
    })
}

/// How many of the oldest segments hold nothing at `high_watermark` or above.
pub(crate) fn committed(segments: &[Summary], high_watermark: Offset) -> usize {
    segments.iter().take_while(|s| s.next <= high_watermark).count()
}

fn prefix(segments: &[Summary], mut goes: impl FnMut(&Summary) -> bool) -> usize {
    let count = segments.iter().take_while(|s| goes(s)).count();
    match segments.last() {
        Some(last) if count == segments.len() && last.size == 0 => count - 1,
        _ => count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(sizes_and_ages: &[(u64, i64)]) -> Vec<Summary> {
        let summary = |(i, (size, age)): (usize, &(u64, i64))| Summary {
            next: (i as i64 + 1) * 10,
            size: *size,
            modified: WallMs(100_000 - age),
        };
        sizes_and_ages.iter().enumerate().map(summary).collect()
    }

    const NOW: WallMs = WallMs(100_000);

    #[test]
    fn only_the_oldest_expire_and_only_past_the_time() {
        let s = segments(&[(5, 5001), (5, 5000), (5, 9000)]);
        assert_eq!(expired(&s, Some(Duration::from_secs(5)), NOW), 1);
        assert_eq!(expired(&s, None, NOW), 0);
    }

    #[test]
    fn the_last_expires_too_unless_it_is_empty() {
        let old = segments(&[(5, 9000), (5, 9000)]);
        assert_eq!(expired(&old, Some(Duration::from_secs(5)), NOW), 2);
        let empty = segments(&[(5, 9000), (0, 9000)]);
        assert_eq!(expired(&empty, Some(Duration::from_secs(5)), NOW), 1);
    }

    #[test]
    fn a_log_never_shrinks_below_its_size_bound() {
        let s = segments(&[(10, 0), (10, 0), (10, 0)]);
        for (bound, goes) in [
            (-1, 0),
            (0, 3),
            (9, 2),
            (10, 2),
            (11, 1),
            (20, 1),
            (21, 0),
            (30, 0),
        ] {
            assert_eq!(beyond_size(&s, bound), goes, "{bound}");
        }
    }

    #[test]
    fn nothing_at_the_high_watermark_or_above_goes() {
        let s = segments(&[(1, 0), (1, 0)]);
        for (hw, goes) in [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (i64::MAX, 2)] {
            assert_eq!(committed(&s, hw), goes, "{hw}");
        }
    }
}
