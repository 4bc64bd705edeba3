//! Whom of an in-sync set to believe, and when a member may be put out of it. Pure.
//!
//! A member that registered after the set was written has been started again since, and may have lost what made it a
//! member: it went and came back while nobody acted as controller, or its leader took it in while it was not registered.
//! It is *doubted*. A member that is not registered any more is *gone*; it may live all the same, without its session, and
//! have everything.
//!
//! Neither is put out of the set before one that stays has given a sign of life since: who stays may be registered and
//! dead, and to lose what it had not synced. So nothing is decided about the partition until it has answered something that was
//! sent after that, and then the doubted and the gone leave the set by the very write that decides. If it goes instead, they are
//! as good as any. So it is with a broker that wants to go.
//!
//! Nothing may be written that names a doubted member again, or one that is gone and may be back already, as the next
//! controller would compare its registration with that; and a doubted member that its leader has taken in meanwhile, having
//! seen that it has everything, is doubted no more.

use std::collections::BTreeSet;

use super::super::aim::Aim;
use super::super::context::{Context, Doubt};
use super::super::plan::Plan;
use crate::cluster::{BrokerId, LeaderAndIsr, TopicPartition};

/// Takes in a partition's state as it stands in ZooKeeper, written by the transaction `zxid`. The brokers must be known
/// already, and every broker must be told something after that: an answer settles what is doubted.
pub(super) fn take_in(context: &mut Context, at: &TopicPartition, leadership: LeaderAndIsr, zxid: i64) {
    let registered = leadership.isr.iter().filter_map(|id| context.brokers.get(id));
    let returned = registered.filter(|live| live.czxid > zxid);
    let doubt = Doubt {
        ids: returned.map(|live| live.broker.id).collect(),
        zk_version: leadership.zk_version,
        since: context.moment,
    };
    if let Some(partition) = context.partition_mut(at) {
        partition.leadership = Some(leadership);
        match doubt.ids.is_empty() {
            true => context.doubts.remove(at),
            false => context.doubts.insert(at.clone(), doubt),
        };
    }
}

/// Brokers are gone: what they said before counts no more, and neither does what they wished.
pub(super) fn gone(context: &mut Context, ids: &[BrokerId]) {
    context.moment += 1;
    context.gone_since = context.moment;
    context.heard.retain(|id, _| !ids.contains(id));
    for aims in context.awaiting.values_mut() {
        aims.retain(|aim| !matches!(aim, Aim::Leave(id) if ids.contains(id)));
    }
}

/// The members of a partition's ISR, by what is known of them.
struct Members<'a> {
    leader: BrokerId,
    doubted: &'a [BrokerId],
    gone: Vec<BrokerId>,
    stay: Vec<BrokerId>,
    /// Since when one that stays must be heard.
    since: u64,
}

impl<'a> Members<'a> {
    /// Who is doubted while a better member is registered; `None` if nobody is.
    fn worse(&self) -> Option<&'a [BrokerId]> {
        (!self.doubted.is_empty() && !self.stay.is_empty()).then_some(self.doubted)
    }

    /// Whether who stays must be heard before anything is decided, and has not been.
    fn are_in_question(&self, context: &Context) -> bool {
        let heard = |id: &BrokerId| context.is_heard(*id, self.since);
        let settled = match self.stay.contains(&self.leader) {
            // What another hears says nothing of who leads.
            true => heard(&self.leader),
            false => self.stay.iter().any(heard),
        };
        !self.stay.is_empty() && !settled
    }
}

fn members<'a>(context: &'a Context, at: &TopicPartition) -> Option<Members<'a>> {
    let leadership = context.partition(at)?.leadership.as_ref()?;
    let doubt = context.doubts.get(at);
    let doubt = doubt.filter(|doubt| doubt.zk_version == leadership.zk_version);
    let doubted = doubt.map_or(&[][..], |doubt| &doubt.ids);
    let (registered, gone): (Vec<BrokerId>, _) = leadership
        .isr
        .iter()
        .copied()
        .partition(|id| context.is_registered(*id));
    Some(Members {
        leader: leadership.leader,
        since: match (doubt, gone.is_empty()) {
            (None, _) => context.gone_since,
            (Some(doubt), true) => doubt.since,
            (Some(doubt), false) => doubt.since.max(context.gone_since),
        },
        stay: registered
            .into_iter()
            .filter(|id| !doubted.contains(id))
            .collect(),
        doubted,
        gone,
    })
}

