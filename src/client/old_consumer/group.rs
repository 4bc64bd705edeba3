//! The group as its znodes show it, and what follows for one member: which partitions are its own.
//! A core: the same view gives every member the same answer. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::assignor::{Group, Strategy, Uneven};
use super::listener::Assignment;
use crate::client::topic_filter::TopicFilter;
use crate::cluster::TopicPartition;
use crate::zookeeper::znodes::consumer::{Pattern, Registration};

/// What stood in ZooKeeper at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    /// The members by consumer id.
    pub(super) members: BTreeMap<String, Registration>,
    /// All topics that exist.
    pub(super) topics: BTreeSet<String>,
    /// The partitions of those that anybody in the group wants.
    pub(super) partitions: BTreeMap<String, BTreeSet<i32>>,
}

/// A partition for one of this member's threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mine {
    pub(super) partition: TopicPartition,
    /// Which of the member's threads, from 0.
    pub(super) thread: usize,
    /// Its id as it stands in the owner node.
    pub(super) thread_id: String,
}

/// The id of a member's thread.
pub(super) fn thread_id(consumer: &str, thread: usize) -> String {
    format!("{consumer}-{thread}")
}

/// How many threads a member has for each topic.
///
/// A pattern that cannot be read wants nothing: its own member could not have started either.
pub(super) fn threads_by_topic(
    registration: &Registration,
    topics: &BTreeSet<String>,
    exclude_internal: bool,
) -> BTreeMap<String, usize> {
    let count = |n: i32| usize::try_from(n).unwrap_or(0);
    let filter = |raw: &str| match registration.pattern {
        Pattern::WhiteList => TopicFilter::whitelist(raw).ok(),
        Pattern::BlackList => TopicFilter::blacklist(raw).ok(),
        Pattern::Static => None,
    };
    match registration.pattern {
        Pattern::Static => registration
            .subscription
            .iter()
            .map(|(topic, n)| (topic.clone(), count(*n)))
            .collect(),
        Pattern::WhiteList | Pattern::BlackList => registration
            .subscription
            .iter()
            .filter_map(|(raw, n)| Some((filter(raw)?, count(*n))))
            .flat_map(|(f, n)| {
                let wanted = topics.iter().filter(move |t| f.takes(t, exclude_internal));
                wanted.map(move |t| (t.clone(), n)).collect::<Vec<_>>()
            })
            .collect(),
    }
}

impl View {
    /// Every topic that any member wants.
    pub(super) fn wanted_topics(&self, exclude_internal: bool) -> BTreeSet<String> {
        self.members
            .values()
            .flat_map(|r| threads_by_topic(r, &self.topics, exclude_internal).into_keys())
            .collect()
    }

    /// The topics that `me` wants.
    pub(super) fn topics_of(&self, me: &str, exclude_internal: bool) -> BTreeSet<String> {
        let mine = self.members.get(me);
        mine.map(|r| {
            threads_by_topic(r, &self.topics, exclude_internal)
                .into_keys()
                .collect()
        })
        .unwrap_or_default()
    }

    /// The threads of `me` that get nothing of a topic, and that topic.
    pub(super) fn idle_threads(
        &self,
        me: &str,
        mine: &[Mine],
        exclude_internal: bool,
    ) -> Vec<(String, String)> {
        let Some(registration) = self.members.get(me) else {
            return Vec::new();
        };
        let wanted = threads_by_topic(registration, &self.topics, exclude_internal);
        let busy = |topic: &str, thread: usize| {
            let same = |m: &&Mine| m.thread == thread && *m.partition.topic == *topic;
            mine.iter().any(|m| same(&m))
        };
        wanted
            .into_iter()
            .flat_map(|(topic, count)| (0..count).map(move |i| (topic.clone(), i)))
            .filter(|(topic, i)| !busy(topic, *i))
            .map(|(topic, i)| (thread_id(me, i), topic))
            .collect()
    }

    pub(super) fn group(&self, exclude_internal: bool) -> Group {
        let mut group = Group::default();
        for (consumer, registration) in &self.members {
            for (topic, count) in threads_by_topic(registration, &self.topics, exclude_internal) {
                let threads = group.threads.entry(topic).or_default();
                threads.extend((0..count).map(|i| thread_id(consumer, i)));
            }
        }
        for (topic, partitions) in &self.partitions {
            group
                .partitions
                .insert(topic.clone(), partitions.iter().copied().collect());
        }
        group
    }

