//! One data directory, two servers: the genuine one opens what ours wrote and ours what the genuine one
//! wrote, each after the other was killed or stopped, with every node, stat, ACL and session.

use kafka::config::KeeperConfig;
use kafka::jute::{
    Acl, CreateRequest, DeleteRequest, MultiOp, OpCode, SetAclRequest, SetDataRequest, write_multi,
};

use super::server::{Genuine, Ours};
use super::tree::{assert_same, below, dump};
use super::wire::{Wire, body};
use crate::support::reference;

/// Something of every kind, some of it failing.
fn live(wire: &mut Wire, round: &str) {
    let top = format!("/{round}");
    wire.create(&top, b"top", 0);
    for i in 0..30 {
        wire.create(&format!("{top}/n{i}"), b"some data", 0);
        wire.create(&format!("{top}/s-"), b"", 2);
        wire.create(&format!("{top}/e{i}"), b"", 1);
        wire.create(&format!("{top}/n{i}"), b"again", 0);
    }
    for i in 0..10 {
        let path = format!("{top}/n{i}");
        wire.call(OpCode::Delete, &DeleteRequest { path, version: -1 });
    }
    wire.call(
        OpCode::SetData,
        &SetDataRequest {
            path: format!("{top}/n20"),
            data: None,
            version: 0,
        },
    );
    wire.call(
        OpCode::SetAcl,
        &SetAclRequest {
            path: format!("{top}/n21"),
            acl: vec![Acl::new(1, "world", "anyone"), Acl::new(31, "digest", "a:b")],
            version: -1,
        },
    );
    let node = |name: &str, flags| {
        MultiOp::Create(CreateRequest {
            path: format!("{top}/{name}"),
            data: None,
            acl: Acl::open(),
            flags,
        })
    };
    let gone = MultiOp::Delete(DeleteRequest {
        path: format!("{top}/gone"),
        version: -1,
    });
    for ops in [
        vec![node("m", 0), node("m/x-", 2), node("m/x-", 3)],
        vec![node("never", 0), gone],
    ] {
        let xid = wire.send(OpCode::Multi, &body(|out| write_multi(&ops, out)));
        assert_eq!(wire.answer().expect("an answer").header.xid, xid);
    }
}

fn frequent(dir: &std::path::Path) -> KeeperConfig {
    KeeperConfig {
        snap_count: 60,
        ..KeeperConfig::new(dir)
    }
}

fn hand_over(snapshots: bool) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let more = if snapshots { "snapCount=60" } else { "" };
    let config = || {
        if snapshots {
            frequent(&data)
        } else {
            KeeperConfig::new(&data)
        }
    };

    let ours = Ours::with(config()).unwrap();
    let mut first = Wire::connect(ours.port, 60_000);
    live(&mut first, "one");
    let written = dump(&mut first);
    ours.stop();

    let genuine = Genuine::start(dir.path(), &data, more);
    let mut first =
        Wire::reconnect(genuine.port, first.session, &first.password, 0).expect("the session lives on");
    assert_same(&written, &dump(&mut first));
    live(&mut first, "two");
    let mut second = Wire::connect(genuine.port, 60_000);
    live(&mut second, "three");
    // Ends with its ephemeral nodes.
    first.close();
    let written = dump(&mut second);
    genuine.kill();

    let ours = Ours::with(config()).unwrap();
    let mut second =
        Wire::reconnect(ours.port, second.session, &second.password, 0).expect("the session lives on");
    assert_same(&written, &dump(&mut second));
    live(&mut second, "four");
    let written = dump(&mut second);
    ours.stop();

    let genuine = Genuine::start(dir.path(), &data, more);
    let mut second =
        Wire::reconnect(genuine.port, second.session, &second.password, 0).expect("the session lives on");
    assert_same(&written, &dump(&mut second));
    genuine.kill();
    if snapshots {
        let version = data.join("version-2");
        let names = std::fs::read_dir(version)
            .unwrap()
            .map(|e| e.unwrap().file_name());
        let count = names
            .filter(|n| n.to_string_lossy().starts_with("snapshot."))
            .count();
        assert!(count > 2, "both servers took snapshots");
    }
}

#[test]
fn logs_pass_from_hand_to_hand() {
    need!(reference());
    hand_over(false);
}

#[test]
fn snapshots_pass_from_hand_to_hand() {
    need!(reference());
    hand_over(true);
}

#[test]
fn newer_servers_take_our_files_and_we_take_theirs() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let ours = Ours::start(&data);
    let mut first = Wire::connect(ours.port, 60_000);
    live(&mut first, "one");
    let written = below("/one", &dump(&mut first));
    ours.stop();

    let newer = Genuine::newer(dir.path(), &data, "");
    let mut first =
        Wire::reconnect(newer.port, first.session, &first.password, 0).expect("the session lives on");
    assert_same(&written, &below("/one", &dump(&mut first)));
    let mut second = Wire::connect(newer.port, 60_000);
    live(&mut second, "two");
    // Operations that 3.4 does not know, with records of their own in the log.
    let node = CreateRequest {
        path: "/two/newer".to_owned(),
        data: None,
        acl: Acl::open(),
        flags: 0,
    };
    assert_eq!(second.call(OpCode::Create2, &node).header.err.0, 0);
    let container = CreateRequest {
        path: "/two/container".to_owned(),
        flags: 4,
        ..node
    };
    assert_eq!(second.call(OpCode::CreateContainer, &container).header.err.0, 0);
    first.close();
    let all = dump(&mut second);
    newer.kill();

    let ours = Ours::start(&data);
    let mut second =
        Wire::reconnect(ours.port, second.session, &second.password, 0).expect("the session lives on");
    let found = dump(&mut second);
    for top in ["/one", "/two"] {
        assert_same(&below(top, &all), &below(top, &found));
    }
}
