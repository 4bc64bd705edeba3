//! Who consumes what: the groups whose partition of the offsets topic this broker leads, and how far they
//! have come (kafka.coordinator).
//!
//! ```text
//! request ──> GroupCoordinator ──lock──> Shard (pure) ──> Group (pure) ──> effects
//!                   ^                                                        │
//!                   │        answer who waits <── log line <── append <──────┤
//!                   └──────────── stored, or not <── replicas ───────────────┘
//! ```
//!
//! A group belongs to the partition `abs(hash(name)) % partitions` of the topic `__consumer_offsets`. Its
//! members, shares and offsets are records of that partition, so whoever leads it can go on. Knows no
//! request's layout and no wire code.
//!
//! Read [`member`], [`group`] and [`rebalance`] (one group), [`offsets`], [`shard`] (all of one partition)
//! and [`effect`]; then [`schema`] and [`store`] (the records); then the shell: `coordinator`, [`requests`],
//! `leadership` with [`loader`], `expiry`.

pub mod effect;
pub mod error;
pub mod group;
pub mod loader;
pub mod member;
pub mod offsets;
pub mod rebalance;
pub mod requests;
pub mod schema;
pub mod settings;
pub mod shard;
pub mod store;

#[allow(clippy::module_inception)] // Kafka's noun for the thing itself.
mod coordinator;
mod expiry;
mod leadership;

pub use coordinator::{Coordinator, GroupCoordinator};
pub use effect::Joined;
pub use error::{Error, Result, Unstored};
pub use group::{Description, GroupState};
pub use member::Protocol;
pub use rebalance::{Join, Sync};
pub use requests::{Commit, CommitOffset};
pub use settings::{CoordinatorSettings, SessionLimits};
