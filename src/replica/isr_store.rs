//! What replicas read and write in ZooKeeper: partition states by version, topic settings, and word to
//! the controller that in-sync sets changed.

use ::log::warn;

use crate::cluster::{BrokerId, LeaderAndIsr, TopicPartition};
use crate::config::LogConfig;
use crate::zookeeper::{self, CreateMode, Op, OpResult, Session, paths, znodes};

use super::error::{Error, Result};

/// What became of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stands there, in this version.
    Written(i32),
    /// Something else stood there first: this.
    Overtaken(LeaderAndIsr),
    /// The node is not there: the topic was deleted.
    Gone,
    /// Not written, and it will not be: this broker is not registered. What it knows of others is from before its session
    /// ended, and what it would write now would vouch for those who have been started again since.
    Unregistered,
}

/// Where states stand.
#[derive(Debug)]
pub(super) enum Store {
    /// In ZooKeeper, written by the broker of that id.
    ZooKeeper(Session, BrokerId),
    /// In memory, for the tests of this floor.
    #[cfg(test)]
    Memory(super::tests::States),
}

impl Store {
    /// Writes `state` if its node still has version `state.zk_version`, and this broker is registered.
    ///
    /// # Errors
    /// Those after which nobody knows whether it was written: to be tried again with the same version,
    /// so that an echo of the first try is found to be one.
    pub(super) async fn write(
        &self,
        partition: &TopicPartition,
        state: &LeaderAndIsr,
    ) -> zookeeper::Result<Outcome> {
        match self {
            Store::ZooKeeper(session, me) => write(session, *me, partition, state).await,
            #[cfg(test)]
            Store::Memory(states) => states.write(partition, state),
        }
    }

    /// What stands there; `None` if the topic was deleted, or something stands there that is no state.
    pub(super) async fn read(&self, partition: &TopicPartition) -> zookeeper::Result<Option<LeaderAndIsr>> {
        match self {
            Store::ZooKeeper(session, _) => read(session, partition).await,
            #[cfg(test)]
            Store::Memory(states) => Ok(states.read()),
        }
    }

    /// Settings of a topic: `defaults` and its own on top.
    pub(super) async fn topic_config(&self, topic: &str, defaults: &LogConfig) -> Result<LogConfig> {
        match self {
            Store::ZooKeeper(session, _) => topic_config(session, topic, defaults).await,
            #[cfg(test)]
            Store::Memory(states) => Ok(states.topic_config(defaults)),
        }
    }

    /// Tells the controller that these partitions' in-sync sets changed.
    pub(super) async fn notify(&self, changed: &[TopicPartition]) -> zookeeper::Result<()> {
        match self {
            Store::ZooKeeper(session, _) => notify(session, changed).await,
            #[cfg(test)]
            Store::Memory(states) => states.notify(changed),
        }
    }
}

fn same_but_version(a: &LeaderAndIsr, b: &LeaderAndIsr) -> bool {
    a.leader == b.leader
        && a.leader_epoch == b.leader_epoch
        && a.isr == b.isr
        && a.controller_epoch == b.controller_epoch
}

async fn write(
    session: &Session,
    me: BrokerId,
    partition: &TopicPartition,
    state: &LeaderAndIsr,
) -> zookeeper::Result<Outcome> {
    let registered = Op::Check {
        path: paths::broker(me.0),
        version: -1,
    };
    let set = Op::Set {
        path: paths::partition_state(&partition.topic, partition.partition),
        data: znodes::leader_and_isr::encode(state).into(),
        version: state.zk_version,
    };
    match session.multi(vec![registered, set]).await {
        Ok(results) => {
            if let Some(OpResult::Set(stat)) = results.last() {
                return Ok(Outcome::Written(stat.version));
            }
        }
        Err(zookeeper::Error::Multi { .. }) => {}
        Err(e) => return Err(e),
    }
    // The first sending of a write that was sent twice may stand there.
    Ok(match read(session, partition).await? {
        Some(there) if same_but_version(&there, state) => Outcome::Written(there.zk_version),
        Some(there) if there.zk_version == state.zk_version => Outcome::Unregistered,
        Some(there) => Outcome::Overtaken(there),
        None => Outcome::Gone,
    })
}

async fn read(session: &Session, partition: &TopicPartition) -> zookeeper::Result<Option<LeaderAndIsr>> {
    let path = paths::partition_state(&partition.topic, partition.partition);
    let Some(node) = session.get(&path).await? else {
        return Ok(None);
    };
    let state = znodes::leader_and_isr::decode(&node.data.unwrap_or_default(), node.stat.version);
    Ok(state
        .inspect_err(|e| warn!("The state of partition {partition} in ZooKeeper is unreadable: {e}"))
        .ok())
}

async fn topic_config(session: &Session, topic: &str, defaults: &LogConfig) -> Result<LogConfig> {
    let failed = |reason: String| Error::TopicConfig {
        topic: topic.to_owned(),
        reason,
    };
    let node = session
        .get(&paths::topic_config(topic))
        .await
        .map_err(|e| failed(e.to_string()))?;
    let data = node.and_then(|n| n.data);
    let own = znodes::config::decode(data.as_deref()).map_err(|e| failed(e.to_string()))?;
    defaults.with_overrides(&own).map_err(|e| failed(e.to_string()))
}

async fn notify(session: &Session, changed: &[TopicPartition]) -> zookeeper::Result<()> {
    let data = znodes::isr_change::encode(changed);
    let path = paths::isr_change_sequence();
    let mode = CreateMode::PersistentSequential;
    match session.create(&path, Some(data.as_bytes()), mode).await {
        Ok(_) => Ok(()),
        Err(e) => Err(e),
    }
}
