//! OffsetFetch (key 9), versions 0 (from ZooKeeper) and 1 (from the offsets topic): one layout.

use super::wire::{body, fields, request};

fields! {
    /// What is asked.
    OffsetFetchRequest {
        /// The group.
        group_id: String,
        /// By topic; none means all, in version 1.
        topics: Vec<OffsetFetchTopic>,
    }
    /// One topic's partitions.
    OffsetFetchTopic {
        /// The topic.
        topic: String,
        /// Which.
        partitions: Vec<i32>,
    }
    /// The answer.
    OffsetFetchResponse {
        /// By topic, in no promised order.
        topics: Vec<OffsetFetchTopicResult>,
    }
    /// One topic's offsets.
    OffsetFetchTopicResult {
        /// The topic.
        topic: String,
        /// By partition.
        partitions: Vec<OffsetFetchPartitionResult>,
    }
    /// One partition's offset.
    OffsetFetchPartitionResult {
        /// The partition.
        partition: i32,
        /// The next offset to read; -1 if none is stored.
        offset: i64,
        /// What was kept beside it.
        metadata: Option<String>,
        /// An [`ErrorCode`](super::ErrorCode).
        error: i16,
    }
}
body!(OffsetFetchRequest, Scala);
body!(OffsetFetchResponse, Java);
request!(OffsetFetchRequest => OffsetFetchResponse, OffsetFetch);
