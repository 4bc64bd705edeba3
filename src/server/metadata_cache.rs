//! What this broker knows of the cluster (kafka.server.MetadataCache). Filled by the controller's
//! UpdateMetadata alone; readers take a picture and answer from it without a lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::cluster::{
    Broker, BrokerId, ControllerEpoch, Endpoint, LeaderAndIsr, LeaderEpoch, MetadataImage, PartitionState,
    SecurityProtocol,
};
use crate::protocol::leader_and_isr::PartitionStateInfo;
use crate::protocol::update_metadata::{UpdateMetadataBroker, UpdateMetadataRequest};

/// Stands for the leader of a partition that is being deleted.
const DURING_DELETE: i32 = -2;

/// The picture in force. Empty until the first update.
#[derive(Debug)]
pub struct MetadataCache {
    image: watch::Sender<Arc<MetadataImage>>,
    /// Held while a new picture is drawn, so that no update is lost to another.
    writing: Mutex<()>,
}

impl Default for MetadataCache {
    fn default() -> Self {
        MetadataCache {
            image: watch::Sender::new(Arc::new(MetadataImage::default())),
            writing: Mutex::new(()),
        }
    }
}

impl MetadataCache {
    /// The picture of this moment.
    pub fn snapshot(&self) -> Arc<MetadataImage> {
        self.image.borrow().clone()
    }

    /// This picture and all that follow.
    pub fn subscribe(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.image.subscribe()
    }

    /// Takes over what the controller says: its live brokers in place of those known, its partitions
    /// over those known, out with those being deleted and with topics that have none left.
    ///
    /// Returns `false` and changes nothing if a later controller has spoken already.
    pub fn update(&self, request: &UpdateMetadataRequest) -> bool {
        let _writing = self.writing.lock().expect("drawing a picture does not panic");
        let old = self.snapshot();
        let epoch = ControllerEpoch(request.controller_epoch);
        if epoch < old.controller_epoch {
            return false;
        }
        self.image.send_replace(Arc::new(MetadataImage {
            controller_epoch: epoch,
            brokers: request.brokers.iter().map(broker).map(|b| (b.id, b)).collect(),
            topics: merged(&old, &request.partitions),
        }));
        true
    }
}

type Topics = BTreeMap<Arc<str>, Arc<BTreeMap<i32, PartitionState>>>;

fn merged(old: &MetadataImage, changes: &[PartitionStateInfo]) -> Topics {
    let mut topics = old.topics.clone();
    for change in changes {
        if change.leader != DURING_DELETE {
            let partitions = match topics.get_mut(change.topic.as_str()) {
                Some(partitions) => partitions,
                None => topics.entry(change.topic.as_str().into()).or_default(),
            };
            Arc::make_mut(partitions).insert(change.partition, state(change));
        } else if let Some(partitions) = topics.get_mut(change.topic.as_str()) {
            Arc::make_mut(partitions).remove(&change.partition);
            if partitions.is_empty() {
                topics.remove(change.topic.as_str());
            }
        }
    }
    topics
}

fn state(said: &PartitionStateInfo) -> PartitionState {
    PartitionState {
        leader_and_isr: LeaderAndIsr {
            leader: BrokerId(said.leader),
            leader_epoch: LeaderEpoch(said.leader_epoch),
            isr: said.isr.iter().copied().map(BrokerId).collect(),
            controller_epoch: ControllerEpoch(said.controller_epoch),
            zk_version: said.zk_version,
        },
        replicas: said.replicas.iter().copied().map(BrokerId).collect(),
    }
}

/// Addresses for protocols that do not exist here are left out.
fn broker(said: &UpdateMetadataBroker) -> Broker {
    let endpoint = |e: &crate::protocol::update_metadata::UpdateMetadataEndPoint| {
        Some(Endpoint {
            protocol: SecurityProtocol::from_id(e.protocol)?,
            host: e.host.clone(),
            port: e.port,
        })
    };
    Broker {
        id: BrokerId(said.id),
        endpoints: said.endpoints.iter().filter_map(endpoint).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::update_metadata::UpdateMetadataEndPoint;

    fn partition(topic: &str, partition: i32, leader: i32) -> PartitionStateInfo {
        PartitionStateInfo {
            topic: topic.into(),
            partition,
            controller_epoch: 1,
            leader,
            leader_epoch: 0,
            isr: vec![leader],
            zk_version: 0,
            replicas: vec![leader],
        }
    }

    fn update(epoch: i32, partitions: Vec<PartitionStateInfo>, brokers: &[i32]) -> UpdateMetadataRequest {
        let endpoint = |protocol| UpdateMetadataEndPoint {
            port: 9092,
            host: "h".into(),
            protocol,
        };
        UpdateMetadataRequest {
            controller_id: 0,
            controller_epoch: epoch,
            partitions,
            brokers: brokers
                .iter()
                .map(|id| UpdateMetadataBroker {
                    id: *id,
                    endpoints: vec![endpoint(0), endpoint(32767)],
                })
                .collect(),
        }
    }

    #[test]
    fn brokers_are_replaced_and_partitions_merged() {
        let cache = MetadataCache::default();
        assert!(cache.update(&update(
            1,
            vec![partition("a", 0, 1), partition("a", 1, 2)],
            &[1, 2]
        )));
        let before = cache.snapshot();
        assert!(cache.update(&update(1, vec![partition("a", 1, 1), partition("b", 0, 1)], &[1])));
        let now = cache.snapshot();
        assert_eq!(now.brokers.keys().copied().collect::<Vec<_>>(), [BrokerId(1)]);
        assert_eq!(
            now.brokers[&BrokerId(1)].endpoints.len(),
            1,
            "unknown protocols are left out"
        );
        assert_eq!(now.topics["a"][&1].leader_and_isr.leader, BrokerId(1));
        assert_eq!(now.topics.len(), 2);
        assert_eq!(
            before.topics["a"][&1].leader_and_isr.leader,
            BrokerId(2),
            "pictures never change"
        );
    }

    #[test]
    fn a_topic_goes_with_its_last_partition_being_deleted() {
        let cache = MetadataCache::default();
        cache.update(&update(1, vec![partition("a", 0, 1), partition("a", 1, 1)], &[1]));
        cache.update(&update(1, vec![partition("a", 0, DURING_DELETE)], &[1]));
        assert_eq!(cache.snapshot().topics["a"].len(), 1);
        cache.update(&update(
            1,
            vec![partition("a", 1, DURING_DELETE), partition("x", 0, DURING_DELETE)],
            &[1],
        ));
        assert!(cache.snapshot().topics.is_empty());
    }

    #[test]
    fn an_earlier_controller_is_not_heard() {
        let cache = MetadataCache::default();
        assert!(cache.update(&update(2, vec![], &[1])));
        assert!(!cache.update(&update(1, vec![], &[])));
        assert!(cache.snapshot().is_alive(BrokerId(1)));
        assert!(cache.update(&update(2, vec![], &[])));
    }
}
