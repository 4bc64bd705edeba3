//! One channel per registered broker: its requests go out in order, one at a time, each tried again
//! until it is answered or the broker is gone. Knows no meaning of a request beyond which answer tells
//! the controller something.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ::log::{info, trace, warn};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::batch::Request;
use super::context::{LiveBroker, STATE_CHANGE};
use super::event::Event;
use super::queue::RequestQueue;
use super::settings::ControllerSettings;
use crate::client::{self, Connection, ConnectionSettings};
use crate::cluster::{BrokerId, ControllerEpoch, TopicPartition};
use crate::protocol::ErrorCode;
use crate::protocol::leader_and_isr::PartitionErrorsResponse;
use crate::protocol::registration;
use crate::protocol::stop_replica::StopReplicaRequest;
use crate::util::clock::Clock;
use crate::util::shutdown::{Shutdown, Stop};

/// What a broker's answer tells the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The broker knows of a newer controller (error 11).
    Refused(BrokerId),
    /// The broker, as it was registered by this transaction, heeds this controller, and lived after that
    /// [moment](super::context::Context::moment).
    Heeds(BrokerId, i64, u64),
    /// The broker was told to delete these copies: its error for each, 0 if it is gone.
    Deleted(BrokerId, Vec<(TopicPartition, i16)>),
}

/// The channels of one reign.
#[derive(Debug)]
pub struct Channels {
    me: BrokerId,
    epoch: ControllerEpoch,
    settings: ControllerSettings,
    clock: Clock,
    events: mpsc::Sender<Event>,
    moment: Arc<AtomicU64>,
    open: BTreeMap<BrokerId, Channel>,
    /// Tasks that were told to end and have not been joined.
    closing: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Channel {
    queue: Arc<Shared>,
    stop: Shutdown,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<RequestQueue>,
    more: Notify,
}

impl Channels {
    /// No channel yet. Answers that matter go to `events`.
    pub fn new(
        settings: ControllerSettings,
        epoch: ControllerEpoch,
        clock: Clock,
        events: mpsc::Sender<Event>,
    ) -> Channels {
        Channels {
            me: settings.broker_id,
            epoch,
            settings,
            clock,
            events,
            moment: Arc::default(),
            open: BTreeMap::new(),
            closing: Vec::new(),
        }
    }

    /// Opens the channel to a broker as it is registered now, in place of one to an earlier life of it. The connection is made
    /// with the first request.
    pub fn open(&mut self, live: &LiveBroker) {
        let broker = &live.broker;
        self.close(broker.id);
        let Some(endpoint) = broker.endpoint(self.settings.inter_broker_protocol) else {
            warn!(target: SENDER,
                "[Channel manager on controller {}]: Broker {} has no endpoint for {}; it is told nothing",
                self.me, broker.id, self.settings.inter_broker_protocol);
            return;
        };
        let queue = Arc::new(Shared::default());
        let stop = Shutdown::new();
        let sender = Sender {
            me: self.me,
            epoch: self.epoch,
            to: broker.id,
            registration: live.czxid,
            host: endpoint.host.clone(),
            port: endpoint.port,
            settings: self.settings.clone(),
            clock: self.clock.clone(),
            events: self.events.clone(),
            moment: self.moment.clone(),
            queue: queue.clone(),
        };
        let task = tokio::spawn(sender.run(stop.stop()));
        self.open.insert(broker.id, Channel { queue, stop, task });
    }

    /// Ends the channel to a broker; what waits for it is dropped.
    pub fn close(&mut self, id: BrokerId) {
        self.closing.retain(|task| !task.is_finished());
        if let Some(channel) = self.open.remove(&id) {
            channel.stop.ask();
            self.closing.push(channel.task);
        }
    }

    /// What is sent from now on is sent after that [moment](super::context::Context::moment).
    pub fn now_is(&self, moment: u64) {
        self.moment.store(moment, Ordering::Relaxed);
    }

    /// Queues a request; dropped if there is no channel.
    pub fn send(&self, to: BrokerId, request: Request) {
        if let Some(channel) = self.open.get(&to) {
            let mut waiting = channel
                .queue
                .waiting
                .lock()
                .expect("no code panics while holding this lock");
            waiting.push(request);
            drop(waiting);
            channel.queue.more.notify_one();
        }
    }

    /// Ends all channels and waits for their tasks.
    pub async fn stop(mut self) {
        for id in self.open.keys().copied().collect::<Vec<_>>() {
            self.close(id);
        }
        for task in std::mem::take(&mut self.closing) {
            // A panic of a sender has been printed by the runtime; there is nothing to add.
            let _ = task.await;
        }
    }
}

/// The log target of connections to brokers.
const SENDER: &str = "kafka.controller.RequestSendThread";

/// One channel's task.
struct Sender {
    me: BrokerId,
    epoch: ControllerEpoch,
    to: BrokerId,
    /// The transaction that made the broker's node.
    registration: i64,
    host: String,
    port: i32,
    settings: ControllerSettings,
    clock: Clock,
    events: mpsc::Sender<Event>,
    moment: Arc<AtomicU64>,
    queue: Arc<Shared>,
}

impl Sender {
    async fn run(self, mut stop: Stop) {
        tokio::select! {
            () = stop.wait() => {}
            () = self.send_all() => {}
        }
        info!(target: SENDER, "[Controller-{}-to-broker-{}-send-thread], Stopped", self.me, self.to);
    }

    async fn send_all(&self) {
        info!(target: SENDER, "[Controller-{}-to-broker-{}-send-thread], Starting", self.me, self.to);
        let mut connection = None;
        loop {
            let request = self.next().await;
            let answer = self.until_answered(&mut connection, &request).await;
            if let Some(answer) = answer
                && self.events.send(Event::Answered(answer)).await.is_err()
            {
                return;
            }
        }
    }

