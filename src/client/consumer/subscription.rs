//! What the user wants, which partitions are this consumer's, and where it stands in each. A core: no
//! clock, no request.
//!
//! A partition's position is the offset of the next record to hand out. It is unknown at first; then the
//! committed offset counts, and without one the reset rule (`auto.offset.reset`) or a wish of the user
//! (seek to beginning or end), for which the leader must be asked.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::error::{Error, Result};
use super::settings::AutoOffsetReset;
use crate::cluster::TopicPartition;
use crate::cluster::topic::OFFSETS_TOPIC;
use crate::message::Offset;

/// A position with a note that is kept beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// The next offset to read.
    pub offset: Offset,
    /// Any text; brokers take up to `offset.metadata.max.bytes` characters.
    pub metadata: String,
}

impl From<Offset> for OffsetAndMetadata {
    /// Without a note.
    fn from(offset: Offset) -> Self {
        OffsetAndMetadata {
            offset,
            metadata: String::new(),
        }
    }
}

/// An end of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Earliest,
    Latest,
}

/// How partitions come about.
#[derive(Clone, Debug)]
enum Wish {
    Nothing,
    Topics(BTreeSet<String>),
    Pattern {
        whole: Regex,
        /// The topics that matched when metadata was last looked at.
        matched: BTreeSet<String>,
    },
    Partitions,
}

/// What is known of a committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Committed {
    Unknown,
    Nothing,
    At(OffsetAndMetadata),
}

/// One partition of this consumer.
#[derive(Clone, Debug)]
struct Owned {
    position: Option<Offset>,
    /// The end to begin at, where the position is to come from there.
    end: Option<End>,
    committed: Committed,
    paused: bool,
}

impl Owned {
    fn new() -> Owned {
        Owned {
            position: None,
            end: None,
            committed: Committed::Unknown,
            paused: false,
        }
    }
}

const EXCLUSIVE: Error =
    Error::State("Subscription to topics, partitions and pattern are mutually exclusive");

/// See the file's head.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    wish: Wish,
    owned: BTreeMap<TopicPartition, Owned>,
    reset: AutoOffsetReset,
    /// Whether committed offsets are to be asked for: not without a group.
    commits: bool,
}

impl Subscription {
    pub(super) fn new(reset: AutoOffsetReset, commits: bool) -> Subscription {
        Subscription {
            wish: Wish::Nothing,
            owned: BTreeMap::new(),
            reset,
            commits,
        }
    }

    /// Wants these topics, shared with the group. Partitions of other topics are dropped at once. Says
    /// whether the group must be told.
    pub(super) fn subscribe(&mut self, topics: BTreeSet<String>) -> Result<bool> {
        match &mut self.wish {
            Wish::Nothing => self.wish = Wish::Topics(topics),
            Wish::Topics(present) if *present == topics => return Ok(false),
            Wish::Topics(present) => *present = topics,
            Wish::Pattern { .. } | Wish::Partitions => return Err(EXCLUSIVE),
        }
        self.drop_unwanted();
        Ok(true)
    }

    /// Wants all topics whose whole name matches, shared with the group.
    pub(super) fn subscribe_pattern(&mut self, whole: Regex) -> Result<()> {
        match self.wish {
            Wish::Nothing | Wish::Pattern { .. } => {
                let matched = BTreeSet::new();
                self.wish = Wish::Pattern { whole, matched };
                Ok(())
            }
            Wish::Topics(_) | Wish::Partitions => Err(EXCLUSIVE),
        }
    }

