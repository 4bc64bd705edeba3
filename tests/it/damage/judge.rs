//! What is left of a log after a start, and why ours may differ from what the genuine broker leaves: the
//! rules of docs/differences.md, each with what must hold if it is the reason.

use std::collections::BTreeMap;

use kafka::message::Offset;

use super::input::{Entry, Files, entries};

/// A rule by which ours keeps more, or keeps it in better order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    /// Where offsets cease to rise a log that is recovered ends; a segment ends where the next one begins.
    OffsetsRise,
    /// An index that is missing, incomplete or leads elsewhere is made anew.
    IndexIsMadeAnew,
    /// Of a wrapper the index names the offset after the message before.
    WrappersStayShut,
    /// The end of a log is behind its last message, wherever its index leads.
    EndIsFound,
    /// What is no message behind the last one is cut off.
    TornEndIsCut,
    /// Where recovery cuts a message off the log ends, also if the segment's index is damaged as well.
    NoHoleIsLeft,
    /// What was flushed is never cut.
    FlushedIsKept,
    /// A swap file replaces nothing that it was not made of.
    SwapReplacesItsOwn,
}
use Rule::{
    EndIsFound, FlushedIsKept, IndexIsMadeAnew, NoHoleIsLeft, OffsetsRise, SwapReplacesItsOwn, TornEndIsCut,
    WrappersStayShut,
};

/// A log as a start left it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Left {
    pub(super) files: Files,
    pub(super) end: Option<Offset>,
}

impl Left {
    fn logs(&self) -> BTreeMap<Offset, &[u8]> {
        logs(&self.files)
    }

    /// How many entries the indexes have.
    fn indexed(&self) -> usize {
        let indexes = self.files.iter().filter(|(name, _)| name.ends_with(".index"));
        indexes.map(|(_, bytes)| bytes.len() / 8).sum()
    }
}

fn logs(files: &Files) -> BTreeMap<Offset, &[u8]> {
    let logs = files.iter().filter(|(name, _)| name.ends_with(".log"));
    logs.map(|(name, bytes)| (name[..20].parse().unwrap(), &bytes[..]))
        .collect()
}

/// Why `ours` is not `theirs` where a log was damaged into `was`; `None` if no rule explains it.
pub(super) fn reason(was: &Files, theirs: &Left, ours: &Left) -> Option<Rule> {
    let holds = |rule: &Rule| match rule {
        IndexIsMadeAnew => {
            ours.logs() == theirs.logs() && ours.end == theirs.end && index_is_better(theirs, ours)
        }
        WrappersStayShut => {
            ours.logs() == theirs.logs() && ours.end == theirs.end && names_less(theirs, ours)
        }
        EndIsFound => torn_end_is_cut(theirs, ours) && ours.end > theirs.end && ends_behind_its_last(ours),
        TornEndIsCut => {
            ours.logs() != theirs.logs() && ours.end == theirs.end && torn_end_is_cut(theirs, ours)
        }
        OffsetsRise => offsets_rise(was, ours),
        NoHoleIsLeft => no_hole_is_left(was, theirs, ours),
        FlushedIsKept => ours.logs() == logs(was) && lost_something(theirs, ours),
        SwapReplacesItsOwn => {
            was.keys().any(|name| name.ends_with(".log.swap")) && lost_something(theirs, ours)
        }
    };
    [
        WrappersStayShut,
        IndexIsMadeAnew,
        EndIsFound,
        TornEndIsCut,
        OffsetsRise,
        NoHoleIsLeft,
        FlushedIsKept,
        SwapReplacesItsOwn,
    ]
    .into_iter()
    .find(holds)
}

fn indexes_are_right(left: &Left) -> bool {
    let right = |(base, bytes): (&Offset, &&[u8])| {
        let index = &left.files[&format!("{base:020}.index")];
        index_is_right(*base, bytes, index)
    };
    left.logs().iter().all(right)
}

/// The same places, and offsets not above theirs.
fn names_less(theirs: &Left, ours: &Left) -> bool {
    let less = |(theirs, ours): (&[u8], &[u8])| theirs[4..] == ours[4..] && ours[..4] <= theirs[..4];
    let same = |(name, bytes): (&String, &Vec<u8>)| {
        let got = &ours.files[name];
        let is_index = name.ends_with(".index") && got.len() == bytes.len();
        got == bytes || (is_index && bytes.chunks(8).zip(got.chunks(8)).all(less))
    };
    indexes_are_right(ours) && theirs.files.keys().eq(ours.files.keys()) && theirs.files.iter().all(same)
}

/// Our indexes are right, and theirs are not or have fewer entries; or they are of messages in disorder.
fn index_is_better(theirs: &Left, ours: &Left) -> bool {
    let odd = |bytes: &&[u8]| bytes.is_empty() || !entries(bytes).is_sorted_by(|a, b| a.offset < b.offset);
    let better = !indexes_are_right(theirs) || theirs.indexed() < ours.indexed();
    indexes_are_right(ours) && (better || ours.logs().values().any(odd))
}

