//! The old consumer: a member of a group that lives in ZooKeeper, beside genuine ones.
//!
//! ```text
//! /consumers/G/ids/C        ephemeral: the member C and what it wants
//! /consumers/G/owners/T/P   ephemeral: the thread that owns the partition
//! /consumers/G/offsets/T/P  how far the group has come, unless `offsets` keeps that in the offsets topic
//! ```
//!
//! One task (`member`) registers, watches and rebalances: it reads the group (`registry`), computes
//! what is its own (`group` and [`assignor`], pure), claims it, and starts `fetcher` tasks, which fill
//! the [`Stream`]s. A `claim` is what they all share of a partition: how far it was consumed, and
//! whether it is still ours.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use kafka::client::old_consumer::{OffsetReset, OldConsumer, OldConsumerSettings, Subscription};
//! use kafka::client::{HostPort, Producer, ProducerSettings, Record};
//! use kafka::dev::{DevCluster, DevSettings};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = DevCluster::start(DevSettings {
//!     port: 0,
//!     zookeeper_port: 0,
//!     topics: vec![("orders".to_owned(), 1)],
//!     ..DevSettings::default()
//! })
//! .await?;
//! let producer = Producer::start(ProducerSettings {
//!     bootstrap: HostPort::parse_list(cluster.bootstrap_servers())?,
//!     ..ProducerSettings::default()
//! });
//! let record = Record {
//!     topic: "orders".into(),
//!     value: Some("ten apples".into()),
//!     ..Record::default()
//! };
//! producer.send(record).await?.await?;
//! producer.close(None).await;
//!
//! let settings = OldConsumerSettings {
//!     group_id: "shop".to_owned(),
//!     zookeeper_connect: cluster.zookeeper_connect(),
//!     reset: OffsetReset::Smallest,
//!     ..OldConsumerSettings::default()
//! };
//! let two_streams = Subscription::Topics(BTreeMap::from([("orders".to_owned(), 2)]));
//! let (consumer, mut streams) = OldConsumer::start(settings, two_streams).await?;
//! // The only partition goes to the first thread.
//! let consumed = streams[0].next().await?.ok_or("closed")?;
//! assert_eq!(consumed.message.value.as_deref(), Some(&b"ten apples"[..]));
//! consumer.commit().await?;
//! consumer.close().await;
//! assert!(streams[1].next().await?.is_none(), "a closed consumer's streams end");
//! cluster.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! Invariant: a message is handed out only while its claim stands, and a claim's position is stored
//! after it was revoked; so what a next owner is told begins right behind what was handed out here.

pub mod assignor;
mod claim;
mod fetcher;
mod group;
mod listener;
mod member;
mod offsets;
mod registry;
mod settings;
mod stream;

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub use self::listener::{Assignment, Held, Listening, RebalanceListener};
use self::member::{Command, Member, StreamOf};
use self::offsets::Offsets;
use self::registry::Watches;
pub use self::registry::threads_of_group;
pub use self::settings::{OffsetStore, OldConsumerSettings};
pub use self::stream::{Consumed, Stream};
use super::connection;
use super::topic_filter::TopicFilter;
pub use crate::config::client::OffsetReset;

use crate::cluster::TopicPartition;
use crate::message::{self, Offset};
use crate::protocol::ErrorCode;
use crate::util::clock::Clock;
use crate::util::random;
use crate::util::shutdown::Shutdown;
use crate::zookeeper::znodes;
use crate::zookeeper::znodes::consumer::{Pattern, Registration};
use crate::zookeeper::{self, Session, SessionSettings};

