//! Connections to all brokers of a cluster, opened when needed and kept. Knows how to ask for
//! metadata; knows no other request.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ::log::{debug, warn};

use super::connection::{Connection, ConnectionSettings, Error, Result};
use super::metadata::{HostPort, Metadata};
use crate::protocol::Request;
use crate::protocol::metadata::MetadataRequest;
use crate::util::clock::Mono;

/// At most one connection per address. A broken one is replaced when it is asked for again, not
/// sooner than the reconnect back-off after its last failure.
#[derive(Debug)]
pub struct BrokerClient {
    bootstrap: Vec<HostPort>,
    settings: ConnectionSettings,
    reconnect_backoff: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connections: HashMap<HostPort, Arc<Connection>>,
    failed_at: HashMap<HostPort, Mono>,
    /// Addresses whose failure was told and that have not answered since.
    warned: HashSet<HostPort>,
    /// Spreads metadata requests over the brokers.
    turn: usize,
}

impl BrokerClient {
    /// A client that starts from `bootstrap`, which must not be empty. Connects to nobody yet.
    pub fn new(
        bootstrap: Vec<HostPort>,
        settings: ConnectionSettings,
        reconnect_backoff: Duration,
    ) -> BrokerClient {
        BrokerClient {
            bootstrap,
            settings,
            reconnect_backoff,
            state: Mutex::default(),
        }
    }

    /// The connection to that address: the one there is, else a new one.
    pub async fn connection(&self, at: &HostPort) -> Result<Arc<Connection>> {
        let clock = &self.settings.clock;
        let not_before = {
            let mut state = self.lock();
            if let Some(c) = state.connections.get(at) {
                if c.failure().is_none() {
                    return Ok(c.clone());
                }
                state.connections.remove(at);
                state.failed_at.insert(at.clone(), clock.now());
            }
            state.failed_at.get(at).map(|t| *t + self.reconnect_backoff)
        };
        if let Some(t) = not_before {
            clock.sleep_until(t).await;
        }
        match Connection::connect(&at.host, at.port, self.settings.clone()).await {
            Ok(opened) => {
                let mut state = self.lock();
                state.failed_at.remove(at);
                // Another caller may have been faster; all must share one, or order is lost.
                if let Some(c) = state.connections.get(at)
                    && c.failure().is_none()
                {
                    return Ok(c.clone());
                }
                let opened = Arc::new(opened);
                state.connections.insert(at.clone(), opened.clone());
                Ok(opened)
            }
            Err(e) => {
                self.lock().failed_at.insert(at.clone(), clock.now());
                Err(e)
            }
        }
    }

    /// Asks one broker after another, those of `known` and then the bootstrap list, until one gives
    /// metadata that names brokers. No topics means all topics.
    ///
    /// # Errors
    /// The last broker's failure.
    pub async fn fetch_metadata(&self, known: &Metadata, topics: &[String]) -> Result<Metadata> {
        let request = MetadataRequest {
            topics: topics.to_vec(),
        };
        let mut last = None;
        for at in self.candidates(known) {
            match self.ask(&at, &request).await {
                Ok(metadata) if metadata.brokers.is_empty() => {
                    debug!("{at} knows no brokers yet");
                    last = Some(Error::Closed {
                        peer: at.to_string().into(),
                    });
                }
                Ok(metadata) => {
                    self.lock().warned.remove(&at);
                    return Ok(metadata);
                }
                Err(e) => {
                    // Said once, not at every one of the many tries.
                    if self.lock().warned.insert(at.clone()) {
                        warn!(target: "org.apache.kafka.clients.NetworkClient", "Fetching metadata for topics {topics:?} from {at} failed: {e}");
                    }
                    last = Some(e);
                }
            }
        }
        Err(last.unwrap_or(Error::Closed {
            peer: "no broker".into(),
        }))
    }

    /// Sends `request` to one broker after another, in the order of [`BrokerClient::fetch_metadata`], until
    /// one answers, whatever it says.
    ///
    /// # Errors
    /// The last broker's failure.
    pub async fn call_any<R: Request>(&self, known: &Metadata, request: &R) -> Result<R::Response> {
        let mut last = None;
        for at in self.candidates(known) {
            let answer = match self.connection(&at).await {
                Ok(connection) => connection.call(request).await,
                Err(e) => Err(e),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(e) => {
                    debug!("{at} was asked in vain: {e}");
                    last = Some(e);
                }
            }
        }
        Err(last.unwrap_or(Error::Closed {
            peer: "no broker".into(),
        }))
    }

    async fn ask(&self, at: &HostPort, request: &MetadataRequest) -> Result<Metadata> {
        let connection = self.connection(at).await?;
        let patience = self.settings.request_timeout;
        let pending = connection
            .submit(request, MetadataRequest::VERSION, patience)
            .await?;
        let id = pending.correlation_id();
        Ok(Metadata::of(pending.answer().await?, id))
    }

    /// Known brokers in turn, then those of the bootstrap list that are not among them.
    fn candidates(&self, known: &Metadata) -> Vec<HostPort> {
        let mut state = self.lock();
        state.turn = state.turn.wrapping_add(1);
        let mut all: Vec<HostPort> = known.brokers.values().cloned().collect();
        if !all.is_empty() {
            let n = all.len();
            all.rotate_left(state.turn % n);
            // One that answers is better than one that is down or stuck behind other requests.
            all.sort_by_key(|at| match state.connections.get(at) {
                Some(c) if c.failure().is_none() => c.in_flight(),
                _ => usize::MAX,
            });
        }
        for at in &self.bootstrap {
            if !all.contains(at) {
                all.push(at.clone());
            }
        }
        all
    }

    /// Closes every connection, each after the answers that are due.
    pub async fn close(&self) {
        let all: Vec<Arc<Connection>> = {
            let mut state = self.lock();
            state.connections.drain().map(|(_, c)| c).collect()
        };
        for c in all {
            c.close().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while holding this lock")
    }
}
