//! One log, from the look at its segments to the last swap.

use std::sync::Arc;

use ::log::info;
use bytes::BytesMut;

use crate::log::segment::Segment;
use crate::log::{self, Log};
use crate::message::Offset;
use crate::util::blocking;
use crate::util::clock::WallMs;
use crate::util::date;
use crate::util::shutdown::Stop;

use super::chunks::{Chunks, Grown};
use super::offset_map::OffsetMap;
use super::plan::{Dirt, FirstDirty, SegmentFacts, delete_horizon, groups};
use super::rewrite::{Rules, rewrite};
use super::stats::Stats;
use super::turns::Running;
use super::worker::Cleaner;
use super::{Error, Result, TARGET, keys};

/// How a log stands at one moment.
pub(super) struct Standing {
    /// The segments that may be cleaned, in order.
    pub(super) segments: Vec<(Arc<Segment>, SegmentFacts)>,
    pub(super) first_dirty: FirstDirty,
    pub(super) dirt: Dirt,
}

impl Standing {
    /// Looks at a log.
    pub(super) fn of(log: &Log) -> log::Result<Standing> {
        let fact = |(segment, next): (Arc<Segment>, Offset)| {
            let facts = SegmentFacts {
                base: segment.base(),
                next,
                size: segment.size(),
                index_size: segment.index().count() * crate::log::offset_index::ENTRY as u64,
                modified: segment.modified(),
            };
            (segment, facts)
        };
        let segments: Vec<_> = log.cleanable().into_iter().map(fact).collect();
        let start = segments.first().map_or(log.start_offset(), |(_, f)| f.base);
        let end = segments.last().map_or(start, |(_, f)| f.next);
        let first_dirty = FirstDirty::of(log.cleaner_point(), start, end);
        let from = first_dirty.offset();
        let within = match segments.iter().find(|(_, f)| f.base < from && from < f.next) {
            Some((segment, facts)) => segment.find(from, facts.size)?.map_or(facts.size, |h| h.position),
            None => 0,
        };
        let facts: Vec<_> = segments.iter().map(|(_, f)| *f).collect();
        Ok(Standing {
            dirt: Dirt::of(&facts, from, within),
            segments,
            first_dirty,
        })
    }
}

/// A cleaning under way: the log and the turn to touch it, buffers, figures.
pub(super) struct Work<'a> {
    pub(super) thread: usize,
    pub(super) log: &'a Log,
    pub(super) stats: Stats,
    pub(super) buffer: Vec<u8>,
    pub(super) out: BytesMut,
    cleaner: &'a Cleaner,
    running: Running<'a>,
    stop: &'a Stop,
}

impl<'a> Work<'a> {
    /// Nothing done yet.
    pub(super) fn new(
        cleaner: &'a Cleaner,
        thread: usize,
        log: &'a Log,
        running: Running<'a>,
        stop: &'a Stop,
    ) -> Work<'a> {
        Work {
            thread,
            log,
            stats: Stats::default(),
            buffer: Vec::new(),
            out: BytesMut::new(),
            cleaner,
            running,
            stop,
        }
    }

    /// Ends the cleaning if somebody else needs the log, if it is not to be compacted any more, if its
    /// directory has failed, or if the broker stops. Asked at every buffer.
    pub(super) fn check(&self) -> Result<()> {
        let goes_on = !self.stop.is_asked()
            && !self.running.is_interrupted()
            && self.log.config().compact
            && self.log.check_directory().is_ok();
        goes_on.then_some(()).ok_or(Error::Interrupted)
    }

    /// Counts bytes that were read or written, and sleeps if they were too many for the time.
    pub(super) fn pace(&self, bytes: usize) -> Result<()> {
        let sleep = self.cleaner.count_io(bytes as u64);
        if sleep.is_zero() {
            return Ok(());
        }
        let mut stop = self.stop.clone();
        blocking::wait(async {
            tokio::select! {
                () = self.cleaner.clock.sleep(sleep) => {}
                () = stop.wait() => {}
                () = self.running.interrupted() => {}
            }
        });
        self.check()
    }

    /// Reads a segment from an entry's beginning on.
    pub(super) fn chunks<'b>(&self, segment: &'b Segment, from: u64, buffer: &'b mut Vec<u8>) -> Chunks<'b> {
        let settings = &self.cleaner.settings;
        let most = settings.max_message_bytes;
        Chunks::new(segment.data(), from, buffer, settings.buffer_bytes(), most)
    }

    /// Tells that a buffer was too small.
    pub(super) fn say_grown(&self, grown: Grown) {
        info!(
            target: TARGET,
            "Cleaner {}: Growing cleaner I/O buffers from {}bytes to {} bytes.",
            self.thread, grown.from, grown.to
        );
    }

    /// Cleans the log and returns the first offset that is not clean afterwards. Each group of segments is
    /// in place before the next is begun: what an interrupted cleaning did is not lost, it is only done again.
    pub(super) fn clean(&mut self, standing: &Standing) -> Result<Offset> {
        let (thread, log, config) = (self.thread, self.log, self.log.config());
        let name = log.name();
        let begun = self.cleaner.clock.now();
        info!(target: TARGET, "Cleaner {thread}: Beginning cleaning of log {name}.");
        info!(target: TARGET, "Cleaner {thread}: Building offset map for {name}...");
        let first_dirty = standing.first_dirty.offset();
        let dirty_from = standing.segments.partition_point(|(_, f)| f.next <= first_dirty);
        let mut map = OffsetMap::new(
            self.cleaner.settings.table_bytes(),
            self.cleaner.settings.load_factor,
        );
        let gathered = keys::gather(self, &standing.segments[dirty_from..], first_dirty, &mut map)?;
        // What is superseded must not go before its successor is on disk.
        log.flush_below(gathered)?;
        self.stats.indexing = self.cleaner.clock.now().since(begun);

        let facts: Vec<_> = standing.segments.iter().map(|(_, f)| *f).collect();
        let delete_horizon = delete_horizon(&facts, first_dirty, config.delete_retention);
        info!(
            target: TARGET,
            "Cleaner {thread}: Cleaning log {name} (discarding tombstones prior to {})...",
            date::long(delete_horizon.unwrap_or(WallMs(0)))
        );
        let rules = Rules {
            map: &map,
            gathered,
            first_dirty,
            delete_horizon,
        };
        let touched = facts.partition_point(|f| f.base < gathered);
        let bound = |bytes: i32| u64::try_from(bytes).unwrap_or(0);
        let groups = groups(
            &facts[..touched],
            bound(config.segment_bytes),
            bound(config.segment_index_bytes),
        );
        for group in groups {
            self.clean_group(&standing.segments[group], &rules)?;
        }
        self.stats.utilization = map.utilization();
        self.stats.elapsed = self.cleaner.clock.now().since(begun);
        Ok(gathered)
    }

    fn clean_group(&mut self, group: &[(Arc<Segment>, SegmentFacts)], rules: &Rules<'_>) -> Result<()> {
        let cleaned = rewrite(self, group, rules)?;
        let bases: Vec<String> = group.iter().map(|(_, f)| f.base.to_string()).collect();
        info!(
            target: TARGET,
            "Cleaner {}: Swapping in cleaned segment {} for segment(s) {} in log {}.",
            self.thread, cleaned.base(), bases.join(","), self.log.name()
        );
        let old: Vec<_> = group.iter().map(|(s, _)| Arc::clone(s)).collect();
        Ok(self.log.replace_segments(cleaned, &old)?)
    }
}
