//! One TCP connection to a broker: requests are pipelined, answers matched in order by correlation
//! id. Knows frames and headers; knows no topic, no retry and no second broker.
//!
//! Two tasks belong to a connection, a writer and a reader. Either's failure, an answer out of
//! order, or an answer that does not come in time ends the whole connection with one error that
//! names the broker: what follows a missing answer could not be told apart. Whoever needs it again
//! opens a new one.

use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::in_flight::{Answer, InFlight, Mismatch};
use crate::protocol::{self, Body, Request};
use crate::util::clock::{Clock, Mono};
use crate::util::codec::{self, Reader};
use crate::util::shutdown::Shutdown;

/// Why a request got no answer. Cheap to clone: all requests of a broken connection share one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The name has no address, or nobody accepted at any of its addresses.
    #[error("cannot connect to {peer}: {source}")]
    Connect {
        /// `host:port` of the broker.
        peer: Arc<str>,
        /// The system's answer for the last address tried.
        #[source]
        source: Arc<io::Error>,
    },
    /// Nobody accepted in time.
    #[error("cannot connect to {peer} within {} ms", timeout.as_millis())]
    ConnectTimeout {
        /// `host:port` of the broker.
        peer: Arc<str>,
        /// What was waited.
        timeout: Duration,
    },
    /// Reading or writing failed.
    #[error("connection to {peer} failed: {source}")]
    Io {
        /// `host:port` of the broker.
        peer: Arc<str>,
        /// The system's answer.
        #[source]
        source: Arc<io::Error>,
    },
    /// The broker closed the connection, or this side did.
    #[error("connection to {peer} is closed")]
    Closed {
        /// `host:port` of the broker.
        peer: Arc<str>,
    },
    /// No answer in time; the connection is closed with it.
    #[error("{peer} did not answer {api} within {} ms", timeout.as_millis())]
    Timeout {
        /// `host:port` of the broker.
        peer: Arc<str>,
        /// The request's name.
        api: &'static str,
        /// What was waited.
        timeout: Duration,
    },
    /// An answer to something else than the oldest request.
    #[error("{peer} answered out of order: correlation id {got} where {expected} was due")]
    OutOfOrder {
        /// `host:port` of the broker.
        peer: Arc<str>,
        /// The id that came.
        got: i32,
        /// The id that was due, or `nothing`.
        expected: String,
    },
    /// An answer whose size is negative or above the limit.
    #[error("{peer} sent an answer of {size} bytes, where at most {limit} are taken")]
    Size {
        /// `host:port` of the broker.
        peer: Arc<str>,
        /// The size as claimed.
        size: i32,
        /// The largest size taken.
        limit: usize,
    },
    /// An answer that cannot be read.
    #[error("{peer} sent an unreadable answer to {api}: {source}")]
    Unreadable {
        /// `host:port` of the broker.
        peer: Arc<str>,
        /// The request's name.
        api: &'static str,
        /// What was wrong with it.
        #[source]
        source: codec::Error,
    },
}

impl Error {
    /// Whether the broker may have taken the request although no answer came.
    pub fn may_have_arrived(&self) -> bool {
        !matches!(self, Error::Connect { .. } | Error::ConnectTimeout { .. })
    }
}

/// Result of a request.
pub type Result<T> = std::result::Result<T, Error>;

/// How to connect and how long to wait.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// Sent in every request's header.
    pub client_id: String,
    /// Longest wait for an answer, from the call on.
    pub request_timeout: Duration,
    /// Longest wait for the TCP connection, name lookup included.
    pub connect_timeout: Duration,
    /// `SO_SNDBUF` in bytes; the system's choice when `None`.
    pub send_buffer_bytes: Option<u32>,
    /// `SO_RCVBUF` in bytes; the system's choice when `None`.
    pub receive_buffer_bytes: Option<u32>,
    /// Largest answer taken, in bytes without the size field.
    pub max_response_bytes: usize,
    /// Where time comes from.
    pub clock: Clock,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        ConnectionSettings {
            client_id: String::new(),
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
            // A fetch over a thousand partitions of a megabyte each is legal.
            max_response_bytes: 1 << 30,
            clock: Clock::system(),
        }
    }
}

/// Requests that callers may have queued before the writer takes them up.
const OUTBOX: usize = 64;

