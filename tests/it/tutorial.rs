//! The well-known quick start, typed as on its page: what our tools, broker and ZooKeeper print is what
//! the genuine ones print, line by line, and each works with the genuine ones in the place of the others.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::program::{launcher, run, text};
use crate::support::wire::wait_leaders;
use crate::support::{genuine, ours, reference};

const LIMIT: Duration = Duration::from_secs(120);

/// Whose program stands in a place.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Whose {
    Ours,
    Genuine,
}
use Whose::{Genuine, Ours};

/// A running ZooKeeper and broker, and the tools to use them with. The broker is dropped first.
struct Setup {
    _broker: Box<dyn Any>,
    _zookeeper: Box<dyn Any>,
    connect: String,
    port: u16,
    tools: Whose,
    log_dir: PathBuf,
}

impl Setup {
    fn start(dir: &Path, zookeeper: Whose, broker: Whose, tools: Whose) -> Setup {
        let (zookeeper, zk_port): (Box<dyn Any>, u16) = match zookeeper {
            Ours => {
                let zk = ours::zookeeper(dir);
                let port = zk.port;
                (Box::new(zk), port)
            }
            Genuine => {
                let zk = genuine::zookeeper(dir);
                let port = zk.port;
                (Box::new(zk), port)
            }
        };
        let connect = format!("localhost:{zk_port}");
        let (broker, port, log_dir): (Box<dyn Any>, u16, PathBuf) = match broker {
            Ours => {
                let b = ours::broker(dir, &connect, "");
                let port = b.port;
                (Box::new(b), port, dir.join("kafka-logs"))
            }
            Genuine => {
                let b = genuine::broker(dir, &connect, "");
                let port = b.port;
                (Box::new(b), port, dir.join("genuine-logs"))
            }
        };
        Setup {
            _broker: broker,
            _zookeeper: zookeeper,
            connect,
            port,
            tools,
            log_dir,
        }
    }

    fn command(&self, name: &str) -> Command {
        match self.tools {
            Ours => launcher(name),
            Genuine => genuine::command(&[name]),
        }
    }

    fn topics(&self, arguments: &[&str]) -> Output {
        let mut command = self.command("kafka-topics");
        command.args(["--zookeeper", &self.connect]).args(arguments);
        run(command, b"", LIMIT)
    }

    fn produce(&self, input: &str) -> Output {
        let mut command = self.command("kafka-console-producer");
        let broker = format!("localhost:{}", self.port);
        // The default of acks=0 loses lines at the genuine tool's exit.
        command.args([
            "--broker-list",
            &broker,
            "--topic",
            "cmb_topic",
            "--request-required-acks",
            "1",
        ]);
        run(command, input.as_bytes(), LIMIT)
    }

    fn consume(&self, messages: usize) -> Output {
        let mut command = self.command("kafka-console-consumer");
        command.args([
            "--zookeeper",
            &self.connect,
            "--topic",
            "cmb_topic",
            "--from-beginning",
        ]);
        command.args(["--max-messages", &messages.to_string()]);
        run(command, b"", LIMIT)
    }
}

/// What a tool printed, without log lines (which carry a date) and stack traces.
fn shown(what: &str, out: &Output) -> String {
    let noise = |line: &&str| {
        line.starts_with("[20")
            || line.starts_with(" (kafka.")
            || line.starts_with("\tat ")
            || line.starts_with("\t... ")
            || line.contains("Exception:")
    };
    let clean = |bytes: &[u8]| {
        let all = text(bytes);
        all.lines().filter(|l| !noise(l)).collect::<Vec<_>>().join("\n")
    };
    let (stdout, stderr) = (clean(&out.stdout), clean(&out.stderr));
    format!(
        "== {what}: exit {:?}\n{stdout}\n-- standard error\n{stderr}\n",
        out.status.code()
    )
}

