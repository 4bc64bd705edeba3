//! A connection against a broker that is scripted frame by frame.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::protocol::metadata::{MetadataRequest, MetadataResponse};
use crate::protocol::{RequestHeader, frame_response};

async fn listener() -> (TcpListener, i32) {
    let l = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = l.local_addr().unwrap().port().into();
    (l, port)
}

fn settings() -> ConnectionSettings {
    ConnectionSettings {
        client_id: "t".into(),
        request_timeout: Duration::from_secs(5),
        ..ConnectionSettings::default()
    }
}

fn ask() -> MetadataRequest {
    MetadataRequest { topics: vec![] }
}

fn empty() -> MetadataResponse {
    MetadataResponse {
        brokers: vec![],
        topics: vec![],
    }
}

async fn read_request(socket: &mut TcpStream) -> RequestHeader {
    let size = socket.read_i32().await.unwrap();
    let mut body = vec![0; usize::try_from(size).unwrap()];
    socket.read_exact(&mut body).await.unwrap();
    RequestHeader::decode(&mut Reader::new(body.into())).unwrap()
}

#[tokio::test]
async fn requests_are_pipelined_and_answered_in_order() {
    let (l, port) = listener().await;
    let broker = tokio::spawn(async move {
        let (mut s, _) = l.accept().await.unwrap();
        let mut ids = vec![];
        for _ in 0..3 {
            ids.push(read_request(&mut s).await.correlation_id);
        }
        for id in &ids {
            s.write_all(&frame_response(&empty(), 0, *id)).await.unwrap();
        }
        ids
    });
    let c = Connection::connect("127.0.0.1", port, settings()).await.unwrap();
    let t = Duration::from_secs(5);
    let a = c.submit(&ask(), 0, t).await.unwrap();
    let b = c.submit(&ask(), 0, t).await.unwrap();
    let d = c.submit(&ask(), 0, t).await.unwrap();
    assert_eq!(d.answer().await.unwrap(), empty());
    assert_eq!(a.answer().await.unwrap(), empty());
    assert_eq!(b.answer().await.unwrap(), empty());
    assert_eq!(broker.await.unwrap(), [0, 1, 2]);
}

#[tokio::test]
async fn close_waits_for_the_answers_that_are_due() {
    let (l, port) = listener().await;
    let (go, wait) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut s, _) = l.accept().await.unwrap();
        let id = read_request(&mut s).await.correlation_id;
        wait.await.unwrap();
        s.write_all(&frame_response(&empty(), 0, id)).await.unwrap();
        let _ = s.read_i32().await;
    });
    let c = Connection::connect("127.0.0.1", port, settings()).await.unwrap();
    let pending = c.submit(&ask(), 0, Duration::from_secs(5)).await.unwrap();
    let (_, closed) = tokio::join!(async { go.send(()).unwrap() }, c.close());
    let () = closed;
    assert_eq!(pending.answer().await.unwrap(), empty());
    assert!(matches!(c.call(&ask()).await, Err(Error::Closed { .. })));
}

#[tokio::test]
async fn a_wrong_correlation_id_ends_the_connection_and_names_the_broker() {
    let (l, port) = listener().await;
    tokio::spawn(async move {
        let (mut s, _) = l.accept().await.unwrap();
        read_request(&mut s).await;
        s.write_all(&frame_response(&empty(), 0, 7)).await.unwrap();
        let _ = s.read_i32().await;
    });
    let c = Connection::connect("127.0.0.1", port, settings()).await.unwrap();
    let e = c.call(&ask()).await.unwrap_err();
    assert!(matches!(e, Error::OutOfOrder { got: 7, .. }));
    assert!(e.to_string().contains(&format!("127.0.0.1:{port}")));
    assert!(matches!(c.failed().await, Error::OutOfOrder { .. }));
}

#[tokio::test]
async fn a_claimed_size_beyond_the_limit_is_refused() {
    for size in [3, -1, i32::MAX] {
        let (l, port) = listener().await;
        tokio::spawn(async move {
            let (mut s, _) = l.accept().await.unwrap();
            read_request(&mut s).await;
            s.write_i32(size).await.unwrap();
            let _ = s.read_i32().await;
        });
        let c = Connection::connect("127.0.0.1", port, settings()).await.unwrap();
        assert!(matches!(c.call(&ask()).await, Err(Error::Size { size: s, .. }) if s == size));
    }
}

