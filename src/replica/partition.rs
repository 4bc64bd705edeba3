//! One partition as this broker sees it: its role in it, its log, its high watermark.
//!
//! ```text
//!             become leader                     become follower
//!  no role ────────────────> leader(epoch e) ──────────────────> follower(epoch e+1) ──> leader ...
//! ```
//!
//! Two locks, always in this order and never held over an await: `standing` (shared while reading or
//! appending, so that a role does not change beneath; exclusive to change it) and `progress` (short).

use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::cluster::{BrokerId, ControllerEpoch, LeaderAndIsr, LeaderEpoch, TopicPartition};
use crate::log::{Appended, Fetched, Log, LogPosition};
use crate::message::Offset;
use crate::metrics::{Name, Registry, Scope};
use crate::util::clock::{Mono, WallMs};

use super::delayed::{Replicated, produce_done};
use super::error::{AfterAppend, Error, Result};
use super::isr::Isr;
use super::isr_store::Outcome;
use super::purgatory::WaitList;
use super::term::Term;
use super::topic_meters::TopicMeters;

/// See the module.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) id: TopicPartition,
    me: BrokerId,
    standing: RwLock<Standing>,
    progress: Mutex<Progress>,
    /// Fetches that wait for more to read.
    pub(super) readers: WaitList,
    /// Produces that wait for replicas.
    pub(super) writers: WaitList,
    /// The topic's.
    pub(super) meters: Arc<TopicMeters>,
    /// While the partition is one of the manager's.
    gauges: Mutex<Option<Scope>>,
}

/// What the controller decided last.
#[derive(Debug)]
struct Standing {
    role: Role,
    /// Of this broker's replica; there is none before the first decision that names it.
    log: Option<Arc<Log>>,
    assigned: Vec<BrokerId>,
    /// Of the present leadership; see [`Partition::term`].
    term: Option<Term>,
    /// -1 before the first decision.
    leader_epoch: LeaderEpoch,
    controller_epoch: ControllerEpoch,
}

/// What this broker does in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing yet, or no more.
    None,
    /// Takes writes and serves followers.
    Leader,
    /// Copies from that broker; [`BrokerId::NONE`] if there is no leader.
    Follower(BrokerId),
}

/// What moves with every append and fetch.
#[derive(Debug)]
struct Progress {
    high_watermark: LogPosition,
    /// Of the partition's leader; what it says is meaningless to a follower.
    isr: Isr,
}

/// What the controller decided, as it arrives.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) state: LeaderAndIsr,
    pub(super) replicas: Vec<BrokerId>,
}

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Of the leader, up to the high watermark.
    Consumer,
    /// Of any replica, up to its high watermark.
    Debugger,
    /// Of the leader, up to the log's end; where it reads tells what it has.
    Follower(BrokerId),
}

impl Reader {
    /// As numbered on the wire: -1 (and other negatives) a consumer, -2 a debugger, else a broker id.
    pub fn from_replica_id(id: i32) -> Reader {
        match id {
            -2 => Reader::Debugger,
            ..0 => Reader::Consumer,
            _ => Reader::Follower(BrokerId(id)),
        }
    }
}

/// What was read of one partition.
#[derive(Clone, Debug)]
pub struct Read {
    /// The high watermark before the read.
    pub high_watermark: Offset,
    /// Where the read began, and the messages.
    pub fetched: Fetched,
}

impl Partition {
    /// No role, no log.
    pub(super) fn new(id: TopicPartition, me: BrokerId, meters: Arc<TopicMeters>) -> Partition {
        let start = LogPosition {
            offset: 0,
            segment: 0,
            position: 0,
        };
        Partition {
            id,
            me,
            standing: RwLock::new(Standing {
                role: Role::None,
                log: None,
                assigned: Vec::new(),
                term: None,
                leader_epoch: LeaderEpoch(-1),
                controller_epoch: ControllerEpoch(0),
            }),
            progress: Mutex::new(Progress {
                high_watermark: start,
                isr: Isr::new(me, vec![me], &[], 0, Mono::default()),
            }),
            readers: WaitList::default(),
            writers: WaitList::default(),
            meters,
            gauges: Mutex::new(None),
        }
    }

