//! The promise: whatever a client sends, or fails to send, harms nobody else. The culprit gets Kafka's
//! error or its connection closed, the broker's log says who it was, all others go on, and memory stays
//! bounded.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka::message::Codec;

use crate::support::program::text;
use crate::support::wire::{Wire, produce_request, set, wait_leaders};
use crate::support::{ours, wait_until};

const LIMIT: Duration = Duration::from_secs(30);
/// As long as silence is listened to.
const SILENCE: Duration = Duration::from_millis(300);

/// Our ZooKeeper and broker, and a client of good manners.
struct Case {
    _zookeeper: ours::Server,
    broker: ours::Server,
    bystander: Wire,
    appended: i64,
    _dir: tempfile::TempDir,
}

impl Case {
    fn start(more: &str) -> Case {
        let dir = tempfile::tempdir().unwrap();
        let zookeeper = ours::zookeeper(dir.path());
        let connect = format!("127.0.0.1:{}", zookeeper.port);
        let broker = ours::broker(dir.path(), &connect, more);
        wait_leaders(broker.port, "good", LIMIT);
        let bystander = Wire::connect(broker.port, LIMIT).unwrap();
        Case {
            _zookeeper: zookeeper,
            broker,
            bystander,
            appended: 0,
            _dir: dir,
        }
    }

    fn connect(&self) -> Wire {
        Wire::connect(self.broker.port, LIMIT).unwrap()
    }

    fn impatient(&self) -> Wire {
        Wire::connect(self.broker.port, SILENCE).unwrap()
    }

    /// The bystander's old connection still produces, in order.
    #[track_caller]
    fn others_go_on(&mut self) {
        let sent = self.bystander.produce("good", 0, set(Codec::None, &[b"x"]), 1);
        assert_eq!(sent, Ok((0, self.appended)));
        self.appended += 1;
    }

    #[track_caller]
    fn log_says(&self, parts: &[&str]) {
        let said = || {
            let log = self.broker.program.printed();
            log.lines().any(|line| parts.iter().all(|p| line.contains(p)))
        };
        wait_until(&format!("the log says {parts:?}"), LIMIT, said);
    }

    /// Resident memory of the broker in bytes.
    #[cfg(target_os = "linux")]
    fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.broker.program.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
        kilobytes * 1024
    }
}

fn header(key: i16, version: i16) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_i16(key);
    out.put_i16(version);
    out.put_i32(4711);
    out.put_i16(7);
    out.put_slice(b"culprit");
    out
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let size = i32::try_from(payload.len()).unwrap();
    [&size.to_be_bytes()[..], payload].concat()
}

/// Sends it and expects the connection closed without an answer.
#[track_caller]
fn closes(mut wire: Wire, bytes: &[u8], what: &str) {
    wire.send_raw(bytes).unwrap();
    let end = wire.read_frame();
    let closed = matches!(&end, Err(e) if e.contains("fill whole buffer") || e.contains("reset"));
    assert!(closed, "{what}: {end:?}");
}

/// Sends it and expects no answer, but one to the request after it.
#[track_caller]
fn is_silent(case: &Case, bytes: &[u8], what: &str) {
    let mut wire = case.impatient();
    wire.send_raw(bytes).unwrap();
    let answer = wire.read_frame();
    let silent = matches!(&answer, Err(e) if !e.contains("fill whole buffer") && !e.contains("reset"));
    assert!(silent, "{what}: {answer:?}");
    let mut wire = case.connect();
    wire.send_raw(bytes).unwrap();
    assert!(
        wire.metadata(&["good"]).is_ok(),
        "{what}: the next request is answered"
    );
}

