//! The world in which the simulated brokers live: time, messages on their way, ZooKeeper, faults.

mod copying;
mod lives;
mod words;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use kafka::cluster::{BrokerId, ControllerEpoch, LeaderAndIsr};
use kafka::controller::context::LiveBroker;
use kafka::replica::Outcome;
use kafka::replica::agreement::Question;
use kafka::replica::isr::SETTLING;
use kafka::replica::standing::{Change, Decision, Role};
use kafka::util::clock::Mono;

use super::broker::{Answer, Broker, Life, Message, Parked};
use super::controller::{Controller, Word, ZooKeeper};
use crate::support::chance::Chance;

/// How long faults come, in milliseconds.
const TROUBLE: u64 = 60_000;
/// How long it may take after that until all is well.
const HEALING: u64 = 120_000;
/// A ZooKeeper session without its client.
const SESSION: u64 = 3000;
/// `replica.lag.time.max.ms`
const LAG: Duration = Duration::from_millis(3000);
/// One more than the partition has replicas.
const BROKERS: i32 = 4;
/// How many events a failure tells.
const TOLD: usize = 300;

/// What the simulated brokers are like.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// New followers cut their logs to the high watermark, as 0.9.0.1's do.
    pub cut_to_high_watermark: bool,
    /// Machines lose what was not synced, one at a time.
    pub forget: bool,
    /// `min.insync.replicas`.
    pub min_in_sync: i32,
}

