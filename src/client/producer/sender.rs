//! The producer's tasks: one moves batches from the accumulator to the brokers' lanes and settles
//! them, one keeps the metadata fresh.

use std::collections::HashMap;
use std::sync::Arc;

use ::log::{debug, warn};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::accumulator::Batch;
use super::lane::{self, Event, LaneSettings, Outcome, Work};
use super::{Ack, Error, Shared};
use crate::client::broker_client::BrokerClient;
use crate::client::metadata::Metadata;
use crate::cluster::{BrokerId, TopicPartition};
use crate::protocol::ErrorCode;
use crate::protocol::produce::ProduceResponse;
use crate::util::shutdown::Stop;

/// Moves batches until stopped; then waits for what is on its way.
pub(super) struct Sender {
    shared: Arc<Shared>,
    client: Arc<BrokerClient>,
    lanes: HashMap<BrokerId, Lane>,
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Event>,
}

struct Lane {
    work: mpsc::Sender<Work>,
    in_flight: usize,
    task: JoinHandle<()>,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>, client: Arc<BrokerClient>) -> Sender {
        let (events, inbox) = mpsc::channel(64);
        Sender {
            shared,
            client,
            lanes: HashMap::new(),
            events,
            inbox,
        }
    }

    pub(super) async fn run(mut self, mut stop: Stop) {
        let shared = self.shared.clone();
        let mut changed = shared.metadata.subscribe();
        loop {
            let metadata = changed.borrow_and_update().clone();
            let next = self.step(&metadata);
            tokio::select! {
                event = self.inbox.recv() => {
                    if let Some(event) = event {
                        self.handle(event);
                    }
                }
                () = shared.wake.notified() => {}
                _ = changed.changed() => {}
                () = shared.settings.clock.sleep_until_some(next) => {}
                () = stop.wait() => break,
            }
        }
        self.finish().await;
    }

    /// Sends all that may go now; returns when to look again.
    fn step(&mut self, metadata: &Metadata) -> Option<crate::util::clock::Mono> {
        let shared = self.shared.clone();
        let leader = |p: &TopicPartition| metadata.leader(&p.topic, p.partition);
        let now = shared.settings.clock.now();
        loop {
            // One look for all: who appends records wants the lock, too.
            let (expired, ready, expiry) = {
                let mut accumulator = shared.accumulator();
                let expired = accumulator.expired(now);
                (expired, accumulator.ready(now, leader), accumulator.next_expiry())
            };
            for batch in expired {
                debug!("Batch of {} expired before it could be sent", batch.partition);
                shared.settle(batch, |_| Err(Error::Expired));
            }
            if ready.unknown_leaders {
                shared.want_metadata.notify_one();
            }
            let mut sent = false;
            for broker in ready.brokers {
                sent |= self.send_to(broker, metadata);
            }
            if !sent {
                return match (ready.next, expiry) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
        }
    }

    /// Gives the broker's lane one request's worth of batches, if it may have another request in
    /// flight and there is something to send.
    fn send_to(&mut self, broker: BrokerId, metadata: &Metadata) -> bool {
        let settings = &self.shared.settings;
        let Some(at) = metadata.brokers.get(&broker) else {
            return false;
        };
        let lane = self.lanes.entry(broker).or_insert_with(|| {
            let (work, inbox) = mpsc::channel(settings.max_in_flight);
            let lane_settings = LaneSettings {
                acks: settings.acks,
                request_timeout: settings.request_timeout,
                max_in_flight: settings.max_in_flight,
                idle: settings.connections_max_idle,
                clock: settings.clock.clone(),
            };
            let (client, events) = (self.client.clone(), self.events.clone());
            let task = tokio::spawn(lane::run(broker, client, lane_settings, inbox, events));
            Lane {
                work,
                in_flight: 0,
                task,
            }
        });
        if lane.in_flight >= settings.max_in_flight {
            return false;
        }
        let leader = |p: &TopicPartition| metadata.leader(&p.topic, p.partition);
        let now = settings.clock.now();
        let batches = self
            .shared
            .accumulator()
            .drain(now, broker, settings.max_request_size, leader);
        if batches.is_empty() {
            return false;
        }
        let work = Work {
            at: at.clone(),
            batches,
        };
        match lane.work.try_send(work) {
            Ok(()) => lane.in_flight += 1,
            // A lane ends only when its sender does, and has a place for every request in flight.
            Err(e) => {
                let (mpsc::error::TrySendError::Full(work) | mpsc::error::TrySendError::Closed(work)) = e;
                for batch in work.batches {
                    self.shared.settle(batch, |_| Err(Error::Closed));
                }
            }
        }
        true
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Lost => self.shared.want_metadata.notify_one(),
            Event::Finished {
                broker,
                batches,
                outcome,
            } => {
                if let Some(lane) = self.lanes.get_mut(&broker) {
                    lane.in_flight -= 1;
                }
                match outcome {
                    Outcome::Written => {
                        for batch in batches {
                            self.shared.settle(batch, |_| Ok(-1));
                        }
                    }
                    Outcome::Answered(response) => {
                        for batch in batches {
                            let (error, base) = result_of(&response, &batch.partition);
                            self.answered(batch, error, base, None);
                        }
                    }
                    Outcome::Failed(e) => {
                        debug!("A produce request to node {broker} failed: {e}");
                        for batch in batches {
                            // Java's NETWORK_EXCEPTION has this number.
                            self.answered(batch, ErrorCode::STALE_LEADER_EPOCH, -1, Some(&e));
                        }
                    }
                }
            }
        }
    }

    fn answered(
        &self,
        batch: Batch,
        error: ErrorCode,
        base: i64,
        cause: Option<&crate::client::connection::Error>,
    ) {
        if error.is_none() {
            return self.shared.settle(batch, |i| Ok(base + i));
        }
        if matches!(error.0, 3 | 5 | 6 | 13) {
            self.shared.want_metadata.notify_one();
        }
        let settings = &self.shared.settings;
        let name = if cause.is_some() {
            "NETWORK_EXCEPTION"
        } else {
            error.name()
        };
        if error.is_retriable() && batch.attempts < settings.retries {
            warn!(
                "Got error produce response on topic-partition {}-{}, retrying ({} attempts left). Error: {name}",
                batch.partition.topic,
                batch.partition.partition,
                settings.retries - batch.attempts - 1,
            );
            let mut accumulator = self.shared.accumulator();
            // The old producer looks for the partition's leader anew before each try.
            self.shared.forget_partitions();
            return accumulator.retry(settings.clock.now(), batch);
        }
        let error = match cause {
            Some(e) => Error::Connection(e.clone()),
            None => Error::Broker(error),
        };
        self.shared.settle(batch, |_| Err(error.clone()));
    }

    /// Lets the lanes finish what they have, and settles it.
    async fn finish(mut self) {
        let lanes: Vec<JoinHandle<()>> = self.lanes.drain().map(|(_, l)| l.task).collect();
        drop(self.events);
        let settle = async {
            // Ends when every lane has dropped its end.
            while let Some(event) = self.inbox.recv().await {
                if let Event::Finished { batches, outcome, .. } = event {
                    for batch in batches {
                        match &outcome {
                            Outcome::Written => self.shared.settle(batch, |_| Ok(-1)),
                            Outcome::Answered(response) => {
                                let (error, base) = result_of(response, &batch.partition);
                                self.shared.settle(batch, |i| {
                                    if error.is_none() {
                                        Ok(base + i)
                                    } else {
                                        Err(Error::Broker(error))
                                    }
                                });
                            }
                            Outcome::Failed(e) => {
                                self.shared.settle(batch, |_| Err(Error::Connection(e.clone())));
                            }
                        }
                    }
                }
            }
        };
        settle.await;
        for lane in lanes {
            let _ = lane.await;
        }
        self.client.close().await;
    }
}

