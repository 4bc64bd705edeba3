//! The nouns of a cluster: ids, topics and their partitions, endpoints, who leads what, and an
//! immutable picture of it all. Pure; knows no wire format, no file and no ZooKeeper.
//!
//! Read [`ids`], then [`topic`], [`endpoint`], [`leader_and_isr`], [`assignment`], [`metadata`].

pub mod assignment;
pub mod endpoint;
pub mod ids;
pub mod leader_and_isr;
pub mod metadata;
pub mod topic;

pub use endpoint::{Broker, Endpoint, SecurityProtocol};
pub use ids::{BrokerId, ControllerEpoch, LeaderEpoch};
pub use leader_and_isr::LeaderAndIsr;
pub use metadata::{MetadataImage, PartitionState};
pub use topic::TopicPartition;
