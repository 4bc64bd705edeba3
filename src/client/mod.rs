//! Speaking to brokers: one connection, then a cluster's worth of them, then what users want of a
//! cluster. Knows nothing of how a broker works inside.
//!
//! Read [`connection`] first, with `in_flight` (which answer belongs to whom), then [`metadata`] and
//! [`broker_client`], then [`producer`] and [`consumer`], and [`old_consumer`] with [`topic_filter`]: the
//! consumer whose groups live in ZooKeeper. [`simple`] asks one broker about partitions by name, [`groups`]
//! about groups, and [`registered`] knows where brokers listen.

pub mod broker_client;
pub mod connection;
pub mod consumer;
pub mod groups;
mod in_flight;
pub mod metadata;
pub mod old_consumer;
pub mod producer;
pub mod registered;
pub mod simple;
pub mod topic_filter;

pub use broker_client::BrokerClient;
pub use connection::{Connection, ConnectionSettings, Error, Pending, Result};
pub use consumer::{Consumer, ConsumerSettings};
pub use metadata::{HostPort, Metadata};
pub use producer::{Producer, ProducerSettings, Record};
