//! Topic names and partitions of topics (kafka.common.Topic, TopicAndPartition).

use std::fmt;
use std::sync::Arc;

/// The topic of consumer groups' offsets.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The longest name whose partition directories every file system takes: `<name>-<partition>` must
/// fit 255 bytes. 0.9.0.1 allows 255 and then fails to create the directory (KAFKA-3219).
pub const MAX_NAME_LENGTH: usize = 249;

/// One partition of one topic. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// From 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition of that number.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: topic.into(),
            partition,
        }
    }

    /// The name of its directory, such as `t-0`.
    pub fn dir_name(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }

    /// The partition whose directory has this name: split at the last `-`, as the topic may hold
    /// others. `None` if a part is missing or the second is no number from 0.
    pub fn parse_dir_name(name: &str) -> Option<TopicPartition> {
        let (topic, partition) = name.rsplit_once('-')?;
        if topic.is_empty() || !partition.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some(TopicPartition::new(topic, partition.parse().ok()?))
    }
}

/// As Kafka writes it: `[t,0]`.
impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{},{}]", self.topic, self.partition)
    }
}

/// Why a name is no topic name. The texts are Kafka's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IllegalTopicName {
    /// Nothing there.
    #[error("topic name is illegal, can't be empty")]
    Empty,
    /// `.` or `..`.
    #[error("topic name cannot be \".\" or \"..\"")]
    Dots,
    /// Longer than [`MAX_NAME_LENGTH`].
    #[error("topic name is illegal, can't be longer than {MAX_NAME_LENGTH} characters")]
    TooLong,
    /// A character outside `[a-zA-Z0-9._-]`.
    #[error(
        "topic name {0} is illegal, contains a character other than ASCII alphanumerics, '.', '_' and '-'"
    )]
    Character(String),
}

/// Whether `name` may be a topic's (kafka.common.Topic.validate).
pub fn validate(name: &str) -> Result<(), IllegalTopicName> {
    if name.is_empty() {
        return Err(IllegalTopicName::Empty);
    }
    if name == "." || name == ".." {
        return Err(IllegalTopicName::Dots);
    }
    if name.len() > MAX_NAME_LENGTH {
        return Err(IllegalTopicName::TooLong);
    }
    if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    {
        return Err(IllegalTopicName::Character(name.to_owned()));
    }
    Ok(())
}

/// Whether the name can collide with others in metric names: it holds `.` or `_`.
pub fn has_collision_chars(name: &str) -> bool {
    name.contains(['.', '_'])
}

/// Whether two names differ at most in `.` against `_`.
pub fn collide(a: &str, b: &str) -> bool {
    let fold = |c: u8| if c == b'.' { b'_' } else { c };
    a.len() == b.len() && a.bytes().zip(b.bytes()).all(|(x, y)| fold(x) == fold(y))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_names_split_at_the_last_dash() {
        assert_eq!(
            TopicPartition::parse_dir_name("a-b-12"),
            Some(TopicPartition::new("a-b", 12))
        );
        for bad in ["lost+found", "-1", "t-", "t-x", "t-+1", "t-99999999999"] {
            assert_eq!(TopicPartition::parse_dir_name(bad), None, "{bad}");
        }
        assert_eq!(TopicPartition::new("t", 3).dir_name(), "t-3");
        assert_eq!(TopicPartition::new("t", 3).to_string(), "[t,3]");
    }

    #[test]
    fn names_follow_kafkas_rules() {
        for good in ["a", "A.b_c-9", &"x".repeat(249)] {
            assert_eq!(validate(good), Ok(()));
        }
        for bad in ["", ".", "..", "a b", "a/b", "ü", &"x".repeat(250)] {
            assert!(validate(bad).is_err(), "{bad}");
        }
        assert!(collide("a.b_c", "a_b.c"));
        assert!(!collide("a.b", "a-b"));
    }
}
