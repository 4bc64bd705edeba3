//! Clients that mean no good, and the limits: the culprit is cut off, all others go on.

use bytes::{BufMut, Bytes, BytesMut};
use kafka::config::KeeperConfig;
use kafka::jute::{
    ChildrenResponse, ConnectRequest, ErrorCode, GetDataResponse, OpCode, PathRecord, Record,
    SetWatchesRequest, WatchableRequest, frame, xid,
};

use super::server::{Ours, quick};
use super::wire::Wire;
use crate::support::genuine::four_letters;

fn read(path: &str, watch: bool) -> WatchableRequest {
    WatchableRequest {
        path: path.to_owned(),
        watch,
    }
}

#[test]
fn garbage_costs_its_sender_the_connection_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::start(dir.path());
    let mut good = Wire::connect(ours.port, 30_000);
    let first_packets: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 0],
        &[0, 0, 0, 4, 1, 2, 3, 4],
        // A password longer than the packet.
        &[
            0, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0, 0,
            0,
        ],
    ];
    for bytes in first_packets {
        let mut bad = Wire::open(ours.port);
        bad.send_raw(bytes);
        assert!(bad.is_closed(), "{bytes:?}");
    }
    for bytes in [&[0x10, 0, 0, 0][..], &[0x80, 0, 0, 0], &[0, 0, 0, 3, 1, 2, 3]] {
        let mut bad = Wire::connect(ours.port, 30_000);
        bad.send_raw(bytes);
        assert!(bad.is_closed(), "{bytes:?}");
    }
    assert_eq!(good.create("/still", b"here", 0), ErrorCode::OK);
}

#[test]
fn an_unknown_operation_is_answered_and_ends_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::start(dir.path());
    let mut wire = Wire::connect(ours.port, 30_000);
    wire.send_as(5, 999, &[]);
    let answer = wire.answer().unwrap();
    assert_eq!(
        (answer.header.xid, answer.header.zxid, answer.header.err),
        (5, -1, ErrorCode::UNIMPLEMENTED)
    );
    assert!(wire.is_closed());
}

#[test]
fn a_null_password_asks_for_a_new_session_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::start(dir.path());
    let mut wire = Wire::open(ours.port);
    assert!(wire.handshake(&ConnectRequest {
        timeout_ms: 1,
        ..ConnectRequest::default()
    }));
    assert_eq!(wire.timeout_ms, 6000);
    assert_eq!(wire.password.len(), 16);
}

#[test]
fn a_top_level_check_answers_and_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::start(dir.path());
    let mut wire = Wire::connect(ours.port, 30_000);
    let check = |version| kafka::jute::CheckRequest {
        path: "/".to_owned(),
        version,
    };
    assert_eq!(wire.call(OpCode::Check, &check(0)).header.err, ErrorCode::OK);
    assert_eq!(
        wire.call(OpCode::Check, &check(5)).header.err,
        ErrorCode::BAD_VERSION
    );
    ours.stop();
    Ours::start(dir.path()).stop();
}

#[test]
fn connections_of_one_address_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let config = KeeperConfig {
        max_client_cnxns: 3,
        ..KeeperConfig::new(dir.path())
    };
    let ours = Ours::with(config).unwrap();
    let mut kept: Vec<Wire> = (0..3).map(|_| Wire::connect(ours.port, 30_000)).collect();
    assert!(Wire::open(ours.port).is_closed());
    kept.pop().unwrap().close();
    crate::support::wait_until("there is room again", super::wire::PATIENCE, || {
        four_letters(ours.port, "ruok") == "imok"
    });
}

#[test]
fn a_packet_longer_than_jute_maxbuffer_is_refused_unless_it_sets_watches() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::start(dir.path());
    let mut wire = Wire::connect(ours.port, 30_000);
    let watches = SetWatchesRequest {
        relative_zxid: 0,
        exist: (0..40_000)
            .map(|i| format!("/some/rather/long/path/of/a/topic/{i}"))
            .collect(),
        ..SetWatchesRequest::default()
    };
    let body = watches.to_bytes();
    assert!(body.len() > 1_048_575);
    wire.send_as(xid::SET_WATCHES, OpCode::SetWatches.code(), &body);
    assert_eq!(wire.answer().unwrap().header.xid, xid::SET_WATCHES);
    assert!(four_letters(ours.port, "wchs").contains("Total watches:40000"));
    wire.send(
        OpCode::Sync,
        &PathRecord {
            path: "/x".repeat(600_000),
        }
        .to_bytes(),
    );
    assert!(wire.is_closed());
}

