//! A group: its members, its state, and how it chooses a protocol (kafka.coordinator.GroupMetadata).
//! Pure; what requests and time do to it is in `rebalance`.
//!
//! ```text
//!                 a member joins, changes, leaves or falls silent
//!        ┌──────────────────────────────────────────────┐
//!        │                                              v
//!     Stable  <─── stored ─── AwaitingSync <─── PreparingRebalance ───> Dead
//!     (new)                        │   all joined      ^      nobody is left
//!        any state ──> Dead        └───────────────────┘
//!        when another broker coordinates
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::member::{Member, Protocol};
use super::schema::{GroupRecord, MemberRecord};
use crate::util::clock::Mono;

/// Where a group stands. Each state says how requests are answered in it and what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// Waits for all members to join (again).
    ///
    /// Actions: parks joins; answers heartbeats and syncs that a rebalance is in progress; takes commits
    /// of the old generation; lets members leave.
    ///
    /// Transitions: all members have joined or time is up: `AwaitingSync`; nobody is left: `Dead`.
    PreparingRebalance,
    /// Waits for the leader to share out.
    ///
    /// Actions: parks syncs until the leader's is stored; answers heartbeats and commits that a rebalance
    /// is in progress; answers a join that says nothing new with the present generation.
    ///
    /// Transitions: stored: `Stable`; a member comes, changes, leaves or falls silent, or the record cannot
    /// be stored: `PreparingRebalance`.
    AwaitingSync,
    /// Works. A new group begins so, for the moment until its first member is in.
    ///
    /// Actions: answers heartbeats with success and syncs with shares; takes commits; answers a follower's
    /// join that says nothing new with the present generation.
    ///
    /// Transitions: a member comes, changes, leaves or falls silent, or the leader joins again:
    /// `PreparingRebalance`.
    Stable,
    /// Gone: no member is left, or another broker coordinates it.
    ///
    /// Actions: answers everything with an unknown member. Transitions: none.
    Dead,
}

impl GroupState {
    /// Whether the drawing has an arrow from `previous` to this state.
    pub fn may_follow(self, previous: GroupState) -> bool {
        use GroupState::{AwaitingSync, Dead, PreparingRebalance, Stable};
        match self {
            PreparingRebalance => matches!(previous, Stable | AwaitingSync),
            AwaitingSync => previous == PreparingRebalance,
            Stable => previous == AwaitingSync,
            Dead => previous != Dead,
        }
    }
}

impl fmt::Display for GroupState {
    /// As DescribeGroups says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::AwaitingSync => "AwaitingSync",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        })
    }
}

/// A group of consumers, or of whatever else shares work.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub id: Arc<str>,
    /// Such as `consumer`.
    pub protocol_type: String,
    pub(super) state: GroupState,
    /// 0 before the first members have joined.
    pub(super) generation: i32,
    /// Empty in a group without members.
    pub(super) leader: Arc<str>,
    /// Empty before the first was chosen.
    pub(super) protocol: String,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// In `PreparingRebalance`: when those who have not joined are given up.
    pub(super) rebalance_deadline: Mono,
    /// How long this rebalance may take.
    pub(super) rebalance_timeout: Duration,
}

/// A group as it is told to those who ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Where it stands.
    pub state: GroupState,
    /// Such as `consumer`; empty if nothing is known of the group.
    pub protocol_type: String,
    /// In force; empty unless stable.
    pub protocol: String,
    /// Everyone, by id.
    pub members: Vec<MemberDescription>,
}

/// A member as it is told to those who ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub id: Arc<str>,
    /// As its client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// What it said for the protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its share; empty unless the group is stable.
    pub assignment: Bytes,
}

impl Description {
    /// Of a group that has no members, or that nobody has heard of.
    pub fn dead() -> Description {
        Description {
            state: GroupState::Dead,
            protocol_type: String::new(),
            protocol: String::new(),
            members: Vec::new(),
        }
    }
}

impl Group {
    /// Without members.
    pub fn new(id: Arc<str>, protocol_type: String) -> Group {
        Group {
            id,
            protocol_type,
            state: GroupState::Stable,
            generation: 0,
            leader: "".into(),
            protocol: String::new(),
            members: BTreeMap::new(),
            rebalance_deadline: Mono::default(),
            rebalance_timeout: Duration::ZERO,
        }
    }

