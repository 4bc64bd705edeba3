//! Making a log of what is in its directory, after an orderly stop or any other.
//!
//! After an orderly stop files are trusted. Otherwise every segment from the recovery point on is read,
//! its messages checked and its index written anew; the first byte that is no message ends the log
//! there. Segments below the recovery point were flushed: nothing of theirs is ever cut, only their
//! index is checked and, if need be, rebuilt. Every repair is one line in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

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

/// Loads a partition's directory.
///
/// # Errors
/// [`Storage`](super::Error::Storage) and [`Damaged`](super::Error::Damaged) when files cannot be read.
/// Damage of their content is no error but repaired.
pub(crate) fn load(r: &Recovery<'_>) -> Result<Loaded> {
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
    let mut segments = BTreeMap::new();
    let mut bases = logs.iter().copied();
    for base in bases.by_ref() {
        let unflushed = !r.clean && recover_from.is_none_or(|from| base >= from);
        if unflushed {
            let (segment, scan) = recover(r, base)?;
            segments.insert(base, segment);
            if let Some(scan) = scan {
                end_in(r, &segments[&base], &scan, bases.collect())?;
                break;
            }
        } else {
            segments.insert(base, open(r, base)?);
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
    let scan = rebuild(data, index, active.base(), interval(r.config), false)?;
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
fn open(r: &Recovery<'_>, base: Offset) -> Result<Segment> {
    let data = DataFile::open(files::path(r.dir, base, Kind::Log, State::Plain))?;
    let path = files::path(r.dir, base, Kind::Index, State::Plain);
    let there = path.exists();
    let index = match there {
        true => OffsetIndex::open(path, base)?,
        false => OffsetIndex::create(path, base)?,
    };
    let sane = there && index.is_sane(data.size(), !r.clean)?;
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
        rebuild(&data, &index, base, interval(r.config), false)?;
    }
    index.rest()?;
    Segment::open(base, data, index, r.config, r.now)
}

/// Reads a segment whose messages may not all have reached the disk. The second is what was found if
/// the log has to end here.
fn recover(r: &Recovery<'_>, base: Offset) -> Result<(Segment, Option<Scan>)> {
    let name = r.dir.file_name().unwrap_or_default().to_string_lossy();
    info!("Recovering unflushed segment {base} in log {name}.");
    let data = DataFile::open(files::path(r.dir, base, Kind::Log, State::Plain))?;
    let index = OffsetIndex::create(files::path(r.dir, base, Kind::Index, State::Plain), base)?;
    let scan = rebuild(&data, &index, base, interval(r.config), true)?;
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
        rebuild(&data, &index, base, interval(r.config), false)?
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
