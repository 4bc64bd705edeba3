//! kafka-configs, line by line and on running brokers. `tests/golden/kafka-configs.txt` is what the genuine
//! tool of 0.9.0.1 printed, and what it left in ZooKeeper behind `=`.

use std::process::Command;
use std::time::Duration;

use crate::support::program::{kafka, run, text};
use crate::support::{genuine, golden, ours, reference, root};

const LIMIT: Duration = Duration::from_secs(120);
/// Stands for ZooKeeper's address in the recording.
const ZOOKEEPER: &str = "ZOOKEEPER";
const SET_UP: &str = r#"create /same null
create /same/brokers null
create /same/brokers/ids null
create /same/brokers/topics null
create /same/brokers/topics/t {"version":1,"partitions":{"0":[1]}}
create /same/brokers/topics/a.b_c-d {"version":1,"partitions":{"0":[1]}}
create /same/brokers/topics/bad {"version":1,"partitions":{"0":[1]}}
create /same/config null
create /same/config/changes null
create /same/config/topics null
create /same/config/clients null
create /same/config/topics/bad {"version":1,"config":{"retention.ms":5}}
"#;

/// The command lines of the recording, on a ZooKeeper as above.
const LINES: &[&str] = &[
    "",
    "--zookeeper Z --describe",
    "--zookeeper Z --alter --describe --entity-type topics",
    "--describe --entity-type topics",
    "--zookeeper Z --describe --entity-type brokers",
    "--zookeeper Z --alter --entity-type topics",
    "--zookeeper Z --alter --entity-type topics --entity-name t",
    "--zookeeper Z --describe --entity-type topics --delete-config a",
    "--zookeeper Z --describe --entity-type topics --entity-type clients",
    "--zookeeper Z --describe --entity-type topics --entity-name t",
    "--zookeeper Z --describe --entity-type topics --entity-name no",
    "--zookeeper Z --describe --entity-type clients",
    "--zookeeper Z --alter --entity-type topics --entity-name t --add-config retention.ms=1000,segment.bytes=2000",
    "--zookeeper Z --describe --entity-type topics --entity-name t",
    "--zookeeper Z --alter --entity-type topics --entity-name t --add-config cleanup.policy=compact --add-config flush.ms=5,flush.messages=7",
    "--zookeeper Z --describe --entity-type topics --entity-name t",
    "--zookeeper Z --alter --entity-type topics --entity-name t --delete-config retention.ms,flush.ms",
    "--zookeeper Z --describe --entity-type topics --entity-name t",
    "--zookeeper Z --alter --entity-type topics --entity-name t --delete-config nothing",
    "--zookeeper Z --alter --entity-type topics --entity-name t --add-config retention.ms=9 --delete-config retention.ms,segment.bytes",
    "--zookeeper Z --describe --entity-type topics --entity-name t",
    "--zookeeper Z --alter --entity-type topics --entity-name t --add-config |segment.ms|=|77|,,",
    "--zookeeper Z --alter --entity-type topics --entity-name t --add-config ,",
    "--zookeeper Z --alter --entity-type topics --entity-name t --add-config x",
    "--zookeeper Z --alter --entity-type topics --entity-name t --add-config retention.ms=",
    "--zookeeper Z --alter --entity-type topics --entity-name t --add-config a=b=c",
    "--zookeeper Z --alter --entity-type topics --entity-name t --add-config foo=1",
    "--zookeeper Z --alter --entity-type topics --entity-name t --add-config retention.ms=soon",
    "--zookeeper Z --alter --entity-type topics --entity-name t --add-config segment.bytes=13",
    "--zookeeper Z --alter --entity-type topics --entity-name t --add-config cleanup.policy=compact,delete",
    "--zookeeper Z --alter --entity-type topics --entity-name t --add-config max.message.bytes=big",
    "--zookeeper Z --alter --entity-type topics --entity-name t --add-config max.message.bytes=2000000",
    "--zookeeper Z --alter --entity-type topics --entity-name t --add-config max.message.bytes=1000012",
    "--zookeeper Z --alter --entity-type topics --entity-name no --add-config retention.ms=1",
    "--zookeeper Z --alter --entity-type topics --entity-name no --add-config foo=1",
    "--zookeeper Z --alter --entity-type topics --entity-name a.b_c-d --add-config min.insync.replicas=2,preallocate=true",
    "--zookeeper Z --describe --entity-type topics --entity-name bad",
    "--zookeeper Z --alter --entity-type clients --entity-name c --add-config producer_byte_rate=1024,consumer_byte_rate=2048",
    "--zookeeper Z --describe --entity-type clients",
    "--zookeeper Z --alter --entity-type clients --entity-name c --delete-config producer_byte_rate",
    "--zookeeper Z --describe --entity-type clients --entity-name c",
    "--zoo Z --desc --entity-t clients --entity-n c",
    "--zookeeper Z --describe --entity-type clients --entity-name nobody",
];

/// What is looked at in ZooKeeper afterwards.
const LEFT: &[&str] = &[
    "/same/config/topics/t",
    "/same/config/topics/a.b_c-d",
    "/same/config/clients/c",
    "/same/config/changes/config_change_0000000000",
    "/same/config/changes/config_change_0000000009",
];

/// Runs all lines with a tool and returns the recording.
fn record(tool: impl Fn() -> Command) -> String {
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let address = format!("localhost:{}", zookeeper.port);
    let shell = |input: &str| {
        let mut command = kafka();
        command.args(["zookeeper-shell", "-server", &address]);
        text(&run(command, input.as_bytes(), LIMIT).stdout)
    };
    shell(SET_UP);
    let connect = format!("{address}/same");
    let mut recording = String::new();
    let mut table = None;
    for line in LINES {
        let mut command = tool();
        let words = golden::words(line).into_iter();
        command.args(words.map(|word| if word == "Z" { connect.clone() } else { word }));
        let done = run(command, b"n\n", LIMIT);
        let code = done.status.code().unwrap_or(-1);
        let mut printed = String::new();
        let mut fails = false;
        for shown in golden::printed(&done, golden::is_logged).lines() {
            // What follows there is the trace.
            if !fails {
                printed += &format!("{shown}\n");
            }
            fails |= shown.starts_with("Error while executing");
        }
        // The table of options is the same each time.
        match (&table, printed.find("E|Option  ")) {
            (None, Some(at)) => table = Some(printed[at..].to_owned()),
            (Some(table), Some(_)) => printed = printed.replace(table, "E|the table\n"),
            _ => {}
        }
        // The genuine tool exits with 0 when what it was asked for failed.
        let code = if fails { 1 } else { code };
        recording += &format!("$ {line} => {code}\n{}", printed.replace(&address, ZOOKEEPER));
    }
    for path in LEFT {
        let seen = shell(&format!("get {path}\n"));
        let data = seen.lines().find(|line| line.starts_with('{'));
        recording += &format!("= {path} {}\n", data.unwrap_or("nothing"));
    }
    recording
}

#[test]
fn configs_prints_what_the_genuine_tool_prints() {
    let path = root().join("tests/golden/kafka-configs.txt");
    if std::env::var_os("REWRITE_GOLDEN").is_some() {
        need!(reference());
        std::fs::write(&path, record(|| genuine::command(&["kafka-configs"]))).unwrap();
    }
    let ours = record(|| {
        let mut command = kafka();
        command.arg("kafka.admin.ConfigCommand");
        command
    });
    let wanted = std::fs::read_to_string(path).unwrap();
    for (case, wanted) in ours.split("$ ").zip(wanted.split("$ ")) {
        assert_eq!(case, wanted);
    }
    assert_eq!(ours, wanted);
}
