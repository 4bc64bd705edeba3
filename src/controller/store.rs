//! The controller's reads and writes in ZooKeeper: many at once, every state write bound to the epoch.
//!
//! One node that cannot be read concerns one broker, topic or partition: it is logged and left out,
//! and never stops the rest. Decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::log::{error, warn};
use bytes::Bytes;

use super::context::{CONTROLLER, LiveBroker};
use super::decide::topics::Assignment;
use super::error::{Error, Result};
use super::plan::{Expect, Outcome, Removal, StateWrite};
use crate::cluster::{BrokerId, ControllerEpoch, LeaderAndIsr, TopicPartition};
use crate::zookeeper::{self, CreateMode, ErrorCode, Node, Op, OpResult, Session, each, paths, znodes};

/// The rule that a topic may override.
const UNCLEAN_RULE: &str = "unclean.leader.election.enable";

/// ZooKeeper as one reign sees it.
#[derive(Clone, Debug)]
pub(super) struct Store {
    /// Bound to the session in which the election was won.
    pub(super) session: Session,
    /// This reign's number.
    pub(super) epoch: ControllerEpoch,
    /// The version of `/controller_epoch` that this reign wrote; another one ends it.
    pub(super) epoch_version: i32,
}

impl Store {
    /// Registered brokers of these names.
    pub(super) async fn brokers(&self, names: Vec<String>) -> Result<BTreeMap<BrokerId, LiveBroker>> {
        let id = |name: &String| match name.parse() {
            Ok(id) => Some(BrokerId(id)),
            Err(_) => {
                error!(target: CONTROLLER, "{}/{name} is no broker id; it is passed over", paths::BROKER_IDS);
                None
            }
        };
        let ids: Vec<BrokerId> = names.iter().filter_map(id).collect();
        let session = self.session.clone();
        let read = each(ids, move |id| {
            let session = session.clone();
            async move { (id, session.get(&paths::broker(id.0)).await) }
        });
        let mut brokers = BTreeMap::new();
        for (id, node) in read.await {
            let Some(node) = node? else { continue };
            match znodes::broker::Registration::decode(id, data(&node)) {
                Ok(registration) => {
                    let live = LiveBroker {
                        broker: registration.broker,
                        czxid: node.stat.czxid,
                    };
                    brokers.insert(id, live);
                }
                Err(e) => error!(target: CONTROLLER,
                    "{} cannot be read; the broker is passed over: {e}", paths::broker(id.0)),
            }
        }
        Ok(brokers)
    }

