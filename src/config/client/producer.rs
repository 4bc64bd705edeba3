//! The producer of 0.9 (org.apache.kafka.clients.producer.ProducerConfig).

use std::time::Duration;

use super::{SECURITY_KEYS, servers, unknown};
use crate::config::definition::{Definition, Key, millis};
use crate::config::{ConfigErrors, Properties};
use crate::message::Codec;

const SERIALIZERS: &[&str] = &[
    "org.apache.kafka.common.serialization.ByteArraySerializer",
    "org.apache.kafka.common.serialization.StringSerializer",
    "org.apache.kafka.common.serialization.IntegerSerializer",
    "org.apache.kafka.common.serialization.LongSerializer",
];

/// The rows.
pub static KEYS: &[Key] = &[
    Key::list("bootstrap.servers")
        .high()
        .doc("Brokers to ask first: `host:port` between commas."),
    Key::string("acks")
        .default("1")
        .one_of(&["all", "-1", "0", "1"])
        .high()
        .doc("What is waited for: 0 nothing, 1 the leader, all (or -1) every replica in sync."),
    Key::int("retries")
        .default("0")
        .between(0, 2_147_483_647)
        .high()
        .doc("How often a batch is sent again after an error that may pass."),
    Key::int("batch.size")
        .default("16384")
        .at_least(0)
        .doc("The size that batches of a partition grow to, in bytes."),
    Key::long("linger.ms")
        .default("0")
        .at_least(0)
        .doc("How long a batch that is not full waits for more."),
    Key::long("buffer.memory")
        .default("33554432")
        .at_least(0)
        .high()
        .doc("Bytes that may wait to be sent."),
    Key::string("compression.type")
        .default("none")
        .high()
        .doc("none, gzip, snappy or lz4."),
    Key::string("client.id")
        .default("")
        .doc("What brokers call this client in logs and quotas."),
    Key::int("max.request.size")
        .default("1048576")
        .at_least(0)
        .doc("The largest request, and so the largest record."),
    Key::long("max.block.ms")
        .default("60000")
        .at_least(0)
        .doc("How long sending may wait for metadata or for room in the buffer."),
    Key::int("request.timeout.ms")
        .default("30000")
        .at_least(0)
        .doc("How long an answer is waited for."),
    Key::int("max.in.flight.requests.per.connection")
        .default("5")
        .at_least(1)
        .low()
        .doc("Requests without an answer on a connection; with 1, retries keep the order."),
    Key::long("metadata.max.age.ms")
        .default("300000")
        .at_least(0)
        .low()
        .doc("How old metadata may get."),
    Key::long("retry.backoff.ms")
        .default("100")
        .at_least(0)
        .low()
        .doc("The pause before a retry."),
    Key::long("reconnect.backoff.ms")
        .default("50")
        .at_least(0)
        .low()
        .doc("The pause before connecting again."),
    Key::long("connections.max.idle.ms")
        .default("540000")
        .doc("A connection that is idle for so long is closed."),
    Key::int("send.buffer.bytes")
        .default("131072")
        .at_least(0)
        .doc("SO_SNDBUF."),
    Key::int("receive.buffer.bytes")
        .default("32768")
        .at_least(0)
        .doc("SO_RCVBUF."),
    Key::class("key.serializer")
        .optional()
        .one_of(SERIALIZERS)
        .high()
        .doc("Accepted; the programs send bytes."),
    Key::class("value.serializer")
        .optional()
        .one_of(SERIALIZERS)
        .high()
        .doc("Accepted; the programs send bytes."),
    Key::boolean("block.on.buffer.full")
        .optional()
        .low()
        .doc("Deprecated: true waits for ever, whatever `max.block.ms` says."),
    Key::long("metadata.fetch.timeout.ms")
        .optional()
        .at_least(0)
        .low()
        .doc("Deprecated: `max.block.ms`."),
    Key::int("timeout.ms")
        .optional()
        .at_least(0)
        .doc("Deprecated: `request.timeout.ms`."),
    Key::class("partitioner.class")
        .default("org.apache.kafka.clients.producer.internals.DefaultPartitioner")
        .one_of(&["org.apache.kafka.clients.producer.internals.DefaultPartitioner"])
        .doc("Only the default one exists."),
    Key::list("metric.reporters")
        .default("")
        .low()
        .not_acted_on()
        .doc("Classes that report metrics."),
    Key::int("metrics.num.samples")
        .default("2")
        .at_least(1)
        .low()
        .not_acted_on()
        .doc("Windows of a rate."),
    Key::long("metrics.sample.window.ms")
        .default("30000")
        .at_least(0)
        .low()
        .not_acted_on()
        .doc("Length of a window."),
];

