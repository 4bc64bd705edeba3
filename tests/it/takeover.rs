//! The promise: an operator points our broker and our ZooKeeper at the directories of 0.9.0.1 and they go on
//! as if nothing had happened, and back again. Genuine, ours, genuine, ours on one data directory and one
//! ZooKeeper directory; each stage finds all that was written before, and every group goes on where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kafka::message::{Codec, Message, SetBuilder};
use kafka::protocol::offset_fetch::{OffsetFetchRequest, OffsetFetchTopic};

use crate::support::program::{Program, kafka, launcher, run, text};
use crate::support::wire::{Wire, wait_leaders};
use crate::support::{
    fake_broker, free_port, genuine, ours, reference, wait_for, wait_until, wait_until_async,
};

const LIMIT: Duration = Duration::from_secs(120);
/// Where both keep their logs.
const DATA: &str = "data";
const SETTINGS: &str = "offsets.topic.num.partitions=2\noffsets.topic.replication.factor=1\n\
                        log.segment.bytes=3000\nlog.index.interval.bytes=200\nlog.index.size.max.bytes=800\n\
                        log.cleaner.backoff.ms=200\nlog.cleaner.min.cleanable.ratio=0.01\n\
                        log.cleaner.dedupe.buffer.size=4000000\n\
                        zookeeper.session.timeout.ms=3000\n";
/// Topics whose every message stays, how many partitions they have, and their sets' codec.
const TOPICS: [(&str, i32, Codec); 4] = [
    ("plain", 2, Codec::None),
    ("gzip", 1, Codec::Gzip),
    ("snappy", 1, Codec::Snappy),
    ("lz4", 1, Codec::Lz4),
];
const COMPACTED: &str = "compacted";
/// Messages per partition and stage.
const MESSAGES: usize = 30;
const KEYS: usize = 17;

/// Whose programs run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Whose {
    Ours,
    Genuine,
}
use Whose::{Genuine, Ours};

/// How a stage ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Stop,
    Kill,
}

/// What must be there.
#[derive(Default)]
struct Expected {
    /// Values in order, by topic and partition.
    values: BTreeMap<(&'static str, i32), Vec<String>>,
    /// The last value of each key of the compacted topic.
    last: BTreeMap<String, String>,
    /// How far the groups are: of the old consumer in `plain`, of the new one in `gzip`.
    groups: bool,
}

/// A stage's ZooKeeper and broker.
struct Stage<'a> {
    dir: &'a Path,
    whose: Whose,
    zookeeper: Program,
    broker: Program,
    connect: String,
    port: u16,
}