    async fn next(&self) -> Request {
        loop {
            let next = self
                .queue
                .waiting
                .lock()
                .expect("no code panics while holding this lock")
                .pop();
            match next {
                Some(request) => return request,
                None => self.queue.more.notified().await,
            }
        }
    }

    /// Sends until an answer comes, connecting as often as that takes.
    async fn until_answered(&self, connection: &mut Option<Connection>, request: &Request) -> Option<Answer> {
        loop {
            if connection.as_ref().is_some_and(|c| c.failure().is_some()) {
                *connection = None;
            }
            let open = match connection {
                Some(open) => open,
                None => match self.connect().await {
                    Ok(new) => {
                        info!(target: SENDER,
                            "[Controller-{}-to-broker-{}-send-thread], Controller {} connected to Node({}, {}, {}) for sending state change requests",
                            self.me, self.to, self.me, self.to, self.host, self.port);
                        connection.insert(new)
                    }
                    Err(e) => {
                        warn!(target: SENDER,
                            "[Controller-{}-to-broker-{}-send-thread], Controller {}'s connection to broker Node({}, {}, {}) was unsuccessful: {e}",
                            self.me, self.to, self.me, self.to, self.host, self.port);
                        self.clock.sleep(self.settings.retry_backoff).await;
                        continue;
                    }
                },
            };
            match self.exchange(open, request).await {
                Ok(answer) => return answer,
                Err(e) => {
                    warn!(target: SENDER,
                        "[Controller-{}-to-broker-{}-send-thread], Controller {} epoch {} fails to send a request to broker Node({}, {}, {}): {e}. Reconnecting to broker.",
                        self.me, self.to, self.me, self.epoch, self.to, self.host, self.port);
                    *connection = None;
                    self.clock.sleep(self.settings.retry_backoff).await;
                }
            }
        }
    }

    async fn connect(&self) -> client::Result<Connection> {
        let settings = ConnectionSettings {
            client_id: registration::client_id(self.me.0, self.registration),
            request_timeout: self.settings.socket_timeout,
            connect_timeout: self.settings.socket_timeout,
            clock: self.clock.clone(),
            ..ConnectionSettings::default()
        };
        Connection::connect(&self.host, self.port, settings).await
    }

    async fn exchange(&self, connection: &Connection, request: &Request) -> client::Result<Option<Answer>> {
        let moment = self.moment.load(Ordering::Relaxed);
        match request {
            Request::LeaderAndIsr(request) => {
                let response = connection.call(request).await?;
                self.log_errors("LeaderAndIsr", &response);
                Ok(self.heeds_or_refuses(response.error, moment))
            }
            Request::UpdateMetadata(request) => {
                let version = self.settings.update_metadata_version;
                let response = connection.call_version(&**request, version).await?;
                trace!(target: STATE_CHANGE,
                    "Controller {} epoch {} received response {{error_code={}}} for a request sent to broker Node({}, {}, {})",
                    self.me, self.epoch, response.error, self.to, self.host, self.port);
                Ok(self.heeds_or_refuses(response.error, moment))
            }
            Request::StopReplica(request) => {
                let response = connection.call(request).await?;
                self.log_errors("StopReplica", &response);
                if let Some(refused) = self.refusal(response.error) {
                    return Ok(Some(refused));
                }
                Ok(request
                    .delete_partitions
                    .then(|| self.deleted(request, &response)))
            }
        }
    }

    fn heeds_or_refuses(&self, error: i16, moment: u64) -> Option<Answer> {
        // Whatever else went wrong, it is there; but not who says that it was started again since.
        let is_meant = ErrorCode(error) != ErrorCode::BROKER_NOT_AVAILABLE;
        let heeds = is_meant.then_some(Answer::Heeds(self.to, self.registration, moment));
        self.refusal(error).or(heeds)
    }

    fn refusal(&self, error: i16) -> Option<Answer> {
        (ErrorCode(error) == ErrorCode::STALE_CONTROLLER_EPOCH).then_some(Answer::Refused(self.to))
    }

    /// Every partition that was asked for, those that the answer does not name with the whole's error.
    fn deleted(&self, request: &StopReplicaRequest, response: &PartitionErrorsResponse) -> Answer {
        let outcome = |asked: &crate::protocol::stop_replica::StopReplicaPartition| {
            let named = response
                .partitions
                .iter()
                .find(|p| p.topic == asked.topic && p.partition == asked.partition);
            let error = match (named, response.error) {
                (Some(p), _) => p.error,
                (None, 0) => ErrorCode::UNKNOWN.0,
                (None, error) => error,
            };
            (TopicPartition::new(asked.topic.as_str(), asked.partition), error)
        };
        Answer::Deleted(self.to, request.partitions.iter().map(outcome).collect())
    }

    fn log_errors(&self, what: &str, response: &PartitionErrorsResponse) {
        trace!(target: STATE_CHANGE,
            "Controller {} epoch {} received response {{error_code={},partitions={}}} for a request sent to broker Node({}, {}, {})",
            self.me, self.epoch, response.error, response.partitions.len(), self.to, self.host, self.port);
        for p in &response.partitions {
            // A role that the broker has already is refused as stale, which is as good as done.
            if p.error != 0 && ErrorCode(p.error) != ErrorCode::STALE_LEADER_EPOCH {
                warn!(target: STATE_CHANGE,
                    "Controller {} epoch {}: broker {} answered {what} for partition [{},{}] with error {}",
                    self.me, self.epoch, self.to, p.topic, p.partition, ErrorCode(p.error));
            }
        }
    }
}
