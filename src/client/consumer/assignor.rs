//! Who gets which partition: the rules of the Java client (RangeAssignor, RoundRobinAssignor). The leader
//! of a group, whichever client it is, computes it for all by the rule that all members know. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::settings::AssignmentStrategy;
use crate::cluster::TopicPartition;

/// What each member wants, by member id.
pub(super) type Subscriptions = BTreeMap<String, BTreeSet<String>>;

impl AssignmentStrategy {
    /// The name by which members agree on it.
    pub fn name(self) -> &'static str {
        match self {
            AssignmentStrategy::Range => "range",
            AssignmentStrategy::RoundRobin => "roundrobin",
        }
    }

    /// Everybody's share, an empty one too. `counts` has each topic's number of partitions; topics that
    /// are not there, or have none, have nothing to share.
    pub(super) fn assign(
        self,
        members: &Subscriptions,
        counts: &BTreeMap<String, i32>,
    ) -> BTreeMap<String, Vec<TopicPartition>> {
        let mut shares: BTreeMap<String, Vec<TopicPartition>> =
            members.keys().map(|m| (m.clone(), Vec::new())).collect();
        match self {
            AssignmentStrategy::Range => range(members, counts, &mut shares),
            AssignmentStrategy::RoundRobin => round_robin(members, counts, &mut shares),
        }
        shares
    }
}

fn topics(members: &Subscriptions) -> BTreeSet<&String> {
    members.values().flatten().collect()
}

fn range(
    members: &Subscriptions,
    counts: &BTreeMap<String, i32>,
    shares: &mut BTreeMap<String, Vec<TopicPartition>>,
) {
    for topic in topics(members) {
        let wanting: Vec<&String> = members
            .iter()
            .filter(|(_, wanted)| wanted.contains(topic))
            .map(|(member, _)| member)
            .collect();
        let partitions = counts.get(topic).copied().unwrap_or(0).max(0);
        let n = i32::try_from(wanting.len()).unwrap_or(i32::MAX);
        let (each, extra) = (partitions / n, partitions % n);
        let mut next = 0;
        for (i, member) in (0..).zip(wanting) {
            let end = next + each + i32::from(i < extra);
            if let Some(share) = shares.get_mut(member) {
                share.extend((next..end).map(|p| TopicPartition::new(topic.as_str(), p)));
            }
            next = end;
        }
    }
}

fn round_robin(
    members: &Subscriptions,
    counts: &BTreeMap<String, i32>,
    shares: &mut BTreeMap<String, Vec<TopicPartition>>,
) {
    let mut turn = members.iter().cycle().peekable();
    for topic in topics(members) {
        for partition in 0..counts.get(topic).copied().unwrap_or(0) {
            // Ends: the topic is there because somebody wants it.
            while turn.next_if(|(_, wanted)| !wanted.contains(topic)).is_some() {}
            if let Some((member, _)) = turn.next()
                && let Some(share) = shares.get_mut(member)
            {
                share.push(TopicPartition::new(topic.as_str(), partition));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(wants: &[(&str, &[&str])]) -> Subscriptions {
        wants
            .iter()
            .map(|(member, topics)| {
                let topics = topics.iter().map(|t| (*t).to_owned()).collect();
                ((*member).to_owned(), topics)
            })
            .collect()
    }

    fn counts(counts: &[(&str, i32)]) -> BTreeMap<String, i32> {
        counts.iter().map(|(t, n)| ((*t).to_owned(), *n)).collect()
    }

    fn shares(
        strategy: AssignmentStrategy,
        wants: &[(&str, &[&str])],
        topics: &[(&str, i32)],
    ) -> Vec<String> {
        strategy
            .assign(&members(wants), &counts(topics))
            .into_iter()
            .map(|(member, share)| {
                let share: Vec<String> = share.iter().map(TopicPartition::dir_name).collect();
                format!("{member}: {}", share.join(" "))
            })
            .collect()
    }

    #[test]
    fn range_gives_neighbours_topic_by_topic_and_the_first_members_one_more() {
        let range = AssignmentStrategy::Range;
        let both: &[(&str, &[&str])] = &[("b", &["t", "u"]), ("a", &["t", "u"])];
        assert_eq!(
            shares(range, both, &[("t", 3), ("u", 3)]),
            ["a: t-0 t-1 u-0 u-1", "b: t-2 u-2"]
        );
        let some: &[(&str, &[&str])] = &[("a", &["t"]), ("b", &["t", "u"]), ("c", &["t"])];
        assert_eq!(
            shares(range, some, &[("t", 3), ("u", 2)]),
            ["a: t-0", "b: t-1 u-0 u-1", "c: t-2"]
        );
        let ten: &[(&str, &[&str])] = &[("m-10", &["t"]), ("m-2", &["t"])];
        assert_eq!(
            shares(range, ten, &[("t", 1)]),
            ["m-10: t-0", "m-2: "],
            "ids are ordered as strings"
        );
    }

    #[test]
    fn round_robin_deals_all_partitions_and_skips_who_does_not_want_the_topic() {
        let deal = AssignmentStrategy::RoundRobin;
        let both: &[(&str, &[&str])] = &[("a", &["t", "u"]), ("b", &["t", "u"])];
        assert_eq!(
            shares(deal, both, &[("t", 3), ("u", 3)]),
            ["a: t-0 t-2 u-1", "b: t-1 u-0 u-2"]
        );
        let some: &[(&str, &[&str])] = &[("a", &["t"]), ("b", &["t", "u"]), ("c", &["t"])];
        assert_eq!(
            shares(deal, some, &[("t", 3), ("u", 2)]),
            ["a: t-0", "b: t-1 u-0 u-1", "c: t-2"]
        );
    }

    #[test]
    fn topics_that_nobody_knows_are_skipped() {
        for strategy in [AssignmentStrategy::Range, AssignmentStrategy::RoundRobin] {
            let wants: &[(&str, &[&str])] = &[("a", &["gone", "t"])];
            assert_eq!(shares(strategy, wants, &[("t", 1), ("gone", 0)]), ["a: t-0"]);
            assert_eq!(shares(strategy, &[], &[("t", 1)]), Vec::<String>::new());
        }
    }
}