/// The most that a buffer grows ahead of the bytes that have really come.
const READ_AHEAD: usize = 64 * 1024;

/// An open connection. Callers share it by reference or `Arc`; dropping it cuts it at once, see
/// [`Connection::close`] for the orderly way.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    local: SocketAddr,
    next_correlation_id: AtomicI32,
    outbox: Mutex<Option<mpsc::Sender<Outgoing>>>,
    tasks: Mutex<Option<Tasks>>,
}

/// What callers and both tasks have in common.
#[derive(Debug)]
struct Shared {
    peer: Arc<str>,
    settings: ConnectionSettings,
    in_flight: InFlight,
    /// Ends both tasks when the connection fails.
    broken: Shutdown,
}

impl Shared {
    /// Ends the connection; the first reason given is everybody's.
    fn fail(&self, error: Error) {
        self.in_flight.fail(error);
        self.broken.ask();
    }

    /// The reason of the failure if there was one, else that the connection was closed.
    fn closed(&self) -> Error {
        self.in_flight.failure().unwrap_or_else(|| Error::Closed {
            peer: self.peer.clone(),
        })
    }

    fn io(&self, source: io::Error) -> Error {
        Error::Io {
            peer: self.peer.clone(),
            source: Arc::new(source),
        }
    }

    /// `work`'s result, or the end of the connection if it takes too long.
    async fn in_time<T>(
        &self,
        api: &'static str,
        timeout: Duration,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            done = work => done,
            () = self.settings.clock.sleep(timeout) => {
                let error = Error::Timeout { peer: self.peer.clone(), api, timeout };
                self.fail(error.clone());
                Err(error)
            }
        }
    }
}

/// A request on its way. Dropping it leaves the request in place: its answer is read and thrown
/// away.
#[derive(Debug)]
pub struct Pending<R> {
    shared: Arc<Shared>,
    correlation_id: i32,
    version: i16,
    answer: Answer,
    deadline: Mono,
    timeout: Duration,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> Pending<R> {
    /// The request's id on its connection, as log lines name it.
    pub fn correlation_id(&self) -> i32 {
        self.correlation_id
    }

    /// Waits for the answer until the timeout that counts from the submission.
    ///
    /// # Errors
    /// [`Error::Timeout`] ends the connection too.
    pub async fn answer(self) -> Result<R::Response> {
        let shared = &self.shared;
        let bytes = tokio::select! {
            // What came in time counts, however late it is asked for.
            biased;
            answer = self.answer => answer.map_err(|_| shared.closed())??,
            () = shared.settings.clock.sleep_until(self.deadline) => {
                let error = Error::Timeout {
                    peer: shared.peer.clone(),
                    api: R::KEY.name(),
                    timeout: self.timeout,
                };
                shared.fail(error.clone());
                return Err(error);
            }
        };
        R::Response::decode(&mut Reader::new(bytes), self.version).map_err(|source| Error::Unreadable {
            peer: shared.peer.clone(),
            api: R::KEY.name(),
            source,
        })
    }
}

#[derive(Debug)]
struct Tasks {
    writer: JoinHandle<()>,
    reader: JoinHandle<()>,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.writer.abort();
        self.reader.abort();
    }
}

#[derive(Debug)]
struct Outgoing {
    frame: BytesMut,
    then: Then,
}

#[derive(Debug)]
enum Then {
    /// An answer with this id is due.
    Answer(i32, oneshot::Sender<Result<Bytes>>),
    /// No answer; the caller hears when the system has taken the bytes.
    Written(oneshot::Sender<()>),
}

