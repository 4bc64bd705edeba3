//! How messages get from producers to leaders, and from leaders to followers.

use super::*;

impl World {
    /// Asks the leader, if there is one to ask and nothing on its way.
    pub(super) fn fetch(&mut self, id: BrokerId) {
        let habits = self.habits;
        let Some(life) = &self.broker(id).life else { return };
        let Role::Follower(leader) = life.standing.role() else {
            return;
        };
        let fetching = life.fetching.get(&leader).copied();
        let known = life.connections.get(&leader).copied();
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
            life.fetching.insert(leader, connection);
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

    pub(super) fn request(&mut self, from: BrokerId, to: BrokerId, connection: u64, question: Question) {
        let (now, until) = (self.mono(), self.now + 500);
        let (answer, proposal) = self.broker(to).answer(from, connection, &question, now);
        let number = self.broker(to).lives;
        if let Some(proposal) = proposal {
            self.propose(to, number, proposal);
        }
        match answer {
            Some(answer) => self.reply_later(from, to, connection, question, answer),
            None => {
                if let Some(life) = &mut self.broker(to).life {
                    let term = life.standing.term();
                    life.parked.push(Parked {
                        from,
                        connection,
                        term,
                        question,
                        until,
                    });
                }
            }
        }
        self.progress(to);
    }

    pub(super) fn reply_later(
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

    pub(super) fn reply(
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
        if life.fetching.get(&leader) != Some(&connection) {
            return Ok(());
        }
        life.fetching.remove(&leader);
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
    pub(super) fn progress(&mut self, id: BrokerId) {
        let (now, least) = (self.now, self.habits.min_in_sync);
        let broker = self.broker(id);
        let end = broker.disk.end();
        let Some(life) = &mut broker.life else { return };
        let leads = life.standing.leads();
        let mut acknowledged = Vec::new();
        life.waiting.retain(|(message, offset)| {
            let state = life.standing.replicated(*offset, least);
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
            let answer = self.broker(id).answer_late(&p);
            self.reply_later(p.from, id, p.connection, p.question, answer);
        }
        for (message, offset) in acknowledged {
            self.tell(format!("{id} acknowledges {message} at {offset}"));
            self.acknowledged.insert(message, offset);
        }
    }

    pub(super) fn produce(&mut self) {
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
        let least = self.habits.min_in_sync;
        self.broker(id).append(message, least);
        self.progress(id);
    }
}
