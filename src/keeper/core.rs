//! The server as a plain struct: inputs and the time go in, effects come out.
//!
//! Inputs: [`Core::open`], [`Core::connect`], [`Core::request`], [`Core::command`], [`Core::closed`],
//! [`Core::tick`], and from the log [`Core::flushed`]. After each the owner takes the effects with
//! [`Core::effects`] and, when no flush is on the way, a batch for the log with [`Core::take_batch`].
//! Knows no socket and no file.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use ::log::{debug, info, warn};
use bytes::{Bytes, BytesMut};

use crate::config::KeeperConfig;
use crate::jute::{
    ConnectRequest, ConnectResponse, Create2Response, ErrorCode, Id, MultiOp, MultiResult, OpCode,
    PathRecord, Record, ReplyHeader, RequestHeader, WatcherEvent, event, frame, write_multi_results, xid,
};
use crate::util::clock::{Mono, WallMs};

use super::ConnId;
use super::acl::{self, AclRules};
use super::four_letter::Word;
use super::prepare::{Pending, Preparer, answers_with_stat};
use super::recovery::Recovered;
use super::request::Request;
use super::sessions::{Sessions, password};
use super::snapshot::{self, SessionTimeouts};
use super::stats::{ConnStats, ServerStats};
use super::tree::{Outcome, Tree};
use super::txn::{Txn, TxnHeader};
use super::txn_log;
use super::watches::{Fired, Watches};

/// How often containers and nodes with a time to live are looked at.
const REAP_INTERVAL: Duration = Duration::from_secs(60);
/// How many of them go at once at most.
const REAP_AT_ONCE: usize = 10_000;

/// The time of an input, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) mono: Mono,
    pub(super) wall: WallMs,
}

/// What the owner has to do.
#[derive(Debug)]
pub(super) enum Effect {
    /// Send the packet; `reply`: one request of the connection is done with.
    Send {
        conn: ConnId,
        packet: BytesMut,
        reply: bool,
    },
    /// The session is there: requests may be read.
    Established(ConnId),
    /// Send what is to be sent, then close.
    Close(ConnId),
    /// Store the snapshot of that transaction, and report with [`Core::snapshot_done`].
    Snapshot { zxid: i64, bytes: BytesMut },
}

/// Records for the log, to be made durable with one fsync.
#[derive(Debug)]
pub(super) struct Batch {
    /// The first transaction in it.
    pub(super) first: i64,
    /// The last one, to be reported with [`Core::flushed`].
    pub(super) last: i64,
    pub(super) records: Bytes,
    /// The next batch begins a new file.
    pub(super) roll: bool,
}

/// A connection as the core sees it.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) peer: SocketAddr,
    /// Who the client has proven to be.
    pub(super) ids: Vec<Id>,
    /// Zero until the client asked for one.
    pub(super) session: i64,
    pub(super) timeout_ms: i32,
    /// Whether the client knows the read-only byte.
    knows_read_only: bool,
    /// Nothing is taken from it any more.
    closing: bool,
    pub(super) stats: ConnStats,
}

/// A request in the queue.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) conn: Option<ConnId>,
    pub(super) session: i64,
    pub(super) xid: i32,
    name: &'static str,
    received: Mono,
    work: Work,
}

#[derive(Debug)]
enum Work {
    /// A transaction that is in the log or on its way there, and what was asked.
    Write(TxnHeader, Txn, Asked),
    /// A request that changes nothing.
    Read(Request),
    /// An answer that is known already, with the zxid zero; then perhaps the end.
    Answer {
        err: ErrorCode,
        zxid: i64,
        body: Bytes,
        close: bool,
    },
}

/// What the answer to a write must hold.
#[derive(Debug)]
enum Asked {
    /// A session for the connection.
    Session,
    /// The end of one.
    End,
    /// What the operation's answer holds.
    One(OpCode),
    Multi(Vec<OpCode>),
    /// Nothing; the server asked itself.
    Nothing,
}

