//! What can stop the server.

use std::path::PathBuf;

use crate::jute;
use crate::util::fs;

/// Why the server did not start, or why it stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written. Once it happens to the transaction log, the server stops.
    #[error(transparent)]
    Storage(#[from] fs::Error),
    /// The client port could not be had.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// What was asked for.
        address: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// Another server works on the directory.
    #[error("{} is in use by another server", dir.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
    },
    /// There are snapshots, but none that can be read.
    #[error("Not able to find valid snapshots in {}", dir.display())]
    NoValidSnapshot {
        /// The directory with the snapshots.
        dir: PathBuf,
    },
    /// Logs were purged or lost, and no snapshot stands in for them.
    #[error(
        "there is no snapshot, and the first log, {}, does not begin with the first transaction", first.display()
    )]
    LogsMissing {
        /// The oldest log.
        first: PathBuf,
    },
    /// A file of the log or a snapshot does not hold what it should.
    #[error("{} is damaged at byte {at}: {what}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where in the file.
        at: u64,
        /// What is wrong there.
        what: String,
    },
    /// A record that passed its checksum cannot be read.
    #[error("{} cannot be read at byte {at}: {source}", file.display())]
    Undecodable {
        /// The file.
        file: PathBuf,
        /// Where in the file.
        at: u64,
        /// What is wrong with the record.
        #[source]
        source: jute::Error,
    },
}

/// Result of the server's own work.
pub type Result<T> = std::result::Result<T, Error>;
