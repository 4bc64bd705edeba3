//! What to fetch from whom, what has come and is not handed out yet, and handing it out. A core: answers
//! go in, requests and records come out.
//!
//! Memory is bounded: a leader has at most one request under way, and gets the next only when everything
//! that it sent for partitions that are read has been handed out. Compressed messages are opened when they
//! are handed out, one wrapper at a time.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use ::log::{debug, info, warn};

use super::error::{Error, Result};
use super::records::{ConsumerRecord, Records};
use super::subscription::Subscription;
use crate::client::metadata::Metadata;
use crate::client::{connection, simple};
use crate::cluster::{BrokerId, TopicPartition};
use crate::message::{DeepIter, Offset, SetIter};
use crate::protocol::ErrorCode;
use crate::protocol::fetch::{FetchPartition, FetchPartitionResult, FetchRequest, FetchResponse, FetchTopic};
use crate::util::clock::Mono;

/// What 0.9 names its log lines after.
const LOGGER: &str = "org.apache.kafka.clients.consumer.internals.Fetcher";

/// The settings of the same names.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) min_bytes: i32,
    pub(super) max_wait: Duration,
    pub(super) max_partition_bytes: i32,
    pub(super) check_crcs: bool,
    pub(super) retry_backoff: Duration,
}

/// One partition's bytes that are not all handed out.
#[derive(Debug)]
struct Chunk {
    leader: BrokerId,
    /// The position that they go on from.
    next: Offset,
    messages: DeepIter,
    /// What stopped the reading, told once everything before it was handed out.
    damage: Option<crate::message::Error>,
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Fetches {
    rules: Rules,
    under_way: HashMap<BrokerId, BTreeMap<TopicPartition, Offset>>,
    chunks: BTreeMap<TopicPartition, Chunk>,
    /// Leaders and partitions that are left alone for a moment after an error.
    leaders_at: HashMap<BrokerId, Mono>,
    partitions_at: HashMap<TopicPartition, Mono>,
    failures: VecDeque<Error>,
}

impl Fetches {
    pub(super) fn new(rules: Rules) -> Fetches {
        Fetches {
            rules,
            under_way: HashMap::new(),
            chunks: BTreeMap::new(),
            leaders_at: HashMap::new(),
            partitions_at: HashMap::new(),
            failures: VecDeque::new(),
        }
    }

    /// When to look at [`Fetches::due`] again, if a retry waits.
    pub(super) fn deadline(&self, now: Mono) -> Option<Mono> {
        let all = self.leaders_at.values().chain(self.partitions_at.values());
        all.copied().filter(|t| *t > now).min()
    }

    /// The requests that are due, and whether a partition has no leader.
    pub(super) fn due(
        &mut self,
        now: Mono,
        subscription: &Subscription,
        metadata: &Metadata,
    ) -> (Vec<(BrokerId, FetchRequest)>, bool) {
        self.leaders_at.retain(|_, t| *t > now);
        self.partitions_at.retain(|_, t| *t > now);
        let waiting = |p: &TopicPartition| {
            let chunk = self.chunks.get(p)?;
            let fetchable = subscription.is_fetchable(p) && subscription.position(p) == Some(chunk.next);
            fetchable.then_some(chunk.leader)
        };
        let busy: HashSet<BrokerId> = self.chunks.keys().filter_map(waiting).collect();
        let mut leaderless = false;
        let mut plan: BTreeMap<BrokerId, BTreeMap<TopicPartition, Offset>> = BTreeMap::new();
        for (partition, position) in subscription.fetchable() {
            if self.partitions_at.contains_key(partition) || waiting(partition).is_some() {
                continue;
            }
            let Some(leader) = metadata.leader(&partition.topic, partition.partition) else {
                leaderless = true;
                continue;
            };
            if busy.contains(&leader)
                || self.under_way.contains_key(&leader)
                || self.leaders_at.contains_key(&leader)
            {
                continue;
            }
            plan.entry(leader)
                .or_default()
                .insert(partition.clone(), position);
        }
        let requests = plan.iter().map(|(leader, asked)| (*leader, self.request(asked)));
        let requests = requests.collect();
        self.under_way.extend(plan);
        (requests, leaderless)
    }

