//! Who leads a partition and who is in sync (kafka.api.LeaderAndIsr).

use super::ids::{BrokerId, ControllerEpoch, LeaderEpoch};

/// One decision about one partition, as it stands in the partition's state znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderAndIsr {
    /// The leader, or [`BrokerId::NONE`].
    pub leader: BrokerId,
    /// The number of this decision.
    pub leader_epoch: LeaderEpoch,
    /// The in-sync replicas. Empty only without a leader.
    pub isr: Vec<BrokerId>,
    /// The controller that decided, or that had decided when a leader changed the ISR.
    pub controller_epoch: ControllerEpoch,
    /// The znode's data version that holds this decision; writes are conditional on it.
    pub zk_version: i32,
}
