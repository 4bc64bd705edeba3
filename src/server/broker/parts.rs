//! What of a broker was started so far, and how it is stopped again.

use std::sync::Arc;
use std::time::Duration;

use ::log::{info, warn};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::TARGET;
use crate::cluster::BrokerId;
use crate::controller::Controller;
use crate::coordinator::Coordinator;
use crate::log::LogManager;
use crate::metrics::Gauge;
use crate::replica::ReplicaManager;
use crate::server::controlled_shutdown;
use crate::server::csv_reporter::CsvReporter;
use crate::server::dynamic::DynamicConfigManager;
use crate::server::registration::Registration;
use crate::util::blocking;
use crate::util::clock::Clock;
use crate::util::shutdown::Shutdown;
use crate::zookeeper::Session;

/// How long closing the ZooKeeper session may take; without an answer the session expires there.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// Kafka's numbers for where a broker's life stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Starting = 1,
    Running = 3,
    ControlledShutdown = 6,
    ShuttingDown = 7,
}

/// What was started so far, in order.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) clock: Clock,
    pub(super) id: BrokerId,
    pub(super) state: Gauge,
    pub(super) reporter: Option<CsvReporter>,
    pub(super) zookeeper: Option<Session>,
    pub(super) logs: Option<Logs>,
    pub(super) replicas: Option<Replicas>,
    pub(super) coordinator: Option<Coordinator>,
    pub(super) listeners: Option<Listeners>,
    pub(super) dynamic: Option<DynamicConfigManager>,
    pub(super) registration: Option<Registration>,
    pub(super) leave: Option<controlled_shutdown::Settings>,
    pub(super) controller: Option<Controller>,
    pub(super) failure: watch::Sender<Option<String>>,
    pub(super) afterthought: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(super) struct Logs {
    pub(super) manager: Arc<LogManager>,
    pub(super) shutdown: Shutdown,
    pub(super) chores: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
pub(super) struct Replicas {
    pub(super) manager: Arc<ReplicaManager>,
    pub(super) shutdown: Shutdown,
    pub(super) tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) shutdown: Shutdown,
    pub(super) tasks: Vec<JoinHandle<()>>,
}

impl Parts {
    pub(super) fn none(id: BrokerId, state: Gauge, clock: Clock) -> Parts {
        Parts {
            clock,
            id,
            state,
            reporter: None,
            zookeeper: None,
            logs: None,
            replicas: None,
            coordinator: None,
            listeners: None,
            dynamic: None,
            registration: None,
            leave: None,
            controller: None,
            failure: watch::Sender::new(None),
            afterthought: None,
        }
    }

    pub(super) fn enter(&self, state: State) {
        self.state.set(state as i64);
    }

    /// Stops what was started, the last one first. Handing leaderships over takes no longer than `leave`.
    pub(super) async fn stop(self, leave: Duration) {
        let id = self.id;
        info!(target: TARGET, "[Kafka Server {id}], shutting down");
        if let Some(afterthought) = &self.afterthought {
            afterthought.abort();
        }
        if let (Some(settings), Some(zookeeper)) = (&self.leave, &self.zookeeper) {
            self.enter(State::ControlledShutdown);
            let replicas = self.replicas.as_ref().map(|replicas| &replicas.manager);
            if let Some(replicas) = replicas {
                replicas.begin_leaving();
            }
            tokio::select! {
                () = controlled_shutdown::leave(settings, zookeeper, &self.clock) => {}
                () = self.clock.sleep(leave) => {
                    warn!(target: TARGET, "[Kafka Server {id}], no time to hand all leaderships over");
                }
            }
            if let Some(replicas) = replicas {
                replicas.stop_copying();
            }
        }
        self.enter(State::ShuttingDown);
        if let Some(coordinator) = self.coordinator {
            coordinator.stop().await;
        }
        if let Some(listeners) = self.listeners {
            listeners.shutdown.ask();
            join_all(listeners.tasks).await;
        }
        // Nothing more is counted of clients, and the metrics of partitions are still there.
        let last_lines = match self.reporter {
            Some(reporter) => Some(reporter.end().await),
            None => None,
        };
        if let Some(dynamic) = self.dynamic {
            dynamic.stop().await;
        }
        if let Some(replicas) = self.replicas {
            replicas.shutdown.ask();
            join_all(replicas.tasks).await;
            blocking::on_thread(move || replicas.manager.shutdown()).await;
        }
        if let Some(logs) = self.logs {
            logs.shutdown.ask();
            join_all(logs.chores).await;
            if let Err(e) = blocking::on_thread(move || logs.manager.shutdown()).await {
                warn!(target: TARGET, "[Kafka Server {id}], the logs will need recovery: {e}");
            }
        }
        if let Some(controller) = self.controller {
            controller.stop().await;
        }
        if let Some(registration) = self.registration {
            registration.stop().await;
        }
        if let Some(zookeeper) = self.zookeeper {
            tokio::select! {
                () = zookeeper.close() => {}
                () = self.clock.sleep(CLOSE_PATIENCE) => {
                    warn!(target: TARGET, "[Kafka Server {id}], ZooKeeper did not confirm the end of the session");
                }
            }
        }
        if let Some(lines) = last_lines {
            lines.written().await;
        }
        info!(target: TARGET, "[Kafka Server {id}], shut down completed");
    }
}

async fn join_all(tasks: Vec<JoinHandle<()>>) {
    for task in tasks {
        // A task that panicked said so itself.
        let _ = task.await;
    }
}
