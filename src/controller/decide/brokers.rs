//! Brokers that come, go, bounce and ask to leave. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ::log::info;

use super::super::aim::Aim;
use super::super::context::{CONTROLLER, Context, Ids, LiveBroker};
use super::super::plan::Plan;
use super::super::state::{PartitionState, ReplicaState};
use super::{deletion, reassign, trust};
use crate::cluster::{BrokerId, LeaderAndIsr, TopicPartition};

/// How the registered brokers differ from those known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Known and no longer registered, or registered anew.
    pub gone: Vec<BrokerId>,
    /// Registered and not known before, or anew.
    pub come: BTreeMap<BrokerId, LiveBroker>,
}

impl Difference {
    /// Brokers that are both: they went and came back between two looks (KAFKA-1120).
    pub fn bounced(&self) -> Vec<BrokerId> {
        self.gone
            .iter()
            .copied()
            .filter(|id| self.come.contains_key(id))
            .collect()
    }
}

/// Compares what is registered with what is known.
pub fn difference(context: &Context, registered: &BTreeMap<BrokerId, LiveBroker>) -> Difference {
    let same = |id: &BrokerId, czxid: i64| context.brokers.get(id).is_some_and(|b| b.czxid == czxid);
    let gone = context
        .brokers
        .iter()
        .filter(|(id, known)| registered.get(id).is_none_or(|now| now.czxid != known.czxid));
    let come = registered.iter().filter(|(id, now)| !same(id, now.czxid));
    Difference {
        gone: gone.map(|(id, _)| *id).collect(),
        come: come.map(|(id, now)| (*id, now.clone())).collect(),
    }
}

/// Takes brokers that are gone out of the context, moves their leaderships and shrinks their ISRs, as soon as a member that
/// stays has given a sign of life ([`trust`]).
///
/// Every living broker hears at once who lives, also when no leadership changes. Those of the brokers
/// that are back already, and of which [`started`] will be told next, are named by `returning`.
pub fn failed(context: &mut Context, gone: &[BrokerId], returning: &[BrokerId]) -> Plan {
    context.returning.extend(returning);
    info!(target: CONTROLLER, "[Controller {}]: Broker failure callback for {}", context.me, Ids(gone));
    let leaving: Vec<BrokerId> = gone
        .iter()
        .copied()
        .filter(|id| context.shutting_down.remove(id).is_some())
        .collect();
    info!(target: CONTROLLER,
        "[Controller {}]: Removed {} from list of shutting down brokers.", context.me, Ids(&leaving));
    for id in gone {
        context.brokers.remove(id);
    }
    trust::gone(context, gone);
    let mut plan = Plan::default();
    // Before anything is decided: that waits for an answer.
    plan.before.update_brokers();
    let mut fences = Vec::new();
    for (at, id) in replicas_on(context, gone) {
        if context.is_deleting(&at.topic) {
            continue;
        }
        if context.partition(&at).is_some_and(|p| p.leader() == id) {
            context.move_partition(&at, PartitionState::Offline);
        }
        context.move_replica(&at, id, ReplicaState::Offline);
        let leadership = context.partition(&at).and_then(|p| p.leadership.as_ref());
        match leadership {
            Some(l) if l.leader == id || l.isr.contains(&id) => plan.aims.push((at, Aim::Lead)),
            // The leader may have taken it in by now, or be about to: it would stand in the ISR when it
            // comes back, whatever it has lost.
            Some(_) => fences.push((at, Aim::Fence)),
            None => {}
        }
    }
    plan.aims.extend(fences);
    // A partition with several replicas on brokers that are gone is decided once.
    let mut seen = BTreeSet::new();
    plan.aims.retain(|(at, _)| seen.insert(at.clone()));
    trust::release(context, &mut plan);
    reassign::brokers_failed(context, gone);
    plan.merge(deletion::brokers_failed(context, gone));
    plan
}

