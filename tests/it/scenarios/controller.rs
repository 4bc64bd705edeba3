//! Tells stories to the controller's core, with a map in the place of ZooKeeper.
//!
//! Script: `brokers 1 2` | `rules unclean=false delete=true imbalance=10` | `topic t/0 replicas 1,2 isr
//! 1,2 leader 1 epoch 4` (stands in ZooKeeper) | `takeover [dead 1,2]` (a new controller) | `create t
//! 0:1,2 1:2,1` | `config t unclean=true` | `down 1` | `up 1` | `bounce 1` | `leave 1` | `leader-writes t/0
//! isr 1` (behind the controller's back) | `returned 1` (bounced while nobody acted) | `newer-controller t/0` |
//! `notified t/0 t/1` | `prefer t/0` | `balance` | `silent 1 2` (they answer
//! no more, as the others do at once) | `heard 1 [formerly]` (such a one answers what it was told last, or a former life of it does) | `delete t` | `answers 1 [error]`
//! (all deletions it was told) | `retry` | `reassign t/0 2,3 t/1 1` | `wish t/0 2,3 t/1 1` (a reassignment that
//! stands in ZooKeeper when the next controller comes) | `show t/0`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use kafka::cluster::{
    Broker, BrokerId, ControllerEpoch, Endpoint, LeaderAndIsr, LeaderEpoch, SecurityProtocol, TopicPartition,
};
use kafka::controller::batch::{Request, RequestBatch};
use kafka::controller::context::{Context, LiveBroker};
use kafka::controller::decide::{
    brokers, deletion, partitions, preferred, reassign, takeover, topics, trust,
};
use kafka::controller::plan::{self, Expect, Outcome, Plan, Removal, StateWrite};

#[test]
fn controller_stories() {
    super::run::<Story>("controller");
}

struct Story {
    context: Context,
    /// `/brokers/topics`.
    assignments: BTreeMap<Arc<str>, topics::Assignment>,
    /// The state znodes.
    states: BTreeMap<TopicPartition, LeaderAndIsr>,
    /// `/config/topics`: unclean.leader.election.enable where it is overridden.
    unclean: BTreeMap<Arc<str>, bool>,
    /// Who wants to go and has not been answered.
    leaving: Vec<BrokerId>,
    /// Who answers only when the script says so.
    silent: BTreeSet<BrokerId>,
    /// Who was told something at which moment and has not answered.
    unanswered: BTreeMap<BrokerId, u64>,
    /// How far moves are.
    stages: reassign::Reached,
    /// Deletions that brokers were told and have not answered.
    told: BTreeMap<BrokerId, BTreeSet<TopicPartition>>,
    /// The transactions that wrote the state znodes.
    written: BTreeMap<TopicPartition, i64>,
    /// The last transaction.
    zxid: i64,
}

impl Default for Story {
    fn default() -> Self {
        let mut context = Context {
            me: BrokerId(0),
            epoch: ControllerEpoch(1),
            ..Context::default()
        };
        context.rules.delete_topics = true;
        Story {
            context,
            assignments: BTreeMap::new(),
            states: BTreeMap::new(),
            unclean: BTreeMap::new(),
            leaving: Vec::new(),
            silent: BTreeSet::new(),
            unanswered: BTreeMap::new(),
            stages: reassign::Reached::default(),
            told: BTreeMap::new(),
            written: BTreeMap::new(),
            zxid: 0,
        }
    }
}

