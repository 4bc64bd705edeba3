//! The promise: what our broker leaves of a log when it compacts it, or when it drops what is too old or too
//! much, is what Kafka 0.9.0.1 leaves. Both get the same data directory; afterwards files, their times and
//! the cleaner's checkpoint are compared.
//!
//! Plain messages, and wrappers of which everything is kept, are the same byte by byte, and so are the indexes.
//! A wrapper that lost messages is compressed anew, and compressors differ in their bytes: of those the content
//! and all around it is compared.

mod input;
mod live;
mod retention;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use kafka::cluster::TopicPartition;
use kafka::config::LogConfig;
use kafka::log::{CleanerSettings, LogManager, ManagerSettings, OffsetCheckpoint};
use kafka::message::{Codec, MessageRef, SetIter, flatten};
use kafka::util::clock::Clock;
use kafka::util::shutdown::Shutdown;

use crate::log_bytes::{genuine_dump, our_dump};
use crate::support::program::{Program, text};
use crate::support::{free_port, genuine, reference, wait_for, wait_until};
use input::write_input;
use retention::{create_topics, our_broker, retention_settings, same_retention, write_retained};

const LIMIT: Duration = Duration::from_secs(120);
const SEGMENT_BYTES: i32 = 8000;
const INDEX_INTERVAL: i32 = 500;
const INDEX_BYTES: i32 = 80;
/// One buffer holds half of it.
const IO_BUFFER: usize = 4096;
const CHECKPOINT: &str = "cleaner-offset-checkpoint";
/// Cleaned already up to an offset in the middle, and of these the first too clean to be looked at.
const CLEAN_UP_TO: [(&str, i64); 2] = [("clean", 700), ("markers", 450)];

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: SEGMENT_BYTES,
        index_interval_bytes: INDEX_INTERVAL,
        segment_index_bytes: INDEX_BYTES,
        delete_retention: Duration::from_secs(3000),
        min_cleanable_dirty_ratio: 0.3,
        ..LogConfig::default()
    }
}

fn genuine_settings() -> String {
    format!(
        "log.segment.bytes={SEGMENT_BYTES}\nlog.index.interval.bytes={INDEX_INTERVAL}\n\
         log.index.size.max.bytes={INDEX_BYTES}\nlog.cleaner.delete.retention.ms=3000000\n\
         log.cleaner.min.cleanable.ratio=0.3\nlog.cleaner.io.buffer.size={IO_BUFFER}\n\
         log.cleaner.backoff.ms=100\nlog.cleanup.policy=compact\nlog.cleaner.enable=true\n"
    )
}

fn open(dir: &Path, config: LogConfig) -> Arc<LogManager> {
    let settings = ManagerSettings {
        cleaner: Some(CleanerSettings {
            io_buffer_bytes: IO_BUFFER,
            backoff: Duration::from_millis(10),
            ..CleanerSettings::default()
        }),
        ..ManagerSettings::default()
    };
    let manager = LogManager::open(
        &[dir.to_owned()],
        config,
        &HashMap::new(),
        settings,
        Clock::system(),
    );
    Arc::new(manager.unwrap())
}

/// The segments' files by name, without what waits for removal.
fn files(dir: &Path, topic: &str) -> BTreeMap<String, PathBuf> {
    let folder = dir.join(format!("{topic}-0"));
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|e| e.unwrap().path());
    let named = paths.map(|p| (p.file_name().unwrap().to_str().unwrap().to_owned(), p));
    named.filter(|(name, _)| !name.ends_with(".deleted")).collect()
}

fn topics(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let names = entries.filter_map(|e| e.unwrap().file_name().into_string().ok());
    let mut topics: Vec<String> = names
        .filter_map(|n| n.strip_suffix("-0").map(str::to_owned))
        .collect();
    topics.sort();
    topics
}

fn modified(path: &Path) -> u128 {
    let time = std::fs::metadata(path).unwrap().modified().unwrap();
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()
}

fn set_modified(path: &Path, time: SystemTime) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(time).unwrap();
}

/// Copies a data directory with its files' times.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
            set_modified(&target, std::fs::metadata(&path).unwrap().modified().unwrap());
        }
    }
}

/// A genuine broker on `dir/genuine-logs` that also tells when retention has looked at all logs.
fn genuine_broker(dir: &Path, id: u32, zookeeper: u16, settings: &str) -> Program {
    std::fs::create_dir_all(dir).unwrap();
    let log4j = dir.join("log4j.properties");
    std::fs::write(
        &log4j,
        "log4j.rootLogger=INFO, stdout\nlog4j.appender.stdout=org.apache.log4j.ConsoleAppender\n\
         log4j.appender.stdout.layout=org.apache.log4j.PatternLayout\n\
         log4j.appender.stdout.layout.ConversionPattern=%p %m (%c)%n\n\
         log4j.logger.kafka.log.LogManager=DEBUG\n",
    )
    .unwrap();
    let config = dir.join("server.properties");
    std::fs::write(
        &config,
        format!(
            "broker.id={id}\nlisteners=PLAINTEXT://127.0.0.1:{}\nlog.dirs={}\n\
             zookeeper.connect=127.0.0.1:{zookeeper}\nzookeeper.connection.timeout.ms=60000\n{settings}",
            free_port(),
            dir.join("genuine-logs").display()
        ),
    )
    .unwrap();
    let mut command = genuine::command(&["kafka-server-start", &config.display().to_string()]);
    command.env(
        "KAFKA_LOG4J_OPTS",
        format!("-Dlog4j.configuration=file:{}", log4j.display()),
    );
    Program::start(command)
}

