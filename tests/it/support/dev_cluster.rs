//! A cluster in this process: our ZooKeeper and brokers on free ports, in a folder that goes with it; quick to start
//! and with short sessions, so that a broker's death is soon noticed.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka::dev::{DevCluster, DevSettings};
use kafka::metrics::Name;
use kafka::server::Broker;
use kafka::zookeeper::{paths, znodes};

use super::wait_until_async;
use super::wire::Wire;

/// How long anything may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(120);

/// See the module.
pub struct Cluster(pub DevCluster);

/// What to start.
pub struct Builder(DevSettings);

impl Cluster {
    pub fn builder() -> Builder {
        let settings = [
            ("zookeeper.session.timeout.ms", "1500"),
            ("replica.lag.time.max.ms", "3000"),
            ("replica.fetch.wait.max.ms", "200"),
            ("controlled.shutdown.retry.backoff.ms", "200"),
            ("auto.create.topics.enable", "false"),
        ];
        Builder(DevSettings {
            overrides: settings.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..DevSettings::default()
        })
    }

    /// The broker of that number, which runs.
    #[track_caller]
    pub fn broker(&self, id: i32) -> &Broker {
        let mut brokers = self.0.brokers();
        brokers.find(|b| b.id().0 == id).expect("it runs")
    }

    /// A connection to it.
    #[track_caller]
    pub fn wire(&self, id: i32) -> Wire {
        let port = self.broker(id).bound()[0].port;
        Wire::connect(u16::try_from(port).expect("a port"), LIMIT).expect("it listens")
    }

    /// Makes a topic of one partition on these brokers, with these settings of its own.
    pub async fn create_topic(&self, topic: &str, replicas: &[i32], settings: &[(&str, &str)]) {
        let own: BTreeMap<String, String> =
            settings.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let assignment = BTreeMap::from([(
            0,
            replicas.iter().map(|id| kafka::cluster::BrokerId(*id)).collect(),
        )]);
        let zookeeper = self.0.broker().zookeeper();
        kafka::admin::create_topic_with_assignment(zookeeper, topic, &assignment, &own)
            .await
            .expect("a new topic");
        self.wait_state(topic, replicas[0], replicas).await;
    }

    /// Leader and in-sync replicas of partition 0, as they stand in ZooKeeper.
    pub async fn state(&self, topic: &str) -> Option<(i32, Vec<i32>)> {
        let path = paths::partition_state(topic, 0);
        let node = self.0.broker().zookeeper().get(&path).await.ok()??;
        let state = znodes::leader_and_isr::decode(&node.data?, node.stat.version).ok()?;
        Some((state.leader.0, state.isr.iter().map(|id| id.0).collect()))
    }

    /// The transaction that made the broker's node.
    pub async fn registration(&self, id: i32) -> i64 {
        let stat = self.0.broker().zookeeper().exists(&paths::broker(id)).await;
        stat.expect("ZooKeeper answers").expect("it is registered").czxid
    }

    /// Waits until that is so; the order of the set does not matter.
    pub async fn wait_state(&self, topic: &str, leader: i32, isr: &[i32]) {
        let mut wanted = isr.to_vec();
        wanted.sort_unstable();
        wait_until_async(
            &format!("{topic} is led by {leader}, isr {wanted:?}"),
            LIMIT,
            || async {
                let Some((now, mut isr)) = self.state(topic).await else {
                    return false;
                };
                isr.sort_unstable();
                now == leader && isr == wanted
            },
        )
        .await;
    }

    /// How often one of its replica manager's meters was marked.
    pub fn meter(&self, id: i32, name: &str) -> u64 {
        let name = Name::new("kafka.server", "ReplicaManager", name, &[]);
        self.broker(id).services().metrics.meter(name).count()
    }

    /// Its copy of partition 0.
    pub fn log(&self, id: i32, topic: &str) -> Vec<u8> {
        let folder = match id {
            0 => "kafka-logs".to_owned(),
            id => format!("kafka-logs-{id}"),
        };
        let file = format!("{folder}/{topic}-0/00000000000000000000.log");
        std::fs::read(self.0.data_dir().join(file)).unwrap_or_default()
    }
}

impl Builder {
    /// Numbered from 0.
    pub fn brokers(mut self, brokers: u16) -> Builder {
        self.0.brokers = brokers;
        self
    }

    /// A line of every broker's properties.
    pub fn setting(mut self, key: &str, value: &str) -> Builder {
        self.0.overrides.push((key.to_owned(), value.to_owned()));
        self
    }

    pub async fn start(self) -> Cluster {
        Cluster(DevCluster::start(self.0).await.expect("a cluster starts"))
    }
}
