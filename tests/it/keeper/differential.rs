//! The same requests to the genuine server and to ours: every reply and every event is the same, with
//! times and session numbers masked. The list of requests is random; its seed is printed, and
//! `KAFKA_TEST_SEED` repeats it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bytes::{BufMut, Bytes, BytesMut};
use kafka::jute::{
    Acl, AuthRequest, CheckRequest, Children2Response, ChildrenResponse, CreateRequest, DeleteRequest,
    ErrorCode, GetAclResponse, GetDataResponse, MultiOp, MultiResult, OpCode, PathRecord, Reader, Record,
    SetAclRequest, SetDataRequest, SetWatchesRequest, Stat, WatchableRequest, read_multi_results,
    write_multi, xid,
};

use super::server::{Genuine, Ours};
use super::tree::assert_same;
use super::wire::{Wire, body};
use crate::support::{genuine, reference};

const STEPS: usize = 3000;
const CONNECTIONS: usize = 3;

/// Java's own generator would do; this one is shorter.
pub struct Dice {
    state: u64,
    /// Only paths that are legal: later servers of 3.4 check them earlier.
    sane: bool,
}

impl Dice {
    /// From `KAFKA_TEST_SEED` or the clock; prints the seed.
    pub fn new() -> Dice {
        let seed = match std::env::var("KAFKA_TEST_SEED") {
            Ok(seed) => seed.parse().expect("KAFKA_TEST_SEED is a number"),
            Err(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(1, |d| d.as_nanos() as u64),
        };
        println!("KAFKA_TEST_SEED={seed}");
        Dice {
            state: seed | 1,
            sane: false,
        }
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as usize % n
    }

    /// One of these.
    pub fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Request(usize, OpCode, Bytes),
    /// Ends the session of the connection and begins another.
    Renew(usize),
    /// Breaks the connection, comes back and sets watches.
    Reconnect(usize, SetWatchesRequest),
}

fn path(dice: &mut Dice) -> String {
    let sane = [
        "/a",
        "/b",
        "/a/x",
        "/a/y",
        "/a/y/z",
        "/b/x",
        "/c",
        "/c/d",
        "/ä",
        "/",
        "/zookeeper",
        "/q",
        "/q/r",
        "/no/such",
    ];
    if dice.sane {
        return dice.of(&sane).to_owned();
    }
    let path = dice.of(&[
        "/a",
        "/a",
        "/a",
        "/b",
        "/b",
        "/c",
        "/a/x",
        "/a/x",
        "/a/y",
        "/a/y/z",
        "/a/y/z/w",
        "/b/x",
        "/c/d",
        "/c/d/e",
        "/a/",
        "/a//b",
        "",
        "a",
        "/",
        "/zookeeper",
        "/zookeeper/quota",
        "/no/such",
        "/a/./b",
        "/a/..",
        "/a\0b",
        "/ä",
        "/a/\u{1}",
        "/\u{ffff}",
        "/q",
        "/q/r",
        "/q/r/s",
    ]);
    path.to_owned()
}

fn data(dice: &mut Dice) -> Option<Bytes> {
    dice.of(&[
        None,
        Some(Bytes::new()),
        Some(Bytes::from_static(b"x")),
        Some(Bytes::from_static(b"some data that is longer")),
    ])
}

fn acl(dice: &mut Dice) -> Vec<Acl> {
    let entry = |perms, scheme, id| Acl::new(perms, scheme, id);
    let digest = "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=";
    match dice.below(24) {
        0 => vec![],
        1 => vec![entry(1, "world", "anyone")],
        2 => vec![entry(31, "digest", digest), entry(1, "world", "anyone")],
        3 => vec![entry(31, "auth", "")],
        4 => vec![
            entry(7, "auth", "any"),
            entry(31, "world", "anyone"),
            entry(7, "auth", "any"),
        ],
        5 => vec![entry(31, "world", "someone")],
        6 => vec![entry(31, "nobody", "x")],
        7 => vec![entry(31, "ip", "127.0.0.1")],
        8 => vec![entry(29, "ip", "10.0.0.1"), entry(1, "world", "anyone")],
        9 => vec![entry(31, "ip", "10.0.0")],
        10 => vec![entry(31, "digest", "nocolon")],
        _ => Acl::open(),
    }
}

fn version(dice: &mut Dice) -> i32 {
    dice.of(&[-1, -1, -1, 0, 0, 1, 2, 7])
}

fn create(dice: &mut Dice) -> CreateRequest {
    CreateRequest {
        path: path(dice),
        data: data(dice),
        acl: acl(dice),
        flags: dice.of(&[0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 9, -1]),
    }
}

fn delete(dice: &mut Dice) -> DeleteRequest {
    DeleteRequest {
        path: path(dice),
        version: version(dice),
    }
}

/// Not of the empty path: it ends the genuine server.
fn set_data(dice: &mut Dice) -> SetDataRequest {
    SetDataRequest {
        path: Some(path(dice))
            .filter(|p| !p.is_empty())
            .unwrap_or_else(|| "/a".to_owned()),
        data: data(dice),
        version: version(dice),
    }
}

fn multi(dice: &mut Dice) -> Vec<MultiOp> {
    (0..dice.below(5))
        .map(|_| match dice.below(8) {
            0..=3 => MultiOp::Create(create(dice)),
            4 => MultiOp::Delete(delete(dice)),
            5 | 6 => MultiOp::SetData(set_data(dice)),
            _ => MultiOp::Check(CheckRequest {
                path: path(dice),
                version: version(dice),
            }),
        })
        .collect()
}

fn paths(dice: &mut Dice) -> Vec<String> {
    (0..dice.below(3)).map(|_| path(dice)).collect()
}

fn step(dice: &mut Dice, multis: bool) -> Step {
    let conn = dice.below(CONNECTIONS);
    let watchable = |dice: &mut Dice| WatchableRequest {
        path: path(dice),
        watch: dice.below(3) == 0,
    };
    let (op, body) = match dice.below(100) {
        0..=29 => (OpCode::Create, create(dice).to_bytes()),
        30..=41 => (OpCode::Delete, delete(dice).to_bytes()),
        42..=53 => (OpCode::SetData, set_data(dice).to_bytes()),
        54..=58 => (
            OpCode::SetAcl,
            SetAclRequest {
                path: path(dice),
                acl: acl(dice),
                version: version(dice),
            }
            .to_bytes(),
        ),
        59..=65 => (OpCode::Exists, watchable(dice).to_bytes()),
        66..=71 => (OpCode::GetData, watchable(dice).to_bytes()),
        72..=75 => (OpCode::GetChildren, watchable(dice).to_bytes()),
        76..=79 => (OpCode::GetChildren2, watchable(dice).to_bytes()),
        80..=82 if !multis => (OpCode::GetAcl, PathRecord { path: path(dice) }.to_bytes()),
        84..=91 if multis => (OpCode::Multi, body(|out| write_multi(&multi(dice), out))),
        80..=91 => (OpCode::Sync, PathRecord { path: path(dice) }.to_bytes()),
        92 => (
            OpCode::Auth,
            AuthRequest {
                kind: 0,
                scheme: dice.of(&["digest", "digest", "ip"]).to_owned(),
                auth: Some(Bytes::from_static(dice.of(&[b"u:p", b"v:p"]))),
            }
            .to_bytes(),
        ),
        // A null ACL, and bodies that end early.
        93 => (
            OpCode::Create,
            body(|out| {
                dice.of(&["/a", "/n", "/no/such"]).to_owned().write(out);
                data(dice).write(out);
                out.put_i32(-1);
                out.put_i32(0);
            }),
        ),
        94 => (OpCode::SetData, Bytes::from_static(&[0, 0, 0, 9, b'/'])),
        95 => (OpCode::GetData, Bytes::from_static(&[0, 0])),
        96 => (
            OpCode::Multi,
            Bytes::from_static(&[0, 0, 0, 3, 0, 255, 255, 255, 255]),
        ),
        97 => return Step::Renew(conn),
        _ => {
            return Step::Reconnect(
                conn,
                SetWatchesRequest {
                    relative_zxid: 0,
                    data: paths(dice),
                    exist: paths(dice),
                    child: paths(dice),
                },
            );
        }
    };
    Step::Request(conn, op, body)
}

/// One server with the connections of the test.
struct Side {
    name: &'static str,
    port: u16,
    wires: Vec<Wire>,
    last_zxid: i64,
    /// Sessions in order of appearance, to compare owners.
    sessions: HashMap<i64, i64>,
}

impl Side {
    fn new(name: &'static str, port: u16) -> Side {
        let mut side = Side {
            name,
            port,
            wires: Vec::new(),
            last_zxid: 0,
            sessions: HashMap::new(),
        };
        for _ in 0..CONNECTIONS {
            let wire = side.begin();
            side.wires.push(wire);
        }
        side
    }

