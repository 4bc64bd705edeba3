//! What a session knows and decides, without a socket and without a clock: which requests wait, which
//! were sent, what is watched, and what to say first on a new connection.
//!
//! Order of use: [`Core::connect_request`], then [`Core::connected`] with the server's answer, then
//! [`Core::submit`] and [`Core::packet`] in any order; [`Core::lost`] when the connection ends.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::oneshot;

use super::error::{Error, Result};
use super::watch::{WatchKind, WatchTable, WatchedEvent, WatchedPaths};
use crate::jute::{
    AuthRequest, ConnectRequest, ConnectResponse, ErrorCode, OpCode, Reader, Record, ReplyHeader,
    RequestHeader, SetWatchesRequest, WatcherEvent, frame, xid,
};

/// At most so many bytes of paths go into one setWatches, as a server closes the connection of a
/// client whose packet passes `jute.maxbuffer`.
const SET_WATCHES_BYTES: usize = 128 * 1024;

/// A request past this size that ended two connections is given up: a server closes without a word
/// when a packet passes its `jute.maxbuffer`, and would do so for ever.
const SUSPICIOUS_BYTES: usize = 1024 * 1024 - 1024;

/// What the server said to a request.
#[derive(Debug)]
pub(super) struct Answer {
    /// The body; empty after an error.
    pub(super) body: Bytes,
    /// How it went.
    pub(super) err: ErrorCode,
    /// Whether the request was sent more than once.
    pub(super) retried: bool,
}

/// A request and who waits for its answer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) op: OpCode,
    pub(super) body: Bytes,
    pub(super) watch: Option<(WatchKind, String, oneshot::Sender<WatchedEvent>)>,
    /// The session it belongs to; it is not carried over into another.
    pub(super) generation: u64,
    pub(super) answer: oneshot::Sender<Result<Answer>>,
}

#[derive(Debug)]
struct Sent {
    request: Request,
    xid: i32,
    sendings: u32,
}

/// The outcome of a handshake.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Handshake {
    /// The session stands; what to send first is in the output.
    Connected,
    /// The session asked for is over. A new one begins with the next handshake.
    Expired,
}

/// The connection cannot go on; the reason is for the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken(pub(super) String);

/// A session.
#[derive(Debug, Default)]
pub(super) struct Core {
    pub(super) generation: u64,
    pub(super) session_id: i64,
    pub(super) password: Bytes,
    /// The session timeout that the server granted, in milliseconds; 0 before the first handshake.
    pub(super) timeout_ms: i32,
    last_zxid: i64,
    last_xid: i32,
    /// Sent on this connection, oldest first; answers come in this order.
    sent: VecDeque<Sent>,
    /// Sent on an earlier connection, to be sent again.
    again: VecDeque<Sent>,
    watches: WatchTable,
    identities: Vec<(String, Bytes)>,
    /// How many of the identities this connection's server has answered.
    identities_answered: usize,
    /// The request that ends the session, once it is sent.
    closing: Option<i32>,
}

impl Core {
    pub(super) fn new() -> Core {
        Core {
            generation: 1,
            password: Bytes::from_static(&[0; 16]),
            ..Core::default()
        }
    }

    /// How many requests wait for an answer.
    pub(super) fn pending(&self) -> usize {
        self.sent.len() + self.again.len()
    }

