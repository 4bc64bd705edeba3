//! Groups of new consumers, as their coordinators tell of them.
//!
//! A group without members is nothing to a coordinator but its offsets, and the genuine tool then tells
//! nothing either. Here what it committed is shown, with no owner (KAFKA-3853).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ::log::{debug, warn};

use super::super::console_consumer;
use super::super::options::{self, OptionSet};
use super::{HEADER, Row, told};
use crate::client::consumer::{ConsumerSettings, PROTOCOL_TYPE, decode_assignment};
use crate::client::metadata::{InvalidAddress, Metadata};
use crate::client::{self, BrokerClient, Connection, ConnectionSettings, HostPort, groups, simple};
use crate::cluster::TopicPartition;
use crate::config::Properties;
use crate::message::Offset;
use crate::protocol::ErrorCode;
use crate::protocol::groups::{DescribedGroup, DescribedMember, GroupCoordinatorRequest};
use crate::util::clock::Mono;
use crate::util::codec;

/// How long brokers may say that they are not ready, be it that the offsets topic is only being made, a
/// coordinator still reads it, or a leader is only being elected. The genuine tool does not ask twice.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a command ends.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Options(#[from] options::Error),
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Connection(#[from] client::Error),
    #[error("Request GROUP_COORDINATOR failed on brokers {brokers}: {cause}")]
    NoBroker { brokers: String, cause: client::Error },
    #[error("{}", .0.message())]
    Refused(ErrorCode),
    #[error("Response from broker contained no metadata for group {0}")]
    Unsaid(String),
    #[error("Group {group} with protocol type '{kind}' is not a valid consumer group")]
    NoConsumers { group: String, kind: String },
    #[error("the share of member {member} cannot be read: {cause}")]
    Share { member: String, cause: codec::Error },
}

type Result<T> = std::result::Result<T, Failure>;

pub(super) async fn carry_out(options: OptionSet) -> ExitCode {
    let brokers = match Brokers::of(&options) {
        Ok(brokers) => brokers,
        Err(e) => return told(Err(e)),
    };
    let done = if options.has("list") {
        brokers.list().await
    } else {
        brokers.describe(&options).await
    };
    brokers.client.close().await;
    told(done)
}

/// The cluster that is asked.
struct Brokers {
    bootstrap: Vec<HostPort>,
    client: BrokerClient,
    settings: ConsumerSettings,
}

impl Brokers {
    fn of(options: &OptionSet) -> Result<Brokers> {
        let mut properties = match options.value("command-config")? {
            Some(file) => Properties::load(Path::new(&file)).map_err(|e| Failure::Config(e.to_string()))?,
            None => Properties::new(),
        };
        let list = options.value("bootstrap-server")?.unwrap_or_default();
        let bootstrap = HostPort::parse_list(&list)?;
        properties.set("bootstrap.servers", &list, "command line");
        let settings = console_consumer::new_settings(&properties).map_err(Failure::Config)?;
        let client_id = match settings.client_id.as_str() {
            "" => "admin-1".to_owned(),
            id => id.to_owned(),
        };
        let connection = ConnectionSettings {
            client_id,
            request_timeout: settings.request_timeout,
            connect_timeout: settings.request_timeout,
            ..ConnectionSettings::default()
        };
        Ok(Brokers {
            client: BrokerClient::new(bootstrap.clone(), connection, settings.reconnect_backoff),
            bootstrap,
            settings,
        })
    }

    /// What every broker coordinates. One that does not answer has nothing to say, as with the genuine
    /// tool, but that is told.
    async fn list(&self) -> Result<()> {
        for at in self.cluster().await?.brokers.values() {
            let answer = match self.client.connection(at).await {
                Ok(connection) => groups::list_groups(&connection).await,
                Err(e) => Err(e),
            };
            match answer {
                Ok((error, groups)) => {
                    if !error.is_none() {
                        warn!("{at} may not have told all its groups: {}", error.message());
                    }
                    for group in groups.iter().filter(|g| g.protocol_type == PROTOCOL_TYPE) {
                        println!("{}", group.group_id);
                    }
                }
                Err(e) => warn!("{at} did not tell its groups: {e}"),
            }
        }
        Ok(())
    }

    async fn describe(&self, options: &OptionSet) -> Result<()> {
        let group = options.value("group")?.unwrap_or_default();
        let described = self.described(&group).await?;
        let shares = match described.state.as_str() {
            // No members; perhaps offsets.
            "Dead" => vec![(None, self.committed(&group, &[]).await?.into_keys().collect())],
            _ if described.protocol_type != PROTOCOL_TYPE => {
                let kind = described.protocol_type;
                return Err(Failure::NoConsumers { group, kind });
            }
            "Stable" => shares(described)?,
            _ => Vec::new(),
        };
        let partitions: Vec<TopicPartition> = shares.iter().flat_map(|(_, share)| share.clone()).collect();
        if described_nothing(&shares) {
            println!("Consumer group `{group}` does not exist or is rebalancing.");
            return Ok(());
        }
        // No partitions would mean all.
        let committed = match partitions.is_empty() {
            true => BTreeMap::new(),
            false => self.committed(&group, &partitions).await?,
        };
        let ends = self.ends(&partitions).await?;
        println!("{HEADER}");
        for (owner, mut share) in shares {
            share.sort_by_key(|at| at.partition);
            if owner.is_none() {
                share.sort();
            }
            for at in &share {
                let row = Row {
                    group: &group,
                    at,
                    offset: committed.get(at).copied(),
                    end: ends.get(at).copied(),
                    owner: owner.clone(),
                };
                println!("{row}");
            }
        }
        Ok(())
    }

