//! Who leads what, cluster-wide: of all brokers one acts as controller (kafka.controller).
//!
//! ```text
//! watches, answers, timers, wishes ──> Event ──> Reign: read what changed
//!                                                  │
//!          Context <── decide (pure) ──> Plan ─────┤
//!                                                  ├─> conditional znode writes (version and epoch)
//!                                                  └─> RequestBatch ──> one channel per broker
//! ```
//!
//! One task handles one event at a time. A decision is a pure function of what is known; ZooKeeper is
//! asked for many things at once; the brokers, this one too, are reached over their sockets only.
//!
//! Read [`event`], [`context`] with [`state`], [`plan`], [`decide`], [`batch`]; then the shell: `run`,
//! `elect`, `failover`, `reign` with `moves` and `departures`, `store`, `watches`; then [`channels`] and [`queue`].

pub mod aim;
pub mod batch;
pub mod channels;
pub mod context;
pub mod decide;
pub mod event;
pub mod plan;
pub mod queue;
pub mod settings;
pub mod state;

mod departures;
mod elect;
mod error;
mod failover;
mod moves;
mod reign;
mod run;
mod store;
mod watches;

pub use decide::brokers::ControlledShutdownError;
pub use error::{Error, Result};
pub use settings::ControllerSettings;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::cluster::{BrokerId, TopicPartition};
use crate::util::clock::Clock;
use crate::util::shutdown::Shutdown;
use crate::zookeeper::Session;
use event::Event;

/// Brokers that may ask to go at the same time; more wait for a place.
const INBOX: usize = 64;

/// This broker's candidacy and, when elected, its office. Dropping it ends both without waiting.
#[derive(Debug)]
pub struct Controller {
    handle: ControllerHandle,
    stop: Shutdown,
    task: JoinHandle<()>,
}

/// What request handlers need of the controller. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ControllerHandle {
    active: watch::Receiver<bool>,
    inbox: mpsc::Sender<Event>,
}

impl Controller {
    /// Stands for election as soon as this broker's registration, made by `session`, is there; again
    /// after every defeat, resignation and lost session. Must be called within a tokio runtime.
    pub fn start(settings: ControllerSettings, session: Session, clock: Clock) -> Controller {
        let (inbox, wishes) = mpsc::channel(INBOX);
        let (active, is_active) = watch::channel(false);
        let stop = Shutdown::new();
        let shell = run::Shell {
            gauges: run::Gauges::new(&settings),
            settings,
            session,
            clock,
            inbox: wishes,
            active,
            channels: None,
        };
        Controller {
            task: tokio::spawn(shell.run(stop.stop())),
            handle: ControllerHandle {
                active: is_active,
                inbox,
            },
            stop,
        }
    }

    /// What request handlers need.
    pub fn handle(&self) -> ControllerHandle {
        self.handle.clone()
    }

    /// As [`ControllerHandle::is_active`].
    pub fn is_active(&self) -> bool {
        self.handle.is_active()
    }

    /// As [`ControllerHandle::active_receiver`].
    pub fn active_receiver(&self) -> watch::Receiver<bool> {
        self.handle.active_receiver()
    }

    /// As [`ControllerHandle::controlled_shutdown`].
    ///
    /// # Errors
    /// As there.
    pub async fn controlled_shutdown(
        &self,
        id: BrokerId,
        registration: Option<i64>,
    ) -> std::result::Result<Vec<TopicPartition>, ControlledShutdownError> {
        self.handle.controlled_shutdown(id, registration).await
    }

    /// Leaves office and ends. `/controller` stays until the session is closed, so that no other broker
    /// is elected while this one still closes its logs.
    pub async fn stop(self) {
        self.stop.ask();
        // A panic of the task has been printed by the runtime; stopping goes on.
        let _ = self.task.await;
    }
}

impl ControllerHandle {
    /// Whether this broker acts: it has taken office and not left it, as far as it knows.
    pub fn is_active(&self) -> bool {
        *self.active.borrow()
    }

    /// Tells when that changes.
    pub fn active_receiver(&self) -> watch::Receiver<bool> {
        self.active.clone()
    }

    /// A broker wants to go: moves its leaderships, and returns the partitions with several replicas
    /// that it still leads; none means that it may go. `registration` is the transaction that created its
    /// registration, if it says so.
    ///
    /// # Errors
    /// [`ControlledShutdownError::NotController`] if this broker does not act;
    /// [`ControlledShutdownError::BrokerNotAvailable`] if that broker is not registered;
    /// [`ControlledShutdownError::FormerLife`] if it has registered anew since.
    pub async fn controlled_shutdown(
        &self,
        id: BrokerId,
        registration: Option<i64>,
    ) -> std::result::Result<Vec<TopicPartition>, ControlledShutdownError> {
        if !self.is_active() {
            return Err(ControlledShutdownError::NotController);
        }
        let (reply, answer) = oneshot::channel();
        let wish = Event::ControlledShutdown(id, registration, reply);
        if self.inbox.send(wish).await.is_err() {
            return Err(ControlledShutdownError::NotController);
        }
        // A reign that ends in the middle drops the wish.
        answer
            .await
            .unwrap_or(Err(ControlledShutdownError::NotController))
    }
}
