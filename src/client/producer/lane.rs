//! One broker's share of the sender's work: requests go out in order over one connection, answers
//! are reported as they come. Knows no batch's history; what becomes of a failed one is decided by
//! the sender.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ::log::{debug, warn};
use tokio::sync::mpsc;

use super::accumulator::Batch;
use crate::client::broker_client::BrokerClient;
use crate::client::connection::{Connection, Error, Pending};
use crate::client::metadata::HostPort;
use crate::cluster::{BrokerId, TopicPartition};
use crate::protocol::Request;
use crate::protocol::metadata::MetadataRequest;
use crate::protocol::produce::{ProducePartition, ProduceRequest, ProduceResponse, ProduceTopic};
use crate::util::clock::Clock;

/// Batches for one request, and where the broker listens at present.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) at: HostPort,
    pub(super) batches: Vec<Batch>,
}

/// What a lane tells the sender.
#[derive(Debug)]
pub(super) enum Event {
    /// A request's end.
    Finished {
        broker: BrokerId,
        batches: Vec<Batch>,
        outcome: Outcome,
    },
    /// The broker closed the connection although nothing was due; with acks=0 that is how it tells
    /// of an error.
    Lost,
}

/// How a request ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// With an answer.
    Answered(ProduceResponse),
    /// It was written, and no answer comes.
    Written,
    /// Nobody knows, or it was not sent at all.
    Failed(Error),
}

/// The settings a lane needs.
#[derive(Clone, Debug)]
pub(super) struct LaneSettings {
    pub(super) acks: i16,
    pub(super) request_timeout: Duration,
    pub(super) max_in_flight: usize,
    pub(super) idle: Duration,
    pub(super) clock: Clock,
}

/// How much longer than the broker's own patience an answer is awaited, so that the broker's
/// "timed out" arrives rather than a cut connection.
const GRACE: Duration = Duration::from_millis(200);

struct Lane {
    broker: BrokerId,
    client: Arc<BrokerClient>,
    settings: LaneSettings,
    events: mpsc::Sender<Event>,
    due: mpsc::Sender<(Vec<Batch>, HashSet<TopicPartition>, Pending<ProduceRequest>)>,
    connection: Option<Arc<Connection>>,
    /// Partitions that this connection's broker was seen to accept records for. With acks=0 an
    /// error has no answer, so the first batches of a partition ask for one.
    proven: Arc<std::sync::Mutex<HashSet<TopicPartition>>>,
    /// A topic of the last request that has no answer, to be confirmed before the connection closes.
    unconfirmed: Option<String>,
}

/// Runs until `work` is closed, every answer has come and, with acks=0, the broker has confirmed that
/// it read all.
pub(super) async fn run(
    broker: BrokerId,
    client: Arc<BrokerClient>,
    settings: LaneSettings,
    mut work: mpsc::Receiver<Work>,
    events: mpsc::Sender<Event>,
) {
    let (due, answers) = mpsc::channel(settings.max_in_flight);
    let proven = Arc::default();
    let answerer = tokio::spawn(report_answers(
        broker,
        answers,
        events.clone(),
        Arc::clone(&proven),
    ));
    let mut lane = Lane {
        broker,
        client,
        settings,
        events,
        due,
        connection: None,
        proven,
        unconfirmed: None,
    };
    loop {
        tokio::select! {
            next = work.recv() => match next {
                Some(work) => lane.send(work).await,
                None => break,
            },
            error = failure(lane.connection.as_deref()) => {
                debug!("Node {broker} disconnected: {error}");
                lane.disconnected();
                let _ = lane.events.send(Event::Lost).await;
            }
            () = lane.settings.clock.sleep(lane.settings.idle), if lane.connection.is_some() => {
                // Sooner than the broker would, so that nothing is written into a closing connection.
                lane.confirm().await;
                if let Some(c) = lane.connection.take() {
                    c.close().await;
                }
                lane.disconnected();
            }
        }
    }
    lane.confirm().await;
    drop(lane);
    let _ = answerer.await;
}

async fn failure(connection: Option<&Connection>) -> Error {
    match connection {
        Some(c) => c.failed().await,
        None => std::future::pending().await,
    }
}

