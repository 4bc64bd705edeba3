//! The tools of a cluster, line by line: `tests/golden/cluster-tools.txt`, `broker-tools.txt` and
//! `client-tools.txt` are scripts
//! with what the genuine tools of 0.9.0.1 printed. `REWRITE_GOLDEN=1` runs the genuine ones and writes it anew.
//!
//! A script's lines: `zk> COMMAND` changes ZooKeeper; `file NAME> TEXT` writes a file; `$ TOOL ARGUMENTS =>
//! EXIT CODE` runs a tool, or `run CLASS`, or `cat FILE`, in the files' folder, `ZK` and `BROKERS` standing for
//! addresses. What follows is standard output, `~` for an empty line, and behind `E|` what went to standard
//! error. Of the JVM's traces at most the last message is kept; times are T. Where the genuine tool fails and
//! exits with 0, ours exits with 1.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::cluster::{Cluster, Whose};
use crate::support::program::{Program, kafka, run, text};
use crate::support::wire::{Wire, set, wait_leaders};
use crate::support::{genuine, ours, reference, root, wait_for, wait_until};
use kafka::message::Codec;

const LIMIT: Duration = Duration::from_secs(120);

/// A script being told.
pub struct Told<'a> {
    pub dir: &'a Path,
    pub zookeeper: &'a str,
    pub brokers: &'a str,
    /// Whether the genuine tools run.
    pub genuine: bool,
}

impl Told<'_> {
    /// Tells a script and returns it with what the tools did.
    fn tell(&self, script: &str) -> String {
        let mut told = String::new();
        let mut commands = String::new();
        for line in script.lines() {
            if let Some(command) = line.strip_prefix("zk> ") {
                commands.push_str(command);
                commands.push('\n');
            } else if line.starts_with("$ ") && !commands.is_empty() {
                self.shell(&std::mem::take(&mut commands));
            }
            if let Some((name, content)) = line.strip_prefix("file ").and_then(|l| l.split_once("> ")) {
                std::fs::write(self.dir.join(name), content).unwrap();
            }
            if let Some(case) = line.strip_prefix("$ ") {
                let (arguments, _) = case.split_once(" => ").unwrap_or((case, ""));
                let (printed, code) = self.run(arguments);
                told.push_str(&format!("$ {arguments} => {code}\n{printed}"));
            } else if line.is_empty()
                || line.starts_with('#')
                || line.starts_with("zk> ")
                || line.starts_with("file ")
            {
                told.push_str(line);
                told.push('\n');
            }
        }
        told
    }

    pub fn shell(&self, commands: &str) {
        let mut command = kafka();
        command.args(["zookeeper-shell", "-server", self.zookeeper]);
        let done = run(command, commands.as_bytes(), LIMIT);
        let errors = text(&done.stderr);
        assert!(!errors.contains("does not exist"), "{commands}{errors}");
    }

    pub fn run(&self, arguments: &str) -> (String, i32) {
        let words: Vec<String> = arguments
            .split(' ')
            .map(|w| match w {
                "ZK" => self.zookeeper.to_owned(),
                "BROKERS" => self.brokers.to_owned(),
                w if w.starts_with("ZK/") => w.replacen("ZK", self.zookeeper, 1),
                w => w.replace('|', " ").replace("BROKERS", self.brokers),
            })
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = match self.genuine {
            _ if words[0] == "cat" => {
                let mut command = Command::new("cat");
                command.args(&words[1..]);
                command
            }
            // By its class, for two launchers of one name stand for different classes.
            true if words[0].contains('.') => genuine::command(&[&["run"], &words[..]].concat()),
            true => genuine::command(&words),
            false => {
                let words = words.strip_prefix(&["run"]).unwrap_or(&words);
                let mut command = kafka();
                command.args(words);
                command
            }
        };
        command.current_dir(self.dir);
        let (out, errors, code) = match words[0] {
            "kafka-replica-verification" => until(command, "max lag"),
            "org.apache.kafka.tools.VerifiableConsumer" => until(command, "offsets_committed"),
            _ => {
                let done = run(command, b"", LIMIT);
                (
                    text(&done.stdout),
                    text(&done.stderr),
                    done.status.code().unwrap_or(-1),
                )
            }
        };
        let failed = [
            "failed due to",
            "Failed to",
            "with offset [",
            "Error while executing",
            "Exiting due to",
            "Rebalance operation failed",
        ];
        let failed = failed.iter().any(|f| out.contains(f) || errors.contains(f));
        let mut told = plain(&out, &errors);
        if !self.brokers.is_empty() {
            told = told.replace(self.brokers, "BROKERS");
        }
        (told, if failed { 1 } else { code })
    }
}

