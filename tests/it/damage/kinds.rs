//! Kinds of damage. Each takes a log as an orderly stop left it.

use kafka::message::Offset;

use super::input::{Entry, Files, INDEX_BYTES, entries};
use crate::support::chance::Chance;

/// A log that is to be damaged.
pub(super) struct Victim<'a> {
    pub(super) files: Files,
    /// Chance for where exactly.
    pub(super) chance: &'a mut Chance,
    /// What the checkpoint of recovery points says of it.
    pub(super) point: &'a mut Option<Offset>,
    /// The number of the segment that is damaged.
    pub(super) segment: usize,
}

/// A kind's name and what it does.
pub(super) type Kind = (&'static str, fn(&mut Victim<'_>));

impl Victim<'_> {
    /// The segments' base offsets.
    pub(super) fn bases(&self) -> Vec<Offset> {
        let logs = self.files.keys().filter_map(|name| name.strip_suffix(".log"));
        logs.map(|digits| digits.parse().unwrap()).collect()
    }

    fn base(&self, more: usize) -> Offset {
        self.bases()[self.segment + more]
    }

    fn log(&mut self) -> &mut Vec<u8> {
        let name = log_name(self.base(0));
        self.files.get_mut(&name).expect("listed")
    }

    fn index(&mut self) -> &mut Vec<u8> {
        let name = index_name(self.base(0));
        self.files.get_mut(&name).expect("each segment has one")
    }

    /// A message that is neither the first nor the last, and the one behind.
    fn middle(&mut self) -> (Entry, Entry) {
        let all = entries(self.log());
        assert!(all.len() > 3, "few messages in segment {}", self.segment);
        let n = self.chance.between(1, all.len() as u64 - 3) as usize;
        (all[n], all[n + 1])
    }

    fn last(&mut self) -> Entry {
        *entries(self.log()).last().expect("it has messages")
    }

    fn flip(&mut self, at: usize) {
        let bit = 1 << self.chance.between(0, 7);
        self.log()[at] ^= bit;
    }

    fn put_size(&mut self, change: impl FnOnce(i32) -> i32) {
        let (entry, _) = self.middle();
        let size = change((entry.end - entry.at - 12) as i32);
        self.log()[entry.at + 8..entry.at + 12].copy_from_slice(&size.to_be_bytes());
    }

    fn put_offset(&mut self, change: impl FnOnce(Offset) -> Offset) {
        let (entry, _) = self.middle();
        let offset = change(entry.offset);
        self.log()[entry.at..entry.at + 8].copy_from_slice(&offset.to_be_bytes());
    }

    fn put_index(&mut self, pairs: &[(i32, i32)]) {
        let bytes = pairs.iter().flat_map(|(a, b)| [a.to_be_bytes(), b.to_be_bytes()]);
        *self.index() = bytes.flatten().collect();
    }

    fn pairs(&mut self) -> Vec<(i32, i32)> {
        let number = |b: &[u8]| i32::from_be_bytes(b.try_into().unwrap());
        let chunks = self.index().chunks_exact(8);
        chunks.map(|c| (number(&c[..4]), number(&c[4..]))).collect()
    }

    fn add(&mut self, base: Offset, suffix: &str, bytes: Vec<u8>) {
        self.files.insert(format!("{base:020}{suffix}"), bytes);
    }

    fn remove(&mut self, base: Offset) -> (Vec<u8>, Vec<u8>) {
        let log = self.files.remove(&log_name(base)).expect("listed");
        let index = self
            .files
            .remove(&index_name(base))
            .expect("each segment has one");
        (log, index)
    }

    /// What a cleaner would keep of this segment and the next `more`: every second message.
    fn cleaned(&mut self, more: usize) -> Vec<u8> {
        let mut kept = Vec::new();
        for n in 0..=more {
            let bytes = &self.files[&log_name(self.base(n))];
            for entry in entries(bytes).iter().step_by(2) {
                kept.extend(&bytes[entry.at..entry.end]);
            }
        }
        kept
    }
}

fn log_name(base: Offset) -> String {
    format!("{base:020}.log")
}

fn index_name(base: Offset) -> String {
    format!("{base:020}.index")
}

