//! The log of one partition: what was appended, in order, each message with its offset.
//!
//! Invariants:
//! - Appends, truncations and retention hold `writer`; there is one of them at a time.
//! - Segments that grow no more are changed by the cleaner without `writer`, and by truncations and
//!   retention: whoever does it has the log's turn ([`Turns`]), taken before `writer`.
//! - `end` is set after the bytes before it are written: who reads `end` may read up to it. Readers take
//!   no lock that an append holds while it writes.
//! - `segments` is never empty, its last is the one that grows, and `end.segment` is that one's base.
//! - Once the disk failed (a write or an fsync) nothing more is written in the whole log directory: what
//!   a failed fsync left behind cannot be known, and a broker that went on would acknowledge what it may
//!   not have.

mod changing;
mod gauges;
mod reading;
mod replacing;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};

use bytes::{Bytes, BytesMut};

use crate::cluster::TopicPartition;
use crate::config::LogConfig;
use crate::message::Offset;
use crate::metrics::Scope;
use crate::util::clock::{Clock, WallMs};
use crate::util::fs::FileSlice;

use super::chores::Chores;
use super::cleaner::Turns;
use super::directory::LogDir;
use super::recovery::Loaded;
use super::segment::Segment;
use super::validate::{check_for_follower, check_for_leader};
use super::{Error, Result};

/// An offset and where it is in the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// The offset.
    pub offset: Offset,
    /// Base offset of its segment.
    pub segment: Offset,
    /// Byte in that segment's file.
    pub position: u64,
}

impl LogPosition {
    /// Bytes from `older` to here, if both are in one segment.
    pub fn bytes_since(&self, older: &LogPosition) -> Option<u64> {
        if self.segment == older.segment {
            self.position.checked_sub(older.position)
        } else {
            None
        }
    }
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first message; -1 if the set held no whole entry.
    pub first: Offset,
    /// Offset of the last message; -1 likewise.
    pub last: Offset,
    /// Messages, those inside wrappers counted.
    pub messages: u64,
    /// Bytes written.
    pub bytes: u64,
}

impl Appended {
    const NOTHING: Appended = Appended {
        first: -1,
        last: -1,
        messages: 0,
        bytes: 0,
    };
}

/// What a read found.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The offset asked for, and where it is.
    pub at: LogPosition,
    /// The messages, perhaps cut off within one; `None` if there are none.
    pub slice: Option<FileSlice>,
}

/// See the module. Methods block for as long as the disk does.
#[derive(Debug)]
pub struct Log {
    topic_partition: TopicPartition,
    dir: PathBuf,
    config: RwLock<Arc<LogConfig>>,
    writer: Mutex<Writer>,
    segments: RwLock<BTreeMap<Offset, Arc<Segment>>>,
    end: RwLock<LogPosition>,
    durable: Mutex<Durable>,
    /// Held while files are synced, so that those who wait find the work done. True when the files are about to
    /// go, and nothing is synced any more.
    flushing: Mutex<bool>,
    /// The directory has names that are not known to be on disk.
    names_changed: AtomicBool,
    /// Retention and compaction keep what is at or above it.
    high_watermark: AtomicI64,
    clock: Clock,
    chores: Arc<Chores>,
    directory: Arc<LogDir>,
    turns: Turns,
    /// While the log is one of its manager's.
    gauges: Mutex<Option<Scope>>,
}

