//! What the next start of a broker would do to a log directory, found out without changing a byte of it.
//!
//! Goes by the rules of [`recovery`](super::recovery), [`manager`](super::manager) and
//! [`checkpoint`](super::checkpoint), with their own code wherever that only reads; and reads every message
//! of every segment, which a start after an orderly stop does not. `partition` looks at one log, this file
//! at what is around them.

mod partition;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::cluster::TopicPartition;
use crate::message::Offset;
use crate::util::fs;

use self::partition::LogCheck;
use super::{Error, OffsetCheckpoint, files};

/// What becomes of a thing that is not as an orderly stop leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The file ends at the finding's position afterwards.
    Cut,
    /// The file, or directory, is gone afterwards.
    Removed,
    /// The index is made anew from the messages.
    Rebuilt,
    /// The swap file takes its final name.
    Renamed,
    /// Messages are read and checked.
    Read,
    /// A number or an entry is replaced by the right one.
    Corrected,
    /// It stays as it is, and cannot be used.
    Stays,
    /// The broker does not start, or does without the directory.
    Refused,
}

impl Fate {
    /// Whether the next start makes it good.
    pub fn is_repair(self) -> bool {
        !matches!(self, Fate::Stays | Fate::Refused)
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fate::Cut => "cut",
            Fate::Removed => "removed",
            Fate::Rebuilt => "rebuilt",
            Fate::Renamed => "renamed",
            Fate::Read => "read",
            Fate::Corrected => "corrected",
            Fate::Stays => "stays",
            Fate::Refused => "refused",
        })
    }
}

/// One thing that is not as an orderly stop leaves it. Displayed as one line:
/// `FATE PATH: [byte N, ][offset N, ]RULE: WHAT HAPPENS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What becomes of it.
    pub fate: Fate,
    /// The file or directory.
    pub path: PathBuf,
    /// Where in the file, in bytes from its beginning.
    pub position: Option<u64>,
    /// At which offset of the log.
    pub offset: Option<Offset>,
    /// The rule that it breaks.
    pub rule: String,
    /// What the next start does about it.
    pub then: String,
}

impl Finding {
    /// A finding about a whole file or directory.
    pub fn new(
        fate: Fate,
        path: impl Into<PathBuf>,
        rule: impl Into<String>,
        then: impl Into<String>,
    ) -> Finding {
        Finding {
            fate,
            path: path.into(),
            position: None,
            offset: None,
            rule: rule.into(),
            then: then.into(),
        }
    }

    fn at(self, position: u64, offset: Offset) -> Finding {
        Finding {
            position: Some(position),
            offset: Some(offset),
            ..self
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.fate, self.path.display())?;
        if let Some(position) = self.position {
            write!(f, "byte {position}, ")?;
        }
        if let Some(offset) = self.offset {
            write!(f, "offset {offset}, ")?;
        }
        write!(f, "{}: {}", self.rule, self.then)
    }
}

/// The offsets that a log holds after the next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its first segment's base.
    pub start: Offset,
    /// The offset of the next message.
    pub end: Offset,
}

/// All that was found out about a log directory.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What is not as it should be, in the order of the file names.
    pub findings: Vec<Finding>,
    /// The logs that can be used.
    pub logs: BTreeMap<TopicPartition, Extent>,
    /// Segments that were read.
    pub segments: u64,
    /// Bytes of messages that were read.
    pub bytes: u64,
    /// Of those, what the next start reads too.
    unflushed: Unflushed,
}

#[derive(Clone, Copy, Debug, Default)]
struct Unflushed {
    segments: u64,
    bytes: u64,
}

impl Report {
    fn add(
        &mut self,
        fate: Fate,
        path: impl Into<PathBuf>,
        rule: impl Into<String>,
        then: impl Into<String>,
    ) {
        self.findings.push(Finding::new(fate, path, rule, then));
    }

    /// Adds what was found of one log.
    fn take_in(&mut self, log: Report) {
        self.findings.extend(log.findings);
        self.segments += log.segments;
        self.bytes += log.bytes;
        self.unflushed.segments += log.unflushed.segments;
        self.unflushed.bytes += log.unflushed.bytes;
    }
}

/// Looks at an entry of `log.dirs`. Nothing is written and no file is made; while it looks, no broker can
/// start on the directory.
pub fn check(dir: &Path) -> Report {
    let mut report = Report::default();
    let lock = dir.join(files::LOCK);
    // A directory that cannot be written to is looked at without the lock: nobody else writes to it either.
    let held = match lock.exists() {
        true => fs::lock(&lock)
            .unwrap_or(None)
            .ok_or_else(|| fs::open(&lock).is_ok()),
        false => Err(false),
    };
    if let Err(true) = held {
        let e = Error::Locked(dir.to_owned());
        report.add(Fate::Refused, dir, e.to_string(), "nothing of it was looked at");
        return report;
    }
    match fs::list(dir) {
        Ok(names) => {
            let mut names: Vec<String> = names
                .iter()
                .map(|name| name.to_string_lossy().into_owned())
                .collect();
            names.sort_unstable();
            look(dir, &names, &mut report);
        }
        Err(e) => report.add(Fate::Refused, dir, e.to_string(), "the broker does without it"),
    }
    report
}

