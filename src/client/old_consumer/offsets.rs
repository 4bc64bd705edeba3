//! Where the group's positions are kept: in ZooKeeper, in the offsets topic, or, while a group moves from
//! the one to the other, in both.

use std::collections::{BTreeMap, HashMap};

use ::log::{debug, warn};

use super::registry;
use super::settings::{OffsetStore, OldConsumerSettings};
use super::{Error, Result};
use crate::client::connection::{Connection, ConnectionSettings};
use crate::client::groups;
use crate::cluster::TopicPartition;
use crate::message::Offset;
use crate::protocol::ErrorCode;
use crate::zookeeper::Session;

/// What 0.9 names its log lines after.
const LOGGER: &str = "kafka.consumer.ZookeeperConsumerConnector";

/// The group's positions, as its member reads and writes them.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    /// What was stored in ZooKeeper last; only what differs is written.
    stored: HashMap<TopicPartition, Offset>,
    /// To the group's coordinator, while it is known.
    channel: Option<Connection>,
}

impl Offsets {
    /// The stored position of each of these partitions that has one.
    ///
    /// Of two stores the larger position counts. A coordinator that cannot be found or is still reading is
    /// asked again, for as long as that takes.
    ///
    /// # Errors
    /// ZooKeeper's.
    pub(super) async fn read(
        &mut self,
        session: &Session,
        settings: &OldConsumerSettings,
        partitions: &[TopicPartition],
    ) -> Result<HashMap<TopicPartition, Offset>> {
        let mut found = HashMap::new();
        if settings.offsets_store != OffsetStore::Kafka {
            for at in partitions {
                if let Some(offset) = registry::stored_offset(session, &settings.group_id, at).await? {
                    found.insert(at.clone(), offset);
                }
            }
        }
        if settings.offsets_store != OffsetStore::ZooKeeper && !partitions.is_empty() {
            for (at, offset) in self.ask_coordinator(session, settings, partitions).await? {
                let known = found.entry(at).or_insert(offset);
                *known = offset.max(*known);
            }
        }
        Ok(found)
    }

    async fn ask_coordinator(
        &mut self,
        session: &Session,
        settings: &OldConsumerSettings,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Offset)>> {
        loop {
            let channel = self.channel(session, settings).await?;
            let (refused, moved) = match groups::fetch_offsets(channel, &settings.group_id, partitions).await
            {
                Ok(answer) => match answer.values().map(|c| c.error).find(|e| *e != ErrorCode::NONE) {
                    None => {
                        let known = answer.into_iter().filter(|(_, c)| c.offset >= 0);
                        return Ok(known.map(|(at, c)| (at, c.offset)).collect());
                    }
                    Some(error) => (error.to_string(), error != ErrorCode::GROUP_LOAD_IN_PROGRESS),
                },
                Err(e) => (e.to_string(), true),
            };
            warn!(target: LOGGER, "Could not fetch offsets of group {}: {refused}", settings.group_id);
            if moved {
                self.channel = None;
            }
            settings.clock.sleep(settings.offsets_channel_backoff).await;
        }
    }

    /// Stores positions once.
    ///
    /// # Errors
    /// ZooKeeper's; [`Error::Uncommitted`] or the connection's if the coordinator did not take them.
    pub(super) async fn write(
        &mut self,
        session: &Session,
        settings: &OldConsumerSettings,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let group = &settings.group_id;
        if settings.offsets_store == OffsetStore::ZooKeeper {
            return registry::store_offsets(session, group, offsets, &mut self.stored).await;
        }
        let channel = self.channel(session, settings).await?;
        let answer = match groups::commit_offsets(channel, group, offsets).await {
            Ok(answer) => answer,
            Err(e) => {
                self.channel = None;
                return Err(e.into());
            }
        };
        let taken = |at: &TopicPartition| answer.get(at) == Some(&ErrorCode::NONE);
        if settings.offsets_store == OffsetStore::Both {
            let both: BTreeMap<_, _> = offsets
                .iter()
                .filter(|(at, _)| taken(at))
                .map(|(at, offset)| (at.clone(), *offset))
                .collect();
            registry::store_offsets(session, group, &both, &mut self.stored).await?;
        }
        let Some((at, error)) = answer.into_iter().find(|(_, error)| *error != ErrorCode::NONE) else {
            debug!(target: LOGGER, "Committed {} offsets of group {group}", offsets.len());
            return Ok(());
        };
        if matches!(
            error,
            ErrorCode::NOT_COORDINATOR_FOR_GROUP | ErrorCode::GROUP_COORDINATOR_NOT_AVAILABLE
        ) {
            self.channel = None;
        }
        Err(Error::Uncommitted { partition: at, error })
    }

    /// The connection to the coordinator, found and made if need be.
    async fn channel(&mut self, session: &Session, settings: &OldConsumerSettings) -> Result<&Connection> {
        if self.channel.as_ref().is_some_and(|c| c.failure().is_some()) {
            self.channel = None;
        }
        if self.channel.is_none() {
            let mut brokers = registry::live_brokers(session).await?;
            crate::util::random::shuffle(&mut brokers);
            let timeout = settings.offsets_channel_socket_timeout;
            let connection = ConnectionSettings {
                client_id: settings.client_id.clone(),
                request_timeout: timeout,
                connect_timeout: timeout,
                clock: settings.clock.clone(),
                ..ConnectionSettings::default()
            };
            let backoff = settings.offsets_channel_backoff;
            let group = &settings.group_id;
            self.channel = Some(groups::connect_to_coordinator(&brokers, group, &connection, backoff).await);
        }
        Ok(self.channel.as_ref().expect("it was just made"))
    }
}