    /// Leaders and ISRs of these partitions, and the transactions that wrote them; those without a state
    /// node are left out.
    pub(super) async fn states(
        &self,
        partitions: Vec<TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, (LeaderAndIsr, i64)>> {
        let session = self.session.clone();
        let read = each(partitions, move |at| {
            let session = session.clone();
            async move {
                let state = state(&session, &at).await;
                (at, state)
            }
        });
        let mut states = BTreeMap::new();
        for (at, state) in read.await {
            if let Some(state) = state? {
                states.insert(at, state);
            }
        }
        Ok(states)
    }

    /// Whether out-of-sync replicas may lead in these topics, `default` where the topic says nothing.
    /// A config that cannot be read counts as no: that loses nothing.
    pub(super) async fn unclean_rules(
        &self,
        topics: BTreeSet<Arc<str>>,
        default: bool,
    ) -> Result<BTreeMap<Arc<str>, bool>> {
        let session = self.session.clone();
        let read = each(topics.into_iter().collect(), move |topic| {
            let session = session.clone();
            async move {
                let node = session.get(&paths::topic_config(&topic)).await;
                (topic, node)
            }
        });
        let mut rules = BTreeMap::new();
        for (topic, node) in read.await {
            let rule = match node? {
                None => default,
                Some(node) => match znodes::config::decode(node.data.as_deref()) {
                    Ok(config) => match config.get(UNCLEAN_RULE).map(String::as_str) {
                        None => default,
                        Some(value) => value.eq_ignore_ascii_case("true"),
                    },
                    Err(e) => {
                        error!(target: CONTROLLER,
                            "{} cannot be read; no unclean election takes place: {e}", paths::topic_config(&topic));
                        false
                    }
                },
            };
            rules.insert(topic, rule);
        }
        Ok(rules)
    }

    /// Performs conditional writes, all under way at once.
    ///
    /// # Errors
    /// [`Error::Fenced`] if the epoch has moved on: then at least one was not written.
    pub(super) async fn write(&self, writes: Vec<StateWrite>) -> Result<Vec<(StateWrite, Outcome)>> {
        let new = writes.iter().filter(|w| w.expect == Expect::Absent);
        let topics: BTreeSet<Arc<str>> = new.map(|w| w.at.topic.clone()).collect();
        let session = self.session.clone();
        let parents = each(topics.into_iter().collect(), move |topic| {
            let session = session.clone();
            async move {
                let path = paths::topic_partitions(&topic);
                session.create(&path, None, CreateMode::Persistent).await
            }
        });
        for made in parents.await {
            match made {
                // A topic that is gone shows in its partitions' writes.
                Ok(_) | Err(zookeeper::Error::NodeExists | zookeeper::Error::NoNode) => {}
                Err(e) => return Err(e.into()),
            }
        }
        let store = self.clone();
        let written = each(writes, move |write| {
            let store = store.clone();
            async move {
                let outcome = store.write_one(&write).await;
                (write, outcome)
            }
        });
        let mut outcomes = Vec::new();
        for (write, outcome) in written.await {
            outcomes.push((write, outcome?));
        }
        Ok(outcomes)
    }

    async fn write_one(&self, write: &StateWrite) -> Result<Outcome> {
        let path = paths::partition_state(&write.at.topic, write.at.partition);
        let data = Bytes::from(znodes::leader_and_isr::encode(&write.leadership));
        let written = match write.expect {
            Expect::Version(version) => {
                let set = Op::Set { path, data, version };
                self.fenced(vec![set]).await?
            }
            Expect::Absent => {
                let parent = paths::parent(&path).unwrap_or_default().to_owned();
                let create = |path, data| Op::Create {
                    path,
                    data,
                    mode: CreateMode::Persistent,
                };
                let with_parent = vec![create(parent, None), create(path.clone(), Some(data.clone()))];
                match self.fenced(with_parent).await? {
                    // The parent is there, from a deletion that did not end or a creation that did not.
                    Err(Failed {
                        at: 0,
                        code: ErrorCode::NODE_EXISTS,
                    }) => self.fenced(vec![create(path, Some(data))]).await?,
                    done => done,
                }
            }
        };
        match written {
            Ok(OpResult::Set(stat)) => Ok(Outcome::Written(stat.version)),
            Ok(_) => Ok(Outcome::Written(0)),
            Err(Failed { code, .. }) if [ErrorCode::BAD_VERSION, ErrorCode::NODE_EXISTS].contains(&code) => {
                let found = state(&self.session, &write.at).await?.map(|(found, _)| found);
                // After a lost connection this write may meet its own first sending.
                let echo = found.as_ref().is_some_and(|found| {
                    let version = match write.expect {
                        Expect::Absent => 0,
                        Expect::Version(v) => v.wrapping_add(1),
                    };
                    *found
                        == LeaderAndIsr {
                            zk_version: version,
                            ..write.leadership.clone()
                        }
                });
                Ok(match found {
                    Some(found) if echo => Outcome::Written(found.zk_version),
                    found => Outcome::Found(found),
                })
            }
            Err(Failed { code, .. }) if code == ErrorCode::NO_NODE && write.expect != Expect::Absent => {
                Ok(Outcome::Found(None))
            }
            Err(Failed { code, .. }) => Ok(Outcome::Failed(code.to_string())),
        }
    }

    /// Does these writes if this reign's epoch is still the newest; returns the last one's result, or
    /// which of them failed.
    async fn fenced(&self, ops: Vec<Op>) -> Result<std::result::Result<OpResult, Failed>> {
        let check = Op::Check {
            path: paths::CONTROLLER_EPOCH.to_owned(),
            version: self.epoch_version,
        };
        let all = std::iter::once(check).chain(ops).collect();
        match self.session.multi(all).await {
            Ok(mut results) => Ok(Ok(results.pop().unwrap_or(OpResult::Checked))),
            Err(zookeeper::Error::Multi { at: 0, .. }) => Err(Error::Fenced(self.epoch)),
            Err(zookeeper::Error::Multi { at, code, .. }) => Ok(Err(Failed { at: at - 1, code })),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether this reign's epoch is still the newest.
    pub(super) async fn still_newest(&self) -> Result<bool> {
        let stat = self.session.exists(paths::CONTROLLER_EPOCH).await?;
        Ok(stat.is_some_and(|stat| stat.version == self.epoch_version))
    }

    /// Writes partitions' new replicas into their topics' nodes, beside what others write there.
    pub(super) async fn assign(&self, new: Vec<(TopicPartition, Vec<BrokerId>)>) -> Result<()> {
        let mut topics: BTreeMap<Arc<str>, Assignment> = BTreeMap::new();
        for (at, replicas) in new {
            topics.entry(at.topic).or_default().insert(at.partition, replicas);
        }
        let store = self.clone();
        let written = each(topics.into_iter().collect(), move |(topic, new)| {
            let store = store.clone();
            async move { store.assign_topic(&topic, new).await }
        });
        written.await.into_iter().collect()
    }

    async fn assign_topic(&self, topic: &str, new: Assignment) -> Result<()> {
        let path = paths::topic(topic);
        loop {
            let Some(node) = self.session.get(&path).await? else {
                warn!(target: CONTROLLER, "{path} is gone; its partitions are not assigned anew");
                return Ok(());
            };
            let mut assignment: Assignment = match znodes::topic::decode(data(&node)) {
                Ok(assignment) => assignment,
                Err(why) => return Err(Error::Unreadable { path, why }),
            };
            assignment.extend(new.clone());
            let changed = znodes::topic::encode(&assignment);
            let set = Op::Set {
                path: path.clone(),
                data: Bytes::from(changed),
                version: node.stat.version,
            };
            match self.fenced(vec![set]).await? {
                Err(Failed {
                    code: ErrorCode::BAD_VERSION,
                    ..
                }) => {}
                Ok(_) | Err(_) => return Ok(()),
            }
        }
    }

    /// Removes nodes whose time is over; those that are gone already are fine.
    pub(super) async fn remove(&self, removal: &Removal) -> Result<()> {
        match removal {
            Removal::Topic(topic) => {
                self.session.delete_recursive(&paths::topic(topic)).await?;
                self.session.delete_recursive(&paths::topic_config(topic)).await?;
                // Last: while it stands, a new controller begins the deletion again.
                gone(self.session.delete(&paths::delete_topic(topic), -1).await)
            }
            Removal::DeletionWish(topic) => gone(self.session.delete(&paths::delete_topic(topic), -1).await),
            Removal::PreferredElection => {
                gone(self.session.delete(paths::PREFERRED_REPLICA_ELECTION, -1).await)
            }
            Removal::Reassignment(done) => self.reassigned(done).await,
        }
    }

    /// Takes partitions out of the reassignment wish; the node goes with the last one.
    async fn reassigned(&self, done: &[TopicPartition]) -> Result<()> {
        let path = paths::REASSIGN_PARTITIONS;
        loop {
            let Some(node) = self.session.get(path).await? else {
                return Ok(());
            };
            let mut wish = match znodes::admin::decode_reassignment(data(&node)) {
                Ok(wish) => wish,
                Err(e) => {
                    error!(target: CONTROLLER, "{path} cannot be read and is left as it is: {e}");
                    return Ok(());
                }
            };
            wish.retain(|at, _| !done.contains(at));
            let version = node.stat.version;
            let written = if wish.is_empty() {
                self.session.delete(path, version).await
            } else {
                let wish = znodes::admin::encode_reassignment(&wish);
                self.session.set(path, wish.as_bytes(), version).await.map(drop)
            };
            match written {
                Err(zookeeper::Error::BadVersion) => {}
                other => return gone(other),
            }
        }
    }
}

/// Which write of several failed, the check of the epoch not counted.
struct Failed {
    at: usize,
    code: ErrorCode,
}

/// A node's data; null counts as empty.
pub(super) fn data(node: &Node) -> &[u8] {
    node.data.as_deref().unwrap_or_default()
}

async fn state(session: &Session, at: &TopicPartition) -> zookeeper::Result<Option<(LeaderAndIsr, i64)>> {
    let path = paths::partition_state(&at.topic, at.partition);
    let Some(node) = session.get(&path).await? else {
        return Ok(None);
    };
    match znodes::leader_and_isr::decode(data(&node), node.stat.version) {
        Ok(state) => Ok(Some((state, node.stat.mzxid))),
        Err(e) => {
            error!(target: CONTROLLER, "{path} cannot be read; partition {at} is passed over: {e}");
            Ok(None)
        }
    }
}

/// A removal that finds nothing has succeeded.
fn gone(removed: zookeeper::Result<()>) -> Result<()> {
    match removed {
        Ok(()) | Err(zookeeper::Error::NoNode) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