impl Stage<'_> {
    fn start(dir: &Path, whose: Whose, port: u16, before: Option<End>) -> Stage<'_> {
        let (zookeeper, zk_port) = match whose {
            Ours => {
                let zk = ours::zookeeper_with(dir, free_port(), ours::SHORT_SESSIONS);
                (zk.program, zk.port)
            }
            Genuine => {
                let zk = genuine::zookeeper_with(dir, ours::SHORT_SESSIONS);
                (zk.program, zk.port)
            }
        };
        let connect = format!("127.0.0.1:{zk_port}");
        if before == Some(End::Kill) && whose == Genuine {
            // Ours waits for the session of the broker that died; 0.9.0.1 gives up.
            forgotten(&connect);
        }
        let settings = format!(
            "{SETTINGS}log.dirs={}\nlisteners=PLAINTEXT://127.0.0.1:{port}",
            dir.join(DATA).display()
        );
        let broker = match whose {
            Ours => ours::broker(dir, &connect, &settings).program,
            Genuine => genuine::broker(dir, &connect, &settings).program,
        };
        Stage {
            dir,
            whose,
            zookeeper,
            broker,
            connect,
            port,
        }
    }

    fn wire(&self) -> Wire {
        Wire::connect(self.port, LIMIT).expect("the broker accepts")
    }

    fn create_topics(&self) {
        let create = |topic: &str, partitions: i32, more: &[&str]| {
            let mut command = kafka();
            command.args([
                "kafka-topics",
                "--zookeeper",
                &self.connect,
                "--create",
                "--topic",
                topic,
            ]);
            command.args([
                "--replication-factor",
                "1",
                "--partitions",
                &partitions.to_string(),
            ]);
            let out = run_to_end(command.args(more));
            assert!(out.contains("Created topic"), "{out}");
        };
        for (topic, partitions, _) in TOPICS {
            create(topic, partitions, &[]);
        }
        let compact = [
            "--config",
            "cleanup.policy=compact",
            "--config",
            "segment.bytes=2000",
        ];
        create(COMPACTED, 1, &compact);
    }

    /// All that should be there is there, in its order.
    fn verify(&self, expected: &Expected) {
        for (topic, partitions, _) in TOPICS {
            assert_eq!(wait_leaders(self.port, topic, LIMIT).len(), partitions as usize);
        }
        wait_leaders(self.port, COMPACTED, LIMIT);
        for ((topic, partition), wanted) in &expected.values {
            let all = self.read_all(topic, *partition);
            let got: Vec<_> = all.iter().map(|m| (m.offset, value(m))).collect();
            let wanted: Vec<_> = (0..).zip(wanted.iter().cloned()).collect();
            assert!(got == wanted, "{topic} {partition}: {got:?}\n{wanted:?}");
        }
        let all = self.read_all(COMPACTED, 0);
        assert!(all.is_sorted_by_key(|m| m.offset));
        let key = |m: &Message| text(m.key.as_ref().expect("keyed"));
        let last: BTreeMap<_, _> = all.iter().map(|m| (key(m), value(m))).collect();
        assert_eq!(last, expected.last);
        if expected.groups {
            self.verify_groups(expected);
        }
    }

    /// All messages, once the broker knows that it leads.
    fn read_all(&self, topic: &str, partition: i32) -> Vec<Message> {
        let what = format!("{topic}-{partition} can be read");
        wait_for(&what, LIMIT, || self.wire().read_all(topic, partition, 0).ok())
    }

    fn verify_groups(&self, expected: &Expected) {
        for ((topic, partition), values) in &expected.values {
            let (group, version) = match *topic {
                "plain" => ("old", 0),
                "gzip" => ("new", 1),
                _ => continue,
            };
            let request = OffsetFetchRequest {
                group_id: group.to_owned(),
                topics: vec![OffsetFetchTopic {
                    topic: (*topic).to_owned(),
                    partitions: vec![*partition],
                }],
            };
            let what = format!("group {group} is where it was");
            wait_until(&what, LIMIT, || {
                let mut answer = self.wire().call(&request, version).unwrap();
                let found = answer.topics.remove(0).partitions.remove(0);
                // While the coordinator loads it knows nothing.
                assert!([0, 14, 16].contains(&found.error), "{found:?}");
                found.error == 0 && {
                    assert_eq!(found.offset, values.len() as i64, "{what} {topic} {partition}");
                    true
                }
            });
        }
    }

    /// Sends this stage's messages.
    fn produce(&self, number: usize, expected: &mut Expected) {
        let mut wire = self.wire();
        for (topic, partitions, codec) in TOPICS {
            for partition in 0..partitions {
                let values = expected.values.entry((topic, partition)).or_default();
                for part in 0..3 {
                    let mut set = SetBuilder::new(codec, 1 << 20);
                    for n in part * MESSAGES / 3..(part + 1) * MESSAGES / 3 {
                        let value =
                            format!("{topic}-{partition} stage {number} message {n} {}", "x".repeat(n));
                        assert!(set.append(Some(b"key"), Some(value.as_bytes())));
                        values.push(value);
                    }
                    let (error, _) = wire.produce(topic, partition, set.finish(), 1).unwrap();
                    assert_eq!(error, 0, "{topic}");
                }
            }
        }
        for n in 0..MESSAGES * 2 {
            let codec = if n % 3 == 0 { Codec::Gzip } else { Codec::None };
            let mut set = SetBuilder::new(codec, 1 << 20);
            for i in 0..2 {
                let (key, value) = (
                    format!("k{}", (n * 2 + i * 5 + number) % KEYS),
                    format!("{number} {n} {i}"),
                );
                assert!(set.append(Some(key.as_bytes()), Some(value.as_bytes())));
                expected.last.insert(key, value);
            }
            assert_eq!(wire.produce(COMPACTED, 0, set.finish(), 1).unwrap().0, 0);
        }
    }

    /// Both groups read what this stage sent, and nothing else.
    fn consume(&self, number: usize, expected: &mut Expected) {
        let first = number == 0;
        let sent = |topic: &str| -> BTreeSet<String> {
            let of_topic = expected.values.iter().filter(|((t, _), _)| *t == topic);
            of_topic
                .flat_map(|(_, values)| values[values.len() - MESSAGES..].to_vec())
                .collect()
        };
        let old = self.console_consumer(self.whose, "old", first, &["--zookeeper", &self.connect], "plain");
        assert_eq!(old, sent("plain"), "the old consumer in stage {number}");
        let address = format!("127.0.0.1:{}", self.port);
        let new = ["--new-consumer", "--bootstrap-server", &address];
        let new = self.console_consumer(Genuine, "new", first, &new, "gzip");
        assert_eq!(new, sent("gzip"), "the new consumer in stage {number}");
        expected.groups = true;
        self.verify_groups(expected);
    }

    fn console_consumer(
        &self,
        whose: Whose,
        group: &str,
        from_beginning: bool,
        source: &[&str],
        topic: &str,
    ) -> BTreeSet<String> {
        let config = self.dir.join("consumer.properties");
        // A broker that is killed at once may not have heard that the last member left.
        let session = match group {
            "new" => "session.timeout.ms=6000\n",
            _ => "",
        };
        std::fs::write(&config, format!("group.id={group}\n{session}")).unwrap();
        let count = if topic == "plain" { 2 * MESSAGES } else { MESSAGES };
        let mut command = match whose {
            Ours => launcher("kafka-console-consumer"),
            Genuine => genuine::command(&["kafka-console-consumer"]),
        };
        command
            .args(source)
            .args(["--topic", topic])
            .args(["--max-messages", &count.to_string()]);
        command.arg("--consumer.config").arg(&config);
        if from_beginning {
            command.arg("--from-beginning");
        }
        let printed = run_to_end(&mut command);
        let lines: BTreeSet<String> = printed.lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), count, "no message came twice: {printed}");
        lines
    }

    fn end(mut self, end: End) -> String {
        match end {
            End::Stop => {
                self.broker.stop(LIMIT);
                self.zookeeper.stop(LIMIT);
            }
            End::Kill => {
                self.broker.kill();
                self.zookeeper.kill();
            }
        }
        self.broker.printed()
    }
}

