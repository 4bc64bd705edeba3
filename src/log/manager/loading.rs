//! Loading all logs at start: all directories at once, several logs of each at once.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::log::{debug, info, warn};
use tokio::sync::watch;

use crate::cluster::TopicPartition;
use crate::config::LogConfig;
use crate::log::chores::Chores;
use crate::log::directory::LogDir;
use crate::log::recovery::{self, Found, Loaded, Recovery};
use crate::log::{Error, Log, Result, files};
use crate::util::clock::{Clock, Mono};
use crate::util::fs::{self, Context};

use super::{Removal, finish_removal};

/// How often a long load says how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

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
    Ok(path.canonicalize().during("find", path)?)
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
        let recoveries: Vec<Recovery<'_>> = partitions
            .iter()
            .map(|(tp, path)| Recovery {
                dir: path,
                config: self.config(tp),
                recovery_point: dir.points().of(tp),
                clean,
                now: self.clock.wall(),
            })
            .collect();
        let threads = self.threads.max(1);
        let prepared = in_parallel(threads, &recoveries, recovery::prepare)?;
        let segments: Vec<(usize, Found)> = prepared
            .iter()
            .enumerate()
            .flat_map(|(log, prepared)| prepared.segments.iter().map(move |found| (log, *found)))
            .collect();
        let progress = Progress {
            loading: self,
            dir,
            all: Amount {
                segments: segments.len(),
                bytes: segments.iter().map(|(_, found)| found.to_read).sum(),
            },
            segments: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            told: Mutex::new(self.clock.now()),
        };
        let opened = in_parallel(threads, &segments, |(log, found)| {
            let opened = recovery::open(&recoveries[*log], &prepared[*log], found, &|n| progress.read(n))?;
            progress.opened();
            Ok(opened)
        })?;
        let mut opened = segments.iter().zip(opened).peekable();
        let mut logs = Vec::with_capacity(partitions.len());
        for (log, ((tp, path), r)) in partitions.iter().zip(&recoveries).enumerate() {
            let mut own = Vec::new();
            while let Some((_, opened)) = opened.next_if(|((of, _), _)| *of == log) {
                own.push(opened);
            }
            logs.push(self.log(dir, tp, path, recovery::assemble(r, own)?));
        }
        Ok(logs)
    }

    fn config(&self, tp: &TopicPartition) -> &LogConfig {
        self.topics.get(&*tp.topic).unwrap_or(self.defaults)
    }

    fn log(&self, dir: &Arc<LogDir>, tp: &TopicPartition, path: &Path, loaded: Loaded) -> Log {
        let cleaned = dir.cleaner_points();
        if cleaned.of(tp).is_some_and(|cleaned| cleaned > loaded.next) {
            // The log was cut back since, and it is not known how far: all counts as dirty (KAFKA-3330).
            if let Err(e) = dir.watch(cleaned.forget(tp)) {
                warn!("{e}");
            }
        }
        Log::new(
            tp.clone(),
            path.to_owned(),
            self.config(tp).clone(),
            loaded,
            self.clock.clone(),
            Arc::clone(self.chores),
            Arc::clone(dir),
        )
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

/// How far the loading of a directory is.
struct Progress<'a> {
    loading: &'a Loading<'a>,
    dir: &'a LogDir,
    all: Amount,
    segments: AtomicUsize,
    bytes: AtomicU64,
    told: Mutex<Mono>,
}

/// What there is to do in all.
struct Amount {
    segments: usize,
    /// Of segments that have to be read.
    bytes: u64,
}

impl Progress<'_> {
    /// Tells that bytes of a segment were read.
    fn read(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    /// Tells that a segment was opened.
    fn opened(&self) {
        self.segments.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        let now = self.loading.clock.now();
        let mut told = self.told.lock().expect("a loader panicked");
        if now.since(*told) < PROGRESS {
            return;
        }
        *told = now;
        let (segments, bytes) = (
            self.segments.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        );
        let dir = self.dir.path().display();
        let all = &self.all;
        match (bytes.min(all.bytes) * 100).checked_div(all.bytes) {
            Some(percent) => info!(
                "Recovered {percent}% of {} bytes, {segments} of {} segments in {dir}.",
                all.bytes, all.segments
            ),
            None => info!("Loaded {segments} of {} segments in {dir}.", all.segments),
        }
    }
}

/// Does `work` on all items with some threads; stops at the first error and returns it. The
/// results have the order of the items.
pub(super) fn in_parallel<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let run = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { break };
            if failed.load(Ordering::Relaxed) {
                break;
            }
            match work(item) {
                Ok(result) => done.push((at, result)),
                Err(e) => {
                    failed.store(true, Ordering::Relaxed);
                    return Err(e);
                }
            }
        }
        Ok(done)
    };
    let results: Vec<Result<Vec<(usize, R)>>> = if threads.min(items.len()) <= 1 {
        vec![run()]
    } else { std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads.min(items.len())).map(|_| scope.spawn(run)).collect();
        running
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
            .collect()
        })
    };
    let mut all = Vec::with_capacity(items.len());
    for result in results {
        all.extend(result?);
    }
    all.sort_unstable_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}