/// The whole server but its sockets and files.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: KeeperConfig,
    rules: AclRules,
    pub(super) tree: Tree,
    pub(super) watches: Watches,
    pub(super) sessions: Sessions,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    pub(super) stats: ServerStats,
    /// What snapshots hold of sessions: those whose beginning is applied and whose end is not.
    timeouts: SessionTimeouts,
    pending: Pending,
    queue: VecDeque<Queued>,
    /// The number of the last transaction that was prepared.
    prepared: i64,
    /// The last one that is on the disk.
    durable: i64,
    batch: BytesMut,
    batch_first: i64,
    next_reap: Mono,
    /// Transactions logged since the log was rolled, and how many make it roll again.
    logged: u32,
    roll_at: u32,
    /// The transaction after which to take a snapshot.
    snapshot_after: Option<i64>,
    snapshot_runs: bool,
    pub(super) out: Vec<Effect>,
    events: Vec<Fired>,
}

impl Core {
    /// Goes on from what the files held. All sessions have their whole timeout again.
    pub(super) fn new(config: KeeperConfig, recovered: Recovered, now: Moment) -> Core {
        let mut sessions = Sessions::new(config.tick, now.wall);
        for (id, timeout_ms) in &recovered.sessions {
            sessions.restore(*id, *timeout_ms, now.mono);
        }
        let last = recovered.tree.last_zxid();
        Core {
            rules: AclRules {
                skip: config.skip_acl,
                super_digest: config.super_digest.clone(),
            },
            roll_at: roll_at(config.snap_count),
            config,
            tree: recovered.tree,
            watches: Watches::default(),
            sessions,
            conns: BTreeMap::new(),
            stats: ServerStats::default(),
            timeouts: recovered.sessions,
            pending: Pending::default(),
            queue: VecDeque::new(),
            prepared: last,
            durable: last,
            batch: BytesMut::new(),
            batch_first: 0,
            next_reap: now.mono + REAP_INTERVAL,
            logged: u32::try_from(recovered.replayed).unwrap_or(u32::MAX),
            snapshot_after: None,
            snapshot_runs: false,
            out: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Takes what is to be done, in order.
    pub(super) fn effects(&mut self) -> std::vec::Drain<'_, Effect> {
        self.out.drain(..)
    }

    /// When [`Core::tick`] has something to do next.
    pub(super) fn next_deadline(&self) -> Mono {
        match self.sessions.next_deadline() {
            Some(at) => at.min(self.next_reap),
            None => self.next_reap,
        }
    }

    /// Requests in process.
    pub(super) fn outstanding(&self) -> usize {
        self.queue.len()
    }

    /// A client connected.
    pub(super) fn open(&mut self, conn: ConnId, peer: SocketAddr, now: Moment) {
        let state = Conn {
            peer,
            ids: vec![acl::address_id(peer.ip())],
            session: 0,
            timeout_ms: 0,
            knows_read_only: false,
            closing: false,
            stats: ConnStats::new(now.wall),
        };
        self.conns.insert(conn, state);
    }

    /// The connection is gone. Its session lives on, its watches do not.
    pub(super) fn closed(&mut self, conn: ConnId) {
        let Some(state) = self.conns.remove(&conn) else {
            return;
        };
        self.watches.drop_conn(conn);
        self.sessions.detach(state.session, conn);
        if state.session == 0 {
            debug!(
                "Closed socket connection for client /{} (no session established for client)",
                state.peer
            );
        } else {
            info!(
                "Closed socket connection for client /{} which had sessionid 0x{:x}",
                state.peer, state.session
            );
        }
    }

    /// The first packet: a new session, or the old one on a new connection.
    pub(super) fn connect(&mut self, conn: ConnId, request: &ConnectRequest, now: Moment) {
        let bounds = [self.config.min_session_timeout, self.config.max_session_timeout];
        let [least, most] = bounds.map(|d| i32::try_from(d.as_millis()).unwrap_or(i32::MAX));
        let last = self.tree.last_zxid();
        let Some(state) = self.received(conn) else {
            return;
        };
        let peer = state.peer;
        state.knows_read_only = request.read_only.is_some();
        state.timeout_ms = request.timeout_ms.min(most).max(least);
        let timeout_ms = state.timeout_ms;
        if request.last_zxid_seen > last {
            info!(
                "Refusing session request for client /{peer} as it has seen zxid 0x{:x} our last zxid is \
                 0x{last:x} client must try another server",
                request.last_zxid_seen
            );
            return self.close(conn);
        }
        if request.session_id != 0 {
            return self.reconnect(conn, request, now);
        }
        info!("Client attempting to establish new session at /{peer}");
        let id = self.sessions.create(timeout_ms, conn, now.mono);
        if let Some(state) = self.conns.get_mut(&conn) {
            state.session = id;
        }
        let txn = Txn::CreateSession { timeout_ms };
        self.log(Some(conn), id, 0, "SESS", txn, Asked::Session, now);
    }

    fn reconnect(&mut self, conn: ConnId, request: &ConnectRequest, now: Moment) {
        let id = request.session_id;
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        info!("Client attempting to renew session 0x{id:x} at /{}", state.peer);
        let known = request.password.as_deref().unwrap_or_default() == password(id);
        if !known || !self.sessions.renegotiate(id, state.timeout_ms, now.mono) {
            info!(
                "Invalid session 0x{id:x} for client /{}, probably expired",
                state.peer
            );
            let refused = ConnectResponse {
                password: Some(Bytes::from_static(&[0; 16])),
                read_only: state.knows_read_only.then_some(false),
                ..ConnectResponse::default()
            };
            self.send(conn, frame(|out| refused.write(out)), true);
            return self.close(conn);
        }
        state.session = id;
        if let Some(old) = self.sessions.attach(id, conn).filter(|old| *old != conn) {
            self.close(old);
        }
        self.established(conn, now);
    }

    fn established(&mut self, conn: ConnId, now: Moment) {
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms: state.timeout_ms,
            session_id: state.session,
            password: Some(Bytes::copy_from_slice(&password(state.session))),
            read_only: state.knows_read_only.then_some(false),
        };
        info!(
            "Established session 0x{:x} with negotiated timeout {} for client /{}",
            state.session, state.timeout_ms, state.peer
        );
        state.stats.last_op = "SESS";
        state.stats.last_response_ms = now.wall.0;
        self.send(conn, frame(|out| response.write(out)), true);
        self.out.push(Effect::Established(conn));
    }

