//! The network with an echo behind it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::connection::Activity;
use super::*;
use crate::cluster::Endpoint;
use crate::util::clock::{Clock, Mono, WallMs};
use crate::util::fs::{FileOwner, FileSlice};
use crate::util::shutdown::Shutdown;

/// Answers with the body; the first byte chooses other ways.
#[derive(Default)]
struct Echo {
    seen: Mutex<Vec<(Option<String>, Vec<u8>)>>,
    unreadable: Arc<Mutex<Vec<io::Error>>>,
    /// When each answer had gone.
    sent: Mutex<Vec<Mono>>,
    go_on: Notify,
}

impl Echo {
    fn owner(&self) -> FileOwner {
        let unreadable = self.unreadable.clone();
        FileOwner::new(move |e| unreadable.lock().unwrap().push(e))
    }
}

impl Service for Echo {
    fn answered(&self, _: i16, _: u8, times: Times) {
        self.sent.lock().unwrap().push(times.sent);
    }

    async fn call(&self, request: Incoming) -> Reply {
        let body = request.body;
        self.seen
            .lock()
            .unwrap()
            .push((request.header.client_id.clone(), body.to_vec()));
        match body.first() {
            Some(b'n') => Reply::Nothing,
            Some(b's') => Reply::Silence,
            Some(b'c') => Reply::Close("asked to".to_owned()),
            Some(b'p') => panic!("asked to"),
            Some(b'w') => {
                self.go_on.notified().await;
                Reply::Frame(Response::new(request.header.correlation_id, |out| {
                    out.put_slice(&body)
                }))
            }
            Some(b'f') => {
                let mut file = tempfile::tempfile().unwrap();
                io::Write::write_all(&mut file, &vec![7; 3 << 20]).unwrap();
                let mut reply = ResponseBuilder::new(request.header.correlation_id, 100);
                let file = Arc::new(file);
                let len = if body.len() > 1 { 4 << 20 } else { 2 << 20 };
                reply.bytes().put_slice(b"head");
                reply.file(FileSlice {
                    file: file.clone(),
                    position: 5,
                    len,
                    owner: Some(self.owner()),
                });
                reply.bytes().put_slice(b"middle");
                reply.file(FileSlice {
                    file,
                    position: 0,
                    len: 1,
                    owner: None,
                });
                Reply::Frame(reply.finish())
            }
            // Nothing is mapped at its beginning, so that reading it fails as a disk does.
            Some(b'u') => {
                let mut reply = ResponseBuilder::new(request.header.correlation_id, 100);
                reply.file(FileSlice {
                    file: Arc::new(std::fs::File::open("/proc/self/mem").unwrap()),
                    position: 0,
                    len: 10,
                    owner: Some(self.owner()),
                });
                Reply::Frame(reply.finish())
            }
            _ => Reply::Frame(Response::new(request.header.correlation_id, |out| {
                out.put_slice(&body)
            })),
        }
    }
}

struct Server {
    echo: Arc<Echo>,
    address: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<()>,
    clock: Clock,
    limits: Arc<Limits>,
}

impl Server {
    fn start(settings: NetworkSettings, clock: Clock) -> Server {
        let endpoint = Endpoint::parse("PLAINTEXT://127.0.0.1:0").unwrap();
        let limits = Limits::new(&settings);
        let listener = Listener::bind(&endpoint, settings, limits.clone(), clock.clone()).unwrap();
        let (echo, shutdown) = (Arc::new(Echo::default()), Shutdown::new());
        Server {
            address: listener.local_addr(),
            task: listener.serve(echo.clone(), shutdown.stop()),
            echo,
            shutdown,
            clock,
            limits,
        }
    }