impl super::Core for Story {
    fn line(&mut self, words: &[&str], out: &mut String) {
        match *words {
            ["brokers" | "returned", ref list @ ..] => {
                for id in list {
                    let live = self.life(id.parse().unwrap());
                    self.context.brokers.insert(live.broker.id, live);
                }
            }
            ["rules", ref list @ ..] => list.iter().for_each(|rule| self.rule(rule)),
            ["config", topic, rule] => {
                self.unclean.insert(topic.into(), rule == "unclean=true");
            }
            [
                "topic",
                name,
                "replicas",
                replicas,
                "isr",
                isr,
                "leader",
                leader,
                "epoch",
                epoch,
            ] => {
                let at = partition(name);
                self.assignments
                    .entry(at.topic.clone())
                    .or_default()
                    .insert(at.partition, ids(replicas));
                let state = LeaderAndIsr {
                    leader: BrokerId(leader.parse().unwrap()),
                    leader_epoch: LeaderEpoch(epoch.parse().unwrap()),
                    isr: ids(isr),
                    controller_epoch: ControllerEpoch(1),
                    zk_version: epoch.parse().unwrap(),
                };
                self.stands(at, state);
            }
            ["takeover"] => self.take_over(out),
            ["create", topic, ref list @ ..] => {
                let topic: Arc<str> = topic.into();
                let assignment = self.assignments.entry(topic.clone()).or_default();
                for item in list {
                    let (number, replicas) = item.split_once(':').unwrap();
                    assignment.insert(number.parse().unwrap(), ids(replicas));
                }
                let plan = topics::assigned(&mut self.context, vec![(topic, assignment.clone())]);
                self.carry_out(plan, out);
            }
            ["down", ref list @ ..] => {
                let mut now = self.context.brokers.clone();
                list.iter()
                    .for_each(|id| drop(now.remove(&BrokerId(id.parse().unwrap()))));
                self.registered(now, out);
            }
            ["up" | "bounce", ref list @ ..] => {
                let mut now = self.context.brokers.clone();
                for id in list {
                    let live = self.life(id.parse().unwrap());
                    now.insert(live.broker.id, live);
                }
                self.registered(now, out);
            }
            ["leave", id, ref life @ ..] => {
                let id = BrokerId(id.parse().unwrap());
                // Of the present registration, or of the one before.
                let czxid = self.context.brokers.get(&id).map(|live| live.czxid);
                let registration = match life {
                    ["late"] => czxid.map(|czxid| czxid - 1),
                    _ => czxid,
                };
                match brokers::leaves(&mut self.context, id, registration) {
                    Ok(plan) => {
                        self.carry_out(plan, out);
                        self.leaving.push(id);
                    }
                    Err(e) => writeln!(out, "refuse {e}").unwrap(),
                }
            }
            ["leader-writes", name, "isr", isr] => {
                let at = partition(name);
                let mut state = self.states[&at].clone();
                state.isr = ids(isr);
                state.zk_version += 1;
                self.stands(at, state);
            }
            ["newer-controller", name] => {
                let state = self.states.get_mut(&partition(name)).unwrap();
                state.controller_epoch.0 += 1;
                state.leader_epoch.0 += 1;
                state.zk_version += 1;
            }
            ["notified", ref list @ ..] => {
                let of = |name: &&str| (partition(name), self.states[&partition(name)].clone());
                let states = list.iter().map(of).collect();
                let plan = topics::isr_changed(&mut self.context, states);
                self.carry_out(plan, out);
                self.move_on(out);
            }
            ["prefer", ref list @ ..] => {
                let wished = list.iter().map(|name| partition(name)).collect();
                let plan = preferred::requested(&mut self.context, wished);
                self.carry_out(plan, out);
                let plan = preferred::finished(&mut self.context);
                self.carry_out(plan, out);
            }
            ["heard", id, ref former @ ..] => {
                let id = BrokerId(id.parse().unwrap());
                let present = self.context.brokers.get(&id).map_or(0, |live| live.czxid);
                let czxid = match former {
                    [] => present,
                    ["formerly"] => present - 1,
                    other => panic!("{other:?}"),
                };
                let moment = self.unanswered.get(&id).copied().unwrap_or_default();
                self.heard(id, czxid, moment, out);
            }
            ["silent", ref list @ ..] => {
                self.silent = list.iter().map(|id| BrokerId(id.parse().unwrap())).collect();
            }
            ["balance"] => {
                let plan = preferred::balance(&self.context);
                self.carry_out(plan, out);
            }
            ["delete", ref list @ ..] => {
                let wishes: Vec<Arc<str>> = list.iter().map(|t| (*t).into()).collect();
                let plan = deletion::requested(&mut self.context, &wishes);
                self.carry_out(plan, out);
            }
            ["answers", id, ref error @ ..] => {
                let error = error.first().map_or(0, |e| e.parse().unwrap());
                let id = BrokerId(id.parse().unwrap());
                let told = self.told.remove(&id).unwrap_or_default();
                let answer: Vec<_> = told.into_iter().map(|at| (at, error)).collect();
                let plan = deletion::answered(&mut self.context, id, &answer);
                self.carry_out(plan, out);
                self.move_on(out);
            }
            ["retry"] => {
                let plan = deletion::retry(&mut self.context);
                self.carry_out(plan, out);
            }
            ["reassign", ref list @ ..] => {
                let one = |pair: &[&str]| (partition(pair[0]), ids(pair[1]));
                let wished = list.chunks(2).map(one).collect();
                let plan = reassign::requested(&mut self.context, wished);
                self.carry_out(plan, out);
                self.move_on(out);
            }
            ["wish", ref list @ ..] => {
                let one = |pair: &[&str]| (partition(pair[0]), ids(pair[1]));
                self.context.reassignments.extend(list.chunks(2).map(one));
            }
            ["show", name] => {
                let at = partition(name);
                match self.context.partition(&at) {
                    None => writeln!(out, "{name} unknown").unwrap(),
                    Some(p) => {
                        let replicas = p.replica_states.iter().map(|(id, s)| format!("{id} {s}"));
                        let replicas = replicas.collect::<Vec<_>>().join(", ");
                        let leadership = p.leadership.as_ref().map_or("never led".into(), described);
                        writeln!(out, "{name} {}, {leadership}; {replicas}", p.state).unwrap();
                    }
                }
            }
            _ => panic!("no such line: {}", words.join(" ")),
        }
        self.hear(out);
        self.answer_leaving(out);
    }
}

