//! What ZooKeeper's troubles did to 0.9.0.1's brokers until somebody restarted them, and must not do here.
//!
//! A quick restart that meets its own registration is in `broker.rs`, lost sessions of the controller and
//! deletions that survive it in `controller.rs`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kafka::message::Codec;

use crate::support::program::{Program, kafka, launcher, run, text};
use crate::support::wire::{Wire, set, wait_leaders};
use crate::support::{free_port, install, ours, wait_until};

const LIMIT: Duration = Duration::from_secs(120);

/// Two brokers on our ZooKeeper.
struct Cluster {
    brokers: [ours::Server; 2],
    zookeeper: ours::Server,
    _dirs: [tempfile::TempDir; 2],
}

impl Cluster {
    fn start(more: &str) -> Cluster {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let zookeeper = ours::zookeeper_with(dirs[0].path(), free_port(), ours::SHORT_SESSIONS);
        let connect = format!("127.0.0.1:{}", zookeeper.port);
        let brokers = [0, 1].map(|id: usize| {
            let more = format!("broker.id={id}\nreplica.fetch.wait.max.ms=100\n{more}");
            ours::broker_on(dirs[id].path(), &connect, free_port(), &more)
        });
        Cluster {
            brokers,
            zookeeper,
            _dirs: dirs,
        }
    }

    fn connect(&self) -> String {
        format!("127.0.0.1:{}", self.zookeeper.port)
    }

    fn shell(&self, command: &str) -> String {
        let mut shell = kafka();
        shell.args(["zookeeper-shell", "-server", &self.connect()]);
        text(&run(shell, format!("{command}\n").as_bytes(), LIMIT).stdout)
    }

    /// Runs kafka-topics; its outputs, one after the other.
    fn topics(&self, arguments: &[&str]) -> String {
        let mut command = kafka();
        command.args(["kafka-topics", "--zookeeper", &self.connect()]);
        command.args(arguments);
        let done = run(command, b"", LIMIT);
        text(&done.stdout) + &text(&done.stderr)
    }

    fn until_described(&self, part: &str) {
        wait_until(&format!("kafka-topics shows {part}"), LIMIT, || {
            self.topics(&["--describe", "--topic", "t"]).contains(part)
        });
    }

    fn produce(&self, broker: usize) {
        wait_until("a message is acknowledged", LIMIT, || {
            Wire::connect(self.brokers[broker].port, Duration::from_secs(15))
                .and_then(|mut w| w.produce("t", 0, set(Codec::None, &[b"m"]), -1))
                .is_ok_and(|(error, _)| error == 0)
        });
    }
}

#[test]
fn a_leader_whose_version_of_the_state_is_stale_goes_on_changing_its_in_sync_set() {
    // Sessions outlive the pause, so that only the leader changes the set.
    let cluster = Cluster::start("zookeeper.session.timeout.ms=40000\nreplica.lag.time.max.ms=1500");
    cluster.topics(&["--create", "--topic", "t", "--replica-assignment", "0:1"]);
    cluster.until_described("Isr: 0,1");
    let path = "/brokers/topics/t/partitions/0/state";
    // The same state again: the leader's version is one behind (KAFKA-2729).
    let printed = cluster.shell(&format!("get {path}"));
    let state = printed.lines().find(|l| l.starts_with('{')).unwrap();
    cluster.shell(&format!("set {path} {state}"));
    let follower = &cluster.brokers[1].program;
    follower.signal("STOP");
    // Who has all that there is does not lag; the first may still reach it.
    let mut leader = Wire::connect(cluster.brokers[0].port, LIMIT).unwrap();
    wait_until("the silent one is out", LIMIT, || {
        let appended = leader.produce("t", 0, set(Codec::None, &[b"alone"]), 1);
        assert_eq!(appended.unwrap().0, 0);
        cluster
            .topics(&["--describe", "--topic", "t"])
            .contains("Isr: 0\n")
    });
    let registered = cluster.shell("ls /brokers/ids");
    assert!(registered.contains("[0, 1]"), "the leader did it: {registered}");
    cluster.produce(0);
    follower.signal("CONT");
    cluster.until_described("Isr: 0,1");
    cluster.produce(0);
}

