//! What was acknowledged survives: restarts, a torn tail, a flipped byte, a missing snapshot. Sessions
//! and their ephemeral nodes live on when the server comes back in time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kafka::config::KeeperConfig;
use kafka::jute::{Acl, CreateRequest, ErrorCode, OpCode, PathRecord, Record, Stat, WatchableRequest};
use kafka::keeper::Error;

use super::differential::Dice;
use super::server::{Ours, quick};
use super::tree::{assert_same, dump};
use super::wire::Wire;
use crate::support::wait_until;

fn files(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir.join("version-2"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.file_name().unwrap().to_string_lossy().starts_with(prefix))
        .collect();
    found.sort_by_key(|p| {
        let name = p.extension().unwrap().to_string_lossy().into_owned();
        i64::from_str_radix(&name, 16).unwrap()
    });
    found
}

fn exists(wire: &mut Wire, path: &str) -> bool {
    let ask = WatchableRequest {
        path: path.to_owned(),
        watch: false,
    };
    wire.call(OpCode::Exists, &ask).header.err == ErrorCode::OK
}

/// The end of the last whole record of a log.
fn end_of_records(log: &[u8]) -> usize {
    let mut at = 16;
    loop {
        let len = u32::from_be_bytes(log[at + 8..at + 12].try_into().unwrap()) as usize;
        if len == 0 {
            return at;
        }
        at += 12 + len + 1;
    }
}

#[test]
fn a_session_and_its_ephemeral_nodes_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::with(quick(dir.path())).unwrap();
    let mut wire = Wire::connect(ours.port, 10_000);
    assert_eq!(wire.create("/e", b"", 1), ErrorCode::OK);
    let mut other = Wire::connect(ours.port, 300);
    assert_eq!(other.create("/late", b"", 1), ErrorCode::OK);
    ours.stop();

    let ours = Ours::with(quick(dir.path())).unwrap();
    assert!(Wire::reconnect(ours.port, wire.session, &[1; 16], 0).is_none());
    let mut wire = Wire::reconnect(ours.port, wire.session, &wire.password, 0).expect("in time");
    assert!(exists(&mut wire, "/e"));
    wait_until(
        "the session that does not come back ends",
        Duration::from_secs(10),
        || !exists(&mut wire, "/late"),
    );
    assert!(Wire::reconnect(ours.port, other.session, &other.password, 0).is_none());
    wire.close();
    let mut wire = Wire::connect(ours.port, 10_000);
    assert!(!exists(&mut wire, "/e"));
}

#[test]
fn a_session_moves_to_its_newest_connection() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::start(dir.path());
    let mut old = Wire::connect(ours.port, 10_000);
    // A wrong password must not harm the owner.
    assert!(Wire::reconnect(ours.port, old.session, &[9; 16], 0).is_none());
    old.ping();
    let mut new = Wire::reconnect(ours.port, old.session, &old.password, 0).expect("alive");
    assert!(old.is_closed());
    assert_eq!(new.create("/e", b"", 1), ErrorCode::OK);
}

#[test]
fn every_cut_of_the_last_log_leaves_all_whole_records() {
    let mut dice = Dice::new();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let ours = Ours::start(&data);
    let mut wire = Wire::connect(ours.port, 60_000);
    for i in 0..20 {
        assert_eq!(wire.create(&format!("/n{i}"), b"data", 0), ErrorCode::OK);
    }
    ours.stop();
    let log = files(&data, "log.").pop().unwrap();
    let whole = std::fs::read(&log).unwrap();
    let end = end_of_records(&whole);
    for _ in 0..15 {
        let cut = 16 + dice.below(end - 16);
        let torn = dir.path().join(format!("torn-{cut}"));
        std::fs::create_dir_all(torn.join("version-2")).unwrap();
        std::fs::copy(
            data.join("version-2/snapshot.0"),
            torn.join("version-2/snapshot.0"),
        )
        .unwrap();
        // Half of the time zeros follow, as they do in a file that was grown ahead.
        let mut bytes = whole[..cut].to_vec();
        if dice.below(2) == 0 {
            bytes.resize(cut + 5000, 0);
        }
        let kept = end_of_whole(&bytes);
        std::fs::write(torn.join("version-2").join(log.file_name().unwrap()), &bytes).unwrap();
        for _ in 0..2 {
            let ours = Ours::start(&torn);
            let mut wire = Wire::connect(ours.port, 60_000);
            for i in 0..20 {
                // The first record is the session's.
                assert_eq!(
                    exists(&mut wire, &format!("/n{i}")),
                    i + 1 < kept,
                    "cut {cut}, node {i}"
                );
            }
        }
    }
}

