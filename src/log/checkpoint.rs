//! The text file that remembers one offset per partition (kafka.server.OffsetCheckpoint):
//!
//! ```text
//! 0                             version
//! 2                             lines that follow
//! <topic> <partition> <offset>
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use crate::cluster::TopicPartition;
use crate::message::Offset;
use crate::util::fs;

use super::{Error, Result, files};

/// One such file. Reading it changes nothing on disk.
#[derive(Debug)]
pub struct OffsetCheckpoint {
    path: PathBuf,
    /// Writers come one after the other: they share the temporary file.
    writing: Mutex<()>,
}

impl OffsetCheckpoint {
    /// The checkpoint at `path`, which need not be there.
    pub fn new(path: impl Into<PathBuf>) -> OffsetCheckpoint {
        OffsetCheckpoint {
            path: path.into(),
            writing: Mutex::new(()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was last written; nothing if nothing was. Lines may end as Windows ends them.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] for a file of another form, [`Error::Storage`] if it cannot be read.
    pub fn read(&self) -> Result<BTreeMap<TopicPartition, Offset>> {
        let Some(bytes) = fs::read(&self.path)? else {
            return Ok(BTreeMap::new());
        };
        parse(&bytes).map_err(|reason| Error::Checkpoint {
            path: self.path.clone(),
            reason,
        })
    }

    /// Puts `offsets` in the place of all that was there. A crash leaves the old or the new.
    pub fn write(&self, offsets: &BTreeMap<TopicPartition, Offset>) -> Result<()> {
        let mut text = format!("0\n{}\n", offsets.len());
        for (tp, offset) in offsets {
            writeln!(text, "{} {} {offset}", tp.topic, tp.partition).expect("a String takes every write");
        }
        let _one = self.writing.lock().expect("a checkpoint writer panicked");
        Ok(fs::replace(&self.path, text.as_bytes())?)
    }
}

/// The recovery points of one log directory: up to where each log is known to be on disk, as its
/// checkpoint file says.
#[derive(Debug)]
pub(crate) struct RecoveryPoints {
    file: OffsetCheckpoint,
    /// What the file says.
    written: Mutex<BTreeMap<TopicPartition, Offset>>,
}

impl RecoveryPoints {
    /// Those of `dir`. A file that cannot be read counts as empty: all is recovered.
    pub(crate) fn read(dir: &Path) -> RecoveryPoints {
        let file = OffsetCheckpoint::new(dir.join(files::RECOVERY_CHECKPOINT));
        let written = file.read().unwrap_or_else(|e| {
            ::log::warn!(
                "Error occured while reading recovery-point-offset-checkpoint file of directory {}: {e}",
                dir.display()
            );
            ::log::warn!("Resetting the recovery checkpoint to 0");
            BTreeMap::new()
        });
        RecoveryPoints {
            file,
            written: Mutex::new(written),
        }
    }

    /// None, of a directory that cannot be read.
    pub(crate) fn none(dir: &Path) -> RecoveryPoints {
        RecoveryPoints {
            file: OffsetCheckpoint::new(dir.join(files::RECOVERY_CHECKPOINT)),
            written: Mutex::default(),
        }
    }

    /// The recovery point of a log, 0 if it has none.
    pub(crate) fn of(&self, tp: &TopicPartition) -> Offset {
        self.written().get(tp).copied().unwrap_or(0)
    }

    /// Writes `points` in place of all, also when there are none: a log made anew after a crash must
    /// not inherit what its namesake had.
    pub(crate) fn write(&self, points: BTreeMap<TopicPartition, Offset>) -> Result<()> {
        let mut written = self.written();
        if *written == points && self.file.path().exists() {
            return Ok(());
        }
        self.file.write(&points)?;
        *written = points;
        Ok(())
    }

    /// Makes sure that the file vouches for nothing of a log at `offset` or above: what comes there now
    /// is not what was flushed.
    pub(crate) fn lower(&self, tp: &TopicPartition, offset: Offset) -> Result<()> {
        self.lower_all([(tp, offset)].into_iter())
    }

    /// As [`Self::lower`] for many logs, in one write.
    pub(crate) fn lower_all<'a>(
        &self,
        points: impl Iterator<Item = (&'a TopicPartition, Offset)>,
    ) -> Result<()> {
        let mut written = self.written();
        let mut some = false;
        for (tp, offset) in points {
            if let Some(point) = written.get_mut(tp).filter(|point| **point > offset) {
                *point = offset;
                some = true;
            }
        }
        match some {
            true => self.file.write(&written),
            false => Ok(()),
        }
    }

    fn written(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Offset>> {
        self.written.lock().expect("a checkpoint writer panicked")
    }
}

fn parse(bytes: &[u8]) -> std::result::Result<BTreeMap<TopicPartition, Offset>, String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = (1..).zip(text.lines());
    let Some((_, version)) = lines.next() else {
        return Ok(BTreeMap::new());
    };
    match version.trim().parse::<i32>() {
        Ok(0) => {}
        Ok(v) => {
            return Err(format!(
                "Unrecognized version of the highwatermark checkpoint file: {v}"
            ));
        }
        Err(_) => return Err(malformed(1, version)),
    }
    let Some((_, expected)) = lines.next() else {
        return Ok(BTreeMap::new());
    };
    let expected: usize = expected.trim().parse().map_err(|_| malformed(2, expected))?;
    let mut offsets = BTreeMap::new();
    for (number, line) in lines {
        let mut parts = line.split_whitespace();
        let entry = (parts.next(), parts.next(), parts.next(), parts.next());
        let (Some(topic), Some(partition), Some(offset), None) = entry else {
            return Err(malformed(number, line));
        };
        let partition = partition.parse().map_err(|_| malformed(number, line))?;
        let offset = offset.parse().map_err(|_| malformed(number, line))?;
        offsets.insert(TopicPartition::new(topic, partition), offset);
    }
    match offsets.len() {
        n if n == expected => Ok(offsets),
        n => Err(format!("Expected {expected} entries but found only {n}")),
    }
}

fn malformed(number: usize, line: &str) -> String {
    format!("Malformed line in offset checkpoint file: '{line}'. It is line {number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_bytes_are_kafka_s_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = OffsetCheckpoint::new(dir.path().join("c"));
        assert_eq!(file.read().unwrap(), BTreeMap::new());
        let offsets = BTreeMap::from([
            (TopicPartition::new("a-b", 1), 7),
            (TopicPartition::new("t", 0), 42),
        ]);
        file.write(&offsets).unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), b"0\n2\na-b 1 7\nt 0 42\n");
        assert_eq!(file.read().unwrap(), offsets);
    }

    #[test]
    fn line_ends_of_windows_and_empty_files_are_fine() {
        assert_eq!(parse(b"0\r\n1\r\nt 0 5\r\n").unwrap().len(), 1);
        for empty in ["", "0", "0\n", "0\n0\n"] {
            assert_eq!(parse(empty.as_bytes()), Ok(BTreeMap::new()), "{empty:?}");
        }
    }

    #[test]
    fn damage_is_told_in_kafka_s_words() {
        for (text, words) in [
            (
                "1\n0\n",
                "Unrecognized version of the highwatermark checkpoint file: 1",
            ),
            ("0\n2\nt 0 5\n", "Expected 2 entries but found only 1"),
            ("0\n2\nt 0 5\nt 0 5\n", "Expected 2 entries but found only 1"),
            (
                "0\n1\nt 0\n",
                "Malformed line in offset checkpoint file: 't 0'. It is line 3",
            ),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err(), words);
        }
    }
}
