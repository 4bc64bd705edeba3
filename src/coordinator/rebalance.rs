//! What requests and time do to a group (the group's part of kafka.coordinator.GroupCoordinator). Pure:
//! the time and the request come in, effects go out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::effect::{Effect, Joined, Note, Out, Store, Ticket};
use super::error::{Error, Result};
use super::group::{Group, GroupState};
use super::member::{Member, Protocol, own};
use super::schema::GroupRecord;
use crate::util::clock::Mono;

/// A JoinGroup.
#[derive(Clone, Debug)]
pub struct Join {
    /// The group.
    pub group: String,
    /// Empty for who has not joined before.
    pub member_id: String,
    /// The id for one who has not.
    pub new_member_id: String,
    /// As the client calls itself.
    pub client_id: String,
    /// As Java prints an address.
    pub client_host: String,
    /// In milliseconds.
    pub session_timeout_ms: i32,
    /// Such as `consumer`.
    pub protocol_type: String,
    /// The best first.
    pub protocols: Vec<Protocol>,
}

/// A SyncGroup.
#[derive(Clone, Debug)]
pub struct Sync {
    /// The group.
    pub group: String,
    /// As the asker knows it.
    pub generation: i32,
    /// The asker.
    pub member_id: String,
    /// Everyone's share, from the leader.
    pub assignment: Vec<(String, Bytes)>,
}

impl Group {
    /// Takes a join. It is answered at once if it is refused or says nothing new, else when all members
    /// have joined.
    pub(super) fn join(&mut self, now: Mono, join: Join, ticket: Ticket, fx: &mut Vec<Effect>) {
        if let Err(e) = self.check_join(&join) {
            fx.push(Effect::Joined(ticket, Err(e)));
            return;
        }
        let known = self.members.get(&*join.member_id);
        let nothing_new = known.is_some_and(|m| m.matches(&join.protocols));
        let leads = !join.member_id.is_empty() && *self.leader == *join.member_id;
        match self.state {
            // It may have missed the answer to its join.
            GroupState::AwaitingSync if nothing_new => {
                let answer = self.joined(&join.member_id);
                fx.push(Effect::Joined(ticket, Ok(answer)));
            }
            // A leader that joins again wants to share out anew, as when a topic has grown.
            GroupState::Stable if nothing_new && !leads => {
                let answer = self.joined(&join.member_id);
                fx.push(Effect::Joined(ticket, Ok(answer)));
            }
            _ => {
                self.admit(now, join, ticket, fx);
                if self.state != GroupState::PreparingRebalance {
                    self.prepare_rebalance(now, fx);
                }
                self.try_complete_join(now, fx);
            }
        }
    }

    fn check_join(&self, join: &Join) -> Result<()> {
        if self.protocol_type != join.protocol_type || !self.supports(&join.protocols) {
            return Err(Error::InconsistentProtocol);
        }
        let known = join.member_id.is_empty() || self.members.contains_key(&*join.member_id);
        if !known || self.state == GroupState::Dead {
            return Err(Error::UnknownMember);
        }
        Ok(())
    }

    /// Notes the joining member, new or changed, and that it waits.
    fn admit(&mut self, now: Mono, join: Join, ticket: Ticket, fx: &mut Vec<Effect>) {
        let owned = |p: Protocol| Protocol {
            name: p.name,
            metadata: own(&p.metadata),
        };
        let protocols = join.protocols.into_iter().map(owned).collect();
        if let Some(member) = self.members.get_mut(&*join.member_id) {
            member.protocols = protocols;
            if let Some(overtaken) = member.joining.replace(ticket) {
                fx.push(Effect::Dropped(overtaken));
            }
            return;
        }
        let session_timeout = Duration::from_millis(u64::try_from(join.session_timeout_ms).unwrap_or(0));
        self.add(Member {
            id: join.new_member_id.into(),
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout,
            protocols,
            assignment: Bytes::new(),
            deadline: now + session_timeout,
            joining: Some(ticket),
            syncing: None,
        });
    }

    /// The answer to a join of a group whose members are complete.
    fn joined(&self, member_id: &str) -> Joined {
        let leads = *self.leader == *member_id;
        let told = |m: &Member| {
            let metadata = m.metadata(&self.protocol).cloned().unwrap_or_default();
            (m.id.clone(), metadata)
        };
        Joined {
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader_id: self.leader.clone(),
            member_id: member_id.into(),
            members: if leads && self.state == GroupState::AwaitingSync {
                self.members.values().map(told).collect()
            } else {
                Vec::new()
            },
        }
    }

