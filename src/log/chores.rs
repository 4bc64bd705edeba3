//! Work that logs leave for later and for others: removing the files of segments that they gave up,
//! flushing what lies before a new segment, and finishing the removal of directories in which a file is
//! still being read. The manager's tasks do it; logs only note it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use crate::cluster::TopicPartition;
use crate::message::Offset;
use crate::metrics::Timer;
use crate::util::clock::Mono;
use crate::util::fs;

use super::files::{self, Kind, State};
use super::segment::Segment;

/// When to try again what another program did not let happen.
const AGAIN: Duration = Duration::from_secs(1);

/// The notes. Shared by all logs of a manager.
#[derive(Debug, Default)]
pub(crate) struct Chores {
    notes: Mutex<Notes>,
    /// Rings when something was noted.
    pub(crate) noted: Notify,
    /// How long segments took to reach the disk.
    pub(crate) flushes: Arc<Timer>,
}

#[derive(Debug, Default)]
struct Notes {
    retired: Vec<Retired>,
    /// Directories that are marked as going.
    going: Vec<(Mono, PathBuf)>,
    to_flush: BTreeSet<TopicPartition>,
}

/// A segment that belongs to no log any more; its files are renamed already.
#[derive(Debug)]
struct Retired {
    due: Mono,
    dir: PathBuf,
    base: Offset,
    /// Readers find its files open until then.
    segment: Option<Arc<Segment>>,
}

impl Chores {
    /// Has the files of `segment` in `dir` removed at `due`.
    pub(crate) fn retire(&self, segment: Arc<Segment>, dir: PathBuf, due: Mono) {
        self.lock().retired.push(Retired {
            due,
            dir,
            base: segment.base(),
            segment: Some(segment),
        });
        self.noted.notify_one();
    }

    /// Has a directory that is marked as going removed as soon as nobody reads a file in it.
    pub(crate) fn remove_dir_later(&self, dir: PathBuf, now: Mono) {
        self.lock().going.push((now + AGAIN, dir));
        self.noted.notify_one();
    }

    /// Has a log flushed soon. A log noted twice is flushed once.
    pub(crate) fn flush_soon(&self, tp: TopicPartition) {
        self.lock().to_flush.insert(tp);
        self.noted.notify_one();
    }

    /// When the next removal is due.
    pub(crate) fn next(&self) -> Option<Mono> {
        let notes = self.lock();
        let segments = notes.retired.iter().map(|r| r.due);
        segments.chain(notes.going.iter().map(|(due, _)| *due)).min()
    }

    /// Takes the directories whose removal is to be tried again.
    pub(crate) fn take_going(&self, now: Mono) -> Vec<PathBuf> {
        let mut notes = self.lock();
        let due = notes.going.extract_if(.., |(due, _)| *due <= now);
        due.map(|(_, dir)| dir).collect()
    }

    /// Takes the logs that are to be flushed.
    pub(crate) fn take_flushes(&self) -> BTreeSet<TopicPartition> {
        std::mem::take(&mut self.lock().to_flush)
    }

    /// Removes what is due. A file that another program holds is tried again; one that cannot be removed
    /// goes at the next start.
    pub(crate) fn remove_due(&self, now: Mono) {
        let due: Vec<Retired> = self.lock().retired.extract_if(.., |r| r.due <= now).collect();
        for mut retired in due {
            let (dir, base) = (&retired.dir, retired.base);
            if retired.segment.take().is_some() {
                let name = dir.file_name().unwrap_or_default().to_string_lossy();
                ::log::info!("Deleting segment {base} from log {name}.");
            }
            let remove = |kind| fs::remove_file(&files::path(dir, base, kind, State::Deleted));
            let failures: Vec<fs::Error> = [Kind::Log, Kind::Index]
                .into_iter()
                .filter_map(|kind| remove(kind).err())
                .collect();
            for e in &failures {
                ::log::warn!("{e}");
            }
            if failures.iter().any(fs::Error::is_held) {
                retired.due = now + AGAIN;
                self.lock().retired.push(retired);
            }
        }
    }

    /// Forgets the segments of a directory that is removed as a whole.
    pub(crate) fn forget(&self, dir: &Path) {
        let mut notes = self.lock();
        notes.retired.retain(|r| r.dir != dir);
        notes.going.retain(|(_, going)| going != dir);
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().expect("a log panicked while noting")
    }
}
