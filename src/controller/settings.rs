//! What the controller needs of the broker's configuration.

use std::sync::Arc;
use std::time::Duration;

use super::context::Rules;
use crate::cluster::{BrokerId, SecurityProtocol};
use crate::config::BrokerConfig;
use crate::config::broker::InterBrokerProtocol;
use crate::metrics::{Meter, Name, Registry, Timer};

/// The controller's own settings.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// This broker's id.
    pub broker_id: BrokerId,
    /// How brokers talk among themselves (`security.inter.broker.protocol`).
    pub inter_broker_protocol: SecurityProtocol,
    /// 1, or 0 while brokers older than 0.9.0 may be there (`inter.broker.protocol.version`).
    pub update_metadata_version: i16,
    /// Longest wait for a broker's answer (`controller.socket.timeout.ms`).
    pub socket_timeout: Duration,
    /// Wait before a request to a broker is tried again, and before standing for election again after
    /// a failure.
    pub retry_backoff: Duration,
    /// Whether leaderships go back to preferred replicas by themselves
    /// (`auto.leader.rebalance.enable`).
    pub auto_rebalance: bool,
    /// How often that is looked at (`leader.imbalance.check.interval.seconds`).
    pub rebalance_interval: Duration,
    /// What the operator allows.
    pub rules: Rules,
    /// Where the controller's metrics are kept.
    pub metrics: Registry,
}

/// The first look at the balance comes this long after taking office.
pub(super) const FIRST_REBALANCE: Duration = Duration::from_secs(5);

/// How long refused deletions wait for the next try.
pub(super) const RETRY: Duration = Duration::from_secs(2);

impl Default for ControllerSettings {
    fn default() -> Self {
        ControllerSettings {
            broker_id: BrokerId(0),
            inter_broker_protocol: SecurityProtocol::Plaintext,
            update_metadata_version: 1,
            socket_timeout: Duration::from_secs(30),
            retry_backoff: Duration::from_millis(300),
            auto_rebalance: true,
            rebalance_interval: Duration::from_secs(300),
            rules: Rules::default(),
            metrics: Registry::new(),
        }
    }
}

/// The settings as configured. A broker whose id was generated puts that in the place of
/// [`ControllerSettings::broker_id`].
impl ControllerSettings {
    /// How often brokers come and go, and how long it takes until leaders are chosen.
    pub(super) fn elections(&self) -> Arc<Timer> {
        self.metrics.timer(stat("LeaderElectionRateAndTimeMs"))
    }

    /// How often a replica leads that may lack what was acknowledged.
    pub(super) fn unclean_elections(&self) -> Arc<Meter> {
        self.metrics.meter(stat("UncleanLeaderElectionsPerSec"))
    }
}

fn stat(name: &str) -> Name {
    Name::new("kafka.controller", "ControllerStats", name, &[])
}

impl From<&BrokerConfig> for ControllerSettings {
    fn from(config: &BrokerConfig) -> Self {
        ControllerSettings {
            broker_id: BrokerId(config.broker_id),
            inter_broker_protocol: config.security_inter_broker_protocol,
            update_metadata_version: (config.inter_broker_protocol >= InterBrokerProtocol::V0_9_0).into(),
            socket_timeout: config.controller_socket_timeout,
            auto_rebalance: config.auto_leader_rebalance_enable,
            rebalance_interval: config.leader_imbalance_check_interval,
            rules: Rules {
                unclean_election: config.log.unclean_leader_election_enable,
                delete_topics: config.delete_topic_enable,
                imbalance_percentage: config.leader_imbalance_per_broker_percentage,
            },
            ..ControllerSettings::default()
        }
    }
}