impl Lane {
    async fn send(&mut self, Work { at, batches }: Work) {
        let connection = match self.client.connection(&at).await {
            Ok(c) => c,
            Err(e) => return self.finished(batches, Outcome::Failed(e)).await,
        };
        if self
            .connection
            .as_ref()
            .is_none_or(|c| !Arc::ptr_eq(c, &connection))
        {
            self.disconnected();
            self.connection = Some(connection.clone());
        }
        let partitions: HashSet<TopicPartition> = batches.iter().map(|b| b.partition.clone()).collect();
        let answered = self.settings.acks != 0
            || !partitions.is_subset(
                &self
                    .proven
                    .lock()
                    .expect("no code panics while holding this lock"),
            );
        let acks = match self.settings.acks {
            0 if answered => 1,
            acks => acks,
        };
        let request = self.request(&batches, acks);
        if answered {
            let patience = self.settings.request_timeout + GRACE;
            match connection
                .submit(&request, ProduceRequest::VERSION, patience)
                .await
            {
                Ok(pending) => {
                    // Never waits: there are no more requests in flight than places.
                    let _ = self.due.send((batches, partitions, pending)).await;
                }
                Err(e) => self.finished(batches, Outcome::Failed(e)).await,
            }
        } else {
            self.unconfirmed = batches.first().map(|b| b.partition.topic.to_string());
            let outcome = match connection.send_no_answer(&request, ProduceRequest::VERSION).await {
                Ok(()) => Outcome::Written,
                Err(e) => Outcome::Failed(e),
            };
            self.finished(batches, outcome).await;
        }
    }

    fn request(&self, batches: &[Batch], acks: i16) -> ProduceRequest {
        let mut topics: BTreeMap<&str, Vec<ProducePartition>> = BTreeMap::new();
        for batch in batches {
            topics
                .entry(&batch.partition.topic)
                .or_default()
                .push(ProducePartition {
                    partition: batch.partition.partition,
                    records: batch.bytes(),
                });
        }
        ProduceRequest {
            acks,
            timeout_ms: i32::try_from(self.settings.request_timeout.as_millis()).unwrap_or(i32::MAX),
            topics: topics
                .into_iter()
                .map(|(topic, partitions)| ProduceTopic {
                    topic: topic.to_owned(),
                    partitions,
                })
                .collect(),
        }
    }

    async fn finished(&self, batches: Vec<Batch>, outcome: Outcome) {
        let broker = self.broker;
        let _ = self
            .events
            .send(Event::Finished {
                broker,
                batches,
                outcome,
            })
            .await;
    }

    fn disconnected(&mut self) {
        self.connection = None;
        self.unconfirmed = None;
        self.proven
            .lock()
            .expect("no code panics while holding this lock")
            .clear();
    }

    /// Waits until the broker has read all that was sent without an answer.
    ///
    /// Requests of one connection are handled in turn, so the answer to a last one says that those
    /// before it were. A genuine 0.9 broker forgets requests that it has read but not yet handled
    /// when the client closes the connection.
    async fn confirm(&mut self) {
        let (Some(connection), Some(topic)) = (&self.connection, self.unconfirmed.take()) else {
            return;
        };
        let request = MetadataRequest { topics: vec![topic] };
        if let Err(e) = connection.call(&request).await {
            warn!("Records sent with acks=0 may be lost: the broker did not confirm that it read them: {e}");
        }
    }
}

async fn report_answers(
    broker: BrokerId,
    mut due: mpsc::Receiver<(Vec<Batch>, HashSet<TopicPartition>, Pending<ProduceRequest>)>,
    events: mpsc::Sender<Event>,
    proven: Arc<std::sync::Mutex<HashSet<TopicPartition>>>,
) {
    while let Some((batches, partitions, pending)) = due.recv().await {
        let outcome = match pending.answer().await {
            Ok(response) => {
                let accepted = response
                    .topics
                    .iter()
                    .flat_map(|t| &t.partitions)
                    .all(|p| p.error == 0);
                if accepted {
                    proven
                        .lock()
                        .expect("no code panics while holding this lock")
                        .extend(partitions);
                }
                Outcome::Answered(response)
            }
            Err(e) => Outcome::Failed(e),
        };
        let _ = events
            .send(Event::Finished {
                broker,
                batches,
                outcome,
            })
            .await;
    }
}
