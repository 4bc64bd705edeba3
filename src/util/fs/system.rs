//! The calls of the operating system that [`fs`](super) is made of, one function each and nothing
//! added. All that the logs do to a disk passes through here, so that unit tests can put a disk that
//! fails in this file's place.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

/// How a file is opened; for reading and writing unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It is there.
    There,
    /// It is there, and is not written to.
    ToRead,
    /// It is not there.
    New,
    /// Whether it is there or not, it is empty afterwards.
    Empty,
    /// It is made if it is not there.
    Any,
}

pub(super) fn open(path: &Path, how: How) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(how != How::ToRead)
        .create_new(how == How::New)
        .create(matches!(how, How::Empty | How::Any))
        .truncate(how == How::Empty)
        .open(path)
}

/// Writes some of `bytes`, at least one.
pub(super) fn write_at(file: &File, bytes: &[u8], position: u64) -> io::Result<usize> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::write_at(file, bytes, position);
    #[cfg(windows)]
    return std::os::windows::fs::FileExt::seek_write(file, bytes, position);
}

/// Reads some of what is there; 0 at the end.
pub(super) fn read_at(file: &File, into: &mut [u8], position: u64) -> io::Result<usize> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_at(file, into, position);
    #[cfg(windows)]
    return std::os::windows::fs::FileExt::seek_read(file, into, position);
}

pub(super) fn set_len(file: &File, size: u64) -> io::Result<()> {
    file.set_len(size)
}

pub(super) fn sync(file: &File) -> io::Result<()> {
    file.sync_data()
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    #[cfg(unix)]
    return File::open(dir)?.sync_all();
    #[cfg(not(unix))]
    {
        let _ = dir;
        Ok(())
    }
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)
}

pub(super) fn remove_dir(path: &Path) -> io::Result<()> {
    std::fs::remove_dir(path)
}

pub(super) fn remove_dir_all(path: &Path) -> io::Result<()> {
    std::fs::remove_dir_all(path)
}

pub(super) fn create_dir_all(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

pub(super) fn list(dir: &Path) -> io::Result<Vec<OsString>> {
    std::fs::read_dir(dir)?.map(|e| Ok(e?.file_name())).collect()
}

/// Bytes that this process may still write to the file system of `dir`, and its size.
pub(super) fn space(dir: &Path) -> io::Result<(u64, u64)> {
    #[cfg(unix)]
    {
        let stat = rustix::fs::statvfs(dir)?;
        Ok((
            stat.f_bavail.saturating_mul(stat.f_frsize),
            stat.f_blocks.saturating_mul(stat.f_frsize),
        ))
    }
    #[cfg(windows)]
    {
        let (mut free, mut size) = (0, 0);
        let name = dir.to_string_lossy();
        winsafe::GetDiskFreeSpaceEx(Some(&name), Some(&mut free), Some(&mut size), None)
            .map_err(|e| io::Error::from_raw_os_error(e.raw().cast_signed()))?;
        Ok((free, size))
    }
}

/// What tells one file from another: the same numbers, the same file. All files are one where the
/// system does not say.
pub(super) fn identity(metadata: &Metadata) -> (u64, u64) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        (metadata.dev(), metadata.ino())
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        (0, 0)
    }
}
