//! Our own programs through their launchers, as a user starts them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::program::{Program, launcher};

/// How long a start may take on a busy machine.
pub const START: Duration = Duration::from_secs(30);

/// A ZooKeeper or a broker of ours.
pub struct Server {
    /// The process.
    pub program: Program,
    /// Where it listens.
    pub port: u16,
}

fn server(name: &str, config: &Path, dir: &Path) -> Program {
    let mut command: Command = launcher(name);
    command.arg(config).env("LOG_DIR", dir.join("logs"));
    Program::start(command)
}

/// Starts our ZooKeeper on `dir/zookeeper`.
#[track_caller]
pub fn zookeeper(dir: &Path) -> Server {
    zookeeper_on(dir, super::free_port())
}

/// Starts our ZooKeeper on `dir/zookeeper` and a port.
#[track_caller]
pub fn zookeeper_on(dir: &Path, port: u16) -> Server {
    zookeeper_with(dir, port, "")
}

/// A line that lets clients ask for sessions of a second.
pub const SHORT_SESSIONS: &str = "tickTime=500\nmaxSessionTimeout=60000";

/// Starts our ZooKeeper on `dir/zookeeper` and a port; `more` are further lines of its properties.
#[track_caller]
pub fn zookeeper_with(dir: &Path, port: u16, more: &str) -> Server {
    let config = dir.join("zookeeper.properties");
    let data = dir.join("zookeeper");
    let text = format!(
        "dataDir={}\nclientPort={port}\nmaxClientCnxns=0\n{more}\n",
        data.display()
    );
    std::fs::write(&config, text).expect("the folder can be written");
    let mut program = server("zookeeper-server-start", &config, dir);
    program.wait_line("binding to port", START);
    super::wait_until("our ZooKeeper serves", START, || {
        super::genuine::four_letters(port, "srvr").contains("Mode:")
    });
    Server { program, port }
}

/// Starts our broker 0 on `dir/kafka-logs`; `more` are further lines of its properties.
#[track_caller]
pub fn broker(dir: &Path, zookeeper: &str, more: &str) -> Server {
    broker_on(dir, zookeeper, super::free_port(), more)
}

/// Starts our broker 0 on `dir/kafka-logs` and a port.
#[track_caller]
pub fn broker_on(dir: &Path, zookeeper: &str, port: u16, more: &str) -> Server {
    let config = dir.join("server.properties");
    let logs = dir.join("kafka-logs");
    let text = format!(
        "broker.id=0\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\nzookeeper.connect={zookeeper}\n\
         zookeeper.connection.timeout.ms=30000\n{more}\n",
        logs.display()
    );
    std::fs::write(&config, text).expect("the folder can be written");
    let mut program = server("kafka-server-start", &config, dir);
    program.wait_line("], started", START);
    Server { program, port }
}
