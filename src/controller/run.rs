//! The shell: stands for election, takes office, handles events one by one, resigns, and stands again.
//! The only task of the controller beside the channels.

use ::log::{error, info, warn};
use tokio::sync::{mpsc, watch};

use super::channels::Channels;
use super::context::CONTROLLER;
use super::decide::brokers::ControlledShutdownError;
use super::elect;
use super::error::{Error, Result};
use super::event::Event;
use super::failover;
use super::reign::Reign;
use super::settings::ControllerSettings;
use crate::metrics::{Gauge, Name};
use crate::util::clock::Clock;
use crate::util::shutdown::Stop;
use crate::zookeeper::{self, Session};

/// Answers that wait to be handled; a sender whose answer finds no place waits with its next request.
const ANSWERS: usize = 1024;

/// What the task owns.
pub(super) struct Shell {
    pub(super) settings: ControllerSettings,
    pub(super) session: Session,
    pub(super) clock: Clock,
    /// Wishes of brokers that want to go.
    pub(super) inbox: mpsc::Receiver<Event>,
    /// Whether this broker acts.
    pub(super) active: watch::Sender<bool>,
    /// The channels of the present reign; outside of it so that they can be joined however it ends.
    pub(super) channels: Option<Channels>,
    pub(super) gauges: Gauges,
}

/// What the controller shows of itself.
pub(super) struct Gauges {
    active: Gauge,
    offline: Gauge,
    imbalanced: Gauge,
}

impl Gauges {
    pub(super) fn new(settings: &ControllerSettings) -> Gauges {
        // There from the start, also where nothing was elected yet.
        settings.elections();
        settings.unclean_elections();
        let gauge = |name| {
            settings
                .metrics
                .gauge(Name::new("kafka.controller", "KafkaController", name, &[]))
        };
        Gauges {
            active: gauge("ActiveControllerCount"),
            offline: gauge("OfflinePartitionsCount"),
            imbalanced: gauge("PreferredReplicaImbalanceCount"),
        }
    }

    fn show(&self, reign: Option<&Reign>) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let context = reign.map(|r| &r.context);
        self.active.set(reign.is_some().into());
        self.offline
            .set(context.map_or(0, |c| count(c.offline_partitions())));
        self.imbalanced
            .set(context.map_or(0, |c| count(c.imbalanced_partitions())));
    }
}

impl Shell {
    /// Runs until stopped. Does not give `/controller` up: it goes with the session, after the broker
    /// has closed its logs, as with 0.9.0.1.
    pub(super) async fn run(mut self, mut stop: Stop) {
        let me = self.settings.broker_id;
        info!(target: CONTROLLER, "[Controller {me}]: Controller starting up");
        while !stop.is_asked() {
            let session = self.session.pinned();
            let ended = tokio::select! {
                biased;
                () = stop.wait() => None,
                ended = self.term(session.clone()) => Some(ended),
            };
            self.resign().await;
            let Some(Err(why)) = ended else { break };
            match why {
                Error::Zookeeper(zookeeper::Error::Closed) => break,
                // The next session; nothing of the old one is left to give up.
                Error::Zookeeper(zookeeper::Error::SessionExpired) => {
                    info!(target: CONTROLLER, "[SessionExpirationListener on {me}]: ZK expired; shut down all controller components and try to re-elect");
                    continue;
                }
                Error::Deposed => {
                    warn!(target: CONTROLLER, "[Controller {me}]: {why}");
                    continue;
                }
                why => {
                    error!(target: CONTROLLER, "[Controller {me}]: Error while acting as the controller: {why}")
                }
            }
            let step_down = async {
                if let Err(e) = elect::give_up(&session).await {
                    warn!(target: CONTROLLER, "[Controller {me}]: /controller could not be given up: {e}");
                }
                // Others get the first chance, and a lasting failure does not spin.
                self.clock.sleep(self.settings.retry_backoff).await;
            };
            tokio::select! {
                () = stop.wait() => {}
                () = step_down => {}
            }
        }
        info!(target: CONTROLLER, "[Controller {me}]: Controller shutdown complete");
    }

    /// One term: from standing for election to the end of the reign. Never ends well.
    async fn term(&mut self, session: Session) -> Result<()> {
        tokio::select! {
            elected = elect::stand(&session, self.settings.broker_id, &self.clock) => elected?,
            () = refuse(&mut self.inbox) => return Err(zookeeper::Error::Closed.into()),
        }
        let (answers, mut answered) = mpsc::channel(ANSWERS);
        let office = failover::take_office(
            session.clone(),
            &self.settings,
            &self.clock,
            answers,
            &mut self.channels,
        );
        let mut reign = office.await?;
        let Some(channels) = &mut self.channels else {
            return Err(Error::Deposed);
        };
        self.active.send_replace(true);
        let mut state = session.state();
        let generation = session.generation();
        loop {
            self.gauges.show(Some(&reign));
            let event = tokio::select! {
                biased;
                _ = state.wait_for(|s| s.generation != generation || s.closed) => {
                    return Err(zookeeper::Error::SessionExpired.into());
                }
                event = reign.watches.next() => event,
                Some(event) = answered.recv() => event,
                Some(event) = self.inbox.recv() => event,
                () = self.clock.sleep_until_some(reign.timers.next()) => {
                    match reign.timers.pop_due(self.clock.now()) {
                        Some(timer) => Event::Due(timer),
                        None => continue,
                    }
                }
            };
            reign.handle(event, channels).await?;
        }
    }

    /// Leaves office, if in it.
    async fn resign(&mut self) {
        let acted = self.active.send_replace(false);
        self.gauges.show(None);
        if let Some(channels) = self.channels.take() {
            channels.stop().await;
        }
        if acted {
            let me = self.settings.broker_id;
            info!(target: CONTROLLER, "[Controller {me}]: Broker {me} resigned as the controller");
        }
    }
}

/// Answers brokers that want to go that somebody else must be asked. Returns when nobody can ask any
/// more.
async fn refuse(inbox: &mut mpsc::Receiver<Event>) {
    while let Some(event) = inbox.recv().await {
        if let Event::ControlledShutdown(_, _, reply) = event {
            // Who no longer waits needs no answer.
            let _ = reply.send(Err(ControlledShutdownError::NotController));
        }
    }
}
