//! What a decision asks for: conditional znode writes and requests. Data only; `decide` makes plans,
//! `run` carries them out.

use std::sync::Arc;

use super::aim::Aim;
use super::batch::RequestBatch;
use crate::cluster::{BrokerId, LeaderAndIsr, TopicPartition};

/// On what a state znode's write depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The znode does not exist.
    Absent,
    /// Its data version is this one.
    Version(i32),
}

/// One conditional write of a partition's state znode. It also depends on this controller's epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateWrite {
    /// Which partition.
    pub at: TopicPartition,
    /// What will stand there. `zk_version` is filled in once it is written.
    pub leadership: LeaderAndIsr,
    /// On what it depends.
    pub expect: Expect,
    /// The wish behind it.
    pub aim: Aim,
    /// Who is told by LeaderAndIsr once it is written.
    pub receivers: Vec<BrokerId>,
    /// Whether the leader comes from outside the ISR, so that messages may be lost.
    pub unclean: bool,
}

/// What came of a [`StateWrite`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stands there, with this data version.
    Written(i32),
    /// Not written: this stands there (none: the znode does not exist).
    Found(Option<LeaderAndIsr>),
    /// Not written, for a reason that concerns this partition alone.
    Failed(String),
}

/// A znode, or a family of them, that goes when a plan's requests are on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// All of a deleted topic: assignment and states, config, and last the wish to delete it.
    Topic(Arc<str>),
    /// The wish to delete a topic that does not exist.
    DeletionWish(Arc<str>),
    /// The wish for a preferred election.
    PreferredElection,
    /// These partitions' part of the wish for a reassignment; the rest of it stays.
    Reassignment(Vec<TopicPartition>),
}

/// Removals of which those that concern one node are one.
pub fn gathered(removals: Vec<Removal>) -> Vec<Removal> {
    let mut moved = Vec::new();
    let mut gathered: Vec<Removal> = Vec::with_capacity(removals.len());
    for removal in removals {
        match removal {
            Removal::Reassignment(partitions) => moved.extend(partitions),
            other if gathered.contains(&other) => {}
            other => gathered.push(other),
        }
    }
    if !moved.is_empty() {
        gathered.push(Removal::Reassignment(moved));
    }
    gathered
}

/// What a decision asks for, in the order of its fields.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Requests sent before anything is written.
    pub before: RequestBatch,
    /// Partitions' new replicas, for the topics' znodes.
    pub assignments: Vec<(TopicPartition, Vec<BrokerId>)>,
    /// Wishes that become conditional writes; their LeaderAndIsr and UpdateMetadata join `after`.
    pub aims: Vec<(TopicPartition, Aim)>,
    /// Requests sent once all is written.
    pub after: RequestBatch,
    /// Znodes removed at the end.
    pub removals: Vec<Removal>,
}

impl Plan {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty()
            && self.assignments.is_empty()
            && self.aims.is_empty()
            && self.after.is_empty()
            && self.removals.is_empty()
    }

    /// Adds another plan, to be carried out in the same strokes.
    pub fn merge(&mut self, other: Plan) {
        self.before.merge(other.before);
        self.assignments.extend(other.assignments);
        self.aims.extend(other.aims);
        self.after.merge(other.after);
        self.removals.extend(other.removals);
    }
}
