//! A whole small cluster in one process, for development and tests: ZooKeeper and a broker that
//! talk to each other over TCP as they would from two machines.
//!
//! ```no_run
//! # async fn example() -> Result<(), kafka::dev::Error> {
//! use kafka::dev::{DevCluster, DevSettings};
//!
//! let cluster = DevCluster::start(DevSettings {
//!     topics: vec![("events".into(), 3)],
//!     ..DevSettings::default()
//! })
//! .await?;
//! println!("{}", cluster.bootstrap_servers());
//! cluster.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! Knows the two servers' front doors and nothing of their insides.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::log::{info, warn};

use crate::admin;
use crate::cluster::{Endpoint, MetadataImage};
use crate::config::{BrokerConfig, ConfigErrors, KeeperConfig, Properties};
use crate::keeper::{self, Keeper};
use crate::server::{self, Broker};
use crate::util::clock::Clock;

/// The address of both servers: what runs on this machine reaches them, nothing else does.
const HOST: &str = "127.0.0.1";

/// How long topics may take to get their leaders.
const TOPICS_PATIENCE: Duration = Duration::from_secs(30);

/// What to start. The default is an empty cluster on free ports whose data goes with it.
#[derive(Clone, Debug, Default)]
pub struct DevSettings {
    /// The broker's port; 0 takes a free one.
    pub port: u16,
    /// ZooKeeper's port; 0 takes a free one.
    pub zookeeper_port: u16,
    /// Where the data stays. Without it, it lives in a temporary directory and goes at the end.
    pub data_dir: Option<PathBuf>,
    /// Topics that have leaders when the start is done, with their number of partitions. One that
    /// the data directory brings along is left as it is.
    pub topics: Vec<(String, i32)>,
    /// Lines of `server.properties` that go before the cluster's own settings.
    pub overrides: Vec<(String, String)>,
    /// Where time comes from.
    pub clock: Clock,
}

