//! Scenarios: inputs and times in, effects compared. A short line stands for each effect.

use std::net::SocketAddr;

use super::*;
use crate::jute::{
    Acl, CheckRequest, ConnectRequest, CreateRequest, DeleteRequest, PathRecord, Reader, ReplyHeader,
    SetDataRequest, WatchableRequest, WatcherEvent,
};
use crate::keeper::recovery::Recovered;
use crate::keeper::sessions::password;

struct Scene {
    core: Core,
    now: Moment,
    xid: i32,
}

impl Scene {
    fn new() -> Scene {
        Scene::with(KeeperConfig {
            tick: Duration::from_millis(1000),
            min_session_timeout: Duration::from_millis(2000),
            ..KeeperConfig::new("unused")
        })
    }

    fn with(config: KeeperConfig) -> Scene {
        let now = Moment {
            mono: Mono::default(),
            wall: WallMs(1_700_000_000_000),
        };
        let recovered = Recovered {
            tree: Tree::default(),
            sessions: SessionTimeouts::new(),
            replayed: 0,
        };
        Scene {
            core: Core::new(config, recovered, now),
            now,
            xid: 0,
        }
    }

    /// A connection with a session.
    fn client(&mut self, n: u64) -> ConnId {
        self.seen();
        let conn = ConnId(n);
        self.core
            .open(conn, SocketAddr::from(([127, 0, 0, 1], 9000)), self.now);
        let request = ConnectRequest {
            timeout_ms: 4000,
            ..ConnectRequest::default()
        };
        self.core.connect(conn, &request, self.now);
        assert!(self.seen().is_empty(), "no session before the fsync");
        self.flush();
        let seen = self.seen();
        assert_eq!(
            seen.last().map(String::as_str),
            Some(&*format!("{n} established"))
        );
        conn
    }

    fn ask(&mut self, conn: ConnId, op: OpCode, request: Request) {
        self.xid += 1;
        let header = RequestHeader {
            xid: self.xid,
            op: op.code(),
        };
        self.core.request(conn, header, request, self.now);
    }

    fn create(&mut self, conn: ConnId, path: &str, flags: i32) {
        let request = CreateRequest {
            path: path.to_owned(),
            data: None,
            acl: Acl::open(),
            flags,
        };
        self.ask(conn, OpCode::Create, Request::Create(OpCode::Create, request));
    }

    fn delete(&mut self, conn: ConnId, path: &str) {
        let request = DeleteRequest {
            path: path.to_owned(),
            version: -1,
        };
        self.ask(conn, OpCode::Delete, Request::Delete(request));
    }

    fn set(&mut self, conn: ConnId, path: &str, version: i32) {
        let request = SetDataRequest {
            path: path.to_owned(),
            data: None,
            version,
        };
        self.ask(conn, OpCode::SetData, Request::SetData(request));
    }

    fn exists(&mut self, conn: ConnId, path: &str, watch: bool) {
        let path = path.to_owned();
        self.ask(
            conn,
            OpCode::Exists,
            Request::Exists(WatchableRequest { path, watch }),
        );
    }

    fn flush(&mut self) -> bool {
        match self.core.take_batch() {
            Some(batch) => {
                self.core.flushed(batch.last, self.now);
                true
            }
            None => false,
        }
    }

    fn wait(&mut self, ms: u64) {
        self.now.mono = self.now.mono + Duration::from_millis(ms);
        self.now.wall.0 += ms as i64;
        self.core.tick(self.now);
    }

    /// The effects so far: `1 reply 5 zxid 7 err 0 /path`, `1 event 2 /path`, `1 closed`.
    fn seen(&mut self) -> Vec<String> {
        self.core.effects().map(|effect| shown(&effect)).collect()
    }
}

fn shown(effect: &Effect) -> String {
    match effect {
        Effect::Established(conn) => format!("{} established", conn.0),
        Effect::Close(conn) => format!("{} closed", conn.0),
        Effect::Snapshot { zxid, .. } => format!("snapshot {zxid}"),
        Effect::Send { conn, packet, .. } => {
            let mut r = Reader::new(packet.clone().freeze());
            let _ = r.i32();
            let header = ReplyHeader::read(&mut r).unwrap();
            if header.xid == xid::EVENT {
                let event = WatcherEvent::read(&mut r).unwrap();
                return format!("{} event {} {}", conn.0, event.kind, event.path);
            }
            let path = match PathRecord::read(&mut r) {
                Ok(made) if made.path.starts_with('/') => format!(" {}", made.path),
                _ => String::new(),
            };
            format!(
                "{} reply {} zxid {} err {}{path}",
                conn.0, header.xid, header.zxid, header.err.0
            )
        }
    }
}