/// Takes in brokers that came: they hear of everything and are told their roles, the others hear who
/// lives, and partitions without a leader are tried again.
///
/// `states` is what stands in ZooKeeper of the partitions that they share with others, with the transactions that wrote
/// it. None of them is in an ISR unless its leader took it in while it was not registered, as it does with one that has
/// lost ZooKeeper alone: such an entry says nothing of what it has now.
pub fn started(
    context: &mut Context,
    come: BTreeMap<BrokerId, LiveBroker>,
    states: BTreeMap<TopicPartition, (LeaderAndIsr, i64)>,
) -> Plan {
    let ids: Vec<BrokerId> = come.keys().copied().collect();
    info!(target: CONTROLLER, "[Controller {}]: New broker startup callback for {}", context.me, Ids(&ids));
    context.brokers.extend(come);
    context.returning.clear();
    context.moment += 1;
    for (at, (state, zxid)) in states {
        trust::take_in(context, &at, state, zxid);
    }
    let mut plan = Plan::default();
    // Before any LeaderAndIsr: a follower refuses a leader that it has not heard of.
    plan.before.update_brokers();
    for id in &ids {
        plan.before.update_metadata_in_full(*id);
    }
    for (at, id) in replicas_on(context, &ids) {
        if !context.is_deleting(&at.topic) {
            context.move_replica(&at, id, ReplicaState::Online);
            if !trust::leads_no_more(context, &at, id) {
                plan.after.role(id, &at);
            }
        }
    }
    plan.aims = leaderless(context);
    trust::release(context, &mut plan);
    plan.merge(deletion::brokers_started(context, &ids));
    plan
}

/// A wish for each partition that has no living leader.
pub fn leaderless(context: &Context) -> Vec<(TopicPartition, Aim)> {
    context
        .partitions()
        .filter(|(_, p)| !context.is_registered(p.leader()))
        .map(|(at, _)| (at, Aim::Lead))
        .collect()
}

/// Each replica on one of these brokers.
fn replicas_on(context: &Context, ids: &[BrokerId]) -> Vec<(TopicPartition, BrokerId)> {
    let mut found = Vec::new();
    for (at, partition) in context.partitions() {
        for id in partition.replicas.iter().filter(|id| ids.contains(id)) {
            found.push((at.clone(), *id));
        }
    }
    found
}

/// Why a broker may not leave in order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlledShutdownError {
    /// This broker is not the acting controller (error 11 on the wire).
    #[error("this broker is not the controller")]
    NotController,
    /// No broker of that id is registered (error 8 on the wire).
    #[error("Broker id {0} does not exist.")]
    BrokerNotAvailable(BrokerId),
    /// It has registered anew since it asked: the network held the request (error 8 on the wire).
    #[error("Broker {0} asked for it before its present registration.")]
    FormerLife(BrokerId),
}

/// A broker wants to go: its leaderships move and it leaves every ISR, all in one plan, when one that stays has given a sign
/// of life ([`trust`]). Partitions with a single replica stay where they are.
///
/// # Errors
/// See [`ControlledShutdownError`].
pub fn leaves(
    context: &mut Context,
    id: BrokerId,
    registration: Option<i64>,
) -> Result<Plan, ControlledShutdownError> {
    let Some(live) = context.brokers.get(&id) else {
        return Err(ControlledShutdownError::BrokerNotAvailable(id));
    };
    if registration.is_some_and(|czxid| czxid < live.czxid) {
        // To obey would leave the broker that lives out of everything for good.
        let refusal = ControlledShutdownError::FormerLife(id);
        info!(target: CONTROLLER, "[Controller {}]: Not shutting down broker {id}: {refusal}", context.me);
        return Err(refusal);
    }
    info!(target: CONTROLLER, "[Controller {}]: Shutting down broker {id}", context.me);
    context.moment += 1;
    context.shutting_down.insert(id, context.moment);
    let mut plan = Plan::default();
    for (at, _) in replicas_on(context, &[id]) {
        let Some(partition) = context.partition(&at) else {
            continue;
        };
        if partition.replicas.len() < 2 || context.is_deleting(&at.topic) {
            continue;
        }
        if partition.leader() != id {
            context.move_replica(&at, id, ReplicaState::Offline);
        }
        let aim = Aim::Leave(id);
        if trust::waits_for(context, &at, &aim).is_none() {
            trust::wish(&mut plan, at, aim);
        } else {
            plan.before.update_brokers();
            plan.aims.push((at, aim));
        }
    }
    Ok(plan)
}

/// Partitions of which one of these brokers is one of several replicas.
pub fn shared_with(context: &Context, ids: &[BrokerId]) -> Vec<TopicPartition> {
    context
        .partitions()
        .filter(|(_, p)| p.replicas.len() > 1 && p.replicas.iter().any(|id| ids.contains(id)))
        .map(|(at, _)| at)
        .collect()
}

/// Whether a wish of the broker to go waits for others.
pub fn waits_to_go(context: &Context, id: BrokerId) -> bool {
    let mut waiting = context.awaiting.values().flatten();
    waiting.any(|aim| *aim == Aim::Leave(id))
}

/// Partitions with several replicas that the broker still leads.
pub fn still_led(context: &Context, id: BrokerId) -> Vec<TopicPartition> {
    context
        .partitions()
        .filter(|(_, p)| p.leader() == id && p.replicas.len() > 1)
        .map(|(at, _)| at)
        .collect()
}
