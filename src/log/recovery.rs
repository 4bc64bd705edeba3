//! Making a log of what is in its directory, after an orderly stop or any other.
//!
//! In three steps, so that the segments of all logs can be read side by side: [`prepare`] clears what was left
//! half done and lists the segments, [`open`] opens one of them, [`assemble`] makes a log of them.
//!
//! After an orderly stop files are trusted. Otherwise every segment from the recovery point on is read,
//! its messages checked and its index written anew; the first byte that is no message ends the log
//! there. Segments below the recovery point were flushed: nothing of theirs is ever cut, only their
//! index is rebuilt if its last entry cannot be right. Every repair is one line in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ::log::{info, warn};

use crate::config::LogConfig;
use crate::message::Offset;
use crate::util::clock::WallMs;
use crate::util::fs;

use super::Result;
use super::data_file::DataFile;
use super::files::{self, Kind, SegmentFile, State};
use super::offset_index::OffsetIndex;
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

/// A directory's segments as the names of its files tell them, with nothing left half done.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// In order.
    pub(crate) segments: Vec<Found>,
    /// The base of a segment that ends the log, as far as that is known: none behind needs to be read.
    ends_in: AtomicI64,
}

/// A segment that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    base: Offset,
    /// Its messages may not all have reached the disk.
    unflushed: bool,
    /// Bytes that have to be read; 0 if it is trusted.
    pub(crate) to_read: u64,
}

/// A segment that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    base: Offset,
    /// With what was found if the log has to end here. `None` for one behind the log's end.
    segment: Option<(Segment, Option<Scan>)>,
}

/// Loads a partition's directory.
///
/// # Errors
/// [`Storage`](super::Error::Storage) and [`Damaged`](super::Error::Damaged) when files cannot be read.
/// Damage of their content is no error but repaired.
pub(crate) fn load(r: &Recovery<'_>) -> Result<Loaded> {
    let prepared = prepare(r)?;
    let opened: Result<Vec<Opened>> = prepared
        .segments
        .iter()
        .map(|found| open(r, &prepared, found, &|_| {}))
        .collect();
    assemble(r, opened?)
}

/// Clears what was left half done, and lists the segments.
///
/// # Errors
/// As [`load`].
pub(crate) fn prepare(r: &Recovery<'_>) -> Result<Prepared> {
    finish_swaps(r)?;
    let found = list(r.dir)?;
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
    let mut segments = Vec::with_capacity(logs.len());
    for base in logs {
        let unflushed = !r.clean && recover_from.is_none_or(|from| base >= from);
        let to_read = match unflushed {
            true => fs::size(&files::path(r.dir, base, Kind::Log, State::Plain))?,
            false => 0,
        };
        segments.push(Found {
            base,
            unflushed,
            to_read,
        });
    }
    Ok(Prepared {
        segments,
        ends_in: AtomicI64::new(Offset::MAX),
    })
}

/// Opens a segment, and reads it if its messages may not all have reached the disk. The segments of a log
/// can be opened side by side. `progress` is told of bytes that are done with.
///
/// # Errors
/// As [`load`].
pub(crate) fn open(
    r: &Recovery<'_>,
    prepared: &Prepared,
    found: &Found,
    progress: &dyn Fn(u64),
) -> Result<Opened> {
    let base = found.base;
    let segment = if !found.unflushed {
        Some((trust(r, base)?, None))
    } else if prepared.ends_in.load(Ordering::Relaxed) < base {
        progress(found.to_read);
        None
    } else {
        let (segment, cut) = recover(r, base, progress)?;
        if let Some(scan) = &cut {
            prepared.ends_in.fetch_min(base, Ordering::Relaxed);
            progress(segment.size() - scan.valid);
        }
        Some((segment, cut))
    };
    Ok(Opened { base, segment })
}

/// Makes a log of its segments, which ends with the first that has a byte that is no message.
///
/// # Errors
/// As [`load`].
pub(crate) fn assemble(r: &Recovery<'_>, opened: Vec<Opened>) -> Result<Loaded> {
    let mut segments = BTreeMap::new();
    let mut opened = opened.into_iter();
    while let Some(Opened { base, segment }) = opened.next() {
        // One that was not read is behind the end, which ends this loop before.
        let Some((segment, cut)) = segment else { break };
        segments.insert(base, segment);
        if let Some(scan) = cut {
            let behind = opened.map(|o| o.base).collect();
            end_in(r, &segments[&base], &scan, behind)?;
            break;
        }
    }
    if segments.is_empty() {
        segments.insert(0, Segment::create(r.dir, 0, r.config, r.now)?);
    }
    finish(r, segments)
}

fn finish(r: &Recovery<'_>, segments: BTreeMap<Offset, Segment>) -> Result<Loaded> {
    let active = segments
        .last_key_value()
        .expect("one was made if there was none")
        .1;
    let next = match active.end()? {
        Some(next) => next,
        None => trusted_end(r, active)?,
    };
    let name = r.dir.file_name().unwrap_or_default().to_string_lossy();
    info!("Completed load of log {name} with log end offset {next}");
    Ok(Loaded {
        segments: segments
            .into_iter()
            .map(|(base, s)| (base, Arc::new(s)))
            .collect(),
        next,
        recovery_point: if r.clean { next } else { r.recovery_point.min(next) },
    })
}

