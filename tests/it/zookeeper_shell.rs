//! zookeeper-shell, line by line: `tests/golden/zookeeper-shell.{out,err}` is what the genuine shell of
//! ZooKeeper 3.4.6 printed for `zookeeper-shell.in`.

use std::time::Duration;

use crate::support::program::{Program, kafka, run, text};
use crate::support::{free_port, ours, root, wait_until};

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

/// As the genuine shell: who has nothing to ask, and a name that nobody has, make it end at once.
#[test]
fn no_server_is_waited_for_without_a_command_or_without_its_address() {
    for (server, input, code, said) in [
        (format!("127.0.0.1:{}", free_port()), "", 0, ""),
        (
            "no.such.host.invalid".to_owned(),
            "ls /\n",
            1,
            "Cannot resolve any server of no.such.host.invalid\n",
        ),
    ] {
        let mut command = kafka();
        command.args(["zookeeper-shell", "-timeout", "600000", "-server", &server]);
        let done = run(command, input.as_bytes(), LIMIT);
        assert!(text(&done.stderr).ends_with(said), "{}", text(&done.stderr));
        assert_eq!(done.status.code(), Some(code), "{server}");
    }
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

/// Standard input and output are a terminal there, which `script` makes.
#[cfg(unix)]
#[test]
fn at_a_terminal_paths_and_commands_are_completed_and_lines_are_remembered() {
    const TAB: &str = "\t";
    const UP: &str = "\x1b[A";
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let mut command = std::process::Command::new("script");
    let shell = format!(
        "'{}' zookeeper-shell -server 127.0.0.1:{}",
        env!("CARGO_BIN_EXE_kafka"),
        zookeeper.port
    );
    command.args(["-qefc", &shell, "/dev/null"]).env("TERM", "xterm");
    let mut shell = Program::start(command);
    shell.wait_line("JLine support is enabled", LIMIT);
    let mut type_line = |keys: &str, answer: &str, times: usize| {
        shell.write(format!("{keys}\r").as_bytes());
        let answers = || shell.stdout().iter().filter(|l| l.trim_end() == answer).count();
        wait_until(&format!("{keys:?} is answered {times} times"), LIMIT, || {
            answers() >= times
        });
    };
    type_line("create /alphabet letters", "Created /alphabet", 1);
    type_line(&format!("get /al{TAB}"), "letters", 1);
    type_line(UP, "letters", 2);
    type_line(&format!("cre{TAB} /beta x"), "Created /beta", 1);
    type_line(&format!("{UP}{UP}"), "letters", 3);
    shell.write(b"quit\r");
    assert!(shell.wait(LIMIT).success(), "{}", shell.printed());
}
