//! What the coordinator answers on the wire, what it keeps over kill -9, and what it forgets in time.

use kafka::coordinator::schema::{GroupRecord, Key};
use kafka::protocol::offset_commit::OffsetCommitPartition;

use super::client::{Client, LIMIT, simple_commit, wait_coordinator};
use crate::support::ours::{self, Pair};
use crate::support::wire::{Wire, wait_leaders};
use crate::support::{free_port, wait_until};

struct Case {
    dir: tempfile::TempDir,
    zookeeper: ours::Server,
    broker: ours::Server,
}

impl Case {
    /// One broker with a topic `t`.
    fn start(more: &str) -> Case {
        let dir = tempfile::tempdir().unwrap();
        // The session of a broker that was killed ends soon.
        let zookeeper = ours::zookeeper_with(dir.path(), free_port(), ours::SHORT_SESSIONS);
        let more = format!(
            "num.partitions=2\noffsets.topic.num.partitions=3\nzookeeper.session.timeout.ms=2000\n{more}"
        );
        let broker = ours::broker(dir.path(), &format!("127.0.0.1:{}", zookeeper.port), &more);
        wait_leaders(broker.port, "t", LIMIT);
        Case {
            dir,
            zookeeper,
            broker,
        }
    }

    fn connect(&self) -> String {
        format!("127.0.0.1:{}", self.zookeeper.port)
    }

    fn client(&self) -> Client {
        Client::connect(self.broker.port)
    }
}

#[test]
fn every_request_is_answered_with_kafkas_codes() {
    let mut case = Case::start("group.min.session.timeout.ms=1000");
    let mut c = case.client();
    // The first question makes the topic, which then needs a moment for its leaders.
    assert_eq!(c.coordinator("g").unwrap(), (15, -1, -1));
    assert_eq!(wait_coordinator(case.broker.port, "g"), (0, case.broker.port));
    case.broker.program.wait_line(
        "Auto creation of topic __consumer_offsets with 3 partitions and replication factor 1",
        LIMIT,
    );
    wait_until("the partition is loaded", LIMIT, || {
        c.describe("g").is_ok_and(|d| d.error == 0)
    });

    let refused = |c: &mut Client, group: &str, member: &str, timeout: i32, protocols: &[(&str, &str)]| {
        c.send_join(group, member, timeout, protocols);
        let a = c.joined();
        assert_eq!(
            (a.generation_id, a.leader_id.as_str(), a.member_id.as_str()),
            (0, "", member)
        );
        assert!(a.protocol.is_empty() && a.members.is_empty());
        a.error
    };
    let range = [("range", "x")];
    assert_eq!(refused(&mut c, "", "", 30_000, &range), 24);
    assert_eq!(refused(&mut c, "g", "", 999, &range), 26);
    assert_eq!(refused(&mut c, "g", "", 30_001, &range), 26);
    assert_eq!(refused(&mut c, "g", "nobody", 30_000, &range), 25);
    assert_eq!(refused(&mut c, "g", "", 30_000, &[]), 23);
    assert_eq!(c.list(), (0, vec![]));
    let nobody = c.describe("g").unwrap();
    assert_eq!((nobody.error, nobody.state.as_str()), (0, "Dead"));
    assert_eq!(
        (
            c.heartbeat("g", "m", 1),
            c.leave("g", "m"),
            c.sync("g", "m", 1, &[]).0
        ),
        (25, 25, 25)
    );

    let a = c.join("g", "");
    let me = a.member_id.clone();
    assert_eq!((a.error, a.generation_id, a.protocol.as_str()), (0, 1, "range"));
    assert_eq!((&a.leader_id, a.members.len()), (&me, 1));
    assert!(me.starts_with("test-") && me.len() == "test-".len() + 36, "{me}");
    assert_eq!(refused(&mut c, "g", "", 30_000, &[("roundrobin", "x")]), 23);
    assert_eq!(c.heartbeat("g", &me, 1), 27);
    assert_eq!(c.commit(2, &simple_commit("g", "t", 0, 1)), [27]);
    assert_eq!(c.sync("g", &me, 2, &[]).0, 22);
    assert_eq!(c.sync("g", &me, 1, &[(&me, "all")]), (0, "all".to_owned()));
    assert_eq!(
        (
            c.heartbeat("g", &me, 1),
            c.heartbeat("g", &me, 2),
            c.heartbeat("g", "m", 1)
        ),
        (0, 22, 25)
    );
    assert_eq!(c.list(), (0, vec![("g".to_owned(), "consumer".to_owned())]));
    let d = c.describe("g").unwrap();
    let m = &d.members[0];
    assert_eq!(
        (d.state.as_str(), d.protocol_type.as_str(), d.protocol.as_str()),
        ("Stable", "consumer", "range")
    );
    assert_eq!(
        (m.client_id.as_str(), m.client_host.as_str()),
        ("test", "/127.0.0.1")
    );
    assert_eq!(
        (m.metadata.as_ref(), m.assignment.as_ref()),
        (&b"x"[..], &b"all"[..])
    );

    // Somebody else joins: the first is told, and both get the next generation.
    let mut other = case.client();
    other.send_join("g", "", 30_000, &range);
    wait_until("the first hears of it", LIMIT, || c.heartbeat("g", &me, 1) == 27);
    let a = c.join("g", &me);
    let b = other.joined();
    assert_eq!((a.generation_id, b.generation_id), (2, 2));
    assert_eq!((a.members.len(), b.members.len()), (2, 0));
    assert_eq!(b.leader_id, me);
    // A second join of the same member, on another connection: the first one is closed.
    let mut again = case.client();
    c.send_join("g", &me, 30_000, &[("range", "changed")]);
    wait_until("it is noted", LIMIT, || {
        c_state(&mut again) == "PreparingRebalance"
    });
    let mut third = case.client();
    third.send_join("g", &me, 30_000, &[("range", "changed")]);
    assert!(c.wire.read_frame().is_err(), "the join that was overtaken");
    let rejoined = other.join("g", &b.member_id);
    assert_eq!((rejoined.error, third.joined().error), (0, 0));
    assert_eq!(third.leave("g", &me), 0);
    assert_eq!(other.leave("g", &b.member_id), 0);
    assert_eq!(other.list(), (0, vec![]));
    case.broker.program.wait_line("is out of group g: it left", LIMIT);
}

