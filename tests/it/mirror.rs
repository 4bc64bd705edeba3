//! kafka-mirror-maker between two clusters of ours: what the source acknowledged reaches the target, though the
//! mirror and the brokers of either side are killed under load; and it ends as the genuine one does.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use kafka::client::{Consumer, Producer, ProducerSettings, Record};
use kafka::message::Codec;
use kafka::zookeeper::paths;

use crate::consumer::{QUICK, send, settings};
use crate::support::cluster::{Cluster, Whose, session};
use crate::support::ours::{self, Server};
use crate::support::program::{Program, launcher, run, text};
use crate::support::wire::Wire;
use crate::support::{free_port, wait_until};

const LIMIT: Duration = Duration::from_secs(120);

/// Writes both files of a mirror and returns its command, for topics that begin with `m-`.
fn command(
    dir: &Path,
    source: &Cluster,
    target: &Cluster,
    new: bool,
    more: &[&str],
) -> std::process::Command {
    let consumer = dir.join("consumer.properties");
    let text = if new {
        format!(
            "bootstrap.servers={}\ngroup.id=mirror\nauto.offset.reset=earliest\nmetadata.max.age.ms=300\n\
             session.timeout.ms=6000\nheartbeat.interval.ms=300\n",
            source.brokers()
        )
    } else {
        format!(
            "zookeeper.connect={}\ngroup.id=mirror\nauto.offset.reset=smallest\nconsumer.timeout.ms=100\n\
             zookeeper.session.timeout.ms=3000\nrebalance.backoff.ms=1000\nrebalance.max.retries=20\n",
            source.zookeeper
        )
    };
    std::fs::write(&consumer, text).unwrap();
    let producer = dir.join("producer.properties");
    std::fs::write(&producer, format!("bootstrap.servers={}\n", target.brokers())).unwrap();
    let mut command = launcher("kafka-mirror-maker");
    command.arg("--consumer.config").arg(consumer);
    command.arg("--producer.config").arg(producer);
    command.args(["--whitelist", "m-.*"]).args(more);
    if new {
        command.arg("--new.consumer");
    }
    command
}

/// The values that a topic of one partition has.
fn values(cluster: &Cluster, topic: &str) -> BTreeSet<String> {
    let Ok(mut wire) = Wire::connect(cluster.port, LIMIT) else {
        return BTreeSet::new();
    };
    let messages = wire.read_all(topic, 0, 0).unwrap_or_default();
    messages
        .iter()
        .map(|m| String::from_utf8(m.value.clone().unwrap().to_vec()).unwrap())
        .collect()
}

/// Sends to a topic, and goes on through the death of the broker, until it is dropped.
struct Load {
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    fn start(cluster: &Cluster, topic: &str) -> Load {
        let acknowledged: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let settings = ProducerSettings {
            bootstrap: cluster.bootstrap(),
            acks: -1,
            retries: 1_000_000,
            request_timeout: Duration::from_secs(5),
            ..ProducerSettings::default()
        };
        let (topic, told, asked) = (topic.to_owned(), acknowledged.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let producer = Producer::start(settings);
                let mut number = 0;
                while !asked.load(Ordering::Relaxed) {
                    let mut deliveries = vec![];
                    for _ in 0..20 {
                        number += 1;
                        let record = Record {
                            topic: topic.as_str().into(),
                            value: Some(number.to_string().into()),
                            ..Record::default()
                        };
                        // What is refused was never acknowledged.
                        if let Ok(delivery) = producer.send(record).await {
                            deliveries.push((number, delivery));
                        }
                    }
                    for (number, delivery) in deliveries {
                        if delivery.await.is_ok() {
                            told.lock().unwrap().insert(number.to_string());
                        }
                    }
                    // A load, not a flood.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                producer.close(None).await;
            });
        });
        Load {
            acknowledged,
            stop,
            thread: Some(thread),
        }
    }

    /// What was acknowledged so far.
    fn acknowledged(&self) -> BTreeSet<String> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Ends it; returns all that was acknowledged.
    fn finish(mut self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.acknowledged()
    }
}

/// Waits until some more records are acknowledged and all of these are in the target.
fn catch_up(what: &str, load: &Load, target: &Cluster, topic: &str) {
    let before = load.acknowledged().len();
    wait_until(&format!("{what}: the source takes records"), LIMIT, || {
        load.acknowledged().len() > before + 50
    });
    let expected = load.acknowledged();
    wait_until(&format!("{what}: the target has them"), LIMIT, || {
        values(target, topic).is_superset(&expected)
    });
}

fn broker_settings() -> String {
    format!("{QUICK}\nzookeeper.session.timeout.ms=2000")
}

