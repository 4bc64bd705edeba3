//! The simulated controller: the product's decisions over what it has read, which may be old.

use std::collections::BTreeMap;

use kafka::cluster::{Broker, BrokerId, ControllerEpoch, Endpoint, LeaderAndIsr, SecurityProtocol};
use kafka::controller::aim::Aim;
use kafka::controller::batch::{Request, RequestBatch};
use kafka::controller::context::{Context, LiveBroker};
use kafka::controller::decide::{brokers, deletion, partitions, reassign, takeover, topics, trust};
use kafka::controller::plan::{Expect, Outcome, Plan, StateWrite};
use kafka::replica::PartitionDecision;

use super::broker::partition;

/// ZooKeeper.
#[derive(Clone, Debug, Default)]
pub struct ZooKeeper {
    pub zxid: i64,
    /// The partition's state, and the transaction that wrote it.
    pub state: Option<(LeaderAndIsr, i64)>,
    /// Registered brokers, and the transactions that made their nodes.
    pub registered: BTreeMap<BrokerId, i64>,
    pub controller_epoch: i32,
    /// The partition's replicas.
    pub assignment: Vec<BrokerId>,
    /// Those that an operator wishes it had.
    pub wish: Option<Vec<BrokerId>>,
    /// How often such a wish was fulfilled.
    pub moves: usize,
}

/// What a controller tells a broker.
#[derive(Clone, Debug)]
pub enum Word {
    Decision(PartitionDecision),
    /// No more copying; whether the copy goes.
    Stop(bool),
    /// What the cluster is like; nobody here asks.
    Picture,
}

/// The one that acts.
#[derive(Clone, Debug)]
pub struct Controller {
    pub context: Context,
    /// What is to be sent, in order, each at its moment.
    pub words: Vec<(BrokerId, u64, Word)>,
}

impl ZooKeeper {
    /// Writes the state if it has the version that `state` builds on, and returns the new one.
    pub fn write(&mut self, state: &LeaderAndIsr) -> Option<i32> {
        let version = self.state.as_ref()?.0.zk_version;
        if version != state.zk_version {
            return None;
        }
        self.put(state.clone(), version + 1);
        Some(version + 1)
    }

    fn put(&mut self, state: LeaderAndIsr, zk_version: i32) {
        self.zxid += 1;
        self.state = Some((LeaderAndIsr { zk_version, ..state }, self.zxid));
    }

    pub fn register(&mut self, id: BrokerId) {
        self.zxid += 1;
        self.registered.insert(id, self.zxid);
    }

    fn live(&self) -> BTreeMap<BrokerId, LiveBroker> {
        let endpoint = |id: &BrokerId| Endpoint {
            protocol: SecurityProtocol::Plaintext,
            host: "h".into(),
            port: 9000 + id.0,
        };
        let live = |(id, czxid): (&BrokerId, &i64)| LiveBroker {
            broker: Broker {
                id: *id,
                endpoints: vec![endpoint(id)],
            },
            czxid: *czxid,
        };
        self.registered.iter().map(|b| (*b.0, live(b))).collect()
    }
}

impl Controller {
    /// A new one takes office.
    pub fn take_office(zookeeper: &mut ZooKeeper) -> Controller {
        zookeeper.controller_epoch += 1;
        let mut context = Context {
            me: BrokerId(0),
            epoch: ControllerEpoch(zookeeper.controller_epoch),
            brokers: zookeeper.live(),
            ..Context::default()
        };
        context.rules.unclean_election = false;
        let at = partition();
        let assignments = BTreeMap::from([(
            at.topic.clone(),
            BTreeMap::from([(0, zookeeper.assignment.clone())]),
        )]);
        let states = zookeeper.state.iter().map(|state| (at.clone(), state.clone()));
        takeover::load(&mut context, assignments, states.collect());
        let mut controller = Controller {
            context,
            words: Vec::new(),
        };
        let plan = takeover::take_over(&mut controller.context);
        controller.carry_out(plan, zookeeper);
        controller.wished(zookeeper);
        controller
    }

    /// An operator wishes to move the partition.
    pub fn wished(&mut self, zookeeper: &mut ZooKeeper) {
        if let Some(wish) = zookeeper.wish.clone() {
            let plan = reassign::requested(&mut self.context, BTreeMap::from([(partition(), wish)]));
            self.carry_out(plan, zookeeper);
            self.state_changed(zookeeper);
        }
    }

    /// The state of a partition on the move changed.
    pub fn state_changed(&mut self, zookeeper: &mut ZooKeeper) {
        if zookeeper.wish.is_some()
            && let Some((state, _)) = &zookeeper.state
            && let Some(p) = self.context.partition_mut(&partition())
        {
            p.leadership = Some(state.clone());
        }
        self.move_on(zookeeper);
    }

    /// Takes the move as far as it goes.
    fn move_on(&mut self, zookeeper: &mut ZooKeeper) {
        let mut reached = reassign::Reached::default();
        while let Some(plan) = reassign::advance_all(&mut self.context, &mut reached) {
            self.carry_out(plan, zookeeper);
        }
    }

