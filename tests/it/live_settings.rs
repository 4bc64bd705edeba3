//! The promise: a topic's settings take hold on a broker that runs, whoever changed them and with which
//! tool. Ours and the genuine tool on our broker, ours on the genuine broker.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use kafka::message::{Codec, SetBuilder, SetIter};

use crate::support::program::{launcher, run, text};
use crate::support::wire::{Wire, wait_leaders};
use crate::support::{genuine, ours, reference, wait_until};

const LIMIT: Duration = Duration::from_secs(120);
const TOPIC: &str = "live";
/// The checks that a broker makes of its own accord begin 30 s after its start.
const BROKER: &str = "log.retention.check.interval.ms=300\nlog.flush.offset.checkpoint.interval.ms=300\n\
                      log.flush.scheduler.interval.ms=300\nauto.create.topics.enable=true";

/// A broker, and a way to change the topic's settings.
struct Live<'a> {
    connect: String,
    port: u16,
    logs: PathBuf,
    /// The next change's kafka-configs.
    tool: &'a dyn Fn() -> Command,
}

impl Live<'_> {
    fn alter(&self, option: &str, settings: &str) {
        let mut command = (self.tool)();
        command.args(["--zookeeper", &self.connect, "--alter", "--entity-type", "topics"]);
        command.args(["--entity-name", TOPIC, option, settings]);
        let out = run(command, b"", LIMIT);
        assert_eq!(
            text(&out.stdout),
            format!("Updated config for topic: \"{TOPIC}\".\n")
        );
    }

    fn add(&self, settings: &str) {
        self.alter("--add-config", settings);
    }

    /// Takes settings back, given as they were added.
    fn delete(&self, settings: &str) {
        let names: Vec<&str> = settings
            .split(',')
            .map(|s| s.split('=').next().unwrap())
            .collect();
        self.alter("--delete-config", &names.join(","));
    }

    fn send(&self, key: Option<&[u8]>, bytes: usize, acks: i16) -> (i16, i64) {
        let mut builder = SetBuilder::new(Codec::None, 1 << 20);
        assert!(builder.append(key, Some(&vec![b'x'; bytes])));
        let mut wire = Wire::connect(self.port, LIMIT).unwrap();
        wire.produce(TOPIC, 0, builder.finish(), acks).unwrap()
    }

    /// Sends until the answer is `error`.
    fn until_answered(&self, error: i16, key: Option<&[u8]>, bytes: usize, acks: i16) {
        wait_until(&format!("a produce is answered with {error}"), LIMIT, || {
            self.send(key, bytes, acks).0 == error
        });
    }

    /// What is in the partition's directory, by name, with sizes.
    fn files(&self) -> BTreeMap<String, u64> {
        let dir = self.logs.join(format!("{TOPIC}-0"));
        let entries = std::fs::read_dir(dir).unwrap().flatten();
        let sized = |e: std::fs::DirEntry| {
            let name = e.file_name().to_string_lossy().into_owned();
            // A file may go between the two looks.
            Some((name, e.metadata().ok()?.len()))
        };
        entries.filter_map(sized).collect()
    }

    fn segments(&self) -> usize {
        self.files().keys().filter(|name| name.ends_with(".log")).count()
    }

    fn end(&self) -> i64 {
        let mut wire = Wire::connect(self.port, LIMIT).unwrap();
        wire.offset_at(TOPIC, 0, -1).unwrap()[0]
    }

    fn start(&self) -> i64 {
        let mut wire = Wire::connect(self.port, LIMIT).unwrap();
        wire.offset_at(TOPIC, 0, -2).unwrap()[0]
    }

    fn recovery_point(&self) -> Option<i64> {
        let file = std::fs::read_to_string(self.logs.join("recovery-point-offset-checkpoint")).ok()?;
        let line = file
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{TOPIC} 0 ")))?;
        line.parse().ok()
    }

    fn stored_codec(&self, offset: i64) -> Codec {
        let mut wire = Wire::connect(self.port, LIMIT).unwrap();
        let (_, _, records) = wire.fetch(TOPIC, 0, offset, 0).unwrap();
        SetIter::new(&records).next().unwrap().unwrap().codec().unwrap()
    }

    /// One setting after the other, each seen to hold and to let go.
    fn all_take_hold(&self) {
        wait_leaders(self.port, TOPIC, LIMIT);
        assert_eq!(self.send(None, 300, 1), (0, 0));

        self.add("max.message.bytes=200");
        self.until_answered(10, None, 300, 1);
        self.delete("max.message.bytes=200");
        self.until_answered(0, None, 300, 1);

        let two = "min.insync.replicas=2,cleanup.policy=compact";
        self.add(two);
        self.until_answered(2, None, 10, 1);
        assert_eq!(self.send(Some(b"k"), 10, -1).0, 19);
        assert_eq!(self.send(Some(b"k"), 10, 1).0, 0);
        self.delete(two);
        self.until_answered(0, None, 10, -1);

        self.add("compression.type=gzip");
        wait_until("sets are compressed", LIMIT, || {
            let (error, offset) = self.send(None, 10, 1);
            error == 0 && self.stored_codec(offset) == Codec::Gzip
        });
        self.delete("compression.type=gzip");
        wait_until("sets are not compressed", LIMIT, || {
            let (error, offset) = self.send(None, 10, 1);
            error == 0 && self.stored_codec(offset) == Codec::None
        });

        self.segments_change();
        self.flushes_change();
        self.retention_changes();
    }

    fn segments_change(&self) {
        let before = self.segments();
        self.add("segment.bytes=1000,preallocate=true");
        wait_until("segments are small and preallocated", LIMIT, || {
            assert_eq!(self.send(None, 300, 1).0, 0);
            let preallocated = self
                .files()
                .iter()
                .any(|(n, s)| n.ends_with(".log") && *s == 1000);
            self.segments() >= before + 3 && preallocated
        });
        self.delete("segment.bytes=1000,preallocate=true");
        let by_time = "segment.ms=1";
        self.add(by_time);
        let before = self.segments();
        wait_until("segments roll by time", LIMIT, || {
            assert_eq!(self.send(None, 10, 1).0, 0);
            self.segments() >= before + 2
        });
        self.delete(by_time);
    }

    /// Seen by the checkpoint of recovery points, which names what was flushed.
    fn flushes_change(&self) {
        for flush in ["flush.messages=1", "flush.ms=1"] {
            self.add(flush);
            // One may have come before the change; a later one takes it along.
            let mut looks = 0;
            wait_until("what was sent is flushed", LIMIT, || {
                if looks % 100 == 0 {
                    assert_eq!(self.send(None, 10, 1).0, 0);
                }
                looks += 1;
                self.recovery_point() == Some(self.end())
            });
            self.delete(flush);
        }
    }

    fn retention_changes(&self) {
        assert_eq!(self.start(), 0);
        self.add("retention.bytes=1,file.delete.delay.ms=1");
        wait_until("all but the last segment goes", LIMIT, || {
            let files = self.files();
            self.start() > 0 && files.len() == 2 && !files.keys().any(|n| n.ends_with(".deleted"))
        });
        assert!(self.start() < self.end());
        self.delete("retention.bytes=1");
        self.add("retention.ms=1");
        wait_until("everything goes", LIMIT, || self.start() == self.end());
        self.delete("retention.ms=1,file.delete.delay.ms=1");
    }
}