impl Connection {
    /// Connects to the first address of `host` that accepts.
    ///
    /// Must be called within a tokio runtime.
    pub async fn connect(host: &str, port: i32, settings: ConnectionSettings) -> Result<Connection> {
        let peer: Arc<str> = format!("{host}:{port}").into();
        let clock = settings.clock.clone();
        let stream = tokio::select! {
            opened = open(host, port, &settings) => opened.map_err(|e| Error::Connect {
                peer: peer.clone(),
                source: Arc::new(e),
            })?,
            () = clock.sleep(settings.connect_timeout) => {
                return Err(Error::ConnectTimeout { peer, timeout: settings.connect_timeout });
            }
        };
        let local = stream.local_addr().map_err(|e| Error::Connect {
            peer: peer.clone(),
            source: Arc::new(e),
        })?;
        let (read, write) = stream.into_split();
        let (outbox, queue) = mpsc::channel(OUTBOX);
        let shared = Arc::new(Shared {
            peer,
            settings,
            in_flight: InFlight::new(),
            broken: Shutdown::new(),
        });
        let writer = tokio::spawn(write_requests(write, queue, shared.clone()));
        let reader = tokio::spawn(read_answers(read, shared.clone()));
        Ok(Connection {
            shared,
            local,
            next_correlation_id: AtomicI32::new(0),
            outbox: Mutex::new(Some(outbox)),
            tasks: Mutex::new(Some(Tasks { writer, reader })),
        })
    }

    /// `host:port` as it was asked for.
    pub fn peer(&self) -> &str {
        &self.shared.peer
    }

    /// This side's address.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Why the connection can no longer be used, if so.
    pub fn failure(&self) -> Option<Error> {
        self.shared.in_flight.failure()
    }

    /// How many answers are due.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.len()
    }

    /// Returns once the connection is unusable, with the reason.
    pub async fn failed(&self) -> Error {
        self.shared.broken.stop().wait().await;
        self.shared.closed()
    }

    /// Sends `request` in its highest version and waits for the answer.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response> {
        self.call_version(request, R::VERSION).await
    }

    /// Sends `request` in `version` and waits for the answer, at most the request timeout.
    pub async fn call_version<R: Request>(&self, request: &R, version: i16) -> Result<R::Response> {
        self.call_within(request, version, self.shared.settings.request_timeout)
            .await
    }

    /// As [`Connection::call_version`] with another patience.
    ///
    /// # Errors
    /// [`Error::Timeout`] ends the connection too.
    pub async fn call_within<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<R::Response> {
        self.submit(request, version, timeout).await?.answer().await
    }

    /// Queues `request` for writing and returns the place where its answer arrives. Requests of one
    /// caller are written in the order of its submissions.
    pub async fn submit<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<Pending<R>> {
        let deadline = self.shared.settings.clock.now() + timeout;
        let (then, answer) = oneshot::channel();
        let id = self.next_id();
        self.shared
            .in_time(
                R::KEY.name(),
                timeout,
                self.enqueue(request, version, id, Then::Answer(id, then)),
            )
            .await?;
        Ok(Pending {
            shared: self.shared.clone(),
            correlation_id: id,
            version,
            answer,
            deadline,
            timeout,
            request: PhantomData,
        })
    }

    /// Sends a request that the broker does not answer (a Produce with acks=0), and returns when
    /// the system has taken its bytes. That says nothing of the broker having read them.
    pub async fn send_no_answer<R: Request>(&self, request: &R, version: i16) -> Result<()> {
        let (then, written) = oneshot::channel();
        let id = self.next_id();
        let sending = async {
            self.enqueue(request, version, id, Then::Written(then)).await?;
            written.await.map_err(|_| self.shared.closed())
        };
        let timeout = self.shared.settings.request_timeout;
        self.shared.in_time(R::KEY.name(), timeout, sending).await
    }

    fn next_id(&self) -> i32 {
        // Wraps into the negatives after 2^31 requests, as everybody's does.
        self.next_correlation_id.fetch_add(1, Ordering::Relaxed)
    }

    async fn enqueue<R: Request>(&self, request: &R, version: i16, id: i32, then: Then) -> Result<()> {
        let outbox = self
            .outbox
            .lock()
            .expect("no code panics while holding this lock")
            .clone();
        let outbox = outbox.ok_or_else(|| self.shared.closed())?;
        let client_id = &self.shared.settings.client_id;
        let frame = protocol::frame_request(request, version, id, Some(client_id));
        outbox
            .send(Outgoing { frame, then })
            .await
            .map_err(|_| self.shared.closed())
    }

    /// Takes no more requests, waits until those accepted are written and answered (at most the
    /// request timeout), then closes. Afterwards both tasks have ended.
    pub async fn close(&self) {
        drop(
            self.outbox
                .lock()
                .expect("no code panics while holding this lock")
                .take(),
        );
        let tasks = self
            .tasks
            .lock()
            .expect("no code panics while holding this lock")
            .take();
        let Some(mut tasks) = tasks else { return };
        let settings = &self.shared.settings;
        let deadline = settings.clock.now() + settings.request_timeout;
        let written = tokio::select! {
            _ = &mut tasks.writer => true,
            () = settings.clock.sleep_until(deadline) => false,
        };
        tokio::select! {
            () = self.shared.in_flight.drained() => {}
            () = settings.clock.sleep_until(deadline) => {}
        }
        self.shared.fail(self.shared.closed());
        if !written {
            let _ = (&mut tasks.writer).await;
        }
        let _ = (&mut tasks.reader).await;
    }
}

