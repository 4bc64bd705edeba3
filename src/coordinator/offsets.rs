//! The offsets that groups have committed, as one partition of the offsets topic holds them. Pure.
//!
//! Kafka lets an offset expire so long after its commit, whether its group lives or not. Here a group's
//! offsets stay while it has members, and as long again after it lost the last (KIP-211).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::message::Offset;
use crate::util::clock::WallMs;

/// What a group committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next message to read.
    pub offset: Offset,
    /// Kept beside it for the consumer.
    pub metadata: Box<str>,
    /// When it was committed.
    pub at: WallMs,
    /// From when on it may be forgotten.
    pub expires: WallMs,
}

/// When an offset committed at `now` expires: `retention` after the time that the client gives for the
/// commit, if it gives one.
pub fn expiry(now: WallMs, committed: Option<WallMs>, retention: Duration) -> WallMs {
    let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    WallMs(committed.unwrap_or(now).0.saturating_add(retention))
}

/// A committed offset and where its record stands in the log: of two the later one counts, in whatever
/// order they are acknowledged.
#[derive(Clone, Debug)]
struct Entry {
    committed: Committed,
    record: Offset,
}

type Partitions = BTreeMap<i32, Entry>;

/// One group's offsets.
#[derive(Clone, Debug, Default)]
struct GroupOffsets {
    topics: BTreeMap<Arc<str>, Partitions>,
    /// Commits on their way: their records may stand in the log already.
    pending: usize,
    /// Whether somebody was told that offsets are about to expire.
    warned: bool,
    /// Up to when the group was seen to have members.
    lived_until: Option<WallMs>,
}

/// One forgotten offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The group.
    pub group: Arc<str>,
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// What was forgotten.
    pub committed: Committed,
}

/// A group some of whose offsets will expire soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// The group.
    pub group: Arc<str>,
    /// How many.
    pub offsets: usize,
    /// When the first goes.
    pub first: WallMs,
    /// Of which topic that one is.
    pub topic: Arc<str>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct OffsetTable {
    groups: HashMap<Arc<str>, GroupOffsets>,
    /// Topic names, each kept once.
    topics: HashMap<Arc<str>, Arc<str>>,
    count: usize,
}

impl OffsetTable {
    /// How many offsets there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Notes a commit whose record stands at `record`, unless a later one is known.
    pub fn put(&mut self, group: &str, topic: &str, partition: i32, record: Offset, committed: Committed) {
        let topic = match self.topics.get(topic) {
            Some(known) => known.clone(),
            None => {
                let name: Arc<str> = topic.into();
                self.topics.insert(name.clone(), name.clone());
                name
            }
        };
        let of_group = self.group(group);
        of_group.warned = false;
        let of_topic = of_group.topics.entry(topic).or_default();
        match of_topic.get_mut(&partition) {
            Some(entry) if entry.record > record => {}
            Some(entry) => *entry = Entry { committed, record },
            None => {
                of_topic.insert(partition, Entry { committed, record });
                self.count += 1;
            }
        }
    }

    /// Forgets an offset; says whether there was one.
    pub fn remove(&mut self, group: &str, topic: &str, partition: i32) -> bool {
        let Some(of_group) = self.groups.get_mut(group) else {
            return false;
        };
        let Some(of_topic) = of_group.topics.get_mut(topic) else {
            return false;
        };
        if of_topic.remove(&partition).is_none() {
            return false;
        }
        if of_topic.is_empty() {
            of_group.topics.remove(topic);
        }
        self.count -= 1;
        self.tidy(group);
        true
    }

    fn group(&mut self, group: &str) -> &mut GroupOffsets {
        if !self.groups.contains_key(group) {
            self.groups.insert(group.into(), GroupOffsets::default());
        }
        self.groups.get_mut(group).expect("it was just put there")
    }

    fn tidy(&mut self, group: &str) {
        if self
            .groups
            .get(group)
            .is_some_and(|g| g.topics.is_empty() && g.pending == 0)
        {
            self.groups.remove(group);
        }
    }

