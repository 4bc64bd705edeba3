//! ControlledShutdown (key 7): version 0's header has no client id; the bodies are the same.

use super::stop_replica::StopReplicaPartition;
use super::wire::{body, fields, request};

fields! {
    /// What a broker that stops asks the controller.
    ControlledShutdownRequest {
        /// The broker that stops.
        broker_id: i32,
    }
    /// The answer.
    ControlledShutdownResponse {
        /// An [`ErrorCode`](super::ErrorCode): 11 not the controller, 8 not a live broker.
        error: i16,
        /// Partitions that the broker still leads; none means that it may go.
        partitions: Vec<StopReplicaPartition>,
    }
}
body!(ControlledShutdownRequest, Scala);
body!(ControlledShutdownResponse, Java);
request!(ControlledShutdownRequest => ControlledShutdownResponse, ControlledShutdown);