    fn request(&self, asked: &BTreeMap<TopicPartition, Offset>) -> FetchRequest {
        let topics = simple::by_topic(asked.iter().map(|(at, position)| {
            let wish = FetchPartition {
                partition: at.partition,
                fetch_offset: *position,
                max_bytes: self.rules.max_partition_bytes,
            };
            (at, wish)
        }));
        let topics = topics
            .into_iter()
            .map(|(topic, partitions)| FetchTopic { topic, partitions });
        FetchRequest {
            replica_id: simple::CONSUMER,
            max_wait_ms: i32::try_from(self.rules.max_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: self.rules.min_bytes,
            topics: topics.collect(),
        }
    }

    /// A leader's answer. Says whether metadata must be asked for anew.
    pub(super) fn answered(
        &mut self,
        now: Mono,
        leader: BrokerId,
        answer: connection::Result<FetchResponse>,
        subscription: &mut Subscription,
    ) -> bool {
        let Some(asked) = self.under_way.remove(&leader) else {
            return false;
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(e) => {
                debug!("Fetching from node {leader} failed: {e}");
                self.leaders_at.insert(leader, now + self.rules.retry_backoff);
                return true;
            }
        };
        let mut stale = false;
        for topic in answer.topics {
            let name: std::sync::Arc<str> = topic.topic.as_str().into();
            for result in topic.partitions {
                let partition = TopicPartition::new(name.clone(), result.partition);
                // What was moved or given away meanwhile is of no use.
                if let Some(offset) = asked.get(&partition)
                    && subscription.position(&partition) == Some(*offset)
                {
                    stale |= self.take(now, leader, partition, *offset, result, subscription);
                }
            }
        }
        stale
    }

    fn take(
        &mut self,
        now: Mono,
        leader: BrokerId,
        partition: TopicPartition,
        offset: Offset,
        result: FetchPartitionResult,
        subscription: &mut Subscription,
    ) -> bool {
        match ErrorCode(result.error) {
            ErrorCode::NONE if result.records.is_empty() => return false,
            ErrorCode::NONE => {
                if SetIter::new(&result.records).next().is_none() {
                    self.failures.push_back(Error::TooLarge {
                        partition: partition.clone(),
                        offset,
                        fetch_bytes: self.rules.max_partition_bytes,
                    });
                } else {
                    let chunk = Chunk {
                        leader,
                        next: offset,
                        messages: DeepIter::new(result.records, self.rules.check_crcs),
                        damage: None,
                    };
                    self.chunks.insert(partition, chunk);
                    return false;
                }
            }
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                info!(target: LOGGER, "Fetch offset {offset} is out of range, resetting offset");
                match subscription.out_of_range(&partition, offset) {
                    Ok(()) => return false,
                    Err(e) => self.failures.push_back(e),
                }
            }
            ErrorCode::TOPIC_AUTHORIZATION_FAILED => {
                warn!(target: LOGGER, "Not authorized to read from topic {}.", partition.topic);
                let topics = [partition.topic.to_string()].into();
                self.failures.push_back(Error::TopicAuthorization(topics));
            }
            ErrorCode::NOT_LEADER_FOR_PARTITION | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {}
            code => {
                warn!(target: LOGGER, "Error {code} fetching data for topic-partition {}", partition.dir_name());
            }
        }
        // The same question at once would get the same answer.
        self.partitions_at
            .insert(partition, now + self.rules.retry_backoff);
        true
    }

    /// Hands out what there is, and moves the positions behind it.
    ///
    /// # Errors
    /// What a partition's leader or its bytes had to say; the partition is not moved.
    pub(super) fn hand_out(&mut self, subscription: &mut Subscription) -> Result<Records> {
        if let Some(failure) = self.failures.pop_front() {
            return Err(failure);
        }
        let mut records = Records::default();
        let most = usize::try_from(self.rules.max_partition_bytes).unwrap_or(0);
        let failures = &mut self.failures;
        self.chunks.retain(|partition, chunk| {
            if subscription.position(partition) != Some(chunk.next) {
                debug!("What was fetched of {partition} is not where the consumer stands any more");
                return false;
            }
            if subscription.is_paused(partition) {
                return true;
            }
            let (taken, more) = chunk.hand_out(partition, most);
            subscription.advance(partition, chunk.next);
            if !taken.is_empty() {
                records.push(partition.clone(), taken);
                return more;
            }
            if let Some(source) = chunk.damage.take() {
                failures.push_back(Error::Corrupt {
                    partition: partition.clone(),
                    offset: chunk.next,
                    source,
                });
                // It is fetched again, and told again, until the user moves on.
                return false;
            }
            more
        });
        if records.is_empty()
            && let Some(failure) = self.failures.pop_front()
        {
            return Err(failure);
        }
        Ok(records)
    }
}

impl Chunk {
    /// Takes records until their bytes pass `most`. Says whether there may be more.
    fn hand_out(&mut self, partition: &TopicPartition, most: usize) -> (Vec<ConsumerRecord>, bool) {
        let mut taken = Vec::new();
        let mut bytes = 0;
        if self.damage.is_some() {
            return (taken, true);
        }
        loop {
            match self.messages.next() {
                Some(Ok(message)) if message.offset < self.next => {}
                Some(Ok(message)) => {
                    let size = |b: &Option<bytes::Bytes>| b.as_ref().map_or(0, bytes::Bytes::len);
                    bytes += size(&message.key) + size(&message.value);
                    self.next = message.offset + 1;
                    taken.push(ConsumerRecord {
                        partition: partition.clone(),
                        offset: message.offset,
                        key: message.key,
                        value: message.value,
                    });
                    if bytes >= most {
                        return (taken, true);
                    }
                }
                Some(Err(e)) => {
                    self.damage = Some(e);
                    return (taken, true);
                }
                None => {
                    // A wrapper's last messages may be gone; its offset tells how far it went.
                    if let Some(last) = self.messages.last_offset() {
                        self.next = self.next.max(last + 1);
                    }
                    return (taken, false);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
