//! Files with care: errors that name operation and path, positioned reads and writes, replacement
//! that survives a crash, and the locks that a JVM would see. The same on Linux and Windows.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An I/O error with the operation and the path that it happened to.
#[derive(Debug, thiserror::Error)]
#[error("{op} {}: {source}", path.display())]
pub struct Error {
    /// What was being done, such as `open` or `fsync`.
    pub op: &'static str,
    /// What it was done to.
    pub path: PathBuf,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

/// Result of a file operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A stretch of a file, ready to go to a socket without passing through this process.
#[derive(Clone, Debug)]
pub struct FileSlice {
    /// The open file; it stays readable through this handle after a rename or removal.
    pub file: Arc<File>,
    /// First byte, from the file's start.
    pub position: u64,
    /// How many bytes.
    pub len: usize,
}

/// Adds operation and path to an I/O result.
pub trait Context<T> {
    /// As `self`, the error saying what was done to what.
    fn during(self, op: &'static str, path: &Path) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn during(self, op: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error {
            op,
            path: path.to_owned(),
            source,
        })
    }
}

/// Writes all of `bytes` at `position`, without moving any cursor.
pub fn write_all_at(file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::write_all_at(file, bytes, position);
    #[cfg(windows)]
    {
        use std::os::windows::fs::FileExt;
        let mut done = 0;
        while done < bytes.len() {
            match file.seek_write(&bytes[done..], position + done as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Reads at `position` until `into` is full or the file ends; returns how much was read.
pub fn read_at(file: &File, into: &mut [u8], position: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        #[cfg(unix)]
        let got = std::os::unix::fs::FileExt::read_at(file, &mut into[done..], position + done as u64);
        #[cfg(windows)]
        let got = std::os::windows::fs::FileExt::seek_read(file, &mut into[done..], position + done as u64);
        match got {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Makes directory entries durable: what was created, renamed or removed in `dir` stays so.
///
/// Nothing on Windows, which has no such call and orders its metadata itself.
pub fn sync_dir(dir: &Path) -> Result<()> {
    #[cfg(unix)]
    File::open(dir)
        .and_then(|d| d.sync_all())
        .during("fsync directory", dir)?;
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}

/// Puts `bytes` in place of the file at `path`: afterwards, and after any crash, the file holds
/// either all of the old or all of the new.
///
/// Writes `<path>.tmp`, syncs it, renames it over and syncs the directory.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut tmp = path.as_os_str().to_owned();
    tmp.push(".tmp");
    let tmp = PathBuf::from(tmp);
    {
        let mut file = File::create(&tmp).during("create", &tmp)?;
        io::Write::write_all(&mut file, bytes).during("write", &tmp)?;
        file.sync_all().during("fsync", &tmp)?;
    }
    rename(&tmp, path)?;
    match path.parent() {
        Some(dir) if dir != Path::new("") => sync_dir(dir),
        _ => sync_dir(Path::new(".")),
    }
}

/// Renames `from` to `to`, replacing a file that is there.
///
/// On Windows a virus scanner or a reader may hold the target for a moment: tried again for up to
/// a second.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    retry_while_held(|| std::fs::rename(from, to)).during("rename", from)
}

/// Removes a file; a file that is not there is no error.
pub fn remove_file(path: &Path) -> Result<()> {
    match retry_while_held(|| std::fs::remove_file(path)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.during("delete", path),
    }
}

/// Removes a directory with all in it; a directory that is not there is no error.
pub fn remove_dir_all(path: &Path) -> Result<()> {
    match retry_while_held(|| std::fs::remove_dir_all(path)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.during("delete", path),
    }
}

fn retry_while_held<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    /// Access denied, sharing violation, directory not empty: what Windows says of a file in use.
    const HELD: [i32; 3] = [5, 32, 145];
    let mut tries = if cfg!(windows) { 20 } else { 1 };
    loop {
        tries -= 1;
        match work() {
            Err(e) if tries > 0 && e.raw_os_error().is_some_and(|c| HELD.contains(&c)) => {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            other => return other,
        }
    }
}

/// An exclusive lock on a file, held until dropped or until the process ends.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

/// Creates `path` if need be and locks it, or returns `None` if another process holds it.
///
/// On Linux this is the `fcntl` record lock that a JVM's FileLock takes, plus an `flock` so that
/// two lockers within one process exclude each other; on Windows it is `LockFileEx`.
pub fn lock(path: &Path) -> Result<Option<FileLock>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .during("open", path)?;
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
        Err(e) => return Err(io::Error::from(e)).during("lock", path),
    }
    Ok(Some(FileLock { _file: file }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replace_leaves_the_new_bytes_and_no_temporary() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

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
}
