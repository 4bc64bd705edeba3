//! The task behind a session: finds a server, shakes hands, carries packets both ways, and begins
//! again when the connection ends. Decisions are the core's; this one knows sockets and time.

use std::net::SocketAddr;
use std::time::Duration;

use ::log::{info, warn};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::address::ConnectString;
use super::core::{Broken, Core, Handshake, Request};
use super::session::{SessionState, Standing};
use crate::jute::{ConnectResponse, Record};
use crate::util::clock::{Clock, Mono};
use crate::util::shutdown::Stop;

/// So many requests may wait for answers; further callers wait for a place.
const MAX_PENDING: usize = 1000;
/// Unwritten bytes beyond which no further request is taken up.
const MAX_UNWRITTEN: usize = 1 << 20;
/// No answer of a ZooKeeper server is larger: the JVM's clients stop at 4 MiB.
const MAX_PACKET: usize = 64 << 20;
/// Waits between rounds over all servers start here and double up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// How long the answer to closeSession is waited for.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// What callers ask of the task.
#[derive(Debug)]
pub(super) enum Command {
    /// Send this and give the answer to its caller.
    Request(Request),
    /// Add an identity.
    Identity(String, Bytes),
}

/// The task's belongings.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) servers: ConnectString,
    pub(super) session_timeout: Duration,
    pub(super) clock: Clock,
    pub(super) core: Core,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) state: watch::Sender<SessionState>,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) stop: Stop,
}

/// Why a conversation ended.
enum End {
    Lost(String),
    Closed,
}

/// A connection that has shaken hands.
struct Conversation {
    stream: TcpStream,
    /// Bytes read that are no whole packet yet.
    input: BytesMut,
    /// Bytes to write.
    output: BytesMut,
    /// The timeout that the server granted.
    timeout: Duration,
}

impl Worker {
    /// Runs until the session is closed.
    pub(super) async fn run(mut self) {
        let mut backoff = MIN_BACKOFF;
        while !self.stop.is_asked() {
            let mut lasted = false;
            for address in self.resolve().await {
                if self.stop.is_asked() {
                    break;
                }
                match self.attempt(address).await {
                    Ok(conversation) => {
                        let began = self.clock.now();
                        match self.converse(conversation, address).await {
                            End::Closed => break,
                            End::Lost(reason) => self.lost(address, &reason),
                        }
                        lasted = self.clock.now().since(began) > MAX_BACKOFF;
                        // A fresh round resolves the names again.
                        break;
                    }
                    Err(Broken(reason)) => {
                        ::log::debug!("No session with ZooKeeper server {address}: {reason}");
                    }
                }
            }
            // A server that ends every connection at once must not be asked without a pause either.
            if lasted {
                backoff = MIN_BACKOFF;
                continue;
            }
            tokio::select! {
                () = self.clock.sleep(backoff) => {}
                () = self.stop.wait() => {}
            }
            backoff = MAX_BACKOFF.min(backoff * 2);
        }
        self.core.closed();
        self.state.send_modify(|state| {
            state.connected = false;
            state.closed = true;
        });
        // Whoever still waits in the queue learns that nobody will come.
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
    }

    async fn resolve(&mut self) -> Vec<SocketAddr> {
        tokio::select! {
            addresses = self.servers.resolve() => addresses,
            () = self.stop.wait() => Vec::new(),
        }
    }

    fn lost(&mut self, address: SocketAddr, reason: &str) {
        warn!(
            "Session 0x{:x} lost its connection to ZooKeeper server {address}, reconnecting: {reason}",
            self.core.session_id
        );
        self.core.lost();
        self.state.send_modify(|state| state.connected = false);
    }

    /// Connects to one server and shakes hands; after an expiry a second time, for a new session.
    async fn attempt(&mut self, address: SocketAddr) -> Result<Conversation, Broken> {
        let patience = self.session_timeout / u32::try_from(self.servers.servers.len()).unwrap_or(1);
        for _ in 0..2 {
            let deadline = self.clock.now() + patience;
            let (stream, input, response) = tokio::select! {
                greeting = greet(address, self.core.connect_request(millis(self.session_timeout))) => greeting?,
                () = self.clock.sleep_until(deadline) => return Err(Broken("no answer in time".into())),
                () = self.stop.wait() => return Err(Broken("closed".into())),
            };
            let mut output = BytesMut::new();
            let old = self.core.session_id;
            match self.core.connected(&response, &mut output) {
                Handshake::Connected => {
                    self.established(old, address, response.timeout_ms);
                    return Ok(Conversation {
                        stream,
                        input,
                        output,
                        timeout: Duration::from_millis(u64::try_from(response.timeout_ms).unwrap_or(1)),
                    });
                }
                Handshake::Expired => {
                    warn!("ZooKeeper session 0x{old:x} has expired");
                    self.publish(false);
                }
            }
        }
        Err(Broken("the server grants no session".into()))
    }

    fn established(&self, old: i64, address: SocketAddr, timeout_ms: i32) {
        let id = self.core.session_id;
        if old == id {
            info!("ZooKeeper session 0x{id:x} goes on at server {address}");
        } else {
            info!("ZooKeeper session 0x{id:x} begins at server {address}, timeout {timeout_ms} ms");
        }
        self.publish(true);
    }

