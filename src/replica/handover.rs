//! Leadership that this broker cannot exercise, because the log's directory is out of use, and hands on
//! while it lives. No controller of 0.9 would move it before the broker is gone.
//!
//! Everyone in sync has what acks=-1 acknowledged, so any of them may lead. The next leader and epoch are
//! written where the last leader's in-sync sets stand, on condition that nobody else did so meanwhile; then
//! the replicas are told as a controller would tell them, and the controller that in-sync sets changed, upon
//! which it reads the state and tells all brokers who leads.
//!
//! A message above the high watermark, acknowledged with acks=1, may be on the failed disk alone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::log::{error, info, warn};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::client::{Connection, ConnectionSettings};
use crate::cluster::{BrokerId, ControllerEpoch, LeaderAndIsr, LeaderEpoch, MetadataImage, TopicPartition};
use crate::protocol::leader_and_isr::{BrokerEndPoint, LeaderAndIsrRequest, PartitionStateInfo};
use crate::util::shutdown::Stop;

use super::isr_store::Outcome;
use super::manager::ReplicaManager;

/// How long to wait before anything that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Partitions whose leadership is to be handed on.
#[derive(Debug, Default)]
pub(super) struct Handovers {
    waiting: Mutex<BTreeSet<TopicPartition>>,
    some: Notify,
}

impl Handovers {
    pub(super) fn push(&self, partition: TopicPartition) {
        self.waiting
            .lock()
            .expect("a holder of the handovers panicked")
            .insert(partition);
        self.some.notify_one();
    }

    fn take(&self) -> BTreeSet<TopicPartition> {
        std::mem::take(&mut *self.waiting.lock().expect("a holder of the handovers panicked"))
    }
}

/// What one look at a partition's state led to.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Another leads, or the topic is gone.
    Done,
    /// This was written.
    Written(LeaderAndIsr),
    /// Somebody else wrote meanwhile.
    Again,
    /// Nobody who is in sync lives.
    Nobody,
    /// This broker is not registered, and must not write.
    Unregistered,
}

/// The state with the first of `assigned` as leader that is in sync, lives, and is not `me`; the set without
/// `me`. `None` if `me` does not lead, or nobody can.
fn next_state(
    there: &LeaderAndIsr,
    me: BrokerId,
    assigned: &[BrokerId],
    alive: impl Fn(BrokerId) -> bool,
    controller: ControllerEpoch,
) -> Option<LeaderAndIsr> {
    let can = |id: &BrokerId| *id != me && there.isr.contains(id) && alive(*id);
    let leader = *assigned
        .iter()
        .find(|id| can(id))
        .filter(|_| there.leader == me)?;
    Some(LeaderAndIsr {
        leader,
        leader_epoch: LeaderEpoch(there.leader_epoch.0.checked_add(1)?),
        isr: there.isr.iter().copied().filter(|id| *id != me).collect(),
        controller_epoch: controller.max(there.controller_epoch),
        zk_version: there.zk_version,
    })
}