/// What only the holder of the append lock touches.
#[derive(Debug)]
struct Writer {
    active: Arc<Segment>,
    closed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Durable {
    /// Everything below is on disk.
    recovery_point: Offset,
    /// Counts truncations, of unused space too: a flush that one overtook has flushed nothing for certain.
    truncations: u64,
    /// When the log was last flushed whole.
    flushed: WallMs,
}

impl Log {
    /// A log of what was found in its directory.
    pub(crate) fn new(
        topic_partition: TopicPartition,
        dir: PathBuf,
        config: LogConfig,
        loaded: Loaded,
        clock: Clock,
        chores: Arc<Chores>,
        directory: Arc<LogDir>,
    ) -> Log {
        let active = Arc::clone(
            loaded
                .segments
                .last_key_value()
                .expect("a loaded log has a segment")
                .1,
        );
        let end = LogPosition {
            offset: loaded.next,
            segment: active.base(),
            position: active.size(),
        };
        Log {
            turns: Turns::new(topic_partition.clone()),
            topic_partition,
            dir,
            config: RwLock::new(Arc::new(config)),
            writer: Mutex::new(Writer {
                active,
                closed: false,
            }),
            segments: RwLock::new(loaded.segments),
            end: RwLock::new(end),
            durable: Mutex::new(Durable {
                recovery_point: loaded.recovery_point.min(loaded.next),
                truncations: 0,
                flushed: clock.wall(),
            }),
            flushing: Mutex::new(false),
            names_changed: AtomicBool::new(true),
            high_watermark: AtomicI64::new(Offset::MAX),
            clock,
            chores,
            directory,
            gauges: Mutex::new(None),
        }
    }

    /// Appends a producer's set and gives its messages their offsets.
    ///
    /// The whole set is checked before a byte is written: a refused set leaves the log as it was. A
    /// partial entry at the end is dropped. Uncompressed messages get their offsets in the given
    /// bytes.
    ///
    /// # Errors
    /// Those up to [`Error::UnknownCodec`] and [`Error::Undecodable`] blame the set; [`Error::Full`]
    /// leaves the log as it was; [`Error::Storage`] ends the log's life unless the disk was only full.
    pub fn append_as_leader(&self, set: BytesMut, now: WallMs) -> Result<Appended> {
        let config = self.config();
        let checked = check_for_leader(set, &config)?;
        if checked.is_empty() {
            return Ok(Appended::NOTHING);
        }
        let messages = checked.messages;
        let appended = {
            let mut writer = self.writer()?;
            let first = self.end().offset;
            let set = checked.assign(first, &config)?;
            if set.len() > usize::try_from(config.segment_bytes).unwrap_or(0) {
                return Err(Error::SetTooLarge {
                    size: set.len(),
                    limit: config.segment_bytes,
                });
            }
            let last = first + Offset::try_from(messages).unwrap_or(Offset::MAX) - 1;
            if messages > 0 {
                self.write(&mut writer, first, last, &set, &config, now)?;
            }
            Appended {
                first,
                last,
                messages,
                bytes: set.len() as u64,
            }
        };
        self.flush_if_due(&config)?;
        Ok(appended)
    }

    /// Appends what was fetched from the leader, offsets as they are. Sets of any size are taken.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] for offsets below the log's end or not rising, [`Error::Corrupt`] for a
    /// wrong checksum; either leaves the log as it was.
    pub fn append_as_follower(&self, set: Bytes, now: WallMs) -> Result<Appended> {
        let config = self.config();
        let appended = {
            let mut writer = self.writer()?;
            let copied = check_for_follower(&set, self.end().offset)?;
            if copied.messages == 0 {
                return Ok(Appended::NOTHING);
            }
            let set = &set[..copied.valid];
            self.write(&mut writer, copied.first, copied.last, set, &config, now)?;
            Appended {
                first: copied.first,
                last: copied.last,
                messages: copied.messages,
                bytes: set.len() as u64,
            }
        };
        self.flush_if_due(&config)?;
        Ok(appended)
    }

    fn write(
        &self,
        writer: &mut Writer,
        first: Offset,
        last: Offset,
        set: &[u8],
        config: &LogConfig,
        now: WallMs,
    ) -> Result<()> {
        self.directory.admit(set.len(), now)?;
        if writer.active.is_full_for(set.len(), last, config, now) {
            self.roll(writer, config, now)?;
        }
        let active = &writer.active;
        self.stop_on_failure(active.append(first, set, now))?;
        *self.end.write().expect("a log user panicked") = LogPosition {
            offset: last + 1,
            segment: active.base(),
            position: active.size(),
        };
        Ok(())
    }

