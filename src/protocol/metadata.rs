//! Metadata (key 3), version 0.

use super::wire::{body, fields, request};

fields! {
    /// What is asked.
    MetadataRequest {
        /// The topics; none means all.
        topics: Vec<String>,
    }
    /// The answer.
    MetadataResponse {
        /// The live brokers.
        brokers: Vec<MetadataBroker>,
        /// The topics asked for.
        topics: Vec<MetadataTopic>,
    }
    /// A live broker's address for the asker's protocol.
    MetadataBroker {
        /// Its id.
        node_id: i32,
        /// Where clients reach it.
        host: String,
        /// Where clients reach it.
        port: i32,
    }
    /// One topic.
    MetadataTopic {
        /// An [`ErrorCode`](super::ErrorCode); with one there are no partitions.
        error: i16,
        /// The topic.
        topic: String,
        /// Its partitions.
        partitions: Vec<MetadataPartition>,
    }
    /// One partition.
    MetadataPartition {
        /// An [`ErrorCode`](super::ErrorCode); 9 still names a usable leader.
        error: i16,
        /// The partition.
        partition: i32,
        /// The leader's id, -1 for none.
        leader: i32,
        /// Assigned brokers that live.
        replicas: Vec<i32>,
        /// In-sync brokers that live.
        isr: Vec<i32>,
    }
}
body!(MetadataRequest, Scala);
body!(MetadataResponse, Java);
request!(MetadataRequest => MetadataResponse, Metadata);
