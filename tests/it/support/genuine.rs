//! The genuine Apache Kafka 0.9.0.1 and ZooKeeper, run from their published Maven packages by
//! `tests/reference/reference`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use super::program::{Program, run};

/// How long a JVM on a busy machine may take to start.
pub const START: Duration = Duration::from_secs(90);

/// The runner, its jars installed; or why it cannot be had.
pub fn reference() -> Result<PathBuf, String> {
    static READY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    READY
        .get_or_init(|| {
            let script = super::root().join("tests/reference/reference");
            for program in ["java", "mvn", "bash"] {
                let found = Command::new(program).arg("--version").output();
                if !found.is_ok_and(|o| o.status.success()) {
                    return Err(format!("{program} is not installed"));
                }
            }
            let out = Command::new(&script)
                .args(["install", "kafka-0.9", "zookeeper-3.4", "zookeeper-3.8"])
                .output()
                .map_err(|e| format!("{}: {e}", script.display()))?;
            if !out.status.success() {
                return Err(format!(
                    "the genuine packages cannot be fetched: {}",
                    super::program::text(&out.stderr)
                ));
            }
            Ok(script)
        })
        .clone()
}

/// A command of the genuine system, such as `kafka-topics`, or `run CLASS`.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(super::root().join("tests/reference/reference"));
    command.args(arguments).env("KAFKA_HEAP_OPTS", "-Xmx256M");
    if !arguments.first().is_some_and(|a| a.ends_with("server-start")) {
        let log4j = super::root().join("tests/reference/tools-log4j.properties");
        command.env(
            "KAFKA_LOG4J_OPTS",
            format!("-Dlog4j.configuration=file:{}", log4j.display()),
        );
    }
    command
}

/// Runs a genuine tool to its end.
#[track_caller]
pub fn tool(arguments: &[&str], input: &[u8]) -> Output {
    run(command(arguments), input, Duration::from_secs(120))
}

/// A genuine ZooKeeper 3.4.6 of its own folder and port, ready.
pub struct ZooKeeper {
    /// The process.
    pub program: Program,
    /// Where it listens.
    pub port: u16,
}

/// Starts a genuine ZooKeeper on a data directory.
#[track_caller]
pub fn zookeeper(dir: &Path) -> ZooKeeper {
    zookeeper_with(dir, "")
}

/// As [`zookeeper`]; `more` are further lines of its properties.
#[track_caller]
pub fn zookeeper_with(dir: &Path, more: &str) -> ZooKeeper {
    let port = super::free_port();
    let config = dir.join("genuine-zookeeper.properties");
    let data = dir.join("zookeeper");
    std::fs::write(
        &config,
        format!(
            "dataDir={}\nclientPort={port}\nmaxClientCnxns=0\n{more}\n",
            data.display()
        ),
    )
    .expect("the folder can be written");
    let program = Program::start(command(&[
        "zookeeper-server-start",
        &config.display().to_string(),
    ]));
    let mut zk = ZooKeeper { program, port };
    super::wait_until("a genuine ZooKeeper serves", START, || {
        assert!(zk.program.is_running(), "{}", zk.program.printed());
        four_letters(port, "srvr").contains("Mode:")
    });
    zk
}

/// A genuine broker, ready.
pub struct Broker {
    /// The process.
    pub program: Program,
    /// Where it listens.
    pub port: u16,
}

/// Starts a genuine broker 0 on `dir/genuine-logs`; `more` are further lines of its properties.
#[track_caller]
pub fn broker(dir: &Path, zookeeper: &str, more: &str) -> Broker {
    let port = super::free_port();
    let config = dir.join("genuine-server.properties");
    let logs = dir.join("genuine-logs");
    std::fs::write(
        &config,
        format!(
            "broker.id=0\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\nzookeeper.connect={zookeeper}\n\
             zookeeper.connection.timeout.ms=60000\n{more}\n",
            logs.display()
        ),
    )
    .expect("the folder can be written");
    let mut program = Program::start(command(&["kafka-server-start", &config.display().to_string()]));
    program.wait_line("started (kafka.server.KafkaServer)", START);
    Broker { program, port }
}

/// A four-letter word's answer; empty when nobody answers.
pub fn four_letters(port: u16, word: &str) -> String {
    use std::io::{Read, Write};
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let Ok(mut stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
        return String::new();
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let mut answer = String::new();
    let _ = stream.write_all(word.as_bytes());
    let _ = stream.read_to_string(&mut answer);
    answer
}
