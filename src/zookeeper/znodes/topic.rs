//! `/brokers/topics/T`: the assigned replicas of each partition (ZkUtils.replicaAssignmentZkData).
//!
//! The order of the partitions in the data is that of the Scala map which the JVM writes from:
//! another for a new topic than for one that gets more partitions. No reader depends on it.

use std::collections::BTreeMap;

use super::json::{self, Json};
use super::order::{immutable, java_hash, mutable};
use super::{Error, Result};
use crate::cluster::BrokerId;

/// Replicas by partition number, each list in order of preference.
pub type Assignment = BTreeMap<i32, Vec<BrokerId>>;

/// The data of a new topic's node (AdminUtils.createTopic).
pub fn encode(assignment: &Assignment) -> String {
    // Kafka collects the partitions in a mutable map of integers and makes an immutable one of it.
    let numbers = mutable(assignment.keys().copied().collect(), |p| *p);
    let numbers = immutable(numbers, |p| *p);
    write(assignment, immutable(texts(numbers), text_hash))
}

/// The data after partitions were added or replicas moved (AdminUtils.addPartitions,
/// KafkaController.updateAssignedReplicasForPartition): written from mutable maps.
pub fn encode_changed(assignment: &Assignment) -> String {
    let numbers = mutable(assignment.keys().copied().collect(), |p| *p);
    write(assignment, mutable(texts(numbers), text_hash))
}

fn texts(numbers: Vec<i32>) -> Vec<(i32, String)> {
    numbers.into_iter().map(|p| (p, p.to_string())).collect()
}

fn text_hash(entry: &(i32, String)) -> i32 {
    java_hash(&entry.1)
}

fn write(assignment: &Assignment, order: Vec<(i32, String)>) -> String {
    let partitions = json::object(order.iter().map(|(p, text)| {
        let replicas = assignment[p].iter().map(|id| id.0);
        (text.as_str(), json::ints(replicas))
    }));
    json::object([("version", "1".to_owned()), ("partitions", partitions)])
}

/// Reads a topic's assigned replicas.
///
/// # Errors
/// If it is no JSON, `partitions` is missing, or a partition is no number.
pub fn decode(data: &[u8]) -> Result<Assignment> {
    let root = Json::parse(data)?;
    let mut assignment = Assignment::new();
    for (partition, replicas) in root.members("partitions")? {
        let number = partition
            .parse()
            .map_err(|_| Error::NotANumber(partition.clone()))?;
        let replicas = replicas.ints("partitions")?;
        assignment.insert(number, replicas.into_iter().map(BrokerId).collect());
    }
    Ok(assignment)
}
