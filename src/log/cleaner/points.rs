//! Up to where each log of a directory was cleaned: the file `cleaner-offset-checkpoint`, as a 0.9.0.1
//! broker reads and writes it. An entry is the first offset that was not cleaned.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use crate::cluster::TopicPartition;
use crate::log::{OffsetCheckpoint, Result, files};
use crate::message::Offset;

use super::TARGET;

type Points = BTreeMap<TopicPartition, Offset>;

/// The cleaner's places in the logs of one directory. Each change is on disk when its method returns; if it
/// cannot be written, it holds until the next start.
#[derive(Debug)]
pub(crate) struct CleanerPoints {
    file: OffsetCheckpoint,
    /// What the file says.
    written: Mutex<Points>,
}

impl CleanerPoints {
    /// Those of `dir`. A file that cannot be read counts as empty: all is cleaned anew.
    pub(crate) fn read(dir: &Path) -> CleanerPoints {
        let points = CleanerPoints::none(dir);
        match points.file.read() {
            Ok(read) => *points.written() = read,
            Err(e) => ::log::warn!(
                target: TARGET,
                "{e}; every log of the directory is cleaned from its start"
            ),
        }
        points
    }

    /// None, of a directory that cannot be read.
    pub(crate) fn none(dir: &Path) -> CleanerPoints {
        CleanerPoints {
            file: OffsetCheckpoint::new(dir.join(files::CLEANER_CHECKPOINT)),
            written: Mutex::default(),
        }
    }

    /// Up to where a log was cleaned, if it ever was.
    pub(crate) fn of(&self, tp: &TopicPartition) -> Option<Offset> {
        self.written().get(tp).copied()
    }

    /// Tells that a log was cleaned up to `offset`.
    pub(crate) fn set(&self, tp: &TopicPartition, offset: Offset) -> Result<()> {
        self.change(|points| {
            points.insert(tp.clone(), offset);
        })
    }

    /// Makes sure that nothing of a log at `offset` or above counts as cleaned: what comes there now is
    /// not what was. 0.9.0.1 forgets this (KAFKA-3330).
    pub(crate) fn lower(&self, tp: &TopicPartition, offset: Offset) -> Result<()> {
        self.change(|points| {
            if let Some(point) = points.get_mut(tp) {
                *point = offset.min(*point);
            }
        })
    }

    /// Forgets a log: it is gone, or is not what it was.
    pub(crate) fn forget(&self, tp: &TopicPartition) -> Result<()> {
        self.change(|points| {
            points.remove(tp);
        })
    }

    /// Forgets all logs but those.
    pub(crate) fn retain(&self, is_here: impl Fn(&TopicPartition) -> bool) -> Result<()> {
        self.change(|points| points.retain(|tp, _| is_here(tp)))
    }

    fn change(&self, change: impl FnOnce(&mut Points)) -> Result<()> {
        let mut written = self.written();
        let before = written.clone();
        change(&mut written);
        match *written == before {
            true => Ok(()),
            false => self.file.write(&written),
        }
    }

    fn written(&self) -> MutexGuard<'_, Points> {
        self.written.lock().expect("a checkpoint writer panicked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tp() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    #[test]
    fn changes_are_on_disk_and_unchanged_points_are_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let points = CleanerPoints::read(dir.path());
        let file = dir.path().join(files::CLEANER_CHECKPOINT);
        points.lower(&tp(), 3).unwrap();
        points.forget(&tp()).unwrap();
        assert!(!file.exists(), "nothing was to be said");
        points.set(&tp(), 7).unwrap();
        points.lower(&tp(), 9).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"0\n1\nt 0 7\n");
        points.lower(&tp(), 5).unwrap();
        assert_eq!(CleanerPoints::read(dir.path()).of(&tp()), Some(5));
        points.forget(&tp()).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"0\n0\n");
    }

    #[test]
    fn a_damaged_file_counts_as_empty() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(files::CLEANER_CHECKPOINT), "0\n9\n").unwrap();
        assert_eq!(CleanerPoints::read(dir.path()).of(&tp()), None);
    }
}
