//! The manager over real logs, with partition states in memory.

use std::sync::{Arc, Mutex};

use crate::cluster::{LeaderAndIsr, TopicPartition};
use crate::config::LogConfig;
use crate::zookeeper;

use super::isr_store::Outcome;

/// What stands in for ZooKeeper.
#[derive(Clone, Debug, Default)]
pub(super) struct States(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Answers to writes to come, the last first; then every write succeeds.
    script: Vec<zookeeper::Result<Outcome>>,
    written: Vec<LeaderAndIsr>,
    told: Vec<Vec<TopicPartition>>,
    config: Option<LogConfig>,
}

impl States {
    pub(super) fn write(&self, _: &TopicPartition, state: &LeaderAndIsr) -> zookeeper::Result<Outcome> {
        let mut inner = self.0.lock().unwrap();
        inner.written.push(state.clone());
        inner
            .script
            .pop()
            .unwrap_or(Ok(Outcome::Written(state.zk_version + 1)))
    }

    pub(super) fn topic_config(&self, defaults: &LogConfig) -> LogConfig {
        self.0
            .lock()
            .unwrap()
            .config
            .clone()
            .unwrap_or_else(|| defaults.clone())
    }

    pub(super) fn notify(&self, changed: &[TopicPartition]) -> zookeeper::Result<()> {
        self.0.lock().unwrap().told.push(changed.to_vec());
        Ok(())
    }
}
