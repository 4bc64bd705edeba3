//! Which requests go to which broker after one decision, and what is in them.
//!
//! A batch holds names; the contents are taken from the [`Context`] when it is built, so that they are
//! the newest and that a partition named by several parts of one decision travels once. Per broker:
//! one LeaderAndIsr, then one UpdateMetadata, then StopReplica without and with deletion. Knows no
//! socket.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use ::log::{info, trace, warn};

use super::context::{CONTROLLER, Context, Ids, Partition, STATE_CHANGE};
use crate::cluster::{BrokerId, LeaderAndIsr, SecurityProtocol, TopicPartition};
use crate::protocol::leader_and_isr::{BrokerEndPoint, LeaderAndIsrRequest, PartitionStateInfo};
use crate::protocol::stop_replica::{StopReplicaPartition, StopReplicaRequest};
use crate::protocol::update_metadata::{UpdateMetadataBroker, UpdateMetadataEndPoint, UpdateMetadataRequest};

/// The leader that UpdateMetadata names for a partition that is being deleted.
pub const LEADER_DURING_DELETE: BrokerId = BrokerId(-2);

/// A request on its way to one broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Roles.
    LeaderAndIsr(LeaderAndIsrRequest),
    /// The cluster's picture; the same for many brokers.
    UpdateMetadata(Arc<UpdateMetadataRequest>),
    /// Copies to give up.
    StopReplica(StopReplicaRequest),
}

/// Requests by name, gathered during one decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestBatch {
    leader_and_isr: BTreeMap<BrokerId, BTreeSet<TopicPartition>>,
    /// Partitions that every broker hears of.
    metadata: BTreeSet<TopicPartition>,
    /// Whether every broker gets an UpdateMetadata even if `metadata` is empty: the live brokers changed.
    brokers_changed: bool,
    /// Brokers that hear of all partitions.
    metadata_in_full: BTreeSet<BrokerId>,
    /// Copies to give up; true: with their logs.
    stop: BTreeMap<BrokerId, BTreeMap<TopicPartition, bool>>,
}

impl RequestBatch {
    /// Whether nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        *self == RequestBatch::default()
    }

    /// Each of `to` that is registered then is told its role, and every broker the partition's state.
    pub fn leader_and_isr(&mut self, to: &[BrokerId], at: &TopicPartition) {
        for id in to {
            self.leader_and_isr.entry(*id).or_default().insert(at.clone());
        }
        self.metadata.insert(at.clone());
    }

    /// Tells a broker its role in a partition of which nothing changed, so that no other is told.
    pub fn role(&mut self, to: BrokerId, at: &TopicPartition) {
        self.leader_and_isr.entry(to).or_default().insert(at.clone());
    }

    /// Every broker hears of the partition's state.
    pub fn update_metadata(&mut self, at: &TopicPartition) {
        self.metadata.insert(at.clone());
    }

    /// Every broker hears who lives.
    pub fn update_brokers(&mut self) {
        self.brokers_changed = true;
    }

    /// One broker hears of everything.
    pub fn update_metadata_in_full(&mut self, to: BrokerId) {
        self.metadata_in_full.insert(to);
    }

    /// A broker gives up its copy: stops fetching, or also deletes the log.
    pub fn stop_replica(&mut self, to: BrokerId, at: &TopicPartition, delete: bool) {
        let partitions = self.stop.entry(to).or_default();
        *partitions.entry(at.clone()).or_default() |= delete;
    }

    /// Adds what another batch holds.
    pub fn merge(&mut self, other: RequestBatch) {
        for (to, partitions) in other.leader_and_isr {
            self.leader_and_isr.entry(to).or_default().extend(partitions);
        }
        self.metadata.extend(other.metadata);
        self.brokers_changed |= other.brokers_changed;
        self.metadata_in_full.extend(other.metadata_in_full);
        for (to, partitions) in other.stop {
            for (at, delete) in partitions {
                self.stop_replica(to, &at, delete);
            }
        }
    }

    /// The requests, in sending order per broker. `protocol` is how brokers talk among themselves.
    pub fn build(self, context: &Context, protocol: SecurityProtocol) -> Vec<(BrokerId, Request)> {
        let mut requests = Vec::new();
        for (to, partitions) in &self.leader_and_isr {
            let request = leader_and_isr(context, protocol, *to, partitions);
            if !request.partitions.is_empty() {
                requests.push((*to, Request::LeaderAndIsr(request)));
            }
        }
        self.build_metadata(context, &mut requests);
        for (to, partitions) in self.stop {
            for delete in [false, true] {
                // Deletion, too, is preceded by a stop: no follower goes on fetching from a leader
                // that is about to drop its log.
                let chosen = partitions.iter().filter(|(_, d)| **d || !delete);
                let partitions: Vec<StopReplicaPartition> = chosen.map(|(at, _)| name(at)).collect();
                if !partitions.is_empty() {
                    let request = StopReplicaRequest {
                        controller_id: context.me.0,
                        controller_epoch: context.epoch.0,
                        delete_partitions: delete,
                        partitions,
                    };
                    requests.push((to, Request::StopReplica(request)));
                }
            }
        }
        requests.retain(|(to, _)| {
            let known = context.is_registered(*to);
            if !known {
                warn!(target: CONTROLLER,
                    "[Controller {}]: Not sending a request to broker {to}, since it is offline.", context.me);
            }
            known
        });
        requests
    }

    fn build_metadata(&self, context: &Context, requests: &mut Vec<(BrokerId, Request)>) {
        let mut changes = None;
        let mut everything = None;
        for to in context.brokers.keys() {
            let request = if self.metadata_in_full.contains(to) {
                everything.get_or_insert_with(|| {
                    let all = context.partitions().map(|(at, _)| at).collect();
                    update_metadata(context, &all)
                })
            } else if self.brokers_changed || !self.metadata.is_empty() {
                changes.get_or_insert_with(|| update_metadata(context, &self.metadata))
            } else {
                continue;
            };
            requests.push((*to, Request::UpdateMetadata(request.clone())));
        }
    }
}

