//! Which segments time and size remove, on the same files as the genuine broker.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use kafka::cluster::TopicPartition;
use kafka::config::LogConfig;
use kafka::message::Codec;

use super::input::{Random, Writer};
use super::{LIMIT, SEGMENT_BYTES, files, open, set_modified, topics};
use crate::support::program::Program;

/// Half of what a topic of [`write_retained`] may hold.
const RETAINED_BYTES: i64 = 20_000;

pub(super) fn retention_settings() -> String {
    format!(
        "log.segment.bytes={SEGMENT_BYTES}\nlog.retention.ms=36000000\nlog.retention.bytes={RETAINED_BYTES}\n\
         log.retention.check.interval.ms=500\nlog.cleaner.enable=false\n"
    )
}

fn retained() -> LogConfig {
    LogConfig {
        segment_bytes: SEGMENT_BYTES,
        retention: Some(Duration::from_secs(36_000)),
        retention_bytes: RETAINED_BYTES,
        ..LogConfig::default()
    }
}

/// Topics of segments with these ages in hours; those of the first begin small.
const AGES: [(&str, &[u64]); 7] = [
    ("young", &[3, 2]),
    ("old-first", &[30, 20, 2, 1]),
    ("all-old", &[30, 20, 11]),
    ("old-behind-young", &[1, 30, 30]),
    ("large", &[5, 4, 3, 2, 1]),
    ("old-and-large", &[30, 5, 4, 3, 2]),
    ("edge", &[11, 9]),
];

pub(super) fn write_retained(dir: &Path) {
    let manager = open(dir, retained());
    for (topic, ages) in AGES {
        let log = manager
            .get_or_create(&TopicPartition::new(topic, 0), retained())
            .unwrap();
        let mut to = Writer {
            log,
            random: Random(topic.len() as u32),
        };
        while to.log.segment_count() < ages.len() {
            to.put(Codec::None, 1, 1000, 400, 0);
        }
    }
    manager.shutdown().unwrap();
    let now = SystemTime::now();
    for (topic, ages) in AGES {
        let segments = files(dir, topic);
        let logs: Vec<&PathBuf> = segments
            .values()
            .filter(|p| p.extension().unwrap() == "log")
            .collect();
        for (path, age) in logs.into_iter().zip(ages) {
            set_modified(path, now - Duration::from_secs(age * 3600));
        }
    }
    // One whose last segment is empty, as it is after all have expired once.
    let manager = open(dir, retained());
    let log = manager
        .get_or_create(&TopicPartition::new("all-gone", 0), retained())
        .unwrap();
    let mut to = Writer {
        log,
        random: Random(1),
    };
    to.put(Codec::None, 3, 10, 100, 0);
    manager.shutdown().unwrap();
    let first = files(dir, "all-gone")
        .into_values()
        .find(|p| p.extension().unwrap() == "log")
        .unwrap();
    set_modified(&first, now - Duration::from_secs(40 * 3600));
    let last = first.with_file_name("00000000000000000003.log");
    std::fs::write(&last, b"").unwrap();
    std::fs::write(last.with_extension("index"), b"").unwrap();
    set_modified(&last, now - Duration::from_secs(40 * 3600));
    std::fs::write(dir.join(".kafka_cleanshutdown"), "").unwrap();
}

pub(super) fn same_retention(dir: &Path, mut broker: Program) {
    let ours = dir.join("ours");
    let theirs = dir.join("genuine-logs");
    let names = |dir: &Path| -> BTreeMap<String, Vec<String>> {
        let all = topics(dir).into_iter();
        all.map(|t| (t.clone(), files(dir, &t).into_keys().collect()))
            .collect()
    };
    let before = names(&ours);
    let manager = open(&ours, retained());
    manager.apply_retention();
    manager.shutdown().unwrap();
    broker.wait_line("Log cleanup completed", LIMIT);
    broker.stop(LIMIT);
    let (expected, got) = (names(&theirs), names(&ours));
    assert_eq!(got, expected);
    for (topic, changes) in [
        ("young", false),
        ("old-behind-young", false),
        ("large", true),
        ("all-old", true),
    ] {
        assert_eq!(got[topic] != before[topic], changes, "{topic}");
    }
    for topic in topics(&ours) {
        for (name, path) in files(&ours, &topic) {
            let (a, b) = (
                std::fs::read(files(&theirs, &topic)[&name].clone()),
                std::fs::read(path),
            );
            assert_eq!(a.unwrap(), b.unwrap(), "{topic} {name}");
        }
    }
}
