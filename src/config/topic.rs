//! What a log heeds: the eighteen settings that each topic may override (kafka.log.LogConfig). Does not
//! know the broker's names for their defaults.

use std::collections::BTreeMap;
use std::time::Duration;

use super::definition::{Definition, Key, Value, Values};
use super::{ConfigErrors, Mistake, Properties};

/// The rows. Sorted by name, as the help of kafka-topics lists them.
pub static KEYS: &[Key] = &[
    Key::string("cleanup.policy")
        .default("delete")
        .one_of(&["compact", "delete"])
        .doc(
            "What happens to old segments: `delete` drops them, `compact` keeps the last value of each key.",
        ),
    Key::string("compression.type")
        .default("producer")
        .one_of(COMPRESSION_TYPES)
        .doc("The codec that sets are stored with; `producer` keeps what the producer chose."),
    Key::long("delete.retention.ms")
        .default("86400000")
        .at_least(0)
        .doc("How long a compacted log keeps the marker of a deleted key."),
    Key::long("file.delete.delay.ms")
        .default("60000")
        .at_least(0)
        .doc("How long a dropped segment stays on disk for those still reading it."),
    Key::long("flush.messages")
        .default("9223372036854775807")
        .at_least(0)
        .doc("Force a log to disk after this many messages."),
    Key::long("flush.ms")
        .default("9223372036854775807")
        .at_least(0)
        .doc("Force a log to disk when its oldest unflushed message is this old."),
    Key::int("index.interval.bytes")
        .default("4096")
        .at_least(0)
        .doc("An entry goes into the offset index for about every so many bytes of log."),
    Key::int("max.message.bytes")
        .default("1000012")
        .at_least(0)
        .doc("The largest message, or compressed set, that is accepted."),
    Key::double("min.cleanable.dirty.ratio")
        .default("0.5")
        .between(0, 1)
        .doc("Compact a log when this share of it was never compacted."),
    Key::int("min.insync.replicas")
        .default("1")
        .at_least(1)
        .doc("With acks=-1, refuse to append while fewer replicas are in sync."),
    Key::boolean("preallocate")
        .default("false")
        .doc("Give a new segment its full size on disk at once."),
    Key::long("retention.bytes")
        .default("-1")
        .doc("Drop the oldest segments of a partition beyond this size; -1 for no limit."),
    Key::long("retention.ms")
        .default("604800000")
        .doc("Drop segments whose last write is older than this; negative for no limit."),
    Key::int("segment.bytes")
        .default("1073741824")
        .at_least(14)
        .doc("Roll to a new segment file before one exceeds this size."),
    Key::int("segment.index.bytes")
        .default("10485760")
        .at_least(0)
        .doc("The size of an offset index at which its segment rolls."),
    Key::long("segment.jitter.ms")
        .default("0")
        .at_least(0)
        .doc("A random part of this is taken off `segment.ms`, so that not all logs roll at once."),
    Key::long("segment.ms")
        .default("604800000")
        .at_least(0)
        .doc("Roll to a new segment when the present one is this old, however small."),
    Key::boolean("unclean.leader.election.enable")
        .default("true")
        .doc("Let a replica that is out of sync lead when no other is left, losing what it lacks."),
];

/// What `compression.type` may be.
pub static COMPRESSION_TYPES: &[&str] = &["uncompressed", "snappy", "lz4", "gzip", "producer"];

