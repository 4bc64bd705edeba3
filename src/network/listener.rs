//! Accepts connections, sweeps over the idle ones, and ends them all when asked to stop.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::log::{debug, error, info, warn};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, Id, JoinError, JoinHandle, JoinSet};

use super::NetworkSettings;
use super::connection::{Activity, Connection};
use super::limits::Limits;
use super::service::Service;
use crate::cluster::Endpoint;
use crate::util::clock::{Clock, Mono};
use crate::util::shutdown::Stop;

/// Connections that the system may hold ready to be accepted.
const BACKLOG: i32 = 1024;
/// How often the connections are looked over.
const SWEEP: Duration = Duration::from_secs(1);
/// A peer that holds shared request memory and sends nothing for so long is closed, if another
/// connection waits for that memory.
const STALLED: Duration = Duration::from_secs(10);
/// How long requests in progress may take once the listener was asked to stop.
const GRACE: Duration = Duration::from_millis(500);
/// How long to wait after the system refused to accept, for instance for lack of descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Why a listener could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, not this machine's, or not allowed.
    #[error("Socket server failed to bind to {host}:{port}: {source}.")]
    Bind {
        /// As configured; empty is every address.
        host: String,
        /// As configured.
        port: i32,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Result of making a listener.
pub type Result<T> = std::result::Result<T, Error>;

/// A bound address that may be served.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    socket: TcpListener,
    local: SocketAddr,
    settings: NetworkSettings,
    limits: Arc<Limits>,
    clock: Clock,
}

impl Listener {
    /// Binds; from now on the system takes connections, and [`serve`](Self::serve) answers them.
    ///
    /// An empty host is every address of the machine. Blocking for as long as the host takes to
    /// resolve; called within a runtime.
    ///
    /// # Errors
    /// [`Error::Bind`], with Kafka's text.
    pub fn bind(
        endpoint: &Endpoint,
        settings: NetworkSettings,
        limits: Arc<Limits>,
        clock: Clock,
    ) -> Result<Listener> {
        let failed = |source| Error::Bind {
            host: endpoint.host.clone(),
            port: endpoint.port,
            source,
        };
        let socket = open(endpoint, &settings).map_err(failed)?;
        let socket = TcpListener::from_std(socket.into()).map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        let shown = if local.ip().is_unspecified() {
            "0.0.0.0"
        } else {
            &endpoint.host
        };
        info!("Awaiting socket connections on {shown}:{}.", local.port());
        Ok(Listener {
            endpoint: endpoint.clone(),
            socket,
            local,
            settings,
            limits,
            clock,
        })
    }

    /// The address bound, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The endpoint as configured.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Serves until asked to stop; then no connection is left when the task ends.
    pub fn serve<S: Service>(self, service: Arc<S>, stop: Stop) -> JoinHandle<()> {
        tokio::spawn(Serving::new(self, service).run(stop))
    }
}

fn open(endpoint: &Endpoint, settings: &NetworkSettings) -> io::Result<Socket> {
    let port = u16::try_from(endpoint.port).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    if endpoint.host.is_empty() {
        let every = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
        match open_at(every, settings) {
            // A machine without IPv6.
            Err(e) if e.kind() != io::ErrorKind::AddrInUse => open_at(([0, 0, 0, 0], port).into(), settings),
            other => other,
        }
    } else {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in (endpoint.host.as_str(), port).to_socket_addrs()? {
            match open_at(address, settings) {
                Ok(socket) => return Ok(socket),
                Err(e) => last = e,
            }
        }
        Err(last)
    }
}

fn open_at(address: SocketAddr, settings: &NetworkSettings) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // On Windows this option would let two processes share a port; without it, a port in the
    // time-wait state can be bound there all the same.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    if let Ok(size) = usize::try_from(settings.receive_buffer_bytes) {
        // Accepted sockets inherit it, early enough for the window scale.
        socket.set_recv_buffer_size(size)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A listener at work, with its connections.
struct Serving<S> {
    listener: Listener,
    service: Arc<S>,
    tasks: JoinSet<()>,
    open: HashMap<Id, Open>,
}

struct Open {
    activity: Arc<Activity>,
    task: AbortHandle,
    peer: SocketAddr,
    slimmed: bool,
}

