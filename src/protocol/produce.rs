//! Produce (key 0), versions 0 and 1: version 1's answer ends with the throttle time.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::wire::{Body, Dialect, Field, fields, request};
use super::{Error, Result};
use crate::util::codec::Reader;

fields! {
    /// What a client sends.
    ProduceRequest {
        /// 0: no answer; 1: after the leader's append; -1: after all in-sync replicas'. Others are errors.
        acks: i16,
        /// How long acks=-1 may wait, in milliseconds; 0 or less expires at once.
        timeout_ms: i32,
        /// By topic.
        topics: Vec<ProduceTopic>,
    }
    /// One topic's record sets.
    ProduceTopic {
        /// The topic.
        topic: String,
        /// By partition.
        partitions: Vec<ProducePartition>,
    }
    /// One partition's record set.
    ProducePartition {
        /// The partition.
        partition: i32,
        /// A message set; a partial message at its end is dropped by the broker.
        records: Bytes,
    }
    /// One topic's results.
    ProduceTopicResult {
        /// The topic.
        topic: String,
        /// By partition.
        partitions: Vec<ProducePartitionResult>,
    }
    /// One partition's result.
    ProducePartitionResult {
        /// The partition.
        partition: i32,
        /// An [`ErrorCode`](super::ErrorCode).
        error: i16,
        /// The offset given to the first message; -1 if none was appended.
        base_offset: i64,
    }
}
super::wire::body!(ProduceRequest, Scala);
request!(ProduceRequest => ProduceResponse, Produce);

/// The answer; there is none for acks 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceResponse {
    /// By topic, in no promised order.
    pub topics: Vec<ProduceTopicResult>,
    /// How long the answer was held back, in milliseconds. Version 1 only.
    pub throttle_time_ms: i32,
}

impl Body for ProduceResponse {
    fn decode(r: &mut Reader, version: i16) -> Result<Self> {
        Ok(ProduceResponse {
            topics: Field::read(r, Dialect::Java)?,
            throttle_time_ms: if version >= 1 { r.i32()? } else { 0 },
        })
    }
    fn encode(&self, out: &mut BytesMut, version: i16) {
        self.topics.write(out);
        if version >= 1 {
            out.put_i32(self.throttle_time_ms);
        }
    }
}

/// A request whose record sets can be written to: each is a part of the frame's own buffer, split off
/// without a copy, so that the log can put offsets in place.
#[derive(Debug)]
pub struct OwnedProduceRequest {
    /// See [`ProduceRequest::acks`].
    pub acks: i16,
    /// See [`ProduceRequest::timeout_ms`].
    pub timeout_ms: i32,
    /// By topic, as sent.
    pub topics: Vec<OwnedProduceTopic>,
}

/// One topic's record sets, owned.
#[derive(Debug)]
pub struct OwnedProduceTopic {
    /// The topic.
    pub topic: String,
    /// Partition and message set.
    pub partitions: Vec<(i32, BytesMut)>,
}

impl ProduceRequest {
    /// Reads a body from the buffer that holds it, as [`Body::decode`] but without sharing.
    pub fn decode_owned(mut body: BytesMut) -> Result<OwnedProduceRequest> {
        let length = body.len();
        let b = &mut body;
        let need = |b: &BytesMut, n: usize| {
            if b.len() < n {
                return Err(Error::End {
                    at: length - b.len(),
                    needed: n,
                    left: b.len(),
                });
            }
            Ok(())
        };
        // A count says nothing until its elements are there: the least element takes `least` bytes.
        let count = |b: &mut BytesMut, least: usize| {
            need(b, 4)?;
            let n = usize::try_from(b.get_i32()).unwrap_or(0);
            need(b, n.saturating_mul(least))?;
            Ok(n)
        };
        need(b, 6)?;
        let acks = b.get_i16();
        let timeout_ms = b.get_i32();
        let topic_count = count(b, 6)?;
        let mut topics = Vec::with_capacity(topic_count.min(16));
        for _ in 0..topic_count {
            need(b, 2)?;
            let name_length = usize::try_from(b.get_i16()).unwrap_or(0);
            need(b, name_length)?;
            let at = length - b.len();
            let topic = std::str::from_utf8(&b[..name_length])
                .map_err(|_| Error::Utf8 { at })?
                .to_owned();
            b.advance(name_length);
            let partition_count = count(b, 8)?;
            let mut partitions = Vec::with_capacity(partition_count.min(16));
            for _ in 0..partition_count {
                need(b, 8)?;
                let partition = b.get_i32();
                let at = length - b.len();
                let set_length = b.get_i32();
                let set_length = usize::try_from(set_length).map_err(|_| Error::Length {
                    at,
                    length: set_length.into(),
                })?;
                need(b, set_length)?;
                partitions.push((partition, b.split_to(set_length)));
            }
            topics.push(OwnedProduceTopic { topic, partitions });
        }
        Ok(OwnedProduceRequest {
            acks,
            timeout_ms,
            topics,
        })
    }
}
