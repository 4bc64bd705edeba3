//! The promise: a genuine broker and ours may take each other's place on the same directory while a group
//! lives: no offset is lost, and its members go on.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::client::{Client, LIMIT, simple_commit, wait_coordinator};
use super::members::{Numbers, python_member, seen, shares};
use crate::support::program::{Program, launcher, run, text};
use crate::support::wire::{Wire, wait_leaders};
use crate::support::{free_port, genuine, ours, reference, wait_for, wait_until};

struct Cluster {
    dir: tempfile::TempDir,
    zookeeper: ours::Server,
    port: u16,
}

impl Cluster {
    fn connect(&self) -> String {
        format!("127.0.0.1:{}", self.zookeeper.port)
    }

    fn ours(&self) -> Program {
        ours::broker_on(self.dir.path(), &self.connect(), self.port, SETTINGS).program
    }

    /// The genuine broker on our broker's directory and port.
    fn genuine(&self) -> Program {
        let more = format!(
            "{SETTINGS}\nlisteners=PLAINTEXT://127.0.0.1:{}\nlog.dirs={}",
            self.port,
            self.dir.path().join("kafka-logs").display()
        );
        genuine::broker(self.dir.path(), &self.connect(), &more).program
    }

    /// The group is here with the member that it had.
    #[track_caller]
    fn goes_on(&self, member: &str) -> Client {
        wait_coordinator(self.port, "g");
        wait_for("the group goes on", LIMIT, || {
            let mut client = Client::connect(self.port);
            let described = client.describe("g").ok()?;
            let same = described.members.len() == 1 && described.members[0].member_id == member;
            (described.state == "Stable" && same).then_some(client)
        })
    }
}

const SETTINGS: &str = "offsets.topic.num.partitions=3\nnum.partitions=3\ncontrolled.shutdown.enable=false\n\
     group.max.session.timeout.ms=60000\nlog.cleaner.enable=false";

#[test]
fn the_coordinator_changes_hands_between_ours_and_a_genuine_one_and_back() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let cluster = Cluster {
        dir,
        zookeeper,
        port: free_port(),
    };
    let port = cluster.port;
    let mut broker = cluster.ours();
    wait_leaders(port, "t", LIMIT);
    let servers = format!("127.0.0.1:{port}");
    let mut member = need!(python_member(&servers, "g", "t"));
    wait_coordinator(port, "g");
    wait_until("the group is stable", LIMIT, || {
        shares(port, "g").is_some_and(|s| s.values().flatten().count() == 3)
    });
    let id = Client::connect(port).describe("g").unwrap().members[0]
        .member_id
        .clone();
    let numbers = Numbers::start(vec![port], "t", 3, 1);
    let mut c = Client::connect(port);
    let mut offset = 0;
    let mut next_offset = |c: &mut Client| {
        offset += 1;
        wait_until("it is committed", LIMIT, || {
            c.commit(2, &simple_commit("simple", "t", 0, offset)) == [0]
        });
        offset
    };
    for hand in ["genuine", "ours", "genuine", "ours"] {
        let committed = next_offset(&mut c);
        let consumed = seen(&[&member]).len();
        wait_until("the member goes on", LIMIT, || seen(&[&member]).len() > consumed);
        if hand == "genuine" {
            read_by_genuine_tools(&cluster, &id);
        }
        stop(&mut broker);
        broker = if hand == "genuine" {
            cluster.genuine()
        } else {
            cluster.ours()
        };
        c = cluster.goes_on(&id);
        // Another partition of __consumer_offsets may hold these; it may be loading still, or not begun to.
        let fetched = wait_for("the offsets are loaded", LIMIT, || {
            Some(c.fetch(1, "simple", "t", 0)).filter(|(_, _, error)| ![14, 16].contains(error))
        });
        assert_eq!(
            fetched,
            (committed, format!("at {committed}"), 0),
            "after the change to {hand}"
        );
    }
    let sent = numbers.stop();
    let all: BTreeSet<usize> = (0..sent).collect();
    wait_until("every message is processed", LIMIT, || {
        seen(&[&member]).is_superset(&all)
    });
    member.signal("TERM");
    member.wait(LIMIT);
    // Whoever leaves commits first, up to the end.
    let mut wire = Wire::connect(port, LIMIT).unwrap();
    for (_, partition, offset) in c.fetch_all("g") {
        assert_eq!(wire.offset_at("t", partition, -1).unwrap(), [offset]);
    }
    stop(&mut broker);
}

/// An orderly stop; a JVM's exit code is that of the signal.
#[track_caller]
fn stop(broker: &mut Program) {
    let code = broker.stop(LIMIT).code();
    assert!(matches!(code, Some(0 | 143)), "{code:?}");
}

/// What our broker answers and writes is what the genuine tools expect. Our broker runs.
fn read_by_genuine_tools(cluster: &Cluster, member: &str) {
    let servers = format!("127.0.0.1:{}", cluster.port);
    let groups = |arguments: &[&str]| {
        let common = [
            "kafka-consumer-groups",
            "--new-consumer",
            "--bootstrap-server",
            &servers,
        ];
        let out = genuine::tool(&[&common[..], arguments].concat(), b"");
        assert!(out.status.success(), "{}", text(&out.stderr));
        text(&out.stdout)
    };
    assert_eq!(groups(&["--list"]), "g\n");
    let described = groups(&["--describe", "--group", "g"]);
    let lines: Vec<&str> = described.lines().collect();
    assert_eq!(
        lines[0],
        "GROUP, TOPIC, PARTITION, CURRENT OFFSET, LOG END OFFSET, LAG, OWNER"
    );
    assert_eq!(lines.len(), 4, "{described}");
    let mut partitions = BTreeSet::new();
    for line in &lines[1..] {
        let fields: Vec<&str> = line.split(", ").collect();
        assert_eq!((fields[0], fields[1]), ("g", "t"), "{line}");
        assert_eq!(fields[6], "python_/127.0.0.1", "{line}");
        assert!(fields[3..6].iter().all(|n| n.parse::<i64>().is_ok()), "{line}");
        partitions.insert(fields[2]);
    }
    assert_eq!(partitions, BTreeSet::from(["0", "1", "2"]));

    // The records, printed by the genuine tool and by ours, line by line.
    let mut metadata = 0;
    for partition in 0..3 {
        let file = cluster.dir.path().join(format!(
            "kafka-logs/__consumer_offsets-{partition}/00000000000000000000.log"
        ));
        let arguments = |file: &Path| {
            let file = file.display().to_string();
            ["--offsets-decoder", "--print-data-log", "--files", &file].map(str::to_owned)
        };
        // A copy, as the broker writes on.
        let copy = cluster.dir.path().join("00000000000000000000.log");
        std::fs::copy(&file, &copy).unwrap();
        let mut theirs = vec!["run", "kafka.tools.DumpLogSegments"];
        let words = arguments(&copy);
        theirs.extend(words.iter().map(String::as_str));
        let theirs = text(&genuine::tool(&theirs, b"").stdout);
        let mut mine: Command = launcher("kafka-run-class");
        mine.arg("kafka.tools.DumpLogSegments").args(&words);
        let mine = text(&run(mine, b"", Duration::from_secs(60)).stdout);
        assert_eq!(mine, theirs, "partition {partition}");
        metadata += theirs
            .lines()
            .filter(|l| l.contains("key: metadata::g") && l.contains(member))
            .count();
    }
    assert!(metadata > 0, "the group's record is read");
}