    /// A packet after the first.
    pub(super) fn request(&mut self, conn: ConnId, header: RequestHeader, request: Request, now: Moment) {
        let Some(state) = self.received(conn) else {
            return;
        };
        if state.closing {
            return;
        }
        let session = state.session;
        if !self.sessions.touch(session, now.mono) {
            debug!("Dropping a request of session 0x{session:x}, which is over");
            return self.close(conn);
        }
        let xid = header.xid;
        let name = request.short_name();
        if request.is_write() {
            return self.write(conn, session, xid, name, &request, now);
        }
        let work = match request {
            Request::Auth(auth) => self.authenticate(conn, &auth.scheme, auth.auth.as_deref()),
            Request::Sasl => Work::Answer {
                err: ErrorCode::OK,
                zxid: 0,
                body: Option::<Bytes>::None.to_bytes(),
                close: false,
            },
            Request::Unknown => {
                info!(
                    "Closing the connection of session 0x{session:x}: no operation {}",
                    header.op
                );
                self.stop_taking(conn);
                Work::Answer {
                    err: ErrorCode::UNIMPLEMENTED,
                    zxid: -1,
                    body: Bytes::new(),
                    close: true,
                }
            }
            Request::Ping => {
                return self.enqueue(
                    Queued {
                        conn: Some(conn),
                        session,
                        xid: xid::PING,
                        name,
                        received: now.mono,
                        work: Work::Read(Request::Ping),
                    },
                    now,
                );
            }
            read => Work::Read(read),
        };
        self.enqueue(
            Queued {
                conn: Some(conn),
                session,
                xid,
                name,
                received: now.mono,
                work,
            },
            now,
        );
    }

    /// A four-letter word: answered with a text and the end of the connection.
    pub(super) fn command(&mut self, conn: ConnId, word: Word, now: Moment) {
        if self.received(conn).is_none() {
            return;
        }
        let text = self.answer_word(word, now);
        self.send(conn, BytesMut::from(text.as_bytes()), true);
        self.close(conn);
    }

    /// Ends sessions whose time is over, and removes nodes that nothing keeps.
    pub(super) fn tick(&mut self, now: Moment) {
        let late = self.sessions.next_deadline().map(|at| now.mono.since(at));
        if let Some(late) = late.filter(|late| *late > self.config.tick) {
            warn!(
                "The server stood still for {}ms: its sessions get that time again",
                late.as_millis()
            );
            self.sessions.postpone(late);
        }
        while let Some(id) = self.sessions.due(now.mono) {
            let timeout_ms = self.sessions.get(id).map_or(0, |s| s.timeout_ms);
            info!("Expiring session 0x{id:x}, timeout of {timeout_ms}ms exceeded");
            self.end_session(None, id, 0, now);
        }
        if now.mono >= self.next_reap {
            self.next_reap = now.mono + REAP_INTERVAL;
            self.reap(now);
        }
    }