#[test]
fn nothing_is_answered_before_the_fsync_and_reads_behind_a_write_wait() {
    let mut s = Scene::new();
    let (a, b) = (s.client(1), s.client(2));
    s.exists(b, "/a", false);
    assert_eq!(
        s.seen(),
        ["2 reply 1 zxid 2 err -101"],
        "with nothing before it, at once"
    );
    s.create(a, "/a", 0);
    s.exists(b, "/a", false);
    s.ask(b, OpCode::Ping, Request::Ping);
    assert!(s.seen().is_empty());
    let batch = s.core.take_batch().unwrap();
    s.create(a, "/b", 0);
    s.exists(b, "/b", false);
    assert_eq!((batch.first, batch.last), (3, 3));
    s.core.flushed(batch.last, s.now);
    assert_eq!(
        s.seen(),
        [
            "1 reply 2 zxid 3 err 0 /a",
            "2 reply 3 zxid 3 err 0",
            "2 reply -2 zxid 3 err 0"
        ]
    );
    s.flush();
    assert_eq!(s.seen(), ["1 reply 5 zxid 4 err 0 /b", "2 reply 6 zxid 4 err 0"]);
}

#[test]
fn writes_on_the_way_are_seen_by_those_behind_them() {
    let mut s = Scene::new();
    let a = s.client(1);
    s.create(a, "/p", 0);
    s.create(a, "/p/s-", 2);
    s.create(a, "/p/s-", 2);
    s.delete(a, "/p");
    s.delete(a, "/p/s-0000000000");
    s.delete(a, "/p/s-0000000001");
    s.set(a, "/p", 0);
    s.set(a, "/p", 0);
    s.create(a, "/p/s-", 2);
    s.delete(a, "/p/s-0000000002");
    s.delete(a, "/p");
    s.create(a, "/p/x", 0);
    s.flush();
    assert_eq!(
        s.seen(),
        [
            "1 reply 1 zxid 2 err 0 /p",
            "1 reply 2 zxid 3 err 0 /p/s-0000000000",
            "1 reply 3 zxid 4 err 0 /p/s-0000000001",
            "1 reply 4 zxid 5 err -111",
            "1 reply 5 zxid 6 err 0",
            "1 reply 6 zxid 7 err 0",
            "1 reply 7 zxid 8 err 0",
            "1 reply 8 zxid 9 err -103",
            "1 reply 9 zxid 10 err 0 /p/s-0000000002",
            "1 reply 10 zxid 11 err 0",
            "1 reply 11 zxid 12 err 0",
            "1 reply 12 zxid 13 err -101"
        ]
    );
    assert!(s.core.pending.is_empty());
}

#[test]
fn a_failed_multi_leaves_no_trace_but_its_number() {
    let mut s = Scene::new();
    let a = s.client(1);
    s.create(a, "/p", 0);
    let create = |path: &str| {
        MultiOp::Create(CreateRequest {
            path: path.to_owned(),
            acl: Acl::open(),
            flags: 2,
            ..CreateRequest::default()
        })
    };
    let wrong = MultiOp::Check(CheckRequest {
        path: "/p".into(),
        version: 9,
    });
    s.ask(
        a,
        OpCode::Multi,
        Request::Multi(vec![create("/p/s-"), create("/p/s-"), wrong]),
    );
    s.create(a, "/p/s-", 2);
    s.flush();
    let seen = s.seen();
    assert_eq!(seen[2], "1 reply 3 zxid 4 err 0 /p/s-0000000000");
    assert!(s.core.pending.is_empty());
    assert_eq!(s.core.tree.len(), 5);
}

#[test]
fn an_event_comes_before_the_reply_that_shows_its_cause() {
    let mut s = Scene::new();
    let (a, b) = (s.client(1), s.client(2));
    s.exists(a, "/a", true);
    s.exists(b, "/a", true);
    s.seen();
    s.create(a, "/a", 0);
    s.exists(b, "/a", true);
    s.flush();
    assert_eq!(
        s.seen(),
        [
            "1 event 1 /a",
            "2 event 1 /a",
            "1 reply 3 zxid 3 err 0 /a",
            "2 reply 4 zxid 3 err 0"
        ]
    );
}

#[test]
fn the_end_of_a_session_takes_its_nodes_even_those_on_the_way() {
    let mut s = Scene::new();
    let (a, b) = (s.client(1), s.client(2));
    s.create(a, "/p", 0);
    s.create(a, "/p/e1", 1);
    s.flush();
    s.exists(b, "/p/e2", true);
    s.seen();
    s.create(a, "/p/e2", 1);
    s.ask(a, OpCode::CloseSession, Request::CloseSession);
    s.create(a, "/p/never", 1);
    s.delete(b, "/p");
    s.flush();
    assert_eq!(
        s.seen(),
        [
            "2 event 1 /p/e2",
            "1 reply 4 zxid 5 err 0 /p/e2",
            "1 reply 5 zxid 6 err 0",
            "1 closed",
            "2 reply 7 zxid 7 err 0"
        ]
    );
    assert!(s.core.pending.is_empty());
}

