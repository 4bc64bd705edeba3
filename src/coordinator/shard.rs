//! The groups of one partition of the offsets topic: whether they are here, who they are, and what they
//! committed. Pure.
//!
//! ```text
//!  Away ──this broker leads──> Loading ──read──> Here
//!   ^                             │                │
//!   └─────────── it does not lead any more ────────┘
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use super::effect::{Effect, Note, Store, Ticket};
use super::error::{Error, Result};
use super::group::{Description, Group, GroupState};
use super::loader::Loaded;
use super::offsets::{Expired, OffsetTable};
use super::rebalance::{Join, Sync};
use super::settings::SessionLimits;
use crate::replica::Term;
use crate::util::clock::{Mono, WallMs};
use crate::util::timer::DeadlineQueue;

/// Whether requests can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Another broker leads the partition, or nobody.
    Away,
    /// This broker leads and reads what is stored.
    Loading(Term),
    /// This broker leads and knows all.
    Here(Term),
}

/// See the module.
#[derive(Debug)]
pub struct Shard {
    phase: Phase,
    limits: SessionLimits,
    groups: HashMap<Arc<str>, Group>,
    /// What is committed. Requests that change it go through the shell, which appends first.
    pub offsets: OffsetTable,
    /// When to look at a group again; never later than its own next deadline.
    deadlines: DeadlineQueue<Arc<str>>,
}

impl Shard {
    /// Away.
    pub fn new(limits: SessionLimits) -> Shard {
        Shard {
            phase: Phase::Away,
            limits,
            groups: HashMap::new(),
            offsets: OffsetTable::default(),
            deadlines: DeadlineQueue::default(),
        }
    }

    /// Whether requests can be answered.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The leadership that it is of.
    pub fn term(&self) -> Option<Term> {
        match self.phase {
            Phase::Away => None,
            Phase::Loading(term) | Phase::Here(term) => Some(term),
        }
    }

    /// Passes if requests can be answered. Unlike Kafka, a partition that is read for the first time is
    /// [`Error::Loading`] and not somebody else's: a client needs not look for another coordinator.
    ///
    /// # Errors
    /// [`Error::NotCoordinator`], [`Error::Loading`]
    pub fn gate(&self) -> Result<()> {
        match self.phase {
            Phase::Away => Err(Error::NotCoordinator),
            Phase::Loading(_) => Err(Error::Loading),
            Phase::Here(_) => Ok(()),
        }
    }

    /// JoinGroup; the answer comes as an effect.
    pub fn join(&mut self, now: Mono, join: Join, ticket: Ticket, fx: &mut Vec<Effect>) {
        if let Err(e) = self.check_join(&join) {
            fx.push(Effect::Joined(ticket, Err(e)));
            return;
        }
        let id: Arc<str> = join.group.as_str().into();
        let new = || Group::new(id.clone(), join.protocol_type.clone());
        let group = self.groups.entry(id.clone()).or_insert_with(new);
        group.join(now, join, ticket, fx);
        self.after(&id);
    }

    fn check_join(&self, join: &Join) -> Result<()> {
        if join.group.is_empty() {
            return Err(Error::InvalidGroupId);
        }
        self.gate()?;
        if !self.limits.allow(join.session_timeout_ms) {
            return Err(Error::InvalidSessionTimeout);
        }
        if !join.member_id.is_empty() && !self.groups.contains_key(&*join.group) {
            return Err(Error::UnknownMember);
        }
        // Kafka lets a first member without protocols in, and then cannot choose one.
        if join.protocols.is_empty() {
            return Err(Error::InconsistentProtocol);
        }
        Ok(())
    }

    /// SyncGroup; the answer comes as an effect.
    pub fn sync(&mut self, now: Mono, sync: Sync, ticket: Ticket, fx: &mut Vec<Effect>) {
        let found = self.gate().and_then(|()| {
            let group = self.groups.get_mut(&*sync.group);
            group.ok_or(Error::UnknownMember)
        });
        match found {
            Err(e) => fx.push(Effect::Synced(ticket, Err(e))),
            Ok(group) => {
                let id = group.id.clone();
                group.sync(now, sync, ticket, fx);
                self.after(&id);
            }
        }
    }

    /// The outcome of an [`Effect::Store`] of the leadership `term`.
    pub fn stored(
        &mut self,
        now: Mono,
        term: Term,
        store: &Store,
        outcome: Result<()>,
        fx: &mut Vec<Effect>,
    ) {
        if self.phase != Phase::Here(term) {
            return;
        }
        if let Some(group) = self.groups.get_mut(&store.group) {
            group.stored(now, &store.record, outcome, fx);
            self.after(&store.group);
        }
    }