    fn reap(&mut self, now: Moment) {
        let due: Vec<_> = self
            .tree
            .reapable(now.wall.0)
            .take(REAP_AT_ONCE)
            .cloned()
            .collect();
        for path in due {
            info!("Attempting to delete candidate container: {path}");
            let zxid = self.prepared + 1;
            let txn = self.preparer(&[], (0, zxid)).reap(&path);
            self.log(None, 0, 0, "DELE", txn, Asked::Nothing, now);
        }
    }

    fn write(
        &mut self,
        conn: ConnId,
        session: i64,
        xid: i32,
        name: &'static str,
        request: &Request,
        now: Moment,
    ) {
        if matches!(request, Request::CloseSession) {
            self.stop_taking(conn);
            return self.end_session(Some(conn), session, xid, now);
        }
        let ids = self.conns.get(&conn).map(|c| c.ids.clone()).unwrap_or_default();
        let zxid = self.prepared + 1;
        let txn = self.preparer(&ids, (session, zxid)).prepare(request);
        let asked = match request {
            Request::Create(op, _) => Asked::One(*op),
            Request::CreateTtl(_) => Asked::One(OpCode::CreateTtl),
            Request::Multi(ops) => Asked::Multi(ops.iter().map(MultiOp::code).collect()),
            _ => Asked::One(OpCode::Error),
        };
        self.log(Some(conn), session, xid, name, txn, asked, now);
    }

    fn end_session(&mut self, conn: Option<ConnId>, id: i64, xid: i32, now: Moment) {
        if !self.sessions.set_closing(id) {
            return;
        }
        info!("Processed session termination for sessionid: 0x{id:x}");
        let zxid = self.prepared + 1;
        let txn = self.preparer(&[], (id, zxid)).prepare(&Request::CloseSession);
        self.log(conn, id, xid, "CLOS", txn, Asked::End, now);
    }

    fn preparer<'a>(&'a mut self, ids: &'a [Id], who_and_when: (i64, i64)) -> Preparer<'a> {
        Preparer::new(
            &self.tree,
            &mut self.pending,
            &self.rules,
            self.config.extended_types,
            ids,
            who_and_when,
        )
    }

    /// Gives the transaction its number, puts it into the batch and the request into the queue.
    #[allow(clippy::too_many_arguments)] // each is a field of the record or of the queue's entry
    fn log(
        &mut self,
        conn: Option<ConnId>,
        session: i64,
        xid: i32,
        name: &'static str,
        txn: Txn,
        asked: Asked,
        now: Moment,
    ) {
        self.prepared += 1;
        let header = TxnHeader {
            session,
            cxid: xid,
            zxid: self.prepared,
            time_ms: now.wall.0,
        };
        if self.batch.is_empty() {
            self.batch_first = header.zxid;
        }
        txn_log::write_record(&header, &txn, &mut self.batch);
        self.logged = self.logged.saturating_add(1);
        self.queue.push_back(Queued {
            conn,
            session,
            xid,
            name,
            received: now.mono,
            work: Work::Write(header, txn, asked),
        });
    }

    /// What is to be made durable next, if there is anything.
    pub(super) fn take_batch(&mut self) -> Option<Batch> {
        if self.batch.is_empty() {
            return None;
        }
        let roll = self.logged > self.roll_at;
        if roll {
            self.logged = 0;
            self.roll_at = roll_at(self.config.snap_count);
            if self.snapshot_runs {
                warn!("Too busy to snap, skipping");
            } else {
                self.snapshot_after = Some(self.prepared);
            }
        }
        Some(Batch {
            first: self.batch_first,
            last: self.prepared,
            records: self.batch.split().freeze(),
            roll,
        })
    }

