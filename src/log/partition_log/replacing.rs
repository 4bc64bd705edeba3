//! What the cleaner sees of a log, and how its output takes the place of what it was made of.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::log::Result;
use crate::log::cleaner::Turns;
use crate::log::files::State;
use crate::log::segment::Segment;
use crate::message::Offset;
use crate::util::fs;

use super::Log;

impl Log {
    /// Whose turn it is: the cleaner's, or of those who cut the log.
    pub(crate) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// The segments that may be cleaned, each with the next one's base: not the one that grows, and
    /// nothing at the high watermark or above. What replicas have not agreed on may still be given up,
    /// and then what it superseded must be there (0.9.0.1 does not look).
    pub(crate) fn cleanable(&self) -> Vec<(Arc<Segment>, Offset)> {
        let high_watermark = self.high_watermark.load(Ordering::Relaxed);
        let segments = self.segments();
        let nexts = segments.keys().skip(1).copied();
        let pairs = segments.values().zip(nexts);
        let agreed = pairs.take_while(|(_, next)| *next <= high_watermark);
        agreed.map(|(s, next)| (Arc::clone(s), next)).collect()
    }

    /// Up to where the log was cleaned, if it ever was.
    pub(crate) fn cleaner_point(&self) -> Option<Offset> {
        self.directory.cleaner_points().of(&self.topic_partition)
    }

    /// Remembers up to where the log was cleaned.
    pub(crate) fn set_cleaner_point(&self, offset: Offset) -> Result<()> {
        let points = self.directory.cleaner_points();
        points.set(&self.topic_partition, offset)
    }

    /// Puts `cleaned`, which is complete and durable in its `.cleaned` files, in the place of `old`: a run
    /// of segments of this log that begins with one of the same base. Readers of the old ones go on.
    ///
    /// ```text
    /// step                                  a crash behind it is ended by the next start thus
    ///    .cleaned is written and synced     it is removed: nothing happened
    /// 1. .cleaned becomes .swap, synced     the swap is completed
    /// 2. the old become .deleted            the swap is completed, with those that are left
    /// 3. .swap loses its suffix, synced     .deleted files are removed: all is done
    /// ```
    ///
    /// The caller has the cleaner's turn, so nobody else touches these segments meanwhile; appends go on.
    /// If a file cannot be renamed, all that was done is taken back.
    ///
    /// # Errors
    /// [`crate::log::Error::Storage`]: nothing has changed; or, if it could not be taken back, the log
    /// directory is out of use and the next start completes the swap.
    pub(crate) fn replace_segments(&self, mut cleaned: Segment, old: &[Arc<Segment>]) -> Result<()> {
        if let Err(e) = self.swap_files(&mut cleaned, old) {
            self.stop_for_good(self.take_swap_back(&mut cleaned, old))?;
            // The next cleaning or start removes what this cannot.
            let _ = cleaned.discard();
            return Err(e);
        }
        let cleaned = Arc::new(cleaned);
        {
            let mut segments = self.segments.write().expect("a log user panicked");
            for segment in old {
                segments.remove(&segment.base());
            }
            segments.insert(cleaned.base(), Arc::clone(&cleaned));
        }
        for segment in old {
            self.await_removal(segment);
        }
        // Before this its index could not be opened by name.
        cleaned.rest().map(|_| ())
    }

    fn swap_files(&self, cleaned: &mut Segment, old: &[Arc<Segment>]) -> Result<()> {
        cleaned.move_files(&self.dir, State::Cleaned, State::Swap)?;
        fs::sync_dir(&self.dir)?;
        for segment in old {
            segment.mark_deleted(&self.dir)?;
        }
        cleaned.move_files(&self.dir, State::Swap, State::Plain)?;
        Ok(fs::sync_dir(&self.dir)?)
    }

    /// Undoes the steps from the last one done to the first: the swap files vouch for the old ones until
    /// these have their names back.
    fn take_swap_back(&self, cleaned: &mut Segment, old: &[Arc<Segment>]) -> Result<()> {
        cleaned.move_files(&self.dir, State::Plain, State::Swap)?;
        for segment in old.iter().rev() {
            segment.unmark_deleted(&self.dir)?;
        }
        fs::sync_dir(&self.dir)?;
        cleaned.move_files(&self.dir, State::Swap, State::Cleaned)?;
        Ok(fs::sync_dir(&self.dir)?)
    }
}
