//! The promise: what our broker leaves of a log when it compacts it, or when it drops what is too old or too
//! much, is what Kafka 0.9.0.1 leaves. Both get the same data directory; afterwards files, their times and
//! the cleaner's checkpoint are compared.
//!
//! Plain messages, and wrappers of which everything is kept, are the same byte by byte, and so are the indexes.
//! A wrapper that lost messages is compressed anew, and compressors differ in their bytes: of those the content
//! and all around it is compared.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use kafka::cluster::TopicPartition;
use kafka::config::LogConfig;
use kafka::log::{CleanerSettings, Log, LogManager, ManagerSettings, OffsetCheckpoint};
use kafka::message::builder::put_entry;
use kafka::message::{Codec, MessageRef, SetBuilder, SetIter, flatten};
use kafka::util::clock::Clock;
use kafka::util::shutdown::Shutdown;

use crate::log_bytes::{genuine_dump, our_dump};
use crate::support::program::{Program, kafka as kafka_program, run, text};
use crate::support::wire::{Wire, set, wait_leaders};
use crate::support::{free_port, genuine, ours, reference, wait_for, wait_until};

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

/// The same numbers for everybody.
struct Random(u32);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % n
    }

    fn value(&mut self, most: u32) -> Vec<u8> {
        (0..self.below(most))
            .map(|_| b' ' + self.below(90) as u8)
            .collect()
    }
}

struct Writer {
    log: Arc<Log>,
    random: Random,
}

impl Writer {
    /// Appends a set of keyed messages; one value in `deleted` is null, if that is not 0.
    fn put(&mut self, codec: Codec, count: u32, keys: u32, most: u32, deleted: u32) {
        let mut builder = SetBuilder::new(codec, usize::MAX);
        for _ in 0..count {
            let key = format!("key {}", self.random.below(keys));
            let value = self.random.value(most);
            let gone = deleted > 0 && self.random.below(deleted) == 0;
            assert!(builder.append(Some(key.as_bytes()), (!gone).then_some(&value[..])));
        }
        self.append(&builder.finish());
    }

    fn append(&self, set: &Bytes) {
        let now = Clock::system().wall();
        self.log.append_as_leader(BytesMut::from(&set[..]), now).unwrap();
    }
}

