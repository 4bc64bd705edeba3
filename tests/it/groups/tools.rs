//! The tools of groups, line by line: `tests/golden/group-tools.txt` holds what the genuine ones printed on
//! such a cluster; see `cluster_tools` for how it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use kafka::message::Codec;
use kafka::protocol::groups::{GroupProtocol, JoinGroupRequest};

use super::client::{Client, LIMIT, simple_commit, wait_coordinator};
use crate::cluster_tools::{Told, compare, rewrites};
use crate::support::program::{Program, launcher, run, text};
use crate::support::wire::{Wire, set, wait_leaders};
use crate::support::{genuine, ours, reference, wait_until};

/// What a consumer is assigned: partitions of t.
fn share(partitions: &[i32]) -> String {
    let mut out = BytesMut::new();
    out.put_slice(b"\0\0\0\0\0\x01\0\x01t");
    out.put_i32(i32::try_from(partitions.len()).unwrap());
    partitions.iter().for_each(|p| out.put_i32(*p));
    out.put_i32(0);
    String::from_utf8(out.to_vec()).unwrap()
}

/// Keeps members alive until dropped.
struct Alive {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// Groups of this broker: `new` with one member that has both partitions of t, `joining` whose member has
/// not been given anything, `workers` of another kind.
fn live_groups(port: u16) -> Alive {
    let mut client = Client::connect(port);
    let me = client.join("new", "").member_id;
    assert_eq!(client.sync("new", &me, 1, &[(&me, &share(&[1, 0]))]).0, 0);
    let mut commit = simple_commit("new", "t", 0, 1);
    (commit.member_id, commit.generation_id) = (me.clone(), 1);
    assert_eq!(client.commit(2, &commit), [0]);
    let joining = client.join("joining", "").member_id;
    let worker = JoinGroupRequest {
        group_id: "workers".to_owned(),
        session_timeout_ms: 30_000,
        member_id: String::new(),
        protocol_type: "connect".to_owned(),
        protocols: vec![GroupProtocol {
            name: "default".to_owned(),
            metadata: bytes::Bytes::new(),
        }],
    };
    let worker = client.wire.call(&worker, 0).unwrap().member_id;
    assert_eq!(client.sync("workers", &worker, 1, &[]).0, 0);
    let stop = Arc::new(AtomicBool::new(false));
    let thread = std::thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(Ordering::SeqCst) {
                assert_eq!(client.heartbeat("new", &me, 1), 0);
                assert_eq!(client.heartbeat("workers", &worker, 1), 0);
                // The only sign of life that one without a share can give.
                assert_eq!(client.join("joining", &joining).error, 0);
                std::thread::sleep(Duration::from_millis(500));
            }
        }
    });
    Alive {
        stop,
        thread: Some(thread),
    }
}

