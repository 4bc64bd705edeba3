//! All that the acting controller knows: live brokers, topics, who leads what, and what is under way.
//! Data and look-ups only; nothing here decides, writes or sends.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use ::log::trace;

use super::aim::Aim;
use super::state::{PartitionState, ReplicaState};
use crate::cluster::{Broker, BrokerId, ControllerEpoch, LeaderAndIsr, TopicPartition};

/// The log target of every state change (Kafka's state-change.log).
pub(super) const STATE_CHANGE: &str = "state.change.logger";
/// The log target of the controller's own doings (Kafka's controller.log).
pub(super) const CONTROLLER: &str = "kafka.controller.KafkaController";

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveBroker {
    /// Its id and addresses.
    pub broker: Broker,
    /// The transaction that created its registration: another one under the same id means that the
    /// broker went away and came back.
    pub czxid: i64,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Assigned replicas, the preferred one first.
    pub replicas: Vec<BrokerId>,
    /// Where it stands.
    pub state: PartitionState,
    /// Its state znode as last read or written; none until somebody has led it.
    pub leadership: Option<LeaderAndIsr>,
    /// Where each replica stands. Has a key for each of `replicas`, and while a reassignment removes
    /// replicas, for those too.
    pub replica_states: BTreeMap<BrokerId, ReplicaState>,
}

impl Partition {
    /// The leader, or [`BrokerId::NONE`].
    pub fn leader(&self) -> BrokerId {
        self.leadership.as_ref().map_or(BrokerId::NONE, |l| l.leader)
    }
}

/// One topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// Its partitions by number.
    pub partitions: BTreeMap<i32, Partition>,
}

/// A topic on its way out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Whether brokers have been told. Until then the topic lives on, so that what holds the deletion
    /// can come to its end.
    pub begun: bool,
    /// Why it does not go on, if so; until a broker comes back or the reason passes.
    pub ineligible: Option<&'static str>,
}

/// Who is doubted to have what made it a member of an ISR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// These members.
    pub ids: Vec<BrokerId>,
    /// In the state of this version. A later one is of a leader that has judged for itself.
    pub zk_version: i32,
    /// Since when, see [`Context::moment`].
    pub since: u64,
}

/// The rules that the operator set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `unclean.leader.election.enable` of the broker; topics may override it.
    pub unclean_election: bool,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
    /// `leader.imbalance.per.broker.percentage`.
    pub imbalance_percentage: i32,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            unclean_election: true,
            delete_topics: false,
            imbalance_percentage: 10,
        }
    }
}

/// What the acting controller knows.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// This broker.
    pub me: BrokerId,
    /// The number of this reign.
    pub epoch: ControllerEpoch,
    /// The operator's rules.
    pub rules: Rules,
    /// Registered brokers, those that are shutting down included.
    pub brokers: BTreeMap<BrokerId, LiveBroker>,
    /// Brokers that asked to go, and since when those who stay are asked for a sign of life; each stays until its
    /// registration is gone.
    pub shutting_down: BTreeMap<BrokerId, u64>,
    /// Brokers that are being taken for gone though they are back already (a bounce between two looks):
    /// nobody is elected over their heads.
    pub returning: BTreeSet<BrokerId>,
    /// Members of ISRs who are in them from before their present registration, while others are not.
    pub doubts: BTreeMap<TopicPartition, Doubt>,
    /// Wishes for partitions of whose ISR it is not settled who stays, until it is.
    pub awaiting: BTreeMap<TopicPartition, Vec<Aim>>,
    /// Counts the occasions on which brokers were asked for a sign of life: an answer proves one for the moment at which
    /// what it answers was sent.
    pub moment: u64,
    /// When brokers were last found to be gone.
    pub gone_since: u64,
    /// The last moment for which each registered broker has given a sign of life; none before its first.
    pub heard: BTreeMap<BrokerId, u64>,
    /// All topics.
    pub topics: BTreeMap<Arc<str>, Topic>,
    /// Per topic: whether an out-of-sync replica may lead. Read from the topic's config just before a
    /// decision that depends on it, and forgotten after.
    pub unclean_by_topic: BTreeMap<Arc<str>, bool>,
    /// Topics to be deleted. Empty while deletion is disabled.
    pub deletions: BTreeMap<Arc<str>, Deletion>,
    /// Partitions being moved, and where to.
    pub reassignments: BTreeMap<TopicPartition, Vec<BrokerId>>,
    /// Of partitions being moved whose old copies are to go: since when the leader is asked for a sign of life.
    pub handing_over: BTreeMap<TopicPartition, u64>,
    /// Partitions whose preferred leader is being elected.
    pub preferring: BTreeSet<TopicPartition>,
}

impl Context {
    /// Whether the broker is registered, shutting down or not: it can be sent requests.
    pub fn is_registered(&self, id: BrokerId) -> bool {
        self.brokers.contains_key(&id)
    }

    /// Whether the broker is registered and not shutting down: it may be given leaderships.
    pub fn is_live(&self, id: BrokerId) -> bool {
        self.is_registered(id) && !self.shutting_down.contains_key(&id)
    }

    /// Whether the broker has given a sign of life for that moment or a later one.
    pub fn is_heard(&self, id: BrokerId, since: u64) -> bool {
        self.heard.get(&id).is_some_and(|last| *last >= since)
    }

    /// The partition, if known.
    pub fn partition(&self, at: &TopicPartition) -> Option<&Partition> {
        self.topics.get(&at.topic)?.partitions.get(&at.partition)
    }

