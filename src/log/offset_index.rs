//! The sparse index of a segment: where in the `.log` file to begin looking for an offset.
//!
//! ```text
//! entry = relative offset:i32 (offset - base offset of the segment)  position:i32
//! ```
//!
//! Offsets relative to the base fit four bytes because a segment rolls before they do not. Callers
//! see absolute offsets only. Kafka maps the whole file into memory and keeps it padded with zeros;
//! here entries are written behind each other, a few at a time, and only the newest stay in memory:
//! readers at the end of the log never touch the file, others search it with a handful of reads.
//! What is not yet written when the process dies is found again by recovery.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::message::Offset;
use crate::util::clock::WallMs;
use crate::util::fs::{self, Context};

use super::Result;

/// Bytes of an entry.
pub(crate) const ENTRY: usize = 8;
/// The newest entries kept in memory, at least; at most twice as many.
const TAIL: usize = 512;
/// Entries that may wait to be written together.
const PENDING: u64 = 64;
/// A stretch of the file that is read whole instead of being halved further.
const BLOCK: u64 = 512;

/// An entry as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    relative: u32,
    position: u32,
}

impl Entry {
    fn parse(bytes: &[u8]) -> Entry {
        Entry {
            relative: crate::message::set::u32_at(bytes, 0),
            position: crate::message::set::u32_at(bytes, 4),
        }
    }
}

/// An entry as callers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// An offset that is at `position` or behind it.
    pub(crate) offset: Offset,
    /// Where an entry of the `.log` file begins.
    pub(crate) position: u64,
}

/// The index of one segment.
#[derive(Debug)]
pub(crate) struct OffsetIndex {
    path: PathBuf,
    base: Offset,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Open for as long as it is much used, or its name is another's; otherwise it is opened for each use: a
    /// broker has as many indexes as segments.
    file: Option<Arc<File>>,
    /// All entries.
    count: u64,
    /// Entries that are in the file; `count - written` wait at the end of `tail`.
    written: u64,
    /// The newest entries; `count - tail.len()` came before and are all written.
    tail: Vec<Entry>,
    /// The newest entry, also when `tail` is empty.
    last: Option<Entry>,
    /// Written and not yet synced.
    dirty: bool,
    /// The path leads to another file or to none; `file` is all there is.
    detached: bool,
}

impl OffsetIndex {
    /// Makes an empty index; a file that is there is emptied.
    pub(crate) fn create(path: PathBuf, base: Offset) -> Result<OffsetIndex> {
        let index = OffsetIndex::new(path, base);
        index.clear()?;
        Ok(index)
    }

    /// Opens an index that is there. Reads only its last entry.
    pub(crate) fn open(path: PathBuf, base: Offset) -> Result<OffsetIndex> {
        let file = fs::open(&path)?;
        OffsetIndex::of(path, base, file)
    }

    /// As [`Self::open`], for those who only look.
    pub(crate) fn open_to_read(path: PathBuf, base: Offset) -> Result<OffsetIndex> {
        let file = fs::open_to_read(&path)?;
        OffsetIndex::of(path, base, file)
    }

    fn of(path: PathBuf, base: Offset, file: File) -> Result<OffsetIndex> {
        let index = OffsetIndex::new(path, base);
        {
            let file = Arc::new(file);
            let mut state = index.lock();
            state.file = Some(Arc::clone(&file));
            let length = file.metadata().during("stat", &index.path)?.len();
            state.count = length / ENTRY as u64;
            state.written = state.count;
            if state.count > 0 {
                state.last = read_entries(&file, state.count - 1, 1)
                    .during("read", &index.path)?
                    .pop();
            }
        }
        Ok(index)
    }

    fn new(path: PathBuf, base: Offset) -> OffsetIndex {
        OffsetIndex {
            path,
            base,
            state: Mutex::default(),
        }
    }

    /// Whether an index that was opened can belong to a `.log` file of `data_size` bytes: whole
    /// entries, the last one above the base and inside the file. A crash of a JVM broker leaves zeros
    /// at the end, which this finds. With `thorough` every entry is looked at.
    pub(crate) fn is_sane(&self, data_size: u64, thorough: bool) -> Result<bool> {
        let state = self.lock();
        let file = self.file(&state)?;
        let length = file.metadata().during("stat", &self.path)?.len();
        if length % ENTRY as u64 != 0 {
            return Ok(false);
        }
        let fits =
            |e: &Entry| e.relative > 0 && e.relative <= i32::MAX as u32 && u64::from(e.position) < data_size;
        if !state.last.as_ref().is_none_or(fits) {
            return Ok(false);
        }
        if !thorough {
            return Ok(true);
        }
        let mut before = None::<Entry>;
        let mut at = 0;
        while at < state.count {
            let some = BLOCK.min(state.count - at);
            for entry in read_entries(&file, at, some).during("read", &self.path)? {
                let rises = before.is_none_or(|b| b.relative < entry.relative && b.position < entry.position);
                if !rises {
                    return Ok(false);
                }
                before = Some(entry);
            }
            at += some;
        }
        Ok(true)
    }