/// Runs a tool that never ends until it has told something.
fn until(command: Command, part: &str) -> (String, String, i32) {
    let mut program = Program::start(command);
    program.wait_line(part, LIMIT);
    let code = program.stop(LIMIT).code().unwrap_or(-1);
    let mut lines = program.stdout();
    // How often it reports until it is stopped is chance.
    let last = lines.iter().position(|l| l.contains(part)).unwrap_or_default();
    lines.truncate(last + 1);
    (lines.join("\n") + "\n", program.stderr().join("\n"), code)
}

/// Log lines that tell the user something the output does not begin so.
const TOLD: [&str; 4] = ["ERROR Skipping", "ERROR No ", "ERROR Owner ", "WARN WARNING"];

/// Output without what differs from run to run, and without traces but for their last message.
fn plain(out: &str, errors: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut message: Option<String> = None;
    for line in out.lines().chain(["end"]) {
        let thrown = line.strip_prefix("Caused by: ").unwrap_or(line);
        let class = thrown.split(':').next().unwrap_or_default();
        let is_class = class.contains('.') && class.ends_with("Exception") && !class.contains(' ');
        if line.starts_with("\tat ") || line.trim_start().starts_with("... ") {
            continue;
        }
        if is_class && !line.contains("exception\":") {
            message = thrown.split_once(": ").map(|(_, m)| m.to_owned());
            continue;
        }
        if let Some(message) = message.take()
            && lines
                .last()
                .is_some_and(|l| l == "Failed to start preferred replica election")
        {
            lines.push(message);
        }
        lines.push(line.to_owned());
    }
    lines.pop();
    // The blank line after a trace.
    if lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    // The table of options is compared elsewhere.
    for line in errors.lines().take_while(|l| !l.starts_with("Option   ")) {
        match line.strip_prefix("[20").and_then(|l| l.split_once("] ")) {
            Some((_, logged)) if TOLD.iter().any(|t| logged.starts_with(t)) => {
                lines.push(format!("E|{logged}"));
            }
            Some(_) => {}
            None if line.starts_with('\t') || line.starts_with("Caused by: ") => {}
            None => lines.push(format!("E|{line}")),
        }
    }
    let line = |line: &String| match without_times(line.trim_end_matches('\r')).as_str() {
        "" => "~\n".to_owned(),
        line => format!("{line}\n"),
    };
    lines.iter().map(line).collect()
}

/// A line without what no two runs have in common.
fn without_times(line: &str) -> String {
    let row: Vec<&str> = line.split(", ").collect();
    let is_number =
        |field: &&str| field.starts_with(|c: char| c.is_ascii_digit()) || ["Infinity", "NaN"].contains(field);
    let is_row = row.len() > 4 && row.iter().all(is_number);
    if is_row
        || ["records/sec", "latency:", "Percentiles:"]
            .iter()
            .any(|w| line.contains(w))
    {
        return without_measures(line);
    }
    if let Some((number, elapsed)) = line.split_once('\t')
        && number.parse::<u32>().is_ok()
        && elapsed.parse::<f64>().is_ok()
    {
        return format!("{number} N");
    }
    let mut line = line.to_owned();
    for member in ["\"time_ms\":", "\"avg_throughput\":"] {
        if let Some(at) = line.find(member) {
            let from = at + member.len();
            let end = line[from..].find([',', '}']).map_or(line.len(), |n| from + n);
            line.replace_range(from..end, "T");
        }
    }
    match line.split_once(": ") {
        Some((time, rest)) if time.starts_with("20") && time.len() == 23 => format!("T: {rest}"),
        _ => line,
    }
}

/// A line with N for each date, fraction and percentile; counts and sizes stay.
fn without_measures(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let plain = |(i, word): (usize, &&str)| {
        let bare = word.trim_matches(['(', ',']);
        let number = bare.starts_with(|c: char| c.is_ascii_digit()) && !bare.ends_with("th");
        let whole = number && bare.bytes().all(|b| b.is_ascii_digit());
        let milliseconds = words.get(i + 1) == Some(&"ms") || (i > 0 && words[i - 1] == "=");
        let measured = (number && !whole) || ["Infinity", "NaN"].contains(&bare);
        match measured || (whole && milliseconds) {
            true => "N".to_owned(),
            false => (*word).to_owned(),
        }
    };
    let plain: Vec<String> = words.iter().enumerate().map(plain).collect();
    plain.join(" ")
}

