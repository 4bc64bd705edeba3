//! The promise: what we write to disk is what Kafka 0.9.0.1 writes. The same sets, sent to a genuine
//! broker and appended to our log, give the same segment and index files; each opens what the other
//! left; both dump tools print the same.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka::cluster::TopicPartition;
use kafka::config::LogConfig;
use kafka::log::{Log, LogManager, ManagerSettings};
use kafka::message::builder::put_entry;
use kafka::message::{Codec, SetBuilder, SetIter, flatten};
use kafka::util::clock::Clock;

use crate::support::program::{kafka as program, run, signal, text};
use crate::support::wire::{Wire, wait_leaders};
use crate::support::{genuine, reference, wait_for};

const LIMIT: Duration = Duration::from_secs(60);
const SEGMENT_BYTES: i32 = 60_000;
const INDEX_INTERVAL: i32 = 1000;
const TOPICS: [(&str, Codec); 4] = [
    ("plain", Codec::None),
    ("gzip", Codec::Gzip),
    ("snappy", Codec::Snappy),
    ("lz4", Codec::Lz4),
];

/// The sets that go to a topic: many small ones, keys and values present, empty and null.
fn sets(codec: Codec) -> Vec<Bytes> {
    let (mut sets, mut state) = (Vec::new(), 7u32);
    let mut random = |n: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % n
    };
    // Wrappers differ in size from one compressor to another: theirs stay within one segment.
    let count = if codec == Codec::None { 120 } else { 40 };
    for _ in 0..count {
        let mut builder = SetBuilder::new(codec, usize::MAX);
        for i in 0..=random(20) {
            let key = vec![b'a' + (i % 26) as u8; random(9) as usize];
            let value: Vec<u8> = (0..random(200)).map(|_| b' ' + random(90) as u8).collect();
            let key = (random(3) > 0).then_some(&key[..]);
            let value = (random(10) > 0).then_some(&value[..]);
            assert!(builder.append(key, value));
        }
        sets.push(builder.finish());
    }
    sets
}

/// A set that holds plain messages and wrappers of two codecs.
fn mixed() -> Bytes {
    let mut set = BytesMut::new();
    for codec in [Codec::None, Codec::Gzip, Codec::None, Codec::Snappy] {
        let mut builder = SetBuilder::new(codec, usize::MAX);
        assert!(builder.append(Some(b"k"), Some(codec.name().as_bytes())));
        assert!(builder.append(None, Some(b"second")));
        set.extend_from_slice(&builder.finish());
    }
    set.freeze()
}

struct Ours {
    manager: LogManager,
    dir: PathBuf,
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: SEGMENT_BYTES,
        index_interval_bytes: INDEX_INTERVAL,
        ..LogConfig::default()
    }
}

impl Ours {
    fn open(dir: &Path) -> Ours {
        let (dirs, settings) = ([dir.to_owned()], ManagerSettings::default());
        let manager = LogManager::open(&dirs, config(), &HashMap::new(), settings, Clock::system()).unwrap();
        Ours {
            manager,
            dir: dir.to_owned(),
        }
    }

    fn log(&self, topic: &str) -> Arc<Log> {
        let tp = TopicPartition::new(topic, 0);
        self.manager.get_or_create(&tp, config()).unwrap()
    }

    fn append(&self, topic: &str, set: &Bytes) -> i64 {
        let set = BytesMut::from(&set[..]);
        let appended = self.log(topic).append_as_leader(set, Clock::system().wall());
        appended.unwrap().first
    }
}

/// The segment files of a topic by name, indexes without the zeros that pad them while they are open.
fn files(dir: &Path, topic: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir.join(format!("{topic}-0"))).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".index") {
            while bytes.ends_with(&[0; 8]) {
                bytes.truncate(bytes.len() - 8);
            }
        }
        files.insert(name, bytes);
    }
    files
}

