//! One partition as this broker sees it: its log, and its [`Standing`] behind locks.
//!
//! Two locks, always in this order and never held over an await: `log` (shared while reading or
//! appending, so that the role does not change beneath; exclusive to change it) and `standing` (short).

mod following;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bytes::BytesMut;

use crate::cluster::{BrokerId, LeaderAndIsr, TopicPartition};
use crate::log::{Appended, Fetched, Log, LogPosition};
use crate::message::Offset;
use crate::metrics::{Name, Registry, Scope};
use crate::util::clock::{Mono, WallMs};

use super::delayed::Replicated;
use super::error::{Error, Result};
use super::isr_store::Outcome;
use super::purgatory::WaitList;
use super::standing::{Change, Copy, Decision, Role, Standing, Told};
use super::term::Term;
use super::topic_meters::TopicMeters;

/// The lag of a copy of which nothing was fetched since it got its role.
const UNKNOWN_LAG: i64 = -1;

/// See the module.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) id: TopicPartition,
    /// Of this broker's replica; there is none before the first decision that names it.
    log: RwLock<Option<Arc<Log>>>,
    standing: Mutex<Standing>,
    /// Fetches of consumers and debuggers, that wait for the high watermark.
    pub(super) readers: WaitList,
    /// Fetches of followers, that wait for the log's end.
    pub(super) followers: WaitList,
    /// Produces that wait for replicas.
    pub(super) writers: WaitList,
    /// The topic's.
    pub(super) meters: Arc<TopicMeters>,
    /// While the partition is one of the manager's.
    gauges: Mutex<Option<Scope>>,
    /// See [`lag`](Self::lag).
    lag: AtomicI64,
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
    /// The leadership that answers.
    pub(super) term: Option<Term>,
    /// The answer is not to wait for more: the follower is to ask again before its question counts.
    pub(super) at_once: bool,
}

/// How often a question is read for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Round {
    /// It has come, over the connection of that number, and may wait for so long.
    First(u64, Duration),
    /// It is looked at again, after a wait that began in that leadership: a follower that has gone since must not seem to
    /// be there, and one that asked an earlier leadership must not be told by this one.
    Again(Option<Term>),
}

impl Partition {
    /// No role, no log.
    pub(super) fn new(id: TopicPartition, me: BrokerId, meters: Arc<TopicMeters>) -> Partition {
        Partition {
            standing: Mutex::new(Standing::new(id.clone(), me)),
            id,
            log: RwLock::new(None),
            readers: WaitList::default(),
            followers: WaitList::default(),
            writers: WaitList::default(),
            meters,
            gauges: Mutex::new(None),
            lag: AtomicI64::new(UNKNOWN_LAG),
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

    fn hold(&self) -> RwLockReadGuard<'_, Option<Arc<Log>>> {
        self.log.read().expect("a holder of a partition's log panicked")
    }

    fn hold_alone(&self) -> RwLockWriteGuard<'_, Option<Arc<Log>>> {
        self.log.write().expect("a holder of a partition's log panicked")
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing
            .lock()
            .expect("a holder of a partition's standing panicked")
    }

    /// How many offsets this copy ended below the leader's high watermark when it last got an answer; -1
    /// before the first one.
    pub(super) fn lag(&self) -> i64 {
        self.lag.load(Ordering::Relaxed)
    }

    /// The role in force.
    pub(super) fn role(&self) -> Role {
        self.standing().role()
    }

    /// The leadership in force, if this broker leads.
    pub(super) fn term(&self) -> Option<Term> {
        self.standing().term()
    }

    /// The log as the leader sees it.
    ///
    /// # Errors
    /// [`Error::NotLeader`]
    pub(super) fn led_log(&self) -> Result<Arc<Log>> {
        self.led(&self.hold()).cloned()
    }

    /// The local log, if there is a replica here.
    pub(super) fn log(&self) -> Option<Arc<Log>> {
        self.hold().clone()
    }

    /// Up to where consumers may read.
    pub(super) fn high_watermark(&self) -> Offset {
        self.standing().high_watermark().offset
    }

    /// In-sync and assigned replicas, if this broker leads.
    pub(super) fn sync_state(&self) -> Option<(usize, usize)> {
        let standing = self.standing();
        standing
            .leads()
            .then(|| (standing.in_sync().len(), standing.assigned().len()))
    }

