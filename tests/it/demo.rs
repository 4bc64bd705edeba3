//! The demo and its Java twin, at once on one broker of ours and in one group: what both print is what stands in the
//! topic, a key goes to the same partition whoever sends it, and each receives what the other sent.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use kafka::message::Message;
use regex::Regex;

use crate::consumer::QUICK;
use crate::support::cluster::{Cluster, Whose};
use crate::support::program::Program;
use crate::support::wire::Wire;
use crate::support::{reference, root, wait_until};

const LIMIT: Duration = Duration::from_secs(120);
const NAME: &str = "kafka_consumer_producer_demo";

/// The example, which cargo builds beside this test.
fn example() -> PathBuf {
    let target = std::env::current_exe().unwrap();
    let target = target
        .ancestors()
        .nth(2)
        .expect("it is in a folder of the target folder");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--example", NAME]);
    if target.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.current_dir(root()).status().unwrap().success());
    target.join("examples").join(NAME)
}

/// The Java twin, compiled into `dir`.
fn twin(script: &std::path::Path, dir: &std::path::Path) -> Command {
    let source = root().join("examples/java/KafkaConsumerProducerDemo.java");
    let compiled = Command::new(script)
        .arg("compile")
        .arg(dir)
        .arg(source)
        .status()
        .unwrap();
    assert!(compiled.success());
    let mut command = Command::new(script);
    command.arg("java").arg(dir).arg("KafkaConsumerProducerDemo");
    command
}

/// What one of them printed: what it sent and, if it says, where to; what it received.
#[derive(Default)]
struct Printed {
    sent: Vec<(i32, Option<(i32, i64)>)>,
    received: Vec<(i32, i64)>,
}

fn read(program: &Program) -> Printed {
    let patterns = [
        r"^Sent message: \((?<n>\d+), Message_(?<m>\d+)\)$",
        r"^message\((?<n>\d+), Message_(?<m>\d+)\) sent to partition\((?<p>\d+)\), offset\((?<o>\d+)\) in \d+ ms$",
        r"^Received message: \((?<n>\d+), Message_(?<m>\d+)\) at offset (?<o>\d+)$",
    ]
    .map(|p| Regex::new(p).unwrap());
    let mut printed = Printed::default();
    let lines = program.stdout();
    for (at, line) in lines.iter().enumerate() {
        let mut kinds = (0..).zip(&patterns);
        let found = kinds.find_map(|(kind, pattern)| Some((kind, pattern.captures(line)?)));
        let Some((kind, found)) = found else {
            // Whoever is killed may end within a line.
            assert_eq!(at, lines.len() - 1, "a line of another kind: {line:?}");
            break;
        };
        let number = |name: &str| found[name].parse::<i64>().unwrap();
        let n = i32::try_from(number("n")).unwrap();
        assert_eq!(found["n"], found["m"], "{line}");
        match kind {
            0 => printed.sent.push((n, None)),
            1 => {
                let partition = i32::try_from(number("p")).unwrap();
                printed.sent.push((n, Some((partition, number("o")))));
            }
            _ => printed.received.push((n, number("o"))),
        }
    }
    printed
}

/// Runs both at once and compares what they print with what there is.
fn together(rust: &str, java: &str) {
    let script = need!(reference());
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_with(dir.path(), Whose::Ours, QUICK);
    cluster.create("topic1", 3);
    let start = |mut command: Command, mode: &str| {
        // A few hundred messages a second.
        command.args([mode, &cluster.brokers(), "topic1", "3"]);
        Program::start(command)
    };
    let mut java = start(twin(&script, &dir.path().join("classes")), java);
    let mut rust = start(Command::new(example()), rust);
    let enough = |program: &mut Program| {
        assert!(program.is_running(), "{}", program.printed());
        let printed = read(program);
        printed.sent.len() >= 20 && printed.received.len() >= 20
    };
    wait_until("both have sent and received", LIMIT, || {
        enough(&mut java) && enough(&mut rust)
    });
    rust.kill();
    java.kill();

    let mut wire = Wire::connect(cluster.port, LIMIT).unwrap();
    let topic: Vec<Vec<Message>> = (0..3).map(|p| wire.read_all("topic1", p, 0).unwrap()).collect();
    let mut partition_of: BTreeMap<i32, usize> = BTreeMap::new();
    let mut times: BTreeMap<i32, usize> = BTreeMap::new();
    for (partition, messages) in topic.iter().enumerate() {
        for message in messages {
            let key = message.key.as_deref().unwrap();
            let n = i32::from_be_bytes(key.try_into().unwrap());
            assert_eq!(
                message.value.as_deref().unwrap(),
                format!("Message_{n}").as_bytes()
            );
            let first = *partition_of.entry(n).or_insert(partition);
            assert_eq!(first, partition, "both send {n} to one partition");
            *times.entry(n).or_default() += 1;
        }
    }
    assert_eq!(times[&1], 2, "each has sent it");
    let number_at = |partition: usize, offset: i64| {
        let message = topic[partition].get(usize::try_from(offset).unwrap())?;
        Some(i32::from_be_bytes(message.key.as_deref()?.try_into().ok()?))
    };
    for printed in [read(&rust), read(&java)] {
        let mut numbers: Vec<i32> = printed.sent.iter().map(|(n, _)| *n).collect();
        // Answers of several partitions come in any order.
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), printed.sent.len(), "each once");
        assert_eq!(numbers[0], 1);
        for (n, at) in printed.sent {
            assert!(times.contains_key(&n), "{n} was sent");
            if let Some((partition, offset)) = at {
                assert_eq!(number_at(usize::try_from(partition).unwrap(), offset), Some(n));
            }
        }
        for (n, offset) in printed.received {
            assert_eq!(number_at(partition_of[&n], offset), Some(n), "at {offset}");
        }
    }
}

#[test]
fn the_demo_and_its_java_twin_share_a_topic_and_a_group_one_sync_one_async() {
    together("sync", "");
}

#[test]
fn the_demo_and_its_java_twin_share_a_topic_and_a_group_the_other_way_round() {
    together("ASYNC", " Sync ");
}