    /// The thread of every partition that anybody in the group wants.
    pub(super) fn assignment(
        &self,
        strategy: Strategy,
        exclude_internal: bool,
    ) -> Result<Assignment, Uneven> {
        strategy.assign(&self.group(exclude_internal))
    }

    /// The partitions of `me` in an assignment.
    pub(super) fn partitions_of(&self, me: &str, assignment: &Assignment) -> Vec<Mine> {
        let prefix = format!("{me}-");
        assignment
            .iter()
            .filter_map(|(partition, thread_id)| {
                // Another member's id may begin with ours; only a number may follow.
                let thread = thread_id.strip_prefix(&prefix)?.parse().ok()?;
                let known = self.members.get(me)?.subscription.iter().map(|(_, n)| *n).max()?;
                (i32::try_from(thread).ok()? < known).then(|| Mine {
                    partition: partition.clone(),
                    thread,
                    thread_id: thread_id.clone(),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::clock::WallMs;

    fn member(pattern: Pattern, subscription: &[(&str, i32)]) -> Registration {
        Registration {
            subscription: subscription.iter().map(|(t, n)| ((*t).to_owned(), *n)).collect(),
            pattern,
            timestamp: WallMs(0),
        }
    }

    fn view(members: &[(&str, Registration)], topics: &[(&str, i32)]) -> View {
        View {
            members: members
                .iter()
                .map(|(id, r)| ((*id).to_owned(), r.clone()))
                .collect(),
            topics: topics.iter().map(|(t, _)| (*t).to_owned()).collect(),
            partitions: topics
                .iter()
                .map(|(t, n)| ((*t).to_owned(), (0..*n).collect()))
                .collect(),
        }
    }

    fn mine(v: &View, me: &str) -> Vec<(String, usize)> {
        v.partitions_of(me, &v.assignment(Strategy::Range, true).unwrap())
            .into_iter()
            .map(|m| (m.partition.to_string(), m.thread))
            .collect()
    }

    #[test]
    fn all_members_views_together_cover_every_partition_once() {
        let v = view(
            &[
                ("g_a", member(Pattern::Static, &[("t", 2)])),
                ("g_a-1", member(Pattern::Static, &[("t", 1), ("u", 1)])),
                ("g_b", member(Pattern::WhiteList, &[("t|u", 1)])),
            ],
            &[("t", 7), ("u", 2), ("__consumer_offsets", 50)],
        );
        let mut all: Vec<String> = ["g_a", "g_a-1", "g_b"]
            .iter()
            .flat_map(|m| mine(&v, m))
            .map(|(p, _)| p)
            .collect();
        assert_eq!(all.len(), 9, "{all:?}");
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 9);
    }

    #[test]
    fn a_member_wants_what_its_list_matches_and_internal_topics_only_when_told() {
        let v = view(
            &[("m", member(Pattern::BlackList, &[("b.*", 1)]))],
            &[("a", 1), ("b1", 1), ("__consumer_offsets", 1)],
        );
        assert_eq!(mine(&v, "m"), [("[a,0]".to_owned(), 0)]);
        assert_eq!(v.topics_of("m", false).len(), 2);
        assert_eq!(v.wanted_topics(true).into_iter().collect::<Vec<_>>(), ["a"]);
        assert!(v.topics_of("nobody", true).is_empty());
    }

    #[test]
    fn threads_beyond_a_topics_partitions_are_idle() {
        let v = view(&[("m", member(Pattern::Static, &[("t", 3)]))], &[("t", 2)]);
        let mine = v.partitions_of("m", &v.assignment(Strategy::Range, true).unwrap());
        assert_eq!(
            v.idle_threads("m", &mine, true),
            [("m-2".to_owned(), "t".to_owned())]
        );
        assert!(v.idle_threads("n", &[], true).is_empty());
    }

    #[test]
    fn who_is_not_registered_owns_nothing() {
        let v = view(&[("m", member(Pattern::Static, &[("t", 1)]))], &[("t", 3)]);
        assert!(mine(&v, "n").is_empty());
        assert_eq!(mine(&v, "m").len(), 3);
    }
}
