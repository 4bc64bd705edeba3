//! Load that makes a broker rename, replace and remove files all the time: messages that roll, live for a
//! second and are compacted, and topics that are made, filled and deleted; with readers in all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka::admin::{self, Settings};
use kafka::message::{Codec, SetBuilder};
use kafka::util::clock::Clock;
use kafka::zookeeper::{Session, SessionSettings};
use tokio::runtime::Runtime;

use super::{Site, fetch_of};
use crate::support::program::text;
use crate::support::wine::{LIMIT, Package, windows_path};
use crate::support::wire::{Wire, set, wait_leaders};
use crate::support::{wait_for, wait_until};

/// Bytes of a message that is only there to be deleted.
const BULK: usize = 1000;
/// Keys of the compacted topic.
const KEYS: u64 = 50;
/// Pause between two requests of a kind: the machine has other things to do.
const PACE: Duration = Duration::from_millis(10);

/// What the clients have done, and whether they are to go on.
#[derive(Default)]
pub struct Load {
    end: AtomicBool,
    /// Messages of `rolled` that were acknowledged.
    pub rolled: AtomicU64,
    /// Messages of `compacted` that were acknowledged; message n has key n % KEYS and value n.
    pub compacted: AtomicU64,
    /// Numbers of `kept` that were acknowledged.
    pub kept: AtomicU64,
    /// Reads in `rolled`.
    pub reads: AtomicU64,
    /// How often a topic was made, filled, deleted, made and deleted.
    pub deleted: AtomicU64,
    /// What did not succeed at once, the first few of it.
    pub trouble: Mutex<Vec<String>>,
}

/// Ends the load when dropped, however that comes.
pub struct End<'a>(pub &'a Load);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end.store(true, Ordering::Relaxed);
    }
}

/// A user of ZooKeeper on Linux, who makes and deletes topics without a tool's start.
pub struct Operator {
    runtime: Runtime,
    session: Session,
}

impl Operator {
    /// Connected.
    pub fn new(site: &Site) -> Operator {
        let runtime = Runtime::new().expect("threads can be had");
        let settings = SessionSettings {
            session_timeout: Duration::from_secs(30),
            connection_timeout: LIMIT,
        };
        let connect = format!("127.0.0.1:{}", site.zookeeper_port);
        let session = runtime
            .block_on(Session::connect(&connect, settings, Clock::system()))
            .expect("ZooKeeper serves");
        Operator { runtime, session }
    }

    /// Makes a topic with one partition.
    pub fn create(&self, topic: &str, settings: &[(&str, &str)]) -> Result<(), String> {
        let settings: Settings = settings
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        self.runtime
            .block_on(admin::create_topic(&self.session, topic, 1, 1, &settings))
            .map(drop)
            .map_err(|e| e.to_string())
    }

    /// Marks a topic to be deleted.
    pub fn delete(&self, topic: &str) -> Result<(), String> {
        self.runtime
            .block_on(admin::delete_topic(&self.session, topic))
            .map_err(|e| e.to_string())
    }

    /// The topics, those to be deleted too.
    pub fn topics(&self) -> Result<Vec<String>, String> {
        self.runtime
            .block_on(admin::topics(&self.session))
            .map_err(|e| e.to_string())
    }
}

impl Load {
    /// Starts all of it in threads that end when this load does.
    pub fn start<'s>(
        &'s self,
        scope: &'s std::thread::Scope<'s, '_>,
        site: &'s Site,
        operator: &'s Operator,
    ) {
        let port = site.port;
        scope.spawn(move || self.produce(port, "rolled", &self.rolled, bulk));
        scope.spawn(move || self.produce(port, "compacted", &self.compacted, keyed));
        scope.spawn(move || self.produce(port, "kept", &self.kept, number));
        scope.spawn(move || self.read(port));
        scope.spawn(move || self.make_and_delete(port, operator));
    }

    /// What is counted.
    pub fn counts(&self) -> [u64; 5] {
        [
            &self.rolled,
            &self.compacted,
            &self.kept,
            &self.reads,
            &self.deleted,
        ]
        .map(|count| count.load(Ordering::Relaxed))
    }

    fn goes_on(&self) -> bool {
        !self.end.load(Ordering::Relaxed)
    }

    fn trouble(&self, what: String) {
        let mut trouble = self.trouble.lock().expect("nobody panicked");
        if trouble.len() < 20 {
            trouble.push(what);
        }
    }

    /// Produces what `next` makes of the count so far, again until it is acknowledged, until the end.
    fn produce(&self, port: u16, topic: &str, count: &AtomicU64, next: impl Fn(u64) -> (Bytes, u64)) {
        let mut connection: Option<Wire> = None;
        while self.goes_on() {
            std::thread::sleep(PACE);
            let Some(wire) = &mut connection else {
                connection = Wire::connect(port, Duration::from_secs(30)).ok();
                continue;
            };
            let (records, more) = next(count.load(Ordering::Relaxed));
            match wire.produce(topic, 0, records, 1) {
                Ok((0, _)) => drop(count.fetch_add(more, Ordering::Relaxed)),
                Ok((error, _)) => self.trouble(format!("a produce to {topic}: error {error}")),
                Err(error) => {
                    self.trouble(format!("a produce to {topic}: {error}"));
                    connection = None;
                }
            }
        }
    }

    /// Reads in `rolled`, from its beginning as soon as that has moved on.
    fn read(&self, port: u16) {
        let (mut connection, mut offset): (Option<Wire>, i64) = (None, 0);
        while self.goes_on() {
            std::thread::sleep(PACE);
            let Some(wire) = &mut connection else {
                connection = Wire::connect(port, Duration::from_secs(30)).ok();
                continue;
            };
            let read = wire
                .fetch("rolled", 0, offset, 100)
                .and_then(|answer| match answer {
                    (0, _, _) => Ok(offset + 20),
                    // Retention has taken it.
                    (1, _, _) => Ok(wire.offset_at("rolled", 0, -2)?.pop().unwrap_or(0)),
                    (error, _, _) => Err(format!("error {error}")),
                });
            match read {
                Ok(next) => {
                    offset = next;
                    self.reads.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    self.trouble(format!("a read: {error}"));
                    connection = None;
                }
            }
        }
    }

    fn make_and_delete(&self, port: u16, operator: &Operator) {
        while self.goes_on() {
            // Now the cleaner is at work in it, now retention.
            let compacted = self.deleted.load(Ordering::Relaxed).is_multiple_of(2);
            match make_and_delete_once(port, operator, compacted) {
                Ok(()) => drop(self.deleted.fetch_add(1, Ordering::Relaxed)),
                Err(error) => self.trouble(format!("make and delete: {error}")),
            }
        }
    }
}