    /// Shows Kafka's gauge of the partition until it is given up.
    pub(super) fn show_in(self: &Arc<Self>, metrics: &Registry) {
        let scope = metrics.scope();
        let number = self.id.partition.to_string();
        let tags = [("topic", &*self.id.topic), ("partition", number.as_str())];
        let name = Name::new("kafka.cluster", "Partition", "UnderReplicated", &tags);
        let partition = Arc::downgrade(self);
        scope.gauge_of(name, move || {
            let state = partition.upgrade().and_then(|p| p.sync_state());
            i64::from(state.is_some_and(|(in_sync, assigned)| in_sync < assigned))
        });
        *self.gauges.lock().expect("a holder of a partition panicked") = Some(scope);
    }

    /// Afterwards the partition is not among the metrics.
    pub(super) fn show_no_more(&self) {
        self.gauges
            .lock()
            .expect("a holder of a partition panicked")
            .take();
    }

    fn standing(&self) -> RwLockReadGuard<'_, Standing> {
        self.standing
            .read()
            .expect("a holder of a partition's standing panicked")
    }

    fn standing_mut(&self) -> RwLockWriteGuard<'_, Standing> {
        self.standing
            .write()
            .expect("a holder of a partition's standing panicked")
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress
            .lock()
            .expect("a holder of a partition's progress panicked")
    }

    /// The role in force.
    pub(super) fn role(&self) -> Role {
        self.standing().role
    }

    /// The leadership in force, if this broker leads.
    pub(super) fn term(&self) -> Option<Term> {
        self.standing().term
    }

    /// The log as the leader sees it.
    ///
    /// # Errors
    /// [`Error::NotLeader`]
    pub(super) fn led_log(&self) -> Result<Arc<Log>> {
        self.standing().led(&self.id).cloned()
    }

    /// The local log, if there is a replica here.
    pub(super) fn log(&self) -> Option<Arc<Log>> {
        self.standing().log.clone()
    }

    /// The epoch of the decision in force.
    pub(super) fn leader_epoch(&self) -> LeaderEpoch {
        self.standing().leader_epoch
    }

    /// Up to where consumers may read.
    pub(super) fn high_watermark(&self) -> Offset {
        self.progress().high_watermark.offset
    }

    /// In-sync and assigned replicas, if this broker leads.
    pub(super) fn sync_state(&self) -> Option<(usize, usize)> {
        let standing = self.standing();
        (standing.role == Role::Leader)
            .then(|| (self.progress().isr.members().len(), standing.assigned.len()))
    }

    /// All waiting requests look again.
    pub(super) fn wake_all(&self) {
        self.readers.wake();
        self.writers.wake();
    }

    /// Appends as the leader, for `acks`.
    ///
    /// # Errors
    /// [`Error::NotLeader`]; [`Error::NotEnoughReplicas`] for acks -1; what the log refuses.
    pub(super) fn append(&self, set: BytesMut, acks: i16, now: WallMs) -> Result<Appended> {
        let appended = {
            let standing = self.standing();
            let log = standing.led(&self.id)?;
            if acks == -1 {
                self.check_in_sync(log)?;
            }
            let appended = log.append_as_leader(set, now)?;
            if self.raise_high_watermark(log) {
                self.writers.wake();
            }
            appended
        };
        self.readers.wake();
        Ok(appended)
    }

    fn check_in_sync(&self, log: &Log) -> Result<()> {
        let there = self.progress().isr.members().len();
        let least = log.config().min_insync_replicas;
        if i32::try_from(there).unwrap_or(i32::MAX) < least {
            return Err(Error::NotEnoughReplicas {
                partition: self.id.clone(),
                there,
                least,
            });
        }
        Ok(())
    }

    /// Sets the high watermark to what all in-sync replicas have, if that is more. Says whether it rose.
    fn raise_high_watermark(&self, log: &Log) -> bool {
        let mut progress = self.progress();
        let Some(agreed) = progress.isr.high_watermark(log.end()) else {
            return false;
        };
        let old = progress.high_watermark;
        if agreed.offset < old.offset {
            return false;
        }
        // The same offset may have moved to a new segment.
        progress.high_watermark = agreed;
        log.set_high_watermark(agreed.offset);
        agreed.offset > old.offset
    }

    /// Whether an append with acks -1 whose last message has offset `last` is as safe as it must be.
    pub(super) fn replicated(&self, last: Offset) -> Replicated {
        let standing = self.standing();
        let Ok(log) = standing.led(&self.id) else {
            return Replicated::Failed(match standing.role {
                Role::None => AfterAppend::Gone,
                _ => AfterAppend::NotLeader,
            });
        };
        let progress = self.progress();
        produce_done(
            last,
            progress.high_watermark.offset,
            progress.isr.members().len(),
            log.config().min_insync_replicas,
        )
    }

    /// Reads, and for a follower notes what its question tells. Returns with it the set that should be
    /// in sync from now on, if the follower has caught up and is to join; it is proposed already.
    ///
    /// # Errors
    /// [`Error::NotLeader`], [`Error::ReplicaNotAvailable`], [`Error::NotAssigned`], or the log's.
    pub(super) fn read(
        &self,
        offset: Offset,
        max_bytes: i32,
        reader: Reader,
        now: Mono,
    ) -> (Result<Read>, Option<LeaderAndIsr>) {
        let standing = self.standing();
        let log = match standing.readable(&self.id, reader) {
            Ok(log) => log,
            Err(e) => return (Err(e), None),
        };
        let high_watermark = self.progress().high_watermark.offset;
        let Reader::Follower(follower) = reader else {
            let fetched = log.read(offset, max_bytes, Some(high_watermark));
            let read = fetched.map(|fetched| Read {
                high_watermark,
                fetched,
            });
            return (read.map_err(Error::from), None);
        };
        let leader_end = log.end().offset;
        let fetched = log.read(offset, max_bytes, None);
        let change = {
            let at = fetched.as_ref().ok().map(|f| f.at);
            let mut progress = self.progress();
            if !progress.isr.record_fetch(follower, at, leader_end, now) {
                let partition = self.id.clone();
                return (Err(Error::NotAssigned { follower, partition }), None);
            }
            let joined = progress.isr.wants_in(follower, high_watermark);
            joined.map(|set| self.propose(&standing, &mut progress, set))
        };
        if self.raise_high_watermark(log) {
            self.readers.wake();
        }
        self.writers.wake();
        let read = fetched.map(|fetched| Read {
            high_watermark,
            fetched,
        });
        (read.map_err(Error::from), change)
    }

    /// Where what `reader` may see ends.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub(super) fn readable_end(&self, reader: Reader) -> Result<LogPosition> {
        let standing = self.standing();
        let log = standing.readable(&self.id, reader)?;
        Ok(match reader {
            Reader::Follower(_) => log.end(),
            _ => self.progress().high_watermark,
        })
    }

    /// Segment offsets before a time; see [`Log::offsets_before`]. A consumer sees none above the high
    /// watermark, which takes their place.
    pub(super) fn offsets_before(
        &self,
        timestamp: i64,
        max: i32,
        reader: Reader,
        now: WallMs,
    ) -> Result<Vec<Offset>> {
        let standing = self.standing();
        let log = standing.readable(&self.id, reader)?;
        if max < 0 {
            return Err(Error::NegativeCount(max));
        }
        let mut offsets = log.offsets_before(timestamp, max, now);
        if reader == Reader::Consumer {
            let high_watermark = self.progress().high_watermark.offset;
            if offsets.iter().any(|o| *o > high_watermark) {
                offsets.retain(|o| *o <= high_watermark);
                offsets.insert(0, high_watermark);
            }
        }
        Ok(offsets)
    }

    /// Takes the lead as decided. `initial` is the high watermark if the log is new to this partition.
    pub(super) fn lead(&self, log: Arc<Log>, decision: &Decision, initial: Offset, now: Mono) {
        {
            let mut standing = self.standing_mut();
            let mut progress = self.progress();
            standing.take(decision);
            let isr = decision.state.isr.clone();
            let version = decision.state.zk_version;
            if standing.role == Role::Leader {
                progress.isr.renew(isr, &decision.replicas, version, now);
            } else {
                progress.isr = Isr::new(self.me, isr, &decision.replicas, version, now);
                let known = match &standing.log {
                    Some(_) => progress.high_watermark.offset,
                    None => initial,
                };
                let end = log.end();
                let kept = known.clamp(log.start_offset(), end.offset);
                progress.high_watermark = log.locate(kept).unwrap_or(end);
            }
            if standing.role != Role::Leader {
                standing.term = Some(Term::begin());
            }
            standing.role = Role::Leader;
            standing.log = Some(log.clone());
            drop(progress);
            self.raise_high_watermark(&log);
        }
        self.wake_all();
    }

    /// Follows as decided. Returns whether the leader is another than before, so that the log is to be
    /// cut to the high watermark.
    pub(super) fn follow(&self, log: Arc<Log>, decision: &Decision, initial: Offset) -> bool {
        let changed = {
            let mut standing = self.standing_mut();
            let mut progress = self.progress();
            standing.take(decision);
            if standing.log.is_none() {
                progress.high_watermark = LogPosition {
                    offset: initial.min(log.end().offset),
                    segment: 0,
                    position: 0,
                };
            }
            log.set_high_watermark(progress.high_watermark.offset);
            standing.log = Some(log);
            standing.term = None;
            let role = Role::Follower(decision.state.leader);
            std::mem::replace(&mut standing.role, role) != role
        };
        self.wake_all();
        changed
    }

    /// Stops copying: the controller took this replica off duty. A leader stays one.
    pub(super) fn stop_following(&self) {
        let mut standing = self.standing_mut();
        if let Role::Follower(_) = standing.role {
            standing.role = Role::Follower(BrokerId::NONE);
        }
    }

    /// Gives up role and log, because the log's directory has failed. Who waits is told that this broker
    /// does not lead, so that clients look for one that does.
    pub(super) fn go_offline(&self) {
        {
            let mut standing = self.standing_mut();
            standing.role = Role::Follower(BrokerId::NONE);
            standing.log = None;
        }
        self.wake_all();
    }

    /// Gives up role and log: the partition is about to be removed.
    pub(super) fn resign(&self) {
        {
            let mut standing = self.standing_mut();
            standing.role = Role::None;
            standing.term = None;
            standing.log = None;
        }
        self.wake_all();
    }

    /// Appends what the leader sent and takes over its high watermark. Nothing if the log's end is not
    /// `offset` (a role change came between) or this broker no longer follows `leader`.
    pub(super) fn append_fetched(
        &self,
        leader: BrokerId,
        offset: Offset,
        set: Bytes,
        leader_high_watermark: Offset,
        now: WallMs,
    ) -> Result<Option<Offset>> {
        let standing = self.standing();
        let Some(log) = standing
            .log
            .as_ref()
            .filter(|_| standing.role == Role::Follower(leader))
        else {
            return Ok(None);
        };
        if log.end().offset != offset {
            return Ok(None);
        }
        log.append_as_follower(set, now)?;
        let end = log.end();
        let mut progress = self.progress();
        progress.high_watermark = LogPosition {
            offset: leader_high_watermark.clamp(0, end.offset),
            segment: 0,
            position: 0,
        };
        log.set_high_watermark(progress.high_watermark.offset);
        Ok(Some(end.offset))
    }

    /// Cuts a follower's log with `cut`, which the high watermark then does not exceed. Nothing if this
    /// broker no longer follows `leader`.
    pub(super) fn cut_follower(
        &self,
        leader: BrokerId,
        cut: impl FnOnce(&Log, Offset) -> crate::log::Result<()>,
    ) -> Result<()> {
        let standing = self.standing();
        if let Some(log) = standing
            .log
            .as_ref()
            .filter(|_| standing.role == Role::Follower(leader))
        {
            let mut progress = self.progress();
            cut(log, progress.high_watermark.offset)?;
            let end = log.end().offset;
            progress.high_watermark.offset = progress.high_watermark.offset.min(end);
        }
        Ok(())
    }

    /// The set without members who lag, proposed, if there are any.
    pub(super) fn drop_lagging(&self, max_lag: Duration, now: Mono) -> Option<LeaderAndIsr> {
        let standing = self.standing();
        let log = standing.led(&self.id).ok()?;
        let mut progress = self.progress();
        let left = progress.isr.without_lagging(log.end().offset, max_lag, now)?;
        Some(self.propose(&standing, &mut progress, left))
    }

    fn propose(&self, standing: &Standing, progress: &mut Progress, set: Vec<BrokerId>) -> LeaderAndIsr {
        let list = |ids: &[BrokerId]| ids.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(",");
        let (old, verb) = (
            progress.isr.members(),
            if set.len() > progress.isr.members().len() {
                "Expanding"
            } else {
                "Shrinking"
            },
        );
        ::log::info!(
            "Partition {} on broker {}: {verb} ISR for partition {} from {} to {}",
            self.id,
            self.me,
            self.id,
            list(old),
            list(&set)
        );
        progress.isr.propose(set.clone());
        LeaderAndIsr {
            leader: self.me,
            leader_epoch: standing.leader_epoch,
            isr: set,
            controller_epoch: standing.controller_epoch,
            zk_version: progress.isr.zk_version(),
        }
    }

    /// Whether `proposal` is still what is being written.
    pub(super) fn still_proposes(&self, proposal: &LeaderAndIsr) -> bool {
        let standing = self.standing();
        standing.role == Role::Leader
            && standing.leader_epoch == proposal.leader_epoch
            && self.progress().isr.proposed() == Some(&proposal.isr)
    }

    /// Takes note of what became of a proposal. Returns whether the proposed set is in force now.
    pub(super) fn settle(&self, proposal: &LeaderAndIsr, outcome: Outcome) -> bool {
        if !self.still_proposes(proposal) {
            return false;
        }
        let standing = self.standing();
        let Ok(log) = standing.led(&self.id) else {
            return false;
        };
        let installed = {
            let mut progress = self.progress();
            if standing.leader_epoch != proposal.leader_epoch {
                return false;
            }
            match outcome {
                Outcome::Written(version) => {
                    progress.isr.installed(version);
                    true
                }
                Outcome::Overtaken(there)
                    if there.leader == self.me && there.leader_epoch == standing.leader_epoch =>
                {
                    progress.isr.adopted(there.isr, there.zk_version);
                    false
                }
                Outcome::Overtaken(_) | Outcome::Gone => {
                    progress.isr.fenced();
                    false
                }
            }
        };
        if self.raise_high_watermark(log) {
            self.readers.wake();
        }
        self.writers.wake();
        installed
    }
}

impl Standing {
    fn take(&mut self, decision: &Decision) {
        self.assigned.clone_from(&decision.replicas);
        self.leader_epoch = decision.state.leader_epoch;
        self.controller_epoch = decision.state.controller_epoch;
    }

    fn led(&self, id: &TopicPartition) -> Result<&Arc<Log>> {
        match (&self.role, &self.log) {
            (Role::Leader, Some(log)) => Ok(log),
            _ => Err(Error::NotLeader(id.clone())),
        }
    }

    fn readable(&self, id: &TopicPartition, reader: Reader) -> Result<&Arc<Log>> {
        match reader {
            Reader::Debugger => self
                .log
                .as_ref()
                .ok_or_else(|| Error::ReplicaNotAvailable(id.clone())),
            _ => self.led(id),
        }
    }
}
