//! Which segments time and size remove, on the same files as the genuine broker: with the broker's settings
//! and with a topic's own, at the very borders, of compressed topics too; and that a start and a stop leave
//! the times of files as they are. Both brokers lead the topics, each in a cluster of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use kafka::admin;
use kafka::cluster::{BrokerId, TopicPartition};
use kafka::config::LogConfig;
use kafka::message::Codec;
use kafka::zookeeper::znodes::topic::Assignment;

use super::input::{Random, Writer};
use super::{LIMIT, SEGMENT_BYTES, files, modified, open, set_modified, topics};
use crate::support::program::Program;
use crate::support::{fake_broker, ours, wait_until};

/// Half of what a topic of [`write_retained`] may hold.
const RETAINED_BYTES: i64 = 20_000;
/// The id of both.
pub(super) const ID: u32 = 1;

pub(super) fn retention_settings() -> String {
    format!(
        "log.segment.bytes={SEGMENT_BYTES}\nlog.retention.ms=36000000\nlog.retention.bytes={RETAINED_BYTES}\n\
         log.retention.check.interval.ms=500\nlog.cleaner.enable=false\n"
    )
}

fn retained() -> LogConfig {
    LogConfig {
        segment_bytes: SEGMENT_BYTES,
        ..LogConfig::default()
    }
}

type Settings = BTreeMap<String, String>;

/// A topic: its segments' ages in hours, and its own settings, which may depend on their sizes.
struct Kept {
    topic: &'static str,
    ages: &'static [u64],
    codec: Codec,
    settings: fn(&[u64]) -> Vec<(&'static str, i64)>,
}

const fn kept(
    topic: &'static str,
    ages: &'static [u64],
    settings: fn(&[u64]) -> Vec<(&'static str, i64)>,
) -> Kept {
    Kept {
        topic,
        ages,
        codec: Codec::None,
        settings,
    }
}

/// The bytes of all segments but the first.
fn rest(sizes: &[u64]) -> i64 {
    sizes[1..].iter().sum::<u64>().cast_signed()
}

const TOPICS: [Kept; 18] = [
    kept("young", &[3, 2], |_| vec![]),
    kept("old-first", &[30, 20, 2, 1], |_| vec![]),
    kept("all-old", &[30, 20, 11], |_| vec![]),
    kept("old-behind-young", &[1, 30, 30], |_| vec![]),
    kept("large", &[5, 4, 3, 2, 1], |_| vec![]),
    kept("old-and-large", &[30, 5, 4, 3, 2], |_| vec![]),
    kept("edge", &[11, 9], |_| vec![]),
    Kept {
        codec: Codec::Gzip,
        ..kept("packed", &[5, 4, 3, 2, 1], |_| vec![])
    },
    Kept {
        codec: Codec::Snappy,
        ..kept("packed-and-old", &[30, 20, 1], |_| vec![])
    },
    kept("border", &[3, 2, 1], |s| vec![("retention.bytes", rest(s))]),
    kept("border-less-one", &[3, 2, 1], |s| {
        vec![("retention.bytes", rest(s) - 1)]
    }),
    kept("border-and-one", &[3, 2, 1], |s| {
        vec![("retention.bytes", rest(s) + 1)]
    }),
    kept("no-bytes", &[3, 2, 1], |_| vec![("retention.bytes", 0)]),
    kept("any-bytes", &[5, 4, 3, 2, 1], |_| vec![("retention.bytes", -1)]),
    kept("short", &[5, 3, 1], |_| vec![("retention.ms", 4 * 3_600_000)]),
    kept("for-ever", &[300, 200, 100], |_| {
        vec![("retention.ms", -1), ("retention.bytes", -1)]
    }),
    kept("gone-at-once", &[30, 20, 1], |_| {
        vec![("file.delete.delay.ms", 100)]
    }),
    kept("compacted", &[300, 200, 100, 90, 80], |_| vec![]),
];
/// One whose last segment is empty, as it is after all have expired once.
const ALL_GONE: &str = "all-gone";

fn logs(dir: &Path, topic: &str) -> Vec<PathBuf> {
    let all = files(dir, topic).into_values();
    all.filter(|p| p.extension().unwrap() == "log").collect()
}

/// Writes the topics' segments; returns their settings.
pub(super) fn write_retained(dir: &Path) -> BTreeMap<String, Settings> {
    let manager = open(dir, retained());
    for Kept {
        topic, ages, codec, ..
    } in TOPICS
    {
        let log = manager
            .get_or_create(&TopicPartition::new(topic, 0), retained())
            .unwrap();
        let mut to = Writer {
            log,
            random: Random(topic.len() as u32),
        };
        while to.log.segment_count() < ages.len() {
            to.put(codec, 1, 1000, 400, 0);
        }
    }
    let log = manager
        .get_or_create(&TopicPartition::new(ALL_GONE, 0), retained())
        .unwrap();
    let mut to = Writer {
        log,
        random: Random(1),
    };
    to.put(Codec::None, 3, 10, 100, 0);
    manager.shutdown().unwrap();
    let now = SystemTime::now();
    let hours = |n: u64| now - Duration::from_secs(n * 3600);
    let mut all = BTreeMap::from([(ALL_GONE.to_owned(), Settings::new())]);
    for Kept {
        topic,
        ages,
        settings,
        ..
    } in TOPICS
    {
        let segments = logs(dir, topic);
        for (path, age) in segments.iter().zip(ages) {
            set_modified(path, hours(*age));
        }
        let sizes: Vec<u64> = segments
            .iter()
            .map(|p| std::fs::metadata(p).unwrap().len())
            .collect();
        let mut own: Settings = settings(&sizes)
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_string()))
            .collect();
        if topic == "compacted" {
            own.insert("cleanup.policy".to_owned(), "compact".to_owned());
        }
        all.insert(topic.to_owned(), own);
    }
    let first = logs(dir, ALL_GONE).remove(0);
    set_modified(&first, hours(40));
    let last = first.with_file_name("00000000000000000003.log");
    std::fs::write(&last, b"").unwrap();
    std::fs::write(last.with_extension("index"), b"").unwrap();
    set_modified(&last, hours(40));
    std::fs::write(dir.join(".kafka_cleanshutdown"), "").unwrap();
    all
}

