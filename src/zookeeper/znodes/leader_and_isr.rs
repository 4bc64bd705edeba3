//! `/brokers/topics/T/partitions/P/state`: who leads a partition and who is in sync
//! (ReplicationUtils.parseLeaderAndIsr, ZkUtils.leaderAndIsrZkData).

use super::Result;
use super::json::{self, Json};
use crate::cluster::{BrokerId, ControllerEpoch, LeaderAndIsr, LeaderEpoch};

/// The node's data. The version for conditional writes is the node's own and not in it.
pub fn encode(state: &LeaderAndIsr) -> String {
    json::object([
        ("controller_epoch", state.controller_epoch.to_string()),
        ("leader", state.leader.to_string()),
        ("version", "1".to_owned()),
        ("leader_epoch", state.leader_epoch.to_string()),
        ("isr", json::ints(state.isr.iter().map(|id| id.0))),
    ])
}

/// Reads a state; `zk_version` is the version of the node's data.
///
/// # Errors
/// If it is no JSON or a member is missing. The version within is not looked at, as in Kafka.
pub fn decode(data: &[u8], zk_version: i32) -> Result<LeaderAndIsr> {
    let root = Json::parse(data)?;
    Ok(LeaderAndIsr {
        leader: BrokerId(root.int("leader")?),
        leader_epoch: LeaderEpoch(root.int("leader_epoch")?),
        isr: root.need("isr")?.ints("isr")?.into_iter().map(BrokerId).collect(),
        controller_epoch: ControllerEpoch(root.int("controller_epoch")?),
        zk_version,
    })
}
