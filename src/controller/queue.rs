//! Requests that wait for one broker. A broker that does not answer must not make the controller's
//! memory grow, and when it comes back it should hear the newest state and not a history: a request is
//! merged into one of its kind that still waits, where that changes no order that matters. What can wait
//! is thereby bounded by the number of partitions.
//!
//! Order that matters: a role and the giving up of the same partition's copy; and a role before
//! UpdateMetadata of the same partition, or clients are sent to a leader that does not know of it yet.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::batch::Request;
use crate::protocol::leader_and_isr::{LeaderAndIsrRequest, PartitionStateInfo};
use crate::protocol::stop_replica::StopReplicaRequest;
use crate::protocol::update_metadata::UpdateMetadataRequest;

/// First in, first out, but for merging.
#[derive(Debug, Default)]
pub struct RequestQueue {
    waiting: VecDeque<Request>,
}

impl RequestQueue {
    /// Puts a request behind those that wait, or into one of them.
    pub fn push(&mut self, request: Request) {
        // From the back: the first request of the same kind, unless one in between is bound to come
        // before this one.
        for waiting in self.waiting.iter_mut().rev() {
            if merge(waiting, &request) {
                return;
            }
            if conflict(waiting, &request) {
                break;
            }
        }
        self.waiting.push_back(request);
    }