/// Makes the topics in ZooKeeper, with the one replica that there is.
pub(super) fn create_topics(zookeeper: u16, topics: &BTreeMap<String, Settings>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let session = fake_broker::session(&format!("127.0.0.1:{zookeeper}")).await;
        let assignment = Assignment::from([(0, vec![BrokerId(ID.cast_signed())])]);
        for (topic, settings) in topics {
            let made = admin::topics::create_topic_with_assignment(&session, topic, &assignment, settings);
            made.await.unwrap();
        }
        session.close().await;
    });
}

/// Our broker on `dir/ours` with a ZooKeeper of its own.
pub(super) fn our_broker(dir: &Path, topics: &BTreeMap<String, Settings>) -> [ours::Server; 2] {
    // Away from the files of the genuine one.
    let place = dir.join("our-broker");
    std::fs::create_dir_all(&place).unwrap();
    let zookeeper = ours::zookeeper(&place);
    create_topics(zookeeper.port, topics);
    let more = format!(
        "broker.id={ID}\nlog.dirs={}\n{}",
        dir.join("ours").display(),
        retention_settings()
    );
    let broker = ours::broker(&place, &format!("127.0.0.1:{}", zookeeper.port), &more);
    [broker, zookeeper]
}

type Names = BTreeMap<String, Vec<String>>;

fn names(dir: &Path) -> Names {
    let all = topics(dir).into_iter();
    all.map(|t| (t.clone(), files(dir, &t).into_keys().collect()))
        .collect()
}

/// Files that wait for their removal.
fn waiting(dir: &Path) -> Names {
    let of = |topic: String| {
        let entries = std::fs::read_dir(dir.join(format!("{topic}-0"))).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|n| n.ends_with(".deleted")).collect();
        names.sort();
        (topic, names)
    };
    topics(dir).into_iter().map(of).collect()
}

pub(super) fn same_retention(
    dir: &Path,
    before: &Path,
    mut theirs: Program,
    [mut ours, _zookeeper]: [ours::Server; 2],
) {
    let (our_dir, their_dir) = (dir.join("ours"), dir.join("genuine-logs"));
    theirs.wait_line("Log cleanup completed", LIMIT);
    wait_until("what is deleted at once is gone", LIMIT, || {
        waiting(&their_dir)["gone-at-once"].is_empty()
    });
    let expected = names(&their_dir);
    wait_until("ours has the same files", LIMIT, || {
        names(&our_dir) == expected && waiting(&our_dir) == waiting(&their_dir)
    });
    ours.program.stop(LIMIT);
    theirs.stop(LIMIT);
    let (expected, got, given) = (names(&their_dir), names(&our_dir), names(before));
    assert_eq!(got, expected);
    let (expected_waiting, waits) = (waiting(&their_dir), waiting(&our_dir));
    assert_eq!(waits, expected_waiting);
    let unchanged = [
        "young",
        "old-behind-young",
        "border-and-one",
        "any-bytes",
        "for-ever",
        "compacted",
    ];
    for (topic, names) in &got {
        let same = *names == given[topic];
        assert_eq!(same, unchanged.contains(&&**topic), "{topic}: {names:?}");
        assert_eq!(
            waits[topic].is_empty(),
            same || topic == "gone-at-once",
            "{topic}"
        );
        for (name, path) in files(&our_dir, topic) {
            let other = &files(&their_dir, topic)[&name];
            assert_eq!(
                std::fs::read(&path).unwrap(),
                std::fs::read(other).unwrap(),
                "{topic} {name}"
            );
            let original = before.join(format!("{topic}-0")).join(&name);
            if name.ends_with(".log") && original.exists() {
                let times = [&path, other, &original].map(|p| modified(p));
                assert!(times.iter().all(|t| *t == times[0]), "{topic} {name}: {times:?}");
            }
        }
    }
}
