//! Moving partitions to other brokers (KafkaController.onPartitionReassignment). Pure.
//!
//! RAR are the wished replicas, AR those assigned. Each stage is found from what is known, so that a new
//! controller goes on where the last one stopped; AR shrinks to RAR in ZooKeeper last.
//!
//! ```text
//! Grow: AR := AR + RAR ─> Wait: until RAR is in sync ─> Lead: leader in RAR ─> HandOver: until the leader has
//! given a sign of life ─> Shrink: the others leave the ISR and are told to delete their copies ─> Delete: until
//! they have or are gone ─> Finish: AR := RAR, the wish goes
//! ```

use std::collections::BTreeMap;

use ::log::{error, info, warn};

use super::super::aim::Aim;
use super::super::context::{CONTROLLER, Context, Ids};
use super::super::plan::{Plan, Removal};
use super::super::state::ReplicaState;
use super::{deletion, trust};
use crate::cluster::{BrokerId, TopicPartition};

/// How far a partition's reassignment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Wished replicas are not assigned yet.
    Grow,
    /// They are assigned, and not all in sync.
    Wait,
    /// All are in sync; the leader is another.
    Lead,
    /// A wished replica leads. Until it has given a sign of life nobody deletes a copy: it may be registered and dead, and
    /// lose what it had not synced. 0.9.0.1 does not wait.
    HandOver,
    /// A wished replica leads; others are assigned, or still have copies.
    Shrink,
    /// The others were told to delete their copies. Until they have, nobody may wish them back: the word, arriving late,
    /// would take from them what they had got anew. 0.9.0.1 does not wait.
    Delete,
    /// Only the record is left to be put right.
    Finish,
}

/// Takes in a wish: partitions that cannot or need not be moved are named in the plan's removal.
/// Partitions that are on the move already are passed over. One that a former controller has begun to
/// move goes on also if a target is away meanwhile; 0.9.0.1 leaves it with all its replicas then
/// (KAFKA-4214).
pub fn requested(context: &mut Context, wished: BTreeMap<TopicPartition, Vec<BrokerId>>) -> Plan {
    let mut plan = Plan::default();
    let mut done = Vec::new();
    for (at, to) in wished {
        if context.reassignments.contains_key(&at) {
            continue;
        }
        let missing: Vec<BrokerId> = to
            .iter()
            .copied()
            .filter(|id| !context.is_registered(*id))
            .collect();
        let Some(partition) = context.partition(&at) else {
            error!(target: CONTROLLER,
                "[Controller {}]: Error completing reassignment of partition {at}: it does not exist", context.me);
            done.push(at);
            continue;
        };
        let underway = partition.replica_states.keys().any(|id| !to.contains(id));
        let grown = to.iter().all(|id| partition.replica_states.contains_key(id));
        if context.is_doomed(&at.topic) {
            warn!(target: CONTROLLER,
                "[PartitionsReassignedListener on {}]: Skipping reassignment of partition {at} for topic {} since it is currently being deleted",
                context.me, at.topic);
            done.push(at);
        } else if partition.replicas == to && !underway {
            info!(target: CONTROLLER,
                "[Controller {}]: Partition {at} to be reassigned is already assigned to replicas {}. Ignoring request for partition reassignment",
                context.me, Ids(&to));
            done.push(at);
        } else if to.is_empty() || (!missing.is_empty() && !grown) {
            error!(target: CONTROLLER,
                "[Controller {}]: Only replicas [{}] out of the new set of replicas [{}] for partition {at} to be reassigned are alive. Failing partition reassignment",
                context.me,
                Ids(&to.iter().copied().filter(|id| !missing.contains(id)).collect::<Vec<_>>()), Ids(&to));
            done.push(at);
        } else {
            info!(target: CONTROLLER,
                "[Controller {}]: Handling reassignment of partition {at} to new replicas {}", context.me, Ids(&to));
            context.reassignments.insert(at, to);
        }
    }
    if !done.is_empty() {
        plan.removals.push(Removal::Reassignment(done));
    }
    plan
}

/// How far the partition is; none if it is not being moved.
pub fn stage(context: &Context, at: &TopicPartition) -> Option<Stage> {
    let to = context.reassignments.get(at)?;
    let partition = context.partition(at)?;
    let leadership = partition.leadership.as_ref()?;
    let grown = to.iter().all(|id| partition.replica_states.contains_key(id));
    let in_sync = to.iter().all(|id| leadership.isr.contains(id));
    if !grown {
        return Some(Stage::Grow);
    }
    if !in_sync {
        return Some(Stage::Wait);
    }
    if !to.contains(&leadership.leader) || !context.is_registered(leadership.leader) {
        return Some(Stage::Lead);
    }
    let other = |(id, _): &(&BrokerId, &ReplicaState)| !to.contains(id);
    let mut others = partition.replica_states.iter().filter(other);
    let since = context.handing_over.get(at);
    let heard = since.is_some_and(|since| context.is_heard(leadership.leader, *since));
    Some(match others.clone().next() {
        None if partition.replicas == *to => Stage::Finish,
        None => Stage::Shrink,
        Some(_) if others.all(|(_, state)| *state == ReplicaState::DeletionStarted) => Stage::Delete,
        Some(_) if heard => Stage::Shrink,
        Some(_) => Stage::HandOver,
    })
}

