//! The logs that are damaged, in memory: each of several segments with indexes of many entries.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bytes::BytesMut;
use kafka::cluster::TopicPartition;
use kafka::config::LogConfig;
use kafka::log::{LogManager, ManagerSettings};
use kafka::message::builder::put_entry;
use kafka::message::{Codec, Offset, SetBuilder};
use kafka::util::clock::Clock;

use crate::support::chance::Chance;

/// A partition's files by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// One segment's soft limit, and how many bytes lie between two entries of its index.
pub(super) const SEGMENT_BYTES: i32 = 1000;
pub(super) const INDEX_INTERVAL: i32 = 150;
/// Bytes of the last segment, at least.
const LAST: u64 = 600;
/// What a JVM broker sets aside for an index in use.
pub(super) const INDEX_BYTES: i32 = 800;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: SEGMENT_BYTES,
        index_interval_bytes: INDEX_INTERVAL,
        segment_index_bytes: INDEX_BYTES,
        ..LogConfig::default()
    }
}

/// Plain messages; all kinds of wrappers; gaps, as compaction leaves them; and a log that has lost its
/// beginning to retention.
pub(super) fn bases(chance: &mut Chance) -> BTreeMap<&'static str, Files> {
    let dir = tempfile::tempdir().unwrap();
    let dirs = [dir.path().to_owned()];
    let settings = ManagerSettings::default();
    let manager = LogManager::open(&dirs, config(), &HashMap::new(), settings, Clock::system()).unwrap();
    let mut value = |most| -> Vec<u8> {
        let length = chance.between(1, most);
        (0..length).map(|_| b' ' + chance.between(0, 90) as u8).collect()
    };
    let log = |topic: &str| {
        let tp = TopicPartition::new(topic, 0);
        manager.get_or_create(&tp, config()).unwrap()
    };
    let now = Clock::system().wall();
    for topic in ["plain", "high"] {
        let log = log(topic);
        while log.segment_count() < 7 || log.end().position < LAST {
            let mut set = SetBuilder::new(Codec::None, usize::MAX);
            assert!(set.append(Some(b"key"), Some(&value(90))));
            log.append_as_leader(BytesMut::from(&set.finish()[..]), now)
                .unwrap();
        }
    }
    let packed = log("packed");
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4]
        .into_iter()
        .cycle()
    {
        if packed.segment_count() == 7 && packed.end().position >= LAST {
            break;
        }
        let mut set = SetBuilder::new(codec, usize::MAX);
        for _ in 0..2 {
            assert!(set.append(Some(b"key"), Some(&value(40))));
        }
        packed
            .append_as_leader(BytesMut::from(&set.finish()[..]), now)
            .unwrap();
    }
    let gaps = log("gaps");
    let mut offset = 5;
    while gaps.segment_count() < 7 || gaps.end().position < LAST {
        let mut set = BytesMut::new();
        put_entry(&mut set, offset, 0, Some(b"key"), Some(&value(90)));
        gaps.append_as_follower(set.freeze(), now).unwrap();
        offset += value(9).len() as Offset;
    }
    manager.shutdown().unwrap();
    let names = ["plain", "packed", "gaps", "high"];
    let mut bases: BTreeMap<_, _> = names
        .into_iter()
        .map(|topic| (topic, read(&dir.path().join(format!("{topic}-0")))))
        .collect();
    let high = bases.get_mut("high").expect("just made");
    let first = high.keys().next().expect("it has files")[..20].to_owned();
    high.retain(|name, _| !name.starts_with(&first));
    bases
}

/// A partition's files, without those that wait for their removal and without folders.
pub(super) fn read(dir: &Path) -> Files {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let paths = entries.map(|e| e.unwrap().path()).filter(|p| p.is_file());
    let named = paths.map(|p| (p.file_name().unwrap().to_str().unwrap().to_owned(), p));
    named
        .filter(|(name, _)| !name.ends_with(".deleted"))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect()
}

/// Writes a partition's files into a directory, which is made.
pub(super) fn write(dir: &Path, files: &Files) {
    std::fs::create_dir_all(dir).unwrap();
    for (name, bytes) in files {
        match name.strip_suffix('/') {
            Some(folder) => std::fs::create_dir(dir.join(folder)).unwrap(),
            None => std::fs::write(dir.join(name), bytes).unwrap(),
        }
    }
}

/// A message in a segment as its header tells of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) at: usize,
    pub(super) offset: Offset,
    /// Where the next begins.
    pub(super) end: usize,
}

/// The whole messages at the beginning of a segment.
pub(super) fn entries(bytes: &[u8]) -> Vec<Entry> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(header) = bytes.get(at..at + 12) {
        let size = i32::from_be_bytes(header[8..].try_into().unwrap());
        let Some(size) = usize::try_from(size).ok().filter(|s| *s >= 14) else {
            break;
        };
        let end = at + 12 + size;
        if end > bytes.len() {
            break;
        }
        let offset = i64::from_be_bytes(header[..8].try_into().unwrap());
        found.push(Entry { at, offset, end });
        at = end;
    }
    found
}