#[test]
fn a_controller_that_stood_still_past_its_session_is_no_zombie() {
    let cluster = Cluster::start("zookeeper.session.timeout.ms=3000\nreplica.lag.time.max.ms=3000");
    cluster.topics(&["--create", "--topic", "t", "--replica-assignment", "0:1"]);
    cluster.until_described("Isr: 0,1");
    // The first broker's office, in case the second was faster.
    wait_until("0 is controller", LIMIT, || {
        let printed = cluster.shell("get /controller");
        if printed.contains("\"brokerid\":1,") {
            cluster.shell("delete /controller");
        }
        printed.contains("\"brokerid\":0,")
    });
    let stopped = &cluster.brokers[0].program;
    stopped.signal("STOP");
    wait_until("1 is controller and leads", LIMIT, || {
        cluster.shell("get /controller").contains("\"brokerid\":1,")
            && cluster
                .topics(&["--describe", "--topic", "t"])
                .contains("Leader: 1")
    });
    cluster.produce(1);
    stopped.signal("CONT");
    wait_until("both are registered", LIMIT, || {
        cluster.shell("ls /brokers/ids").contains("[0, 1]")
    });
    // It follows, is in sync, and leads again when asked: by no restart.
    cluster.until_described("Isr: 1,0");
    cluster.produce(1);
    let mut elect = kafka();
    elect.args([
        "kafka-preferred-replica-election",
        "--zookeeper",
        &cluster.connect(),
    ]);
    assert!(run(elect, b"", LIMIT).status.success());
    cluster.until_described("Leader: 0");
    assert!(
        cluster.shell("get /controller").contains("\"brokerid\":1,"),
        "the office stays"
    );
    cluster.produce(0);
}

#[test]
fn deletion_that_is_not_enabled_is_told_and_harms_nothing() {
    let cluster = Cluster::start("delete.topic.enable=false");
    cluster.topics(&["--create", "--topic", "t", "--replica-assignment", "0:1"]);
    cluster.until_described("Isr: 0,1");
    let said = cluster.topics(&["--delete", "--topic", "t"]);
    assert!(
        said.contains("delete.topic.enable is not true at the controller"),
        "{said}"
    );
    // The next controller tells nobody to forget the topic (KAFKA-3175).
    cluster.shell("delete /controller");
    wait_until("there is a controller", LIMIT, || {
        cluster.shell("get /controller").contains("brokerid")
    });
    for broker in 0..2 {
        assert_eq!(wait_leaders(cluster.brokers[broker].port, "t", LIMIT)[&0], 0);
    }
    cluster.produce(0);
}

/// A broker for which names mean what the file `hosts` says at the time.
fn broker_with_names(dir: &Path, hosts: &Path, connect: &str) -> Result<ours::Server, String> {
    let apart = |command: &mut Command| {
        // A mount namespace of its own: nobody else sees that file in the place of the system's.
        command.args([
            "--mount",
            "sh",
            "-c",
            r#"mount --bind "$0" /etc/hosts && exec "$@""#,
        ]);
        command.arg(hosts);
    };
    let mut trial = Command::new("unshare");
    apart(&mut trial);
    trial.arg("true");
    let done = run(trial, b"", LIMIT);
    if !done.status.success() {
        return Err(format!("no mount namespace: {}", text(&done.stderr)));
    }
    let port = free_port();
    let config = dir.join("server.properties");
    let lines = format!(
        "broker.id=0\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\nzookeeper.connect={connect}\n\
         zookeeper.connection.timeout.ms=60000\n",
        dir.join("kafka-logs").display()
    );
    std::fs::write(&config, lines).unwrap();
    let mut command = Command::new("unshare");
    apart(&mut command);
    command.arg(install::launcher("kafka-server-start")).arg(&config);
    command.env("LOG_DIR", dir.join("logs"));
    let mut program = Program::start(command);
    program.wait_line("], started", LIMIT);
    Ok(ours::Server { program, port })
}

/// A name was looked up once, at the start (ZOOKEEPER-1576, KAFKA-5473).
#[test]
fn a_zookeeper_that_moves_to_another_address_behind_its_name_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    let port = free_port();
    // The same server on the same data, each time at another address.
    let zookeeper_at = |address: &str| {
        std::fs::write(&hosts, format!("{address} keeper.example\n")).unwrap();
        let config = dir.path().join("zookeeper.properties");
        let data = dir.path().join("zookeeper");
        let lines = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress={address}\nmaxClientCnxns=0\n",
            data.display()
        );
        std::fs::write(&config, lines).unwrap();
        let mut command = launcher("zookeeper-server-start");
        command.arg(&config).env("LOG_DIR", dir.path().join("logs"));
        let mut program = Program::start(command);
        program.wait_line("binding to port", LIMIT);
        program
    };
    let mut zookeeper = zookeeper_at("127.0.0.2");
    let connect = format!("keeper.example:{port}");
    let mut broker = need!(broker_with_names(dir.path(), &hosts, &connect));
    wait_leaders(broker.port, "before", LIMIT);
    for (address, topic) in [("127.0.0.3", "after"), ("127.0.0.4", "again")] {
        zookeeper.kill();
        zookeeper = zookeeper_at(address);
        broker
            .program
            .wait_line(&format!(" at server {address}:{port}"), LIMIT);
        wait_leaders(broker.port, topic, LIMIT);
    }
}