    fn ordinary() -> Server {
        Server::start(NetworkSettings::default(), Clock::system())
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    fn seen(&self) -> Vec<Vec<u8>> {
        self.echo
            .seen
            .lock()
            .unwrap()
            .iter()
            .map(|(_, body)| body.clone())
            .collect()
    }
}

fn request(key: i16, correlation_id: i32, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_i32(11 + body.len() as i32);
    out.put_i16(key);
    out.put_i16(0);
    out.put_i32(correlation_id);
    out.put_i16(1);
    out.put_u8(b'x');
    out.put_slice(body);
    out
}

async fn answer(stream: &mut TcpStream) -> Option<(i32, Vec<u8>)> {
    let size = stream.read_i32().await.ok()?;
    let id = stream.read_i32().await.ok()?;
    let mut body = vec![0; size as usize - 4];
    stream.read_exact(&mut body).await.ok()?;
    Some((id, body))
}

async fn until(mut done: impl FnMut() -> bool) {
    let limit = std::time::Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(std::time::Instant::now() < limit, "waited 10 s in vain");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Fails rather than hangs.
async fn closed(stream: &mut TcpStream) {
    let mut byte = [0];
    let end = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut byte)).await;
    assert!(matches!(end.expect("still open after 10 s"), Ok(0) | Err(_)));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_a_waiting_one_holds_back_the_next() {
    let server = Server::ordinary();
    let mut client = server.connect().await;
    let mut all = BytesMut::new();
    all.put_slice(&request(3, 1, b"w1"));
    for i in 2..200 {
        all.put_slice(&request(3, i, &vec![b'a'; i as usize * 97]));
    }
    client.write_all(&all).await.unwrap();
    until(|| server.seen().len() == 1).await;
    server.echo.go_on.notify_one();
    for i in 1..200 {
        let (id, body) = answer(&mut client).await.unwrap();
        assert_eq!(id, i);
        assert_eq!(body.len(), if i == 1 { 2 } else { i as usize * 97 });
    }
}

#[tokio::test]
async fn what_came_together_is_answered_together() {
    let server = Server::ordinary();
    let mut client = server.connect().await;
    let together: BytesMut = (0..10).flat_map(|i| request(3, i, b"a")).collect();
    client.write_all(&together).await.unwrap();
    for i in 0..10 {
        assert_eq!(answer(&mut client).await, Some((i, b"a".to_vec())));
    }
    until(|| server.echo.sent.lock().unwrap().len() == 10).await;
    let sent = server.echo.sent.lock().unwrap().clone();
    assert!(sent.iter().all(|at| *at == sent[0]), "{sent:?}");
}

#[tokio::test]
async fn no_answer_waits_for_a_request_that_waits_or_behind_which_the_connection_ends() {
    let server = Server::ordinary();
    let mut client = server.connect().await;
    let bodies: [&[u8]; 6] = [b"a", b"b", b"w", b"d", b"e", b"c"];
    let all: BytesMut = (0..)
        .zip(bodies)
        .flat_map(|(i, body)| request(3, i, body))
        .collect();
    client.write_all(&all).await.unwrap();
    for i in 0..5 {
        if i == 2 {
            server.echo.go_on.notify_one();
        }
        let (id, body) = answer(&mut client).await.unwrap();
        assert_eq!((id, &body[..]), (i, bodies[i as usize]));
    }
    closed(&mut client).await;
}

#[tokio::test]
async fn many_small_answers_to_what_came_together_arrive_whole() {
    let server = Server::ordinary();
    let mut client = server.connect().await;
    // More than go in one write, between some with files.
    let body = |i: i32| if i % 50 == 49 { &b"f"[..] } else { b"a" };
    let all: BytesMut = (0..200).flat_map(|i| request(3, i, body(i))).collect();
    client.write_all(&all).await.unwrap();
    for i in 0..200 {
        let (id, answered) = answer(&mut client).await.unwrap();
        assert_eq!((id, answered.len() > 1), (i, i % 50 == 49));
    }
}

#[tokio::test]
async fn requests_without_an_answer_are_handled_after_the_client_closed() {
    let server = Server::ordinary();
    let mut client = server.connect().await;
    let mut all = BytesMut::from(&request(0, 0, b"w")[..]);
    for i in 1..=50 {
        all.put_slice(&request(0, i, &[&b"n"[..], &vec![0; 3000]].concat()));
    }
    client.write_all(&all).await.unwrap();
    until(|| server.seen().len() == 1).await;
    drop(client);
    server.echo.go_on.notify_one();
    until(|| server.seen().len() == 51).await;
}

#[tokio::test]
async fn requests_behind_an_answer_that_nobody_takes_are_handled_if_they_change_something() {
    let server = Server::ordinary();
    let mut client = server.connect().await;
    let mut all = BytesMut::from(&request(3, 0, b"w")[..]);
    // Answers larger than the socket's buffers, so that writing them fails.
    for i in 1..=20 {
        all.put_slice(&request(1, i, b"f"));
    }
    all.put_slice(&request(1, 98, b"n fetch"));
    all.put_slice(&request(0, 99, b"n produce"));
    client.write_all(&all).await.unwrap();
    until(|| server.seen().len() == 1).await;
    socket2::SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    server.echo.go_on.notify_one();
    answer(&mut client).await.unwrap();
    drop(client);
    until(|| server.seen().last().unwrap() == b"n produce").await;
    assert!(!server.seen().contains(&b"n fetch".to_vec()));
}

#[tokio::test]
async fn silence_keeps_the_connection_and_close_ends_it() {
    let server = Server::ordinary();
    let mut client = server.connect().await;
    client.write_all(&request(18, 1, b"s")).await.unwrap();
    // An empty frame, a cut header and a client id past the frame's end, of keys 0-9.
    client.write_all(&[0, 0, 0, 0]).await.unwrap();
    client.write_all(&[0, 0, 0, 3, 0, 3, 0]).await.unwrap();
    client
        .write_all(&[0, 0, 0, 10, 0, 3, 0, 0, 0, 0, 0, 1, 0x7f, 0xff])
        .await
        .unwrap();
    client.write_all(&request(3, 2, b"a")).await.unwrap();
    assert_eq!(answer(&mut client).await.unwrap().0, 2);
    client.write_all(&request(3, 3, b"c")).await.unwrap();
    closed(&mut client).await;

    // A cut header, and a null client id, of keys 10-16.
    for bad in [
        &[0, 0, 0, 3, 0, 12, 0][..],
        &[0, 0, 0, 10, 0, 10, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
    ] {
        let mut client = server.connect().await;
        client.write_all(bad).await.unwrap();
        closed(&mut client).await;
    }
}

#[tokio::test]
async fn a_null_client_id_reaches_the_service_as_null() {
    let server = Server::ordinary();
    let mut client = server.connect().await;
    client
        .write_all(&[0, 0, 0, 11, 0, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xff, b'a'])
        .await
        .unwrap();
    answer(&mut client).await.unwrap();
    assert_eq!(*server.echo.seen.lock().unwrap(), [(None, b"a".to_vec())]);
}

#[tokio::test]
async fn a_panic_while_handling_closes_only_that_connection() {
    let server = Server::ordinary();
    let (mut bad, mut good) = (server.connect().await, server.connect().await);
    bad.write_all(&request(3, 1, b"p")).await.unwrap();
    closed(&mut bad).await;
    good.write_all(&request(3, 2, b"a")).await.unwrap();
    assert_eq!(answer(&mut good).await.unwrap().0, 2);
}

#[tokio::test]
async fn a_frame_larger_than_the_maximum_closes_and_the_maximum_itself_passes() {
    let settings = NetworkSettings {
        request_max_bytes: 100_000,
        ..NetworkSettings::default()
    };
    let server = Server::start(settings, Clock::system());
    let mut client = server.connect().await;
    client
        .write_all(&request(3, 1, &vec![b'a'; 100_000 - 11]))
        .await
        .unwrap();
    assert_eq!(answer(&mut client).await.unwrap().1.len(), 100_000 - 11);
    client.write_all(&100_001i32.to_be_bytes()).await.unwrap();
    closed(&mut client).await;
    let mut client = server.connect().await;
    client.write_all(&(-1i32).to_be_bytes()).await.unwrap();
    closed(&mut client).await;
}

#[tokio::test]
async fn bytes_and_file_slices_leave_in_one_frame() {
    let server = Server::ordinary();
    let mut client = server.connect().await;
    client.write_all(&request(1, 1, b"f")).await.unwrap();
    let (_, body) = answer(&mut client).await.unwrap();
    assert_eq!(body.len(), 4 + (2 << 20) + 6 + 1);
    assert_eq!(&body[..5], b"head\x07");
    assert_eq!(&body[4 + (2 << 20)..], b"middle\x07");
}

#[tokio::test]
async fn a_file_shorter_than_its_slice_ends_only_that_connection() {
    let server = Server::ordinary();
    let (mut bad, mut good) = (server.connect().await, server.connect().await);
    bad.write_all(&request(1, 1, b"f too long")).await.unwrap();
    assert_eq!(answer(&mut bad).await, None);
    good.write_all(&request(1, 2, b"f")).await.unwrap();
    assert_eq!(answer(&mut good).await.unwrap().0, 2);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_a_file_hears_that_it_cannot_be_read_but_not_that_a_socket_failed() {
    let server = Server::ordinary();
    let unreadable = || server.echo.unreadable.lock().unwrap().len();
    let gone = server.connect().await;
    let mut gone = gone;
    let all: BytesMut = (0..20).flat_map(|i| request(1, i, b"f")).collect();
    gone.write_all(&all).await.unwrap();
    until(|| !server.seen().is_empty()).await;
    socket2::SockRef::from(&gone)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(gone);
    let mut short = server.connect().await;
    short.write_all(&request(1, 1, b"f too long")).await.unwrap();
    assert_eq!(answer(&mut short).await, None);
    assert_eq!(unreadable(), 0);
    let mut client = server.connect().await;
    client.write_all(&request(1, 1, b"u")).await.unwrap();
    assert_eq!(
        answer(&mut client).await,
        None,
        "its connection is of no more use"
    );
    until(|| unreadable() == 1).await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_read_no_further() {
    let server = Server::ordinary();
    let (mut deaf, mut good) = (server.connect().await, server.connect().await);
    let many: BytesMut = (0..100).flat_map(|i| request(1, i, b"f")).collect();
    deaf.write_all(&many).await.unwrap();
    until(|| !server.seen().is_empty()).await;
    for i in 0..20 {
        good.write_all(&request(3, i, b"a")).await.unwrap();
        answer(&mut good).await.unwrap();
    }
    let fetches = server.seen().iter().filter(|body| *body == b"f").count();
    assert!(fetches < 10, "{fetches} answers of 2 MB were begun");
}

#[tokio::test]
async fn idle_connections_are_closed_and_others_are_not() {
    let clock = Clock::manual(WallMs(0));
    let settings = NetworkSettings {
        max_idle: Duration::from_secs(60),
        ..NetworkSettings::default()
    };
    let server = Server::start(settings, clock);
    let (mut idle, mut busy) = (server.connect().await, server.connect().await);
    // A waiting request is no activity.
    idle.write_all(&request(3, 1, b"w")).await.unwrap();
    until(|| server.seen().len() == 1).await;
    for i in 0..8 {
        server.clock.advance(Duration::from_secs(8));
        busy.write_all(&request(3, i, b"a")).await.unwrap();
        answer(&mut busy).await.unwrap();
    }
    closed(&mut idle).await;
    busy.write_all(&request(3, 9, b"a")).await.unwrap();
    answer(&mut busy).await.unwrap();
}

/// Its task may be begun after the next sweep.
#[test]
fn a_connection_is_not_idle_when_it_is_accepted() {
    let minutes = |n: u64| Mono(Duration::from_secs(60 * n));
    let activity = Activity::new(minutes(20));
    assert_eq!(activity.idle(minutes(20)), Duration::ZERO);
    assert_eq!(activity.idle(minutes(21)), Duration::from_secs(60));
}

#[tokio::test]
async fn the_last_connection_allowed_per_address_is_served_and_the_next_is_closed_at_once() {
    let settings = NetworkSettings {
        max_connections_per_ip: 2,
        ..NetworkSettings::default()
    };
    let server = Server::start(settings, Clock::system());
    let (mut a, mut b) = (server.connect().await, server.connect().await);
    for client in [&mut a, &mut b] {
        client.write_all(&request(3, 1, b"a")).await.unwrap();
        answer(client).await.unwrap();
    }
    closed(&mut server.connect().await).await;
    drop(a);
    let mut tries = 0;
    loop {
        let mut again = server.connect().await;
        let _ = again.write_all(&request(3, 1, b"a")).await;
        if answer(&mut again).await.is_some() {
            break;
        }
        tries += 1;
        assert!(tries < 1000, "the place of a closed connection stayed taken");
    }
}

#[tokio::test]
async fn a_stalled_large_request_makes_room_when_others_wait_for_memory() {
    let clock = Clock::manual(WallMs(0));
    let settings = NetworkSettings {
        request_memory_bytes: 300 << 10,
        ..NetworkSettings::default()
    };
    let server = Server::start(settings, clock);
    let claim = |stream: TcpStream| async {
        let mut stream = stream;
        stream.write_all(&(1i32 << 20).to_be_bytes()).await.unwrap();
        stream
    };
    // The first takes the memory, the second goes beyond it, the third waits.
    let mut stalled = vec![
        claim(server.connect().await).await,
        claim(server.connect().await).await,
    ];
    let mut third = server.connect().await;
    let large = request(3, 3, &vec![b'a'; 200 << 10]);
    third.write_all(&large[..100]).await.unwrap();
    until(|| server.limits.is_short()).await;
    let mut small = server.connect().await;
    small.write_all(&request(3, 1, b"a")).await.unwrap();
    answer(&mut small).await.unwrap();

    server.clock.advance(Duration::from_secs(11));
    third.write_all(&large[100..]).await.unwrap();
    assert_eq!(answer(&mut third).await.unwrap().0, 3);
    for stream in &mut stalled {
        closed(stream).await;
    }
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_waiting_requests() {
    let server = Server::ordinary();
    let (mut idle, mut waiting) = (server.connect().await, server.connect().await);
    waiting.write_all(&request(3, 1, b"w")).await.unwrap();
    idle.write_all(&request(3, 1, b"a")).await.unwrap();
    answer(&mut idle).await.unwrap();
    until(|| server.seen().len() == 2).await;
    server.shutdown.ask();
    server.task.await.unwrap();
    closed(&mut idle).await;
    closed(&mut waiting).await;
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_connection_that_was_served_a_moment_ago_does_not_hold_a_stop_up() {
    let mut fastest = Duration::MAX;
    for _ in 0..10 {
        let server = Server::ordinary();
        let mut served = server.connect().await;
        served.write_all(&request(3, 1, b"a")).await.unwrap();
        answer(&mut served).await.unwrap();
        let began = std::time::Instant::now();
        server.shutdown.ask();
        server.task.await.unwrap();
        fastest = fastest.min(began.elapsed());
        closed(&mut served).await;
    }
    // A request in progress would have had half a second.
    assert!(fastest < Duration::from_millis(250), "{fastest:?}");
}

#[tokio::test]
async fn a_taken_port_is_refused_with_kafkas_words() {
    let server = Server::ordinary();
    let endpoint = Endpoint::parse(&format!("PLAINTEXT://{}", server.address)).unwrap();
    let settings = NetworkSettings::default();
    let error = Listener::bind(&endpoint, settings, server.limits.clone(), Clock::system()).unwrap_err();
    let text = error.to_string();
    let expected = format!(
        "Socket server failed to bind to 127.0.0.1:{}: ",
        server.address.port()
    );
    assert!(text.starts_with(&expected), "{text}");
}