    /// The first packet of a connection.
    pub(super) fn connect_request(&self, timeout_ms: i32) -> BytesMut {
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms,
            session_id: self.session_id,
            password: Some(self.password.clone()),
            read_only: Some(false),
        };
        frame(|out| request.write(out))
    }

    /// Takes the server's first packet. After [`Handshake::Connected`], `out` holds what goes first:
    /// identities, watches, and the requests that the last connection left unanswered.
    pub(super) fn connected(&mut self, response: &ConnectResponse, out: &mut BytesMut) -> Handshake {
        if response.timeout_ms <= 0 || response.session_id == 0 {
            self.expired();
            return Handshake::Expired;
        }
        self.session_id = response.session_id;
        self.password = response.password.clone().unwrap_or_default();
        self.timeout_ms = response.timeout_ms;
        self.identities_answered = 0;
        for (scheme, auth) in &self.identities {
            put_auth(scheme, auth, out);
        }
        for part in split(self.watches.paths(), SET_WATCHES_BYTES) {
            let request = SetWatchesRequest {
                relative_zxid: self.last_zxid,
                data: part.data,
                exist: part.exist,
                child: part.child,
            };
            put_request(xid::SET_WATCHES, OpCode::SetWatches, &request.to_bytes(), out);
        }
        for mut sent in std::mem::take(&mut self.again) {
            if sent.sendings > 1 && sent.request.body.len() > SUSPICIOUS_BYTES {
                let _ = sent.request.answer.send(Err(Error::ConnectionLoss));
                continue;
            }
            sent.xid = self.next_xid();
            sent.sendings += 1;
            put_request(sent.xid, sent.request.op, &sent.request.body, out);
            self.sent.push_back(sent);
        }
        Handshake::Connected
    }

    /// Appends a request to `out` and waits for its answer. A request of an earlier session is
    /// answered with [`Error::SessionExpired`]; one whose caller is gone is dropped.
    pub(super) fn submit(&mut self, request: Request, out: &mut BytesMut) {
        if request.generation != self.generation {
            let _ = request.answer.send(Err(Error::SessionExpired));
            return;
        }
        if request.answer.is_closed() && request.watch.is_none() && is_read(request.op) {
            return;
        }
        let xid = self.next_xid();
        put_request(xid, request.op, &request.body, out);
        self.sent.push_back(Sent {
            request,
            xid,
            sendings: 1,
        });
    }

    /// Adds an identity to the session, on this connection and the later ones.
    pub(super) fn add_identity(&mut self, scheme: String, auth: Bytes, out: &mut BytesMut) {
        put_auth(&scheme, &auth, out);
        self.identities.push((scheme, auth));
    }

    /// Takes one packet of the server, without its length.
    pub(super) fn packet(&mut self, packet: Bytes) -> std::result::Result<(), Broken> {
        let mut r = Reader::new(packet);
        let unreadable = |e: crate::jute::Error| Broken(format!("unreadable packet: {e}"));
        let header = ReplyHeader::read(&mut r).map_err(unreadable)?;
        match header.xid {
            xid::EVENT => {
                let event = WatcherEvent::read(&mut r).map_err(unreadable)?;
                self.watches.fire(event.kind, &event.path);
            }
            xid::PING | xid::SET_WATCHES => {}
            number if self.closing == Some(number) => {}
            xid::AUTH => {
                if header.err != ErrorCode::OK {
                    // Sent again it would cost every later connection too.
                    if self.identities_answered < self.identities.len() {
                        self.identities.remove(self.identities_answered);
                    }
                    return Err(Broken(format!("authentication failed: {}", header.err)));
                }
                self.identities_answered += 1;
            }
            number => {
                if header.zxid > 0 {
                    self.last_zxid = header.zxid;
                }
                let Some(sent) = self.sent.pop_front_if(|sent| sent.xid == number) else {
                    return Err(Broken(format!("an answer out of order, xid {number}")));
                };
                self.answer(sent, header.err, r.rest());
            }
        }
        Ok(())
    }

    fn answer(&mut self, sent: Sent, err: ErrorCode, body: Bytes) {
        if let Some((kind, path, waiter)) = sent.request.watch {
            // A server registers what it found, and an exists that found nothing.
            let found = err == ErrorCode::OK;
            match kind {
                WatchKind::Exist if found => self.watches.add(WatchKind::Data, path, waiter),
                WatchKind::Exist if err == ErrorCode::NO_NODE => {
                    self.watches.add(kind, path, waiter);
                }
                WatchKind::Data | WatchKind::Child if found => self.watches.add(kind, path, waiter),
                _ => {}
            }
        }
        let retried = sent.sendings > 1;
        // A caller that went away does not want the answer.
        let _ = sent.request.answer.send(Ok(Answer { body, err, retried }));
    }

    /// The connection is gone: what was sent will be sent again.
    pub(super) fn lost(&mut self) {
        for sent in self.sent.drain(..).rev() {
            self.again.push_front(sent);
        }
    }

    /// The session is over: whoever waits is told, and the next handshake asks for a new one.
    pub(super) fn expired(&mut self) {
        self.fail_all(&Error::SessionExpired);
        self.generation += 1;
        self.session_id = 0;
        self.password = Bytes::from_static(&[0; 16]);
        self.last_zxid = 0;
    }

    /// The owner closed the session.
    pub(super) fn closed(&mut self) {
        self.fail_all(&Error::Closed);
    }

    fn fail_all(&mut self, error: &Error) {
        self.lost();
        for sent in self.again.drain(..) {
            let _ = sent.request.answer.send(Err(error.clone()));
        }
        self.watches.session_lost();
    }

    /// A packet that keeps the session alive.
    pub(super) fn ping(&self, out: &mut BytesMut) {
        put_request(xid::PING, OpCode::Ping, &[], out);
    }

    /// The packet that ends the session; answered before the server closes.
    pub(super) fn close_session(&mut self, out: &mut BytesMut) {
        let xid = self.next_xid();
        self.closing = Some(xid);
        put_request(xid, OpCode::CloseSession, &[], out);
    }

    fn next_xid(&mut self) -> i32 {
        self.last_xid = if self.last_xid == i32::MAX {
            1
        } else {
            self.last_xid + 1
        };
        self.last_xid
    }
}

/// Whether leaving the operation out changes nothing.
fn is_read(op: OpCode) -> bool {
    matches!(
        op,
        OpCode::Exists | OpCode::GetData | OpCode::GetAcl | OpCode::GetChildren | OpCode::GetChildren2
    )
}

fn put_request(xid: i32, op: OpCode, body: &[u8], out: &mut BytesMut) {
    out.reserve(12 + body.len());
    out.put_i32(i32::try_from(8 + body.len()).expect("a request is far below 2 GiB"));
    RequestHeader { xid, op: op.code() }.write(out);
    out.put_slice(body);
}

fn put_auth(scheme: &str, auth: &Bytes, out: &mut BytesMut) {
    let request = AuthRequest {
        kind: 0,
        scheme: scheme.to_owned(),
        auth: Some(auth.clone()),
    };
    put_request(xid::AUTH, OpCode::Auth, &request.to_bytes(), out);
}

/// Splits paths into parts of about `limit` bytes; no part for no path.
fn split(paths: WatchedPaths, limit: usize) -> Vec<WatchedPaths> {
    let mut parts = Vec::new();
    let mut part = WatchedPaths::default();
    let mut bytes = 0;
    let WatchedPaths { data, exist, child } = paths;
    let all = [(0, data), (1, exist), (2, child)];
    for (kind, path) in all
        .into_iter()
        .flat_map(|(kind, paths)| paths.into_iter().map(move |p| (kind, p)))
    {
        if bytes > 0 && bytes + path.len() + 4 > limit {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += path.len() + 4;
        match kind {
            0 => part.data.push(path),
            1 => part.exist.push(path),
            _ => part.child.push(path),
        }
    }
    if bytes > 0 {
        parts.push(part);
    }
    parts
}
