//! `bin/` and the table of programs agree; launchers find their binary wherever they stand; and the
//! programs answer `--help` and a wrong option as the genuine ones do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use kafka::tools::{TOOLS, find};

use super::support::program::{kafka, run, text};
use super::support::{install, root, wait_until};

/// The genuine 0.9.0.1 has no launcher for these classes: they are run by kafka-run-class. Services are a
/// matter of kafka.exe itself: `kafka service`.
const WITHOUT_LAUNCHER: &[&str] = &[
    "kafka-service",
    "kafka.tools.GetOffsetShell",
    "kafka.tools.DumpLogSegments",
    "kafka.tools.EndToEndLatency",
    "kafka.tools.ProducerPerformance",
    "kafka.tools.SimpleConsumerPerformance",
    "kafka.tools.StateChangeLogMerger",
    "kafka.tools.ExportZkOffsets",
    "kafka.tools.ImportZkOffsets",
    "kafka.tools.UpdateOffsetsInZK",
    "kafka.tools.VerifyConsumerRebalance",
];

const LIMIT: Duration = Duration::from_secs(60);

/// Launchers of a folder, by name without suffix, with their text.
fn launchers(dir: &str, suffix: &str) -> BTreeMap<String, String> {
    fs::read_dir(root().join(dir))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(suffix)?.to_string();
            Some((name, fs::read_to_string(&path).unwrap()))
        })
        .collect()
}

/// The class, or name, that a launcher hands to kafka-run-class.
fn class_of(script: &str) -> Option<&str> {
    let line = script
        .lines()
        .find(|l| l.contains("kafka-run-class.") && !l.starts_with(['#', 'r']))?;
    line.split_whitespace().find(|word| find(word).is_some())
}

#[test]
fn every_launcher_has_a_twin_and_a_program() {
    let (sh, bat) = (launchers("bin", ".sh"), launchers("bin/windows", ".bat"));
    assert_eq!(sh.keys().collect::<Vec<_>>(), bat.keys().collect::<Vec<_>>());
    let mut launched = BTreeSet::new();
    for (name, script) in sh.iter().filter(|(name, _)| *name != "kafka-run-class") {
        let class =
            class_of(script).unwrap_or_else(|| panic!("bin/{name}.sh starts no program of the table"));
        assert_eq!(
            Some(class),
            class_of(&bat[name]),
            "{name}.bat starts what {name}.sh starts"
        );
        let tool = find(class).unwrap();
        assert_eq!(tool.name, name, "the row's name is the launcher's");
        launched.insert(tool.name);
    }
    for tool in TOOLS {
        let expected = !WITHOUT_LAUNCHER.contains(&tool.class);
        assert_eq!(
            launched.contains(tool.name),
            expected,
            "{} has a launcher",
            tool.name
        );
    }
}

#[test]
fn batch_files_are_what_cmd_wants() {
    for (name, script) in launchers("bin/windows", ".bat") {
        assert!(
            script.is_ascii(),
            "{name}.bat: cmd reads other bytes by code page"
        );
        assert_eq!(
            script.matches('\n').count(),
            script.matches("\r\n").count(),
            "{name}.bat: CRLF"
        );
        for unwanted in ["wmic", "java", "JAVA"] {
            assert!(!script.contains(unwanted), "{name}.bat speaks of {unwanted}");
        }
        assert!(!script.contains(" %~dp0"), "{name}.bat quotes its paths");
        // Or an exclamation mark in a path vanishes where delayed expansion is on.
        assert!(
            script.contains("\r\nsetlocal DisableDelayedExpansion\r\n"),
            "{name}.bat says: setlocal DisableDelayedExpansion"
        );
    }
}

#[cfg(unix)]
mod shell {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn start(mut command: Command) -> Output {
        command.env_remove("KAFKA_HEAP_OPTS");
        run(command, b"", LIMIT)
    }

    fn script(dir: &Path, name: &str) -> Command {
        Command::new(dir.join("bin").join(format!("{name}.sh")))
    }

    /// Proof that the binary ran: it is the one that says this.
    fn reached(out: &Output) -> bool {
        out.status.code() == Some(1)
            && text(&out.stderr).contains("Could not find or load main class no.such.Class")
    }

