//! What this broker is in one partition: its role, the decision behind it, who is in sync, how far all
//! agree, how far its copy is its leader's. Pure: knows offsets, no log, no lock, no clock, no socket; so it
//! can be driven by stories and simulations.
//!
//! ```text
//!             become leader                     become follower
//!  no role ────────────────> leader(epoch e) ──────────────────> follower(epoch e+1) ──> leader ...
//! ```
//!
//! A replica becomes leader with all that it holds, also with a tail that the last leader never had; it
//! becomes follower with all that it holds, too, and [`Agreement`] finds out what to cut.

use std::collections::BTreeMap;
use std::time::Duration;

use ::log::info;

use crate::cluster::{BrokerId, ControllerEpoch, LeaderAndIsr, LeaderEpoch, TopicPartition};
use crate::log::LogPosition;
use crate::message::Offset;
use crate::util::clock::Mono;

use super::agreement::{Agreement, Extent, Question};
use super::delayed::{Replicated, produce_done};
use super::error::{AfterAppend, Error, Result};
use super::isr::{Begin, Isr};
use super::isr_store::Outcome;
use super::term::Term;

/// What this broker does in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing yet, or no more.
    None,
    /// Takes writes and serves followers.
    Leader,
    /// Copies from that broker; [`BrokerId::NONE`] if there is no leader.
    Follower(BrokerId),
}

/// What the controller decided, as it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Leader, epochs and in-sync set.
    pub state: LeaderAndIsr,
    /// Assigned replicas.
    pub replicas: Vec<BrokerId>,
}

/// The local log as a change of role finds it.
#[derive(Clone, Copy, Debug)]
pub struct Copy {
    /// The offset of its first message.
    pub start: Offset,
    /// Where it ends.
    pub end: LogPosition,
    /// Its high watermark as last written down, if this broker has had no role in the partition since it
    /// was started.
    pub checkpoint: Option<Offset>,
}

/// What a decision changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It leads from now on. So many messages that the last leader counted as committed are not here: not
    /// zero after an unclean election only, and then at least so many.
    Leads(Offset),
    /// It leads as before.
    StillLeads,
    /// It follows another leader, or the same one over a decision that it missed.
    Follows,
    /// It follows as before.
    StillFollows,
}

/// What a follower's question tells of its copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// What it has, or has had since this leadership began.
    Present,
    /// What it had at some time, maybe before this leadership: it is to be answered without a wait, so that it asks again,
    /// and counts for nothing.
    Maybe,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Standing {
    id: TopicPartition,
    me: BrokerId,
    role: Role,
    assigned: Vec<BrokerId>,
    /// Of the present leadership.
    term: Option<Term>,
    /// -1 before the first decision.
    leader_epoch: LeaderEpoch,
    controller_epoch: ControllerEpoch,
    high_watermark: LogPosition,
    /// Of the partition's leader; what it says is meaningless to a follower.
    isr: Isr,
    /// Of a follower with its leader.
    agreement: Agreement,
    /// The high watermark that the leader told last, however far this copy goes.
    told: Offset,
    /// Over which connection each follower asked last, and which leadership; none if it was not assigned since.
    asked: BTreeMap<BrokerId, (u64, Option<Term>)>,
    /// It has led since the broker was started, and its log was cut after that.
    led: bool,
    cut_since_led: bool,
}

impl Standing {
    /// No role yet.
    pub fn new(id: TopicPartition, me: BrokerId) -> Standing {
        let begin = Begin {
            members: vec![me],
            assigned: &[],
            zk_version: 0,
            end: 0,
            suspect: false,
            now: Mono::default(),
        };
        Standing {
            isr: Isr::new(me, begin),
            id,
            me,
            role: Role::None,
            assigned: Vec::new(),
            term: None,
            leader_epoch: LeaderEpoch(-1),
            controller_epoch: ControllerEpoch(0),
            high_watermark: unplaced(0),
            agreement: Agreement::default(),
            told: 0,
            asked: BTreeMap::new(),
            led: false,
            cut_since_led: false,
        }
    }

    /// The role in force.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether this broker leads.
    pub fn leads(&self) -> bool {
        self.role == Role::Leader
    }

