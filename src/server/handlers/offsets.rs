//! OffsetCommit and OffsetFetch. Version 0 keeps offsets in ZooKeeper, a decimal number under
//! `/consumers/<group>/offsets/<topic>/<partition>`, where the old consumer keeps its own; later
//! versions ask the group's coordinator.

use std::time::Duration;

use ::log::warn;

use crate::coordinator::{Commit, CommitOffset};
use crate::protocol::ErrorCode;
use crate::protocol::offset_commit::{
    OffsetCommitPartition, OffsetCommitPartitionResult, OffsetCommitRequest, OffsetCommitResponse,
    OffsetCommitTopic, OffsetCommitTopicResult,
};
use crate::protocol::offset_fetch::{
    OffsetFetchPartitionResult, OffsetFetchRequest, OffsetFetchResponse, OffsetFetchTopicResult,
};
use crate::server::error_codes::{of_commit, of_group};
use crate::server::services::Services;
use crate::util::clock::WallMs;
use crate::zookeeper::{Session, paths};

/// Stores offsets; each partition has its own outcome. A topic that this broker has not heard of is
/// error 3; whether it has the partition is not asked, as in Kafka.
pub(super) async fn offset_commit(
    s: &Services,
    version: i16,
    mut request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let image = s.metadata.snapshot();
    let mut known = std::mem::take(&mut request.topics);
    let is_unknown = |t: &mut OffsetCommitTopic| !image.topics.contains_key(t.topic.as_str());
    let unknown: Vec<_> = known.extract_if(.., is_unknown).collect();
    let mut topics = match version {
        0 => to_zookeeper(s, &request.group_id, known).await,
        _ if known.is_empty() => Vec::new(),
        _ => to_coordinator(s, request, known).await,
    };
    let refused = unknown
        .into_iter()
        .map(|t| told(t, || ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    topics.extend(refused);
    OffsetCommitResponse { topics }
}

/// The answer for a topic's partitions, from one after the other.
fn told(t: OffsetCommitTopic, mut error: impl FnMut() -> ErrorCode) -> OffsetCommitTopicResult {
    let partition = |p: OffsetCommitPartition| OffsetCommitPartitionResult {
        partition: p.partition,
        error: error().0,
    };
    OffsetCommitTopicResult {
        topic: t.topic,
        partitions: t.partitions.into_iter().map(partition).collect(),
    }
}

async fn to_coordinator(
    s: &Services,
    request: OffsetCommitRequest,
    topics: Vec<OffsetCommitTopic>,
) -> Vec<OffsetCommitTopicResult> {
    let offsets = topics.iter().flat_map(|t| {
        t.partitions.iter().map(|p| CommitOffset {
            topic: t.topic.clone(),
            partition: p.partition,
            offset: p.offset,
            metadata: p.metadata.clone(),
            timestamp: (p.timestamp != -1).then_some(WallMs(p.timestamp)),
        })
    });
    let commit = Commit {
        group: request.group_id,
        member_id: request.member_id,
        generation: request.generation_id,
        retention: match request.retention_time_ms {
            -1 => None,
            ms => Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
        },
        offsets: offsets.collect(),
    };
    let outcomes = s.coordinator.commit_offsets(commit).await;
    let mut codes = outcomes
        .into_iter()
        .map(|outcome| outcome.map_or_else(of_commit, |()| ErrorCode::NONE));
    let mut next = || codes.next().unwrap_or(ErrorCode::UNKNOWN);
    topics.into_iter().map(|t| told(t, &mut next)).collect()
}

async fn to_zookeeper(
    s: &Services,
    group: &str,
    topics: Vec<OffsetCommitTopic>,
) -> Vec<OffsetCommitTopicResult> {
    let longest = s.config.offset_metadata_max_bytes;
    let mut answer = Vec::with_capacity(topics.len());
    for t in topics {
        let mut codes = Vec::with_capacity(t.partitions.len());
        for p in &t.partitions {
            codes.push(if is_longer(p.metadata.as_deref(), longest) {
                ErrorCode::OFFSET_METADATA_TOO_LARGE
            } else {
                store(&s.zookeeper, group, &t.topic, p).await
            });
        }
        let mut codes = codes.into_iter();
        answer.push(told(t, || codes.next().unwrap_or(ErrorCode::UNKNOWN)));
    }
    answer
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

/// Reads offsets. In version 0 a topic that is unknown or an offset that was never stored is -1 with
/// error 3; in version 1 what was never stored is -1 without an error.
pub(super) async fn offset_fetch(
    s: &Services,
    version: i16,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    match version {
        0 => from_zookeeper(s, request).await,
        _ if request.topics.is_empty() => all_from_coordinator(s, &request.group_id),
        _ => from_coordinator(s, request),
    }
}

fn from_coordinator(s: &Services, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let wanted = request
        .topics
        .iter()
        .flat_map(|t| t.partitions.iter().map(|p| (t.topic.as_str(), *p)));
    let found = s.coordinator.fetch_offsets(&request.group_id, wanted);
    let refused = found.as_ref().err().copied().map(of_group);
    let mut found = found.unwrap_or_default().into_iter();
    let mut next = |partition| match found.next().flatten() {
        Some(c) => result(partition, c.offset, c.metadata.into(), ErrorCode::NONE),
        None => result(partition, -1, String::new(), refused.unwrap_or(ErrorCode::NONE)),
    };
    let topic = |t: crate::protocol::offset_fetch::OffsetFetchTopic| OffsetFetchTopicResult {
        topic: t.topic,
        partitions: t.partitions.into_iter().map(&mut next).collect(),
    };
    OffsetFetchResponse {
        topics: request.topics.into_iter().map(topic).collect(),
    }
}

/// Nothing if there is an error: the answer has no place for it.
fn all_from_coordinator(s: &Services, group: &str) -> OffsetFetchResponse {
    let mut topics: Vec<OffsetFetchTopicResult> = Vec::new();
    for (topic, partition, c) in s.coordinator.fetch_all_offsets(group).unwrap_or_default() {
        let of_partition = result(partition, c.offset, c.metadata.into(), ErrorCode::NONE);
        match topics.last_mut() {
            Some(last) if *last.topic == *topic => last.partitions.push(of_partition),
            _ => topics.push(OffsetFetchTopicResult {
                topic: topic.to_string(),
                partitions: vec![of_partition],
            }),
        }
    }
    OffsetFetchResponse { topics }
}

fn result(partition: i32, offset: i64, metadata: String, error: ErrorCode) -> OffsetFetchPartitionResult {
    OffsetFetchPartitionResult {
        partition,
        offset,
        metadata: Some(metadata),
        error: error.0,
    }
}

async fn from_zookeeper(s: &Services, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let image = s.metadata.snapshot();
    let mut topics = Vec::with_capacity(request.topics.len());
    for t in request.topics {
        let known = image.topics.contains_key(t.topic.as_str());
        let mut partitions = Vec::with_capacity(t.partitions.len());
        for partition in t.partitions {
            let found = if known {
                load(&s.zookeeper, &request.group_id, &t.topic, partition).await
            } else {
                Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
            };
            let (offset, error) = match found {
                Ok(offset) => (offset, ErrorCode::NONE),
                Err(error) => (-1, error),
            };
            partitions.push(result(partition, offset, String::new(), error));
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