    /// What a group committed for a partition.
    pub fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        let entry = self.groups.get(group)?.topics.get(topic)?.get(&partition)?;
        Some(&entry.committed)
    }

    /// All that a group committed, by topic and partition.
    pub fn of_group(&self, group: &str) -> impl Iterator<Item = (&Arc<str>, i32, &Committed)> {
        let topics = self.groups.get(group).into_iter().flat_map(|g| &g.topics);
        topics.flat_map(|(topic, partitions)| {
            partitions
                .iter()
                .map(move |(partition, entry)| (topic, *partition, &entry.committed))
        })
    }

    /// A commit of the group goes to the log. Until [`settled`](Self::settled), none of its offsets
    /// expires: the tombstone would stand behind the commit.
    pub fn begin(&mut self, group: &str) {
        self.group(group).pending += 1;
    }

    /// The end of what [`begin`](Self::begin) began.
    pub fn settled(&mut self, group: &str) {
        if let Some(of_group) = self.groups.get_mut(group) {
            of_group.pending = of_group.pending.saturating_sub(1);
        }
        self.tidy(group);
    }

    /// Forgets what has expired at `now` and returns it. `lives` says whether a group has members.
    pub fn expire(&mut self, now: WallMs, lives: impl Fn(&str) -> bool) -> Vec<Expired> {
        let mut expired = Vec::new();
        for (group, offsets) in &mut self.groups {
            if lives(group) {
                offsets.lived_until = Some(now);
                continue;
            }
            if offsets.pending > 0 {
                continue;
            }
            let lived_until = offsets.lived_until;
            for (topic, partitions) in &mut offsets.topics {
                let gone = partitions.extract_if(.., |_, e| expires(&e.committed, lived_until) < now);
                expired.extend(gone.map(|(partition, entry)| Expired {
                    group: group.clone(),
                    topic: topic.clone(),
                    partition,
                    committed: entry.committed,
                }));
            }
            offsets.topics.retain(|_, partitions| !partitions.is_empty());
        }
        self.groups.retain(|_, g| !g.topics.is_empty() || g.pending > 0);
        self.count -= expired.len();
        expired
    }

    /// Groups without members of which offsets expire within `ahead`: each once, until it commits again.
    pub fn expiring(&mut self, now: WallMs, ahead: Duration) -> Vec<Expiring> {
        let until = expiry(now, None, ahead);
        let mut all = Vec::new();
        for (group, offsets) in &mut self.groups {
            let (warned, lived_until) = (offsets.warned, offsets.lived_until);
            if warned || lived_until == Some(now) {
                continue;
            }
            let soon = offsets.topics.iter().flat_map(|(topic, partitions)| {
                let at = partitions.values().map(|e| expires(&e.committed, lived_until));
                at.filter(|at| *at < until).map(move |at| (at, topic))
            });
            let soon: Vec<_> = soon.collect();
            if let Some((first, topic)) = soon.iter().min() {
                offsets.warned = true;
                all.push(Expiring {
                    group: group.clone(),
                    offsets: soon.len(),
                    first: *first,
                    topic: Arc::clone(topic),
                });
            }
        }
        all
    }
}

