//! A session against a server that follows a script: what it says when, and what it makes of losses.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::jute::{
    ChildrenResponse, ConnectRequest, ConnectResponse, GetDataResponse, OpCode, PathRecord, Reader, Record,
    ReplyHeader, RequestHeader, SetWatchesRequest, WatchableRequest, WatcherEvent, event, frame, xid,
};
use crate::util::clock::{Clock, WallMs};

/// The server's side of one connection.
struct Peer {
    stream: TcpStream,
    hello: ConnectRequest,
}

impl Peer {
    async fn accept(listener: &TcpListener) -> Peer {
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = Peer {
            stream,
            hello: ConnectRequest::default(),
        };
        peer.hello = ConnectRequest::parse(peer.read().await.unwrap()).unwrap();
        peer
    }

    async fn read(&mut self) -> Option<Bytes> {
        let length = self.stream.read_i32().await.ok()?;
        let mut packet = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut packet).await.ok()?;
        Some(packet.into())
    }

    async fn write(&mut self, fill: impl FnOnce(&mut BytesMut)) {
        self.stream.write_all(&frame(fill)).await.unwrap();
    }

    async fn grant(&mut self, session_id: i64, timeout_ms: i32) {
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms,
            session_id,
            password: Some(Bytes::from_static(b"0123456789abcdef")),
            read_only: Some(false),
        };
        self.write(|out| response.write(out)).await;
    }

    /// The next request; pings are answered on the way.
    async fn request(&mut self) -> (i32, OpCode, Reader) {
        loop {
            let mut r = Reader::new(self.read().await.expect("a request"));
            let header = RequestHeader::read(&mut r).unwrap();
            if header.xid == xid::PING {
                self.reply(xid::PING, 0, ErrorCode::OK, |_| ()).await;
                continue;
            }
            return (header.xid, OpCode::from_i32(header.op).unwrap(), r);
        }
    }

    async fn expect(&mut self, op: OpCode) -> (i32, Reader) {
        let (xid, found, r) = self.request().await;
        assert_eq!(found, op);
        (xid, r)
    }

    async fn reply(&mut self, xid: i32, zxid: i64, err: ErrorCode, fill: impl FnOnce(&mut BytesMut)) {
        let header = ReplyHeader { xid, zxid, err };
        self.write(|out| {
            header.write(out);
            fill(out);
        })
        .await;
    }

    async fn event(&mut self, kind: i32, path: &str) {
        let event = WatcherEvent {
            kind,
            state: event::SYNC_CONNECTED,
            path: path.into(),
        };
        self.reply(xid::EVENT, -1, ErrorCode::OK, |out| event.write(out))
            .await;
    }
}

