//! The second half of a request's way: it is durable, or changes nothing. Carries it out and answers.

use bytes::BytesMut;

use super::{Asked, Core, Moment, Queued, Work};
use crate::jute::{
    Create2Response, ErrorCode, MultiResult, OpCode, PathRecord, Record, ReplyHeader, WatcherEvent, event,
    frame, write_multi_results, xid,
};
use crate::keeper::ConnId;
use crate::keeper::prepare::answers_with_stat;
use crate::keeper::tree::Outcome;
use crate::keeper::txn::{Txn, TxnHeader};

impl Core {
    pub(super) fn complete(&mut self, request: Queued, now: Moment) {
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
    pub(super) fn apply(
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
    pub(in crate::keeper) fn send_events(&mut self) {
        for fired in std::mem::take(&mut self.events) {
            self.send_event(fired.conn, fired.kind, &fired.path);
        }
    }

    /// Sends one event.
    pub(in crate::keeper) fn send_event(&mut self, conn: ConnId, kind: i32, path: &str) {
        let told = WatcherEvent {
            kind,
            state: event::SYNC_CONNECTED,
            path: path.to_owned(),
        };
        let packet = reply(xid::EVENT, -1, ErrorCode::OK, |out| told.write(out));
        self.send(conn, packet, false);
    }
}

/// A reply packet. The body belongs to success alone.
pub(in crate::keeper) fn reply(
    xid: i32,
    zxid: i64,
    err: ErrorCode,
    body: impl FnOnce(&mut BytesMut),
) -> BytesMut {
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
