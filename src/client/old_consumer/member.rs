//! The task of one consumer: registers, rebalances when the group changes, commits, and leaves in
//! order. Decides nothing about who owns what (`group` does) and opens no message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::log::{error, info, warn};
use tokio::sync::{mpsc, oneshot};

use super::claim::Claim;
use super::fetcher::Fetchers;
use super::group::Mine;
use super::listener::{Held, RebalanceListener};
use super::offsets::Offsets;
use super::registry::{self, Watches};
use super::stream::Chunk;
use super::{Error, OffsetStore, OldConsumerSettings, Result};
use crate::cluster::TopicPartition;
use crate::message::Offset;
use crate::util::clock::Mono;
use crate::util::shutdown::Stop;
use crate::zookeeper::znodes::consumer::Registration;
use crate::zookeeper::{Session, paths};

/// What 0.9 names its log lines after.
const LOGGER: &str = "kafka.consumer.ZookeeperConsumerConnector";

/// Asks the member's task for something.
#[derive(Debug)]
pub(super) enum Command {
    /// Store the offsets now.
    Commit(oneshot::Sender<Result<()>>),
}

pub(super) struct Member {
    pub(super) settings: OldConsumerSettings,
    pub(super) id: String,
    pub(super) registration: Registration,
    pub(super) session: Session,
    /// Filled by the fetchers; `stream_of` says which.
    pub(super) streams: Vec<mpsc::Sender<Chunk>>,
    /// The stream of a topic's thread.
    pub(super) stream_of: StreamOf,
    pub(super) watches: Watches,
    pub(super) claims: Vec<Arc<Claim>>,
    pub(super) fetchers: Option<Fetchers>,
    pub(super) offsets: Offsets,
    /// Away while it is told something.
    pub(super) listener: Option<Box<dyn RebalanceListener>>,
}

/// Which stream gets the messages of a thread.
#[derive(Debug)]
pub(super) enum StreamOf {
    /// A pattern's thread: its number, for every topic.
    Thread,
    /// A topic's threads follow each other from here on.
    Topic(BTreeMap<String, usize>),
}

impl StreamOf {
    fn index(&self, mine: &Mine) -> usize {
        match self {
            StreamOf::Thread => mine.thread,
            StreamOf::Topic(first) => {
                first.get(&*mine.partition.topic).copied().unwrap_or_default() + mine.thread
            }
        }
    }
}

/// How a try to rebalance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Try {
    Done,
    /// A partition still has another owner.
    Conflict,
}

/// When to try to rebalance, and how often it was tried in vain.
#[derive(Debug, Default)]
struct Tries {
    next: Option<Mono>,
    failed: u32,
}

impl Member {
    /// Runs until stopped. `first` is told how the first rebalance ended.
    pub(super) async fn run(
        mut self,
        first: oneshot::Sender<Result<()>>,
        mut commands: mpsc::Receiver<Command>,
        mut stop: Stop,
    ) {
        let clock = self.settings.clock.clone();
        let mut first = Some(first);
        let mut state = self.session.state();
        let mut generation = 0;
        let mut tries = Tries {
            next: Some(clock.now()),
            failed: 0,
        };
        let mut commit_at = clock.now() + self.settings.auto_commit_interval;
        loop {
            tokio::select! {
                () = stop.wait() => break,
                () = clock.sleep_until_some(tries.next) => {
                    tries.next = None;
                    self.watches.settle();
                    // A new session knows nothing of us; an old one is told nothing new.
                    let present = state.borrow_and_update().generation;
                    let new_session = present != generation;
                    let tried = tokio::select! {
                        tried = self.try_rebalance(new_session) => tried,
                        () = stop.wait() => break,
                    };
                    if tried.is_ok() {
                        generation = present;
                    }
                    self.judge(tried, &mut tries, &mut first);
                }
                path = self.watches.next() => {
                    info!(target: LOGGER, "{} has changed: consumer {} rebalances", path, self.id);
                    tries.next = Some(clock.now());
                }
                changed = state.changed() => {
                    let seen = *state.borrow_and_update();
                    if changed.is_err() || seen.closed {
                        break;
                    }
                    if seen.generation != generation && generation != 0 {
                        info!(target: LOGGER, "ZK expired; release old broker partition ownership; re-register consumer {}", self.id);
                        tries.next = Some(clock.now());
                    }
                }
                () = clock.sleep_until(commit_at) => {
                    commit_at = clock.now() + self.settings.auto_commit_interval;
                    if self.settings.auto_commit {
                        let committed = tokio::select! {
                            committed = self.commit(1 + self.settings.offsets_commit_max_retries) => committed,
                            () = stop.wait() => break,
                        };
                        if let Err(e) = committed {
                            warn!(target: LOGGER, "Failed to commit offsets of consumer {}: {e}", self.id);
                        }
                    }
                }
                Some(Command::Commit(done)) = commands.recv() => {
                    let committed = tokio::select! {
                        committed = self.commit(1 + self.settings.offsets_commit_max_retries) => committed,
                        () = stop.wait() => break,
                    };
                    let _ = done.send(committed);
                }
            }
        }
        self.leave().await;
    }