#[test]
fn a_silent_session_expires_through_the_log() {
    let mut s = Scene::new();
    let (a, b) = (s.client(1), s.client(2));
    s.create(a, "/e", 1);
    s.exists(b, "/e", true);
    s.flush();
    s.seen();
    for _ in 0..4 {
        s.wait(1000);
        s.ask(b, OpCode::Ping, Request::Ping);
    }
    s.seen();
    s.wait(1000);
    assert!(s.seen().is_empty(), "not before the fsync");
    s.flush();
    assert_eq!(s.seen(), ["2 event 2 /e", "1 closed"]);
    assert_eq!(s.core.sessions.next_deadline(), Some(Mono::from_millis(9000)));
}

#[test]
fn a_session_goes_on_without_its_connection() {
    let mut s = Scene::new();
    let a = s.client(1);
    s.create(a, "/e", 1);
    s.flush();
    let session = s.core.conns[&a].session;
    s.core.closed(a);
    s.seen();
    s.core
        .open(ConnId(2), SocketAddr::from(([127, 0, 0, 1], 9001)), s.now);
    let request = ConnectRequest {
        timeout_ms: 4000,
        session_id: session,
        password: Some(Bytes::copy_from_slice(&password(session))),
        ..ConnectRequest::default()
    };
    s.core.connect(ConnId(2), &request, s.now);
    assert_eq!(s.seen().last().map(String::as_str), Some("2 established"));
    assert_eq!(s.core.tree.ephemeral_count(), 1);
    assert!(s.core.take_batch().is_none(), "no transaction for it");
}

#[test]
fn the_log_rolls_and_a_snapshot_is_taken_after_so_many_transactions() {
    let mut s = Scene::with(KeeperConfig {
        snap_count: 10,
        ..KeeperConfig::new("unused")
    });
    let a = s.client(1);
    for i in 0..11 {
        s.create(a, &format!("/n{i}"), 0);
    }
    let batch = s.core.take_batch().unwrap();
    assert!(batch.roll);
    s.core.flushed(batch.last, s.now);
    let seen = s.seen();
    assert_eq!(seen.last().map(String::as_str), Some("snapshot 12"));
    for round in 0..2 {
        for i in 0..11 {
            s.create(a, &format!("/m{round}-{i}"), 0);
        }
        s.flush();
        assert!(
            !s.seen().iter().any(|e| e.starts_with("snapshot")),
            "one at a time"
        );
    }
    s.core.snapshot_done();
    for i in 0..11 {
        s.create(a, &format!("/o{i}"), 0);
    }
    s.flush();
    assert!(s.seen().iter().any(|e| e.starts_with("snapshot")));
}

#[test]
fn a_container_goes_after_its_last_child_and_a_node_after_its_time() {
    let mut s = Scene::with(KeeperConfig {
        extended_types: true,
        max_session_timeout: Duration::from_secs(1000),
        ..KeeperConfig::new("unused")
    });
    let a = s.client(1);
    let container = CreateRequest {
        path: "/c".into(),
        acl: Acl::open(),
        flags: 4,
        ..CreateRequest::default()
    };
    let op = OpCode::CreateContainer;
    s.ask(a, op, Request::Create(op, container));
    let short = crate::jute::CreateTtlRequest {
        path: "/t".into(),
        acl: Acl::open(),
        flags: 5,
        ttl_ms: 500,
        ..Default::default()
    };
    s.ask(a, OpCode::CreateTtl, Request::CreateTtl(short));
    s.flush();
    s.wait(60_000);
    s.flush();
    assert!(s.core.tree.get("/c").is_some(), "it never had a child");
    assert!(s.core.tree.get("/t").is_none());
    let b = s.client(2);
    s.create(b, "/c/x", 0);
    s.flush();
    s.wait(60_000);
    s.flush();
    assert!(s.core.tree.get("/c").is_some(), "it has a child");
    let c = s.client(3);
    s.delete(c, "/c/x");
    s.flush();
    s.wait(60_000);
    s.flush();
    assert!(s.core.tree.get("/c").is_none());
}

#[test]
fn a_time_to_live_is_unknown_unless_asked_for() {
    let mut s = Scene::new();
    let a = s.client(1);
    let short = crate::jute::CreateTtlRequest {
        path: "/t".into(),
        acl: Acl::open(),
        flags: 5,
        ttl_ms: 500,
        ..Default::default()
    };
    s.ask(a, OpCode::CreateTtl, Request::CreateTtl(short));
    s.flush();
    assert_eq!(s.seen(), ["1 reply 1 zxid 2 err -6"]);
}
