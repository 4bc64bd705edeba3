//! What a producer may be told, and how it follows from properties by 0.9's names.

use std::time::Duration;

use crate::client::metadata::HostPort;
use crate::config::{OldProducerConfig, ProducerConfig};
use crate::message::Codec;
use crate::util::clock::Clock;

/// How records are spread over partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitioning {
    /// As the new producer: murmur2 of the key, else in turn.
    RoundRobin,
    /// As the old producer: Java's hash of the key, else one partition until the next refresh.
    Sticky,
}

/// A bound on the number of records, as the old producer has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordQueue {
    /// `queue.buffering.max.messages`, at least 1.
    pub records: usize,
    /// `queue.enqueue.timeout.ms`: how long sending waits for a place; for ever when `None`.
    pub patience: Option<Duration>,
}

/// What a producer may be told. The default is that of 0.9's new producer.
///
/// ```
/// use kafka::client::ProducerSettings;
/// use kafka::config::{ProducerConfig, Properties};
///
/// let mut properties = Properties::new();
/// properties.set("bootstrap.servers", "localhost:9092", "here");
/// properties.set("acks", "all", "here");
/// let (config, warnings) = ProducerConfig::from_properties(&properties)?;
/// let settings = ProducerSettings::from(config);
/// assert_eq!((settings.acks, settings.retries, warnings.len()), (-1, 0, 0));
/// # Ok::<(), kafka::config::ConfigErrors>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProducerSettings {
    /// `bootstrap.servers`
    pub bootstrap: Vec<HostPort>,
    /// `client.id`
    pub client_id: String,
    /// `acks`: 0 none, 1 the leader's, -1 all in-sync replicas'.
    pub acks: i16,
    /// `retries`
    pub retries: u32,
    /// `batch.size` in bytes.
    pub batch_size: usize,
    /// At most so many records in a batch, whatever their size; the old producer's `batch.num.messages`.
    pub batch_messages: Option<usize>,
    /// `linger.ms`
    pub linger: Duration,
    /// `buffer.memory` in bytes.
    pub buffer_memory: usize,
    /// At most so many records at a time, whatever their size.
    pub queue: Option<RecordQueue>,
    /// `compression.type`
    pub codec: Codec,
    /// The topics that are compressed, all when empty; the old producer's `compressed.topics`.
    pub compressed_topics: Vec<String>,
    /// `max.request.size` in bytes.
    pub max_request_size: usize,
    /// `max.block.ms`
    pub max_block: Duration,
    /// `request.timeout.ms`
    pub request_timeout: Duration,
    /// `max.in.flight.requests.per.connection`, at least 1. With 1, retries keep the order.
    pub max_in_flight: usize,
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
    /// The rule for partitions.
    pub partitioning: Partitioning,
    /// Where time comes from.
    pub clock: Clock,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        ProducerSettings {
            bootstrap: Vec::new(),
            client_id: String::new(),
            acks: 1,
            retries: 0,
            batch_size: 16384,
            batch_messages: None,
            linger: Duration::ZERO,
            buffer_memory: 32 << 20,
            queue: None,
            codec: Codec::None,
            compressed_topics: Vec::new(),
            max_request_size: 1 << 20,
            max_block: Duration::from_secs(60),
            request_timeout: Duration::from_secs(30),
            max_in_flight: 5,
            metadata_max_age: Duration::from_secs(300),
            retry_backoff: Duration::from_millis(100),
            reconnect_backoff: Duration::from_millis(50),
            connections_max_idle: Duration::from_secs(540),
            send_buffer_bytes: Some(131_072),
            receive_buffer_bytes: Some(32768),
            partitioning: Partitioning::RoundRobin,
            clock: Clock::system(),
        }
    }
}

/// A socket buffer's size: 0 leaves it to the system.
fn buffer(bytes: u32) -> Option<u32> {
    (bytes > 0).then_some(bytes)
}

impl From<ProducerConfig> for ProducerSettings {
    fn from(c: ProducerConfig) -> ProducerSettings {
        ProducerSettings {
            bootstrap: HostPort::all(c.bootstrap_servers),
            client_id: c.client_id,
            acks: c.acks,
            retries: c.retries,
            batch_size: c.batch_size,
            linger: c.linger,
            buffer_memory: c.buffer_memory,
            codec: c.codec,
            max_request_size: c.max_request_size,
            max_block: c.max_block,
            request_timeout: c.request_timeout,
            max_in_flight: c.max_in_flight,
            metadata_max_age: c.metadata_max_age,
            retry_backoff: c.retry_backoff,
            reconnect_backoff: c.reconnect_backoff,
            connections_max_idle: c.connections_max_idle,
            send_buffer_bytes: buffer(c.send_buffer_bytes),
            receive_buffer_bytes: buffer(c.receive_buffer_bytes),
            ..ProducerSettings::default()
        }
    }
}

/// The old producer's ways: it has no memory to fill but a queue of messages; its batches go when they
/// have enough messages or have waited, one request after the other.
impl From<OldProducerConfig> for ProducerSettings {
    fn from(c: OldProducerConfig) -> ProducerSettings {
        ProducerSettings {
            bootstrap: HostPort::all(c.metadata_broker_list),
            client_id: c.client_id,
            acks: c.request_required_acks,
            retries: c.message_send_max_retries,
            // A whole queue may become one request.
            batch_size: 1 << 20,
            batch_messages: Some(c.batch_num_messages.max(1)),
            linger: if c.is_async {
                c.queue_buffering_max
            } else {
                Duration::ZERO
            },
            codec: c.codec,
            compressed_topics: c
                .compressed_topics
                .into_iter()
                .filter(|t| !t.is_empty())
                .collect(),
            max_request_size: i32::MAX as usize,
            // It has no limit of its own for metadata: each try asks anew.
            max_block: (c.retry_backoff + c.request_timeout).saturating_mul(c.message_send_max_retries + 1),
            buffer_memory: usize::MAX,
            queue: Some(RecordQueue {
                records: c.queue_buffering_max_messages.max(1),
                patience: c.queue_enqueue_timeout,
            }),
            request_timeout: c.request_timeout,
            max_in_flight: 1,
            metadata_max_age: c.topic_metadata_refresh_interval.unwrap_or(Duration::MAX),
            retry_backoff: c.retry_backoff,
            send_buffer_bytes: buffer(c.send_buffer_bytes),
            receive_buffer_bytes: None,
            partitioning: Partitioning::Sticky,
            ..ProducerSettings::default()
        }
    }
}
