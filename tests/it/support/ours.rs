//! Our own programs through their launchers, as a user starts them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::program::{Program, launcher};

/// How long a start may take on a busy machine.
pub const START: Duration = Duration::from_secs(30);

/// How long anything else may take there.
const LIMIT: Duration = Duration::from_secs(120);

/// A ZooKeeper or a broker of ours.
pub struct Server {
    /// The process.
    pub program: Program,
    /// Where it listens.
    pub port: u16,
}

fn server(name: &str, config: &Path, dir: &Path, environment: &[(String, String)]) -> Program {
    let mut command: Command = launcher(name);
    command.arg(config).env("LOG_DIR", dir.join("logs"));
    command.envs(environment.iter().cloned());
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
    zookeeper_in(dir, port, more, &[])
}

/// As [`zookeeper_with`], with further words in its environment.
#[track_caller]
pub fn zookeeper_in(dir: &Path, port: u16, more: &str, environment: &[(String, String)]) -> Server {
    let config = dir.join("zookeeper.properties");
    let data = dir.join("zookeeper");
    let text = format!(
        "dataDir={}\nclientPort={port}\nmaxClientCnxns=0\n{more}\n",
        data.display()
    );
    std::fs::write(&config, text).expect("the folder can be written");
    let mut program = server("zookeeper-server-start", &config, dir, environment);
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
    let mut program = server("kafka-server-start", &config, dir, &[]);
    program.wait_line("], started", START);
    Server { program, port }
}

/// Brokers 0 and 1 with a ZooKeeper. Replicas that lag fall out soon, and nobody is elected uncleanly.
pub struct Pair {
    dirs: [tempfile::TempDir; 2],
    /// Their ZooKeeper.
    pub zookeeper: Server,
    /// Where the brokers listen, dead or alive.
    pub ports: [u16; 2],
    brokers: [Option<Server>; 2],
    settings: String,
}

impl Pair {
    /// Starts all three; `settings` are further lines of the brokers' properties. Returns when the brokers
    /// know each other.
    #[track_caller]
    pub fn start(settings: &str) -> Pair {
        let dir = || tempfile::tempdir().expect("the temporary folder can be written");
        let dirs = [dir(), dir()];
        let mut pair = Pair {
            // A dead broker's session ends soon.
            zookeeper: zookeeper_with(dirs[0].path(), super::free_port(), SHORT_SESSIONS),
            dirs,
            ports: [super::free_port(), super::free_port()],
            brokers: [None, None],
            settings: format!(
                "zookeeper.session.timeout.ms=3000\ndefault.replication.factor=2\nreplica.lag.time.max.ms=3000\n\
                 unclean.leader.election.enable=false\n{settings}"
            ),
        };
        pair.revive(0);
        pair.revive(1);
        super::wait_until("both brokers are known", START, || {
            let wire = super::wire::Wire::connect(pair.ports[0], START);
            let answer = wire.and_then(|mut w| w.metadata(&[]));
            answer.is_ok_and(|a| a.brokers.len() == 2)
        });
        pair
    }

    /// A broker's directory.
    pub fn dir(&self, id: usize) -> &Path {
        self.dirs[id].path()
    }

    /// For clients: where both brokers listen.
    pub fn servers(&self) -> String {
        self.ports.map(|port| format!("127.0.0.1:{port}")).join(",")
    }

    /// Starts a broker that is not running.
    #[track_caller]
    pub fn revive(&mut self, id: usize) {
        let connect = format!("127.0.0.1:{}", self.zookeeper.port);
        let more = format!("broker.id={id}\n{}", self.settings);
        self.brokers[id] = Some(broker_on(self.dirs[id].path(), &connect, self.ports[id], &more));
    }

    /// Kills a broker with -9 once the other one has all that it has of these topics.
    #[track_caller]
    pub fn kill(&mut self, id: usize, topics: &[&str]) {
        self.wait_in_sync(1 - id, topics);
        if let Some(mut broker) = self.brokers[id].take() {
            broker.program.kill();
        }
    }

    /// Stops a broker in order once the other one has all that it has of these topics, and starts it again.
    #[track_caller]
    pub fn restart(&mut self, id: usize, topics: &[&str]) {
        self.wait_in_sync(1 - id, topics);
        if let Some(mut broker) = self.brokers[id].take() {
            broker.program.stop(LIMIT);
        }
        self.revive(id);
    }

    /// How many such lines the brokers that run have logged since they were started.
    pub fn logged(&self, is: impl Fn(&str) -> bool) -> usize {
        let running = self.brokers.iter().flatten();
        let lines = running.flat_map(|broker| broker.program.stdout());
        lines.filter(|line| is(line)).count()
    }

    /// Waits until a broker knows that both have all of these topics.
    #[track_caller]
    fn wait_in_sync(&self, asked: usize, topics: &[&str]) {
        super::wait_until("both replicas are in sync", LIMIT, || {
            let wire = super::wire::Wire::connect(self.ports[asked], START);
            wire.and_then(|mut w| w.metadata(topics)).is_ok_and(|answer| {
                let mut partitions = answer.topics.iter().flat_map(|t| &t.partitions);
                partitions.all(|p| p.isr.len() == 2)
            })
        });
    }
}