/// To the messages of a segment.
pub(super) const MESSAGES: &[Kind] = &[
    ("torn-header", |v| {
        let last = v.last();
        v.log().truncate(last.at + 7);
    }),
    ("torn-body", |v| {
        let last = v.last();
        v.log().truncate(last.end - 5);
    }),
    ("message-lost", |v| {
        let last = v.last();
        v.log().truncate(last.at);
    }),
    ("flipped-checksum", |v| {
        let at = v.middle().0.at + 12 + v.chance.between(0, 3) as usize;
        v.flip(at);
    }),
    ("flipped-key", |v| {
        let at = v.middle().0.at + 22 + v.chance.between(0, 2) as usize;
        v.flip(at);
    }),
    ("flipped-value", |v| {
        let at = v.middle().0.end - 1;
        v.flip(at);
    }),
    ("flipped-last", |v| {
        let at = v.last().end - 1;
        v.flip(at);
    }),
    ("size-zero", |v| v.put_size(|_| 0)),
    ("size-negative", |v| v.put_size(|_| -5)),
    ("size-huge", |v| v.put_size(|_| i32::MAX)),
    ("size-below-least", |v| v.put_size(|_| 13)),
    ("size-too-large", |v| v.put_size(|s| s + 3)),
    ("size-too-small", |v| v.put_size(|s| s - 1)),
    ("offset-of-the-one-before", |v| v.put_offset(|o| o - 1)),
    ("offset-too-low", |v| v.put_offset(|o| o - 100)),
    ("offset-too-high", |v| v.put_offset(|o| o + 3)),
    ("offset-huge", |v| v.put_offset(|o| o | 1 << 40)),
    ("offset-negative", |v| v.put_offset(|o| -o)),
    ("twice", |v| {
        let (entry, _) = v.middle();
        let copy = v.log()[entry.at..entry.end].to_vec();
        v.log().splice(entry.end..entry.end, copy);
    }),
    ("order-changed", |v| {
        let (a, b) = v.middle();
        let copy = v.log()[b.at..b.end].to_vec();
        v.log().drain(b.at..b.end);
        v.log().splice(a.at..a.at, copy);
    }),
    ("tail-zeroed", |v| {
        let from = v.middle().0.end - 9;
        v.log()[from..].fill(0);
    }),
    ("hole", |v| {
        let (a, b) = v.middle();
        v.log()[a.at..b.at].fill(0);
    }),
    ("zeros-behind", |v| v.log().extend([0; 100])),
    ("garbage-behind", |v| v.log().extend([7; 100])),
    ("emptied", |v| v.log().clear()),
    // The checksum of all is right: the damage came before the wrapper was made.
    ("unreadable-wrapper", |v| {
        let log = v.log();
        let wrapped = |e: &&Entry| log[e.at + 17] & 7 == 1;
        let all = entries(log);
        let Some(entry) = all.iter().rfind(wrapped) else {
            return;
        };
        log[entry.end - 20] ^= 1;
        let crc = kafka::message::crc32(&log[entry.at + 16..entry.end]);
        log[entry.at + 12..entry.at + 16].copy_from_slice(&crc.to_be_bytes());
    }),
];

/// To the index of a segment.
pub(super) const INDEX: &[Kind] = &[
    ("index-missing", |v| {
        let base = v.base(0);
        v.files.remove(&index_name(base));
    }),
    ("index-empty", |v| v.index().clear()),
    ("index-short", |v| {
        let half = v.index().len() / 16 * 8;
        v.index().truncate(half);
    }),
    ("index-ragged", |v| {
        let less = v.index().len() - 3;
        v.index().truncate(less);
    }),
    ("index-padded", |v| {
        let index = v.index();
        index.resize(INDEX_BYTES as usize, 0);
    }),
    ("index-of-zeros", |v| v.index().fill(0)),
    ("index-beyond-the-log", |v| {
        let mut pairs = v.pairs();
        let last = pairs.last_mut().expect("it has entries");
        *last = (last.0 + 500, 1 << 20);
        v.put_index(&pairs);
    }),
    ("index-of-another-base", |v| {
        let moved: Vec<_> = v.pairs().iter().map(|(o, p)| (o + 4000, *p)).collect();
        v.put_index(&moved);
    }),
    ("index-off-by-five-bytes", |v| {
        let mut pairs = v.pairs();
        pairs.last_mut().expect("it has entries").1 += 5;
        v.put_index(&pairs);
    }),
    ("index-backwards", |v| {
        let mut pairs = v.pairs();
        pairs.reverse();
        v.put_index(&pairs);
    }),
    ("index-negative", |v| {
        let mut pairs = v.pairs();
        pairs.last_mut().expect("it has entries").0 = -7;
        v.put_index(&pairs);
    }),
];

