//! Data directories that a genuine broker filled: plain, compressed, compacted and damaged topics, and the
//! offsets of consumer groups. Made once and kept between runs, as a JVM takes its time.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use kafka::message::{Codec, SetBuilder};
use kafka::protocol::groups::{GroupAssignment, GroupProtocol, JoinGroupRequest, SyncGroupRequest};
use kafka::protocol::offset_commit::{OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic};

use super::program::{kafka, run, text};
use super::wire::{Wire, wait_leaders};
use super::{cache_dir, copy_dir, genuine, ours, wait_until};

const LIMIT: Duration = Duration::from_secs(120);

/// Topics of one partition each, and what their sets are compressed with.
pub const TOPICS: [(&str, Codec); 4] = [
    ("plain", Codec::None),
    ("gzip", Codec::Gzip),
    ("snappy", Codec::Snappy),
    ("lz4", Codec::Lz4),
];

/// The compacted topic.
pub const COMPACTED: &str = "compacted";

/// A log directory as it was left.
pub struct GenuineData {
    /// While the broker ran, as a kill would leave it.
    pub running: PathBuf,
    /// After it had stopped in order.
    pub stopped: PathBuf,
}

/// The directories; not to be changed. Needs [`super::reference`].
pub fn genuine_data() -> &'static GenuineData {
    static DATA: OnceLock<GenuineData> = OnceLock::new();
    DATA.get_or_init(|| {
        // What this file says is what the directories hold.
        let version = kafka::message::crc32(include_bytes!("genuine_data.rs"));
        let dir = cache_dir().join(format!("genuine-data-{version:08x}"));
        if !dir.exists() {
            let fresh = tempfile::tempdir_in(cache_dir()).expect("the target folder can be written");
            make(fresh.path());
            // Another run may have been faster.
            let _ = std::fs::rename(fresh.path().join("kept"), &dir);
        }
        GenuineData {
            running: dir.join("running"),
            stopped: dir.join("stopped"),
        }
    })
}

fn make(dir: &Path) {
    let zookeeper = ours::zookeeper(dir);
    let connect = format!("127.0.0.1:{}", zookeeper.port);
    let settings = "log.segment.bytes=20000\nlog.index.interval.bytes=500\nlog.index.size.max.bytes=8000\n\
                    offsets.topic.num.partitions=3\noffsets.topic.replication.factor=1\n\
                    log.cleaner.backoff.ms=100\nlog.cleaner.min.cleanable.ratio=0.01\n\
                    log.cleaner.dedupe.buffer.size=4000000";
    let mut broker = genuine::broker(dir, &connect, settings);
    let logs = dir.join("genuine-logs");
    for (topic, codec) in TOPICS {
        wait_leaders(broker.port, topic, LIMIT);
        let mut wire = Wire::connect(broker.port, LIMIT).expect("the broker accepts");
        for n in 0..60 {
            let (error, _) = wire.produce(topic, 0, messages(codec, n), 1).expect("answered");
            assert_eq!(error, 0, "{topic}");
        }
    }
    compacted_topic(&connect, broker.port, &logs);
    groups(dir, broker.port);
    let kept = dir.join("kept");
    copy_dir(&logs, &kept.join("running"));
    assert!(broker.program.stop(LIMIT).code().is_some());
    copy_dir(&logs, &kept.join("stopped"));
}

/// Ten messages with keys and values of all kinds.
fn messages(codec: Codec, number: usize) -> Bytes {
    let mut builder = SetBuilder::new(codec, 1 << 20);
    for i in 0..10 {
        let key = format!("key {i}");
        let value = format!("message {number} {} €\u{1}", "abc ".repeat((number * 7 + i) % 20));
        let key = (i % 3 > 0).then_some(key.as_bytes());
        let value = (i % 5 > 0).then_some(value.as_bytes());
        assert!(builder.append(key, value));
    }
    builder.finish()
}

