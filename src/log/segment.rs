//! A stretch of a log: a `.log` file and its index, named by the offset they begin with.
//!
//! One writer at a time (the log's append lock); any number of readers, who never look beyond what
//! the log has published. Offsets below `base` are not here, offsets from the next segment's base on
//! are not either.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::config::LogConfig;
use crate::message::Offset;
use crate::util::clock::WallMs;
use crate::util::fs::{self, Context};

use super::data_file::{DataFile, Header};
use super::files::{self, Kind, State};
use super::offset_index::{ENTRY, OffsetIndex};
use super::{Error, Result};

/// See the module.
#[derive(Debug)]
pub(crate) struct Segment {
    base: Offset,
    data: DataFile,
    index: OffsetIndex,
    /// When it was begun, for rolling by time.
    created: AtomicI64,
    /// When it last grew: the file's time of change, which the system may report late.
    modified: AtomicI64,
    /// Taken off `segment.ms`.
    jitter: Duration,
    /// `index.interval.bytes` when the segment was made.
    index_interval: u64,
    /// `segment.index.bytes` in entries when the segment was made.
    index_entries: u64,
    since_index_entry: AtomicU64,
    /// First offset and position of what was appended last: where those go on who have read all before.
    newest: Mutex<Option<(Offset, u64)>>,
}

/// A found entry and how many bytes of the file a read may hand out from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) position: u64,
    pub(crate) len: usize,
}

impl Segment {
    /// Makes the files of a new segment. Files that are there already are removed: they hold nothing
    /// that the log knows of.
    pub(crate) fn create(dir: &Path, base: Offset, config: &LogConfig, now: WallMs) -> Result<Segment> {
        let log = files::path(dir, base, Kind::Log, State::Plain);
        let index = files::path(dir, base, Kind::Index, State::Plain);
        for path in [&log, &index] {
            if path.exists() {
                ::log::warn!(
                    "Newly rolled segment file {} already exists; deleting it first",
                    path.display()
                );
                fs::remove_file(path)?;
            }
        }
        let preallocate = if config.preallocate {
            config.segment_bytes
        } else {
            0
        };
        let data = DataFile::create(log.clone(), u64::try_from(preallocate).unwrap_or(0))?;
        let index = OffsetIndex::create(index, base).inspect_err(|_| {
            // As if nothing had been tried; if it stays, the next try removes it.
            let _ = fs::remove_file(&log);
        })?;
        index.let_go();
        Ok(Segment::new(base, data, index, config, now, now))
    }

    /// A segment of files that are open already. It begins its life when its file did, as far as the
    /// file system tells: a restart does not keep it from rolling by time (in 0.9.0.1 it does).
    pub(crate) fn open(
        base: Offset,
        data: DataFile,
        index: OffsetIndex,
        config: &LogConfig,
        now: WallMs,
    ) -> Result<Segment> {
        let metadata = data.file().metadata().during("stat", data.path())?;
        let modified = metadata.modified().map_or(now, WallMs::from_system);
        let created = metadata.created().map_or(now, WallMs::from_system).min(now);
        Ok(Segment::new(base, data, index, config, created, modified))
    }

    fn new(
        base: Offset,
        data: DataFile,
        index: OffsetIndex,
        config: &LogConfig,
        created: WallMs,
        modified: WallMs,
    ) -> Segment {
        Segment {
            base,
            data,
            index,
            created: AtomicI64::new(created.0),
            modified: AtomicI64::new(modified.0),
            jitter: jitter(config),
            index_interval: u64::try_from(config.index_interval_bytes).unwrap_or(0),
            index_entries: u64::try_from(config.segment_index_bytes).unwrap_or(0) / ENTRY as u64,
            since_index_entry: AtomicU64::new(0),
            newest: Mutex::new(None),
        }
    }