/// When an offset expires, its group having had members up to `lived_until`.
fn expires(committed: &Committed, lived_until: Option<WallMs>) -> WallMs {
    let retention = committed.expires.0.saturating_sub(committed.at.0).max(0);
    let after_life = lived_until.map(|t| WallMs(t.0.saturating_add(retention)));
    after_life.map_or(committed.expires, |t| t.max(committed.expires))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn committed(offset: Offset, at: i64, expires: i64) -> Committed {
        Committed {
            offset,
            metadata: "".into(),
            at: WallMs(at),
            expires: WallMs(expires),
        }
    }

    #[test]
    fn the_later_record_counts_in_whatever_order_they_are_acknowledged() {
        let mut table = OffsetTable::default();
        table.put("g", "t", 0, 11, committed(2, 0, 9));
        table.put("g", "t", 0, 10, committed(1, 0, 9));
        assert_eq!(table.get("g", "t", 0).unwrap().offset, 2);
        table.put("g", "t", 0, 12, committed(1, 0, 9));
        assert_eq!(table.get("g", "t", 0).unwrap().offset, 1);
        assert_eq!(table.len(), 1);
        assert!(table.remove("g", "t", 0));
        assert!(!table.remove("g", "t", 0));
        assert!(table.is_empty() && table.groups.is_empty());
    }

    #[test]
    fn a_groups_offsets_are_told_in_order() {
        let mut table = OffsetTable::default();
        for (topic, partition) in [("b", 1), ("b", 0), ("a", 3)] {
            table.put("g", topic, partition, 0, committed(i64::from(partition), 0, 9));
            table.put("other", topic, partition, 0, committed(77, 0, 9));
        }
        let all: Vec<_> = table.of_group("g").map(|(t, p, c)| (&**t, p, c.offset)).collect();
        assert_eq!(all, [("a", 3, 3), ("b", 0, 0), ("b", 1, 1)]);
        assert_eq!(table.of_group("nobody").count(), 0);
    }

    #[test]
    fn expiry_counts_from_the_clients_time_if_it_gives_one() {
        assert_eq!(expiry(WallMs(5), None, DAY), WallMs(86_400_005));
        assert_eq!(expiry(WallMs(5), Some(WallMs(1)), DAY), WallMs(86_400_001));
        assert_eq!(expiry(WallMs(5), None, Duration::MAX), WallMs(i64::MAX));
    }

    #[test]
    fn what_is_past_its_time_goes_but_not_while_a_commit_is_on_its_way() {
        let mut table = OffsetTable::default();
        table.put("g", "t", 0, 0, committed(1, 0, 10));
        table.put("g", "t", 1, 1, committed(1, 0, 20));
        assert!(table.expire(WallMs(10), |_| false).is_empty(), "not at its time");
        table.begin("g");
        assert!(table.expire(WallMs(11), |_| false).is_empty());
        table.settled("g");
        let expired = table.expire(WallMs(11), |_| false);
        assert_eq!(expired.iter().map(|e| e.partition).collect::<Vec<_>>(), [0]);
        assert_eq!(table.len(), 1);
        assert_eq!(table.expire(WallMs(21), |_| false).len(), 1);
        assert!(table.is_empty() && table.groups.is_empty());
    }

    #[test]
    fn offsets_outlive_the_last_member_by_their_retention() {
        let mut table = OffsetTable::default();
        table.put("g", "t", 0, 0, committed(1, 0, 10));
        assert!(table.expire(WallMs(100), |_| true).is_empty());
        assert!(table.expire(WallMs(110), |_| false).is_empty());
        assert_eq!(table.expire(WallMs(111), |_| false).len(), 1);
    }

    #[test]
    fn a_group_is_warned_of_once_until_it_commits_again() {
        let mut table = OffsetTable::default();
        let ahead = Duration::from_millis(30);
        table.put("g", "a", 0, 0, committed(1, 0, 100));
        table.put("g", "b", 0, 1, committed(1, 0, 90));
        table.put("g", "b", 1, 2, committed(1, 0, 900));
        assert!(table.expiring(WallMs(60), ahead).is_empty());
        let told = table.expiring(WallMs(75), ahead);
        let expected = Expiring {
            group: "g".into(),
            offsets: 2,
            first: WallMs(90),
            topic: "b".into(),
        };
        assert_eq!(told, [expected]);
        assert!(table.expiring(WallMs(76), ahead).is_empty());
        table.put("g", "b", 0, 3, committed(2, 77, 177));
        assert_eq!(table.expiring(WallMs(78), ahead).len(), 1);
    }

    #[test]
    fn a_group_with_members_is_not_warned_of() {
        let mut table = OffsetTable::default();
        table.put("g", "a", 0, 0, committed(1, 0, 100));
        assert!(table.expire(WallMs(95), |_| true).is_empty());
        assert!(table.expiring(WallMs(95), Duration::from_millis(30)).is_empty());
    }
}