    /// Everything up to transaction `last` is durable: applies and answers it, and the reads behind it.
    pub(super) fn flushed(&mut self, last: i64, now: Moment) {
        self.durable = last;
        while let Some(next) = self.queue.front() {
            if matches!(&next.work, Work::Write(header, ..) if header.zxid > last) {
                break;
            }
            let next = self.queue.pop_front().expect("the front was there just before");
            self.complete(next, now);
        }
        if self
            .snapshot_after
            .is_some_and(|zxid| zxid <= self.tree.last_zxid())
        {
            self.snapshot_after = None;
            self.snapshot_runs = true;
            let bytes = snapshot::encode(&self.tree, &self.timeouts);
            let zxid = self.tree.last_zxid();
            self.out.push(Effect::Snapshot { zxid, bytes });
        }
    }

    /// The snapshot is stored.
    pub(super) fn snapshot_done(&mut self) {
        self.snapshot_runs = false;
    }

    fn enqueue(&mut self, request: Queued, now: Moment) {
        if self.queue.is_empty() {
            self.complete(request, now);
        } else {
            self.queue.push_back(request);
        }
    }

    fn complete(&mut self, request: Queued, now: Moment) {
        let mut close = false;
        let packet = match &request.work {
            Work::Write(header, txn, asked) => self.apply(&request, header, txn, asked, now),
            Work::Read(read) => request.conn.and_then(|conn| self.read(conn, &request, read)),
            Work::Answer {
                err,
                zxid,
                body,
                close: and_close,
            } => {
                close = *and_close;
                Some(reply(request.xid, *zxid, *err, |out| out.extend_from_slice(body)))
            }
        };
        let (Some(conn), Some(packet)) = (request.conn, packet) else {
            return;
        };
        let zxid = self.tree.last_zxid();
        if let Some(state) = self.conns.get_mut(&conn) {
            let stats = &mut state.stats;
            stats.last_op = request.name;
            stats.last_cxid = request.xid;
            stats.last_zxid = zxid;
            stats.last_response_ms = now.wall.0;
            stats.latency.add(request.received, now.mono);
            self.stats.latency.add(request.received, now.mono);
        }
        self.send(conn, packet, true);
        if close || matches!(request.work, Work::Write(_, _, Asked::End)) {
            self.close(conn);
        }
    }

    /// Carries a durable transaction out: tree, sessions, watches; returns the answer.
    fn apply(
        &mut self,
        request: &Queued,
        header: &TxnHeader,
        txn: &Txn,
        asked: &Asked,
        now: Moment,
    ) -> Option<BytesMut> {
        let mut changes = Vec::new();
        let outcome = self.tree.apply(header, txn, &mut changes);
        self.pending.forget(header.zxid);
        for change in &changes {
            self.watches.fire(change, &mut self.events);
        }
        self.send_events();
        match txn {
            Txn::CreateSession { timeout_ms } => {
                self.timeouts.insert(request.session, *timeout_ms);
            }
            Txn::CloseSession => {
                self.timeouts.remove(&request.session);
                let ended = self.sessions.remove(request.session);
                if let (None, Some(conn)) = (request.conn, ended.and_then(|s| s.conn)) {
                    self.close(conn);
                }
            }
            _ => {}
        }
        match asked {
            Asked::Session => {
                if let Some(conn) = request.conn {
                    self.established(conn, now);
                }
                None
            }
            Asked::Nothing => None,
            Asked::End => Some(reply(request.xid, header.zxid, ErrorCode::OK, |_| {})),
            Asked::One(op) => Some(answer(request.xid, header.zxid, outcome, *op)),
            Asked::Multi(ops) => Some(answer_multi(request.xid, header.zxid, outcome, ops)),
        }
    }

    /// Sends what watches fired.
    pub(super) fn send_events(&mut self) {
        for fired in std::mem::take(&mut self.events) {
            self.send_event(fired.conn, fired.kind, &fired.path);
        }
    }

    /// Sends one event.
    pub(super) fn send_event(&mut self, conn: ConnId, kind: i32, path: &str) {
        let told = WatcherEvent {
            kind,
            state: event::SYNC_CONNECTED,
            path: path.to_owned(),
        };
        let packet = reply(xid::EVENT, -1, ErrorCode::OK, |out| told.write(out));
        self.send(conn, packet, false);
    }