impl Story {
    /// A broker, as it was registered by that transaction, answers what it was told at that moment.
    fn heard(&mut self, id: BrokerId, czxid: i64, moment: u64, out: &mut String) {
        let plan = trust::heard(&mut self.context, id, czxid, moment);
        self.carry_out(plan, out);
        self.move_on(out);
    }

    /// Whoever was told something and is not silent answers.
    fn hear(&mut self, out: &mut String) {
        loop {
            let mut answering = self.unanswered.keys().copied();
            let Some(id) = answering.find(|id| !self.silent.contains(id)) else {
                return;
            };
            let moment = self.unanswered.remove(&id).unwrap_or_default();
            let live = self.context.brokers.get(&id);
            if let Some(czxid) = live.map(|live| live.czxid) {
                self.heard(id, czxid, moment, out);
            }
        }
    }

    /// Answers brokers that want to go, once nothing of that waits.
    fn answer_leaving(&mut self, out: &mut String) {
        for id in std::mem::take(&mut self.leaving) {
            if brokers::waits_to_go(&self.context, id) {
                self.leaving.push(id);
            } else {
                let left = brokers::still_led(&self.context, id);
                writeln!(out, "answer {}", names(left.iter())).unwrap();
            }
        }
    }

    /// A broker's next life.
    fn life(&mut self, id: i32) -> LiveBroker {
        self.zxid += 1;
        LiveBroker {
            broker: Broker {
                id: BrokerId(id),
                endpoints: vec![Endpoint {
                    protocol: SecurityProtocol::Plaintext,
                    host: "h".into(),
                    port: 9000 + id,
                }],
            },
            czxid: self.zxid,
        }
    }

    /// A state znode is written.
    fn stands(&mut self, at: TopicPartition, state: LeaderAndIsr) {
        self.zxid += 1;
        self.written.insert(at.clone(), self.zxid);
        self.states.insert(at, state);
    }

    /// All state znodes, with the transactions that wrote them.
    fn all_states(&self) -> BTreeMap<TopicPartition, (LeaderAndIsr, i64)> {
        let states = self.states.iter();
        let states = states.map(|(at, state)| (at.clone(), (state.clone(), self.written[at])));
        states.collect()
    }

    fn rule(&mut self, rule: &str) {
        let rules = &mut self.context.rules;
        match rule.split_once('=').unwrap() {
            ("unclean", v) => rules.unclean_election = v == "true",
            ("delete", v) => rules.delete_topics = v == "true",
            ("imbalance", v) => rules.imbalance_percentage = v.parse().unwrap(),
            _ => panic!("no such rule: {rule}"),
        }
    }