type Points = BTreeMap<TopicPartition, i64>;

fn points(dir: &Path) -> Option<Points> {
    OffsetCheckpoint::new(dir.join(CHECKPOINT)).read().ok()
}

/// Compacts with our cleaner until its checkpoint says `expected`.
fn compact(dir: &Path, expected: &Points) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let compacted = LogConfig {
        compact: true,
        ..config()
    };
    let manager = open(dir, compacted);
    let stop = Shutdown::new();
    let threads = runtime.block_on(async { manager.start_cleaner(&stop.stop()) });
    wait_until("our cleaner is through", LIMIT, || {
        points(dir).as_ref() == Some(expected)
    });
    stop.ask();
    for thread in threads {
        runtime.block_on(thread).unwrap();
    }
    manager.shutdown().unwrap();
}

/// What lies around compressed bytes, and what is in them.
fn shape(set: &[u8]) -> Vec<String> {
    let show = |m: MessageRef<'_>| {
        let compressed = m.codec().unwrap() != Codec::None;
        let body = if compressed { m.key } else { m.value };
        format!("{} {} {} {:?} {body:?}", m.offset, m.magic, m.attributes, m.key)
    };
    SetIter::new(set).map(|m| show(m.unwrap())).collect()
}

#[track_caller]
fn same_files(topic: &str, theirs: &Path, ours: &Path) {
    let (expected, got) = (files(theirs, topic), files(ours, topic));
    assert!(
        got.keys().eq(expected.keys()),
        "{topic}: {:?} instead of {:?}",
        got.keys(),
        expected.keys()
    );
    let recompressed = !["plain", "large", "few", "markers", "clean", "gaps"].contains(&topic);
    // The last is the one that grows; neither touched it.
    let last = got.keys().next_back().unwrap().clone();
    for (name, path) in &got {
        let (a, b) = (
            std::fs::read(&expected[name]).unwrap(),
            std::fs::read(path).unwrap(),
        );
        // An index gets a new time whenever the genuine broker stops.
        if !name.starts_with(&last[..20]) && name.ends_with(".log") {
            assert_eq!(
                modified(path),
                modified(&expected[name]),
                "time of {topic} {name}"
            );
        }
        if a == b {
            continue;
        }
        assert!(
            recompressed,
            "{topic} {name}: {} bytes instead of {}",
            b.len(),
            a.len()
        );
        if name.ends_with(".index") {
            // A few bytes more or less before it decide whether an entry is due.
            assert!(b.len().abs_diff(a.len()) <= 16, "{topic} {name}");
        } else {
            assert_eq!(shape(&b), shape(&a), "{topic} {name}");
            let deep = |set: Vec<u8>| flatten(&Bytes::from(set), true).unwrap();
            assert_eq!(deep(b), deep(a), "{topic} {name}");
        }
    }
}

fn state(manager: &LogManager, topic: &str) -> BTreeMap<Bytes, (i64, Bytes)> {
    let log = manager.get(&TopicPartition::new(topic, 0)).unwrap();
    let mut state = BTreeMap::new();
    let mut offset = log.start_offset();
    while let Some(slice) = log.read(offset, 1 << 20, None).unwrap().slice {
        let mut bytes = vec![0; slice.len];
        kafka::util::fs::read_at(&slice.file, &mut bytes, slice.position).unwrap();
        for m in flatten(&bytes.into(), true).unwrap() {
            offset = m.offset + 1;
            let Some(key) = m.key else { continue };
            match m.value {
                Some(value) => state.insert(key, (m.offset, value)),
                None => state.remove(&key),
            };
        }
    }
    state
}

fn states(dir: &Path) -> BTreeMap<String, BTreeMap<Bytes, (i64, Bytes)>> {
    let manager = open(dir, config());
    let all = topics(dir).into_iter().map(|t| (t.clone(), state(&manager, &t)));
    let all = all.collect();
    manager.shutdown().unwrap();
    all
}

#[test]
fn compaction_and_retention_leave_what_the_genuine_broker_leaves() {
    need!(reference());
    let root = tempfile::tempdir().unwrap();
    let zookeeper = genuine::zookeeper(root.path());
    // Retention first: it does not look before half a minute has passed.
    let retention = root.path().join("retention");
    let input = retention.join("input");
    let kept = write_retained(&input);
    copy(&input, &retention.join("ours"));
    copy(&input, &retention.join("genuine-logs"));
    create_topics(zookeeper.port, &kept);
    let theirs = genuine_broker(&retention, retention::ID, zookeeper.port, &retention_settings());
    let ours = our_broker(&retention, &kept);
    compaction(root.path(), zookeeper.port);
    same_retention(&retention, &input, theirs, ours);
}

