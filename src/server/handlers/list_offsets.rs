//! ListOffsets (Offsets). Answered from the segments' names and times; never waits.

use std::sync::Arc;

use crate::cluster::TopicPartition;
use crate::protocol::ErrorCode;
use crate::protocol::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResult, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResult,
};
use crate::replica::{Reader, ReplicaManager};
use crate::server::error_codes;

use super::partitions::each_once;

/// ListOffsets, version 0.
pub(super) fn list_offsets(replicas: &ReplicaManager, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let reader = Reader::from_replica_id(request.replica_id);
    let mut wanted = Vec::new();
    for topic in request.topics {
        let name: Arc<str> = topic.topic.into();
        let of = |p: ListOffsetsPartition| (TopicPartition::new(name.clone(), p.partition), p);
        wanted.extend(topic.partitions.into_iter().map(of));
    }
    let results = each_once(wanted).into_iter().map(|(id, wish)| {
        let listed = replicas.list_offsets(&id, wish.timestamp, wish.max_offsets, reader);
        let (error, offsets) = match listed {
            Ok(offsets) => (ErrorCode::NONE, offsets),
            Err(e) => {
                ::log::debug!("Offsets of partition {id} are refused: {e}");
                (error_codes::of_replica(&e), Vec::new())
            }
        };
        let partition = ListOffsetsPartitionResult {
            partition: id.partition,
            error: error.0,
            offsets,
        };
        (id.topic, partition)
    });
    let mut topics: Vec<ListOffsetsTopicResult> = Vec::new();
    for (topic, result) in results {
        match topics.last_mut() {
            Some(last) if *last.topic == *topic => last.partitions.push(result),
            _ => topics.push(ListOffsetsTopicResult {
                topic: topic.to_string(),
                partitions: vec![result],
            }),
        }
    }
    ListOffsetsResponse { topics }
}
