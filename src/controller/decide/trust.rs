//! Whom of an in-sync set to believe. Pure.
//!
//! A member that registered after the set was written has been started again since, and may have lost what made it a
//! member: it went and came back while nobody acted as controller, or its leader took it in while it was not registered.
//! It is doubted as long as another member is registered from before. That one is better, if it lives: it may be
//! registered and dead, or stand still. So nothing is decided about the partition until it has answered, and then the
//! doubted leave the set by the very write that decides. If it goes instead, the doubted are the best there is.
//!
//! Nothing may be written that names a doubted member again, as the next controller would compare its registration with
//! that; and a doubted member that its leader has taken in meanwhile, having seen that it has everything, is doubted no more.

use super::super::aim::Aim;
use super::super::context::{Context, Doubt};
use super::super::plan::Plan;
use crate::cluster::{BrokerId, LeaderAndIsr, TopicPartition};

/// Takes in a partition's state as it stands in ZooKeeper, written by the transaction `zxid`. The brokers must be known
/// already, and every broker must be told something after that: an answer settles what is doubted.
pub(super) fn take_in(context: &mut Context, at: &TopicPartition, leadership: LeaderAndIsr, zxid: i64) {
    let registered = leadership.isr.iter().filter_map(|id| context.brokers.get(id));
    let returned = registered.filter(|live| live.czxid > zxid);
    let ids: Vec<BrokerId> = returned.map(|live| live.broker.id).collect();
    let zk_version = leadership.zk_version;
    if let Some(partition) = context.partition_mut(at) {
        partition.leadership = Some(leadership);
        match ids.is_empty() {
            true => context.doubts.remove(at),
            false => context.doubts.insert(at.clone(), Doubt { ids, zk_version }),
        };
    }
}

/// Who of the ISR is doubted while a better member is registered; `None` if nobody is.
pub(super) fn doubted<'a>(context: &'a Context, at: &TopicPartition) -> Option<&'a [BrokerId]> {
    let doubt = context.doubts.get(at)?;
    let leadership = context.partition(at)?.leadership.as_ref()?;
    let better = |id: &BrokerId| context.is_registered(*id) && !doubt.ids.contains(id);
    let holds = doubt.zk_version == leadership.zk_version && leadership.isr.iter().any(better);
    holds.then_some(&doubt.ids)
}

/// Whether the broker is the leader and doubted: it is not told that it leads before nobody better is there.
pub(super) fn leads_no_more(context: &Context, at: &TopicPartition, id: BrokerId) -> bool {
    let leads = context.partition(at).is_some_and(|p| p.leader() == id);
    leads && doubted(context, at).is_some_and(|ids| ids.contains(&id))
}

/// A broker, as it was registered by the transaction `czxid`, has answered, so it lives: where it is better than those
/// who are doubted, these leave the ISR, and what waited goes on. What a former life of it answered says nothing.
pub fn heard(context: &mut Context, id: BrokerId, czxid: i64) -> Plan {
    let mut plan = Plan::default();
    let present = context.brokers.get(&id).is_some_and(|live| live.czxid == czxid);
    if !present || context.doubts.is_empty() {
        return plan;
    }
    let settles = |at: &TopicPartition| {
        let leadership = context.partition(at)?.leadership.as_ref()?;
        let ids = doubted(context, at)?;
        // Who leads and stayed must be heard itself: what another hears says nothing of it.
        let led = context.is_registered(leadership.leader) && !ids.contains(&leadership.leader);
        let settles = match led {
            true => leadership.leader == id,
            false => leadership.isr.contains(&id) && !ids.contains(&id),
        };
        settles.then(|| (at.clone(), Aim::Evict(ids.to_vec())))
    };
    plan.aims = context.doubts.keys().filter_map(settles).collect();
    for (at, _) in &plan.aims {
        context.doubts.remove(at);
        // The eviction is as much as these.
        if let Some(awaiting) = context.awaiting.get_mut(at) {
            awaiting.retain(|aim| !matches!(aim, Aim::Lead | Aim::Fence));
        }
    }
    plan.aims.extend(released(context));
    plan
}

/// The wishes that need not wait any more.
pub(super) fn released(context: &mut Context) -> Vec<(TopicPartition, Aim)> {
    let awaiting = std::mem::take(&mut context.awaiting).into_iter();
    let (still, free): (Vec<_>, Vec<_>) = awaiting.partition(|(at, _)| doubted(context, at).is_some());
    context.awaiting.extend(still);
    let each = |(at, aims): (TopicPartition, Vec<Aim>)| aims.into_iter().map(move |aim| (at.clone(), aim));
    free.into_iter().flat_map(each).collect()
}