fn settings(session_ms: u64) -> SessionSettings {
    SessionSettings {
        session_timeout: Duration::from_millis(session_ms),
        connection_timeout: Duration::from_secs(20),
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// A session and the server's side of its first connection.
async fn connected(suffix: &str) -> (Session, Peer, TcpListener) {
    let (listener, address) = listen().await;
    let connect = format!("{address}{suffix}");
    let (session, peer) = tokio::join!(
        Session::connect(&connect, settings(30_000), Clock::system()),
        async {
            let mut peer = Peer::accept(&listener).await;
            assert_eq!(peer.hello.session_id, 0);
            assert_eq!(peer.hello.timeout_ms, 30_000);
            peer.grant(7, 30_000).await;
            peer
        }
    );
    (session.unwrap(), peer, listener)
}

fn data(text: &'static [u8], version: i32) -> GetDataResponse {
    GetDataResponse {
        data: Some(Bytes::from_static(text)),
        stat: Stat {
            version,
            ..Stat::default()
        },
    }
}

#[tokio::test]
async fn requests_are_pipelined_and_answered_in_order_under_the_chroot() {
    let (session, mut peer, _listener) = connected("/root").await;
    let calls = tokio::spawn({
        let session = session.clone();
        async move { tokio::join!(session.get("/a"), session.get("/")) }
    });
    let (first, mut r) = peer.expect(OpCode::GetData).await;
    assert_eq!(WatchableRequest::read(&mut r).unwrap().path, "/root/a");
    let (second, mut r) = peer.expect(OpCode::GetData).await;
    assert_eq!(WatchableRequest::read(&mut r).unwrap().path, "/root");
    peer.reply(first, 1, ErrorCode::NO_NODE, |_| ()).await;
    peer.reply(second, 1, ErrorCode::OK, |out| data(b"x", 3).write(out))
        .await;
    let (a, root) = calls.await.unwrap();
    assert_eq!(a, Ok(None));
    assert_eq!(root.unwrap().unwrap().stat.version, 3);
    assert_eq!(session.session_id(), 7);
}

#[tokio::test]
async fn a_lost_session_is_taken_up_again_with_its_watches_and_its_unanswered_requests() {
    let (session, mut peer, listener) = connected("").await;
    let watch = tokio::spawn({
        let session = session.clone();
        async move { session.get_watched("/gone").await.unwrap().1 }
    });
    let (xid, _) = peer.expect(OpCode::GetData).await;
    peer.reply(xid, 41, ErrorCode::NO_NODE, |_| ()).await;
    let (xid, _) = peer.expect(OpCode::Exists).await;
    peer.reply(xid, 42, ErrorCode::NO_NODE, |_| ()).await;
    let watch = watch.await.unwrap();
    let set = tokio::spawn({
        let session = session.clone();
        async move { session.set("/a", b"new", 5).await }
    });
    peer.expect(OpCode::SetData).await;
    drop(peer);

    let mut peer = Peer::accept(&listener).await;
    assert_eq!(peer.hello.session_id, 7);
    assert_eq!(peer.hello.last_zxid_seen, 42);
    assert_eq!(&peer.hello.password.clone().unwrap()[..], b"0123456789abcdef");
    peer.grant(7, 30_000).await;
    let (number, mut r) = peer.expect(OpCode::SetWatches).await;
    assert_eq!(number, xid::SET_WATCHES);
    let watches = SetWatchesRequest::read(&mut r).unwrap();
    assert_eq!(
        (watches.relative_zxid, watches.exist),
        (42, vec!["/gone".to_owned()])
    );
    assert!(watches.data.is_empty() && watches.child.is_empty());
    let (xid, _) = peer.expect(OpCode::SetData).await;
    peer.event(event::NODE_CREATED, "/gone").await;
    peer.reply(super::tests::xid::SET_WATCHES, 42, ErrorCode::OK, |_| ())
        .await;
    // The first sending had reached the server: the echo of the own write is no conflict.
    peer.reply(xid, 43, ErrorCode::BAD_VERSION, |_| ()).await;
    let (xid, _) = peer.expect(OpCode::GetData).await;
    peer.reply(xid, 43, ErrorCode::OK, |out| data(b"new", 6).write(out))
        .await;
    assert_eq!(set.await.unwrap().unwrap().version, 6);
    assert_eq!(watch.fired().await, WatchedEvent::Created);
    assert_eq!(session.state().borrow().generation, 1);
}

#[tokio::test]
async fn an_expired_session_ends_its_requests_and_watches_and_a_new_one_follows() {
    let (session, mut peer, listener) = connected("").await;
    let pinned = session.pinned();
    let watched = tokio::spawn({
        let session = session.clone();
        async move { session.children_watched("/c").await.unwrap().1 }
    });
    let (xid, _) = peer.expect(OpCode::GetChildren).await;
    let children = ChildrenResponse { children: vec![] };
    peer.reply(xid, 9, ErrorCode::OK, |out| children.write(out)).await;
    let watch = watched.await.unwrap();
    let in_flight = tokio::spawn({
        let session = session.clone();
        async move { session.delete("/a", -1).await }
    });
    peer.expect(OpCode::Delete).await;
    drop(peer);

    let mut peer = Peer::accept(&listener).await;
    peer.grant(0, 0).await;
    let mut peer = Peer::accept(&listener).await;
    assert_eq!((peer.hello.session_id, peer.hello.last_zxid_seen), (0, 0));
    peer.grant(8, 30_000).await;
    assert_eq!(in_flight.await.unwrap(), Err(Error::SessionExpired));
    assert_eq!(watch.fired().await, WatchedEvent::SessionLost);
    let mut states = session.state();
    let state = *states
        .wait_for(|s| s.connected && s.generation == 2)
        .await
        .unwrap();
    assert!(!state.closed);
    assert_eq!(session.session_id(), 8);
    assert_eq!(pinned.get("/a").await, Err(Error::SessionExpired));
}

#[tokio::test]
async fn watches_past_128_kib_of_paths_are_registered_in_several_packets() {
    let (session, mut peer, listener) = connected("").await;
    let long = "x".repeat(1000);
    let paths: Vec<String> = (0..300).map(|i| format!("/{i}{long}")).collect();
    let watching = tokio::spawn({
        let (session, paths) = (session.clone(), paths.clone());
        async move {
            let mut watches = Vec::new();
            for path in &paths {
                watches.push(session.get_watched(path).await.unwrap().1);
            }
            watches
        }
    });
    for _ in &paths {
        let (xid, _) = peer.expect(OpCode::GetData).await;
        peer.reply(xid, 1, ErrorCode::OK, |out| data(b"", 0).write(out))
            .await;
    }
    let _watches = watching.await.unwrap();
    drop(peer);
    let mut peer = Peer::accept(&listener).await;
    peer.grant(7, 30_000).await;
    let mut registered = Vec::new();
    let mut packets = 0;
    while registered.len() < paths.len() {
        let (_, mut r) = peer.expect(OpCode::SetWatches).await;
        assert!(r.remaining() <= 129 * 1024);
        registered.extend(SetWatchesRequest::read(&mut r).unwrap().data);
        packets += 1;
        peer.reply(xid::SET_WATCHES, 1, ErrorCode::OK, |_| ()).await;
    }
    assert_eq!(packets, 3);
    registered.sort();
    let mut paths = paths;
    paths.sort();
    assert_eq!(registered, paths);
}

#[tokio::test]
async fn an_ephemeral_node_of_the_own_session_counts_as_made() {
    let (session, mut peer, _listener) = connected("").await;
    let make = tokio::spawn({
        let session = session.clone();
        async move { session.create_ephemeral_checked("/e", b"me").await }
    });
    for owner in [7, 99] {
        let (xid, _) = peer.expect(OpCode::Create).await;
        peer.reply(xid, 1, ErrorCode::NODE_EXISTS, |_| ()).await;
        let (xid, _) = peer.expect(OpCode::Exists).await;
        if owner == 99 {
            let stat = Stat {
                ephemeral_owner: owner,
                ..Stat::default()
            };
            peer.reply(xid, 1, ErrorCode::OK, |out| stat.write(out)).await;
        } else {
            // Gone meanwhile: it is tried again.
            peer.reply(xid, 1, ErrorCode::NO_NODE, |_| ()).await;
        }
    }
    assert_eq!(make.await.unwrap(), Err(Error::NodeExists));
    let make = tokio::spawn({
        let session = session.clone();
        async move { session.create_ephemeral_checked("/e", b"me").await }
    });
    let (xid, _) = peer.expect(OpCode::Create).await;
    peer.reply(xid, 1, ErrorCode::NODE_EXISTS, |_| ()).await;
    let (xid, _) = peer.expect(OpCode::Exists).await;
    let stat = Stat {
        ephemeral_owner: 7,
        ..Stat::default()
    };
    peer.reply(xid, 1, ErrorCode::OK, |out| stat.write(out)).await;
    assert_eq!(make.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn missing_parents_are_made_topmost_first_with_null_data() {
    let (session, mut peer, _listener) = connected("").await;
    let make = tokio::spawn({
        let session = session.clone();
        async move { session.ensure_path("/a/b/c").await }
    });
    let (xid, _) = peer.expect(OpCode::Create).await;
    peer.reply(xid, 1, ErrorCode::NO_NODE, |_| ()).await;
    for _ in 0..2 {
        let (xid, _) = peer.expect(OpCode::Exists).await;
        peer.reply(xid, 1, ErrorCode::NO_NODE, |_| ()).await;
    }
    for want in ["/a", "/a/b", "/a/b/c"] {
        let (xid, mut r) = peer.expect(OpCode::Create).await;
        let request = crate::jute::CreateRequest::read(&mut r).unwrap();
        assert_eq!(
            (request.path.as_str(), request.data, request.flags),
            (want, None, 0)
        );
        let made = PathRecord { path: want.into() };
        peer.reply(xid, 2, ErrorCode::OK, |out| made.write(out)).await;
    }
    assert_eq!(make.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn silence_is_broken_by_pings_and_an_unanswered_one_ends_the_connection() {
    let (listener, address) = listen().await;
    let clock = Clock::manual(WallMs(0));
    let (session, mut peer) =
        tokio::join!(Session::connect(&address, settings(6000), clock.clone()), async {
            let mut peer = Peer::accept(&listener).await;
            peer.grant(7, 6000).await;
            peer
        });
    let session = session.unwrap();
    let (ping, _) = tokio::join!(peer.read(), async {
        // The task must have gone to sleep before time moves; it wakes by the clock alone.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_millis(2000));
    });
    assert_eq!(&ping.unwrap()[..4], (-2i32).to_be_bytes());
    clock.advance(Duration::from_millis(2001));
    let mut states = session.state();
    states.wait_for(|s| !s.connected).await.unwrap();
    clock.advance(Duration::from_millis(50));
    let again = Peer::accept(&listener).await;
    assert_eq!(again.hello.session_id, 7);
}

#[tokio::test]
async fn closing_ends_the_session_at_the_server_and_fails_what_waits() {
    let (session, mut peer, _listener) = connected("").await;
    let other = session.clone();
    let waiting = tokio::spawn(async move { other.get("/a").await });
    peer.expect(OpCode::GetData).await;
    let closing = tokio::spawn(session.close());
    let (xid, _) = peer.expect(OpCode::CloseSession).await;
    peer.reply(xid, 2, ErrorCode::OK, |_| ()).await;
    drop(peer);
    closing.await.unwrap();
    assert_eq!(waiting.await.unwrap(), Err(Error::Closed));
}

#[tokio::test]
async fn no_server_within_the_connection_timeout_is_said_in_kafkas_words() {
    let (listener, address) = listen().await;
    drop(listener);
    let settings = SessionSettings {
        session_timeout: Duration::from_secs(6),
        connection_timeout: Duration::from_millis(120),
    };
    let error = Session::connect(&address, settings, Clock::system())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Unable to connect to zookeeper server within timeout: 120"
    );
}
