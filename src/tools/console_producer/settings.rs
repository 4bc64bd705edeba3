//! The console producer's options as a producer's settings: a properties file, `--producer-property`s
//! over it, and over both the options with their defaults, as Kafka puts them together.

use std::path::Path;

use ::log::warn;

use crate::client::producer::ProducerSettings;
use crate::config::{ConfigErrors, OldProducerConfig, ProducerConfig, Properties};
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

fn new(options: &OptionSet, mut properties: Properties) -> Result<Settings, Refused> {
    put(options, NEW, &mut properties)?;
    properties.set("compression.type", &codec(options)?, "--compression-codec");
    // Kafka's new producer heeds the old one's property here, and forgets --sync.
    let sync = options.has("sync") || properties.get("producer.type") == Some("sync");
    let (config, warnings) = ProducerConfig::from_properties(&properties).map_err(Refused::Config)?;
    for warning in warnings {
        warn!(target: "org.apache.kafka.clients.producer.ProducerConfig", "{warning}");
    }
    Ok(Settings {
        producer: config.into(),
        kind: Kind::New,
        sync,
    })
}

fn old(options: &OptionSet, mut properties: Properties) -> Result<Settings, Refused> {
    put(options, OLD, &mut properties)?;
    let kind = if options.has("sync") { "sync" } else { "async" };
    properties.set("producer.type", kind, "--sync");
    properties.set("compression.codec", &codec(options)?, "--compression-codec");
    let (config, warnings) = OldProducerConfig::from_properties(&properties).map_err(Refused::Config)?;
    for warning in warnings {
        warn!(target: "kafka.utils.VerifiableProperties", "{warning}");
    }
    let (tries, is_async) = (config.message_send_max_retries, config.is_async);
    Ok(Settings {
        producer: config.into(),
        kind: Kind::Old { tries },
        sync: !is_async,
    })
}
