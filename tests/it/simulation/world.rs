//! The world in which the simulated brokers live: time, messages on their way, ZooKeeper, faults.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use kafka::cluster::{BrokerId, ControllerEpoch, LeaderAndIsr};
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
/// How many events a failure tells.
const TOLD: usize = 300;

/// What the simulated brokers are like.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// New followers cut their logs to the high watermark, as 0.9.0.1's do.
    pub cut_to_high_watermark: bool,
    /// Machines lose what was not synced, one at a time.
    pub forget: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Habits {
            cut_to_high_watermark: false,
            forget: true,
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
    /// A controller's word arrives at a process.
    Word(BrokerId, u64, i64, ControllerEpoch, Word),
    Start(BrokerId),
    Register(BrokerId, u64),
    /// A broker looks whether its former registration is gone, and registers some time after that.
    Await(BrokerId, u64, Option<i64>, u64),
    Expire(BrokerId, i64),
    /// A session goes if nothing has been heard for all that time.
    Lapse(BrokerId, i64),
    Look,
    Notified,
    TakeOffice,
    /// A broker's answer to the controller of that epoch.
    Took(BrokerId, ControllerEpoch),
    Produce,
    Fault,
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
    /// When the last word to each broker arrives.
    last_words: BTreeMap<BrokerId, u64>,
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
            brokers: (1..=3).map(Broker::new).collect(),
            zookeeper: ZooKeeper::default(),
            controller: None,
            last_words: BTreeMap::new(),
            connections: 0,
            messages: 0,
            acknowledged: BTreeMap::new(),
            story: Vec::new(),
        };
        for id in 1..=3 {
            world.soon(0, Event::Start(BrokerId(id)));
        }
        world.soon(1000, Event::TakeOffice);
        world.soon(1500, Event::Produce);
        world.soon(4000, Event::Fault);
        world
    }

    /// Lives through the time of faults and the healing after. Returns how many messages were acknowledged.
    ///
    /// # Errors
    /// A promise was broken.
    pub fn live(&mut self) -> Result<usize, String> {
        while let Some(Reverse((at, sequence))) = self.events.pop() {
            self.now = self.now.max(at);
            let event = self
                .on_their_way
                .remove(&sequence)
                .expect("an event for each time");
            self.happen(event)?;
            if self.now > TROUBLE && self.is_well() {
                return self.reckon();
            }
            if self.now > TROUBLE + HEALING {
                return Err(format!(
                    "not well {HEALING} ms after the last fault: {:?}",
                    self.zookeeper.state
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
            self.story.remove(0);
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
            | Event::Word(id, ..)
            | Event::Register(id, _)
            | Event::Request { to: id, .. }
            | Event::Reply { to: id, .. } => *id,
            _ => return false,
        };
        let (now, until) = (self.now, self.broker(id).paused_until);
        if until > now {
            let jitter = self.chance.between(0, 3);
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
                }
                self.progress(id);
            }
            Event::Word(to, life, czxid, epoch, word) => match self.life(to, life) {
                Some(_) => self.word(to, epoch, word)?,
                None => self.word_again(to, czxid, epoch, word)?,
            },
            Event::Start(id) => {
                self.broker(id).start();
                let life = self.broker(id).lives;
                self.tell(format!("{id} starts"));
                self.soon(200, Event::Tick(id, life));
                let later = self.chance.between(20, 300);
                self.soon(later, Event::Register(id, life));
            }
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
            Event::TakeOffice => {
                if self.controller.is_none() {
                    self.tell("a controller takes office".into());
                    let replicas = [1, 2, 3].map(BrokerId);
                    self.controller = Some(Controller::take_office(&mut self.zookeeper, &replicas));
                    self.send_words();
                }
            }
            Event::Took(id, epoch) => self.with_controller(|c, z| {
                if c.context.epoch == epoch {
                    c.heard(id, z);
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

    fn look_soon(&mut self) {
        let later = self.delay();
        self.soon(later, Event::Look);
    }

    fn with_controller(&mut self, act: impl FnOnce(&mut Controller, &mut ZooKeeper)) {
        if let Some(controller) = &mut self.controller {
            act(controller, &mut self.zookeeper);
            self.send_words();
        }
    }

    fn send_words(&mut self) {
        let Some(controller) = &mut self.controller else {
            return;
        };
        let epoch = controller.context.epoch;
        let brokers = controller.context.brokers.clone();
        for (to, word) in std::mem::take(&mut controller.words) {
            let czxid = brokers.get(&to).map_or(0, |b| b.czxid);
            if let Word::Decision(d) = &word {
                let s = &d.state;
                let line = format!(
                    "decided for {to}: leader {} epoch {} isr {:?}",
                    s.leader, s.leader_epoch, s.isr
                );
                self.tell(line);
            }
            let at = (self.now + self.delay()).max(self.last_words.get(&to).map_or(0, |l| l + 1));
            self.last_words.insert(to, at);
            let life = self.broker(to).lives;
            self.soon(at - self.now, Event::Word(to, life, czxid, epoch, word));
        }
    }

    /// The process that a word was for has died: the next one hears it, as long as the controller acts and
    /// has not seen that the broker, as it was registered by `czxid`, is gone.
    fn word_again(
        &mut self,
        to: BrokerId,
        czxid: i64,
        epoch: ControllerEpoch,
        word: Word,
    ) -> Result<(), String> {
        let open = self.controller.as_ref().is_some_and(|c| {
            c.context.epoch == epoch && c.context.brokers.get(&to).is_some_and(|b| b.czxid == czxid)
        });
        match open {
            true if self.broker(to).life.is_some() => self.word(to, epoch, word),
            true => {
                let later = self.delay() + 20;
                self.soon(later, Event::Word(to, 0, czxid, epoch, word));
                Ok(())
            }
            false => Ok(()),
        }
    }

    fn word(&mut self, to: BrokerId, epoch: ControllerEpoch, word: Word) -> Result<(), String> {
        let (now, habits) = (self.mono(), self.habits);
        match word {
            Word::Stop => {
                if let Some(life) = &mut self.broker(to).life
                    && life.present
                    && epoch >= life.controller_epoch
                {
                    life.standing.stop_following();
                }
            }
            Word::Decision(decided) => {
                let decision = Decision {
                    state: decided.state,
                    replicas: decided.replicas,
                };
                let change = self.broker(to).decide(epoch, &decision, now, habits);
                let life = self.broker(to).life.as_ref();
                if life.is_some_and(|l| l.present && l.controller_epoch == epoch) {
                    let later = self.delay();
                    self.soon(later, Event::Took(to, epoch));
                }
                let Some(change) = change else { return Ok(()) };
                let epoch = decision.state.leader_epoch;
                let end = self.broker(to).disk.end();
                self.tell(format!("{to} {change:?} in epoch {epoch}, its log ends at {end}"));
                let current = self
                    .zookeeper
                    .state
                    .as_ref()
                    .is_some_and(|(s, _)| s.leader_epoch == epoch);
                if matches!(change, Change::Leads(_)) && current {
                    self.has_all(to)?;
                }
            }
        }
        self.progress(to);
        Ok(())
    }

    /// A leader has all that was acknowledged.
    fn has_all(&mut self, id: BrokerId) -> Result<(), String> {
        let log = &self.brokers[usize::try_from(id.0 - 1).expect("from 1")].disk.log;
        for (message, offset) in &self.acknowledged {
            let there = usize::try_from(*offset).ok().and_then(|o| log.get(o));
            if there != Some(message) {
                return Err(format!(
                    "message {message}, acknowledged at offset {offset}, is not there on leader {id}: {there:?}"
                ));
            }
        }
        Ok(())
    }

    fn tick(&mut self, id: BrokerId, number: u64) {
        let now = self.mono();
        if self.life(id, number).is_none() {
            return;
        }
        self.soon(200, Event::Tick(id, number));
        let (write_down, sync) = (self.chance.once_in(8), self.chance.once_in(8));
        let broker = self.broker(id);
        let Some(life) = &mut broker.life else { return };
        if write_down {
            broker.disk.checkpoint = life.standing.high_watermark().offset;
        }
        if sync {
            broker.disk.synced = broker.disk.log.len();
        }
        let end = broker.disk.end();
        if let Some(proposal) = life.standing.drop_lagging(end, LAG, now) {
            self.propose(id, number, proposal);
        }
        self.progress(id);
        self.fetch(id);
    }

    fn propose(&mut self, id: BrokerId, life: u64, proposal: LeaderAndIsr) {
        self.tell(format!("{id} proposes isr {:?}", proposal.isr));
        let later = self.delay();
        self.soon(later, Event::Write(id, life, proposal));
    }

    fn write(&mut self, id: BrokerId, number: u64, proposal: LeaderAndIsr) {
        let (now, cut_off) = (self.now, self.broker(id).cut_off_until);
        let alive = self.life(id, number);
        if alive.is_some_and(|l| !l.standing.still_proposes(&proposal)) {
            return;
        }
        if cut_off > now {
            self.soon(cut_off - now + 10, Event::Write(id, number, proposal));
            return;
        }
        let outcome = match (self.zookeeper.write(&proposal), &self.zookeeper.state) {
            (Some(version), _) => Outcome::Written(version),
            (None, Some((there, _))) if same(there, &proposal) => Outcome::Written(there.zk_version),
            (None, Some((there, _))) => Outcome::Overtaken(there.clone()),
            (None, None) => Outcome::Gone,
        };
        self.tell(format!("{id} wrote isr {:?}: {outcome:?}", proposal.isr));
        // The answer may be lost, and the write comes again.
        let again = self.chance.once_in(12);
        let later = self.delay();
        self.soon(
            later,
            match again {
                true => Event::Write(id, number, proposal),
                false => Event::Written(id, number, proposal, outcome),
            },
        );
    }

    /// Asks the leader, if there is one to ask and nothing on its way.
    fn fetch(&mut self, id: BrokerId) {
        let habits = self.habits;
        let Some(life) = &self.broker(id).life else { return };
        let Role::Follower(leader) = life.standing.role() else {
            return;
        };
        let (fetching, known) = (life.fetching, life.connections.get(&leader).copied());
        if leader == BrokerId::NONE {
            return;
        }
        let Some(to_life) = self.broker(leader).life.as_ref().map(|l| l.number) else {
            return;
        };
        let open = known
            .filter(|(life, _)| *life == to_life)
            .map(|(_, number)| number);
        if fetching.is_some() && fetching == open {
            return;
        }
        let connection = open.unwrap_or_else(|| {
            self.connections += 1;
            self.connections
        });
        let broker = self.broker(id);
        if let Some(life) = &mut broker.life {
            life.connections.insert(leader, (to_life, connection));
        }
        let Some(question) = broker.ask(leader, connection, habits) else {
            return;
        };
        if let Some(life) = &mut broker.life {
            life.fetching = Some(connection);
        }
        let later = self.delay();
        let request = Event::Request {
            from: id,
            to: leader,
            to_life,
            connection,
            question,
        };
        self.soon(later, request);
    }

    fn request(&mut self, from: BrokerId, to: BrokerId, connection: u64, question: Question) {
        let (now, until) = (self.mono(), self.now + 500);
        let (answer, proposal) = self.broker(to).answer(from, &question, now);
        let number = self.broker(to).lives;
        if let Some(proposal) = proposal {
            self.propose(to, number, proposal);
        }
        match answer {
            Some(answer) => self.reply_later(from, to, connection, question, answer),
            None => {
                let parked = Parked {
                    from,
                    connection,
                    question,
                    until,
                };
                if let Some(life) = &mut self.broker(to).life {
                    life.parked.push(parked);
                }
            }
        }
        self.progress(to);
    }

    fn reply_later(
        &mut self,
        to: BrokerId,
        leader: BrokerId,
        connection: u64,
        question: Question,
        answer: Answer,
    ) {
        let reply = Event::Reply {
            to,
            leader,
            connection,
            question,
            answer,
        };
        let later = self.delay();
        self.soon(later, reply);
    }

    fn reply(
        &mut self,
        to: BrokerId,
        leader: BrokerId,
        connection: u64,
        question: Question,
        answer: Answer,
    ) -> Result<(), String> {
        let broker = self.broker(to);
        let Some(life) = &mut broker.life else {
            return Ok(());
        };
        if life.fetching != Some(connection) {
            return Ok(());
        }
        life.fetching = None;
        let refused = matches!(answer, Answer::NotLeader);
        let before = broker.disk.end();
        broker.take(leader, &question, answer)?;
        let after = broker.disk.end();
        if after < before {
            self.tell(format!("{to} cut its log from {before} to {after}"));
        }
        if !refused {
            self.fetch(to);
        }
        Ok(())
    }

    /// Whoever waits on a leader looks again.
    fn progress(&mut self, id: BrokerId) {
        let now = self.now;
        let broker = self.broker(id);
        let end = broker.disk.end();
        let Some(life) = &mut broker.life else { return };
        let leads = life.standing.leads();
        let mut acknowledged = Vec::new();
        life.waiting.retain(|(message, offset)| {
            let state = life.standing.replicated(*offset, 2);
            if state == kafka::replica::Replicated::Yes {
                acknowledged.push((*message, *offset));
            }
            state == kafka::replica::Replicated::NotYet
        });
        let parked = std::mem::take(&mut life.parked);
        let (due, left): (Vec<_>, Vec<_>) = parked
            .into_iter()
            .partition(|p| !leads || p.question.offset < end || p.until <= now);
        life.parked = left;
        for p in due {
            let answer = self.broker(id).answer_late(&p.question);
            self.reply_later(p.from, id, p.connection, p.question, answer);
        }
        for (message, offset) in acknowledged {
            self.tell(format!("{id} acknowledges {message} at {offset}"));
            self.acknowledged.insert(message, offset);
        }
    }

    fn produce(&mut self) {
        let leaders: Vec<BrokerId> = self
            .brokers
            .iter()
            .filter(|b| b.leads() && b.paused_until <= self.now)
            .map(|b| b.id)
            .collect();
        let Some(id) = self.chance.one_of(&leaders) else {
            return;
        };
        self.messages += 1;
        let message = self.messages;
        self.broker(id).append(message);
        self.progress(id);
    }

    fn register(&mut self, id: BrokerId, number: u64) {
        let (now, cut_off) = (self.now, self.broker(id).cut_off_until);
        if self.life(id, number).is_none() {
            return;
        }
        let present = self.life(id, number).is_some_and(|l| l.present);
        let registered = self.zookeeper.registered.contains_key(&id);
        if present && registered {
            return;
        }
        if registered || cut_off > now {
            // What was decided about a former life arrives before the present one is known.
            let settling = if present {
                0
            } else {
                u64::try_from(SETTLING.as_millis()).expect("seconds")
            };
            let gone = self.zookeeper.registered.get(&id).copied();
            self.soon(150, Event::Await(id, number, gone, settling));
            return;
        }
        self.zookeeper.register(id);
        self.tell(format!("{id} is registered"));
        if let Some(life) = self.life(id, number) {
            life.present = true;
        }
        self.look_soon();
    }

    /// The process is gone; its session goes later, or at once if it was closed.
    fn die(&mut self, id: BrokerId, session: u64) {
        self.broker(id).life = None;
        self.broker(id).paused_until = 0;
        if let Some(czxid) = self.zookeeper.registered.get(&id).copied() {
            self.soon(session, Event::Expire(id, czxid));
        }
        let later = self.chance.between(50, 7000);
        self.soon(later, Event::Start(id));
    }

    fn fault(&mut self) {
        self.remember();
        let id = BrokerId(i32::try_from(self.chance.between(1, 3)).expect("few"));
        let forgetful = self.brokers.iter().find(|b| b.forgot.is_some()).map(|b| b.id);
        let may_trouble = forgetful.is_none_or(|f| f == id);
        // One trouble at a time for each.
        let quiet = self.broker(id).paused_until.max(self.broker(id).cut_off_until) < self.now;
        let alive = self.broker(id).life.is_some();
        let long = self.chance.between(100, 8000);
        match self.chance.between(1, 12) {
            1..=3 if alive && may_trouble => {
                self.tell(format!("{id} is killed"));
                self.die(id, SESSION);
            }
            4 | 5 if alive && quiet && may_trouble => {
                self.tell(format!("{id} stands still for {long} ms"));
                let until = self.now + long;
                self.broker(id).paused_until = until;
                self.lose_session(id, long);
            }
            6 if alive && quiet && may_trouble => {
                self.tell(format!("{id} loses ZooKeeper for {long} ms"));
                let until = self.now + long;
                self.broker(id).cut_off_until = until;
                self.lose_session(id, long);
            }
            7 if self.habits.forget && forgetful.is_none() && self.may_forget(id) => {
                let (synced, end) = (self.broker(id).disk.synced, self.broker(id).disk.log.len());
                let kept = self.chance.between(synced as u64, end as u64);
                self.tell(format!("{id} is killed and forgets all from offset {kept} on"));
                let broker = self.broker(id);
                broker.disk.log.truncate(usize::try_from(kept).expect("few"));
                broker.forgot = Some(end);
                self.die(id, SESSION);
            }
            8 | 9 => {
                self.tell("the controller dies".into());
                self.controller = None;
                let later = self.chance.between(100, 6000);
                self.soon(later, Event::TakeOffice);
            }
            10 => self.with_controller(Controller::prefer),
            11 if alive && may_trouble => {
                self.tell(format!("{id} leaves"));
                self.with_controller(|c, z| c.leaves(id, z));
                let number = self.broker(id).lives;
                // It closes its session when it has closed its logs.
                if self.life(id, number).is_some() {
                    self.die(id, 300);
                }
            }
            _ => {}
        }
    }

    fn lose_session(&mut self, id: BrokerId, long: u64) {
        if long > SESSION
            && let Some(czxid) = self.zookeeper.registered.get(&id).copied()
        {
            self.soon(SESSION, Event::Lapse(id, czxid));
            let number = self.broker(id).lives;
            self.soon(long + 20, Event::Register(id, number));
        }
    }

    /// Whether what `id` forgets can be had from another that is in sync and well, and is known to have been
    /// there since the in-sync set was written: to a controller to come, one whose session was lost
    /// meanwhile looks like one that was started again.
    fn may_forget(&self, id: BrokerId) -> bool {
        let Some((state, zxid)) = &self.zookeeper.state else {
            return false;
        };
        let well = |b: &Broker| {
            b.id != id
                && state.isr.contains(&b.id)
                && b.life.as_ref().is_some_and(|l| l.present)
                && self
                    .zookeeper
                    .registered
                    .get(&b.id)
                    .is_some_and(|czxid| czxid < zxid)
                && b.paused_until <= self.now
                && b.cut_off_until <= self.now
        };
        let writes = self.on_their_way.values().any(|e| matches!(e, Event::Write(..)));
        let here = self.brokers.iter().any(|b| b.id == id && b.life.is_some());
        here && !writes && self.brokers.iter().any(well)
    }

    /// Who forgot is as good as the others once it is in sync and has as much again as it had.
    fn remember(&mut self) {
        let in_sync = self.zookeeper.state.as_ref().map_or(&[][..], |(s, _)| &s.isr);
        for broker in &mut self.brokers {
            let there = broker.life.as_ref().is_some_and(|l| l.present) && in_sync.contains(&broker.id);
            if there && broker.forgot.is_some_and(|end| broker.disk.log.len() >= end) {
                broker.forgot = None;
            }
        }
    }

    /// All live, are in sync, and have the same.
    fn is_well(&self) -> bool {
        let Some((state, _)) = &self.zookeeper.state else {
            return false;
        };
        let log = &self.brokers[0].disk.log;
        state.isr.len() == 3
            && self.brokers.iter().any(|b| b.id == state.leader && b.leads())
            && self
                .brokers
                .iter()
                .all(|b| b.life.is_some() && b.disk.log == *log)
    }

    fn reckon(&self) -> Result<usize, String> {
        for (message, offset) in &self.acknowledged {
            let there = usize::try_from(*offset)
                .ok()
                .and_then(|o| self.brokers[0].disk.log.get(o));
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