impl<S: Service> Serving<S> {
    fn new(listener: Listener, service: Arc<S>) -> Self {
        Serving {
            listener,
            service,
            tasks: JoinSet::new(),
            open: HashMap::new(),
        }
    }

    async fn run(mut self, mut stop: Stop) {
        let clock = self.listener.clock.clone();
        let mut next_sweep = clock.now() + SWEEP;
        loop {
            tokio::select! {
                () = stop.wait() => break,
                accepted = self.listener.socket.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer),
                    Err(e) => {
                        error!("Error while accepting connection: {e}");
                        if !concerns_one_connection(&e) {
                            clock.sleep(BACK_OFF).await;
                        }
                    }
                },
                Some(ended) = self.tasks.join_next_with_id() => self.forget(ended),
                () = clock.sleep_until(next_sweep) => {
                    let now = clock.now();
                    self.sweep(now);
                    next_sweep = now + SWEEP;
                }
            }
        }
        self.close_all().await;
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let admission = match self.listener.limits.admit(peer.ip()) {
            Ok(admission) => admission,
            Err(most) => {
                info!(
                    "Rejected connection from /{}, address already has the configured maximum of {most} connections.",
                    peer.ip()
                );
                return;
            }
        };
        if let Err(e) = adjust(&stream, &self.listener.settings) {
            debug!("Connection from {peer} is gone already: {e}");
            return;
        }
        let local = stream.local_addr().unwrap_or(self.listener.local);
        let activity = Arc::new(Activity::new(self.listener.clock.now()));
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let connection = Connection {
            stream,
            peer,
            local: SocketAddr::new(local.ip().to_canonical(), local.port()),
            listener: self.listener.endpoint.protocol,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            service: self.service.clone(),
            limits: self.listener.limits.clone(),
            activity: activity.clone(),
            clock: self.listener.clock.clone(),
            request_max_bytes: self.listener.settings.request_max_bytes,
        };
        debug!("Accepted connection from {peer} on {local}");
        let task = self.tasks.spawn(async move {
            let _admission = admission;
            connection.run().await;
        });
        let open = Open {
            activity,
            task: task.clone(),
            peer,
            slimmed: false,
        };
        self.open.insert(task.id(), open);
    }

    fn forget(&mut self, ended: std::result::Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(e) => {
                let id = e.id();
                if let (true, Some(open)) = (e.is_panic(), self.open.get(&id)) {
                    error!(
                        "Closing connection from {}: its request could not be handled: {e}",
                        open.peer
                    );
                }
                id
            }
        };
        self.open.remove(&id);
    }

    /// Closes who is silent for too long; takes back buffers from who has been silent for a while.
    fn sweep(&mut self, now: Mono) {
        let max_idle = self.listener.settings.max_idle;
        let short = self.listener.limits.is_short();
        for open in self.open.values_mut() {
            let idle = open.activity.idle(now);
            if idle >= max_idle {
                debug!(
                    "About to close the idle connection from {} due to being idle for {} millis",
                    open.peer,
                    idle.as_millis()
                );
                open.task.abort();
            } else if short && idle >= STALLED && open.activity.holds_partial() {
                warn!(
                    "Closing connection from {}: it sent part of a large request {} ms ago and no more, and others wait for the memory",
                    open.peer,
                    idle.as_millis()
                );
                open.task.abort();
            } else if idle < SWEEP {
                open.slimmed = false;
            } else if !open.slimmed {
                open.slimmed = true;
                open.activity.slim();
            }
        }
    }

    async fn close_all(mut self) {
        drop(self.listener.socket);
        for open in self.open.values() {
            open.activity.close();
        }
        let everyone = async { while self.tasks.join_next().await.is_some() {} };
        let clock = Clock::system();
        let timely = tokio::select! {
            () = everyone => true,
            // A stop must end also when a test's clock stands still.
            () = clock.sleep(GRACE) => false,
        };
        if !timely {
            debug!(
                "Closing {} connections with a request in progress",
                self.tasks.len()
            );
            self.tasks.shutdown().await;
        }
    }
}

/// Whether the error is about the one connection that was to be accepted, so that the next may be
/// tried at once.
fn concerns_one_connection(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

fn adjust(stream: &TcpStream, settings: &NetworkSettings) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_keepalive(true)?;
    if let Ok(size) = usize::try_from(settings.send_buffer_bytes) {
        socket.set_send_buffer_size(size)?;
    }
    Ok(())
}
