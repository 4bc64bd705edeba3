//! Moving leaderships to preferred replicas, by a wish that the controller fulfils
//! (kafka.admin.PreferredReplicaLeaderElectionCommand).

use std::collections::BTreeSet;

use ::log::info;

use super::error::{Error, Result};
use super::reassign::{exists, partitions_of, wish};
use super::topics::duplicates;
use crate::cluster::TopicPartition;
use crate::zookeeper::znodes::order::{immutable, partition_hash};
use crate::zookeeper::{Session, paths, znodes};

/// The log target of preferred elections.
const ELECTIONS: &str = "kafka.admin.PreferredReplicaLeaderElectionCommand";

/// All partitions of the cluster.
///
/// # Errors
/// [`Error::ZooKeeper`].
pub async fn all_partitions(session: &Session) -> Result<Vec<TopicPartition>> {
    let mut all = Vec::new();
    let topics = session.children(paths::BROKER_TOPICS).await?;
    for topic in topics.map(|(names, _)| names).unwrap_or_default() {
        let numbers = session.children(&paths::topic_partitions(&topic)).await?;
        // A topic that is just being created has none yet; 0.9.0.1's tool fails there.
        let numbers = numbers.map(|(names, _)| names).unwrap_or_default();
        let named = |n: &String| Some(TopicPartition::new(topic.as_str(), n.parse().ok()?));
        all.extend(numbers.iter().filter_map(named));
    }
    Ok(as_set(all))
}

/// Distinct partitions as a Scala set holds them.
pub fn as_set(partitions: Vec<TopicPartition>) -> Vec<TopicPartition> {
    let mut seen = BTreeSet::new();
    let mut partitions = partitions;
    partitions.retain(|at| seen.insert(at.clone()));
    immutable(partitions, partition_hash)
}

/// The distinct partitions of a list that names none twice.
///
/// # Errors
/// [`Error::DuplicateElections`].
pub fn distinct(partitions: Vec<TopicPartition>) -> Result<Vec<TopicPartition>> {
    let repeated = duplicates(&partitions);
    match repeated.is_empty() {
        true => Ok(as_set(partitions)),
        false => {
            let repeated: Vec<String> = repeated.iter().map(ToString::to_string).collect();
            Err(Error::DuplicateElections(repeated.join(",")))
        }
    }
}

/// Asks the controller to have preferred replicas lead; partitions that do not exist are left out and
/// logged.
///
/// # Errors
/// [`Error::ElectionUnderWay`] if a wish stands already.
pub async fn elect_preferred(session: &Session, partitions: &[TopicPartition]) -> Result<()> {
    let known = partitions_of(session, partitions.iter()).await?;
    let valid = partitions
        .iter()
        .filter(|at| exists(&known, at, ELECTIONS, "preferred replica leader election for"));
    let data = znodes::admin::encode_preferred_election(valid);
    let path = paths::PREFERRED_REPLICA_ELECTION;
    if wish(session, path, &data).await? {
        info!(target: ELECTIONS, "Created preferred replica election path with {data}");
        return Ok(());
    }
    let stands = session.get(path).await?.and_then(|node| node.data);
    let under_way =
        znodes::admin::decode_preferred_election(&stands.unwrap_or_default()).map_err(|reason| {
            Error::Node {
                path: path.to_owned(),
                reason,
            }
        })?;
    Err(Error::ElectionUnderWay(set_text(&as_set(under_way))))
}

/// Partitions as Scala prints a set of them.
pub fn set_text(partitions: &[TopicPartition]) -> String {
    let all: Vec<String> = partitions.iter().map(ToString::to_string).collect();
    format!("Set({})", all.join(", "))
}