    /// Has everyone join again, within the longest of their session timeouts.
    fn prepare_rebalance(&mut self, now: Mono, fx: &mut Vec<Effect>) {
        if self.state == GroupState::AwaitingSync {
            self.answer_syncs(now, Err(Error::RebalanceInProgress), fx);
        }
        self.enter(GroupState::PreparingRebalance);
        let longest = self.members.values().map(|m| m.session_timeout).max();
        self.rebalance_timeout = longest.unwrap_or_default();
        self.rebalance_deadline = now + self.rebalance_timeout;
        fx.push(Effect::Note(Note::Preparing {
            group: self.id.clone(),
            generation: self.generation,
        }));
    }

    fn try_complete_join(&mut self, now: Mono, fx: &mut Vec<Effect>) {
        if self.members.values().all(|m| m.joining.is_some()) {
            self.complete_join(now, fx);
        }
    }

    /// Goes on with those who have joined.
    fn complete_join(&mut self, now: Mono, fx: &mut Vec<Effect>) {
        let missing: Vec<Arc<str>> = self
            .members
            .values()
            .filter(|m| m.joining.is_none())
            .map(|m| m.id.clone())
            .collect();
        for id in missing {
            self.put_out(&id, Out::NotRejoined(self.rebalance_timeout), fx);
        }
        let Some(protocol) = self.select_protocol() else {
            self.enter(GroupState::Dead);
            fx.push(Effect::Note(Note::Dead {
                group: self.id.clone(),
                generation: self.generation,
            }));
            fx.push(Effect::Bury(self.id.clone()));
            return;
        };
        self.protocol = protocol;
        self.generation += 1;
        self.enter(GroupState::AwaitingSync);
        fx.push(Effect::Note(Note::Stabilized {
            group: self.id.clone(),
            generation: self.generation,
        }));
        let joining: Vec<(Arc<str>, Ticket)> = self
            .members
            .values_mut()
            .filter_map(|m| {
                m.refresh(now);
                Some((m.id.clone(), m.joining.take()?))
            })
            .collect();
        for (id, ticket) in joining {
            fx.push(Effect::Joined(ticket, Ok(self.joined(&id))));
        }
    }

    /// Takes a sync. It is answered at once if it is refused or the group is stable, else when the
    /// leader's shares are stored.
    pub(super) fn sync(&mut self, now: Mono, sync: Sync, ticket: Ticket, fx: &mut Vec<Effect>) {
        let refused = match self.members.get_mut(&*sync.member_id) {
            None => Error::UnknownMember,
            Some(_) if sync.generation != self.generation => Error::IllegalGeneration,
            Some(member) => match self.state {
                GroupState::Dead => Error::UnknownMember,
                GroupState::PreparingRebalance => Error::RebalanceInProgress,
                GroupState::Stable => {
                    member.refresh(now);
                    fx.push(Effect::Synced(ticket, Ok(member.assignment.clone())));
                    return;
                }
                GroupState::AwaitingSync => {
                    member.refresh(now);
                    if let Some(overtaken) = member.syncing.replace(ticket) {
                        fx.push(Effect::Dropped(overtaken));
                    }
                    if *self.leader == *sync.member_id {
                        self.share_out(sync.assignment, fx);
                    }
                    return;
                }
            },
        };
        fx.push(Effect::Synced(ticket, Err(refused)));
    }

    fn share_out(&self, assignment: Vec<(String, Bytes)>, fx: &mut Vec<Effect>) {
        fx.push(Effect::Note(Note::Assigned {
            group: self.id.clone(),
            generation: self.generation,
        }));
        let assignment: BTreeMap<String, Bytes> = assignment
            .into_iter()
            .map(|(id, share)| (id, own(&share)))
            .collect();
        fx.push(Effect::Store(Store {
            group: self.id.clone(),
            record: Arc::new(self.record(&assignment)),
        }));
    }

    /// Takes the outcome of a [`Store`]. Nothing if the group has moved on meanwhile.
    pub(super) fn stored(
        &mut self,
        now: Mono,
        record: &GroupRecord,
        outcome: Result<()>,
        fx: &mut Vec<Effect>,
    ) {
        if self.state != GroupState::AwaitingSync || self.generation != record.generation {
            return;
        }
        match outcome {
            Ok(()) => {
                for stored in &record.members {
                    if let Some(member) = self.members.get_mut(&stored.id) {
                        member.assignment = stored.assignment.clone();
                    }
                }
                self.answer_syncs(now, Ok(()), fx);
                self.enter(GroupState::Stable);
            }
            Err(e) => {
                self.answer_syncs(now, Err(e), fx);
                self.prepare_rebalance(now, fx);
                self.try_complete_join(now, fx);
            }
        }
    }

