//! `replication-offset-checkpoint`: the high watermark of each replica, one file per log directory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use ::log::error;

use crate::cluster::TopicPartition;
use crate::log::{self, Log, LogManager, OffsetCheckpoint};
use crate::message::Offset;

/// The files, and what was last in them.
#[derive(Debug)]
pub(super) struct HighWatermarks {
    dirs: Vec<Dir>,
}

#[derive(Debug)]
struct Dir {
    path: PathBuf,
    file: OffsetCheckpoint,
    written: Mutex<BTreeMap<TopicPartition, Offset>>,
}

impl HighWatermarks {
    /// Reads the files of all log directories; one that is not there is empty, and so is a damaged one, of
    /// which an error line tells: 0 is no high watermark too high. Leaders raise theirs as soon as the replicas
    /// in sync have been heard; followers compare all that they have. A directory whose disk fails is out of
    /// use, as long as there is another.
    pub(super) fn open(logs: &LogManager) -> log::Result<HighWatermarks> {
        let mut dirs = Vec::new();
        for path in logs.dirs() {
            let file = OffsetCheckpoint::new(path.join(log::files::HIGH_WATERMARK_CHECKPOINT));
            let written = match file.read() {
                Ok(written) => Mutex::new(written),
                Err(e @ log::Error::Checkpoint { .. }) => {
                    error!(
                        "{e}. The high watermarks of all replicas in {} begin at 0",
                        path.display()
                    );
                    Mutex::default()
                }
                Err(e @ log::Error::Storage(_)) => {
                    logs.fail_dir(&path, &e);
                    match logs.dirs().is_empty() {
                        true => return Err(e),
                        false => continue,
                    }
                }
                Err(e) => return Err(e),
            };
            dirs.push(Dir { path, file, written });
        }
        Ok(HighWatermarks { dirs })
    }

    /// What a log's high watermark was when it was last written, if it was.
    pub(super) fn of(&self, log: &Log) -> Option<Offset> {
        let dir = self.dirs.iter().find(|d| log.dir().starts_with(&d.path))?;
        let written = dir.written.lock().expect("a holder of the checkpoints panicked");
        written.get(log.topic_partition()).copied()
    }

    /// Writes the files. Replicas that have a log but no role yet keep what was written of them. Returns
    /// what went wrong; a directory whose disk failed is out of use then.
    pub(super) fn write(
        &self,
        logs: &LogManager,
        current: &BTreeMap<TopicPartition, Offset>,
    ) -> Vec<log::Error> {
        let all = logs.all();
        let online = logs.dirs();
        let mut failures = Vec::new();
        for dir in self.dirs.iter().filter(|d| online.contains(&d.path)) {
            let mut written = dir.written.lock().expect("a holder of the checkpoints panicked");
            let here = all
                .iter()
                .filter(|l| l.dir().starts_with(&dir.path))
                .map(|l| l.topic_partition());
            let of = |tp: &TopicPartition| current.get(tp).or_else(|| written.get(tp)).copied();
            let now: BTreeMap<_, _> = here.filter_map(|tp| Some((tp.clone(), of(tp)?))).collect();
            if *written == now {
                continue;
            }
            match dir.file.write(&now) {
                Ok(()) => *written = now,
                // The old file still stands, and the next turn may find room, a handle, or nobody who holds it.
                Err(log::Error::Storage(e)) if !e.blames_the_disk() => {
                    ::log::warn!("The high watermarks are written later: {e}");
                }
                Err(e) => {
                    logs.fail_dir(&dir.path, &e);
                    failures.push(e);
                }
            }
        }
        failures
    }
}
