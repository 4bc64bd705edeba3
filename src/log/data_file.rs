//! One `.log` file: a message set that grows at its end. Writes and reads by position, so readers
//! and the writer share one handle without a lock. Knows no offsets beyond the entries' headers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::message::Offset;
use crate::message::set::{ENTRY_OVERHEAD, MIN_MESSAGE};
use crate::util::clock::WallMs;
use crate::util::fs::{self, Context, FileSlice};

use super::{Error, Result};

/// How much is read at once when headers are walked: more than lies between two index entries.
const WINDOW: usize = 8 * 1024;

/// The file and how much of it counts. Bytes beyond (preallocated, or of a write that failed) are
/// never shown to readers.
#[derive(Debug)]
pub(crate) struct DataFile {
    path: PathBuf,
    file: Arc<File>,
    size: AtomicU64,
    preallocated: bool,
}

impl DataFile {
    /// Makes a new empty file; `preallocate` bytes are set aside if it is not 0.
    pub(crate) fn create(path: PathBuf, preallocate: u64) -> Result<DataFile> {
        let file = fs::create_new(&path)?;
        if preallocate > 0 {
            fs::set_len(&file, preallocate).during("extend", &path)?;
        }
        Ok(DataFile {
            path,
            file: Arc::new(file),
            size: AtomicU64::new(0),
            preallocated: preallocate > 0,
        })
    }

    /// Opens a file that is there; all of it counts.
    pub(crate) fn open(path: PathBuf) -> Result<DataFile> {
        let file = fs::open(&path)?;
        DataFile::of(path, file)
    }

    /// As [`Self::open`], for those who only look.
    pub(crate) fn open_to_read(path: PathBuf) -> Result<DataFile> {
        let file = fs::open_to_read(&path)?;
        DataFile::of(path, file)
    }

    fn of(path: PathBuf, file: File) -> Result<DataFile> {
        let size = file.metadata().during("stat", &path)?.len();
        Ok(DataFile {
            path,
            file: Arc::new(file),
            size: AtomicU64::new(size),
            preallocated: false,
        })
    }

    /// Its path when it was opened, or as it was last told.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Tells that the file was renamed.
    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Sets the file's time of change.
    pub(crate) fn set_modified(&self, modified: WallMs) -> Result<()> {
        let set = self.file.set_modified(modified.to_system());
        set.map_err(|e| self.failed("set the time of", e))
    }

    /// The open file.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Bytes that count.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Writes `bytes` behind the last that counts. They do not count before [`Self::publish`].
    /// Only one caller at a time.
    pub(crate) fn write_end(&self, bytes: &[u8]) -> Result<()> {
        fs::write_all_at(&self.file, bytes, self.size()).map_err(|source| self.failed("write", source))
    }

    /// Makes `more` written bytes count.
    pub(crate) fn publish(&self, more: usize) {
        self.size.fetch_add(more as u64, Ordering::Release);
    }

    /// Cuts the file so that only its first `size` bytes remain. A file of that length is not
    /// touched: its time of change has a meaning.
    pub(crate) fn truncate(&self, size: u64) -> Result<()> {
        self.size.store(size, Ordering::Release);
        let length = self.file.metadata().map_err(|e| self.failed("stat", e))?.len();
        if length != size {
            fs::set_len(&self.file, size).map_err(|e| self.failed("truncate", e))?;
        }
        Ok(())
    }

    /// Gives back what was set aside and not used, if anything was set aside, and returns whether.
    pub(crate) fn trim(&self) -> Result<bool> {
        if self.preallocated {
            self.truncate(self.size())?;
        }
        Ok(self.preallocated)
    }

    /// Afterwards all bytes that count are on disk.
    pub(crate) fn sync(&self) -> Result<()> {
        fs::sync(&self.file).map_err(|e| self.failed("fsync", e))
    }

    /// Part of the file, for a socket.
    pub(crate) fn slice(&self, position: u64, len: usize) -> FileSlice {
        FileSlice {
            file: Arc::clone(&self.file),
            position,
            len,
            owner: None,
        }
    }

    /// Walks the headers of the entries from `from` (an entry's beginning) up to `end`.
    pub(crate) fn headers(&self, from: u64, end: u64) -> Headers<'_> {
        Headers {
            data: self,
            at: from,
            end,
            window: Vec::new(),
            window_at: from,
        }
    }

    pub(crate) fn failed(&self, op: &'static str, source: std::io::Error) -> Error {
        Error::Storage(fs::Error {
            op,
            path: self.path.clone(),
            source,
        })
    }
}

/// The 12 bytes before a message, and where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The entry's offset.
    pub(crate) offset: Offset,
    /// Where the entry begins.
    pub(crate) position: u64,
    /// Where the next one begins.
    pub(crate) next: u64,
}

/// See [`DataFile::headers`]. Ends before an entry that is not there whole.
pub(crate) struct Headers<'a> {
    data: &'a DataFile,
    at: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl Headers<'_> {
    /// The next header.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a size that no message has.
    pub(crate) fn next(&mut self) -> Result<Option<Header>> {
        let position = self.at;
        if position + ENTRY_OVERHEAD as u64 >= self.end {
            return Ok(None);
        }
        let Some((offset, size)) = self.read(position)? else {
            return Ok(None);
        };
        let Some(size) = u64::try_from(size).ok().filter(|s| *s >= MIN_MESSAGE as u64) else {
            return Err(Error::Damaged {
                path: self.data.path.clone(),
                reason: format!("Invalid message size: {size} at byte {position}"),
            });
        };
        let next = position + ENTRY_OVERHEAD as u64 + size;
        if next > self.end {
            return Ok(None);
        }
        self.at = next;
        Ok(Some(Header {
            offset,
            position,
            next,
        }))
    }

    /// The first entry with an offset of `target` or more.
    pub(crate) fn find(&mut self, target: Offset) -> Result<Option<Header>> {
        while let Some(header) = self.next()? {
            if header.offset >= target {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    fn read(&mut self, position: u64) -> Result<Option<(Offset, i32)>> {
        let within = |window: &[u8], window_at: u64| {
            let start = usize::try_from(position - window_at).ok()?;
            let bytes: [u8; ENTRY_OVERHEAD] = window.get(start..start + ENTRY_OVERHEAD)?.try_into().ok()?;
            let [o0, o1, o2, o3, o4, o5, o6, o7, s0, s1, s2, s3] = bytes;
            Some((
                i64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]),
                i32::from_be_bytes([s0, s1, s2, s3]),
            ))
        };
        if let Some(found) = within(&self.window, self.window_at) {
            return Ok(Some(found));
        }
        let length = usize::try_from(self.end - position).map_or(WINDOW, |left| left.min(WINDOW));
        self.window.resize(length, 0);
        let got = fs::read_at(&self.data.file, &mut self.window, position)
            .map_err(|e| self.data.failed("read", e))?;
        self.window.truncate(got);
        self.window_at = position;
        Ok(within(&self.window, self.window_at))
    }
}
