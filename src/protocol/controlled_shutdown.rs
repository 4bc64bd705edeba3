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

/// Between the broker's id and its registration in a client id.
const REGISTERED: &str = "-registered-";

/// The client id of a broker that stops. The request itself cannot say which life of the broker it is about,
/// and a network may hold it until the broker is back; so the transaction that created the registration stands
/// here. 0.9.0.1 has the broker's id alone, and reads nothing from it.
pub fn client_id(broker_id: i32, czxid: i64) -> String {
    format!("{broker_id}{REGISTERED}{czxid:x}")
}

/// The registration that such a client id names; `None` of genuine brokers.
pub fn registration(client_id: &str) -> Option<i64> {
    let (_, czxid) = client_id.split_once(REGISTERED)?;
    i64::from_str_radix(czxid, 16).ok()
}
