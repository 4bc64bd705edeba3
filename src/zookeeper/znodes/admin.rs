//! `/admin/…`: what operators ask of the controller (PreferredReplicaLeaderElectionCommand,
//! ReassignPartitionsCommand).

use std::collections::BTreeMap;

use super::json::{self, Json};
use super::{Error, Result};
use crate::cluster::{BrokerId, TopicPartition};

/// A partition and its wished replicas.
pub type Move = (TopicPartition, Vec<BrokerId>);

/// New replicas by partition: the data of `/admin/reassign_partitions`.
pub type Reassignment = BTreeMap<TopicPartition, Vec<BrokerId>>;

/// The data of `/admin/reassign_partitions`, and of the files that say the same, in the order given.
pub fn encode_reassignment<'a>(
    moves: impl IntoIterator<Item = (&'a TopicPartition, &'a Vec<BrokerId>)>,
) -> String {
    let partitions = moves.into_iter().map(|(tp, replicas)| {
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
/// As [`decode_moves`].
pub fn decode_reassignment(data: &[u8]) -> Result<Reassignment> {
    Ok(decode_moves(data)?.into_iter().collect())
}

/// As [`decode_reassignment`], in the order written, with every entry for a partition.
///
/// # Errors
/// If it is no JSON or an entry lacks a member.
pub fn decode_moves(data: &[u8]) -> Result<Vec<Move>> {
    let root = Json::parse(data)?;
    if root.get("partitions").is_none() {
        return Ok(Vec::new());
    }
    let one = |item: &Json| {
        let replicas = item.need("replicas")?.ints("replicas")?;
        Ok((
            topic_partition(item)?,
            replicas.into_iter().map(BrokerId).collect(),
        ))
    };
    root.array("partitions")?.iter().map(one).collect()
}

/// Reads `{"topics":[{"topic":"foo"}]}`, the file of topics to move, in the order written.
///
/// # Errors
/// If it is no JSON or an entry has no name.
pub fn decode_topics_to_move(data: &[u8]) -> Result<Vec<String>> {
    let root = Json::parse(data)?;
    if root.get("topics").is_none() {
        return Ok(Vec::new());
    }
    let one = |item: &Json| item.text("topic").map(str::to_owned);
    root.array("topics")?.iter().map(one).collect()
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
    let partitions = decode_partitions(data)?;
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

/// As [`decode_preferred_election`], also if a partition comes twice.
///
/// # Errors
/// If it is no JSON or an entry lacks a member.
pub fn decode_partitions(data: &[u8]) -> Result<Vec<TopicPartition>> {
    let root = Json::parse(data)?;
    root.array("partitions")?.iter().map(topic_partition).collect()
}

fn topic_partition(item: &Json) -> Result<TopicPartition> {
    let partition = item.int("partition")?;
    Ok(TopicPartition::new(item.text("topic")?, partition))
}