    /// Begins a new segment at the log's end; nothing if the last one begins there already.
    fn roll(&self, writer: &mut Writer, config: &LogConfig, now: WallMs) -> Result<()> {
        let base = self.end().offset;
        if writer.active.base() == base {
            return Ok(());
        }
        if self.stop_on_failure(writer.active.rest())? {
            // A machine that dies gives the space back that this took away, zeros in the middle of the log.
            let mut durable = self.durable();
            durable.recovery_point = durable.recovery_point.min(writer.active.base());
            durable.truncations += 1;
        }
        let created = Segment::create(&self.dir, base, config, now);
        // Also if it failed half way: what was removed again may come back.
        self.names_changed.store(true, Ordering::Relaxed);
        let segment = Arc::new(self.stop_on_failure(created)?);
        {
            let mut segments = self.segments.write().expect("a log user panicked");
            segments.insert(base, Arc::clone(&segment));
            *self.end.write().expect("a log user panicked") = LogPosition {
                offset: base,
                segment: base,
                position: 0,
            };
        }
        writer.active = segment;
        ::log::debug!("Rolled new log segment for '{}' at offset {base}", self.name());
        self.chores.flush_soon(self.topic_partition.clone());
        Ok(())
    }

    /// The partition.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The log directory that it is in.
    pub(crate) fn directory(&self) -> &Arc<LogDir> {
        &self.directory
    }

    /// Whether it is in that log directory.
    pub(crate) fn is_in(&self, dir: &Arc<LogDir>) -> bool {
        Arc::ptr_eq(&self.directory, dir)
    }

    /// # Errors
    /// [`Error::Offline`] if the log directory that it is in has failed.
    pub fn check_directory(&self) -> Result<()> {
        self.directory.check()
    }

    /// The directory's name, as Kafka names the log in its messages.
    pub fn name(&self) -> String {
        self.topic_partition.dir_name()
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&self.config.read().expect("a log user panicked"))
    }

    /// Puts other settings in force. Segments that are there keep what they were made with. A cleaning
    /// under way ends soon if the log is not to be compacted any more.
    pub fn set_config(&self, config: Arc<LogConfig>) {
        self.turns.put_aside(None);
        *self.config.write().expect("a log user panicked") = config;
    }

    /// Tells up to where replicas agree: retention removes nothing at or above, compaction does not look
    /// there. Until it is told, nothing is kept for that reason.
    pub fn set_high_watermark(&self, offset: Offset) {
        self.high_watermark.store(offset, Ordering::Relaxed);
    }

    /// Offset of the first message that is kept, or of the next if none is.
    pub fn start_offset(&self) -> Offset {
        *self.segments().first_key_value().expect("a log has a segment").0
    }

    /// The offset that the next message gets, and where.
    pub fn end(&self) -> LogPosition {
        *self.end.read().expect("a log user panicked")
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments().values().map(|s| s.size()).sum()
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.segments().len()
    }

    /// Everything below is on disk.
    pub fn recovery_point(&self) -> Offset {
        self.durable().recovery_point
    }

    fn segments(&self) -> RwLockReadGuard<'_, BTreeMap<Offset, Arc<Segment>>> {
        self.segments.read().expect("a log user panicked")
    }

    fn durable(&self) -> MutexGuard<'_, Durable> {
        self.durable.lock().expect("a log user panicked")
    }

    /// The append lock, if the log may still be written.
    fn writer(&self) -> Result<MutexGuard<'_, Writer>> {
        let writer = self.writer.lock().expect("a log writer panicked");
        if writer.closed {
            return Err(Error::Closed(self.topic_partition.clone()));
        }
        self.directory.check()?;
        Ok(writer)
    }

    /// Passes `result` on; a failed disk takes the whole log directory out of use.
    fn stop_on_failure<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(Error::Storage(e)) = &result {
            ::log::error!("I/O exception in log '{}': {e}", self.name());
        }
        self.directory.watch(result)
    }

    /// As [`Self::stop_on_failure`], of work that must not stop half way for whatever reason.
    fn stop_for_good<T>(&self, result: Result<T>) -> Result<T> {
        self.stop_on_failure(result)
            .inspect_err(|e| self.directory.fail(e))
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