fn result_of(response: &ProduceResponse, partition: &TopicPartition) -> (ErrorCode, i64) {
    response
        .topics
        .iter()
        .filter(|t| *t.topic == *partition.topic)
        .flat_map(|t| &t.partitions)
        .find(|p| p.partition == partition.partition)
        .map_or((ErrorCode::UNKNOWN, -1), |p| (ErrorCode(p.error), p.base_offset))
}

impl Shared {
    /// Tells every record of the batch its end, gives its memory back and wakes those who wait for
    /// the batch. `result` gets a record's place in the batch and gives its offset, -1 if unknown.
    pub(super) fn settle(&self, mut batch: Batch, result: impl Fn(i64) -> Result<i64, Error>) {
        let (at, records) = (self.settings.clock.now(), batch.deliveries.len());
        let mut end = Ok(Ack {
            partition: batch.partition.clone(),
            offset: -1,
        });
        for (i, delivered) in (0i64..).zip(batch.deliveries.drain(..)) {
            match (result(i), &mut end) {
                (Ok(offset), Ok(ack)) => ack.offset = offset.max(-1),
                (Ok(offset), _) => {
                    let partition = batch.partition.clone();
                    end = Ok(Ack {
                        partition,
                        offset: offset.max(-1),
                    });
                }
                (Err(e), _) => end = Err(e),
            }
            delivered.settle(self.listener.0.as_ref(), &end, at);
        }
        self.give_back(records, batch.reserved);
        let mut accumulator = self.accumulator();
        accumulator.done(&batch);
        // Under the lock, or an older view could overwrite a newer one.
        self.settled
            .send_replace(accumulator.first_unsettled().unwrap_or(u64::MAX));
    }
}

/// Fetches metadata whenever it is wanted or old, until stopped.
pub(super) async fn refresh_metadata(shared: Arc<Shared>, client: Arc<BrokerClient>, mut stop: Stop) {
    let settings = &shared.settings;
    let clock = &settings.clock;
    let mut fetched = clock.now();
    loop {
        tokio::select! {
            () = shared.want_metadata.notified() => {}
            () = clock.sleep_until(fetched + settings.metadata_max_age) => {}
            () = stop.wait() => return,
        }
        let topics: Vec<String> = shared.topics().iter().cloned().collect();
        if topics.is_empty() {
            fetched = clock.now();
            continue;
        }
        let known = shared.metadata.borrow().clone();
        let answer = tokio::select! {
            answer = client.fetch_metadata(&known, &topics) => answer,
            () = stop.wait() => return,
        };
        fetched = clock.now();
        match answer {
            Ok(metadata) => {
                let errors = metadata.errors();
                if !errors.is_empty() {
                    warn!(
                        target: "org.apache.kafka.clients.NetworkClient",
                        "Error while fetching metadata with correlation id {} : {{{}}}",
                        metadata.correlation_id,
                        errors.join(", ")
                    );
                }
                shared.forget_partitions();
                shared.metadata.send_replace(Arc::new(metadata));
            }
            // Every broker's failure was logged; whoever waits goes on waiting.
            Err(_) => shared.want_metadata.notify_one(),
        }
        tokio::select! {
            () = clock.sleep(settings.retry_backoff) => {}
            () = stop.wait() => return,
        }
    }
}
