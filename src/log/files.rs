//! The names of a log's files, and nothing of what is in them.
//!
//! ```text
//! <log dir>/.lock  .kafka_cleanshutdown  recovery-point-offset-checkpoint  cleaner-offset-checkpoint
//! <log dir>/<topic>-<partition>/<base offset, 20 digits>.log    the messages
//!                               <base offset, 20 digits>.index  where to find them
//! ```
//!
//! A suffix behind `.log` or `.index` says what becomes of the file: `.deleted` waits for removal,
//! `.cleaned` is the cleaner's unfinished work, `.swap` its finished work on the way into place.

use std::path::{Path, PathBuf};

use crate::message::Offset;

/// Locked while a broker uses a log directory.
pub const LOCK: &str = ".lock";
/// There only after an orderly stop: nothing needs to be recovered.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// Up to where each log of a directory is known to be on disk.
pub const RECOVERY_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// Up to where each log of a directory was cleaned.
pub const CLEANER_CHECKPOINT: &str = "cleaner-offset-checkpoint";
/// The high watermark of each replica of a directory. `replica` writes it.
pub const HIGH_WATERMARK_CHECKPOINT: &str = "replication-offset-checkpoint";
/// A directory that every ext file system has at its root; 0.9.0.1 does not start beside it.
pub const LOST_AND_FOUND: &str = "lost+found";
/// Made first when a partition's directory is removed, so that a crash midway is finished at the
/// next start. A JVM broker ignores it.
pub const DELETING: &str = ".kafka_deleting";

/// What a segment's file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Messages.
    Log,
    /// The offset index.
    Index,
}

/// What is to become of a segment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In use.
    Plain,
    /// Waits for removal.
    Deleted,
    /// Unfinished output of the cleaner.
    Cleaned,
    /// Finished output of the cleaner, not yet in place.
    Swap,
}

/// A segment's file by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// The segment's first offset.
    pub base: Offset,
    /// What it holds.
    pub kind: Kind,
    /// What is to become of it.
    pub state: State,
}

impl SegmentFile {
    /// Reads a file name; `None` for files that are none of a segment's. Only the form with all 20
    /// digits counts: Kafka opens no other.
    pub fn parse(name: &str) -> Option<SegmentFile> {
        let (digits, rest) = name.split_at_checked(20)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let base = digits.parse().ok()?;
        let (kind, suffix) = match (rest.strip_prefix(".log"), rest.strip_prefix(".index")) {
            (Some(suffix), _) => (Kind::Log, suffix),
            (_, Some(suffix)) => (Kind::Index, suffix),
            _ => return None,
        };
        let state = match suffix {
            "" => State::Plain,
            ".deleted" => State::Deleted,
            ".cleaned" => State::Cleaned,
            ".swap" => State::Swap,
            _ => return None,
        };
        Some(SegmentFile { base, kind, state })
    }

    /// The file's name.
    pub fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Log => ".log",
            Kind::Index => ".index",
        };
        let suffix = match self.state {
            State::Plain => "",
            State::Deleted => ".deleted",
            State::Cleaned => ".cleaned",
            State::Swap => ".swap",
        };
        format!("{:020}{kind}{suffix}", self.base)
    }
}

/// Path of a segment's file in `dir`.
pub fn path(dir: &Path, base: Offset, kind: Kind, state: State) -> PathBuf {
    dir.join(SegmentFile { base, kind, state }.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_twenty_digits_and_the_suffix_behind() {
        let file = SegmentFile {
            base: 42,
            kind: Kind::Index,
            state: State::Deleted,
        };
        assert_eq!(file.name(), "00000000000000000042.index.deleted");
        assert_eq!(SegmentFile::parse(&file.name()), Some(file));
    }

    #[test]
    fn other_names_are_none_of_ours() {
        for name in [
            "0.log",
            "00000000000000000042.timeindex",
            "00000000000000000042.log.",
            "+0000000000000000042.log",
            "99999999999999999999.log",
            "leader-epoch-checkpoint",
            ".kafka_deleting",
            "0000000000000000004é.log",
        ] {
            assert_eq!(SegmentFile::parse(name), None, "{name}");
        }
    }
}
