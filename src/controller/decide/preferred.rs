//! Moving leaderships to preferred replicas, as asked for and by itself. Pure.

use std::collections::BTreeMap;

use ::log::{debug, info, warn};

use super::super::aim::Aim;
use super::super::context::{CONTROLLER, Context, List, Partition};
use super::super::plan::{Plan, Removal};
use super::deletion;
use crate::cluster::{BrokerId, TopicPartition};

/// Somebody wrote a list of partitions to elect the preferred leader of. The wish's znode goes with the
/// plan whatever comes of the elections; partitions unknown or being deleted are passed over. After the
/// plan is carried out, call [`finished`].
pub fn requested(context: &mut Context, wished: Vec<TopicPartition>) -> Plan {
    let mut plan = Plan::default();
    for at in wished {
        if context.partition(&at).is_none() || context.is_doomed(&at.topic) {
            warn!(target: CONTROLLER,
                "[PreferredReplicaElectionListener on {}]: Skipping preferred replica election for partition {at}: it does not exist or is being deleted",
                context.me);
        } else if context.preferring.insert(at.clone()) {
            plan.aims.push((at, Aim::Prefer));
        }
    }
    info!(target: CONTROLLER,
        "[Controller {}]: Starting preferred replica leader election for partitions {}",
        context.me, List(plan.aims.iter().map(|(at, _)| at)));
    plan.removals.push(Removal::PreferredElection);
    plan
}

/// The elections are over: topics that waited for them may be deleted.
pub fn finished(context: &mut Context) -> Plan {
    let mut plan = Plan::default();
    for at in std::mem::take(&mut context.preferring) {
        plan.merge(deletion::resume(context, &at.topic));
    }
    plan
}

/// Partitions led by another than their preferred replica.
pub fn led_elsewhere(context: &Context) -> Vec<TopicPartition> {
    let elsewhere = |p: &Partition| {
        let leader = p.leadership.as_ref().map(|l| l.leader);
        leader.is_some() && leader != p.replicas.first().copied()
    };
    context
        .partitions()
        .filter(|(_, p)| elsewhere(p))
        .map(|(at, _)| at)
        .collect()
}

/// Leaderships to give back because a living broker leads too few of those it is preferred for.
///
/// Nothing while a reassignment or an election is under way.
pub fn balance(context: &Context) -> Plan {
    let mut plan = Plan::default();
    if !context.reassignments.is_empty() || !context.preferring.is_empty() {
        return plan;
    }
    let mut elsewhere: BTreeMap<BrokerId, (usize, Vec<TopicPartition>)> = BTreeMap::new();
    for (at, partition) in context
        .partitions()
        .filter(|(at, _)| !context.is_doomed(&at.topic))
    {
        let Some(preferred) = partition.replicas.first() else {
            continue;
        };
        let (all, moved) = elsewhere.entry(*preferred).or_default();
        *all += 1;
        if partition
            .leadership
            .as_ref()
            .is_some_and(|l| l.leader != *preferred)
        {
            moved.push(at);
        }
    }
    for (id, (all, moved)) in elsewhere {
        let percent = moved.len() * 100 / all.max(1);
        debug!(target: CONTROLLER, "leader imbalance ratio for broker {id} is {percent} percent");
        let above =
            moved.len() * 100 > all * usize::try_from(context.rules.imbalance_percentage).unwrap_or(0);
        if above && context.is_live(id) {
            // A replica that is not back in the ISR yet would only be refused, once per interval.
            let ready = |at: &TopicPartition| {
                let leadership = context.partition(at).and_then(|p| p.leadership.as_ref());
                leadership.is_some_and(|l| l.isr.contains(&id))
            };
            plan.aims
                .extend(moved.into_iter().filter(ready).map(|at| (at, Aim::Prefer)));
        }
    }
    plan
}
