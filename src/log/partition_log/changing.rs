//! What happens to a log besides appends: it is made durable, cut back, loses its oldest part, ends.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::LogConfig;
use crate::log::segment::Segment;
use crate::log::{Error, Result, retention};
use crate::message::Offset;
use crate::util::clock::WallMs;
use crate::util::fs;

use super::{Log, LogPosition, Writer};

impl Log {
    /// Afterwards everything that was appended before the call is on disk, and so are the names of the
    /// files.
    ///
    /// # Errors
    /// [`Error::Storage`]; the log refuses writes from then on.
    pub fn flush(&self) -> Result<()> {
        self.flush_below(self.end().offset)
    }

    /// Flushes what lies before the segment that grows: what a roll left behind.
    pub(crate) fn flush_rolled(&self) -> Result<()> {
        self.flush_below(self.end().segment)
    }

    /// Flushes what lies before `offset`, which was appended.
    pub(crate) fn flush_below(&self, offset: Offset) -> Result<()> {
        let result = self.flush_up_to(offset);
        self.stop_on_failure(result)
    }

    fn flush_up_to(&self, to: Offset) -> Result<()> {
        let abandoned = self.flushing.lock().expect("a flush panicked");
        if *abandoned {
            return Ok(());
        }
        self.directory.check()?;
        let before = *self.durable();
        if self.names_changed.swap(false, Ordering::Relaxed) {
            fs::sync_dir(&self.dir)?;
            if let Some(parent) = self.dir.parent() {
                fs::sync_dir(parent)?;
            }
        }
        if to > before.recovery_point {
            let unflushed: Vec<Arc<Segment>> = {
                let segments = self.segments();
                let floor = segments.range(..=before.recovery_point).next_back();
                let from = floor.map_or(Bound::Unbounded, |(base, _)| Bound::Included(*base));
                let range = segments.range((from, Bound::Excluded(to)));
                range.map(|(_, s)| Arc::clone(s)).collect()
            };
            for segment in unflushed {
                let started = self.clock.now();
                segment.sync()?;
                let now = self.clock.now();
                self.chores.flushes.update(now, now.since(started));
            }
        }
        let mut durable = self.durable();
        if durable.truncations == before.truncations {
            durable.recovery_point = durable.recovery_point.max(to);
        }
        durable.flushed = self.clock.wall();
        Ok(())
    }