/// Makes a topic, fills it, lets somebody read in it who does not come to an end, deletes it; makes it anew
/// under that name while the old file is open still, and deletes it.
fn make_and_delete_once(port: u16, operator: &Operator, compacted: bool) -> Result<(), String> {
    // It is there already if the broker died before it was deleted, and being deleted perhaps.
    let large: &[(&str, &str)] = &[("segment.bytes", "600000"), ("file.delete.delay.ms", "1000")];
    let own = [large, if compacted { COMPACT } else { SECOND }].concat();
    let _ = operator.create("gone", &own);
    let mut wire = Wire::connect(port, Duration::from_secs(30))?;
    let bulk = vec![7; 500_000];
    let mut stored = 0;
    until("it is filled", || {
        let mut builder = SetBuilder::new(Codec::None, 1 << 20);
        assert!(builder.append(Some(b"key"), Some(&bulk)));
        match wire.produce("gone", 0, builder.finish(), 1)?.0 {
            0 => stored += 1,
            // Its leader is not told yet, or it was on its way out before a broker that died.
            _ => drop(operator.create("gone", &own)),
        }
        Ok(stored == 4)
    })?;
    // More than sockets hold: the file stays open in the broker until the reader goes.
    let mut reader = Wire::connect(port, Duration::from_secs(30))?;
    reader.send(&fetch_of("gone", 2_000_000), 1)?;
    operator.delete("gone")?;
    let gone = || Ok(!operator.topics()?.iter().any(|topic| topic == "gone"));
    until("it is deleted", gone)?;
    operator.create("gone", &own)?;
    until("it is made again", || {
        let mut builder = SetBuilder::new(Codec::None, 1 << 20);
        assert!(builder.append(Some(b"key"), Some(b"new")));
        Ok(wire.produce("gone", 0, builder.finish(), 1)?.0 == 0)
    })?;
    let first = wire
        .read_all("gone", 0, 0)
        .map_err(|e| format!("the first: {e}"))?;
    if first[0].value.as_deref() != Some(&b"new"[..]) {
        return Err("there is something of the old topic".to_owned());
    }
    drop(reader);
    operator.delete("gone")?;
    until("it is deleted again", gone)
}

fn until(what: &str, mut condition: impl FnMut() -> Result<bool, String>) -> Result<(), String> {
    let end = Instant::now() + LIMIT;
    while !condition().map_err(|e| format!("until {what}: {e}"))? {
        if Instant::now() > end {
            return Err(format!("not within {LIMIT:?}: {what}"));
        }
        std::thread::sleep(PACE);
    }
    Ok(())
}

fn bulk(_: u64) -> (Bytes, u64) {
    (set(Codec::None, &[&[5; BULK][..]; 20]), 20)
}

fn keyed(n: u64) -> (Bytes, u64) {
    let mut builder = SetBuilder::new(Codec::None, 1 << 20);
    for n in n..n + 20 {
        let (key, value) = ((n % KEYS).to_string(), format!("{n:0>200}"));
        assert!(builder.append(Some(key.as_bytes()), Some(value.as_bytes())));
    }
    (builder.finish(), 20)
}

fn number(n: u64) -> (Bytes, u64) {
    (set(Codec::None, &[n.to_string().as_bytes()]), 1)
}