/// The log's end, if the last entry of the index leads to a message from which on all rise, up to the last byte.
pub(super) fn trusted_end(base: Offset, log: &[u8], index: &[u8]) -> Option<Offset> {
    let number = |b: &[u8]| i32::from_be_bytes(b.try_into().unwrap());
    let last = index.chunks(8).next_back();
    let (first, at) = last.map_or((base, 0), |last| {
        (
            base + Offset::from(number(&last[..4])),
            number(&last[4..]) as usize,
        )
    });
    let behind = entries(log.get(at..)?);
    let whole = behind.last()?.end == log.len() - at;
    let rises = behind[0].offset >= first && behind.is_sorted_by(|a, b| a.offset < b.offset);
    (whole && rises).then(|| behind.last().map(|e| e.offset + 1))?
}

/// Entries rise, each points to where a message begins, and nothing above its offset is before.
pub(super) fn index_is_right(base: Offset, log: &[u8], index: &[u8]) -> bool {
    let mut before = (base - 1, 0);
    let messages = entries(log);
    let right = |chunk: &[u8]| {
        let number = |b: &[u8]| i32::from_be_bytes(b.try_into().unwrap());
        let (offset, at) = (
            base + Offset::from(number(&chunk[..4])),
            number(&chunk[4..]) as usize,
        );
        let rises = offset > before.0 && at > before.1;
        before = (offset, at);
        let target = messages.iter().position(|e| e.at == at);
        rises && target.is_some_and(|n| messages[..n].iter().all(|m| m.offset <= offset))
    };
    index.len().is_multiple_of(8) && index.chunks(8).all(right)
}

fn ends_behind_its_last(ours: &Left) -> bool {
    let logs = ours.logs();
    let (base, bytes) = logs.last_key_value().expect("each log has a segment");
    ours.end == Some(entries(bytes).last().map_or(*base, |e| e.offset + 1))
}

fn whole(bytes: &[u8]) -> usize {
    entries(bytes).last().map_or(0, |e| e.end)
}

/// Both have the same messages, and ours has nothing else in the segments that differ.
fn torn_end_is_cut(theirs: &Left, ours: &Left) -> bool {
    let (theirs, ours) = (theirs.logs(), ours.logs());
    theirs.keys().eq(ours.keys())
        && theirs.iter().all(|(base, bytes)| {
            let got = ours[base];
            got == *bytes || (got.len() < bytes.len() && got == &bytes[..whole(bytes)])
        })
}

/// Ours rises from its first message to its last; each segment is what it was or the beginning of that, and
/// what was cut off began with a message that did not rise or belonged behind the next segment's beginning.
fn offsets_rise(was: &Files, ours: &Left) -> bool {
    let (was, got) = (logs(was), ours.logs());
    let mut last = None::<Offset>;
    for (base, bytes) in &got {
        let Some(before) = was.get(base).filter(|before| before.starts_with(bytes)) else {
            return false;
        };
        let here = entries(bytes);
        let mut rising = here
            .iter()
            .all(|e| last.replace(e.offset).is_none_or(|l| l < e.offset));
        if bytes.len() < before.len() {
            let cut: Option<Entry> = entries(before).get(here.len()).copied();
            let next = was.keys().find(|b| *b > base);
            let due = last.map_or(*base, |l| l + 1);
            rising &= cut.is_some_and(|e| e.offset < due || next.is_some_and(|n| e.offset >= *n));
        }
        if !rising {
            return false;
        }
    }
    // What is missing lay behind one that was cut.
    let cut = got.iter().any(|(base, bytes)| bytes.len() < was[base].len());
    let behind = was.keys().filter(|base| !got.contains_key(base));
    cut && behind.into_iter().all(|base| got.keys().all(|kept| kept < base))
}

/// Both cut the same segment at the same message; theirs has others behind it, ours ends there.
fn no_hole_is_left(was: &Files, theirs: &Left, ours: &Left) -> bool {
    let (was, theirs, got) = (logs(was), theirs.logs(), ours.logs());
    let same = got.iter().all(|(base, bytes)| theirs.get(base) == Some(bytes));
    let (last, bytes) = got.last_key_value().expect("each log has a segment");
    same && bytes.len() < was[last].len()
        && theirs.keys().any(|base| base > last)
        && ends_behind_its_last(ours)
}

/// Everything of theirs is in ours, and more.
fn lost_something(theirs: &Left, ours: &Left) -> bool {
    let all = |left: &Left| -> Vec<(Offset, Vec<u8>)> {
        let logs = left.logs();
        let each = logs.values().flat_map(|bytes| {
            let copy = |e: &Entry| (e.offset, bytes[e.at..e.end].to_vec());
            entries(bytes).iter().map(copy).collect::<Vec<_>>()
        });
        each.collect()
    };
    let (theirs, ours) = (all(theirs), all(ours));
    theirs.len() < ours.len() && theirs.iter().all(|message| ours.contains(message))
}

/// A log in a few lines.
pub(super) fn told(files: &Files) -> String {
    let mut lines = String::new();
    for (name, bytes) in files {
        let what = match name.ends_with(".index") {
            true => bytes
                .chunks(4)
                .map(|c| c.iter().fold(0, |n, b| n << 8 | i64::from(*b)))
                .take(20)
                .collect::<Vec<_>>(),
            false => entries(bytes).iter().map(|e| e.offset).collect(),
        };
        lines += &format!("    {name} {} bytes {what:?}\n", bytes.len());
    }
    lines
}
