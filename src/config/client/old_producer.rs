//! The producer before 0.8.2 (kafka.producer.ProducerConfig), which the console producer still offers.

use std::time::Duration;

use super::{host_port, legal_id, require};
use crate::config::definition::{Definition, Key};
use crate::config::{ConfigErrors, Properties};
use crate::message::Codec;

const ENCODERS: &[&str] = &[
    "kafka.serializer.DefaultEncoder",
    "kafka.serializer.NullEncoder",
    "kafka.serializer.StringEncoder",
];

/// The rows.
pub static KEYS: &[Key] = &[
    Key::string("metadata.broker.list")
        .optional()
        .high()
        .doc("Brokers to ask first: `host:port` between commas. Required."),
    Key::string("producer.type")
        .default("sync")
        .high()
        .doc("`async` collects messages and sends them in the background."),
    Key::int("request.required.acks")
        .default("0")
        .high()
        .doc("0, 1 or -1, as `acks`."),
    Key::int("request.timeout.ms")
        .default("10000")
        .doc("How long an answer is waited for."),
    Key::string("compression.codec")
        .default("none")
        .high()
        .doc("none, gzip, snappy or lz4, or 0 to 3."),
    Key::list("compressed.topics")
        .optional()
        .doc("Topics that are compressed; all if not set."),
    Key::int("message.send.max.retries")
        .default("3")
        .high()
        .doc("How often a failed send is tried again."),
    Key::int("retry.backoff.ms")
        .default("100")
        .doc("The pause before a retry."),
    Key::int("topic.metadata.refresh.interval.ms")
        .default("600000")
        .doc("How old metadata may get."),
    Key::int("queue.buffering.max.ms")
        .default("5000")
        .doc("How long an async message waits for others."),
    Key::int("queue.buffering.max.messages")
        .default("10000")
        .doc("Messages that may wait."),
    Key::int("queue.enqueue.timeout.ms")
        .default("-1")
        .doc("How long sending waits for room among them: -1 for ever, 0 not at all."),
    Key::int("batch.num.messages")
        .default("200")
        .doc("Messages of an async batch."),
    Key::int("send.buffer.bytes").default("102400").doc("SO_SNDBUF."),
    Key::string("client.id")
        .default("")
        .doc("What brokers call this client in logs and quotas."),
    Key::class("serializer.class")
        .default("kafka.serializer.DefaultEncoder")
        .one_of(ENCODERS)
        .doc("Accepted; the programs send bytes."),
    Key::class("key.serializer.class")
        .optional()
        .one_of(ENCODERS)
        .doc("Accepted; the programs send bytes."),
    Key::class("partitioner.class")
        .default("kafka.producer.DefaultPartitioner")
        .one_of(&[
            "kafka.producer.DefaultPartitioner",
            "kafka.producer.ByteArrayPartitioner",
        ])
        .doc("How keys choose partitions; the programs use ByteArrayPartitioner."),
];

/// The settings of an old producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldProducerConfig {
    /// Hosts and ports; at least one.
    pub metadata_broker_list: Vec<(String, u16)>,
    /// Whether messages are collected and sent in the background.
    pub is_async: bool,
    /// -1, 0 or 1.
    pub request_required_acks: i16,
    /// How long an answer is waited for.
    pub request_timeout: Duration,
    /// `compression.codec`
    pub codec: Codec,
    /// Topics that are compressed; all when empty.
    pub compressed_topics: Vec<String>,
    /// Retries of a failed send.
    pub message_send_max_retries: u32,
    /// The pause before a retry.
    pub retry_backoff: Duration,
    /// How old metadata may get; `None` (negative) until a send fails.
    pub topic_metadata_refresh_interval: Option<Duration>,
    /// How long an async message waits for others.
    pub queue_buffering_max: Duration,
    /// Messages that may wait.
    pub queue_buffering_max_messages: usize,
    /// How long sending waits for room; `None` for ever.
    pub queue_enqueue_timeout: Option<Duration>,
    /// Messages of an async batch.
    pub batch_num_messages: usize,
    /// SO_SNDBUF; 0 leaves it to the system.
    pub send_buffer_bytes: u32,
    /// `client.id`
    pub client_id: String,
}

