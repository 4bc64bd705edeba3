//! A small ZooKeeper server, standalone, with the wire and the files of ZooKeeper 3.4 and the
//! operations that later clients send. It could leave as a crate of its own: the broker reaches it by
//! TCP alone, and it knows nothing of brokers.
//!
//! The way of a write, which is the way of everything, for there is one queue:
//!
//! ```text
//! socket -> connection -> core: prepare (check, number, make a transaction) -> batch
//!                                                         log: write, one fsync per batch
//!           connection <- core: apply to the tree, fire watches, answer  <-+
//! ```
//!
//! A read takes its place in the queue too, and is answered at once when no write is before it. So
//! nothing is answered, applied or fired before it is durable, and replies leave in order.
//!
//! Reading order: [`path`], [`acl`] (with [`digest`]), [`txn`], [`tree`] (with [`quota`]), [`watches`],
//! [`sessions`]: the state and its rules, all pure. [`request`], [`prepare`], [`core`] (with [`reads`],
//! [`stats`] and [`four_letter`]): what happens to a request; pure, time is an argument, effects come
//! out. [`files`], [`checksum`], [`txn_log`], [`snapshot`], [`recovery`], [`purge`]: the disk; blocking.
//! [`outbox`], [`connection`], [`pipeline`], [`server`]: sockets and tasks.

mod acl;
mod checksum;
mod connection;
mod core;
mod digest;
mod error;
mod files;
mod four_letter;
mod outbox;
mod path;
mod pipeline;
mod prepare;
mod purge;
mod quota;
mod reads;
mod recovery;
mod request;
mod server;
mod sessions;
mod snapshot;
mod stats;
mod tree;
mod txn;
mod txn_log;
mod watches;

pub use error::{Error, Result};
pub use server::Keeper;

/// A connection of a client, numbered by the server in order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct ConnId(u64);