    fn begin(&mut self) -> Wire {
        let wire = Wire::connect(self.port, 60_000);
        let n = self.sessions.len() as i64 + 1;
        self.sessions.insert(wire.session, n);
        wire
    }

    /// Does a step and tells all that was seen of it.
    fn take(&mut self, step: &Step) -> String {
        let mut seen = match step {
            Step::Request(conn, op, body) => self.request(*conn, *op, body),
            Step::Renew(conn) => {
                let next = self.begin();
                std::mem::replace(&mut self.wires[*conn], next).close();
                String::new()
            }
            Step::Reconnect(conn, watches) => {
                let old = &self.wires[*conn];
                let again = Wire::reconnect(self.port, old.session, &old.password, 0);
                self.wires[*conn] = again.expect("the session lives");
                let watches = SetWatchesRequest {
                    relative_zxid: self.last_zxid - 20,
                    ..watches.clone()
                };
                let wire = &mut self.wires[*conn];
                wire.send_as(xid::SET_WATCHES, OpCode::SetWatches.code(), &watches.to_bytes());
                format!("{:?}", wire.answer())
            }
        };
        for (i, wire) in self.wires.iter_mut().enumerate() {
            let mut events = wire.ping();
            events.sort();
            seen += &format!(" {i}:{events:?}");
        }
        seen
    }