/// What can go wrong for a consumer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No message within `consumer.timeout.ms`.
    #[error("no message within consumer.timeout.ms")]
    Timeout,
    /// A message that does not fit a fetch.
    #[error(
        "a message larger than fetch.message.max.bytes stands in partition {partition} at offset {offset}; raise that setting to read on"
    )]
    TooLarge {
        /// Where.
        partition: TopicPartition,
        /// The offset that was asked for.
        offset: Offset,
    },
    /// A message that cannot be read.
    #[error("a damaged message stands in partition {partition} at or after offset {offset}: {source}")]
    Corrupt {
        /// Where.
        partition: TopicPartition,
        /// The first offset that was not read.
        offset: Offset,
        /// What is wrong with it.
        #[source]
        source: message::Error,
    },
    /// The partitions could not be claimed.
    #[error("{consumer} can't rebalance after {tries} retries")]
    RebalanceFailed {
        /// The consumer's id.
        consumer: String,
        /// `rebalance.max.retries`
        tries: u32,
    },
    /// The group cannot be assigned by its rule.
    #[error(transparent)]
    Uneven(#[from] assignor::Uneven),
    /// No broker is registered, or none for plain connections.
    #[error("no live broker to ask for leaders")]
    NoBrokers,
    /// A node with data that nobody understands.
    #[error("{path} cannot be read: {source}")]
    Znode {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: znodes::Error,
    },
    /// ZooKeeper refused or was lost.
    #[error(transparent)]
    Zookeeper(#[from] zookeeper::Error),
    /// A broker could not be asked.
    #[error(transparent)]
    Connection(#[from] connection::Error),
    /// The group's coordinator did not take a position.
    #[error("the offset of partition {partition} was not committed: {error}")]
    Uncommitted {
        /// The first that was not taken.
        partition: TopicPartition,
        /// What the coordinator said.
        error: ErrorCode,
    },
    /// The consumer was closed.
    #[error("the consumer is closed")]
    Closed,
}

/// Result of a consumer's work.
pub type Result<T> = std::result::Result<T, Error>;

/// What a consumer wants.
#[derive(Clone, Debug)]
pub enum Subscription {
    /// Topics by name, each with a number of streams. The streams come in the topics' order.
    Topics(BTreeMap<String, usize>),
    /// All topics of a list, in so many streams.
    Filter(TopicFilter, usize),
}

impl Subscription {
    fn registration(&self, clock: &Clock) -> Registration {
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let (subscription, pattern) = match self {
            Subscription::Topics(topics) => (
                topics.iter().map(|(t, n)| (t.clone(), count(*n))).collect(),
                Pattern::Static,
            ),
            Subscription::Filter(filter, n) => (
                vec![(filter.pattern().to_owned(), count(*n))],
                if filter.is_whitelist() {
                    Pattern::WhiteList
                } else {
                    Pattern::BlackList
                },
            ),
        };
        Registration {
            subscription,
            pattern,
            timestamp: clock.wall(),
        }
    }

    fn streams(&self) -> usize {
        match self {
            Subscription::Topics(topics) => topics.values().sum(),
            Subscription::Filter(_, n) => *n,
        }
    }

    fn stream_of(&self) -> StreamOf {
        match self {
            Subscription::Filter(..) => StreamOf::Thread,
            Subscription::Topics(topics) => {
                let mut next = 0;
                let first = topics.iter().map(|(topic, n)| {
                    let first = next;
                    next += n;
                    (topic.clone(), first)
                });
                StreamOf::Topic(first.collect())
            }
        }
    }
}

/// A member of a consumer group. Dropping it leaves the group at once without committing;
/// [`OldConsumer::close`] is the orderly way.
#[derive(Debug)]
pub struct OldConsumer {
    id: String,
    commands: mpsc::Sender<Command>,
    stop: Shutdown,
    task: Mutex<Option<Task>>,
}

#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl OldConsumer {
    /// Joins the group and returns when the first partitions are claimed. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`Error::Zookeeper`] if ZooKeeper cannot be reached; [`Error::RebalanceFailed`] if others do
    /// not let go of their partitions.
    pub async fn start(
        settings: OldConsumerSettings,
        subscription: Subscription,
    ) -> Result<(OldConsumer, Vec<Stream>)> {
        OldConsumer::launch(settings, subscription, None).await
    }

    /// As [`OldConsumer::start`], with a listener that is told of every rebalance, the first one among them
    /// (`setConsumerRebalanceListener` of 0.9).
    ///
    /// # Errors
    /// As of [`OldConsumer::start`].
    pub async fn start_with(
        settings: OldConsumerSettings,
        subscription: Subscription,
        listener: impl RebalanceListener + 'static,
    ) -> Result<(OldConsumer, Vec<Stream>)> {
        OldConsumer::launch(settings, subscription, Some(Box::new(listener))).await
    }

    async fn launch(
        settings: OldConsumerSettings,
        subscription: Subscription,
        listener: Option<Box<dyn RebalanceListener>>,
    ) -> Result<(OldConsumer, Vec<Stream>)> {
        let id = match &settings.consumer_id {
            Some(id) => format!("{}_{id}", settings.group_id),
            None => new_id(&settings),
        };
        let session = Session::connect(
            &settings.zookeeper_connect,
            SessionSettings {
                session_timeout: settings.zookeeper_session_timeout,
                connection_timeout: settings.zookeeper_connection_timeout,
            },
            settings.clock.clone(),
        )
        .await?;
        let (fill, streams): (Vec<_>, Vec<_>) = (0..subscription.streams())
            .map(|_| {
                let (tx, rx) = mpsc::channel(settings.queued_max_chunks.max(1));
                (
                    tx,
                    Stream::new(rx, settings.consumer_timeout, settings.clock.clone()),
                )
            })
            .unzip();
        let member = Member {
            id: id.clone(),
            registration: subscription.registration(&settings.clock),
            session,
            streams: fill,
            stream_of: subscription.stream_of(),
            watches: Watches::new(),
            claims: Vec::new(),
            fetchers: None,
            offsets: Offsets::default(),
            listener,
            settings,
        };
        let stop = Shutdown::new();
        let (commands, inbox) = mpsc::channel(4);
        let (first, started) = oneshot::channel();
        let consumer = OldConsumer {
            id,
            commands,
            task: Mutex::new(Some(Task(tokio::spawn(member.run(first, inbox, stop.stop()))))),
            stop,
        };
        match started.await {
            Ok(Ok(())) => Ok((consumer, streams)),
            Ok(Err(e)) => {
                consumer.close().await;
                Err(e)
            }
            Err(_) => Err(Error::Closed),
        }
    }

    /// The name under which it is registered.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Stores how far every partition was consumed.
    pub async fn commit(&self) -> Result<()> {
        let (done, committed) = oneshot::channel();
        self.commands
            .send(Command::Commit(done))
            .await
            .map_err(|_| Error::Closed)?;
        committed.await.map_err(|_| Error::Closed)?
    }

    /// Hands out nothing more, commits if that is automatic, and leaves the group. Streams end.
    pub async fn close(&self) {
        self.stop.ask();
        let task = self
            .task
            .lock()
            .expect("no code panics while holding this lock")
            .take();
        if let Some(mut task) = task {
            let _ = (&mut task.0).await;
        }
    }
}

/// `<group>_<host>-<milliseconds>-<8 hex digits>`
fn new_id(settings: &OldConsumerSettings) -> String {
    let random = format!("{:016x}", random::number() | 1 << 63);
    format!(
        "{}_{}-{}-{}",
        settings.group_id,
        host_name(),
        settings.clock.wall().0,
        &random[..8]
    )
}

/// This machine's name.
fn host_name() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname()
        .nodename()
        .to_str()
        .ok()
        .map(str::to_owned);
    #[cfg(windows)]
    let name = std::env::var("COMPUTERNAME").ok();
    name.filter(|n| !n.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}
