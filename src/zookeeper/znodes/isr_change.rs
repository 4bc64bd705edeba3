//! `/isr_change_notification/isr_change_…`: leaders tell the controller which partitions' in-sync
//! replicas changed (ReplicationUtils.propagateIsrChanges).

use super::Result;
use super::admin::{decode_partitions, partition_list, with_partitions};
use crate::cluster::TopicPartition;

/// The notification's data, partitions in the order given.
pub fn encode<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> String {
    with_partitions(partition_list(partitions))
}

/// Reads a notification.
///
/// # Errors
/// If it is no JSON or an entry lacks a member.
pub fn decode(data: &[u8]) -> Result<Vec<TopicPartition>> {
    decode_partitions(data)
}