/// The cluster of the golden files: topics t and u, group `moved` with offsets, group `idle`'s settings.
fn told(golden: &str, live: bool, differences: fn(&Told<'_>)) {
    if rewrites() {
        need!(reference());
    }
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let connect = format!("127.0.0.1:{}", zookeeper.port);
    let broker = ours::broker(
        dir.path(),
        &connect,
        "num.partitions=2\noffsets.topic.num.partitions=2",
    );
    let port = broker.port;
    let told = Told {
        dir: dir.path(),
        zookeeper: &connect,
        brokers: &format!("127.0.0.1:{port}"),
        genuine: rewrites(),
    };
    wait_leaders(port, "t", LIMIT);
    wait_leaders(port, "u", LIMIT);
    wait_coordinator(port, "new");
    let mut client = Client::connect(port);
    wait_until("all groups can be told", LIMIT, || {
        let known =
            ["new", "joining", "workers", "moved"].map(|g| client.describe(g).is_ok_and(|d| d.error == 0));
        known == [true; 4]
    });
    let mut wire = Wire::connect(port, LIMIT).unwrap();
    for (topic, partition, count) in [("t", 0, 3), ("t", 1, 5), ("u", 0, 1), ("u", 1, 0)] {
        for _ in 0..count {
            let produced = wire.produce(topic, partition, set(Codec::None, &[b"x"]), 1);
            assert_eq!(produced.unwrap().0, 0);
        }
    }
    assert_eq!(client.commit(2, &simple_commit("moved", "t", 0, 3)), [0]);
    assert_eq!(client.commit(2, &simple_commit("moved", "t", 1, 1)), [0]);
    let settings = format!("group.id=idle\nzookeeper.connect={connect}\n");
    std::fs::write(dir.path().join("consumer.properties"), settings).unwrap();
    let _alive = live.then(|| live_groups(port));
    compare(golden, &told);
    differences(&Told {
        genuine: false,
        ..told
    });
}

/// What the genuine tool does not tell (KAFKA-3853): the offsets of a group without members.
fn offsets_without_members(told: &Told<'_>) {
    let describe = "kafka-consumer-groups --new-consumer --bootstrap-server BROKERS --describe --group moved";
    let expected = "GROUP, TOPIC, PARTITION, CURRENT OFFSET, LOG END OFFSET, LAG, OWNER\n\
                    moved, t, 0, 3, 3, 0, none\n\
                    moved, t, 1, 1, 5, 4, none\n";
    assert_eq!(told.run(describe), (expected.to_owned(), 0));
    // An old group that owned nothing is told by its offsets.
    told.shell("create /consumers/mine null\ncreate /consumers/mine/offsets null\ncreate /consumers/mine/offsets/u null\ncreate /consumers/mine/offsets/u/0 1\n");
    let (out, code) = told.run("kafka-consumer-groups --zookeeper ZK --describe --group mine");
    assert!(out.contains("mine, u, 0, 1, 1, 0, none\n") && code == 0, "{out}");
}

#[test]
fn kafka_consumer_groups_prints_what_the_genuine_one_prints() {
    told("group-tools.txt", true, offsets_without_members);
}

/// What the genuine ones get wrong.
fn owners_and_files(told: &Told<'_>) {
    // There, no owner is ever a member of the group.
    told.shell("set /consumers/old/owners/t/0 old_h-1-0\ncreate /consumers/old/owners/t/1 old_h-1-0\n");
    let (out, code) = told.run("run kafka.tools.VerifyConsumerRebalance --zookeeper.connect ZK --group old");
    assert_eq!((out.as_str(), code), ("Rebalance operation successful !\n", 0));
    let (out, code) =
        told.run("run kafka.tools.VerifyConsumerRebalance --zookeeper.connect ZK --group nobody");
    assert_eq!((out.as_str(), code), ("Rebalance operation successful !\n", 0));
    // There, one group without offsets ends the export of all.
    told.shell("create /consumers/a:b null\n");
    let import = |lines: &str| {
        std::fs::write(told.dir.join("lines"), lines).unwrap();
        told.run("run kafka.tools.ImportZkOffsets --zkconnect ZK --input-file lines")
    };
    let export = || {
        let export = "run kafka.tools.ExportZkOffsets --zkconnect ZK --output-file exported";
        assert_eq!(told.run(export), (String::new(), 0));
        std::fs::read_to_string(told.dir.join("exported")).unwrap()
    };
    let before = export();
    assert!(before.contains("/consumers/old/offsets/t/0:2\n"), "{before}");
    let (out, code) = import("/consumers/old/offsets/t/0:1\n/consumers/old/offsets/t/1:x\n");
    assert!(out.contains("line 2 is not") && code == 1, "{out}");
    assert_eq!(export(), before);
    // There, a colon in a group's name goes wrong, and what follows an empty line is lost.
    assert_eq!(
        import("/consumers/a:b/offsets/t/0:1\n\n/consumers/old/offsets/t/0:1\n"),
        (String::new(), 0)
    );
    let after = export();
    assert!(after.contains("/consumers/a:b/offsets/t/0:1\n"), "{after}");
    assert!(after.contains("/consumers/old/offsets/t/0:1\n"), "{after}");
}

#[test]
fn tools_of_old_groups_offsets_print_what_the_genuine_ones_print() {
    told("offset-tools.txt", false, owners_and_files);
}

/// Standard output, and whether the tool says that it succeeded.
fn printed(mut command: std::process::Command, arguments: &[&str]) -> (String, bool) {
    command.args(arguments);
    let done = run(command, b"", LIMIT);
    (text(&done.stdout).replace('\r', ""), done.status.success())
}

/// With real members on a real broker: an old Java consumer, and a Java and a Rust consumer in one group.
#[test]
fn tools_of_groups_tell_of_a_genuine_broker_what_the_genuine_ones_tell() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let connect = format!("127.0.0.1:{}", zookeeper.port);
    let settings = "num.partitions=3\noffsets.topic.num.partitions=2";
    let broker = genuine::broker(dir.path(), &connect, settings);
    let brokers = format!("127.0.0.1:{}", broker.port);
    let leaders = wait_leaders(broker.port, "t", LIMIT);
    for partition in leaders.into_keys() {
        let mut wire = Wire::connect(broker.port, LIMIT).unwrap();
        let produced = wire.produce("t", partition, set(Codec::None, &[b"x", b"y"]), 1);
        assert_eq!(produced.unwrap().0, 0);
    }
    wait_coordinator(broker.port, "new");
    let config = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, format!("{text}\nauto.commit.interval.ms=200\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (old, new) = (config("old", "group.id=old"), config("new", "group.id=new"));
    let start = |mut command: std::process::Command, arguments: &[&str]| {
        command.args(arguments);
        Program::start(command)
    };
    let reads_t = ["--topic", "t", "--from-beginning", "--consumer.config"];
    let _members = [
        start(
            genuine::command(&["kafka-console-consumer", "--zookeeper", &connect]),
            &[&reads_t[..], &[&old]].concat(),
        ),
        start(
            genuine::command(&["kafka-verifiable-consumer", "--broker-list", &brokers]),
            &["--topic", "t", "--group-id", "new"],
        ),
        start(
            launcher("kafka-console-consumer"),
            &[
                &["--new-consumer", "--bootstrap-server", &brokers],
                &reads_t[..],
                &[&new],
            ]
            .concat(),
        ),
    ];
    let asked = [
        vec!["--zookeeper", &connect, "--list"],
        vec!["--zookeeper", &connect, "--describe", "--group", "old"],
        vec!["--new-consumer", "--bootstrap-server", &brokers, "--list"],
        vec![
            "--new-consumer",
            "--bootstrap-server",
            &brokers,
            "--describe",
            "--group",
            "new",
        ],
    ];
    let ours = |asked: &[&str]| printed(launcher("kafka-consumer-groups"), asked);
    for described in [&asked[1], &asked[3]] {
        wait_until("the group has read everything", LIMIT, || {
            let (out, _) = ours(described);
            let read = |l: &&str| l.contains(", 2, 2, 0, ") && !l.ends_with(", none");
            out.lines().filter(read).count() == 3
        });
    }
    wait_until("both members share", LIMIT, || {
        let mut client = Client::connect(broker.port);
        let group = client.describe("new");
        group.is_ok_and(|g| g.state == "Stable" && g.members.len() == 2)
    });
    let checker = ["--zookeeper", &connect, "--group", "old", "--broker-info"];
    let all = asked.iter().map(|a| ("kafka-consumer-groups", &a[..]));
    for (tool, asked) in all.chain([("kafka-consumer-offset-checker", &checker[..])]) {
        // A member that this machine holds up for long may be put out in between, and comes back.
        wait_until("both tell the same", LIMIT, || {
            let theirs = printed(genuine::command(&[tool]), asked);
            let ours = printed(launcher(tool), asked);
            if ours != theirs {
                eprintln!("{tool} {asked:?}\nours {ours:?}\ntheirs {theirs:?}");
            }
            ours == theirs
        });
    }
}