#[tokio::test]
async fn a_missing_answer_times_out_and_fails_later_requests_too() {
    let (l, port) = listener().await;
    let holder = tokio::spawn(async move {
        let (mut s, _) = l.accept().await.unwrap();
        read_request(&mut s).await;
        let mut rest = vec![];
        s.read_to_end(&mut rest).await
    });
    let c = Connection::connect("127.0.0.1", port, settings()).await.unwrap();
    let e = c
        .call_within(&ask(), 0, Duration::from_millis(20))
        .await
        .unwrap_err();
    assert!(matches!(e, Error::Timeout { api: "Metadata", .. }));
    assert!(matches!(c.call(&ask()).await, Err(Error::Timeout { .. })));
    c.close().await;
    // The broker's side sees the end.
    let _ = holder.await.unwrap();
}

#[tokio::test]
async fn a_refused_connection_names_host_and_port() {
    let (l, port) = listener().await;
    drop(l);
    let e = Connection::connect("127.0.0.1", port, settings())
        .await
        .unwrap_err();
    assert!(e.to_string().contains(&format!("127.0.0.1:{port}")), "{e}");
    assert!(!e.may_have_arrived());
}

fn large(bytes: usize) -> MetadataRequest {
    MetadataRequest {
        topics: vec!["t".repeat(30_000); bytes / 30_000],
    }
}

/// More than the system takes while the other side reads nothing.
const MUCH: usize = 20_000_000;

#[tokio::test]
async fn what_the_system_does_not_take_at_once_follows_in_order() {
    let (l, port) = listener().await;
    let (go, wait) = oneshot::channel::<()>();
    let broker = tokio::spawn(async move {
        let (mut s, _) = l.accept().await.unwrap();
        wait.await.unwrap();
        let mut ids = vec![];
        for _ in 0..3 {
            ids.push(read_request(&mut s).await.correlation_id);
        }
        for id in &ids {
            s.write_all(&frame_response(&empty(), 0, *id)).await.unwrap();
        }
        (s, ids)
    });
    let c = Connection::connect("127.0.0.1", port, settings()).await.unwrap();
    let t = Duration::from_secs(60);
    let first = c.submit(&large(MUCH), 0, t).await.unwrap();
    let second = c.submit(&large(MUCH), 0, t).await.unwrap();
    let third = c.submit(&ask(), 0, t).await.unwrap();
    go.send(()).unwrap();
    // It ends only when all is written and answered.
    c.close().await;
    for pending in [first, second, third] {
        assert_eq!(pending.answer().await.unwrap(), empty());
    }
    assert_eq!(broker.await.unwrap().1, [0, 1, 2]);
}

#[tokio::test]
async fn callers_wait_while_too_many_requests_are_left() {
    let (l, port) = listener().await;
    let c = Connection::connect("127.0.0.1", port, settings()).await.unwrap();
    let (s, _) = l.accept().await.unwrap();
    let t = Duration::from_secs(60);
    let mut due = vec![c.submit(&large(MUCH), 0, t).await.unwrap()];
    for _ in 1..outbox::MOST {
        due.push(c.submit(&ask(), 0, t).await.unwrap());
    }
    let e = c
        .call_within(&ask(), 0, Duration::from_millis(20))
        .await
        .unwrap_err();
    assert!(matches!(e, Error::Timeout { .. }), "{e}");
    assert_eq!(due.len(), outbox::MOST);
    drop(s);
}

#[tokio::test]
async fn a_connection_that_is_dropped_is_cut_although_somebody_waits_for_an_answer() {
    let (l, port) = listener().await;
    let c = Connection::connect("127.0.0.1", port, settings()).await.unwrap();
    let (mut s, _) = l.accept().await.unwrap();
    let pending = c.submit(&ask(), 0, Duration::from_secs(60)).await.unwrap();
    read_request(&mut s).await;
    drop(c);
    assert_eq!(s.read(&mut [0]).await.unwrap(), 0, "the other side sees the end");
    assert!(matches!(pending.answer().await, Err(Error::Closed { .. })));
}

#[tokio::test]
async fn a_connection_that_failed_sends_nothing_more() {
    let (l, port) = listener().await;
    let c = Connection::connect("127.0.0.1", port, settings()).await.unwrap();
    let (mut s, _) = l.accept().await.unwrap();
    let t = Duration::from_millis(20);
    assert!(matches!(
        c.call_within(&ask(), 0, t).await,
        Err(Error::Timeout { .. })
    ));
    assert!(matches!(
        c.send_no_answer(&ask(), 0).await,
        Err(Error::Timeout { .. })
    ));
    read_request(&mut s).await;
    assert_eq!(s.read(&mut [0]).await.unwrap(), 0, "the other side sees the end");
}
