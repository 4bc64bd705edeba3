//! One entry of `log.dirs`: who uses it, whether its disk can be trusted, how much room it has, up to
//! where its logs are on disk, and cleaned.
//!
//! A directory fails once and for good: after a write or an fsync that went wrong nobody can say what is
//! on disk, and a later success would say nothing about it. Its logs are offline until the broker is
//! started again; those of other directories go on. A full disk is no failure: nothing was written, and
//! writing goes on when there is room.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use ::log::{error, info, warn};
use tokio::sync::watch;

use crate::util::clock::WallMs;
use crate::util::fs::{self, FileLock, Space};

use super::checkpoint::RecoveryPoints;
use super::cleaner::CleanerPoints;
use super::{Error, Result, files};

/// Room that appends leave to what keeps a broker going: indexes, checkpoints, renames.
const RESERVE: u64 = 64 * 1024 * 1024;
/// The reserve is no more than one part in so many of the file system.
const RESERVE_PART: u64 = 20;
/// The room is measured at least so often while something is appended.
const MEASURE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct LogDir {
    path: PathBuf,
    /// Until the shutdown; none if it failed before it was locked.
    lock: Mutex<Option<FileLock>>,
    points: RecoveryPoints,
    cleaner_points: CleanerPoints,
    failure: OnceLock<String>,
    room: Room,
    /// Counts the directories that failed.
    failures: watch::Sender<usize>,
}

/// What is known of a file system's free space.
#[derive(Debug)]
struct Room {
    /// Bytes that may be appended before it is measured again.
    granted: AtomicI64,
    /// When it was, in milliseconds.
    measured: AtomicI64,
    /// Appends are refused. Held while it is measured.
    full: Mutex<bool>,
}

impl LogDir {
    /// A directory that is there and locked.
    pub(crate) fn new(path: PathBuf, lock: FileLock, failures: watch::Sender<usize>) -> LogDir {
        LogDir {
            points: RecoveryPoints::read(&path),
            cleaner_points: CleanerPoints::read(&path),
            ..LogDir::unusable(path, Some(lock), failures)
        }
    }

    /// A directory that failed at start.
    pub(crate) fn failed(path: PathBuf, why: &Error, failures: watch::Sender<usize>) -> LogDir {
        let dir = LogDir::unusable(path, None, failures);
        dir.fail(why);
        dir
    }

    fn unusable(path: PathBuf, lock: Option<FileLock>, failures: watch::Sender<usize>) -> LogDir {
        LogDir {
            points: RecoveryPoints::none(&path),
            cleaner_points: CleanerPoints::none(&path),
            path,
            lock: Mutex::new(lock),
            failure: OnceLock::new(),
            room: Room {
                granted: AtomicI64::new(0),
                measured: AtomicI64::new(i64::MIN),
                full: Mutex::new(false),
            },
            failures,
        }
    }

    /// Where it is, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The recovery points of its logs.
    pub(crate) fn points(&self) -> &RecoveryPoints {
        &self.points
    }

    /// Up to where its logs were cleaned.
    pub(crate) fn cleaner_points(&self) -> &CleanerPoints {
        &self.cleaner_points
    }

    /// Whether it was left in order, so that its logs need no recovery.
    pub(crate) fn was_left_in_order(&self) -> bool {
        self.path.join(files::CLEAN_SHUTDOWN).exists()
    }

    /// What it failed with, if it did.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// # Errors
    /// [`Error::Offline`] if it has failed.
    pub(crate) fn check(&self) -> Result<()> {
        match self.failure() {
            None => Ok(()),
            Some(why) => Err(Error::Offline {
                dir: self.path.clone(),
                why: why.to_owned(),
            }),
        }
    }

    /// Takes the directory out of use. Only the first failure is told.
    pub(crate) fn fail(&self, why: &Error) {
        if self.failure.set(why.to_string()).is_ok() {
            error!("Stopping serving logs in dir {}: {why}", self.path.display());
            self.failures.send_modify(|n| *n += 1);
        }
    }

    /// Passes `result` on; a disk that failed takes the directory out of use.
    pub(crate) fn watch<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(e @ Error::Storage(cause)) = &result
            && cause.blames_the_disk()
        {
            self.fail(e);
        }
        result
    }

    /// Takes the directory out of use if it is no longer where it was: removed, renamed, or its file
    /// system gone. Open files would go on to take what nobody finds again.
    pub(crate) fn look(&self) {
        let lock = self.lock.lock().expect("a shutdown panicked");
        let gone = lock
            .as_ref()
            .is_some_and(|l| !l.is_at(&self.path.join(files::LOCK)));
        if gone && self.failure().is_none() {
            self.fail(&Error::Vanished(self.path.clone()));
        }
    }

    /// Lets `bytes` be appended, if that leaves the reserve free.
    ///
    /// # Errors
    /// [`Error::Full`]; [`Error::Storage`] if the room cannot be measured.
    pub(crate) fn admit(&self, bytes: usize, now: WallMs) -> Result<()> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let age = now.0.saturating_sub(self.room.measured.load(Ordering::Relaxed));
        let fresh = u128::try_from(age).is_ok_and(|age| age < MEASURE.as_millis());
        if fresh && self.room.granted.fetch_sub(bytes, Ordering::Relaxed) >= bytes {
            return Ok(());
        }
        let mut full = self.room.full.lock().expect("a measurer panicked");
        let space = self.watch(fs::space(&self.path).map_err(Error::from))?;
        let left = i64::try_from(space.free.saturating_sub(reserve(space))).unwrap_or(i64::MAX);
        let was_full = std::mem::replace(&mut *full, left < bytes);
        self.tell(was_full, *full, space);
        self.room.measured.store(now.0, Ordering::Relaxed);
        if *full {
            self.room.granted.store(0, Ordering::Relaxed);
            return Err(Error::Full {
                dir: self.path.clone(),
                free: space.free,
                reserve: reserve(space),
            });
        }
        // A part of what is left: others write there too.
        self.room.granted.store(left / 8, Ordering::Relaxed);
        Ok(())
    }

    fn tell(&self, was_full: bool, full: bool, space: Space) {
        let dir = self.path.display();
        match (was_full, full) {
            (false, true) => warn!(
                "Log directory {dir} is full: {} of {} bytes are free, {} are held in reserve. Appends are refused until there is room; reads go on",
                space.free,
                space.size,
                reserve(space)
            ),
            (true, false) => info!(
                "Log directory {dir} has room again: {} bytes are free. Appends go on",
                space.free
            ),
            _ => {}
        }
    }

    /// Leaves the mark that its logs need no recovery.
    pub(crate) fn leave_in_order(&self) -> Result<()> {
        fs::create(&self.path.join(files::CLEAN_SHUTDOWN))?;
        Ok(fs::sync_dir(&self.path)?)
    }

    /// Removes that mark, for good before anything is appended: it vouches for what is there now.
    pub(crate) fn enter(&self) -> Result<()> {
        fs::remove_file(&self.path.join(files::CLEAN_SHUTDOWN))?;
        Ok(fs::sync_dir(&self.path)?)
    }

    /// Lets others use it.
    pub(crate) fn unlock(&self) {
        self.lock.lock().expect("a shutdown panicked").take();
    }
}

/// 64 MiB, on small file systems a twentieth.
fn reserve(space: Space) -> u64 {
    RESERVE.min(space.size / RESERVE_PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_a_twentieth_of_a_small_file_system_and_64_mib_of_any_other() {
        let of = |size| reserve(Space { free: 0, size });
        assert_eq!(of(20 << 20), 1 << 20);
        assert_eq!(of(100 << 30), 64 << 20);
    }
}
