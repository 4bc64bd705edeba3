//! The shell: holds a [`Shard`] for each partition of the offsets topic, feeds it, and does what it
//! wants done. Decides nothing about groups.
//!
//! A request runs in its connection's own task: it locks its shard, appends while it holds the lock (so
//! the log has the order of the decisions), and lets go before it waits for anything.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use ::log::{error, info, warn};
use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::effect::{Effect, Joined, Note, Store, Ticket};
use super::error::{Error, Result, Unstored};
use super::settings::CoordinatorSettings;
use super::shard::Shard;
use super::store;
use crate::cluster::topic::OFFSETS_TOPIC;
use crate::cluster::{BrokerId, TopicPartition};
use crate::metrics::{Name, Registry};
use crate::replica::{LocalAppend, ReplicaManager, Term};
use crate::util::clock::{Clock, Mono};
use crate::util::java;
use crate::util::shutdown::Shutdown;
use crate::util::timer::DeadlineQueue;
use crate::zookeeper::Session;

/// The logger's name in 0.9.
pub(super) const LOGGER: &str = "kafka.coordinator.GroupCoordinator";

/// Partitions that are read at the same time.
const LOADERS: usize = 2;

/// Who coordinates groups on this broker, for those who ask.
#[derive(Debug)]
pub struct GroupCoordinator {
    pub(super) me: BrokerId,
    pub(super) settings: CoordinatorSettings,
    pub(super) replicas: Arc<ReplicaManager>,
    pub(super) zookeeper: Session,
    pub(super) clock: Clock,
    pub(super) active: AtomicBool,
    /// Partitions of the offsets topic; 0 while that is not known.
    pub(super) partitions: AtomicI32,
    pub(super) cells: RwLock<HashMap<i32, Arc<Cell>>>,
    pub(super) timers: Timers,
    pub(super) loads: Semaphore,
    tickets: AtomicU64,
}

/// One partition of the offsets topic.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) id: TopicPartition,
    held: Mutex<Held>,
}

/// What the lock of a cell guards.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) shard: Shard,
    joins: HashMap<Ticket, oneshot::Sender<Result<Joined>>>,
    syncs: HashMap<Ticket, oneshot::Sender<Result<Bytes>>>,
    /// When the timers will look at it.
    armed: Option<Mono>,
}