    /// All waiting requests look again.
    pub(super) fn wake_all(&self) {
        self.readers.wake();
        self.followers.wake();
        self.writers.wake();
    }

    /// The fetches that wait for the same as `reader` does.
    pub(super) fn waiting_like(&self, reader: Reader) -> &WaitList {
        match reader {
            Reader::Follower(_) => &self.followers,
            Reader::Consumer | Reader::Debugger => &self.readers,
        }
    }

    /// The held log, if this broker leads.
    fn led<'a>(&self, held: &'a Option<Arc<Log>>) -> Result<&'a Arc<Log>> {
        match held {
            Some(log) if self.standing().leads() => Ok(log),
            _ => Err(Error::NotLeader(self.id.clone())),
        }
    }

    fn readable<'a>(&self, held: &'a Option<Arc<Log>>, reader: Reader) -> Result<&'a Arc<Log>> {
        match reader {
            Reader::Debugger => held
                .as_ref()
                .ok_or_else(|| Error::ReplicaNotAvailable(self.id.clone())),
            _ => self.led(held),
        }
    }

    /// Appends as the leader, for `acks`.
    ///
    /// # Errors
    /// [`Error::NotLeader`]; [`Error::NotEnoughReplicas`] for acks -1; what the log refuses.
    pub(super) fn append(&self, set: BytesMut, acks: i16, now: WallMs) -> Result<Appended> {
        let appended = {
            let held = self.hold();
            let log = self.led(&held)?;
            if acks == -1 {
                self.standing().check_in_sync(log.config().min_insync_replicas)?;
            }
            let appended = log.append_as_leader(set, now)?;
            self.raise_high_watermark(log);
            appended
        };
        self.followers.wake();
        Ok(appended)
    }

    /// Sets the high watermark to what all in-sync replicas have, if that is more; then those look again who
    /// wait for that.
    fn raise_high_watermark(&self, log: &Log) {
        let rose = {
            let mut standing = self.standing();
            let rose = standing.raise_high_watermark(log.end());
            if rose {
                log.set_high_watermark(standing.high_watermark().offset);
            }
            rose
        };
        if rose {
            self.readers.wake();
            self.writers.wake();
        }
    }

    /// Whether an append with acks -1 whose last message has offset `last` is as safe as it must be.
    pub(super) fn replicated(&self, last: Offset) -> Replicated {
        let held = self.hold();
        // Without a log nothing is led, and then it does not matter how many are asked for.
        let least = held.as_ref().map_or(1, |log| log.config().min_insync_replicas);
        self.standing().replicated(last, least)
    }

    /// Reads. A follower's question tells what it has. Returns with the answer the set that should be in sync from
    /// now on, if the follower has caught up and is to join; it is proposed already.
    ///
    /// # Errors
    /// [`Error::NotLeader`], [`Error::ReplicaNotAvailable`], [`Error::NotAssigned`], or the log's.
    pub(super) fn read(
        &self,
        offset: Offset,
        max_bytes: i32,
        reader: Reader,
        round: Round,
        now: Mono,
    ) -> (Result<Read>, Option<LeaderAndIsr>) {
        let held = self.hold();
        let log = match self.readable(&held, reader) {
            Ok(log) => log,
            Err(e) => return (Err(e), None),
        };
        let (high_watermark, term, told) = {
            let mut standing = self.standing();
            let admitted = match (reader, round) {
                (Reader::Follower(id), Round::First(connection, _)) => standing.asked(id, connection),
                (Reader::Follower(_), Round::Again(asked)) if asked != standing.term() => {
                    Err(Error::NotLeader(self.id.clone()))
                }
                _ => Ok(Told::Present),
            };
            match admitted {
                Ok(told) => (standing.high_watermark().offset, standing.term(), told),
                Err(e) => return (Err(e), None),
            }
        };
        let at_once = told == Told::Maybe;
        let answer = |fetched: crate::log::Result<Fetched>| match fetched {
            Ok(fetched) => Ok(Read {
                high_watermark,
                fetched,
                term,
                at_once,
            }),
            Err(e) => Err(e.into()),
        };
        let Reader::Follower(follower) = reader else {
            return (answer(log.read(offset, max_bytes, Some(high_watermark))), None);
        };
        let end = log.end().offset;
        let fetched = log.read(offset, max_bytes, None);
        let Round::First(_, wait) = round else {
            return (answer(fetched), None);
        };
        if at_once {
            return (answer(fetched), None);
        }
        let at = fetched.as_ref().ok().map(|f| f.at);
        let noted = self.standing().fetched(follower, at, end, wait, now);
        let change = match noted {
            Ok(change) => change,
            Err(e) => return (Err(e), None),
        };
        self.raise_high_watermark(log);
        (answer(fetched), change)
    }

    /// Where what `reader` may see ends.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub(super) fn readable_end(&self, reader: Reader) -> Result<LogPosition> {
        let held = self.hold();
        let log = self.readable(&held, reader)?;
        Ok(match reader {
            Reader::Follower(_) => log.end(),
            _ => self.standing().high_watermark(),
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
        let held = self.hold();
        let log = self.readable(&held, reader)?;
        if max < 0 {
            return Err(Error::NegativeCount(max));
        }
        let mut offsets = log.offsets_before(timestamp, max, now);
        if reader == Reader::Consumer {
            let high_watermark = self.high_watermark();
            if offsets.iter().any(|o| *o > high_watermark) {
                offsets.retain(|o| *o <= high_watermark);
                offsets.insert(0, high_watermark);
            }
        }
        Ok(offsets)
    }

    /// Takes a role as decided. `checkpoint` is the high watermark if the log is new to this partition.
    ///
    /// # Errors
    /// [`Error::StaleLeader`], [`Error::NotInReplicas`]
    pub(super) fn take(
        &self,
        log: Arc<Log>,
        decision: &Decision,
        checkpoint: Option<Offset>,
        now: Mono,
    ) -> Result<Change> {
        let change = {
            let mut held = self.hold_alone();
            let mut standing = self.standing();
            standing.admits(decision)?;
            let end = log.end();
            let copy = Copy {
                start: log.start_offset(),
                end,
                checkpoint,
            };
            let change = standing.take(decision, copy, now);
            if let Change::Leads(_) = change {
                let at = log.locate(standing.high_watermark().offset).unwrap_or(end);
                standing.place_high_watermark(at, end);
            }
            log.set_high_watermark(standing.high_watermark().offset);
            *held = Some(log);
            if let Change::Follows = change {
                self.lag.store(UNKNOWN_LAG, Ordering::Relaxed);
            }
            change
        };
        self.wake_all();
        Ok(change)
    }

    /// Whether a decision may be taken; see [`Standing::admits`].
    pub(super) fn admits(&self, decision: &Decision) -> Result<()> {
        self.standing().admits(decision)
    }

    /// Stops copying, once what is being taken over is: the controller took this replica off duty. A leader stays
    /// one.
    pub(super) fn stop_following(&self) {
        let _held = self.hold_alone();
        self.standing().stop_following();
    }

    /// Gives up role and log, because the log's directory has failed. Who waits is told that this broker
    /// does not lead, so that clients look for one that does. Says whether it led.
    pub(super) fn go_offline(&self) -> bool {
        let led = {
            let mut held = self.hold_alone();
            *held = None;
            let mut standing = self.standing();
            let led = standing.leads();
            standing.go_offline();
            led
        };
        self.wake_all();
        led
    }

    /// Gives up role and log: the partition is about to be removed.
    pub(super) fn resign(&self) {
        {
            let mut held = self.hold_alone();
            self.standing().resign();
            *held = None;
        }
        self.wake_all();
    }

    /// The set without members who lag, proposed, if there are any.
    pub(super) fn drop_lagging(&self, max_lag: Duration, now: Mono) -> Option<LeaderAndIsr> {
        let held = self.hold();
        let end = held.as_ref()?.end().offset;
        self.standing().drop_lagging(end, max_lag, now)
    }

    /// Whether `proposal` is still what is being written.
    pub(super) fn still_proposes(&self, proposal: &LeaderAndIsr) -> bool {
        self.standing().still_proposes(proposal)
    }

    /// Takes note of what became of a proposal. Returns whether the proposed set is in force now.
    pub(super) fn settle(&self, proposal: &LeaderAndIsr, outcome: Outcome) -> bool {
        let held = self.hold();
        let Ok(log) = self.led(&held) else {
            return false;
        };
        let installed = self.standing().settle(proposal, outcome);
        self.raise_high_watermark(log);
        installed
    }
}
