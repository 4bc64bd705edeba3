//! Fetching the claimed partitions: one task per leader and fetcher number, and one that finds
//! leaders for partitions that have none. Lives from one rebalance to the next.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use ::log::{info, warn};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::claim::Claim;
use super::registry;
use super::stream::Chunk;
use super::{OffsetReset, OldConsumerSettings};
use crate::client::broker_client::BrokerClient;
use crate::client::connection::{Connection, ConnectionSettings};
use crate::client::metadata::{HostPort, Metadata};
use crate::cluster::{BrokerId, TopicPartition};
use crate::message::{Offset, SetIter};
use crate::protocol::ErrorCode;
use crate::protocol::fetch::{FetchPartition, FetchPartitionResult, FetchRequest, FetchTopic};
use crate::protocol::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use crate::util::java;
use crate::zookeeper::Session;

/// What 0.9 names its log lines after.
const LOGGER: &str = "kafka.consumer.ConsumerFetcherThread";

/// What all fetch tasks of one rebalance share.
struct Common {
    settings: OldConsumerSettings,
    session: Session,
    streams: Vec<mpsc::Sender<Chunk>>,
    /// Partitions that wait for the leader finder.
    homeless: Mutex<Vec<Arc<Claim>>>,
    lost_home: Notify,
}

/// The running fetch tasks. Dropping it ends them.
pub(super) struct Fetchers {
    /// The leader finder, which owns the others.
    finder: JoinSet<()>,
}

impl Fetchers {
    /// Starts fetching `claims` into `streams`, each into its own.
    pub(super) fn start(
        settings: OldConsumerSettings,
        session: Session,
        claims: Vec<Arc<Claim>>,
        streams: Vec<mpsc::Sender<Chunk>>,
    ) -> Fetchers {
        let common = Arc::new(Common {
            settings,
            session,
            streams,
            homeless: Mutex::new(claims),
            lost_home: Notify::new(),
        });
        common.lost_home.notify_one();
        let mut finder = JoinSet::new();
        finder.spawn(find_leaders(common));
        Fetchers { finder }
    }

    /// Ends every task; afterwards nothing is put into a stream any more.
    pub(super) async fn stop(mut self) {
        self.finder.shutdown().await;
    }
}

/// What a round of fetching leaves to be done.
#[derive(Default)]
struct Round {
    /// Partitions that need their leader looked up.
    homeless: Vec<Arc<Claim>>,
    /// Partitions with nothing to go on with until the next rebalance.
    stuck: Vec<TopicPartition>,
}

/// What one partition's answer means for it.
enum Next {
    GoOn,
    LookUpLeader,
    Stop,
}

/// One leader's fetch task and its partitions.
struct Fetcher {
    partitions: Arc<Mutex<BTreeMap<TopicPartition, Arc<Claim>>>>,
    added: Arc<Notify>,
}

async fn find_leaders(common: Arc<Common>) {
    let mut fetchers: HashMap<(BrokerId, HostPort, u32), Fetcher> = HashMap::new();
    // Dropped with this task, and all fetch tasks with it.
    let mut tasks = JoinSet::new();
    loop {
        common.lost_home.notified().await;
        while !lock(&common.homeless).is_empty() {
            match metadata_of_homeless(&common).await {
                Ok(metadata) => {
                    let found = take_those_with_leader(&common, &metadata);
                    for (home, claims) in found {
                        let fetcher = fetchers.entry(home).or_insert_with_key(|(broker, at, _)| {
                            let fetcher = Fetcher {
                                partitions: Arc::default(),
                                added: Arc::new(Notify::new()),
                            };
                            tasks.spawn(fetch(
                                common.clone(),
                                *broker,
                                at.clone(),
                                fetcher.partitions.clone(),
                                fetcher.added.clone(),
                            ));
                            fetcher
                        });
                        let new = claims.into_iter().map(|c| (c.partition.clone(), c));
                        lock(&fetcher.partitions).extend(new);
                        fetcher.added.notify_one();
                    }
                }
                Err(e) => warn!(target: LOGGER, "Failed to find leaders: {e}"),
            }
            let backoff = common.settings.refresh_leader_backoff;
            common.settings.clock.sleep(backoff).await;
        }
    }
}