    /// The group of a record. Every member's session begins `now`; of its protocols only the one in force is
    /// known, so one that offers several joins as a changed member.
    pub fn of_record(id: Arc<str>, record: GroupRecord, now: Mono) -> Group {
        let mut group = Group::new(id, record.protocol_type);
        group.generation = record.generation;
        group.leader = record.leader;
        group.protocol = record.protocol;
        for m in record.members {
            let mut member = Member {
                id: m.id.clone(),
                client_id: m.client_id,
                client_host: m.client_host,
                session_timeout: Duration::from_millis(u64::try_from(m.session_timeout_ms).unwrap_or(0)),
                protocols: vec![Protocol {
                    name: group.protocol.clone(),
                    metadata: m.subscription,
                }],
                assignment: m.assignment,
                deadline: now,
                joining: None,
                syncing: None,
            };
            member.refresh(now);
            group.members.insert(m.id, member);
        }
        group
    }

    /// The group as it is to be stored, with `assignment` in the place of the members' shares; who is
    /// not in it gets nothing.
    pub(super) fn record(&self, assignment: &BTreeMap<String, Bytes>) -> GroupRecord {
        let member = |m: &Member| MemberRecord {
            id: m.id.clone(),
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            session_timeout_ms: i32::try_from(m.session_timeout.as_millis()).unwrap_or(i32::MAX),
            subscription: m.metadata(&self.protocol).cloned().unwrap_or_default(),
            assignment: assignment.get(&*m.id).cloned().unwrap_or_default(),
        };
        GroupRecord {
            protocol_type: self.protocol_type.clone(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: self.members.values().map(member).collect(),
        }
    }

    /// Where it stands.
    pub fn state(&self) -> GroupState {
        self.state
    }

    /// Counts its rebalances.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// Moves on; the caller has looked that the drawing allows it.
    pub(super) fn enter(&mut self, state: GroupState) {
        debug_assert!(
            state.may_follow(self.state),
            "group {} goes from {} to {state}",
            self.id,
            self.state
        );
        self.state = state;
    }

    /// Lets a member in; the first one leads.
    pub fn add(&mut self, member: Member) {
        if self.members.is_empty() {
            self.leader = member.id.clone();
        }
        self.members.insert(member.id.clone(), member);
    }

    /// Puts a member out; when it led, another leads.
    pub fn remove(&mut self, id: &str) -> Option<Member> {
        let member = self.members.remove(id)?;
        if *self.leader == *id {
            self.leader = self.members.keys().next().cloned().unwrap_or_else(|| "".into());
        }
        Some(member)
    }

    /// Whether somebody with these protocols could work with all present members; true without members.
    pub fn supports(&self, protocols: &[Protocol]) -> bool {
        let all_support = |p: &Protocol| self.members.values().all(|m| m.supports(&p.name));
        self.members.is_empty() || protocols.iter().any(all_support)
    }

    /// The protocol that all members support and most prefer; among equals the one that the leader
    /// prefers. `None` without members, or if they have none in common.
    pub fn select_protocol(&self) -> Option<String> {
        let leader = self
            .members
            .get(&self.leader)
            .or_else(|| self.members.values().next())?;
        let names = leader.protocols.iter().map(|p| p.name.as_str());
        let candidates: Vec<&str> = names
            .filter(|name| self.members.values().all(|m| m.supports(name)))
            .collect();
        let mut votes = vec![0; candidates.len()];
        for member in self.members.values() {
            let vote = member.vote(&candidates)?;
            if let Some(place) = candidates.iter().position(|c| *c == vote) {
                votes[place] += 1;
            }
        }
        let most = votes.iter().max()?;
        let first = votes.iter().position(|v| v == most)?;
        Some(candidates[first].to_owned())
    }

    /// When time will do something to it.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        let sessions = self.members.values().filter(|m| !m.is_waiting());
        let rebalance = (self.state == GroupState::PreparingRebalance).then_some(self.rebalance_deadline);
        sessions.map(|m| m.deadline).chain(rebalance).min()
    }

    /// As it is told to those who ask.
    pub fn describe(&self) -> Description {
        let stable = self.state == GroupState::Stable;
        let member = |m: &Member| MemberDescription {
            id: m.id.clone(),
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            metadata: match m.metadata(&self.protocol) {
                Some(metadata) if stable => metadata.clone(),
                _ => Bytes::new(),
            },
            assignment: if stable {
                m.assignment.clone()
            } else {
                Bytes::new()
            },
        };
        Description {
            state: self.state,
            protocol_type: self.protocol_type.clone(),
            protocol: if stable {
                self.protocol.clone()
            } else {
                String::new()
            },
            members: self.members.values().map(member).collect(),
        }
    }
}
