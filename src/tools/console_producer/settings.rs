//! The console producer's options as a producer's settings: a properties file, `--producer-property`s
//! over it, and over both the options with their defaults, as Kafka puts them together.

use std::path::Path;
use std::time::Duration;

use ::log::warn;

use crate::client::HostPort;
use crate::client::producer::{Partitioning, ProducerSettings, RecordQueue};
use crate::config::{ConfigErrors, OldProducerConfig, ProducerConfig, Properties};
use crate::message::Codec;
use crate::tools::options::{self, OptionSet, parse_key_value_args};

/// Whose ways are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    New,
    /// The Scala producer's, which speaks of its number of tries.
    Old {
        tries: u32,
    },
}

/// How to send.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) producer: ProducerSettings,
    pub(super) kind: Kind,
    /// Each record is awaited before the next.
    pub(super) sync: bool,
}

/// What is wrong with options or file.
#[derive(Debug)]
pub(super) enum Refused {
    Options(options::Error),
    Config(ConfigErrors),
    File(String),
}

impl From<options::Error> for Refused {
    fn from(e: options::Error) -> Self {
        Refused::Options(e)
    }
}

pub(super) fn read(options: &OptionSet) -> Result<Settings, Refused> {
    let mut properties = match options.value("producer.config")? {
        Some(file) => Properties::load(Path::new(&file)).map_err(|e| Refused::File(e.to_string()))?,
        None => Properties::new(),
    };
    for (key, value) in parse_key_value_args(&options.values("producer-property")?)? {
        properties.set(&key, &value, "--producer-property");
    }
    if options.has("old-producer") {
        old(options, properties)
    } else {
        new(options, properties)
    }
}

/// An option and the property that it sets.
type Row = (&'static str, &'static str);

const NEW: &[Row] = &[
    ("broker-list", "bootstrap.servers"),
    ("socket-buffer-size", "send.buffer.bytes"),
    ("request-required-acks", "acks"),
    ("request-timeout-ms", "request.timeout.ms"),
    ("message-send-max-retries", "retries"),
    ("retry-backoff-ms", "retry.backoff.ms"),
    ("timeout", "linger.ms"),
    ("max-block-ms", "max.block.ms"),
    ("max-memory-bytes", "buffer.memory"),
    ("max-partition-memory-bytes", "batch.size"),
    ("metadata-expiry-ms", "metadata.max.age.ms"),
];

const OLD: &[Row] = &[
    ("broker-list", "metadata.broker.list"),
    ("batch-size", "batch.num.messages"),
    ("message-send-max-retries", "message.send.max.retries"),
    ("retry-backoff-ms", "retry.backoff.ms"),
    ("timeout", "queue.buffering.max.ms"),
    ("queue-size", "queue.buffering.max.messages"),
    ("queue-enqueuetimeout-ms", "queue.enqueue.timeout.ms"),
    ("request-required-acks", "request.required.acks"),
    ("request-timeout-ms", "request.timeout.ms"),
    ("key-serializer", "key.serializer.class"),
    ("value-serializer", "serializer.class"),
    ("socket-buffer-size", "send.buffer.bytes"),
    ("metadata-expiry-ms", "topic.metadata.refresh.interval.ms"),
];

fn put(options: &OptionSet, rows: &[Row], properties: &mut Properties) -> options::Result<()> {
    for (option, key) in rows {
        // Conversions are checked by asking for the number, as Kafka does.
        let value = options.value(option)?.unwrap_or_default();
        properties.set(key, &value, &format!("--{option}"));
    }
    properties.set("client.id", "console-producer", "kafka-console-producer");
    Ok(())
}

fn codec(options: &OptionSet) -> options::Result<String> {
    Ok(match options.value("compression-codec")? {
        Some(name) if !name.is_empty() => name,
        _ if options.has("compression-codec") => "gzip".to_owned(),
        _ => "none".to_owned(),
    })
}

fn addresses(list: Vec<(String, u16)>) -> Vec<HostPort> {
    list.into_iter()
        .map(|(host, port)| HostPort {
            host,
            port: port.into(),
        })
        .collect()
}

