//! This broker's replicas: which it leads and which it follows, who is in sync, up to where all agree,
//! and the requests that wait for that.
//!
//! Knows the log, ZooKeeper's partition states and other brokers; knows no wire code and no handler.
//!
//! Reading order: the pure rules [`standing`] (one partition's role, made of [`isr`] with [`follower`] for
//! leaders and [`agreement`] with [`compare`] for followers), [`delayed`], [`fetch_progress`]; then
//! [`partition`] (one of them, with its locks; [`term`] names its leaderships), [`manager`] (the map and
//! the changes of role), [`append`] and [`read`] (what handlers ask for), [`purgatory`] (how they wait),
//! [`isr_store`] and [`isr_keeper`] (in-sync sets in ZooKeeper), [`high_watermarks`] (the checkpoint),
//! [`topic_meters`] and [`counts`] (metrics), [`fetcher`] (how followers copy), [`offline`] (what becomes of the
//! partitions of a log directory that failed) and [`handover`] (who leads them next). What must hold, and why
//! nothing acknowledged is lost: docs/replication.md.

pub mod agreement;
pub mod compare;
pub mod isr;
pub mod standing;

mod append;
mod counts;
mod delayed;
mod error;
mod fetch_progress;
mod fetcher;
mod follower;
mod handover;
mod high_watermarks;
mod isr_keeper;
mod isr_store;
mod leaving;
mod manager;
mod offline;
mod partition;
mod purgatory;
mod read;
mod settings;
mod term;
mod topic_meters;

pub use append::LocalAppend;
pub use delayed::Replicated;
pub use error::{AfterAppend, Error, Result};
pub use fetcher::FetcherSettings;
pub use isr_store::Outcome;
pub use manager::{Fatal, Outcomes, PartitionDecision, ReplicaManager};
pub use partition::{Read, Reader};
pub use read::{Fetch, Wish};
pub use settings::ReplicaSettings;
pub use term::Term;

#[cfg(test)]
mod tests;
