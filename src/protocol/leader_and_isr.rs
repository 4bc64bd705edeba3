//! LeaderAndIsr (key 4), version 0: the controller tells replicas their roles.

use super::wire::{body, fields, request};

fields! {
    /// What the controller says.
    LeaderAndIsrRequest {
        /// The controller's broker id.
        controller_id: i32,
        /// Lower than one seen before: refused with 11.
        controller_epoch: i32,
        /// The decisions.
        partitions: Vec<PartitionStateInfo>,
        /// Endpoints of the leaders named.
        live_leaders: Vec<BrokerEndPoint>,
    }
    /// One partition's decision, in LeaderAndIsr and UpdateMetadata.
    PartitionStateInfo {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Epoch of the controller that decided.
        controller_epoch: i32,
        /// The leader's id; -1 none; -2 (UpdateMetadata only) being deleted.
        leader: i32,
        /// Number of the decision.
        leader_epoch: i32,
        /// In-sync replicas.
        isr: Vec<i32>,
        /// Version of the state znode with this decision.
        zk_version: i32,
        /// Assigned replicas.
        replicas: Vec<i32>,
    }
    /// A broker's address for the protocol that brokers use among themselves.
    BrokerEndPoint {
        /// Its id.
        id: i32,
        /// Its host.
        host: String,
        /// Its port.
        port: i32,
    }
    /// The answer of LeaderAndIsr and of StopReplica.
    PartitionErrorsResponse {
        /// An [`ErrorCode`](super::ErrorCode) for the whole request.
        error: i16,
        /// One per partition.
        partitions: Vec<PartitionError>,
    }
    /// One partition's outcome.
    PartitionError {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// An [`ErrorCode`](super::ErrorCode).
        error: i16,
    }
}
body!(LeaderAndIsrRequest, Scala);
body!(PartitionErrorsResponse, Java);
request!(LeaderAndIsrRequest => PartitionErrorsResponse, LeaderAndIsr);