fn value(m: &Message) -> String {
    text(m.value.as_ref().expect("no message is without a value"))
}

fn run_to_end(command: &mut Command) -> String {
    let taken = std::mem::replace(command, Command::new("true"));
    let out = run(taken, b"", LIMIT);
    assert!(
        out.status.success(),
        "{}\n{}",
        text(&out.stdout),
        text(&out.stderr)
    );
    text(&out.stdout)
}

/// Waits until ZooKeeper has no broker 0 any more.
fn forgotten(connect: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let session = fake_broker::session(connect).await;
        wait_until_async("the session of the broker that died ends", LIMIT, || async {
            session
                .exists("/brokers/ids/0")
                .await
                .is_ok_and(|stat| stat.is_none())
        })
        .await;
        session.close().await;
    });
}

fn swap(end: End) {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Expected::default();
    let mut before = None;
    let port = free_port();
    for (number, whose) in [Genuine, Ours, Genuine, Ours].into_iter().enumerate() {
        let stage = Stage::start(dir.path(), whose, port, before);
        if number == 0 {
            stage.create_topics();
        }
        stage.verify(&expected);
        stage.produce(number, &mut expected);
        stage.consume(number, &mut expected);
        stage.verify(&expected);
        let printed = stage.end(end);
        let clean = before.is_none_or(|before| before == End::Stop);
        assert!(
            !clean || !printed.contains("Recovering unflushed segment"),
            "stage {number} had nothing to recover:\n{printed}"
        );
        for bad in ["Corruption found", "Found invalid messages", "FATAL", "orphaned"] {
            assert!(!printed.contains(bad), "{bad} in stage {number}:\n{printed}");
        }
        before = Some(end);
    }
}

#[test]
fn genuine_and_ours_take_over_from_each_other_after_clean_stops() {
    need!(reference());
    swap(End::Stop);
}

#[test]
fn genuine_and_ours_take_over_from_each_other_after_kill_9() {
    need!(reference());
    swap(End::Kill);
}
