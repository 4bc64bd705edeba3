//! One broker as an ordered list of parts, started down the list and stopped up it
//! (kafka.server.KafkaServer).
//!
//! | part | started when | stopped |
//! |---|---|---|
//! | metrics reporter | first, if it is enabled: it shows the rest starting | looks once more after the listeners; its last lines are waited for at the end |
//! | ZooKeeper session | all else stands on it | when all else is: with it go the broker's nodes |
//! | logs | topic settings are read | when nobody reads or writes any more |
//! | identity | the directories are locked | |
//! | listeners | the id is known; bound here, connections wait | before what answers them |
//! | replicas | the logs are recovered | after the listeners |
//! | group coordinator | replicas can tell what they lead | before the listeners: who waits is answered |
//! | answering | all that handlers touch is there, the clients' quotas among it | with the listeners |
//! | dynamic settings | logs may change | |
//! | registration | requests are answered | with the session |
//! | controller | this broker is registered | after the listeners |
//!
//! The controller comes after the registration, unlike in 0.9.0.1: one that stands for election
//! before its own broker is registered finds itself dead and takes its own leaderships away.

mod assemble;
mod parts;

use std::sync::Arc;
use std::time::Duration;

use ::log::info;
use tokio::sync::watch;

use super::services::Services;
use super::{identity, registration};
use crate::cluster::{BrokerId, Endpoint, MetadataImage};
use crate::config::BrokerConfig;
use crate::metrics::{Name, Registry};
use crate::util::clock::Clock;
use crate::zookeeper::{self, Session};
use crate::{admin, log, network};

use assemble::assemble;
use parts::{Parts, State};

/// The logger's name in 0.9.
const TARGET: &str = "kafka.server.KafkaServer";

/// How long leaderships may be handed over by a broker that has no time.
const LEAVE_SOON: Duration = Duration::from_secs(1);

/// Why a broker could not start. Each text is one line that says what to look at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener wants what this broker does not speak.
    #[error(
        "listener {0}: this broker speaks PLAINTEXT only; take the others out of listeners and advertised.listeners"
    )]
    Protocol(Endpoint),
    /// ZooKeeper could not be reached or refused what every broker needs.
    #[error("ZooKeeper at {connect}: {source}")]
    ZooKeeper {
        /// `zookeeper.connect`.
        connect: String,
        /// What went wrong.
        #[source]
        source: zookeeper::Error,
    },
    /// The settings of topics could not be read.
    #[error("reading the settings of topics: {0}")]
    TopicSettings(#[source] admin::Error),
    /// The settings of clients could not be read.
    #[error("reading the settings of clients: {0}")]
    ClientSettings(#[source] admin::Error),
    /// A data directory cannot be used.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// The broker does not know who it is.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// A port cannot be had.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// The cluster does not take it.
    #[error(transparent)]
    Registration(#[from] registration::Error),
}

/// Result of starting.
pub type Result<T> = std::result::Result<T, Error>;
/// A running broker. Dropped without [`Broker::stop`] it ends as a killed one does.
#[derive(Debug)]
pub struct Broker {
    services: Arc<Services>,
    bound: Vec<Endpoint>,
    advertised: Vec<Endpoint>,
    parts: Parts,
}
impl Broker {
    /// Starts all parts. Afterwards the broker is registered and answers.
    ///
    /// # Errors
    /// What could not be started; what had been is stopped again.
    pub async fn start(config: BrokerConfig, clock: Clock) -> Result<Broker> {
        match Broker::start_unless(config, clock, std::future::pending::<()>()).await? {
            Ok(broker) => Ok(broker),
            Err(()) => unreachable!("that future never ends"),
        }
    }

    /// As [`Broker::start`], unless `end` comes before all is started: then what was is stopped again in
    /// order, so that the logs need no recovery, and what `end` said is returned.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub async fn start_unless<T>(
        config: BrokerConfig,
        clock: Clock,
        end: impl Future<Output = T>,
    ) -> Result<std::result::Result<Broker, T>> {
        let metrics = Registry::new();
        let state = metrics.gauge(Name::new("kafka.server", "KafkaServer", "BrokerState", &[]));
        let mut parts = Parts::none(BrokerId(config.broker_id), state, clock);
        parts.enter(State::Starting);
        let assembled = tokio::select! {
            assembled = assemble(&mut parts, Arc::new(config), metrics) => Ok(assembled),
            said = end => Err(said),
        };
        match assembled {
            Ok(Ok((services, bound, advertised))) => Ok(Ok(Broker {
                services,
                bound,
                advertised,
                parts,
            })),
            Ok(Err(e)) => {
                parts.stop(Duration::MAX).await;
                Err(e)
            }
            Err(said) => {
                info!(target: TARGET, "told to end while starting");
                parts.stop(LEAVE_SOON).await;
                Ok(Err(said))
            }
        }
    }

    /// This broker's number.
    pub fn id(&self) -> BrokerId {
        self.parts.id
    }

    /// Where it listens, with the ports that were really taken.
    pub fn bound(&self) -> &[Endpoint] {
        &self.bound
    }

    /// Where clients are told to connect.
    pub fn advertised(&self) -> &[Endpoint] {
        &self.advertised
    }

    /// What it knows of the cluster, and will.
    pub fn metadata(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.services.metadata.subscribe()
    }

    /// Its ZooKeeper session.
    pub fn zookeeper(&self) -> &Session {
        &self.services.zookeeper
    }

    /// Returns, with the reason, when the disk has failed so that the broker must end at once, without
    /// the order of [`Broker::stop`]: what is on disk cannot be vouched for.
    pub async fn failed(&self) -> String {
        let mut failure = self.parts.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// What its handlers touch.
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Hands leaderships over, then stops all parts, the last one first. Afterwards all that was
    /// acknowledged is on disk, the logs need no recovery, and the cluster has forgotten the broker.
    pub async fn stop(self) {
        let Broker { services, parts, .. } = self;
        drop(services);
        parts.stop(Duration::MAX).await;
    }

    /// As [`Broker::stop`] for a system that gives a few seconds and then ends the process: if the
    /// leaderships are not handed over soon, the logs are closed with them.
    pub async fn stop_soon(self) {
        let Broker { services, parts, .. } = self;
        drop(services);
        parts.stop(LEAVE_SOON).await;
    }
}
