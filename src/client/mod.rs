//! Speaking to brokers: one connection, then a cluster's worth of them, then what users want of a
//! cluster. Knows nothing of how a broker works inside.
//!
//! Read [`connection`] first, with `in_flight` (which answer belongs to whom), then [`metadata`] and
//! [`broker_client`], then [`producer`] and [`consumer`].

pub mod broker_client;
pub mod connection;
pub mod consumer;
mod in_flight;
pub mod metadata;
pub mod producer;

pub use broker_client::BrokerClient;
pub use connection::{Connection, ConnectionSettings, Error, Pending, Result};
pub use metadata::{HostPort, Metadata};
pub use producer::{Producer, ProducerSettings, Record};
