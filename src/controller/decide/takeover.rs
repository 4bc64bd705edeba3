//! The first plan of a reign (KafkaController.onControllerFailover). Pure.

use ::log::info;

use super::super::context::{CONTROLLER, Context, List};
use super::super::plan::{Aim, Plan};
use super::super::state::{PartitionState, ReplicaState};
use super::topics::Assignment;
use crate::cluster::{BrokerId, LeaderAndIsr, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Takes in all that stands in ZooKeeper about topics, partition states with the transactions that wrote
/// them. The brokers must be known already.
pub fn load(
    context: &mut Context,
    assignments: BTreeMap<Arc<str>, Assignment>,
    mut states: BTreeMap<TopicPartition, (LeaderAndIsr, i64)>,
) {
    info!(target: CONTROLLER,
        "[Controller {}]: Currently active brokers in the cluster: Set({})", context.me, List(context.brokers.keys()));
    info!(target: CONTROLLER,
        "[Controller {}]: Current list of topics in the cluster: Set({})", context.me, List(assignments.keys()));
    for (topic, assignment) in assignments {
        context.topics.entry(topic.clone()).or_default();
        for (number, replicas) in assignment {
            let at = TopicPartition::new(topic.clone(), number);
            let leadership = states.remove(&at);
            context.insert_new(&at, replicas.clone());
            if let Some((leadership, zxid)) = leadership {
                take_in(context, &at, leadership, zxid);
                for id in replicas {
                    let there = context.is_registered(id);
                    let state = if there {
                        ReplicaState::Online
                    } else {
                        ReplicaState::Offline
                    };
                    context.move_replica(&at, id, state);
                }
            }
        }
    }
}

/// Takes in a partition's state as it stands in ZooKeeper, written by the transaction `zxid`. The brokers must be known
/// already.
pub(super) fn take_in(context: &mut Context, at: &TopicPartition, leadership: LeaderAndIsr, zxid: i64) {
    if let Some(partition) = context.partition_mut(at) {
        partition.leadership = Some(leadership);
        distrust(context, at, zxid);
    }
}

/// Notes who is in an ISR, written by the transaction `zxid`, from before its present registration: it went
/// and came back while nobody acted as controller, or its leader took it in while it was not registered, and may have lost
/// what made it a member. Nobody is noted if all that are there did.
fn distrust(context: &mut Context, at: &TopicPartition, zxid: i64) {
    let leadership = context.partition(at).and_then(|p| p.leadership.as_ref());
    let isr = leadership.iter().flat_map(|l| &l.isr);
    let registered = isr.filter_map(|id| context.brokers.get(id));
    let (returned, stayed): (Vec<_>, Vec<_>) = registered.partition(|live| live.czxid > zxid);
    if !returned.is_empty() && !stayed.is_empty() {
        let ids = returned.iter().map(|live| live.broker.id).collect();
        context.distrusted.insert(at.clone(), ids);
    }
}

/// Every broker hears of everything, then partitions without a living leader get one, members that are
/// gone leave the ISRs, and every replica is told its role: nobody knows what the last controller
/// managed to say.
pub fn take_over(context: &mut Context) -> Plan {
    let mut plan = Plan::default();
    // Before any LeaderAndIsr (KAFKA-4443): a follower refuses a leader that it has not heard of.
    for id in context.brokers.keys() {
        plan.before.update_metadata_in_full(*id);
    }
    let mut states = Vec::new();
    for (at, partition) in context.partitions() {
        let state = match &partition.leadership {
            None => PartitionState::New,
            Some(l) if context.is_registered(l.leader) => PartitionState::Online,
            Some(_) => PartitionState::Offline,
        };
        states.push((at.clone(), state));
        let gone = |l: &LeaderAndIsr| l.isr.iter().any(|id| !context.is_registered(*id));
        if state != PartitionState::Online || partition.leadership.as_ref().is_some_and(gone) {
            plan.aims.push((at.clone(), Aim::Lead));
        }
        if partition.leadership.is_some() && !context.is_deleting(&at.topic) {
            let told = |id: &&BrokerId| {
                // A leader that came back leads nothing until nobody better is heard of.
                let leads_no_more = partition.leader() == **id && !context.trusts(&at, **id);
                context.is_registered(**id) && !leads_no_more
            };
            for id in partition.replicas.iter().filter(told) {
                plan.after.role(*id, &at);
            }
        }
    }
    for (at, state) in states {
        context.move_partition(&at, state);
    }
    plan
}
