//! kafka-topics, line by line: `tests/golden/kafka-topics.txt` is what the genuine tool of 0.9.0.1 printed
//! for each of its command lines, one after the other, on a ZooKeeper with one registered broker.

use std::time::Duration;

use crate::support::program::{kafka, run, text};
use crate::support::{golden, ours, root};

const LIMIT: Duration = Duration::from_secs(60);
/// Where the recording's ZooKeeper listened.
const RECORDED: &str = "localhost:32181/same";
const SET_UP: &str = r#"create /same null
create /same/brokers null
create /same/brokers/ids null
create /same/brokers/topics null
create /same/config null
create /same/config/changes null
create /same/admin null
create /same/admin/delete_topics null
create /same/brokers/ids/1 {"jmx_port":-1,"timestamp":"1455200000000","endpoints":["PLAINTEXT://h:9092"],"host":"h","version":2,"port":9092}
"#;

/// What the genuine tool left in ZooKeeper, in its order of keys.
const LEFT: [(&str, &str); 3] = [
    (
        "/same/brokers/topics/t1",
        r#"{"version":1,"partitions":{"12":[1],"8":[1],"19":[1],"4":[1],"15":[1],"11":[1],"9":[1],"13":[1],"16":[1],"5":[1],"10":[1],"6":[1],"1":[1],"17":[1],"14":[1],"0":[1],"20":[1],"2":[1],"18":[1],"7":[1],"3":[1]}}"#,
    ),
    (
        "/same/config/topics/cfg",
        r#"{"version":1,"config":{"cleanup.policy":"compact","max.message.bytes":"5","min.insync.replicas":"2","segment.bytes":"2000","segment.ms":"7","preallocate":"true"}}"#,
    ),
    (
        "/same/config/changes/config_change_0000000000",
        r#"{"version":1,"entity_type":"topics","entity_name":"cfg"}"#,
    ),
];

#[test]
fn topics_prints_what_the_genuine_tool_prints() {
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let address = format!("localhost:{}", zookeeper.port);
    let shell = |input: &str| {
        let mut command = kafka();
        command.args(["zookeeper-shell", "-server", &address]);
        run(command, input.as_bytes(), LIMIT)
    };
    shell(SET_UP);
    let golden = std::fs::read_to_string(root().join("tests/golden/kafka-topics.txt")).unwrap();
    let connect = format!("{address}/same");
    let golden = golden.replace(RECORDED, &connect);
    let mut cases = 0;
    for case in golden::cases(&golden) {
        let arguments = &case.arguments;
        let mut command = kafka();
        command.args(["kafka-topics", "--zookeeper", &connect]);
        command.args(case.words());
        let done = run(command, b"", LIMIT);
        let mut got = text(&done.stdout);
        let errors = text(&done.stderr);
        // A log line, or the hint about the controller that the genuine tool does not give.
        if !errors.starts_with("[20") && !errors.starts_with("No broker is controller") {
            got.extend(errors.lines().map(|line| format!("E|{line}\n")));
        }
        assert_eq!(got, case.printed, "kafka-topics {arguments}");
        assert_eq!(
            done.status.code(),
            Some(case.code),
            "kafka-topics {arguments}: {errors}"
        );
        cases += 1;
    }
    assert!(cases >= 60, "only {cases} cases");
    for (path, data) in LEFT {
        let read = shell(&format!("get {path}\n"));
        assert!(
            text(&read.stdout).lines().any(|line| line == data),
            "{path}: {}",
            text(&read.stdout)
        );
    }
}
