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
use super::super::context::{CONTROLLER, Context, Ids, Partition, STATE_CHANGE};
use super::super::plan::{Expect, Outcome, StateWrite};
use super::super::state::{PartitionState, ReplicaState};
use super::leader::{self, Choice, Refusal};
use super::trust;
use crate::cluster::{BrokerId, LeaderAndIsr, LeaderEpoch, TopicPartition};

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
        let question = trust::in_question(context, &at);
        if let Some(ids) = question.filter(|_| !matches!(aim, Aim::Evict(_))) {
            trace!(target: STATE_CHANGE,
                "Controller {} epoch {} waits with partition {at}: none of the ISR but [{}], which went or came back, has answered yet",
                context.me, context.epoch, Ids(&ids));
            waiting += 1;
            let awaiting = context.awaiting.entry(at).or_default();
            if !awaiting.contains(&aim) {
                awaiting.push(aim);
            }
            continue;
        }
        match one(context, &at, &aim) {
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

/// A change of one partition's state.
struct Change {
    expect: Expect,
    leader: BrokerId,
    isr: Vec<BrokerId>,
    receivers: Vec<BrokerId>,
    unclean: bool,
}

impl Change {
    fn into_write(self, context: &Context, at: TopicPartition, aim: Aim) -> StateWrite {
        let previous = context.partition(&at).and_then(|p| p.leadership.as_ref());
        StateWrite {
            leadership: LeaderAndIsr {
                leader: self.leader,
                leader_epoch: previous.map_or(LeaderEpoch(0), |l| LeaderEpoch(l.leader_epoch.0 + 1)),
                isr: self.isr,
                controller_epoch: context.epoch,
                zk_version: previous.map_or(0, |l| l.zk_version),
            },
            at,
            expect: self.expect,
            aim,
            receivers: self.receivers,
            unclean: self.unclean,
        }
    }
}

fn one(context: &Context, at: &TopicPartition, aim: &Aim) -> Result<Option<Change>, Refusal> {
    let Some(partition) = context.partition(at) else {
        return Ok(None);
    };
    let Some(leadership) = &partition.leadership else {
        return match aim {
            Aim::Lead | Aim::Fence => create(context, at, partition).map(Some),
            _ => Err(Refusal::StateChangeFailed(format!("{at} has never had a leader"))),
        };
    };
    let registered = |ids: &[BrokerId]| -> Vec<BrokerId> {
        ids.iter()
            .copied()
            .filter(|id| context.is_registered(*id))
            .collect()
    };
    let expect = Expect::Version(leadership.zk_version);
    let led = |choice: Choice, receivers: Vec<BrokerId>| {
        Some(Change {
            expect,
            leader: choice.leader,
            isr: choice.isr,
            unclean: choice.unclean,
            receivers,
        })
    };
    let assigned = || registered(&partition.replicas);
    match aim {
        Aim::Lead => lead(context, at, partition, leadership),
        Aim::Fence => Ok(lead(context, at, partition, leadership)?.or_else(|| {
            Some(Change {
                expect,
                leader: leadership.leader,
                isr: leadership.isr.clone(),
                receivers: assigned(),
                unclean: false,
            })
        })),
        Aim::Evict(ids) => match evict(context, partition, leadership, ids) {
            None => lead(context, at, partition, leadership),
            evicted => Ok(evicted),
        },
        Aim::Prefer => {
            let choice = leader::preferred(context, at, partition, leadership)?;
            Ok(led(choice, assigned()))
        }
        Aim::Leave(id) if leadership.leader == *id => {
            let choice = leader::controlled_shutdown(context, at, leadership)?;
            Ok(led(choice, assigned()))
        }
        Aim::Leave(id) => Ok(without(&[*id], leadership).map(|(leader, isr)| Change {
            expect,
            leader,
            isr,
            receivers: assigned().into_iter().filter(|other| other != id).collect(),
            unclean: false,
        })),
        Aim::LeadAmong(new) => {
            let choice = leader::reassigned(context, at, new, leadership)?;
            Ok(led(choice, assigned()))
        }
        Aim::Renew(to) => Ok(Some(Change {
            expect,
            leader: leadership.leader,
            isr: leadership.isr.clone(),
            receivers: registered(to),
            unclean: false,
        })),
        Aim::Without(ids) => {
            let unchanged = || (leadership.leader, leadership.isr.clone());
            let (leader, isr) = without(ids, leadership).unwrap_or_else(unchanged);
            let mut receivers = assigned();
            receivers.retain(|id| !ids.contains(id));
            Ok(Some(Change {
                expect,
                leader,
                isr,
                receivers,
                unclean: false,
            }))
        }
    }
}

/// The first leader of a new partition: the first assigned replica that lives.
fn create(context: &Context, at: &TopicPartition, partition: &Partition) -> Result<Change, Refusal> {
    let live = |id: &BrokerId| context.is_live(*id);
    let isr: Vec<BrokerId> = partition.replicas.iter().copied().filter(live).collect();
    match isr.first() {
        Some(leader) => Ok(Change {
            expect: Expect::Absent,
            leader: *leader,
            receivers: isr.clone(),
            isr,
            unclean: false,
        }),
        None => Err(Refusal::StateChangeFailed(format!(
            "encountered error during state change of partition {at} from New to Online, assigned replicas are [{}], live brokers are [{}]. No assigned replica is alive.",
            Ids(&partition.replicas),
            super::super::context::List(context.brokers.keys())
        ))),
    }
}

/// A partition that has been led: gives it a leader if that is gone, and takes members that are gone out of the
/// ISR.
///
/// With nobody to lead, the leader becomes none and the ISR stays what it was: whoever of it returns
/// first has all that was acknowledged. (0.9.0.1 with unclean elections allowed empties the ISR and then
/// counts that return as unclean.)
fn lead(
    context: &Context,
    at: &TopicPartition,
    partition: &Partition,
    leadership: &LeaderAndIsr,
) -> Result<Option<Change>, Refusal> {
    let there = |ids: &[BrokerId]| -> Vec<BrokerId> {
        ids.iter()
            .copied()
            .filter(|id| context.is_registered(*id))
            .collect()
    };
    let change = |leader, isr, unclean| {
        Some(Change {
            expect: Expect::Version(leadership.zk_version),
            leader,
            isr,
            receivers: there(&partition.replicas),
            unclean,
        })
    };
    if context.is_registered(leadership.leader) {
        let isr = there(&leadership.isr);
        let shrinks = isr.len() < leadership.isr.len() && !isr.is_empty();
        return Ok(if shrinks {
            change(leadership.leader, isr, false)
        } else {
            None
        });
    }
    trace!(target: STATE_CHANGE,
        "Controller {} epoch {} started leader election for partition {at}", context.me, context.epoch);
    match leader::offline(context, at, partition, leadership) {
        Ok(choice) => Ok(change(choice.leader, choice.isr, choice.unclean)),
        Err(Refusal::NoReplicaOnline(why)) if leadership.leader != BrokerId::NONE => {
            error!(target: STATE_CHANGE,
                "Controller {} epoch {} encountered error while electing leader for partition {at} due to: {why}.",
                context.me, context.epoch);
            Ok(change(BrokerId::NONE, leadership.isr.clone(), false))
        }
        Err(refusal) => Err(refusal),
    }
}

/// Only those of the ISR that are not of `ids` lead and are in it; none if there are no such.
fn evict(
    context: &Context,
    partition: &Partition,
    leadership: &LeaderAndIsr,
    ids: &[BrokerId],
) -> Option<Change> {
    let registered = |id: &BrokerId| context.is_registered(*id);
    let stays = |id: &BrokerId| registered(id) && !ids.contains(id);
    let isr: Vec<BrokerId> = leadership.isr.iter().copied().filter(stays).collect();
    // One that a reassignment is to remove may be the only one left.
    let all = partition.replicas.iter().chain(&isr);
    let mut fit = all.filter(|id| isr.contains(id));
    let leader = match isr.contains(&leadership.leader) {
        true => leadership.leader,
        false => *fit.clone().find(|id| context.is_live(**id)).or(fit.next())?,
    };
    (isr != leadership.isr).then(|| Change {
        expect: Expect::Version(leadership.zk_version),
        leader,
        isr,
        receivers: partition.replicas.iter().copied().filter(registered).collect(),
        unclean: false,
    })
}

/// Leader and ISR without these replicas; none if nothing changes. The last member stays in the ISR.
fn without(ids: &[BrokerId], leadership: &LeaderAndIsr) -> Option<(BrokerId, Vec<BrokerId>)> {
    let mut isr: Vec<BrokerId> = leadership.isr.clone();
    isr.retain(|id| !ids.contains(id));
    if isr.is_empty() {
        isr = leadership.isr.clone();
    }
    let leader = match ids.contains(&leadership.leader) {
        true => BrokerId::NONE,
        false => leadership.leader,
    };
    (leader != leadership.leader || isr.len() < leadership.isr.len()).then_some((leader, isr))
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
