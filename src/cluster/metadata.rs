//! A picture of the cluster at one moment. Never changed: a change makes a new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::endpoint::Broker;
use super::ids::{BrokerId, ControllerEpoch};
use super::leader_and_isr::LeaderAndIsr;
use super::topic::TopicPartition;

/// What is known of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// The last decision about its leader and ISR.
    pub leader_and_isr: LeaderAndIsr,
    /// The brokers it is assigned to, the preferred leader first.
    pub replicas: Vec<BrokerId>,
}

/// The live brokers and all partitions, as the controller told them last. Topics share their maps
/// with the picture before, so that a small change copies little.
#[derive(Clone, Debug, Default)]
pub struct MetadataImage {
    /// Epoch of the controller that told it; 0 before the first.
    pub controller_epoch: ControllerEpoch,
    /// The live brokers.
    pub brokers: BTreeMap<BrokerId, Broker>,
    /// By topic, then partition.
    pub topics: BTreeMap<Arc<str>, Arc<BTreeMap<i32, PartitionState>>>,
}

impl MetadataImage {
    /// The state of one partition.
    pub fn partition(&self, tp: &TopicPartition) -> Option<&PartitionState> {
        self.topics.get(&tp.topic)?.get(&tp.partition)
    }

    /// Whether the broker is alive.
    pub fn is_alive(&self, id: BrokerId) -> bool {
        self.brokers.contains_key(&id)
    }
}
