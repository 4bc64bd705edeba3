//! Durable, ordered bytes per partition: segments of message sets, found by a sparse index. Synchronous;
//! knows no replica, no request and no ZooKeeper.
//!
//! Reading order: [`files`] (names), [`data_file`] and [`offset_index`] (one file each), [`segment`]
//! (the pair), [`validate`] (what may enter), [`partition_log`] ([`Log`]: append, read, cut),
//! [`retention`], [`scan`] and [`recovery`] (from files to a log), [`checkpoint`], [`directory`] (one entry
//! of `log.dirs`, and whether its disk can be trusted), [`chores`] (work for later), [`cleaner`]
//! (compaction), [`manager`] (all logs of a broker), [`check`] (what the next start would do, told without
//! touching anything).
//!
//! What is durable when: an append is in the system's page cache when it returns, so it survives the
//! death of the process; [`Log::flush`] puts all before it on disk, so it survives the death of the
//! machine. The checkpoint of recovery points never names an offset that was not flushed.

pub mod check;
pub mod checkpoint;
mod chores;
mod cleaner;
mod data_file;
mod directory;
pub mod error;
pub mod files;
pub mod manager;
mod offset_index;
pub mod partition_log;
mod recovery;
mod retention;
mod scan;
mod segment;
mod validate;

#[cfg(test)]
mod testing;

pub use checkpoint::OffsetCheckpoint;
pub use cleaner::{Cleaner, CleanerSettings};
pub use error::{Error, Result};
pub use manager::{LogManager, ManagerSettings};
pub use partition_log::{Appended, Fetched, Log, LogPosition};
