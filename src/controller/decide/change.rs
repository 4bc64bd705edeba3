//! What one wish makes of one partition as it stands. Pure.

use ::log::{error, trace};

use super::super::aim::Aim;
use super::super::context::{Context, Ids, List, Partition, STATE_CHANGE};
use super::super::plan::{Expect, StateWrite};
use super::leader::{self, Choice, Refusal};
use crate::cluster::{BrokerId, LeaderAndIsr, LeaderEpoch, TopicPartition};

/// A change of one partition's state.
pub(super) struct Change {
    expect: Expect,
    leader: BrokerId,
    isr: Vec<BrokerId>,
    receivers: Vec<BrokerId>,
    unclean: bool,
}

impl Change {
    /// As it is to be written, for that wish.
    pub(super) fn into_write(self, context: &Context, at: TopicPartition, aim: Aim) -> StateWrite {
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

/// What the wish changes; none if nothing.
///
/// # Errors
/// It cannot be fulfilled now.
pub(super) fn of(context: &Context, at: &TopicPartition, aim: &Aim) -> Result<Option<Change>, Refusal> {
    let Some(partition) = context.partition(at) else {
        return Ok(None);
    };
    let Some(leadership) = &partition.leadership else {
        return match aim {
            aim if aim.elects() => create(context, at, partition).map(Some),
            _ => Err(Refusal::StateChangeFailed(format!("{at} has never had a leader"))),
        };
    };
    let registered = |ids: &[BrokerId]| registered(context, ids);
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
        Aim::Leave(id) => {
            let mut others = leadership.isr.iter().filter(|other| *other != id);
            if !others.any(|other| context.is_registered(*other)) {
                return Err(Refusal::StateChangeFailed(format!(
                    "No other replica in ISR {} for {at} is registered besides broker {id}, which shuts down",
                    Ids(&leadership.isr)
                )));
            }
            Ok(without(&[*id], leadership).map(|(leader, isr)| Change {
                expect,
                leader,
                isr,
                receivers: assigned().into_iter().filter(|other| other != id).collect(),
                unclean: false,
            }))
        }
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

/// Those of the brokers that are registered.
fn registered(context: &Context, ids: &[BrokerId]) -> Vec<BrokerId> {
    let ids = ids.iter().copied();
    ids.filter(|id| context.is_registered(*id)).collect()
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
            List(context.brokers.keys())
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
    let there = |ids: &[BrokerId]| registered(context, ids);
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
    let mut isr = registered(context, &leadership.isr);
    isr.retain(|id| !ids.contains(id));
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
        receivers: registered(context, &partition.replicas),
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
