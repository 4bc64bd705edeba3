//! Answers to requests that change nothing in the tree: reads, and the keeping of watches.

use bytes::BytesMut;

use crate::jute::{
    AddWatchMode, Children2Response, ChildrenResponse, ClientInfo, ErrorCode, GetAclResponse,
    GetDataResponse, MultiOp, MultiResult, Record, SetWatches2Request, WatchableRequest, WatcherKind,
    WhoAmIResponse, codec, event, perms, write_multi_results,
};

use super::ConnId;
use super::core::{Core, Queued, reply};
use super::request::Request;
use super::tree::Node;

type Answer = Result<BytesMut, ErrorCode>;

impl Core {
    /// The whole answer to a read of connection `conn`; `None` if the connection is gone.
    pub(super) fn read(&mut self, conn: ConnId, queued: &Queued, request: &Request) -> Option<BytesMut> {
        if !self.conns.contains_key(&conn) {
            return None;
        }
        let zxid = self.tree.last_zxid();
        let xid = queued.xid;
        // Data goes from the tree to the packet without a stop between.
        if let Request::GetData(r) = request {
            let packet = self.readable(conn, &r.path).map(|node| {
                reply(xid, zxid, ErrorCode::OK, |out| {
                    crate::util::codec::put_bytes(out, node.data.as_deref());
                    node.stat().write(out);
                })
            });
            if r.watch && packet.is_ok() {
                self.watches.watch_data(&r.path, conn);
            }
            return Some(packet.unwrap_or_else(|err| reply(xid, zxid, err, |_| {})));
        }
        let body = self.read_body(conn, queued.session, request);
        Some(match body {
            Ok(body) => reply(xid, zxid, ErrorCode::OK, |out| out.extend_from_slice(&body)),
            Err(err) => reply(xid, zxid, err, |_| {}),
        })
    }

    fn read_body(&mut self, conn: ConnId, session: i64, request: &Request) -> Answer {
        let mut out = BytesMut::new();
        match request {
            Request::Exists(r) => self.exists(conn, r)?.write(&mut out),
            Request::GetChildren(r) => self.children(conn, r)?.write(&mut out),
            Request::GetChildren2(r) => {
                let children = self.children(conn, r)?.children;
                let stat = self.node(&r.path)?.stat();
                Children2Response { children, stat }.write(&mut out);
            }
            Request::GetAcl(r) => {
                let node = self.node(&r.path)?;
                let acl = node.acl();
                GetAclResponse {
                    acl,
                    stat: node.stat(),
                }
                .write(&mut out);
            }
            Request::Sync(r) => r.write(&mut out),
            Request::Check(r) => {
                let node = self.readable(conn, &r.path)?;
                if r.version != -1 && r.version != node.version {
                    return Err(ErrorCode::BAD_VERSION);
                }
            }
            Request::MultiRead(ops) => write_multi_results(&self.multi_read(conn, ops), &mut out),
            Request::SetWatches(r) => self.set_watches(conn, r),
            Request::CheckWatches(r) => {
                let kind = WatcherKind::from_i32(r.kind).ok_or(ErrorCode::BAD_ARGUMENTS)?;
                if !self.watches.has(&r.path, conn, kind) {
                    return Err(ErrorCode::NO_WATCHER);
                }
            }
            Request::RemoveWatches(r) => {
                let kind = WatcherKind::from_i32(r.kind).ok_or(ErrorCode::BAD_ARGUMENTS)?;
                if !self.watches.remove(&r.path, conn, kind) {
                    return Err(ErrorCode::NO_WATCHER);
                }
            }
            Request::AddWatch(r) => {
                let mode = AddWatchMode::from_i32(r.mode).ok_or(ErrorCode::BAD_ARGUMENTS)?;
                self.watches.add(&r.path, conn, mode);
                ErrorCode::OK.write(&mut out);
            }
            Request::GetEphemerals(r) => {
                let prefix = if r.path == "/" { "" } else { &r.path };
                let own = self.tree.ephemerals(session);
                let children = own
                    .filter(|p| p.starts_with(prefix))
                    .map(|p| p.to_string())
                    .collect();
                ChildrenResponse { children }.write(&mut out);
            }
            Request::CountDescendants(r) => {
                let count = self.tree.descendants(&r.path).ok_or(ErrorCode::NO_NODE)?;
                codec::put_count(&mut out, count);
            }
            Request::WhoAmI => self.who_am_i(conn).write(&mut out),
            Request::Malformed(_) => return Err(ErrorCode::MARSHALLING_ERROR),
            // A ping has no body; all others are writes or were answered before.
            _ => {}
        }
        Ok(out)
    }

