//! A cluster of real processes: our ZooKeeper and brokers through their launchers, each behind its own links, so
//! that each can be killed, stopped, paused and cut off.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kafka::cluster::LeaderAndIsr;
use kafka::util::clock::Clock;
use kafka::zookeeper::{Session, SessionSettings, paths, znodes};

use super::link::Link;
use super::ours::{self, SHORT_SESSIONS, Server};
use super::program::{Program, launcher};
use super::wire::Wire;
use super::{free_port, genuine, holds_within, wait_for};

/// How long anything may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(120);

/// How long ZooKeeper waits for a silent broker.
pub const SESSION: Duration = Duration::from_secs(3);

/// One broker's place: its disk, ports and links stay when its process goes.
pub struct Machine {
    pub id: i32,
    pub dir: PathBuf,
    /// Its log directory.
    pub logs: PathBuf,
    port: u16,
    /// Through which others and clients reach it.
    pub link: Link,
    /// Through which it reaches ZooKeeper.
    pub zookeeper_link: Link,
    /// Its process.
    pub program: Option<Program>,
    /// Further words of its environment.
    pub environment: Vec<(String, String)>,
}

/// The cluster.
pub struct Fleet {
    // In the order in which they go: the folder last.
    pub machines: Vec<Machine>,
    pub zookeeper: Option<Server>,
    zookeeper_port: u16,
    runtime: tokio::runtime::Runtime,
    settings: String,
    /// Further words of ZooKeeper's environment.
    zookeeper_environment: Vec<(String, String)>,
    dir: tempfile::TempDir,
}

impl Machine {
    fn new(id: i32, folder: &Path, zookeeper: u16) -> Machine {
        let dir = folder.join(format!("broker-{id}"));
        std::fs::create_dir_all(&dir).expect("the folder can be written");
        let port = free_port();
        Machine {
            id,
            logs: dir.join("kafka-logs"),
            dir,
            port,
            link: Link::to(port),
            zookeeper_link: Link::to(zookeeper),
            program: None,
            environment: Vec::new(),
        }
    }

    /// Starts its process; returns at once.
    fn launch(&mut self, settings: &str) {
        let config = self.dir.join("server.properties");
        let text = format!(
            "broker.id={}\nlisteners=PLAINTEXT://127.0.0.1:{}\nadvertised.listeners=PLAINTEXT://127.0.0.1:{}\n\
             log.dirs={}\nzookeeper.connect=127.0.0.1:{}\n{settings}\n",
            self.id,
            self.port,
            self.link.port,
            self.logs.display(),
            self.zookeeper_link.port
        );
        std::fs::write(&config, text).expect("the folder can be written");
        let mut command = launcher("kafka-server-start");
        command.arg(&config).env("LOG_DIR", self.dir.join("logs"));
        command.envs(self.environment.iter().cloned());
        self.program = Some(Program::start(command));
    }

    /// Waits until its process says that it is started.
    #[track_caller]
    pub fn wait_started(&mut self) {
        let program = self.program.as_mut().expect("it was launched");
        program.wait_line("], started", LIMIT);
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.kill();
        }
    }

    /// SIGTERM; returns when it has ended, which it must do in order.
    #[track_caller]
    pub fn stop(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.stop(LIMIT);
            // Recovery may still have something to say when it is left.
            let lines = program.stdout();
            let in_order = |line: &String| {
                ["shut down completed", "told to end while starting"]
                    .iter()
                    .any(|words| line.contains(words))
            };
            assert!(lines.iter().any(in_order), "{}", program.printed());
        }
    }

    /// SIGSTOP.
    pub fn pause(&mut self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn go_on(&mut self) {
        self.signal("CONT");
    }

    fn signal(&mut self, name: &str) {
        // Its number may be another's once it has ended.
        if let Some(program) = &mut self.program
            && program.is_running()
        {
            program.signal(name);
        }
    }
}

impl Fleet {
    /// ZooKeeper and so many brokers, numbered from 0, all started. `more` are further lines of all brokers'
    /// properties.
    #[track_caller]
    pub fn start(brokers: i32, more: &str) -> Fleet {
        let mut fleet = Fleet::prepare(brokers, more);
        fleet.launch_all();
        fleet
    }

    /// As [`start`](Self::start), but no broker is launched yet.
    #[track_caller]
    pub fn prepare(brokers: i32, more: &str) -> Fleet {
        Fleet::prepare_in(brokers, more, Vec::new())
    }

