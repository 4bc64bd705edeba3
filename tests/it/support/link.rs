//! A link that can break: a proxy in front of a server, through which its clients reach it.
//!
//! What is cut is held, as a network holds what it does not deliver: nothing arrives, nobody is told, and once
//! healed it comes after all. Brokers are told from clients by the first request on each connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// How often a connection looks whether it is cut.
const LOOK: Duration = Duration::from_millis(5);

/// Who talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The broker of that number: as a follower, as the controller, or leaving.
    Broker(i32),
    /// Anybody else.
    Client,
}

/// Whose connections a cut concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Everybody,
    Brokers,
    Clients,
    Only(Who),
}

/// Which way a cut holds what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the server.
    Requests,
    /// From the server.
    Answers,
    Both,
}

impl Of {
    fn concerns(self, who: Option<Who>) -> bool {
        match self {
            Of::Everybody => true,
            Of::Brokers => matches!(who, Some(Who::Broker(_))),
            Of::Clients => matches!(who, Some(Who::Client)),
            Of::Only(one) => who == Some(one),
        }
    }
}

#[derive(Default)]
struct Shared {
    cuts: Mutex<Vec<(Of, Way)>>,
    /// Milliseconds by which everything is late.
    delay: AtomicU64,
    /// Raised to drop all connections.
    drops: AtomicU64,
    closed: AtomicBool,
}

impl Shared {
    fn holds(&self, who: Option<Who>, way: Way) -> bool {
        let cuts = self.cuts.lock().expect("a holder of the cuts panicked");
        cuts.iter()
            .any(|(of, cut)| of.concerns(who) && (*cut == Way::Both || *cut == way))
    }
}

/// See the module. Ends when dropped.
pub struct Link {
    /// Where clients connect.
    pub port: u16,
    shared: Arc<Shared>,
}

impl Link {
    /// To the server on `target`, whether it is there yet or not.
    pub fn to(target: u16) -> Link {
        let port = super::free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port was free a moment ago");
        let shared = Arc::new(Shared::default());
        let serving = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if serving.closed.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let shared = serving.clone();
                std::thread::spawn(move || carry(client, target, &shared));
            }
        });
        Link { port, shared }
    }

    /// Holds what these send, or are sent, until [`heal`](Self::heal).
    pub fn cut(&self, of: Of, way: Way) {
        let mut cuts = self.shared.cuts.lock().expect("a holder of the cuts panicked");
        cuts.push((of, way));
    }

    /// Everything flows again, in time.
    pub fn heal(&self) {
        let mut cuts = self.shared.cuts.lock().expect("a holder of the cuts panicked");
        cuts.clear();
        self.shared.delay.store(0, Ordering::Relaxed);
    }

    /// Everything arrives so much later.
    pub fn delay(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).expect("a short delay");
        self.shared.delay.store(ms, Ordering::Relaxed);
    }

    /// Ends all connections that there are.
    pub fn drop_connections(&self) {
        self.shared.drops.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.drop_connections();
        // The listener wakes to see that it is over.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn carry(client: TcpStream, target: u16, shared: &Arc<Shared>) {
    let address = SocketAddr::from(([127, 0, 0, 1], target));
    // A cut server does not even say that nobody listens.
    while shared.holds(None, Way::Both) && !shared.closed.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
    }
    let Ok(server) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) else {
        return;
    };
    let who = Arc::new(OnceLock::new());
    let drops = shared.drops.load(Ordering::Relaxed);
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_read_timeout(Some(LOOK));
    }
    let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let back = {
        let (shared, who) = (shared.clone(), who.clone());
        std::thread::spawn(move || pump(&from_server, &client, Way::Answers, &who, drops, &shared))
    };
    pump(&from_client, &server, Way::Requests, &who, drops, shared);
    let _ = back.join();
}

/// Carries one direction until either side ends.
fn pump(
    mut from: &TcpStream,
    mut to: &TcpStream,
    way: Way,
    who: &OnceLock<Who>,
    drops: u64,
    shared: &Shared,
) {
    let mut buffer = vec![0; 64 << 10];
    let mut first = Vec::new();
    loop {
        let over = || shared.closed.load(Ordering::Relaxed) || shared.drops.load(Ordering::Relaxed) != drops;
        if over() {
            break;
        }
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => break,
        };
        if way == Way::Requests && who.get().is_none() {
            first.extend_from_slice(&buffer[..read]);
            if let Some(found) = recognize(&first) {
                let _ = who.set(found);
            }
        }
        let delay = shared.delay.load(Ordering::Relaxed);
        if delay > 0 {
            std::thread::sleep(Duration::from_millis(delay));
        }
        while shared.holds(who.get().copied(), way) && !over() {
            std::thread::sleep(LOOK);
        }
        if over() || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Who sent these first bytes; `None` while they are too few.
fn recognize(bytes: &[u8]) -> Option<Who> {
    let i16_at = |at: usize| Some(i16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let i32_at = |at: usize| Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (api, client_id) = (i16_at(4)?, i16_at(12)?);
    let body = 14 + usize::try_from(client_id).unwrap_or(0);
    // Fetch and ListOffsets begin with the replica's id; LeaderAndIsr, StopReplica and UpdateMetadata with the
    // controller's, ControlledShutdown with the broker's.
    match api {
        1 | 2 | 4..=7 => match i32_at(body)? {
            id if id >= 0 => Some(Who::Broker(id)),
            _ => Some(Who::Client),
        },
        _ => Some(Who::Client),
    }
}
