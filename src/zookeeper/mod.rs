//! Kafka's side of ZooKeeper: a session that outlives connections, the paths, and what stands there.
//!
//! Read [`paths`] and [`znodes`] first: names and bytes, pure. Then the session, from the outside in:
//! `session` (the handle), `operations` (one request each), `store` (what takes several), `pipeline` (many at once), `watch`,
//! `worker` (the task with the socket), `core` (its decisions, without socket or clock), `address`.
//!
//! ```text
//!            connect                  server: timeout 0
//!   (none) ──────────> connected(g) <─────────────────┐
//!                        │     ▲                       │
//!       connection lost  ▼     │ same session          │ new session, g + 1:
//!                     looking for a server ────────────┘ watches end with SessionLost,
//!                                                        operations of g with SessionExpired
//! ```
//!
//! Works with ZooKeeper 3.4 and later: of the operations, only those of 3.4 are used.

pub mod paths;
pub mod znodes;

mod address;
mod core;
mod error;
mod operations;
mod pipeline;
mod session;
mod store;
mod watch;
mod worker;

pub use address::ConnectString;
pub use error::{Error, Result};
pub use operations::{Node, Op, OpResult};
pub use pipeline::each;
pub use session::{Session, SessionSettings, SessionState};
pub use watch::{Watch, WatchedEvent};

pub use crate::jute::{Acl, CreateMode, ErrorCode, Stat, perms};

#[cfg(test)]
mod tests;
