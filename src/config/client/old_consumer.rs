//! The consumer that keeps its groups in ZooKeeper (kafka.consumer.ConsumerConfig, kafka.utils.ZKConfig).

use std::time::Duration;

use super::{legal_id, require};
use crate::config::definition::{Definition, Key, Values, millis};
use crate::config::{ConfigErrors, Mistake, Properties};

/// The rows.
pub static KEYS: &[Key] = &[
    Key::string("group.id")
        .optional()
        .high()
        .doc("The group that shares the work. Required."),
    Key::string("zookeeper.connect")
        .optional()
        .high()
        .doc("Where ZooKeeper is. Required."),
    Key::int("zookeeper.session.timeout.ms")
        .default("6000")
        .doc("ZooKeeper declares this consumer gone when it hears nothing for so long."),
    Key::int("zookeeper.connection.timeout.ms")
        .optional()
        .doc("How long to wait for ZooKeeper at start. The session timeout if not set."),
    Key::int("zookeeper.sync.time.ms")
        .default("2000")
        .doc("How far a ZooKeeper follower may trail; the default pause between attempts to rebalance."),
    Key::string("consumer.id")
        .optional()
        .doc("The name of this member; made up if not set."),
    Key::int("socket.timeout.ms")
        .default("30000")
        .doc("How long an answer is waited for; at least `fetch.wait.max.ms`."),
    Key::int("socket.receive.buffer.bytes")
        .default("65536")
        .doc("SO_RCVBUF."),
    Key::int("fetch.message.max.bytes")
        .default("1048576")
        .doc("What is asked for per partition; the largest message that can be read."),
    Key::int("num.consumer.fetchers")
        .default("1")
        .doc("Connections to each broker."),
    Key::boolean("auto.commit.enable")
        .default("true")
        .high()
        .doc("Whether positions are committed from time to time."),
    Key::int("auto.commit.interval.ms")
        .default("60000")
        .doc("How often."),
    Key::int("queued.max.message.chunks")
        .default("2")
        .doc("Answers to fetches that may wait to be consumed, per stream."),
    Key::int("rebalance.max.retries")
        .default("4")
        .doc("How often a failed rebalance is tried again."),
    Key::int("rebalance.backoff.ms")
        .optional()
        .doc("The pause between. `zookeeper.sync.time.ms` if not set."),
    Key::int("fetch.min.bytes")
        .default("1")
        .doc("How much data a broker waits for."),
    Key::int("fetch.wait.max.ms")
        .default("100")
        .doc("How long it waits for it."),
    Key::int("refresh.leader.backoff.ms")
        .default("200")
        .doc("The pause before looking for a partition's new leader."),
    Key::int("offsets.channel.backoff.ms")
        .default("1000")
        .doc("With `kafka`, the pause before the group's coordinator is asked, or looked for, again."),
    Key::int("offsets.channel.socket.timeout.ms")
        .default("10000")
        .doc("With `kafka`, how long the coordinator may take to answer."),
    Key::int("offsets.commit.max.retries")
        .default("5")
        .doc("How often a commit that failed is tried again."),
    Key::string("offsets.storage")
        .default("zookeeper")
        .doc("Where positions are committed: `zookeeper` or `kafka`."),
    Key::boolean("dual.commit.enabled")
        .default("true")
        .doc("With `kafka`, whether they go to ZooKeeper too, and the larger of both counts."),
    Key::string("auto.offset.reset")
        .default("largest")
        .high()
        .doc("Where to begin without a position: `smallest` or `largest`."),
    Key::int("consumer.timeout.ms")
        .default("-1")
        .doc("Give up when no message came for so long; -1 never."),
    Key::string("client.id")
        .optional()
        .doc("What brokers call this client. `group.id` if not set."),
    Key::boolean("exclude.internal.topics")
        .default("true")
        .doc("Whether a pattern of topics leaves out Kafka's own."),
    Key::string("partition.assignment.strategy")
        .default("range")
        .doc("`range` or `roundrobin`; the same for all members."),
];