    fn take_over(&mut self, out: &mut String) {
        let wishes: Vec<Arc<str>> = self.context.deletions.keys().cloned().collect();
        let moves = std::mem::take(&mut self.context.reassignments);
        self.context = Context {
            me: BrokerId(0),
            epoch: ControllerEpoch(self.context.epoch.0 + 1),
            rules: self.context.rules.clone(),
            brokers: std::mem::take(&mut self.context.brokers),
            ..Context::default()
        };
        self.told.clear();
        self.unanswered.clear();
        let states = self.all_states();
        takeover::load(&mut self.context, self.assignments.clone(), states);
        let deletions = deletion::requested(&mut self.context, &wishes);
        let plan = takeover::take_over(&mut self.context);
        self.carry_out(plan, out);
        self.carry_out(deletions, out);
        let plan = reassign::requested(&mut self.context, moves);
        self.carry_out(plan, out);
        self.move_on(out);
    }

    fn registered(&mut self, now: BTreeMap<BrokerId, LiveBroker>, out: &mut String) {
        let difference = brokers::difference(&self.context, &now);
        if !difference.gone.is_empty() {
            let plan = brokers::failed(&mut self.context, &difference.gone, &difference.bounced());
            self.carry_out(plan, out);
        }
        if !difference.come.is_empty() {
            let come: Vec<BrokerId> = difference.come.keys().copied().collect();
            let shared = brokers::shared_with(&self.context, &come);
            let mut states = self.all_states();
            states.retain(|at, _| shared.contains(at));
            let plan = brokers::started(&mut self.context, difference.come, states);
            self.carry_out(plan, out);
        }
        self.move_on(out);
    }

    /// Takes every reassignment as far as it goes.
    fn move_on(&mut self, out: &mut String) {
        let mut reached = reassign::Reached::default();
        while let Some(plan) = reassign::advance_all(&mut self.context, &mut reached) {
            for (at, stage) in &reached {
                if self.stages.insert(at.clone(), *stage) != Some(*stage) {
                    writeln!(out, "stage {} {stage:?}", short(at)).unwrap();
                }
            }
            self.carry_out(plan, out);
        }
        self.stages
            .retain(|at, _| self.context.reassignments.contains_key(at));
    }

    /// What the shell does with a plan.
    fn carry_out(&mut self, plan: Plan, out: &mut String) {
        self.send(plan.before, out);
        for (at, replicas) in plan.assignments {
            writeln!(out, "assign {} {}", short(&at), list(&replicas)).unwrap();
            self.assignments
                .entry(at.topic.clone())
                .or_default()
                .insert(at.partition, replicas);
        }
        let mut batch = plan.after;
        let mut aims = plan.aims;
        while !aims.is_empty() {
            for topic in partitions::topics_to_ask(&self.context, &aims) {
                let rule = self
                    .unclean
                    .get(&topic)
                    .copied()
                    .unwrap_or(self.context.rules.unclean_election);
                self.context.unclean_by_topic.insert(topic, rule);
            }
            let writes = partitions::decide(&mut self.context, aims);
            let outcomes = writes.into_iter().map(|w| self.write(w, out)).collect();
            let settled = partitions::settle(&mut self.context, outcomes, &mut batch);
            if settled.unclean > 0 {
                writeln!(out, "unclean {}", settled.unclean).unwrap();
            }
            if settled.fenced {
                writeln!(out, "step down").unwrap();
                return;
            }
            aims = settled.again;
        }
        self.context.unclean_by_topic.clear();
        self.send(batch, out);
        for removal in plan::gathered(plan.removals) {
            match &removal {
                Removal::Topic(topic) => {
                    writeln!(out, "remove topic {topic}").unwrap();
                    self.assignments.remove(topic);
                    self.states.retain(|at, _| at.topic != *topic);
                    deletion::completed(&mut self.context, topic);
                }
                Removal::DeletionWish(topic) => writeln!(out, "remove deletion wish {topic}").unwrap(),
                Removal::PreferredElection => writeln!(out, "remove preferred election wish").unwrap(),
                Removal::Reassignment(of) => {
                    writeln!(out, "remove reassignment wish {}", names(of.iter())).unwrap();
                }
            }
        }
    }

