//! From wishes to conditional writes, and from their outcomes to what the controller knows and sends
//! (kafka.controller.PartitionStateMachine, and ReplicaStateMachine's changes of the ISR). Pure.
//!
//! [`decide`] looks at each partition as it stands in the [`Context`]; the caller performs the writes;
//! [`settle`] takes in what came of them and returns the wishes to decide again, those whose znode had
//! been changed by the partition's leader meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use ::log::{error, info, trace, warn};

use super::super::aim::Aim;
use super::super::batch::RequestBatch;
use super::super::context::{CONTROLLER, Context, Ids, STATE_CHANGE};
use super::super::plan::{Expect, Outcome, StateWrite};
use super::super::state::{PartitionState, ReplicaState};
use super::leader::{self, Refusal};
use super::{change, trust};
use crate::cluster::{BrokerId, LeaderAndIsr, TopicPartition};

/// Topics whose rule about unclean elections must be read before these wishes can be decided.
pub fn topics_to_ask(context: &Context, aims: &[(TopicPartition, Aim)]) -> BTreeSet<Arc<str>> {
    let undecided = |(at, aim): &&(TopicPartition, Aim)| {
        let partition = context.partition(at);
        let leadership = partition.and_then(|p| p.leadership.as_ref());
        aim.elects()
            && !context.unclean_by_topic.contains_key(&at.topic)
            && partition.zip(leadership).is_some_and(|(p, l)| {
                !context.is_registered(l.leader) && leader::needs_unclean_rule(context, p, l)
            })
    };
    aims.iter()
        .filter(undecided)
        .map(|(at, _)| at.topic.clone())
        .collect()
}

/// What is to be written for these wishes. A wish that is fulfilled or cannot be fulfilled now writes
/// nothing; the latter is logged. Partitions of topics being deleted are left alone. While it is not settled who of an ISR
/// stays, nothing is written that would name the others again, by which the next controller would take them for
/// trustworthy: the wish waits ([`trust`]).
pub fn decide(context: &mut Context, aims: Vec<(TopicPartition, Aim)>) -> Vec<StateWrite> {
    let mut writes = Vec::with_capacity(aims.len());
    let mut waiting = 0;
    for (at, aim) in aims {
        if context.is_deleting(&at.topic) {
            continue;
        }
        if let Some(ids) = trust::waits_for(context, &at, &aim) {
            trace!(target: STATE_CHANGE,
                "Controller {} epoch {} waits with partition {at}: none of the ISR but [{}], which went, came back or want to go, has answered yet",
                context.me, context.epoch, Ids(&ids));
            waiting += 1;
            let awaiting = context.awaiting.entry(at).or_default();
            if !awaiting.contains(&aim) {
                // What else is wished is decided beside a living leader.
                let place = if aim.elects() { 0 } else { awaiting.len() };
                awaiting.insert(place, aim);
            }
            continue;
        }
        match change::of(context, &at, &aim) {
            Ok(Some(change)) => writes.push(change.into_write(context, at, aim)),
            Ok(None) => {
                // A leader that lives needs no write to be counted as one.
                let partition = context.partition(&at);
                if partition.is_some_and(|p| context.is_registered(p.leader())) {
                    context.move_partition(&at, PartitionState::Online);
                }
            }
            Err(Refusal::NotNeeded(why)) => {
                info!(target: STATE_CHANGE, "Controller {} epoch {}: {why}", context.me, context.epoch);
            }
            Err(refusal) => error!(target: STATE_CHANGE,
                "Controller {} epoch {} encountered error while electing leader for partition {at} due to: {refusal}.",
                context.me, context.epoch),
        }
    }
    if waiting > 0 {
        info!(target: CONTROLLER,
            "[Controller {}]: {waiting} changes wait until an in-sync replica that stays has answered", context.me);
    }
    writes
}

