//! A whole small cluster in one process, for development and tests: ZooKeeper and brokers that talk to
//! each other over TCP as they would from several machines.
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
//! With several brokers a test can see leaders move:
//!
//! ```no_run
//! # async fn example() -> Result<(), kafka::dev::Error> {
//! use kafka::dev::{DevCluster, DevSettings};
//!
//! let mut cluster = DevCluster::start(DevSettings {
//!     brokers: 3,
//!     topics: vec![("events".into(), 3)], // replicated to all three
//!     ..DevSettings::default()
//! })
//! .await?;
//! cluster.kill_broker(0).await;
//! // What was acknowledged is still there ...
//! cluster.start_broker(0).await?;
//! # cluster.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! Knows the servers' front doors and nothing of their insides.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::log::{info, warn};

use crate::admin;
use crate::cluster::{Endpoint, MetadataImage, TopicPartition};
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
    /// How many brokers, numbered from 0; 0 and 1 mean one.
    pub brokers: u16,
    /// The first broker's port, the others take those that follow; 0 takes free ones.
    pub port: u16,
    /// ZooKeeper's port; 0 takes a free one.
    pub zookeeper_port: u16,
    /// Where the data stays. Without it, it lives in a temporary directory and goes at the end.
    pub data_dir: Option<PathBuf>,
    /// Topics that have leaders when the start is done, with their number of partitions. Each has as many
    /// replicas as there are brokers, at most three. One that the data directory brings along is left as it
    /// is.
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

/// A running cluster. Dropped without [`DevCluster::stop`] it ends as a killed one does; a temporary
/// directory goes all the same.
#[derive(Debug)]
pub struct DevCluster {
    // In the order in which they go: the directory last.
    seats: Vec<Seat>,
    keeper: Keeper,
    data: DataDir,
    settings: DevSettings,
    bootstrap_servers: String,
}

/// A broker's place, which it finds again after a stop.
#[derive(Debug)]
struct Seat {
    broker: Option<Broker>,
    port: u16,
}

/// How often it is looked whether a killed broker's tasks have ended.
const LOOK: Duration = Duration::from_millis(5);

/// Topics have at most so many replicas.
const MOST_REPLICAS: u16 = 3;

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
    /// Starts all servers and makes the topics. Afterwards a client that asks any broker for metadata is told
    /// all brokers, and a leader for each partition.
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
        let keeper = Keeper::start(keeper_config(&settings, &data)?, settings.clock.clone())?;
        let port = |id: u16| match settings.port {
            0 => 0,
            first => first.saturating_add(id),
        };
        let seats = (0..settings.brokers.max(1)).map(|id| Seat {
            broker: None,
            port: port(id),
        });
        let mut cluster = DevCluster {
            seats: seats.collect(),
            keeper,
            data,
            settings,
            bootstrap_servers: String::new(),
        };
        match cluster.make_ready().await {
            Ok(()) => Ok(cluster),
            Err(e) => {
                cluster.stop().await;
                Err(e)
            }
        }
    }

    async fn make_ready(&mut self) -> Result<()> {
        for id in 0..self.seats.len() {
            self.seat(id).await?;
        }
        let advertised = self
            .brokers()
            .flat_map(|b| b.advertised().iter().map(Endpoint::address));
        self.bootstrap_servers = advertised.collect::<Vec<_>>().join(",");
        let replicas = i32::from(self.settings.brokers.clamp(1, MOST_REPLICAS));
        for (topic, partitions) in &self.settings.topics {
            let made = admin::create_topic(
                self.broker().zookeeper(),
                topic,
                *partitions,
                replicas,
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
        let (brokers, topics) = (self.seats.len(), &self.settings.topics);
        let all_serve = async {
            for broker in self.brokers() {
                let mut metadata = broker.metadata();
                let ready = metadata.wait_for(|image| serves(image, brokers, topics));
                ready.await.map_err(|_| Error::NotReady {
                    what: "a broker stopped",
                })?;
            }
            // A new controller says who leads before it tells the leaders.
            while !self.brokers().all(|broker| leads_its_share(broker, topics)) {
                self.settings.clock.sleep(LOOK).await;
            }
            Ok(())
        };
        tokio::select! {
            served = all_serve => served,
            () = self.settings.clock.sleep(TOPICS_PATIENCE) => {
                Err(Error::NotReady { what: "not all topics had leaders" })
            }
        }
    }

    /// Starts the broker of a seat.
    async fn seat(&mut self, id: usize) -> Result<()> {
        let port = self.seats[id].port;
        let broker = start_broker(&self.settings, &self.data, id, port, self.keeper.port()).await?;
        // Its port stays the same if it is started again.
        let bound = broker.bound().first().map(|e| e.port);
        self.seats[id].port = bound.and_then(|p| u16::try_from(p).ok()).unwrap_or(port);
        self.seats[id].broker = Some(broker);
        Ok(())
    }

    /// What clients are configured with, `127.0.0.1:9092`; several with commas.
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

    /// The first broker that runs.
    ///
    /// # Panics
    /// If all have been stopped.
    pub fn broker(&self) -> &Broker {
        self.brokers().next().expect("a broker runs")
    }

    /// The brokers that run, by number.
    pub fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.seats.iter().filter_map(|seat| seat.broker.as_ref())
    }

    /// Stops a broker in order: it hands its leaderships over. Nothing if it does not run.
    pub async fn stop_broker(&mut self, id: usize) {
        if let Some(broker) = self.seats.get_mut(id).and_then(|seat| seat.broker.take()) {
            broker.stop().await;
        }
    }

    /// Ends a broker as if its process were killed: the others hear of it when its session expires. Nothing
    /// if it does not run.
    pub async fn kill_broker(&mut self, id: usize) {
        let Some(broker) = self.seats.get_mut(id).and_then(|seat| seat.broker.take()) else {
            return;
        };
        let services = Arc::downgrade(broker.services());
        broker.zookeeper().abandon().await;
        drop(broker);
        // Its tasks end one by one; with them go its port and the locks on its directories.
        while services.strong_count() > 0 {
            self.settings.clock.sleep(LOOK).await;
        }
    }

    /// Starts a broker that was stopped or killed, on its old port and data. After a kill that waits for the
    /// old session to expire. Nothing if it runs.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub async fn start_broker(&mut self, id: usize) -> Result<()> {
        match self.seats.get(id) {
            Some(seat) if seat.broker.is_none() => self.seat(id).await,
            _ => Ok(()),
        }
    }

    /// Returns, with the reason, when a server cannot go on because its disk failed.
    pub async fn failed(&self) -> String {
        let mut brokers: Vec<_> = self.brokers().map(|b| Box::pin(b.failed())).collect();
        let any = std::future::poll_fn(|context| {
            let polled = brokers.iter_mut().map(|b| b.as_mut().poll(context));
            polled
                .into_iter()
                .find(std::task::Poll::is_ready)
                .unwrap_or(std::task::Poll::Pending)
        });
        tokio::select! {
            why = any => why,
            why = self.keeper.failed() => why.to_string(),
        }
    }

    /// Stops the brokers, the last one first, then ZooKeeper, and removes a temporary directory.
    pub async fn stop(self) {
        let DevCluster {
            seats, keeper, data, ..
        } = self;
        for broker in seats.into_iter().rev().filter_map(|seat| seat.broker) {
            broker.stop().await;
        }
        keeper.stop().await;
        if let DataDir::Temporary(dir) = data {
            let path = dir.path().to_owned();
            if let Err(e) = dir.close() {
                warn!("could not remove {}: {e}", path.display());
            }
        }
    }
}

