//! Making a log of what is in its directory, after an orderly stop or any other.
//!
//! After an orderly stop files are trusted. Otherwise every segment from the recovery point on is read,
//! its messages checked and its index written anew; the first byte that is no message ends the log
//! there. Segments below the recovery point were flushed: nothing of theirs is ever cut, only their
//! index is read whole and, if need be, rebuilt. Every repair is one line in the log.
//!
//! In three steps, so that the segments of many logs can be read side by side: [`Plan::of`] clears what was
//! left half done and lists the segments, [`Plan::read`] reads one of them, [`Plan::assemble`] puts them
//! together in their order. What becomes of a log does not depend on who reads what when.

mod leftovers;
mod opening;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ::log::{info, warn};

use crate::config::LogConfig;
use crate::message::Offset;
use crate::util::clock::WallMs;
use crate::util::fs::{self, Context};

use super::Result;
use super::files::{self, Kind, SegmentFile, State};
use super::scan::{Scan, rebuild};
use super::segment::Segment;

/// A directory's segments, ready for use.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// At least one.
    pub(crate) segments: BTreeMap<Offset, Arc<Segment>>,
    /// The offset of the next message.
    pub(crate) next: Offset,
    /// Everything below is on disk.
    pub(crate) recovery_point: Offset,
}

/// What recovery needs to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovery<'a> {
    /// The partition's directory, which is there.
    pub(crate) dir: &'a Path,
    /// The log's settings.
    pub(crate) config: &'a LogConfig,
    /// Everything below was flushed.
    pub(crate) recovery_point: Offset,
    /// The broker stopped in order.
    pub(crate) clean: bool,
    /// The time.
    pub(crate) now: WallMs,
}

/// Loads a partition's directory, one segment after the other.
///
/// # Errors
/// [`Storage`](super::Error::Storage) and [`Damaged`](super::Error::Damaged) when files cannot be read.
/// Damage of their content is no error but repaired.
pub(crate) fn load(r: Recovery<'_>) -> Result<Loaded> {
    let mut r = r;
    loop {
        let plan = Plan::of(r)?;
        let read = |piece| plan.read(piece, &|_| {});
        let read = plan.pieces.iter().map(read).collect::<Result<Vec<_>>>()?;
        match plan.assemble(read)? {
            Outcome::Loaded(loaded) => return Ok(loaded),
            Outcome::Again(anew) => r = anew,
        }
    }
}

/// What is to be done to make a log of a directory in which nothing is left half done.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    r: Recovery<'a>,
    /// The log's segments, in order.
    pub(crate) pieces: Vec<Piece>,
    /// The first segment that has to be read.
    recover_from: Option<Offset>,
    /// The base of a segment that ends the log, as far as that is known: none behind it has to be read.
    ends_in: AtomicI64,
}

/// A segment that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    base: Offset,
    /// Where the next one begins.
    limit: Offset,
    /// Its messages may not all have reached the disk.
    unflushed: bool,
    /// Bytes that have to be read; 0 if it is trusted.
    pub(crate) to_read: u64,
}

/// A segment that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    segment: Segment,
    /// What was found in it, unless it is trusted.
    scan: Option<Scan>,
}

/// What came of the reading of a log.
#[derive(Debug)]
pub(crate) enum Outcome<'a> {
    /// A log.
    Loaded(Loaded),
    /// The recovery point was not this log's: to be done again without it.
    Again(Recovery<'a>),
}