    /// The next to send.
    pub fn pop(&mut self) -> Option<Request> {
        self.waiting.pop_front()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

fn merge(into: &mut Request, newer: &Request) -> bool {
    match (into, newer) {
        (Request::LeaderAndIsr(into), Request::LeaderAndIsr(newer)) => {
            merge_roles(into, newer);
            true
        }
        (Request::UpdateMetadata(into), Request::UpdateMetadata(newer)) => {
            let picture: &mut UpdateMetadataRequest = Arc::make_mut(into);
            picture.controller_epoch = newer.controller_epoch;
            picture.brokers.clone_from(&newer.brokers);
            merge_states(&mut picture.partitions, &newer.partitions);
            true
        }
        (Request::StopReplica(into), Request::StopReplica(newer))
            if into.delete_partitions == newer.delete_partitions =>
        {
            merge_stops(into, newer);
            true
        }
        _ => false,
    }
}

fn merge_roles(into: &mut LeaderAndIsrRequest, newer: &LeaderAndIsrRequest) {
    into.controller_epoch = newer.controller_epoch;
    merge_states(&mut into.partitions, &newer.partitions);
    let named: HashSet<i32> = newer.live_leaders.iter().map(|l| l.id).collect();
    into.live_leaders.retain(|l| !named.contains(&l.id));
    into.live_leaders.extend_from_slice(&newer.live_leaders);
}

/// The newer state of each partition, in the place of the older.
fn merge_states(into: &mut Vec<PartitionStateInfo>, newer: &[PartitionStateInfo]) {
    let mut places: HashMap<(String, i32), usize> = HashMap::with_capacity(into.len());
    for (i, state) in into.iter().enumerate() {
        places.insert((state.topic.clone(), state.partition), i);
    }
    for state in newer {
        match places.get(&(state.topic.clone(), state.partition)) {
            Some(i) => into[*i] = state.clone(),
            None => into.push(state.clone()),
        }
    }
}

fn merge_stops(into: &mut StopReplicaRequest, newer: &StopReplicaRequest) {
    into.controller_epoch = newer.controller_epoch;
    for partition in &newer.partitions {
        if !into.partitions.contains(partition) {
            into.partitions.push(partition.clone());
        }
    }
}

/// Whether the two concern the same partition in ways that do not commute.
fn conflict(waiting: &Request, newer: &Request) -> bool {
    match (waiting, newer) {
        (Request::LeaderAndIsr(roles), Request::StopReplica(stop))
        | (Request::StopReplica(stop), Request::LeaderAndIsr(roles)) => {
            let named: HashSet<(&str, i32)> = roles.partitions.iter().map(at).collect();
            stop.partitions
                .iter()
                .any(|p| named.contains(&(p.topic.as_str(), p.partition)))
        }
        (Request::LeaderAndIsr(roles), Request::UpdateMetadata(picture)) => {
            let named: HashSet<(&str, i32)> = roles.partitions.iter().map(at).collect();
            picture.partitions.iter().any(|p| named.contains(&at(p)))
        }
        // Stop and delete keep their order.
        (Request::StopReplica(_), Request::StopReplica(_)) => true,
        _ => false,
    }
}

fn at(state: &PartitionStateInfo) -> (&str, i32) {
    (&state.topic, state.partition)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::stop_replica::StopReplicaPartition;

    fn roles(partition: i32, leader_epoch: i32) -> Request {
        Request::LeaderAndIsr(LeaderAndIsrRequest {
            controller_id: 0,
            controller_epoch: 1,
            partitions: vec![state(partition, leader_epoch)],
            live_leaders: Vec::new(),
        })
    }

    fn state(partition: i32, leader_epoch: i32) -> PartitionStateInfo {
        PartitionStateInfo {
            topic: "t".into(),
            partition,
            controller_epoch: 1,
            leader: 0,
            leader_epoch,
            isr: vec![0],
            zk_version: 0,
            replicas: vec![0],
        }
    }

    fn picture(partition: i32, leader_epoch: i32) -> Request {
        Request::UpdateMetadata(Arc::new(UpdateMetadataRequest {
            controller_id: 0,
            controller_epoch: 1,
            partitions: vec![state(partition, leader_epoch)],
            brokers: Vec::new(),
        }))
    }

    fn stop(partition: i32, delete_partitions: bool) -> Request {
        Request::StopReplica(StopReplicaRequest {
            controller_id: 0,
            controller_epoch: 1,
            delete_partitions,
            partitions: vec![StopReplicaPartition {
                topic: "t".into(),
                partition,
            }],
        })
    }

    #[test]
    fn what_waits_for_a_silent_broker_is_bounded_by_the_partitions() {
        let mut queue = RequestQueue::default();
        for epoch in 0..1000 {
            queue.push(roles(0, epoch));
            queue.push(picture(0, epoch));
        }
        assert_eq!(queue.len(), 2);
        let Some(Request::LeaderAndIsr(first)) = queue.pop() else {
            panic!("roles come first");
        };
        assert_eq!(first.partitions, [state(0, 999)]);
    }

    #[test]
    fn nobody_is_told_of_a_leader_before_it_is_told_itself() {
        let mut queue = RequestQueue::default();
        for request in [
            picture(0, 0),
            roles(1, 0),
            picture(1, 0),
            roles(2, 0),
            picture(2, 0),
        ] {
            queue.push(request);
        }
        assert_eq!(queue.pop(), Some(picture(0, 0)));
        let Some(Request::LeaderAndIsr(both)) = queue.pop() else {
            panic!("then the roles");
        };
        assert_eq!(both.partitions, [state(1, 0), state(2, 0)]);
        let Some(Request::UpdateMetadata(both)) = queue.pop() else {
            panic!("then the others hear of them");
        };
        assert_eq!(both.partitions, [state(1, 0), state(2, 0)]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_role_given_after_a_deletion_is_heard_after_it() {
        let mut queue = RequestQueue::default();
        for request in [
            roles(0, 1),
            stop(0, false),
            stop(0, true),
            roles(0, 2),
            roles(1, 0),
        ] {
            queue.push(request);
        }
        assert_eq!(queue.pop(), Some(roles(0, 1)));
        assert_eq!(queue.pop(), Some(stop(0, false)));
        assert_eq!(queue.pop(), Some(stop(0, true)));
        let Some(Request::LeaderAndIsr(last)) = queue.pop() else {
            panic!("a role is left");
        };
        assert_eq!(last.partitions, [state(0, 2), state(1, 0)]);
        assert!(queue.is_empty());
    }
}
