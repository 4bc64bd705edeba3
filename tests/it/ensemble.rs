//! Our brokers on ensembles of three Apache ZooKeeper servers, under a chroot.
//!
//! The promise: whichever member is killed, paused, or replaced by one at another address, brokers find the
//! others, what is led goes on, and new topics come to be as soon as the ensemble has a leader again.

use std::path::PathBuf;
use std::time::Duration;

use kafka::message::Codec;

use crate::support::program::{Program, kafka, run, text};
use crate::support::wire::{Wire, set, wait_leaders};
use crate::support::{free_port, genuine, holds_within, ours, reference, wait_until};

const LIMIT: Duration = Duration::from_secs(120);

/// One member's place: its ports, and what runs there.
struct Member {
    id: usize,
    client: u16,
    peer: u16,
    election: u16,
    program: Option<Program>,
}

impl Member {
    fn new(id: usize) -> Member {
        Member {
            id,
            client: free_port(),
            peer: free_port(),
            election: free_port(),
            program: None,
        }
    }

    /// `Mode:` of the four-letter word, empty when it does not serve.
    fn mode(&self) -> String {
        let answer = genuine::four_letters(self.client, "srvr");
        let mode = answer.lines().find_map(|l| l.strip_prefix("Mode: "));
        mode.unwrap_or_default().to_owned()
    }
}

struct Ensemble {
    system: &'static str,
    dir: tempfile::TempDir,
    members: Vec<Member>,
}

impl Ensemble {
    fn start(system: &'static str) -> Ensemble {
        let mut ensemble = Ensemble {
            system,
            dir: tempfile::tempdir().unwrap(),
            members: (1..=3).map(Member::new).collect(),
        };
        for place in 0..3 {
            ensemble.start_member(place);
        }
        ensemble.until_served();
        ensemble
    }

    fn data(&self, id: usize) -> PathBuf {
        self.dir.path().join(format!("member-{id}"))
    }

    fn start_member(&mut self, place: usize) {
        let id = self.members[place].id;
        let data = self.data(id);
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(data.join("myid"), id.to_string()).unwrap();
        let mut text = format!(
            "tickTime=1000\ninitLimit=20\nsyncLimit=5\ndataDir={}\nclientPort={}\nmaxClientCnxns=0\n",
            data.display(),
            self.members[place].client
        );
        if self.system == "zookeeper-3.8" {
            text.push_str("4lw.commands.whitelist=*\nadmin.enableServer=false\n");
        }
        for m in &self.members {
            text.push_str(&format!("server.{}=127.0.0.1:{}:{}\n", m.id, m.peer, m.election));
        }
        let config = self.dir.path().join(format!("member-{id}.properties"));
        std::fs::write(&config, text).unwrap();
        let mut command = genuine::command(&["zookeeper-server-start", &config.display().to_string()]);
        command
            .env("REFERENCE", self.system)
            .env("KAFKA_HEAP_OPTS", "-Xmx96M");
        self.members[place].program = Some(Program::start(command));
    }

    fn kill(&mut self, place: usize) {
        self.members[place].program.take().expect("it runs").kill();
    }

    /// Waits until there is a leader and another member, and returns the leader's place.
    fn until_served(&self) -> usize {
        let mut leader = None;
        wait_until("the ensemble serves", LIMIT, || {
            let modes: Vec<String> = self.members.iter().map(Member::mode).collect();
            leader = modes.iter().position(|m| m == "leader");
            leader.is_some() && modes.iter().any(|m| m == "follower")
        });
        leader.expect("the wait ended because there is one")
    }

    /// Waits until all members serve, and returns the leader's place. A genuine member that came back
    /// sometimes does not find its way into the ensemble; it is started again, as an operator would.
    fn until_all_serve(&mut self) -> usize {
        let serves = |member: &Member| !member.mode().is_empty();
        for _ in 0..3 {
            if holds_within(LIMIT / 4, || self.members.iter().all(serves)) {
                break;
            }
            for place in 0..3 {
                if !serves(&self.members[place]) {
                    self.kill(place);
                    self.start_member(place);
                }
            }
        }
        wait_until("all members serve", LIMIT, || self.members.iter().all(serves));
        self.until_served()
    }

    fn connect(&self) -> String {
        let servers: Vec<String> = self
            .members
            .iter()
            .map(|m| format!("127.0.0.1:{}", m.client))
            .collect();
        format!("{}/apps/kafka", servers.join(","))
    }
}

/// Two of our brokers, and what is written to them.
struct Cluster {
    brokers: [ours::Server; 2],
    _dirs: [tempfile::TempDir; 2],
    topics: Vec<String>,
    sent: usize,
}

