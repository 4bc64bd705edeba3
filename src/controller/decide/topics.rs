//! Topics and partitions that appear and vanish. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::log::info;

use super::super::aim::Aim;
use super::super::context::{CONTROLLER, Context, Ids, List};
use super::super::plan::Plan;
use super::trust;
use crate::cluster::{BrokerId, LeaderAndIsr, TopicPartition};

/// A topic's partitions and where their replicas belong.
pub type Assignment = BTreeMap<i32, Vec<BrokerId>>;

/// Topics that were created, and topics whose assignment was read again: partitions not known yet are
/// taken in and get leaders. A changed assignment of a known partition is ignored, as only a
/// reassignment may do that.
pub fn assigned(context: &mut Context, topics: Vec<(Arc<str>, Assignment)>) -> Plan {
    let mut new = Vec::new();
    for (topic, assignment) in topics {
        if context.is_doomed(&topic) {
            info!(target: CONTROLLER,
                "[AddPartitionsListener on {}]: Skipping adding partitions {} for topic {topic} since it is currently being deleted",
                context.me, List(assignment.keys()));
            continue;
        }
        context.topics.entry(topic.clone()).or_default();
        for (partition, replicas) in assignment {
            let at = TopicPartition::new(topic.clone(), partition);
            if context.partition(&at).is_none() {
                new.push((at, replicas));
            }
        }
    }
    if !new.is_empty() {
        info!(target: CONTROLLER,
            "[Controller {}]: New partition creation callback for {}",
            context.me, List(new.iter().map(|(at, _)| at)));
    }
    let mut plan = Plan::default();
    for (at, replicas) in new {
        context.insert_new(&at, replicas);
        plan.aims.push((at, Aim::Lead));
    }
    plan
}

/// Topics whose znodes are gone without this controller's doing. Nothing is sent: brokers keep what
/// they have, as with 0.9.0.1.
pub fn vanished(context: &mut Context, topics: &[Arc<str>]) {
    for topic in topics {
        context.forget(topic);
    }
}

/// Leaders changed the ISR of these partitions: every broker hears of it.
pub fn isr_changed(context: &mut Context, states: Vec<(TopicPartition, LeaderAndIsr)>) -> Plan {
    let mut plan = Plan::default();
    for (at, state) in states {
        if let Some(partition) = context.partition_mut(&at) {
            ::log::debug!(target: CONTROLLER,
                "Leader and ISR of {at} read again: leader {}, ISR {}", state.leader, Ids(&state.isr));
            partition.leadership = Some(state);
            plan.after.update_metadata(&at);
        }
    }
    trust::release(context, &mut plan);
    plan
}
