//! Why a replica did not do what was asked. Which wire code each has is decided by the server.

use crate::cluster::{BrokerId, ControllerEpoch, LeaderEpoch, TopicPartition};
use crate::log;
use crate::message::Offset;
use crate::protocol::ErrorCode;

/// Result of an operation on a replica.
pub type Result<T> = std::result::Result<T, Error>;

/// Expected answers and failures.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This broker has no replica of it.
    #[error("Partition {0} doesn't exist on this broker")]
    UnknownPartition(TopicPartition),
    /// Another broker leads it.
    #[error("Leader not local for partition {0}")]
    NotLeader(TopicPartition),
    /// No copy here for a tool that reads any replica.
    #[error("Replica not available for partition {0}")]
    ReplicaNotAvailable(TopicPartition),
    /// Only the broker's own tools write there.
    #[error("Cannot append to internal topic {0}")]
    InternalTopic(TopicPartition),
    /// Acks outside -1, 0 and 1.
    #[error("acks={0} is not one of -1, 0 and 1")]
    InvalidAcks(i16),
    /// Too few in-sync replicas for acks=-1; nothing was appended.
    #[error(
        "Number of insync replicas for partition {partition} is [{there}], below required minimum [{least}]"
    )]
    NotEnoughReplicas {
        /// Which.
        partition: TopicPartition,
        /// In-sync replicas.
        there: usize,
        /// `min.insync.replicas`.
        least: i32,
    },
    /// Appended, but what was asked for beyond that did not come true.
    #[error("appended at offset {base}, but: {cause}")]
    AfterAppend {
        /// Offset of the first message.
        base: Offset,
        /// What did not come true.
        cause: AfterAppend,
    },
    /// A broker that fetches as a follower of a partition it is not assigned to.
    #[error(
        "Leader failed to record follower {follower}'s position since the replica is not recognized to be one of the assigned replicas for partition {partition}."
    )]
    NotAssigned {
        /// Who it says it is.
        follower: BrokerId,
        /// Which.
        partition: TopicPartition,
    },
    /// A negative number of offsets wanted.
    #[error("cannot list {0} offsets")]
    NegativeCount(i32),
    /// A controller that was replaced.
    #[error("controller epoch {request} is older than the latest, {latest}")]
    StaleController {
        /// The request's.
        request: ControllerEpoch,
        /// The latest seen.
        latest: ControllerEpoch,
    },
    /// A decision that is not newer than the one in force.
    #[error("leader epoch {request} is not newer than the one in force, {current}")]
    StaleLeader {
        /// The request's.
        request: LeaderEpoch,
        /// The partition's.
        current: LeaderEpoch,
    },
    /// A decision about a partition of which this broker holds no replica.
    #[error("broker {broker} is not in the replica list of partition {partition}")]
    NotInReplicas {
        /// This broker.
        broker: BrokerId,
        /// Which.
        partition: TopicPartition,
    },
    /// The log refused or failed.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// A leader has other messages than a follower where the follower's were committed, and the topic
    /// forbids to lose those.
    #[error(
        "the leader's copy of partition {partition} differs from offset {at} on, below the high watermark {high_watermark}"
    )]
    CommittedDiffers {
        /// Which.
        partition: TopicPartition,
        /// Where the copies part.
        at: Offset,
        /// The follower's.
        high_watermark: Offset,
    },
    /// A leader did not give a follower what it asked for.
    #[error("the leader answered for partition {partition}: {}", ErrorCode(*code))]
    Refused {
        /// Which.
        partition: TopicPartition,
        /// Its error on the wire.
        code: i16,
    },
    /// A topic's settings cannot be had.
    #[error("cannot read the configuration of topic {topic}: {reason}")]
    TopicConfig {
        /// Which.
        topic: String,
        /// Why.
        reason: String,
    },
}

/// What did not come true after an append with acks=-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AfterAppend {
    /// Not replicated in time.
    #[error("not replicated in time")]
    TimedOut,
    /// Replicated, but to fewer than `min.insync.replicas`.
    #[error("replicated to fewer in-sync replicas than required")]
    TooFew,
    /// Leadership went to another broker meanwhile.
    #[error("leadership was lost")]
    NotLeader,
    /// The partition was removed meanwhile.
    #[error("the partition was removed")]
    Gone,
}

impl Error {
    /// The disk cannot be trusted: its log directory is out of use from now on.
    pub(super) fn is_storage(&self) -> bool {
        matches!(self, Error::Log(log::Error::Storage(e)) if e.blames_the_disk())
    }
}
