//! The consumer of 0.9 (org.apache.kafka.clients.consumer.ConsumerConfig).

use std::time::Duration;

use super::{SECURITY_KEYS, servers, unknown};
use crate::config::definition::{Definition, Key, Values};
use crate::config::{ConfigErrors, Mistake, Properties};

const DESERIALIZERS: &[&str] = &[
    "org.apache.kafka.common.serialization.ByteArrayDeserializer",
    "org.apache.kafka.common.serialization.StringDeserializer",
    "org.apache.kafka.common.serialization.IntegerDeserializer",
    "org.apache.kafka.common.serialization.LongDeserializer",
];

const RANGE: &str = "org.apache.kafka.clients.consumer.RangeAssignor";
const ROUND_ROBIN: &str = "org.apache.kafka.clients.consumer.RoundRobinAssignor";

/// The rows.
pub static KEYS: &[Key] = &[
    Key::list("bootstrap.servers")
        .high()
        .doc("Brokers to ask first: `host:port` between commas."),
    Key::string("group.id")
        .default("")
        .high()
        .doc("The group that shares the work. Needed to subscribe and to commit."),
    Key::int("session.timeout.ms").default("30000").high().doc(
        "The group goes on without a member that it has not heard of for so long. The broker limits it.",
    ),
    Key::int("heartbeat.interval.ms")
        .default("3000")
        .high()
        .doc("How often a polling member tells that it lives; below the session timeout."),
    Key::list("partition.assignment.strategy").default(RANGE).doc(
        "RangeAssignor, RoundRobinAssignor or both, the preferred first, with Kafka's package before them.",
    ),
    Key::long("metadata.max.age.ms")
        .default("300000")
        .at_least(0)
        .low()
        .doc("How old metadata may get."),
    Key::boolean("enable.auto.commit")
        .default("true")
        .doc("Whether positions are committed from time to time."),
    Key::long("auto.commit.interval.ms")
        .default("5000")
        .at_least(0)
        .low()
        .doc("How often."),
    Key::string("client.id")
        .default("")
        .low()
        .doc("What brokers call this client in logs and quotas; `consumer-1` and so on if empty."),
    Key::int("max.partition.fetch.bytes")
        .default("1048576")
        .at_least(0)
        .high()
        .doc("What is asked for per partition; the largest message that can be read."),
    Key::int("send.buffer.bytes")
        .default("131072")
        .at_least(0)
        .doc("SO_SNDBUF."),
    Key::int("receive.buffer.bytes")
        .default("32768")
        .at_least(0)
        .doc("SO_RCVBUF."),
    Key::int("fetch.min.bytes")
        .default("1")
        .at_least(0)
        .high()
        .doc("How much data a broker waits for."),
    Key::int("fetch.max.wait.ms")
        .default("500")
        .at_least(0)
        .low()
        .doc("How long it waits for it."),
    Key::long("reconnect.backoff.ms")
        .default("50")
        .at_least(0)
        .low()
        .doc("The pause before connecting again."),
    Key::long("retry.backoff.ms")
        .default("100")
        .at_least(0)
        .low()
        .doc("The pause before a request is sent again."),
    Key::string("auto.offset.reset")
        .default("latest")
        .one_of(&["latest", "earliest", "none"])
        .doc("Where to begin without a position, or behind one that is gone. `none` tells the program."),
    Key::boolean("check.crcs")
        .default("true")
        .low()
        .doc("Whether checksums of messages are verified."),
    Key::long("metrics.sample.window.ms")
        .default("30000")
        .at_least(0)
        .low()
        .not_acted_on()
        .doc("Length of a window."),
    Key::int("metrics.num.samples")
        .default("2")
        .at_least(1)
        .low()
        .not_acted_on()
        .doc("Windows of a rate."),
    Key::list("metric.reporters")
        .default("")
        .low()
        .not_acted_on()
        .doc("Classes that report metrics."),
    Key::class("key.deserializer")
        .optional()
        .one_of(DESERIALIZERS)
        .high()
        .doc("Accepted; the library hands out bytes."),
    Key::class("value.deserializer")
        .optional()
        .one_of(DESERIALIZERS)
        .high()
        .doc("Accepted; the library hands out bytes."),
    Key::int("request.timeout.ms")
        .default("40000")
        .at_least(0)
        .doc("How long an answer is waited for; above `session.timeout.ms` and `fetch.max.wait.ms`."),
    Key::long("connections.max.idle.ms")
        .default("540000")
        .doc("A connection that is idle for so long is closed."),
];

/// A way to share partitions that the consumer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignmentStrategy {
    /// Topic by topic, neighbours together.
    Range,
    /// All topics' partitions dealt out in turn.
    RoundRobin,
}

/// Where to begin without a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoOffsetReset {
    /// At the oldest message.
    Earliest,
    /// After the newest one.
    Latest,
    /// Nowhere: the program is told.
    None,
}

