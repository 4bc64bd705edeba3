//! StopReplica (key 5), version 0.

use bytes::{BufMut, BytesMut};

use super::leader_and_isr::PartitionErrorsResponse;
use super::wire::{Body, Dialect, Field, fields, request};
use super::{Error, Result};
use crate::util::codec::Reader;

/// What the controller says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopReplicaRequest {
    /// The controller's broker id.
    pub controller_id: i32,
    /// Lower than one seen before: refused with 11.
    pub controller_epoch: i32,
    /// Whether the logs go as well.
    pub delete_partitions: bool,
    /// Which.
    pub partitions: Vec<StopReplicaPartition>,
}

fields! {
    /// One partition.
    StopReplicaPartition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    }
}
request!(StopReplicaRequest => PartitionErrorsResponse, StopReplica);

impl Body for StopReplicaRequest {
    fn decode(r: &mut Reader, _version: i16) -> Result<Self> {
        Ok(StopReplicaRequest {
            controller_id: r.i32()?,
            controller_epoch: r.i32()?,
            delete_partitions: match r.i8()? {
                0 => false,
                1 => true,
                other => {
                    return Err(Error::Value {
                        at: r.position(),
                        what: "delete_partitions",
                        value: other.into(),
                    });
                }
            },
            partitions: Field::read(r, Dialect::Scala)?,
        })
    }
    fn encode(&self, out: &mut BytesMut, _version: i16) {
        out.put_i32(self.controller_id);
        out.put_i32(self.controller_epoch);
        out.put_i8(self.delete_partitions.into());
        self.partitions.write(out);
    }
}
