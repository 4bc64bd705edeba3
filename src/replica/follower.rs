//! What a leader knows of one follower. Pure.

use crate::log::LogPosition;
use crate::message::Offset;
use crate::util::clock::Mono;

/// One follower's progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Follower {
    /// Where it asked from last, so up to where it has everything; `None` if unknown.
    pub(super) end: Option<LogPosition>,
    /// When it last had all that there was.
    pub(super) caught_up: Mono,
    /// When it fetched first in this leadership.
    pub(super) first: Option<Mono>,
    /// If it lives, it asks again by then.
    pub(super) expected: Mono,
    /// How many times in a row it has asked from below the high watermark.
    pub(super) below: u32,
    /// The leader's end at its last fetch, and when that was.
    last: Option<(Offset, Mono)>,
}

impl Follower {
    /// Not heard of; counted as caught up at `now`.
    pub(super) fn unknown(now: Mono) -> Follower {
        Follower {
            end: None,
            caught_up: now,
            first: None,
            expected: now,
            below: 0,
            last: None,
        }
    }

    /// It asked for messages from `at` when the leader's log ended at `leader_end`.
    ///
    /// Under steady writes a healthy follower may never ask from the very end. Who asks from what was
    /// the end at its fetch before had caught up at that time.
    pub(super) fn fetched(&mut self, at: Option<LogPosition>, leader_end: Offset, now: Mono) {
        self.end = at;
        if let Some(at) = at {
            if at.offset >= leader_end {
                self.caught_up = now;
            } else if let Some((end, then)) = self.last
                && at.offset >= end
            {
                self.caught_up = self.caught_up.max(then);
            }
        }
        self.last = Some((leader_end, now));
    }
}
