//! What the tests of this folder share: sets, settings, a log in a directory of its own.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tempfile::TempDir;

use crate::cluster::TopicPartition;
use crate::config::LogConfig;
use crate::message::builder::put_entry;
use crate::message::{Codec, Message, Offset, SetBuilder, flatten};
use crate::util::clock::{Clock, WallMs};
use crate::util::fs;

use super::{CleanerSettings, Log, LogManager, ManagerSettings, Result};

/// A producer's set of these values without keys.
pub(crate) fn set(codec: Codec, values: &[&[u8]]) -> BytesMut {
    let mut builder = SetBuilder::new(codec, usize::MAX);
    for value in values {
        assert!(builder.append(None, Some(value)));
    }
    BytesMut::from(&builder.finish()[..])
}

/// A producer's set of these keys and values; `None` is null.
pub(crate) fn keyed(codec: Codec, messages: &[(Option<&str>, Option<&str>)]) -> BytesMut {
    let mut builder = SetBuilder::new(codec, usize::MAX);
    for (key, value) in messages {
        assert!(builder.append(key.map(str::as_bytes), value.map(str::as_bytes)));
    }
    BytesMut::from(&builder.finish()[..])
}

/// A set of one plain message.
pub(crate) fn single(value: &[u8]) -> BytesMut {
    set(Codec::None, &[value])
}

/// An entry as a leader stores it.
pub(crate) fn stored(offset: Offset, value: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    put_entry(&mut out, offset, 0, None, Some(value));
    out.freeze()
}

/// Settings with small segments.
pub(crate) fn small(segment_bytes: i32) -> LogConfig {
    LogConfig {
        segment_bytes,
        ..LogConfig::default()
    }
}

/// Directories with a manager that can be stopped, killed and opened again. Its time stands still
/// until it is moved.
pub(crate) struct Ground {
    pub(crate) root: TempDir,
    pub(crate) dirs: Vec<PathBuf>,
    pub(crate) clock: Clock,
    pub(crate) config: LogConfig,
    pub(crate) cleaner: CleanerSettings,
    /// `num.recovery.threads.per.data.dir`
    pub(crate) threads: usize,
}

impl Ground {
    pub(crate) fn new(config: LogConfig) -> Ground {
        let root = tempfile::tempdir().unwrap();
        Ground {
            dirs: vec![root.path().join("logs")],
            root,
            clock: Clock::manual(Clock::system().wall()),
            config,
            cleaner: CleanerSettings::default(),
            threads: 2,
        }
    }

    pub(crate) fn try_open(&self) -> Result<LogManager> {
        let settings = ManagerSettings {
            recovery_threads_per_dir: self.threads,
            cleaner: Some(self.cleaner.clone()),
            ..ManagerSettings::default()
        };
        let (topics, clock) = (HashMap::new(), self.clock.clone());
        LogManager::open(&self.dirs, self.config.clone(), &topics, settings, clock)
    }

    pub(crate) fn open(&self) -> LogManager {
        self.try_open().unwrap()
    }

    pub(crate) fn now(&self) -> WallMs {
        self.clock.wall()
    }

    /// The one log most tests need.
    pub(crate) fn log(&self, manager: &LogManager) -> Arc<Log> {
        manager.get_or_create(&tp(), self.config.clone()).unwrap()
    }

    /// Its directory.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.dirs[0].join(tp().dir_name())
    }

    /// Names of its files, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.log_dir()).unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Path of a segment's messages.
    pub(crate) fn segment(&self, base: Offset) -> PathBuf {
        self.log_dir().join(format!("{base:020}.log"))
    }

    /// Path of a segment's index.
    pub(crate) fn index(&self, base: Offset) -> PathBuf {
        self.log_dir().join(format!("{base:020}.index"))
    }
}

pub(crate) fn tp() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// The bytes of one read.
pub(crate) fn bytes(log: &Log, offset: Offset, max: i32, up_to: Option<Offset>) -> Bytes {
    match log.read(offset, max, up_to).unwrap().slice {
        Some(slice) => {
            let mut bytes = vec![0; slice.len];
            let got = fs::read_at(&slice.file, &mut bytes, slice.position).unwrap();
            assert_eq!(got, slice.len, "a slice is always there whole");
            bytes.into()
        }
        None => Bytes::new(),
    }
}

/// All messages from `offset` on, by reads of `max` bytes at most.
pub(crate) fn read_all(log: &Log, mut offset: Offset, max: i32) -> Vec<Message> {
    let mut all: Vec<Message> = Vec::new();
    loop {
        let part = flatten(&bytes(log, offset, max, None), true).unwrap();
        let Some(last) = part.last() else {
            return all;
        };
        let next = last.offset + 1;
        all.extend(part.into_iter().filter(|m| m.offset >= offset));
        offset = next;
    }
}

/// The last value of each key, of keys and values in the order of the log; without those deleted.
pub(crate) fn last_values<'a>(
    messages: impl Iterator<Item = (Option<&'a str>, Option<&'a str>)>,
) -> BTreeMap<&'a str, &'a str> {
    let mut last = BTreeMap::new();
    for message in messages {
        match message {
            (Some(key), Some(value)) => last.insert(key, value),
            (Some(key), None) => last.remove(key),
            (None, _) => None,
        };
    }
    last
}

/// Their values as text.
pub(crate) fn values(messages: &[Message]) -> Vec<String> {
    let text = |m: &Message| String::from_utf8_lossy(m.value.as_deref().unwrap_or_default()).into_owned();
    messages.iter().map(text).collect()
}

/// SplitMix64: small, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
