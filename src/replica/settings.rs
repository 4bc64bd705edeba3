//! What replicas take from the broker's settings.

use std::time::Duration;

use crate::cluster::{BrokerId, SecurityProtocol};
use crate::config::broker::InterBrokerProtocol;
use crate::config::{BrokerConfig, LogConfig};
use crate::metrics::Registry;

use super::fetcher::FetcherSettings;

/// See the module.
#[derive(Clone, Debug)]
pub struct ReplicaSettings {
    /// This broker.
    pub id: BrokerId,
    /// `replica.lag.time.max.ms`
    pub lag_time_max: Duration,
    /// `replica.high.watermark.checkpoint.interval.ms`
    pub checkpoint_interval: Duration,
    /// `security.inter.broker.protocol`
    pub inter_broker_protocol: SecurityProtocol,
    /// What topics have that set nothing themselves.
    pub log_defaults: LogConfig,
    /// How to copy from other brokers.
    pub fetcher: FetcherSettings,
    /// Where counts are kept.
    pub metrics: Registry,
}

impl ReplicaSettings {
    /// Of the broker `id`.
    pub fn new(id: BrokerId, config: &BrokerConfig, metrics: &Registry) -> ReplicaSettings {
        ReplicaSettings {
            id,
            metrics: metrics.clone(),
            lag_time_max: config.replica_lag_time_max,
            checkpoint_interval: config.replica_high_watermark_checkpoint_interval,
            inter_broker_protocol: config.security_inter_broker_protocol,
            log_defaults: config.log.clone(),
            fetcher: FetcherSettings {
                fetchers: config.num_replica_fetchers,
                max_bytes: config.replica_fetch_max_bytes,
                min_bytes: config.replica_fetch_min_bytes,
                max_wait: config.replica_fetch_wait_max,
                backoff: config.replica_fetch_backoff,
                socket_timeout: config.replica_socket_timeout,
                receive_buffer_bytes: config.replica_socket_receive_buffer_bytes,
                fetch_version: i16::from(config.inter_broker_protocol >= InterBrokerProtocol::V0_9_0),
            },
        }
    }
}
