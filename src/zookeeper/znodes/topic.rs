//! `/brokers/topics/T`: the assigned replicas of each partition (ZkUtils.replicaAssignmentZkData).
//!
//! The order of the partitions in the data is that of the Scala map which the JVM writes from. No
//! reader depends on it.

use std::collections::BTreeMap;

use super::json::{self, Json};
use super::order::{immutable, mutable};
use super::{Error, Result};
use crate::cluster::BrokerId;
use crate::util::java::string_hash;

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
    let order = immutable(texts, |(_, text): &(i32, String)| string_hash(text));
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
    Ok(read(data)?.into_iter().collect())
}

/// As [`decode`], in the order in which Kafka's tools go over the partitions.
///
/// # Errors
/// As [`decode`].
pub fn decode_in_order(data: &[u8]) -> Result<Vec<(i32, Vec<BrokerId>)>> {
    Ok(immutable(read(data)?, |(p, _)| string_hash(&p.to_string())))
}

fn read(data: &[u8]) -> Result<Vec<(i32, Vec<BrokerId>)>> {
    let root = Json::parse(data)?;
    let one = |(partition, replicas): &(String, Json)| {
        let number = partition
            .parse()
            .map_err(|_| Error::NotANumber(partition.clone()))?;
        let replicas = replicas.ints("partitions")?;
        Ok((number, replicas.into_iter().map(BrokerId).collect()))
    };
    root.members("partitions")?.iter().map(one).collect()
}
