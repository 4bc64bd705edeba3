//! The promise: a running broker compacts what its topics' policies say, as soon as they say it, and whatever
//! happens to it meanwhile no key loses its last value.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use kafka::cluster::TopicPartition;
use kafka::message::{Codec, SetBuilder};

use super::{LIMIT, files, points};
use crate::support::program::{kafka as kafka_program, run, text};
use crate::support::wire::{Wire, set, wait_leaders};
use crate::support::{free_port, ours, wait_for, wait_until};

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
                    log.cleaner.threads=2\nlog.segment.delete.delay.ms=100\ndelete.topic.enable=true\n\
                    zookeeper.session.timeout.ms=2000";

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
    // The session of a broker that was killed ends soon.
    let zookeeper = ours::zookeeper_with(dir.path(), free_port(), ours::SHORT_SESSIONS);
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
