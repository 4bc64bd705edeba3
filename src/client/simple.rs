//! Asking one broker about partitions by name (kafka.consumer.SimpleConsumer): offsets before a time,
//! and messages from an offset on, of any replica. No group, no retries, nothing kept.

use std::collections::BTreeMap;

use super::connection::{Connection, Result};
use crate::cluster::TopicPartition;
use crate::message::Offset;
use crate::protocol::ErrorCode;
use crate::protocol::fetch::{FetchPartition, FetchPartitionResult, FetchRequest, FetchTopic};
use crate::protocol::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};

/// The replica id of an ordinary consumer: leaders answer it, up to the high watermark.
pub const CONSUMER: i32 = -1;
/// The replica id of a tool: every replica answers it, up to its log's end.
pub const DEBUGGING: i32 = -2;
/// The time that stands for the log's end.
pub const LATEST: i64 = -1;
/// The time that stands for the log's beginning.
pub const EARLIEST: i64 = -2;

/// At most `most` offsets of each partition before a time, newest first, with the broker's error.
/// Partitions that the answer leaves out are left out.
///
/// # Errors
/// The connection's.
pub async fn offsets_before(
    connection: &Connection,
    replica_id: i32,
    partitions: &[TopicPartition],
    time: i64,
    most: i32,
) -> Result<BTreeMap<TopicPartition, (ErrorCode, Vec<Offset>)>> {
    let wish = |partition| ListOffsetsPartition {
        partition,
        timestamp: time,
        max_offsets: most,
    };
    let topics = by_topic(partitions.iter().map(|at| (at, wish(at.partition))));
    let topics = topics
        .into_iter()
        .map(|(topic, partitions)| ListOffsetsTopic { topic, partitions });
    let request = ListOffsetsRequest {
        replica_id,
        topics: topics.collect(),
    };
    let mut found = BTreeMap::new();
    for topic in connection.call(&request).await?.topics {
        for p in topic.partitions {
            let at = TopicPartition::new(topic.topic.as_str(), p.partition);
            found.insert(at, (ErrorCode(p.error), p.offsets));
        }
    }
    Ok(found)
}

/// What to read: a partition, the first offset wanted, and how many bytes at most.
pub type Wish<'a> = (&'a TopicPartition, Offset, i32);

/// Reads partitions. The broker waits at most `max_wait_ms` for the first byte. Partitions that the
/// answer leaves out are left out.
///
/// # Errors
/// The connection's.
pub async fn fetch(
    connection: &Connection,
    replica_id: i32,
    max_wait_ms: i32,
    wishes: &[Wish<'_>],
) -> Result<BTreeMap<TopicPartition, FetchPartitionResult>> {
    let topics = by_topic(wishes.iter().map(|(at, fetch_offset, max_bytes)| {
        let wish = FetchPartition {
            partition: at.partition,
            fetch_offset: *fetch_offset,
            max_bytes: *max_bytes,
        };
        (*at, wish)
    }));
    let topics = topics
        .into_iter()
        .map(|(topic, partitions)| FetchTopic { topic, partitions });
    let request = FetchRequest {
        replica_id,
        max_wait_ms,
        min_bytes: 1,
        topics: topics.collect(),
    };
    let mut found = BTreeMap::new();
    // Version 0, as the original: its answer has no throttle time.
    for topic in connection.call_version(&request, 0).await?.topics {
        for p in topic.partitions {
            found.insert(TopicPartition::new(topic.topic.as_str(), p.partition), p);
        }
    }
    Ok(found)
}

/// Wishes gathered by topic, topics in order of their names.
pub(super) fn by_topic<'a, T>(
    wishes: impl Iterator<Item = (&'a TopicPartition, T)>,
) -> BTreeMap<String, Vec<T>> {
    let mut topics: BTreeMap<String, Vec<T>> = BTreeMap::new();
    for (at, wish) in wishes {
        topics.entry(at.topic.to_string()).or_default().push(wish);
    }
    topics
}
