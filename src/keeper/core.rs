//! The server as a plain struct: inputs and the time go in, effects come out.
//!
//! Inputs: [`Core::open`], [`Core::connect`], [`Core::request`], [`Core::command`], [`Core::closed`],
//! [`Core::tick`], and from the log [`Core::flushed`]. After each the owner takes the effects with
//! [`Core::effects`] and, when no flush is on the way, a batch for the log with [`Core::take_batch`].
//! Knows no socket and no file.

mod applying;
mod clients;

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use ::log::{debug, info, warn};
use bytes::{Bytes, BytesMut};

use crate::config::KeeperConfig;
use crate::jute::{ErrorCode, Id, MultiOp, OpCode, Record, RequestHeader, xid};
use crate::util::clock::{Mono, WallMs};

use super::ConnId;
use super::acl::AclRules;
use super::four_letter::Word;
use super::prepare::{Pending, Preparer};
use super::recovery::Recovered;
use super::request::Request;
use super::sessions::Sessions;
use super::snapshot::{self, SessionTimeouts};
use super::stats::{ConnStats, ServerStats};
use super::tree::Tree;
use super::txn::{Txn, TxnHeader};
use super::txn_log;
use super::watches::{Fired, Watches};

/// How often containers and nodes with a time to live are looked at.
const REAP_INTERVAL: Duration = Duration::from_secs(60);
/// How many of them go at once at most.
const REAP_AT_ONCE: usize = 10_000;

pub(super) use applying::reply;

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

/// Between a half and the whole of the count, so that servers do not all snapshot at once.
fn roll_at(snap_count: u32) -> u32 {
    let half = snap_count / 2;
    let random = RandomState::new().hash_one(0u8) as u32;
    half + random % half.max(1)
}

#[cfg(test)]
mod tests;
