//! Why the coordinator refuses. Which number each has on the wire is the server's business.

use crate::log;
use crate::replica::{self, AfterAppend};

/// Result of a request to the coordinator.
pub type Result<T> = std::result::Result<T, Error>;

/// The expected refusals; a client is built to react to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// This broker is stopping, or does not know yet how many partitions the offsets topic has.
    #[error("the coordinator is not available")]
    NotAvailable,
    /// Another broker leads the group's partition of the offsets topic.
    #[error("not the coordinator of this group")]
    NotCoordinator,
    /// The group's partition is still being read.
    #[error("the group is being loaded")]
    Loading,
    /// The group has no name.
    #[error("a group needs a name")]
    InvalidGroupId,
    /// Outside `group.min.session.timeout.ms` and `group.max.session.timeout.ms`.
    #[error("the session timeout is not within the broker's limits")]
    InvalidSessionTimeout,
    /// Another kind of group, or no protocol that all members support.
    #[error("no protocol in common with the group")]
    InconsistentProtocol,
    /// Not a member, or no longer one.
    #[error("no such member")]
    UnknownMember,
    /// A generation that is not the group's.
    #[error("not the group's generation")]
    IllegalGeneration,
    /// The member has to join again.
    #[error("the group rebalances")]
    RebalanceInProgress,
    /// The text beside an offset is longer than `offset.metadata.max.bytes`.
    #[error("the metadata of an offset is too long")]
    MetadataTooLarge,
    /// The record could not be written to the offsets topic as safely as asked for.
    #[error("not stored: {0}")]
    Unstored(#[from] Unstored),
}

/// What kept a record from being stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unstored {
    /// No such partition here any more.
    #[error("the partition is not on this broker")]
    NoPartition,
    /// The partition's leader is another broker now.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// Not on all in-sync replicas within `offsets.commit.timeout.ms`.
    #[error("not replicated in time")]
    TimedOut,
    /// Larger than the offsets topic takes.
    #[error("too large")]
    TooLarge,
    /// Too few in-sync replicas; nothing was written.
    #[error("too few in-sync replicas")]
    NotEnoughReplicas,
    /// Written, but then there were too few in-sync replicas.
    #[error("replicated to too few in-sync replicas")]
    NotEnoughReplicasAfterAppend,
    /// Anything else; the replica's log line says what.
    #[error("the append failed")]
    Failed,
}

impl From<&replica::Error> for Unstored {
    fn from(e: &replica::Error) -> Unstored {
        use replica::Error as E;
        match e {
            E::UnknownPartition(_) => Unstored::NoPartition,
            E::NotLeader(_) => Unstored::NotLeader,
            E::NotEnoughReplicas { .. } => Unstored::NotEnoughReplicas,
            E::AfterAppend { cause, .. } => match cause {
                AfterAppend::TimedOut => Unstored::TimedOut,
                AfterAppend::TooFew => Unstored::NotEnoughReplicasAfterAppend,
                AfterAppend::NotLeader => Unstored::NotLeader,
                AfterAppend::Gone => Unstored::NoPartition,
            },
            E::Log(log::Error::TooLarge { .. } | log::Error::SetTooLarge { .. }) => Unstored::TooLarge,
            _ => Unstored::Failed,
        }
    }
}
