//! Loading all logs at start: all directories at once, and in each some threads that share one list of the
//! segments of all its logs.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::log::{debug, info, warn};
use tokio::sync::watch;

use crate::cluster::TopicPartition;
use crate::config::LogConfig;
use crate::log::chores::Chores;
use crate::log::directory::LogDir;
use crate::log::recovery::{Loaded, Outcome, Piece, Plan, Recovery};
use crate::log::{Error, Log, Result, files};
use crate::util::clock::Clock;
use crate::util::fs::{self, Context};

use super::parallel::in_parallel;
use super::progress::{Amount, Progress};
use super::{Removal, finish_removal};

/// Which partitions are in directories that failed before their logs were loaded, as far as that can be
/// told.
#[derive(Debug, Default)]
pub(super) struct Unloaded {
    known: HashMap<TopicPartition, Arc<LogDir>>,
    /// Directories that could not even be listed.
    unlisted: Vec<Arc<LogDir>>,
}

impl Unloaded {
    /// The directory that holds a partition, or that may hold one that was not made just now.
    pub(super) fn holder(&self, tp: &TopicPartition, is_new: bool) -> Option<&Arc<LogDir>> {
        let may = || self.unlisted.first().filter(|_| !is_new);
        self.known.get(tp).or_else(may)
    }

    fn add(&mut self, dir: &Arc<LogDir>) {
        match fs::list(dir.path()) {
            Ok(names) => {
                let partitions = names.iter().filter_map(|n| n.to_str());
                let partitions = partitions.filter_map(TopicPartition::parse_dir_name);
                self.known.extend(partitions.map(|tp| (tp, Arc::clone(dir))));
            }
            Err(_) => self.unlisted.push(Arc::clone(dir)),
        }
    }
}

/// Whether a directory with this error is left out, so that others can be used.
fn is_of_the_disk(e: &Error) -> bool {
    matches!(e, Error::Storage(_))
}

/// Makes the directories that are missing, and locks all.
pub(super) fn prepare(dirs: &[PathBuf], failures: &watch::Sender<usize>) -> Result<Vec<Arc<LogDir>>> {
    let mut prepared = Vec::new();
    let mut canonical = Vec::new();
    for given in dirs {
        let path = std::path::absolute(given).during("find", given)?;
        match make(&path) {
            Ok(real) if canonical.contains(&real) => return Err(Error::DuplicateDirectory(dirs.to_vec())),
            Ok(real) => {
                canonical.push(real);
                prepared.push((path, None));
            }
            Err(e) if is_of_the_disk(&e) => prepared.push((path, Some(e))),
            Err(e) => return Err(e),
        }
    }
    // Nothing is locked before all of them are known to be different.
    let mut ready = Vec::new();
    let mut last = None;
    for (path, failure) in prepared {
        let locked = match failure {
            Some(e) => Err(e),
            None => match fs::lock(&path.join(files::LOCK)) {
                Ok(None) => return Err(Error::Locked(path)),
                Ok(Some(lock)) => Ok(lock),
                Err(e) => Err(e.into()),
            },
        };
        ready.push(Arc::new(match locked {
            Ok(lock) => LogDir::new(path, lock, failures.clone()),
            Err(e) => {
                let dir = LogDir::failed(path, &e, failures.clone());
                last = Some(e);
                dir
            }
        }));
    }
    unless_all_failed(&ready, last)?;
    Ok(ready)
}

fn make(path: &Path) -> Result<PathBuf> {
    if !path.exists() {
        info!("Log directory '{}' not found, creating it.", path.display());
        fs::create_dir_all_durably(path)?;
    }
    let unreadable = |e: &fs::Error| e.source.kind() == std::io::ErrorKind::PermissionDenied;
    match fs::list(path) {
        Err(e) if !path.is_dir() || unreadable(&e) => return Err(Error::NotADirectory(path.to_owned())),
        listed => listed?,
    };
    // Not every file system of Windows tells it, nor Wine that of a long path. What is one directory by two
    // names then shows when it is locked.
    Ok(path.canonicalize().unwrap_or_else(|_| path.to_owned()))
}

/// `last` if no directory is left.
fn unless_all_failed(dirs: &[Arc<LogDir>], last: Option<Error>) -> Result<()> {
    match last {
        Some(e) if dirs.iter().all(|d| d.failure().is_some()) => Err(e),
        _ => Ok(()),
    }
}

/// Takes the marks of an orderly stop away.
pub(super) fn enter(dirs: &[Arc<LogDir>]) -> Result<()> {
    let mut last = None;
    for dir in dirs.iter().filter(|d| d.failure().is_none()) {
        last = dir.watch(dir.enter()).err().or(last);
    }
    unless_all_failed(dirs, last)
}

/// What loading works with.
pub(super) struct Loading<'a> {
    pub(super) dirs: &'a [Arc<LogDir>],
    pub(super) defaults: &'a LogConfig,
    pub(super) topics: &'a HashMap<String, LogConfig>,
    pub(super) threads: usize,
    pub(super) clock: &'a Clock,
    pub(super) chores: &'a Arc<Chores>,
}

