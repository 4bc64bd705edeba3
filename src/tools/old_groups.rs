//! What the tools of old groups share: who leads a partition, where it ends, and how far a group has come
//! in it, be that kept in the offsets topic or in ZooKeeper.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use super::options::{OptionParser, OptionSet, check_required_args};
use super::{logging, print};
use crate::client::connection::{self, Connection, ConnectionSettings};
use crate::client::groups::{self, Committed};
use crate::client::{registered, simple};
use crate::cluster::{BrokerId, TopicPartition};
use crate::message::Offset;
use crate::protocol::ErrorCode;
use crate::util::clock::Clock;
use crate::zookeeper::znodes::order::{immutable, partition_hash};
use crate::zookeeper::{self, Session, paths, znodes};

/// The time that SimpleConsumer of the original allows for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a coordinator is looked for; the original never gives up.
const COORDINATOR_PATIENCE: Duration = Duration::from_secs(30);

/// Why a tool cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// ZooKeeper did not answer.
    #[error(transparent)]
    ZooKeeper(#[from] zookeeper::Error),
    /// A broker did not answer.
    #[error(transparent)]
    Connection(#[from] connection::Error),
    /// A node of the group or the operator's wish is not as it should be.
    #[error(transparent)]
    Admin(#[from] crate::admin::Error),
    /// A node that must be there is not.
    #[error("org.apache.zookeeper.KeeperException$NoNodeException: KeeperErrorCode = NoNode for {0}")]
    NoNode(String),
    /// Nobody tells who coordinates the group.
    #[error("no broker tells the coordinator of group {group} within {} s", COORDINATOR_PATIENCE.as_secs())]
    NoCoordinator {
        /// Whose.
        group: String,
    },
    /// A broker gave no offset.
    #[error("broker {broker} does not tell the end of partition {at}: {error}")]
    NoEnd {
        /// Who was asked.
        broker: BrokerId,
        /// Of what.
        at: TopicPartition,
        /// What it said.
        error: ErrorCode,
    },
}

/// Result of a tool's step.
pub(super) type Result<T> = std::result::Result<T, Error>;

/// Declares the option that says where ZooKeeper is.
pub(super) fn accept_connect(parser: &mut OptionParser, name: &str) {
    parser
        .accepts(name, "ZooKeeper connect string.")
        .with_required_arg()
        .defaults_to("localhost:2181");
}

/// Reads the command line of a tool that knows `--help` and requires one option. If there is nothing to do,
/// that has been said.
pub(super) fn understood(
    parser: &OptionParser,
    args: &[String],
    purpose: &str,
    required: &str,
) -> std::result::Result<OptionSet, ExitCode> {
    logging::init(logging::Fallback::Tool);
    if args.is_empty() {
        return Err(parser.usage_error(purpose).report());
    }
    let options = parser.parse(args).map_err(|e| e.report())?;
    if options.has("help") {
        return Err(print(&parser.help()));
    }
    check_required_args(parser, &options, &[required]).map_err(|e| e.report())?;
    Ok(options)
}

/// Tells of a failure as the JVM tells of an exception that nobody caught, without the trace.
pub(super) fn uncaught(exception: &str, reason: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("Exception in thread \"main\" {exception}: {reason}");
    ExitCode::FAILURE
}

/// Says that a partition has no line because its leader is not known.
pub(super) fn tell_unregistered(broker: BrokerId) {
    println!("Could not parse broker info due to Broker id {broker} does not exist");
}

/// The partition's leader as ZooKeeper has it, [`BrokerId::NONE`] included; `None` if it never had one.
pub(super) async fn leader(session: &Session, at: &TopicPartition) -> Result<Option<BrokerId>> {
    let path = paths::partition_state(&at.topic, at.partition);
    let node = session.get(&path).await?;
    Ok(node.and_then(|node| {
        let data = node.data.unwrap_or_default();
        let state = znodes::leader_and_isr::decode(&data, node.stat.version).ok()?;
        Some(state.leader)
    }))
}

/// Connections to leaders, one each.
pub(super) struct Leaders<'a> {
    session: &'a Session,
    client_id: &'static str,
    connections: BTreeMap<BrokerId, Option<Connection>>,
}

impl<'a> Leaders<'a> {
    /// None yet.
    pub(super) fn new(session: &'a Session, client_id: &'static str) -> Leaders<'a> {
        Leaders {
            session,
            client_id,
            connections: BTreeMap::new(),
        }
    }

    /// The brokers that were asked for an offset, with their addresses, in the order of their ids.
    pub(super) fn asked(&self) -> impl Iterator<Item = (BrokerId, &str)> {
        let open = self.connections.iter();
        open.filter_map(|(id, c)| Some((*id, c.as_ref()?.peer())))
    }

    /// The offset of that time of a partition, as its leader `broker` tells consumers; `None` if that is
    /// not registered.
    pub(super) async fn offset_at(
        &mut self,
        broker: BrokerId,
        at: &TopicPartition,
        time: i64,
    ) -> Result<Option<Offset>> {
        if !self.connections.contains_key(&broker) {
            let opened = match registered::broker(self.session, broker).await? {
                Some(at) => Some(Connection::connect(&at.host, at.port, self.settings()).await?),
                None => None,
            };
            self.connections.insert(broker, opened);
        }
        let Some(Some(connection)) = self.connections.get(&broker) else {
            return Ok(None);
        };
        let asked = std::slice::from_ref(at);
        let mut answer = simple::offsets_before(connection, simple::CONSUMER, asked, time, 1).await?;
        let (error, offsets) = answer.remove(at).unwrap_or((ErrorCode::UNKNOWN, Vec::new()));
        match offsets.first() {
            Some(offset) => Ok(Some(*offset)),
            None => Err(Error::NoEnd {
                broker,
                at: at.clone(),
                error,
            }),
        }
    }

    fn settings(&self) -> ConnectionSettings {
        ConnectionSettings {
            client_id: self.client_id.to_owned(),
            request_timeout: PATIENCE,
            connect_timeout: PATIENCE,
            ..ConnectionSettings::default()
        }
    }
}

/// What the coordinator knows of a group's offsets in these partitions, in the order that the original
/// works through them. `timeout` is for each answer, `backoff` between tries.
pub(super) async fn offsets_in_kafka(
    session: &Session,
    group: &str,
    partitions: &[TopicPartition],
    timeout: Duration,
    backoff: Duration,
) -> Result<Vec<(TopicPartition, Committed)>> {
    let brokers = registered::brokers(session).await?;
    let settings = ConnectionSettings {
        request_timeout: timeout,
        connect_timeout: timeout,
        ..ConnectionSettings::default()
    };
    let clock = Clock::system();
    let connection = tokio::select! {
        connection = groups::connect_to_coordinator(&brokers, group, &settings, backoff) => connection,
        () = clock.sleep(COORDINATOR_PATIENCE) => return Err(Error::NoCoordinator { group: group.to_owned() }),
    };
    // No partitions would mean all.
    let answer = match partitions.is_empty() {
        true => BTreeMap::new(),
        false => groups::fetch_offsets(&connection, group, partitions).await?,
    };
    connection.close().await;
    Ok(immutable(answer.into_iter().collect(), |(at, _)| {
        partition_hash(at)
    }))
}
