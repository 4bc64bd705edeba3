//! A ZooKeeper and a broker of one make, and the console programs of either make for it.

use std::any::Any;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use kafka::client::HostPort;
use kafka::util::clock::Clock;
use kafka::zookeeper::{Session, SessionSettings, paths, znodes};

use super::program::{launcher, run, text};
use super::wire::wait_leaders;
use super::{free_port, genuine, ours, wait_until};

const LIMIT: Duration = Duration::from_secs(120);

/// Whose servers, or whose programs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Whose {
    Ours,
    Genuine,
}
use Whose::{Genuine, Ours};

impl Whose {
    /// A program by its launcher's name, or by the last part of its class if it has no launcher.
    pub fn command(self, tool: &str) -> Command {
        let without_launcher = tool.starts_with(char::is_uppercase);
        match self {
            Ours if without_launcher => {
                let mut command = launcher("kafka-run-class");
                command.arg(format!("kafka.tools.{tool}"));
                command
            }
            Genuine if without_launcher => genuine::command(&["run", &format!("kafka.tools.{tool}")]),
            Ours => launcher(tool),
            Genuine => genuine::command(&[tool]),
        }
    }
}

/// A ZooKeeper and a broker of one make. The broker is dropped first.
pub struct Cluster {
    _broker: Box<dyn Any>,
    _zookeeper: Box<dyn Any>,
    /// Where ZooKeeper is.
    pub zookeeper: String,
    /// Where the broker listens.
    pub port: u16,
}

impl Cluster {
    /// Starts both.
    #[track_caller]
    pub fn start(dir: &Path, whose: Whose) -> Cluster {
        Cluster::start_with(dir, whose, "")
    }

    /// Starts both, the broker with further lines of its properties.
    #[track_caller]
    pub fn start_with(dir: &Path, whose: Whose, more: &str) -> Cluster {
        match whose {
            Ours => {
                let zk = ours::zookeeper_with(dir, free_port(), ours::SHORT_SESSIONS);
                let zookeeper = format!("127.0.0.1:{}", zk.port);
                let broker = ours::broker(dir, &zookeeper, more);
                Cluster {
                    port: broker.port,
                    _broker: Box::new(broker),
                    _zookeeper: Box::new(zk),
                    zookeeper,
                }
            }
            Genuine => {
                let zk = genuine::zookeeper_with(dir, ours::SHORT_SESSIONS);
                let zookeeper = format!("127.0.0.1:{}", zk.port);
                let broker = genuine::broker(dir, &zookeeper, more);
                Cluster {
                    port: broker.port,
                    _broker: Box::new(broker),
                    _zookeeper: Box::new(zk),
                    zookeeper,
                }
            }
        }
    }

    /// One whose broker is the caller's, who may kill it and start it again on its port.
    pub fn of(zookeeper: ours::Server, connect: String, port: u16) -> Cluster {
        Cluster {
            port,
            _broker: Box::new(()),
            _zookeeper: Box::new(zookeeper),
            zookeeper: connect,
        }
    }

    /// The broker's address.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The broker's address, as clients take it.
    pub fn bootstrap(&self) -> Vec<HostPort> {
        HostPort::parse_list(&self.brokers()).expect("it is one")
    }

    /// Writes a topic as kafka-topics would, and waits until it has leaders.
    #[track_caller]
    pub fn create(&self, topic: &str, partitions: i32) {
        let runtime = tokio::runtime::Runtime::new().expect("threads can be had");
        runtime.block_on(async {
            let session = session(&self.zookeeper).await;
            kafka::admin::create_topic(&session, topic, partitions, 1, &Default::default())
                .await
                .expect("the topic can be written");
            session.close().await;
        });
        wait_leaders(self.port, topic, LIMIT);
    }

    /// A console producer.
    pub fn producer(&self, whose: Whose, topic: &str, more: &[&str]) -> Command {
        let mut command = whose.command("kafka-console-producer");
        command.args(["--broker-list", &self.brokers(), "--topic", topic]);
        command.args(more);
        command
    }

    /// Sends lines by a console producer.
    pub fn produce(&self, whose: Whose, topic: &str, more: &[&str], lines: &str) -> Output {
        run(self.producer(whose, topic, more), lines.as_bytes(), LIMIT)
    }

    /// An old console consumer.
    pub fn consumer(&self, whose: Whose, more: &[&str]) -> Command {
        let mut command = whose.command("kafka-console-consumer");
        command.args(["--zookeeper", &self.zookeeper]).args(more);
        command
    }

    /// What an old console consumer prints of a topic from its beginning to that many messages.
    #[track_caller]
    pub fn consume(&self, whose: Whose, topic: &str, messages: usize) -> String {
        let count = messages.to_string();
        let arguments = ["--topic", topic, "--from-beginning", "--max-messages", &count];
        let out = run(self.consumer(whose, &arguments), b"", LIMIT);
        assert!(out.status.success(), "{}", text(&out.stderr));
        text(&out.stdout)
    }

    /// The newest offset of each partition.
    pub fn offsets(&self, topic: &str) -> Vec<i64> {
        let mut command = Ours.command("GetOffsetShell");
        command.args(["--broker-list", &self.brokers(), "--topic", topic, "--time", "-1"]);
        let out = run(command, b"", LIMIT);
        text(&out.stdout)
            .lines()
            .map(|l| l.rsplit(':').next().and_then(|n| n.parse().ok()).expect(l))
            .collect()
    }
}

/// A session of a test's own.
pub async fn session(zookeeper: &str) -> Session {
    let patience = Duration::from_secs(10);
    let settings = SessionSettings {
        session_timeout: patience,
        connection_timeout: patience,
    };
    Session::connect(zookeeper, settings, Clock::system())
        .await
        .expect("ZooKeeper is there")
}

/// Waits until it stands in ZooKeeper that these brokers, and no others, are the in-sync replicas of each partition
/// of these topics. Clients are told some seconds later.
#[track_caller]
pub fn wait_in_sync(zookeeper: &str, topics: &[&str], ids: &[i32]) {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be had");
    let nodes = runtime.block_on(session(zookeeper));
    let is_so = async |topic: &str| {
        let partitions = nodes.children(&paths::topic_partitions(topic)).await;
        let Some((partitions, _)) = partitions.expect("ZooKeeper answers") else {
            return false;
        };
        for partition in &partitions {
            let partition = partition.parse().expect("a number");
            let node = nodes.get(&paths::partition_state(topic, partition)).await;
            let Some(node) = node.expect("ZooKeeper answers") else {
                return false;
            };
            let state = znodes::leader_and_isr::decode(&node.data.unwrap_or_default(), node.stat.version);
            let isr: BTreeSet<i32> = state.expect("a state").isr.iter().map(|id| id.0).collect();
            if !isr.into_iter().eq(ids.iter().copied()) {
                return false;
            }
        }
        !partitions.is_empty()
    };
    wait_until(&format!("{ids:?} are in sync in {topics:?}"), LIMIT, || {
        topics.iter().all(|topic| runtime.block_on(is_so(topic)))
    });
    runtime.block_on(nodes.close());
}