/// What [`settle`] leaves to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Wishes to decide again.
    pub again: Vec<(TopicPartition, Aim)>,
    /// Unclean elections that took place.
    pub unclean: u64,
    /// A newer controller has decided about one of the partitions: this one's reign is over.
    pub fenced: bool,
}

/// Takes in what came of writes, and adds to `batch` whom to tell.
pub fn settle(
    context: &mut Context,
    outcomes: Vec<(StateWrite, Outcome)>,
    batch: &mut RequestBatch,
) -> Settled {
    let mut settled = Settled::default();
    for (write, outcome) in outcomes {
        match outcome {
            Outcome::Written(version) => {
                settled.unclean += u64::from(write.unclean);
                written(context, write, version, batch);
            }
            Outcome::Found(Some(found)) => {
                if found.controller_epoch > context.epoch {
                    error!(target: STATE_CHANGE,
                        "Controller {} epoch {} found that controller epoch {} has decided about partition {}; it steps down",
                        context.me, context.epoch, found.controller_epoch, write.at);
                    settled.fenced = true;
                }
                let Some(partition) = context.partition_mut(&write.at) else {
                    continue;
                };
                partition.leadership = Some(found);
                if write.expect == Expect::Absent {
                    // Led before this controller knew; all its replicas hear of it.
                    let replicas = partition.replicas.clone();
                    batch.leader_and_isr(&replicas, &write.at);
                    replicas_told(context, &write.at);
                } else {
                    batch.update_metadata(&write.at);
                }
                let aim = match write.aim {
                    // What was written meanwhile is of a leader that has judged for itself.
                    Aim::Evict(_) => Aim::Lead,
                    aim => aim,
                };
                settled.again.push((write.at, aim));
            }
            Outcome::Found(None) => error!(target: STATE_CHANGE,
                "Controller {} epoch {} found no state of partition {} in ZooKeeper; it is left as it is",
                context.me, context.epoch, write.at),
            Outcome::Failed(why) => error!(target: STATE_CHANGE,
                "Controller {} epoch {} initiated state change for partition {} failed: {why}",
                context.me, context.epoch, write.at),
        }
    }
    settled
}

fn written(context: &mut Context, write: StateWrite, version: i32, batch: &mut RequestBatch) {
    let at = &write.at;
    let leadership = LeaderAndIsr {
        zk_version: version,
        ..write.leadership
    };
    if write.unclean {
        let previous = context.partition(at).and_then(|p| p.leadership.as_ref());
        warn!(target: CONTROLLER,
            "[OfflinePartitionLeaderSelector]: No broker in ISR is alive for {at}. Elected leader {} from outside the ISR {}. There's potential data loss.",
            leadership.leader, Ids(previous.map_or(&[], |l| &l.isr)));
    }
    if write.expect != Expect::Absent {
        info!(target: CONTROLLER,
            "[Controller {}]: New leader and ISR for partition {at} is {{\"leader\":{},\"leader_epoch\":{},\"isr\":[{}]}}",
            context.me, leadership.leader, leadership.leader_epoch, Ids(&leadership.isr));
    }
    let state = match leadership.leader {
        BrokerId::NONE => PartitionState::Offline,
        _ => PartitionState::Online,
    };
    let Some(partition) = context.partition_mut(at) else {
        return;
    };
    partition.leadership = Some(leadership);
    context.move_partition(at, state);
    batch.leader_and_isr(&write.receivers, at);
    if write.expect == Expect::Absent {
        replicas_told(context, at);
    }
}

/// New replicas have heard of their partition; those whose brokers are gone will when these return.
fn replicas_told(context: &mut Context, at: &TopicPartition) {
    let replicas = context
        .partition(at)
        .map(|p| p.replicas.clone())
        .unwrap_or_default();
    for id in replicas {
        let state = match context.is_registered(id) {
            true => ReplicaState::Online,
            false => ReplicaState::Offline,
        };
        context.move_replica(at, id, state);
    }
}