    /// The leadership in force, if this broker leads.
    pub fn term(&self) -> Option<Term> {
        self.term
    }

    /// The epoch of the decision in force.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Up to where consumers may read. Its segment and position are a leader's only.
    pub fn high_watermark(&self) -> LogPosition {
        self.high_watermark
    }

    /// Of a leader.
    pub fn in_sync(&self) -> &[BrokerId] {
        self.isr.members()
    }

    /// As the controller assigned them.
    pub fn assigned(&self) -> &[BrokerId] {
        &self.assigned
    }

    /// Whether a decision may be taken.
    ///
    /// # Errors
    /// [`Error::StaleLeader`], [`Error::NotInReplicas`]
    pub fn admits(&self, decision: &Decision) -> Result<()> {
        let request = decision.state.leader_epoch;
        if request <= self.leader_epoch {
            return Err(Error::StaleLeader {
                request,
                current: self.leader_epoch,
            });
        }
        if !decision.replicas.contains(&self.me) {
            return Err(Error::NotInReplicas {
                broker: self.me,
                partition: self.id.clone(),
            });
        }
        Ok(())
    }

    /// Takes a decision that is admitted. After [`Change::Leads`] the caller says where the high watermark
    /// is: [`place_high_watermark`](Self::place_high_watermark).
    pub fn take(&mut self, decision: &Decision, copy: Copy, now: Mono) -> Change {
        let next = self.leader_epoch.0.checked_add(1) == Some(decision.state.leader_epoch.0);
        for id in decision.replicas.iter().filter(|id| !self.assigned.contains(id)) {
            if let Some((_, of)) = self.asked.get_mut(id) {
                *of = None;
            }
        }
        self.assigned.clone_from(&decision.replicas);
        self.leader_epoch = decision.state.leader_epoch;
        self.controller_epoch = decision.state.controller_epoch;
        if let Some(checkpoint) = copy.checkpoint {
            self.high_watermark = unplaced(checkpoint.min(copy.end.offset));
        }
        if decision.state.leader == self.me {
            self.lead(decision, copy, next, now)
        } else {
            self.follow(decision.state.leader, next)
        }
    }

    /// `next`: no decision was missed.
    fn lead(&mut self, decision: &Decision, copy: Copy, next: bool, now: Mono) -> Change {
        let members = decision.state.isr.clone();
        let version = decision.state.zk_version;
        if self.role == Role::Leader && next {
            self.isr.renew(members, &decision.replicas, version, now);
            self.raise_high_watermark(copy.end);
            return Change::StillLeads;
        }
        // A leader that missed a decision cannot know what its followers did meanwhile.
        let suspect = self.cut_since_led || self.role == Role::Leader;
        let begin = Begin {
            members,
            assigned: &decision.replicas,
            zk_version: version,
            end: copy.end.offset,
            suspect,
            now,
        };
        self.isr = Isr::new(self.me, begin);
        let missing = match self.role {
            Role::Follower(_) => (self.told - copy.end.offset).max(0),
            _ => 0,
        };
        let kept = self.high_watermark.offset.clamp(copy.start, copy.end.offset);
        self.high_watermark = unplaced(kept);
        // A leader that missed a decision may have missed another leader, too.
        self.term = Some(Term::begin());
        self.role = Role::Leader;
        self.agreement.doubt();
        self.led = true;
        self.cut_since_led = false;
        Change::Leads(missing)
    }

    fn follow(&mut self, leader: BrokerId, next: bool) -> Change {
        let role = Role::Follower(leader);
        self.term = None;
        if std::mem::replace(&mut self.role, role) == role && next {
            return Change::StillFollows;
        }
        self.agreement.doubt();
        Change::Follows
    }

    /// Stops copying: the controller took this replica off duty. A leader stays one.
    pub fn stop_following(&mut self) {
        if let Role::Follower(_) = self.role {
            self.role = Role::Follower(BrokerId::NONE);
            self.agreement.doubt();
        }
    }

    /// Neither leads nor copies any more: its log is out of use.
    pub fn go_offline(&mut self) {
        self.role = Role::Follower(BrokerId::NONE);
        self.term = None;
        self.agreement.doubt();
    }

    /// Gives up every role: the partition is about to be removed.
    pub fn resign(&mut self) {
        self.term = None;
        self.role = Role::None;
    }

