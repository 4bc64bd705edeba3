//! Moving partitions to other brokers, by a wish that the controller fulfils
//! (kafka.admin.ReassignPartitionsCommand).
//!
//! Lists of partitions come in the order in which 0.9.0.1's tools print them, which is that of the
//! Scala maps they collect them in.

use std::collections::{BTreeMap, BTreeSet};

use ::log::error;

use super::error::{Error, Result};
use super::topics::duplicates;
use crate::cluster::{BrokerId, TopicPartition, assignment};
use crate::jute::CreateMode;
use crate::util::java::string_hash;
use crate::util::random;
use crate::zookeeper::znodes::admin::Move;
use crate::zookeeper::znodes::order::{immutable, mutable, partition_hash};
use crate::zookeeper::{self, Session, each, paths, znodes};

/// The log target of moves.
const MOVES: &str = "kafka.admin.ReassignPartitionsCommand";

/// How far a partition's move is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveStatus {
    /// The partition has the wished replicas.
    Completed,
    /// The wish still stands.
    InProgress,
    /// No wish stands, and the partition has these replicas instead.
    Failed(Vec<BrokerId>),
}

/// The replicas of all partitions of these topics; those that do not exist are left out.
///
/// # Errors
/// [`Error::Node`] if a topic's node holds something else.
pub async fn current_replicas(session: &Session, topics: &[String]) -> Result<Vec<Move>> {
    let mut seen = BTreeSet::new();
    let topics: Vec<String> = topics
        .iter()
        .filter(|topic| seen.insert(*topic))
        .cloned()
        .collect();
    let read = each(topics, |topic| {
        let session = session.clone();
        async move {
            let node = session.get(&paths::topic(&topic)).await;
            (topic, node)
        }
    });
    let mut all = Vec::new();
    for (topic, node) in read.await {
        let Some(data) = node?.and_then(|node| node.data) else {
            continue;
        };
        let partitions = znodes::topic::decode_in_order(&data).map_err(|reason| Error::Node {
            path: paths::topic(&topic),
            reason,
        })?;
        let named = |(p, replicas)| (TopicPartition::new(topic.as_str(), p), replicas);
        all.extend(partitions.into_iter().map(named));
    }
    Ok(mutable(all, by_partition))
}

/// Spreads the partitions of these topics anew over `brokers`, from a random start. `current` is what
/// [`current_replicas`] gave for them.
///
/// # Errors
/// [`Error::DuplicateBrokerList`], [`Error::DuplicateTopics`]; more replicas than brokers.
pub fn propose(topics: &[String], current: &[Move], brokers: &[BrokerId]) -> Result<Vec<Move>> {
    check_lists_to_spread(topics, brokers)?;
    let mut sizes: BTreeMap<&str, (i32, usize)> = BTreeMap::new();
    let mut names = Vec::new();
    for (at, replicas) in current {
        let (partitions, _) = sizes.entry(&at.topic).or_insert_with(|| {
            names.push(&*at.topic);
            (0, replicas.len())
        });
        *partitions += 1;
    }
    // A Scala grouping: found in a mutable map, kept in an immutable one.
    let by_name = |name: &&str| string_hash(name);
    let mut all: Vec<Move> = Vec::new();
    for topic in immutable(mutable(names, by_name), by_name) {
        let (partitions, replicas) = sizes[topic];
        let replication = i32::try_from(replicas).unwrap_or(i32::MAX);
        let (start, shift) = (random::below(brokers.len()), random::below(brokers.len()));
        let spread = assignment::assign(brokers, partitions, replication, start, shift, 0)?;
        let numbers = immutable(mutable(spread.into_iter().collect(), |(p, _)| *p), |(p, _)| *p);
        let named = numbers
            .into_iter()
            .map(|(p, replicas)| (TopicPartition::new(topic, p), replicas));
        // Each group is added to a copy of what was collected before.
        all = mutable(all, by_partition);
        all.extend(immutable(named.collect(), by_partition));
    }
    Ok(mutable(all, by_partition))
}

/// Checks the lists of `--generate`.
///
/// # Errors
/// [`Error::DuplicateBrokerList`], [`Error::DuplicateTopics`].
pub fn check_lists_to_spread(topics: &[String], brokers: &[BrokerId]) -> Result<()> {
    let twice = duplicates(brokers);
    if !twice.is_empty() {
        return Err(Error::DuplicateBrokerList(comma(&twice)));
    }
    let twice = duplicates(topics);
    if !twice.is_empty() {
        return Err(Error::DuplicateTopics(comma(&twice)));
    }
    Ok(())
}

/// Checks what is to be moved: no partition twice, no broker twice for one partition.
///
/// # Errors
/// [`Error::DuplicatePartitions`], [`Error::DuplicateEntries`].
pub fn check_moves(moves: &[Move]) -> Result<()> {
    let partitions: Vec<&TopicPartition> = moves.iter().map(|(at, _)| at).collect();
    let repeated = duplicates(&partitions);
    if !repeated.is_empty() {
        return Err(Error::DuplicatePartitions(comma(&repeated)));
    }
    let repeated: Vec<String> = moves
        .iter()
        .filter_map(|(at, replicas)| {
            let twice = duplicates(replicas);
            (!twice.is_empty()).then(|| format!("{at} contains multiple entries for {}", comma(&twice)))
        })
        .collect();
    match repeated.is_empty() {
        true => Ok(()),
        false => Err(Error::DuplicateEntries(repeated.join(". "))),
    }
}