fn c_state(c: &mut Client) -> String {
    c.describe("g").unwrap().state
}

#[test]
fn offsets_go_where_their_version_says() {
    let case = Case::start("offset.metadata.max.bytes=10");
    let port = case.broker.port;
    wait_coordinator(port, "g");
    let mut c = case.client();
    wait_until("the partition is loaded", LIMIT, || {
        c.describe("g").is_ok_and(|d| d.error == 0)
    });
    // Never stored.
    assert_eq!(c.fetch(0, "g", "t", 0), (-1, String::new(), 3));
    assert_eq!(c.fetch(1, "g", "t", 0), (-1, String::new(), 0));
    assert_eq!(c.fetch(0, "g", "nowhere", 0).2, 3);
    assert_eq!(c.fetch(1, "g", "nowhere", 0).2, 0);
    // Version 0 goes to ZooKeeper, the others to the group's partition; neither sees the other's.
    assert_eq!(c.commit(0, &simple_commit("g", "t", 0, 10)), [0]);
    assert_eq!(c.fetch(0, "g", "t", 0), (10, String::new(), 0));
    assert_eq!(c.fetch(1, "g", "t", 0).0, -1);
    assert_eq!(c.commit(1, &simple_commit("g", "t", 0, 11)), [0]);
    assert_eq!(c.commit(2, &simple_commit("g", "t", 1, 12)), [0]);
    assert_eq!(c.fetch(1, "g", "t", 0), (11, "at 11".to_owned(), 0));
    assert_eq!(c.fetch(1, "g", "t", 1), (12, "at 12".to_owned(), 0));
    assert_eq!(c.fetch(0, "g", "t", 0).0, 10);
    assert_eq!(
        c.fetch_all("g"),
        [("t".to_owned(), 0, 11), ("t".to_owned(), 1, 12)]
    );
    assert_eq!(c.fetch_all("other"), []);
    // A topic that nobody knows; metadata that is too long; null metadata. The rest is stored.
    for version in [0, 1, 2] {
        let mut commit = simple_commit("g", "nowhere", 0, 1);
        assert_eq!(c.commit(version, &commit), [3], "version {version}");
        commit.topics[0].topic = "t".to_owned();
        let at = |partition, metadata: Option<&str>| OffsetCommitPartition {
            partition,
            offset: 20 + i64::from(version),
            timestamp: -1,
            metadata: metadata.map(str::to_owned),
        };
        commit.topics[0].partitions =
            vec![at(0, Some("ten bytes!!")), at(1, None), at(2, Some("éééééééééé"))];
        assert_eq!(c.commit(version, &commit), [12, 0, 0], "version {version}");
        let stored = c.fetch(version.min(1), "g", "t", 1);
        assert_eq!(stored, (20 + i64::from(version), String::new(), 0));
    }
    // A generation without a group; a group in which the committer is nobody.
    let mut commit = simple_commit("g", "t", 0, 30);
    commit.generation_id = 1;
    assert_eq!(c.commit(2, &commit), [22]);
    let me = c.join("g", "").member_id;
    assert_eq!(c.sync("g", &me, 1, &[]).0, 0);
    assert_eq!(c.commit(2, &commit), [25]);
    assert_eq!(c.commit(2, &simple_commit("g", "t", 0, 30)), [25]);
    commit.member_id = me;
    assert_eq!(c.commit(2, &commit), [0]);
    commit.generation_id = 2;
    assert_eq!(c.commit(2, &commit), [22]);
    assert_eq!(c.fetch(1, "g", "t", 0).0, 30);
}

