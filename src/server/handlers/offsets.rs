//! OffsetCommit and OffsetFetch. Version 0 keeps offsets in ZooKeeper, a decimal number under
//! `/consumers/<group>/offsets/<topic>/<partition>`, where the old consumer keeps its own; later
//! versions ask a group's coordinator, and there is none here.

use ::log::warn;

use crate::protocol::ErrorCode;
use crate::protocol::offset_commit::{
    OffsetCommitPartition, OffsetCommitPartitionResult, OffsetCommitRequest, OffsetCommitResponse,
    OffsetCommitTopicResult,
};
use crate::protocol::offset_fetch::{
    OffsetFetchPartitionResult, OffsetFetchRequest, OffsetFetchResponse, OffsetFetchTopicResult,
};
use crate::server::services::Services;
use crate::zookeeper::{Session, paths};

/// Stores the offsets of version 0 one by one; each partition has its own outcome.
pub(super) async fn offset_commit(
    s: &Services,
    version: i16,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let image = s.metadata.snapshot();
    let longest = s.config.offset_metadata_max_bytes;
    let mut topics = Vec::with_capacity(request.topics.len());
    for t in request.topics {
        let known = image.topics.contains_key(t.topic.as_str());
        let mut partitions = Vec::with_capacity(t.partitions.len());
        for p in t.partitions {
            let error = if !known {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            } else if version > 0 {
                ErrorCode::GROUP_COORDINATOR_NOT_AVAILABLE
            } else if is_longer(p.metadata.as_deref(), longest) {
                ErrorCode::OFFSET_METADATA_TOO_LARGE
            } else {
                store(&s.zookeeper, &request.group_id, &t.topic, &p).await
            };
            partitions.push(OffsetCommitPartitionResult {
                partition: p.partition,
                error: error.0,
            });
        }
        topics.push(OffsetCommitTopicResult {
            topic: t.topic,
            partitions,
        });
    }
    OffsetCommitResponse { topics }
}

/// Whether the text has more than `longest` characters, as Java counts them.
fn is_longer(text: Option<&str>, longest: usize) -> bool {
    text.is_some_and(|t| t.len() > longest && t.encode_utf16().count() > longest)
}

async fn store(zookeeper: &Session, group: &str, topic: &str, p: &OffsetCommitPartition) -> ErrorCode {
    let path = paths::consumer_offset(group, topic, p.partition);
    match zookeeper.put(&path, p.offset.to_string().as_bytes()).await {
        Ok(()) => ErrorCode::NONE,
        Err(e) => {
            warn!("storing offset {} at {path}: {e}", p.offset);
            ErrorCode::UNKNOWN
        }
    }
}

/// Reads the offsets of version 0. A topic that is unknown or an offset that was never stored is
/// -1 with error 3.
pub(super) async fn offset_fetch(
    s: &Services,
    version: i16,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let image = s.metadata.snapshot();
    let mut topics = Vec::with_capacity(request.topics.len());
    for t in request.topics {
        let known = image.topics.contains_key(t.topic.as_str());
        let mut partitions = Vec::with_capacity(t.partitions.len());
        for partition in t.partitions {
            let found = if version > 0 {
                Err(ErrorCode::GROUP_COORDINATOR_NOT_AVAILABLE)
            } else if !known {
                Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
            } else {
                load(&s.zookeeper, &request.group_id, &t.topic, partition).await
            };
            let (offset, error) = match found {
                Ok(offset) => (offset, ErrorCode::NONE),
                Err(error) => (-1, error),
            };
            partitions.push(OffsetFetchPartitionResult {
                partition,
                offset,
                metadata: Some(String::new()),
                error: error.0,
            });
        }
        topics.push(OffsetFetchTopicResult {
            topic: t.topic,
            partitions,
        });
    }
    OffsetFetchResponse { topics }
}

async fn load(zookeeper: &Session, group: &str, topic: &str, partition: i32) -> Result<i64, ErrorCode> {
    let path = paths::consumer_offset(group, topic, partition);
    let node = zookeeper.get(&path).await.map_err(|e| {
        warn!("reading the offset at {path}: {e}");
        ErrorCode::UNKNOWN
    })?;
    let data = node
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?
        .data
        .unwrap_or_default();
    let offset = std::str::from_utf8(&data).ok().and_then(|text| text.parse().ok());
    offset.ok_or_else(|| {
        warn!("{path} holds no number");
        ErrorCode::UNKNOWN
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_measured_in_javas_characters() {
        assert!(!is_longer(None, 0));
        assert!(!is_longer(Some("ab"), 2));
        assert!(is_longer(Some("abc"), 2));
        assert!(!is_longer(Some("éé"), 2));
        assert!(is_longer(Some("a😀"), 2));
    }
}