fn buffer(bytes: u32) -> Option<u32> {
    (bytes > 0).then_some(bytes)
}

fn new(options: &OptionSet, mut properties: Properties) -> Result<Settings, Refused> {
    put(options, NEW, &mut properties)?;
    properties.set("compression.type", &codec(options)?, "--compression-codec");
    // Kafka's new producer heeds the old one's property here, and forgets --sync.
    let sync = options.has("sync") || properties.get("producer.type") == Some("sync");
    let (config, warnings) = ProducerConfig::from_properties(&properties).map_err(Refused::Config)?;
    for warning in warnings {
        warn!(target: "org.apache.kafka.clients.producer.ProducerConfig", "{warning}");
    }
    let producer = ProducerSettings {
        bootstrap: addresses(config.bootstrap_servers),
        client_id: config.client_id,
        acks: config.acks,
        retries: config.retries,
        batch_size: config.batch_size,
        batch_messages: None,
        linger: config.linger,
        buffer_memory: config.buffer_memory,
        codec: config.codec,
        max_request_size: config.max_request_size,
        max_block: config.max_block,
        request_timeout: config.request_timeout,
        max_in_flight: config.max_in_flight,
        metadata_max_age: config.metadata_max_age,
        retry_backoff: config.retry_backoff,
        reconnect_backoff: config.reconnect_backoff,
        connections_max_idle: config.connections_max_idle,
        send_buffer_bytes: buffer(config.send_buffer_bytes),
        receive_buffer_bytes: buffer(config.receive_buffer_bytes),
        ..ProducerSettings::default()
    };
    Ok(Settings {
        producer,
        kind: Kind::New,
        sync,
    })
}

/// The old producer has no memory to fill but a queue of messages; its batches go when they have enough
/// messages or have waited, one request after the other.
fn old(options: &OptionSet, mut properties: Properties) -> Result<Settings, Refused> {
    put(options, OLD, &mut properties)?;
    let kind = if options.has("sync") { "sync" } else { "async" };
    properties.set("producer.type", kind, "--sync");
    properties.set("compression.codec", &codec(options)?, "--compression-codec");
    let (config, warnings) = OldProducerConfig::from_properties(&properties).map_err(Refused::Config)?;
    for warning in warnings {
        warn!(target: "kafka.utils.VerifiableProperties", "{warning}");
    }
    let topic = options.value("topic")?.unwrap_or_default();
    let compressed =
        config.compressed_topics.iter().all(String::is_empty) || config.compressed_topics.contains(&topic);
    let producer = ProducerSettings {
        bootstrap: addresses(config.metadata_broker_list),
        client_id: config.client_id,
        acks: config.request_required_acks,
        retries: config.message_send_max_retries,
        // A whole queue may become one request.
        batch_size: 1 << 20,
        batch_messages: Some(config.batch_num_messages.max(1)),
        linger: if config.is_async {
            config.queue_buffering_max
        } else {
            Duration::ZERO
        },
        codec: if compressed { config.codec } else { Codec::None },
        max_request_size: i32::MAX as usize,
        // It has no limit of its own for metadata: each try asks anew.
        max_block: (config.retry_backoff + config.request_timeout)
            .saturating_mul(config.message_send_max_retries + 1),
        buffer_memory: usize::MAX,
        queue: Some(RecordQueue {
            records: config.queue_buffering_max_messages.max(1),
            patience: config.queue_enqueue_timeout,
        }),
        request_timeout: config.request_timeout,
        max_in_flight: 1,
        metadata_max_age: config.topic_metadata_refresh_interval.unwrap_or(Duration::MAX),
        retry_backoff: config.retry_backoff,
        send_buffer_bytes: buffer(config.send_buffer_bytes),
        receive_buffer_bytes: None,
        partitioning: Partitioning::Sticky,
        ..ProducerSettings::default()
    };
    Ok(Settings {
        producer,
        kind: Kind::Old {
            tries: config.message_send_max_retries,
        },
        sync: !config.is_async,
    })
}
