//! What an old consumer may be told, and how it follows from properties by 0.9's names.

use std::time::Duration;

use super::assignor::Strategy;
use crate::config::OldConsumerConfig;
use crate::config::client::{OffsetReset, OffsetStorage};
use crate::util::clock::Clock;

/// Where a group's positions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetStore {
    /// `offsets.storage=zookeeper`
    ZooKeeper,
    /// `offsets.storage=kafka` without `dual.commit.enabled`
    Kafka,
    /// `offsets.storage=kafka` with `dual.commit.enabled`: written to both, and the larger counts.
    Both,
}

/// What an old consumer may be told. The default is that of 0.9, but for the required names.
#[derive(Clone, Debug)]
pub struct OldConsumerSettings {
    /// `group.id`
    pub group_id: String,
    /// `zookeeper.connect`
    pub zookeeper_connect: String,
    /// `zookeeper.session.timeout.ms`
    pub zookeeper_session_timeout: Duration,
    /// `zookeeper.connection.timeout.ms`
    pub zookeeper_connection_timeout: Duration,
    /// `client.id`
    pub client_id: String,
    /// `consumer.id`; made up when `None`.
    pub consumer_id: Option<String>,
    /// `socket.timeout.ms`
    pub socket_timeout: Duration,
    /// `socket.receive.buffer.bytes`; the system's choice when `None`.
    pub socket_receive_buffer_bytes: Option<u32>,
    /// `fetch.message.max.bytes`
    pub fetch_message_max_bytes: i32,
    /// `num.consumer.fetchers`, per broker; at least 1.
    pub num_fetchers: u32,
    /// `auto.commit.enable`
    pub auto_commit: bool,
    /// `auto.commit.interval.ms`
    pub auto_commit_interval: Duration,
    /// `queued.max.message.chunks`, per stream; at least 1.
    pub queued_max_chunks: usize,
    /// `rebalance.max.retries`, at least 1.
    pub rebalance_max_retries: u32,
    /// `rebalance.backoff.ms`
    pub rebalance_backoff: Duration,
    /// `fetch.min.bytes`
    pub fetch_min_bytes: i32,
    /// `fetch.wait.max.ms`
    pub fetch_wait_max: Duration,
    /// `refresh.leader.backoff.ms`
    pub refresh_leader_backoff: Duration,
    /// `offsets.storage` and `dual.commit.enabled`
    pub offsets_store: OffsetStore,
    /// `offsets.channel.backoff.ms`
    pub offsets_channel_backoff: Duration,
    /// `offsets.channel.socket.timeout.ms`
    pub offsets_channel_socket_timeout: Duration,
    /// `offsets.commit.max.retries`
    pub offsets_commit_max_retries: u32,
    /// `auto.offset.reset`
    pub reset: OffsetReset,
    /// `consumer.timeout.ms`; for ever when `None`.
    pub consumer_timeout: Option<Duration>,
    /// `exclude.internal.topics`
    pub exclude_internal_topics: bool,
    /// `partition.assignment.strategy`
    pub strategy: Strategy,
    /// Where time comes from.
    pub clock: Clock,
}

impl Default for OldConsumerSettings {
    fn default() -> Self {
        OldConsumerSettings {
            group_id: String::new(),
            zookeeper_connect: String::new(),
            zookeeper_session_timeout: Duration::from_secs(6),
            zookeeper_connection_timeout: Duration::from_secs(6),
            client_id: String::new(),
            consumer_id: None,
            socket_timeout: Duration::from_secs(30),
            socket_receive_buffer_bytes: Some(65536),
            fetch_message_max_bytes: 1 << 20,
            num_fetchers: 1,
            auto_commit: true,
            auto_commit_interval: Duration::from_secs(60),
            queued_max_chunks: 2,
            rebalance_max_retries: 4,
            rebalance_backoff: Duration::from_secs(2),
            fetch_min_bytes: 1,
            fetch_wait_max: Duration::from_millis(100),
            refresh_leader_backoff: Duration::from_millis(200),
            offsets_store: OffsetStore::ZooKeeper,
            offsets_channel_backoff: Duration::from_secs(1),
            offsets_channel_socket_timeout: Duration::from_secs(10),
            offsets_commit_max_retries: 5,
            reset: OffsetReset::Largest,
            consumer_timeout: None,
            exclude_internal_topics: true,
            strategy: Strategy::Range,
            clock: Clock::system(),
        }
    }
}

impl From<OldConsumerConfig> for OldConsumerSettings {
    fn from(c: OldConsumerConfig) -> OldConsumerSettings {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        OldConsumerSettings {
            group_id: c.group_id,
            zookeeper_connect: c.zookeeper_connect,
            zookeeper_session_timeout: c.zookeeper_session_timeout,
            zookeeper_connection_timeout: c.zookeeper_connection_timeout,
            client_id: c.client_id,
            consumer_id: c.consumer_id,
            socket_timeout: c.socket_timeout,
            socket_receive_buffer_bytes: c.socket_receive_buffer_bytes.map(count),
            fetch_message_max_bytes: c.fetch_message_max_bytes,
            num_fetchers: count(c.num_consumer_fetchers),
            auto_commit: c.auto_commit_enable,
            auto_commit_interval: c.auto_commit_interval,
            queued_max_chunks: c.queued_max_message_chunks,
            rebalance_max_retries: c.rebalance_max_retries,
            rebalance_backoff: c.rebalance_backoff,
            fetch_min_bytes: c.fetch_min_bytes,
            fetch_wait_max: c.fetch_wait_max,
            refresh_leader_backoff: c.refresh_leader_backoff,
            offsets_store: match (c.offsets_storage, c.dual_commit_enabled) {
                (OffsetStorage::ZooKeeper, _) => OffsetStore::ZooKeeper,
                (OffsetStorage::Kafka, false) => OffsetStore::Kafka,
                (OffsetStorage::Kafka, true) => OffsetStore::Both,
            },
            offsets_channel_backoff: c.offsets_channel_backoff,
            offsets_channel_socket_timeout: c.offsets_channel_socket_timeout,
            offsets_commit_max_retries: c.offsets_commit_max_retries,
            reset: c.auto_offset_reset,
            consumer_timeout: c.consumer_timeout,
            exclude_internal_topics: c.exclude_internal_topics,
            strategy: if c.roundrobin {
                Strategy::RoundRobin
            } else {
                Strategy::Range
            },
            clock: Clock::system(),
        }
    }
}
