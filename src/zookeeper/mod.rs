//! Kafka's side of ZooKeeper: a session that outlives connections, the paths, and what stands there.
//!
//! Read [`paths`] and [`znodes`] first: names and bytes, pure.

pub mod paths;
pub mod znodes;
