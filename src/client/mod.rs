//! Speaking to brokers: one connection, then a cluster's worth of them, then what users want of a
//! cluster. Knows nothing of how a broker works inside.
//!
//! Read [`connection`] first, with `in_flight` (which answer belongs to whom).

pub mod connection;
mod in_flight;

pub use connection::{Connection, ConnectionSettings, Error, Pending, Result};
