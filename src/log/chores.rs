//! Work that logs leave for later and for others: removing the files of segments that they gave up,
//! and flushing what lies before a new segment. The manager's tasks do it; logs only note it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::cluster::TopicPartition;
use crate::util::clock::Mono;
use crate::util::fs;

use super::files::{self, Kind, State};
use super::segment::Segment;

/// The notes. Shared by all logs of a manager.
#[derive(Debug, Default)]
pub(crate) struct Chores {
    notes: Mutex<Notes>,
    /// Rings when something was noted.
    pub(crate) noted: Notify,
}

#[derive(Debug, Default)]
struct Notes {
    retired: Vec<Retired>,
    to_flush: BTreeSet<TopicPartition>,
}

/// A segment that belongs to no log any more; its files are renamed already.
#[derive(Debug)]
struct Retired {
    due: Mono,
    dir: PathBuf,
    segment: Arc<Segment>,
}

impl Chores {
    /// Has the files of `segment` in `dir` removed at `due`.
    pub(crate) fn retire(&self, segment: Arc<Segment>, dir: PathBuf, due: Mono) {
        self.lock().retired.push(Retired { due, dir, segment });
        self.noted.notify_one();
    }

    /// Has a log flushed soon. A log noted twice is flushed once.
    pub(crate) fn flush_soon(&self, tp: TopicPartition) {
        self.lock().to_flush.insert(tp);
        self.noted.notify_one();
    }

    /// When the next removal is due.
    pub(crate) fn next(&self) -> Option<Mono> {
        self.lock().retired.iter().map(|r| r.due).min()
    }

    /// Takes the logs that are to be flushed.
    pub(crate) fn take_flushes(&self) -> BTreeSet<TopicPartition> {
        std::mem::take(&mut self.lock().to_flush)
    }

    /// Removes what is due. A file that cannot be removed goes at the next start.
    pub(crate) fn remove_due(&self, now: Mono) {
        let due: Vec<Retired> = self.lock().retired.extract_if(.., |r| r.due <= now).collect();
        for Retired { dir, segment, .. } in due {
            let base = segment.base();
            let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            ::log::info!("Deleting segment {base} from log {name}.");
            // Closed first: some systems remove no file that is open.
            drop(segment);
            for kind in [Kind::Log, Kind::Index] {
                if let Err(e) = fs::remove_file(&files::path(&dir, base, kind, State::Deleted)) {
                    ::log::warn!("{e}");
                }
            }
        }
    }

    /// Forgets the segments of a directory that is removed as a whole.
    pub(crate) fn forget(&self, dir: &std::path::Path) {
        self.lock().retired.retain(|r| r.dir != dir);
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().expect("a log panicked while noting")
    }
}
