//! One TCP connection to a broker: requests are pipelined, answers matched in order by correlation
//! id. Knows frames and headers; knows no topic, no retry and no second broker.
//!
//! A caller writes its request itself if the system takes it at once. Two tasks belong to a connection:
//! one writes what was left, one reads. Either's failure, an answer out of order, or an answer that does
//! not come in time ends the whole connection with one error that names the broker: what follows a missing
//! answer could not be told apart. Whoever needs it again opens a new one.

mod answers;
mod error;
mod outbox;

use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::in_flight::{Answer, InFlight};
use crate::protocol::{self, Body, Request};
use crate::util::clock::{Clock, Mono};
use crate::util::codec::Reader;
use crate::util::shutdown::Shutdown;

pub use error::{Error, Result};
use outbox::{Outbox, Refused};

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

/// An open connection. Callers share it by reference or `Arc`; dropping it cuts it at once, see
/// [`Connection::close`] for the orderly way.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    local: SocketAddr,
    next_correlation_id: AtomicI32,
    tasks: Mutex<Option<Tasks>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Whoever waits for an answer holds the rest.
        self.shared.fail(self.shared.closed());
    }
}

/// What callers and both tasks have in common.
#[derive(Debug)]
struct Shared {
    peer: Arc<str>,
    settings: ConnectionSettings,
    in_flight: InFlight,
    outbox: Outbox,
    /// Ends both tasks when the connection fails.
    broken: Shutdown,
}

impl Shared {
    /// Ends the connection; the first reason given is everybody's.
    fn fail(&self, error: Error) {
        self.in_flight.fail(error);
        self.outbox.close();
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
        let shared = Arc::new(Shared {
            peer,
            settings,
            in_flight: InFlight::new(),
            outbox: Outbox::new(write),
            broken: Shutdown::new(),
        });
        let writer = tokio::spawn(write_what_is_left(shared.clone()));
        let reader = tokio::spawn(answers::read_answers(read, shared.clone()));
        Ok(Connection {
            shared,
            local,
            next_correlation_id: AtomicI32::new(0),
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
        let (answered, answer) = oneshot::channel();
        let id = self.next_id();
        let frame = self.frame(request, version, id);
        self.room(R::KEY.name(), timeout).await?;
        // The answer may be there before this has returned.
        let due = || self.shared.in_flight.push(id, answered);
        self.send(frame, due, None)?;
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
        let (done, written) = oneshot::channel();
        let frame = self.frame(request, version, self.next_id());
        let timeout = self.shared.settings.request_timeout;
        self.room(R::KEY.name(), timeout).await?;
        self.send(frame, || {}, Some(done))?;
        let written = async { written.await.map_err(|_| self.shared.closed()) };
        self.shared.in_time(R::KEY.name(), timeout, written).await
    }

    fn next_id(&self) -> i32 {
        // Wraps into the negatives after 2^31 requests, as everybody's does.
        self.next_correlation_id.fetch_add(1, Ordering::Relaxed)
    }

    fn frame<R: Request>(&self, request: &R, version: i16, id: i32) -> BytesMut {
        protocol::frame_request(request, version, id, Some(&self.shared.settings.client_id))
    }

    /// Waits while too many requests wait for the system to take them.
    async fn room(&self, api: &'static str, timeout: Duration) -> Result<()> {
        let outbox = &self.shared.outbox;
        if outbox.has_room() {
            return Ok(());
        }
        let room = async {
            outbox.room().await;
            Ok(())
        };
        self.shared.in_time(api, timeout, room).await
    }

    fn send(
        &self,
        frame: BytesMut,
        before: impl FnOnce(),
        written: Option<oneshot::Sender<()>>,
    ) -> Result<()> {
        let sent = self.shared.outbox.send(frame, before, written);
        sent.map_err(|refused| {
            if let Refused::Io(e) = refused {
                self.shared.fail(self.shared.io(e));
            }
            self.shared.closed()
        })
    }

    /// Takes no more requests, waits until those accepted are written and answered (at most the
    /// request timeout), then closes. Afterwards both tasks have ended.
    pub async fn close(&self) {
        self.shared.outbox.finish();
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

async fn write_what_is_left(shared: Arc<Shared>) {
    if let Err(e) = shared.outbox.send_what_is_left(shared.broken.stop()).await {
        shared.fail(shared.io(e));
    }
}

#[cfg(test)]
mod tests;
