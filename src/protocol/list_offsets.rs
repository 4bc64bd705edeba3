//! Offsets (key 2), version 0: segment base offsets before a time.

use super::wire::{body, fields, request};

fields! {
    /// What is asked.
    ListOffsetsRequest {
        /// A follower's broker id, -1 a consumer, -2 a tool.
        replica_id: i32,
        /// By topic.
        topics: Vec<ListOffsetsTopic>,
    }
    /// One topic's wishes.
    ListOffsetsTopic {
        /// The topic.
        topic: String,
        /// By partition.
        partitions: Vec<ListOffsetsPartition>,
    }
    /// One partition's wish.
    ListOffsetsPartition {
        /// The partition.
        partition: i32,
        /// Milliseconds since 1970; -1 the latest, -2 the earliest.
        timestamp: i64,
        /// At most so many.
        max_offsets: i32,
    }
    /// The answer.
    ListOffsetsResponse {
        /// By topic, in no promised order.
        topics: Vec<ListOffsetsTopicResult>,
    }
    /// One topic's offsets.
    ListOffsetsTopicResult {
        /// The topic.
        topic: String,
        /// By partition.
        partitions: Vec<ListOffsetsPartitionResult>,
    }
    /// One partition's offsets.
    ListOffsetsPartitionResult {
        /// The partition.
        partition: i32,
        /// An [`ErrorCode`](super::ErrorCode).
        error: i16,
        /// Descending; empty with an error.
        offsets: Vec<i64>,
    }
}
body!(ListOffsetsRequest, Scala);
body!(ListOffsetsResponse, Java);
request!(ListOffsetsRequest => ListOffsetsResponse, Offsets);