    fn authenticate(&mut self, conn: ConnId, scheme: &str, proof: Option<&[u8]>) -> Work {
        let proven = match self.conns.get_mut(&conn) {
            Some(state) => {
                let proven = self.rules.authenticate(scheme, proof, state.peer.ip());
                if let Ok(ids) = &proven {
                    for id in ids {
                        if !state.ids.contains(id) {
                            state.ids.push(id.clone());
                        }
                    }
                    debug!("auth success {scheme} for client /{}", state.peer);
                } else {
                    warn!(
                        "Authentication failed for scheme: {scheme}, client /{}",
                        state.peer
                    );
                }
                proven
            }
            None => Err(ErrorCode::AUTH_FAILED),
        };
        let err = proven.err().unwrap_or(ErrorCode::OK);
        let close = err != ErrorCode::OK;
        if close {
            self.stop_taking(conn);
        }
        Work::Answer {
            err,
            zxid: 0,
            body: Bytes::new(),
            close,
        }
    }

    /// Whether someone with the connection's identities may do what needs `need`.
    pub(super) fn may(&self, conn: ConnId, acl: &[crate::jute::Acl], need: i32) -> Result<(), ErrorCode> {
        let ids = self.conns.get(&conn).map_or(&[][..], |c| &c.ids);
        self.rules.check(acl, need, ids)
    }

    /// Counts a packet of the connection.
    fn received(&mut self, conn: ConnId) -> Option<&mut Conn> {
        self.stats.received += 1;
        let state = self.conns.get_mut(&conn)?;
        state.stats.received += 1;
        state.stats.queued += 1;
        Some(state)
    }

    fn stop_taking(&mut self, conn: ConnId) {
        if let Some(state) = self.conns.get_mut(&conn) {
            state.closing = true;
        }
    }

    fn send(&mut self, conn: ConnId, packet: BytesMut, reply: bool) {
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        state.stats.sent += 1;
        if reply {
            state.stats.queued = state.stats.queued.saturating_sub(1);
        }
        self.stats.sent += 1;
        self.out.push(Effect::Send { conn, packet, reply });
    }

    fn close(&mut self, conn: ConnId) {
        self.stop_taking(conn);
        self.out.push(Effect::Close(conn));
    }
}

/// A reply packet. The body belongs to success alone.
pub(super) fn reply(xid: i32, zxid: i64, err: ErrorCode, body: impl FnOnce(&mut BytesMut)) -> BytesMut {
    frame(|out| {
        ReplyHeader { xid, zxid, err }.write(out);
        if err == ErrorCode::OK {
            body(out);
        }
    })
}

fn answer(xid: i32, zxid: i64, outcome: Outcome, op: OpCode) -> BytesMut {
    match outcome {
        Outcome::Failed(err) => reply(xid, zxid, err, |_| {}),
        Outcome::Set(stat) => reply(xid, zxid, ErrorCode::OK, |out| stat.write(out)),
        Outcome::Made { path, stat } => reply(xid, zxid, ErrorCode::OK, |out| {
            path.write(out);
            if answers_with_stat(op) {
                stat.write(out);
            }
        }),
        Outcome::Done | Outcome::Multi(_) => reply(xid, zxid, ErrorCode::OK, |_| {}),
    }
}

fn answer_multi(xid: i32, zxid: i64, outcome: Outcome, ops: &[OpCode]) -> BytesMut {
    let outcomes = match outcome {
        Outcome::Multi(outcomes) => outcomes,
        other => return answer(xid, zxid, other, OpCode::Multi),
    };
    let results: Vec<MultiResult> = outcomes
        .into_iter()
        .zip(ops)
        .map(|(outcome, op)| match outcome {
            Outcome::Failed(err) => MultiResult::Error(err),
            Outcome::Made { path, stat } if answers_with_stat(*op) => {
                MultiResult::Create2(Create2Response { path, stat })
            }
            Outcome::Made { path, .. } => MultiResult::Create(PathRecord { path }),
            Outcome::Set(stat) => MultiResult::SetData(stat),
            Outcome::Done | Outcome::Multi(_) if *op == OpCode::Delete => MultiResult::Delete,
            Outcome::Done | Outcome::Multi(_) => MultiResult::Check,
        })
        .collect();
    reply(xid, zxid, ErrorCode::OK, |out| write_multi_results(&results, out))
}

/// Between a half and the whole of the count, so that servers do not all snapshot at once.
fn roll_at(snap_count: u32) -> u32 {
    let half = snap_count / 2;
    let random = RandomState::new().hash_one(0u8) as u32;
    half + random % half.max(1)
}

#[cfg(test)]
mod tests;
