//! All logs of a broker: found at start, made and removed on demand, kept tidy, put to rest at the end.
//!
//! A log directory belongs to one broker at a time (its `.lock`). A new partition goes where the fewest
//! are. A directory whose disk fails, at start or later, takes its logs offline; those of others go on,
//! and no log of an offline directory is made anew elsewhere. Retention, flushing by time, the checkpoint
//! of recovery points and the chores that logs leave behind run as tasks, apart from whoever appends.

mod loading;
mod parallel;
mod progress;
mod tasks;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, RwLock, RwLockReadGuard};
use std::time::Duration;

use ::log::{error, info, warn};
use tokio::sync::{Notify, watch};

use crate::cluster::TopicPartition;
use crate::config::LogConfig;
use crate::metrics::{Name, Registry};
use crate::util::clock::Clock;
use crate::util::fs;

use super::chores::Chores;
use super::cleaner::{Cleaner, CleanerSettings};
use super::directory::LogDir;
use super::recovery::{self, Recovery};
use super::{Error, Log, Result, files};

/// How many logs of a directory are closed at a time. They wait for the disk and not for the processor, and a
/// file system writes in one stroke what many ask it to sync.
const CLOSERS: usize = 32;

/// How often a manager does what; the broker's settings, not a topic's.
#[derive(Clone, Debug)]
pub struct ManagerSettings {
    /// `num.recovery.threads.per.data.dir`
    pub recovery_threads_per_dir: usize,
    /// `log.retention.check.interval.ms`
    pub retention_check: Duration,
    /// `log.flush.scheduler.interval.ms`
    pub flush_check: Duration,
    /// `log.flush.offset.checkpoint.interval.ms`
    pub checkpoint: Duration,
    /// What passes from the start before any of these happens first.
    pub first_delay: Duration,
    /// How logs are compacted; `None` if they are not (`log.cleaner.enable`).
    pub cleaner: Option<CleanerSettings>,
}