async fn open(host: &str, port: i32, settings: &ConnectionSettings) -> io::Result<TcpStream> {
    let port = u16::try_from(port)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "port is not within 0..65535"))?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host((host, port)).await? {
        match open_address(address, settings).await {
            Ok(stream) => return Ok(stream),
            Err(e) => last = e,
        }
    }
    Err(last)
}

async fn open_address(address: SocketAddr, settings: &ConnectionSettings) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(n) = settings.send_buffer_bytes {
        socket.set_send_buffer_size(n)?;
    }
    if let Some(n) = settings.receive_buffer_bytes {
        socket.set_recv_buffer_size(n)?;
    }
    socket.set_keepalive(true)?;
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

async fn write_requests(
    mut socket: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
) {
    let mut stop = shared.broken.stop();
    loop {
        let outgoing = tokio::select! {
            next = queue.recv() => next,
            () = stop.wait() => None,
        };
        let Some(Outgoing { frame, then }) = outgoing else {
            break;
        };
        let written = match then {
            Then::Answer(id, answer) => {
                // Before the first byte goes out: the answer may be faster than this task.
                shared.in_flight.push(id, answer);
                None
            }
            Then::Written(written) => Some(written),
        };
        let sent = tokio::select! {
            sent = socket.write_all(&frame) => sent,
            () = stop.wait() => break,
        };
        if let Err(e) = sent {
            shared.fail(shared.io(e));
            break;
        }
        if let Some(written) = written {
            let _ = written.send(());
        }
    }
}

async fn read_answers(mut socket: OwnedReadHalf, shared: Arc<Shared>) {
    let mut stop = shared.broken.stop();
    let mut buffer = BytesMut::new();
    loop {
        let frame = tokio::select! {
            frame = read_frame(&mut socket, &mut buffer, &shared) => frame,
            () = stop.wait() => return,
        };
        let mut frame = match frame {
            Ok(frame) => frame,
            Err(e) => return shared.fail(e),
        };
        let id = frame.get_i32();
        if let Err(mismatch) = shared.in_flight.answer(id, frame) {
            return shared.fail(Error::OutOfOrder {
                peer: shared.peer.clone(),
                got: id,
                expected: match mismatch {
                    Mismatch::Unasked => "nothing".to_owned(),
                    Mismatch::Expected(id) => id.to_string(),
                },
            });
        }
    }
}

/// The next frame without its size, at least four bytes long.
async fn read_frame(socket: &mut OwnedReadHalf, buffer: &mut BytesMut, shared: &Shared) -> Result<Bytes> {
    let limit = shared.settings.max_response_bytes;
    fill(socket, buffer, 4, shared).await?;
    let claimed = buffer.get_i32();
    let size = match usize::try_from(claimed) {
        Ok(n) if (4..=limit).contains(&n) => n,
        _ => {
            return Err(Error::Size {
                peer: shared.peer.clone(),
                size: claimed,
                limit,
            });
        }
    };
    fill(socket, buffer, size, shared).await?;
    Ok(buffer.split_to(size).freeze())
}

/// Reads until the buffer holds `size` bytes. It grows with what has come, not with what is claimed.
async fn fill(socket: &mut OwnedReadHalf, buffer: &mut BytesMut, size: usize, shared: &Shared) -> Result<()> {
    while buffer.len() < size {
        let missing = size - buffer.len();
        buffer.reserve(missing.min(READ_AHEAD.max(buffer.len())));
        match socket.read_buf(buffer).await {
            Ok(0) => {
                return Err(Error::Closed {
                    peer: shared.peer.clone(),
                });
            }
            Ok(_) => {}
            Err(e) => return Err(shared.io(e)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