const OFTEN: &[(&str, &str)] = &[("segment.bytes", "65536"), ("file.delete.delay.ms", "1000")];
const SECOND: &[(&str, &str)] = &[("retention.ms", "1000")];
const COMPACT: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("min.cleanable.dirty.ratio", "0.01"),
];

/// The topics of the load, and an operator for more.
pub fn make_topics(site: &Site) -> Operator {
    let operator = Operator::new(site);
    for (topic, settings) in [
        ("kept", vec![("segment.bytes", "65536")]),
        ("rolled", [OFTEN, SECOND].concat()),
        ("compacted", [OFTEN, COMPACT].concat()),
    ] {
        operator.create(topic, &settings).expect("a new topic");
        wait_leaders(site.port, topic, LIMIT);
    }
    operator
}

/// Settings by which all of it happens often, in folders beyond the 260 characters of old Windows programs,
/// whose names are spelled as people spell them; returns the log directory.
pub fn configure(package: &Package) -> PathBuf {
    let deep = format!(
        "{}/größe 三",
        ["a folder of forty characters or nearly so"; 6].join("/")
    );
    let data = package.plain().join(deep);
    let log_dir = data.join("kafka");
    let zookeeper = windows_path(&data.join("zookeeper"));
    package.set("zookeeper.properties", "dataDir", &zookeeper);
    package.set("server.properties", "log.dirs", &windows_path(&log_dir));
    for (key, value) in [
        ("delete.topic.enable", "true"),
        ("log.cleaner.enable", "true"),
        ("log.cleaner.backoff.ms", "100"),
        ("log.cleaner.dedupe.buffer.size", "16777216"),
        ("log.retention.check.interval.ms", "500"),
        ("log.flush.offset.checkpoint.interval.ms", "1000"),
        ("replica.high.watermark.checkpoint.interval.ms", "500"),
        ("log.index.interval.bytes", "1024"),
    ] {
        package.set("server.properties", key, value);
    }
    log_dir
}

/// Segments of a partition.
pub fn segments(log_dir: &Path, partition: &str) -> usize {
    let entries = std::fs::read_dir(log_dir.join(partition))
        .into_iter()
        .flatten()
        .flatten();
    let is_log = |e: &std::fs::DirEntry| e.file_name().to_string_lossy().ends_with(".log");
    entries.filter(is_log).count()
}

/// Waits until retention has taken something more of `rolled`, looking at something else all the while.
#[track_caller]
pub fn wait_retention(port: u16, mut look: impl FnMut()) {
    let earliest = || {
        let mut wire = Wire::connect(port, LIMIT).ok()?;
        wire.offset_at("rolled", 0, -2).ok()?.pop()
    };
    let before = wait_for("an earliest offset", LIMIT, earliest);
    wait_until("retention takes the oldest", LIMIT, || {
        look();
        earliest().is_some_and(|now| now > before)
    });
}

/// What the load has left, once it has ended: every number that was acknowledged is in `kept`, `rolled` has
/// one segment, and `compacted` the last value of each key with less than half of what was written.
#[track_caller]
pub fn check(site: &Site, log_dir: &Path, load: &Load) {
    wait_until("retention leaves one segment", LIMIT, || {
        segments(log_dir, "rolled-0") == 1
    });
    check_kept(site, load.kept.load(Ordering::Relaxed));
    let written = load.compacted.load(Ordering::Relaxed);
    wait_until("compaction takes most of what is superseded", LIMIT, || {
        check_compacted(site, written) * 2 < written
    });
}

/// Every number that was acknowledged is there, in order of first appearance.
#[track_caller]
pub fn check_kept(site: &Site, acknowledged: u64) {
    // A broker that was started just now is told soon that it leads.
    let read = || Wire::connect(site.port, LIMIT).ok()?.read_all("kept", 0, 0).ok();
    let all = wait_for("kept can be read", LIMIT, read);
    let mut next = 0;
    for message in all {
        let number: u64 = text(&message.value.expect("a number")).parse().expect("a number");
        assert!(number <= next, "{number} came before {next}");
        next = next.max(number + 1);
    }
    assert!(
        next >= acknowledged,
        "{acknowledged} were acknowledged, {next} are there"
    );
}

/// The last value of every key is there; returns how many messages are.
#[track_caller]
fn check_compacted(site: &Site, acknowledged: u64) -> u64 {
    let mut wire = Wire::connect(site.port, LIMIT).expect("the broker serves");
    let first = wire.offset_at("compacted", 0, -2).expect("an offset")[0];
    let all = wire.read_all("compacted", 0, first).expect("it can be read");
    let mut last = BTreeMap::new();
    for message in &all {
        let value: u64 = text(message.value.as_deref().expect("a value"))
            .parse()
            .expect("a number");
        last.insert(text(message.key.as_deref().expect("a key")), value);
    }
    for n in acknowledged.saturating_sub(KEYS)..acknowledged {
        let found = last.get(&(n % KEYS).to_string()).copied();
        assert!(found >= Some(n), "key {}: {found:?} instead of {n}", n % KEYS);
    }
    u64::try_from(all.len()).expect("few")
}