impl Default for ManagerSettings {
    fn default() -> ManagerSettings {
        ManagerSettings {
            recovery_threads_per_dir: 1,
            retention_check: Duration::from_secs(300),
            flush_check: Duration::MAX,
            checkpoint: Duration::from_secs(60),
            first_delay: Duration::from_secs(30),
            cleaner: Some(CleanerSettings::default()),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct LogManager {
    dirs: Vec<Arc<LogDir>>,
    logs: RwLock<HashMap<TopicPartition, Arc<Log>>>,
    /// Partitions of directories that failed before their logs were loaded.
    unloaded: loading::Unloaded,
    /// Held while a partition's directory is made or removed.
    changing: Mutex<()>,
    settings: ManagerSettings,
    clock: Clock,
    chores: Arc<Chores>,
    cleaner: Option<Arc<Cleaner>>,
    /// Rings when some log's `flush.ms` may have changed.
    flush_changed: Notify,
    /// Counts the directories that failed.
    failures: watch::Sender<usize>,
    clean: bool,
    /// Where logs show themselves.
    metrics: OnceLock<Registry>,
}

impl LogManager {
    /// Makes and locks the directories, and loads every log in them: topics with their settings in
    /// `topics`, others with `defaults`. Blocking; after a crash it takes as long as reading what was
    /// not flushed.
    ///
    /// A directory whose disk fails is left out, as long as there is another.
    ///
    /// # Errors
    /// Directories that are double, unreadable or in use by another broker; directories in them that
    /// are no partition's; a failure of the last disk. Nothing was changed then that the next start does
    /// not find again.
    pub fn open(
        dirs: &[PathBuf],
        defaults: LogConfig,
        topics: &HashMap<String, LogConfig>,
        settings: ManagerSettings,
        clock: Clock,
    ) -> Result<LogManager> {
        let failures = watch::Sender::new(0);
        let dirs = loading::prepare(dirs, &failures)?;
        let chores = Arc::new(Chores::default());
        info!("Loading logs.");
        let (logs, unloaded) = loading::Loading {
            dirs: &dirs,
            defaults: &defaults,
            topics,
            threads: settings.recovery_threads_per_dir,
            clock: &clock,
            chores: &chores,
        }
        .run()
        .inspect_err(|e| error!("There was an error in one of the threads during logs loading: {e}"))?;
        let clean = dirs.iter().all(|d| d.was_left_in_order());
        loading::enter(&dirs)?;
        info!("Logs loading complete.");
        for dir in dirs.iter().filter(|d| d.failure().is_none()) {
            if let Err(e) = dir.watch(dir.cleaner_points().retain(|tp| logs.contains_key(tp))) {
                warn!("{e}");
            }
        }
        let cleaner = settings.cleaner.clone();
        Ok(LogManager {
            cleaner: cleaner.map(|settings| Arc::new(Cleaner::new(settings, clock.clone()))),
            dirs,
            logs: RwLock::new(logs),
            unloaded,
            changing: Mutex::new(()),
            settings,
            clock,
            chores,
            flush_changed: Notify::new(),
            failures,
            clean,
            metrics: OnceLock::new(),
        })
    }

    /// Whether all directories were left in order, so that nothing needed recovery.
    pub fn was_clean(&self) -> bool {
        self.clean
    }

    /// The log of a partition, if it is here.
    pub fn get(&self, tp: &TopicPartition) -> Option<Arc<Log>> {
        self.logs().get(tp).cloned()
    }

    /// All logs, in no order.
    pub fn all(&self) -> Vec<Arc<Log>> {
        self.logs().values().cloned().collect()
    }

    /// The log of a partition, if it is here. `is_new` says that the partition was made just now, so that
    /// no directory can hold anything of it.
    ///
    /// # Errors
    /// [`Error::Offline`] if its directory has failed, or one that may hold it.
    pub fn find(&self, tp: &TopicPartition, is_new: bool) -> Result<Option<Arc<Log>>> {
        if let Some(log) = self.get(tp) {
            log.check_directory()?;
            return Ok(Some(log));
        }
        match self.unloaded.holder(tp, is_new) {
            Some(dir) => dir.check().map(|()| None),
            None => Ok(None),
        }
    }

    /// What compacts the logs, unless nothing is to.
    pub fn cleaner(&self) -> Option<&Arc<Cleaner>> {
        self.cleaner.as_ref()
    }

    /// The log directories that have not failed.
    pub fn dirs(&self) -> Vec<PathBuf> {
        let online = self.dirs.iter().filter(|d| d.failure().is_none());
        online.map(|d| d.path().to_owned()).collect()
    }

    /// The log directories that have failed.
    pub fn offline_dirs(&self) -> Vec<PathBuf> {
        let offline = self.dirs.iter().filter(|d| d.failure().is_some());
        offline.map(|d| d.path().to_owned()).collect()
    }

    /// How many directories have failed, and will have.
    pub fn failures(&self) -> watch::Receiver<usize> {
        self.failures.subscribe()
    }

    /// Takes a directory out of use because of what happened to a file in it that is not a log's.
    pub fn fail_dir(&self, path: &Path, why: &Error) {
        if let Some(dir) = self.dirs.iter().find(|d| d.path() == path) {
            dir.fail(why);
        }
    }

    /// The log of a partition; made with `config` in the directory that has the fewest if it is not
    /// here yet.
    ///
    /// # Errors
    /// [`Error::Storage`] and [`Error::Offline`]; [`Error::SameButForCase`] where file names ignore case,
    /// [`Error::NamedLikeDevice`] where they may not be those of devices.
    pub fn get_or_create(&self, tp: &TopicPartition, config: LogConfig) -> Result<Arc<Log>> {
        if let Some(log) = self.find(tp, true)? {
            return Ok(log);
        }
        let _one = self.changing.lock().expect("a log's maker panicked");
        if let Some(log) = self.find(tp, true)? {
            return Ok(log);
        }
        if cfg!(windows) {
            self.refuse_same_but_for_case(tp)?;
            if is_device(&tp.dir_name()) {
                return Err(Error::NamedLikeDevice(tp.clone()));
            }
        }
        let dir = self.least_loaded()?;
        let path = dir.path().join(tp.dir_name());
        // A log of that name may have been there, and removed without its entries.
        dir.watch(dir.points().lower(tp, 0))?;
        dir.watch(dir.cleaner_points().forget(tp))?;
        let loaded = dir.watch(self.make(&path, &config))?;
        info!("Created log for partition {tp} in {}.", dir.path().display());
        let log = Arc::new(Log::new(
            tp.clone(),
            path,
            config,
            loaded,
            self.clock.clone(),
            Arc::clone(&self.chores),
            Arc::clone(dir),
        ));
        self.logs
            .write()
            .expect("a log's finder panicked")
            .insert(tp.clone(), Arc::clone(&log));
        if let Some(metrics) = self.metrics.get() {
            log.show_in(metrics);
        }
        self.flush_changed.notify_one();
        Ok(log)
    }

    /// An empty log in a directory of its own.
    fn make(&self, path: &Path, config: &LogConfig) -> Result<recovery::Loaded> {
        fs::create_dir_all(path)?;
        // Empty, or what an earlier attempt or an interrupted removal left.
        if finish_removal(path)? == Removal::Waits {
            // For readers of files that have no names of ours any more: the directory serves again.
            fs::remove_file(&path.join(files::DELETING))?;
        }
        self.chores.forget(path);
        fs::create_dir_all(path)?;
        recovery::load(Recovery {
            dir: path,
            config,
            recovery_point: 0,
            clean: false,
            now: self.clock.wall(),
        })
    }

    /// Shows Kafka's metrics of all logs, those to come too, and of flushes. Once.
    pub fn show_in(&self, metrics: &Registry) {
        if self.metrics.set(metrics.clone()).is_ok() {
            let name = Name::new("kafka.log", "LogFlushStats", "LogFlushRateAndTimeMs", &[]);
            metrics.show_timer(name, Arc::clone(&self.chores.flushes));
            for log in self.all() {
                log.show_in(metrics);
            }
        }
    }

    fn refuse_same_but_for_case(&self, tp: &TopicPartition) -> Result<()> {
        let wanted = tp.dir_name();
        let there = |other: &&TopicPartition| other.dir_name().eq_ignore_ascii_case(&wanted);
        match self.logs().keys().find(there) {
            Some(there) => Err(Error::SameButForCase {
                wanted: tp.clone(),
                there: there.clone(),
            }),
            None => Ok(()),
        }
    }

    fn least_loaded(&self) -> Result<&Arc<LogDir>> {
        let logs = self.logs();
        let in_dir = |dir: &Arc<LogDir>| logs.values().filter(|log| log.is_in(dir)).count();
        let mut online = self.dirs.iter().filter(|d| d.failure().is_none());
        match self.dirs.len() {
            1 => online.next(),
            _ => online.min_by_key(|d| in_dir(d)),
        }
        .ok_or_else(|| self.no_dir())
    }

    fn no_dir(&self) -> Error {
        Error::NoDirectory(self.offline_dirs())
    }

    /// Removes a partition's log and its directory. Nothing if it is not here.
    ///
    /// A crash midway is finished by the next start: a log is either all there or goes. Where the system
    /// lets no directory go while a file in it is open, it goes when the last reader is done.
    ///
    /// # Errors
    /// [`Error::Offline`] changes nothing; after [`Error::Storage`] the log is gone from the manager.
    pub fn delete(&self, tp: &TopicPartition) -> Result<()> {
        let _one = self.changing.lock().expect("a log's maker panicked");
        self.find(tp, false)?;
        let removed = self.logs.write().expect("a log's finder panicked").remove(tp);
        let Some(log) = removed else {
            return Ok(());
        };
        log.abandon();
        let path = log.dir().to_owned();
        let dir = Arc::clone(log.directory());
        drop(log);
        self.chores.forget(&path);
        let place = path.parent().unwrap_or(&path).display();
        match dir.watch(remove(&path))? {
            Removal::Done => info!("Deleted log for partition {tp} in {place}."),
            Removal::Waits => {
                info!("Deleted log for partition {tp} in {place}; its directory goes with its last reader.");
                self.chores.remove_dir_later(path, self.clock.now());
            }
        }
        let forgotten = dir.watch(dir.cleaner_points().forget(tp));
        self.checkpoint_recovery_points().and(forgotten)
    }

    /// Removes the directories that had to wait for readers.
    pub(super) fn finish_removals(&self) {
        let _one = self.changing.lock().expect("a log's maker panicked");
        let now = self.clock.now();
        for dir in self.chores.take_going(now) {
            match finish_removal(&dir) {
                Ok(Removal::Done) => {}
                Ok(Removal::Waits) => self.chores.remove_dir_later(dir, now),
                Err(e) => error!("{} is removed at the next start: {e}", dir.display()),
            }
        }
    }

    /// Gives all logs of a topic other settings.
    pub fn set_topic_config(&self, topic: &str, config: LogConfig) {
        let config = Arc::new(config);
        for log in self.logs().values() {
            if &*log.topic_partition().topic == topic {
                log.set_config(Arc::clone(&config));
            }
        }
        self.flush_changed.notify_one();
    }

    /// Writes each directory's recovery points.
    ///
    /// # Errors
    /// The first failure; the other directories are written nevertheless.
    pub fn checkpoint_recovery_points(&self) -> Result<()> {
        let mut result = Ok(());
        for dir in self.dirs.iter().filter(|d| d.failure().is_none()) {
            let points: BTreeMap<_, _> = self
                .logs_in(dir)
                .map(|log| (log.topic_partition().clone(), log.recovery_point()))
                .collect();
            let written = dir.watch(dir.points().write(points));
            result = result.and(written);
        }
        result
    }

    /// Takes directories out of use that are no longer where they were.
    pub fn look_at_dirs(&self) {
        for dir in &self.dirs {
            dir.look();
        }
    }

    /// Flushes and closes all logs, writes the checkpoints and leaves the mark that tells the next start
    /// that nothing needs recovery. The tasks of [`LogManager::start`] have ended before.
    ///
    /// # Errors
    /// The first failure. A directory that had one, now or before, gets no mark; the others do.
    pub fn shutdown(&self) -> Result<()> {
        info!("Shutting down.");
        let results: Vec<Result<()>> = std::thread::scope(|scope| {
            let close = |dir: &Arc<LogDir>| self.close_dir(dir);
            let running: Vec<_> = self
                .dirs
                .iter()
                .map(|dir| scope.spawn(move || close(dir)))
                .collect();
            running
                .into_iter()
                .map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
                .collect()
        });
        info!("Shutdown complete.");
        results.into_iter().collect()
    }

    fn close_dir(&self, dir: &Arc<LogDir>) -> Result<()> {
        let logs: Vec<Arc<Log>> = self.logs_in(dir).collect();
        if let Err(e) = dir.check() {
            for log in logs {
                log.abandon();
            }
            warn!("{e}; its logs will need recovery");
            dir.unlock();
            return Err(e);
        }
        let closed = parallel::in_parallel(CLOSERS, logs.iter().collect(), |log: &Arc<Log>| {
            match log.close() {
                Err(Error::Closed(_)) => Ok(()),
                other => other,
            }
        });
        let result = closed.and_then(|_| {
            let points = logs
                .iter()
                .map(|l| (l.topic_partition().clone(), l.recovery_point()));
            dir.points().write(points.collect())?;
            dir.leave_in_order()
        });
        let result = dir.watch(result);
        if let Err(e) = &result {
            error!("There was an error in one of the threads during LogManager shutdown: {e}");
        }
        dir.unlock();
        result
    }

    fn logs_in(&self, dir: &Arc<LogDir>) -> impl Iterator<Item = Arc<Log>> {
        let dir = Arc::clone(dir);
        self.all().into_iter().filter(move |log| log.is_in(&dir))
    }

    fn logs(&self) -> RwLockReadGuard<'_, HashMap<TopicPartition, Arc<Log>>> {
        self.logs.read().expect("a log's finder panicked")
    }
}

/// Whether Windows takes a file of this name for a device: it looks at what stands before the first dot.
fn is_device(name: &str) -> bool {
    let stem = name
        .split('.')
        .next()
        .unwrap_or(name)
        .trim_end()
        .to_ascii_uppercase();
    let numbered = ["COM", "LPT"].iter().find_map(|port| stem.strip_prefix(port));
    ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str())
        || numbered.is_some_and(|n| n.len() == 1 && n.bytes().all(|b| b.is_ascii_digit()))
}

/// How far the removal of a directory has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Removal {
    /// Nothing is marked as going any more.
    Done,
    /// What is left is open somewhere and goes when it is closed. The mark stays.
    Waits,
}