    /// Some entries of the file from number `from` on; none behind the last.
    pub(crate) fn places(&self, from: u64) -> Result<Vec<Place>> {
        let (file, some) = {
            let state = self.lock();
            (self.file(&state)?, BLOCK.min(state.written.saturating_sub(from)))
        };
        let entries = read_entries(&file, from, some).during("read", &self.path)?;
        Ok(entries.into_iter().map(|e| self.place(e)).collect())
    }

    /// How many entries there are.
    pub(crate) fn count(&self) -> u64 {
        self.lock().count
    }

    /// The newest entry.
    pub(crate) fn last(&self) -> Option<Place> {
        self.lock().last.map(|e| self.place(e))
    }

    /// Adds an entry. Nothing happens if `offset` is too far from the base or not above the last
    /// entry: an index may leave out what it likes.
    pub(crate) fn append(&self, offset: Offset, position: u64) -> Result<()> {
        let relative = offset.checked_sub(self.base).and_then(|r| i32::try_from(r).ok());
        let (Some(relative), Ok(position)) = (relative, i32::try_from(position)) else {
            return Ok(());
        };
        let entry = Entry {
            relative: relative.cast_unsigned(),
            position: position.cast_unsigned(),
        };
        let mut state = self.lock();
        if relative < 0 || state.last.is_some_and(|l| l.relative >= entry.relative) {
            return Ok(());
        }
        state.tail.push(entry);
        state.last = Some(entry);
        state.count += 1;
        if state.count - state.written >= PENDING {
            self.write_pending(&mut state)?;
        }
        if state.tail.len() >= 2 * TAIL {
            state.tail.drain(..TAIL);
        }
        Ok(())
    }

    /// The greatest entry at or below `target`, or the segment's beginning.
    pub(crate) fn lookup(&self, target: Offset) -> Result<Place> {
        let start = Place {
            offset: self.base,
            position: 0,
        };
        let target = match target.checked_sub(self.base) {
            Some(t) if t >= 0 => u32::try_from(t).unwrap_or(u32::MAX),
            _ => return Ok(start),
        };
        let (file, before_tail) = {
            let state = self.lock();
            let below = state.tail.partition_point(|e| e.relative <= target);
            if below > 0 {
                return Ok(self.place(state.tail[below - 1]));
            }
            let before_tail = state.count - state.tail.len() as u64;
            if before_tail == 0 {
                return Ok(start);
            }
            match self.file(&state) {
                Ok(file) => (file, before_tail),
                // Removed while somebody still reads the segment: look from its beginning.
                Err(e) if e.source.kind() == io::ErrorKind::NotFound => return Ok(start),
                Err(e) => return Err(e.into()),
            }
        };
        let found = search(&file, before_tail, target).during("read", &self.path)?;
        Ok(found.map_or(start, |(_, e)| self.place(e)))
    }

    /// Drops all entries at `offset` or above.
    pub(crate) fn truncate_to(&self, offset: Offset) -> Result<()> {
        let below = match offset.checked_sub(self.base) {
            Some(r) if r > 0 => u32::try_from(r - 1).unwrap_or(u32::MAX),
            _ => return self.clear(),
        };
        let mut state = self.lock();
        if state.last.is_none_or(|l| l.relative <= below) {
            return Ok(());
        }
        self.write_pending(&mut state)?;
        let file = self.file(&state)?;
        let found = search(&file, state.count, below).during("read", &self.path)?;
        state.count = found.map_or(0, |(n, _)| n + 1);
        state.last = found.map(|(_, e)| e);
        state.written = state.count;
        state.tail.clear();
        state.dirty = true;
        fs::set_len(&file, state.count * ENTRY as u64).during("truncate", &self.path)?;
        Ok(())
    }

    /// Drops all entries; afterwards the file is there.
    pub(crate) fn clear(&self) -> Result<()> {
        let mut state = self.lock();
        *state = State::default();
        state.file = Some(Arc::new(fs::create(&self.path)?));
        state.dirty = true;
        Ok(())
    }

