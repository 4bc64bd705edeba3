//! Topics: made by writing their settings, then the assigned replicas; enlarged by writing these
//! again; deleted by a mark. The controller acts on the nodes.

use std::collections::{BTreeMap, BTreeSet};

use ::log::info;

use super::configs::{self, Settings};
use super::error::{Error, Result};
use crate::cluster::{BrokerId, assignment, topic};
use crate::jute::CreateMode;
use crate::util::random;
use crate::zookeeper::paths::{self, EntityType};
use crate::zookeeper::znodes::topic::Assignment;
use crate::zookeeper::{self, Session, znodes};

/// Makes the persistent paths that every broker makes at start, with null data.
///
/// # Errors
/// [`zookeeper::Error::NoNamespace`] if the chroot is missing.
pub async fn setup_common_paths(session: &Session) -> zookeeper::Result<()> {
    for path in paths::COMMON {
        session.ensure_path(path).await?;
    }
    Ok(())
}

/// Ids of the brokers that are alive, ascending.
pub async fn live_broker_ids(session: &Session) -> Result<Vec<BrokerId>> {
    let names = session.children(paths::BROKER_IDS).await?;
    let names = names.map(|(names, _)| names).unwrap_or_default();
    let mut ids: Vec<_> = names
        .iter()
        .filter_map(|name| name.parse().ok().map(BrokerId))
        .collect();
    ids.sort_unstable();
    Ok(ids)
}

/// All topics, in alphabetical order; those to be deleted too.
pub async fn topics(session: &Session) -> Result<Vec<String>> {
    let names = session.children(paths::BROKER_TOPICS).await?;
    let mut names = names.map(|(names, _)| names).unwrap_or_default();
    names.sort_unstable();
    Ok(names)
}

/// Whether there is such a topic.
pub async fn topic_exists(session: &Session, topic: &str) -> Result<bool> {
    Ok(session.exists(&paths::topic(topic)).await?.is_some())
}

/// The assigned replicas of those of `topics` that have any.
///
/// # Errors
/// [`Error::Node`] if a node holds something else.
pub async fn assignments(session: &Session, topics: &[String]) -> Result<BTreeMap<String, Assignment>> {
    let mut all = BTreeMap::new();
    for topic in topics {
        if let Some(assignment) = read_assignment(session, topic).await? {
            all.insert(topic.clone(), assignment);
        }
    }
    Ok(all)
}

async fn read_assignment(session: &Session, topic: &str) -> Result<Option<Assignment>> {
    let path = paths::topic(topic);
    let Some(data) = session.get(&path).await?.and_then(|node| node.data) else {
        return Ok(None);
    };
    let assignment = znodes::topic::decode(&data).map_err(|reason| Error::Node { path, reason })?;
    Ok((!assignment.is_empty()).then_some(assignment))
}

/// Makes a topic whose replicas are spread over the live brokers from a random start.
///
/// # Errors
/// What is wrong with the wish; nothing is written then. [`Error::TopicExists`].
pub async fn create_topic(
    session: &Session,
    topic: &str,
    partitions: i32,
    replication: i32,
    settings: &Settings,
) -> Result<Assignment> {
    let brokers = live_broker_ids(session).await?;
    let (start, shift) = (random::below(brokers.len()), random::below(brokers.len()));
    let assignment = assignment::assign(&brokers, partitions, replication, start, shift, 0)?;
    create_topic_with_assignment(session, topic, &assignment, settings).await?;
    Ok(assignment)
}

/// Makes a topic with the replicas given. Whether these brokers exist is not looked at.
///
/// The settings are written first, without a notification; the two writes are not atomic.
///
/// # Errors
/// As [`create_topic`].
pub async fn create_topic_with_assignment(
    session: &Session,
    topic: &str,
    assignment: &Assignment,
    settings: &Settings,
) -> Result<()> {
    topic::validate(topic)?;
    check_lists(assignment)?;
    if topic_exists(session, topic).await? {
        return Err(Error::TopicExists(topic.to_owned()));
    }
    check_collisions(session, topic).await?;
    check_duplicates(assignment)?;
    configs::validate(settings)?;
    configs::write(session, EntityType::Topic, topic, settings).await?;
    let data = znodes::topic::encode(assignment);
    info!("Topic creation {data}");
    let path = paths::topic(topic);
    let made = session.create_recursive(&path, Some(data.as_bytes()), CreateMode::Persistent);
    match made.await {
        Ok(_) => Ok(()),
        Err(zookeeper::Error::NodeExists) => Err(Error::TopicMadeMeanwhile(topic.to_owned())),
        Err(e) => Err(e.into()),
    }
}