impl Cluster {
    fn start(connect: &str) -> Cluster {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let brokers = [0, 1].map(|id: usize| {
            let more =
                format!("broker.id={id}\nzookeeper.session.timeout.ms=6000\nauto.create.topics.enable=false");
            ours::broker(dirs[id].path(), connect, &more)
        });
        Cluster {
            brokers,
            _dirs: dirs,
            topics: Vec::new(),
            sent: 0,
        }
    }

    fn create(&mut self, connect: &str, topic: &str) {
        wait_until(&format!("{topic} is made"), LIMIT, || {
            let mut command = kafka();
            command.args([
                "kafka-topics",
                "--zookeeper",
                connect,
                "--create",
                "--topic",
                topic,
            ]);
            command.args(["--replica-assignment", "0:1,1:0"]);
            let done = run(command, b"", LIMIT);
            done.status.success() || text(&done.stdout).contains("already exists")
        });
        for broker in &self.brokers {
            wait_leaders(broker.port, topic, LIMIT);
        }
        self.topics.push(topic.to_owned());
    }

    /// Sends one more number to every partition, each until it is acknowledged by both.
    fn send(&mut self) {
        for topic in &self.topics {
            for partition in 0..2 {
                let records = set(Codec::None, &[self.sent.to_string().as_bytes()]);
                wait_until("the number is acknowledged", LIMIT, || {
                    self.brokers.iter().any(|broker| {
                        Wire::connect(broker.port, Duration::from_secs(15))
                            .and_then(|mut w| w.produce(topic, partition, records.clone(), -1))
                            .is_ok_and(|(error, _)| error == 0)
                    })
                });
            }
        }
        self.sent += 1;
    }
}

fn lives_through(system: &'static str) {
    let mut ensemble = Ensemble::start(system);
    let connect = ensemble.connect();
    let mut cluster = Cluster::start(&connect);
    cluster.create(&connect, "first");
    cluster.send();

    // The leader is killed and comes back.
    let leader = ensemble.until_served();
    ensemble.kill(leader);
    cluster.send();
    ensemble.until_served();
    cluster.create(&connect, "second");
    ensemble.start_member(leader);

    // The leader stands still for longer than a session lives: the others elect another.
    let leader = ensemble.until_all_serve();
    let paused = ensemble.members[leader].program.as_ref().expect("it runs");
    paused.signal("STOP");
    cluster.send();
    wait_until("another leads", LIMIT, || {
        let others = ensemble
            .members
            .iter()
            .enumerate()
            .filter(|(place, _)| *place != leader);
        others.map(|(_, m)| m.mode()).any(|mode| mode == "leader")
    });
    cluster.create(&connect, "third");
    cluster.send();
    ensemble.members[leader]
        .program
        .as_ref()
        .expect("it runs")
        .signal("CONT");

    // A follower is gone for good; a new one takes its number at another address, and the others are
    // told one after the other.
    let leader = ensemble.until_all_serve();
    let place = (0..3).find(|p| *p != leader).expect("three members");
    ensemble.kill(place);
    let id = ensemble.members[place].id;
    std::fs::remove_dir_all(ensemble.data(id)).unwrap();
    ensemble.members[place] = Member::new(id);
    ensemble.start_member(place);
    let follower = (0..3)
        .find(|p| ![leader, place].contains(p))
        .expect("three members");
    for other in [follower, leader] {
        ensemble.kill(other);
        cluster.send();
        ensemble.start_member(other);
        ensemble.until_all_serve();
    }
    // Tools are told of the new address; brokers have two of the old ones.
    cluster.create(&ensemble.connect(), "fourth");
    cluster.send();

    for topic in ["first", "second", "third", "fourth"] {
        for partition in 0..2 {
            let leader = wait_leaders(cluster.brokers[0].port, topic, LIMIT)[&partition];
            let port = cluster.brokers[usize::try_from(leader).unwrap()].port;
            let all = Wire::connect(port, LIMIT)
                .unwrap()
                .read_all(topic, partition, 0)
                .unwrap();
            let last = all.last().and_then(|m| m.value.clone()).unwrap();
            assert_eq!(text(&last), (cluster.sent - 1).to_string(), "{topic}/{partition}");
        }
    }
    for broker in &mut cluster.brokers {
        assert!(broker.program.is_running(), "{}", broker.program.printed());
    }
}

#[test]
fn an_ensemble_of_zookeeper_3_4_is_lived_with() {
    need!(reference());
    lives_through("zookeeper-3.4");
}

#[test]
fn an_ensemble_of_zookeeper_3_8_is_lived_with() {
    need!(reference());
    lives_through("zookeeper-3.8");
}