/// Moves as a Scala map holds them: of two for one partition the later wins.
pub fn as_map(moves: Vec<Move>) -> Vec<Move> {
    let mut places: BTreeMap<TopicPartition, usize> = BTreeMap::new();
    let mut distinct: Vec<Move> = Vec::new();
    for (at, replicas) in moves {
        match places.get(&at) {
            Some(place) => distinct[*place].1 = replicas,
            None => {
                places.insert(at.clone(), distinct.len());
                distinct.push((at, replicas));
            }
        }
    }
    immutable(distinct, by_partition)
}

/// Asks the controller to move partitions; those that do not exist are left out and logged. Returns
/// false if none exists.
///
/// # Errors
/// [`Error::ReassignmentUnderWay`] if a wish stands already.
pub async fn reassign(session: &Session, moves: &[Move]) -> Result<bool> {
    let known = partitions_of(session, moves.iter().map(|(at, _)| at)).await?;
    let valid: Vec<&Move> = moves
        .iter()
        .filter(|(at, _)| exists(&known, at, MOVES, "reassignment of"))
        .collect();
    if valid.is_empty() {
        return Ok(false);
    }
    let data = znodes::admin::encode_reassignment(valid.iter().map(|(at, replicas)| (at, replicas)));
    match wish(session, paths::REASSIGN_PARTITIONS, &data).await? {
        true => Ok(true),
        false => {
            let under_way: Vec<String> = as_map(reassignments(session).await?)
                .iter()
                .map(|(at, to)| {
                    let to = joined(to, ", ");
                    format!("{at} -> ReassignedPartitionsContext(List({to}),null)")
                })
                .collect();
            Err(Error::ReassignmentUnderWay(format!(
                "Map({})",
                under_way.join(", ")
            )))
        }
    }
}

/// What the controller is asked to move and has not moved yet.
///
/// # Errors
/// [`Error::Node`] if the wish cannot be read.
pub async fn reassignments(session: &Session) -> Result<Vec<Move>> {
    let path = paths::REASSIGN_PARTITIONS;
    let Some(data) = session.get(path).await?.and_then(|node| node.data) else {
        return Ok(Vec::new());
    };
    znodes::admin::decode_moves(&data).map_err(|reason| Error::Node {
        path: path.to_owned(),
        reason,
    })
}

/// How far each of these moves is, in their order.
///
/// # Errors
/// [`Error::Node`] if a node cannot be read.
pub async fn move_statuses(session: &Session, moves: &[Move]) -> Result<Vec<MoveStatus>> {
    let under_way: BTreeSet<TopicPartition> = reassignments(session)
        .await?
        .into_iter()
        .map(|(at, _)| at)
        .collect();
    let topics: Vec<String> = moves.iter().map(|(at, _)| at.topic.to_string()).collect();
    let current: BTreeMap<_, _> = current_replicas(session, &topics).await?.into_iter().collect();
    let status = |(at, wished): &Move| {
        if under_way.contains(at) {
            return MoveStatus::InProgress;
        }
        let assigned = current.get(at).cloned().unwrap_or_default();
        match assigned == *wished {
            true => MoveStatus::Completed,
            false => MoveStatus::Failed(assigned),
        }
    };
    Ok(moves.iter().map(status).collect())
}

/// Creates a node of `/admin`; false if it stands already.
pub(super) async fn wish(session: &Session, path: &str, data: &str) -> Result<bool> {
    match session
        .create_recursive(path, Some(data.as_bytes()), CreateMode::Persistent)
        .await
    {
        Ok(_) => Ok(true),
        Err(zookeeper::Error::NodeExists) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// The partitions of every topic that is named; none for a topic that does not exist.
pub(super) async fn partitions_of<'a>(
    session: &Session,
    named: impl Iterator<Item = &'a TopicPartition>,
) -> Result<BTreeMap<String, BTreeSet<i32>>> {
    let topics: BTreeSet<String> = named.map(|at| at.topic.to_string()).collect();
    let topics: Vec<String> = topics.into_iter().collect();
    let mut known = BTreeMap::new();
    for (at, _) in current_replicas(session, &topics).await? {
        let partitions: &mut BTreeSet<i32> = known.entry(at.topic.to_string()).or_default();
        partitions.insert(at.partition);
    }
    Ok(known)
}

/// Whether a partition is among those known; says so in the log if not.
pub(super) fn exists(
    known: &BTreeMap<String, BTreeSet<i32>>,
    at: &TopicPartition,
    target: &'static str,
    what: &str,
) -> bool {
    // A topic without a node reads as one without partitions.
    let there = known.get(&*at.topic).is_some_and(|p| p.contains(&at.partition));
    if !there {
        error!(target: target, "Skipping {what} partition {at} since it doesn't exist");
    }
    there
}

fn by_partition((at, _): &Move) -> i32 {
    partition_hash(at)
}

fn comma<T: ToString>(items: &[T]) -> String {
    joined(items, ",")
}

fn joined<T: ToString>(items: &[T], separator: &str) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(separator)
}
