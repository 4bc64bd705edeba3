//! The second pass: writes a group of segments anew as one, without what is superseded.

use std::ops::Range;
use std::sync::Arc;

use ::log::{info, warn};
use bytes::{BufMut, BytesMut};

use crate::log::segment::Segment;
use crate::message::builder::wrap;
use crate::message::set::{Entry, next_entry};
use crate::message::{MessageRef, Offset};
use crate::util::clock::WallMs;
use crate::util::date;

use super::clean::Work;
use super::entry::{Content, messages};
use super::offset_map::OffsetMap;
use super::plan::{SegmentFacts, retains_deletes};
use super::stats::Stats;
use super::{Result, TARGET};

/// What decides whether a message is kept.
pub(super) struct Rules<'a> {
    /// The last offset of each key, of the messages from `first_dirty` up to `gathered`.
    pub(super) map: &'a OffsetMap,
    /// Where the table ends. What comes behind is not judged.
    pub(super) gathered: Offset,
    /// Where the table begins.
    pub(super) first_dirty: Offset,
    /// See [`super::plan::delete_horizon`].
    pub(super) delete_horizon: Option<WallMs>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Keep,
    Drop,
    /// Nobody can say what it supersedes, so it would never go: dropped, as in Kafka.
    DropKeyless,
}

impl Rules<'_> {
    fn judge(&self, message: &MessageRef<'_>, retain_deletes: bool) -> Verdict {
        if message.offset >= self.gathered {
            return Verdict::Keep;
        }
        let Some(key) = message.key else {
            return Verdict::DropKeyless;
        };
        let superseded = self.map.get(key).is_some_and(|last| message.offset < last);
        let forgotten = message.value.is_none() && !retain_deletes;
        match superseded || forgotten {
            true => Verdict::Drop,
            false => Verdict::Keep,
        }
    }
}

/// Writes what is kept of `group` into new `.cleaned` files, which are complete and durable afterwards.
/// After an error they are gone.
pub(super) fn rewrite(
    work: &mut Work<'_>,
    group: &[(Arc<Segment>, SegmentFacts)],
    rules: &Rules<'_>,
) -> Result<Segment> {
    let cleaned = Segment::create_cleaned(work.log.dir(), &group[0].0)?;
    match fill(work, group, rules, &cleaned) {
        Ok(()) => Ok(cleaned),
        Err(e) => {
            if let Err(left) = cleaned.discard() {
                warn!(target: TARGET, "{left}; the next cleaning or start removes it");
            }
            Err(e)
        }
    }
}

fn fill(
    work: &mut Work<'_>,
    group: &[(Arc<Segment>, SegmentFacts)],
    rules: &Rules<'_>,
    cleaned: &Segment,
) -> Result<()> {
    for (segment, facts) in group {
        let retain_deletes = retains_deletes(facts, rules.first_dirty, rules.delete_horizon);
        info!(
            target: TARGET,
            "Cleaner {}: Cleaning segment {} in log {} (last modified {}) into {}, {} deletes.",
            work.thread,
            facts.base,
            work.log.name(),
            date::long(facts.modified),
            cleaned.base(),
            if retain_deletes { "retaining" } else { "discarding" }
        );
        copy(work, segment, rules, retain_deletes, cleaned)?;
    }
    work.check()?;
    let modified = group
        .last()
        .map_or(cleaned.modified(), |(_, facts)| facts.modified);
    Ok(cleaned.complete(modified)?)
}

