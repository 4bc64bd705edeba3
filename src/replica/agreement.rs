//! How far a follower's copy is known to be the leader's, and what to do where it is not. Pure: offsets
//! go in, questions and verdicts come out; [`compare`](super::compare) looks at the bytes.
//!
//! ```text
//!              ask                      equal, up to the copy's end
//!  doubted ──────────> comparing ───────────────────────────────────> agreed
//!     ▲               from  verified     differs above `committed`:       │
//!     │                │                  cut there ──────────────────────┘
//!     │                └ differs below: look back further, compare again, cut where a long
//!     │                  stretch before it is equal
//!     └ another leader, a decision that was missed, a new connection, a leader that says it is none
//! ```
//!
//! 0.9.0.1 cuts every new follower to its high watermark, which trails what the leader acknowledged by one
//! fetch: if that leader goes before the follower has fetched again, the acknowledged tail is gone
//! (KAFKA-1211, KIP-101). Here a follower asks from a little before its high watermark on, and throws away
//! only what the leader's copy of the same offsets proves to be different. What the leader lacks it keeps
//! until the leader has something else there.
//!
//! A leader counts what a follower has by where it asks from. So a follower that compares asks from
//! `verified` and never from its log's end, and its high watermark does not pass `verified` either.
//!
//! Below the high watermark copies differ only if something was lost: by an unclean election, by disks
//! that forgot, by a genuine broker's cut. Then where they part is looked for further and further back,
//! until all of a stretch of [`LONG_STRETCH`], or everything from the log's beginning, is equal.

use crate::message::Offset;

/// How many bytes before the high watermark are compared at first.
pub const STRETCH: u64 = 16 << 10;

/// How many equal bytes before a difference show that there is no other before it.
pub const LONG_STRETCH: u64 = 8 << 20;

/// By how much the next stretch is longer.
const GROWTH: u64 = 8;

/// What a copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset of its first message, or of the next if it has none.
    pub start: Offset,
    /// Offset of its next message.
    pub end: Offset,
}

/// Where to ask the leader from. The answer counts only in the run that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The first offset wanted; all below is the leader's.
    pub offset: Offset,
    /// Which run asks.
    pub run: u64,
}

/// What to do about a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Cut the copy there: all before is the leader's.
    Cut(Offset),
    /// Compare from this many bytes before this offset on; call [`Agreement::look_from`].
    LookBack {
        /// The difference.
        before: Offset,
        /// How many bytes.
        bytes: u64,
    },
}

/// What became of a question that was out of the leader's range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// Ask again.
    Again,
    /// The leader's log begins after the copy's end: begin the copy there.
    StartAt(Offset),
    /// The leader's log ends below what was asked for. Compare from this many bytes before its end on;
    /// call [`Agreement::look_from`].
    Shorter {
        /// Where the leader's log ends.
        end: Offset,
        /// How many bytes.
        bytes: u64,
    },
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Agreement {
    run: u64,
    connection: u64,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    Doubted,
    Comparing(Comparing),
    Agreed,
}

#[derive(Clone, Copy, Debug)]
struct Comparing {
    /// Nothing before is there to compare.
    floor: Offset,
    /// Where the stretch begins.
    from: Offset,
    /// Equal from `from` up to here.
    verified: Offset,
    /// The high watermark when the comparison began.
    committed: Offset,
    /// How many bytes were looked back.
    stretch: u64,
    /// A difference below `committed`, met by the stretch before this one.
    suspect: Option<Offset>,
}

impl Default for Agreement {
    fn default() -> Self {
        Agreement {
            run: 0,
            connection: 0,
            stage: Stage::Doubted,
        }
    }
}

impl Agreement {
    /// Nothing is known of the leader's log any more. Answers to earlier questions are void.
    pub fn doubt(&mut self) {
        self.stage = Stage::Doubted;
        self.run += 1;
    }

    /// Whether the whole copy is the leader's.
    pub fn is_whole(&self) -> bool {
        matches!(self.stage, Stage::Agreed)
    }

    /// Whether an answer to `question` still counts.
    pub fn is_current(&self, question: &Question) -> bool {
        self.run == question.run && !matches!(self.stage, Stage::Doubted)
    }