/// Goes through the tutorial and returns all that a person sees.
fn tutorial(setup: &Setup) -> String {
    let mut seen = String::new();
    let create = [
        "--create",
        "--replication-factor",
        "1",
        "--partitions",
        "3",
        "--topic",
        "cmb_topic",
    ];
    seen += &shown("create", &setup.topics(&create));
    seen += &shown("create again", &setup.topics(&create));
    seen += &shown("list", &setup.topics(&["--list"]));
    wait_leaders(setup.port, "cmb_topic", LIMIT);
    for partition in 0..3 {
        assert!(setup.log_dir.join(format!("cmb_topic-{partition}")).is_dir());
    }
    seen += &shown("describe", &setup.topics(&["--describe", "--topic", "cmb_topic"]));
    seen += &shown("describe all", &setup.topics(&["--describe"]));
    let three = [
        "--create",
        "--replication-factor",
        "3",
        "--partitions",
        "1",
        "--topic",
        "x",
    ];
    seen += &shown("too many replicas", &setup.topics(&three));
    let bad = [
        "--create",
        "--replication-factor",
        "1",
        "--partitions",
        "1",
        "--topic",
        "a b",
    ];
    seen += &shown("a bad name", &setup.topics(&bad));
    seen += &shown(
        "produce",
        &setup.produce("This is a message\nThis is another message\n\nü 三\n"),
    );
    let consumed = setup.consume(4);
    let mut lines: Vec<_> = text(&consumed.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    seen += &format!(
        "== consumed: exit {:?}\n{}\n",
        consumed.status.code(),
        lines.join("\n")
    );
    let count = text(&consumed.stderr);
    let count: Vec<_> = count.lines().filter(|l| l.starts_with("Processed")).collect();
    seen += &format!("-- standard error\n{}\n", count.join("\n"));
    let alter = |partitions| ["--alter", "--topic", "cmb_topic", "--partitions", partitions];
    seen += &shown("more partitions", &setup.topics(&alter("4")));
    seen += &shown("fewer partitions", &setup.topics(&alter("2")));
    let none = ["--alter", "--topic", "none", "--partitions", "2"];
    seen += &shown("a topic that is not there", &setup.topics(&none));
    let mut deleted = setup.topics(&["--delete", "--topic", "cmb_topic"]);
    if setup.tools == Ours {
        // Ours also says, on standard error, that nobody acts on it: delete.topic.enable is false.
        let told = text(&deleted.stderr);
        assert!(
            told.starts_with("Not deleted after") && told.lines().count() == 1,
            "{told}"
        );
        deleted.stderr.clear();
    }
    seen += &shown("delete", &deleted);
    seen.replace(&setup.connect, "ZOOKEEPER")
}

/// Runs the tutorial on a mixture and compares with the golden text, which the genuine system wrote.
#[track_caller]
fn same_as_genuine(zookeeper: Whose, broker: Whose, tools: Whose) {
    let dir = tempfile::tempdir().unwrap();
    let seen = tutorial(&Setup::start(dir.path(), zookeeper, broker, tools));
    let golden = crate::support::root().join("tests/golden/tutorial.txt");
    let all_genuine = (zookeeper, broker, tools) == (Genuine, Genuine, Genuine);
    if all_genuine && std::env::var_os("REWRITE_GOLDEN").is_some() {
        std::fs::write(&golden, &seen).unwrap();
    }
    let wanted = std::fs::read_to_string(golden).unwrap();
    for (number, (got, want)) in seen.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(got, want, "line {} of:\n{seen}", number + 1);
    }
    assert_eq!(seen, wanted);
}

#[test]
fn the_golden_text_is_what_the_genuine_system_prints() {
    need!(reference());
    same_as_genuine(Genuine, Genuine, Genuine);
}

#[test]
fn all_ours_prints_what_the_genuine_system_prints() {
    same_as_genuine(Ours, Ours, Ours);
}

#[test]
fn genuine_tools_work_on_our_broker_and_zookeeper() {
    need!(reference());
    same_as_genuine(Ours, Ours, Genuine);
}

#[test]
fn our_tools_work_on_the_genuine_broker_and_zookeeper() {
    need!(reference());
    same_as_genuine(Genuine, Genuine, Ours);
}

#[test]
fn a_genuine_broker_runs_on_our_zookeeper() {
    need!(reference());
    same_as_genuine(Ours, Genuine, Ours);
    same_as_genuine(Ours, Genuine, Genuine);
}

#[test]
fn our_broker_runs_on_a_genuine_zookeeper() {
    need!(reference());
    same_as_genuine(Genuine, Ours, Ours);
    same_as_genuine(Genuine, Ours, Genuine);
}
