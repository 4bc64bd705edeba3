//! What the cores want done. The shell does it, in order, before anything else happens to the same
//! part of the offsets topic.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::error::Result;
use super::schema::GroupRecord;

/// Stands for a request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The good answer to a JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Counts the group's rebalances from 1 on.
    pub generation: i32,
    /// How work is shared.
    pub protocol: String,
    /// Who shares it out.
    pub leader_id: Arc<str>,
    /// The asker.
    pub member_id: Arc<str>,
    /// All members with what they said for the protocol; empty unless the asker leads.
    pub members: Vec<(Arc<str>, Bytes)>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answers a JoinGroup.
    Joined(Ticket, Result<Joined>),
    /// Answers a SyncGroup with the asker's share.
    Synced(Ticket, Result<Bytes>),
    /// This request will not be answered: its member sent another one or is gone.
    Dropped(Ticket),
    /// Appends a group's record; the outcome goes to [`Shard::stored`](super::shard::Shard::stored).
    Store(Store),
    /// Appends a group's tombstone. Nobody waits for it: a lost one means that the next coordinator
    /// loads members who are gone, and buries the group when they stay silent.
    Bury(Arc<str>),
    /// Goes to the log.
    Note(Note),
}

/// A group's record on its way into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The group.
    pub group: Arc<str>,
    /// What is stored; it carries everyone's share.
    pub record: Arc<GroupRecord>,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Members have to join again.
    Preparing {
        /// The group.
        group: Arc<str>,
        /// Before.
        generation: i32,
    },
    /// All have joined.
    Stabilized {
        /// The group.
        group: Arc<str>,
        /// From now on.
        generation: i32,
    },
    /// The leader has shared out.
    Assigned {
        /// The group.
        group: Arc<str>,
        /// In which.
        generation: i32,
    },
    /// The last member is gone.
    Dead {
        /// The group.
        group: Arc<str>,
        /// Its last.
        generation: i32,
    },
    /// A member is gone.
    Out {
        /// The group.
        group: Arc<str>,
        /// The member.
        member: Arc<str>,
        /// As its client calls itself.
        client_id: String,
        /// Where it is.
        client_host: String,
        /// Why.
        why: Out,
    },
    /// Read from the log.
    Loaded {
        /// The group.
        group: Arc<str>,
        /// As stored.
        generation: i32,
    },
    /// Another broker coordinates it from now on.
    Unloaded {
        /// The group.
        group: Arc<str>,
        /// As known last.
        generation: i32,
    },
}

/// Why a member is no longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// It said so.
    Left,
    /// No sign of life within this session timeout.
    Silent(Duration),
    /// The others have joined again and it has not, for so long.
    NotRejoined(Duration),
}

impl Note {
    /// Whether an operator should look: a member was put out against its will.
    pub fn is_warning(&self) -> bool {
        matches!(self, Note::Out { why, .. } if *why != Out::Left)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Preparing { group, generation } => write!(
                f,
                "Preparing to restabilize group {group} with old generation {generation}"
            ),
            Note::Stabilized { group, generation } => {
                write!(f, "Stabilized group {group} generation {generation}")
            }
            Note::Assigned { group, generation } => write!(
                f,
                "Assignment received from leader for group {group} for generation {generation}"
            ),
            Note::Dead { group, generation } => {
                write!(f, "Group {group} generation {generation} is dead and removed")
            }
            Note::Out {
                group,
                member,
                client_id,
                client_host,
                why,
            } => write!(
                f,
                "Member {member} (client id {client_id}, host {client_host}) is out of group {group}: {why}"
            ),
            Note::Loaded { group, generation } => write!(
                f,
                "Loading group metadata for {group} with generation {generation}"
            ),
            Note::Unloaded { group, generation } => write!(
                f,
                "Unloading group metadata for {group} with generation {generation}"
            ),
        }
    }
}

impl fmt::Display for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Out::Left => write!(f, "it left"),
            Out::Silent(timeout) => write!(
                f,
                "no heartbeat within its session timeout of {} ms; it is gone, or worked too long between two polls",
                timeout.as_millis()
            ),
            Out::NotRejoined(timeout) => write!(
                f,
                "it did not join again within the {} ms that a rebalance may take",
                timeout.as_millis()
            ),
        }
    }
}