#[test]
fn groups_and_offsets_survive_kill_9() {
    let mut case = Case::start("");
    let port = case.broker.port;
    wait_coordinator(port, "g");
    let mut c = case.client();
    wait_until("the partition is loaded", LIMIT, || {
        c.describe("g").is_ok_and(|d| d.error == 0)
    });
    let me = c.join("g", "").member_id;
    assert_eq!(c.sync("g", &me, 1, &[(&me, "mine")]).0, 0);
    for n in 0..100 {
        let mut commit = simple_commit("g", "t", n % 2, i64::from(n));
        (commit.member_id, commit.generation_id) = (me.clone(), 1);
        assert_eq!(c.commit(2, &commit), [0]);
    }
    // A group of which nothing but its end is to be remembered.
    let gone = c.join("gone", "").member_id;
    assert_eq!(c.sync("gone", &gone, 1, &[]).0, 0);
    assert_eq!(c.leave("gone", &gone), 0);
    case.broker.program.kill();
    case.broker = ours::broker_on(
        case.dir.path(),
        &case.connect(),
        port,
        // The number of partitions is the topic's, whatever is configured now.
        "offsets.topic.num.partitions=7",
    );
    wait_coordinator(port, "g");
    let mut c = case.client();
    wait_until("the group goes on where it was", LIMIT, || {
        c.heartbeat("g", &me, 1) == 0 && c.describe("g").is_ok_and(|d| d.state == "Stable")
    });
    assert_eq!(c.sync("g", &me, 1, &[]), (0, "mine".to_owned()));
    assert_eq!(
        c.fetch_all("g"),
        [("t".to_owned(), 0, 98), ("t".to_owned(), 1, 99)]
    );
    wait_until("all partitions are loaded", LIMIT, || c.list().0 == 0);
    assert_eq!(c.list().1, [("g".to_owned(), "consumer".to_owned())]);
}

