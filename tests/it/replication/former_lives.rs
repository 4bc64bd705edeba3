//! What was decided about a broker before it was started again is not for it to follow.

use std::time::Duration;

use kafka::protocol::leader_and_isr::{LeaderAndIsrRequest, PartitionErrorsResponse, PartitionStateInfo};
use kafka::protocol::registration::client_id;
use kafka::protocol::stop_replica::{StopReplicaPartition, StopReplicaRequest};
use kafka::protocol::update_metadata::UpdateMetadataRequest;

use super::{LIMIT, append};
use crate::support::dev_cluster::Cluster;
use crate::support::wait_for;
use crate::support::wire::Wire;

/// Broker 0 tells broker 1 to lead `t` in this epoch.
fn leads_in(leader_epoch: i32) -> LeaderAndIsrRequest {
    let decided = PartitionStateInfo {
        topic: "t".into(),
        partition: 0,
        controller_epoch: 1,
        leader: 1,
        leader_epoch,
        isr: vec![1, 0],
        zk_version: 0,
        replicas: vec![1, 0],
    };
    LeaderAndIsrRequest {
        controller_id: 0,
        controller_epoch: 1,
        partitions: vec![decided],
        live_leaders: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_takes_no_decision_before_its_present_life_is_registered() {
    let mut cluster = Cluster::builder().brokers(2).start().await;
    cluster.create_topic("t", &[1, 0], &[]).await;
    let port = u16::try_from(cluster.broker(1).bound()[0].port).unwrap();
    cluster.0.kill_broker(1).await;
    // Its next life listens before its former registration has gone.
    let request = leads_in(0);
    let told = tokio::task::spawn_blocking(move || {
        let answer = wait_for("it listens", LIMIT, || {
            let mut wire = Wire::connect(port, Duration::from_secs(5)).ok()?;
            wire.call(&request, 0).ok()
        });
        answer.error
    });
    cluster.0.start_broker(1).await.unwrap();
    assert_eq!(told.await.unwrap(), 8, "BROKER_NOT_AVAILABLE");
    cluster.wait_state("t", 0, &[0, 1]).await;
    cluster.0.stop().await;
}

/// The network, or a broker that stood still, may hold a controller's word until the broker has been started again
/// and has registered: then it is for a broker that may have had more.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_heeds_no_word_that_was_meant_for_its_former_registration() {
    let mut cluster = Cluster::builder().brokers(2).start().await;
    cluster.create_topic("t", &[1, 0], &[]).await;
    let former = cluster.registration(1).await;
    cluster.0.kill_broker(1).await;
    cluster.0.start_broker(1).await.unwrap();
    cluster.wait_state("t", 0, &[0, 1]).await;
    let present = cluster.registration(1).await;
    assert!(former < present);

    let as_registered = |czxid| cluster.wire(1).calling_itself(client_id(0, czxid));
    let stop = StopReplicaRequest {
        controller_id: 0,
        controller_epoch: 1,
        delete_partitions: true,
        partitions: vec![StopReplicaPartition {
            topic: "t".into(),
            partition: 0,
        }],
    };
    let nobody = UpdateMetadataRequest {
        controller_id: 0,
        controller_epoch: 1,
        partitions: Vec::new(),
        brokers: Vec::new(),
    };
    let mut late = as_registered(former);
    assert_eq!(
        late.call(&leads_in(90), 0).unwrap().error,
        8,
        "BROKER_NOT_AVAILABLE"
    );
    assert_eq!(late.call(&stop, 0).unwrap().error, 8);
    assert_eq!(late.call(&nobody, 1).unwrap().error, 8);
    assert_eq!(late.metadata(&["t"]).unwrap().brokers.len(), 2);
    append(&cluster, 0, "t", &["a"], -1);

    // A genuine controller names none.
    let taken = |answer: PartitionErrorsResponse| (answer.error, answer.partitions[0].error);
    assert_eq!(taken(cluster.wire(1).call(&leads_in(91), 0).unwrap()), (0, 0));
    assert_eq!(
        taken(as_registered(present).call(&leads_in(92), 0).unwrap()),
        (0, 0)
    );
    cluster.0.stop().await;
}