impl<'a> Plan<'a> {
    /// Clears what was left half done, and lists the segments.
    ///
    /// # Errors
    /// As [`load`].
    pub(crate) fn of(r: Recovery<'a>) -> Result<Plan<'a>> {
        let found = leftovers::clear(&r)?;
        let logs: BTreeSet<Offset> = plain(&found, Kind::Log);
        for base in plain(&found, Kind::Index).difference(&logs) {
            let path = files::path(r.dir, *base, Kind::Index, State::Plain);
            warn!(
                "Found an orphaned index file, {}, with no corresponding log file.",
                path.display()
            );
            fs::remove_file(&path)?;
        }
        let recover_from = recover_from(&logs, r.recovery_point);
        let limits = logs.iter().skip(1).copied().chain([Offset::MAX]);
        let mut pieces = Vec::with_capacity(logs.len());
        for (base, limit) in logs.iter().copied().zip(limits) {
            let unflushed = !r.clean && recover_from.is_none_or(|from| base >= from);
            pieces.push(Piece {
                base,
                limit,
                unflushed,
                to_read: if unflushed { size(&r, base)? } else { 0 },
            });
        }
        Ok(Plan {
            r,
            pieces,
            recover_from,
            ends_in: AtomicI64::new(Offset::MAX),
        })
    }

    /// Opens a segment; reads and checks it if its messages may not all have reached the disk. `progress`
    /// is told of bytes that are done with, of [`Piece::to_read`] in all. `None` for a segment that is not
    /// looked at because the log is known to end before it.
    ///
    /// # Errors
    /// As [`load`].
    pub(crate) fn read(&self, piece: &Piece, progress: &dyn Fn(u64)) -> Result<Option<Opened>> {
        if !piece.unflushed {
            let segment = opening::trust(&self.r, piece.base)?;
            return Ok(Some(Opened { segment, scan: None }));
        }
        if self.ends_in.load(Ordering::Relaxed) < piece.base {
            progress(piece.to_read);
            return Ok(None);
        }
        let (segment, scan) = opening::recover(&self.r, piece.base, progress)?;
        if scan.valid < segment.size() && scan.next <= piece.limit {
            self.ends_in.fetch_min(piece.base, Ordering::Relaxed);
        }
        progress(piece.to_read.saturating_sub(scan.valid));
        Ok(Some(Opened {
            segment,
            scan: Some(scan),
        }))
    }

    /// Makes a log of all its segments, as [`Self::read`] opened them, in order. It ends with the first
    /// that has a byte that is no message.
    ///
    /// # Errors
    /// As [`load`].
    pub(crate) fn assemble(self, read: Vec<Option<Opened>>) -> Result<Outcome<'a>> {
        let Plan { r, recover_from, .. } = self;
        let mut segments = BTreeMap::new();
        let mut all = self.pieces.into_iter().zip(read).peekable();
        while let Some((piece, opened)) = all.next() {
            let Opened { segment, scan } = opened.expect("only what is behind the log's end is not read");
            let segment = segments.entry(piece.base).or_insert(segment);
            let Some(scan) = scan else { continue };
            while let Some((next, opened)) =
                all.next_if(|(next, _)| next.base < scan.next && next.to_read == 0)
            {
                drop(opened);
                delete(&r, next.base, "is empty and overlapped")?;
                fs::sync_dir(r.dir)?;
            }
            let overlapped = all
                .peek()
                .map(|(next, _)| next.base)
                .filter(|next| *next < scan.next);
            match overlapped {
                Some(next) => give_way(&r, segment, next)?,
                None if scan.valid < segment.size() => {
                    end_in(&r, segment, &scan, all.map(|(piece, _)| piece.base).collect())?;
                    break;
                }
                None => {}
            }
        }
        if segments.is_empty() {
            segments.insert(0, Segment::create(r.dir, 0, r.config, r.now)?);
        }
        let mut loaded = finish(&r, segments)?;
        if loaded.next < r.recovery_point && !r.clean {
            return Ok(Outcome::Again(distrust(r, loaded.next)));
        }
        if let Some(from) = recover_from.filter(|_| !r.clean) {
            // What was read is what the system holds of it, and it may hold more than the disk.
            loaded.recovery_point = loaded.recovery_point.min(from);
        }
        Ok(Outcome::Loaded(loaded))
    }
}

