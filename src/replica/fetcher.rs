//! How this broker copies what it follows: tasks that fetch from the leaders, one for each leader and
//! each of `num.replica.fetchers`.
//!
//! A fetcher keeps no list: before each request it looks which partitions follow its leader and where
//! their logs end. So a change of role needs no word to it, and a late answer finds its offset no longer
//! the log's end and is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::log::{debug, error, info, warn};
use tokio::task::JoinSet;

use crate::client::{Connection, ConnectionSettings};
use crate::cluster::{BrokerId, Endpoint, TopicPartition};
use crate::log::{self, Log};
use crate::message::Offset;
use crate::protocol::ErrorCode;
use crate::protocol::fetch::{FetchPartition, FetchPartitionResult, FetchRequest, FetchTopic};
use crate::protocol::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use crate::util::blocking;
use crate::util::shutdown::Stop;

use super::error::{Error, Result};
use super::fetch_progress::{FetchProgress, OutOfRange, fetcher_of, out_of_range};
use super::manager::ReplicaManager;
use super::partition::{Partition, Role};

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
    /// `replica.fetch.backoff.ms`
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
    log: Arc<Log>,
    offset: Offset,
}

impl ReplicaManager {
    /// Keeps a fetcher for each leader that something here follows.
    pub(super) async fn keep_fetchers(self: Arc<Self>, mut stop: Stop) {
        let mut tasks: JoinSet<Key> = JoinSet::new();
        let mut running: Vec<Key> = Vec::new();
        loop {
            for key in self.fetchers_needed() {
                if !running.contains(&key) {
                    running.push(key);
                    tasks.spawn(self.clone().fetch_from(key));
                }
            }
            tokio::select! {
                () = stop.wait() => break,
                () = self.roles_changed.notified() => {}
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

    /// Copies until nothing here follows that leader any more.
    async fn fetch_from(self: Arc<Self>, key: Key) -> Key {
        let name = format!("ReplicaFetcherThread-{}-{}", key.1, key.0);
        info!("[{name}], Starting");
        let mut progress = FetchProgress::default();
        let mut connection: Option<(Endpoint, Connection)> = None;
        let backoff = self.settings.fetcher.backoff;
        loop {
            let (asked, any) = self.due(key, &mut progress);
            if !any {
                break;
            }
            if asked.is_empty() {
                let due = progress.next_due();
                self.clock.sleep_until_some(due).await;
                continue;
            }
            let Some(endpoint) = self.endpoint(key.0) else {
                debug!("[{name}], broker {} has no endpoint for followers yet", key.0);
                self.clock.sleep(backoff).await;
                continue;
            };
            if connection
                .as_ref()
                .is_none_or(|(at, c)| *at != endpoint || c.failure().is_some())
            {
                match self.connect(&endpoint, &name).await {
                    Ok(open) => connection = Some((endpoint, open)),
                    Err(e) => {
                        warn!("[{name}], {e}");
                        self.clock.sleep(backoff).await;
                        continue;
                    }
                }
            }
            let Some((_, open)) = &connection else { continue };
            if let Err(e) = self.fetch_once(key.0, open, &asked, &mut progress).await {
                warn!("[{name}], Error in fetch: {e}. Possible cause: the leader is down or moved");
                connection = None;
                self.clock.sleep(backoff).await;
            }
        }
        info!("[{name}], Stopped");
        key
    }

    /// What to ask of a leader now, and whether anything follows it at all.
    fn due(&self, key: Key, progress: &mut FetchProgress) -> (Vec<Asked>, bool) {
        let now = self.clock.now();
        let (mut asked, mut any) = (Vec::new(), false);
        for partition in self.all() {
            if partition.role() != Role::Follower(key.0)
                || fetcher_of(&partition.id, self.settings.fetcher.fetchers) != key.1
            {
                continue;
            }
            any = true;
            if let Some(log) = partition.log()
                && progress.is_due(&partition.id, now)
            {
                let offset = log.end().offset;
                asked.push(Asked {
                    partition,
                    log,
                    offset,
                });
            }
        }
        (asked, any)
    }

    fn endpoint(&self, leader: BrokerId) -> Option<Endpoint> {
        let image = self.metadata.borrow();
        image
            .brokers
            .get(&leader)?
            .endpoint(self.settings.inter_broker_protocol)
            .cloned()
    }

    async fn connect(&self, to: &Endpoint, name: &str) -> crate::client::Result<Connection> {
        let settings = &self.settings.fetcher;
        let receive = settings.receive_buffer_bytes.and_then(|b| u32::try_from(b).ok());
        let settings = ConnectionSettings {
            client_id: name.to_owned(),
            request_timeout: settings.socket_timeout,
            connect_timeout: settings.socket_timeout,
            receive_buffer_bytes: receive,
            clock: self.clock.clone(),
            ..ConnectionSettings::default()
        };
        Connection::connect(&to.host, to.port, settings).await
    }

    async fn fetch_once(
        &self,
        leader: BrokerId,
        connection: &Connection,
        asked: &[Asked],
        progress: &mut FetchProgress,
    ) -> crate::client::Result<()> {
        let settings = &self.settings.fetcher;
        let mut topics: BTreeMap<Arc<str>, Vec<FetchPartition>> = BTreeMap::new();
        for one in asked {
            topics
                .entry(one.partition.id.topic.clone())
                .or_default()
                .push(FetchPartition {
                    partition: one.partition.id.partition,
                    fetch_offset: one.offset,
                    max_bytes: settings.max_bytes,
                });
        }
        let topic = |(topic, partitions): (Arc<str>, _)| FetchTopic {
            topic: topic.to_string(),
            partitions,
        };
        let request = FetchRequest {
            replica_id: self.settings.id.0,
            max_wait_ms: i32::try_from(settings.max_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: settings.min_bytes,
            topics: topics.into_iter().map(topic).collect(),
        };
        let response = connection.call_version(&request, settings.fetch_version).await?;
        for topic in response.topics {
            for result in topic.partitions {
                let same = |a: &&Asked| {
                    a.partition.id.partition == result.partition && *a.partition.id.topic == *topic.topic
                };
                let Some(one) = asked.iter().find(same) else {
                    continue;
                };
                if let Err(e) = self.take(leader, connection, one, result).await {
                    if e.is_storage() {
                        self.disk_failed(&format!(
                            "Disk error while replicating data for {}: {e}",
                            one.partition.id
                        ));
                    }
                    warn!(
                        "Replica of partition {} cannot go on at offset {}: {e}",
                        one.partition.id, one.offset
                    );
                    progress.delay(&one.partition.id, self.clock.now(), settings.backoff);
                }
            }
        }
        Ok(())
    }

    /// Takes one partition's answer over into the copy.
    async fn take(
        &self,
        leader: BrokerId,
        connection: &Connection,
        one: &Asked,
        result: FetchPartitionResult,
    ) -> Result<()> {
        let id = &one.partition.id;
        match ErrorCode(result.error) {
            ErrorCode::NONE => {
                let (there, wall) = (result.records.len(), self.clock.wall());
                let high_watermark = result.high_watermark;
                let copied = blocking::in_place(|| {
                    one.partition
                        .append_fetched(leader, one.offset, result.records, high_watermark, wall)
                })?;
                if there > 0 && copied == Some(one.offset) {
                    error!(
                        "Replication is failing due to a message that is greater than replica.fetch.max.bytes. This generally occurs when the max.message.bytes has been overridden to exceed this value and a suitably large message has also been sent. To fix this problem increase replica.fetch.max.bytes in your broker config to be equal or larger than your settings for max.message.bytes, both at a broker and topic level: {id}"
                    );
                    return Err(Error::Refused {
                        partition: id.clone(),
                        code: ErrorCode::RECORD_TOO_LARGE.0,
                    });
                }
                Ok(())
            }
            ErrorCode::OFFSET_OUT_OF_RANGE => self.return_into_range(leader, connection, one).await,
            code => Err(Error::Refused {
                partition: id.clone(),
                code: code.0,
            }),
        }
    }

    /// The leader does not have the copy's end: cuts the copy, or begins it anew.
    async fn return_into_range(&self, leader: BrokerId, connection: &Connection, one: &Asked) -> Result<()> {
        let id = &one.partition.id;
        let end = self.leader_offset(connection, id, -1).await?;
        let start = self.leader_offset(connection, id, -2).await?;
        let may_lose = one.log.config().unclean_leader_election_enable;
        match out_of_range(one.offset, start, end, may_lose) {
            OutOfRange::Again => Ok(()),
            OutOfRange::Forbidden => {
                error!(
                    "Log truncation is not allowed for topic {}, Current leader {leader}'s latest offset {end} is less than replica {}'s latest offset {}",
                    id.topic, self.settings.id, one.offset
                );
                Err(Error::Refused {
                    partition: id.clone(),
                    code: ErrorCode::OFFSET_OUT_OF_RANGE.0,
                })
            }
            OutOfRange::CutTo(end) => {
                warn!(
                    "Replica {} for partition {id} reset its fetch offset from {} to current leader {leader}'s latest offset {end}",
                    self.settings.id, one.offset
                );
                self.cut(leader, one, move |log| log.truncate_to(end)).await
            }
            OutOfRange::StartAt(start) => {
                warn!(
                    "Replica {} for partition {id} reset its fetch offset from {} to current leader {leader}'s start offset {start}",
                    self.settings.id, one.offset
                );
                self.cut(leader, one, move |log| log.truncate_fully_and_start_at(start))
                    .await
            }
        }
    }

    async fn cut(
        &self,
        leader: BrokerId,
        one: &Asked,
        cut: impl FnOnce(&Log) -> log::Result<()> + Send + 'static,
    ) -> Result<()> {
        let partition = one.partition.clone();
        blocking::on_thread(move || partition.cut_follower(leader, |log, _| cut(log))).await
    }

    async fn leader_offset(
        &self,
        connection: &Connection,
        id: &TopicPartition,
        timestamp: i64,
    ) -> Result<Offset> {
        let request = ListOffsetsRequest {
            replica_id: self.settings.id.0,
            topics: vec![ListOffsetsTopic {
                topic: id.topic.to_string(),
                partitions: vec![ListOffsetsPartition {
                    partition: id.partition,
                    timestamp,
                    max_offsets: 1,
                }],
            }],
        };
        let refused = |code: ErrorCode| Error::Refused {
            partition: id.clone(),
            code: code.0,
        };
        let answer = connection.call(&request).await.map_err(|e| {
            debug!("The leader does not tell its offsets of partition {id}: {e}");
            refused(ErrorCode::UNKNOWN)
        })?;
        let result = answer.topics.first().and_then(|t| t.partitions.first());
        match result {
            Some(r) if r.error == 0 => r
                .offsets
                .first()
                .copied()
                .ok_or_else(|| refused(ErrorCode::UNKNOWN)),
            Some(r) => Err(refused(ErrorCode(r.error))),
            None => Err(refused(ErrorCode::UNKNOWN)),
        }
    }
}
