//! Groups of old consumers, by way of ZooKeeper; their offsets may be in the offsets topic.

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::super::old_groups::{self, Error, Leaders, Result};
use super::super::options::{self, OptionSet};
use super::super::session;
use super::{HEADER, Row, told};
use crate::admin;
use crate::admin::groups::{self, Removed};
use crate::client::simple;
use crate::cluster::{BrokerId, TopicPartition, topic};
use crate::config::Properties;
use crate::message::Offset;
use crate::protocol::ErrorCode;
use crate::zookeeper::{Session, paths};

/// Why a command ends.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Options(#[from] options::Error),
    #[error(transparent)]
    Groups(#[from] Error),
    #[error(transparent)]
    Name(#[from] topic::IllegalTopicName),
    #[error("{0}")]
    Config(String),
}

impl From<admin::Error> for Failure {
    fn from(e: admin::Error) -> Failure {
        Failure::Groups(e.into())
    }
}

pub(super) async fn carry_out(options: OptionSet) -> ExitCode {
    let connect = match options.value("zookeeper") {
        Ok(connect) => connect.unwrap_or_default(),
        Err(e) => return told(Err::<(), _>(e)),
    };
    let session = match session::connect(&connect).await {
        Ok(session) => session,
        Err(code) => return code,
    };
    let done = if options.has("list") {
        list(&session).await
    } else if options.has("describe") {
        describe(&session, &options).await
    } else {
        delete(&session, &options).await
    };
    session.close().await;
    told(done)
}

async fn list(session: &Session) -> std::result::Result<(), Failure> {
    let no_node = || Error::NoNode(paths::CONSUMERS.to_owned());
    let groups = groups::consumer_groups(session).await?.ok_or_else(no_node)?;
    groups.iter().for_each(|group| println!("{group}"));
    Ok(())
}

async fn describe(session: &Session, options: &OptionSet) -> std::result::Result<(), Failure> {
    let group = options.value("group")?.unwrap_or_default();
    let (timeout, backoff) = patience(options)?;
    let mut topics = groups::owned_topics(session, &group).await?.unwrap_or_default();
    if topics.is_empty() {
        // A group that never owned anything may still have committed.
        topics = groups::topics_with_offsets(session, &group)
            .await?
            .unwrap_or_default();
    }
    if topics.is_empty() {
        println!("No topic available for consumer group provided");
    }
    println!("{HEADER}");
    let mut leaders = Leaders::new(session, "ConsumerGroupCommand");
    for topic in topics {
        let assignment = admin::assignments(session, std::slice::from_ref(&topic)).await?;
        let partitions: Vec<TopicPartition> = assignment
            .get(&topic)
            .into_iter()
            .flat_map(|a| a.keys())
            .map(|p| TopicPartition::new(topic.as_str(), *p))
            .collect();
        let offsets = offsets(session, &group, &partitions, timeout, backoff).await?;
        for at in &partitions {
            let Some(end) = end_of(&mut leaders, session, at).await? else {
                continue;
            };
            let row = Row {
                group: &group,
                at,
                offset: offsets.get(at).copied(),
                end,
                owner: groups::owner(session, &group, at).await?,
            };
            println!("{row}");
        }
    }
    Ok(())
}

/// For an answer, and between tries. The second key is named as the genuine tool reads it.
fn patience(options: &OptionSet) -> std::result::Result<(Duration, Duration), Failure> {
    let config = match options.value("command-config")? {
        Some(file) => Properties::load(Path::new(&file)).map_err(|e| Failure::Config(e.to_string()))?,
        None => Properties::new(),
    };
    let millis = |key: &str, default: u64| match config.get(key) {
        None => Ok(Duration::from_millis(default)),
        Some(text) => text
            .trim()
            .parse()
            .map(Duration::from_millis)
            .map_err(|_| Failure::Config(format!("For input string: \"{text}\""))),
    };
    Ok((
        millis("channelSocketTimeoutMs", 600)?,
        millis("channelRetryBackoffMsOpt", 300)?,
    ))
}

/// How far the group has come, by the offsets topic or else by ZooKeeper.
async fn offsets(
    session: &Session,
    group: &str,
    partitions: &[TopicPartition],
    timeout: Duration,
    backoff: Duration,
) -> Result<HashMap<TopicPartition, Offset>> {
    let mut known = HashMap::new();
    for (at, c) in old_groups::offsets_in_kafka(session, group, partitions, timeout, backoff).await? {
        if c.error != ErrorCode::NONE {
            println!(
                "Could not fetch offset from kafka for group {group} partition {at} due to {}.",
                c.error
            );
        } else if c.offset != -1 {
            known.insert(at, c.offset);
        } else if let Some(offset) = groups::stored_offset(session, group, &at).await? {
            known.insert(at, offset);
        } else {
            println!(
                "Could not fetch offset from zookeeper for group {group} partition {at} due to missing offset data in zookeeper."
            );
        }
    }
    Ok(known)
}

/// Where a partition ends, as far as that is known; `None` if it has no line.
async fn end_of(
    leaders: &mut Leaders<'_>,
    session: &Session,
    at: &TopicPartition,
) -> Result<Option<Option<Offset>>> {
    let Some(leader) = old_groups::leader(session, at).await? else {
        println!("No broker for partition {}-{}", at.topic, at.partition);
        return Ok(None);
    };
    if leader == BrokerId::NONE {
        return Ok(Some(None));
    }
    let end = leaders.offset_at(leader, at, simple::LATEST).await?;
    if end.is_none() {
        old_groups::tell_unregistered(leader);
    }
    Ok(end.map(Some))
}

async fn delete(session: &Session, options: &OptionSet) -> std::result::Result<(), Failure> {
    let groups = options.values("group")?;
    let Some(topic) = options.value("topic")? else {
        for group in groups {
            let removed = groups::delete_group(session, &group).await?;
            let what = format!("group {group}");
            tell(
                removed,
                &what,
                &format!("all consumer group information for {what}"),
            );
        }
        return Ok(());
    };
    topic::validate(&topic)?;
    if groups.is_empty() {
        groups::delete_topic_of_groups(session, &topic).await?;
        println!(
            "Deleted consumer group information for all inactive consumer groups for topic {topic} in zookeeper."
        );
    }
    for group in groups {
        let removed = groups::delete_group_topic(session, &group, &topic).await?;
        let what = format!("group {group} topic {topic}");
        tell(removed, &what, &format!("consumer group information for {what}"));
    }
    Ok(())
}

fn tell(removed: Removed, what: &str, deleted: &str) {
    match removed {
        Removed::Yes => println!("Deleted {deleted} in zookeeper."),
        Removed::Active => println!("Delete for {what} failed because its consumers are still active."),
        Removed::Missing => println!("Delete for {what} failed because group does not exist."),
    }
}
