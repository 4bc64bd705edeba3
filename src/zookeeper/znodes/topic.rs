//! `/brokers/topics/T`: the assigned replicas of each partition (ZkUtils.replicaAssignmentZkData).
//!
//! The order of the partitions in the data is that of the Scala map which the JVM writes from. No
//! reader depends on it.

use std::collections::BTreeMap;

use super::json::{self, Json};
use super::order::{immutable, java_hash, mutable};
use super::{Error, Result};
use crate::cluster::BrokerId;

/// Replicas by partition number, each list in order of preference.
pub type Assignment = BTreeMap<i32, Vec<BrokerId>>;

/// The node's data.
pub fn encode(assignment: &Assignment) -> String {
    let mut numbers: Vec<i32> = assignment.keys().copied().collect();
    if numbers.len() <= 4 {
        // Kafka collects the partitions in a mutable map, whose order a small immutable one keeps.
        numbers = mutable(numbers, |p| *p);
    }
    let texts = numbers.into_iter().map(|p| (p, p.to_string())).collect();
    let order = immutable(texts, |(_, text): &(i32, String)| java_hash(text));
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