/// Compares a golden file with what our tools do, or writes it anew from the genuine ones.
pub fn compare(name: &str, told: &Told<'_>) {
    let path = root().join("tests/golden").join(name);
    let golden = std::fs::read_to_string(&path).unwrap();
    let done = told.tell(&golden);
    if told.genuine {
        std::fs::write(&path, done).unwrap();
        return;
    }
    for (n, (expected, got)) in golden.lines().zip(done.lines()).enumerate() {
        assert_eq!(got, expected, "{name} line {}; all of it:\n{done}", n + 1);
    }
    assert_eq!(done.lines().count(), golden.lines().count(), "{name}:\n{done}");
}

/// Whether the golden files are to be written from the genuine tools.
pub fn rewrites() -> bool {
    std::env::var_os("REWRITE_GOLDEN").is_some_and(|v| v == "1")
}

#[test]
fn tools_that_work_by_zookeeper_print_what_the_genuine_ones_print() {
    if rewrites() {
        need!(reference());
    }
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    compare(
        "cluster-tools.txt",
        &Told {
            dir: dir.path(),
            zookeeper: &format!("localhost:{}", zookeeper.port),
            brokers: "",
            genuine: rewrites(),
        },
    );
}

#[test]
fn tools_that_ask_brokers_print_what_the_genuine_ones_print() {
    if rewrites() {
        need!(reference());
    }
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let zookeeper = ours::zookeeper(dirs[0].path());
    let connect = format!("localhost:{}", zookeeper.port);
    let brokers = [1, 2].map(|id| {
        let more = format!("broker.id={id}\ndefault.replication.factor=2\nnum.partitions=2");
        ours::broker(dirs[id - 1].path(), &connect, &more)
    });
    let port = brokers[0].port;
    // Both must be known before a topic is made of both.
    wait_until("both brokers are known", LIMIT, || {
        let answer = Wire::connect(port, LIMIT).and_then(|mut w| w.metadata(&[]));
        answer.is_ok_and(|a| a.brokers.len() == 2)
    });
    let told = Told {
        dir: dirs[0].path(),
        zookeeper: &connect,
        brokers: &format!("127.0.0.1:{port}"),
        genuine: false,
    };
    for topic in ["t --replica-assignment 1:2,2:1", "one --replica-assignment 2:1"] {
        let (made, code) = told.run(&format!("kafka-topics --zookeeper ZK --create --topic {topic}"));
        assert_eq!(code, 0, "{made}");
    }
    wait_leaders(port, "one", LIMIT);
    let leaders = wait_leaders(port, "t", LIMIT);
    for (partition, leader) in leaders {
        let port = brokers[usize::try_from(leader).unwrap() - 1].port;
        let mut wire = Wire::connect(port, LIMIT).unwrap();
        for (codec, values) in [(Codec::None, ["a", "b"]), (Codec::Gzip, ["c", "d"])] {
            let values = values.map(|v| format!("{v}{partition}"));
            let values: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
            let produced = wait_for("all replicas have it", LIMIT, || {
                wire.produce("t", partition, set(codec, &values), -1)
                    .ok()
                    .filter(|(error, _)| *error == 0)
            });
            assert_eq!(produced.0, 0);
        }
        // Followers hear of the high watermark by their next fetch.
        for broker in &brokers {
            wait_until("the follower is told that all is committed", LIMIT, || {
                Wire::connect(broker.port, LIMIT)
                    .and_then(|mut w| w.fetch_as("t", partition, 4, -2))
                    .is_ok_and(|(error, high_watermark, _)| (error, high_watermark) == (0, 4))
            });
        }
    }
    compare(
        "broker-tools.txt",
        &Told {
            genuine: rewrites(),
            ..told
        },
    );
}

#[test]
fn tools_of_clients_print_what_the_genuine_ones_print() {
    if rewrites() {
        need!(reference());
    }
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_with(dir.path(), Whose::Ours, "offsets.topic.num.partitions=1");
    for topic in ["v", "e", "w", "r"] {
        cluster.create(topic, 1);
    }
    let values: [&[u8]; 4] = [b"one", b"two", b"three \"quoted\"", b"four"];
    let mut wire = Wire::connect(cluster.port, LIMIT).unwrap();
    wire.produce("v", 0, set(Codec::None, &values), -1).unwrap();
    compare(
        "client-tools.txt",
        &Told {
            dir: dir.path(),
            zookeeper: &cluster.zookeeper,
            brokers: &cluster.brokers(),
            genuine: rewrites(),
        },
    );
}
