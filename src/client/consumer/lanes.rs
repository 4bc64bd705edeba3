//! The consumer's connections: requests go out in the order in which they were given to one broker, and their
//! answers come back as events in the same order. Knows no topic and no group.
//!
//! As the Java client does, a coordinator is spoken to over a connection of its own, or a heartbeat would
//! wait behind a fetch that waits for data. So is whoever is asked for metadata.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::broker_client::BrokerClient;
use crate::client::connection::{Connection, ConnectionSettings, Error, Result};
use crate::client::metadata::{HostPort, Metadata};
use crate::protocol::Request;
use crate::util::clock::{Clock, Mono};

/// Requests that may wait for one broker's connection. There are never so many: a consumer has a bounded
/// number of each kind under way.
const QUEUE: usize = 256;

/// Events that may wait for the consumer to be polled.
const EVENTS: usize = 64;

/// Which of a broker's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Messages and where they begin.
    Data,
    /// Metadata and the group.
    Control,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Submits a request over the connection, or gives up with the reason why there is none, and returns the
/// wait for its answer.
type Job = Box<dyn FnOnce(Result<Arc<Connection>>) -> Boxed<Wait> + Send>;

/// Ends when the answer was delivered.
struct Wait(Boxed<()>);

/// See the file's head. Dropping it cuts everything off.
#[derive(Debug)]
pub(super) struct Lanes<E> {
    data: Arc<BrokerClient>,
    control: Arc<BrokerClient>,
    queues: HashMap<(Kind, HostPort), mpsc::Sender<Job>>,
    /// The lanes of [`Kind::Control`].
    controls: JoinSet<()>,
    /// All else.
    tasks: JoinSet<()>,
    events: mpsc::Sender<E>,
    patience: Duration,
    idle: Duration,
    clock: Clock,
}