/// The effective settings of one log. Each field is the topic key of that name; a unit that is missing
/// from the name is in the type.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`
    pub segment_bytes: i32,
    /// `segment.ms`
    pub segment: Duration,
    /// `segment.jitter.ms`
    pub segment_jitter: Duration,
    /// `segment.index.bytes`
    pub segment_index_bytes: i32,
    /// `flush.messages`
    pub flush_messages: i64,
    /// `flush.ms`
    pub flush: Duration,
    /// `retention.bytes`; negative means no limit.
    pub retention_bytes: i64,
    /// `retention.ms`; `None` (any negative number) means no limit.
    pub retention: Option<Duration>,
    /// `max.message.bytes`
    pub max_message_bytes: i32,
    /// `index.interval.bytes`
    pub index_interval_bytes: i32,
    /// `delete.retention.ms`
    pub delete_retention: Duration,
    /// `file.delete.delay.ms`
    pub file_delete_delay: Duration,
    /// `min.cleanable.dirty.ratio`, 0 to 1
    pub min_cleanable_dirty_ratio: f64,
    /// `cleanup.policy` is `compact` rather than `delete`.
    pub compact: bool,
    /// `unclean.leader.election.enable`
    pub unclean_leader_election_enable: bool,
    /// `min.insync.replicas`
    pub min_insync_replicas: i32,
    /// `compression.type`: one of [`COMPRESSION_TYPES`].
    pub compression_type: String,
    /// `preallocate`
    pub preallocate: bool,
}

impl std::default::Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig::from_values(&definition().read(&Properties::new()).0)
    }
}

fn definition() -> Definition {
    Definition::new(&[KEYS]).expect("the rows have different names")
}

impl LogConfig {
    fn from_values(v: &Values) -> LogConfig {
        LogConfig {
            segment_bytes: v.int("segment.bytes"),
            segment: v.millis("segment.ms"),
            segment_jitter: v.millis("segment.jitter.ms"),
            segment_index_bytes: v.int("segment.index.bytes"),
            flush_messages: v.long("flush.messages"),
            flush: v.millis("flush.ms"),
            retention_bytes: v.long("retention.bytes"),
            retention: (v.long("retention.ms") >= 0).then(|| v.millis("retention.ms")),
            max_message_bytes: v.int("max.message.bytes"),
            index_interval_bytes: v.int("index.interval.bytes"),
            delete_retention: v.millis("delete.retention.ms"),
            file_delete_delay: v.millis("file.delete.delay.ms"),
            min_cleanable_dirty_ratio: v.double("min.cleanable.dirty.ratio"),
            compact: v.text("cleanup.policy") == "compact",
            unclean_leader_election_enable: v.boolean("unclean.leader.election.enable"),
            min_insync_replicas: v.int("min.insync.replicas"),
            compression_type: v.text("compression.type"),
            preallocate: v.boolean("preallocate"),
        }
    }

    /// These settings with a topic's own put over them.
    ///
    /// # Errors
    /// Every value that breaks its row's rule. Unknown names are ignored, as Kafka ignores what an older
    /// or newer tool left in ZooKeeper; [`LogConfig::validate_names`] refuses them where they are typed.
    pub fn with_overrides(&self, overrides: &BTreeMap<String, String>) -> Result<LogConfig, ConfigErrors> {
        let mut properties = Properties::new();
        for (key, value) in overrides {
            properties.set(key, value, "");
        }
        let (values, mistakes) = definition().read(&properties);
        if !mistakes.is_empty() {
            return Err(ConfigErrors(mistakes));
        }
        let read = LogConfig::from_values(&values);
        let mut config = self.clone();
        for key in overrides.keys() {
            config.take(key, &read);
        }
        Ok(config)
    }

    /// Copies one setting.
    fn take(&mut self, key: &str, from: &LogConfig) {
        match key {
            "segment.bytes" => self.segment_bytes = from.segment_bytes,
            "segment.ms" => self.segment = from.segment,
            "segment.jitter.ms" => self.segment_jitter = from.segment_jitter,
            "segment.index.bytes" => self.segment_index_bytes = from.segment_index_bytes,
            "flush.messages" => self.flush_messages = from.flush_messages,
            "flush.ms" => self.flush = from.flush,
            "retention.bytes" => self.retention_bytes = from.retention_bytes,
            "retention.ms" => self.retention = from.retention,
            "max.message.bytes" => self.max_message_bytes = from.max_message_bytes,
            "index.interval.bytes" => self.index_interval_bytes = from.index_interval_bytes,
            "delete.retention.ms" => self.delete_retention = from.delete_retention,
            "file.delete.delay.ms" => self.file_delete_delay = from.file_delete_delay,
            "min.cleanable.dirty.ratio" => self.min_cleanable_dirty_ratio = from.min_cleanable_dirty_ratio,
            "cleanup.policy" => self.compact = from.compact,
            "unclean.leader.election.enable" => {
                self.unclean_leader_election_enable = from.unclean_leader_election_enable;
            }
            "min.insync.replicas" => self.min_insync_replicas = from.min_insync_replicas,
            "compression.type" => self.compression_type.clone_from(&from.compression_type),
            "preallocate" => self.preallocate = from.preallocate,
            _ => {}
        }
    }