    fn write(&mut self, write: StateWrite, out: &mut String) -> (StateWrite, Outcome) {
        let stands = self.states.get(&write.at);
        let fits = match write.expect {
            Expect::Absent => stands.is_none(),
            Expect::Version(v) => stands.is_some_and(|s| s.zk_version == v),
        };
        if !fits {
            writeln!(out, "conflict {}", short(&write.at)).unwrap();
            let found = stands.cloned();
            return (write, Outcome::Found(found));
        }
        let version = stands.map_or(0, |s| s.zk_version + 1);
        let verb = if write.expect == Expect::Absent {
            "create"
        } else {
            "write"
        };
        writeln!(
            out,
            "{verb} {} {}",
            short(&write.at),
            described(&write.leadership)
        )
        .unwrap();
        let state = LeaderAndIsr {
            zk_version: version,
            ..write.leadership.clone()
        };
        self.stands(write.at.clone(), state);
        (write, Outcome::Written(version))
    }

    fn send(&mut self, batch: RequestBatch, out: &mut String) {
        // The same words to several brokers stand on one line, in the order of the first.
        let mut lines: Vec<(String, Vec<BrokerId>)> = Vec::new();
        for (to, request) in batch.build(&self.context, SecurityProtocol::Plaintext) {
            if let Request::StopReplica(stop) = &request
                && stop.delete_partitions
            {
                let partitions = stop.partitions.iter();
                let partitions = partitions.map(|p| TopicPartition::new(p.topic.as_str(), p.partition));
                self.told.entry(to).or_default().extend(partitions);
            }
            if !matches!(request, Request::StopReplica(_)) {
                self.unanswered.insert(to, self.context.moment);
            }
            let line = words(&request);
            match lines.iter_mut().find(|(words, _)| *words == line) {
                Some((_, brokers)) => brokers.push(to),
                None => lines.push((line, vec![to])),
            }
        }
        for (words, brokers) in lines {
            writeln!(out, "send {} {words}", list(&brokers)).unwrap();
        }
    }
}

fn words(request: &Request) -> String {
    match request {
        Request::LeaderAndIsr(r) => {
            let of = r
                .partitions
                .iter()
                .map(|p| format!("{}/{}={}@{}", p.topic, p.partition, p.leader, p.leader_epoch));
            format!("LeaderAndIsr {}", of.collect::<Vec<_>>().join(" "))
        }
        Request::UpdateMetadata(r) => {
            let live = r
                .brokers
                .iter()
                .map(|b| b.id.to_string())
                .collect::<Vec<_>>()
                .join(",");
            let of = r
                .partitions
                .iter()
                .map(|p| format!(" {}/{}={}@{}", p.topic, p.partition, p.leader, p.leader_epoch));
            format!("UpdateMetadata live {live}{}", of.collect::<String>())
        }
        Request::StopReplica(r) => {
            let of = r
                .partitions
                .iter()
                .map(|p| format!(" {}/{}", p.topic, p.partition));
            let and = if r.delete_partitions { " and delete" } else { "" };
            format!("StopReplica{and}{}", of.collect::<String>())
        }
    }
}

fn described(state: &LeaderAndIsr) -> String {
    format!(
        "leader {} isr {} epoch {}",
        state.leader,
        list(&state.isr),
        state.leader_epoch
    )
}

fn partition(name: &str) -> TopicPartition {
    let (topic, number) = name.split_once('/').expect("topic/partition");
    TopicPartition::new(topic, number.parse().unwrap())
}

fn short(at: &TopicPartition) -> String {
    format!("{}/{}", at.topic, at.partition)
}

fn names<'a>(all: impl Iterator<Item = &'a TopicPartition>) -> String {
    all.map(short).collect::<Vec<_>>().join(" ")
}

fn ids(text: &str) -> Vec<BrokerId> {
    text.split(',')
        .filter(|t| *t != "-")
        .map(|t| BrokerId(t.parse().unwrap()))
        .collect()
}

fn list(ids: &[BrokerId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