fn paths(dir: &Path, topic: &str, suffix: &str) -> Vec<String> {
    let folder = dir.join(format!("{topic}-0"));
    let names = files(dir, topic).into_keys().filter(|n| n.ends_with(suffix));
    names.map(|n| folder.join(n).display().to_string()).collect()
}

pub(crate) fn genuine_dump(arguments: &[&str]) -> Output {
    let all = [&["run", "kafka.tools.DumpLogSegments"], arguments].concat();
    let mut command = genuine::command(&all);
    // Java writes text as the locale says.
    command.env("LC_ALL", "C.UTF-8");
    run(command, b"", LIMIT)
}

pub(crate) fn our_dump(arguments: &[&str]) -> Output {
    let mut command = program();
    command.arg("kafka.tools.DumpLogSegments").args(arguments);
    run(command, b"", LIMIT)
}

#[track_caller]
fn same_dump(arguments: &[&str]) -> String {
    let (theirs, ours) = (genuine_dump(arguments), our_dump(arguments));
    let (got, expected) = (text(&ours.stdout), text(&theirs.stdout));
    for (got, expected) in got.lines().zip(expected.lines()) {
        assert_eq!(got, expected, "{arguments:?} {}", text(&theirs.stderr));
    }
    assert_eq!(got.len(), expected.len(), "{arguments:?}");
    assert_eq!(text(&ours.stderr), text(&theirs.stderr), "{arguments:?}");
    assert_eq!(ours.status.code(), theirs.status.code(), "{arguments:?}");
    text(&ours.stdout)
}

#[test]
fn segments_and_indexes_are_those_of_the_genuine_broker() {
    need!(reference());
    let root = tempfile::tempdir().unwrap();
    let zookeeper = genuine::zookeeper(root.path());
    let connect = format!("127.0.0.1:{}", zookeeper.port);
    let settings = format!("log.segment.bytes={SEGMENT_BYTES}\nlog.index.interval.bytes={INDEX_INTERVAL}");
    let mut broker = genuine::broker(root.path(), &connect, &settings);
    let theirs = root.path().join("genuine-logs");
    let ours = Ours::open(&root.path().join("our-logs"));

    for (topic, codec) in TOPICS {
        wait_leaders(broker.port, topic, LIMIT);
        let mut wire = Wire::connect(broker.port, LIMIT).unwrap();
        let mut all = sets(codec);
        if codec != Codec::None {
            all.push(mixed());
        }
        for set in &all {
            let (error, first) = wire.produce(topic, 0, set.clone(), 1).unwrap();
            assert_eq!((error, first), (0, ours.append(topic, set)), "{topic}");
        }
        ours.log(topic).flush().unwrap();
        let (expected, got) = (files(&theirs, topic), files(&ours.dir, topic));
        assert!(got.keys().eq(expected.keys()), "{topic}");
        if codec == Codec::None {
            assert!(got.len() > 4, "several segments");
            assert!(
                got.values().filter(|b| b.len() % 8 == 0).any(|b| b.len() > 100),
                "entries"
            );
            assert!(got == expected, "{topic}");
        } else {
            same_content(topic, got, expected);
        }
    }

    signal(broker.program.id(), "TERM");
    broker.program.wait(LIMIT);
    each_opens_what_the_other_left(root.path(), &connect, &settings, &theirs, ours);
}

