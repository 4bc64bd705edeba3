//! What a consumer may be told, and how it follows from properties by 0.9's names.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::client::connection::ConnectionSettings;
use crate::client::metadata::HostPort;
use crate::config::ConsumerConfig;
pub use crate::config::client::{AssignmentStrategy, AutoOffsetReset};
use crate::util::clock::Clock;

/// What a consumer may be told. The default is that of 0.9.
///
/// ```
/// use kafka::client::ConsumerSettings;
/// use kafka::config::{ConsumerConfig, Properties};
///
/// let mut properties = Properties::new();
/// properties.set("bootstrap.servers", "localhost:9092", "here");
/// properties.set("group.id", "readers", "here");
/// let (config, warnings) = ConsumerConfig::from_properties(&properties)?;
/// let settings = ConsumerSettings::from(config);
/// assert_eq!((settings.session_timeout.as_secs(), warnings.len()), (30, 0));
/// # Ok::<(), kafka::config::ConfigErrors>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConsumerSettings {
    /// `bootstrap.servers`
    pub bootstrap: Vec<HostPort>,
    /// `group.id`; empty for a consumer that neither subscribes nor commits.
    pub group_id: String,
    /// `client.id`; `consumer-1` and so on, counted in this process, if empty.
    pub client_id: String,
    /// `session.timeout.ms`: a member that does not poll for so long is out of its group.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`, below the session timeout.
    pub heartbeat_interval: Duration,
    /// `partition.assignment.strategy`, the preferred first; at least one.
    pub strategies: Vec<AssignmentStrategy>,
    /// `enable.auto.commit`
    pub auto_commit: bool,
    /// `auto.commit.interval.ms`
    pub auto_commit_interval: Duration,
    /// `auto.offset.reset`
    pub reset: AutoOffsetReset,
    /// `fetch.min.bytes`
    pub fetch_min_bytes: i32,
    /// `fetch.max.wait.ms`
    pub fetch_max_wait: Duration,
    /// `max.partition.fetch.bytes`: also how many bytes of a partition one poll hands out at most, but
    /// for a single record that is larger once decompressed.
    pub max_partition_fetch_bytes: i32,
    /// `check.crcs`
    pub check_crcs: bool,
    /// `request.timeout.ms`, above the session timeout and `fetch.max.wait.ms`.
    pub request_timeout: Duration,
    /// `metadata.max.age.ms`
    pub metadata_max_age: Duration,
    /// `retry.backoff.ms`
    pub retry_backoff: Duration,
    /// `reconnect.backoff.ms`
    pub reconnect_backoff: Duration,
    /// `connections.max.idle.ms`
    pub connections_max_idle: Duration,
    /// `send.buffer.bytes`
    pub send_buffer_bytes: Option<u32>,
    /// `receive.buffer.bytes`
    pub receive_buffer_bytes: Option<u32>,
    /// Where time comes from.
    pub clock: Clock,
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        ConsumerSettings {
            bootstrap: Vec::new(),
            group_id: String::new(),
            client_id: String::new(),
            session_timeout: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(3),
            strategies: vec![AssignmentStrategy::Range],
            auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
            reset: AutoOffsetReset::Latest,
            fetch_min_bytes: 1,
            fetch_max_wait: Duration::from_millis(500),
            max_partition_fetch_bytes: 1 << 20,
            check_crcs: true,
            request_timeout: Duration::from_secs(40),
            metadata_max_age: Duration::from_secs(300),
            retry_backoff: Duration::from_millis(100),
            reconnect_backoff: Duration::from_millis(50),
            connections_max_idle: Duration::from_secs(540),
            send_buffer_bytes: Some(131_072),
            receive_buffer_bytes: Some(32768),
            clock: Clock::system(),
        }
    }
}

impl From<ConsumerConfig> for ConsumerSettings {
    fn from(c: ConsumerConfig) -> ConsumerSettings {
        let buffer = |bytes: u32| (bytes > 0).then_some(bytes);
        ConsumerSettings {
            bootstrap: HostPort::all(c.bootstrap_servers),
            group_id: c.group_id,
            client_id: c.client_id,
            session_timeout: c.session_timeout,
            heartbeat_interval: c.heartbeat_interval,
            strategies: c.strategies,
            auto_commit: c.enable_auto_commit,
            auto_commit_interval: c.auto_commit_interval,
            reset: c.auto_offset_reset,
            fetch_min_bytes: c.fetch_min_bytes,
            fetch_max_wait: c.fetch_max_wait,
            max_partition_fetch_bytes: c.max_partition_fetch_bytes,
            check_crcs: c.check_crcs,
            request_timeout: c.request_timeout,
            metadata_max_age: c.metadata_max_age,
            retry_backoff: c.retry_backoff,
            reconnect_backoff: c.reconnect_backoff,
            connections_max_idle: c.connections_max_idle,
            send_buffer_bytes: buffer(c.send_buffer_bytes),
            receive_buffer_bytes: buffer(c.receive_buffer_bytes),
            clock: Clock::system(),
        }
    }
}

impl ConsumerSettings {
    /// The client id, made up if none was given.
    pub(super) fn name(&self) -> String {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        if self.client_id.is_empty() {
            format!("consumer-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
        } else {
            self.client_id.clone()
        }
    }

    /// How its connections are made.
    pub(super) fn connections(&self, client_id: &str) -> ConnectionSettings {
        ConnectionSettings {
            client_id: client_id.to_owned(),
            request_timeout: self.request_timeout,
            connect_timeout: self.request_timeout,
            send_buffer_bytes: self.send_buffer_bytes,
            receive_buffer_bytes: self.receive_buffer_bytes,
            clock: self.clock.clone(),
            ..ConnectionSettings::default()
        }
    }
}