/// Members of whom it is not settled yet whether they are put out; `None` if there are none such, and decisions can be made.
pub(super) fn in_question(context: &Context, at: &TopicPartition) -> Option<Vec<BrokerId>> {
    let members = members(context, at)?;
    if let Some(ids) = members.worse() {
        return Some(ids.to_vec());
    }
    (!members.gone.is_empty() && members.are_in_question(context)).then_some(members.gone)
}

/// Those on whose account a wish must wait: as [`in_question`], and a broker that wants to go, too, leaves when one that
/// stays has given a sign of life since.
pub(super) fn waits_for(context: &Context, at: &TopicPartition, aim: &Aim) -> Option<Vec<BrokerId>> {
    let leaves = |id: &BrokerId| {
        let mut members = members(context, at)?;
        members.since = *context.shutting_down.get(id)?;
        members.stay.retain(|member| context.is_live(*member));
        members.are_in_question(context).then(|| vec![*id])
    };
    match aim {
        // It has been settled.
        Aim::Evict(_) => None,
        Aim::Leave(id) => in_question(context, at).or_else(|| leaves(id)),
        _ => in_question(context, at),
    }
}

/// Whether the broker is the leader and doubted: it is not told that it leads before nobody better is there.
pub(super) fn leads_no_more(context: &Context, at: &TopicPartition, id: BrokerId) -> bool {
    let worse =
        |members: Members| members.leader == id && members.worse().is_some_and(|ids| ids.contains(&id));
    members(context, at).is_some_and(worse)
}

/// A broker, as it was registered by the transaction `czxid`, has answered what was sent at that moment, so it lives: where
/// it is better than those who are doubted, these leave the ISR, and what waited goes on. What a former life of it answered
/// says nothing.
pub fn heard(context: &mut Context, id: BrokerId, czxid: i64, moment: u64) -> Plan {
    let mut plan = Plan::default();
    if context.brokers.get(&id).is_none_or(|live| live.czxid != czxid) {
        return plan;
    }
    let last = context.heard.entry(id).or_default();
    *last = moment.max(*last);
    let settles = |at: &TopicPartition| {
        let members = members(context, at)?;
        let ids = members.worse()?;
        (!members.are_in_question(context)).then(|| (at.clone(), Aim::Evict(ids.to_vec())))
    };
    plan.aims = context.doubts.keys().filter_map(settles).collect();
    for (at, _) in &plan.aims {
        context.doubts.remove(at);
        // The eviction is as much as these.
        if let Some(awaiting) = context.awaiting.get_mut(at) {
            awaiting.retain(|aim| !aim.elects());
        }
    }
    release(context, &mut plan);
    plan
}

/// Adds the wishes that need not wait any more, but for elections where the plan has one already.
pub(super) fn release(context: &mut Context, plan: &mut Plan) {
    if context.awaiting.is_empty() {
        return;
    }
    let elections = plan.aims.iter().filter(|(_, aim)| aim.elects());
    let elected: BTreeSet<_> = elections.map(|(at, _)| at.clone()).collect();
    for (at, aims) in std::mem::take(&mut context.awaiting) {
        for aim in aims {
            if waits_for(context, &at, &aim).is_some() {
                context.awaiting.entry(at.clone()).or_default().push(aim);
            } else if !aim.elects() || !elected.contains(&at) {
                wish(plan, at.clone(), aim);
            }
        }
    }
}

/// Adds a wish that need not wait.
pub(super) fn wish(plan: &mut Plan, at: TopicPartition, aim: Aim) {
    if let Aim::Leave(id) = aim {
        // Also where it led: it would follow the new leader and be taken in again by that. One that still leads heeds
        // it not.
        plan.after.stop_replica(id, &at, false);
    }
    plan.aims.push((at, aim));
}