async fn check_collisions(session: &Session, topic: &str) -> Result<()> {
    if !topic::has_collision_chars(topic) {
        return Ok(());
    }
    let mut others = topics(session).await?;
    others.retain(|other| topic::collide(topic, other));
    if others.is_empty() {
        return Ok(());
    }
    Err(Error::Collision {
        topic: topic.to_owned(),
        others: others.join(", "),
    })
}

fn check_lists(assignment: &Assignment) -> Result<()> {
    let lengths: BTreeSet<usize> = assignment.values().map(Vec::len).collect();
    if lengths.len() == 1 {
        return Ok(());
    }
    let rule = "All partitions should have the same number of replicas.";
    Err(Error::Requirement(rule.to_owned()))
}

fn check_duplicates(assignment: &Assignment) -> Result<()> {
    if assignment
        .values()
        .all(|replicas| duplicates(replicas).is_empty())
    {
        return Ok(());
    }
    let lists = assignment
        .iter()
        .map(|(p, replicas)| format!("{p} -> {}", scala_list("List", replicas)));
    let lists: Vec<String> = lists.collect();
    Err(Error::Requirement(format!(
        "Duplicate replica assignment found: Map({})",
        lists.join(", ")
    )))
}

/// What is in a list more than once, in order of its second appearance.
pub(super) fn duplicates<T: Ord + Clone>(items: &[T]) -> Vec<T> {
    let mut seen = BTreeSet::new();
    let mut twice: Vec<T> = Vec::new();
    for item in items {
        if !seen.insert(item) && !twice.contains(item) {
            twice.push(item.clone());
        }
    }
    twice
}

/// A sequence as Scala prints it.
fn scala_list(kind: &str, ids: &[BrokerId]) -> String {
    format!("{kind}({})", join(ids, ", "))
}

fn join(ids: &[BrokerId], separator: &str) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(separator)
}

/// Reads replicas as typed, `1:2,2:1`: a list per partition from 0 (TopicCommand.parseReplicaAssignment).
///
/// # Errors
/// [`Error::NotABroker`], [`Error::DuplicateReplicas`], [`Error::UnequalReplication`].
pub fn parse_assignment(text: &str) -> Result<Assignment> {
    let mut assignment = Assignment::new();
    for (partition, list) in (0..).zip(split(text)) {
        let replicas = parse_list(list)?;
        let twice = duplicates(&replicas);
        if !twice.is_empty() {
            return Err(Error::DuplicateReplicas(join(&twice, ",")));
        }
        let first = assignment.get(&0).map_or(replicas.len(), Vec::len);
        if first != replicas.len() {
            return Err(Error::UnequalReplication {
                partition,
                replicas: array(&replicas),
            });
        }
        assignment.insert(partition, replicas);
    }
    Ok(assignment)
}

/// The lists of a typed assignment. Java's split drops empty ones at the end.
fn split(text: &str) -> Vec<&str> {
    let mut lists: Vec<&str> = text.split(',').collect();
    while lists.len() > 1 && lists.last().is_some_and(|l| l.is_empty()) {
        lists.pop();
    }
    lists
}

fn parse_list(list: &str) -> Result<Vec<BrokerId>> {
    let mut ids: Vec<&str> = list.split(':').collect();
    while ids.len() > 1 && ids.last().is_some_and(|id| id.is_empty()) {
        ids.pop();
    }
    ids.into_iter()
        .map(|id| {
            let id = id.trim();
            let number = id.parse().map(BrokerId);
            number.map_err(|_| Error::NotABroker(id.to_owned()))
        })
        .collect()
}

