//! Fetch (key 1), versions 0 and 1: version 1's answer begins with the throttle time.
//!
//! The broker does not build [`FetchResponse`]: its record sets go from file to socket. The layout is
//! `[throttle_time_ms:i32] [topic:str [partition:i32 error:i16 high_watermark:i64 size:i32 bytes]]`.

use bytes::{BufMut, Bytes, BytesMut};

use super::Result;
use super::wire::{Body, Dialect, Field, body, fields, request};
use crate::util::codec::Reader;

fields! {
    /// What a consumer or a follower asks.
    FetchRequest {
        /// A follower's broker id; -1 a consumer; -2 a tool that reads any replica.
        replica_id: i32,
        /// How long to wait for `min_bytes`, in milliseconds; 0 or less answers at once.
        max_wait_ms: i32,
        /// How many bytes are worth an answer.
        min_bytes: i32,
        /// By topic.
        topics: Vec<FetchTopic>,
    }
    /// One topic's wishes.
    FetchTopic {
        /// The topic.
        topic: String,
        /// By partition.
        partitions: Vec<FetchPartition>,
    }
    /// One partition's wish.
    FetchPartition {
        /// The partition.
        partition: i32,
        /// The first offset wanted.
        fetch_offset: i64,
        /// At most so many bytes of this partition.
        max_bytes: i32,
    }
    /// One topic's data.
    FetchTopicResult {
        /// The topic.
        topic: String,
        /// By partition.
        partitions: Vec<FetchPartitionResult>,
    }
    /// One partition's data.
    FetchPartitionResult {
        /// The partition.
        partition: i32,
        /// An [`ErrorCode`](super::ErrorCode).
        error: i16,
        /// The leader's high watermark; -1 with an error.
        high_watermark: i64,
        /// Messages from the first whose offset is not below the wanted one (a compressed set may hold
        /// lower ones); the last may be cut anywhere.
        records: Bytes,
    }
}
body!(FetchRequest, Scala);
request!(FetchRequest => FetchResponse, Fetch);

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchResponse {
    /// How long the answer was held back, in milliseconds. Version 1 only.
    pub throttle_time_ms: i32,
    /// By topic, in no promised order.
    pub topics: Vec<FetchTopicResult>,
}

impl Body for FetchResponse {
    fn decode(r: &mut Reader, version: i16) -> Result<Self> {
        Ok(FetchResponse {
            throttle_time_ms: if version >= 1 { r.i32()? } else { 0 },
            topics: Field::read(r, Dialect::Java)?,
        })
    }
    fn encode(&self, out: &mut BytesMut, version: i16) {
        if version >= 1 {
            out.put_i32(self.throttle_time_ms);
        }
        self.topics.write(out);
    }
}
