//! Deleting topics (kafka.controller.TopicDeletionManager). Pure.
//!
//! ```text
//! wish ─> brokers forget it (leader -2) ─> live replicas: stop, then delete ─┬─ all done ─> znodes go
//!                                          replicas on brokers that are gone └─ wait for the broker
//! ```
//! All state is in the replicas' states, so a new controller starts over; every step can be repeated.

use std::sync::Arc;

use ::log::{error, info, warn};

use super::super::context::{CONTROLLER, Context, Deletion, List};
use super::super::plan::{Plan, Removal};
use super::super::state::{PartitionState, ReplicaState};
use crate::cluster::{BrokerId, TopicPartition};

/// The reason while a replica's broker is gone.
const BROKER_GONE: &str = "a replica's broker is not there";
/// The reason while a broker refuses.
const BROKER_REFUSED: &str = "a broker did not delete its replica";
/// The reason while partitions move.
const IN_USE: &str = "a reassignment or preferred election is under way";

/// Topics that somebody wants deleted. Those unknown lose the wish.
pub fn requested(context: &mut Context, wishes: &[Arc<str>]) -> Plan {
    let mut plan = Plan::default();
    let mut fresh = Vec::new();
    for topic in wishes {
        if !context.topics.contains_key(topic) {
            warn!(target: CONTROLLER,
                "[DeleteTopicsListener on {}]: Ignoring request to delete non-existing topics {topic}", context.me);
            plan.removals.push(Removal::DeletionWish(topic.clone()));
        } else if !context.is_doomed(topic) {
            fresh.push(topic.clone());
        }
    }
    if fresh.is_empty() {
        return plan;
    }
    info!(target: CONTROLLER,
        "[DeleteTopicsListener on {}]: Starting topic deletion for topics {}", context.me, List(fresh.iter()));
    for topic in fresh {
        let used = |at: &TopicPartition| at.topic == topic;
        let in_use = context.reassignments.keys().any(used) || context.preferring.iter().any(used);
        let deletion = Deletion {
            begun: false,
            ineligible: in_use.then_some(IN_USE),
        };
        context.deletions.insert(topic.clone(), deletion);
        plan.merge(advance(context, &topic));
    }
    plan
}

/// Takes a topic's deletion as far as it goes now.
pub fn advance(context: &mut Context, topic: &Arc<str>) -> Plan {
    let mut plan = Plan::default();
    let Some(deletion) = context.deletions.get(topic) else {
        return plan;
    };
    let eligible = deletion.ineligible.is_none();
    let replicas = replicas_of(context, topic);
    if replicas
        .iter()
        .all(|(.., state)| *state == ReplicaState::DeletionSuccessful)
    {
        plan.removals.push(Removal::Topic(topic.clone()));
        return plan;
    }
    if !eligible
        || replicas
            .iter()
            .any(|(.., state)| *state == ReplicaState::DeletionStarted)
    {
        return plan;
    }
    info!(target: CONTROLLER,
        "[Topic Deletion Manager {}], Deletion of topic {topic} (re)started", context.me);
    if let Some(deletion) = context.deletions.get_mut(topic) {
        deletion.begun = true;
    }
    for at in context.partitions_of(topic) {
        plan.after.update_metadata(&at);
    }
    let mut waiting = false;
    for (at, id, state) in replicas {
        if state == ReplicaState::DeletionSuccessful {
            continue;
        }
        context.move_replica(&at, id, ReplicaState::Offline);
        if context.is_registered(id) {
            context.move_replica(&at, id, ReplicaState::DeletionStarted);
            plan.after.stop_replica(id, &at, true);
        } else {
            context.move_replica(&at, id, ReplicaState::DeletionIneligible);
            waiting = true;
        }
    }
    if waiting {
        hold(context, topic, BROKER_GONE);
    }
    plan
}