    /// Plans the next try after a failed one, and speaks up.
    fn judge(&self, tried: Result<Try>, tries: &mut Tries, first: &mut Option<oneshot::Sender<Result<()>>>) {
        match tried {
            Ok(Try::Done) => {
                tries.failed = 0;
                if let Some(first) = first.take() {
                    let _ = first.send(Ok(()));
                }
                return;
            }
            Ok(Try::Conflict) => {
                info!(target: LOGGER, "Rebalancing attempt of consumer {} failed: a partition has another owner",
                    self.id
                );
            }
            Err(ref e) => info!(target: LOGGER, "Rebalancing attempt of consumer {} failed: {e}", self.id),
        }
        tries.failed += 1;
        if tries.failed >= self.settings.rebalance_max_retries {
            let failure = Error::RebalanceFailed {
                consumer: self.id.clone(),
                tries: tries.failed,
            };
            match first.take() {
                Some(first) => {
                    let _ = first.send(Err(failure));
                    return;
                }
                // Kafka gives up here until something changes. We go on trying.
                None => error!(target: LOGGER, "{failure}; it goes on trying"),
            }
            tries.failed = 0;
        }
        let next = self.settings.clock.now() + jittered(self.settings.rebalance_backoff);
        tries.next = Some(tries.next.map_or(next, |n| n.min(next)));
    }

    /// One try: give up what is owned, look at the group, claim what is ours and fetch it.
    async fn try_rebalance(&mut self, new_session: bool) -> Result<Try> {
        let session = self.session.pinned();
        if new_session {
            self.give_up(&session, false).await?;
            let path = paths::consumer_id(&self.settings.group_id, &self.id);
            info!(target: LOGGER, "begin registering consumer {} in ZK", self.id);
            session
                .create_ephemeral_checked(&path, self.registration.encode().as_bytes())
                .await?;
            info!(target: LOGGER, "end registering consumer {} in ZK", self.id);
        }
        info!(target: LOGGER, "begin rebalancing consumer {}", self.id);
        let brokers = session.children(paths::BROKER_IDS).await?;
        if brokers.is_none_or(|(ids, _)| ids.is_empty()) {
            warn!(target: LOGGER, "no brokers found when trying to rebalance.");
            self.watches.children(&session, paths::BROKER_IDS).await?;
            return Ok(Try::Done);
        }
        let group = self.settings.group_id.clone();
        let internal = self.settings.exclude_internal_topics;
        let view = registry::read_view(&session, &mut self.watches, &group, &self.id, internal).await?;
        let assignment = view.assignment(self.settings.strategy, internal)?;
        let mine = view.partitions_of(&self.id, &assignment);
        self.give_up(&session, true).await?;
        for (thread, topic) in view.idle_threads(&self.id, &mine, internal) {
            warn!(target: LOGGER, "No broker partitions consumed by consumer thread {thread} for topic {topic}");
        }
        let mut owned: Vec<TopicPartition> = Vec::new();
        for m in &mine {
            let taken =
                registry::claim(&session, &mut self.watches, &group, &m.partition, &m.thread_id).await?;
            if !taken {
                release_all(&session, &group, &owned).await?;
                return Ok(Try::Conflict);
            }
            owned.push(m.partition.clone());
        }
        // Only now: the last owner has stored its positions before it let go. Kafka reads them before.
        let offsets = match self.offsets.read(&session, &self.settings, &owned).await {
            Ok(offsets) => offsets,
            Err(e) => {
                release_all(&session, &group, &owned).await?;
                return Err(e);
            }
        };
        let claim = |m: Mine| {
            let stream = self.stream_of.index(&m);
            let next = offsets.get(&m.partition).copied();
            Arc::new(Claim::new(m.partition, stream, m.thread_id, next))
        };
        let claims: Vec<Arc<Claim>> = mine.into_iter().map(claim).collect();
        self.claims = claims.clone();
        if let Some(listener) = &mut self.listener {
            info!(target: LOGGER, "Invoking rebalance listener before starting fetchers.");
            let topics = view.topics_of(&self.id, internal);
            let assignment = assignment
                .into_iter()
                .filter(|(p, _)| topics.contains(&*p.topic))
                .collect();
            listener.before_starting_fetchers(&self.id, &assignment).await?;
        }
        if !claims.is_empty() {
            self.fetchers = Some(Fetchers::start(
                self.settings.clone(),
                self.session.clone(),
                claims,
                self.streams.clone(),
            ));
        }
        let owned: Vec<String> = self
            .claims
            .iter()
            .map(|c| format!("{} by {}", c.partition, c.thread))
            .collect();
        info!(target: LOGGER, "end rebalancing consumer {}: owns {owned:?}", self.id);
        Ok(Try::Done)
    }