/// Enlarges a topic to `partitions` partitions. `typed` are replicas as for [`parse_assignment`], of
/// which those of the existing partitions are passed over; without it the new partitions go on
/// where partition 0 began (KAFKA-2146: 0.9.0.1 takes a broker's id for its place in the list).
///
/// # Errors
/// What is wrong with the wish; nothing is written then.
pub async fn add_partitions(
    session: &Session,
    topic: &str,
    partitions: i32,
    typed: Option<&str>,
) -> Result<Assignment> {
    let no_topic = || Error::NoTopic(topic.to_owned());
    let mut all = read_assignment(session, topic).await?.ok_or_else(no_topic)?;
    let existing = i32::try_from(all.len()).unwrap_or(i32::MAX);
    let first = all.get(&0).or_else(|| all.values().next());
    let first = first.cloned().ok_or_else(no_topic)?;
    if partitions <= existing {
        return Err(Error::NotMorePartitions);
    }
    let brokers = live_broker_ids(session).await?;
    let added = match typed.filter(|text| !text.is_empty()) {
        Some(text) => added_lists(text, &brokers, existing)?,
        None => {
            let leader = first.first().copied().unwrap_or(BrokerId(0));
            let place = brokers.iter().position(|id| *id >= leader).unwrap_or(0);
            let replication = i32::try_from(first.len()).unwrap_or(i32::MAX);
            let more = partitions - existing;
            assignment::assign(&brokers, more, replication, place, place, existing)?
        }
    };
    if added.values().any(|replicas| replicas.len() != first.len()) {
        return Err(Error::OtherReplication(first.len()));
    }
    info!("Add partition list for {topic} is {added:?}");
    all.extend(added);
    check_lists(&all)?;
    check_duplicates(&all)?;
    let data = znodes::topic::encode(&all);
    let path = paths::topic(topic);
    info!("Topic update {data}");
    session.put(&path, data.as_bytes()).await?;
    Ok(all)
}

/// The typed lists after the first `existing` ones (AdminUtils.getManualReplicaAssignment).
fn added_lists(text: &str, brokers: &[BrokerId], existing: i32) -> Result<Assignment> {
    let mut added = Assignment::new();
    let skip = usize::try_from(existing).unwrap_or(0);
    for (partition, list) in (existing..).zip(split(text).into_iter().skip(skip)) {
        let replicas = parse_list(list)?;
        if !duplicates(&replicas).is_empty() {
            return Err(Error::DuplicateBrokers(array(&replicas)));
        }
        if !replicas.iter().all(|id| brokers.contains(id)) {
            return Err(Error::BrokersNotAvailable {
                asked: array(&replicas),
                alive: scala_list("Set", brokers),
            });
        }
        let first = added.get(&existing).map_or(replicas.len(), Vec::len);
        if first != replicas.len() {
            return Err(Error::UnequalAddedReplication {
                partition,
                replicas: array(&replicas),
            });
        }
        added.insert(partition, replicas);
    }
    Ok(added)
}

/// A list for a message. 0.9.0.1 prints a Java array's address here, which helps nobody.
fn array(replicas: &[BrokerId]) -> String {
    join(replicas, ":")
}

/// Marks a topic for deletion.
///
/// # Errors
/// [`Error::AlreadyMarked`].
pub async fn delete_topic(session: &Session, topic: &str) -> Result<()> {
    let path = paths::delete_topic(topic);
    // "" rather than null, as ZkUtils.createPersistentPath without data.
    match session
        .create_recursive(&path, Some(b""), CreateMode::Persistent)
        .await
    {
        Ok(_) => Ok(()),
        Err(zookeeper::Error::NodeExists) => Err(Error::AlreadyMarked(topic.to_owned())),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_replicas_are_a_list_per_partition() {
        let parsed = parse_assignment("1:2, 2:1,").unwrap();
        assert_eq!(parsed[&0], [BrokerId(1), BrokerId(2)]);
        assert_eq!(parsed[&1], [BrokerId(2), BrokerId(1)]);
        let text = |wrong| parse_assignment(wrong).unwrap_err().to_string();
        assert_eq!(text("1:x"), "For input string: \"x\"");
        assert_eq!(
            text("1:2:1"),
            "Partition replica lists may not contain duplicate entries: 1"
        );
        assert_eq!(text("1:2,3"), "Partition 1 has different replication factor: 3");
    }

    #[test]
    fn added_replicas_pass_over_the_existing_partitions_and_must_be_alive() {
        let brokers = [BrokerId(1), BrokerId(2)];
        let added = added_lists("9:9,1:2,2:1", &brokers, 1).unwrap();
        assert_eq!(added.len(), 2);
        assert_eq!(added[&1], [BrokerId(1), BrokerId(2)]);
        assert!(matches!(
            added_lists("1,3", &brokers, 1),
            Err(Error::BrokersNotAvailable { .. })
        ));
    }
}