fn name(at: &TopicPartition) -> StopReplicaPartition {
    StopReplicaPartition {
        topic: at.topic.to_string(),
        partition: at.partition,
    }
}

fn leader_and_isr(
    context: &Context,
    protocol: SecurityProtocol,
    to: BrokerId,
    partitions: &BTreeSet<TopicPartition>,
) -> LeaderAndIsrRequest {
    let mut leaders = BTreeSet::new();
    let mut states = Vec::with_capacity(partitions.len());
    for at in partitions {
        let Some(partition) = context.partition(at) else {
            continue;
        };
        let Some(leadership) = &partition.leadership else {
            continue;
        };
        let role = if leadership.leader == to {
            "become-leader"
        } else {
            "become-follower"
        };
        trace!(target: STATE_CHANGE,
            "Controller {} epoch {} sending {role} LeaderAndIsr request {} to broker {to} for partition {at}",
            context.me, context.epoch, Shown(leadership));
        leaders.insert(leadership.leader);
        states.push(state(at, partition, leadership));
    }
    let endpoint = |id: &BrokerId| {
        let broker = &context.brokers.get(id)?.broker;
        let Some(endpoint) = broker.endpoint(protocol) else {
            warn!(target: CONTROLLER,
                "[Controller {}]: Broker {id} has no endpoint for {protocol}; others cannot follow it",
                context.me);
            return None;
        };
        Some(BrokerEndPoint {
            id: id.0,
            host: endpoint.host.clone(),
            port: endpoint.port,
        })
    };
    LeaderAndIsrRequest {
        controller_id: context.me.0,
        controller_epoch: context.epoch.0,
        partitions: states,
        live_leaders: leaders.iter().filter_map(endpoint).collect(),
    }
}

/// The picture with these partitions; those of topics being deleted are always among them, so that no
/// broker keeps them whatever it missed.
fn update_metadata(context: &Context, partitions: &BTreeSet<TopicPartition>) -> Arc<UpdateMetadataRequest> {
    let mut states = Vec::with_capacity(partitions.len());
    for at in partitions.iter().filter(|at| !context.is_deleting(&at.topic)) {
        let Some(partition) = context.partition(at) else {
            continue;
        };
        match &partition.leadership {
            Some(leadership) => states.push(state(at, partition, leadership)),
            None => info!(target: CONTROLLER,
                "Leader not yet assigned for partition {at}. Skip sending UpdateMetadataRequest."),
        }
    }
    let deleting = context.deletions.iter().filter(|(_, deletion)| deletion.begun);
    for at in deleting.flat_map(|(topic, _)| context.partitions_of(topic)) {
        let Some(partition) = context.partition(&at) else {
            continue;
        };
        if let Some(leadership) = &partition.leadership {
            let gone = LeaderAndIsr {
                leader: LEADER_DURING_DELETE,
                leader_epoch: Default::default(),
                zk_version: 0,
                ..leadership.clone()
            };
            states.push(state(&at, partition, &gone));
        }
    }
    for sent in &states {
        trace!(target: STATE_CHANGE,
            "Controller {} epoch {} sending UpdateMetadata request (Leader:{},ISR:{},LeaderEpoch:{},ControllerEpoch:{}) to all brokers for partition {}-{}",
            context.me, context.epoch, sent.leader,
            super::context::List(sent.isr.iter()), sent.leader_epoch, sent.controller_epoch,
            sent.topic, sent.partition);
    }
    let endpoints = |broker: &crate::cluster::Broker| {
        let wire = |e: &crate::cluster::Endpoint| UpdateMetadataEndPoint {
            port: e.port,
            host: e.host.clone(),
            protocol: e.protocol.id(),
        };
        broker.endpoints.iter().map(wire).collect()
    };
    let brokers = context.brokers.values().map(|live| UpdateMetadataBroker {
        id: live.broker.id.0,
        endpoints: endpoints(&live.broker),
    });
    Arc::new(UpdateMetadataRequest {
        controller_id: context.me.0,
        controller_epoch: context.epoch.0,
        partitions: states,
        brokers: brokers.collect(),
    })
}

fn state(at: &TopicPartition, partition: &Partition, leadership: &LeaderAndIsr) -> PartitionStateInfo {
    PartitionStateInfo {
        topic: at.topic.to_string(),
        partition: at.partition,
        controller_epoch: leadership.controller_epoch.0,
        leader: leadership.leader.0,
        leader_epoch: leadership.leader_epoch.0,
        isr: leadership.isr.iter().map(|id| id.0).collect(),
        zk_version: leadership.zk_version,
        replicas: partition.replicas.iter().map(|id| id.0).collect(),
    }
}

/// A decision as Kafka's state-change log prints it.
struct Shown<'a>(&'a LeaderAndIsr);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LeaderAndIsr {
            leader,
            isr,
            leader_epoch,
            controller_epoch,
            ..
        } = self.0;
        write!(
            f,
            "(Leader:{leader},ISR:{},LeaderEpoch:{leader_epoch},ControllerEpoch:{controller_epoch})",
            Ids(isr)
        )
    }
}