    #[test]
    fn launchers_can_be_executed() {
        for name in launchers("bin", ".sh").keys() {
            let mode = fs::metadata(root().join(format!("bin/{name}.sh")))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o111, 0o111, "{name}.sh");
        }
    }

    #[test]
    fn usage_lines_are_kafkas() {
        for (name, usage) in [
            (
                "kafka-run-class",
                "[-daemon] [-name servicename] [-loggc] classname [opts]",
            ),
            (
                "kafka-server-start",
                "[-daemon] server.properties [--override property=value]*",
            ),
            ("zookeeper-server-start", "zookeeper.properties"),
            ("zookeeper-shell", "zookeeper_host:port[/path] [args...]"),
        ] {
            let path = install::launcher(name);
            let out = start(Command::new(&path));
            assert_eq!(text(&out.stdout), format!("USAGE: {} {usage}\n", path.display()));
            assert_eq!(out.status.code(), Some(1));
        }
    }

    #[test]
    fn a_launcher_needs_no_environment_and_no_working_directory() {
        let mut command = script(install::dir(), "kafka-run-class");
        command.env_clear().current_dir("/").arg("no.such.Class");
        assert!(reached(&run(command, b"", LIMIT)));
    }

    #[test]
    fn a_launcher_works_through_symlinks_and_blanks() {
        let dir = tempfile::tempdir().unwrap();
        let links = dir.path().join("a b");
        fs::create_dir_all(links.join("bin")).unwrap();
        symlink(install::dir().join("bin"), links.join("entries")).unwrap();
        symlink(
            "../entries/kafka-run-class.sh",
            links.join("bin/kafka-run-class.sh"),
        )
        .unwrap();
        let mut command = script(&links, "kafka-run-class");
        command.args(["-loggc", "-name", "x", "no.such.Class"]);
        assert!(reached(&start(command)));
    }

    #[test]
    fn the_heap_is_answered_with_one_notice() {
        let mut command = script(install::dir(), "kafka-run-class");
        command.env("KAFKA_HEAP_OPTS", "-Xmx1G").arg("no.such.Class");
        let out = run(command, b"", LIMIT);
        assert_eq!(text(&out.stderr).matches("KAFKA_HEAP_OPTS").count(), 1);
        assert!(reached(&out));
    }

    #[test]
    fn without_a_binary_it_is_said_how_to_build_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        for (name, script) in launchers("bin", ".sh") {
            let to = dir.path().join(format!("bin/{name}.sh"));
            fs::write(&to, script).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let out = start(script(dir.path(), "kafka-topics"));
        assert_eq!(out.status.code(), Some(1));
        assert!(
            text(&out.stderr).contains("cargo build --release"),
            "{}",
            text(&out.stderr)
        );
    }

    #[test]
    fn a_daemon_writes_its_console_to_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("my logs");
        let mut command = script(install::dir(), "kafka-run-class");
        command
            .env("LOG_DIR", &logs)
            .args(["-daemon", "-name", "nobody", "no.such.Class"]);
        let out = start(command);
        assert!(out.status.success() && out.stdout.is_empty());
        wait_until("the daemon speaks", LIMIT, || {
            fs::read_to_string(logs.join("nobody.out")).is_ok_and(|t| t.contains("no.such.Class"))
        });
    }

    #[test]
    fn a_closed_pipe_is_success() {
        let mut command = Command::new("sh");
        let binary = env!("CARGO_BIN_EXE_kafka");
        // The reader is gone before anything is written, as the fifo's opening order guarantees.
        command.arg("-c").arg(format!(
            "exec 3>&1; {{ sleep 0.2; '{binary}' --help; echo $? >&3; }} | true"
        ));
        let out = run(command, b"", LIMIT);
        assert_eq!(text(&out.stdout).trim(), "0", "{}", text(&out.stderr));
    }
}

/// Calls of a program that must answer and end: never a crash, never a hang, something said.
#[test]
fn every_program_answers_help_and_a_wrong_option() {
    for tool in TOOLS {
        for argument in ["--help", "--no-such-option"] {
            let mut command = kafka();
            command.args([tool.class, argument]);
            let out = run(command, b"", LIMIT);
            let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
            let what = format!("{} {argument}\n{stdout}\n{stderr}", tool.name);
            assert!(!stderr.contains("panicked at"), "{what}");
            assert!(out.status.code().is_some_and(|code| code != 101), "{what}");
            assert!(!stdout.is_empty() || !stderr.is_empty(), "{what}");
        }
    }
}

fn golden(name: &str) -> String {
    fs::read_to_string(root().join("tests/golden/help").join(name)).unwrap()
}

/// `errors.txt` was noted from the genuine tools.
#[test]
fn wrong_options_are_answered_as_the_genuine_tools_answer() {
    for line in golden("errors.txt").lines().filter(|l| !l.starts_with('#')) {
        let fields: Vec<&str> = line.splitn(4, " | ").collect();
        let [class, arguments, code, first] = fields[..] else {
            panic!("four fields: {line}")
        };
        if find(class).is_none() {
            panic!("{class} is missing");
        }
        let mut command = kafka();
        command.arg(class).args(arguments.split_whitespace());
        let out = run(command, b"", LIMIT);
        let stderr = text(&out.stderr).replace('\r', "");
        assert_eq!(stderr.lines().next(), Some(first), "{line}");
        assert_eq!(
            out.status.code().map(|c| c.to_string()).as_deref(),
            Some(code),
            "{line}"
        );
    }
}