    /// Stops fetching, drops what was fetched and not consumed, stores offsets, tells the listener and removes
    /// the owner nodes. Without `release` the nodes are gone already, with their session.
    async fn give_up(&mut self, session: &Session, release: bool) -> Result<()> {
        if let Some(fetchers) = self.fetchers.take() {
            fetchers.stop().await;
        }
        for claim in &self.claims {
            claim.revoke();
        }
        if self.settings.auto_commit {
            self.commit(1).await?;
        }
        if (release || !self.claims.is_empty())
            && let Some(mut listener) = self.listener.take()
        {
            info!(target: LOGGER, "Invoking rebalance listener before relasing partition ownerships.");
            let told = listener.before_releasing_partitions(Held::new(self)).await;
            self.listener = Some(listener);
            told?;
        }
        let claims = std::mem::take(&mut self.claims);
        if release {
            for claim in &claims {
                registry::release(session, &self.settings.group_id, &claim.partition).await?;
            }
        }
        Ok(())
    }

    /// How far each claimed partition was consumed, where that is known.
    pub(super) fn positions(&self) -> BTreeMap<TopicPartition, Offset> {
        self.claims
            .iter()
            .filter_map(|c| Some((c.partition.clone(), c.next()?)))
            .collect()
    }

    /// Stores how far each claimed partition was consumed, trying up to `tries` times.
    async fn commit(&mut self, tries: u32) -> Result<()> {
        let offsets = self.positions();
        self.commit_offsets(&offsets, tries).await
    }

    /// Stores these offsets, trying up to `tries` times.
    pub(super) async fn commit_offsets(
        &mut self,
        offsets: &BTreeMap<TopicPartition, Offset>,
        tries: u32,
    ) -> Result<()> {
        for left in (0..tries.max(1)).rev() {
            match self.offsets.write(&self.session, &self.settings, offsets).await {
                Err(e) if left > 0 => {
                    warn!(target: LOGGER, "Committing offsets failed, {left} tries left: {e}");
                }
                end => return end,
            }
            if self.settings.offsets_store != OffsetStore::ZooKeeper {
                self.settings
                    .clock
                    .sleep(self.settings.offsets_channel_backoff)
                    .await;
            }
        }
        Ok(())
    }

    /// Commits a last time and ends the session, and with it registration and ownership.
    async fn leave(&mut self) {
        info!(target: LOGGER, "[{}], ZKConsumerConnector shutting down", self.id);
        if let Some(fetchers) = self.fetchers.take() {
            fetchers.stop().await;
        }
        for claim in &self.claims {
            claim.revoke();
        }
        if self.settings.auto_commit {
            let clock = self.settings.clock.clone();
            let tries = 1 + self.settings.offsets_commit_max_retries;
            let patience = self.settings.zookeeper_session_timeout;
            tokio::select! {
                committed = self.commit(tries) => if let Err(e) = committed {
                    warn!(target: LOGGER, "Failed to commit offsets of consumer {} at its end: {e}", self.id);
                },
                () = clock.sleep(patience) => {
                    warn!(target: LOGGER, "Offsets of consumer {} could not be committed in time at its end", self.id);
                }
            }
        }
        self.session.clone().close().await;
        info!(target: LOGGER, "[{}], ZKConsumerConnector shut down completed", self.id);
    }
}

async fn release_all(session: &Session, group: &str, owned: &[TopicPartition]) -> Result<()> {
    for partition in owned {
        registry::release(session, group, partition).await?;
    }
    Ok(())
}

/// Up to a quarter more, so that members that collided do not collide again.
fn jittered(backoff: Duration) -> Duration {
    let quarters = crate::util::random::number() % 256;
    backoff + backoff.mul_f64(f64::from(u32::try_from(quarters).unwrap_or(0)) / 1024.0)
}