    /// Refuses the first name that no row has.
    ///
    /// # Errors
    /// Kafka's `requirement failed: Unknown configuration "x".`
    pub fn validate_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), ConfigErrors> {
        match names
            .into_iter()
            .find(|name| KEYS.iter().all(|k| k.name != *name))
        {
            Some(name) => Err(ConfigErrors(vec![Mistake {
                place: String::new(),
                key: name.to_string(),
                value: None,
                rule: format!("requirement failed: Unknown configuration \"{name}\"."),
            }])),
            None => Ok(()),
        }
    }

    /// Checks a topic's own settings, names and values, as kafka-topics does before it writes them.
    ///
    /// # Errors
    /// Kafka's text for the first mistake is `errors.0[0].rule`.
    pub fn validate(overrides: &BTreeMap<String, String>) -> Result<(), ConfigErrors> {
        LogConfig::validate_names(overrides.keys().map(String::as_str))?;
        LogConfig::default().with_overrides(overrides).map(|_| ())
    }

    /// The settings of a broker's values: `mapped` names the broker's value for each topic key.
    pub(super) fn from_broker(
        mapped: &[(&'static str, Value)],
        places: impl Fn(&str) -> Mistake,
    ) -> (LogConfig, Vec<Mistake>) {
        let mut properties = Properties::new();
        for (key, value) in mapped {
            properties.set(key, &value.to_string(), "");
        }
        let (values, mistakes) = definition().read(&properties);
        let mistakes = mistakes
            .into_iter()
            .map(|m| Mistake {
                rule: m.rule,
                ..places(&m.key)
            })
            .collect();
        (LogConfig::from_values(&values), mistakes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect()
    }

    #[test]
    fn defaults_are_those_of_0_9() {
        let config = LogConfig::default();
        assert_eq!(config.segment_bytes, 1 << 30);
        assert_eq!(config.retention, Some(Duration::from_hours(168)));
        assert_eq!(config.flush_messages, i64::MAX);
        assert!(!config.compact && config.unclean_leader_election_enable);
        assert_eq!(KEYS.len(), 18);
        assert!(KEYS.is_sorted_by_key(|k| k.name));
    }

    #[test]
    fn every_key_can_be_overridden() {
        let base = LogConfig::default();
        for key in KEYS {
            let value = match key.name {
                "cleanup.policy" => "compact",
                "compression.type" => "gzip",
                "preallocate" => "true",
                "unclean.leader.election.enable" => "false",
                "min.cleanable.dirty.ratio" => "0.25",
                _ => "123",
            };
            let changed = base.with_overrides(&overrides(&[(key.name, value)])).unwrap();
            assert_ne!(changed, base, "{}", key.name);
        }
    }

    #[test]
    fn an_override_leaves_the_others_as_they_were() {
        let base = LogConfig {
            segment_bytes: 77,
            ..LogConfig::default()
        };
        let changed = base
            .with_overrides(&overrides(&[("retention.ms", "-2"), ("unknown", "x")]))
            .unwrap();
        assert_eq!(
            changed,
            LogConfig {
                retention: None,
                ..base
            }
        );
    }

    #[test]
    fn names_and_values_are_checked_with_kafkas_texts() {
        let unknown = LogConfig::validate(&overrides(&[("foo", "x")])).unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "requirement failed: Unknown configuration \"foo\"."
        );
        let wrong = LogConfig::validate(&overrides(&[("segment.bytes", "1")])).unwrap_err();
        assert_eq!(
            wrong.0[0].rule,
            "Invalid value 1 for configuration segment.bytes: Value must be at least 14"
        );
        assert!(LogConfig::validate(&overrides(&[("cleanup.policy", "Compact")])).is_err());
    }
}