fn our_tool() -> Command {
    launcher("kafka-configs")
}

#[test]
fn settings_take_hold_on_our_broker_whichever_tool_changes_them() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let connect = format!("localhost:{}", zookeeper.port);
    let broker = ours::broker(dir.path(), &connect, BROKER);
    let count = Cell::new(0);
    let in_turn = || {
        count.set(count.get() + 1);
        match count.get() % 2 {
            0 => our_tool(),
            _ => genuine::command(&["kafka-configs"]),
        }
    };
    let live = Live {
        connect,
        port: broker.port,
        logs: dir.path().join("kafka-logs"),
        tool: &in_turn,
    };
    live.all_take_hold();
    the_old_tool_changes_them_too(&live);
}

#[test]
fn settings_take_hold_on_the_genuine_broker_when_our_tool_changes_them() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let connect = format!("localhost:{}", zookeeper.port);
    let broker = genuine::broker(dir.path(), &connect, BROKER);
    let live = Live {
        connect,
        port: broker.port,
        logs: dir.path().join("genuine-logs"),
        tool: &our_tool,
    };
    live.all_take_hold();
}

/// kafka-topics --alter, which is on its way out.
fn the_old_tool_changes_them_too(live: &Live<'_>) {
    let alter = |option: &str, what: &str| {
        let mut command = launcher("kafka-topics");
        command.args([
            "--zookeeper",
            &live.connect,
            "--alter",
            "--topic",
            TOPIC,
            option,
            what,
        ]);
        let out = run(command, b"", LIMIT);
        assert!(text(&out.stdout).ends_with(&format!("Updated config for topic \"{TOPIC}\".\n")));
    };
    alter("--config", "max.message.bytes=200");
    live.until_answered(10, None, 300, 1);
    alter("--delete-config", "max.message.bytes");
    live.until_answered(0, None, 300, 1);
}
