//! A small blocking client that speaks ZooKeeper's packets and nothing more.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka::jute::{
    Acl, ConnectRequest, ConnectResponse, CreateRequest, ErrorCode, OpCode, Reader, Record, ReplyHeader,
    RequestHeader, WatcherEvent, frame, xid,
};

/// How long any answer may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One connection, with a session once connected.
pub struct Wire {
    stream: TcpStream,
    xid: i32,
    pub session: i64,
    pub password: Bytes,
    pub timeout_ms: i32,
    /// Events that came before a reply.
    pub events: Vec<(i32, String)>,
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub header: ReplyHeader,
    pub body: Bytes,
}

impl Wire {
    /// A socket without a session.
    pub fn open(port: u16) -> Wire {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_nodelay(true).expect("a TCP socket");
        Wire {
            stream,
            xid: 0,
            session: 0,
            password: Bytes::new(),
            timeout_ms: 0,
            events: Vec::new(),
        }
    }

    /// A new session.
    pub fn connect(port: u16, timeout_ms: i32) -> Wire {
        let mut wire = Wire::open(port);
        let request = ConnectRequest {
            timeout_ms,
            password: Some(Bytes::from_static(&[0; 16])),
            read_only: Some(false),
            ..ConnectRequest::default()
        };
        assert!(wire.handshake(&request), "a new session is granted");
        wire
    }

    /// Goes on with a session on a new connection; `None` if the server says that it is over.
    pub fn reconnect(port: u16, session: i64, password: &[u8], last_zxid_seen: i64) -> Option<Wire> {
        let mut wire = Wire::open(port);
        let request = ConnectRequest {
            timeout_ms: 30_000,
            session_id: session,
            password: Some(Bytes::copy_from_slice(password)),
            last_zxid_seen,
            read_only: Some(false),
            ..ConnectRequest::default()
        };
        wire.handshake(&request).then_some(wire)
    }

    /// Sends the first packet and reads its answer; false if the session is refused.
    pub fn handshake(&mut self, request: &ConnectRequest) -> bool {
        self.send_raw(&frame(|out| request.write(out)));
        let packet = self.packet().expect("the first packet is answered");
        let response = ConnectResponse::parse(packet).expect("a ConnectResponse");
        self.session = response.session_id;
        self.password = response.password.unwrap_or_default();
        self.timeout_ms = response.timeout_ms;
        response.session_id != 0
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        // A server that closed already shows when the answer is read.
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a request with a chosen xid.
    pub fn send_as(&mut self, xid: i32, op: i32, body: &[u8]) {
        let packet = frame(|out| {
            RequestHeader { xid, op }.write(out);
            out.extend_from_slice(body);
        });
        self.send_raw(&packet);
    }

    /// Sends a request; returns its xid.
    pub fn send(&mut self, op: OpCode, body: &[u8]) -> i32 {
        self.xid += 1;
        self.send_as(self.xid, op.code(), body);
        self.xid
    }

    /// The next packet; `None` when the server closed the connection.
    pub fn packet(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.read_exact(&mut length)?;
        let mut packet = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("a length")];
        self.read_exact(&mut packet)?;
        Some(packet.into())
    }

    fn read_exact(&mut self, into: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(into) {
            Ok(()) => Some(()),
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                panic!("no answer within {PATIENCE:?}")
            }
            Err(_) => None,
        }
    }

    /// The next reply; events before it are kept in `events`.
    pub fn answer(&mut self) -> Option<Answer> {
        loop {
            let mut r = Reader::new(self.packet()?);
            let header = ReplyHeader::read(&mut r).expect("a ReplyHeader");
            if header.xid == xid::EVENT {
                assert_eq!((header.zxid, header.err), (-1, ErrorCode::OK));
                let event = WatcherEvent::read(&mut r).expect("a WatcherEvent");
                assert_eq!(event.state, 3);
                self.events.push((event.kind, event.path));
                continue;
            }
            return Some(Answer {
                header,
                body: r.rest(),
            });
        }
    }

    /// Sends a request and reads its answer.
    pub fn call(&mut self, op: OpCode, body: &impl Record) -> Answer {
        let xid = self.send(op, &body.to_bytes());
        let answer = self.answer().expect("the connection stays");
        assert_eq!(answer.header.xid, xid, "answers come in order");
        answer
    }

    /// As [`Wire::call`], of which success is expected.
    #[track_caller]
    pub fn get<T: Record>(&mut self, op: OpCode, body: &impl Record) -> T {
        let answer = self.call(op, body);
        assert_eq!(answer.header.err, ErrorCode::OK, "{op:?}");
        T::parse(answer.body).expect("the answer's body")
    }

    /// Makes an open node.
    pub fn create(&mut self, path: &str, data: &[u8], flags: i32) -> ErrorCode {
        let request = CreateRequest {
            path: path.to_owned(),
            data: Some(Bytes::copy_from_slice(data)),
            acl: Acl::open(),
            flags,
        };
        self.call(OpCode::Create, &request).header.err
    }

    /// A ping, and all events before its answer.
    pub fn ping(&mut self) -> Vec<(i32, String)> {
        self.send_as(xid::PING, OpCode::Ping.code(), &[]);
        let answer = self.answer().expect("the connection stays");
        assert_eq!(answer.header.xid, xid::PING);
        std::mem::take(&mut self.events)
    }

    /// Ends the session and waits for the server to close the connection.
    pub fn close(mut self) {
        self.send_as(7777, OpCode::CloseSession.code(), &[]);
        while let Some(answer) = self.answer() {
            if answer.header.xid == 7777 {
                assert_eq!(answer.header.err, ErrorCode::OK);
            }
        }
    }

    /// Whether the server closed the connection; reads and forgets what comes before.
    pub fn is_closed(&mut self) -> bool {
        while self.packet().is_some() {}
        true
    }

    /// Nothing more comes from here.
    pub fn finish_writing(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Everything until the server closes, as it is.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        rest
    }
}

/// A body from parts.
pub fn body(fill: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    fill(&mut out);
    out.freeze()
}