    fn newest(&self) -> MutexGuard<'_, Option<(Offset, u64)>> {
        self.newest.lock().expect("a holder of a position panicked")
    }

    /// The offset that its name says.
    pub(crate) fn base(&self) -> Offset {
        self.base
    }

    /// Bytes of messages.
    pub(crate) fn size(&self) -> u64 {
        self.data.size()
    }

    /// The messages' file.
    pub(crate) fn data(&self) -> &DataFile {
        &self.data
    }

    /// The index.
    pub(crate) fn index(&self) -> &OffsetIndex {
        &self.index
    }

    /// When it last grew.
    pub(crate) fn modified(&self) -> WallMs {
        WallMs(self.modified.load(Ordering::Relaxed))
    }

    /// Whether it must end before a set of `bytes` with offsets up to `last` is appended.
    pub(crate) fn is_full_for(&self, bytes: usize, last: Offset, config: &LogConfig, now: WallMs) -> bool {
        let size = self.size();
        if size == 0 {
            // An empty one takes any set; only its name may be too far from the offsets.
            return last - self.base > Offset::from(i32::MAX);
        }
        let age = now.0.saturating_sub(self.created.load(Ordering::Relaxed));
        let allowed = config.segment.saturating_sub(self.jitter).as_millis();
        size + bytes as u64 > u64::try_from(config.segment_bytes).unwrap_or(0)
            || u128::try_from(age).is_ok_and(|age| age > allowed)
            || self.index.count() >= self.index_entries.max(1)
            || last - self.base > Offset::from(i32::MAX)
    }

    /// Writes a set whose first message has `first` to the end, and perhaps an index entry.
    ///
    /// On an error the segment is as before: what had been written is cut off, for good, as the next flush may
    /// begin behind it.
    ///
    /// # Errors
    /// [`Error::Storage`] of the write; of the cut, if that fails too.
    pub(crate) fn append(&self, first: Offset, set: &[u8], now: WallMs) -> Result<()> {
        let position = self.size();
        if let Err(e) = self.write(first, set, position) {
            self.data.truncate(position)?;
            self.data.sync()?;
            return Err(e);
        }
        self.data.publish(set.len());
        *self.newest() = Some((first, position));
        self.modified.store(now.0, Ordering::Relaxed);
        Ok(())
    }

    fn write(&self, first: Offset, set: &[u8], position: u64) -> Result<()> {
        self.data.write_end(set)?;
        let mut since = self.since_index_entry.load(Ordering::Relaxed);
        if since > self.index_interval {
            self.index.append(first, position)?;
            since = 0;
        }
        self.since_index_entry
            .store(since + set.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The first entry whose offset is `target` or more among the first `end` bytes.
    pub(crate) fn find(&self, target: Offset, end: u64) -> Result<Option<Header>> {
        let from = self.index.lookup(target)?;
        self.data.headers(from.position, end).find(target)
    }

    /// Where the first entry is whose offset is `target` or more among the first `end` bytes.
    fn position(&self, target: Offset, end: u64) -> Result<Option<u64>> {
        if let Some((first, position)) = *self.newest()
            && first == target
            && position < end
        {
            return Ok(Some(position));
        }
        Ok(self.find(target, end)?.map(|found| found.position))
    }

    /// Where reading from `start` begins and how far it may go: at most `max_bytes`, nothing behind
    /// the first `end` bytes, and no entry at `up_to` or above. `None` if no entry has `start` or more.
    pub(crate) fn read(
        &self,
        start: Offset,
        max_bytes: usize,
        up_to: Option<Offset>,
        end: u64,
    ) -> Result<Option<Found>> {
        let Some(first) = self.position(start, end)? else {
            return Ok(None);
        };
        let mut stop = end;
        if let Some(bound) = up_to {
            // Most readers are close to the bound or far from it: the index knows which.
            let near = self.index.lookup(bound)?.position.max(first);
            if let Some(excluded) = self.data.headers(near, end).find(bound)? {
                stop = excluded.position;
            }
        }
        let there = usize::try_from(stop - first).unwrap_or(usize::MAX);
        Ok(Some(Found {
            position: first,
            len: there.min(max_bytes),
        }))
    }

    /// An offset at which an entry begins that is at `position` or not far before it.
    pub(crate) fn offset_near(&self, position: u64) -> Result<Offset> {
        // The index is searched by offset: halve the offsets until the entry is found.
        let indexed = || self.index.last().map_or(self.base, |p| p.offset) + 1;
        let (mut low, mut high) = (self.base, self.end()?.unwrap_or_else(indexed));
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.index.lookup(middle)?.position <= position {
                true => low = middle,
                false => high = middle,
            }
        }
        Ok(self.index.lookup(low)?.offset)
    }

    /// The offset after its last message, if from the last index entry on it holds whole messages with
    /// rising offsets up to its last byte.
    pub(crate) fn end(&self) -> Result<Option<Offset>> {
        let (mut next, mut at) = self
            .index
            .last()
            .map_or((self.base, 0), |p| (p.offset, p.position));
        let mut headers = self.data.headers(at, self.size());
        loop {
            match headers.next() {
                Ok(Some(header)) if header.offset >= next => {
                    (next, at) = (header.offset.saturating_add(1), header.next);
                }
                Ok(None) if at == self.size() => return Ok(Some(next)),
                Ok(_) | Err(Error::Damaged { .. }) => return Ok(None),
                Err(e) => return Err(e),
            }
        }
    }

    /// Removes the messages at `offset` and above; a wrapper that reaches there goes whole.
    pub(crate) fn truncate_to(&self, offset: Offset, now: WallMs) -> Result<()> {
        let found = self.find(offset, self.size())?;
        *self.newest() = None;
        self.index.truncate_to(offset)?;
        if let Some(first) = found {
            self.data.truncate(first.position)?;
            if first.position == 0 {
                self.created.store(now.0, Ordering::Relaxed);
            }
        }
        self.index.let_go();
        self.since_index_entry.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Afterwards all of it is on disk.
    pub(crate) fn sync(&self) -> Result<()> {
        self.data.sync()?;
        self.index.sync()
    }

    /// No more appends for long: files get their true length, memory is given back. Returns whether the
    /// messages' file was longer; its length is not on disk then.
    pub(crate) fn rest(&self) -> Result<bool> {
        let trimmed = self.data.trim()?;
        self.index.rest()?;
        Ok(trimmed)
    }

    /// Renames both files to `.deleted`. Readers that hold the segment go on reading. What an earlier
    /// attempt got done is not done again.
    pub(crate) fn mark_deleted(&self, dir: &Path) -> Result<()> {
        self.index.detach();
        for kind in [Kind::Log, Kind::Index] {
            let from = files::path(dir, self.base, kind, State::Plain);
            let to = files::path(dir, self.base, kind, State::Deleted);
            // A segment of the same base that was given up before may still wait under that name.
            match fs::displace(&from, &to) {
                Err(e) if e.source.kind() == std::io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Takes [`Self::mark_deleted`] back, also a half of it. A lost index is rebuilt at the next start.
    pub(crate) fn unmark_deleted(&self, dir: &Path) -> Result<()> {
        for kind in [Kind::Log, Kind::Index] {
            let plain = files::path(dir, self.base, kind, State::Plain);
            if plain.exists() {
                continue;
            }
            match fs::rename(&files::path(dir, self.base, kind, State::Deleted), &plain) {
                Err(e) if kind == Kind::Index && e.source.kind() == std::io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        self.index.attach();
        Ok(())
    }

    /// Makes an empty segment in files of the cleaner's, to be filled with what is kept of `head` and
    /// those behind it. What an earlier attempt left is removed.
    pub(crate) fn create_cleaned(dir: &Path, head: &Segment) -> Result<Segment> {
        let path = |kind| files::path(dir, head.base, kind, State::Cleaned);
        fs::remove_file(&path(Kind::Log))?;
        fs::remove_file(&path(Kind::Index))?;
        Ok(Segment {
            base: head.base,
            // Never preallocated: it is not known how much is kept.
            data: DataFile::create(path(Kind::Log), 0)?,
            index: OffsetIndex::create(path(Kind::Index), head.base)?,
            created: AtomicI64::new(head.created.load(Ordering::Relaxed)),
            modified: AtomicI64::new(head.modified().0),
            jitter: head.jitter,
            index_interval: head.index_interval,
            index_entries: head.index_entries,
            since_index_entry: AtomicU64::new(0),
            newest: Mutex::new(None),
        })
    }

    /// Makes a cleaner's segment durable, with the time of change of the last one that it was made of.
    pub(crate) fn complete(&self, modified: WallMs) -> Result<()> {
        self.index.write_out()?;
        self.data.set_modified(modified)?;
        self.index.set_modified(modified)?;
        self.modified.store(modified.0, Ordering::Relaxed);
        self.sync()?;
        self.index.rest()
    }

    /// Renames those of its files that have the state `from`; they stay open. After a failure the first may
    /// be renamed and the second not.
    pub(crate) fn move_files(&mut self, dir: &Path, from: State, to: State) -> Result<()> {
        let path = |kind, state| files::path(dir, self.base, kind, state);
        if self.data.path() == path(Kind::Log, from) {
            fs::rename(self.data.path(), &path(Kind::Log, to))?;
            self.data.set_path(path(Kind::Log, to));
        }
        if self.index.path() == path(Kind::Index, from) {
            fs::rename(self.index.path(), &path(Kind::Index, to))?;
            self.index.set_path(path(Kind::Index, to));
        }
        Ok(())
    }

    /// Removes the files of a cleaner's segment that takes nobody's place.
    pub(crate) fn discard(self) -> Result<()> {
        let paths = [self.data.path().to_owned(), self.index.path().to_owned()];
        // Closed first: some systems remove no file that is open.
        drop(self);
        for path in &paths {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// A random part of `segment.jitter.ms`, but never all of `segment.ms`.
fn jitter(config: &LogConfig) -> Duration {
    let bound = config.segment_jitter.min(config.segment).as_millis();
    let random = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0);
    match u64::try_from(bound) {
        Ok(bound) if bound > 0 => Duration::from_millis(random % bound),
        _ => Duration::ZERO,
    }
}