impl OldProducerConfig {
    /// Reads an old producer's settings. Beside them: what to warn about.
    ///
    /// # Errors
    /// Every mistake, in Kafka's words.
    pub fn from_properties(
        properties: &Properties,
    ) -> Result<(OldProducerConfig, Vec<String>), ConfigErrors> {
        let definition = Definition::new(&[KEYS]).expect("the rows have different names");
        let (v, mut mistakes) = definition.read(properties);
        mistakes.extend(require(&v, "metadata.broker.list"));
        let mut servers = Vec::new();
        for broker in v
            .text("metadata.broker.list")
            .split(',')
            .map(str::trim)
            .filter(|b| !b.is_empty())
        {
            match host_port(broker) {
                Some(server) => servers.push(server),
                None => {
                    mistakes.push(v.mistake("metadata.broker.list", format!("{broker} is not host:port")))
                }
            }
        }
        let mut wrong = |holds: bool, key: &str, rule: String| {
            if !holds {
                mistakes.push(v.mistake(key, rule));
            }
        };
        let kind = v.text("producer.type");
        wrong(
            matches!(kind.as_str(), "sync" | "async"),
            "producer.type",
            format!("Invalid value {kind} for producer.type, valid values are sync/async"),
        );
        let acks = v.int("request.required.acks");
        wrong(
            (-1..=1).contains(&acks),
            "request.required.acks",
            format!(
                "requirement failed: request.required.acks has value {acks} which is not in the range (-1,1)."
            ),
        );
        let (batch, queue) = (v.int("batch.num.messages"), v.int("queue.buffering.max.messages"));
        wrong(
            batch <= queue,
            "batch.num.messages",
            format!("Batch size = {batch} can't be larger than queue size = {queue}"),
        );
        let id = v.text("client.id");
        if let Err(rule) = legal_id(&id) {
            wrong(false, "client.id", rule);
        }
        let name = v.text("compression.codec");
        let codec = old_codec(&name);
        wrong(
            codec.is_some(),
            "compression.codec",
            format!("{name} is an unknown compression codec"),
        );
        if !mistakes.is_empty() {
            return Err(ConfigErrors::new(mistakes));
        }
        let count = |name: &str| u32::try_from(v.long(name)).unwrap_or(0);
        let unless_negative = |name: &str| (v.long(name) >= 0).then(|| v.millis(name));
        let config = OldProducerConfig {
            metadata_broker_list: servers,
            is_async: kind == "async",
            request_required_acks: i16::try_from(acks).unwrap_or(0),
            request_timeout: v.millis("request.timeout.ms"),
            codec: codec.unwrap_or_default(),
            compressed_topics: v.list("compressed.topics"),
            message_send_max_retries: count("message.send.max.retries"),
            retry_backoff: v.millis("retry.backoff.ms"),
            topic_metadata_refresh_interval: unless_negative("topic.metadata.refresh.interval.ms"),
            queue_buffering_max: v.millis("queue.buffering.max.ms"),
            queue_buffering_max_messages: v.size("queue.buffering.max.messages"),
            queue_enqueue_timeout: unless_negative("queue.enqueue.timeout.ms"),
            batch_num_messages: v.size("batch.num.messages"),
            send_buffer_bytes: count("send.buffer.bytes"),
            client_id: id,
        };
        Ok((config, definition.warnings(properties)))
    }
}

/// The old names: in any case, or the number in a message's attributes.
fn old_codec(name: &str) -> Option<Codec> {
    match name.to_ascii_lowercase().as_str() {
        "0" => Some(Codec::None),
        "1" => Some(Codec::Gzip),
        "2" => Some(Codec::Snappy),
        "3" => Some(Codec::Lz4),
        "uncompressed" => None,
        other => Codec::parse(other),
    }
}
