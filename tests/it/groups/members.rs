//! The promise: genuine Java consumers, kafka-python, kcat and ours share a group on our brokers. Whoever joins
//! or leaves, is killed, or whatever broker dies, every message is processed at least once, partitions are
//! shared out evenly and to one member each, and no committed position goes back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use kafka::message::Codec;
use kafka::util::codec::Reader;

use super::client::{Client, LIMIT, wait_coordinator};
use crate::support::cluster::Whose;
use crate::support::ours::Pair;
use crate::support::program::Program;
use crate::support::python::python;
use crate::support::wire::{Wire, set, wait_leaders};
use crate::support::{reference, wait_for, wait_until};

/// kafka-python of the time when 0.9 was common knowledge.
const PACKAGES: [&str; 2] = ["kafka-python==2.0.2", "six"];

/// Prints the values of a topic as a member of a group; SIGTERM lets it leave, after what it has begun.
const SCRIPT: &str = r#"
import signal, sys
from kafka import KafkaConsumer
servers, group, topic = sys.argv[1:]
stopped = False
def stop(*_):
    global stopped
    stopped = True
signal.signal(signal.SIGTERM, stop)
c = KafkaConsumer(topic, bootstrap_servers=servers.split(','), api_version=(0, 9), group_id=group,
                  client_id='python', auto_offset_reset='earliest', auto_commit_interval_ms=200,
                  session_timeout_ms=6000, heartbeat_interval_ms=500, metadata_max_age_ms=2000,
                  consumer_timeout_ms=200)
while not stopped:
    for m in c:
        print(m.value.decode(), flush=True)
        if stopped:
            break
c.close()
"#;

/// A member that runs kafka-python.
pub fn python_member(servers: &str, group: &str, topic: &str) -> Result<Program, String> {
    let mut command = Command::new(python(&PACKAGES)?);
    command.args(["-c", SCRIPT, servers, group, topic]);
    Ok(Program::start(command))
}