    /// Where a new leader's high watermark is in its log; then it may rise at once.
    pub fn place_high_watermark(&mut self, at: LogPosition, end: LogPosition) {
        self.high_watermark = at;
        self.raise_high_watermark(end);
    }

    /// Sets a leader's high watermark to what all in-sync replicas have, if that is more; its log ends at
    /// `end`. Says whether it rose.
    pub fn raise_high_watermark(&mut self, end: LogPosition) -> bool {
        let Some(agreed) = self.isr.high_watermark(end) else {
            return false;
        };
        let old = self.high_watermark.offset;
        if agreed.offset < old {
            return false;
        }
        // The same offset may have moved to a new segment.
        self.high_watermark = agreed;
        agreed.offset > old
    }

    /// Whether enough are in sync for acks=-1.
    ///
    /// # Errors
    /// [`Error::NotEnoughReplicas`]
    pub fn check_in_sync(&self, least: i32) -> Result<()> {
        let there = self.isr.members().len();
        if i32::try_from(there).unwrap_or(i32::MAX) < least {
            return Err(Error::NotEnoughReplicas {
                partition: self.id.clone(),
                there,
                least,
            });
        }
        Ok(())
    }

    /// Whether an append with acks -1 whose last message has offset `last` is as safe as it must be.
    pub fn replicated(&self, last: Offset, least: i32) -> Replicated {
        match self.role {
            Role::None => Replicated::Failed(AfterAppend::Gone),
            Role::Follower(_) => Replicated::Failed(AfterAppend::NotLeader),
            Role::Leader => produce_done(last, self.high_watermark.offset, self.isr.members().len(), least),
        }
    }

    /// Notes that a follower asks over the connection of that number, before it is answered; says whether its question
    /// tells what it has.
    ///
    /// All that a follower is told over one connection between two errors is of one leadership. What an earlier one told
    /// it another leader's messages may have replaced here since, and it would take the next answer for the continuation:
    /// its copy would differ from all others where nobody compares any more. An error makes it compare.
    ///
    /// And what it asked before it was assigned anew says what it had before it deleted its copy; what comes over an older
    /// connection than its last, what an earlier life of it had. Numbers of connections rise.
    ///
    /// Over a new connection the first question may have waited here, unread, since before this leadership: it says what
    /// the follower had then. Any later one it asks when it has been answered by this leadership.
    ///
    /// # Errors
    /// [`Error::NotLeader`]: once, if it asked an earlier leadership of this broker over that connection, or was assigned anew
    /// since it did; and over an older connection.
    pub fn asked(&mut self, follower: BrokerId, connection: u64) -> Result<Told> {
        let Some(term) = self.term.filter(|_| self.assigned.contains(&follower)) else {
            return Ok(Told::Present);
        };
        let refusal = || Err(Error::NotLeader(self.id.clone()));
        let before = self.asked.get(&follower).copied();
        if before.is_some_and(|(over, _)| connection < over) {
            return refusal();
        }
        match self.asked.insert(follower, (connection, Some(term))) {
            Some((over, of)) if over == connection && of == Some(term) => Ok(Told::Present),
            Some((over, _)) if over == connection => refusal(),
            _ => Ok(Told::Maybe),
        }
    }

    /// Notes a follower's question for messages from `at` on, `None` if there is nothing at what it asked
    /// for, when the log ended at `end`; it would wait for an answer for so long. Returns the set that should
    /// be in sync from now on, if the follower is to join or has lost what it had; it is proposed already.
    ///
    /// # Errors
    /// [`Error::NotAssigned`]
    pub fn fetched(
        &mut self,
        follower: BrokerId,
        at: Option<LogPosition>,
        end: Offset,
        wait: Duration,
        now: Mono,
    ) -> Result<Option<LeaderAndIsr>> {
        let high_watermark = self.high_watermark.offset;
        if !self.isr.record_fetch(follower, at, end, high_watermark, now) {
            return Err(Error::NotAssigned {
                follower,
                partition: self.id.clone(),
            });
        }
        self.isr.expect(follower, wait, now);
        let joined = self.isr.wants_in(follower, high_watermark, now);
        let changed = joined.or_else(|| self.isr.lost(follower));
        Ok(changed.map(|set| self.propose(set)))
    }

