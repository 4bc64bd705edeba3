//! Why an operator's wish was not written. The texts are those of 0.9.0.1.

use crate::cluster::{assignment, topic::IllegalTopicName};
use crate::zookeeper::{self, paths::EntityType};

/// Why a wish was refused or could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The topic's name breaks the rules.
    #[error(transparent)]
    Name(#[from] IllegalTopicName),
    /// There is such a topic.
    #[error("Topic \"{0}\" already exists.")]
    TopicExists(String),
    /// Another topic made the node between the check and the write.
    #[error("topic {0} already exists")]
    TopicMadeMeanwhile(String),
    /// A topic whose name differs only in `.` against `_`.
    #[error("Topic \"{topic}\" collides with existing topics: {others}")]
    Collision {
        /// The new one.
        topic: String,
        /// The existing ones, with commas.
        others: String,
    },
    /// There is no such topic, where partitions are to be added.
    #[error("The topic {0} does not exist")]
    NoTopic(String),
    /// There is no such topic, where its configuration is to be changed.
    #[error("Topic \"{0}\" does not exist.")]
    NoTopicToConfigure(String),
    /// Fewer partitions than there are, or as many.
    #[error("The number of partitions for a topic can only be increased")]
    NotMorePartitions,
    /// No placement of the replicas.
    #[error(transparent)]
    Assignment(#[from] assignment::Error),
    /// A list of replicas that is not `1:2,2:1`.
    #[error("For input string: \"{0}\"")]
    NotABroker(String),
    /// One broker twice in a partition's list.
    #[error("Partition replica lists may not contain duplicate entries: {0}")]
    DuplicateReplicas(String),
    /// One broker twice in an added partition's list.
    #[error("duplicate brokers in replica assignment: {0}")]
    DuplicateBrokers(String),
    /// A broker that is not alive in an added partition's list.
    #[error("some specified brokers not available. specified brokers: {asked}available broker:{alive}")]
    BrokersNotAvailable {
        /// The list.
        asked: String,
        /// The brokers that are alive.
        alive: String,
    },
    /// Lists of different lengths.
    #[error("Partition {partition} has different replication factor: {replicas}")]
    UnequalReplication {
        /// The first partition whose list has another length than the first one's.
        partition: i32,
        /// Its list.
        replicas: String,
    },
    /// Lists of different lengths among the partitions to add.
    #[error("partition {partition} has different replication factor: {replicas}")]
    UnequalAddedReplication {
        /// The first partition whose list has another length than the first one's.
        partition: i32,
        /// Its list.
        replicas: String,
    },
    /// Lists of another length than those of the topic's partitions.
    #[error(
        "The replication factor in manual replication assignment  is not equal to the existing replication factor for the topic {0}"
    )]
    OtherReplication(usize),
    /// A rule of the writer itself.
    #[error("requirement failed: {0}")]
    Requirement(String),
    /// A setting that does not exist or breaks its rule.
    #[error("{0}")]
    Config(String),
    /// The mark to delete the topic is there already.
    #[error("topic {0} is already marked for deletion")]
    AlreadyMarked(String),
    /// A topic that belongs to Kafka itself.
    #[error("Topic {0} is a kafka internal topic and is not allowed to be marked for deletion.")]
    Internal(String),
    /// A broker twice among those to spread partitions over.
    #[error("Broker list contains duplicate entries: {0}")]
    DuplicateBrokerList(String),
    /// A topic twice among those to spread.
    #[error("List of topics to reassign contains duplicate entries: {0}")]
    DuplicateTopics(String),
    /// A partition twice among those to move.
    #[error("Partition reassignment contains duplicate topic partitions: {0}")]
    DuplicatePartitions(String),
    /// A broker twice among a partition's wished replicas.
    #[error("Partition replica lists may not contain duplicate entries: {0}")]
    DuplicateEntries(String),
    /// A partition twice among those whose preferred replica is to lead.
    #[error("Preferred replica election data contains duplicate partitions: {0}")]
    DuplicateElections(String),
    /// The controller is moving partitions already.
    #[error("Partition reassignment currently in progress for {0}. Aborting operation")]
    ReassignmentUnderWay(String),
    /// The controller is electing preferred leaders already.
    #[error("Preferred replica leader election currently in progress for {0}. Aborting operation")]
    ElectionUnderWay(String),
    /// A node that holds something else than it should.
    #[error("{path}: {reason}")]
    Node {
        /// Which.
        path: String,
        /// Why.
        reason: zookeeper::znodes::Error,
    },
    /// Settings that cannot be understood.
    #[error("Invalid {} config: {data}", entity.name())]
    Settings {
        /// Whose kind.
        entity: EntityType,
        /// Whose.
        name: String,
        /// What is written there.
        data: String,
        /// Why that means nothing.
        reason: zookeeper::znodes::Error,
    },
    /// ZooKeeper did not do it.
    #[error(transparent)]
    ZooKeeper(#[from] zookeeper::Error),
}

/// Result of an operator's wish.
pub type Result<T> = std::result::Result<T, Error>;