/// A cluster whose broker can be killed and started again.
struct Side {
    cluster: Cluster,
    broker: Server,
    dir: tempfile::TempDir,
}

impl Side {
    fn start(topic: &str) -> Side {
        let dir = tempfile::tempdir().unwrap();
        // The session of a broker that was killed ends soon.
        let zookeeper = ours::zookeeper_with(dir.path(), free_port(), ours::SHORT_SESSIONS);
        let connect = format!("127.0.0.1:{}", zookeeper.port);
        let broker = ours::broker(dir.path(), &connect, &broker_settings());
        let cluster = Cluster::of(zookeeper, connect, broker.port);
        cluster.create(topic, 1);
        Side { cluster, broker, dir }
    }

    /// Kills the broker with -9 and starts it again.
    fn bounce(&mut self) {
        self.broker.program.kill();
        let (connect, port) = (&self.cluster.zookeeper, self.cluster.port);
        self.broker = ours::broker_on(self.dir.path(), connect, port, &broker_settings());
    }
}

fn killed_under_load(new: bool) {
    let topic = if new { "m-new" } else { "m-old" };
    let (mut source, mut target) = (Side::start(topic), Side::start(topic));
    let files = tempfile::tempdir().unwrap();
    let start = |source: &Side, target: &Side, interval| {
        let more = ["--offset.commit.interval.ms", interval, "--num.streams", "2"];
        Program::start(command(
            files.path(),
            &source.cluster,
            &target.cluster,
            new,
            &more,
        ))
    };
    let load = Load::start(&source.cluster, topic);
    let mut mirror = start(&source, &target, "50");
    catch_up("started", &load, &target.cluster, topic);
    mirror.kill();
    mirror = start(&source, &target, "50");
    catch_up("the mirror was killed", &load, &target.cluster, topic);
    source.bounce();
    catch_up("the source's broker was killed", &load, &target.cluster, topic);
    target.bounce();
    catch_up("the target's broker was killed", &load, &target.cluster, topic);
    let acknowledged = load.finish();
    wait_until("all that was acknowledged has arrived", LIMIT, || {
        values(&target.cluster, topic).is_superset(&acknowledged)
    });
    assert_eq!(mirror.stop(LIMIT).code(), Some(143), "{}", mirror.printed());

    // One that would commit in an hour commits when it is stopped in order.
    let mut last = start(&source, &target, "3600000");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let partition = kafka::cluster::TopicPartition::new(topic, 0);
    runtime.block_on(send(
        &source.cluster,
        &partition,
        &["the last".to_owned()],
        Codec::None,
    ));
    wait_until("the last one arrives", LIMIT, || {
        values(&target.cluster, topic).contains("the last")
    });
    assert_eq!(last.stop(LIMIT).code(), Some(143), "{}", last.printed());
    let committed = runtime.block_on(async {
        if new {
            let mut consumer = Consumer::new(settings(&source.cluster, "mirror")).unwrap();
            let committed = consumer.committed(&partition).await.unwrap();
            committed.map(|c| c.offset)
        } else {
            let session = session(&source.cluster.zookeeper).await;
            let node = session
                .get(&paths::consumer_offset("mirror", topic, 0))
                .await
                .unwrap();
            node.and_then(|n| String::from_utf8(n.data?.to_vec()).ok()?.parse().ok())
        }
    });
    assert_eq!(
        committed,
        Some(source.cluster.offsets(topic)[0]),
        "{}",
        last.printed()
    );
}

#[test]
fn a_mirror_on_the_new_consumer_loses_nothing_when_it_or_a_broker_is_killed() {
    killed_under_load(true);
}

#[test]
fn a_mirror_on_the_old_consumer_loses_nothing_when_it_or_a_broker_is_killed() {
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
    let big = ["small".to_owned(), "x".repeat(5000)];
    runtime.block_on(send(&source, &partition, &big, Codec::None));
    let start = |more: &[&str]| Program::start(command(dirs[2].path(), &source, &target, true, more));
    for _ in 0..2 {
        let mut running = start(&[]);
        assert_eq!(running.wait(LIMIT).code(), Some(255), "{}", running.printed());
    }
    // Told to go on, it drops what cannot be sent.
    let mut running = start(&["--abort.on.send.failure", "false"]);
    running.wait_line("Error when sending message", LIMIT);
    runtime.block_on(send(&source, &partition, &["after".to_owned()], Codec::None));
    wait_until("what can be sent arrives", LIMIT, || {
        values(&target, "m-big").contains("after")
    });
    assert_eq!(running.stop(LIMIT).code(), Some(143), "{}", running.printed());
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
