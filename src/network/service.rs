//! The seam between sockets and meaning: what a connection hands over and what it gets back.

use std::future::Future;
use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};

use crate::cluster::SecurityProtocol;
use crate::protocol::RequestHeader;
use crate::util::clock::Mono;
use crate::util::fs::FileSlice;

/// Whoever answers requests: the broker, or an echo in tests.
pub trait Service: Send + Sync + 'static {
    /// Answers one request. The connection reads no further request before this is done.
    ///
    /// May be dropped at any await when the connection or the listener is closed.
    fn call(&self, request: Incoming) -> impl Future<Output = Reply> + Send;

    /// Tells how long a request of that kind took, once its answer (with `tag`, 0 if there was none) has
    /// gone to the socket.
    fn answered(&self, key: i16, tag: u8, times: Times) {
        let _ = (key, tag, times);
    }
}

/// When what happened to a request.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// It was read whole.
    pub received: Mono,
    /// Its answer was there.
    pub answered: Mono,
    /// The answer had gone to the socket.
    pub sent: Mono,
}

/// One request as it came off a socket.
#[derive(Debug)]
pub struct Incoming {
    /// The header, decoded.
    pub header: RequestHeader,
    /// All that follows the header, sole owner of its bytes.
    pub body: BytesMut,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// The protocol of the listener that it came in on.
    pub listener: SecurityProtocol,
    /// Of the connection that it came in on; no two of this process have the same.
    pub connection: u64,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Reply {
    /// An answer.
    Frame(Response),
    /// No answer is due (produce with acks 0): read on.
    Nothing,
    /// No answer to something unintelligible, and the connection stays open, as Kafka 0.9 does.
    Silence,
    /// The connection is closed; the text says why in the log.
    Close(String),
}

/// An answer ready to be written: its first part begins with the frame's size and correlation id.
#[derive(Debug)]
pub struct Response {
    /// The pieces, in order.
    pub parts: Vec<Part>,
    /// Whether the connection is closed once all is written.
    pub close_after: bool,
    /// The service's own; comes back in [`Service::answered`].
    pub tag: u8,
}

/// A piece of an answer.
#[derive(Debug)]
pub enum Part {
    /// Bytes from memory.
    Bytes(Bytes),
    /// Bytes that go from a file to the socket without passing through this process.
    File(FileSlice),
}

impl Response {
    /// An answer whose body is written by `body` into one buffer.
    pub fn new(correlation_id: i32, body: impl FnOnce(&mut BytesMut)) -> Response {
        let mut builder = ResponseBuilder::new(correlation_id, 128);
        body(builder.bytes());
        builder.finish()
    }
}

/// Builds an answer of bytes and file slices in one small buffer.
#[derive(Debug)]
pub struct ResponseBuilder {
    bytes: BytesMut,
    /// Each file slice with the position in `bytes` before which it goes.
    files: Vec<(usize, FileSlice)>,
}

impl ResponseBuilder {
    /// Starts with size (filled in at the end) and correlation id; `capacity` is a guess of the
    /// bytes that are not in files.
    pub fn new(correlation_id: i32, capacity: usize) -> ResponseBuilder {
        let mut bytes = BytesMut::with_capacity(capacity + 8);
        bytes.put_i32(0);
        bytes.put_i32(correlation_id);
        ResponseBuilder {
            bytes,
            files: Vec::new(),
        }
    }

    /// Where the next bytes go.
    pub fn bytes(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Puts a slice of a file next.
    pub fn file(&mut self, slice: FileSlice) {
        if slice.len > 0 {
            self.files.push((self.bytes.len(), slice));
        }
    }

    /// The size of the frame so far, which does not count itself.
    pub fn size(&self) -> usize {
        self.bytes.len() - 4 + self.files.iter().map(|(_, f)| f.len).sum::<usize>()
    }

    /// Fills in the size.
    ///
    /// # Panics
    /// If the answer is larger than a frame can say, 2 GB; callers bound what they put in.
    pub fn finish(self) -> Response {
        let size = i32::try_from(self.size()).expect("answers are bounded by those who build them");
        let ResponseBuilder { mut bytes, files } = self;
        bytes[..4].copy_from_slice(&size.to_be_bytes());
        let bytes = bytes.freeze();
        let mut parts = Vec::with_capacity(2 * files.len() + 1);
        let mut done = 0;
        for (at, slice) in files {
            if at > done {
                parts.push(Part::Bytes(bytes.slice(done..at)));
                done = at;
            }
            parts.push(Part::File(slice));
        }
        if done < bytes.len() {
            parts.push(Part::Bytes(bytes.slice(done..)));
        }
        Response {
            parts,
            close_after: false,
            tag: 0,
        }
    }
}