    /// The partition, if known.
    pub fn partition_mut(&mut self, at: &TopicPartition) -> Option<&mut Partition> {
        self.topics.get_mut(&at.topic)?.partitions.get_mut(&at.partition)
    }

    /// Forgets a topic whose znodes are gone, with all that was to be done with it.
    pub fn forget(&mut self, topic: &Arc<str>) {
        self.topics.remove(topic);
        self.deletions.remove(topic);
        self.reassignments.retain(|at, _| at.topic != *topic);
        self.preferring.retain(|at| at.topic != *topic);
        self.doubts.retain(|at, _| at.topic != *topic);
        self.awaiting.retain(|at, _| at.topic != *topic);
        self.handing_over.retain(|at, _| at.topic != *topic);
    }

    /// Every partition with its name, by topic and number.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &Partition)> {
        self.topics.iter().flat_map(|(name, topic)| {
            topic
                .partitions
                .iter()
                .map(|(number, partition)| (TopicPartition::new(name.clone(), *number), partition))
        })
    }

    /// The names of one topic's partitions.
    pub fn partitions_of(&self, topic: &str) -> Vec<TopicPartition> {
        self.topics
            .get_key_value(topic)
            .map(|(name, topic)| {
                let at = |number: &i32| TopicPartition::new(name.clone(), *number);
                topic.partitions.keys().map(at).collect()
            })
            .unwrap_or_default()
    }

    /// Whether the topic is being deleted: nothing is decided about it any more.
    pub fn is_deleting(&self, topic: &str) -> bool {
        self.deletions.get(topic).is_some_and(|deletion| deletion.begun)
    }

    /// Whether the topic is to be deleted, now or later: nothing new is begun with it.
    pub fn is_doomed(&self, topic: &str) -> bool {
        self.deletions.contains_key(topic)
    }

    /// Takes in a partition that nobody has led yet, with all its replicas new.
    pub fn insert_new(&mut self, at: &TopicPartition, replicas: Vec<BrokerId>) {
        trace!(target: STATE_CHANGE,
            "Controller {} epoch {} changed partition {at} state from {} to {} with assigned replicas {}",
            self.me, self.epoch, PartitionState::NonExistent, PartitionState::New, Ids(&replicas));
        let partition = Partition {
            state: PartitionState::New,
            leadership: None,
            replica_states: BTreeMap::new(),
            replicas: replicas.clone(),
        };
        let topic = self.topics.entry(at.topic.clone()).or_default();
        topic.partitions.insert(at.partition, partition);
        for id in replicas {
            self.move_replica(at, id, ReplicaState::New);
        }
    }

    /// Sets the partition's state, and logs it if it changed.
    pub fn move_partition(&mut self, at: &TopicPartition, to: PartitionState) {
        let (me, epoch) = (self.me, self.epoch);
        let Some(partition) = self.partition_mut(at) else {
            return;
        };
        let from = std::mem::replace(&mut partition.state, to);
        if from == to {
            return;
        }
        if to == PartitionState::Online {
            trace!(target: STATE_CHANGE,
                "Controller {me} epoch {epoch} changed partition {at} from {from} to {to} with leader {}",
                partition.leader());
        } else {
            trace!(target: STATE_CHANGE,
                "Controller {me} epoch {epoch} changed partition {at} state from {from} to {to}");
        }
    }

    /// Sets a replica's state, and logs it if it changed. [`ReplicaState::NonExistent`] forgets it.
    pub fn move_replica(&mut self, at: &TopicPartition, id: BrokerId, to: ReplicaState) {
        let (me, epoch) = (self.me, self.epoch);
        let Some(partition) = self.partition_mut(at) else {
            return;
        };
        let from = match to {
            ReplicaState::NonExistent => partition.replica_states.remove(&id),
            to => partition.replica_states.insert(id, to),
        };
        let from = from.unwrap_or(ReplicaState::NonExistent);
        if from != to {
            trace!(target: STATE_CHANGE,
                "Controller {me} epoch {epoch} changed state of replica {id} for partition {at} from {from} to {to}");
        }
    }

    /// The state of one replica.
    pub fn replica_state(&self, at: &TopicPartition, id: BrokerId) -> ReplicaState {
        self.partition(at)
            .and_then(|p| p.replica_states.get(&id))
            .copied()
            .unwrap_or(ReplicaState::NonExistent)
    }

    /// Partitions whose leader is known and does not live (Kafka's OfflinePartitionsCount).
    pub fn offline_partitions(&self) -> usize {
        let led_by_none = |p: &Partition| {
            p.leadership
                .as_ref()
                .is_some_and(|l| !self.is_registered(l.leader))
        };
        self.partitions().filter(|(_, p)| led_by_none(p)).count()
    }

    /// Partitions led by another than their preferred replica (Kafka's PreferredReplicaImbalanceCount).
    pub fn imbalanced_partitions(&self) -> usize {
        let elsewhere = |p: &Partition| {
            p.leadership
                .as_ref()
                .is_some_and(|l| Some(&l.leader) != p.replicas.first())
        };
        self.partitions()
            .filter(|(at, p)| !self.is_deleting(&at.topic) && elsewhere(p))
            .count()
    }
}

/// Prints ids as Kafka's logs list them: `0,1`.
pub(super) struct Ids<'a>(pub(super) &'a [BrokerId]);

impl fmt::Display for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        List(self.0.iter()).fmt(f)
    }
}

/// Prints anything as Kafka's logs list it, with commas.
pub(super) struct List<I>(pub(super) I);

impl<I> fmt::Display for List<I>
where
    I: Iterator + Clone,
    I::Item: fmt::Display,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.clone().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}