/// Whether clients find all brokers, and a leader for each partition of the topics.
fn serves(image: &MetadataImage, brokers: usize, topics: &[(String, i32)]) -> bool {
    image.brokers.len() >= brokers
        && topics.iter().all(|(topic, partitions)| {
            image.topics.get(topic.as_str()).is_some_and(|known| {
                known.len() as i64 >= i64::from(*partitions).min(1)
                    && known.values().all(|p| image.is_alive(p.leader_and_isr.leader))
            })
        })
}

/// Whether the broker leads those partitions of the topics that it is said to.
fn leads_its_share(broker: &Broker, topics: &[(String, i32)]) -> bool {
    let image = broker.metadata().borrow().clone();
    let replicas = &broker.services().replicas;
    topics.iter().all(|(topic, _)| {
        let known = image.topics.get(topic.as_str()).map(|known| known.iter());
        known.into_iter().flatten().all(|(number, p)| {
            p.leader_and_isr.leader != broker.id()
                || replicas.leads(&TopicPartition::new(topic.as_str(), *number))
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
    // Tests want to see soon that a client is gone.
    set("tickTime", "250");
    set("maxSessionTimeout", "60000");
    if matches!(data, DataDir::Temporary(_)) {
        // What goes with the process need not survive the machine.
        set("forceSync", "no");
    }
    let (mut config, _) = KeeperConfig::from_properties(&p)?;
    config.client_port = settings.zookeeper_port;
    Ok(config)
}

async fn start_broker(
    settings: &DevSettings,
    data: &DataDir,
    id: usize,
    port: u16,
    zookeeper_port: u16,
) -> Result<Broker> {
    let logs = match id {
        0 => "kafka-logs".to_owned(),
        id => format!("kafka-logs-{id}"),
    };
    let mut p = Properties::new();
    let own = [
        ("broker.id", id.to_string()),
        ("listeners", format!("PLAINTEXT://{HOST}:{port}")),
        ("log.dirs", data.path().join(logs).display().to_string()),
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
        assert!(!serves(&empty, 1, &[]));
        assert!(!serves(&empty, 0, &[("a".into(), 1)]));
    }
}
