//! Old consumers, genuine and ours, that keep their positions in the offsets topic of our broker, in both
//! places, and read what the other left there.

use std::path::Path;
use std::process::Command;

use kafka::message::Codec;

use super::client::{Client, LIMIT, wait_coordinator};
use crate::support::program::{Program, launcher};
use crate::support::wire::{Wire, set, wait_leaders};
use crate::support::{free_port, genuine, ours, reference, wait_until};

/// A running old console consumer of the group `old`.
fn consumer(mut command: Command, dir: &Path, zookeeper: u16, more: &str, arguments: &[&str]) -> Program {
    let config = dir.join("consumer.properties");
    let text = format!(
        "group.id=old\noffsets.storage=kafka\nauto.commit.interval.ms=200\noffsets.channel.backoff.ms=200\n{more}\n"
    );
    std::fs::write(&config, text).unwrap();
    let connect = format!("127.0.0.1:{zookeeper}");
    command.args(["--zookeeper", &connect, "--topic", "t", "--consumer.config"]);
    command.arg(config).args(arguments);
    Program::start(command)
}

struct Case {
    dir: tempfile::TempDir,
    zookeeper: ours::Server,
    broker: ours::Server,
    sent: i64,
}

impl Case {
    /// Twenty more messages for each of the two partitions.
    fn send(&mut self) {
        let mut wire = Wire::connect(self.broker.port, LIMIT).unwrap();
        for n in self.sent..self.sent + 20 {
            for partition in 0..2 {
                let records = set(Codec::None, &[format!("{partition} {n}").as_bytes()]);
                // A broker that comes back is told who leads before it leads.
                wait_until("the leader takes messages", LIMIT, || {
                    let error = wire.produce("t", partition, records.clone(), 1).unwrap().0;
                    assert!([0, 3, 6].contains(&error), "error {error}");
                    error == 0
                });
            }
        }
        self.sent += 20;
    }

    /// The positions of both partitions in ZooKeeper and in the offsets topic.
    fn positions(&self, version: i16) -> Vec<i64> {
        let mut client = Client::connect(self.broker.port);
        (0..2).map(|p| client.fetch(version, "old", "t", p).0).collect()
    }

    /// Waits until the consumer has printed exactly the latest messages and committed that.
    #[track_caller]
    fn consumed(&self, program: &mut Program, latest: i64) {
        wait_until("the latest messages are printed", LIMIT, || {
            assert!(program.is_running(), "{}", program.printed());
            program.stdout().len() >= usize::try_from(2 * latest).unwrap()
        });
        let mut got = program.stdout();
        got.sort();
        let mut expected: Vec<String> = (self.sent - latest..self.sent)
            .flat_map(|n| (0..2).map(move |p| format!("{p} {n}")))
            .collect();
        expected.sort();
        assert_eq!(got, expected);
        wait_until("that is committed", LIMIT, || self.positions(1) == [self.sent; 2]);
    }
}

#[test]
fn old_consumers_keep_their_positions_in_the_offsets_topic_and_in_both_places() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    // The session of a broker that was killed ends soon.
    let zookeeper = ours::zookeeper_with(dir.path(), free_port(), ours::SHORT_SESSIONS);
    let connect = format!("127.0.0.1:{}", zookeeper.port);
    let settings = "num.partitions=2\noffsets.topic.num.partitions=2\nzookeeper.session.timeout.ms=2000";
    let broker = ours::broker(dir.path(), &connect, settings);
    let mut case = Case {
        dir,
        zookeeper,
        broker,
        sent: 0,
    };
    wait_leaders(case.broker.port, "t", LIMIT);
    case.send();
    let (path, port) = (case.dir.path().to_owned(), case.zookeeper.port);
    let theirs = |more: &str, arguments: &[&str]| {
        let command = genuine::command(&["kafka-console-consumer"]);
        consumer(command, &path, port, more, arguments)
    };
    let mine = |more: &str, arguments: &[&str]| {
        consumer(launcher("kafka-console-consumer"), &path, port, more, arguments)
    };

    // A genuine one, in both places, as it does without being told.
    let mut program = theirs("", &["--from-beginning"]);
    case.consumed(&mut program, 20);
    wait_until("ZooKeeper has it too", LIMIT, || case.positions(0) == [20; 2]);
    program.stop(LIMIT);

    // Ours goes on where it was, and leaves ZooKeeper alone when told to.
    case.send();
    let mut program = mine("dual.commit.enabled=false", &[]);
    case.consumed(&mut program, 20);
    program.signal("INT");
    program.wait(LIMIT);
    assert_eq!(case.positions(0), [20; 2]);

    // Ours in both places: the offsets topic knows more than ZooKeeper, and both are brought up to date.
    case.send();
    let mut program = mine("", &[]);
    case.consumed(&mut program, 20);
    wait_until("ZooKeeper has it too", LIMIT, || case.positions(0) == [60; 2]);

    // The coordinator dies and comes back beneath it.
    case.broker.program.kill();
    case.broker = ours::broker_on(&path, &connect, case.broker.port, settings);
    wait_leaders(case.broker.port, "t", LIMIT);
    wait_coordinator(case.broker.port, "old");
    case.send();
    wait_until("it goes on", LIMIT, || {
        assert!(program.is_running(), "{}", program.printed());
        case.positions(1) == [80; 2] && case.positions(0) == [80; 2]
    });
    assert_eq!(program.stdout().len(), 80, "nothing twice");
    program.signal("INT");
    program.wait(LIMIT);

    // And a genuine one goes on behind ours.
    case.send();
    let mut program = theirs("dual.commit.enabled=false", &[]);
    case.consumed(&mut program, 20);
    program.stop(LIMIT);
    assert_eq!(case.positions(0), [80; 2]);
}