/// A broker answered StopReplica with deletion: `error` is the whole request's, then each partition's.
pub fn answered(context: &mut Context, id: BrokerId, partitions: &[(TopicPartition, i16)]) -> Plan {
    let mut plan = Plan::default();
    let mut touched = Vec::new();
    for (at, error) in partitions {
        if context.replica_state(at, id) != ReplicaState::DeletionStarted {
            continue;
        }
        if !context.is_deleting(&at.topic) {
            // A reassignment has removed it; what is left of it harms nobody.
            if *error != 0 {
                warn!(target: CONTROLLER,
                    "[Controller {}]: Replica {id} of {at} was moved away and could not be deleted: error {error}", context.me);
            }
            context.move_replica(at, id, ReplicaState::NonExistent);
            continue;
        }
        if *error == 0 {
            context.move_replica(at, id, ReplicaState::DeletionSuccessful);
        } else {
            error!(target: CONTROLLER,
                "[Topic Deletion Manager {}], Deletion of replica {id} of {at} failed with error {error}", context.me);
            context.move_replica(at, id, ReplicaState::DeletionIneligible);
            hold(context, &at.topic, BROKER_REFUSED);
        }
        if !touched.contains(&at.topic) {
            touched.push(at.topic.clone());
        }
    }
    for topic in touched {
        plan.merge(advance(context, &topic));
    }
    plan
}

/// Brokers are gone: what they were to delete waits for them.
pub fn brokers_failed(context: &mut Context, gone: &[BrokerId]) -> Plan {
    let deleting = context.deletions.iter().filter(|(_, deletion)| deletion.begun);
    for topic in deleting.map(|(topic, _)| topic.clone()).collect::<Vec<_>>() {
        for (at, id, state) in replicas_of(context, &topic) {
            if gone.contains(&id) && state != ReplicaState::DeletionSuccessful {
                context.move_replica(&at, id, ReplicaState::DeletionIneligible);
                hold(context, &topic, BROKER_GONE);
            }
        }
    }
    Plan::default()
}

/// Brokers came: deletions that waited for them go on.
pub fn brokers_started(context: &mut Context, come: &[BrokerId]) -> Plan {
    let mut plan = Plan::default();
    for topic in context.deletions.keys().cloned().collect::<Vec<_>>() {
        if replicas_of(context, &topic)
            .iter()
            .any(|(_, id, _)| come.contains(id))
        {
            plan.merge(resume(context, &topic));
        }
    }
    plan
}

/// Lets a deletion that was held go on, if nothing but brokers that are gone holds it.
pub fn resume(context: &mut Context, topic: &Arc<str>) -> Plan {
    let used = |at: &TopicPartition| at.topic == *topic;
    if context.reassignments.keys().any(used) || context.preferring.iter().any(used) {
        return Plan::default();
    }
    match context.deletions.get_mut(topic) {
        Some(deletion) => deletion.ineligible = None,
        None => return Plan::default(),
    }
    advance(context, topic)
}

/// Deletions that a broker refused, tried again.
pub fn retry(context: &mut Context) -> Plan {
    let refused =
        |(topic, d): (&Arc<str>, &Deletion)| (d.ineligible == Some(BROKER_REFUSED)).then(|| topic.clone());
    let topics: Vec<Arc<str>> = context.deletions.iter().filter_map(refused).collect();
    let mut plan = Plan::default();
    for topic in topics {
        plan.merge(resume(context, &topic));
    }
    plan
}

/// Whether [`retry`] has something to do.
pub fn wants_retry(context: &Context) -> bool {
    context
        .deletions
        .values()
        .any(|d| d.ineligible == Some(BROKER_REFUSED))
}

/// The topic's znodes are gone: forgets it.
pub fn completed(context: &mut Context, topic: &Arc<str>) {
    for (at, id, _) in replicas_of(context, topic) {
        context.move_replica(&at, id, ReplicaState::NonExistent);
    }
    for at in context.partitions_of(topic) {
        context.move_partition(&at, PartitionState::Offline);
        context.move_partition(&at, PartitionState::NonExistent);
    }
    context.forget(topic);
    info!(target: CONTROLLER,
        "[Topic Deletion Manager {}], Deletion of topic {topic} successfully completed", context.me);
}

fn hold(context: &mut Context, topic: &Arc<str>, reason: &'static str) {
    if let Some(deletion) = context.deletions.get_mut(topic) {
        deletion.ineligible = Some(reason);
        info!(target: CONTROLLER,
            "[Topic Deletion Manager {}], Halted deletion of topics {topic}: {reason}", context.me);
    }
}

fn replicas_of(context: &Context, topic: &Arc<str>) -> Vec<(TopicPartition, BrokerId, ReplicaState)> {
    let mut all = Vec::new();
    for at in context.partitions_of(topic) {
        let states = context.partition(&at).map(|p| &p.replica_states);
        for (id, state) in states.into_iter().flatten() {
            all.push((at.clone(), *id, *state));
        }
    }
    all
}
