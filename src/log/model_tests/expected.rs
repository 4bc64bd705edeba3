//! What a log must hold, and what it may hold after something went wrong: a plain list with the rules. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::log::testing::last_values;
use crate::message::Offset;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kept {
    pub(super) offset: Offset,
    pub(super) key: Option<String>,
    /// `None` marks a deleted key.
    pub(super) value: Option<String>,
    /// The offset of the wrapper it is in, or its own.
    pub(super) group: Offset,
}

/// What a log was seen to be.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) start: Offset,
    pub(super) end: Offset,
    pub(super) kept: Vec<Kept>,
}

/// What was being done to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Doing {
    /// Nothing that changes what is in it.
    Nothing,
    Append(Vec<Kept>),
    Truncate(Offset),
    /// All goes; the next message gets this offset.
    StartAt(Offset),
    Retain,
    Clean {
        /// Nothing from here on may be looked at.
        cleanable: Offset,
        /// Below this each key is there once.
        clean_below: Offset,
    },
    Deleted,
    Stopped,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    Done,
    /// Anywhere in the middle; the system went on.
    Cut,
    /// Anywhere in the middle, and what was not synced is there, or not, or in part.
    PowerLoss,
}

impl Doing {
    /// Whether it does not tell that it failed.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self, Doing::Nothing | Doing::Clean { .. } | Doing::Retain)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) start: Offset,
    pub(super) end: Offset,
    pub(super) kept: Vec<Kept>,
    /// Everything below outlives the machine.
    durable: Offset,
    /// The log's word for it, as of the last step.
    recovery_point: Offset,
    /// Given up, but a power loss may bring it back.
    ghosts: BTreeSet<Kept>,
}

impl Expected {
    /// Panics if `seen` may not be.
    pub(super) fn check(&self, doing: &Doing, end: End, seen: &Seen) {
        let rises = |pair: &[Kept]| pair[0].offset < pair[1].offset;
        assert!(seen.kept.windows(2).all(rises));
        assert!(seen.kept.first().is_none_or(|k| seen.start <= k.offset));
        assert!(seen.kept.last().is_none_or(|k| k.offset < seen.end));
        assert!(seen.start <= seen.end);
        match end {
            End::Done => self.check_done(doing, seen),
            End::Cut => self.check_cut(doing, seen),
            End::PowerLoss => self.check_loss(doing, seen),
        }
    }

    fn check_done(&self, doing: &Doing, seen: &Seen) {
        let (mut start, mut end) = (self.start, self.end);
        match doing {
            Doing::Nothing | Doing::Stopped | Doing::Deleted => same(&seen.kept, &self.kept),
            Doing::Append(new) => {
                same(&seen.kept, &[&self.kept[..], new].concat());
                end = new.last().expect("one at least").offset + 1;
            }
            Doing::Truncate(target) => {
                same(&seen.kept, &self.below(*target));
                end = *target;
            }
            Doing::StartAt(target) => {
                same(&seen.kept, &[]);
                (start, end) = (*target, *target);
            }
            Doing::Retain => {
                assert!(self.kept.ends_with(&seen.kept));
                assert!(seen.start >= self.start);
                start = seen.start;
            }
            Doing::Clean {
                cleanable,
                clean_below,
            } => self.check_cleaned(*cleanable, *clean_below, seen),
        }
        assert_eq!((seen.start, seen.end), (start, end));
    }

    fn check_cut(&self, doing: &Doing, seen: &Seen) {
        match doing {
            Doing::Nothing | Doing::Stopped => same(&seen.kept, &self.kept),
            Doing::Append(new) => {
                assert!([&self.kept[..], new].concat().starts_with(&seen.kept));
                assert!(seen.kept.len() >= self.kept.len());
            }
            Doing::Truncate(target) => {
                assert!(self.kept.starts_with(&seen.kept));
                assert!(seen.kept.len() >= self.below(*target).len());
            }
            Doing::StartAt(_) => assert!(self.kept.starts_with(&seen.kept)),
            Doing::Deleted => assert!(seen.kept.is_empty() || seen.kept == self.kept),
            Doing::Retain => assert!(self.kept.ends_with(&seen.kept)),
            Doing::Clean { cleanable, .. } => self.check_cleaned(*cleanable, 0, seen),
        }
        if !matches!(doing, Doing::Append(_) | Doing::StartAt(_) | Doing::Deleted) {
            // What a truncation left empty at the end is forgotten with the process.
            assert!(seen.end <= self.end, "{} {}", seen.end, self.end);
        }
    }

    /// The rules of compaction: nothing appears or changes; what may not be looked at is all there; of each
    /// key the last value is there; below `clean_below`, only the last.
    fn check_cleaned(&self, cleanable: Offset, clean_below: Offset, seen: &Seen) {
        let before: BTreeMap<_, _> = self.kept.iter().map(|k| (k.offset, k)).collect();
        for k in &seen.kept {
            assert!(same_message(before[&k.offset], k), "{k:?}");
        }
        let left: BTreeSet<Offset> = seen.kept.iter().map(|k| k.offset).collect();
        for k in self.kept.iter().filter(|k| !left.contains(&k.offset)) {
            assert!(k.offset < cleanable, "{k:?} may not be looked at");
        }
        assert_eq!(state(&seen.kept), state(&self.kept));
        let mut once = BTreeSet::new();
        for k in seen.kept.iter().filter(|k| k.offset < clean_below) {
            assert!(
                once.insert(&k.key),
                "{k:?} has an earlier one below {clean_below}"
            );
        }
    }

