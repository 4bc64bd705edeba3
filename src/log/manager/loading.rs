//! Loading all logs at start: all directories at once, several logs of each at once.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::log::{debug, info, warn};

use crate::cluster::TopicPartition;
use crate::config::LogConfig;
use crate::log::chores::Chores;
use crate::log::recovery::{self, Recovery};
use crate::log::{Error, Log, Result, files};
use crate::util::clock::{Clock, Mono};
use crate::util::fs::Context;

use super::{LogDir, Removal, finish_removal};

/// A directory that every ext file system has at its root; 0.9.0.1 does not start beside it.
const LOST_AND_FOUND: &str = "lost+found";
/// How often a long load says how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

/// What loading works with.
pub(super) struct Loading<'a> {
    pub(super) dirs: &'a [LogDir],
    pub(super) defaults: &'a LogConfig,
    pub(super) topics: &'a HashMap<String, LogConfig>,
    pub(super) threads: usize,
    pub(super) clock: &'a Clock,
    pub(super) chores: &'a Arc<Chores>,
}

impl Loading<'_> {
    /// All logs of all directories.
    pub(super) fn run(&self) -> Result<HashMap<TopicPartition, Arc<Log>>> {
        let loaded: Vec<Result<Vec<Log>>> = std::thread::scope(|scope| {
            let running: Vec<_> = self
                .dirs
                .iter()
                .map(|dir| scope.spawn(move || self.dir(dir)))
                .collect();
            running
                .into_iter()
                .map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
                .collect()
        });
        let mut logs = HashMap::<TopicPartition, Arc<Log>>::new();
        for dir in loaded {
            for log in dir? {
                let log = Arc::new(log);
                if let Some(other) = logs.insert(log.topic_partition().clone(), Arc::clone(&log)) {
                    return Err(Error::DuplicateLog(other.dir().to_owned(), log.dir().to_owned()));
                }
            }
        }
        Ok(logs)
    }

    fn dir(&self, dir: &LogDir) -> Result<Vec<Log>> {
        let clean = dir.path.join(files::CLEAN_SHUTDOWN).exists();
        if clean {
            debug!(
                "Found clean shutdown file. Skipping recovery for all logs in data directory: {}",
                dir.path.display()
            );
        }
        let partitions = self.partitions(&dir.path)?;
        let done = AtomicUsize::new(0);
        let told = Mutex::new(self.clock.now());
        in_parallel(self.threads.max(1), &partitions, |(tp, path)| {
            let log = self.log(dir, tp, path, clean)?;
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            self.tell(&told, dir, done, partitions.len());
            Ok(log)
        })
    }

    fn log(&self, dir: &LogDir, tp: &TopicPartition, path: &Path, clean: bool) -> Result<Log> {
        let config = self.topics.get(&*tp.topic).unwrap_or(self.defaults);
        let loaded = recovery::load(&Recovery {
            dir: path,
            config,
            recovery_point: dir.points.of(tp),
            clean,
            now: self.clock.wall(),
        })?;
        Ok(Log::new(
            tp.clone(),
            path.to_owned(),
            config.clone(),
            loaded,
            self.clock.clone(),
            Arc::clone(self.chores),
            Arc::clone(&dir.points),
        ))
    }

    fn tell(&self, told: &Mutex<Mono>, dir: &LogDir, done: usize, all: usize) {
        let now = self.clock.now();
        let mut told = told.lock().expect("a loader panicked");
        if now.since(*told) >= PROGRESS {
            *told = now;
            info!("Loaded {done} of {all} logs in {}.", dir.path.display());
        }
    }

    /// The partitions' directories in a log directory. What was being removed when the broker died is
    /// removed now; plain files are no logs.
    fn partitions(&self, dir: &Path) -> Result<Vec<(TopicPartition, PathBuf)>> {
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(dir).during("list", dir)? {
            let path = entry.during("list", dir)?.path();
            if !path.is_dir() {
                continue;
            }
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name == LOST_AND_FOUND {
                warn!("Ignoring {}, which the file system made.", path.display());
                continue;
            }
            if path.join(files::DELETING).exists() {
                info!("Finishing the deletion of {}.", path.display());
                if finish_removal(&path)? == Removal::Waits {
                    self.chores.remove_dir_later(path, self.clock.now());
                }
                continue;
            }
            match TopicPartition::parse_dir_name(&name) {
                Some(tp) => found.insert(tp, path),
                None => return Err(Error::NotAPartition { path, name }),
            };
        }
        Ok(found.into_iter().collect())
    }
}

/// Does `work` on all items with some threads; stops at the first error and returns it.
pub(super) fn in_parallel<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let run = || {
        let mut done = Vec::new();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if failed.load(Ordering::Relaxed) {
                break;
            }
            match work(item) {
                Ok(result) => done.push(result),
                Err(e) => {
                    failed.store(true, Ordering::Relaxed);
                    return Err(e);
                }
            }
        }
        Ok(done)
    };
    if threads.min(items.len()) <= 1 {
        return run();
    }
    let results: Vec<Result<Vec<R>>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads.min(items.len())).map(|_| scope.spawn(run)).collect();
        running
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
            .collect()
    });
    let mut all = Vec::with_capacity(items.len());
    for result in results {
        all.extend(result?);
    }
    Ok(all)
}
