//! Files that are renamed, replaced and removed while others write and read them: rolling, retention,
//! compaction, deletion of topics and making them anew, a broker that dies in the middle of it.
//!
//! `WINDOWS_SOAK_SECONDS` says how long the load goes on; an hour of it was run for docs/windows.md.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kafka::message::{Codec, SetBuilder};

use super::{Site, leftovers, wait_clean};
use crate::support::program::{launcher, run, text};
use crate::support::wine::{LIMIT, Package, windows_path};
use crate::support::wire::{Wire, set, wait_leaders};
use crate::support::{wait_for, wait_until};

/// Bytes of a message that is only there to be deleted.
const BULK: usize = 1000;
/// Keys of the compacted topic.
const KEYS: u64 = 50;
/// Pause between two produces: the machine has other things to do.
const PACE: Duration = Duration::from_millis(10);

/// What the producers have done.
#[derive(Default)]
struct Load {
    end: AtomicBool,
    /// Messages of `rolled` that were acknowledged.
    rolled: AtomicU64,
    /// Messages of `compacted` that were acknowledged; message n has key n % KEYS and value n.
    compacted: AtomicU64,
    /// Numbers of `kept` that were acknowledged.
    kept: AtomicU64,
    /// How often a topic was deleted.
    deleted: AtomicU64,
}

impl Load {
    /// Produces what `next` makes of the count so far, again until it is acknowledged, until the end.
    fn produce(&self, port: u16, topic: &str, count: &AtomicU64, next: impl Fn(u64) -> (bytes::Bytes, u64)) {
        let mut connection: Option<Wire> = None;
        while !self.end.load(Ordering::Relaxed) {
            std::thread::sleep(PACE);
            let Some(wire) = &mut connection else {
                connection = Wire::connect(port, Duration::from_secs(10)).ok();
                continue;
            };
            let (records, more) = next(count.load(Ordering::Relaxed));
            match wire.produce(topic, 0, records, 1) {
                Ok((0, _)) => drop(count.fetch_add(more, Ordering::Relaxed)),
                Ok(_) => {}
                Err(_) => connection = None,
            }
        }
    }

