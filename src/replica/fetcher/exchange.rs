//! One request of a fetcher's and its answer, partition by partition. What goes wrong with one is no
//! matter to the others; 0.9.0.1 ends the whole thread.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ::log::{debug, error, warn};

use crate::client::Connection;
use crate::cluster::{BrokerId, TopicPartition};
use crate::message::Offset;
use crate::protocol::ErrorCode;
use crate::protocol::fetch::{FetchPartition, FetchPartitionResult, FetchRequest, FetchTopic};
use crate::protocol::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use crate::replica::agreement::Extent;
use crate::replica::error::{Error, Result};
use crate::replica::fetch_progress::FetchProgress;
use crate::replica::manager::ReplicaManager;
use crate::util::blocking;

use super::Asked;
use super::gauges::Gauges;

/// Asks `leader` for all of `asked` and takes over what it answers; partitions that failed wait in
/// `progress`.
///
/// # Errors
/// The connection's: nothing was answered.
pub(super) async fn fetch(
    replicas: &ReplicaManager,
    leader: BrokerId,
    connection: &Connection,
    asked: &[Asked],
    progress: &mut FetchProgress,
    gauges: &Gauges,
) -> crate::client::Result<()> {
    let request = request(replicas, asked);
    let version = replicas.settings.fetcher.fetch_version;
    gauges.asked();
    let response = connection.call_version(&request, version).await?;
    let place = |a: &Asked| (a.partition.id.topic.clone(), a.partition.id.partition);
    let by_place: HashMap<(Arc<str>, i32), &Asked> = asked.iter().map(|a| (place(a), a)).collect();
    let exchange = Exchange {
        replicas,
        leader,
        connection,
    };
    for topic in response.topics {
        let name: Arc<str> = topic.topic.into();
        for result in topic.partitions {
            let Some(one) = by_place.get(&(name.clone(), result.partition)) else {
                continue;
            };
            let id = &one.partition.id;
            gauges.got(result.records.len());
            match exchange.take(one, result).await {
                Ok(()) => progress.succeeded(id),
                Err(e) => {
                    let (now, backoff) = (replicas.clock.now(), replicas.settings.fetcher.backoff);
                    if let Error::Refused { code, .. } = &e
                        && not_ready(ErrorCode(*code))
                    {
                        // Decisions do not reach all brokers at once.
                        debug!("Broker {leader} does not lead partition {id} yet, or no more: {e}");
                        one.partition.refused(leader, &one.question);
                        progress.retry(id, now, backoff);
                    } else {
                        replicas.cannot_copy(id, Some(one.question.offset), &e);
                        progress.delay(id, now, backoff);
                    }
                }
            }
        }
    }
    Ok(())
}

fn not_ready(code: ErrorCode) -> bool {
    [
        ErrorCode::NOT_LEADER_FOR_PARTITION,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    ]
    .contains(&code)
}

fn request(replicas: &ReplicaManager, asked: &[Asked]) -> FetchRequest {
    let settings = &replicas.settings.fetcher;
    let mut topics: BTreeMap<Arc<str>, Vec<FetchPartition>> = BTreeMap::new();
    for one in asked {
        topics
            .entry(one.partition.id.topic.clone())
            .or_default()
            .push(FetchPartition {
                partition: one.partition.id.partition,
                fetch_offset: one.question.offset,
                max_bytes: settings.max_bytes,
            });
    }
    let topic = |(topic, partitions): (Arc<str>, _)| FetchTopic {
        topic: topic.to_string(),
        partitions,
    };
    FetchRequest {
        replica_id: replicas.settings.id.0,
        max_wait_ms: i32::try_from(settings.max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: settings.min_bytes,
        topics: topics.into_iter().map(topic).collect(),
    }
}

/// Who talks to whom.
struct Exchange<'a> {
    replicas: &'a ReplicaManager,
    leader: BrokerId,
    connection: &'a Connection,
}

impl Exchange<'_> {
    /// Takes one partition's answer over into the copy.
    async fn take(&self, one: &Asked, result: FetchPartitionResult) -> Result<()> {
        let id = &one.partition.id;
        match ErrorCode(result.error) {
            ErrorCode::NONE => {
                let wall = self.replicas.clock.wall();
                let copied = blocking::in_place(|| {
                    one.partition.take_fetched(
                        self.leader,
                        &one.question,
                        result.records,
                        result.high_watermark,
                        wall,
                    )
                })?;
                self.replicas.count_cut(copied.cut, copied.lost);
                if copied.stuck {
                    error!(
                        "Replication is failing due to a message that is greater than replica.fetch.max.bytes. This generally occurs when the max.message.bytes has been overridden to exceed this value and a suitably large message has also been sent. To fix this problem increase replica.fetch.max.bytes in your broker config to be equal or larger than your settings for max.message.bytes, both at a broker and topic level: {id}"
                    );
                    return Err(refused(id, ErrorCode::RECORD_TOO_LARGE));
                }
                Ok(())
            }
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                let theirs = Extent {
                    end: self.offset(id, -1).await?,
                    start: self.offset(id, -2).await?,
                };
                let (partition, leader, question) = (one.partition.clone(), self.leader, one.question);
                blocking::on_thread(move || partition.out_of_range(leader, &question, theirs)).await
            }
            code => Err(refused(id, code)),
        }
    }

    /// The leader's first (-2) or next (-1) offset.
    async fn offset(&self, id: &TopicPartition, timestamp: i64) -> Result<Offset> {
        let request = ListOffsetsRequest {
            replica_id: self.replicas.settings.id.0,
            topics: vec![ListOffsetsTopic {
                topic: id.topic.to_string(),
                partitions: vec![ListOffsetsPartition {
                    partition: id.partition,
                    timestamp,
                    max_offsets: 1,
                }],
            }],
        };
        let answer = self.connection.call(&request).await.map_err(|e| {
            debug!("The leader does not tell its offsets of partition {id}: {e}");
            refused(id, ErrorCode::UNKNOWN)
        })?;
        let result = answer.topics.first().and_then(|t| t.partitions.first());
        match result {
            Some(r) if r.error == 0 => r
                .offsets
                .first()
                .copied()
                .ok_or_else(|| refused(id, ErrorCode::UNKNOWN)),
            Some(r) => Err(refused(id, ErrorCode(r.error))),
            None => Err(refused(id, ErrorCode::UNKNOWN)),
        }
    }
}

fn refused(id: &TopicPartition, code: ErrorCode) -> Error {
    Error::Refused {
        partition: id.clone(),
        code: code.0,
    }
}

impl ReplicaManager {
    /// A copy cannot go on, for now or, if the disk failed, for good. The last disk takes the broker with it.
    pub(in crate::replica) fn cannot_copy(&self, id: &TopicPartition, offset: Option<Offset>, e: &Error) {
        if e.is_storage() {
            self.disk_failed(&format!("Disk error while replicating data for {id}: {e}"));
        }
        match offset {
            Some(offset) => warn!("Replica of partition {id} cannot go on at offset {offset}: {e}"),
            None => warn!("Replica of partition {id} cannot go on: {e}"),
        }
    }
}