    /// Looks for the pattern's topics among those that exist. Says whether the group must be told.
    pub(super) fn match_topics<'a>(&mut self, all: impl Iterator<Item = &'a String>) -> bool {
        let Wish::Pattern { whole, matched } = &mut self.wish else {
            return false;
        };
        let now: BTreeSet<String> = all
            .filter(|t| whole.is_match(t) && *t != OFFSETS_TOPIC)
            .cloned()
            .collect();
        if now == *matched {
            return false;
        }
        *matched = now;
        self.drop_unwanted();
        true
    }

    /// Owns exactly these partitions, without a group's help. Those that stay keep their state.
    pub(super) fn assign(&mut self, partitions: BTreeSet<TopicPartition>) -> Result<()> {
        match self.wish {
            Wish::Nothing | Wish::Partitions => {}
            Wish::Topics(_) | Wish::Pattern { .. } => return Err(EXCLUSIVE),
        }
        self.wish = Wish::Partitions;
        self.owned.retain(|p, _| partitions.contains(p));
        for partition in partitions {
            self.owned.entry(partition).or_insert_with(Owned::new);
        }
        Ok(())
    }

    /// Owns what the group gave it; nothing is kept of what was before. What is not wanted any more is
    /// left out, and then false is returned: the group must be told.
    pub(super) fn adopt(&mut self, partitions: Vec<TopicPartition>) -> bool {
        let given = partitions.len();
        self.owned = partitions.into_iter().map(|p| (p, Owned::new())).collect();
        let distinct = self.owned.len();
        self.drop_unwanted();
        self.owned.len() == distinct && distinct <= given
    }

    /// Wants and owns nothing.
    pub(super) fn clear(&mut self) {
        self.wish = Wish::Nothing;
        self.owned.clear();
    }

    fn drop_unwanted(&mut self) {
        let (Wish::Topics(topics) | Wish::Pattern { matched: topics, .. }) = &self.wish else {
            return;
        };
        self.owned.retain(|p, _| topics.contains(&*p.topic));
    }

    /// The topics shared with the group; `None` when partitions are assigned by hand, when nothing is
    /// wanted, or when no topic matches yet.
    pub(super) fn shared_topics(&self) -> Option<&BTreeSet<String>> {
        match &self.wish {
            Wish::Topics(topics) | Wish::Pattern { matched: topics, .. } => {
                Some(topics).filter(|t| !t.is_empty())
            }
            Wish::Nothing | Wish::Partitions => None,
        }
    }

    /// The topics wanted, by whichever way.
    pub(super) fn topics(&self) -> BTreeSet<String> {
        match &self.wish {
            Wish::Topics(topics) | Wish::Pattern { matched: topics, .. } => topics.clone(),
            Wish::Nothing => BTreeSet::new(),
            Wish::Partitions => self.owned.keys().map(|p| p.topic.to_string()).collect(),
        }
    }

    pub(super) fn is_pattern(&self) -> bool {
        matches!(self.wish, Wish::Pattern { .. })
    }

    pub(super) fn is_assigned_by_hand(&self) -> bool {
        matches!(self.wish, Wish::Partitions)
    }

    /// The partitions that are this consumer's.
    pub(super) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.owned.keys()
    }

    pub(super) fn owns(&self, partition: &TopicPartition) -> bool {
        self.owned.contains_key(partition)
    }

    fn owned(&mut self, partition: &TopicPartition) -> Result<&mut Owned> {
        self.owned
            .get_mut(partition)
            .ok_or_else(|| Error::NotAssigned(partition.clone()))
    }

    /// Goes to an offset; whatever was looked up is forgotten.
    pub(super) fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        let owned = self.owned(partition)?;
        owned.position = Some(offset);
        owned.end = None;
        Ok(())
    }

    /// Goes to an end, once the leader has told where that is.
    pub(super) fn seek_to(&mut self, partition: &TopicPartition, end: End) -> Result<()> {
        let owned = self.owned(partition)?;
        owned.position = None;
        owned.end = Some(end);
        Ok(())
    }

    /// The leader has told where an end is. Counts only if that is still wanted.
    pub(super) fn found(&mut self, partition: &TopicPartition, end: End, offset: Offset) {
        if let Some(owned) = self.owned.get_mut(partition)
            && owned.end == Some(end)
        {
            owned.position = Some(offset);
            owned.end = None;
        }
    }

    /// The position does not exist at the leader: falls back on the reset rule. An error if there is none.
    pub(super) fn out_of_range(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        let reset = self.reset;
        let Ok(owned) = self.owned(partition) else {
            return Ok(());
        };
        if owned.position != Some(offset) {
            return Ok(());
        }
        match end_of(reset) {
            Some(end) => {
                owned.position = None;
                owned.end = Some(end);
                Ok(())
            }
            None => Err(Error::OutOfRange {
                partition: partition.clone(),
                offset,
            }),
        }
    }

    /// The next offset to hand out, if it is known.
    pub(super) fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.owned.get(partition)?.position
    }

    /// Moves a known position on.
    pub(super) fn advance(&mut self, partition: &TopicPartition, next: Offset) {
        if let Some(owned) = self.owned.get_mut(partition)
            && let Some(position) = &mut owned.position
        {
            *position = next;
        }
    }

    /// All known positions, to be committed.
    pub(super) fn consumed(&self) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        self.owned
            .iter()
            .filter_map(|(p, o)| Some((p.clone(), o.position?.into())))
            .collect()
    }

    /// Hands out nothing of the partition until it is resumed.
    pub(super) fn pause(&mut self, partition: &TopicPartition, paused: bool) -> Result<()> {
        self.owned(partition)?.paused = paused;
        Ok(())
    }

    pub(super) fn is_paused(&self, partition: &TopicPartition) -> bool {
        self.owned.get(partition).is_some_and(|o| o.paused)
    }

    /// The partitions to fetch, with their positions.
    pub(super) fn fetchable(&self) -> impl Iterator<Item = (&TopicPartition, Offset)> {
        self.owned
            .iter()
            .filter(|(_, o)| !o.paused)
            .filter_map(|(p, o)| Some((p, o.position?)))
    }

    /// Whether a partition is to be fetched.
    pub(super) fn is_fetchable(&self, partition: &TopicPartition) -> bool {
        self.owned
            .get(partition)
            .is_some_and(|o| !o.paused && o.position.is_some())
    }

    /// Whether every position is known.
    pub(super) fn is_settled(&self) -> bool {
        self.owned.values().all(|o| o.position.is_some())
    }

    /// Partitions whose committed offset decides the position and is not known.
    pub(super) fn commits_wanted(&self) -> Vec<TopicPartition> {
        let wanted = |o: &Owned| {
            self.commits && o.position.is_none() && o.end.is_none() && o.committed == Committed::Unknown
        };
        let all = self.owned.iter().filter(|(_, o)| wanted(o));
        all.map(|(p, _)| p.clone()).collect()
    }

    /// The last committed offset that is known: `None` if it must be asked for.
    pub(super) fn committed(&self, partition: &TopicPartition) -> Option<&OffsetAndMetadata> {
        match &self.owned.get(partition)?.committed {
            Committed::At(offset) => Some(offset),
            Committed::Unknown | Committed::Nothing => None,
        }
    }

    /// Notes a committed offset, or that there is none.
    pub(super) fn set_committed(&mut self, partition: &TopicPartition, offset: Option<OffsetAndMetadata>) {
        if let Some(owned) = self.owned.get_mut(partition) {
            owned.committed = offset.map_or(Committed::Nothing, Committed::At);
        }
    }

    /// Gives positions to partitions whose committed offset is known, and a wanted end to those that
    /// have none.
    ///
    /// # Errors
    /// [`Error::NoOffset`] for a partition with neither, when the reset rule is `none`.
    pub(super) fn settle(&mut self) -> Result<()> {
        for (partition, owned) in &mut self.owned {
            if owned.position.is_some() || owned.end.is_some() {
                continue;
            }
            match &owned.committed {
                Committed::At(committed) => owned.position = Some(committed.offset),
                Committed::Unknown if self.commits => {}
                Committed::Unknown | Committed::Nothing => match end_of(self.reset) {
                    Some(end) => owned.end = Some(end),
                    None => return Err(Error::NoOffset(partition.clone())),
                },
            }
        }
        Ok(())
    }

    /// The partitions whose leader must be asked for an end.
    pub(super) fn ends_wanted(&self) -> impl Iterator<Item = (&TopicPartition, End)> {
        self.owned.iter().filter_map(|(p, o)| Some((p, o.end?)))
    }
}

fn end_of(reset: AutoOffsetReset) -> Option<End> {
    match reset {
        AutoOffsetReset::Earliest => Some(End::Earliest),
        AutoOffsetReset::Latest => Some(End::Latest),
        AutoOffsetReset::None => None,
    }
}

#[cfg(test)]
mod tests;