    /// Makes a topic, fills it, lets somebody read in it who does not come to an end, deletes it; again
    /// and again under the same name.
    fn make_and_delete(&self, site: &Site) {
        while !self.end.load(Ordering::Relaxed) {
            if self.make_and_delete_once(site).is_ok() {
                self.deleted.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn make_and_delete_once(&self, site: &Site) -> Result<(), String> {
        let ours = |words: &str| {
            let mut command = launcher("kafka-topics");
            command
                .args(["--zookeeper", &site.connect()])
                .args(words.split(' '));
            let out = run(command, b"", LIMIT);
            match out.status.success() {
                true => Ok(text(&out.stdout)),
                false => Err(text(&out.stdout) + &text(&out.stderr)),
            }
        };
        // It is there already if the broker died before it was deleted.
        let _ = ours("--create --topic gone --partitions 1 --replication-factor 1");
        let mut wire = Wire::connect(site.port, Duration::from_secs(30))?;
        let bulk = vec![7; 500_000];
        let full = Instant::now() + LIMIT;
        let mut stored = 0;
        while stored < 4 {
            match wire.produce("gone", 0, set(Codec::None, &[&bulk]), 1)? {
                (0, _) => stored += 1,
                // Its leader is not told yet.
                _ if Instant::now() < full => std::thread::sleep(PACE),
                (error, _) => return Err(format!("error {error}")),
            }
        }
        // More than sockets hold: the file stays open in the broker until the reader goes.
        let mut reader = Wire::connect(site.port, Duration::from_secs(30))?;
        reader.send(&super::fetch_of("gone", 2_000_000), 1)?;
        ours("--delete --topic gone")?;
        let gone = Instant::now() + LIMIT;
        while ours("--list")?.lines().any(|line| line.starts_with("gone")) {
            if Instant::now() > gone {
                return Err("it is not deleted".to_owned());
            }
        }
        // Made again while the old file is open still.
        ours("--create --topic gone --partitions 1 --replication-factor 1")?;
        let ready = Instant::now() + LIMIT;
        while wire.produce("gone", 0, set(Codec::None, &[b"new"]), 1)?.0 != 0 {
            if Instant::now() > ready {
                return Err("it is not made again".to_owned());
            }
            std::thread::sleep(PACE);
        }
        let first = wire.read_all("gone", 0, 0)?;
        assert_eq!(
            first[0].value.as_deref(),
            Some(&b"new"[..]),
            "nothing of the old topic"
        );
        drop(reader);
        ours("--delete --topic gone").map(drop)
    }
}

fn bulk(_: u64) -> (bytes::Bytes, u64) {
    (set(Codec::None, &[&[5; BULK][..]; 20]), 20)
}

fn keyed(n: u64) -> (bytes::Bytes, u64) {
    let mut builder = SetBuilder::new(Codec::None, 1 << 20);
    for n in n..n + 20 {
        let (key, value) = ((n % KEYS).to_string(), format!("{n:0>200}"));
        assert!(builder.append(Some(key.as_bytes()), Some(value.as_bytes())));
    }
    (builder.finish(), 20)
}

fn number(n: u64) -> (bytes::Bytes, u64) {
    (set(Codec::None, &[n.to_string().as_bytes()]), 1)
}

fn segments(log_dir: &Path, partition: &str) -> usize {
    let entries = std::fs::read_dir(log_dir.join(partition))
        .into_iter()
        .flatten()
        .flatten();
    let is_log = |e: &std::fs::DirEntry| e.file_name().to_string_lossy().ends_with(".log");
    entries.filter(is_log).count()
}

/// The topics of the load.
fn make_topics(package: &Package, site: &Site) {
    let often = "--config segment.bytes=65536 --config file.delete.delay.ms=1000";
    for (topic, how) in [
        ("kept", "--config segment.bytes=65536".to_owned()),
        ("rolled", format!("--config retention.ms=1000 {often}")),
        (
            "compacted",
            format!("--config cleanup.policy=compact --config min.cleanable.dirty.ratio=0.01 {often}"),
        ),
    ] {
        let line = format!(
            "--create --zookeeper {} --replication-factor 1 --partitions 1 --topic {topic} {how}",
            site.connect()
        );
        let words: Vec<&str> = line.split(' ').collect();
        let made = package.run("kafka-topics", &words, b"");
        assert!(made.status.success(), "{}", text(&made.stdout));
        wait_leaders(site.port, topic, LIMIT);
    }
}

#[test]
fn a_broker_that_rolls_compacts_and_deletes_all_the_time_lives_and_leaves_nothing_behind() {
    let site = Site::new(need!(Package::unpack()));
    let package = &site.package;
    // Beyond the 260 characters of old Windows programs, and spelled as people spell it.
    let deep = format!(
        "{}/größe 三",
        ["a folder of forty characters, or nearly"; 6].join("/")
    );
    let data = package.plain().join(deep);
    let log_dir = data.join("kafka");
    package.set(
        "zookeeper.properties",
        "dataDir",
        &windows_path(&data.join("zookeeper")),
    );
    package.set("server.properties", "log.dirs", &windows_path(&log_dir));
    for (key, value) in [
        ("delete.topic.enable", "true"),
        ("log.cleaner.enable", "true"),
        ("log.cleaner.backoff.ms", "500"),
        ("log.cleaner.dedupe.buffer.size", "16777216"),
        ("log.retention.check.interval.ms", "500"),
        ("log.flush.offset.checkpoint.interval.ms", "1000"),
        ("replica.high.watermark.checkpoint.interval.ms", "500"),
        ("log.index.interval.bytes", "1024"),
    ] {
        package.set("server.properties", key, value);
    }
    let soak = std::env::var("WINDOWS_SOAK_SECONDS").ok();
    let soak = Duration::from_secs(soak.map_or(0, |s| s.parse().expect("a number of seconds")));
    let mut servers = site.start();
    make_topics(package, &site);

    let load = Load::default();
    std::thread::scope(|scope| {
        let load = &load;
        let port = site.port;
        scope.spawn(move || load.produce(port, "rolled", &load.rolled, bulk));
        scope.spawn(move || load.produce(port, "compacted", &load.compacted, keyed));
        scope.spawn(move || load.produce(port, "kept", &load.kept, number));
        scope.spawn(|| load.make_and_delete(&site));
        // However this ends, the producers do.
        let _end = End(load);

        let going_on = |servers: &mut super::Servers| {
            let counts = [&load.rolled, &load.compacted, &load.kept, &load.deleted];
            let before = counts.map(|c| c.load(Ordering::Relaxed));
            wait_until("all of the load goes on", LIMIT, || {
                let running = servers.broker.program.is_running();
                assert!(running, "the broker died: {}", servers.broker.program.printed());
                counts
                    .iter()
                    .zip(before)
                    .all(|(c, b)| c.load(Ordering::Relaxed) > b)
            });
        };
        let retained = |servers: &mut super::Servers| {
            let earliest = || {
                Wire::connect(port, LIMIT)
                    .ok()?
                    .offset_at("rolled", 0, -2)
                    .ok()?
                    .pop()
            };
            let before = wait_for("an earliest offset", LIMIT, earliest);
            wait_until("retention takes the oldest", LIMIT, || {
                assert!(
                    servers.broker.program.is_running(),
                    "{}",
                    servers.broker.program.printed()
                );
                earliest().is_some_and(|now| now > before)
            });
        };
        going_on(&mut servers);
        retained(&mut servers);
        for _ in 0..2 {
            servers.broker.kill();
            servers.broker = site.start_broker();
            going_on(&mut servers);
        }
        retained(&mut servers);
        let end = Instant::now() + soak;
        while Instant::now() < end {
            going_on(&mut servers);
            let left = end.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(Duration::from_secs(1)));
        }
    });

    // The topic that was made last may be on its way out, or never have been.
    wait_until("retention leaves one segment", LIMIT, || {
        segments(&log_dir, "rolled-0") == 1
    });
    check_kept(&site, load.kept.load(Ordering::Relaxed));
    wait_until("compaction takes most of what is superseded", LIMIT, || {
        let left = check_compacted(&site, load.compacted.load(Ordering::Relaxed));
        left * 2 < load.compacted.load(Ordering::Relaxed)
    });
    wait_clean(&log_dir, LIMIT);
    servers.broker.interrupt();
    assert!(log_dir.join(".kafka_cleanshutdown").exists());
    servers.broker = site.start_broker();
    let said = servers.broker.program.printed();
    assert!(!said.contains("Recovering unflushed segment"), "{said}");
    check_kept(&site, load.kept.load(Ordering::Relaxed));
    servers.broker.interrupt();
    servers.zookeeper.interrupt();
    assert_eq!(leftovers(&log_dir), Vec::<std::path::PathBuf>::new());
    eprintln!(
        "messages: {} rolled, {} compacted, {} kept; {} deletions",
        load.rolled.load(Ordering::Relaxed),
        load.compacted.load(Ordering::Relaxed),
        load.kept.load(Ordering::Relaxed),
        load.deleted.load(Ordering::Relaxed)
    );
}

/// Ends the load when dropped.
struct End<'a>(&'a Load);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end.store(true, Ordering::Relaxed);
    }
}