/// The settings of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// Hosts and ports; at least one.
    pub bootstrap_servers: Vec<(String, u16)>,
    /// `group.id`; may be empty.
    pub group_id: String,
    /// `session.timeout.ms`
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`
    pub heartbeat_interval: Duration,
    /// `partition.assignment.strategy`, the preferred first; at least one.
    pub strategies: Vec<AssignmentStrategy>,
    /// `metadata.max.age.ms`
    pub metadata_max_age: Duration,
    /// `enable.auto.commit`
    pub enable_auto_commit: bool,
    /// `auto.commit.interval.ms`
    pub auto_commit_interval: Duration,
    /// `client.id`; may be empty.
    pub client_id: String,
    /// `max.partition.fetch.bytes`
    pub max_partition_fetch_bytes: i32,
    /// `send.buffer.bytes`; 0 leaves it to the system.
    pub send_buffer_bytes: u32,
    /// `receive.buffer.bytes`; 0 leaves it to the system.
    pub receive_buffer_bytes: u32,
    /// `fetch.min.bytes`
    pub fetch_min_bytes: i32,
    /// `fetch.max.wait.ms`
    pub fetch_max_wait: Duration,
    /// `reconnect.backoff.ms`
    pub reconnect_backoff: Duration,
    /// `retry.backoff.ms`
    pub retry_backoff: Duration,
    /// `auto.offset.reset`
    pub auto_offset_reset: AutoOffsetReset,
    /// `check.crcs`
    pub check_crcs: bool,
    /// `request.timeout.ms`
    pub request_timeout: Duration,
    /// `connections.max.idle.ms`
    pub connections_max_idle: Duration,
}

fn definition() -> Definition {
    Definition::new(&[KEYS, SECURITY_KEYS]).expect("the rows have different names")
}

impl ConsumerConfig {
    /// Reads a consumer's settings. Beside them: what to warn about.
    ///
    /// # Errors
    /// Every mistake, in Kafka's words.
    pub fn from_properties(properties: &Properties) -> Result<(ConsumerConfig, Vec<String>), ConfigErrors> {
        let definition = definition();
        let (v, mut mistakes) = definition.read(properties);
        let warnings = unknown(&definition, properties);
        let bootstrap_servers = servers(&v, &mut mistakes);
        let strategies = strategies(&v, &mut mistakes);
        check(&v, &mut mistakes);
        if !mistakes.is_empty() {
            return Err(ConfigErrors::new(mistakes));
        }
        let size = |name: &str| u32::try_from(v.long(name)).unwrap_or(0);
        let config = ConsumerConfig {
            bootstrap_servers,
            group_id: v.text("group.id"),
            session_timeout: v.millis("session.timeout.ms"),
            heartbeat_interval: v.millis("heartbeat.interval.ms"),
            strategies,
            metadata_max_age: v.millis("metadata.max.age.ms"),
            enable_auto_commit: v.boolean("enable.auto.commit"),
            auto_commit_interval: v.millis("auto.commit.interval.ms"),
            client_id: v.text("client.id"),
            max_partition_fetch_bytes: v.int("max.partition.fetch.bytes"),
            send_buffer_bytes: size("send.buffer.bytes"),
            receive_buffer_bytes: size("receive.buffer.bytes"),
            fetch_min_bytes: v.int("fetch.min.bytes"),
            fetch_max_wait: v.millis("fetch.max.wait.ms"),
            reconnect_backoff: v.millis("reconnect.backoff.ms"),
            retry_backoff: v.millis("retry.backoff.ms"),
            auto_offset_reset: match v.text("auto.offset.reset").as_str() {
                "earliest" => AutoOffsetReset::Earliest,
                "none" => AutoOffsetReset::None,
                _ => AutoOffsetReset::Latest,
            },
            check_crcs: v.boolean("check.crcs"),
            request_timeout: v.millis("request.timeout.ms"),
            connections_max_idle: v.millis("connections.max.idle.ms"),
        };
        Ok((config, warnings))
    }
}

fn strategies(v: &Values, mistakes: &mut Vec<Mistake>) -> Vec<AssignmentStrategy> {
    let key = "partition.assignment.strategy";
    let mut strategies = Vec::new();
    for class in v.list(key) {
        match class.as_str() {
            RANGE => strategies.push(AssignmentStrategy::Range),
            ROUND_ROBIN => strategies.push(AssignmentStrategy::RoundRobin),
            _ => mistakes.push(v.mistake(key, format!("{class} ClassNotFoundException exception occured"))),
        }
    }
    strategies.dedup();
    if strategies.is_empty() {
        strategies.push(AssignmentStrategy::Range);
    }
    strategies
}

fn check(v: &Values, mistakes: &mut Vec<Mistake>) {
    let timeout = v.long("request.timeout.ms");
    if timeout <= v.long("session.timeout.ms") || timeout <= v.long("fetch.max.wait.ms") {
        let rule = "request.timeout.ms should be greater than session.timeout.ms and fetch.max.wait.ms";
        mistakes.push(v.mistake("request.timeout.ms", rule));
    }
    if v.long("heartbeat.interval.ms") >= v.long("session.timeout.ms") {
        let rule = "Heartbeat must be set lower than the session timeout";
        mistakes.push(v.mistake("heartbeat.interval.ms", rule));
    }
}
