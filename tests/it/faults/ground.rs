//! Three of our brokers and our ZooKeeper, started by their launchers and talking through links that can be cut,
//! with producers at work.
//!
//! The promise of all files that use it: with acks=-1, three replicas, min.insync.replicas=2 and no unclean
//! elections, whatever happens to leader, follower, controller or ZooKeeper, every acknowledged record is read
//! back once or more and in order, the replicas end byte-equal, and no broker that lives needs a restart by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use kafka::message::Codec;

use crate::support::fleet::{Fleet, LIMIT};
use crate::support::wait_until;
use crate::support::wire::{Wire, set};

pub const TOPIC: &str = "numbers";
/// One led by each broker.
pub const PARTITIONS: i32 = 3;
/// Numbers in one request.
const BATCH: u64 = 5;
/// How long a producer waits for an answer before it asks somebody else.
const PATIENCE: Duration = Duration::from_secs(6);

/// What a broker is to partition 0, or to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Leader,
    Follower,
    Controller,
}

pub const PARTS: [Part; 3] = [Part::Leader, Part::Follower, Part::Controller];

/// A cluster with producers at work.
pub struct Ground {
    pub fleet: Fleet,
    producers: Vec<Producer>,
}

/// Sends numbers to one partition, each until it is acknowledged.
struct Producer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Ground {
    #[track_caller]
    pub fn new(more: &str) -> Ground {
        Ground::on(Fleet::start(3, more))
    }

    /// Producers at work on three brokers that are started.
    #[track_caller]
    pub fn on(fleet: Fleet) -> Ground {
        fleet.create_topic(TOPIC, PARTITIONS);
        let ports = fleet.ports();
        let producers = (0..PARTITIONS)
            .map(|p| Producer::start(ports.clone(), p))
            .collect();
        Ground { fleet, producers }
    }

    /// Who plays that part now.
    #[track_caller]
    pub fn who(&self, part: Part) -> i32 {
        match part {
            Part::Leader => self.fleet.wait_leader(TOPIC, 0),
            Part::Follower => (self.fleet.wait_leader(TOPIC, 0) + 1) % 3,
            Part::Controller => {
                crate::support::wait_for("there is a controller", LIMIT, || self.fleet.controller())
            }
        }
    }

    fn acknowledged(&self) -> Vec<u64> {
        self.producers
            .iter()
            .map(|p| p.acknowledged.load(Ordering::Relaxed))
            .collect()
    }

    /// Waits until every partition acknowledges some more.
    #[track_caller]
    pub fn goes_on(&self, after: &str) {
        let before = self.acknowledged();
        let deadline = std::time::Instant::now() + LIMIT;
        loop {
            let now = self.acknowledged();
            if now
                .iter()
                .zip(&before)
                .all(|(now, before)| *now > before + 10 * BATCH)
            {
                return;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "after {after} nothing is acknowledged: {before:?} and {LIMIT:?} later {now:?}\n{}",
                self.fleet.printed()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until some partition acknowledges more: not all may, as some lack replicas.
    #[track_caller]
    pub fn goes_on_somewhere(&self, after: &str) {
        let before = self.acknowledged();
        wait_until(&format!("something is acknowledged after {after}"), LIMIT, || {
            self.acknowledged()
                .iter()
                .zip(&before)
                .any(|(now, before)| now > before)
        });
    }

    /// Waits until all replicas are in sync.
    #[track_caller]
    pub fn heals(&self) {
        self.fleet.wait_in_sync(TOPIC, PARTITIONS);
    }

    /// Waits until a broker leads nothing and is in sync nowhere.
    #[track_caller]
    pub fn wait_left_out(&self, id: i32) {
        wait_until("the others go on without it", LIMIT, || {
            (0..PARTITIONS).all(|p| {
                self.fleet
                    .state(TOPIC, p)
                    .is_some_and(|(leader, isr)| leader != id && !isr.contains(&id))
            })
        });
    }

    /// Ends the producers and checks the promise. Returns how many records were acknowledged.
    #[track_caller]
    pub fn reckon(mut self) -> u64 {
        self.goes_on("all faults");
        for producer in &self.producers {
            producer.stop.store(true, Ordering::Relaxed);
        }
        let acknowledged: Vec<u64> = self
            .producers
            .drain(..)
            .map(|p| {
                p.thread.join().expect("a producer does not panic");
                p.acknowledged.load(Ordering::Relaxed)
            })
            .collect();
        self.heals();
        for (partition, acknowledged) in (0..).zip(&acknowledged) {
            let bytes = self.fleet.wait_equal(TOPIC, partition);
            let read = self.fleet.read_all(TOPIC, partition);
            let mut next = 0;
            for value in read {
                let number = number_of(&value);
                assert!(
                    number <= next,
                    "partition {partition}: {number} stands where {next} should be; {acknowledged} are acknowledged"
                );
                next = next.max(number + 1);
            }
            assert!(
                next >= *acknowledged,
                "partition {partition} of {bytes} bytes holds numbers up to {next}, acknowledged up to {acknowledged}"
            );
        }
        for machine in &mut self.fleet.machines {
            let program = machine.program.as_mut().expect("it was started again");
            assert!(
                program.is_running(),
                "broker {} has ended by itself: {}",
                machine.id,
                program.printed()
            );
        }
        acknowledged.iter().sum()
    }
}

impl Producer {
    fn start(ports: Vec<u16>, partition: i32) -> Producer {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let thread = std::thread::spawn({
            let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
            move || produce(&ports, partition, &stop, &acknowledged)
        });
        Producer {
            stop,
            acknowledged,
            thread,
        }
    }
}

fn produce(ports: &[u16], partition: i32, stop: &AtomicBool, acknowledged: &AtomicU64) {
    let mut asked = usize::try_from(partition).unwrap_or(0);
    let mut leader: Option<Wire> = None;
    while !stop.load(Ordering::Relaxed) {
        let first = acknowledged.load(Ordering::Relaxed);
        let Some(wire) = &mut leader else {
            asked += 1;
            leader = find_leader(ports[asked % ports.len()], partition);
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        let values: Vec<Vec<u8>> = (first..first + BATCH).map(value_of).collect();
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        match wire.produce(TOPIC, partition, set(Codec::None, &values), -1) {
            Ok((0, _)) => acknowledged.store(first + BATCH, Ordering::Relaxed),
            // Too few in-sync replicas: here is where to ask, in a moment.
            Ok((19 | 20, _)) => std::thread::sleep(Duration::from_millis(20)),
            Ok(_) | Err(_) => leader = None,
        }
    }
}

/// A connection to the leader that the broker on `port` tells.
fn find_leader(port: u16, partition: i32) -> Option<Wire> {
    let answer = Wire::connect(port, PATIENCE).ok()?.metadata(&[TOPIC]).ok()?;
    let told = answer
        .topics
        .first()?
        .partitions
        .iter()
        .find(|p| p.partition == partition)?;
    let broker = answer.brokers.iter().find(|b| b.node_id == told.leader)?;
    Wire::connect(u16::try_from(broker.port).ok()?, PATIENCE).ok()
}

fn value_of(number: u64) -> Vec<u8> {
    format!("{number:<100}").into_bytes()
}

fn number_of(value: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(value);
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("{text:?} is no number"))
}