/// Where to begin without a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the oldest message.
    Smallest,
    /// After the newest one.
    Largest,
}

/// Where positions are committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetStorage {
    /// In `/consumers/<group>/offsets`.
    ZooKeeper,
    /// In the offsets topic.
    Kafka,
}

/// The settings of an old consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldConsumerConfig {
    /// `group.id`
    pub group_id: String,
    /// Hosts, perhaps with a chroot.
    pub zookeeper_connect: String,
    /// `zookeeper.session.timeout.ms`
    pub zookeeper_session_timeout: Duration,
    /// `zookeeper.connection.timeout.ms`, else the session timeout.
    pub zookeeper_connection_timeout: Duration,
    /// `zookeeper.sync.time.ms`
    pub zookeeper_sync_time: Duration,
    /// `consumer.id`; `None` to make one up.
    pub consumer_id: Option<String>,
    /// `client.id`, else the group.
    pub client_id: String,
    /// `socket.timeout.ms`
    pub socket_timeout: Duration,
    /// `socket.receive.buffer.bytes`; `None` leaves it to the system.
    pub socket_receive_buffer_bytes: Option<usize>,
    /// `fetch.message.max.bytes`
    pub fetch_message_max_bytes: i32,
    /// `num.consumer.fetchers`
    pub num_consumer_fetchers: usize,
    /// `auto.commit.enable`
    pub auto_commit_enable: bool,
    /// `auto.commit.interval.ms`
    pub auto_commit_interval: Duration,
    /// `queued.max.message.chunks`
    pub queued_max_message_chunks: usize,
    /// `rebalance.max.retries`
    pub rebalance_max_retries: u32,
    /// `rebalance.backoff.ms`, else the sync time.
    pub rebalance_backoff: Duration,
    /// `fetch.min.bytes`
    pub fetch_min_bytes: i32,
    /// `fetch.wait.max.ms`
    pub fetch_wait_max: Duration,
    /// `refresh.leader.backoff.ms`
    pub refresh_leader_backoff: Duration,
    /// `offsets.storage`
    pub offsets_storage: OffsetStorage,
    /// `dual.commit.enabled`; without a meaning unless offsets are kept in Kafka.
    pub dual_commit_enabled: bool,
    /// `offsets.channel.backoff.ms`
    pub offsets_channel_backoff: Duration,
    /// `offsets.channel.socket.timeout.ms`
    pub offsets_channel_socket_timeout: Duration,
    /// `offsets.commit.max.retries`
    pub offsets_commit_max_retries: u32,
    /// `auto.offset.reset`
    pub auto_offset_reset: OffsetReset,
    /// `consumer.timeout.ms`; `None` (negative) waits for ever.
    pub consumer_timeout: Option<Duration>,
    /// `exclude.internal.topics`
    pub exclude_internal_topics: bool,
    /// `partition.assignment.strategy` is `roundrobin` rather than `range`.
    pub roundrobin: bool,
}