#[test]
fn frames_that_cannot_be_read_are_met_as_in_0_9_and_hurt_nobody() {
    let mut case = Case::start("socket.request.max.bytes=1000000");
    for size in [1_000_001, i32::MAX, -1, i32::MIN] {
        closes(case.connect(), &size.to_be_bytes(), &format!("size {size}"));
        case.others_go_on();
    }
    case.log_says(&[
        "WARN",
        "127.0.0.1",
        "Invalid receive (size = 1000001 larger than 1000000)",
    ]);
    closes(case.connect(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP");
    closes(
        case.connect(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "TLS",
    );

    is_silent(&case, &frame(b""), "an empty frame");
    is_silent(&case, &frame(b"\0"), "one byte");
    for (key, version) in [
        (17, 0),
        (18, 0),
        (18, 3),
        (-1, 0),
        (99, 0),
        (10, 1),
        (13, -1),
        (8, 3),
        (6, 2),
    ] {
        is_silent(
            &case,
            &frame(&header(key, version)),
            &format!("key {key} version {version}"),
        );
    }
    case.log_says(&["WARN", "127.0.0.1", "api key 18"]);
    for key in 0..=9 {
        let version = i16::from(key == 7);
        let cut = [&header(key, version)[..], &[0; 3]].concat();
        is_silent(&case, &frame(&cut), &format!("a cut body of key {key}"));
        // Counts and lengths of two thousand millions and more.
        let huge = [&header(key, version)[..], &[0x7f; 16]].concat();
        // A StopReplica would be closed for its flag, and a ControlledShutdown has no length at all.
        if key != 5 && key != 7 {
            is_silent(&case, &frame(&huge), &format!("huge counts of key {key}"));
        }
        case.others_go_on();
    }
    for key in 10..=15 {
        closes(
            case.connect(),
            &frame(&header(key, 0)),
            &format!("a cut body of key {key}"),
        );
    }
    let mut neither = header(5, 0);
    neither.put_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    closes(
        case.connect(),
        &frame(&neither),
        "StopReplica that neither keeps nor deletes",
    );
    case.log_says(&["127.0.0.1", "StopReplica"]);

    // A client that goes in the middle of a frame.
    let mut half = case.connect();
    half.send_raw(&frame(&header(3, 0))[..9]).unwrap();
    drop(half);
    case.others_go_on();
}

fn one_message(set: &Bytes, change: impl FnOnce(&mut [u8])) -> Bytes {
    let mut bytes = set.to_vec();
    change(&mut bytes);
    bytes.into()
}

/// Gives the first message the checksum that fits.
fn right_crc(set: &mut [u8]) {
    let crc = crc32fast::hash(&set[16..]);
    set[12..16].copy_from_slice(&crc.to_be_bytes());
}

#[test]
fn message_sets_that_break_the_rules_get_kafkas_codes_and_the_log_stays_whole() {
    let mut case = Case::start("message.max.bytes=100000");
    let plain = set(Codec::None, &[b"value"]);
    let cases = [
        (2, "a wrong CRC", one_message(&plain, |b| b[12] ^= 1)),
        (
            2,
            "an entry shorter than a message",
            one_message(&plain, |b| b[11] = 3),
        ),
        (
            -1,
            "an unknown codec",
            one_message(&plain, |b| {
                b[17] = 5;
                right_crc(b);
            }),
        ),
        (
            -1,
            "a value that is no gzip",
            one_message(&plain, |b| {
                b[17] = 1;
                right_crc(b);
            }),
        ),
        (
            10,
            "a message that is too large",
            set(Codec::None, &[&vec![0; 100_000]]),
        ),
        (0, "half a message", plain.slice(..plain.len() - 1)),
        (0, "nothing", Bytes::new()),
    ];
    for (code, what, records) in cases {
        let mut wire = case.connect();
        let (error, base) = wire.produce("good", 0, records, 1).unwrap();
        assert_eq!((error, base), (code, -1), "{what}");
        case.others_go_on();
    }
    let negative_length = {
        let mut body = header(0, 0);
        body.put_slice(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 4]);
        body.put_slice(b"good");
        body.put_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
        body.put_i32(-2);
        frame(&body)
    };
    is_silent(&case, &negative_length, "a negative length of a set");

    // With acks 0 nothing but the closed connection can tell.
    let mut wire = case.connect();
    let wrong = one_message(&plain, |b| b[12] ^= 1);
    wire.send(&produce_request("good", 0, wrong, 0), 1).unwrap();
    assert!(wire.read_frame().is_err());
    case.log_says(&["Closing connection due to error during produce request with correlation id 1"]);

    // Null and empty keys and values are legal, and come back as they were.
    let mut builder = kafka::message::SetBuilder::new(Codec::None, 1000);
    type Pair = (Option<&'static [u8]>, Option<&'static [u8]>);
    let odd: [Pair; 4] = [
        (None, None),
        (Some(b""), None),
        (None, Some(b"")),
        (Some(b""), Some(b"")),
    ];
    for (key, value) in odd {
        assert!(builder.append(key, value));
    }
    let sent = case.bystander.produce("good", 0, builder.finish(), 1);
    assert_eq!(sent, Ok((0, case.appended)));
    let read = case.bystander.read_all("good", 0, case.appended).unwrap();
    let back: Vec<_> = read
        .iter()
        .map(|m| (m.key.as_deref(), m.value.as_deref()))
        .collect();
    assert_eq!(back, odd);

    // Topic names that Kafka refuses.
    for name in ["", ".", "..", "a/b", "a b", &"x".repeat(256)] {
        let answer = case.bystander.metadata(&[name]).unwrap();
        assert_eq!(answer.topics[0].error, 17, "{name:?}");
    }
    let mut wire = case.connect();
    assert_eq!(wire.produce("../../etc", 0, plain, 1), Ok((3, -1)));
}

#[test]
fn a_null_client_id_is_served() {
    let case = Case::start("");
    let mut wire = case.connect();
    for key_body in [
        (3i16, &[0u8, 0, 0, 0][..]),
        (1, &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let mut out = BytesMut::new();
        out.put_i16(key_body.0);
        out.put_i16(0);
        out.put_i32(1);
        out.put_i16(-1);
        out.put_slice(key_body.1);
        wire.send_raw(&frame(&out)).unwrap();
        assert_eq!(wire.read_frame().unwrap()[..4], 1i32.to_be_bytes());
    }
}

#[cfg(target_os = "linux")]
mod memory {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const MB: usize = 1 << 20;

    /// Lets this process hold some thousand sockets.
    fn raise_descriptor_limit() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised).unwrap();
    }

    #[test]
    fn forty_claims_of_100_mb_take_next_to_nothing() {
        let mut case = Case::start("");
        case.others_go_on();
        let before = case.resident();
        let mut claims: Vec<_> = (0..40)
            .map(|_| TcpStream::connect(("127.0.0.1", case.broker.port)).unwrap())
            .collect();
        for claim in &mut claims {
            claim
                .write_all(&[&100_000_000i32.to_be_bytes()[..], &[0; 100]].concat())
                .unwrap();
        }
        for _ in 0..50 {
            case.others_go_on();
        }
        let grown = case.resident().saturating_sub(before);
        assert!(grown < 20 * MB, "40 claims took {grown} bytes");
    }

    #[test]
    fn two_thousand_idle_connections_stay_small() {
        raise_descriptor_limit();
        let mut case = Case::start("");
        case.others_go_on();
        let before = case.resident();
        // Each has asked once, so each has had a buffer.
        let mut idle: Vec<_> = (0..2000).map(|_| case.connect()).collect();
        for wire in &mut idle {
            wire.metadata(&["good"]).unwrap();
        }
        wait_until("idle connections give their buffers back", LIMIT, || {
            case.resident().saturating_sub(before) < 40 * MB
        });
        case.others_go_on();
        assert!(idle.pop().unwrap().metadata(&["good"]).is_ok());
    }

    #[test]
    fn a_client_that_never_reads_costs_its_own_connection_only() {
        let mut case = Case::start("");
        let value = vec![7; 500_000];
        for _ in 0..8 {
            case.bystander
                .produce("good", 0, set(Codec::None, &[&value]), 1)
                .unwrap();
            case.appended += 1;
        }
        let before = case.resident();
        let mut deaf = case.connect();
        let wish = kafka::protocol::fetch::FetchPartition {
            partition: 0,
            fetch_offset: 0,
            max_bytes: 1 << 20,
        };
        let request = kafka::protocol::fetch::FetchRequest {
            replica_id: -1,
            max_wait_ms: 0,
            min_bytes: 1,
            topics: vec![kafka::protocol::fetch::FetchTopic {
                topic: "good".to_owned(),
                partitions: vec![wish],
            }],
        };
        for _ in 0..500 {
            deaf.send(&request, 1).unwrap();
        }
        for _ in 0..50 {
            case.others_go_on();
        }
        let grown = case.resident().saturating_sub(before);
        assert!(
            grown < 20 * MB,
            "answers of 500 MB that nobody takes hold {grown} bytes"
        );
    }

    #[test]
    fn a_decompression_bomb_is_refused_within_bounds() {
        let mut case = Case::start("");
        case.others_go_on();
        let before = case.resident();
        // 900 KB of gzip that stand for 900 MB.
        let zeros = vec![0; MB];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..900 {
            gzip.write_all(&zeros).unwrap();
        }
        let bomb = gzip.finish().unwrap();
        let mut message = BytesMut::new();
        message.put_i64(0);
        message.put_i32(i32::try_from(14 + bomb.len()).unwrap());
        message.put_i32(0);
        message.put_slice(&[0, 1]);
        message.put_i32(-1);
        message.put_i32(i32::try_from(bomb.len()).unwrap());
        message.put_slice(&bomb);
        right_crc(&mut message);
        let (error, base) = case.connect().produce("good", 0, message.freeze(), 1).unwrap();
        assert!(
            error != 0 && base == -1,
            "the bomb was taken with {error} at {base}"
        );
        case.others_go_on();
        let grown = case.resident().saturating_sub(before);
        assert!(grown < 150 * MB, "the bomb took {grown} bytes");
    }

    #[test]
    fn a_broker_out_of_descriptors_goes_on_when_some_are_free_again() {
        raise_descriptor_limit();
        let mut case = Case::start("");
        case.others_go_on();
        let pid = case.broker.program.id();
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let limit = format!("--nofile={}", open + 20);
        let mut prlimit = std::process::Command::new("prlimit");
        let done = prlimit.args(["--pid", &pid.to_string(), &limit]).output();
        let done = crate::need!(done);
        assert!(done.status.success(), "{}", text(&done.stderr));
        let address = ("127.0.0.1", case.broker.port);
        let crowd: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
        case.log_says(&["ERROR", "Error while accepting connection"]);
        case.others_go_on();
        drop(crowd);
        assert!(case.connect().metadata(&["good"]).is_ok());
        // The port is still the broker's.
        assert!(TcpListener::bind(address).is_err());
    }
}
