//! Connections and their sessions: first packets, sessions that move, identities, ends.

use std::net::SocketAddr;

use ::log::{debug, info, warn};
use bytes::Bytes;

use super::{Asked, Conn, Core, Effect, Moment, Work};
use crate::jute::{ConnectRequest, ConnectResponse, ErrorCode, Record, frame};
use crate::keeper::ConnId;
use crate::keeper::acl;
use crate::keeper::sessions::password;
use crate::keeper::stats::ConnStats;
use crate::keeper::txn::Txn;

impl Core {
    /// A client connected.
    pub(in crate::keeper) fn open(&mut self, conn: ConnId, peer: SocketAddr, now: Moment) {
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
    pub(in crate::keeper) fn closed(&mut self, conn: ConnId) {
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
    pub(in crate::keeper) fn connect(&mut self, conn: ConnId, request: &ConnectRequest, now: Moment) {
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

    pub(super) fn reconnect(&mut self, conn: ConnId, request: &ConnectRequest, now: Moment) {
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

    pub(super) fn established(&mut self, conn: ConnId, now: Moment) {
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

    pub(super) fn authenticate(&mut self, conn: ConnId, scheme: &str, proof: Option<&[u8]>) -> Work {
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
}