impl OldConsumerConfig {
    /// Reads an old consumer's settings. Beside them: what to warn about.
    ///
    /// # Errors
    /// Every mistake, in Kafka's words.
    pub fn from_properties(
        properties: &Properties,
    ) -> Result<(OldConsumerConfig, Vec<String>), ConfigErrors> {
        let definition = Definition::new(&[KEYS]).expect("the rows have different names");
        let (v, mut mistakes) = definition.read(properties);
        let warnings = definition.warnings(properties);
        check(&v, &mut mistakes);
        if !mistakes.is_empty() {
            return Err(ConfigErrors::new(mistakes));
        }
        let session = v.millis("zookeeper.session.timeout.ms");
        let sync = v.millis("zookeeper.sync.time.ms");
        let config = OldConsumerConfig {
            group_id: v.text("group.id"),
            zookeeper_connect: v.text("zookeeper.connect"),
            zookeeper_session_timeout: session,
            zookeeper_connection_timeout: v
                .number_or_null("zookeeper.connection.timeout.ms")
                .map_or(session, millis),
            zookeeper_sync_time: sync,
            consumer_id: v.text_or_null("consumer.id"),
            client_id: v.text_or_null("client.id").unwrap_or_else(|| v.text("group.id")),
            socket_timeout: v.millis("socket.timeout.ms"),
            socket_receive_buffer_bytes: Some(v.size("socket.receive.buffer.bytes")).filter(|&n| n > 0),
            fetch_message_max_bytes: v.int("fetch.message.max.bytes"),
            num_consumer_fetchers: v.size("num.consumer.fetchers").max(1),
            auto_commit_enable: v.boolean("auto.commit.enable"),
            auto_commit_interval: v.millis("auto.commit.interval.ms"),
            queued_max_message_chunks: v.size("queued.max.message.chunks").max(1),
            rebalance_max_retries: u32::try_from(v.int("rebalance.max.retries")).unwrap_or(0),
            rebalance_backoff: v.number_or_null("rebalance.backoff.ms").map_or(sync, millis),
            fetch_min_bytes: v.int("fetch.min.bytes"),
            fetch_wait_max: v.millis("fetch.wait.max.ms"),
            refresh_leader_backoff: v.millis("refresh.leader.backoff.ms"),
            offsets_storage: match v.text("offsets.storage").to_ascii_lowercase().as_str() {
                "kafka" => OffsetStorage::Kafka,
                _ => OffsetStorage::ZooKeeper,
            },
            dual_commit_enabled: v.boolean("dual.commit.enabled"),
            offsets_channel_backoff: v.millis("offsets.channel.backoff.ms"),
            offsets_channel_socket_timeout: v.millis("offsets.channel.socket.timeout.ms"),
            offsets_commit_max_retries: u32::try_from(v.int("offsets.commit.max.retries")).unwrap_or(0),
            auto_offset_reset: match v.text("auto.offset.reset").as_str() {
                "smallest" => OffsetReset::Smallest,
                _ => OffsetReset::Largest,
            },
            consumer_timeout: (v.long("consumer.timeout.ms") >= 0).then(|| v.millis("consumer.timeout.ms")),
            exclude_internal_topics: v.boolean("exclude.internal.topics"),
            roundrobin: v.text("partition.assignment.strategy") == "roundrobin",
        };
        Ok((config, warnings))
    }
}

fn check(v: &Values, mistakes: &mut Vec<Mistake>) {
    mistakes.extend(require(v, "zookeeper.connect"));
    mistakes.extend(require(v, "group.id"));
    for key in ["group.id", "client.id"] {
        if let Err(rule) = legal_id(&v.text(key)) {
            mistakes.push(v.mistake(key, rule));
        }
    }
    if v.long("fetch.wait.max.ms") > v.long("socket.timeout.ms") {
        let rule = "requirement failed: socket.timeout.ms should always be at least fetch.wait.max.ms to prevent \
                    unnecessary socket timeouts";
        mistakes.push(v.mistake("socket.timeout.ms", rule));
    }
    let mut one_of = |key: &str, texts: &[&str], rule: &str| {
        let value = v.text(key);
        if !texts.contains(&value.as_str()) {
            mistakes.push(v.mistake(key, format!("Wrong value {value} of {key} in {rule}")));
        }
    };
    one_of(
        "auto.offset.reset",
        &["smallest", "largest"],
        "ConsumerConfig; Valid values are smallest and largest",
    );
    one_of(
        "partition.assignment.strategy",
        &["range", "roundrobin"],
        "consumer config; Valid values are 'range' and 'roundrobin'",
    );
    let storage = v.text("offsets.storage");
    if !["zookeeper", "kafka"]
        .iter()
        .any(|s| s.eq_ignore_ascii_case(&storage))
    {
        let rule = format!(
            "Wrong value {storage} of offsets.storage in consumer config; Valid values are 'zookeeper' and 'kafka'"
        );
        mistakes.push(v.mistake("offsets.storage", rule));
    }
}
