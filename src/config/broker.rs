//! server.properties (kafka.server.KafkaConfig): which key wins over which, and what must hold between
//! them. The rows are in `broker/keys.rs`, addresses in `broker/listeners.rs`, logs in `broker/logs.rs`.

mod checks;
mod keys;
mod listeners;
mod logs;
mod reporters;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::definition::{Definition, Kind, Values, millis};
use super::{ConfigErrors, LogConfig, Properties};
use crate::cluster::{Endpoint, SecurityProtocol};
use crate::message::Codec;

pub use keys::{KEYS, OUTSIDE_KEYS};
pub use reporters::CsvReporterConfig;

/// Directories, for the warning about lost backslashes.
const DIRECTORIES: &[&str] = &[
    "log.dir",
    "log.dirs",
    "kafka.csv.metrics.dir",
    "ssl.keystore.location",
    "ssl.truststore.location",
];

/// The release whose protocol brokers speak among themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InterBrokerProtocol {
    /// 0.8.0
    V0_8_0,
    /// 0.8.1
    V0_8_1,
    /// 0.8.2: JSON v1 registrations, UpdateMetadata v0
    V0_8_2,
    /// 0.9.0: JSON v2 registrations, UpdateMetadata v1, Fetch v1 between brokers
    V0_9_0,
}

impl InterBrokerProtocol {
    /// Of a release: its first three parts count, `0.9.0.1` is `0.9.0`.
    pub fn parse(release: &str) -> Option<InterBrokerProtocol> {
        let first: Vec<&str> = release.split('.').take(3).collect();
        match first.join(".").as_str() {
            "0.8.0" => Some(InterBrokerProtocol::V0_8_0),
            "0.8.1" => Some(InterBrokerProtocol::V0_8_1),
            "0.8.2" => Some(InterBrokerProtocol::V0_8_2),
            "0.9.0" => Some(InterBrokerProtocol::V0_9_0),
            _ => None,
        }
    }
}

