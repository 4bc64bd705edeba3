//! The first plan of a reign (KafkaController.onControllerFailover). Pure.

use ::log::info;

use super::super::aim::Aim;
use super::super::context::{CONTROLLER, Context, List};
use super::super::plan::Plan;
use super::super::state::{PartitionState, ReplicaState};
use super::topics::Assignment;
use super::trust;
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
                trust::take_in(context, &at, leadership, zxid);
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
            let told =
                |id: &&BrokerId| context.is_registered(**id) && !trust::leads_no_more(context, &at, **id);
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
