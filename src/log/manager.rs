//! All logs of a broker: found at start, made and removed on demand, kept tidy, put to rest at the end.
//!
//! A log directory belongs to one broker at a time (its `.lock`). A new partition goes where the fewest
//! are. Retention, flushing by time, the checkpoint of recovery points and the chores that logs leave
//! behind run as tasks, apart from whoever appends.

mod loading;
mod tasks;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard};
use std::time::Duration;

use ::log::{error, info};
use tokio::sync::Notify;

use crate::cluster::TopicPartition;
use crate::config::LogConfig;
use crate::util::clock::Clock;
use crate::util::fs::{self, Context, FileLock};

use super::checkpoint::RecoveryPoints;
use super::chores::Chores;
use super::recovery::{self, Recovery};
use super::{Error, Log, Result, files};

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
}

impl Default for ManagerSettings {
    fn default() -> ManagerSettings {
        ManagerSettings {
            recovery_threads_per_dir: 1,
            retention_check: Duration::from_secs(300),
            flush_check: Duration::MAX,
            checkpoint: Duration::from_secs(60),
            first_delay: Duration::from_secs(30),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct LogManager {
    dirs: Vec<LogDir>,
    logs: RwLock<HashMap<TopicPartition, Arc<Log>>>,
    /// Held while a partition's directory is made or removed.
    changing: Mutex<()>,
    settings: ManagerSettings,
    clock: Clock,
    chores: Arc<Chores>,
    /// Rings when some log's `flush.ms` may have changed.
    flush_changed: Notify,
    clean: bool,
}

/// One entry of `log.dirs`.
#[derive(Debug)]
struct LogDir {
    path: PathBuf,
    /// Until the shutdown.
    lock: Mutex<Option<FileLock>>,
    points: Arc<RecoveryPoints>,
}

impl LogManager {
    /// Makes and locks the directories, and loads every log in them: topics with their settings in
    /// `topics`, others with `defaults`. Blocking; after a crash it takes as long as reading what was
    /// not flushed.
    ///
    /// # Errors
    /// Directories that are double, unreadable or in use by another broker; directories in them that
    /// are no partition's; any failure of the disk. Nothing was changed then that the next start does
    /// not find again.
    pub fn open(
        dirs: &[PathBuf],
        defaults: LogConfig,
        topics: &HashMap<String, LogConfig>,
        settings: ManagerSettings,
        clock: Clock,
    ) -> Result<LogManager> {
        let dirs = prepare(dirs)?;
        let chores = Arc::new(Chores::default());
        info!("Loading logs.");
        let logs = loading::Loading {
            dirs: &dirs,
            defaults: &defaults,
            topics,
            threads: settings.recovery_threads_per_dir,
            clock: &clock,
            chores: &chores,
        }
        .run()
        .inspect_err(|e| error!("There was an error in one of the threads during logs loading: {e}"))?;
        let clean = dirs.iter().all(|d| d.path.join(files::CLEAN_SHUTDOWN).exists());
        for dir in &dirs {
            // Gone for good before anything is appended: it vouches for what is there now.
            fs::remove_file(&dir.path.join(files::CLEAN_SHUTDOWN))?;
            fs::sync_dir(&dir.path)?;
        }
        info!("Logs loading complete.");
        Ok(LogManager {
            dirs,
            logs: RwLock::new(logs),
            changing: Mutex::new(()),
            settings,
            clock,
            chores,
            flush_changed: Notify::new(),
            clean,
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

    /// The log directories.
    pub fn dirs(&self) -> Vec<PathBuf> {
        self.dirs.iter().map(|d| d.path.clone()).collect()
    }

    /// The log of a partition; made with `config` in the directory that has the fewest if it is not
    /// here yet.
    ///
    /// # Errors
    /// [`Error::Storage`]; [`Error::SameButForCase`] where file names ignore case,
    /// [`Error::NamedLikeDevice`] where they may not be those of devices.
    pub fn get_or_create(&self, tp: &TopicPartition, config: LogConfig) -> Result<Arc<Log>> {
        if let Some(log) = self.get(tp) {
            return Ok(log);
        }
        let _one = self.changing.lock().expect("a log's maker panicked");
        if let Some(log) = self.get(tp) {
            return Ok(log);
        }
        if cfg!(windows) {
            self.refuse_same_but_for_case(tp)?;
            if is_device(&tp.dir_name()) {
                return Err(Error::NamedLikeDevice(tp.clone()));
            }
        }
        let dir = self.least_loaded();
        let path = dir.path.join(tp.dir_name());
        std::fs::create_dir_all(&path).during("create directory", &path)?;
        // Empty, or what an earlier attempt or an interrupted removal left.
        if finish_removal(&path)? == Removal::Waits {
            // For readers of files that have no names of ours any more: the directory serves again.
            fs::remove_file(&path.join(files::DELETING))?;
        }
        self.chores.forget(&path);
        std::fs::create_dir_all(&path).during("create directory", &path)?;
        let loaded = recovery::load(&Recovery {
            dir: &path,
            config: &config,
            recovery_point: 0,
            clean: false,
            now: self.clock.wall(),
        })?;
        info!("Created log for partition {tp} in {}.", dir.path.display());
        let log = Arc::new(Log::new(
            tp.clone(),
            path,
            config,
            loaded,
            self.clock.clone(),
            Arc::clone(&self.chores),
            Arc::clone(&dir.points),
        ));
        self.logs
            .write()
            .expect("a log's finder panicked")
            .insert(tp.clone(), Arc::clone(&log));
        self.flush_changed.notify_one();
        Ok(log)
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

    fn least_loaded(&self) -> &LogDir {
        let logs = self.logs();
        let in_dir = |dir: &LogDir| {
            let within = |log: &&Arc<Log>| log.dir().parent() == Some(&dir.path);
            logs.values().filter(within).count()
        };
        self.dirs
            .iter()
            .min_by_key(|d| in_dir(d))
            .expect("a manager has a directory")
    }

    /// Removes a partition's log and its directory. Nothing if it is not here.
    ///
    /// A crash midway is finished by the next start: a log is either all there or goes. Where the system
    /// lets no directory go while a file in it is open, it goes when the last reader is done.
    ///
    /// # Errors
    /// [`Error::Storage`]; the log is gone from the manager all the same.
    pub fn delete(&self, tp: &TopicPartition) -> Result<()> {
        let _one = self.changing.lock().expect("a log's maker panicked");
        let removed = self.logs.write().expect("a log's finder panicked").remove(tp);
        let Some(log) = removed else {
            return Ok(());
        };
        log.abandon();
        let path = log.dir().to_owned();
        drop(log);
        self.chores.forget(&path);
        let marker = path.join(files::DELETING);
        fs::create(&marker)?;
        fs::sync_dir(&path)?;
        let place = path.parent().unwrap_or(&path).display();
        match finish_removal(&path)? {
            Removal::Done => info!("Deleted log for partition {tp} in {place}."),
            Removal::Waits => {
                info!("Deleted log for partition {tp} in {place}; its directory goes with its last reader.");
                self.chores.remove_dir_later(path, self.clock.now());
            }
        }
        self.checkpoint_recovery_points()
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
        for dir in &self.dirs {
            let points: BTreeMap<_, _> = self
                .logs_in(dir)
                .map(|log| (log.topic_partition().clone(), log.recovery_point()))
                .collect();
            let written = dir.points.write(points);
            result = result.and(written);
        }
        result
    }

    /// Flushes and closes all logs, writes the checkpoints and leaves the mark that tells the next start
    /// that nothing needs recovery. The tasks of [`LogManager::start`] have ended before.
    ///
    /// # Errors
    /// The first failure. A directory that had one gets no mark; the others do.
    pub fn shutdown(&self) -> Result<()> {
        info!("Shutting down.");
        let threads = self.settings.recovery_threads_per_dir.max(1);
        let results: Vec<Result<()>> = std::thread::scope(|scope| {
            let close = |dir: &LogDir| self.close_dir(dir, threads);
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

    fn close_dir(&self, dir: &LogDir, threads: usize) -> Result<()> {
        let logs: Vec<Arc<Log>> = self.logs_in(dir).collect();
        let closed = loading::in_parallel(threads, &logs, |log| match log.close() {
            Err(Error::Closed(_)) => Ok(()),
            other => other,
        });
        let result = closed.and_then(|_| {
            let points = logs
                .iter()
                .map(|l| (l.topic_partition().clone(), l.recovery_point()));
            dir.points.write(points.collect())?;
            let marker = dir.path.join(files::CLEAN_SHUTDOWN);
            fs::create(&marker)?;
            Ok(fs::sync_dir(&dir.path)?)
        });
        if let Err(e) = &result {
            error!("There was an error in one of the threads during LogManager shutdown: {e}");
        }
        dir.lock.lock().expect("a shutdown panicked").take();
        result
    }

    fn logs_in(&self, dir: &LogDir) -> impl Iterator<Item = Arc<Log>> {
        let path = dir.path.clone();
        let all = self.all().into_iter();
        all.filter(move |log| log.dir().parent() == Some(&path))
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

/// Removes a directory that is marked as going; leaves any other as it is. The mark goes last.
fn finish_removal(path: &Path) -> Result<Removal> {
    let marker = path.join(files::DELETING);
    if !marker.exists() {
        return Ok(Removal::Done);
    }
    let mut waits = false;
    for entry in std::fs::read_dir(path).during("list", path)? {
        let entry = entry.during("list", path)?.path();
        if entry == marker {
            continue;
        }
        // What is removed and still open cannot be removed again.
        let removed = match (fs::is_removed(&entry), entry.is_dir()) {
            (true, _) => std::fs::remove_file(&entry).during("delete", &entry),
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
        match std::fs::remove_dir(path).during("delete", path) {
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

/// Makes the directories that are missing, and locks all.
fn prepare(dirs: &[PathBuf]) -> Result<Vec<LogDir>> {
    let mut prepared = Vec::new();
    let mut canonical = Vec::new();
    for given in dirs {
        let path = std::path::absolute(given).during("find", given)?;
        if !path.exists() {
            info!("Log directory '{}' not found, creating it.", path.display());
            std::fs::create_dir_all(&path).during("create directory", &path)?;
        }
        if !path.is_dir() || std::fs::read_dir(&path).is_err() {
            return Err(Error::NotADirectory(path));
        }
        let real = path.canonicalize().during("find", &path)?;
        if canonical.contains(&real) {
            return Err(Error::DuplicateDirectory(dirs.to_vec()));
        }
        canonical.push(real);
        prepared.push(path);
    }
    let lock = |path: PathBuf| match fs::lock(&path.join(files::LOCK))? {
        Some(lock) => Ok(LogDir {
            points: Arc::new(RecoveryPoints::read(&path)),
            lock: Mutex::new(Some(lock)),
            path,
        }),
        None => Err(Error::Locked(path)),
    };
    prepared.into_iter().map(lock).collect()
}

#[cfg(test)]
mod tests;