    /// Flushes after `flush.messages` offsets.
    pub(super) fn flush_if_due(&self, config: &LogConfig) -> Result<()> {
        if config.flush_messages == Offset::MAX {
            return Ok(());
        }
        let unflushed = self.end().offset - self.recovery_point();
        match unflushed >= config.flush_messages {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Whether `flush.ms` has passed since the last flush.
    pub(crate) fn wants_flush(&self, now: WallMs) -> bool {
        let age = now.0.saturating_sub(self.durable().flushed.0);
        u128::try_from(age).is_ok_and(|age| age >= self.config().flush.as_millis())
    }

    /// Removes the messages from `target` on. The log ends at `target` afterwards, even if a wrapper
    /// that reaches across it had to go whole. Nothing if the log ends before.
    ///
    /// # Errors
    /// [`Error::NegativeOffset`]; [`Error::Storage`] ends the log's life.
    pub fn truncate_to(&self, target: Offset) -> Result<()> {
        ::log::info!("Truncating log {} to offset {target}.", self.name());
        if target < 0 {
            return Err(Error::NegativeOffset(target));
        }
        let mut writer = self.writer()?;
        let mut paused = None;
        while target < writer.active.base() && paused.is_none() {
            // The cleaner may have one of these segments. Which one grows may change while it lets go.
            drop(writer);
            paused = Some(self.turns.pause());
            writer = self.writer()?;
        }
        let end = self.end().offset;
        if target > end {
            ::log::info!(
                "Truncating {} to {target} has no effect as the largest offset in the log is {}.",
                self.name(),
                end - 1
            );
            return Ok(());
        }
        if self.start_offset() > target {
            return self.restart(&mut writer, target);
        }
        let result = self.cut(&mut writer, target);
        self.stop_for_good(result)
    }

    fn cut(&self, writer: &mut Writer, target: Offset) -> Result<()> {
        let now = self.clock.wall();
        self.vouch_only_below(target)?;
        let above: Vec<Arc<Segment>> = {
            let segments = self.segments();
            let range = segments.range((Bound::Excluded(target), Bound::Unbounded));
            range.map(|(_, s)| Arc::clone(s)).collect()
        };
        self.retire_all(above.iter().rev())?;
        let mut segments = self.segments.write().expect("a log user panicked");
        segments.retain(|base, _| *base <= target);
        let active = Arc::clone(
            segments
                .last_key_value()
                .expect("a segment begins below the target")
                .1,
        );
        active.truncate_to(target, now)?;
        // A flush begins at the target's segment, which is another one after a roll: what was cut off here
        // could come back in front of it.
        active.sync()?;
        self.move_end(&active, target);
        drop(segments);
        writer.active = active;
        Ok(())
    }

    /// Makes sure that no checkpoint says anything of offsets from `target` on: what comes there now is not
    /// what was.
    fn vouch_only_below(&self, target: Offset) -> Result<()> {
        self.directory.points().lower(&self.topic_partition, target)?;
        let cleaned = self.directory.cleaner_points();
        cleaned.lower(&self.topic_partition, target)
    }

    /// Gives up the end of the log, the last segment first, and for certain: a crash leaves no hole, and
    /// brings none back behind what is appended next.
    fn retire_all<'a>(&self, last_first: impl Iterator<Item = &'a Arc<Segment>>) -> Result<()> {
        let mut some = false;
        for segment in last_first {
            self.retire(segment)?;
            some = true;
        }
        if some {
            fs::sync_dir(&self.dir)?;
        }
        Ok(())
    }

    /// Removes everything; the next message gets the offset `target`.
    ///
    /// # Errors
    /// [`Error::NegativeOffset`]; [`Error::Storage`] ends the log's life.
    pub fn truncate_fully_and_start_at(&self, target: Offset) -> Result<()> {
        ::log::debug!("Truncate and start log '{}' to {target}", self.name());
        if target < 0 {
            return Err(Error::NegativeOffset(target));
        }
        let _paused = self.turns.pause();
        let mut writer = self.writer()?;
        self.restart(&mut writer, target)
    }

    fn restart(&self, writer: &mut Writer, target: Offset) -> Result<()> {
        let result = self.replace_all(writer, target);
        self.stop_for_good(result)
    }

    fn replace_all(&self, writer: &mut Writer, target: Offset) -> Result<()> {
        self.vouch_only_below(target)?;
        let all: Vec<Arc<Segment>> = self.segments().values().map(Arc::clone).collect();
        self.retire_all(all.iter().rev())?;
        let fresh = Arc::new(Segment::create(
            &self.dir,
            target,
            &self.config(),
            self.clock.wall(),
        )?);
        // Without its name the log would begin at 0 again.
        fs::sync_dir(&self.dir)?;
        let mut segments = self.segments.write().expect("a log user panicked");
        segments.clear();
        segments.insert(target, Arc::clone(&fresh));
        self.move_end(&fresh, target);
        drop(segments);
        writer.active = fresh;
        Ok(())
    }

    /// Sets the end to `offset` in `active`. The caller holds the segments for writing: no reader
    /// sees the new end with the old segments.
    fn move_end(&self, active: &Segment, offset: Offset) {
        // What could not be cleaned may be gone.
        self.turns.put_aside(None);
        *self.end.write().expect("a log user panicked") = LogPosition {
            offset,
            segment: active.base(),
            position: active.size(),
        };
        let mut durable = self.durable();
        durable.truncations += 1;
        durable.recovery_point = durable.recovery_point.min(offset);
    }

    /// Removes the segments that time and size no longer let stay, and returns how many. A log of
    /// which all has expired gets a new empty segment at its end. Compacted logs keep everything.
    ///
    /// # Errors
    /// [`Error::Storage`]; the log refuses writes from then on.
    pub fn delete_old_segments(&self, now: WallMs) -> Result<usize> {
        let config = self.config();
        if config.compact {
            return Ok(0);
        }
        // A cleaning may be under way if the log was to be compacted until now.
        let _paused = self.turns.pause();
        let mut writer = self.writer()?;
        let expired = {
            let all = self.summaries();
            self.drop_oldest(&mut writer, retention::expired(&all, config.retention, now), now)?
        };
        let all = self.summaries();
        let beyond = retention::beyond_size(&all, config.retention_bytes);
        Ok(expired + self.drop_oldest(&mut writer, beyond, now)?)
    }

    fn summaries(&self) -> Vec<retention::Summary> {
        let segments = self.segments();
        let nexts = segments.keys().skip(1).copied().chain([self.end().offset]);
        let summary = |(s, next): (&Arc<Segment>, Offset)| retention::Summary {
            next,
            size: s.size(),
            modified: s.modified(),
        };
        segments.values().zip(nexts).map(summary).collect()
    }

    fn drop_oldest(&self, writer: &mut Writer, wanted: usize, now: WallMs) -> Result<usize> {
        let high_watermark = self.high_watermark.load(Ordering::Relaxed);
        let count = wanted.min(retention::committed(&self.summaries(), high_watermark));
        if count == 0 {
            return Ok(0);
        }
        if count == self.segment_count() {
            self.roll(writer, &self.config(), now)?;
        }
        let oldest: Vec<Arc<Segment>> = self.segments().values().take(count).map(Arc::clone).collect();
        for segment in oldest {
            match self.retire(&segment) {
                // Nothing has changed: the next round finds it again.
                Err(Error::Storage(e)) if e.is_held() => return Err(e.into()),
                other => self.stop_on_failure(other)?,
            }
            self.segments
                .write()
                .expect("a log user panicked")
                .remove(&segment.base());
        }
        Ok(count)
    }

    /// Renames a segment's files and has them removed after `file.delete.delay.ms`.
    fn retire(&self, segment: &Arc<Segment>) -> Result<()> {
        ::log::info!(
            "Scheduling log segment {} for log {} for deletion.",
            segment.base(),
            self.name()
        );
        segment.mark_deleted(&self.dir)?;
        self.names_changed.store(true, Ordering::Relaxed);
        self.await_removal(segment);
        Ok(())
    }

    /// Has a segment's files, renamed already, removed after `file.delete.delay.ms`.
    pub(super) fn await_removal(&self, segment: &Arc<Segment>) {
        let due = self.clock.now() + self.config().file_delete_delay;
        self.chores.retire(Arc::clone(segment), self.dir.clone(), due);
    }

    /// Makes all durable and refuses appends from then on; reads go on.
    ///
    /// # Errors
    /// [`Error::Storage`]: the log needs recovery at the next start.
    pub fn close(&self) -> Result<()> {
        self.turns.end();
        let mut writer = self.writer()?;
        writer.closed = true;
        let result = writer.active.rest().and_then(|_| {
            // Also when nothing was appended: the files' names and true lengths belong to it.
            writer.active.sync()?;
            self.flush_up_to(self.end().offset)
        });
        self.stop_on_failure(result)
    }

    /// Refuses appends from then on, as the files are about to go. Waits for a flush that is under way; later
    /// ones have nothing to do.
    pub(crate) fn abandon(&self) {
        self.turns.end();
        self.writer.lock().expect("a log writer panicked").closed = true;
        *self.flushing.lock().expect("a flush panicked") = true;
        self.show_no_more();
    }
}
