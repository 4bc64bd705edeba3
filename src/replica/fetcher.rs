//! How this broker copies what it follows: tasks that fetch from the leaders, one for each leader and
//! each of `num.replica.fetchers`.
//!
//! A fetcher lists what follows its leader when roles have changed, and asks each partition before each
//! request where to go on. So a change of role needs no word to it, and a late answer finds that its
//! question no longer counts.

mod exchange;
mod gauges;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::log::{debug, error, info, warn};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::{Connection, ConnectionSettings};
use crate::cluster::{BrokerId, Endpoint};
use crate::util::blocking;
use crate::util::shutdown::Stop;

use super::agreement::Question;
use super::fetch_progress::{FetchProgress, fetcher_of, growing};
use super::manager::ReplicaManager;
use super::partition::Partition;
use super::standing::Role;

use gauges::Gauges;
pub(super) use gauges::Running;

/// What followers take from the broker's settings.
#[derive(Clone, Debug)]
pub struct FetcherSettings {
    /// `num.replica.fetchers`, for each leader.
    pub fetchers: usize,
    /// `replica.fetch.max.bytes`, of each partition.
    pub max_bytes: i32,
    /// `replica.fetch.min.bytes`
    pub min_bytes: i32,
    /// `replica.fetch.wait.max.ms`
    pub max_wait: Duration,
    /// `replica.fetch.backoff.ms`: the longest pause between tries.
    pub backoff: Duration,
    /// `replica.socket.timeout.ms`
    pub socket_timeout: Duration,
    /// `replica.socket.receive.buffer.bytes`
    pub receive_buffer_bytes: Option<usize>,
    /// The version of Fetch that all brokers of the cluster speak.
    pub fetch_version: i16,
}

/// A leader and one of the fetchers that copy from it.
type Key = (BrokerId, usize);

/// One partition to ask for.
struct Asked {
    partition: Arc<Partition>,
    question: Question,
}

/// An open connection to the leader. Its number is like no other's: a leader that was started again cannot
/// be reached over the same one.
struct Link {
    endpoint: Endpoint,
    connection: Connection,
    number: u64,
}

/// See the module.
struct Fetcher {
    replicas: Arc<ReplicaManager>,
    leader: BrokerId,
    number: usize,
    /// As the thread is called in 0.9.0.1.
    name: String,
    roles: watch::Receiver<u64>,
    partitions: Vec<Arc<Partition>>,
    progress: FetchProgress,
    gauges: Gauges,
    link: Option<Link>,
    /// Failed connections and requests in a row.
    failures: u32,
}

impl ReplicaManager {
    /// Keeps a fetcher for each leader that something here follows, until `stop` or the broker has left.
    pub(super) async fn keep_fetchers(self: Arc<Self>, mut stop: Stop) {
        let mut tasks: JoinSet<Key> = JoinSet::new();
        let mut running: Vec<Key> = Vec::new();
        let mut roles = self.roles.subscribe();
        let mut copying = self.copying();
        loop {
            roles.borrow_and_update();
            for key in self.fetchers_needed() {
                if !running.contains(&key) {
                    running.push(key);
                    tasks.spawn(Fetcher::new(self.clone(), key).run());
                }
            }
            tokio::select! {
                () = stop.wait() => break,
                () = copying.wait() => break,
                _ = roles.changed() => {}
                Some(ended) = tasks.join_next() => match ended {
                    Ok(key) => running.retain(|k| *k != key),
                    Err(e) => {
                        // Nobody knows which: those that still run are found to be running again.
                        error!("A replica fetcher failed: {e}");
                        tasks.shutdown().await;
                        running.clear();
                    }
                },
            }
        }
        tasks.shutdown().await;
    }

