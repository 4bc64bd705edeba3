//! `/admin/…`: what operators ask of the controller (PreferredReplicaLeaderElectionCommand,
//! ReassignPartitionsCommand).

use std::collections::BTreeMap;

use super::json::{self, Json};
use super::{Error, Result};
use crate::cluster::{BrokerId, TopicPartition};

/// New replicas by partition: the data of `/admin/reassign_partitions`.
pub type Reassignment = BTreeMap<TopicPartition, Vec<BrokerId>>;

/// The data of `/admin/reassign_partitions`.
pub fn encode_reassignment(reassignment: &Reassignment) -> String {
    let partitions = reassignment.iter().map(|(tp, replicas)| {
        json::object([
            ("topic", json::text(&tp.topic)),
            ("partition", tp.partition.to_string()),
            ("replicas", json::ints(replicas.iter().map(|id| id.0))),
        ])
    });
    with_partitions(json::array(partitions))
}

/// Reads the data of `/admin/reassign_partitions`. Of two entries for one partition the later wins;
/// without `partitions` there is nothing to move.
///
/// # Errors
/// If it is no JSON or an entry lacks a member.
pub fn decode_reassignment(data: &[u8]) -> Result<Reassignment> {
    let root = Json::parse(data)?;
    let mut reassignment = Reassignment::new();
    if root.get("partitions").is_some() {
        for item in root.array("partitions")? {
            let replicas = item.need("replicas")?.ints("replicas")?;
            let replicas = replicas.into_iter().map(BrokerId).collect();
            reassignment.insert(topic_partition(item)?, replicas);
        }
    }
    Ok(reassignment)
}

/// The data of `/admin/preferred_replica_election`, partitions in the order given.
pub fn encode_preferred_election<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> String {
    with_partitions(partition_list(partitions))
}

/// Reads the data of `/admin/preferred_replica_election`.
///
/// # Errors
/// If it is no JSON, an entry lacks a member, or a partition comes twice.
pub fn decode_preferred_election(data: &[u8]) -> Result<Vec<TopicPartition>> {
    let partitions = read_partition_list(data)?;
    let mut seen = std::collections::BTreeSet::new();
    if !partitions.iter().all(|tp| seen.insert(tp)) {
        return Err(Error::Kind("partitions"));
    }
    Ok(partitions)
}

pub(super) fn with_partitions(partitions: String) -> String {
    json::object([("version", "1".to_owned()), ("partitions", partitions)])
}

pub(super) fn partition_list<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> String {
    json::array(partitions.into_iter().map(|tp| {
        json::object([
            ("topic", json::text(&tp.topic)),
            ("partition", tp.partition.to_string()),
        ])
    }))
}

pub(super) fn read_partition_list(data: &[u8]) -> Result<Vec<TopicPartition>> {
    let root = Json::parse(data)?;
    root.array("partitions")?.iter().map(topic_partition).collect()
}

fn topic_partition(item: &Json) -> Result<TopicPartition> {
    let partition = item.int("partition")?;
    Ok(TopicPartition::new(item.text("topic")?, partition))
}