/// Appends what is kept of `source`, a buffer at a time.
fn copy(
    work: &mut Work<'_>,
    source: &Segment,
    rules: &Rules<'_>,
    retain_deletes: bool,
    cleaned: &Segment,
) -> Result<()> {
    let mut buffer = std::mem::take(&mut work.buffer);
    let mut out = std::mem::take(&mut work.out);
    let mut chunks = work.chunks(source, 0, &mut buffer);
    loop {
        work.check()?;
        let Some(chunk) = chunks.next(|grown| work.say_grown(grown))? else {
            break;
        };
        out.clear();
        let mut kept = Kept::new(chunk, &mut out);
        let mut at = 0;
        while let Some(entry) = next_entry(chunk, at).map_err(crate::log::Error::from)? {
            let judge = |m: &MessageRef<'_>| rules.judge(m, retain_deletes);
            if let Some(reason) = kept.sift(&entry, at, judge, &mut work.stats)
                && work.stats.unreadable == 1
            {
                warn!(
                    target: TARGET,
                    "Cleaner {}: {} holds a message at offset {} that cannot be read and is kept as it is: {reason}",
                    work.thread, source.data().path().display(), entry.offset
                );
            }
            at = entry.end;
        }
        work.pace(chunk.len())?;
        if let Some(first) = kept.first {
            let kept = kept.bytes();
            cleaned.append(first, kept, source.modified())?;
            let written = kept.len();
            work.pace(written)?;
        }
    }
    work.buffer = buffer;
    work.out = out;
    Ok(())
}

/// What is kept of one buffer: stretches of it as they are, and wrappers made anew.
struct Kept<'a> {
    chunk: &'a [u8],
    out: &'a mut BytesMut,
    /// The stretch of `chunk` that belongs behind what is in `out`.
    stretch: Range<usize>,
    /// Offset of the first message that is kept.
    first: Option<Offset>,
}

impl<'a> Kept<'a> {
    fn new(chunk: &'a [u8], out: &'a mut BytesMut) -> Kept<'a> {
        Kept {
            chunk,
            out,
            stretch: 0..0,
            first: None,
        }
    }

    /// Takes what is to be kept of the entry at `at`. Says why if it cannot be read.
    ///
    /// A wrapper of which everything is kept stays as it is. 0.9.0.1 compresses it anew, with the same
    /// result where a broker had compressed it.
    fn sift(
        &mut self,
        entry: &Entry<'_>,
        at: usize,
        judge: impl Fn(&MessageRef<'_>) -> Verdict,
        stats: &mut Stats,
    ) -> Option<crate::message::Error> {
        let size = entry.end - at;
        stats.read.add(size);
        let mut keeps = |m: &MessageRef<'_>| {
            let verdict = judge(m);
            stats.keyless += u64::from(verdict == Verdict::DropKeyless);
            verdict == Verdict::Keep
        };
        match Content::of(entry, at) {
            Content::Message(m) => {
                if keeps(&m) {
                    stats.written.add(size);
                    self.keep(at..entry.end, m.offset);
                }
                None
            }
            Content::Wrapper(codec, inner) => {
                let mut all = 0;
                let count = |_: &MessageRef<'_>| all += 1;
                let left: Vec<_> = messages(&inner).inspect(count).filter(|m| keeps(m)).collect();
                let (first, last) = (left.first()?.offset, left.last()?.offset);
                if left.len() == all {
                    stats.written.add(size);
                    self.keep(at..entry.end, first);
                } else {
                    let mut plain = BytesMut::with_capacity(inner.len());
                    left.iter()
                        .for_each(|m| plain.put_slice(&inner[m.position..m.end()]));
                    let wrapper = wrap(codec, &plain, last);
                    stats.written.add(wrapper.len());
                    self.put(&wrapper, first);
                }
                None
            }
            Content::Unreadable(reason) => {
                stats.unreadable += 1;
                stats.written.add(size);
                self.keep(at..entry.end, entry.offset);
                Some(reason)
            }
        }
    }

    fn keep(&mut self, stretch: Range<usize>, first: Offset) {
        if self.stretch.end == stretch.start {
            self.stretch.end = stretch.end;
        } else {
            self.write_stretch();
            self.stretch = stretch;
        }
        self.first.get_or_insert(first);
    }

    fn put(&mut self, entry: &[u8], first: Offset) {
        self.write_stretch();
        self.out.put_slice(entry);
        self.first.get_or_insert(first);
    }

    fn write_stretch(&mut self) {
        self.out.put_slice(&self.chunk[self.stretch.clone()]);
        self.stretch.start = self.stretch.end;
    }

    /// All of it; without a copy if it is one stretch.
    fn bytes(&mut self) -> &[u8] {
        if self.out.is_empty() {
            return &self.chunk[self.stretch.clone()];
        }
        self.write_stretch();
        self.out
    }
}