/// Compressors differ; all around their output does not.
fn same_content(topic: &str, got: BTreeMap<String, Vec<u8>>, expected: BTreeMap<String, Vec<u8>>) {
    let index_offsets = |bytes: &[u8]| bytes.chunks(8).map(|e| e[..4].to_vec()).collect::<Vec<_>>();
    for ((name, got), expected) in got.into_iter().zip(expected.into_values()) {
        if name.ends_with(".index") {
            let (got, expected) = (index_offsets(&got), index_offsets(&expected));
            assert!(
                got.len().abs_diff(expected.len()) <= 3 && !got.is_empty(),
                "{topic} {name}"
            );
            continue;
        }
        let headers = |set: &[u8]| {
            let seen = |m: kafka::message::MessageRef<'_>| (m.offset, m.magic, m.attributes, m.key.is_some());
            SetIter::new(set).map(|m| seen(m.unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(headers(&got), headers(&expected), "{topic} {name}");
        let starts = |set: &[u8]| {
            let first = |m: kafka::message::MessageRef<'_>| m.value.map(|v| v[..v.len().min(7)].to_vec());
            SetIter::new(set).map(|m| first(m.unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(starts(&got), starts(&expected), "frame headers of {topic}");
        let deep = |set: Vec<u8>| flatten(&Bytes::from(set), true).unwrap();
        assert_eq!(deep(got), deep(expected), "{topic} {name}");
    }
}

fn each_opens_what_the_other_left(root: &Path, connect: &str, settings: &str, theirs: &Path, ours: Ours) {
    ours.manager.shutdown().unwrap();
    drop(ours);
    // Ours on theirs: nothing to recover, and it goes on where they stopped.
    let before = files(theirs, "plain");
    let adopted = Ours::open(theirs);
    assert!(adopted.manager.was_clean());
    assert!(files(theirs, "plain") == before, "opening changes nothing");
    let mut ends = BTreeMap::new();
    for (topic, codec) in TOPICS {
        let end = adopted.log(topic).end().offset;
        for set in sets(codec) {
            adopted.append(topic, &set);
        }
        assert!(adopted.log(topic).end().offset > end && end > 100);
        ends.insert(topic, adopted.log(topic).end().offset);
    }
    adopted.manager.shutdown().unwrap();
    drop(adopted);
    // Theirs on ours: it serves what both appended.
    let mut broker = genuine::broker(root, connect, settings);
    for (topic, codec) in TOPICS {
        wait_leaders(broker.port, topic, LIMIT);
        let mut wire = Wire::connect(broker.port, LIMIT).unwrap();
        let all = wait_for("it serves", LIMIT, || wire.read_all(topic, 0, 0).ok());
        assert!(all.iter().map(|m| m.offset).eq(0..ends[topic]), "{topic}");
        let sent: Vec<_> = sets(codec)
            .iter()
            .flat_map(|s| flatten(s, true).unwrap())
            .collect();
        let tail = &all[all.len() - sent.len()..];
        assert!(
            tail.iter()
                .map(|m| (&m.key, &m.value))
                .eq(sent.iter().map(|m| (&m.key, &m.value)))
        );
    }
    assert!(
        !broker.program.printed().contains("orrupt"),
        "{}",
        broker.program.printed()
    );
    signal(broker.program.id(), "TERM");
    broker.program.wait(LIMIT);
}

#[test]
fn both_dump_tools_print_the_same_of_our_files() {
    need!(reference());
    let root = tempfile::tempdir().unwrap();
    let ours = Ours::open(root.path());
    for (topic, codec) in TOPICS {
        for set in sets(codec) {
            ours.append(topic, &set);
        }
    }
    ours.append("gzip", &mixed());
    ours.manager.shutdown().unwrap();

    let some = |suffix| {
        let all: Vec<String> = TOPICS
            .iter()
            .flat_map(|(t, _)| paths(&ours.dir, t, suffix))
            .collect();
        all.join(",")
    };
    let (logs, indexes) = (some(".log"), some(".index"));
    let shallow = same_dump(&["--files", &logs]);
    assert!(shallow.contains("GZIPCompressionCodec") && shallow.contains(" keysize: "));
    let plain = paths(&ours.dir, "plain", ".log").join(",");
    same_dump(&["--files", &plain, "--print-data-log"]);
    let deep = same_dump(&["--deep-iteration", "--print-data-log", "--files", &logs]);
    assert!(deep.lines().count() > shallow.lines().count());
    same_dump(&["--files", &indexes]);
    same_dump(&["--files", &indexes, "--verify-index-only"]);

    // Files with faults: a torn end, a gap, an index of other offsets.
    let faulty = root.path().join("faulty");
    std::fs::create_dir(&faulty).unwrap();
    let mut set = BytesMut::new();
    for offset in [0, 1, 5, 6, 9] {
        put_entry(&mut set, offset, 0, None, Some("wörd\u{1}".as_bytes()));
    }
    set.extend_from_slice(&[0, 0, 0, 0, 0]);
    set[26] ^= 1;
    let log = faulty.join("00000000000000000000.log");
    let index = log.with_extension("index");
    std::fs::write(&log, &set).unwrap();
    let entries = [[0, 0, 0, 1, 0, 0, 0, 32], [0, 0, 0, 4, 0, 0, 0, 64]];
    std::fs::write(&index, entries.concat()).unwrap();
    let both = format!("{},{}", log.display(), index.display());
    let seen = same_dump(&["--files", &both, "--print-data-log"]);
    assert!(seen.contains("Found 5 invalid bytes at the end of 00000000000000000000.log"));

    offsets_topic_prints_the_same(&faulty);
    for usage in [&[][..], &["--print-data-log"], &["--files", "a.log", "--nothing"]] {
        let (theirs, ours) = (genuine_dump(usage), our_dump(usage));
        assert_eq!(ours.status.code(), theirs.status.code());
        let first_lines = |out: &Output| {
            let lines = text(&out.stderr);
            lines
                .lines()
                .filter(|l| !l.starts_with("\tat "))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(first_lines(&ours), first_lines(&theirs));
    }
}

/// `--offsets-decoder` on records such as a genuine coordinator writes.
fn offsets_topic_prints_the_same(dir: &Path) {
    let mut set = BytesMut::new();
    let string = |s: &str| [&(s.len() as i16).to_be_bytes()[..], s.as_bytes()].concat();
    let bytes = |b: &[u8]| [&(b.len() as i32).to_be_bytes()[..], b].concat();
    let key = [&[0, 1][..], &string("group"), &string("topic"), &[0, 0, 0, 3]].concat();
    for (offset, metadata) in [(42i64, ""), (43, "note")] {
        let stamp = 7i64.to_be_bytes();
        let value = [
            &[0, 1][..],
            &offset.to_be_bytes(),
            &string(metadata),
            &stamp,
            &stamp,
        ]
        .concat();
        put_entry(&mut set, offset - 42, 0, Some(&key), Some(&value));
    }
    put_entry(&mut set, 2, 0, Some(&key), None);
    let partitions = [&[0, 0, 0, 2][..], &[0, 0, 0, 0], &[0, 0, 0, 1]].concat();
    let assignment = [&[0, 0][..], &[0, 0, 0, 1], &string("t"), &partitions, &bytes(&[])].concat();
    // User data and what is not a consumer's print as hexadecimal, on which the genuine tool fails: those
    // are for the unit tests.
    let member = [
        &string("member-1")[..],
        &string("client"),
        &string("/127.0.0.1"),
        &[0, 0, 0, 9],
        &bytes(b"sub"),
        &bytes(&assignment),
    ]
    .concat();
    let head = [
        &[0, 0][..],
        &string("consumer"),
        &[0, 0, 0, 5],
        &string("range"),
        &string("member-1"),
    ]
    .concat();
    let value = [&head[..], &[0, 0, 0, 1], &member].concat();
    let key = [&[0, 2][..], &string("group")].concat();
    put_entry(&mut set, 3, 0, Some(&key), Some(&value));
    let log = dir.join("00000000000000000100.log");
    std::fs::write(&log, &set).unwrap();
    let file = log.display().to_string();
    let seen = same_dump(&["--files", &file, "--offsets-decoder", "--print-data-log"]);
    assert!(
        seen.contains("key: offset::group:topic:3 payload: 43:note"),
        "{seen}"
    );
    assert!(seen.contains("consumer:range:5:{member-1=[t-0, t-1]}"), "{seen}");
}