/// To the directory.
pub(super) const FILES: &[Kind] = &[
    ("untouched", |_| {}),
    ("deleted-left", |v| {
        v.add(3, ".log.deleted", b"x".to_vec());
        v.add(3, ".index.deleted", b"x".to_vec());
    }),
    ("deleted-of-one-in-use", |v| {
        let base = v.base(0);
        v.add(base, ".log.deleted", b"x".to_vec());
    }),
    ("cleaned-left", |v| {
        let (base, kept) = (v.base(0), v.cleaned(0));
        v.add(base, ".log.cleaned", kept);
        v.add(base, ".index.cleaned", Vec::new());
    }),
    ("cleaned-without-index", |v| {
        let (base, kept) = (v.base(0), v.cleaned(0));
        v.add(base, ".log.cleaned", kept);
    }),
    ("swap", |v| {
        let (base, kept) = (v.base(0), v.cleaned(0));
        v.add(base, ".log.swap", kept);
        v.add(base, ".index.swap", vec![0, 0, 0, 1, 0, 0, 0, 9]);
    }),
    ("swap-without-index", |v| {
        let (base, kept) = (v.base(0), v.cleaned(0));
        v.add(base, ".log.swap", kept);
    }),
    ("swap-of-two", |v| {
        let (base, kept) = (v.base(0), v.cleaned(1));
        v.add(base, ".log.swap", kept);
    }),
    ("swap-half-way", |v| {
        // The first of two was renamed already.
        let (base, kept) = (v.base(0), v.cleaned(1));
        let (log, index) = v.remove(base);
        v.add(base, ".log.deleted", log);
        v.add(base, ".index.deleted", index);
        v.add(base, ".log.swap", kept);
    }),
    ("swap-of-nothing", |v| {
        let base = v.base(0);
        v.add(base, ".log.swap", Vec::new());
    }),
    ("swap-index-alone", |v| {
        let base = v.base(0);
        v.add(base, ".index.swap", vec![0, 0, 0, 1, 0, 0, 0, 9]);
    }),
    ("index-without-log", |v| {
        let base = v.base(0) + 1;
        v.add(base, ".index", vec![0, 0, 0, 1, 0, 0, 0, 9]);
    }),
    ("log-missing", |v| {
        let name = log_name(v.base(0));
        v.files.remove(&name);
    }),
    ("segment-missing", |v| {
        let base = v.base(0);
        v.remove(base);
    }),
    ("first-segment-missing", |v| {
        let base = v.bases()[0];
        v.remove(base);
    }),
    ("last-segment-missing", |v| {
        let base = *v.bases().last().expect("several");
        v.remove(base);
    }),
    ("empty-segment-at-the-end", |v| {
        v.segment = v.bases().len() - 1;
        let next = v.last().offset + 1;
        v.add(next, ".log", Vec::new());
        v.add(next, ".index", Vec::new());
    }),
    ("empty-segment-in-a-gap", |v| {
        let base = v.base(0);
        let (log, _) = v.remove(base);
        let first = entries(&log)[0].offset;
        v.add(base, ".log", Vec::new());
        v.add(base, ".index", Vec::new());
        assert!(first >= base);
    }),
    ("overlapping", |v| {
        let next = v.files[&log_name(v.base(1))].clone();
        let some = entries(&next)[1].end;
        v.log().extend(&next[..some]);
    }),
    ("everything-missing", |v| v.files.clear()),
    ("index-and-message-damaged", |v| {
        let less = v.index().len() - 3;
        v.index().truncate(less);
        let at = v.middle().0.end - 1;
        v.flip(at);
    }),
    ("two-damaged", |v| {
        v.segment = 2;
        let at = v.middle().0.end - 1;
        v.flip(at);
        v.segment = 4;
        let at = v.middle().0.end - 1;
        v.flip(at);
    }),
    ("odd-files", |v| {
        for name in [
            "00000000000000000000.timeindex",
            "00000000000000000000.snapshot",
            "notes.txt",
            "leader-epoch-checkpoint",
            "folder/",
        ] {
            v.files.insert(name.to_owned(), b"odd".to_vec());
        }
    }),
    ("point-beyond-the-end", |v| {
        *v.point = v.bases().last().map(|b| b + 1000)
    }),
    ("point-zero", |v| *v.point = Some(0)),
    ("point-missing", |v| *v.point = None),
];