impl<E: Send + 'static> Lanes<E> {
    /// Lanes, and where their events arrive.
    pub(super) fn new(
        bootstrap: Vec<HostPort>,
        settings: ConnectionSettings,
        reconnect_backoff: Duration,
        idle: Duration,
    ) -> (Lanes<E>, mpsc::Receiver<E>) {
        let (events, inbox) = mpsc::channel(EVENTS);
        let client = || {
            Arc::new(BrokerClient::new(
                bootstrap.clone(),
                settings.clone(),
                reconnect_backoff,
            ))
        };
        let lanes = Lanes {
            data: client(),
            control: client(),
            queues: HashMap::new(),
            controls: JoinSet::new(),
            tasks: JoinSet::new(),
            events,
            patience: settings.request_timeout,
            idle,
            clock: settings.clock.clone(),
        };
        (lanes, inbox)
    }

    /// The client of [`Kind::Control`], for questions that any broker can answer.
    pub(super) fn client(&self) -> Arc<BrokerClient> {
        self.control.clone()
    }

    /// Sends a request to a broker; `event` makes an event of the answer.
    pub(super) fn call<R>(
        &mut self,
        kind: Kind,
        at: &HostPort,
        request: R,
        event: impl FnOnce(Result<R::Response>) -> E + Send + 'static,
    ) where
        R: Request + Send + Sync + 'static,
        R::Response: Send,
    {
        let (events, patience) = (self.events.clone(), self.patience);
        let job: Job = Box::new(move |connection| {
            Box::pin(async move {
                let pending = match connection {
                    Ok(c) => c.submit(&request, R::VERSION, patience).await,
                    Err(e) => Err(e),
                };
                Wait(Box::pin(async move {
                    let answer = match pending {
                        Ok(pending) => pending.answer().await,
                        Err(e) => Err(e),
                    };
                    let _ = events.send(event(answer)).await;
                }))
            })
        });
        let job = match self.queue(kind, at).try_send(job) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job)) => job,
        };
        let refused = Error::Closed {
            peer: at.to_string().into(),
        };
        self.tasks.spawn(async move { job(Err(refused)).await.0.await });
    }

    fn queue(&mut self, kind: Kind, at: &HostPort) -> &mpsc::Sender<Job> {
        while self.tasks.try_join_next().is_some() {}
        let (client, tasks) = match kind {
            Kind::Data => (&self.data, &mut self.tasks),
            Kind::Control => (&self.control, &mut self.controls),
        };
        self.queues.entry((kind, at.clone())).or_insert_with(|| {
            let (queue, jobs) = mpsc::channel(QUEUE);
            tasks.spawn(lane(
                client.clone(),
                at.clone(),
                jobs,
                self.idle,
                self.clock.clone(),
            ));
            queue
        })
    }

    /// Asks whichever broker answers for metadata.
    pub(super) fn metadata(
        &mut self,
        known: Arc<Metadata>,
        topics: Vec<String>,
        event: impl FnOnce(Result<Metadata>) -> E + Send + 'static,
    ) {
        let (client, events) = (self.client(), self.events.clone());
        self.tasks.spawn(async move {
            let answer = client.fetch_metadata(&known, &topics).await;
            let _ = events.send(event(answer)).await;
        });
    }

    /// Sends a request to whichever broker answers.
    pub(super) fn call_any<R>(
        &mut self,
        known: Arc<Metadata>,
        request: R,
        event: impl FnOnce(Result<R::Response>) -> E + Send + 'static,
    ) where
        R: Request + Send + Sync + 'static,
        R::Response: Send,
    {
        let (client, events) = (self.client(), self.events.clone());
        self.tasks.spawn(async move {
            let answer = client.call_any(&known, &request).await;
            let _ = events.send(event(answer)).await;
        });
    }

    /// Takes no more requests and closes the connections, those of [`Kind::Control`] after all that was given to
    /// them is sent and answered, or at the deadline: a coordinator that never hears that a member leaves waits for it.
    pub(super) async fn close(mut self, inbox: &mut mpsc::Receiver<E>, deadline: Mono) {
        self.queues.clear();
        // Nobody takes the events any more, and nobody shall wait to deliver one.
        inbox.close();
        while inbox.try_recv().is_ok() {}
        self.tasks.shutdown().await;
        let (controls, control) = (&mut self.controls, &self.control);
        let in_order = async {
            while controls.join_next().await.is_some() {}
            control.close().await;
        };
        tokio::select! {
            () = in_order => {}
            () = self.clock.sleep_until(deadline) => {}
        }
    }
}

/// Works for one connection until nobody has anything to send and every answer has come.
async fn lane(
    client: Arc<BrokerClient>,
    at: HostPort,
    mut jobs: mpsc::Receiver<Job>,
    idle: Duration,
    clock: Clock,
) {
    // A broker answers one connection in order. Waits that run side by side would lose that order.
    let mut answers: VecDeque<Wait> = VecDeque::new();
    let mut open: Option<Arc<Connection>> = None;
    loop {
        tokio::select! {
            job = jobs.recv() => {
                let Some(job) = job else { break };
                let connection = client.connection(&at).await;
                open = connection.as_ref().ok().cloned();
                let wait = job(connection).await;
                answers.push_back(wait);
            }
            () = delivered(&mut answers), if !answers.is_empty() => {}
            () = clock.sleep(idle), if open.is_some() && answers.is_empty() => {
                if let Some(c) = open.take() {
                    c.close().await;
                }
            }
        }
    }
    while !answers.is_empty() {
        delivered(&mut answers).await;
    }
}