fn compacted_topic(connect: &str, port: u16, logs: &Path) {
    let mut command = kafka();
    command.args([
        "kafka-topics",
        "--zookeeper",
        connect,
        "--create",
        "--topic",
        COMPACTED,
    ]);
    command.args(["--partitions", "1", "--replication-factor", "1"]);
    command.args([
        "--config",
        "cleanup.policy=compact",
        "--config",
        "segment.bytes=4000",
    ]);
    let out = run(command, b"", LIMIT);
    assert!(out.status.success(), "{}", text(&out.stdout));
    wait_leaders(port, COMPACTED, LIMIT);
    let mut wire = Wire::connect(port, LIMIT).expect("the broker accepts");
    for n in 0..200 {
        let codec = if n % 4 == 0 { Codec::Gzip } else { Codec::None };
        let mut builder = SetBuilder::new(codec, 1 << 20);
        for i in 0..5 {
            let (key, value) = (format!("k{}", (n * 5 + i) % 37), format!("value {n} {i}"));
            let value = (n % 11 > 0).then_some(value.as_bytes());
            assert!(builder.append(Some(key.as_bytes()), value));
        }
        let (error, _) = wire.produce(COMPACTED, 0, builder.finish(), 1).expect("answered");
        assert_eq!(error, 0);
    }
    wait_until("the genuine cleaner has cleaned", LIMIT, || {
        let checkpoint = std::fs::read_to_string(logs.join("cleaner-offset-checkpoint"));
        let cleaned = |line: &str| line.strip_prefix("compacted 0 ").and_then(|n| n.parse().ok());
        checkpoint.is_ok_and(|c| {
            c.lines()
                .find_map(cleaned)
                .is_some_and(|offset: i64| offset > 500)
        })
    });
}

/// A genuine new consumer's group, a group that this test plays, and offsets of no group.
fn groups(dir: &Path, port: u16) {
    let config = dir.join("consumer.properties");
    std::fs::write(&config, "group.id=readers\n").expect("the folder can be written");
    let (config, address) = (config.display().to_string(), format!("127.0.0.1:{port}"));
    let consumed = genuine::tool(
        &[
            "kafka-console-consumer",
            "--new-consumer",
            "--bootstrap-server",
            &address,
            "--topic",
            "plain",
            "--from-beginning",
            "--max-messages",
            "25",
            "--consumer.config",
            &config,
        ],
        b"",
    );
    assert!(
        text(&consumed.stdout).contains("message 0"),
        "{}",
        text(&consumed.stderr)
    );
    let mut wire = Wire::connect(port, LIMIT).expect("the broker accepts");
    for (group, offset, metadata) in [("others", 7, ""), ("others", 8, "a note"), ("more", 9, "x:y")] {
        let partition = OffsetCommitPartition {
            partition: 0,
            offset,
            timestamp: -1,
            metadata: Some(metadata.to_owned()),
        };
        let request = OffsetCommitRequest {
            group_id: group.to_owned(),
            generation_id: -1,
            member_id: String::new(),
            retention_time_ms: -1,
            topics: vec![OffsetCommitTopic {
                topic: "gzip".to_owned(),
                partitions: vec![partition],
            }],
        };
        let answer = wire.call(&request, 2).expect("answered");
        assert_eq!(answer.topics[0].partitions[0].error, 0);
    }
    let joined = wire.call(
        &JoinGroupRequest {
            group_id: "played".to_owned(),
            session_timeout_ms: 30_000,
            member_id: String::new(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![GroupProtocol {
                name: "range".to_owned(),
                metadata: Bytes::from_static(b"\0\0\0\0\0\0\0\0\0\0"),
            }],
        },
        0,
    );
    let joined = joined.expect("answered");
    assert_eq!(joined.error, 0);
    // Two topics, no data of the user's: version, topics, bytes.
    let mut share = vec![0, 0, 0, 0, 0, 2];
    for (topic, partitions) in [("gzip", &[0u8, 2][..]), ("t", &[1])] {
        share.extend([0, u8::try_from(topic.len()).expect("short")]);
        share.extend(topic.as_bytes());
        share.extend([0, 0, 0, u8::try_from(partitions.len()).expect("few")]);
        for p in partitions {
            share.extend([0, 0, 0, *p]);
        }
    }
    share.extend([0, 0, 0, 0]);
    let synced = wire.call(
        &SyncGroupRequest {
            group_id: "played".to_owned(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            assignments: vec![GroupAssignment {
                member_id: joined.member_id,
                assignment: share.into(),
            }],
        },
        0,
    );
    assert_eq!(synced.expect("answered").error, 0);
}