/// Every number that was acknowledged is there, in order of first appearance.
fn check_kept(site: &Site, acknowledged: u64) {
    let all = Wire::connect(site.port, LIMIT)
        .unwrap()
        .read_all("kept", 0, 0)
        .unwrap();
    let mut next = 0;
    for message in all {
        let number: u64 = text(&message.value.unwrap()).parse().unwrap();
        assert!(number <= next, "{number} came before {next}");
        next = next.max(number + 1);
    }
    assert!(
        next >= acknowledged,
        "{acknowledged} were acknowledged, {next} are there"
    );
}

/// The last value of every key is there; returns how many messages are.
fn check_compacted(site: &Site, acknowledged: u64) -> u64 {
    let first = Wire::connect(site.port, LIMIT)
        .unwrap()
        .offset_at("compacted", 0, -2)
        .unwrap()[0];
    let all = Wire::connect(site.port, LIMIT)
        .unwrap()
        .read_all("compacted", 0, first)
        .unwrap();
    let mut last = BTreeMap::new();
    for message in &all {
        let value: u64 = text(message.value.as_deref().unwrap()).parse().unwrap();
        last.insert(text(message.key.as_deref().unwrap()), value);
    }
    for n in acknowledged.saturating_sub(KEYS)..acknowledged {
        let found = last.get(&(n % KEYS).to_string()).copied();
        assert!(found >= Some(n), "key {}: {found:?} instead of {n}", n % KEYS);
    }
    u64::try_from(all.len()).unwrap()
}
