//! Compaction (kafka.log.LogCleaner): of a log with `cleanup.policy=compact` only the last message of each
//! key is kept, and a deleted key's marker (a message without a value) for a while. Offsets never change:
//! what is left has gaps. Synchronous but for the threads' own loop; knows no partition's role.
//!
//! A log is cleaned in two passes. The first reads its dirty part, what came since the last time, and
//! makes a table of keys ([`keys`], [`offset_map`]). The second writes all segments up to there anew
//! without what the table supersedes ([`rewrite`]), neighbours as one where they became small, and puts
//! them in the place of the old ones, so that a crash at any moment leaves the old or the new
//! ([`crate::log::Log`]'s `replace_segments` draws the steps).
//!
//! Reading order: [`plan`] (which log, which segments; pure), [`turns`] (the cleaner keeps out of the way
//! of truncation, deletion and shutdown), [`points`] (what is remembered), [`chunks`] and [`entry`]
//! (reading), [`offset_map`], [`keys`], [`rewrite`], [`clean`] (one log from beginning to end),
//! [`throttle`], [`stats`], [`worker`] (the threads, and what becomes of a log that fails).
//!
//! What is needed in memory: the table, which grows with the keys up to `log.cleaner.dedupe.buffer.size`,
//! two buffers a thread (`log.cleaner.io.buffer.size`), and what one wrapper inflates to; while nothing is
//! cleaned, nothing.

mod chunks;
mod clean;
mod entry;
mod keys;
mod offset_map;
mod plan;
mod points;
mod rewrite;
mod stats;
mod throttle;
mod turns;
mod worker;

pub(crate) use points::CleanerPoints;
pub(crate) use turns::Turns;
pub use worker::{Cleaner, CleanerSettings};

/// The logger of all that the cleaner says, which 0.9's log4j.properties sends to log-cleaner.log.
pub(crate) const TARGET: &str = "kafka.log.LogCleaner";

/// Why a cleaning ended before it was done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Somebody else needs the log, or the broker stops. Not a failure.
    #[error("it was interrupted")]
    Interrupted,
    /// The log cannot be cleaned.
    #[error(transparent)]
    Log(#[from] crate::log::Error),
}

/// Result of a part of a cleaning.
pub(crate) type Result<T> = std::result::Result<T, Error>;

#[cfg(all(test, unix))]
mod fault_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
