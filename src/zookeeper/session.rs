//! The handle of a session: cheap to clone, used from any task.
//!
//! Requests of all clones go through one task in the order of their calls and are pipelined. Knows
//! neither paths nor znodes of Kafka.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::address::ConnectString;
use super::core::{Answer, Core, Request};
use super::error::{Error, Result, validate_path};
use super::watch::{Watch, WatchKind};
use super::worker::{Command, Worker};
use crate::jute::{OpCode, Record};
use crate::util::clock::Clock;
use crate::util::shutdown::Shutdown;

/// Callers' requests that the task has not taken up; further callers wait for a place.
const QUEUE: usize = 1024;

/// How patient a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// `zookeeper.session.timeout.ms`: a session that the server does not hear of for so long ends,
    /// and its ephemeral nodes with it. The server may grant more or less.
    pub session_timeout: Duration,
    /// `zookeeper.connection.timeout.ms`: how long [`Session::connect`] looks for a server.
    pub connection_timeout: Duration,
}

/// How a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// 1 for the first session; one more each time the server declared a session expired.
    pub generation: u64,
    /// Whether there is a connection with which the session of this generation was established.
    /// False says nothing about the session: it may still live.
    pub connected: bool,
    /// Whether the owner closed it. Nothing follows then.
    pub closed: bool,
}

/// The session as a server knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) session_id: i64,
    pub(super) password: Bytes,
    pub(super) timeout: Duration,
}

#[derive(Debug)]
struct Shared {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<SessionState>,
    standing: watch::Receiver<Standing>,
    shutdown: Shutdown,
    worker: Mutex<Option<JoinHandle<()>>>,
    chroot: String,
}

/// A ZooKeeper session that reconnects for ever, and that is followed by a new one when it expires.
///
/// Operations wait while there is no connection and are sent again after one was lost; they end with
/// [`Error::SessionExpired`] only when the server says that the session in which they were asked for
/// is over. Nothing is carried over into the next session: its user is told by [`Session::state`]
/// and by every watch ([`super::WatchedEvent::SessionLost`]), and reads and registers anew.
///
/// When the last clone is dropped without [`Session::close`], the session is closed too, but nobody
/// waits for it.
#[derive(Clone, Debug)]
pub struct Session {
    shared: Arc<Shared>,
    /// The only generation in which this handle works; none for the present one at each call.
    pinned: Option<u64>,
}

impl Session {
    /// Finds a server of `connect` (`host:port,host:port/chroot`) and establishes a session. Creates
    /// nothing: a chroot that does not exist shows in the operations.
    ///
    /// # Errors
    /// [`Error::ConnectString`]; [`Error::Timeout`] if no server granted a session in time.
    pub async fn connect(connect: &str, settings: SessionSettings, clock: Clock) -> Result<Session> {
        let servers = ConnectString::parse(connect)?;
        let (commands, receive) = mpsc::channel(QUEUE);
        let (state, states) = watch::channel(SessionState {
            generation: 1,
            connected: false,
            closed: false,
        });
        let (standing, standings) = watch::channel(Standing::default());
        let shutdown = Shutdown::new();
        let chroot = servers.chroot.clone();
        let worker = Worker {
            servers,
            session_timeout: settings.session_timeout,
            clock: clock.clone(),
            core: Core::new(),
            commands: receive,
            state,
            standing,
            stop: shutdown.stop(),
        };
        let session = Session {
            shared: Arc::new(Shared {
                commands,
                state: states.clone(),
                standing: standings,
                shutdown,
                worker: Mutex::new(Some(tokio::spawn(worker.run()))),
                chroot,
            }),
            pinned: None,
        };
        let mut states = states;
        tokio::select! {
            biased;
            // Only whether it came: what it came with must not be held while the session closes.
            _ = async { states.wait_for(|state| state.connected).await.is_ok() } => Ok(session),
            () = clock.sleep(settings.connection_timeout) => {
                session.close().await;
                Err(Error::Timeout { timeout_ms: settings.connection_timeout.as_millis() })
            }
        }
    }

    /// How the session stands, now and later.
    pub fn state(&self) -> watch::Receiver<SessionState> {
        self.shared.state.clone()
    }

    /// The generation that operations of this handle belong to.
    pub fn generation(&self) -> u64 {
        self.pinned
            .unwrap_or_else(|| self.shared.state.borrow().generation)
    }