    /// Each message is one that was; what was flushed is there, unless it was just being given up.
    fn check_loss(&self, doing: &Doing, seen: &Seen) {
        let new: &[Kept] = match doing {
            Doing::Append(new) => new,
            _ => &[],
        };
        let mut known: BTreeMap<Offset, Vec<&Kept>> = BTreeMap::new();
        for k in self.kept.iter().chain(&self.ghosts).chain(new) {
            known.entry(k.offset).or_default().push(k);
        }
        for k in &seen.kept {
            let was = known
                .get(&k.offset)
                .is_some_and(|all| all.iter().any(|a| same_message(a, k)));
            assert!(was, "{k:?} never was");
        }
        let durable = self.durable_during(doing);
        let found: BTreeMap<_, _> = seen.kept.iter().map(|k| (k.offset, k)).collect();
        let is_there = |k: &&Kept| found.get(&k.offset).is_some_and(|f| same_message(f, k));
        let flushed: Vec<&Kept> = self.kept.iter().filter(|k| k.group < durable).collect();
        let lost: Vec<&&Kept> = flushed.iter().filter(|k| !is_there(k)).collect();
        match doing {
            Doing::Deleted if seen.kept.is_empty() => {}
            // From the end on.
            Doing::StartAt(_) => {
                let first = lost.first().map_or(Offset::MAX, |k| k.offset);
                assert!(flushed.iter().filter(|k| is_there(k)).all(|k| k.offset < first));
            }
            // From the beginning on.
            Doing::Retain => {
                let last = lost.last().map_or(-1, |k| k.offset);
                assert!(flushed.iter().filter(|k| is_there(k)).all(|k| k.offset > last));
            }
            Doing::Clean { cleanable, .. } => {
                for k in lost {
                    assert!(k.offset < *cleanable, "{k:?} may not be looked at");
                    let later = seen.kept.iter().any(|l| l.key == k.key && l.offset > k.offset);
                    // A mark that deletes may go in the same cleaning, after what it deleted.
                    let marks = |l: &&&Kept| l.key == k.key && l.offset > k.offset && l.value.is_none();
                    let deleted = k.value.is_none() || flushed.iter().any(|l| marks(&l));
                    assert!(
                        k.key.is_none() || later || deleted,
                        "{k:?} was the last of its key, and flushed below {durable}"
                    );
                    let earlier = seen.kept.iter().any(|l| l.key == k.key && l.offset < k.offset);
                    assert!(
                        k.key.is_none() || later || !earlier,
                        "what {k:?} deleted came back"
                    );
                }
            }
            _ => assert!(lost.is_empty(), "{lost:?} was flushed, below {durable}"),
        }
    }

    fn durable_during(&self, doing: &Doing) -> Offset {
        match doing {
            Doing::Truncate(target) | Doing::StartAt(target) => self.durable.min(*target),
            _ => self.durable,
        }
    }

    /// What a truncation leaves: a wrapper that reaches across goes whole.
    fn below(&self, target: Offset) -> Vec<Kept> {
        let below = self.kept.iter().filter(|k| k.group < target);
        below.cloned().collect()
    }

    /// From now on it is as it was seen, after what was done.
    pub(super) fn become_(&mut self, doing: &Doing, seen: Seen) {
        self.durable = match doing {
            Doing::StartAt(_) => self.durable_during(doing).min(seen.end),
            _ => self.durable_during(doing),
        };
        let gone = std::mem::replace(&mut self.kept, seen.kept);
        // What the cleaner takes is gone for good when it is done.
        if !matches!(doing, Doing::Clean { .. }) {
            self.ghosts.extend(gone);
        }
        (self.start, self.end) = (seen.start, seen.end);
    }

    /// As [`Self::become_`], after the death of the process or, with `power`, of the machine.
    pub(super) fn died(&mut self, doing: &Doing, power: bool, seen: Seen) {
        self.ghosts.extend(std::mem::take(&mut self.kept));
        if let Doing::Append(new) = doing {
            self.ghosts.extend(new.iter().cloned());
        }
        self.durable = match power {
            true => seen.end,
            false => self.durable_during(doing).min(seen.end),
        };
        self.recovery_point = Offset::MAX;
        (self.start, self.end, self.kept) = (seen.start, seen.end, seen.kept);
    }

    /// What was refused was perhaps written and cut off again, which a power loss may undo.
    pub(super) fn refused(&mut self, new: &[Kept]) {
        self.ghosts.extend(new.iter().cloned());
    }

    /// The log says that all below is on disk.
    pub(super) fn flushed(&mut self, recovery_point: Offset) {
        if recovery_point > self.recovery_point {
            self.ghosts.retain(|g| g.group >= recovery_point);
        }
        self.durable = self.durable.max(recovery_point);
        self.recovery_point = recovery_point;
    }

    /// It was deleted, and there is another in its place.
    pub(super) fn begin_anew(&mut self) {
        *self = Expected::default();
    }

    /// It was stopped in order.
    pub(super) fn all_is_durable(&mut self) {
        self.durable = self.end;
        self.ghosts.clear();
    }
}

fn same_message(a: &Kept, b: &Kept) -> bool {
    (a.offset, &a.key, &a.value) == (b.offset, &b.key, &b.value)
}

#[track_caller]
fn same(seen: &[Kept], expected: &[Kept]) {
    let at = seen.iter().zip(expected).position(|(a, b)| a != b);
    let at = at.unwrap_or(seen.len().min(expected.len()));
    assert_eq!(
        (seen.len(), seen.get(at)),
        (expected.len(), expected.get(at)),
        "the first difference is at {at}"
    );
}

/// The last value of each key.
fn state(messages: &[Kept]) -> BTreeMap<&str, &str> {
    last_values(messages.iter().map(|k| (k.key.as_deref(), k.value.as_deref())))
}