/// The settings of a producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerConfig {
    /// Hosts and ports; at least one.
    pub bootstrap_servers: Vec<(String, u16)>,
    /// -1, 0 or 1.
    pub acks: i16,
    /// Retries of a batch.
    pub retries: u32,
    /// Bytes of a full batch.
    pub batch_size: usize,
    /// How long a batch waits for more.
    pub linger: Duration,
    /// Bytes that may wait.
    pub buffer_memory: usize,
    /// `compression.type`
    pub codec: Codec,
    /// `client.id`
    pub client_id: String,
    /// Bytes of the largest request.
    pub max_request_size: usize,
    /// How long sending may wait. `metadata.fetch.timeout.ms` counts if set; `block.on.buffer.full` means
    /// for ever.
    pub max_block: Duration,
    /// How long an answer is waited for; `timeout.ms` counts if set.
    pub request_timeout: Duration,
    /// At least 1.
    pub max_in_flight: usize,
    /// How old metadata may get.
    pub metadata_max_age: Duration,
    /// The pause before a retry.
    pub retry_backoff: Duration,
    /// The pause before connecting again.
    pub reconnect_backoff: Duration,
    /// A connection that is idle for so long is closed.
    pub connections_max_idle: Duration,
    /// SO_SNDBUF; 0 leaves it to the system.
    pub send_buffer_bytes: u32,
    /// SO_RCVBUF; 0 leaves it to the system.
    pub receive_buffer_bytes: u32,
}

fn definition() -> Definition {
    Definition::new(&[KEYS, SECURITY_KEYS]).expect("the rows have different names")
}

impl ProducerConfig {
    /// Reads a producer's settings. Beside them: what to warn about.
    ///
    /// # Errors
    /// Every mistake, in Kafka's words.
    pub fn from_properties(properties: &Properties) -> Result<(ProducerConfig, Vec<String>), ConfigErrors> {
        let (v, mut mistakes) = definition().read(properties);
        let mut warnings = unknown(&definition(), properties);
        let bootstrap_servers = servers(&v, &mut mistakes);
        let codec = match v.text("compression.type").as_str() {
            "uncompressed" => None,
            name => Codec::parse(name),
        };
        if codec.is_none() {
            let rule = format!("Unknown compression name: {}", v.text("compression.type"));
            mistakes.push(v.mistake("compression.type", rule));
        }
        let mut deprecated = |old: &'static str, new: &'static str| {
            let value = v.number_or_null(old);
            if value.is_some() {
                warnings.push(format!(
                    "{old} config is deprecated and will be removed soon. Please use {new}"
                ));
            }
            value
        };
        let max_block = deprecated("metadata.fetch.timeout.ms", "max.block.ms");
        let request_timeout = deprecated("timeout.ms", "request.timeout.ms");
        if !mistakes.is_empty() {
            return Err(ConfigErrors::new(mistakes));
        }
        let forever = v.boolean("block.on.buffer.full");
        let size = |name: &str| u32::try_from(v.long(name)).unwrap_or(0);
        let config = ProducerConfig {
            bootstrap_servers,
            acks: match v.text("acks").as_str() {
                "0" => 0,
                "1" => 1,
                _ => -1,
            },
            retries: size("retries"),
            batch_size: v.size("batch.size"),
            linger: v.millis("linger.ms"),
            buffer_memory: v.size("buffer.memory"),
            codec: codec.unwrap_or_default(),
            client_id: v.text("client.id"),
            max_request_size: v.size("max.request.size"),
            max_block: match max_block {
                _ if forever => Duration::MAX,
                ms => ms.map_or_else(|| v.millis("max.block.ms"), millis),
            },
            request_timeout: request_timeout.map_or_else(|| v.millis("request.timeout.ms"), millis),
            max_in_flight: v.size("max.in.flight.requests.per.connection"),
            metadata_max_age: v.millis("metadata.max.age.ms"),
            retry_backoff: v.millis("retry.backoff.ms"),
            reconnect_backoff: v.millis("reconnect.backoff.ms"),
            connections_max_idle: v.millis("connections.max.idle.ms"),
            send_buffer_bytes: size("send.buffer.bytes"),
            receive_buffer_bytes: size("receive.buffer.bytes"),
        };
        Ok((config, warnings))
    }
}