/// A console consumer of either make, the new one, with its make as client id.
fn console_member(whose: Whose, dir: &Path, servers: &str, group: &str, topic: &str) -> Program {
    let name = if whose == Whose::Ours { "rust" } else { "java" };
    let config = dir.join(format!("{name}.properties"));
    let text = format!(
        "group.id={group}\nclient.id={name}\nauto.commit.interval.ms=200\nsession.timeout.ms=6000\n\
         heartbeat.interval.ms=500\nmetadata.max.age.ms=2000\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut command = whose.command("kafka-console-consumer");
    command.args(["--new-consumer", "--bootstrap-server", servers]);
    command.args(["--topic", topic, "--from-beginning", "--consumer.config"]);
    command.arg(config);
    Program::start(command)
}

fn kcat_member(servers: &str, group: &str, topic: &str) -> Program {
    let mut command = Command::new("kcat");
    command.args(["-b", servers, "-q", "-u"]);
    for setting in [
        "client.id=kcat",
        "api.version.request=false",
        "broker.version.fallback=0.9.0.1",
        "session.timeout.ms=6000",
        "heartbeat.interval.ms=500",
        "auto.commit.interval.ms=200",
        "auto.offset.reset=earliest",
        "topic.metadata.refresh.interval.ms=2000",
    ] {
        command.args(["-X", setting]);
    }
    command.args(["-G", group, topic]);
    Program::start(command)
}

/// Who has which partitions, by client id, if the group is stable.
pub fn shares(port: u16, group: &str) -> Option<BTreeMap<String, BTreeSet<i32>>> {
    let mut client = Client {
        wire: Wire::connect(port, Duration::from_secs(5)).ok()?,
    };
    let described = client.describe(group).ok()?;
    if described.error != 0 || described.state != "Stable" {
        return None;
    }
    let share = |m: kafka::protocol::groups::DescribedMember| {
        // version, one topic, its name, its partitions
        let mut r = Reader::new(m.assignment);
        let (_, topics) = (r.i16().ok()?, r.i32().ok()?);
        if topics == 0 {
            return Some((m.client_id, BTreeSet::new()));
        }
        r.nullable_short_string().ok()?;
        let partitions = (0..r.i32().ok()?).map(|_| r.i32()).collect::<Result<_, _>>();
        Some((m.client_id, partitions.ok()?))
    };
    described.members.into_iter().map(share).collect()
}

/// Waits until these clients share `all` partitions, evenly, each partition with one of them.
#[track_caller]
fn wait_shared(port: impl Fn() -> u16, group: &str, clients: &[&str], all: usize) {
    let what = format!("{clients:?} share {all} partitions");
    wait_until(&what, LIMIT, || {
        let Some(shares) = shares(port(), group) else {
            return false;
        };
        let names: BTreeSet<&str> = shares.keys().map(String::as_str).collect();
        let parts: BTreeSet<i32> = shares.values().flatten().copied().collect();
        names == clients.iter().copied().collect()
            && parts.len() == all
            && shares.values().all(|s| s.len() == all / clients.len())
    });
}

/// Writes numbers to a topic, one after the other over its partitions, until stopped.
pub struct Numbers {
    stop: Arc<AtomicBool>,
    pause: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Numbers {
    /// `acks` must hold before the next number is written.
    pub fn start(ports: Vec<u16>, topic: &'static str, partitions: usize, acks: i16) -> Numbers {
        let (stop, pause) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let count = Arc::new(AtomicUsize::new(0));
        let thread = std::thread::spawn({
            let (stop, pause, count) = (stop.clone(), pause.clone(), count.clone());
            move || {
                let mut wires: Vec<Option<Wire>> = ports.iter().map(|_| None).collect();
                let mut at = 0;
                while !stop.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(2));
                    if pause.load(Ordering::SeqCst) {
                        continue;
                    }
                    let n = count.load(Ordering::SeqCst);
                    let partition = i32::try_from(n % partitions).unwrap();
                    let value = n.to_string();
                    if wires[at].is_none() {
                        wires[at] = Wire::connect(ports[at], Duration::from_secs(5)).ok();
                    }
                    let records = set(Codec::None, &[value.as_bytes()]);
                    let sent = wires[at]
                        .as_mut()
                        .map(|w| w.produce(topic, partition, records, acks));
                    match sent {
                        Some(Ok((0, _))) => {
                            count.fetch_add(1, Ordering::SeqCst);
                        }
                        Some(Ok(_)) => at = (at + 1) % ports.len(),
                        _ => {
                            wires[at] = None;
                            at = (at + 1) % ports.len();
                        }
                    }
                }
            }
        });
        Numbers {
            stop,
            pause,
            count,
            thread: Some(thread),
        }
    }

    /// How many are acknowledged.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Holds back further numbers, or lets them go on.
    pub fn pause(&self, pause: bool) {
        self.pause.store(pause, Ordering::SeqCst);
    }

    /// Ends; returns how many were acknowledged.
    pub fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.count()
    }
}

/// The numbers that were printed.
pub fn seen(programs: &[&Program]) -> BTreeSet<usize> {
    let lines = programs.iter().flat_map(|p| p.stdout());
    lines.filter_map(|l| l.parse().ok()).collect()
}

/// Waits until one more number than there are by now has been printed by each.
#[track_caller]
fn wait_progress(numbers: &Numbers, programs: &[&Program]) {
    let from = numbers.count();
    for program in programs {
        wait_until("a member goes on", LIMIT, || {
            seen(&[program]).last().is_some_and(|n| *n > from)
        });
    }
}

