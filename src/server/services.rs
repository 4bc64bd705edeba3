//! Everything that handlers may touch, in one place. Holds no logic.

use std::sync::Arc;

use tokio::sync::watch;

use crate::cluster::BrokerId;
use crate::config::BrokerConfig;
use crate::controller::ControllerHandle;
use crate::coordinator::GroupCoordinator;
use crate::metrics::Registry;
use crate::replica::ReplicaManager;
use crate::server::metadata_cache::MetadataCache;
use crate::server::quota::Quotas;
use crate::server::registration::Membership;
use crate::util::clock::Clock;
use crate::zookeeper::Session;

/// One broker's parts, as its handlers see them.
#[derive(Debug)]
pub struct Services {
    /// This broker.
    pub id: BrokerId,
    /// Its settings.
    pub config: Arc<BrokerConfig>,
    /// What the controller told of the cluster.
    pub metadata: MetadataCache,
    /// Its replicas.
    pub replicas: Arc<ReplicaManager>,
    /// The groups that it coordinates.
    pub coordinator: Arc<GroupCoordinator>,
    /// What clients may produce and fetch a second.
    pub quotas: Arc<Quotas>,
    /// Its session.
    pub zookeeper: Session,
    /// Whether the cluster knows of this broker's present life.
    pub membership: watch::Receiver<Membership>,
    /// This broker's candidate for controller.
    pub controller: ControllerHandle,
    /// Counts.
    pub metrics: Registry,
    /// Time.
    pub clock: Clock,
}