async fn metadata_of_homeless(common: &Common) -> Result<Metadata, super::Error> {
    let mut topics: Vec<String> = lock(&common.homeless)
        .iter()
        .map(|c| c.partition.topic.to_string())
        .collect();
    topics.sort();
    topics.dedup();
    let brokers = registry::live_brokers(&common.session).await?;
    let client = BrokerClient::new(
        brokers,
        connection_settings(&common.settings),
        common.settings.refresh_leader_backoff,
    );
    let metadata = client.fetch_metadata(&Metadata::default(), &topics).await;
    client.close().await;
    Ok(metadata?)
}

/// Moves the homeless partitions whose leader is known to their homes.
fn take_those_with_leader(
    common: &Common,
    metadata: &Metadata,
) -> HashMap<(BrokerId, HostPort, u32), Vec<Arc<Claim>>> {
    let mut found: HashMap<(BrokerId, HostPort, u32), Vec<Arc<Claim>>> = HashMap::new();
    lock(&common.homeless).retain(|claim| {
        let p = &claim.partition;
        let Some(leader) = metadata.leader(&p.topic, p.partition) else {
            return true;
        };
        let Some(at) = metadata.brokers.get(&leader) else {
            return true;
        };
        let home = (leader, at.clone(), fetcher_of(p, common.settings.num_fetchers));
        found.entry(home).or_default().push(claim.clone());
        false
    });
    found
}

/// Which of a leader's fetchers takes the partition, as Kafka spreads them.
fn fetcher_of(p: &TopicPartition, fetchers: u32) -> u32 {
    let hash = java::string_hash(&p.topic)
        .wrapping_mul(31)
        .wrapping_add(p.partition);
    hash.checked_abs().unwrap_or(0).cast_unsigned() % fetchers.max(1)
}

fn connection_settings(settings: &OldConsumerSettings) -> ConnectionSettings {
    ConnectionSettings {
        client_id: settings.client_id.clone(),
        request_timeout: settings.socket_timeout,
        connect_timeout: settings.socket_timeout,
        receive_buffer_bytes: settings.socket_receive_buffer_bytes,
        clock: settings.clock.clone(),
        ..ConnectionSettings::default()
    }
}

/// Fetches from one leader; partitions with an error go back to the leader finder.
async fn fetch(
    common: Arc<Common>,
    broker: BrokerId,
    at: HostPort,
    partitions: Arc<Mutex<BTreeMap<TopicPartition, Arc<Claim>>>>,
    added: Arc<Notify>,
) {
    let mut connection: Option<Connection> = None;
    // How far was fetched, which is further than what was consumed.
    let mut fetched: HashMap<TopicPartition, Offset> = HashMap::new();
    loop {
        let claims: Vec<Arc<Claim>> = lock(&partitions).values().cloned().collect();
        if claims.is_empty() {
            fetched.clear();
            added.notified().await;
            continue;
        }
        let open = match connection.take().filter(|c| c.failure().is_none()) {
            Some(open) => Ok(open),
            None => Connection::connect(&at.host, at.port, connection_settings(&common.settings)).await,
        };
        let round = match open {
            Ok(open) => {
                let round = fetch_round(&common, &open, &claims, &mut fetched).await;
                connection = Some(open);
                round
            }
            Err(e) => Err(e),
        };
        let Round { homeless, stuck } = round.unwrap_or_else(|e| {
            warn!(target: LOGGER, "Fetching from broker {broker} failed: {e}");
            Round {
                homeless: claims,
                ..Round::default()
            }
        });
        for partition in stuck {
            lock(&partitions).remove(&partition);
        }
        if !homeless.is_empty() {
            for claim in &homeless {
                lock(&partitions).remove(&claim.partition);
                fetched.remove(&claim.partition);
            }
            lock(&common.homeless).extend(homeless.into_iter().filter(|c| !c.is_revoked()));
            common.lost_home.notify_one();
        }
    }
}