    fn fetchers_needed(&self) -> Vec<Key> {
        let key = |p: &Arc<Partition>| match p.role() {
            Role::Follower(leader) if leader != BrokerId::NONE => {
                Some((leader, fetcher_of(&p.id, self.settings.fetcher.fetchers)))
            }
            _ => None,
        };
        let mut keys: Vec<_> = self.all().iter().filter_map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

impl Fetcher {
    fn new(replicas: Arc<ReplicaManager>, (leader, number): Key) -> Fetcher {
        let name = format!("ReplicaFetcherThread-{number}-{leader}");
        Fetcher {
            leader,
            number,
            gauges: Gauges::new(replicas.clone(), &name),
            name,
            roles: replicas.roles.subscribe(),
            partitions: Vec::new(),
            progress: FetchProgress::default(),
            link: None,
            failures: 0,
            replicas,
        }
    }

    /// Copies until nothing here follows that leader any more.
    async fn run(mut self) -> Key {
        info!("[{}], Starting", self.name);
        self.list();
        while !self.partitions.is_empty() {
            self.round().await;
            if self.roles.has_changed().unwrap_or(true) {
                self.list();
            }
        }
        info!("[{}], Stopped", self.name);
        (self.leader, self.number)
    }

    fn list(&mut self) {
        self.roles.borrow_and_update();
        let fetchers = self.replicas.settings.fetcher.fetchers;
        let mut all = self.replicas.all();
        all.retain(|p| p.role() == Role::Follower(self.leader) && fetcher_of(&p.id, fetchers) == self.number);
        self.gauges.list(&all);
        self.partitions = all;
        let kept = &self.partitions;
        self.progress.retain(|id| kept.iter().any(|p| p.id == *id));
    }

    /// One request and what comes of it, or a pause.
    async fn round(&mut self) {
        if !self.connected().await {
            return;
        }
        let asked = self.due();
        let Some(link) = &self.link else { return };
        if asked.is_empty() {
            tokio::select! {
                () = self.replicas.clock.sleep_until_some(self.progress.next_due()) => {}
                _ = self.roles.changed() => self.roles.mark_changed(),
            }
            return;
        }
        match exchange::fetch(
            &self.replicas,
            self.leader,
            &link.connection,
            &asked,
            &mut self.progress,
            &self.gauges,
        )
        .await
        {
            Ok(()) => self.failures = 0,
            Err(e) => {
                warn!(
                    "[{}], Error in fetch: {e}. Possible cause: the leader is down or moved",
                    self.name
                );
                self.link = None;
                self.pause().await;
            }
        }
    }

    /// Waits after a failure, at most until roles or addresses change.
    async fn pause(&mut self) {
        let pause = growing(self.failures, self.replicas.settings.fetcher.backoff);
        self.failures = self.failures.saturating_add(1);
        let mut metadata = self.replicas.metadata.clone();
        metadata.mark_unchanged();
        tokio::select! {
            () = self.replicas.clock.sleep(pause) => {}
            Ok(()) = metadata.changed() => {}
            _ = self.roles.changed() => self.roles.mark_changed(),
        }
    }

    /// Makes sure of a connection to where the leader is; false after a pause without one.
    async fn connected(&mut self) -> bool {
        let Some(endpoint) = self.endpoint() else {
            debug!(
                "[{}], broker {} has no endpoint for followers yet",
                self.name, self.leader
            );
            self.pause().await;
            return false;
        };
        let usable = |link: &Link| link.endpoint == endpoint && link.connection.failure().is_none();
        if self.link.as_ref().is_some_and(usable) {
            return true;
        }
        self.link = None;
        match self.connect(&endpoint).await {
            Ok(connection) => {
                self.gauges.connected(&endpoint);
                static NEXT: AtomicU64 = AtomicU64::new(1);
                self.link = Some(Link {
                    endpoint,
                    connection,
                    number: NEXT.fetch_add(1, Ordering::Relaxed),
                });
                true
            }
            Err(e) => {
                warn!("[{}], {e}", self.name);
                self.pause().await;
                false
            }
        }
    }

    fn endpoint(&self) -> Option<Endpoint> {
        let image = self.replicas.metadata.borrow();
        image
            .brokers
            .get(&self.leader)?
            .endpoint(self.replicas.settings.inter_broker_protocol)
            .cloned()
    }

    async fn connect(&self, to: &Endpoint) -> crate::client::Result<Connection> {
        let settings = &self.replicas.settings.fetcher;
        let receive = settings.receive_buffer_bytes.and_then(|b| u32::try_from(b).ok());
        let settings = ConnectionSettings {
            client_id: self.name.clone(),
            request_timeout: settings.socket_timeout,
            connect_timeout: settings.socket_timeout,
            receive_buffer_bytes: receive,
            clock: self.replicas.clock.clone(),
            ..ConnectionSettings::default()
        };
        Connection::connect(&to.host, to.port, settings).await
    }

    /// What to ask of the leader now.
    fn due(&mut self) -> Vec<Asked> {
        let now = self.replicas.clock.now();
        let Some(link) = &self.link else {
            return Vec::new();
        };
        let mut asked = Vec::with_capacity(self.partitions.len());
        for partition in &self.partitions {
            if !self.progress.is_due(&partition.id, now) {
                continue;
            }
            match blocking::in_place(|| partition.ask(self.leader, link.number)) {
                Ok(Some(question)) => asked.push(Asked {
                    partition: partition.clone(),
                    question,
                }),
                Ok(None) => {}
                Err(e) => {
                    self.replicas.cannot_copy(&partition.id, None, &e);
                    let backoff = self.replicas.settings.fetcher.backoff;
                    self.progress.delay(&partition.id, now, backoff);
                }
            }
        }
        asked
    }
}
