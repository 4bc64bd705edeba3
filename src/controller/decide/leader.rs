//! Who leads next (kafka.controller.PartitionLeaderSelector): one function per rule, each from the
//! partition as it stands to a choice or a reason why there is none. Pure.

use crate::cluster::{BrokerId, LeaderAndIsr, TopicPartition};

use super::super::context::{Context, Ids, Partition};

/// A leader with its in-sync replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Who leads.
    pub leader: BrokerId,
    /// The ISR it starts with; the leader is in it.
    pub isr: Vec<BrokerId>,
    /// Whether the leader comes from outside the ISR.
    pub unclean: bool,
}

/// Why no choice was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody who may lead lives.
    #[error("{0}")]
    NoReplicaOnline(String),
    /// The rule cannot be followed now; the partition stays as it is.
    #[error("{0}")]
    StateChangeFailed(String),
    /// It is already so.
    #[error("{0}")]
    NotNeeded(String),
    /// An out-of-sync replica could lead, and whether this topic allows that has not been read.
    #[error("whether topic {0} allows unclean elections is not known")]
    UncleanRuleUnknown(String),
}

/// Whether the offline rule, applied now, depends on the topic's `unclean.leader.election.enable`.
pub fn needs_unclean_rule(context: &Context, partition: &Partition, leadership: &LeaderAndIsr) -> bool {
    let may_lead = |id: &BrokerId| context.is_registered(*id) || context.returning.contains(id);
    !leadership.isr.iter().any(may_lead) && partition.replicas.iter().any(|id| context.is_live(*id))
}

/// The offline rule, for a partition whose leader is gone.
///
/// 1. The first assigned replica that lives and is in the ISR; the ISR becomes its registered members. One that is shutting
///    down leaves it when it is let go.
/// 2. Else one that is shutting down but still there and in the ISR: it has every acknowledged message,
///    where 0.9.0.1 would go on to rule 4.
/// 3. Else nobody, if an ISR member is just coming back.
/// 4. Else, if the topic allows unclean elections, the first assigned replica that lives, alone; one that
///    a reassignment is just adding only if there is no other, as it may be empty.
pub fn offline(
    context: &Context,
    at: &TopicPartition,
    partition: &Partition,
    leadership: &LeaderAndIsr,
) -> Result<Choice, Refusal> {
    let in_sync = |id: &BrokerId| leadership.isr.contains(id);
    let clean = |there: &dyn Fn(BrokerId) -> bool| {
        let leader = partition.replicas.iter().find(|id| there(**id) && in_sync(id))?;
        let isr = leadership.isr.iter().copied();
        Some(Choice {
            leader: *leader,
            isr: isr.filter(|id| context.is_registered(*id)).collect(),
            unclean: false,
        })
    };
    if let Some(choice) = clean(&|id| context.is_live(id)).or_else(|| clean(&|id| context.is_registered(id)))
    {
        return Ok(choice);
    }
    if let Some(back) = leadership.isr.iter().find(|id| context.returning.contains(id)) {
        return Err(Refusal::NoReplicaOnline(format!(
            "Broker {back}, in the ISR of partition {at}, has just come back"
        )));
    }
    let live = |id: &&BrokerId| context.is_live(**id);
    let added = |id: &BrokerId| context.reassignments.get(at).is_some_and(|to| to.contains(id));
    let mut candidates = partition.replicas.iter().filter(live);
    let first = candidates.clone().next();
    let Some(leader) = candidates.find(|id| !added(id)).or(first) else {
        return Err(Refusal::NoReplicaOnline(format!(
            "No replica for partition {at} is alive. Live brokers are: [{}], Assigned replicas are: [{}]",
            live_brokers(context),
            Ids(&partition.replicas)
        )));
    };
    match context.unclean_by_topic.get(&at.topic) {
        None => Err(Refusal::UncleanRuleUnknown(at.topic.to_string())),
        Some(false) => Err(Refusal::NoReplicaOnline(format!(
            "No broker in ISR for partition {at} is alive. Live brokers are: [{}], ISR brokers are: [{}]",
            live_brokers(context),
            Ids(&leadership.isr)
        ))),
        Some(true) => Ok(Choice {
            leader: *leader,
            isr: vec![*leader],
            unclean: true,
        }),
    }
}

/// The preferred rule: the first assigned replica, which must live and be in the ISR.
pub fn preferred(
    context: &Context,
    at: &TopicPartition,
    partition: &Partition,
    leadership: &LeaderAndIsr,
) -> Result<Choice, Refusal> {
    let Some(preferred) = partition.replicas.first() else {
        return Err(Refusal::StateChangeFailed(format!(
            "Partition {at} has no replicas"
        )));
    };
    if leadership.leader == *preferred {
        return Err(Refusal::NotNeeded(format!(
            "Preferred replica {preferred} is already the current leader for partition {at}"
        )));
    }
    if !context.is_live(*preferred) || !leadership.isr.contains(preferred) {
        return Err(Refusal::StateChangeFailed(format!(
            "Preferred replica {preferred} for partition {at} is either not alive or not in the isr. Current leader and ISR: [{}; {}]",
            leadership.leader,
            Ids(&leadership.isr)
        )));
    }
    Ok(Choice {
        leader: *preferred,
        isr: leadership.isr.clone(),
        unclean: false,
    })
}

/// The controlled-shutdown rule: the first ISR member, in ISR order, that is there and not shutting
/// down; the ISR loses all that shut down.
pub fn controlled_shutdown(
    context: &Context,
    at: &TopicPartition,
    leadership: &LeaderAndIsr,
) -> Result<Choice, Refusal> {
    let stays = |id: &BrokerId| !context.shutting_down.contains_key(id);
    let isr: Vec<BrokerId> = leadership.isr.iter().copied().filter(stays).collect();
    match isr.iter().find(|id| context.is_live(**id)) {
        Some(leader) => Ok(Choice {
            leader: *leader,
            unclean: false,
            isr,
        }),
        None => Err(Refusal::StateChangeFailed(format!(
            "No other replicas in ISR {} for {at} besides shutting down brokers {}",
            Ids(&leadership.isr),
            super::super::context::List(context.shutting_down.keys())
        ))),
    }
}

/// The reassignment rule: the first of the new replicas that lives and is in the ISR.
pub fn reassigned(
    context: &Context,
    at: &TopicPartition,
    new: &[BrokerId],
    leadership: &LeaderAndIsr,
) -> Result<Choice, Refusal> {
    let fit = |id: &&BrokerId| context.is_live(**id) && leadership.isr.contains(id);
    match new.iter().find(fit) {
        Some(leader) => Ok(Choice {
            leader: *leader,
            isr: leadership.isr.clone(),
            unclean: false,
        }),
        None => Err(Refusal::NoReplicaOnline(format!(
            "None of the reassigned replicas for partition {at} are in-sync with the leader. ISR [{}], reassigned replicas [{}]",
            Ids(&leadership.isr),
            Ids(new)
        ))),
    }
}

fn live_brokers(context: &Context) -> String {
    let live: Vec<BrokerId> = context
        .brokers
        .keys()
        .copied()
        .filter(|id| context.is_live(*id))
        .collect();
    Ids(&live).to_string()
}