/// The stage that each partition reached when it was last taken further.
pub type Reached = BTreeMap<TopicPartition, Stage>;

/// The next step of every reassignment whose stage is another than the one reached; none when there is
/// no such. The caller carries it out and asks again. One of whose in-sync replicas it is not settled who stays waits: the
/// better copy may be one that is to be deleted.
pub fn advance_all(context: &mut Context, reached: &mut Reached) -> Option<Plan> {
    let mut plan = None;
    for at in context.reassignments.keys().cloned().collect::<Vec<_>>() {
        let next = stage(context, &at).filter(|stage| reached.get(&at) != Some(stage));
        let Some(stage) = next.filter(|_| trust::in_question(context, &at).is_none()) else {
            continue;
        };
        reached.insert(at.clone(), stage);
        let step = advance(context, &at);
        plan.get_or_insert_with(Plan::default).merge(step);
    }
    plan
}

/// Brokers are gone: nobody waits for what they were to delete.
pub fn brokers_failed(context: &mut Context, gone: &[BrokerId]) {
    for at in context.reassignments.keys().cloned().collect::<Vec<_>>() {
        for id in gone {
            if context.replica_state(&at, *id) == ReplicaState::DeletionStarted {
                context.move_replica(&at, *id, ReplicaState::NonExistent);
            }
        }
    }
}

/// The next step of one partition's reassignment.
fn advance(context: &mut Context, at: &TopicPartition) -> Plan {
    let mut plan = Plan::default();
    let Some(stage) = stage(context, at) else {
        return plan;
    };
    let Some(to) = context.reassignments.get(at).cloned() else {
        return plan;
    };
    let Some(partition) = context.partition(at) else {
        return plan;
    };
    let others: Vec<BrokerId> = partition
        .replica_states
        .keys()
        .copied()
        .filter(|id| !to.contains(id))
        .collect();
    if matches!(stage, Stage::Grow | Stage::Wait | Stage::Lead) {
        // A sign of life from before somebody else was to lead says too little.
        context.handing_over.remove(at);
    }
    let Some(partition) = context.partition_mut(at) else {
        return plan;
    };
    match stage {
        Stage::Grow => {
            let mut all = to.clone();
            all.extend(partition.replicas.iter().copied().filter(|id| !to.contains(id)));
            partition.replicas = all.clone();
            for id in &to {
                if context.replica_state(at, *id) == ReplicaState::NonExistent {
                    context.move_replica(at, *id, ReplicaState::New);
                    context.move_replica(at, *id, ReplicaState::Online);
                }
            }
            plan.assignments.push((at.clone(), all.clone()));
            plan.aims.push((at.clone(), Aim::Renew(all)));
        }
        Stage::Wait | Stage::Delete => {}
        Stage::Lead => plan.aims.push((at.clone(), Aim::LeadAmong(to))),
        Stage::HandOver => {
            if !context.handing_over.contains_key(at) {
                context.moment += 1;
                context.handing_over.insert(at.clone(), context.moment);
                plan.before.update_brokers();
            }
        }
        Stage::Shrink => {
            partition.replicas = to;
            plan.aims.push((at.clone(), Aim::Without(others.clone())));
            for id in others {
                context.move_replica(at, id, ReplicaState::Offline);
                if context.is_registered(id) {
                    context.move_replica(at, id, ReplicaState::DeletionStarted);
                    plan.after.stop_replica(id, at, true);
                } else {
                    // As in 0.9.0.1 it keeps what it has.
                    context.move_replica(at, id, ReplicaState::NonExistent);
                }
            }
        }
        Stage::Finish => {
            context.reassignments.remove(at);
            context.handing_over.remove(at);
            info!(target: CONTROLLER,
                "[Controller {}]: Partition {at} is reassigned to {}", context.me, Ids(&to));
            plan.assignments.push((at.clone(), to));
            plan.after.update_metadata(at);
            plan.removals.push(Removal::Reassignment(vec![at.clone()]));
            plan.merge(deletion::resume(context, &at.topic));
        }
    }
    plan
}