fn compaction(root: &Path, zookeeper: u16) {
    let input = root.join("input");
    write_input(&input);
    let begun = SystemTime::now() - Duration::from_secs(1_000_000);
    let mut expected = Points::new();
    for topic in topics(&input) {
        for (number, path) in (0..).zip(files(&input, &topic).values()) {
            set_modified(path, begun + Duration::from_secs(number / 2 * 1000));
        }
        let bases = files(&input, &topic);
        assert!(bases.len() > 8, "{topic} has segments");
        let last = bases.keys().next_back().unwrap()[..20].parse().unwrap();
        expected.insert(TopicPartition::new(&*topic, 0), last);
    }
    let given: Points = CLEAN_UP_TO
        .iter()
        .map(|(topic, near)| {
            let bases = files(&input, topic);
            let mut bases = bases.keys().map(|n| n[..20].parse::<i64>().unwrap());
            (TopicPartition::new(*topic, 0), bases.find(|b| b >= near).unwrap())
        })
        .collect();
    OffsetCheckpoint::new(input.join(CHECKPOINT))
        .write(&given)
        .unwrap();
    let clean = TopicPartition::new(CLEAN_UP_TO[0].0, 0);
    expected.insert(clean.clone(), given[&clean]);
    let before = states(&input);
    // Reading it left its own marks.
    std::fs::write(input.join(".kafka_cleanshutdown"), "").unwrap();
    let theirs = root.join("genuine-logs");
    let ours = root.join("ours");
    copy(&input, &theirs);
    copy(&input, &ours);

    let mut broker = genuine_broker(root, 0, zookeeper, &genuine_settings());
    compact(&ours, &expected);
    wait_for("the genuine cleaner is through", LIMIT, || {
        (points(&theirs)? == expected).then_some(())
    });
    broker.stop(LIMIT);
    assert!(!broker.printed().contains("Error due to"), "{}", broker.printed());

    for topic in topics(&input) {
        same_files(&topic, &theirs, &ours);
        let size = |dir: &Path| -> u64 {
            let all = files(dir, &topic);
            all.values().map(|p| std::fs::metadata(p).unwrap().len()).sum()
        };
        match &topic[..] {
            "clean" => assert_eq!(size(&ours), size(&input)),
            _ => assert!(size(&ours) < size(&input), "{topic} was compacted"),
        }
    }
    let checkpoint = |dir: &Path| {
        let text = std::fs::read_to_string(dir.join(CHECKPOINT)).unwrap();
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        // The genuine one writes in the order of its hash table.
        lines[2..].sort();
        lines
    };
    assert_eq!(checkpoint(&ours), checkpoint(&theirs));
    for dir in [&ours, &theirs] {
        for (topic, state) in states(dir) {
            let lost: Vec<_> = before[&topic]
                .iter()
                .filter(|(k, v)| state.get(*k) != Some(*v))
                .collect();
            assert!(lost.is_empty(), "{topic} in {}: {lost:?}", dir.display());
            assert_eq!(state.len(), before[&topic].len(), "{topic} in {}", dir.display());
        }
    }
    let deleted = |file: &Path| {
        let set = std::fs::read(file).unwrap();
        SetIter::new(&set)
            .filter(|m| m.as_ref().unwrap().value.is_none())
            .count()
    };
    let markers = files(&ours, "markers");
    let mut logs = markers.values().filter(|p| p.extension().unwrap() == "log");
    assert_eq!(deleted(logs.next().unwrap()), 0, "too old to be kept");
    assert!(logs.any(|p| deleted(p) > 10), "kept still");
    dump(&ours);
}

/// Both dump tools agree on what we left.
fn dump(ours: &Path) {
    let paths = |suffix: &str| {
        let all = topics(ours)
            .into_iter()
            .flat_map(|t| files(ours, &t).into_values());
        let some = all.filter(|p| p.to_str().unwrap().ends_with(suffix));
        // An empty index has nothing to say.
        let some = some.filter(|p| std::fs::metadata(p).unwrap().len() > 0);
        let names: Vec<String> = some.map(|p| p.display().to_string()).collect();
        names.join(",")
    };
    let all = format!("{},{}", paths(".log"), paths(".index"));
    let arguments = ["--deep-iteration", "--print-data-log", "--files", &all];
    let (theirs, ours) = (genuine_dump(&arguments), our_dump(&arguments));
    let (expected, got) = (text(&theirs.stdout), text(&ours.stdout));
    for (got, expected) in got.lines().zip(expected.lines()) {
        assert_eq!(got, expected);
    }
    assert_eq!(got.len(), expected.len());
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
        assert!(got.contains(codec.name()) || codec != Codec::None);
    }
    // About gaps: the genuine one tells of the files in the order of its hash table.
    let sorted = |bytes: &[u8]| {
        let mut lines: Vec<String> = text(bytes).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let told = sorted(&ours.stderr);
    assert_eq!(told, sorted(&theirs.stderr));
    assert!(told.iter().all(|l| !l.contains("Mismatches")), "{told:?}");
}
