//! Who gets which partition: the old consumer's two rules (PartitionAssignor). Every member of a group
//! computes the whole assignment for itself, so the result must be that of a genuine member, bit by
//! bit. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::TopicPartition;
use crate::util::java;

/// What the members know when they assign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The partitions of each topic that anybody subscribes, ascending.
    pub partitions: BTreeMap<String, Vec<i32>>,
    /// The thread ids of each topic, in string order.
    pub threads: BTreeMap<String, BTreeSet<String>>,
}

/// Roundrobin needs every topic to have the same threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "round-robin assignment needs all consumers of the group to subscribe to the same topics with the same number of streams"
)]
pub struct Uneven;

/// The rules by their names in `partition.assignment.strategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Topic by topic, neighbours together.
    Range,
    /// All topics' partitions dealt out in turn.
    RoundRobin,
}

impl Strategy {
    /// The rule of that name.
    pub fn parse(name: &str) -> Option<Strategy> {
        match name {
            "range" => Some(Strategy::Range),
            "roundrobin" => Some(Strategy::RoundRobin),
            _ => None,
        }
    }

    /// Every partition's thread. Partitions of topics without threads have none.
    pub fn assign(self, group: &Group) -> Result<BTreeMap<TopicPartition, String>, Uneven> {
        match self {
            Strategy::Range => Ok(range(group)),
            Strategy::RoundRobin => round_robin(group),
        }
    }
}

fn range(group: &Group) -> BTreeMap<TopicPartition, String> {
    let mut owners = BTreeMap::new();
    for (topic, threads) in &group.threads {
        let partitions = group.partitions.get(topic).map_or(&[][..], Vec::as_slice);
        if threads.is_empty() {
            continue;
        }
        let (each, extra) = (partitions.len() / threads.len(), partitions.len() % threads.len());
        for (i, thread) in threads.iter().enumerate() {
            let from = each * i + i.min(extra);
            let count = each + usize::from(i < extra);
            for partition in &partitions[from..from + count] {
                owners.insert(TopicPartition::new(topic.as_str(), *partition), thread.clone());
            }
        }
    }
    owners
}

fn round_robin(group: &Group) -> Result<BTreeMap<TopicPartition, String>, Uneven> {
    let mut sets = group.threads.values();
    let Some(threads) = sets.next() else {
        return Ok(BTreeMap::new());
    };
    if sets.any(|other| other != threads) {
        return Err(Uneven);
    }
    let mut all: Vec<TopicPartition> = group
        .threads
        .keys()
        .flat_map(|topic| {
            let partitions = group.partitions.get(topic).map_or(&[][..], Vec::as_slice);
            partitions
                .iter()
                .map(move |p| TopicPartition::new(topic.as_str(), *p))
        })
        .collect();
    // Equal hashes keep topic and partition order here; in Kafka their order is that of a hash map.
    all.sort_by_key(|tp| java::string_hash(&tp.to_string()));
    Ok(all.into_iter().zip(threads.iter().cycle().cloned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(topics: &[(&str, i32, &[&str])]) -> Group {
        let mut g = Group::default();
        for (topic, count, threads) in topics {
            g.partitions.insert((*topic).into(), (0..*count).collect());
            g.threads
                .insert((*topic).into(), threads.iter().map(|t| (*t).to_owned()).collect());
        }
        g
    }

    fn of(owners: &BTreeMap<TopicPartition, String>, thread: &str) -> Vec<String> {
        owners
            .iter()
            .filter(|(_, t)| *t == thread)
            .map(|(tp, _)| tp.to_string())
            .collect()
    }

    #[test]
    fn range_gives_the_first_threads_one_more() {
        let g = group(&[("a", 5, &["c1-0", "c2-0"]), ("b", 1, &["c1-0", "c2-0"])]);
        let owners = Strategy::Range.assign(&g).unwrap();
        assert_eq!(of(&owners, "c1-0"), ["[a,0]", "[a,1]", "[a,2]", "[b,0]"]);
        assert_eq!(of(&owners, "c2-0"), ["[a,3]", "[a,4]"]);
    }

    #[test]
    fn range_orders_threads_as_strings() {
        let threads: Vec<String> = (0..12).map(|i| format!("c-{i}")).collect();
        let refs: Vec<&str> = threads.iter().map(String::as_str).collect();
        let owners = Strategy::Range.assign(&group(&[("t", 3, &refs)])).unwrap();
        assert_eq!(of(&owners, "c-0"), ["[t,0]"]);
        assert_eq!(of(&owners, "c-1"), ["[t,1]"]);
        assert_eq!(of(&owners, "c-10"), ["[t,2]"]);
        assert!(of(&owners, "c-2").is_empty());
    }

    #[test]
    fn round_robin_deals_in_the_order_of_java_hashes() {
        for (text, hash) in [
            ("[a,0]", 86_974_003),
            ("[a,1]", 86_974_034),
            ("[b,0]", 87_003_794),
        ] {
            assert_eq!(java::string_hash(text), hash);
        }
        let g = group(&[("a", 2, &["x-0", "y-0"]), ("b", 1, &["x-0", "y-0"])]);
        let owners = Strategy::RoundRobin.assign(&g).unwrap();
        assert_eq!(of(&owners, "x-0"), ["[a,0]", "[b,0]"]);
        assert_eq!(of(&owners, "y-0"), ["[a,1]"]);
        // A long topic's hash is negative and comes first.
        let long = "a-rather-long-topic";
        assert!(java::string_hash(&format!("[{long},0]")) != 0);
    }

    #[test]
    fn round_robin_refuses_topics_with_different_threads() {
        let g = group(&[("a", 2, &["x-0"]), ("b", 1, &["x-0", "y-0"])]);
        assert_eq!(Strategy::RoundRobin.assign(&g), Err(Uneven));
    }
}
