//! UpdateMetadata (key 6), versions 0 and 1: version 0 names one endpoint per broker, version 1 all.

use bytes::{BufMut, BytesMut};

use super::Result;
use super::leader_and_isr::PartitionStateInfo;
use super::wire::{Body, Dialect, Field, body, fields, request};
use crate::util::codec::Reader;

/// What the controller says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateMetadataRequest {
    /// The controller's broker id.
    pub controller_id: i32,
    /// Lower than one seen before: refused with 11.
    pub controller_epoch: i32,
    /// Changed partitions; leader -2 takes one out.
    pub partitions: Vec<PartitionStateInfo>,
    /// All live brokers.
    pub brokers: Vec<UpdateMetadataBroker>,
}

fields! {
    /// A live broker.
    UpdateMetadataBroker {
        /// Its id.
        id: i32,
        /// Its addresses; in version 0 just the one for PLAINTEXT.
        endpoints: Vec<UpdateMetadataEndPoint>,
    }
    /// One address. Mind the order: port before host.
    UpdateMetadataEndPoint {
        /// Its port.
        port: i32,
        /// Its host.
        host: String,
        /// A [`SecurityProtocol`](crate::cluster::SecurityProtocol)'s number.
        protocol: i16,
    }
    /// The answer.
    UpdateMetadataResponse {
        /// An [`ErrorCode`](super::ErrorCode).
        error: i16,
    }
}
body!(UpdateMetadataResponse, Java);
request!(UpdateMetadataRequest => UpdateMetadataResponse, UpdateMetadata);

fields! {
    /// A broker as version 0 writes it.
    BrokerV0 {
        /// Its id.
        id: i32,
        /// Its host.
        host: String,
        /// Its port.
        port: i32,
    }
}

impl Body for UpdateMetadataRequest {
    fn decode(r: &mut Reader, version: i16) -> Result<Self> {
        let controller_id = r.i32()?;
        let controller_epoch = r.i32()?;
        let partitions = Field::read(r, Dialect::Scala)?;
        let brokers = if version == 0 {
            let brokers: Vec<BrokerV0> = Field::read(r, Dialect::Scala)?;
            let plain = |b: BrokerV0| UpdateMetadataBroker {
                id: b.id,
                endpoints: vec![UpdateMetadataEndPoint {
                    port: b.port,
                    host: b.host,
                    protocol: 0,
                }],
            };
            brokers.into_iter().map(plain).collect()
        } else {
            Field::read(r, Dialect::Scala)?
        };
        Ok(UpdateMetadataRequest {
            controller_id,
            controller_epoch,
            partitions,
            brokers,
        })
    }
    fn encode(&self, out: &mut BytesMut, version: i16) {
        out.put_i32(self.controller_id);
        out.put_i32(self.controller_epoch);
        self.partitions.write(out);
        if version > 0 {
            self.brokers.write(out);
            return;
        }
        let v0 = |b: &UpdateMetadataBroker| {
            let plain = b.endpoints.iter().find(|e| e.protocol == 0)?;
            Some(BrokerV0 {
                id: b.id,
                host: plain.host.clone(),
                port: plain.port,
            })
        };
        self.brokers.iter().filter_map(v0).collect::<Vec<_>>().write(out);
    }
}