    /// Answers every waiting sync with its share or, the shares being void, with an error.
    fn answer_syncs(&mut self, now: Mono, outcome: Result<()>, fx: &mut Vec<Effect>) {
        for member in self.members.values_mut() {
            if outcome.is_err() {
                member.assignment = Bytes::new();
            }
            if let Some(ticket) = member.syncing.take() {
                // Its session was not watched while it waited.
                member.refresh(now);
                fx.push(Effect::Synced(
                    ticket,
                    outcome.map(|()| member.assignment.clone()),
                ));
            }
        }
    }

    /// Takes a sign of life.
    ///
    /// # Errors
    /// What the member has to know; see [`GroupState`].
    pub(super) fn heartbeat(&mut self, now: Mono, member_id: &str, generation: i32) -> Result<()> {
        match self.state {
            GroupState::Dead => return Err(Error::UnknownMember),
            // Before it is asked who that is, as in Kafka.
            GroupState::PreparingRebalance | GroupState::AwaitingSync => {
                return Err(Error::RebalanceInProgress);
            }
            GroupState::Stable => {}
        }
        let member = self.members.get_mut(member_id).ok_or(Error::UnknownMember)?;
        if generation != self.generation {
            return Err(Error::IllegalGeneration);
        }
        member.refresh(now);
        Ok(())
    }

    /// Lets a member go.
    ///
    /// # Errors
    /// [`Error::UnknownMember`]
    pub(super) fn leave(&mut self, now: Mono, member_id: &str, fx: &mut Vec<Effect>) -> Result<()> {
        if self.state == GroupState::Dead || !self.members.contains_key(member_id) {
            return Err(Error::UnknownMember);
        }
        self.lose(now, member_id, Out::Left, fx);
        Ok(())
    }

    /// Whether a member may commit offsets.
    ///
    /// # Errors
    /// What the member has to know; see [`GroupState`].
    pub(super) fn may_commit(&self, member_id: &str, generation: i32) -> Result<()> {
        match self.state {
            GroupState::Dead => return Err(Error::UnknownMember),
            GroupState::AwaitingSync => return Err(Error::RebalanceInProgress),
            GroupState::PreparingRebalance | GroupState::Stable => {}
        }
        if !self.members.contains_key(member_id) {
            return Err(Error::UnknownMember);
        }
        if generation != self.generation {
            return Err(Error::IllegalGeneration);
        }
        Ok(())
    }

    /// Does what is due: ends sessions, and rebalances that took too long.
    pub(super) fn tick(&mut self, now: Mono, fx: &mut Vec<Effect>) {
        let silent: Vec<(Arc<str>, Duration)> = self
            .members
            .values()
            .filter(|m| m.is_expired(now))
            .map(|m| (m.id.clone(), m.session_timeout))
            .collect();
        for (id, timeout) in silent {
            // The end of one session may have answered, and so revived, the next member.
            if self.members.get(&id).is_some_and(|m| m.is_expired(now)) {
                self.lose(now, &id, Out::Silent(timeout), fx);
            }
        }
        if self.state == GroupState::PreparingRebalance && self.rebalance_deadline <= now {
            self.complete_join(now, fx);
        }
    }

    /// Goes on without a member.
    fn lose(&mut self, now: Mono, id: &str, why: Out, fx: &mut Vec<Effect>) {
        self.put_out(id, why, fx);
        if self.state == GroupState::Dead {
            return;
        }
        if self.state != GroupState::PreparingRebalance {
            self.prepare_rebalance(now, fx);
        }
        self.try_complete_join(now, fx);
    }

    fn put_out(&mut self, id: &str, why: Out, fx: &mut Vec<Effect>) {
        let Some(member) = self.remove(id) else { return };
        let unanswered = [member.joining, member.syncing];
        fx.extend(unanswered.into_iter().flatten().map(Effect::Dropped));
        fx.push(Effect::Note(Note::Out {
            group: self.id.clone(),
            member: member.id,
            client_id: member.client_id,
            client_host: member.client_host,
            why,
        }));
    }

    /// Ends the group here: whoever waits hears why.
    pub(super) fn unload(&mut self, why: Error, fx: &mut Vec<Effect>) {
        fx.push(Effect::Note(Note::Unloaded {
            group: self.id.clone(),
            generation: self.generation,
        }));
        if self.state != GroupState::Dead {
            self.enter(GroupState::Dead);
        }
        for member in self.members.values_mut() {
            if let Some(ticket) = member.joining.take() {
                fx.push(Effect::Joined(ticket, Err(why)));
            }
            if let Some(ticket) = member.syncing.take() {
                fx.push(Effect::Synced(ticket, Err(why)));
            }
        }
    }
}