    /// All that follows one thing that happened.
    fn act(&mut self, plan: Plan, zookeeper: &mut ZooKeeper) {
        self.carry_out(plan, zookeeper);
        self.move_on(zookeeper);
    }

    /// Looks who is registered.
    pub fn look(&mut self, zookeeper: &mut ZooKeeper) {
        let now = zookeeper.live();
        let difference = brokers::difference(&self.context, &now);
        if !difference.gone.is_empty() {
            let plan = brokers::failed(&mut self.context, &difference.gone, &difference.bounced());
            self.carry_out(plan, zookeeper);
        }
        if !difference.come.is_empty() {
            let states = zookeeper.state.iter().map(|state| (partition(), state.clone()));
            let plan = brokers::started(&mut self.context, difference.come, states.collect());
            self.carry_out(plan, zookeeper);
        }
        self.move_on(zookeeper);
    }

    /// Takes in the in-sync set that a leader wrote.
    pub fn notified(&mut self, zookeeper: &mut ZooKeeper) {
        if let Some((state, _)) = zookeeper.state.clone() {
            let plan = topics::isr_changed(&mut self.context, vec![(partition(), state)]);
            self.act(plan, zookeeper);
        }
    }

    /// Gives the lead to the preferred replica, if it is in sync.
    pub fn prefer(&mut self, zookeeper: &mut ZooKeeper) {
        let mut plan = Plan::default();
        plan.aims.push((partition(), Aim::Prefer));
        self.act(plan, zookeeper);
    }

    /// A broker took its roles.
    pub fn heard(&mut self, id: BrokerId, czxid: i64, moment: u64, zookeeper: &mut ZooKeeper) {
        let plan = trust::heard(&mut self.context, id, czxid, moment);
        self.act(plan, zookeeper);
    }

    /// A broker has deleted its copy.
    pub fn deleted(&mut self, id: BrokerId, zookeeper: &mut ZooKeeper) {
        let plan = deletion::answered(&mut self.context, id, &[(partition(), 0)]);
        self.act(plan, zookeeper);
    }

    /// A broker wants to go.
    pub fn leaves(&mut self, id: BrokerId, zookeeper: &mut ZooKeeper) {
        if let Ok(plan) = brokers::leaves(&mut self.context, id, None) {
            self.act(plan, zookeeper);
        }
    }

    /// Whether a broker that wants to go has been let go, as far as it can be.
    pub fn has_let_go(&self, id: BrokerId) -> bool {
        !brokers::waits_to_go(&self.context, id)
    }

    /// What the shell does with a plan.
    fn carry_out(&mut self, plan: Plan, zookeeper: &mut ZooKeeper) {
        self.send(plan.before);
        if let Some((_, replicas)) = plan.assignments.into_iter().last() {
            zookeeper.assignment = replicas;
        }
        let mut batch = plan.after;
        let mut aims = plan.aims;
        while !aims.is_empty() {
            let topic = partition().topic;
            self.context.unclean_by_topic.insert(topic, false);
            let writes = partitions::decide(&mut self.context, aims);
            let outcomes = writes.into_iter().map(|w| write(w, zookeeper)).collect();
            let settled = partitions::settle(&mut self.context, outcomes, &mut batch);
            assert!(!settled.fenced, "one controller at a time");
            aims = settled.again;
        }
        self.send(batch);
        if !plan.removals.is_empty() {
            let wish = zookeeper.wish.take();
            zookeeper.moves += usize::from(wish.as_ref() == Some(&zookeeper.assignment));
        }
    }

    fn send(&mut self, batch: RequestBatch) {
        let moment = self.context.moment;
        for (to, request) in batch.build(&self.context, SecurityProtocol::Plaintext) {
            match request {
                Request::LeaderAndIsr(r) => {
                    let decisions = r.partitions.iter().map(PartitionDecision::from);
                    self.words
                        .extend(decisions.map(|d| (to, moment, Word::Decision(d))));
                }
                Request::StopReplica(r) => self.words.push((to, moment, Word::Stop(r.delete_partitions))),
                Request::UpdateMetadata(_) => self.words.push((to, moment, Word::Picture)),
            }
        }
    }
}

fn write(write: StateWrite, zookeeper: &mut ZooKeeper) -> (StateWrite, Outcome) {
    let found = |zookeeper: &ZooKeeper| Outcome::Found(zookeeper.state.as_ref().map(|(s, _)| s.clone()));
    let outcome = match write.expect {
        Expect::Absent if zookeeper.state.is_none() => {
            zookeeper.put(write.leadership.clone(), 0);
            Outcome::Written(0)
        }
        Expect::Absent => found(zookeeper),
        Expect::Version(zk_version) => {
            let state = LeaderAndIsr {
                zk_version,
                ..write.leadership.clone()
            };
            match zookeeper.write(&state) {
                Some(version) => Outcome::Written(version),
                None => found(zookeeper),
            }
        }
    };
    (write, outcome)
}