    /// Where to ask from, over the connection of that number: another one may lead to another life of the
    /// leader. `back` finds an offset about so many bytes before another.
    ///
    /// # Errors
    /// Those of `back`.
    pub fn ask<E>(
        &mut self,
        connection: u64,
        copy: Extent,
        high_watermark: Offset,
        back: impl FnOnce(Offset, u64) -> Result<Offset, E>,
    ) -> Result<Question, E> {
        if self.connection != connection {
            self.connection = connection;
            self.doubt();
        }
        if let Stage::Doubted = self.stage {
            let mut begun = Comparing::begin(copy, high_watermark);
            begun.look_from(back(begun.committed, STRETCH)?);
            self.stage = Stage::Comparing(begun);
            self.settle(copy.end);
        }
        Ok(Question {
            offset: self.verified(copy.end),
            run: self.run,
        })
    }

    /// Up to where the copy, which ends at `end`, is known to be the leader's.
    pub fn verified(&self, end: Offset) -> Offset {
        match &self.stage {
            Stage::Comparing(c) => c.verified.min(end),
            Stage::Agreed => end,
            Stage::Doubted => 0,
        }
    }

    /// The high watermark of a copy that ends at `end`, when the leader's is `leaders`: it does not move
    /// while the comparison has not come up to where it was.
    pub fn high_watermark(&self, old: Offset, leaders: Offset, end: Offset) -> Offset {
        match &self.stage {
            Stage::Comparing(c) if c.verified >= c.committed => leaders.clamp(0, c.verified.min(end)),
            Stage::Agreed => leaders.clamp(0, end),
            Stage::Comparing(_) | Stage::Doubted => old.min(end),
        }
    }

    /// The copy, which ends at `end`, is equal up to `to`.
    pub fn equal_up_to(&mut self, to: Offset, end: Offset) {
        if let Stage::Comparing(c) = &mut self.stage {
            c.verified = c.verified.max(to);
        }
        self.settle(end);
    }

    fn settle(&mut self, end: Offset) {
        if matches!(&self.stage, Stage::Comparing(c) if c.verified >= end) {
            self.stage = Stage::Agreed;
        }
    }

    /// The copy differs from the leader's at [`verified`](Self::verified).
    pub fn differs(&mut self) -> Verdict {
        let Stage::Comparing(c) = &mut self.stage else {
            // Nothing is compared once all is agreed: not to be cut.
            return Verdict::Cut(Offset::MAX);
        };
        let at = c.verified;
        let long = c.suspect == Some(at) && c.stretch >= LONG_STRETCH;
        if at >= c.committed || c.from <= c.floor || long {
            return Verdict::Cut(at);
        }
        c.suspect = Some(at);
        c.stretch = c.stretch.saturating_mul(GROWTH);
        Verdict::LookBack {
            before: at,
            bytes: c.stretch,
        }
    }

    /// Compares from `from` on.
    pub fn look_from(&mut self, from: Offset) {
        if let Stage::Comparing(c) = &mut self.stage {
            c.look_from(from);
        }
    }

    /// The copy was cut, or begun anew, so that all of it is the leader's.
    pub fn cut(&mut self) {
        self.stage = Stage::Agreed;
    }

    /// The leader, whose log spans `leader`, does not have the offset that was asked for.
    pub fn out_of_range(
        &mut self,
        asked: Offset,
        copy: Extent,
        leader: Extent,
        high_watermark: Offset,
    ) -> Range {
        if leader.start > copy.end {
            return Range::StartAt(leader.start);
        }
        if leader.start <= asked && asked <= leader.end {
            return Range::Again;
        }
        let mut comparing = match &self.stage {
            Stage::Comparing(c) => *c,
            Stage::Doubted | Stage::Agreed => Comparing::begin(copy, high_watermark),
        };
        let range = if leader.end < asked {
            // It may end before the copy begins.
            comparing.floor = comparing.floor.min(leader.end);
            Range::Shorter {
                end: leader.end,
                bytes: comparing.stretch,
            }
        } else {
            comparing.floor = leader.start;
            comparing.look_from(leader.start);
            Range::Again
        };
        self.stage = Stage::Comparing(comparing);
        self.settle(copy.end);
        range
    }
}

impl Comparing {
    fn begin(copy: Extent, high_watermark: Offset) -> Comparing {
        let committed = high_watermark.clamp(copy.start, copy.end);
        Comparing {
            floor: copy.start,
            from: committed,
            verified: committed,
            committed,
            stretch: STRETCH,
            suspect: None,
        }
    }

    fn look_from(&mut self, from: Offset) {
        self.from = from.max(self.floor);
        self.verified = self.from;
    }
}