    /// As [`prepare`](Self::prepare), with further words in ZooKeeper's environment.
    #[track_caller]
    pub fn prepare_in(brokers: i32, more: &str, zookeeper_environment: Vec<(String, String)>) -> Fleet {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let zookeeper_port = free_port();
        let zookeeper =
            ours::zookeeper_in(dir.path(), zookeeper_port, SHORT_SESSIONS, &zookeeper_environment);
        let settings = format!(
            "zookeeper.session.timeout.ms={}\nzookeeper.connection.timeout.ms=600000\nreplica.lag.time.max.ms=4000\n\
             replica.socket.timeout.ms=4000\nreplica.fetch.wait.max.ms=200\nreplica.fetch.backoff.ms=500\n\
             controller.socket.timeout.ms=4000\ncontrolled.shutdown.retry.backoff.ms=500\n\
             unclean.leader.election.enable=false\nmin.insync.replicas=2\ndefault.replication.factor=3\n\
             replica.high.watermark.checkpoint.interval.ms=1000\n{more}\n",
            SESSION.as_millis()
        );
        Fleet {
            machines: (0..brokers)
                .map(|id| Machine::new(id, dir.path(), zookeeper_port))
                .collect(),
            zookeeper: Some(zookeeper),
            zookeeper_port,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
            settings,
            zookeeper_environment,
            dir,
        }
    }

    /// Launches all brokers and waits until they are started.
    #[track_caller]
    pub fn launch_all(&mut self) {
        for at in 0..self.machines.len() {
            let settings = self.settings.clone();
            self.machines[at].launch(&settings);
        }
        for machine in &mut self.machines {
            machine.wait_started();
        }
    }

    pub fn machine(&mut self, id: i32) -> &mut Machine {
        let at = usize::try_from(id).expect("brokers count from 0");
        &mut self.machines[at]
    }

    /// Starts a broker's process; returns at once.
    pub fn launch(&mut self, id: i32) {
        let settings = self.settings.clone();
        self.machine(id).launch(&settings);
    }

    /// SIGKILL for ZooKeeper.
    pub fn kill_zookeeper(&mut self) {
        if let Some(mut zookeeper) = self.zookeeper.take() {
            zookeeper.program.kill();
        }
    }

    /// Starts ZooKeeper again.
    #[track_caller]
    pub fn start_zookeeper(&mut self) {
        self.zookeeper = Some(ours::zookeeper_in(
            self.dir.path(),
            self.zookeeper_port,
            SHORT_SESSIONS,
            &self.zookeeper_environment,
        ));
    }

    /// Where clients reach the brokers.
    pub fn ports(&self) -> Vec<u16> {
        self.machines.iter().map(|m| m.link.port).collect()
    }

    /// Asks ZooKeeper something, over a session of its own.
    fn ask<T, F>(&self, question: impl FnOnce(Session) -> F) -> T
    where
        F: Future<Output = T>,
    {
        let settings = SessionSettings {
            session_timeout: Duration::from_secs(10),
            connection_timeout: LIMIT,
        };
        let connect = format!("127.0.0.1:{}", self.zookeeper_port);
        self.runtime.block_on(async {
            let session = Session::connect(&connect, settings, Clock::system())
                .await
                .expect("ZooKeeper serves");
            let answer = question(session.clone()).await;
            session.close().await;
            answer
        })
    }

    /// Makes a topic on all brokers and waits for its leaders.
    #[track_caller]
    pub fn create_topic(&self, topic: &str, partitions: i32) {
        let replicas = i32::try_from(self.machines.len()).expect("few");
        self.ask(|session| async move {
            kafka::admin::create_topic(&session, topic, partitions, replicas, &BTreeMap::new())
                .await
                .expect("a new topic");
        });
        self.wait_in_sync(topic, partitions);
    }

    /// Leader and in-sync replicas, as they stand in ZooKeeper.
    pub fn state(&self, topic: &str, partition: i32) -> Option<(i32, Vec<i32>)> {
        let state = self.decision(topic, partition)?;
        Some((state.leader.0, state.isr.iter().map(|id| id.0).collect()))
    }

    /// How often the partition's leadership was decided; -1 if never.
    pub fn leader_epoch(&self, topic: &str, partition: i32) -> i32 {
        self.decision(topic, partition)
            .map_or(-1, |state| state.leader_epoch.0)
    }

    fn decision(&self, topic: &str, partition: i32) -> Option<LeaderAndIsr> {
        let path = paths::partition_state(topic, partition);
        let node = self.ask(|session| async move { session.get(&path).await.ok().flatten() })?;
        znodes::leader_and_isr::decode(&node.data?, node.stat.version).ok()
    }