    /// Writes all entries to the file.
    pub(crate) fn write_out(&self) -> Result<()> {
        self.write_pending(&mut self.lock())
    }

    /// Gives the handle back.
    pub(crate) fn let_go(&self) {
        let mut state = self.lock();
        if !state.detached {
            state.file = None;
        }
    }

    /// Afterwards all entries are on disk. Nothing for an index whose segment was given up.
    pub(crate) fn sync(&self) -> Result<()> {
        let file = {
            let mut state = self.lock();
            if state.detached {
                return Ok(());
            }
            self.write_pending(&mut state)?;
            if !std::mem::take(&mut state.dirty) {
                return Ok(());
            }
            self.file(&state)?
        };
        Ok(fs::sync(&file).during("fsync", &self.path)?)
    }

    /// Writes all out and gives memory and handle back: nothing will be appended for long.
    pub(crate) fn rest(&self) -> Result<()> {
        let mut state = self.lock();
        if state.detached {
            return Ok(());
        }
        self.write_pending(&mut state)?;
        state.tail = Vec::new();
        state.file = None;
        Ok(())
    }

    /// Keeps the file, if it can be opened, and never looks at the path again: the segment is given up,
    /// and the next one of that base has its index there. Whoever still reads the segment goes on.
    pub(crate) fn detach(&self) {
        let mut state = self.lock();
        // Without the file, reads begin at the segment's beginning.
        state.file = self.file(&state).ok();
        state.detached = true;
    }

    /// Takes [`Self::detach`] back, as the segment keeps its name after all.
    pub(crate) fn attach(&self) {
        let mut state = self.lock();
        state.detached = false;
        state.file = None;
    }

    /// Tells that the file was renamed.
    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Sets the file's time of change.
    pub(crate) fn set_modified(&self, modified: WallMs) -> Result<()> {
        let file = self.file(&self.lock())?;
        let set = file.set_modified(modified.to_system());
        Ok(set.during("set the time of", &self.path)?)
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn write_pending(&self, state: &mut State) -> Result<()> {
        let pending = usize::try_from(state.count - state.written).expect("few entries wait");
        if pending == 0 {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(pending * ENTRY);
        for entry in &state.tail[state.tail.len() - pending..] {
            bytes.extend_from_slice(&entry.relative.to_be_bytes());
            bytes.extend_from_slice(&entry.position.to_be_bytes());
        }
        let file = self.file(state)?;
        fs::write_all_at(&file, &bytes, state.written * ENTRY as u64).during("write", &self.path)?;
        state.written = state.count;
        state.dirty = true;
        Ok(())
    }

    fn file(&self, state: &State) -> fs::Result<Arc<File>> {
        match &state.file {
            Some(file) => Ok(Arc::clone(file)),
            None if state.detached => {
                Err(io::Error::from(io::ErrorKind::NotFound)).during("open", &self.path)
            }
            None => Ok(Arc::new(fs::open(&self.path)?)),
        }
    }

    fn place(&self, entry: Entry) -> Place {
        Place {
            offset: self.base + Offset::from(entry.relative),
            position: entry.position.into(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("an index user panicked")
    }
}

/// The last of the first `count` entries with a relative offset of at most `target`, and its number.
/// Entries that a truncation took away meanwhile count as greater.
fn search(file: &File, count: u64, target: u32) -> io::Result<Option<(u64, Entry)>> {
    let (mut low, mut high) = (0, count);
    // Entries below `low` are at most `target`, those from `high` on are greater.
    while high - low > BLOCK {
        let middle = low + (high - low) / 2;
        match read_entries(file, middle, 1)?.first() {
            Some(e) if e.relative <= target => low = middle + 1,
            _ => high = middle,
        }
    }
    let from = low.saturating_sub(1);
    let block = read_entries(file, from, high - from)?;
    let below = block.partition_point(|e| e.relative <= target);
    Ok(below.checked_sub(1).map(|i| (from + i as u64, block[i])))
}

/// Up to `n` entries from number `from` on: fewer if the file ends before.
fn read_entries(file: &File, from: u64, n: u64) -> io::Result<Vec<Entry>> {
    let mut bytes = vec![0; usize::try_from(n).unwrap_or(0) * ENTRY];
    let got = fs::read_at(file, &mut bytes, from * ENTRY as u64)?;
    Ok(bytes[..got].chunks_exact(ENTRY).map(Entry::parse).collect())
}

#[cfg(test)]
mod tests;