#[test]
fn silent_members_and_old_offsets_go_and_the_log_says_so() {
    let mut case = Case::start(
        "group.min.session.timeout.ms=100\noffsets.retention.minutes=1\noffsets.retention.check.interval.ms=200",
    );
    let port = case.broker.port;
    wait_coordinator(port, "g");
    let mut c = case.client();
    wait_until("the partition is loaded", LIMIT, || {
        c.describe("g").is_ok_and(|d| d.error == 0)
    });
    c.send_join("g", "", 3000, &[("range", "x")]);
    let me = c.joined().member_id;
    assert_eq!(c.sync("g", &me, 1, &[(&me, "mine")]).0, 0);
    let line = case
        .broker
        .program
        .wait_line("no heartbeat within its session timeout of 3000 ms", LIMIT);
    for part in [me.as_str(), "client id test", "host /127.0.0.1", "group g"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    wait_until("the group is dead", LIMIT, || c.list().1.is_empty());

    // Version 1 counts from the time that it brings, version 2 from now for as long as it says.
    assert_eq!(c.commit(1, &simple_commit("g", "t", 0, 1)), [0]);
    let mut old = simple_commit("old", "t", 0, 2);
    old.topics[0].partitions[0].timestamp = 1_000_000;
    assert_eq!(c.commit(1, &old), [0]);
    let mut soon = simple_commit("soon", "t", 0, 3);
    soon.retention_time_ms = 400;
    assert_eq!(c.commit(2, &soon), [0]);
    let mut later = simple_commit("later", "t", 0, 4);
    later.retention_time_ms = 3_600_000;
    assert_eq!(c.commit(2, &later), [0]);
    let expired = |c: &mut Client, group: &str| c.fetch(1, group, "t", 0) == (-1, String::new(), 0);
    wait_until("two have expired", LIMIT, || {
        expired(&mut c, "old") && expired(&mut c, "soon")
    });
    assert_eq!((c.fetch(1, "g", "t", 0).0, c.fetch(1, "later", "t", 0).0), (1, 4));
    let warning = case
        .broker
        .program
        .wait_line("offsets of group soon, which has no members, will expire", LIMIT);
    assert!(warning.contains("WARN"), "{warning}");
    assert!(!case.broker.program.printed().contains("offsets of group later"));

    // Each has its tombstone, and so has the group.
    let mut keys = Vec::new();
    let mut wire = Wire::connect(port, LIMIT).unwrap();
    for partition in 0..3 {
        for m in wire.read_all("__consumer_offsets", partition, 0).unwrap() {
            let key = Key::decode(m.key.unwrap()).unwrap();
            if let (Key::Group(_), Some(value)) = (&key, &m.value) {
                assert_eq!(GroupRecord::decode(value.clone()).unwrap().members.len(), 1);
            }
            keys.push((key, m.value.is_some()));
        }
    }
    let offset = |group: &str| Key::Offset {
        group: group.to_owned(),
        topic: "t".to_owned(),
        partition: 0,
    };
    for key in [offset("old"), offset("soon"), Key::Group("g".to_owned())] {
        let of_key: Vec<bool> = keys.iter().filter(|(k, _)| *k == key).map(|(_, v)| *v).collect();
        assert_eq!(of_key, [true, false], "{key:?}");
    }
}

/// A broker that dies takes no group with it: the next leader of its partition knows them all.
#[test]
fn groups_move_to_the_next_leader() {
    let mut pair = Pair::start("offsets.topic.num.partitions=2\nreplica.fetch.wait.max.ms=100");
    let ports = pair.ports;
    wait_leaders(ports[0], "t", LIMIT);
    let (mut at, port) = wait_coordinator(ports[0], "g");
    assert_eq!(port, ports[usize::try_from(at).unwrap()]);
    let mut c = Client::connect(port);
    wait_until("the partition is loaded", LIMIT, || {
        c.describe("g").is_ok_and(|d| d.error == 0)
    });
    // The other one does not coordinate it.
    let mut other = Client::connect(ports[1 - usize::try_from(at).unwrap()]);
    wait_until("it knows that", LIMIT, || other.heartbeat("g", "m", 1) == 16);
    assert_eq!(other.join("g", "").error, 16);
    assert_eq!(other.leave("g", "m"), 16);
    assert_eq!(other.sync("g", "m", 1, &[]).0, 16);
    assert_eq!(other.commit(2, &simple_commit("g", "t", 0, 1)), [16]);
    assert_eq!(other.fetch(1, "g", "t", 0), (-1, String::new(), 16));
    assert_eq!(other.describe("g").unwrap().error, 16);

    let me = c.join("g", "").member_id;
    assert_eq!(c.sync("g", &me, 1, &[(&me, "mine")]).0, 0);
    let mut committed = 0;
    for _ in 0..2 {
        for _ in 0..20 {
            let mut commit = simple_commit("g", "t", 0, committed + 1);
            (commit.member_id, commit.generation_id) = (me.clone(), 1);
            wait_until("it is committed", LIMIT, || c.commit(2, &commit) == [0]);
            committed += 1;
        }
        let dies = usize::try_from(at).unwrap();
        let lives = 1 - dies;
        pair.kill(dies, &["__consumer_offsets"]);
        wait_until("the other one coordinates", LIMIT, || {
            wait_coordinator(ports[lives], "g").1 == ports[lives]
        });
        c = Client::connect(ports[lives]);
        wait_until("the group goes on", LIMIT, || {
            c.heartbeat("g", &me, 1) == 0 && c.list().0 == 0
        });
        assert_eq!(c.sync("g", &me, 1, &[]), (0, "mine".to_owned()));
        assert_eq!(c.fetch(1, "g", "t", 0), (committed, format!("at {committed}"), 0));
        pair.revive(dies);
        at = i32::try_from(lives).unwrap();
    }
}
