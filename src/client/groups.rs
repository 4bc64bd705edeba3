//! Asking brokers about groups from outside of them (kafka.admin.AdminClient, and the offsets of the old
//! consumer): who coordinates, who is in, and how far a group has come. No membership, nothing kept.

use std::collections::BTreeMap;
use std::time::Duration;

use super::connection::{Connection, ConnectionSettings, Result};
use super::metadata::HostPort;
use super::simple::by_topic;
use crate::cluster::TopicPartition;
use crate::message::Offset;
use crate::protocol::ErrorCode;
use crate::protocol::groups::{
    DescribeGroupsRequest, DescribedGroup, GroupCoordinatorRequest, ListGroupsRequest, ListedGroup,
};
use crate::protocol::offset_commit::{OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic};
use crate::protocol::offset_fetch::{OffsetFetchRequest, OffsetFetchTopic};

/// What a group committed for a partition, as a broker tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next message to read; -1 if nothing was committed, and with an error.
    pub offset: Offset,
    /// Kept beside it.
    pub metadata: String,
    /// What the broker has to say.
    pub error: ErrorCode,
}

/// Who coordinates a group, or why the broker cannot tell.
///
/// # Errors
/// The connection's.
pub async fn find_coordinator(
    connection: &Connection,
    group: &str,
) -> Result<std::result::Result<HostPort, ErrorCode>> {
    let request = GroupCoordinatorRequest {
        group_id: group.to_owned(),
    };
    let answer = connection.call(&request).await?;
    Ok(match ErrorCode(answer.error) {
        ErrorCode::NONE => Ok(HostPort {
            host: answer.host,
            port: answer.port,
        }),
        error => Err(error),
    })
}

/// A connection to a group's coordinator: asks one of `brokers` after the other, and all again after a
/// pause of `backoff`, until one knows it and it takes the connection. Does not give up.
pub async fn connect_to_coordinator(
    brokers: &[HostPort],
    group: &str,
    settings: &ConnectionSettings,
    backoff: Duration,
) -> Connection {
    loop {
        for broker in brokers {
            match try_coordinator(broker, group, settings).await {
                Ok(Ok(connection)) => return connection,
                Ok(Err(error)) => {
                    ::log::debug!("{broker} does not know the coordinator of group {group}: {error}");
                }
                Err(e) => ::log::info!("The coordinator of group {group} is not found by {broker}: {e}"),
            }
        }
        settings.clock.sleep(backoff).await;
    }
}

async fn try_coordinator(
    broker: &HostPort,
    group: &str,
    settings: &ConnectionSettings,
) -> Result<std::result::Result<Connection, ErrorCode>> {
    let asked = Connection::connect(&broker.host, broker.port, settings.clone()).await?;
    match find_coordinator(&asked, group).await? {
        Ok(at) if at == *broker => Ok(Ok(asked)),
        Ok(at) => {
            let opened = Connection::connect(&at.host, at.port, settings.clone()).await;
            opened.map(Ok)
        }
        Err(error) => Ok(Err(error)),
    }
}

/// What a group committed for these partitions; for all that it committed for, if there are none.
/// Partitions that the answer leaves out are left out.
///
/// # Errors
/// The connection's.
pub async fn fetch_offsets(
    connection: &Connection,
    group: &str,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, Committed>> {
    let topics = by_topic(partitions.iter().map(|at| (at, at.partition)));
    let topics = topics
        .into_iter()
        .map(|(topic, partitions)| OffsetFetchTopic { topic, partitions });
    let request = OffsetFetchRequest {
        group_id: group.to_owned(),
        topics: topics.collect(),
    };
    let mut found = BTreeMap::new();
    for topic in connection.call(&request).await?.topics {
        for p in topic.partitions {
            let committed = Committed {
                offset: p.offset,
                metadata: p.metadata.unwrap_or_default(),
                error: ErrorCode(p.error),
            };
            found.insert(TopicPartition::new(topic.topic.as_str(), p.partition), committed);
        }
    }
    Ok(found)
}

/// Commits a group's offsets as somebody who is not a member. Partitions that the answer leaves out are
/// left out.
///
/// # Errors
/// The connection's.
pub async fn commit_offsets(
    connection: &Connection,
    group: &str,
    offsets: &BTreeMap<TopicPartition, Offset>,
) -> Result<BTreeMap<TopicPartition, ErrorCode>> {
    let commitment = |(at, offset): (&TopicPartition, &Offset)| OffsetCommitPartition {
        partition: at.partition,
        offset: *offset,
        timestamp: -1,
        metadata: Some(String::new()),
    };
    let topics = by_topic(offsets.iter().map(|(at, offset)| (at, commitment((at, offset)))));
    let topics = topics
        .into_iter()
        .map(|(topic, partitions)| OffsetCommitTopic { topic, partitions });
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id: -1,
        member_id: String::new(),
        retention_time_ms: -1,
        topics: topics.collect(),
    };
    let mut errors = BTreeMap::new();
    for topic in connection.call(&request).await?.topics {
        for p in topic.partitions {
            let at = TopicPartition::new(topic.topic.as_str(), p.partition);
            errors.insert(at, ErrorCode(p.error));
        }
    }
    Ok(errors)
}

/// The groups with members that this broker coordinates, and the error beside them.
///
/// # Errors
/// The connection's.
pub async fn list_groups(connection: &Connection) -> Result<(ErrorCode, Vec<ListedGroup>)> {
    let answer = connection.call(&ListGroupsRequest {}).await?;
    Ok((ErrorCode(answer.error), answer.groups))
}

/// How a group stands; `None` if the broker says nothing of it.
///
/// # Errors
/// The connection's.
pub async fn describe_group(connection: &Connection, group: &str) -> Result<Option<DescribedGroup>> {
    let request = DescribeGroupsRequest {
        group_ids: vec![group.to_owned()],
    };
    let groups = connection.call(&request).await?.groups;
    Ok(groups.into_iter().find(|g| g.group_id == group))
}