    fn request(&mut self, conn: usize, op: OpCode, body: &[u8]) -> String {
        let wire = &mut self.wires[conn];
        let sent = wire.send(op, body);
        let answer = wire.answer();
        let answer =
            answer.unwrap_or_else(|| panic!("the {} server closed after {op:?} {body:?}", self.name));
        assert_eq!(answer.header.xid, sent);
        let header = answer.header.clone();
        self.last_zxid = self.last_zxid.max(header.zxid);
        let body = if header.err == ErrorCode::OK {
            self.shown(op, answer.body)
        } else {
            format!("{:?}", answer.body)
        };
        format!("{header:?} {body}")
    }

    /// Every node, masked. The last servers of 3.4 show ACLs only in part.
    fn state(&mut self, acls: bool) -> BTreeMap<String, String> {
        let mut wire = Wire::connect(self.port, 60_000);
        let mut found = BTreeMap::new();
        let mut open = vec!["/".to_owned()];
        while let Some(path) = open.pop() {
            let ask = WatchableRequest {
                path: path.clone(),
                watch: false,
            };
            let children = wire.call(OpCode::GetChildren, &ask);
            if children.header.err == ErrorCode::OK {
                let children = ChildrenResponse::parse(children.body).expect("children");
                let above = path.trim_end_matches('/');
                open.extend(children.children.iter().map(|child| format!("{above}/{child}")));
            }
            let seen = if acls {
                let acl = wire.call(OpCode::GetAcl, &PathRecord { path: path.clone() });
                self.shown(OpCode::GetAcl, acl.body)
            } else {
                let stat = wire.call(OpCode::Exists, &ask);
                self.shown(OpCode::Exists, stat.body)
            };
            found.insert(path, seen);
        }
        wire.close();
        found
    }

    /// A body as text, masked.
    fn shown(&self, op: OpCode, bytes: Bytes) -> String {
        let whole = bytes.clone();
        let r = &mut Reader::new(bytes);
        let text = match op {
            OpCode::Exists | OpCode::SetData | OpCode::SetAcl => {
                format!("{:?}", self.masked(Stat::read(r).expect("a stat")))
            }
            OpCode::GetData => {
                let got = GetDataResponse::read(r).expect("data");
                format!("{:?} {:?}", got.data, self.masked(got.stat))
            }
            OpCode::GetAcl => {
                let got = GetAclResponse::read(r).expect("an ACL");
                format!("{:?} {:?}", got.acl, self.masked(got.stat))
            }
            OpCode::GetChildren => {
                let mut got = ChildrenResponse::read(r).expect("children");
                got.children.sort();
                format!("{got:?}")
            }
            OpCode::GetChildren2 => {
                let mut got = Children2Response::read(r).expect("children");
                got.children.sort();
                format!("{:?} {:?}", got.children, self.masked(got.stat))
            }
            OpCode::Multi => {
                let mut got = read_multi_results(r).expect("results");
                for result in &mut got {
                    if let MultiResult::SetData(stat) = result {
                        *stat = self.masked(*stat);
                    }
                }
                format!("{got:?}")
            }
            _ => return format!("{whole:?}"),
        };
        assert_eq!(r.remaining(), 0, "nothing follows the body of {op:?}");
        text
    }

