//! What the controller and the brokers tell one another, and what stands in ZooKeeper.

use super::*;

impl World {
    pub(super) fn look_soon(&mut self) {
        let later = self.delay();
        self.soon(later, Event::Look);
    }

    pub(super) fn with_controller(&mut self, act: impl FnOnce(&mut Controller, &mut ZooKeeper)) {
        if let Some(controller) = &mut self.controller {
            act(controller, &mut self.zookeeper);
            self.send_words();
        }
    }

    pub(super) fn send_words(&mut self) {
        let Some(controller) = &mut self.controller else {
            return;
        };
        let epoch = controller.context.epoch;
        let brokers = controller.context.brokers.clone();
        for (to, moment, word) in std::mem::take(&mut controller.words) {
            let czxid = brokers.get(&to).map_or(0, |b| b.czxid);
            if let Word::Decision(d) = &word {
                let s = &d.state;
                let line = format!(
                    "decided for {to}: leader {} epoch {} isr {:?}",
                    s.leader, s.leader_epoch, s.isr
                );
                self.tell(line);
            }
            let connection = (epoch, to, czxid);
            let after = self.last_words.get(&connection).map_or(0, |l| l + 1);
            // A connection may be cut for a while, and its bytes arrive when others have come and gone.
            let cut = match self.chance.once_in(200) {
                true => self.chance.between(1500, 9000),
                false => 0,
            };
            let at = (self.now + self.delay() + cut).max(after);
            self.last_words.insert(connection, at);
            let life = self.broker(to).lives;
            let said = Said {
                to,
                czxid,
                epoch,
                moment,
                word,
            };
            self.soon(at - self.now, Event::Word(life, said));
        }
    }

    /// The process that a word was for has died: the next one hears it, as long as the controller acts and
    /// has not seen that the broker, as it was registered by `czxid`, is gone.
    pub(super) fn word_again(&mut self, said: Said) -> Result<(), String> {
        let open = self.controller.as_ref().is_some_and(|c| {
            let same = |b: &LiveBroker| b.czxid == said.czxid;
            c.context.epoch == said.epoch && c.context.brokers.get(&said.to).is_some_and(same)
        });
        match open {
            true if self.broker(said.to).life.is_some() => self.word(said),
            true => {
                let later = self.delay() + 20;
                self.soon(later, Event::Word(0, said));
                Ok(())
            }
            false => Ok(()),
        }
    }

    pub(super) fn word(&mut self, said: Said) -> Result<(), String> {
        let Said {
            to,
            czxid,
            epoch,
            moment,
            word,
        } = said;
        let (now, habits) = (self.mono(), self.habits);
        match word {
            Word::Stop(delete) => {
                let broker = self.broker(to);
                let heeds = |life: &Life| life.heeds(czxid) && epoch >= life.controller_epoch;
                match &mut broker.life {
                    Some(life) if heeds(life) && delete => {
                        broker.delete();
                        self.tell(format!("{to} deletes its copy"));
                        let later = self.delay();
                        self.soon(later, Event::Deleted(to, czxid, epoch));
                    }
                    Some(life) if heeds(life) => {
                        life.standing.stop_following();
                        self.tell(format!("{to} stops copying"));
                    }
                    _ => {}
                }
            }
            Word::Picture => {
                if let Some(life) = &mut self.broker(to).life
                    && life.heeds(czxid)
                {
                    life.controller_epoch = life.controller_epoch.max(epoch);
                }
                self.answer_controller(to, czxid, epoch, moment);
            }
            Word::Decision(decided) => {
                let decision = Decision {
                    state: decided.state,
                    replicas: decided.replicas,
                };
                let change = self.broker(to).decide(czxid, epoch, &decision, now, habits);
                self.answer_controller(to, czxid, epoch, moment);
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

    /// A broker that heeds a word says so.
    fn answer_controller(&mut self, id: BrokerId, czxid: i64, epoch: ControllerEpoch, moment: u64) {
        let life = self.broker(id).life.as_ref();
        if life.is_some_and(|l| l.heeds(czxid) && l.controller_epoch == epoch) {
            let later = self.delay();
            self.soon(later, Event::Heeds(id, czxid, epoch, moment));
        }
    }

    /// A leader has all that was acknowledged.
    pub(super) fn has_all(&mut self, id: BrokerId) -> Result<(), String> {
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

    pub(super) fn propose(&mut self, id: BrokerId, life: u64, proposal: LeaderAndIsr) {
        self.tell(format!("{id} proposes isr {:?}", proposal.isr));
        let later = self.delay();
        self.soon(later, Event::Write(id, life, proposal));
    }

    pub(super) fn write(&mut self, id: BrokerId, number: u64, proposal: LeaderAndIsr) {
        let (now, cut_off) = (self.now, self.broker(id).cut_off_until);
        let alive = self.life(id, number);
        if alive.is_some_and(|l| !l.standing.still_proposes(&proposal)) {
            return;
        }
        if cut_off > now {
            self.soon(cut_off - now + 10, Event::Write(id, number, proposal));
            return;
        }
        let registered = self.zookeeper.registered.contains_key(&id);
        let written = registered.then(|| self.zookeeper.write(&proposal)).flatten();
        let outcome = match (written, &self.zookeeper.state) {
            (Some(version), _) => Outcome::Written(version),
            (None, Some((there, _))) if same(there, &proposal) => Outcome::Written(there.zk_version),
            (None, Some((there, _))) if there.zk_version == proposal.zk_version => Outcome::Unregistered,
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
}