    fn node(&self, path: &str) -> Result<&Node, ErrorCode> {
        self.tree.get(path).ok_or(ErrorCode::NO_NODE)
    }

    fn readable(&self, conn: ConnId, path: &str) -> Result<&Node, ErrorCode> {
        let node = self.node(path)?;
        if let Some(acl) = &node.acl {
            self.may(conn, acl, perms::READ)?;
        }
        Ok(node)
    }

    /// Watches also what is not there yet.
    fn exists(&mut self, conn: ConnId, r: &WatchableRequest) -> Result<crate::jute::Stat, ErrorCode> {
        if r.path.contains('\0') {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        if r.watch {
            self.watches.watch_data(&r.path, conn);
        }
        self.node(&r.path).map(Node::stat)
    }

    fn children(&mut self, conn: ConnId, r: &WatchableRequest) -> Result<ChildrenResponse, ErrorCode> {
        let node = self.readable(conn, &r.path)?;
        let children = node.child_names().map(str::to_owned).collect();
        if r.watch {
            self.watches.watch_children(&r.path, conn);
        }
        Ok(ChildrenResponse { children })
    }

    fn multi_read(&mut self, conn: ConnId, ops: &[MultiOp]) -> Vec<MultiResult> {
        let mut results = Vec::with_capacity(ops.len());
        for op in ops {
            let result = match op {
                MultiOp::GetData(r) => self.readable(conn, &r.path).map(|node| {
                    MultiResult::GetData(GetDataResponse {
                        data: node.data.as_deref().map(bytes::Bytes::copy_from_slice),
                        stat: node.stat(),
                    })
                }),
                MultiOp::GetChildren(r) => self.children(conn, r).map(MultiResult::GetChildren),
                _ => Err(ErrorCode::MARSHALLING_ERROR),
            };
            if let (Ok(MultiResult::GetData(_)), MultiOp::GetData(r)) = (&result, op)
                && r.watch
            {
                self.watches.watch_data(&r.path, conn);
            }
            results.push(result.unwrap_or_else(MultiResult::Error));
        }
        results
    }

    /// After a reconnect: what changed meanwhile fires at once, the rest is watched again.
    fn set_watches(&mut self, conn: ConnId, r: &SetWatches2Request) {
        for path in &r.data {
            match self.tree.get(path) {
                None => self.send_event(conn, event::NODE_DELETED, path),
                Some(node) if node.mzxid > r.relative_zxid => {
                    self.send_event(conn, event::NODE_DATA_CHANGED, path);
                }
                Some(_) => self.watches.watch_data(path, conn),
            }
        }
        for path in &r.exist {
            match self.tree.get(path) {
                Some(_) => self.send_event(conn, event::NODE_CREATED, path),
                None => self.watches.watch_data(path, conn),
            }
        }
        for path in &r.child {
            match self.tree.get(path) {
                None => self.send_event(conn, event::NODE_DELETED, path),
                Some(node) if node.pzxid > r.relative_zxid => {
                    self.send_event(conn, event::NODE_CHILDREN_CHANGED, path);
                }
                Some(_) => self.watches.watch_children(path, conn),
            }
        }
        for path in &r.persistent {
            self.watches.add(path, conn, AddWatchMode::Persistent);
        }
        for path in &r.recursive {
            self.watches.add(path, conn, AddWatchMode::PersistentRecursive);
        }
    }

    fn who_am_i(&self, conn: ConnId) -> WhoAmIResponse {
        let ids = self.conns.get(&conn).map_or(&[][..], |c| &c.ids);
        let infos = ids.iter().map(|id| ClientInfo {
            scheme: id.scheme.clone(),
            // What follows the colon of a digest comes from the password.
            user: match id.scheme.as_str() {
                "digest" => id.id.split(':').next().unwrap_or_default().to_owned(),
                _ => id.id.clone(),
            },
        });
        WhoAmIResponse {
            infos: infos.collect(),
        }
    }
}
