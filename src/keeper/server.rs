//! Starting and stopping: the port, the directories and their locks, recovery, the tasks.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::log::{error, info, warn};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::config::KeeperConfig;
use crate::util::blocking;
use crate::util::clock::Clock;
use crate::util::fs::{self, Context, FileLock};
use crate::util::shutdown::{Shutdown, Stop};

use super::connection::{self, Shared};
use super::core::{Core, Moment};
use super::error::{Error, Result};
use super::files::VERSION;
use super::pipeline::Pipeline;
use super::txn_log::{LogSettings, TxnLog};
use super::{ConnId, purge, recovery};

/// Held in each directory. ZooKeeper itself looks at `version-2` alone.
const LOCK: &str = ".keeper.lock";
/// Inputs of all connections that wait for the core.
const INBOX: usize = 1024;
/// Connections that the system may hold for us before they are accepted.
const BACKLOG: i32 = 1024;

/// A running server.
#[derive(Debug)]
pub struct Keeper {
    address: SocketAddr,
    shutdown: Arc<Shutdown>,
    tasks: Vec<JoinHandle<()>>,
    failure: watch::Receiver<Option<Arc<Error>>>,
    _locks: Vec<FileLock>,
}

impl Keeper {
    /// Listens, recovers what the directories hold and begins to serve. Port 0 takes a free one.
    ///
    /// Must be called within a tokio runtime. Reads files: on a large directory it takes its time,
    /// while clients that connect wait.
    ///
    /// # Errors
    /// [`Error::Bind`] if the port cannot be had, [`Error::Locked`] if another server works on a
    /// directory, and what recovery finds.
    pub fn start(config: KeeperConfig, clock: Clock) -> Result<Keeper> {
        let (listener, address) = listen(&config)?;
        let mut locks = Vec::new();
        let snapshots = open_dir(&config.data_dir, &mut locks)?;
        let logs = if config.data_log_dir == config.data_dir {
            snapshots.clone()
        } else {
            open_dir(&config.data_log_dir, &mut locks)?
        };
        let recovered = recovery::recover(&snapshots, &logs)?;
        info!(
            "{} nodes, {} sessions, last transaction 0x{:x}",
            recovered.tree.len(),
            recovered.sessions.len(),
            recovered.tree.last_zxid()
        );
        let listener = TcpListener::from_std(listener).map_err(|source| Error::Bind {
            address: address.to_string(),
            source,
        })?;

        let shutdown = Arc::new(Shutdown::new());
        let (inbox, inputs) = mpsc::channel(INBOX);
        let outstanding = Arc::new(AtomicUsize::new(0));
        let shared = Shared {
            inbox,
            max_packet: config.jute_max_buffer,
            outstanding: outstanding.clone(),
            outstanding_limit: config.global_outstanding_limit,
            clock: clock.clone(),
            stop: shutdown.stop(),
        };
        let settings = LogSettings {
            pre_alloc_bytes: config.pre_alloc_bytes,
            force_sync: config.force_sync,
            slow_sync: config.fsync_warning_threshold,
        };
        let now = Moment {
            mono: clock.now(),
            wall: clock.wall(),
        };
        let mut shown = config.clone();
        shown.client_port = address.port();
        let pipeline = Pipeline {
            core: Core::new(shown, recovered, now),
            inbox: inputs,
            log: TxnLog::new(logs.clone(), settings, clock.clone()),
            snapshots: snapshots.clone(),
            outstanding,
            clock: clock.clone(),
            stop: shutdown.stop(),
        };
        let (failed, failure) = watch::channel(None);
        let on_failure = Arc::downgrade(&shutdown);
        let mut tasks = vec![
            tokio::spawn(async move {
                if let Err(e) = pipeline.run().await {
                    failed.send_replace(Some(Arc::new(e)));
                    // Nobody is left to answer: clients are to look for another server.
                    if let Some(shutdown) = on_failure.upgrade() {
                        shutdown.ask();
                    }
                }
            }),
            tokio::spawn(accept(listener, config.max_client_cnxns, shared)),
        ];
        if let Some(interval) = config.purge_interval {
            let keep = config.snap_retain_count;
            tasks.push(tokio::spawn(purge_often(
                (snapshots, logs, keep),
                interval,
                clock,
                shutdown.stop(),
            )));
        }
        Ok(Keeper {
            address,
            shutdown,
            tasks,
            failure,
            _locks: locks,
        })
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns when the server has stopped by itself because its files cannot be written; what it
    /// acknowledged is safe.
    pub async fn failed(&self) -> Arc<Error> {
        let mut failure = self.failure.clone();
        match failure.wait_for(Option::is_some).await {
            Ok(error) => error.clone().expect("waited for it"),
            // The pipeline ended in order.
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops serving, closes every connection and returns when all is closed. Sessions live on in the
    /// files.
    pub async fn stop(mut self) {
        self.shutdown.ask();
        for task in self.tasks.drain(..) {
            if let Err(e) = task.await {
                error!("a task of the ZooKeeper server ended badly: {e}");
            }
        }
    }
}

/// On all interfaces both kinds of address are served, where the system can.
fn listen(config: &KeeperConfig) -> Result<(StdListener, SocketAddr)> {
    let port = config.client_port;
    let shown = match &config.client_port_address {
        Some(host) => format!("{host}:{port}"),
        None => format!("0.0.0.0/0.0.0.0:{port}"),
    };
    let fail = |source| Error::Bind {
        address: shown.clone(),
        source,
    };
    info!(target: "org.apache.zookeeper.server.NIOServerCnxnFactory", "binding to port {shown}");
    let listener = match &config.client_port_address {
        Some(host) => {
            let mut addresses = (host.as_str(), port).to_socket_addrs().map_err(fail)?;
            let address = addresses
                .next()
                .ok_or(std::io::ErrorKind::AddrNotAvailable.into());
            bind(address.map_err(fail)?)
        }
        None => match bind((Ipv6Addr::UNSPECIFIED, port).into()) {
            Err(e) if e.kind() != std::io::ErrorKind::AddrInUse => bind((Ipv4Addr::UNSPECIFIED, port).into()),
            other => other,
        },
    };
    let listener = listener.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    Ok((listener, address))
}

fn bind(address: SocketAddr) -> std::io::Result<StdListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // On Windows this option would let two servers share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Makes and locks a directory; returns the folder in it that holds the files.
fn open_dir(dir: &Path, locks: &mut Vec<FileLock>) -> Result<PathBuf> {
    let files = dir.join(VERSION);
    std::fs::create_dir_all(&files).during("create", &files)?;
    match fs::lock(&dir.join(LOCK))? {
        Some(lock) => locks.push(lock),
        None => return Err(Error::Locked { dir: dir.to_owned() }),
    }
    Ok(files)
}

async fn accept(listener: TcpListener, limit: u32, mut shared: Shared) {
    let peers = Peers::default();
    let mut connections = JoinSet::new();
    let mut next = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    next += 1;
                    admit(stream, peer, ConnId(next), (&peers, limit), &shared, &mut connections);
                }
                Err(e) => {
                    warn!("cannot accept a connection: {e}");
                    // Out of file descriptors, most likely: they come back when clients go.
                    shared.clock.sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = shared.stop.wait() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn admit(
    stream: TcpStream,
    peer: SocketAddr,
    conn: ConnId,
    (peers, limit): (&Peers, u32),
    shared: &Shared,
    connections: &mut JoinSet<()>,
) {
    let ip = peer.ip().to_canonical();
    let Some(place) = peers.enter(ip, limit) else {
        return warn!("Too many connections from /{ip} - max is {limit}");
    };
    let peer = SocketAddr::new(ip, peer.port());
    info!("Accepted socket connection from /{peer}");
    let shared = shared.clone();
    connections.spawn(async move {
        connection::serve(stream, conn, peer, shared).await;
        drop(place);
    });
}

/// How many connections each address has.
#[derive(Clone, Debug, Default)]
struct Peers(Arc<Mutex<HashMap<IpAddr, u32>>>);

/// A connection's place among those of its address, given back when dropped.
#[derive(Debug)]
struct Place(Peers, IpAddr);

impl Peers {
    /// A place, if there is one. A limit of 0 is none.
    fn enter(&self, ip: IpAddr, limit: u32) -> Option<Place> {
        let mut counts = self.0.lock().expect("a holder of the counts panicked");
        let count = counts.entry(ip).or_default();
        if limit != 0 && *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place(self.clone(), ip))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.0.0.lock().expect("a holder of the counts panicked");
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

async fn purge_often(
    (snapshots, logs, keep): (PathBuf, PathBuf, usize),
    interval: Duration,
    clock: Clock,
    mut stop: Stop,
) {
    loop {
        info!("Purge task started.");
        let (snapshots, logs) = (snapshots.clone(), logs.clone());
        match blocking::on_thread(move || purge::purge(&snapshots, &logs, keep)).await {
            Ok(_) => info!("Purge task completed."),
            Err(e) => error!("Error occurred while purging: {e}"),
        }
        tokio::select! {
            () = clock.sleep(interval) => {}
            () = stop.wait() => return,
        }
    }
}