/// One request and what follows from its answer.
async fn fetch_round(
    common: &Common,
    connection: &Connection,
    claims: &[Arc<Claim>],
    fetched: &mut HashMap<TopicPartition, Offset>,
) -> Result<Round, crate::client::connection::Error> {
    let mut round = Round::default();
    let mut topics: BTreeMap<&str, Vec<FetchPartition>> = BTreeMap::new();
    for claim in claims {
        let p = &claim.partition;
        let offset = match fetched.get(p).copied().or(claim.next()) {
            Some(offset) => offset,
            None => match reset(common, connection, claim).await? {
                Some(offset) => offset,
                None => {
                    round.homeless.push(claim.clone());
                    continue;
                }
            },
        };
        fetched.insert(p.clone(), offset);
        topics.entry(&p.topic).or_default().push(FetchPartition {
            partition: p.partition,
            fetch_offset: offset,
            max_bytes: common.settings.fetch_message_max_bytes,
        });
    }
    if topics.is_empty() {
        return Ok(round);
    }
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: i32::try_from(common.settings.fetch_wait_max.as_millis()).unwrap_or(i32::MAX),
        min_bytes: common.settings.fetch_min_bytes,
        topics: topics
            .into_iter()
            .map(|(topic, partitions)| FetchTopic {
                topic: topic.to_owned(),
                partitions,
            })
            .collect(),
    };
    let response = connection.call(&request).await?;
    let by_partition: HashMap<(&str, i32), &Arc<Claim>> = claims
        .iter()
        .map(|c| ((&*c.partition.topic, c.partition.partition), c))
        .collect();
    for topic in response.topics {
        for result in topic.partitions {
            let Some(claim) = by_partition.get(&(topic.topic.as_str(), result.partition)) else {
                continue;
            };
            match take_result(common, connection, claim, result, fetched).await? {
                Next::GoOn => {}
                Next::LookUpLeader => round.homeless.push((*claim).clone()),
                Next::Stop => round.stuck.push(claim.partition.clone()),
            }
        }
    }
    Ok(round)
}

/// Puts one partition's bytes into its stream, waiting for a place there.
async fn take_result(
    common: &Common,
    connection: &Connection,
    claim: &Arc<Claim>,
    result: FetchPartitionResult,
    fetched: &mut HashMap<TopicPartition, Offset>,
) -> Result<Next, crate::client::connection::Error> {
    match ErrorCode(result.error) {
        ErrorCode::NONE => {}
        ErrorCode::OFFSET_OUT_OF_RANGE => {
            let old = fetched.remove(&claim.partition);
            let new = reset(common, connection, claim).await?;
            if let Some(new) = new {
                info!(target: LOGGER, "Current offset {} for partition {} out of range; reset offset to {new}",
                    old.unwrap_or(-1),
                    claim.partition,
                );
                fetched.insert(claim.partition.clone(), new);
            }
            return Ok(if new.is_some() {
                Next::GoOn
            } else {
                Next::LookUpLeader
            });
        }
        error => {
            warn!(target: LOGGER, "Error for partition {}: {}", claim.partition, error.name());
            return Ok(Next::LookUpLeader);
        }
    }
    if result.records.is_empty() {
        return Ok(Next::GoOn);
    }
    let from = fetched.get(&claim.partition).copied().unwrap_or_default();
    let last = SetIter::new(&result.records)
        .map_while(std::result::Result::ok)
        .last()
        .map(|m| m.offset);
    let chunk = Chunk {
        claim: claim.clone(),
        bytes: result.records,
        from,
    };
    let sent = match common.streams.get(claim.stream) {
        Some(stream) => stream.send(chunk).await.is_ok(),
        None => false,
    };
    match last {
        Some(last) if sent && last >= from => {
            fetched.insert(claim.partition.clone(), last + 1);
            Ok(Next::GoOn)
        }
        // The stream was told of a message that is damaged or too large, or nobody reads it any
        // more. The same bytes would only come again.
        _ => Ok(Next::Stop),
    }
}

/// Looks up where to begin by `auto.offset.reset`, and sets the claim's position to it. `None` if the
/// broker refuses.
async fn reset(
    common: &Common,
    connection: &Connection,
    claim: &Claim,
) -> Result<Option<Offset>, crate::client::connection::Error> {
    let p = &claim.partition;
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            topic: p.topic.to_string(),
            partitions: vec![ListOffsetsPartition {
                partition: p.partition,
                timestamp: match common.settings.reset {
                    OffsetReset::Smallest => -2,
                    OffsetReset::Largest => -1,
                },
                max_offsets: 1,
            }],
        }],
    };
    let response = connection.call(&request).await?;
    let offset = response
        .topics
        .iter()
        .flat_map(|t| &t.partitions)
        .find(|r| r.partition == p.partition && r.error == 0)
        .and_then(|r| r.offsets.first().copied());
    if let Some(offset) = offset {
        claim.reset(offset);
    }
    Ok(offset)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while holding this lock")
}
