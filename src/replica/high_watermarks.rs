//! `replication-offset-checkpoint`: the high watermark of each replica, one file per log directory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::cluster::TopicPartition;
use crate::log::{self, Log, LogManager, OffsetCheckpoint};
use crate::message::Offset;

const FILE: &str = "replication-offset-checkpoint";

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
    /// Reads the files of all `dirs`; one that is not there is empty.
    pub(super) fn open(dirs: Vec<PathBuf>) -> log::Result<HighWatermarks> {
        let open = |path: PathBuf| {
            let file = OffsetCheckpoint::new(path.join(FILE));
            let written = Mutex::new(file.read()?);
            Ok(Dir { path, file, written })
        };
        let dirs = dirs.into_iter().map(open).collect::<log::Result<_>>()?;
        Ok(HighWatermarks { dirs })
    }

    /// What a log's high watermark was when it was last written, if it was.
    pub(super) fn of(&self, log: &Log) -> Option<Offset> {
        let dir = self.dirs.iter().find(|d| log.dir().starts_with(&d.path))?;
        let written = dir.written.lock().expect("a holder of the checkpoints panicked");
        written.get(log.topic_partition()).copied()
    }

    /// Writes the files. Replicas that have a log but no role yet keep what was written of them.
    pub(super) fn write(
        &self,
        logs: &LogManager,
        current: &BTreeMap<TopicPartition, Offset>,
    ) -> log::Result<()> {
        let all = logs.all();
        for dir in &self.dirs {
            let mut written = dir.written.lock().expect("a holder of the checkpoints panicked");
            let here = all
                .iter()
                .filter(|l| l.dir().starts_with(&dir.path))
                .map(|l| l.topic_partition());
            let of = |tp: &TopicPartition| current.get(tp).or_else(|| written.get(tp)).copied();
            let now: BTreeMap<_, _> = here.filter_map(|tp| Some((tp.clone(), of(tp)?))).collect();
            if *written != now {
                dir.file.write(&now)?;
                *written = now;
            }
        }
        Ok(())
    }
}