#[test]
fn members_of_every_kind_share_a_group_through_joins_leaves_deaths_and_a_lost_coordinator() {
    need!(reference());
    need!(python(&PACKAGES));
    let kcat = Command::new("kcat").arg("-V").output();
    need!(kcat.map_err(|_| "kcat is not installed"));
    let mut pair = Pair::start("offsets.topic.num.partitions=2\nnum.partitions=12");
    let (ports, servers) = (pair.ports, pair.servers());
    wait_leaders(ports[0], "t", LIMIT);
    // Asked of whatever broker lives.
    let coordinator = || {
        wait_for("a coordinator", LIMIT, || {
            ports.iter().find_map(|port| {
                let mut client = Client {
                    wire: Wire::connect(*port, Duration::from_secs(5)).ok()?,
                };
                let (error, _, at) = client.coordinator("g").ok()?;
                (error == 0).then(|| u16::try_from(at).unwrap())
            })
        })
    };
    let committed = || -> BTreeMap<i32, i64> {
        let mut client = Client::connect(coordinator());
        let all = client.fetch_all("g").into_iter();
        all.map(|(_, partition, offset)| (partition, offset)).collect()
    };
    let numbers = Numbers::start(ports.to_vec(), "t", 12, -1);

    // They join one after the other.
    let mut java = console_member(Whose::Genuine, pair.dir(0), &servers, "g", "t");
    wait_shared(coordinator, "g", &["java"], 12);
    let mut first = python_member(&servers, "g", "t").unwrap();
    wait_shared(coordinator, "g", &["java", "python"], 12);
    let mut kcat = kcat_member(&servers, "g", "t");
    wait_shared(coordinator, "g", &["java", "kcat", "python"], 12);
    let mut rust = console_member(Whose::Ours, pair.dir(0), &servers, "g", "t");
    wait_shared(coordinator, "g", &["java", "kcat", "python", "rust"], 12);
    wait_progress(&numbers, &[&java, &first, &kcat, &rust]);

    // One is killed.
    first.kill();
    wait_shared(coordinator, "g", &["java", "kcat", "rust"], 12);
    wait_progress(&numbers, &[&java, &kcat, &rust]);

    // The coordinator's broker is killed: the other one knows the group and where it was.
    let before = committed();
    let dies = ports.iter().position(|p| *p == coordinator()).unwrap();
    pair.kill(dies, &["__consumer_offsets", "t"]);
    wait_until("the other broker coordinates", LIMIT, || {
        coordinator() == ports[1 - dies]
    });
    wait_shared(coordinator, "g", &["java", "kcat", "rust"], 12);
    wait_progress(&numbers, &[&java, &kcat, &rust]);
    for (partition, offset) in committed() {
        assert!(
            offset >= before.get(&partition).copied().unwrap_or(0),
            "partition {partition} went back from {before:?} to {offset}"
        );
    }
    pair.revive(dies);

    // One leaves by itself: nobody waits for its session to end. kcat drops what it has in hand then, and
    // has told that it is processed; so it gets nothing into its hands.
    numbers.pause(true);
    wait_until("all are processed", LIMIT, || {
        let all: BTreeSet<usize> = (0..numbers.count()).collect();
        seen(&[&java, &first, &kcat, &rust]).is_superset(&all)
    });
    kcat.signal("TERM");
    kcat.wait(LIMIT);
    numbers.pause(false);
    wait_shared(coordinator, "g", &["java", "rust"], 12);

    // The leader is killed; a new one goes on.
    let mut second = python_member(&servers, "g", "t").unwrap();
    wait_shared(coordinator, "g", &["java", "python", "rust"], 12);
    java.kill();
    wait_shared(coordinator, "g", &["python", "rust"], 12);
    wait_progress(&numbers, &[&second, &rust]);
    rust.kill();
    wait_shared(coordinator, "g", &["python"], 12);

    let sent = numbers.stop();
    let all: BTreeSet<usize> = (0..sent).collect();
    wait_until("every message is processed", LIMIT, || {
        seen(&[&java, &first, &kcat, &rust, &second]).is_superset(&all)
    });
    // Whoever leaves commits first.
    second.signal("TERM");
    second.wait(LIMIT);
    let ends = |port: u16| -> BTreeMap<i32, i64> {
        let leaders = wait_leaders(port, "t", LIMIT);
        let end = |(partition, leader): (i32, i32)| {
            let mut at = Wire::connect(ports[usize::try_from(leader).unwrap()], LIMIT).unwrap();
            (partition, at.offset_at("t", partition, -1).unwrap()[0])
        };
        leaders.into_iter().map(end).collect()
    };
    assert_eq!(committed(), ends(coordinator()));
    assert_eq!(wait_coordinator(ports[0], "g").1, coordinator());
}
