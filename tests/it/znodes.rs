//! The same life leaves the same znodes: paths, JSON to the byte, versions, ephemeral or not. The golden
//! text is what the genuine broker and tools leave on the genuine ZooKeeper.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kafka::protocol::offset_commit;

use crate::support::program::{launcher, run, text};
use crate::support::wire::{Wire, wait_leaders};
use crate::support::{genuine, ours, reference, root, wait_until};

const LIMIT: Duration = Duration::from_secs(60);
const SETTINGS: &str = "delete.topic.enable=true\nauto.leader.rebalance.enable=false\n";

/// Every znode below the root but ZooKeeper's own, one line each.
fn dump(port: u16) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let connector = zookeeper_client::Client::connector().with_server_version(3, 4, u32::MAX);
        let client = connector.connect(&format!("127.0.0.1:{port}")).await.unwrap();
        let (mut paths, mut lines) = (vec!["/".to_owned()], Vec::new());
        while let Some(path) = paths.pop() {
            // A node may go between being listed and being read.
            let Ok((data, stat)) = client.get_data(&path).await else {
                continue;
            };
            let prefix = if path == "/" { "" } else { &path };
            for child in client.list_children(&path).await.unwrap_or_default() {
                if prefix.is_empty() && child == "zookeeper" {
                    continue;
                }
                paths.push(format!("{prefix}/{child}"));
            }
            if path == "/" {
                continue;
            }
            lines.push(format!(
                "{path} {} v{} c{} a{}{}",
                String::from_utf8_lossy(&data),
                stat.version,
                stat.cversion,
                stat.aversion,
                if stat.ephemeral_owner == 0 {
                    ""
                } else {
                    " ephemeral"
                }
            ));
        }
        lines.sort();
        mask(&(lines.join("\n") + "\n"))
    })
}

/// Takes out what differs from run to run: times and ports.
fn mask(text: &str) -> String {
    let rules = [
        (r#""timestamp":"\d+""#, r#""timestamp":"TIME""#),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r#""port":\d+"#, r#""port":PORT"#),
    ];
    rules.iter().fold(text.to_owned(), |text, (pattern, with)| {
        regex::Regex::new(pattern)
            .unwrap()
            .replace_all(&text, *with)
            .into_owned()
    })
}

/// Lives the life: topics created, grown, configured, created by asking, committed to and deleted.
fn live(zk_port: u16, port: u16, topics: impl Fn() -> Command) {
    let connect = format!("127.0.0.1:{zk_port}");
    let tool = |arguments: &str| {
        let mut command = topics();
        command.args(["--zookeeper", &connect]).args(arguments.split(' '));
        let out = run(command, b"", LIMIT * 2);
        assert!(
            out.status.success(),
            "{arguments}: {}{}",
            text(&out.stdout),
            text(&out.stderr)
        );
    };
    tool("--create --topic three --partitions 3 --replication-factor 1");
    tool(
        "--create --topic eight --partitions 8 --replication-factor 1 --config retention.ms=1000 --config segment.bytes=1048576",
    );
    tool("--create --topic gone --partitions 2 --replication-factor 1");
    for topic in ["three", "eight", "gone"] {
        wait_leaders(port, topic, LIMIT);
    }
    tool("--alter --topic three --partitions 5");
    wait_until("five partitions are led", LIMIT, || {
        wait_leaders(port, "three", LIMIT).len() == 5
    });
    tool("--alter --topic eight --config flush.ms=7 --delete-config retention.ms");
    wait_leaders(port, "asked-for", LIMIT);
    let commit = offset_commit::OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id: -1,
        member_id: String::new(),
        retention_time_ms: -1,
        topics: vec![offset_commit::OffsetCommitTopic {
            topic: "three".to_owned(),
            partitions: vec![offset_commit::OffsetCommitPartition {
                partition: 1,
                offset: 42,
                timestamp: -1,
                metadata: Some("dropped".to_owned()),
            }],
        }],
    };
    let mut wire = Wire::connect(port, LIMIT).unwrap();
    let answer = wire.call(&commit, 0).unwrap();
    assert_eq!(answer.topics[0].partitions[0].error, 0);
    tool("--delete --topic gone");
    wait_until("the topic is gone", LIMIT, || !dump(zk_port).contains("/gone"));
}

fn golden() -> std::path::PathBuf {
    root().join("tests/golden/znodes.txt")
}

#[track_caller]
fn assert_golden(seen: &str) {
    let wanted = std::fs::read_to_string(golden()).unwrap();
    for (got, want) in seen.lines().zip(wanted.lines()) {
        assert_eq!(got, want);
    }
    assert_eq!(seen, wanted);
}

fn ours_on(zk_port: u16, dir: &Path) -> String {
    let broker = ours::broker(dir, &format!("127.0.0.1:{zk_port}"), SETTINGS);
    live(zk_port, broker.port, || launcher("kafka-topics"));
    dump(zk_port)
}

#[test]
fn the_golden_znodes_are_what_the_genuine_system_leaves() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = genuine::zookeeper(dir.path());
    let broker = genuine::broker(dir.path(), &format!("127.0.0.1:{}", zookeeper.port), SETTINGS);
    live(zookeeper.port, broker.port, || {
        genuine::command(&["kafka-topics"])
    });
    let seen = dump(zookeeper.port);
    if std::env::var_os("REWRITE_GOLDEN").is_some() {
        std::fs::write(golden(), &seen).unwrap();
    }
    assert_golden(&seen);
}

#[test]
fn ours_leaves_the_genuine_znodes_on_our_zookeeper() {
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    assert_golden(&ours_on(zookeeper.port, dir.path()));
}

#[test]
fn ours_leaves_the_genuine_znodes_on_a_genuine_zookeeper() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = genuine::zookeeper(dir.path());
    assert_golden(&ours_on(zookeeper.port, dir.path()));
}
