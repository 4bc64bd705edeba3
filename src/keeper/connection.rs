//! One client's socket: packets in, packets out. Knows the frame and the first packet, and no more of
//! the protocol.
//!
//! Bytes are taken as they arrive, so that a length alone costs nothing; an idle connection holds no
//! buffer. A connection that breaks a rule is closed with a line in the log; others never notice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::log::{debug, warn};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use crate::jute::{ConnectRequest, OpCode, Record, RequestHeader};
use crate::util::clock::Clock;
use crate::util::shutdown::Stop;

use super::ConnId;
use super::four_letter::Word;
use super::outbox::Outbox;
use super::request::Request;

/// How much is read at once.
const CHUNK: usize = 16 << 10;
/// How long a client may take for the last answers before its socket is closed.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long to wait for a client to close its side, so that the last answer is not lost to a reset.
const LINGER: Duration = Duration::from_millis(200);
/// setWatches lists every watched path of a client at once and may be longer than other packets.
const SET_WATCHES_LIMIT: usize = 64 << 20;

/// What a connection tells the core.
#[derive(Debug)]
pub(super) enum Input {
    /// It is there.
    Open(ConnId, SocketAddr, Arc<Outbox>),
    /// Its first packet.
    Connect(ConnId, ConnectRequest),
    /// A packet after that.
    Request(ConnId, RequestHeader, Request),
    /// A four-letter word in place of a first packet.
    Command(ConnId, Word),
    /// It is gone.
    Closed(ConnId),
}

/// What all connections share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    /// To the core.
    pub(super) inbox: mpsc::Sender<Input>,
    /// The longest packet (`jute.maxbuffer`).
    pub(super) max_packet: usize,
    /// Requests in process, and how many are enough.
    pub(super) outstanding: Arc<AtomicUsize>,
    pub(super) outstanding_limit: usize,
    pub(super) clock: Clock,
    pub(super) stop: Stop,
}

/// Why reading ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the client closed it")]
    Eof,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("Len error {0}")]
    Length(i32),
    #[error("a packet that cannot be read: {0}")]
    Packet(#[from] crate::jute::Error),
    #[error("the server stops")]
    Stopped,
}

/// Serves a client until either side has enough.
pub(super) async fn serve(stream: TcpStream, conn: ConnId, peer: SocketAddr, mut shared: Shared) {
    // Without it small answers wait for the client's acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    let outbox = Arc::new(Outbox::default());
    if shared
        .inbox
        .send(Input::Open(conn, peer, outbox.clone()))
        .await
        .is_err()
    {
        return;
    }
    let (mut from, mut to) = stream.into_split();
    let mut stop = shared.stop.clone();
    let mut answered = false;
    tokio::select! {
        end = read(&mut from, conn, &outbox, &shared) => match end {
            Ok(never) => match never {},
            Err(End::Eof | End::Stopped) => debug!("connection of {peer} ended"),
            Err(End::Io(e)) => debug!("connection of {peer} ended: {e}"),
            Err(end) => warn!("Exception causing close of the connection of /{peer}: {end}"),
        },
        sent = write(&mut to, &outbox) => answered = sent.is_ok(),
        () = async { outbox.closing().await; shared.clock.sleep(FAREWELL).await } => {}
        () = stop.wait() => {}
    }
    // The core may be gone already when the server stops.
    let _ = shared.inbox.send(Input::Closed(conn)).await;
    if answered && to.shutdown().await.is_ok() {
        tokio::select! {
            () = drain(&mut from) => {}
            () = shared.clock.sleep(LINGER) => {}
            () = shared.stop.wait() => {}
        }
    }
}

async fn write(to: &mut OwnedWriteHalf, outbox: &Outbox) -> std::io::Result<()> {
    while let Some(mut packets) = outbox.next().await {
        to.write_all_buf(&mut packets).await?;
    }
    Ok(())
}

async fn drain(from: &mut OwnedReadHalf) {
    let mut scrap = BytesMut::new();
    while fill(from, &mut scrap, 1).await.is_ok() {
        scrap.clear();
    }
}

async fn read(
    from: &mut OwnedReadHalf,
    conn: ConnId,
    outbox: &Outbox,
    shared: &Shared,
) -> Result<std::convert::Infallible, End> {
    let mut buffer = BytesMut::new();
    fill(from, &mut buffer, 4).await?;
    let first = [buffer[0], buffer[1], buffer[2], buffer[3]];
    if let Some(word) = Word::parse(first) {
        debug!("Processing {} command", String::from_utf8_lossy(&first));
        give(shared, Input::Command(conn, word)).await?;
        // The answer and the end come from the writer.
        return std::future::pending().await;
    }
    let packet = next_packet(from, &mut buffer, shared.max_packet).await?;
    outbox.asked();
    give(shared, Input::Connect(conn, ConnectRequest::parse(packet)?)).await?;
    if !outbox.established().await {
        return std::future::pending().await;
    }
    loop {
        let packet = next_packet(from, &mut buffer, shared.max_packet).await?;
        let (header, request) = Request::parse(packet)?;
        let busy = || shared.outstanding.load(Ordering::Relaxed) > shared.outstanding_limit;
        outbox.room(request.is_bulky(), busy).await;
        outbox.asked();
        give(shared, Input::Request(conn, header, request)).await?;
    }
}

async fn give(shared: &Shared, input: Input) -> Result<(), End> {
    shared.inbox.send(input).await.map_err(|_| End::Stopped)
}

/// The next packet without its length.
async fn next_packet(from: &mut OwnedReadHalf, buffer: &mut BytesMut, limit: usize) -> Result<Bytes, End> {
    if buffer.is_empty() {
        // Gives the memory back while nothing comes.
        *buffer = BytesMut::new();
    }
    fill(from, buffer, 4).await?;
    let length = buffer.get_i32();
    let bytes = usize::try_from(length).map_err(|_| End::Length(length))?;
    if bytes > limit.max(SET_WATCHES_LIMIT) {
        return Err(End::Length(length));
    }
    if bytes > limit {
        fill(from, buffer, 8).await?;
        let op = (&buffer[4..8]).get_i32();
        let sets_watches = matches!(
            OpCode::from_i32(op),
            Some(OpCode::SetWatches | OpCode::SetWatches2)
        );
        if !sets_watches {
            return Err(End::Length(length));
        }
    }
    fill(from, buffer, bytes).await?;
    Ok(buffer.split_to(bytes).freeze())
}

/// Reads until there are `needed` bytes, and perhaps more.
async fn fill(from: &mut OwnedReadHalf, buffer: &mut BytesMut, needed: usize) -> Result<(), End> {
    while buffer.len() < needed {
        from.readable().await?;
        buffer.reserve(CHUNK);
        match from.try_read_buf(buffer) {
            Ok(0) => return Err(End::Eof),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