fn look(dir: &Path, names: &[String], report: &mut Report) {
    let clean = dir.join(files::CLEAN_SHUTDOWN).exists();
    let points = checkpoint(dir, files::RECOVERY_CHECKPOINT, report);
    let mut here = BTreeSet::new();
    for name in names {
        let path = dir.join(name);
        if !path.is_dir() || name == files::LOST_AND_FOUND {
            continue;
        }
        if path.join(files::DELETING).exists() {
            let then = "its deletion is finished";
            report.add(Fate::Removed, path, "it was being deleted", then);
            continue;
        }
        let Some(tp) = TopicPartition::parse_dir_name(name) else {
            let e = Error::NotAPartition {
                path: path.clone(),
                name: name.clone(),
            };
            let rule = e.to_string().replace('\n', ". ");
            report.add(Fate::Refused, path, rule, "the broker does not start");
            continue;
        };
        here.insert(tp.clone());
        let log = LogCheck {
            dir: &path,
            recovery_point: points.get(&tp).copied().unwrap_or(0),
            clean,
        };
        match log.run(report) {
            Ok(extent) => {
                report.logs.insert(tp, extent);
            }
            Err(e) => report.add(
                Fate::Refused,
                path,
                e.to_string(),
                "the broker does without the directory",
            ),
        }
    }
    if !clean && !here.is_empty() {
        let then = format!(
            "{} segments with {} bytes are read, and their indexes made anew",
            report.unflushed.segments, report.unflushed.bytes
        );
        let rule = "it is not there, so the broker was not stopped in order";
        report.add(Fate::Read, dir.join(files::CLEAN_SHUTDOWN), rule, then);
    }
    let ends = Ends { dir, here: &here };
    ends.compare(files::RECOVERY_CHECKPOINT, &points, report);
    let marks = checkpoint(dir, files::HIGH_WATERMARK_CHECKPOINT, report);
    ends.compare(files::HIGH_WATERMARK_CHECKPOINT, &marks, report);
    let cleaned = checkpoint(dir, files::CLEANER_CHECKPOINT, report);
    ends.compare(files::CLEANER_CHECKPOINT, &cleaned, report);
}

/// What a checkpoint file says; nothing if it is not there or is damaged.
fn checkpoint(dir: &Path, name: &str, report: &mut Report) -> BTreeMap<TopicPartition, Offset> {
    let file = OffsetCheckpoint::new(dir.join(name));
    match file.read() {
        Ok(offsets) => return offsets,
        Err(e @ Error::Storage(_)) => {
            report.add(
                Fate::Refused,
                file.path(),
                e.to_string(),
                "the broker does without the directory",
            );
        }
        Err(e) => {
            let reason = match e {
                Error::Checkpoint { reason, .. } => reason,
                other => other.to_string(),
            };
            let then = match name {
                files::CLEANER_CHECKPOINT => "it counts as empty: logs are cleaned from their start",
                files::HIGH_WATERMARK_CHECKPOINT => {
                    "it counts as empty: high watermarks begin at 0, followers compare all that they have"
                }
                _ => "it counts as empty: unless the broker was stopped in order, all segments are read",
            };
            report.add(Fate::Corrected, file.path(), reason, then);
        }
    }
    BTreeMap::new()
}

/// Compares what checkpoints say with the logs that are here.
struct Ends<'a> {
    dir: &'a Path,
    /// Also those that cannot be used.
    here: &'a BTreeSet<TopicPartition>,
}

impl Ends<'_> {
    fn compare(&self, name: &str, offsets: &BTreeMap<TopicPartition, Offset>, report: &mut Report) {
        for (tp, offset) in offsets {
            let (rule, then) = match report.logs.get(tp) {
                Some(extent) if *offset > extent.end => (
                    format!("{tp} has {offset}, above the log's end {}", extent.end),
                    match name {
                        files::CLEANER_CHECKPOINT => {
                            "the entry is forgotten: the log is cleaned from its start"
                        }
                        files::RECOVERY_CHECKPOINT => {
                            "the log's end counts, and unless the broker was stopped in order, all of it is read"
                        }
                        _ => "the log's end counts",
                    },
                ),
                None if !self.here.contains(tp) => (
                    format!("{tp} has {offset}, and there is no such directory"),
                    "the entry goes when the file is written next",
                ),
                _ => continue,
            };
            report.add(Fate::Corrected, self.dir.join(name), rule, then);
        }
    }
}

#[cfg(test)]
mod tests;