    /// Heartbeat. While its group is read the member is taken at its word.
    ///
    /// # Errors
    /// What the member has to know.
    pub fn heartbeat(&mut self, now: Mono, group: &str, member_id: &str, generation: i32) -> Result<()> {
        match self.gate() {
            Err(Error::Loading) => return Ok(()),
            gate => gate?,
        }
        let group = self.groups.get_mut(group).ok_or(Error::UnknownMember)?;
        group.heartbeat(now, member_id, generation)
    }

    /// LeaveGroup.
    ///
    /// # Errors
    /// The gate's; [`Error::UnknownMember`].
    pub fn leave(&mut self, now: Mono, group: &str, member_id: &str, fx: &mut Vec<Effect>) -> Result<()> {
        self.gate()?;
        let group = self.groups.get_mut(group).ok_or(Error::UnknownMember)?;
        let id = group.id.clone();
        let left = group.leave(now, member_id, fx);
        self.after(&id);
        left
    }

    /// Whether offsets may be committed: by a member of the present generation, or, with a negative
    /// generation, by somebody who only keeps offsets here, if the group has no members.
    ///
    /// # Errors
    /// The gate's; what the member has to know.
    pub fn may_commit(&self, group: &str, member_id: &str, generation: i32) -> Result<()> {
        self.gate()?;
        match self.groups.get(group) {
            Some(group) => group.may_commit(member_id, generation),
            None if generation < 0 => Ok(()),
            None => Err(Error::IllegalGeneration),
        }
    }

    /// Whether a group has members.
    pub fn lives(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    /// Forgets offsets that have expired and returns them.
    pub fn expire(&mut self, now: WallMs) -> Vec<Expired> {
        let groups = &self.groups;
        self.offsets.expire(now, |group| groups.contains_key(group))
    }

    /// The groups with members: name and type.
    pub fn list(&self) -> impl Iterator<Item = (&Arc<str>, &str)> {
        self.groups.values().map(|g| (&g.id, g.protocol_type.as_str()))
    }

    /// How many groups have members.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether no group has members.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// How a group stands; [`Description::dead`] for one without members.
    ///
    /// # Errors
    /// The gate's.
    pub fn describe(&self, group: &str) -> Result<Description> {
        self.gate()?;
        Ok(self
            .groups
            .get(group)
            .map_or_else(Description::dead, Group::describe))
    }

    /// This broker leads from `term` on: what is stored is being read. What was known is dropped.
    pub fn take_over(&mut self, term: Term, fx: &mut Vec<Effect>) {
        self.give_up(Error::NotCoordinator, fx);
        self.phase = Phase::Loading(term);
    }

    /// What was read of the leadership `term`. Nothing if that is over.
    pub fn loaded(&mut self, now: Mono, term: Term, loaded: Loaded, fx: &mut Vec<Effect>) {
        if self.phase != Phase::Loading(term) {
            return;
        }
        self.phase = Phase::Here(term);
        self.offsets = loaded.offsets;
        for (id, record) in loaded.groups {
            fx.push(Effect::Note(Note::Loaded {
                group: id.clone(),
                generation: record.generation,
            }));
            self.groups
                .insert(id.clone(), Group::of_record(id.clone(), record, now));
            self.after(&id);
        }
    }

    /// This broker does not lead any more, or stops: whoever waits hears `why`, all is dropped.
    pub fn give_up(&mut self, why: Error, fx: &mut Vec<Effect>) {
        self.phase = Phase::Away;
        for (_, mut group) in self.groups.drain() {
            group.unload(why, fx);
        }
        self.offsets = OffsetTable::default();
        self.deadlines = DeadlineQueue::default();
    }

    /// When time will do something.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.deadlines.next()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Mono, fx: &mut Vec<Effect>) {
        while let Some(id) = self.deadlines.pop_due(now) {
            if let Some(group) = self.groups.get_mut(&id) {
                group.tick(now, fx);
                self.after(&id);
            }
        }
    }

    /// After a group was touched: forgets it if it is dead, else looks when time will touch it.
    fn after(&mut self, id: &Arc<str>) {
        let Some(group) = self.groups.get(id) else { return };
        if group.state() == GroupState::Dead {
            self.groups.remove(id);
            self.deadlines.remove(id);
            return;
        }
        // Heartbeats move sessions' ends without a word here; a look too early does no harm.
        if let Some(next) = group.next_deadline()
            && self.deadlines.get(id).is_none_or(|armed| next < armed)
        {
            self.deadlines.set(id.clone(), next);
        }
    }
}