/// The end of a log whose last segment is trusted and does not end as its index says. A torn end, which
/// an orderly stop cannot leave but a copy of files can, is cut off.
fn trusted_end(r: &Recovery<'_>, active: &Segment) -> Result<Offset> {
    // Either the index or the messages are wrong: without the index it is known which.
    let (data, index) = (active.data(), active.index());
    let scan = rebuild(data, index, active.base(), interval(r.config), None)?;
    if scan.valid < data.size() {
        warn!(
            "Found {} bytes behind the last message of {}, cutting them off.",
            data.size() - scan.valid,
            data.path().display()
        );
        data.truncate(scan.valid)?;
    }
    Ok(scan.next)
}

/// Opens a segment whose messages are trusted.
fn trust(r: &Recovery<'_>, base: Offset) -> Result<Segment> {
    let data = DataFile::open(files::path(r.dir, base, Kind::Log, State::Plain))?;
    let path = files::path(r.dir, base, Kind::Index, State::Plain);
    let there = path.exists();
    let index = match there {
        true => OffsetIndex::open(path, base)?,
        false => OffsetIndex::create(path, base)?,
    };
    let sane = there && index.is_sane(data.size())?;
    if !there {
        info!(
            "Could not find index file corresponding to log file {}, rebuilding index...",
            data.path().display()
        );
    } else if !sane {
        warn!(
            "Found a corrupted index file, {}, deleting and rebuilding index...",
            index.path().display()
        );
    }
    if !sane {
        rebuild(&data, &index, base, interval(r.config), None)?;
    }
    index.rest()?;
    Segment::open(base, data, index, r.config, r.now)
}

/// Reads a segment whose messages may not all have reached the disk. The second is what was found if
/// the log has to end here.
fn recover(r: &Recovery<'_>, base: Offset, progress: &dyn Fn(u64)) -> Result<(Segment, Option<Scan>)> {
    let name = r.dir.file_name().unwrap_or_default().to_string_lossy();
    info!("Recovering unflushed segment {base} in log {name}.");
    let data = DataFile::open(files::path(r.dir, base, Kind::Log, State::Plain))?;
    let index = OffsetIndex::create(files::path(r.dir, base, Kind::Index, State::Plain), base)?;
    let scan = rebuild(&data, &index, base, interval(r.config), Some(progress))?;
    let cut = scan.valid < data.size();
    let segment = Segment::open(base, data, index, r.config, r.now)?;
    Ok((segment, cut.then_some(scan)))
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
        for kind in [Kind::Index, Kind::Log] {
            let path = files::path(r.dir, *base, kind, State::Plain);
            warn!("Deleting {}, which follows the log's end.", path.display());
            fs::remove_file(&path)?;
        }
    }
    if !behind.is_empty() {
        fs::sync_dir(r.dir)?;
    }
    segment.data().truncate(scan.valid)
}

/// Clears what was left half done: files waiting for removal go, a cleaner's unfinished output goes,
/// its finished output takes the place of what it was made of.
fn finish_swaps(r: &Recovery<'_>) -> Result<()> {
    fs::finish_removals(r.dir)?;
    let mut swaps = Vec::new();
    for file in list(r.dir)? {
        let path = r.dir.join(file.name());
        match (file.state, file.kind) {
            (State::Plain, _) => {}
            (State::Swap, Kind::Log) => swaps.push(file.base),
            (State::Deleted, _) => match fs::remove_file(&path) {
                // It is in nobody's way: not a reason to refuse the log.
                Err(e) if e.is_held() => warn!("{e}"),
                other => other?,
            },
            (State::Cleaned, _) | (State::Swap, Kind::Index) => fs::remove_file(&path)?,
        }
    }
    for base in swaps {
        finish_swap(r, base)?;
    }
    Ok(())
}

/// The swap file replaces the segment of its base and those whose base its messages span; others,
/// such as the one below that 0.9.0.1 deletes after some crashes, are left alone.
fn finish_swap(r: &Recovery<'_>, base: Offset) -> Result<()> {
    let swap = files::path(r.dir, base, Kind::Log, State::Swap);
    info!(
        "Found log file {} from interrupted swap operation, repairing.",
        swap.display()
    );
    let index = OffsetIndex::create(files::path(r.dir, base, Kind::Index, State::Plain), base)?;
    let scan = {
        let data = DataFile::open(swap.clone())?;
        // It was synced before it got its name. A message in it that was damaged before it was cleaned is
        // no end.
        rebuild(&data, &index, base, interval(r.config), None)?
    };
    for other in plain(&list(r.dir)?, Kind::Log) {
        if other > base && other < scan.next {
            for kind in [Kind::Log, Kind::Index] {
                fs::remove_file(&files::path(r.dir, other, kind, State::Plain))?;
            }
        }
    }
    index.sync()?;
    fs::rename(&swap, &files::path(r.dir, base, Kind::Log, State::Plain))?;
    Ok(fs::sync_dir(r.dir)?)
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
    let names = fs::list(dir)?;
    Ok(names
        .iter()
        .filter_map(|name| SegmentFile::parse(name.to_str()?))
        .collect())
}

#[cfg(test)]
mod tests;
