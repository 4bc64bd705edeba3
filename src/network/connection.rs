//! One peer: reads a frame, awaits its answer, writes it, and again, all in one task. Requests are handled one after the
//! other; what one read brought and can be answered at once is answered in one write.
//!
//! What arrived before the peer closed is still handled: requests that need no answer (acks 0) are
//! not lost by a client that sends and goes.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use ::log::{debug, info, warn};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::answers::{Answers, Due};
use super::frames::{FIRST, Frames};
use super::limits::{Held, Limits};
use super::service::{Incoming, Reply, Service, Times};
use crate::cluster::SecurityProtocol;
use crate::protocol::{ApiKey, RequestHeader};
use crate::util::clock::{Clock, Mono};
use crate::util::codec::Reader;

/// What a connection shows to the one who sweeps over all of them.
#[derive(Debug)]
pub(super) struct Activity {
    /// Since when nothing has passed.
    last_ms: AtomicU64,
    /// Waits for the rest of a frame while holding memory that others may wait for.
    holds_partial: AtomicBool,
    closing: AtomicBool,
    /// Wakes the connection if it waits for input.
    wake: Notify,
}

impl Activity {
    /// Of a connection that is accepted now. Its task may run only after the next sweep, which must not find it
    /// idle since the clock began.
    pub(super) fn new(now: Mono) -> Activity {
        Activity {
            last_ms: AtomicU64::new(millis(now)),
            holds_partial: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    fn touch(&self, now: Mono) {
        self.last_ms.store(millis(now), Ordering::Relaxed);
    }

    /// How long nothing has passed.
    pub(super) fn idle(&self, now: Mono) -> Duration {
        Duration::from_millis(millis(now).saturating_sub(self.last_ms.load(Ordering::Relaxed)))
    }

    /// Whether the peer owes the rest of a frame that holds shared memory.
    pub(super) fn holds_partial(&self) -> bool {
        self.holds_partial.load(Ordering::Relaxed)
    }

    /// Makes a connection that waits for input give its buffer back.
    pub(super) fn slim(&self) {
        self.wake.notify_one();
    }

    /// Makes the connection end once it waits for input.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }
}

fn millis(t: Mono) -> u64 {
    u64::try_from(t.0.as_millis()).unwrap_or(u64::MAX)
}

/// One accepted connection.
pub(super) struct Connection<S> {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) listener: SecurityProtocol,
    /// Unlike all others of this process.
    pub(super) number: u64,
    pub(super) service: Arc<S>,
    pub(super) limits: Arc<Limits>,
    pub(super) activity: Arc<Activity>,
    pub(super) clock: Clock,
    pub(super) request_max_bytes: usize,
}

/// Why a connection ended; the text goes to the log.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("closed by the client")]
    Eof,
    #[error("closing")]
    Stopped,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    BadSize(#[from] super::frames::BadSize),
    #[error("{0}")]
    Refused(String),
}

impl<S: Service> Connection<S> {
    /// Serves the peer until either side closes.
    pub(super) async fn run(mut self) {
        let end = self.serve().await;
        let id = self.id();
        match end {
            End::Eof | End::Stopped => debug!("Connection {id} ended: {end}"),
            End::Io(e) => debug!("Connection {id} disconnected: {e}"),
            End::BadSize(e) => warn!(
                "Unexpected error from {}; closing connection {id}: {e}",
                self.peer.ip()
            ),
            End::Refused(why) => info!("Closing socket connection {id}: {why}"),
        }
    }

    /// As Kafka names connections in its logs.
    fn id(&self) -> String {
        format!("{}-{}", self.local, self.peer)
    }

    async fn serve(&mut self) -> End {
        let mut answers = Answers::default();
        let end = match self.serve_requests(&mut answers).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        // Those of requests before the one at which it ends; that is the end whether they arrive or not.
        let _ = self.flush(&mut answers).await;
        answers.into_gone().map_or(end, End::Io)
    }

    async fn serve_requests(&mut self, answers: &mut Answers) -> Result<Infallible, End> {
        let mut frames = Frames::new(self.request_max_bytes);
        let mut held = Held::default();
        let mut received = Mono::default();
        loop {
            let Some(frame) = frames.next()? else {
                self.flush(answers).await?;
                received = self.read(&mut frames, &mut held).await?;
                continue;
            };
            self.handle(frame, received, answers).await?;
            frames.trim(false);
            if frames.allocated() <= FIRST {
                held = Held::default();
            }
            if self.activity.closing.load(Ordering::Relaxed) {
                return Err(End::Stopped);
            }
        }
    }

    async fn flush(&mut self, answers: &mut Answers) -> io::Result<()> {
        let told = tell(&*self.service, &self.activity, &self.clock);
        answers.flush(&mut self.stream, told).await
    }