/// The Java tools show their help on standard output, and that is success.
#[test]
fn without_arguments_the_genuine_help_is_shown() {
    for (class, name) in [
        (
            "org.apache.kafka.tools.ProducerPerformance",
            "kafka-producer-perf-test.txt",
        ),
        (
            "org.apache.kafka.tools.VerifiableProducer",
            "kafka-verifiable-producer.txt",
        ),
        (
            "org.apache.kafka.tools.VerifiableConsumer",
            "kafka-verifiable-consumer.txt",
        ),
    ] {
        let mut command = kafka();
        command.arg(class);
        let out = run(command, b"", LIMIT);
        assert_eq!(text(&out.stdout).replace('\r', ""), golden(name), "{class}");
        assert_eq!(out.status.code(), Some(0), "{class}");
    }
}

/// The group of kafka-consumer-perf-test, unless one is named, is drawn by lot: a table without its number.
fn without_group(table: &str) -> String {
    let Some(at) = table.find("perf-consumer-") else {
        return table.to_owned();
    };
    let (head, tail) = table.split_at(at);
    let end = tail.find('\n').unwrap_or(tail.len());
    let number = &tail["perf-consumer-".len()..end];
    assert!(
        number.trim_end().trim_end_matches(')').parse::<u32>().is_ok(),
        "{number}"
    );
    format!("{head}perf-consumer-N){}", &tail[end..])
}

/// The tables of options were captured from the genuine tools, called without arguments.
#[test]
fn without_arguments_the_genuine_tables_are_shown() {
    for (class, name) in [
        ("kafka.admin.TopicCommand", "kafka-topics.txt"),
        ("kafka.tools.ConsoleProducer", "kafka-console-producer.txt"),
        ("kafka.tools.ConsoleConsumer", "kafka-console-consumer.txt"),
        ("kafka.admin.ConsumerGroupCommand", "kafka-consumer-groups.txt"),
        (
            "kafka.tools.ConsumerOffsetChecker",
            "kafka-consumer-offset-checker.txt",
        ),
        ("kafka.tools.ExportZkOffsets", "ExportZkOffsets.txt"),
        ("kafka.tools.GetOffsetShell", "GetOffsetShell.txt"),
        ("kafka.tools.ImportZkOffsets", "ImportZkOffsets.txt"),
        (
            "kafka.tools.VerifyConsumerRebalance",
            "VerifyConsumerRebalance.txt",
        ),
        ("kafka.tools.DumpLogSegments", "DumpLogSegments.txt"),
        ("kafka.Kafka", "kafka-server-start.txt"),
        (
            "kafka.admin.ReassignPartitionsCommand",
            "kafka-reassign-partitions.txt",
        ),
        (
            "kafka.admin.PreferredReplicaLeaderElectionCommand",
            "kafka-preferred-replica-election.txt",
        ),
        (
            "kafka.tools.ReplicaVerificationTool",
            "kafka-replica-verification.txt",
        ),
        (
            "kafka.tools.SimpleConsumerShell",
            "kafka-simple-consumer-shell.txt",
        ),
        ("kafka.tools.ConsumerPerformance", "kafka-consumer-perf-test.txt"),
        ("kafka.tools.ReplayLogProducer", "kafka-replay-log-producer.txt"),
        ("kafka.tools.MirrorMaker", "kafka-mirror-maker.txt"),
        ("kafka.tools.EndToEndLatency", "EndToEndLatency.txt"),
        ("kafka.tools.ProducerPerformance", "ProducerPerformance.txt"),
        (
            "kafka.tools.SimpleConsumerPerformance",
            "SimpleConsumerPerformance.txt",
        ),
    ] {
        let mut command = kafka();
        command.arg(class);
        let out = run(command, b"", LIMIT);
        let stderr = without_group(&text(&out.stderr).replace('\r', ""));
        // One says in the log that it is deprecated.
        let stderr: Vec<&str> = stderr.lines().filter(|l| !l.starts_with('[')).collect();
        for (ours, theirs) in stderr.iter().copied().zip(golden(name).lines()) {
            assert_eq!(ours, theirs, "{class}");
        }
        assert_eq!(stderr.len(), golden(name).lines().count(), "{class}\n{stderr:#?}");
        assert_eq!(out.status.code(), Some(1), "{class}");
    }
}

#[test]
fn a_symlink_by_a_programs_name_is_that_program() {
    let dir = tempfile::tempdir().unwrap();
    let link: PathBuf = dir.path().join(if cfg!(windows) {
        "kafka-topics.exe"
    } else {
        "kafka-topics"
    });
    fs::hard_link(env!("CARGO_BIN_EXE_kafka"), &link)
        .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_kafka"), &link).map(drop))
        .unwrap();
    let out = run(Command::new(&link), b"", LIMIT);
    assert!(text(&out.stderr).starts_with("Create, delete, describe, or change a topic."));
    let mut command = kafka();
    command.arg("--help");
    let listed = text(&run(command, b"", LIMIT).stdout);
    for tool in TOOLS {
        assert!(
            listed.contains(tool.name) && listed.contains(tool.class),
            "{listed}"
        );
    }
}
