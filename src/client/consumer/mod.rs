//! The old consumer: a member of a group that lives in ZooKeeper, beside genuine ones.
//!
//! ```text
//! /consumers/G/ids/C        ephemeral: the member C and what it wants
//! /consumers/G/owners/T/P   ephemeral: the thread that owns the partition
//! /consumers/G/offsets/T/P  how far the group has come
//! ```
//!
//! One task (`member`) registers, watches and rebalances: it reads the group (`registry`), computes
//! what is its own (`group` and [`assignor`], pure), claims it, and starts `fetcher` tasks, which fill
//! the [`Stream`]s. A `claim` is what they all share of a partition: how far it was consumed, and
//! whether it is still ours.
//!
//! Invariant: a message is handed out only while its claim stands, and a claim's position is stored
//! after it was revoked; so what a next owner is told begins right behind what was handed out here.

pub mod assignor;
mod claim;
mod fetcher;
pub mod filter;
mod group;
mod member;
mod registry;
mod stream;

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use self::assignor::Strategy;
use self::filter::TopicFilter;
use self::member::{Command, Member, StreamOf};
use self::registry::Watches;
pub use self::stream::{Consumed, Stream};
use super::connection;
use super::producer::partitioner::random_u64;
use crate::cluster::TopicPartition;
use crate::message::{self, Offset};
use crate::util::clock::Clock;
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
    /// The consumer was closed.
    #[error("the consumer is closed")]
    Closed,
}

/// Result of a consumer's work.
pub type Result<T> = std::result::Result<T, Error>;

/// Where to begin without a stored offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// With the first message there is.
    Smallest,
    /// With the next message that comes.
    Largest,
}

/// What an old consumer may be told, by 0.9's names.
#[derive(Clone, Debug)]
pub struct ConsumerSettings {
    /// `group.id`
    pub group_id: String,
    /// `zookeeper.connect`
    pub zookeeper_connect: String,
    /// `zookeeper.session.timeout.ms`
    pub zookeeper_session_timeout: Duration,
    /// `zookeeper.connection.timeout.ms`
    pub zookeeper_connection_timeout: Duration,
    /// `client.id`
    pub client_id: String,
    /// `consumer.id`; made up when `None`.
    pub consumer_id: Option<String>,
    /// `socket.timeout.ms`
    pub socket_timeout: Duration,
    /// `socket.receive.buffer.bytes`; the system's choice when `None`.
    pub socket_receive_buffer_bytes: Option<u32>,
    /// `fetch.message.max.bytes`
    pub fetch_message_max_bytes: i32,
    /// `num.consumer.fetchers`, per broker; at least 1.
    pub num_fetchers: u32,
    /// `auto.commit.enable`
    pub auto_commit: bool,
    /// `auto.commit.interval.ms`
    pub auto_commit_interval: Duration,
    /// `queued.max.message.chunks`, per stream; at least 1.
    pub queued_max_chunks: usize,
    /// `rebalance.max.retries`, at least 1.
    pub rebalance_max_retries: u32,
    /// `rebalance.backoff.ms`
    pub rebalance_backoff: Duration,
    /// `fetch.min.bytes`
    pub fetch_min_bytes: i32,
    /// `fetch.wait.max.ms`
    pub fetch_wait_max: Duration,
    /// `refresh.leader.backoff.ms`
    pub refresh_leader_backoff: Duration,
    /// `offsets.commit.max.retries`
    pub offsets_commit_max_retries: u32,
    /// `auto.offset.reset`
    pub reset: OffsetReset,
    /// `consumer.timeout.ms`; for ever when `None`.
    pub consumer_timeout: Option<Duration>,
    /// `exclude.internal.topics`
    pub exclude_internal_topics: bool,
    /// `partition.assignment.strategy`
    pub strategy: Strategy,
    /// Where time comes from.
    pub clock: Clock,
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        ConsumerSettings {
            group_id: String::new(),
            zookeeper_connect: String::new(),
            zookeeper_session_timeout: Duration::from_secs(6),
            zookeeper_connection_timeout: Duration::from_secs(6),
            client_id: String::new(),
            consumer_id: None,
            socket_timeout: Duration::from_secs(30),
            socket_receive_buffer_bytes: Some(65536),
            fetch_message_max_bytes: 1 << 20,
            num_fetchers: 1,
            auto_commit: true,
            auto_commit_interval: Duration::from_secs(60),
            queued_max_chunks: 2,
            rebalance_max_retries: 4,
            rebalance_backoff: Duration::from_secs(2),
            fetch_min_bytes: 1,
            fetch_wait_max: Duration::from_millis(100),
            refresh_leader_backoff: Duration::from_millis(200),
            offsets_commit_max_retries: 5,
            reset: OffsetReset::Largest,
            consumer_timeout: None,
            exclude_internal_topics: true,
            strategy: Strategy::Range,
            clock: Clock::system(),
        }
    }
}

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
/// [`Consumer::close`] is the orderly way.
#[derive(Debug)]
pub struct Consumer {
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

impl Consumer {
    /// Joins the group and returns when the first partitions are claimed. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`Error::Zookeeper`] if ZooKeeper cannot be reached; [`Error::RebalanceFailed`] if others do
    /// not let go of their partitions.
    pub async fn start(
        settings: ConsumerSettings,
        subscription: Subscription,
    ) -> Result<(Consumer, Vec<Stream>)> {
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
            stored: HashMap::new(),
            settings,
        };
        let stop = Shutdown::new();
        let (commands, inbox) = mpsc::channel(4);
        let (first, started) = oneshot::channel();
        let consumer = Consumer {
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
fn new_id(settings: &ConsumerSettings) -> String {
    let random = format!("{:016x}", random_u64() | 1 << 63);
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