    /// A handle that works in the present generation only. After an expiry all its operations end
    /// with [`Error::SessionExpired`], so that what was decided in the old session is not done in
    /// the new one.
    pub fn pinned(&self) -> Session {
        Session {
            shared: Arc::clone(&self.shared),
            pinned: Some(self.generation()),
        }
    }

    /// The session's id: the owner of the ephemeral nodes it makes; 0 between two sessions.
    pub fn session_id(&self) -> i64 {
        self.shared.standing.borrow().session_id
    }

    /// The session timeout that the server granted, which may be longer or shorter than the one asked for;
    /// zero before the first connection.
    pub fn timeout(&self) -> Duration {
        self.shared.standing.borrow().timeout
    }

    /// The session's password, by which another connection can go on with it.
    pub fn password(&self) -> Bytes {
        self.shared.standing.borrow().password.clone()
    }

    /// The path under which the session lives; empty for none.
    pub fn chroot(&self) -> &str {
        &self.shared.chroot
    }

    /// Adds an identity (`digest`, `user:password`) to the session, for all later operations.
    pub async fn add_auth(&self, scheme: &str, auth: &[u8]) -> Result<()> {
        let command = Command::Identity(scheme.to_owned(), Bytes::copy_from_slice(auth));
        let sent = self.shared.commands.send(command).await;
        sent.map_err(|_| Error::Closed)
    }

    /// Ends the session: its ephemeral nodes go, its watches fire, all clones are dead. Returns when
    /// the server has confirmed it, or after a moment when it cannot.
    pub async fn close(self) {
        self.shared.shutdown.ask();
        let worker = self.shared.worker.lock().expect("no holder panics").take();
        match worker {
            Some(worker) => {
                // A panic of the task was reported by the runtime.
                let _ = worker.await;
            }
            None => {
                let _ = self.state().wait_for(|state| state.closed).await;
            }
        }
    }

    /// Ends the session for this process alone, as its death would: all clones are dead, and the server keeps
    /// it, with its ephemeral nodes, until it expires. Returns when nothing more can be sent.
    pub async fn abandon(&self) {
        let worker = self.shared.worker.lock().expect("no holder panics").take();
        if let Some(worker) = worker {
            worker.abort();
            // One that was at work would else go on for a moment, and end the session in order if the last clone
            // went meanwhile.
            let _ = worker.await;
        }
    }

    /// The path as the server knows it.
    pub(super) fn full(&self, path: &str) -> Result<String> {
        validate_path(path)?;
        Ok(match (self.shared.chroot.as_str(), path) {
            ("", path) => path.to_owned(),
            (chroot, "/") => chroot.to_owned(),
            (chroot, path) => format!("{chroot}{path}"),
        })
    }

    /// As [`Session::full`], for the front of a sequential node's name, which may end with a slash.
    pub(super) fn full_sequential(&self, path: &str) -> Result<String> {
        validate_path(&format!("{path}1"))?;
        Ok(format!("{}{path}", self.shared.chroot))
    }

    /// The path as the session's user knows it.
    pub(super) fn relative(&self, path: String) -> String {
        match path.strip_prefix(&self.shared.chroot) {
            Some("") => "/".to_owned(),
            Some(rest) => rest.to_owned(),
            None => path,
        }
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn call(&self, op: OpCode, body: &impl Record) -> Result<Answer> {
        self.request(op, body.to_bytes(), None).await
    }

    /// Sends a request that may leave a watch. The watch fires only if the server registered it,
    /// which depends on the answer.
    pub(super) async fn call_watched(
        &self,
        op: OpCode,
        body: &impl Record,
        kind: WatchKind,
        path: &str,
    ) -> Result<(Answer, Watch)> {
        let (send, event) = oneshot::channel();
        let watch = Some((kind, path.to_owned(), send));
        let answer = self.request(op, body.to_bytes(), watch).await?;
        Ok((answer, Watch { event }))
    }

    pub(super) async fn request(
        &self,
        op: OpCode,
        body: Bytes,
        watch: Option<(WatchKind, String, oneshot::Sender<super::WatchedEvent>)>,
    ) -> Result<Answer> {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            op,
            body,
            watch,
            generation: self.generation(),
            answer,
        };
        let sent = self.shared.commands.send(Command::Request(request)).await;
        sent.map_err(|_| Error::Closed)?;
        answered.await.unwrap_or(Err(Error::Closed))
    }
}
