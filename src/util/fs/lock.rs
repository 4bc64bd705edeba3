//! Locks on files that a JVM would see.

use std::fs::File;
use std::path::Path;

use super::system::How;
use super::{Context, Result, os, retry_while_held, system};

/// An exclusive lock on a file, held until dropped or until the process ends.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// Whether the locked file is still the one at `path`: not when it, or a directory above, was
    /// removed, renamed or mounted over.
    pub fn is_at(&self, path: &Path) -> bool {
        // Not opened: closing any handle of a file gives up all of a process's record locks on it.
        match (self.file.metadata(), std::fs::metadata(path)) {
            (Ok(ours), Ok(there)) => system::identity(&ours) == system::identity(&there),
            _ => false,
        }
    }
}

/// Creates `path` if need be and locks it, or returns `None` if another process holds it.
///
/// On Linux this is the `fcntl` record lock that a JVM's FileLock takes, plus an `flock` so that
/// two lockers within one process exclude each other; on Windows it is `LockFileEx`.
pub fn lock(path: &Path) -> Result<Option<FileLock>> {
    let file = retry_while_held(|| os::open(path, How::Any)).during("open", path)?;
    // A child that is being started holds its parent's open files until it runs its own program, and
    // with them a lock that the parent has just given up: look again before calling it taken.
    let mut tries = 50;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(std::fs::TryLockError::WouldBlock) if tries == 0 => return Ok(None),
            Err(std::fs::TryLockError::WouldBlock) => {
                tries -= 1;
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            Err(std::fs::TryLockError::Error(e)) => return Err(e).during("lock", path),
        }
    }
    #[cfg(unix)]
    match rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => return Ok(None),
        Err(e) => return Err(std::io::Error::from(e)).during("lock", path),
    }
    Ok(Some(FileLock { file }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_excludes_a_second_one_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let held = lock(&path).unwrap();
        assert!(held.is_some());
        assert!(lock(&path).unwrap().is_none());
        drop(held);
        assert!(lock(&path).unwrap().is_some());
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_knows_whether_its_file_is_still_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let held = lock(&path).unwrap().unwrap();
        assert!(held.is_at(&path));
        std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        assert!(!held.is_at(&path));
        std::fs::write(&path, b"").unwrap();
        assert!(!held.is_at(&path), "another file in its place");
    }
}