/// Removes a partition's directory, marked so that a crash midway is finished at the next start. On a
/// full disk, where the mark finds no room, it goes all the same.
fn remove(path: &Path) -> Result<Removal> {
    match fs::create(&path.join(files::DELETING)) {
        Ok(_) => fs::sync_dir(path)?,
        Err(e) if e.is_full() => warn!("{e}; deleting {} without a mark", path.display()),
        Err(e) => return Err(e.into()),
    }
    remove_all(path)
}

/// Removes a directory that is marked as going; leaves any other as it is.
fn finish_removal(path: &Path) -> Result<Removal> {
    match path.join(files::DELETING).exists() {
        true => remove_all(path),
        false => Ok(Removal::Done),
    }
}

/// The mark goes last.
fn remove_all(path: &Path) -> Result<Removal> {
    let marker = path.join(files::DELETING);
    let mut waits = false;
    for name in fs::list(path)? {
        let entry = path.join(&name);
        if entry == marker {
            continue;
        }
        // What is removed and still open cannot be removed again.
        let removed = match (fs::is_removed(&entry), entry.is_dir()) {
            (true, _) => fs::remove_removed(&entry),
            (false, true) => fs::remove_dir_all(&entry),
            (false, false) => fs::remove_file(&entry),
        };
        match removed {
            Err(e) if e.is_held() => waits = true,
            other => other?,
        }
    }
    if !waits {
        fs::remove_file(&marker)?;
        match fs::remove_dir(path) {
            Err(e) if e.is_held() => waits = true,
            other => other?,
        }
    }
    if waits {
        fs::create(&marker)?;
        return Ok(Removal::Waits);
    }
    if let Some(parent) = path.parent() {
        fs::sync_dir(parent)?;
    }
    Ok(Removal::Done)
}

#[cfg(all(test, unix))]
mod fault_tests;
#[cfg(test)]
mod tests;