impl ReplicaManager {
    /// Hands leadership on that cannot be exercised here.
    pub(super) async fn keep_handing_over(self: Arc<Self>, mut stop: Stop) {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.wait() => break,
                () = self.handovers.some.notified() => {
                    for partition in self.handovers.take() {
                        tasks.spawn(self.clone().hand_over(partition));
                    }
                }
                Some(ended) = tasks.join_next() => if let Err(e) = ended {
                    error!("Handing a partition over failed: {e}");
                },
            }
        }
        tasks.shutdown().await;
    }

    async fn hand_over(self: Arc<Self>, partition: TopicPartition) {
        let mut told = false;
        let written = loop {
            match self.step(&partition).await {
                Ok(Step::Done) => return,
                Ok(Step::Written(state)) => break state,
                Ok(Step::Again) => continue,
                Ok(Step::Nobody) if told => {}
                Ok(Step::Unregistered) => {}
                Ok(Step::Nobody) => {
                    told = true;
                    error!(
                        "Partition {partition} is offline: its log directory here has failed, and no other replica in sync lives"
                    );
                }
                Err(e) => warn!("The leadership of partition {partition} cannot be handed over: {e}"),
            }
            self.clock.sleep(RETRY).await;
        };
        info!(
            "Broker {} hands the leadership of partition {partition} over to broker {} with epoch {}, as its log directory has failed",
            self.settings.id, written.leader, written.leader_epoch
        );
        let replicas = self.assigned(&partition);
        let mut sends = JoinSet::new();
        for to in replicas.iter().copied().filter(|id| *id != self.settings.id) {
            sends.spawn(
                self.clone()
                    .tell(to, partition.clone(), written.clone(), replicas.clone()),
            );
        }
        while let Err(e) = self.store.notify(std::slice::from_ref(&partition)).await {
            warn!("The controller cannot be told that partition {partition} was handed over: {e}");
            self.clock.sleep(RETRY).await;
        }
        while sends.join_next().await.is_some() {}
    }

    fn assigned(&self, partition: &TopicPartition) -> Vec<BrokerId> {
        let image = self.metadata.borrow();
        image
            .partition(partition)
            .map(|state| state.replicas.clone())
            .unwrap_or_default()
    }

    async fn step(&self, partition: &TopicPartition) -> crate::zookeeper::Result<Step> {
        let me = self.settings.id;
        let Some(there) = self
            .store
            .read(partition)
            .await?
            .filter(|there| there.leader == me)
        else {
            return Ok(Step::Done);
        };
        let image = self.metadata.borrow().clone();
        let assigned = self.assigned(partition);
        let alive = |id| image.is_alive(id);
        let Some(next) = next_state(&there, me, &assigned, alive, self.controller_epoch()) else {
            return Ok(Step::Nobody);
        };
        Ok(match self.store.write(partition, &next).await? {
            Outcome::Written(zk_version) => Step::Written(LeaderAndIsr { zk_version, ..next }),
            Outcome::Overtaken(_) => Step::Again,
            Outcome::Unregistered => Step::Unregistered,
            Outcome::Gone => Step::Done,
        })
    }

    /// Tells one replica, again and again until it has answered, or a later decision is known, or the broker
    /// is away: whoever comes back hears from the controller.
    async fn tell(
        self: Arc<Self>,
        to: BrokerId,
        partition: TopicPartition,
        state: LeaderAndIsr,
        replicas: Vec<BrokerId>,
    ) {
        loop {
            let image = self.metadata.borrow().clone();
            let later = image
                .partition(&partition)
                .is_some_and(|known| known.leader_and_isr.leader_epoch > state.leader_epoch);
            if later || !image.is_alive(to) {
                return;
            }
            match self.tell_once(to, &partition, &state, &replicas, &image).await {
                Ok(()) => return,
                Err(e) => warn!("Broker {to} cannot be told who leads partition {partition} now: {e}"),
            }
            self.clock.sleep(RETRY).await;
        }
    }

    async fn tell_once(
        &self,
        to: BrokerId,
        partition: &TopicPartition,
        state: &LeaderAndIsr,
        replicas: &[BrokerId],
        image: &MetadataImage,
    ) -> crate::client::Result<()> {
        let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect();
        let endpoint = |id: BrokerId| {
            let broker = image.brokers.get(&id)?;
            broker.endpoint(self.settings.inter_broker_protocol).cloned()
        };
        let leaders = endpoint(state.leader).map(|at| BrokerEndPoint {
            id: state.leader.0,
            host: at.host,
            port: at.port,
        });
        let request = LeaderAndIsrRequest {
            controller_id: self.settings.id.0,
            controller_epoch: state.controller_epoch.0,
            partitions: vec![PartitionStateInfo {
                topic: partition.topic.to_string(),
                partition: partition.partition,
                controller_epoch: state.controller_epoch.0,
                leader: state.leader.0,
                leader_epoch: state.leader_epoch.0,
                isr: ids(&state.isr),
                zk_version: state.zk_version,
                replicas: ids(replicas),
            }],
            live_leaders: leaders.into_iter().collect(),
        };
        let Some(at) = endpoint(to) else {
            return Ok(());
        };
        let fetcher = &self.settings.fetcher;
        let settings = ConnectionSettings {
            client_id: format!("handover-{}", self.settings.id),
            request_timeout: fetcher.socket_timeout,
            connect_timeout: fetcher.socket_timeout,
            clock: self.clock.clone(),
            ..ConnectionSettings::default()
        };
        let connection = Connection::connect(&at.host, at.port, settings).await?;
        connection.call(&request).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(leader: i32, isr: &[i32]) -> LeaderAndIsr {
        LeaderAndIsr {
            leader: BrokerId(leader),
            leader_epoch: LeaderEpoch(4),
            isr: isr.iter().copied().map(BrokerId).collect(),
            controller_epoch: ControllerEpoch(2),
            zk_version: 9,
        }
    }

    fn next(there: &LeaderAndIsr, alive: &[i32]) -> Option<(i32, Vec<i32>)> {
        let assigned = [3, 1, 2].map(BrokerId);
        let alive = |id: BrokerId| alive.contains(&id.0);
        let next = next_state(there, BrokerId(1), &assigned, alive, ControllerEpoch(3))?;
        assert_eq!((next.leader_epoch, next.zk_version), (LeaderEpoch(5), 9));
        assert_eq!(next.controller_epoch, ControllerEpoch(3));
        Some((next.leader.0, next.isr.iter().map(|id| id.0).collect()))
    }

    #[test]
    fn the_first_assigned_replica_that_is_in_sync_and_lives_leads_next() {
        assert_eq!(next(&state(1, &[1, 2, 3]), &[1, 2, 3]), Some((3, vec![2, 3])));
        assert_eq!(next(&state(1, &[1, 2, 3]), &[1, 2]), Some((2, vec![2, 3])));
        assert_eq!(next(&state(1, &[2, 1]), &[1, 2, 3]), Some((2, vec![2])));
    }

    #[test]
    fn nobody_leads_who_is_not_in_sync_or_away_and_nothing_is_taken_from_others() {
        assert_eq!(next(&state(1, &[1]), &[1, 2, 3]), None);
        assert_eq!(next(&state(1, &[1, 2]), &[1, 3]), None);
        assert_eq!(next(&state(2, &[1, 2]), &[1, 2, 3]), None);
    }
}