/// How many whole records there are.
fn end_of_whole(log: &[u8]) -> usize {
    let (mut at, mut count) = (16, 0);
    while at + 12 <= log.len() {
        let len = u32::from_be_bytes(log[at + 8..at + 12].try_into().unwrap()) as usize;
        if len == 0 || at + 13 + len > log.len() || log[at + 12 + len] != b'B' {
            break;
        }
        at += 13 + len;
        count += 1;
    }
    count
}

#[test]
fn a_flipped_byte_is_cut_off_at_the_end_and_stops_the_start_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::start(dir.path());
    let mut wire = Wire::connect(ours.port, 60_000);
    for path in ["/a", "/b"] {
        assert_eq!(wire.create(path, b"data", 0), ErrorCode::OK);
    }
    ours.stop();
    let log = files(dir.path(), "log.").pop().unwrap();
    let whole = std::fs::read(&log).unwrap();
    let end = end_of_records(&whole);
    let mut flipped = whole.clone();
    flipped[60] ^= 1;
    std::fs::write(&log, &flipped).unwrap();
    match Ours::with(KeeperConfig::new(dir.path())) {
        Err(Error::Corrupt { at, .. }) => assert_eq!(at, 16),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it started on a damaged log"),
    }
    let mut flipped = whole.clone();
    flipped[end - 5] ^= 1;
    std::fs::write(&log, &flipped).unwrap();
    let ours = Ours::start(dir.path());
    let mut wire = Wire::connect(ours.port, 60_000);
    assert!(exists(&mut wire, "/a"));
    assert!(!exists(&mut wire, "/b"));
}

#[test]
fn a_damaged_snapshot_gives_way_to_an_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let config = || KeeperConfig {
        snap_count: 20,
        ..KeeperConfig::new(dir.path())
    };
    let ours = Ours::with(config()).unwrap();
    let mut wire = Wire::connect(ours.port, 60_000);
    for i in 0..100 {
        wire.create(&format!("/n{i}"), b"data", 0);
    }
    wait_until("snapshots are taken", Duration::from_secs(10), || {
        files(dir.path(), "snapshot.").len() > 2
    });
    let expected = dump(&mut wire);
    ours.stop();
    let newest = files(dir.path(), "snapshot.").pop().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let ours = Ours::with(config()).unwrap();
    let mut wire = Wire::reconnect(ours.port, wire.session, &wire.password, 0).expect("alive");
    assert_same(&expected, &dump(&mut wire));
    ours.stop();

    for snapshot in files(dir.path(), "snapshot.") {
        std::fs::write(snapshot, b"nothing of use at all, /////").unwrap();
    }
    assert!(matches!(Ours::with(config()), Err(Error::NoValidSnapshot { .. })));
    for snapshot in files(dir.path(), "snapshot.") {
        std::fs::remove_file(snapshot).unwrap();
    }
    std::fs::remove_file(&files(dir.path(), "log.")[0]).unwrap();
    assert!(matches!(Ours::with(config()), Err(Error::LogsMissing { .. })));
}

#[test]
fn a_directory_serves_one_server_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::start(dir.path());
    let second = Ours::with(KeeperConfig::new(dir.path()));
    assert!(matches!(second, Err(Error::Locked { .. })));
    let taken = KeeperConfig {
        client_port: ours.port,
        ..KeeperConfig::new(dir.path().join("other"))
    };
    assert!(matches!(Ours::with(taken), Err(Error::Bind { .. })));
    ours.stop();
    Ours::start(dir.path()).stop();
}

#[test]
fn numbers_go_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..5 {
        let ours = Ours::start(dir.path());
        let mut wire = Wire::connect(ours.port, 60_000);
        wire.create("/p", b"", 0);
        assert_eq!(wire.create("/p/s-", b"", 2), ErrorCode::OK);
        let name = format!("/p/s-{round:010}");
        let ask = WatchableRequest {
            path: name,
            watch: false,
        };
        let stat: Stat = wire.get(OpCode::Exists, &ask);
        assert!(stat.czxid > last);
        last = stat.czxid;
        let _: PathRecord = wire.get(OpCode::Sync, &PathRecord { path: "/".into() });
    }
}

#[test]
fn a_log_that_cannot_be_written_ends_the_server_and_acknowledges_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::with(KeeperConfig {
        snap_count: 2,
        ..KeeperConfig::new(dir.path())
    })
    .unwrap();
    let mut wire = Wire::connect(ours.port, 60_000);
    std::fs::remove_dir_all(dir.path().join("version-2")).unwrap();
    let mut n = 0;
    // Soon the log wants a new file.
    loop {
        n += 1;
        let request = CreateRequest {
            path: format!("/n{n}"),
            acl: Acl::open(),
            ..CreateRequest::default()
        };
        wire.send(OpCode::Create, &request.to_bytes());
        let Some(answer) = wire.answer() else {
            break;
        };
        assert_eq!(answer.header.err, ErrorCode::OK);
        assert!(n < 10, "it goes on without a log");
    }
    assert!(ours.failure().contains("create"), "{}", ours.failure());
}