    /// Reads more bytes of the next frame. Says when they were there.
    async fn read(&mut self, frames: &mut Frames, held: &mut Held) -> Result<Mono, End> {
        let wanted = frames.wanted();
        if wanted > FIRST && wanted > frames.allocated() {
            self.limits.grow(held, wanted).await;
        }
        if wanted.max(frames.allocated()) > FIRST && frames.is_partial() {
            self.activity.holds_partial.store(true, Ordering::Relaxed);
        }
        let mut first = frames.allocated() == 0;
        loop {
            // After each wake: there is none behind the one that says so.
            if self.activity.closing.load(Ordering::Relaxed) {
                return Err(End::Stopped);
            }
            if first {
                // Nothing is allocated before there is something to read.
                tokio::select! {
                    biased;
                    ready = self.stream.readable() => ready?,
                    () = self.activity.wake.notified() => {}
                }
                first = false;
                continue;
            }
            let (buffer, most) = frames.room(wanted);
            let mut buffer = buffer.limit(most);
            tokio::select! {
                biased;
                n = self.stream.read_buf(&mut buffer) => {
                    self.activity.holds_partial.store(false, Ordering::Relaxed);
                    if n? == 0 {
                        return Err(End::Eof);
                    }
                    let now = self.clock.now();
                    self.activity.touch(now);
                    return Ok(now);
                }
                () = self.activity.wake.notified() => {
                    if !frames.is_partial() {
                        frames.trim(true);
                        first = true;
                    }
                }
            }
        }
    }

    /// Has one frame answered that was `received` then; if nobody takes answers any more, only if it asks for something to be done. The answer
    /// waits for those of requests that are here already, unless one of these has to wait.
    async fn handle(
        &mut self,
        mut frame: BytesMut,
        received: Mono,
        answers: &mut Answers,
    ) -> Result<(), End> {
        let header = match header(&mut frame) {
            Ok(header) => header,
            Err(Unreadable::Silent(e)) => {
                warn!(
                    "No answer to a request of connection {}: its header is unreadable: {e}",
                    self.id()
                );
                return Ok(());
            }
            Err(Unreadable::Fatal(e)) => return Err(End::Refused(format!("request header: {e}"))),
        };
        if answers.is_gone() && !leaves_a_mark(header.key) {
            return Ok(());
        }
        let (key, version) = (header.key, header.version);
        let incoming = Incoming {
            header,
            body: frame,
            peer: self.peer,
            local: self.local,
            listener: self.listener,
            connection: self.number,
        };
        let reply = self.ask(incoming, answers).await?;
        let answered = self.clock.now();
        match reply {
            Reply::Nothing => {
                let times = Times {
                    received,
                    answered,
                    sent: answered,
                };
                self.service.answered(key, 0, times);
                Ok(())
            }
            Reply::Silence => {
                warn!(
                    "No answer to a request of connection {}: api key {key}, version {version} is not understood",
                    self.id()
                );
                Ok(())
            }
            Reply::Close(why) => Err(End::Refused(why)),
            Reply::Frame(response) => {
                let last = response.close_after;
                let due = Due {
                    key,
                    tag: response.tag,
                    received,
                    answered,
                };
                if answers.push(response, due) {
                    self.flush(answers).await?;
                }
                if last && !answers.is_gone() {
                    return Err(End::Refused("the answer was the last one".to_owned()));
                }
                Ok(())
            }
        }
    }

    /// Has the service answer. If that has to wait, what was answered before does not.
    async fn ask(&mut self, incoming: Incoming, answers: &mut Answers) -> Result<Reply, End> {
        let mut call = pin!(self.service.call(incoming));
        if !answers.is_empty() {
            let at_once = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
            if let Poll::Ready(reply) = at_once {
                return Ok(reply);
            }
            let told = tell(&*self.service, &self.activity, &self.clock);
            answers.flush(&mut self.stream, told).await?;
        }
        Ok(call.await)
    }
}

/// What notes that answers have gone to the socket.
fn tell<S: Service>(service: &S, activity: &Activity, clock: &Clock) -> impl FnOnce(&[Due]) {
    move |sent| {
        let now = clock.now();
        activity.touch(now);
        for due in sent {
            service.answered(due.key, due.tag, due.sent(now));
        }
    }
}

/// Whether a request is worth handling although nobody will see the answer.
fn leaves_a_mark(key: i16) -> bool {
    matches!(
        ApiKey::from_i16(key),
        Some(ApiKey::Produce | ApiKey::OffsetCommit | ApiKey::LeaveGroup)
    )
}

/// A header that could not be read, and what 0.9.0.1 does with such a client.
#[derive(Debug)]
enum Unreadable {
    /// Keys 0-9 and no key: no answer, the connection stays.
    Silent(crate::protocol::Error),
    /// Keys 10-16: the connection is closed.
    Fatal(crate::protocol::Error),
}

/// Takes the header off a frame.
fn header(frame: &mut BytesMut) -> Result<RequestHeader, Unreadable> {
    /// Key, version, correlation id and the client id's length.
    const FIXED: usize = 10;
    // Only the header is copied: the body stays the one owner of its bytes.
    let id = frame
        .get(8..FIXED)
        .map_or(0, |b| i16::from_be_bytes([b[0], b[1]]));
    let most = FIXED + usize::try_from(id).unwrap_or(0);
    let mut reader = Reader::new(Bytes::copy_from_slice(&frame[..most.min(frame.len())]));
    match RequestHeader::decode(&mut reader) {
        Ok(header) => {
            frame.advance(reader.position());
            Ok(header)
        }
        Err(e) => {
            let key = frame.first_chunk::<2>().map(|b| i16::from_be_bytes(*b));
            match key.and_then(ApiKey::from_i16) {
                Some(key) if key >= ApiKey::GroupCoordinator => Err(Unreadable::Fatal(e)),
                _ => Err(Unreadable::Silent(e)),
            }
        }
    }
}