/// Takes the first of the waits away once its answer was delivered; may be cut short.
async fn delivered(answers: &mut VecDeque<Wait>) {
    if let Some(first) = answers.front_mut() {
        first.0.as_mut().await;
        answers.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::protocol::groups::{ErrorOnlyResponse, HeartbeatRequest, LeaveGroupRequest};
    use crate::protocol::{RequestHeader, frame_response};
    use crate::util::clock::WallMs;
    use crate::util::codec::Reader;

    const COUNT: i16 = 100;

    /// More than anything takes on a busy machine.
    const LONG: Duration = Duration::from_secs(60);

    /// Sooner than any request gives up.
    const DUE: Duration = Duration::from_secs(1);

    async fn read_request(socket: &mut TcpStream) -> RequestHeader {
        let size = socket.read_i32().await.unwrap();
        let mut frame = vec![0; usize::try_from(size).unwrap()];
        socket.read_exact(&mut frame).await.unwrap();
        RequestHeader::decode(&mut Reader::new(frame.into())).unwrap()
    }

    /// Answers nothing before it has all requests; then the n-th with the error n.
    async fn all_at_once(listener: TcpListener) {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut answers = vec![];
        for error in 0..COUNT {
            let header = read_request(&mut socket).await;
            answers.extend_from_slice(&frame_response(
                &ErrorOnlyResponse { error },
                0,
                header.correlation_id,
            ));
        }
        socket.write_all(&answers).await.unwrap();
        let _ = socket.read_u8().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn answers_come_in_the_order_of_the_requests() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, mut lanes, mut events) = lanes_to(&listener);
        let broker = tokio::spawn(all_at_once(listener));
        for _ in 0..COUNT {
            let request = HeartbeatRequest {
                group_id: "g".into(),
                generation_id: 1,
                member_id: "m".into(),
            };
            lanes.call(Kind::Control, &at, request, |answer| answer.unwrap().error);
        }
        let mut told = vec![];
        while told.len() < usize::try_from(COUNT).unwrap() {
            told.push(events.recv().await.unwrap());
        }
        assert!(told.iter().copied().eq(0..COUNT), "{told:?}");
        lanes.close(&mut events, Mono::default() + DUE).await;
        broker.await.unwrap();
    }

    fn lanes_to(listener: &TcpListener) -> (HostPort, Lanes<i16>, mpsc::Receiver<i16>) {
        let at = HostPort {
            host: "127.0.0.1".into(),
            port: listener.local_addr().unwrap().port().into(),
        };
        // Its time stands still, but for who moves it.
        let settings = ConnectionSettings {
            clock: Clock::manual(WallMs(0)),
            ..ConnectionSettings::default()
        };
        let idle = Duration::from_secs(600);
        let (lanes, events) = Lanes::new(vec![at.clone()], settings, Duration::ZERO, idle);
        (at, lanes, events)
    }

    fn leave() -> LeaveGroupRequest {
        LeaveGroupRequest {
            group_id: "g".into(),
            member_id: "m".into(),
        }
    }

    /// Here no lane has run before all is closed.
    #[tokio::test]
    async fn what_a_coordinator_is_told_last_is_sent_and_answered_before_all_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, mut lanes, mut events) = lanes_to(&listener);
        let broker = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let header = read_request(&mut socket).await;
            let answer = frame_response(&ErrorOnlyResponse { error: 0 }, 0, header.correlation_id);
            socket.write_all(&answer).await.unwrap();
            assert_eq!(socket.read(&mut [0]).await.unwrap(), 0, "it is closed then");
            header.key
        });
        lanes.call(Kind::Control, &at, leave(), |answer| answer.unwrap().error);
        lanes.close(&mut events, Mono::default() + DUE).await;
        let told = tokio::time::timeout(LONG, broker).await;
        let told = told.expect("the coordinator is told").unwrap();
        assert_eq!(told, LeaveGroupRequest::KEY as i16);
    }

    #[tokio::test]
    async fn a_coordinator_that_does_not_answer_holds_up_no_end_beyond_its_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, mut lanes, mut events) = lanes_to(&listener);
        let clock = lanes.clock.clone();
        let broker = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            read_request(&mut socket).await;
            clock.advance(DUE);
            assert_eq!(socket.read(&mut [0]).await.unwrap(), 0, "it is cut then");
        });
        lanes.call(Kind::Control, &at, leave(), |_| 0);
        let closed = lanes.close(&mut events, Mono::default() + DUE);
        let (closed, broker) = tokio::join!(tokio::time::timeout(LONG, closed), broker);
        closed.expect("it ends at its deadline");
        broker.unwrap();
    }
}