/// Writes the input: a topic for each rule.
fn write_input(dir: &Path) {
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
    write_retained(&retention.join("ours"));
    copy(&retention.join("ours"), &retention.join("genuine-logs"));
    let retaining = genuine_broker(&retention, 1, zookeeper.port, &retention_settings());
    compaction(root.path(), zookeeper.port);
    same_retention(&retention, retaining);
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

/// Half of what a topic of [`write_retained`] may hold.
const RETAINED_BYTES: i64 = 20_000;

fn retention_settings() -> String {
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

fn write_retained(dir: &Path) {
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

fn same_retention(dir: &Path, mut broker: Program) {
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

/// A broker of ours that compacts at once, and what is done to it from outside.
struct Live {
    dir: PathBuf,
    connect: String,
    port: u16,
    broker: ours::Server,
    /// What was acknowledged, by key.
    expected: BTreeMap<String, String>,
    sent: u32,
}

const LIVE: &str = "log.segment.bytes=1000\nlog.cleaner.backoff.ms=50\nlog.cleaner.min.cleanable.ratio=0.1\n\
                    log.cleaner.threads=2\nlog.segment.delete.delay.ms=100\ndelete.topic.enable=true";

impl Live {
    fn configure(&self, change: &str) {
        let mut command = kafka_program();
        command.args(["kafka-configs", "--zookeeper", &self.connect, "--alter"]);
        command.args([
            "--entity-type",
            "topics",
            "--entity-name",
            "t",
            "--add-config",
            change,
        ]);
        let out = run(command, b"", LIMIT);
        assert!(out.status.success(), "{}", text(&out.stderr));
    }

    fn wire(&self) -> Wire {
        Wire::connect(self.port, LIMIT).unwrap()
    }

    fn send(&mut self, keys: u32, count: u32) {
        let mut wire = self.wire();
        for _ in 0..count {
            self.sent += 1;
            let (key, value) = (format!("k{}", self.sent % keys), format!("{}", self.sent));
            let mut builder = SetBuilder::new(Codec::Gzip, usize::MAX);
            assert!(builder.append(Some(key.as_bytes()), Some(value.as_bytes())));
            assert_eq!(wire.produce("t", 0, builder.finish(), 1).unwrap().0, 0);
            self.expected.insert(key, value);
        }
    }

    fn messages(&self) -> Vec<kafka::message::Message> {
        // A broker that has just started is told a little later what it leads.
        wait_for("the partition is served", LIMIT, || {
            self.wire().read_all("t", 0, 0).ok()
        })
    }

    fn check(&self) {
        let mut state = BTreeMap::new();
        for m in self.messages() {
            let text = |b: &Bytes| String::from_utf8(b.to_vec()).unwrap();
            if let (Some(key), Some(value)) = (&m.key, &m.value) {
                state.insert(text(key), text(value));
            }
        }
        assert_eq!(state, self.expected);
    }

    /// Waits until all but the segment that grows is clean.
    fn until_clean(&self) -> i64 {
        wait_for("all is clean", LIMIT, || {
            let logs = self.dir.join("kafka-logs");
            let cleaned = points(&logs)?.get(&TopicPartition::new("t", 0)).copied()?;
            let last = files(&logs, "t").into_keys().rfind(|n| n.ends_with(".log"))?;
            (last[..20].parse() == Ok(cleaned)).then_some(cleaned)
        })
    }
}

#[test]
fn a_running_broker_compacts_topics_as_their_policy_says_and_survives_kills() {
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let connect = format!("127.0.0.1:{}", zookeeper.port);
    let port = free_port();
    let mut live = Live {
        broker: ours::broker_on(dir.path(), &connect, port, LIVE),
        dir: dir.path().to_owned(),
        connect: connect.clone(),
        port,
        expected: BTreeMap::new(),
        sent: 0,
    };
    wait_leaders(port, "t", LIMIT);
    live.send(20, 300);
    assert_eq!(live.messages().len(), 300);
    live.configure("cleanup.policy=compact");
    let clean = live.until_clean();
    live.check();
    assert!(live.messages().len() < 60);

    let log = dir.path().join("logs/log-cleaner.log");
    let report = format!("\tLog cleaner thread 0 cleaned log t-0 (dirty section = [0, {clean}])");
    let either = [report.clone(), report.replace("thread 0", "thread 1")];
    wait_until("the report is in log-cleaner.log", LIMIT, || {
        let told = std::fs::read_to_string(&log).unwrap_or_default();
        told.lines().any(|l| either.iter().any(|e| e == l))
            && told.contains(": Beginning cleaning of log t-0.")
    });

    // Killed while it compacts, again and again.
    for _ in 0..3 {
        live.send(20, 300);
        live.broker.program.kill();
        live.broker = ours::broker_on(dir.path(), &connect, port, LIVE);
        wait_leaders(port, "t", LIMIT);
        live.check();
    }
    live.until_clean();
    live.check();

    // As long as the policy is another, what has no key is taken, and stays until it is switched back.
    live.configure("cleanup.policy=delete");
    let keyless = set(Codec::None, &[b"without a key"]);
    wait_until("messages without a key are taken", LIMIT, || {
        live.wire().produce("t", 0, keyless.clone(), 1).unwrap().0 == 0
    });
    live.send(20, 50);
    let without_key = |live: &Live| live.messages().iter().filter(|m| m.key.is_none()).count();
    assert_eq!(without_key(&live), 1);
    live.configure("cleanup.policy=compact");
    wait_until("they are dropped", LIMIT, || without_key(&live) == 0);
    live.check();

    // Deleted while there is much to compact.
    live.send(3, 200);
    let mut command = kafka_program();
    command.args([
        "kafka-topics",
        "--zookeeper",
        &live.connect,
        "--delete",
        "--topic",
        "t",
    ]);
    assert!(run(command, b"", LIMIT).status.success());
    let logs = dir.path().join("kafka-logs");
    wait_until("the topic is gone", LIMIT, || !logs.join("t-0").exists());
    wait_until("the checkpoint forgets it", LIMIT, || {
        points(&logs).is_some_and(|p| !p.contains_key(&TopicPartition::new("t", 0)))
    });
    live.broker.program.stop(LIMIT);
}