/// What was flushed does not get lost, so the recovery point speaks of another log than the one that is
/// there: it says nothing of what is below either.
fn distrust(r: Recovery<'_>, next: Offset) -> Recovery<'_> {
    warn!(
        "The recovery point {} of {} lies behind the log's end {next}: recovering all of it.",
        r.recovery_point,
        r.dir.display()
    );
    Recovery {
        recovery_point: 0,
        ..r
    }
}

fn finish(r: &Recovery<'_>, segments: BTreeMap<Offset, Segment>) -> Result<Loaded> {
    let (last, active) = segments.last_key_value().expect("one was made if there was none");
    let next = match active.end()? {
        Some(next) => next,
        None => trusted_end(r, active)?,
    };
    for (_, segment) in segments.range(..last) {
        segment.index().rest()?;
    }
    let name = r.dir.file_name().unwrap_or_default().to_string_lossy();
    info!("Completed load of log {name} with log end offset {next}");
    Ok(Loaded {
        segments: segments
            .into_iter()
            .map(|(base, s)| (base, Arc::new(s)))
            .collect(),
        next,
        recovery_point: if r.clean { next } else { r.recovery_point },
    })
}

/// The end of a log whose last segment is trusted and does not end as its index says. A torn end, which
/// an orderly stop cannot leave but a copy of files can, is cut off.
fn trusted_end(r: &Recovery<'_>, active: &Segment) -> Result<Offset> {
    // Either the index or the messages are wrong: without the index it is known which.
    let (data, index) = (active.data(), active.index());
    let scan = rebuild(data, index, active.base(), interval(r.config), false, &|_| {})?;
    index.let_go();
    if scan.valid < data.size() {
        warn!(
            "Found {} bytes behind the last message of {}, cutting them off.",
            data.size() - scan.valid,
            data.path().display()
        );
        data.truncate(scan.valid)?;
        active.sync()?;
    }
    Ok(scan.next)
}

/// Cuts a segment off at `next`, where another begins: it was cut off there before, and a machine that died
/// has forgotten it.
fn give_way(r: &Recovery<'_>, segment: &Segment, next: Offset) -> Result<()> {
    warn!(
        "Segment {} of {} reaches beyond {next}, where the next begins, cutting it off.",
        segment.base(),
        r.dir.display()
    );
    segment.truncate_to(next, r.now)?;
    segment.sync()
}

/// The length of a segment's messages. A segment without any that the one before reaches beyond was begun
/// and given up again.
fn size(r: &Recovery<'_>, base: Offset) -> Result<u64> {
    let path = files::path(r.dir, base, Kind::Log, State::Plain);
    Ok(std::fs::metadata(&path).during("stat", &path)?.len())
}

/// Deletes a segment's files, the index first.
fn delete(r: &Recovery<'_>, base: Offset, why: &str) -> Result<()> {
    for kind in [Kind::Index, Kind::Log] {
        let path = files::path(r.dir, base, kind, State::Plain);
        warn!("Deleting {}, which {why}.", path.display());
        fs::remove_file(&path)?;
    }
    Ok(())
}

/// Ends the log within `segment`. The segments behind go first and for certain, the last one first: a
/// crash midway leaves what is recovered once more, and no hole.
fn end_in(r: &Recovery<'_>, segment: &Segment, scan: &Scan, behind: Vec<Offset>) -> Result<()> {
    let name = r.dir.file_name().unwrap_or_default().to_string_lossy();
    warn!(
        "Corruption found in segment {} of log {name}, truncating to offset {}.",
        segment.base(),
        scan.next
    );
    for base in behind.iter().rev() {
        delete(r, *base, "follows the log's end")?;
    }
    if !behind.is_empty() {
        fs::sync_dir(r.dir)?;
    }
    segment.data().truncate(scan.valid)?;
    // The next flush may begin behind it.
    segment.sync()
}

/// The first segment that has to be read after a stop out of order: the one that holds the recovery
/// point. `None` if all have to be.
pub(super) fn recover_from(segments: &BTreeSet<Offset>, recovery_point: Offset) -> Option<Offset> {
    segments.range(..=recovery_point).next_back().copied()
}

fn interval(config: &LogConfig) -> u64 {
    u64::try_from(config.index_interval_bytes).unwrap_or(0)
}

/// The bases of the segment files in use of a kind.
pub(super) fn plain(found: &[SegmentFile], kind: Kind) -> BTreeSet<Offset> {
    let matching = found.iter().filter(|f| f.kind == kind && f.state == State::Plain);
    matching.map(|f| f.base).collect()
}

/// The segment files of a directory; others are not ours.
pub(super) fn list(dir: &Path) -> Result<Vec<SegmentFile>> {
    Ok(segment_files(&fs::list(dir)?))
}

fn segment_files(names: &[std::ffi::OsString]) -> Vec<SegmentFile> {
    let parse = |name: &std::ffi::OsString| SegmentFile::parse(name.to_str()?);
    names.iter().filter_map(parse).collect()
}

#[cfg(test)]
mod tests;
