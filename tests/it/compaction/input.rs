//! What both brokers get to compact: a topic for each rule.

use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka::cluster::TopicPartition;
use kafka::config::LogConfig;
use kafka::log::Log;
use kafka::message::builder::put_entry;
use kafka::message::{Codec, SetBuilder};
use kafka::util::clock::Clock;

use super::{SEGMENT_BYTES, config, open};

/// The same numbers for everybody.
pub(super) struct Random(pub(super) u32);

impl Random {
    pub(super) fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % n
    }

    pub(super) fn value(&mut self, most: u32) -> Vec<u8> {
        (0..self.below(most))
            .map(|_| b' ' + self.below(90) as u8)
            .collect()
    }
}

pub(super) struct Writer {
    pub(super) log: Arc<Log>,
    pub(super) random: Random,
}

impl Writer {
    /// Appends a set of keyed messages; one value in `deleted` is null, if that is not 0.
    pub(super) fn put(&mut self, codec: Codec, count: u32, keys: u32, most: u32, deleted: u32) {
        let mut builder = SetBuilder::new(codec, usize::MAX);
        for _ in 0..count {
            let key = format!("key {}", self.random.below(keys));
            let value = self.random.value(most);
            let gone = deleted > 0 && self.random.below(deleted) == 0;
            assert!(builder.append(Some(key.as_bytes()), (!gone).then_some(&value[..])));
        }
        self.append(&builder.finish());
    }

    pub(super) fn append(&self, set: &Bytes) {
        let now = Clock::system().wall();
        self.log.append_as_leader(BytesMut::from(&set[..]), now).unwrap();
    }
}

/// Writes the input: a topic for each rule.
pub(super) fn write_input(dir: &Path) {
    let manager = open(dir, config());
    let writer = |topic: &str| {
        // Small enough for several to become one.
        let small = ["plain", "mixed", "few", "gaps"].contains(&topic);
        let config = LogConfig {
            segment_bytes: if small { SEGMENT_BYTES / 4 } else { SEGMENT_BYTES },
            ..config()
        };
        Writer {
            log: manager
                .get_or_create(&TopicPartition::new(topic, 0), config)
                .unwrap(),
            random: Random(topic.len() as u32),
        }
    };
    for (topic, codec, sets) in [
        ("plain", Codec::None, 200),
        ("gzip", Codec::Gzip, 150),
        ("snappy", Codec::Snappy, 120),
        ("lz4", Codec::Lz4, 120),
    ] {
        let mut to = writer(topic);
        for _ in 0..sets {
            let count = 1 + to.random.below(8);
            to.put(codec, count, 60, 150, 12);
        }
    }
    // Wrappers and plain messages in turn, many of each with all messages kept; and some without a key.
    let mut mixed = writer("mixed");
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4].repeat(25) {
        mixed.put(codec, 3, 1000, 100, 0);
        mixed.put(codec, 1, 20, 100, 0);
        let mut keyless = SetBuilder::new(codec, usize::MAX);
        assert!(keyless.append(None, Some(b"without a key")));
        assert!(keyless.append(Some(b"beside one"), Some(b"x")));
        mixed.append(&keyless.finish());
    }
    // Larger than a buffer, once and twice over.
    let mut large = writer("large");
    for _ in 0..40 {
        large.put(Codec::None, 1, 30, 6000, 0);
        large.put(Codec::None, 2, 30, 100, 0);
    }
    // A handful of keys: most segments become empty, and shrunk ones become one.
    let mut few = writer("few");
    for _ in 0..600 {
        few.put(Codec::None, 1, 3, 100, 0);
    }
    let mut clean = writer("clean");
    for _ in 0..900 {
        clean.put(Codec::None, 1, 150, 100, 3);
    }
    // What counts as clean has each key once, a third of them deleted.
    let mut markers = writer("markers");
    for i in 0..900 {
        let key = if i < 600 { i } else { markers.random.below(600) };
        let value = markers.random.value(100);
        let mut builder = SetBuilder::new(Codec::None, usize::MAX);
        let gone = markers.random.below(3) == 0;
        assert!(builder.append(Some(key.to_string().as_bytes()), (!gone).then_some(&value[..])));
        markers.append(&builder.finish());
    }
    // As a follower of a compacted log has it.
    let gaps = writer("gaps");
    let mut random = Random(7);
    let mut offset = 1000;
    for _ in 0..300 {
        let mut set = BytesMut::new();
        for _ in 0..=random.below(4) {
            offset += 1 + i64::from(random.below(3) * random.below(50));
            let key = format!("key {}", random.below(90));
            put_entry(&mut set, offset, 0, Some(key.as_bytes()), Some(&random.value(80)));
        }
        gaps.log
            .append_as_follower(set.freeze(), Clock::system().wall())
            .unwrap();
    }
    manager.shutdown().unwrap();
}