    /// The transactions that created the brokers' registrations.
    pub fn registrations(&self) -> BTreeMap<i32, i64> {
        let ids: Vec<i32> = self.machines.iter().map(|m| m.id).collect();
        self.ask(|session| async move {
            let mut found = BTreeMap::new();
            for id in ids {
                if let Ok(Some(node)) = session.get(&paths::broker(id)).await {
                    found.insert(id, node.stat.czxid);
                }
            }
            found
        })
    }

    /// Who acts as the controller.
    pub fn controller(&self) -> Option<i32> {
        let node = self.ask(|session| async move { session.get(paths::CONTROLLER).await.ok().flatten() })?;
        znodes::controller::decode(&node.data?).ok().map(|id| id.0)
    }

    /// Waits until every replica of every partition is in sync.
    #[track_caller]
    pub fn wait_in_sync(&self, topic: &str, partitions: i32) {
        let all = self.machines.len();
        let states = || -> Vec<_> { (0..partitions).map(|p| self.state(topic, p)).collect() };
        let healed = holds_within(LIMIT, || {
            states()
                .iter()
                .all(|state| matches!(state, Some((leader, isr)) if *leader >= 0 && isr.len() == all))
        });
        assert!(
            healed,
            "not all replicas of {topic} came in sync within {LIMIT:?}: {:?}\n{}",
            states(),
            self.printed()
        );
    }

    /// The leader of a partition that a broker tells, and answers as.
    #[track_caller]
    pub fn wait_leader(&self, topic: &str, partition: i32) -> i32 {
        wait_for("the partition has a leader", LIMIT, || {
            self.state(topic, partition)
                .map(|(leader, _)| leader)
                .filter(|l| *l >= 0)
        })
    }

    /// All messages of a partition up to the high watermark, from its leader.
    #[track_caller]
    pub fn read_all(&mut self, topic: &str, partition: i32) -> Vec<Vec<u8>> {
        wait_for("the leader answers", LIMIT, || {
            let (leader, _) = self.state(topic, partition)?;
            let port = self.machine(leader).link.port;
            let mut wire = Wire::connect(port, Duration::from_secs(10)).ok()?;
            let messages = wire.read_all(topic, partition, 0).ok()?;
            Some(
                messages
                    .into_iter()
                    .map(|m| m.value.unwrap_or_default().to_vec())
                    .collect(),
            )
        })
    }

    /// Waits until all replicas of a partition have the same bytes, and returns how many.
    #[track_caller]
    pub fn wait_equal(&self, topic: &str, partition: i32) -> usize {
        let bytes = |machine: &Machine| log_bytes(&machine.logs.join(format!("{topic}-{partition}")));
        let what = format!("the replicas of {topic}-{partition} are byte-equal");
        let mut sizes = Vec::new();
        let deadline = std::time::Instant::now() + LIMIT;
        loop {
            let all: Vec<Vec<u8>> = self.machines.iter().map(bytes).collect();
            if all.windows(2).all(|two| two[0] == two[1]) {
                return all[0].len();
            }
            let differ = all
                .windows(2)
                .map(|two| two[0].iter().zip(&two[1]).position(|(a, b)| a != b));
            sizes.clear();
            sizes.extend(all.iter().map(Vec::len));
            assert!(
                std::time::Instant::now() < deadline,
                "{what}: sizes {sizes:?}, first differences {:?}\n{}",
                differ.collect::<Vec<_>>(),
                self.printed()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What all processes printed last, for messages.
    pub fn printed(&self) -> String {
        let last = |m: &Machine| {
            let lines = m.program.as_ref().map_or(Vec::new(), Program::stdout);
            let from = lines.len().saturating_sub(60);
            format!("--- broker {}\n{}", m.id, lines[from..].join("\n"))
        };
        self.machines.iter().map(last).collect::<Vec<_>>().join("\n")
    }

    /// Whether ZooKeeper answers.
    pub fn zookeeper_serves(&self) -> bool {
        genuine::four_letters(self.zookeeper_port, "ruok").contains("imok")
    }
}

/// The bytes of a partition's segments, one after the other.
fn log_bytes(dir: &Path) -> Vec<u8> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut segments: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "log"))
        .collect();
    segments.sort();
    segments
        .iter()
        .flat_map(|p| std::fs::read(p).unwrap_or_default())
        .collect()
}