/// Why the cluster did not come up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The temporary directory could not be made.
    #[error("making a temporary directory: {0}")]
    Directory(#[source] std::io::Error),
    /// A setting is wrong.
    #[error("{0}")]
    Settings(#[from] ConfigErrors),
    /// ZooKeeper did not start.
    #[error("ZooKeeper: {0}")]
    Keeper(#[from] keeper::Error),
    /// The broker did not start.
    #[error("broker: {0}")]
    Broker(#[from] server::Error),
    /// A topic could not be made.
    #[error("topic {topic}: {source}")]
    Topic {
        /// Its name.
        topic: String,
        /// Why.
        #[source]
        source: admin::Error,
    },
    /// Something without which the cluster is no use did not come.
    #[error("{what} within {} ms", TOPICS_PATIENCE.as_millis())]
    NotReady {
        /// What was waited for.
        what: &'static str,
    },
}

/// Result of starting.
pub type Result<T> = std::result::Result<T, Error>;

/// A running cluster of one broker. Dropped without [`DevCluster::stop`] it ends as a killed one
/// does; a temporary directory goes all the same.
#[derive(Debug)]
pub struct DevCluster {
    // In the order in which they go: the directory last.
    broker: Broker,
    keeper: Keeper,
    data: DataDir,
    bootstrap_servers: String,
}

#[derive(Debug)]
enum DataDir {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl DataDir {
    fn path(&self) -> &Path {
        match self {
            DataDir::Kept(path) => path,
            DataDir::Temporary(dir) => dir.path(),
        }
    }
}

impl DevCluster {
    /// Starts both servers and makes the topics. Afterwards a client that asks for metadata is told
    /// the broker, and a leader for each partition.
    pub async fn start(settings: DevSettings) -> Result<DevCluster> {
        let data = match &settings.data_dir {
            Some(path) => DataDir::Kept(path.clone()),
            None => DataDir::Temporary(
                tempfile::Builder::new()
                    .prefix("kafka-dev-")
                    .tempdir()
                    .map_err(Error::Directory)?,
            ),
        };
        let clock = settings.clock.clone();
        let keeper = Keeper::start(keeper_config(&settings, &data)?, clock.clone())?;
        let broker = match start_broker(&settings, &data, keeper.port()).await {
            Ok(broker) => broker,
            Err(e) => {
                keeper.stop().await;
                return Err(e);
            }
        };
        let bootstrap_servers = broker
            .advertised()
            .iter()
            .map(Endpoint::address)
            .collect::<Vec<_>>()
            .join(",");
        let cluster = DevCluster {
            broker,
            keeper,
            data,
            bootstrap_servers,
        };
        match cluster.make_ready(&settings.topics, &clock).await {
            Ok(()) => Ok(cluster),
            Err(e) => {
                cluster.stop().await;
                Err(e)
            }
        }
    }

    async fn make_ready(&self, topics: &[(String, i32)], clock: &Clock) -> Result<()> {
        for (topic, partitions) in topics {
            let made = admin::create_topic(
                self.broker.zookeeper(),
                topic,
                *partitions,
                1,
                &Default::default(),
            )
            .await;
            match made {
                Ok(_) => {}
                Err(admin::Error::TopicExists(_)) => info!("topic {topic} is there already"),
                Err(source) => {
                    return Err(Error::Topic {
                        topic: topic.clone(),
                        source,
                    });
                }
            }
        }
        let mut metadata = self.broker.metadata();
        let ready = metadata.wait_for(|image| serves(image, topics));
        tokio::select! {
            seen = ready => {
                seen.map_err(|_| Error::NotReady { what: "the broker stopped" })?;
                Ok(())
            }
            () = clock.sleep(TOPICS_PATIENCE) => {
                Err(Error::NotReady { what: "not all topics had leaders" })
            }
        }
    }

    /// What clients are configured with, `127.0.0.1:9092`.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// What old clients and tools are configured with, `127.0.0.1:2181`.
    pub fn zookeeper_connect(&self) -> String {
        format!("{HOST}:{}", self.keeper.port())
    }

    /// Where the data is.
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// The broker.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Returns, with the reason, when one of the two cannot go on because its disk failed.
    pub async fn failed(&self) -> String {
        tokio::select! {
            why = self.broker.failed() => why,
            why = self.keeper.failed() => why.to_string(),
        }
    }

    /// Stops the broker, then ZooKeeper, and removes a temporary directory.
    pub async fn stop(self) {
        let DevCluster {
            broker, keeper, data, ..
        } = self;
        broker.stop().await;
        keeper.stop().await;
        if let DataDir::Temporary(dir) = data {
            let path = dir.path().to_owned();
            if let Err(e) = dir.close() {
                warn!("could not remove {}: {e}", path.display());
            }
        }
    }
}

/// Whether clients find the broker, and a leader for each partition of the topics.
fn serves(image: &MetadataImage, topics: &[(String, i32)]) -> bool {
    !image.brokers.is_empty()
        && topics.iter().all(|(topic, partitions)| {
            image.topics.get(topic.as_str()).is_some_and(|known| {
                known.len() as i64 >= i64::from(*partitions).min(1)
                    && known.values().all(|p| image.is_alive(p.leader_and_isr.leader))
            })
        })
}

fn keeper_config(settings: &DevSettings, data: &DataDir) -> Result<KeeperConfig> {
    let mut p = Properties::new();
    let mut set = |key: &str, value: &str| p.set(key, value, "dev");
    set("dataDir", &data.path().join("zookeeper").display().to_string());
    // A file cannot ask for a free port: the wish goes in below.
    set("clientPort", &settings.zookeeper_port.max(1).to_string());
    set("clientPortAddress", HOST);
    set("maxClientCnxns", "0");
    if matches!(data, DataDir::Temporary(_)) {
        // What goes with the process need not survive the machine.
        set("forceSync", "no");
    }
    let (mut config, _) = KeeperConfig::from_properties(&p)?;
    config.client_port = settings.zookeeper_port;
    Ok(config)
}

async fn start_broker(settings: &DevSettings, data: &DataDir, zookeeper_port: u16) -> Result<Broker> {
    let mut p = Properties::new();
    let own = [
        ("broker.id", "0".to_owned()),
        ("listeners", format!("PLAINTEXT://{HOST}:{}", settings.port)),
        ("log.dirs", data.path().join("kafka-logs").display().to_string()),
        ("zookeeper.connect", format!("{HOST}:{zookeeper_port}")),
    ];
    for (key, value) in own.iter().map(|(k, v)| (*k, v)) {
        p.set(key, value, "dev");
    }
    for (key, value) in &settings.overrides {
        p.set(key, value, "--override");
    }
    let (config, warnings) = BrokerConfig::from_properties(&p)?;
    for warning in warnings {
        warn!("{warning}");
    }
    Ok(Broker::start(config, settings.clock.clone()).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_without_brokers_or_leaders_is_not_ready() {
        let empty = MetadataImage::default();
        assert!(!serves(&empty, &[]));
        assert!(!serves(&empty, &[("a".into(), 1)]));
    }
}