/// The settings of a broker: one field for each key that is heeded, under its name; where several keys
/// mean the same, one field for what results. Units that a name lacks are in the type.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// -1 when the number is to be found or generated.
    pub broker_id: i32,
    /// `broker.id.generation.enable`
    pub broker_id_generation_enable: bool,
    /// Generated numbers are larger than this.
    pub reserved_broker_max_id: i32,
    /// Hosts, perhaps with a chroot at the end.
    pub zookeeper_connect: String,
    /// `zookeeper.session.timeout.ms`
    pub zookeeper_session_timeout: Duration,
    /// `zookeeper.connection.timeout.ms`, else the session timeout.
    pub zookeeper_connection_timeout: Duration,
    /// Where to listen: `listeners`, else `host.name` and `port`. Each protocol once.
    pub listeners: Vec<Endpoint>,
    /// What clients are told. An empty host stands for this machine's canonical name, port 0 for the port
    /// that was bound.
    pub advertised_listeners: Vec<Endpoint>,
    /// `security.inter.broker.protocol`; one of those advertised.
    pub security_inter_broker_protocol: SecurityProtocol,
    /// `inter.broker.protocol.version`
    pub inter_broker_protocol: InterBrokerProtocol,
    /// `num.network.threads`
    pub num_network_threads: usize,
    /// `num.io.threads`
    pub num_io_threads: usize,
    /// `request.timeout.ms`
    pub request_timeout: Duration,
    /// SO_SNDBUF of accepted sockets; `None` leaves it to the system.
    pub socket_send_buffer_bytes: Option<usize>,
    /// SO_RCVBUF of accepted sockets; `None` leaves it to the system.
    pub socket_receive_buffer_bytes: Option<usize>,
    /// `socket.request.max.bytes`
    pub socket_request_max_bytes: usize,
    /// `max.connections.per.ip`
    pub max_connections_per_ip: usize,
    /// Exceptions to that, by host as typed.
    pub max_connections_per_ip_overrides: BTreeMap<String, usize>,
    /// `connections.max.idle.ms`; `None` (a negative number) never closes.
    pub connections_max_idle: Option<Duration>,
    /// `num.partitions`
    pub num_partitions: i32,
    /// `auto.create.topics.enable`
    pub auto_create_topics_enable: bool,
    /// `default.replication.factor`
    pub default_replication_factor: i32,
    /// `delete.topic.enable`
    pub delete_topic_enable: bool,
    /// `log.dirs`, else `log.dir`; at least one.
    pub log_dirs: Vec<PathBuf>,
    /// What logs heed where their topic does not say otherwise.
    pub log: LogConfig,
    /// `log.retention.check.interval.ms`
    pub log_retention_check_interval: Duration,
    /// `log.flush.scheduler.interval.ms`
    pub log_flush_scheduler_interval: Duration,
    /// `log.flush.offset.checkpoint.interval.ms`
    pub log_flush_offset_checkpoint_interval: Duration,
    /// `log.cleaner.enable`
    pub log_cleaner_enable: bool,
    /// `log.cleaner.threads`
    pub log_cleaner_threads: usize,
    /// `log.cleaner.dedupe.buffer.size`
    pub log_cleaner_dedupe_buffer_size: u64,
    /// `log.cleaner.io.buffer.load.factor`
    pub log_cleaner_io_buffer_load_factor: f64,
    /// `log.cleaner.io.buffer.size`
    pub log_cleaner_io_buffer_size: usize,
    /// `log.cleaner.io.max.bytes.per.second`
    pub log_cleaner_io_max_bytes_per_second: f64,
    /// `log.cleaner.backoff.ms`
    pub log_cleaner_backoff: Duration,
    /// `num.recovery.threads.per.data.dir`
    pub num_recovery_threads_per_data_dir: usize,
    /// `message.max.bytes`, which is also `log.max_message_bytes`.
    pub message_max_bytes: i32,
    /// `replica.lag.time.max.ms`
    pub replica_lag_time_max: Duration,
    /// `replica.socket.timeout.ms`
    pub replica_socket_timeout: Duration,
    /// `replica.socket.receive.buffer.bytes`
    pub replica_socket_receive_buffer_bytes: Option<usize>,
    /// `replica.fetch.max.bytes`
    pub replica_fetch_max_bytes: i32,
    /// `replica.fetch.wait.max.ms`
    pub replica_fetch_wait_max: Duration,
    /// `replica.fetch.min.bytes`
    pub replica_fetch_min_bytes: i32,
    /// `replica.fetch.backoff.ms`
    pub replica_fetch_backoff: Duration,
    /// `num.replica.fetchers`
    pub num_replica_fetchers: usize,
    /// `replica.high.watermark.checkpoint.interval.ms`
    pub replica_high_watermark_checkpoint_interval: Duration,
    /// `controller.socket.timeout.ms`
    pub controller_socket_timeout: Duration,
    /// `auto.leader.rebalance.enable`
    pub auto_leader_rebalance_enable: bool,
    /// `leader.imbalance.per.broker.percentage`
    pub leader_imbalance_per_broker_percentage: i32,
    /// `leader.imbalance.check.interval.seconds`
    pub leader_imbalance_check_interval: Duration,
    /// `controlled.shutdown.enable`
    pub controlled_shutdown_enable: bool,
    /// `controlled.shutdown.max.retries`
    pub controlled_shutdown_max_retries: u32,
    /// `controlled.shutdown.retry.backoff.ms`
    pub controlled_shutdown_retry_backoff: Duration,
    /// `group.min.session.timeout.ms`
    pub group_min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`
    pub group_max_session_timeout_ms: i32,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_max_bytes: usize,
    /// `offsets.load.buffer.size`
    pub offsets_load_buffer_size: usize,
    /// `offsets.topic.replication.factor`
    pub offsets_topic_replication_factor: i32,
    /// `offsets.topic.num.partitions`
    pub offsets_topic_num_partitions: i32,
    /// `offsets.topic.segment.bytes`
    pub offsets_topic_segment_bytes: i32,
    /// `offsets.topic.compression.codec`, by its number.
    pub offsets_topic_compression_codec: Codec,
    /// `offsets.retention.minutes`
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval: Duration,
    /// `offsets.commit.timeout.ms`
    pub offsets_commit_timeout: Duration,
    /// `offsets.commit.required.acks`; Kafka allows more than 1 and then refuses every commit, here that is
    /// -1.
    pub offsets_commit_required_acks: i16,
    /// `quota.producer.default`, bytes per second; `i64::MAX` is no limit.
    pub quota_producer_default: i64,
    /// `quota.consumer.default`, bytes per second; `i64::MAX` is no limit.
    pub quota_consumer_default: i64,
    /// `quota.window.num`
    pub quota_window_num: usize,
    /// `quota.window.size.seconds`
    pub quota_window_size: Duration,
    /// `metrics.num.samples`
    pub metrics_num_samples: usize,
    /// `metrics.sample.window.ms`
    pub metrics_sample_window: Duration,
    /// Where and how often metrics are written to files; `None` if they are not.
    pub csv_reporter: Option<CsvReporterConfig>,
    /// Every key's value, for [`BrokerConfig::values_block`].
    pub values: Values,
}

/// KafkaConfig's rows and those beside it.
pub(super) fn definition() -> Definition {
    Definition::new(&[KEYS, OUTSIDE_KEYS]).expect("the rows have different names")
}

impl BrokerConfig {
    /// Reads a broker's settings. Beside them: what to warn about at start.
    ///
    /// # Errors
    /// Every mistake, in Kafka's words.
    pub fn from_properties(properties: &Properties) -> Result<(BrokerConfig, Vec<String>), ConfigErrors> {
        let (values, mut mistakes) = definition().read(properties);
        let mut warnings: Vec<String> = properties.warnings(DIRECTORIES).collect();
        warnings.extend(definition().warnings(properties));
        let listeners = listeners::read(&values, &mut mistakes, &mut warnings);
        checks::check(&values, &listeners, &mut mistakes);
        reporters::check(&values, &mut mistakes, &mut warnings);
        let (log, wrong) = logs::log_config(&values);
        mistakes.extend(wrong);
        if !mistakes.is_empty() {
            return Err(ConfigErrors::new(mistakes));
        }
        Ok((BrokerConfig::from_values(values, listeners, log), warnings))
    }

    fn from_values(v: Values, listeners: listeners::Listeners, log: LogConfig) -> BrokerConfig {
        let session = v.millis("zookeeper.session.timeout.ms");
        let buffer = |name: &str| usize::try_from(v.long(name)).ok().filter(|&n| n > 0);
        let seconds = |name: &str| Duration::from_secs(u64::try_from(v.long(name)).unwrap_or(0));
        BrokerConfig {
            broker_id: v.int("broker.id"),
            broker_id_generation_enable: v.boolean("broker.id.generation.enable"),
            reserved_broker_max_id: v.int("reserved.broker.max.id"),
            zookeeper_connect: v.text("zookeeper.connect"),
            zookeeper_session_timeout: session,
            zookeeper_connection_timeout: v
                .number_or_null("zookeeper.connection.timeout.ms")
                .map_or(session, millis),
            security_inter_broker_protocol: listeners.inter_broker,
            listeners: listeners.bound,
            advertised_listeners: listeners.advertised,
            inter_broker_protocol: InterBrokerProtocol::parse(&v.text("inter.broker.protocol.version"))
                .unwrap_or(InterBrokerProtocol::V0_9_0),
            num_network_threads: v.size("num.network.threads"),
            num_io_threads: v.size("num.io.threads"),
            request_timeout: v.millis("request.timeout.ms"),
            socket_send_buffer_bytes: buffer("socket.send.buffer.bytes"),
            socket_receive_buffer_bytes: buffer("socket.receive.buffer.bytes"),
            socket_request_max_bytes: v.size("socket.request.max.bytes"),
            max_connections_per_ip: v.size("max.connections.per.ip"),
            max_connections_per_ip_overrides: listeners::connection_limits(&v).unwrap_or_default(),
            connections_max_idle: (v.long("connections.max.idle.ms") >= 0)
                .then(|| v.millis("connections.max.idle.ms")),
            num_partitions: v.int("num.partitions"),
            auto_create_topics_enable: v.boolean("auto.create.topics.enable"),
            default_replication_factor: v.int("default.replication.factor"),
            delete_topic_enable: v.boolean("delete.topic.enable"),
            log_dirs: logs::log_dirs(&v),
            log,
            log_retention_check_interval: v.millis("log.retention.check.interval.ms"),
            log_flush_scheduler_interval: v.millis("log.flush.scheduler.interval.ms"),
            log_flush_offset_checkpoint_interval: v.millis("log.flush.offset.checkpoint.interval.ms"),
            log_cleaner_enable: v.boolean("log.cleaner.enable"),
            log_cleaner_threads: v.size("log.cleaner.threads").max(1),
            log_cleaner_dedupe_buffer_size: u64::try_from(v.long("log.cleaner.dedupe.buffer.size"))
                .unwrap_or(0),
            log_cleaner_io_buffer_load_factor: v.double("log.cleaner.io.buffer.load.factor"),
            log_cleaner_io_buffer_size: v.size("log.cleaner.io.buffer.size"),
            log_cleaner_io_max_bytes_per_second: v.double("log.cleaner.io.max.bytes.per.second"),
            log_cleaner_backoff: v.millis("log.cleaner.backoff.ms"),
            num_recovery_threads_per_data_dir: v.size("num.recovery.threads.per.data.dir"),
            message_max_bytes: v.int("message.max.bytes"),
            replica_lag_time_max: v.millis("replica.lag.time.max.ms"),
            replica_socket_timeout: v.millis("replica.socket.timeout.ms"),
            replica_socket_receive_buffer_bytes: buffer("replica.socket.receive.buffer.bytes"),
            replica_fetch_max_bytes: v.int("replica.fetch.max.bytes"),
            replica_fetch_wait_max: v.millis("replica.fetch.wait.max.ms"),
            replica_fetch_min_bytes: v.int("replica.fetch.min.bytes"),
            replica_fetch_backoff: v.millis("replica.fetch.backoff.ms"),
            num_replica_fetchers: v.size("num.replica.fetchers").max(1),
            replica_high_watermark_checkpoint_interval: v
                .millis("replica.high.watermark.checkpoint.interval.ms"),
            controller_socket_timeout: v.millis("controller.socket.timeout.ms"),
            auto_leader_rebalance_enable: v.boolean("auto.leader.rebalance.enable"),
            leader_imbalance_per_broker_percentage: v.int("leader.imbalance.per.broker.percentage"),
            leader_imbalance_check_interval: seconds("leader.imbalance.check.interval.seconds"),
            controlled_shutdown_enable: v.boolean("controlled.shutdown.enable"),
            controlled_shutdown_max_retries: u32::try_from(v.int("controlled.shutdown.max.retries"))
                .unwrap_or(0),
            controlled_shutdown_retry_backoff: v.millis("controlled.shutdown.retry.backoff.ms"),
            group_min_session_timeout_ms: v.int("group.min.session.timeout.ms"),
            group_max_session_timeout_ms: v.int("group.max.session.timeout.ms"),
            offset_metadata_max_bytes: v.size("offset.metadata.max.bytes"),
            offsets_load_buffer_size: v.size("offsets.load.buffer.size"),
            offsets_topic_replication_factor: v.int("offsets.topic.replication.factor"),
            offsets_topic_num_partitions: v.int("offsets.topic.num.partitions"),
            offsets_topic_segment_bytes: v.int("offsets.topic.segment.bytes"),
            offsets_topic_compression_codec: offsets_codec(&v).unwrap_or(Codec::None),
            offsets_retention: seconds("offsets.retention.minutes") * 60,
            offsets_retention_check_interval: v.millis("offsets.retention.check.interval.ms"),
            offsets_commit_timeout: v.millis("offsets.commit.timeout.ms"),
            offsets_commit_required_acks: match v.int("offsets.commit.required.acks") {
                0 => 0,
                1 => 1,
                _ => -1,
            },
            quota_producer_default: v.long("quota.producer.default"),
            quota_consumer_default: v.long("quota.consumer.default"),
            quota_window_num: v.size("quota.window.num"),
            quota_window_size: seconds("quota.window.size.seconds"),
            metrics_num_samples: v.size("metrics.num.samples"),
            metrics_sample_window: v.millis("metrics.sample.window.ms"),
            csv_reporter: CsvReporterConfig::from_values(&v),
            values: v,
        }
    }

    /// The text of Kafka's INFO message at start, `KafkaConfig values: ` and a line for each key.
    pub fn values_block(&self) -> String {
        let mut text = String::from("KafkaConfig values: \n");
        for key in KEYS
            .iter()
            .map(|k| (k.name, k))
            .collect::<BTreeMap<_, _>>()
            .into_values()
        {
            let class = if key.kind == Kind::Class { "class " } else { "" };
            text += &format!("\t{} = {class}{}\n", key.name, self.values.get(key.name));
        }
        text
    }
}

/// The codec with the number `offsets.topic.compression.codec`.
fn offsets_codec(v: &Values) -> Option<Codec> {
    let number = i8::try_from(v.int("offsets.topic.compression.codec")).ok()?;
    [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4]
        .into_iter()
        .find(|c| c.id() == number)
}

#[cfg(test)]
mod tests;
