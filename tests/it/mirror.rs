//! kafka-mirror-maker between two clusters of ours: what the source acknowledged reaches the target, though the
//! mirror is killed under load; and it ends as the genuine one does.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka::message::Codec;

use crate::consumer::{QUICK, send};
use crate::support::cluster::{Cluster, Whose};
use crate::support::program::{Program, launcher, run, text};
use crate::support::wait_until;
use crate::support::wire::Wire;

const LIMIT: Duration = Duration::from_secs(120);

struct Mirror<'a> {
    source: &'a Cluster,
    target: &'a Cluster,
    dir: &'a std::path::Path,
    new: bool,
}

impl Mirror<'_> {
    /// Starts a mirror of all topics that begin with `m`.
    fn start(&self, more: &[&str]) -> Program {
        let consumer = self.dir.join("consumer.properties");
        let text = if self.new {
            format!(
                "bootstrap.servers={}\ngroup.id=mirror-new\nauto.offset.reset=earliest\nmetadata.max.age.ms=300\n\
                 session.timeout.ms=1500\nheartbeat.interval.ms=300\n",
                self.source.brokers()
            )
        } else {
            format!(
                "zookeeper.connect={}\ngroup.id=mirror-old\nauto.offset.reset=smallest\nconsumer.timeout.ms=100\n\
                 zookeeper.session.timeout.ms=6000\nrebalance.backoff.ms=300\n",
                self.source.zookeeper
            )
        };
        std::fs::write(&consumer, text).unwrap();
        let producer = self.dir.join("producer.properties");
        let text = format!("bootstrap.servers={}\n", self.target.brokers());
        std::fs::write(&producer, text).unwrap();
        let mut command = launcher("kafka-mirror-maker");
        command.arg("--consumer.config").arg(consumer);
        command.arg("--producer.config").arg(producer);
        command.args(["--whitelist", "m-.*", "--offset.commit.interval.ms", "50"]);
        if self.new {
            command.arg("--new.consumer");
        }
        Program::start({
            command.args(more);
            command
        })
    }

    fn arrived(&self, topic: &str) -> BTreeSet<String> {
        let Ok(mut wire) = Wire::connect(self.target.port, LIMIT) else {
            return BTreeSet::new();
        };
        let messages = wire.read_all(topic, 0, 0).unwrap_or_default();
        messages
            .iter()
            .map(|m| String::from_utf8(m.value.clone().unwrap().to_vec()).unwrap())
            .collect()
    }
}

/// A mirror is killed again and again while records come.
fn killed_under_load(new: bool) {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let source = Cluster::start_with(dirs[0].path(), Whose::Ours, QUICK);
    let target = Cluster::start_with(dirs[1].path(), Whose::Ours, QUICK);
    let topic = if new { "m-new" } else { "m-old" };
    source.create(topic, 1);
    target.create(topic, 1);
    source.create("other", 1);
    let mirror = Mirror {
        source: &source,
        target: &target,
        dir: dirs[2].path(),
        new,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let partition = kafka::cluster::TopicPartition::new(topic, 0);
    let mut acknowledged = BTreeSet::new();
    for round in 0..3 {
        let mut running = mirror.start(&[]);
        for part in 0..5 {
            let values: Vec<String> = (0..200).map(|i| format!("{round} {part} {i}")).collect();
            runtime.block_on(send(&source, &partition, &values, Codec::None));
            acknowledged.extend(values);
            if part == 2 {
                let before = mirror.arrived(topic).len();
                wait_until("the mirror copies", LIMIT, || {
                    mirror.arrived(topic).len() > before
                });
            }
        }
        running.kill();
    }
    let mut last = mirror.start(&["--num.streams", "2"]);
    wait_until("everything has arrived", LIMIT, || {
        mirror.arrived(topic) == acknowledged
    });
    // Stopped in order, it has committed: a next one copies nothing twice.
    assert_eq!(last.stop(LIMIT).code(), Some(143), "{}", last.printed());
    let copied = target.offsets(topic);
    let mut next = mirror.start(&[]);
    runtime.block_on(send(&source, &partition, &["the last".to_owned()], Codec::None));
    wait_until("the last one arrives", LIMIT, || {
        mirror.arrived(topic).contains("the last")
    });
    assert_eq!(target.offsets(topic)[0], copied[0] + 1);
    assert_eq!(next.stop(LIMIT).code(), Some(143));
}

#[test]
fn a_mirror_on_the_new_consumer_loses_nothing_when_killed() {
    killed_under_load(true);
}

#[test]
fn a_mirror_on_the_old_consumer_loses_nothing_when_killed() {
    killed_under_load(false);
}

#[test]
fn a_record_that_cannot_be_sent_ends_the_mirror_and_is_not_committed() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let source = Cluster::start_with(dirs[0].path(), Whose::Ours, QUICK);
    let target = Cluster::start_with(dirs[1].path(), Whose::Ours, "message.max.bytes=1000");
    source.create("m-big", 1);
    target.create("m-big", 1);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let partition = kafka::cluster::TopicPartition::new("m-big", 0);
    let values = ["small".to_owned(), "x".repeat(5000)];
    runtime.block_on(send(&source, &partition, &values, Codec::None));
    let mirror = Mirror {
        source: &source,
        target: &target,
        dir: dirs[2].path(),
        new: true,
    };
    for _ in 0..2 {
        let mut running = mirror.start(&[]);
        assert_eq!(running.wait(LIMIT).code(), Some(255), "{}", running.printed());
    }
    // Told to go on, it drops what cannot be sent.
    let mut running = mirror.start(&["--abort.on.send.failure", "false"]);
    runtime.block_on(send(&source, &partition, &["after".to_owned()], Codec::None));
    wait_until("what can be sent arrives", LIMIT, || {
        mirror.arrived("m-big").contains("after")
    });
    running.stop(LIMIT);
}

#[test]
fn exactly_one_list_is_needed() {
    let mut command = launcher("kafka-mirror-maker");
    command.args(["--consumer.config", "c", "--producer.config", "p"]);
    let out = run(command, b"", LIMIT);
    assert_eq!(
        (out.status.code(), text(&out.stdout).as_str()),
        (Some(1), "Exactly one of whitelist or blacklist is required.\n")
    );
}