    /// The set without members who lag, proposed, if there are any.
    pub fn drop_lagging(&mut self, end: Offset, max_lag: Duration, now: Mono) -> Option<LeaderAndIsr> {
        if !self.leads() {
            return None;
        }
        let left = self.isr.without_lagging(end, max_lag, now)?;
        Some(self.propose(left))
    }

    fn propose(&mut self, set: Vec<BrokerId>) -> LeaderAndIsr {
        let list = |ids: &[BrokerId]| ids.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(",");
        let old = self.isr.members();
        let verb = if set.len() > old.len() {
            "Expanding"
        } else {
            "Shrinking"
        };
        info!(
            "Partition {} on broker {}: {verb} ISR for partition {} from {} to {}",
            self.id,
            self.me,
            self.id,
            list(old),
            list(&set)
        );
        self.isr.propose(set.clone());
        LeaderAndIsr {
            leader: self.me,
            leader_epoch: self.leader_epoch,
            isr: set,
            controller_epoch: self.controller_epoch,
            zk_version: self.isr.zk_version(),
        }
    }

    /// Whether `proposal` is still what is being written.
    pub fn still_proposes(&self, proposal: &LeaderAndIsr) -> bool {
        self.leads()
            && self.leader_epoch == proposal.leader_epoch
            && self.isr.proposed() == Some(&proposal.isr)
    }

    /// Takes note of what became of a proposal. Returns whether the proposed set is in force now; the high
    /// watermark may rise then.
    pub fn settle(&mut self, proposal: &LeaderAndIsr, outcome: Outcome) -> bool {
        if !self.still_proposes(proposal) {
            return false;
        }
        match outcome {
            Outcome::Written(version) => {
                self.isr.installed(version);
                true
            }
            Outcome::Unregistered => {
                self.isr.withdrawn();
                false
            }
            Outcome::Overtaken(there)
                if there.leader == self.me && there.leader_epoch == self.leader_epoch =>
            {
                self.isr.adopted(there.isr, there.zk_version);
                false
            }
            Outcome::Overtaken(_) | Outcome::Gone => {
                self.isr.fenced();
                false
            }
        }
    }

    /// The leader did not answer a question but said that it does not lead: what it said before may be of a leadership
    /// that has ended.
    pub fn refused(&mut self, leader: BrokerId, question: &Question) {
        if let Some(agreement) = self.following(leader)
            && agreement.is_current(question)
        {
            agreement.doubt();
        }
    }

    /// A follower's agreement with `leader`, if it follows that one.
    pub fn following(&mut self, leader: BrokerId) -> Option<&mut Agreement> {
        (self.role == Role::Follower(leader)).then_some(&mut self.agreement)
    }

    /// Where a follower of `leader` asks from; see [`Agreement::ask`]. `None` if it follows another.
    ///
    /// # Errors
    /// Those of `back`.
    pub fn ask<E>(
        &mut self,
        leader: BrokerId,
        connection: u64,
        copy: Extent,
        back: impl FnOnce(Offset, u64) -> std::result::Result<Offset, E>,
    ) -> std::result::Result<Option<Question>, E> {
        let high_watermark = self.high_watermark.offset;
        match self.following(leader) {
            Some(agreement) => agreement.ask(connection, copy, high_watermark, back).map(Some),
            None => Ok(None),
        }
    }

    /// An answer of the leader's has been taken over, and the copy ends at `end`: its high watermark
    /// follows the leader's. Returns it.
    pub fn follow_high_watermark(&mut self, leaders: Offset, end: Offset) -> Offset {
        self.told = leaders;
        let old = self.high_watermark.offset;
        self.high_watermark = unplaced(self.agreement.high_watermark(old, leaders, end));
        self.high_watermark.offset
    }

    /// The copy was cut to `end`, or begun anew there.
    pub fn was_cut(&mut self, end: Offset) {
        self.agreement.cut();
        self.high_watermark = unplaced(self.high_watermark.offset.min(end));
        self.cut_since_led |= self.led;
    }
}

/// An offset of which only a leader would have to know where it is.
fn unplaced(offset: Offset) -> LogPosition {
    LogPosition {
        offset,
        segment: 0,
        position: 0,
    }
}