impl Cell {
    fn new(partition: i32, settings: &CoordinatorSettings) -> Cell {
        Cell {
            id: TopicPartition::new(OFFSETS_TOPIC, partition),
            held: Mutex::new(Held {
                shard: Shard::new(settings.sessions),
                joins: HashMap::new(),
                syncs: HashMap::new(),
                armed: None,
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Held> {
        self.held
            .lock()
            .expect("a holder of a group's partition panicked")
    }
}

/// When to look at which partition.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: Mutex<DeadlineQueue<i32>>,
    pub(super) earlier: Notify,
}

impl Timers {
    pub(super) fn lock(&self) -> MutexGuard<'_, DeadlineQueue<i32>> {
        self.queue.lock().expect("a holder of the timers panicked")
    }
}

/// The coordinator's tasks. Dropped without [`Coordinator::stop`] it ends as a killed broker's does.
#[derive(Debug)]
pub struct Coordinator {
    shared: Arc<GroupCoordinator>,
    shutdown: Shutdown,
    tasks: Vec<JoinHandle<()>>,
}

impl Coordinator {
    /// Coordinates from now on the groups of those partitions whose leadership
    /// [`GroupCoordinator::roles_changed`] tells of. Must be called within a tokio runtime.
    pub fn start(
        me: BrokerId,
        settings: CoordinatorSettings,
        replicas: Arc<ReplicaManager>,
        zookeeper: Session,
        metrics: &Registry,
        clock: Clock,
    ) -> Coordinator {
        info!(target: LOGGER, "[GroupCoordinator {me}]: Starting up.");
        let shared = Arc::new(GroupCoordinator {
            me,
            settings,
            replicas,
            zookeeper,
            clock,
            active: AtomicBool::new(true),
            partitions: AtomicI32::new(0),
            cells: RwLock::default(),
            timers: Timers::default(),
            loads: Semaphore::new(LOADERS),
            tickets: AtomicU64::new(0),
        });
        shared.show(metrics);
        let shutdown = Shutdown::new();
        let tasks = vec![
            tokio::spawn(shared.clone().keep_time(shutdown.stop())),
            tokio::spawn(shared.clone().keep_expiring(shutdown.stop())),
            tokio::spawn(shared.clone().count_partitions(shutdown.stop())),
        ];
        info!(target: LOGGER, "[GroupCoordinator {me}]: Startup complete.");
        Coordinator {
            shared,
            shutdown,
            tasks,
        }
    }

    /// What handlers need.
    pub fn handle(&self) -> Arc<GroupCoordinator> {
        self.shared.clone()
    }

    /// Answers everyone who waits that there is no coordinator here, and everyone who comes later.
    pub async fn stop(self) {
        let me = self.shared.me;
        info!(target: LOGGER, "[GroupCoordinator {me}]: Shutting down.");
        self.shared.active.store(false, Ordering::SeqCst);
        self.shutdown.ask();
        for cell in self.shared.all_cells() {
            self.shared
                .on(&cell, |held, fx| held.shard.give_up(Error::NotAvailable, fx));
        }
        for task in self.tasks {
            // A task that panicked said so itself.
            let _ = task.await;
        }
        info!(target: LOGGER, "[GroupCoordinator {me}]: Shutdown complete.");
    }
}

impl GroupCoordinator {
    /// Kafka's gauges of groups and offsets.
    fn show(self: &Arc<Self>, metrics: &Registry) {
        let show = |name, count: fn(&Shard) -> usize| {
            let me = Arc::downgrade(self);
            let name = Name::new("kafka.coordinator", "GroupMetadataManager", name, &[]);
            metrics.gauge_of(name, move || {
                let cells = me.upgrade().map(|me| me.all_cells()).unwrap_or_default();
                let sum: usize = cells.iter().map(|cell| count(&cell.lock().shard)).sum();
                i64::try_from(sum).unwrap_or(i64::MAX)
            });
        };
        show("NumGroups", Shard::len);
        show("NumOffsets", |shard| shard.offsets.len());
    }

    /// Which partition of the offsets topic holds a group; `None` while it is not known how many there
    /// are.
    pub fn partition_for(&self, group: &str) -> Option<i32> {
        match self.partitions.load(Ordering::SeqCst) {
            0 => None,
            // The smallest number has no positive counterpart; Kafka takes 0 then.
            n => Some(java::string_hash(group).checked_abs().unwrap_or(0) % n),
        }
    }

    /// Where a group's requests go.
    ///
    /// # Errors
    /// [`Error::NotAvailable`]; [`Error::NotCoordinator`] for a partition never led here.
    pub(super) fn cell_for(&self, group: &str) -> Result<Arc<Cell>> {
        if !self.active.load(Ordering::SeqCst) {
            return Err(Error::NotAvailable);
        }
        let partition = self.partition_for(group).ok_or(Error::NotAvailable)?;
        let cells = self.cells.read().expect("a holder of the partitions panicked");
        cells.get(&partition).cloned().ok_or(Error::NotCoordinator)
    }

    pub(super) fn all_cells(&self) -> Vec<Arc<Cell>> {
        let cells = self.cells.read().expect("a holder of the partitions panicked");
        cells.values().cloned().collect()
    }

    /// The cell of a partition, made if need be.
    pub(super) fn cell(&self, partition: i32) -> Arc<Cell> {
        let mut cells = self.cells.write().expect("a holder of the partitions panicked");
        let new = || Arc::new(Cell::new(partition, &self.settings));
        cells.entry(partition).or_insert_with(new).clone()
    }

    /// Does something with a shard and then what that wants done.
    pub(super) fn on<T>(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        work: impl FnOnce(&mut Held, &mut Vec<Effect>) -> T,
    ) -> T {
        let mut held = cell.lock();
        let mut fx = Vec::new();
        let done = work(&mut held, &mut fx);
        if !fx.is_empty() {
            self.perform(cell, &mut held, fx);
        }
        self.arm(cell, &mut held);
        done
    }

    /// A ticket for a join; its answer comes through what is returned, which ends without one if the
    /// join is overtaken.
    pub(super) fn wait_for_join(&self, held: &mut Held) -> (Ticket, oneshot::Receiver<Result<Joined>>) {
        let ticket = self.ticket();
        let (answer, answered) = oneshot::channel();
        held.joins.insert(ticket, answer);
        (ticket, answered)
    }

    /// As [`wait_for_join`](Self::wait_for_join), for a sync.
    pub(super) fn wait_for_sync(&self, held: &mut Held) -> (Ticket, oneshot::Receiver<Result<Bytes>>) {
        let ticket = self.ticket();
        let (answer, answered) = oneshot::channel();
        held.syncs.insert(ticket, answer);
        (ticket, answered)
    }

    fn ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Ordering::Relaxed))
    }

    fn perform(self: &Arc<Self>, cell: &Arc<Cell>, held: &mut Held, fx: Vec<Effect>) {
        let mut fx = VecDeque::from(fx);
        while let Some(effect) = fx.pop_front() {
            match effect {
                Effect::Joined(ticket, answer) => {
                    if let Some(waits) = held.joins.remove(&ticket) {
                        // A client that went away needs no answer; nor below.
                        let _ = waits.send(answer);
                    }
                }
                Effect::Synced(ticket, answer) => {
                    if let Some(waits) = held.syncs.remove(&ticket) {
                        let _ = waits.send(answer);
                    }
                }
                Effect::Dropped(ticket) => {
                    held.joins.remove(&ticket);
                    held.syncs.remove(&ticket);
                }
                Effect::Note(note) => self.tell(&note),
                Effect::Bury(group) => {
                    // As in Kafka nobody's acknowledgement is waited for.
                    let set = store::group_tombstone(&group);
                    if let Err(e) = self.replicas.append_local(1, &cell.id, set) {
                        error!(target: LOGGER, "[GroupCoordinator {}]: Failed to mark group {group} as deleted in {}: {e}", self.me, cell.id);
                    }
                }
                Effect::Store(store) => {
                    let Some(term) = held.shard.term() else { continue };
                    if let Some(outcome) = self.store(cell, term, &store) {
                        let mut more = Vec::new();
                        let now = self.clock.now();
                        held.shard.stored(now, term, &store, outcome, &mut more);
                        fx.extend(more);
                    }
                }
            }
        }
    }

    fn tell(&self, note: &Note) {
        let me = self.me;
        if note.is_warning() {
            warn!(target: LOGGER, "[GroupCoordinator {me}]: {note}");
        } else {
            info!(target: LOGGER, "[GroupCoordinator {me}]: {note}");
        }
    }

    /// Appends a group's record. Returns the outcome if there is one already; else the shard is told
    /// when there is.
    fn store(self: &Arc<Self>, cell: &Arc<Cell>, term: Term, store: &Store) -> Option<Result<()>> {
        let set = match store::group(store) {
            Ok(set) => set,
            Err(e) => return Some(Err(e.into())),
        };
        let appended = self
            .replicas
            .append_local(self.settings.commit_acks, &cell.id, set);
        let append = match appended {
            Ok(append) => append,
            Err(e) => return Some(Err(Unstored::from(&e).into())),
        };
        match append.outcome() {
            Some(Ok(_)) => Some(Ok(())),
            Some(Err(e)) => Some(Err(Unstored::from(&e).into())),
            None => {
                let (me, cell, store) = (self.clone(), cell.clone(), store.clone());
                tokio::spawn(async move { me.stored_later(&cell, term, &store, append).await });
                None
            }
        }
    }

    async fn stored_later(self: Arc<Self>, cell: &Arc<Cell>, term: Term, store: &Store, append: LocalAppend) {
        let outcome = self
            .replicas
            .replicated(append, self.settings.commit_timeout)
            .await;
        let outcome = match outcome {
            Ok(_) => Ok(()),
            Err(e) => Err(Unstored::from(&e).into()),
        };
        self.on(cell, |held, fx| {
            held.shard.stored(self.clock.now(), term, store, outcome, fx);
        });
    }

    /// Has the timers look at a cell in time.
    fn arm(&self, cell: &Cell, held: &mut Held) {
        let Some(next) = held.shard.next_deadline() else {
            return;
        };
        if held.armed.is_none_or(|armed| next < armed) {
            held.armed = Some(next);
            self.timers.lock().set(cell.id.partition, next);
            self.timers.earlier.notify_one();
        }
    }

    /// Looks at a cell whose time has come.
    pub(super) fn tick(self: &Arc<Self>, partition: i32) {
        let cell = self.cell(partition);
        self.on(&cell, |held, fx| {
            held.armed = None;
            held.shard.tick(self.clock.now(), fx);
        });
    }
}
