//! Everything that can happen to the acting controller. One closed list; `run` takes them one at a
//! time, so that no two decisions ever overlap.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::channels::Answer;
use super::decide::brokers::ControlledShutdownError;
use crate::cluster::{BrokerId, TopicPartition};

/// What happened. Where a znode changed, what stands there is read when the event is handled, so events
/// may run together and none is missed.
#[derive(Debug)]
pub enum Event {
    /// `/controller` changed or went.
    ControllerNode,
    /// `/brokers/ids` has other children.
    Brokers,
    /// `/brokers/topics` has other children.
    Topics,
    /// A topic's assignment changed, or the topic went.
    TopicAssignment(Arc<str>),
    /// `/admin/delete_topics` has other children.
    DeletionWishes,
    /// `/isr_change_notification` has other children.
    IsrChanges,
    /// `/admin/preferred_replica_election` changed.
    PreferredElectionWish,
    /// `/admin/reassign_partitions` changed.
    ReassignmentWish,
    /// The state of a partition on the move changed.
    PartitionState(TopicPartition),
    /// A broker answered a request.
    Answered(Answer),
    /// A broker wants to go, by the registration of that transaction if it says so.
    ControlledShutdown(BrokerId, Option<i64>, oneshot::Sender<ShutdownReply>),
    /// A timer is due.
    Due(Timer),
}

/// The partitions that a broker which wants to go still leads, or why it may not go.
pub type ShutdownReply = Result<Vec<TopicPartition>, ControlledShutdownError>;

/// What the controller does by itself from time to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Look whether leaderships have drifted from preferred replicas.
    BalanceLeaders,
    /// Try again deletions that a broker refused.
    Retry,
}
