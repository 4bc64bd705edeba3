//! Groups of old consumers, which live in ZooKeeper: looked at and removed (kafka.admin.AdminUtils,
//! kafka.utils.ZkUtils).
//!
//! A group is active while one of its members is registered. Kafka takes a group without a node for
//! registrations for one that does not exist; here it is one without members.

use super::{Error, Result};
use crate::cluster::TopicPartition;
use crate::message::Offset;
use crate::zookeeper::znodes::consumer::decode_offset;
use crate::zookeeper::{Session, paths};

/// What became of the wish to remove a group or a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Yes,
    /// It stays: the group has members.
    Active,
    /// There is no such group.
    Missing,
}

/// All groups that have a node; `None` if there never was one.
pub async fn consumer_groups(session: &Session) -> Result<Option<Vec<String>>> {
    names(session, paths::CONSUMERS).await
}

/// The topics that a group's members own or owned partitions of; `None` if it has no node for that.
pub async fn owned_topics(session: &Session, group: &str) -> Result<Option<Vec<String>>> {
    names(session, &paths::consumer_owners(group)).await
}

/// The topics that a group has offsets of; `None` if it has no node for that.
pub async fn topics_with_offsets(session: &Session, group: &str) -> Result<Option<Vec<String>>> {
    names(session, &paths::consumer_offsets(group)).await
}

/// The partitions of a topic that a group has offsets of, in ZooKeeper's order; none if there is no node
/// for that.
pub async fn partitions_with_offsets(session: &Session, group: &str, topic: &str) -> Result<Vec<String>> {
    let path = paths::consumer_topic_offsets(group, topic);
    Ok(names(session, &path).await?.unwrap_or_default())
}

/// The partitions of a topic that somebody owns for a group, in ZooKeeper's order; none if there is no node
/// for that.
pub async fn owned_partitions(session: &Session, group: &str, topic: &str) -> Result<Vec<String>> {
    let path = paths::consumer_topic_owners(group, topic);
    Ok(names(session, &path).await?.unwrap_or_default())
}

async fn names(session: &Session, path: &str) -> Result<Option<Vec<String>>> {
    Ok(session.children(path).await?.map(|(names, _)| names))
}

/// The thread that owns a partition for a group.
pub async fn owner(session: &Session, group: &str, at: &TopicPartition) -> Result<Option<String>> {
    let path = paths::consumer_owner(group, &at.topic, at.partition);
    let data = session.get(&path).await?.map(|n| n.data.unwrap_or_default());
    Ok(data.map(|data| String::from_utf8_lossy(&data).into_owned()))
}

/// The offset that a group keeps in ZooKeeper.
///
/// # Errors
/// [`Error::Node`] if there is no number.
pub async fn stored_offset(session: &Session, group: &str, at: &TopicPartition) -> Result<Option<Offset>> {
    let path = paths::consumer_offset(group, &at.topic, at.partition);
    match session.get(&path).await?.map(|n| n.data.unwrap_or_default()) {
        Some(data) => decode_offset(&data)
            .map(Some)
            .map_err(|reason| Error::Node { path, reason }),
        None => Ok(None),
    }
}

/// Removes all of a group.
pub async fn delete_group(session: &Session, group: &str) -> Result<Removed> {
    let path = paths::consumer_group(group);
    if session.exists(&path).await?.is_none() {
        return Ok(Removed::Missing);
    }
    if is_active(session, group).await? {
        return Ok(Removed::Active);
    }
    session.delete_recursive(&path).await?;
    Ok(Removed::Yes)
}

/// Removes what a group knows of a topic; all of it, if it owns partitions of no other topic.
pub async fn delete_group_topic(session: &Session, group: &str, topic: &str) -> Result<Removed> {
    if owned_topics(session, group)
        .await?
        .is_some_and(|topics| topics == [topic])
    {
        return delete_group(session, group).await;
    }
    if session.exists(&paths::consumer_group(group)).await?.is_none() {
        return Ok(Removed::Missing);
    }
    if is_active(session, group).await? {
        return Ok(Removed::Active);
    }
    session
        .delete_recursive(&paths::consumer_topic_owners(group, topic))
        .await?;
    session
        .delete_recursive(&paths::consumer_topic_offsets(group, topic))
        .await?;
    Ok(Removed::Yes)
}

/// Removes what all inactive groups know of a topic.
pub async fn delete_topic_of_groups(session: &Session, topic: &str) -> Result<()> {
    for group in consumer_groups(session).await?.unwrap_or_default() {
        let topics = topics_with_offsets(session, &group).await?.unwrap_or_default();
        if topics.iter().any(|t| t == topic) {
            delete_group_topic(session, &group, topic).await?;
        }
    }
    Ok(())
}

async fn is_active(session: &Session, group: &str) -> Result<bool> {
    let members = names(session, &paths::consumer_ids(group)).await?;
    Ok(members.is_some_and(|members| !members.is_empty()))
}