    async fn cluster(&self) -> Result<Metadata> {
        // Naming topics might make them.
        Ok(self.client.fetch_metadata(&Metadata::default(), &[]).await?)
    }

    fn deadline(&self) -> Mono {
        self.settings.clock.now() + PATIENCE
    }

    /// Whether there is time to ask once more after this error; waits a moment if so.
    async fn again(&self, error: ErrorCode, deadline: Mono) -> bool {
        let more = error.is_retriable() && self.settings.clock.now() < deadline;
        if more {
            debug!("asking again after {error}");
            self.settings.clock.sleep(self.settings.retry_backoff).await;
        }
        more
    }

    async fn coordinator(&self, group: &str) -> Result<Arc<Connection>> {
        let deadline = self.deadline();
        loop {
            let request = GroupCoordinatorRequest {
                group_id: group.to_owned(),
            };
            let asked = self.client.call_any(&Metadata::default(), &request).await;
            let answer = asked.map_err(|cause| Failure::NoBroker {
                brokers: list_of(&self.bootstrap),
                cause,
            })?;
            let error = ErrorCode(answer.error);
            if error.is_none() {
                let at = HostPort {
                    host: answer.host,
                    port: answer.port,
                };
                return Ok(self.client.connection(&at).await?);
            }
            if !self.again(error, deadline).await {
                return Err(Failure::Refused(error));
            }
        }
    }

    async fn described(&self, group: &str) -> Result<DescribedGroup> {
        let deadline = self.deadline();
        loop {
            let coordinator = self.coordinator(group).await?;
            let described = groups::describe_group(&coordinator, group).await?;
            let described = described.ok_or_else(|| Failure::Unsaid(group.to_owned()))?;
            let error = ErrorCode(described.error);
            if error.is_none() {
                return Ok(described);
            }
            if !self.again(error, deadline).await {
                return Err(Failure::Refused(error));
            }
        }
    }

    /// What the group committed for these partitions; for all, if there are none.
    async fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        let deadline = self.deadline();
        loop {
            let coordinator = self.coordinator(group).await?;
            let found = groups::fetch_offsets(&coordinator, group, partitions).await?;
            match found.values().map(|c| c.error).find(|e| !e.is_none()) {
                None => {
                    let known = found.into_iter().filter(|(_, c)| c.offset >= 0);
                    return Ok(known.map(|(at, c)| (at, c.offset)).collect());
                }
                Some(error) if self.again(error, deadline).await => {}
                Some(error) => return Err(Failure::Refused(error)),
            }
        }
    }

    /// Where the partitions end, of those that have a leader that tells it. The genuine tool waits for one
    /// without end.
    async fn ends(&self, partitions: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, Offset>> {
        let deadline = self.deadline();
        let mut wanted: BTreeSet<TopicPartition> = partitions.iter().cloned().collect();
        let mut ends = BTreeMap::new();
        while !wanted.is_empty() {
            let cluster = self.cluster().await?;
            let mut by_leader: BTreeMap<HostPort, Vec<TopicPartition>> = BTreeMap::new();
            for at in std::mem::take(&mut wanted) {
                let leader = cluster.leader(&at.topic, at.partition);
                match leader.and_then(|id| cluster.brokers.get(&id)) {
                    Some(leader) => by_leader.entry(leader.clone()).or_default().push(at),
                    None => warn!("partition {at} has no leader to tell its end"),
                }
            }
            let mut last = ErrorCode::NONE;
            for (leader, partitions) in by_leader {
                for (at, (error, offsets)) in self.ends_at(&leader, &partitions).await {
                    match offsets.first() {
                        Some(end) if error.is_none() => {
                            ends.insert(at, *end);
                        }
                        _ if error.is_retriable() => {
                            last = error;
                            wanted.insert(at);
                        }
                        _ => warn!(
                            "{leader} does not tell the end of partition {at}: {}",
                            error.message()
                        ),
                    }
                }
            }
            if !wanted.is_empty() && !self.again(last, deadline).await {
                warn!(
                    "the ends of {} partitions are not known: {}",
                    wanted.len(),
                    last.message()
                );
                break;
            }
        }
        Ok(ends)
    }

    async fn ends_at(
        &self,
        leader: &HostPort,
        partitions: &[TopicPartition],
    ) -> BTreeMap<TopicPartition, (ErrorCode, Vec<Offset>)> {
        let answer = match self.client.connection(leader).await {
            Ok(c) => simple::offsets_before(&c, simple::CONSUMER, partitions, simple::LATEST, 1).await,
            Err(e) => Err(e),
        };
        answer.unwrap_or_else(|e| {
            warn!("{leader} does not tell where its partitions end: {e}");
            BTreeMap::new()
        })
    }
}

/// Each member's name and partitions.
fn shares(group: DescribedGroup) -> Result<Vec<(Option<String>, Vec<TopicPartition>)>> {
    let share = |m: DescribedMember| match decode_assignment(m.assignment) {
        Ok(share) => Ok((Some(format!("{}_{}", m.client_id, m.client_host)), share)),
        Err(cause) => Err(Failure::Share {
            member: m.member_id,
            cause,
        }),
    };
    group.members.into_iter().map(share).collect()
}

/// Whether there is neither a member nor an offset.
fn described_nothing(shares: &[(Option<String>, Vec<TopicPartition>)]) -> bool {
    shares
        .iter()
        .all(|(owner, share)| owner.is_none() && share.is_empty())
}

/// Brokers as a Java client prints those that it has only the address of.
fn list_of(brokers: &[HostPort]) -> String {
    let nodes = (1..).zip(brokers);
    let nodes: Vec<String> = nodes
        .map(|(n, at)| format!("Node(-{n}, {}, {})", at.host, at.port))
        .collect();
    format!("List({})", nodes.join(", "))
}