impl Loading<'_> {
    /// All logs of all directories, and what is in those that fail.
    pub(super) fn run(&self) -> Result<(HashMap<TopicPartition, Arc<Log>>, Unloaded)> {
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
        let (mut unloaded, mut last) = (Unloaded::default(), None);
        for (dir, loaded) in self.dirs.iter().zip(loaded) {
            match loaded {
                Ok(loaded) => {
                    for log in loaded {
                        let log = Arc::new(log);
                        if let Some(other) = logs.insert(log.topic_partition().clone(), Arc::clone(&log)) {
                            return Err(Error::DuplicateLog(other.dir().to_owned(), log.dir().to_owned()));
                        }
                    }
                }
                Err(e) if is_of_the_disk(&e) || dir.failure().is_some() => {
                    dir.fail(&e);
                    unloaded.add(dir);
                    last = Some(e);
                }
                Err(e) => return Err(e),
            }
        }
        unless_all_failed(self.dirs, last)?;
        Ok((logs, unloaded))
    }

    fn dir(&self, dir: &Arc<LogDir>) -> Result<Vec<Log>> {
        dir.check()?;
        let clean = dir.was_left_in_order();
        if clean {
            debug!(
                "Found clean shutdown file. Skipping recovery for all logs in data directory: {}",
                dir.path().display()
            );
        }
        let partitions = self.partitions(dir.path())?;
        let recoveries = partitions.iter().map(|(tp, path)| Recovery {
            dir: path,
            config: self.config(tp),
            recovery_point: dir.points().of(tp),
            clean,
            now: self.clock.wall(),
        });
        let loaded = self.recover(dir, recoveries.collect())?;
        let points = partitions.iter().zip(&loaded);
        let points = points.map(|((tp, _), loaded)| (tp, loaded.recovery_point));
        if let Err(e) = dir.watch(dir.points().lower_all(points)) {
            warn!("{e}");
        }
        let logs = partitions.into_iter().zip(loaded);
        Ok(logs
            .map(|((tp, path), loaded)| self.log(dir, tp, path, loaded))
            .collect())
    }

    /// Loads logs; their segments are one list that all threads work at.
    fn recover(&self, dir: &LogDir, recoveries: Vec<Recovery<'_>>) -> Result<Vec<Loaded>> {
        let begun = self.clock.now();
        let mut loaded: Vec<Option<Loaded>> = recoveries.iter().map(|_| None).collect();
        let mut left: Vec<(usize, Recovery<'_>)> = recoveries.into_iter().enumerate().collect();
        // Some logs have to be read a second time, as their recovery point was another log's.
        while !left.is_empty() {
            let plans = in_parallel(self.threads, left, |(log, r)| Ok((log, Plan::of(r)?)))?;
            let pieces = plans
                .iter()
                .flat_map(|(_, plan)| plan.pieces.iter().map(move |piece| (plan, piece)));
            let pieces: Vec<(&Plan<'_>, &Piece)> = pieces.collect();
            let all = Amount {
                segments: pieces.len() as u64,
                bytes: pieces.iter().map(|(_, piece)| piece.to_read).sum(),
            };
            let progress = Progress::new(dir.path(), self.clock, all);
            let mut read = in_parallel(self.threads, pieces, |(plan, piece)| {
                let opened = plan.read(piece, &|bytes| progress.read(bytes))?;
                progress.opened();
                Ok(opened)
            })?
            .into_iter();
            let whole = plans.into_iter().map(|(log, plan)| {
                let own = read.by_ref().take(plan.pieces.len()).collect();
                (log, plan, own)
            });
            let outcomes = in_parallel(
                self.threads,
                whole.collect(),
                |(log, plan, own): (_, _, Vec<_>)| Ok((log, plan.assemble(own)?)),
            )?;
            progress.end(begun);
            left = Vec::new();
            for (log, outcome) in outcomes {
                match outcome {
                    Outcome::Loaded(done) => loaded[log] = Some(done),
                    Outcome::Again(r) => left.push((log, r)),
                }
            }
        }
        let done = |loaded: Option<Loaded>| loaded.expect("a log is left until it is loaded");
        Ok(loaded.into_iter().map(done).collect())
    }

    fn config(&self, tp: &TopicPartition) -> &LogConfig {
        self.topics.get(&*tp.topic).unwrap_or(self.defaults)
    }

    fn log(&self, dir: &Arc<LogDir>, tp: TopicPartition, path: PathBuf, loaded: Loaded) -> Log {
        let cleaned = dir.cleaner_points();
        if cleaned.of(&tp).is_some_and(|cleaned| cleaned > loaded.next) {
            // The log was cut back since, and it is not known how far: all counts as dirty (KAFKA-3330).
            if let Err(e) = dir.watch(cleaned.forget(&tp)) {
                warn!("{e}");
            }
        }
        let config = self.config(&tp).clone();
        let (clock, chores) = (self.clock.clone(), Arc::clone(self.chores));
        Log::new(tp, path, config, loaded, clock, chores, Arc::clone(dir))
    }

    /// The partitions' directories in a log directory. What was being removed when the broker died is
    /// removed now; plain files are no logs.
    fn partitions(&self, dir: &Path) -> Result<Vec<(TopicPartition, PathBuf)>> {
        let mut found = BTreeMap::new();
        for name in fs::list(dir)? {
            let path = dir.join(&name);
            if !path.is_dir() {
                continue;
            }
            let name = name.to_string_lossy().into_owned();
            if name == files::LOST_AND_FOUND {
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