    fn masked(&self, stat: Stat) -> Stat {
        assert!(stat.mtime >= stat.ctime);
        Stat {
            ctime: i64::from(stat.ctime != 0),
            mtime: i64::from(stat.mtime != 0),
            ephemeral_owner: match stat.ephemeral_owner {
                0 => 0,
                owner => self.sessions[&owner],
            },
            ..stat
        }
    }
}

#[test]
fn every_reply_and_event_is_the_genuine_servers() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    compare(
        dir.path(),
        Genuine::start(dir.path(), &dir.path().join("genuine"), "forceSync=no"),
        false,
    );
}

/// After a multi that failed, 3.4.6 judges later writes by what the nodes were then (ZOOKEEPER-2052), so
/// that the last of 3.4 stands in for it.
#[test]
fn every_reply_to_a_multi_is_the_genuine_servers() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    let more = "forceSync=no\n4lw.commands.whitelist=*";
    compare(
        dir.path(),
        Genuine::last_of_3_4(dir.path(), &dir.path().join("genuine"), more),
        true,
    );
}

fn compare(dir: &Path, genuine_server: Genuine, multis: bool) {
    let mut dice = Dice::new();
    dice.sane = multis;
    let our_server = Ours::start(&dir.join("ours"));
    let mut genuine_side = Side::new("genuine", genuine_server.port);
    let mut our_side = Side::new("our", our_server.port);
    let mut before = Vec::new();
    for n in 0..STEPS {
        let step = step(&mut dice, multis);
        let (expected, got) = (genuine_side.take(&step), our_side.take(&step));
        before.push(format!("{step:?}"));
        if expected != got || n + 1 == STEPS {
            assert_same(&genuine_side.state(!multis), &our_side.state(!multis));
        }
        assert_eq!(
            expected,
            got,
            "step {n}, the last ones being\n{}",
            before[n.saturating_sub(8)..].join("\n")
        );
    }
    same_words(genuine_server.port, our_server.port);
}

/// What the four-letter words say of the state, not of the process.
#[track_caller]
fn same_words(genuine_port: u16, our_port: u16) {
    // How many connections watch is another matter: 3.4 counts those that ever did.
    const STATE: [&str; 9] = [
        "Total watches:",
        "Zxid:",
        "Mode:",
        "Node count:",
        "Connections:",
        "zk_znode_count",
        "zk_watch_count",
        "zk_ephemerals_count",
        "zk_approximate_data_size",
    ];
    for word in ["srvr", "mntr", "wchs", "ruok", "isro"] {
        let told = |port| -> Vec<String> {
            genuine::four_letters(port, word)
                .lines()
                .filter(|line| !line.contains(['\t', ' ']) || STATE.iter().any(|s| line.starts_with(s)))
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(told(genuine_port), told(our_port), "{word}");
    }
}

#[test]
fn the_first_packets_of_strangers_are_met_as_by_the_genuine_server() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    let genuine_server = Genuine::start(dir.path(), &dir.path().join("genuine"), "");
    let our_server = Ours::start(&dir.path().join("ours"));
    let told = |port: u16, bytes: &[u8]| -> Vec<u8> {
        let mut wire = Wire::open(port);
        wire.send_raw(bytes);
        wire.rest()
    };
    let mut connect = BytesMut::new();
    connect.put_i32(44);
    connect.put_i32(0);
    connect.put_i64(1 << 40);
    connect.put_i32(10_000);
    connect.put_i64(0);
    connect.put_i32(16);
    connect.put_bytes(0, 16);
    let mut unknown = BytesMut::from(&connect[..4]);
    unknown.put_i32(0);
    unknown.put_i64(0);
    unknown.put_i32(10_000);
    unknown.put_i64(12_345);
    unknown.put_i32(16);
    unknown.put_bytes(7, 16);
    let cases: [&[u8]; 6] = [
        b"ruok",
        b"kill",
        &[0xff, 0xff, 0xff, 0xff],
        &[0x10, 0, 0, 0, 0],
        // Has seen the future; has a session that nobody knows.
        &connect,
        &unknown,
    ];
    for case in cases {
        assert_eq!(
            told(genuine_server.port, case),
            told(our_server.port, case),
            "{case:?}"
        );
    }
}
