//! Asking leaders where partitions begin or end. A core: which partitions need it is the subscription's
//! knowledge, who leads the metadata's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use ::log::{error, warn};

use super::error::{Error, Result};
use super::subscription::{End, Subscription};
use crate::client::metadata::Metadata;
use crate::client::{connection, simple};
use crate::cluster::{BrokerId, TopicPartition};
use crate::protocol::ErrorCode;
use crate::protocol::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use crate::util::clock::Mono;

/// What 0.9 names its log lines after.
const LOGGER: &str = "org.apache.kafka.clients.consumer.internals.Fetcher";

/// See the file's head.
#[derive(Debug)]
pub(super) struct Lookups {
    under_way: HashMap<BrokerId, BTreeMap<TopicPartition, End>>,
    ask_at: Mono,
    retry_backoff: Duration,
}

impl Lookups {
    pub(super) fn new(retry_backoff: Duration) -> Lookups {
        Lookups {
            under_way: HashMap::new(),
            ask_at: Mono::default(),
            retry_backoff,
        }
    }

    /// When to look at [`Lookups::due`] again, if a retry waits.
    pub(super) fn deadline(&self, now: Mono, subscription: &Subscription) -> Option<Mono> {
        let waits = self.ask_at > now && subscription.ends_wanted().next().is_some();
        waits.then_some(self.ask_at)
    }

    /// The requests that are due, one for each leader that has none under way, and whether a partition
    /// has no leader.
    pub(super) fn due(
        &mut self,
        now: Mono,
        subscription: &Subscription,
        metadata: &Metadata,
    ) -> (Vec<(BrokerId, ListOffsetsRequest)>, bool) {
        if self.ask_at > now {
            return (Vec::new(), false);
        }
        let mut leaderless = false;
        let mut by_leader: HashMap<BrokerId, BTreeMap<TopicPartition, End>> = HashMap::new();
        for (partition, end) in subscription.ends_wanted() {
            match metadata.leader(&partition.topic, partition.partition) {
                Some(leader) if self.under_way.contains_key(&leader) => {}
                Some(leader) => {
                    by_leader
                        .entry(leader)
                        .or_default()
                        .insert(partition.clone(), end);
                }
                None => leaderless = true,
            }
        }
        let requests = by_leader.iter().map(|(leader, ends)| (*leader, request(ends)));
        let requests = requests.collect();
        self.under_way.extend(by_leader);
        (requests, leaderless)
    }

    /// A leader's answer. Says whether metadata must be asked for anew.
    ///
    /// # Errors
    /// [`Error::TopicAuthorization`]; every other refusal is asked again.
    pub(super) fn answered(
        &mut self,
        now: Mono,
        leader: BrokerId,
        answer: connection::Result<ListOffsetsResponse>,
        subscription: &mut Subscription,
    ) -> Result<bool> {
        let Some(asked) = self.under_way.remove(&leader) else {
            return Ok(false);
        };
        let Ok(answer) = answer else {
            self.ask_at = now + self.retry_backoff;
            return Ok(true);
        };
        let mut stale = false;
        let mut denied = BTreeSet::new();
        for topic in answer.topics {
            for result in topic.partitions {
                let partition = TopicPartition::new(topic.topic.as_str(), result.partition);
                let Some(end) = asked.get(&partition) else {
                    continue;
                };
                match (ErrorCode(result.error), result.offsets.first()) {
                    (ErrorCode::NONE, Some(offset)) => subscription.found(&partition, *end, *offset),
                    (ErrorCode::TOPIC_AUTHORIZATION_FAILED, _) => {
                        denied.insert(topic.topic.clone());
                    }
                    (ErrorCode::NOT_LEADER_FOR_PARTITION | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, _) => {
                        warn!(target: LOGGER, "Attempt to fetch offsets for partition {} failed due to obsolete leadership information, retrying.", partition.dir_name());
                        stale = true;
                    }
                    (code, _) => {
                        error!(target: LOGGER, "Attempt to fetch offsets for partition {} failed due to: {}", partition.dir_name(), code.message());
                        stale = true;
                    }
                }
            }
        }
        if stale || !denied.is_empty() {
            self.ask_at = now + self.retry_backoff;
        }
        if denied.is_empty() {
            Ok(stale)
        } else {
            Err(Error::TopicAuthorization(denied))
        }
    }
}

fn request(ends: &BTreeMap<TopicPartition, End>) -> ListOffsetsRequest {
    let wish = |(at, end): (&TopicPartition, &End)| ListOffsetsPartition {
        partition: at.partition,
        timestamp: match end {
            End::Latest => simple::LATEST,
            End::Earliest => simple::EARLIEST,
        },
        max_offsets: 1,
    };
    let topics = simple::by_topic(ends.iter().map(|(at, end)| (at, wish((at, end)))));
    let topics = topics
        .into_iter()
        .map(|(topic, partitions)| ListOffsetsTopic { topic, partitions });
    ListOffsetsRequest {
        replica_id: simple::CONSUMER,
        topics: topics.collect(),
    }
}
