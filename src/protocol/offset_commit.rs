//! OffsetCommit (key 8), versions 0 to 2. Version 0 goes to ZooKeeper and knows no members; version 1
//! has a time per partition; version 2 a retention for all.

use bytes::{BufMut, BytesMut};

use super::Result;
use super::wire::{Body, Dialect, Field, array, body, fields, request};
use crate::util::codec::{Reader, put_short_string};

/// What is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommitRequest {
    /// The group.
    pub group_id: String,
    /// The member's generation; -1 in version 0 and for commits outside of a group's life.
    pub generation_id: i32,
    /// The member; empty in version 0 and outside of a group's life.
    pub member_id: String,
    /// How long to keep, in milliseconds; -1 leaves it to the broker. Version 2 only.
    pub retention_time_ms: i64,
    /// By topic.
    pub topics: Vec<OffsetCommitTopic>,
}

/// One topic's offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommitTopic {
    /// The topic.
    pub topic: String,
    /// By partition.
    pub partitions: Vec<OffsetCommitPartition>,
}

/// One partition's offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommitPartition {
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// When it was committed, milliseconds since 1970; -1 for now. Version 1 only.
    pub timestamp: i64,
    /// Kept beside the offset.
    pub metadata: Option<String>,
}

fields! {
    /// The answer of every version.
    OffsetCommitResponse {
        /// By topic, in no promised order.
        topics: Vec<OffsetCommitTopicResult>,
    }
    /// One topic's outcomes.
    OffsetCommitTopicResult {
        /// The topic.
        topic: String,
        /// By partition.
        partitions: Vec<OffsetCommitPartitionResult>,
    }
    /// One partition's outcome.
    OffsetCommitPartitionResult {
        /// The partition.
        partition: i32,
        /// An [`ErrorCode`](super::ErrorCode).
        error: i16,
    }
}
body!(OffsetCommitResponse, Java);
request!(OffsetCommitRequest => OffsetCommitResponse, OffsetCommit);

impl Body for OffsetCommitRequest {
    fn decode(r: &mut Reader, version: i16) -> Result<Self> {
        let group_id = String::read(r, Dialect::Scala)?;
        let (generation_id, member_id) = match version {
            0 => (-1, String::new()),
            _ => (r.i32()?, String::read(r, Dialect::Scala)?),
        };
        let retention_time_ms = if version >= 2 { r.i64()? } else { -1 };
        let partition = |r: &mut Reader| {
            Ok(OffsetCommitPartition {
                partition: r.i32()?,
                offset: r.i64()?,
                timestamp: if version == 1 { r.i64()? } else { -1 },
                metadata: r.nullable_short_string()?,
            })
        };
        let topics = array(r, Dialect::Scala, |r| {
            Ok(OffsetCommitTopic {
                topic: String::read(r, Dialect::Scala)?,
                partitions: array(r, Dialect::Scala, partition)?,
            })
        })?;
        Ok(OffsetCommitRequest {
            group_id,
            generation_id,
            member_id,
            retention_time_ms,
            topics,
        })
    }

    fn encode(&self, out: &mut BytesMut, version: i16) {
        put_short_string(out, Some(&self.group_id));
        if version >= 1 {
            out.put_i32(self.generation_id);
            put_short_string(out, Some(&self.member_id));
        }
        if version >= 2 {
            out.put_i64(self.retention_time_ms);
        }
        out.put_i32(i32::try_from(self.topics.len()).expect("arrays are bounded by the caller"));
        for t in &self.topics {
            t.topic.write(out);
            out.put_i32(i32::try_from(t.partitions.len()).expect("arrays are bounded by the caller"));
            for p in &t.partitions {
                out.put_i32(p.partition);
                out.put_i64(p.offset);
                if version == 1 {
                    out.put_i64(p.timestamp);
                }
                p.metadata.write(out);
            }
        }
    }
}
