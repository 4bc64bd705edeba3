//! What can go wrong with a log, sorted by who is to blame.

use std::path::PathBuf;

use crate::cluster::TopicPartition;
use crate::message::{self, Offset};
use crate::util::fs;

/// Result of an operation on a log.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation on a log failed. Up to [`Error::OutOfRange`] the caller's bytes or wishes are at
/// fault and the log is as before; [`Error::Storage`] and [`Error::Offline`] mean that the disk cannot be
/// trusted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A message is larger than `max.message.bytes`.
    #[error("Message size is {size} bytes which exceeds the maximum configured message size of {limit}.")]
    TooLarge {
        /// Bytes of the entry, the 12 before the message included.
        size: u64,
        /// What the topic allows.
        limit: i32,
    },
    /// A message whose checksum or layout is wrong.
    #[error("{reason}")]
    Corrupt {
        /// What is wrong and where.
        #[source]
        reason: message::Error,
    },
    /// A message without a key for a topic that keeps the last value of each key.
    #[error("Compacted topic cannot accept message without key.")]
    MissingKey,
    /// A set that no segment can hold.
    #[error("Message set size is {size} bytes which exceeds the maximum configured segment size of {limit}.")]
    SetTooLarge {
        /// Bytes of the set.
        size: usize,
        /// What the topic's segments hold.
        limit: i32,
    },
    /// A codec number that nobody defined.
    #[error("{0} is an unknown compression codec")]
    UnknownCodec(u8),
    /// A compressed value that does not decompress.
    #[error("{reason}")]
    Undecodable {
        /// What is wrong with it.
        #[source]
        reason: message::Error,
    },
    /// A copied set whose offsets do not rise, or do not continue the log.
    #[error("Out of order offsets found in a set: {offset} where {expected} or more was due")]
    OutOfOrder {
        /// The offset found.
        offset: Offset,
        /// The least that would have been right.
        expected: Offset,
    },
    /// A wish for a negative number of bytes.
    #[error("Invalid max size for log read ({0})")]
    NegativeSize(i32),
    /// A truncation below the first offset that can be.
    #[error("Cannot truncate to a negative offset ({0}).")]
    NegativeOffset(Offset),
    /// No such offset here.
    #[error("Request for offset {offset} but we only have log segments in the range {start} to {end}.")]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// The first one kept.
        start: Offset,
        /// The next to be given.
        end: Offset,
    },
    /// The log was closed or deleted.
    #[error("The log of {0} is closed")]
    Closed(TopicPartition),
    /// The disk failed. Unless it was only full, the log directory is out of use from then on.
    #[error(transparent)]
    Storage(#[from] fs::Error),
    /// The log directory has failed before.
    #[error("Log directory {} is offline: {why}", dir.display())]
    Offline {
        /// The directory.
        dir: PathBuf,
        /// What it failed with.
        why: String,
    },
    /// The log directory is not where it was when the broker started.
    #[error("Log directory {} has vanished", .0.display())]
    Vanished(PathBuf),
    /// Every log directory has failed.
    #[error("All log directories have failed: {}", list(.0))]
    NoDirectory(Vec<PathBuf>),
    /// An append would leave less free than is held in reserve.
    #[error("Log directory {} is full: {free} bytes are free, {reserve} are held in reserve", dir.display())]
    Full {
        /// The directory.
        dir: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that appends leave free.
        reserve: u64,
    },
    /// A segment file does not hold what it must.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was expected or found.
        reason: String,
    },
    /// The same directory twice in `log.dirs`.
    #[error("Duplicate log directory found: {}", list(.0))]
    DuplicateDirectory(Vec<PathBuf>),
    /// An entry of `log.dirs` that is no directory or may not be read.
    #[error("{} is not a readable log directory.", .0.display())]
    NotADirectory(PathBuf),
    /// A directory of `log.dirs` that another broker uses.
    #[error(
        "Failed to acquire lock on file .lock in {}. A Kafka instance in another process or thread is using this directory.",
        .0.display()
    )]
    Locked(PathBuf),
    /// A directory among the partitions' whose name is none of theirs.
    #[error(
        "Found directory {}, '{name}' is not in the form of topic-partition\nIf a directory does not contain Kafka topic data it should not exist in Kafka's log directory",
        path.display()
    )]
    NotAPartition {
        /// The directory.
        path: PathBuf,
        /// Its last part.
        name: String,
    },
    /// One partition in two directories of `log.dirs`.
    #[error("Duplicate log directories found: {}, {}!", .0.display(), .1.display())]
    DuplicateLog(PathBuf, PathBuf),
    /// A directory that would be another partition's on a file system that ignores case.
    #[error("The directory of {wanted} would be that of {there}")]
    SameButForCase {
        /// The partition asked for.
        wanted: TopicPartition,
        /// The partition that is there.
        there: TopicPartition,
    },
    /// A directory whose name means a device on Windows, such as `con.x-0`.
    #[error("The directory of {0} would have the name of a device")]
    NamedLikeDevice(TopicPartition),
    /// An offset checkpoint that cannot be read.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Kafka's words for what is wrong.
        reason: String,
    },
}

impl Error {
    /// Whether another program holds a file at the moment and all is well otherwise, see
    /// [`fs::Error::is_held`].
    pub fn is_held(&self) -> bool {
        matches!(self, Error::Storage(e) if e.is_held())
    }

    /// There is no room on the disk. What was there before is as it was.
    pub fn is_full(&self) -> bool {
        match self {
            Error::Full { .. } => true,
            Error::Storage(e) => e.is_full(),
            _ => false,
        }
    }
}

fn list(dirs: &[PathBuf]) -> String {
    let names: Vec<_> = dirs.iter().map(|d| d.display().to_string()).collect();
    names.join(", ")
}

/// Sorts what the bytes of a producer are guilty of.
impl From<message::Error> for Error {
    fn from(reason: message::Error) -> Error {
        match reason {
            message::Error::UnknownCodec(id) => Error::UnknownCodec(id),
            message::Error::Undecodable { .. } => Error::Undecodable { reason },
            message::Error::InflatesTooMuch { limit, .. } => Error::TooLarge {
                size: limit as u64 + 1,
                limit: i32::try_from(limit).unwrap_or(i32::MAX),
            },
            _ => Error::Corrupt { reason },
        }
    }
}
