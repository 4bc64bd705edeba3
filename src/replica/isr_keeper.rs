//! The task that carries in-sync sets to ZooKeeper: writes what partitions propose, looks for members
//! who lag, and tells the controller which sets changed. No lock is held while ZooKeeper answers, so an
//! outage there stops neither produce nor fetch.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::log::{info, warn};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::cluster::{LeaderAndIsr, TopicPartition};
use crate::util::clock::Mono;
use crate::util::shutdown::Stop;

use super::isr_store::Outcome;
use super::manager::ReplicaManager;
use super::partition::Partition;

/// How often it is looked whether changes are to be told.
const TELL_INTERVAL: Duration = Duration::from_millis(2500);
/// Changes are told once there were none for so long ...
const TELL_QUIET: Duration = Duration::from_secs(5);
/// ... or when nothing was told for so long.
const TELL_AT_LAST: Duration = Duration::from_secs(60);
/// How long to wait before a write whose outcome is unknown is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Sets to be written. Never longer than there are partitions: each has one proposal at a time.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    waiting: Mutex<Vec<(Arc<Partition>, LeaderAndIsr)>>,
    some: Notify,
}

impl Proposals {
    pub(super) fn push(&self, partition: Arc<Partition>, proposal: LeaderAndIsr) {
        self.waiting
            .lock()
            .expect("a holder of the proposals panicked")
            .push((partition, proposal));
        self.some.notify_one();
    }

    fn take(&self) -> Vec<(Arc<Partition>, LeaderAndIsr)> {
        std::mem::take(&mut *self.waiting.lock().expect("a holder of the proposals panicked"))
    }
}

/// Changed sets that the controller was not told of.
#[derive(Debug)]
struct Untold {
    partitions: Vec<TopicPartition>,
    changed: Mono,
    told: Mono,
}

impl Untold {
    fn is_due(&self, now: Mono) -> bool {
        !self.partitions.is_empty()
            && (now.since(self.changed) > TELL_QUIET || now.since(self.told) > TELL_AT_LAST)
    }
}

impl ReplicaManager {
    pub(super) async fn keep_in_sync_sets(self: Arc<Self>, mut stop: Stop) {
        let mut writes: JoinSet<Option<TopicPartition>> = JoinSet::new();
        let now = self.clock.now();
        // Half the time allowed, so that nobody lags for much longer than that unseen.
        let look_interval = self.settings.lag_time_max / 2;
        let (mut next_look, mut next_tell) = (now + look_interval, now + TELL_INTERVAL);
        let mut untold = Untold {
            partitions: Vec::new(),
            changed: now,
            told: now,
        };
        loop {
            tokio::select! {
                () = stop.wait() => break,
                () = self.proposals.some.notified() => {
                    for (partition, proposal) in self.proposals.take() {
                        writes.spawn(self.clone().write(partition, proposal));
                    }
                }
                Some(written) = writes.join_next() => {
                    if let Ok(Some(partition)) = written {
                        if !untold.partitions.contains(&partition) {
                            untold.partitions.push(partition);
                        }
                        untold.changed = self.clock.now();
                    }
                }
                () = self.clock.sleep_until(next_look) => {
                    let now = self.clock.now();
                    // Who stood still until now could not hear its followers either: they get the time until
                    // the next look.
                    if now.since(next_look) <= look_interval {
                        self.propose_without_lagging();
                    }
                    next_look = now + look_interval;
                }
                () = self.clock.sleep_until(next_tell) => {
                    let now = self.clock.now();
                    next_tell = now + TELL_INTERVAL;
                    if untold.is_due(now) {
                        let told = tokio::select! {
                            told = self.store.notify(&untold.partitions) => told,
                            () = stop.wait() => break,
                        };
                        match told {
                            Ok(()) => {
                                untold.partitions.clear();
                                untold.told = now;
                            }
                            Err(e) => warn!("The controller cannot be told of changed in-sync replicas: {e}"),
                        }
                    }
                }
            }
        }
        writes.shutdown().await;
    }

    fn propose_without_lagging(&self) {
        let now = self.clock.now();
        for partition in self.all() {
            if let Some(proposal) = partition.drop_lagging(self.settings.lag_time_max, now) {
                self.meters.isr_shrinks.mark(now, 1);
                self.proposals.push(partition, proposal);
            }
        }
    }

    /// Writes one proposal, again and again while nobody knows whether it was written. Returns the
    /// partition if its set has changed.
    async fn write(
        self: Arc<Self>,
        partition: Arc<Partition>,
        proposal: LeaderAndIsr,
    ) -> Option<TopicPartition> {
        while partition.still_proposes(&proposal) {
            match self.store.write(&partition.id, &proposal).await {
                Ok(Outcome::Unregistered) => {
                    info!(
                        "Partition {} on broker {}: not registered in ZooKeeper, skip updating ISR",
                        partition.id, self.settings.id
                    );
                    // It is thought over then.
                    self.clock.sleep(RETRY).await;
                    partition.settle(&proposal, Outcome::Unregistered);
                    return None;
                }
                Ok(outcome) => {
                    if !matches!(outcome, Outcome::Written(_)) {
                        info!(
                            "Partition {} on broker {}: Cached zkVersion [{}] not equal to that in zookeeper, skip updating ISR",
                            partition.id, self.settings.id, proposal.zk_version
                        );
                    }
                    return partition.settle(&proposal, outcome).then(|| partition.id.clone());
                }
                Err(e) => {
                    warn!(
                        "The in-sync replicas of partition {} cannot be written: {e}",
                        partition.id
                    );
                    self.clock.sleep(RETRY).await;
                }
            }
        }
        None
    }
}