impl Default for Habits {
    fn default() -> Self {
        Habits {
            cut_to_high_watermark: false,
            forget: true,
            min_in_sync: 2,
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    /// A broker's chores.
    Tick(BrokerId, u64),
    /// A follower's question arrives.
    Request {
        from: BrokerId,
        to: BrokerId,
        to_life: u64,
        connection: u64,
        question: Question,
    },
    /// A leader's answer arrives.
    Reply {
        to: BrokerId,
        leader: BrokerId,
        connection: u64,
        question: Question,
        answer: Answer,
    },
    /// A leader's in-sync set reaches ZooKeeper.
    Write(BrokerId, u64, LeaderAndIsr),
    /// And what came of it the leader.
    Written(BrokerId, u64, LeaderAndIsr, Outcome),
    /// What a controller said arrives at a process.
    Word(u64, Said),
    Start(BrokerId),
    /// A life of a broker has asked the controller of that epoch to let it go, and looks whether it has; not for longer than until
    /// then.
    Leaving(BrokerId, u64, Option<ControllerEpoch>, u64),
    Register(BrokerId, u64),
    /// A broker looks whether its former registration is gone, and registers some time after that.
    Await(BrokerId, u64, Option<i64>, u64),
    Expire(BrokerId, i64),
    /// A session goes if nothing has been heard for all that time.
    Lapse(BrokerId, i64),
    Look,
    Notified,
    /// The state of a partition on the move changed.
    StateChanged,
    Wished,
    TakeOffice,
    /// A broker has deleted its copy, as the controller of that epoch told it.
    Deleted(BrokerId, i64, ControllerEpoch),
    /// A broker's answer to the controller of that epoch, which meant it as it was registered by that transaction, and asked at
    /// that moment.
    Heeds(BrokerId, i64, ControllerEpoch, u64),
    Produce,
    Fault,
}

/// What a controller says to a broker.
#[derive(Clone, Debug)]
struct Said {
    to: BrokerId,
    /// The transaction by which the broker is registered, as the controller knows.
    czxid: i64,
    epoch: ControllerEpoch,
    /// The controller's moment.
    moment: u64,
    word: Word,
}

/// See the module.
pub struct World {
    chance: Chance,
    habits: Habits,
    now: u64,
    sequence: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    on_their_way: BTreeMap<u64, Event>,
    brokers: Vec<Broker>,
    zookeeper: ZooKeeper,
    controller: Option<Controller>,
    /// When the last word arrives over each connection: from a controller to a registration.
    last_words: BTreeMap<(ControllerEpoch, BrokerId, i64), u64>,
    connections: u64,
    messages: Message,
    acknowledged: BTreeMap<Message, i64>,
    /// What happened last.
    pub story: Vec<String>,
}

impl World {
    pub fn new(seed: u64, habits: Habits) -> World {
        let mut world = World {
            chance: Chance::new(seed),
            habits,
            now: 0,
            sequence: 0,
            events: BinaryHeap::new(),
            on_their_way: BTreeMap::new(),
            brokers: (1..=BROKERS).map(Broker::new).collect(),
            zookeeper: ZooKeeper {
                assignment: (1..=3).map(BrokerId).collect(),
                ..ZooKeeper::default()
            },
            controller: None,
            last_words: BTreeMap::new(),
            connections: 0,
            messages: 0,
            acknowledged: BTreeMap::new(),
            story: Vec::new(),
        };
        for id in 1..=BROKERS {
            world.soon(0, Event::Start(BrokerId(id)));
        }
        world.soon(1000, Event::TakeOffice);
        world.soon(1500, Event::Produce);
        world.soon(4000, Event::Fault);
        world
    }

    /// Lives through the time of faults and the healing after. Returns how many messages were acknowledged, and how often
    /// the partition was moved.
    ///
    /// # Errors
    /// A promise was broken.
    pub fn live(&mut self) -> Result<(usize, usize), String> {
        while let Some(Reverse((at, sequence))) = self.events.pop() {
            self.now = self.now.max(at);
            let event = self
                .on_their_way
                .remove(&sequence)
                .expect("an event for each time");
            self.happen(event)?;
            if self.now > TROUBLE && self.is_well() {
                return Ok((self.reckon()?, self.zookeeper.moves));
            }
            if self.now > TROUBLE + HEALING {
                return Err(format!(
                    "not well {HEALING} ms after the last fault: {:?}, brokers {:?}",
                    self.zookeeper,
                    self.brokers.iter().map(Broker::described).collect::<Vec<_>>()
                ));
            }
        }
        Err("nothing happens any more".into())
    }

    fn soon(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((self.now + after, self.sequence)));
        self.on_their_way.insert(self.sequence, event);
    }

    fn tell(&mut self, line: String) {
        if self.story.len() == TOLD {
            // What was acknowledged is the least of it.
            let acknowledged = self.story.iter().position(|line| line.contains("acknowledges"));
            self.story.remove(acknowledged.unwrap_or(0));
        }
        self.story.push(format!("{:>6} {line}", self.now));
    }

    fn mono(&self) -> Mono {
        Mono::from_millis(self.now)
    }

    /// How long a message takes: mostly little, sometimes long.
    fn delay(&mut self) -> u64 {
        match self.chance.between(1, 100) {
            1 => self.chance.between(400, 1500),
            2..=5 => self.chance.between(30, 400),
            _ => self.chance.between(1, 20),
        }
    }

    fn broker(&mut self, id: BrokerId) -> &mut Broker {
        let at = usize::try_from(id.0 - 1).expect("brokers count from 1");
        &mut self.brokers[at]
    }

    fn life(&mut self, id: BrokerId, number: u64) -> Option<&mut Life> {
        self.broker(id).life.as_mut().filter(|l| l.number == number)
    }

    /// An event for a process that stands still waits until it goes on.
    fn waits(&mut self, event: &Event) -> bool {
        let id = match event {
            Event::Tick(id, _)
            | Event::Written(id, ..)
            | Event::Word(_, Said { to: id, .. })
            | Event::Register(id, _)
            | Event::Leaving(id, ..)
            | Event::Request { to: id, .. }
            | Event::Reply { to: id, .. } => *id,
            _ => return false,
        };
        let (now, until) = (self.now, self.broker(id).paused_until);
        if until > now {
            // What came over one connection keeps its order.
            let jitter = match event {
                Event::Word(..) => 0,
                _ => self.chance.between(0, 3),
            };
            self.soon(until - now + jitter, event.clone());
        }
        until > now
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        if self.waits(&event) {
            return Ok(());
        }
        match event {
            Event::Tick(id, life) => self.tick(id, life),
            Event::Request {
                from,
                to,
                to_life,
                connection,
                question,
            } => {
                if self.life(to, to_life).is_some() {
                    self.request(from, to, connection, question);
                }
            }
            Event::Reply {
                to,
                leader,
                connection,
                question,
                answer,
            } => self.reply(to, leader, connection, question, answer)?,
            Event::Write(id, life, proposal) => self.write(id, life, proposal),
            Event::Written(id, life, proposal, outcome) => {
                if let Some(l) = self.life(id, life)
                    && l.standing.settle(&proposal, outcome)
                {
                    let later = self.chance.between(100, 6000);
                    self.soon(later, Event::Notified);
                    let later = self.delay();
                    self.soon(later, Event::StateChanged);
                }
                self.progress(id);
            }
            Event::Word(life, said) => match self.life(said.to, life) {
                Some(_) => self.word(said)?,
                None => self.word_again(said)?,
            },
            Event::Start(id) => {
                self.broker(id).start();
                let life = self.broker(id).lives;
                self.tell(format!("{id} starts"));
                self.soon(200, Event::Tick(id, life));
                let later = self.chance.between(20, 300);
                self.soon(later, Event::Register(id, life));
            }
            Event::Leaving(id, life, epoch, until) => self.leaving(id, life, epoch, until),
            Event::Register(id, life) => self.register(id, life),
            Event::Await(id, life, former, settling) => {
                if former.is_some() && self.zookeeper.registered.get(&id).copied() == former {
                    self.soon(150, Event::Await(id, life, former, settling));
                } else {
                    self.soon(settling, Event::Register(id, life));
                }
            }
            Event::Expire(id, czxid) => {
                if self.zookeeper.registered.get(&id) == Some(&czxid) {
                    self.zookeeper.registered.remove(&id);
                    self.tell(format!("{id} is not registered any more"));
                    self.look_soon();
                }
            }
            Event::Lapse(id, czxid) => {
                let now = self.now;
                let broker = self.broker(id);
                if broker.life.is_none() || broker.paused_until.max(broker.cut_off_until) >= now {
                    self.soon(0, Event::Expire(id, czxid));
                }
            }
            Event::Look => self.with_controller(Controller::look),
            Event::Notified => self.with_controller(Controller::notified),
            Event::StateChanged => self.with_controller(Controller::state_changed),
            Event::Wished => self.with_controller(Controller::wished),
            Event::TakeOffice => {
                if self.controller.is_none() {
                    self.tell("a controller takes office".into());
                    self.controller = Some(Controller::take_office(&mut self.zookeeper));
                    self.send_words();
                }
            }
            Event::Deleted(id, czxid, epoch) => self.with_controller(|c, z| {
                let same = |b: &LiveBroker| b.czxid == czxid;
                if c.context.epoch == epoch && c.context.brokers.get(&id).is_some_and(same) {
                    c.deleted(id, z);
                }
            }),
            Event::Heeds(id, czxid, epoch, moment) => self.with_controller(|c, z| {
                if c.context.epoch == epoch {
                    c.heard(id, czxid, moment, z);
                }
            }),
            Event::Produce => {
                // Not for ever: at the end all have the same at one time.
                if self.now < TROUBLE + HEALING / 4 {
                    self.produce();
                    let later = self.chance.between(5, 120);
                    self.soon(later, Event::Produce);
                }
            }
            Event::Fault => {
                if self.now < TROUBLE {
                    self.fault();
                    let later = self.chance.between(200, 3000);
                    self.soon(later, Event::Fault);
                }
            }
        }
        Ok(())
    }

    /// All live, are in sync, and have the same.
    fn is_well(&self) -> bool {
        let Some((state, _)) = &self.zookeeper.state else {
            return false;
        };
        let mut replicas = self.brokers.iter().filter(|b| self.is_assigned(b.id));
        let log = self.log_of(state.leader);
        state.isr.len() == 3
            && self.zookeeper.wish.is_none()
            && replicas.clone().count() == 3
            && replicas.clone().any(|b| b.id == state.leader && b.leads())
            && replicas.all(|b| b.life.is_some() && Some(&b.disk.log) == log)
    }

    fn is_assigned(&self, id: BrokerId) -> bool {
        self.zookeeper.assignment.contains(&id)
    }

    fn log_of(&self, id: BrokerId) -> Option<&Vec<Message>> {
        self.brokers.iter().find(|b| b.id == id).map(|b| &b.disk.log)
    }

    fn reckon(&self) -> Result<usize, String> {
        let leader = self
            .zookeeper
            .state
            .as_ref()
            .map_or(BrokerId::NONE, |(s, _)| s.leader);
        for (message, offset) in &self.acknowledged {
            let there = usize::try_from(*offset)
                .ok()
                .and_then(|o| self.log_of(leader)?.get(o));
            if there != Some(message) {
                return Err(format!(
                    "message {message}, acknowledged at offset {offset}, is lost: {there:?} is there"
                ));
            }
        }
        Ok(self.acknowledged.len())
    }
}

fn same(a: &LeaderAndIsr, b: &LeaderAndIsr) -> bool {
    LeaderAndIsr {
        zk_version: b.zk_version,
        ..a.clone()
    } == *b
}
