//! This broker's replicas: which it leads and which it follows, who is in sync, up to where all agree,
//! and the requests that wait for that.
//!
//! Knows the log, ZooKeeper's partition states and other brokers; knows no wire code and no handler.
//!
//! Reading order: the pure rules [`isr`], [`follower`], [`delayed`], [`fetch_progress`]; then
//! [`partition`] (one of them, with its locks; [`term`] names its leaderships), [`manager`] (the map and
//! the changes of role), [`append`] and [`read`] (what handlers ask for), [`purgatory`] (how they wait), [`isr_store`] and
//! [`isr_keeper`] (in-sync sets in ZooKeeper), [`high_watermarks`] (the checkpoint), [`topic_meters`]
//! (counts), [`fetcher`] (how followers copy), [`offline`] (what becomes of the partitions of a log
//! directory that failed).

mod append;
mod delayed;
mod error;
mod fetch_progress;
mod fetcher;
mod follower;
mod high_watermarks;
mod isr;
mod isr_keeper;
mod isr_store;
mod manager;
mod offline;
mod partition;
mod purgatory;
mod read;
mod term;
mod topic_meters;

pub use append::LocalAppend;
pub use error::{AfterAppend, Error, Result};
pub use fetcher::FetcherSettings;
pub use manager::{Fatal, Outcomes, PartitionDecision, ReplicaManager, ReplicaSettings};
pub use partition::{Read, Reader};
pub use read::{Fetch, Wish};
pub use term::Term;

#[cfg(test)]
mod tests;
