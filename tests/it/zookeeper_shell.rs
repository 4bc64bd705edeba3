//! zookeeper-shell, line by line: `tests/golden/zookeeper-shell.{out,err}` is what the genuine shell of
//! ZooKeeper 3.4.6 printed for `zookeeper-shell.in`.

use std::time::Duration;

use crate::support::program::{kafka, run, text};
use crate::support::{ours, root};

const LIMIT: Duration = Duration::from_secs(60);

/// Takes out what differs from run to run: transactions, times, the port, the order of children, and the
/// news of the connection, which the genuine shell prints at any time.
fn mask(printed: &str) -> Vec<String> {
    let rules = [
        (r"0x[0-9a-f]+", "0xX"),
        (r"time = .*", "time = T"),
        (r"^Connecting to .*", "Connecting to HOST"),
        (r"^(WATCHER::|WatchedEvent .* type:None .*|)$", ""),
    ];
    let rules = rules.map(|(pattern, to)| (regex::Regex::new(pattern).unwrap(), to));
    let masked = printed.lines().map(|line| {
        let mut line = line.to_owned();
        for (pattern, to) in &rules {
            line = pattern.replace_all(&line, *to).into_owned();
        }
        match line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            Some(list) => {
                let mut names: Vec<&str> = list.split(", ").collect();
                names.sort_unstable();
                format!("[{}]", names.join(", "))
            }
            None => line,
        }
    });
    masked.filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_shell_prints_what_the_genuine_shell_prints() {
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let golden = |suffix: &str| {
        let path = root().join(format!("tests/golden/zookeeper-shell.{suffix}"));
        std::fs::read_to_string(path).unwrap()
    };
    let mut command = kafka();
    command.args([
        "zookeeper-shell",
        "-server",
        &format!("localhost:{}", zookeeper.port),
    ]);
    let done = run(command, golden("in").as_bytes(), LIMIT);
    assert_eq!(mask(&text(&done.stdout)), mask(&golden("out")));
    assert_eq!(mask(&text(&done.stderr)), mask(&golden("err")));
    assert!(done.status.success());
}

#[test]
fn a_command_on_the_command_line_is_run_and_its_failure_is_the_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let address = format!("127.0.0.1:{}", zookeeper.port);
    let shell = |words: &[&str]| {
        let mut command = kafka();
        // The class that harnesses name.
        command.args(["org.apache.zookeeper.ZooKeeperMain", "-server", &address]);
        command.args(words);
        run(command, b"", LIMIT)
    };
    let made = shell(&["create", "/chroot", ""]);
    assert!(made.status.success());
    assert!(text(&made.stderr).contains("Created /chroot"));
    let again = shell(&["create", "/chroot", ""]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("Node already exists: /chroot"));
    assert!(text(&shell(&["ls", "/"]).stdout).contains("chroot"));
}