    fn publish(&self, connected: bool) {
        self.standing.send_replace(Standing {
            session_id: self.core.session_id,
            password: self.core.password.clone(),
            timeout: Duration::from_millis(u64::try_from(self.core.timeout_ms).unwrap_or(0)),
        });
        self.state.send_replace(SessionState {
            generation: self.core.generation,
            connected,
            closed: false,
        });
    }

    /// Carries packets until the connection ends or the session is closed.
    async fn converse(&mut self, mut conversation: Conversation, address: SocketAddr) -> End {
        let Conversation {
            ref mut stream,
            ref mut input,
            ref mut output,
            timeout,
        } = conversation;
        let (mut reader, mut writer) = stream.split();
        let mut heard = self.clock.now();
        let mut spoken = heard;
        let mut closing: Option<Mono> = None;
        loop {
            match self.take_packets(input) {
                Ok(()) => {}
                Err(_) if closing.is_some() => return End::Closed,
                Err(Broken(reason)) => return End::Lost(reason),
            }
            // A third of the timeout without a word: ping. Two thirds without hearing one: gone.
            let ping_at = spoken + timeout / 3;
            let lost_at = closing.unwrap_or(heard + timeout * 2 / 3);
            let room = self.core.pending() < MAX_PENDING && output.len() < MAX_UNWRITTEN;
            tokio::select! {
                biased;
                read = reader.read_buf(input) => match read {
                    Ok(0) if closing.is_some() => return End::Closed,
                    Ok(0) => return End::Lost(format!("{address} closed it")),
                    Ok(_) => heard = self.clock.now(),
                    Err(_) if closing.is_some() => return End::Closed,
                    Err(e) => return End::Lost(e.to_string()),
                },
                written = writer.write(output), if !output.is_empty() => match written {
                    Ok(n) => {
                        output.advance(n);
                        spoken = self.clock.now();
                    }
                    Err(e) => return End::Lost(e.to_string()),
                },
                command = self.commands.recv(), if room && closing.is_none() => match command {
                    Some(command) => self.command(command, output),
                    // Nobody holds the session any more.
                    None => {
                        self.core.close_session(output);
                        closing = Some(self.clock.now() + CLOSE_PATIENCE);
                    }
                },
                () = self.stop.wait(), if closing.is_none() => {
                    self.core.close_session(output);
                    closing = Some(self.clock.now() + CLOSE_PATIENCE);
                }
                () = self.clock.sleep_until(ping_at.min(lost_at)) => {
                    if self.clock.now() >= lost_at {
                        if closing.is_some() {
                            return End::Closed;
                        }
                        let silent = millis(self.clock.now().since(heard));
                        return End::Lost(format!("nothing heard from {address} for {silent} ms"));
                    }
                    self.core.ping(output);
                    spoken = self.clock.now();
                }
            }
        }
    }

    fn command(&mut self, command: Command, output: &mut BytesMut) {
        match command {
            Command::Request(request) => self.core.submit(request, output),
            Command::Identity(scheme, auth) => self.core.add_identity(scheme, auth, output),
        }
        // What else waits goes into the same write.
        while self.core.pending() < MAX_PENDING && output.len() < MAX_UNWRITTEN {
            match self.commands.try_recv() {
                Ok(Command::Request(request)) => self.core.submit(request, output),
                Ok(Command::Identity(scheme, auth)) => {
                    self.core.add_identity(scheme, auth, output);
                }
                Err(_) => return,
            }
        }
    }

    /// Gives every whole packet of `input` to the core.
    fn take_packets(&mut self, input: &mut BytesMut) -> Result<(), Broken> {
        while let Some(packet) = next_packet(input)? {
            self.core.packet(packet)?;
        }
        Ok(())
    }
}

/// Connects, sends the first packet and reads the first answer.
async fn greet(
    address: SocketAddr,
    request: BytesMut,
) -> Result<(TcpStream, BytesMut, ConnectResponse), Broken> {
    let broken = |e: std::io::Error| Broken(e.to_string());
    let mut stream = TcpStream::connect(address).await.map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    stream.write_all(&request).await.map_err(broken)?;
    let mut input = BytesMut::new();
    loop {
        if let Some(packet) = next_packet(&mut input)? {
            let response = ConnectResponse::parse(packet);
            let response = response.map_err(|e| Broken(format!("unreadable greeting: {e}")))?;
            return Ok((stream, input, response));
        }
        if stream.read_buf(&mut input).await.map_err(broken)? == 0 {
            return Err(Broken("closed before the greeting".into()));
        }
    }
}

/// Cuts the first packet off `input`; nothing while it is not whole.
fn next_packet(input: &mut BytesMut) -> Result<Option<Bytes>, Broken> {
    let Some(length) = input.first_chunk::<4>().map(|b| i32::from_be_bytes(*b)) else {
        return Ok(None);
    };
    let length = usize::try_from(length)
        .ok()
        .filter(|n| *n <= MAX_PACKET)
        .ok_or_else(|| Broken(format!("a packet of {length} bytes")))?;
    if input.len() < 4 + length {
        return Ok(None);
    }
    input.advance(4);
    Ok(Some(input.split_to(length).freeze()))
}

fn millis(d: Duration) -> i32 {
    i32::try_from(d.as_millis()).unwrap_or(i32::MAX)
}