#[test]
fn claims_and_silence_cost_no_memory_and_no_service() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::with(KeeperConfig {
        max_client_cnxns: 0,
        ..KeeperConfig::new(dir.path())
    })
    .unwrap();
    let mut silent = Vec::new();
    for i in 0..500 {
        let mut wire = Wire::open(ours.port);
        if i % 2 == 0 {
            wire.send_raw(&1_048_575i32.to_be_bytes());
        }
        silent.push(wire);
    }
    let mut good = Wire::connect(ours.port, 30_000);
    assert_eq!(good.create("/a", b"", 0), ErrorCode::OK);
}

#[test]
fn a_client_that_never_reads_does_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::start(dir.path());
    let mut good = Wire::connect(ours.port, 30_000);
    assert_eq!(good.create("/big", &[7; 900_000], 0), ErrorCode::OK);
    let mut lazy = Wire::connect(ours.port, 30_000);
    for _ in 0..300 {
        lazy.send(OpCode::GetData, &read("/big", true).to_bytes());
    }
    for _ in 0..20 {
        let got: GetDataResponse = good.get(OpCode::GetData, &read("/big", false));
        assert_eq!(got.data.unwrap().len(), 900_000);
    }
    // When it reads at last, all is there.
    for n in 1..=300 {
        assert_eq!(lazy.answer().unwrap().header.xid, n);
    }
}

#[test]
fn requests_behind_the_first_packet_wait_for_the_session() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::start(dir.path());
    let mut wire = Wire::open(ours.port);
    let connect = ConnectRequest {
        timeout_ms: 10_000,
        password: Some(Bytes::new()),
        read_only: Some(true),
        ..ConnectRequest::default()
    };
    let mut burst = BytesMut::new();
    burst.extend_from_slice(&frame(|out| connect.write(out)));
    burst.extend_from_slice(&frame(|out| {
        out.put_i32(-8);
        out.put_i32(OpCode::SetWatches.code());
        SetWatchesRequest::default().write(out);
    }));
    burst.extend_from_slice(&frame(|out| {
        out.put_i32(1);
        out.put_i32(OpCode::GetChildren.code());
        read("/", false).write(out);
    }));
    wire.send_raw(&burst);
    let first = wire.packet().unwrap();
    assert_eq!(first.len(), 37, "the read-only byte is answered");
    assert_eq!(wire.answer().unwrap().header.xid, -8);
    let answer = wire.answer().unwrap();
    let children = ChildrenResponse::parse(answer.body).unwrap().children;
    assert_eq!((answer.header.xid, children), (1, vec!["zookeeper".to_owned()]));
}

#[test]
fn a_session_without_packets_expires_and_one_that_pings_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::with(quick(dir.path())).unwrap();
    let mut lively = Wire::connect(ours.port, 5_000);
    let mut mute = Wire::connect(ours.port, 500);
    assert_eq!(mute.timeout_ms, 500);
    assert_eq!(mute.create("/e", b"", 1), ErrorCode::OK);
    let _: kafka::jute::Stat = lively.get(OpCode::Exists, &read("/e", true));
    let mut events = Vec::new();
    crate::support::wait_until("its node goes", super::wire::PATIENCE, || {
        events.extend(lively.ping());
        !events.is_empty()
    });
    assert_eq!(events, [(2, "/e".to_owned())]);
    assert!(mute.is_closed());
}

#[test]
fn words_are_answered_as_the_operator_allows() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::with(KeeperConfig {
        four_letter_words: Some(vec!["ruok".to_owned()]),
        ..KeeperConfig::new(dir.path())
    })
    .unwrap();
    assert_eq!(four_letters(ours.port, "ruok"), "imok");
    assert_eq!(
        four_letters(ours.port, "srvr"),
        "srvr is not executed because it is not in the whitelist.\n"
    );
}

#[test]
fn a_word_is_answered_though_the_client_has_no_more_to_say() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::start(dir.path());
    for word in [
        "conf", "cons", "crst", "dump", "envi", "gtmk", "ruok", "stmk", "srst", "srvr", "stat", "wchc",
        "wchp", "wchs", "mntr", "isro",
    ] {
        let mut wire = Wire::open(ours.port);
        wire.send_raw(word.as_bytes());
        wire.send_raw(b"\n");
        wire.finish_writing();
        assert!(!wire.rest().is_empty(), "{word}");
    }
    assert!(four_letters(ours.port, "srvr").contains("Node count: 4\n"));
    assert!(four_letters(ours.port, "mntr").contains("zk_approximate_data_size\t27\n"));
}
