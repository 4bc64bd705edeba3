//! How brokers live, and what befalls them.

use super::*;

impl World {
    pub(super) fn tick(&mut self, id: BrokerId, number: u64) {
        let now = self.mono();
        if self.life(id, number).is_none() {
            return;
        }
        self.soon(200, Event::Tick(id, number));
        let (write_down, sync) = (self.chance.once_in(8), self.chance.once_in(8));
        let loses_connections = self.chance.once_in(100);
        let broker = self.broker(id);
        let Some(life) = &mut broker.life else { return };
        if write_down {
            broker.disk.checkpoint = life.standing.high_watermark().offset;
        }
        if sync {
            broker.disk.synced = broker.disk.log.len();
        }
        if loses_connections {
            // What it has asked over them may arrive all the same.
            life.connections.clear();
            life.fetching.clear();
        }
        let end = broker.disk.end();
        let late = now.since(life.next_look);
        if now >= life.next_look {
            life.next_look = now + LAG / 2;
            // Who stood still until now could not hear its followers either.
            if late <= LAG / 2
                && let Some(proposal) = life.standing.drop_lagging(end, LAG, now)
            {
                self.propose(id, number, proposal);
            }
        }
        self.progress(id);
        self.fetch(id);
    }

    pub(super) fn register(&mut self, id: BrokerId, number: u64) {
        let (now, cut_off) = (self.now, self.broker(id).cut_off_until);
        if self.life(id, number).is_none() {
            return;
        }
        let present = self.life(id, number).is_some_and(|l| l.registered.is_some());
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
        let czxid = self.zookeeper.zxid;
        if let Some(life) = self.life(id, number) {
            life.registered = Some(czxid);
        }
        self.look_soon();
    }

    /// The process is gone; its session goes later, or at once if it was closed.
    pub(super) fn die(&mut self, id: BrokerId, session: u64) {
        self.broker(id).life = None;
        self.broker(id).paused_until = 0;
        if let Some(czxid) = self.zookeeper.registered.get(&id).copied() {
            self.soon(session, Event::Expire(id, czxid));
        }
        let later = self.chance.between(50, 7000);
        self.soon(later, Event::Start(id));
    }

    pub(super) fn fault(&mut self) {
        self.remember();
        let id = self.any_broker();
        let forgetful = self.brokers.iter().find(|b| b.forgot.is_some()).map(|b| b.id);
        let may_trouble = forgetful.is_none_or(|f| f == id);
        // One trouble at a time for each.
        let quiet = self.broker(id).paused_until.max(self.broker(id).cut_off_until) < self.now;
        let alive = self.broker(id).life.is_some();
        let long = self.chance.between(100, 8000);
        match self.chance.between(1, 13) {
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
                let (number, until) = (self.broker(id).lives, self.now + 12_000);
                self.leaving(id, number, None, until);
            }
            12 => {
                let last = self.any_broker();
                let mut wish: Vec<BrokerId> = self.brokers.iter().map(|b| b.id).collect();
                let first = wish.iter().position(|b| *b == id).expect("one of them");
                wish.rotate_left(first);
                wish.retain(|b| *b != last);
                wish.truncate(3);
                // An operator asks for one move at a time.
                if self.zookeeper.wish.is_none() {
                    self.tell(format!("is to move to {wish:?}"));
                    self.zookeeper.wish = Some(wish);
                    let later = self.delay();
                    self.soon(later, Event::Wished);
                }
            }
            _ => {}
        }
    }

    /// Asks to be let go, again of a new controller, and ends when that is so. In the end without, too, unless another
    /// has lost something: it may have nobody else to have that from.
    pub(super) fn leaving(&mut self, id: BrokerId, number: u64, asked: Option<ControllerEpoch>, until: u64) {
        if self.life(id, number).is_none() {
            return;
        }
        if let Some(life) = self.life(id, number) {
            life.leaving = true;
        }
        let epoch = self.controller.as_ref().map(|c| c.context.epoch);
        let answers = epoch.is_some() && epoch == asked;
        if !answers {
            self.with_controller(|c, z| c.leaves(id, z));
        }
        let done = answers && self.controller.as_ref().is_some_and(|c| c.has_let_go(id));
        let state = self.zookeeper.state.as_ref();
        let let_go = done && state.is_none_or(|(s, _)| !s.isr.contains(&id));
        let missed = self.brokers.iter().any(|b| b.forgot.is_some() && b.id != id);
        if let_go || (self.now >= until && !missed) {
            self.tell(format!("{id} ends"));
            // It closes its session when it has closed its logs.
            self.die(id, 300);
        } else if done {
            self.soon(5000, Event::Leaving(id, number, None, until));
        } else {
            let later = self.delay();
            self.soon(later, Event::Leaving(id, number, epoch, until));
        }
    }

    fn any_broker(&mut self) -> BrokerId {
        let number = self.chance.between(1, u64::try_from(BROKERS).expect("a few"));
        BrokerId(i32::try_from(number).expect("a few"))
    }

    pub(super) fn lose_session(&mut self, id: BrokerId, long: u64) {
        if long > SESSION
            && let Some(czxid) = self.zookeeper.registered.get(&id).copied()
        {
            self.soon(SESSION, Event::Lapse(id, czxid));
            let number = self.broker(id).lives;
            self.soon(long + 20, Event::Register(id, number));
        }
    }

    /// Whether what `id` forgets can be had from another that is in sync and well, does not want to go, and is known to have been
    /// there since the in-sync set was written: to a controller to come, one whose session was lost
    /// meanwhile looks like one that was started again.
    pub(super) fn may_forget(&self, id: BrokerId) -> bool {
        let Some((state, zxid)) = &self.zookeeper.state else {
            return false;
        };
        let well = |b: &Broker| {
            b.id != id
                && state.isr.contains(&b.id)
                && b.life
                    .as_ref()
                    .is_some_and(|l| l.registered.is_some() && !l.leaving)
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
        here && self.is_assigned(id) && !writes && self.brokers.iter().any(well)
    }

    /// Who forgot is as good as the others once it is in sync and has as much again as it had.
    pub(super) fn remember(&mut self) {
        let in_sync = self.zookeeper.state.as_ref().map_or(&[][..], |(s, _)| &s.isr);
        for broker in &mut self.brokers {
            let there =
                broker.life.as_ref().is_some_and(|l| l.registered.is_some()) && in_sync.contains(&broker.id);
            if there && broker.forgot.is_some_and(|end| broker.disk.log.len() >= end) {
                broker.forgot = None;
            }
        }
    }
}
