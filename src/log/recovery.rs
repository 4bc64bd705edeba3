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
use super::scan::{Scan, rebuild, zeros_behind};
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
    let mut bases = logs.iter().copied().peekable();
    while let Some(base) = bases.next() {
        let unflushed = !r.clean && recover_from.is_none_or(|from| base >= from);
        if !unflushed {
            segments.insert(base, open(r, base)?);
            continue;
        }
        let (segment, scan) = recover(r, base)?;
        while let Some(next) = bases.next_if(|next| *next < scan.next && is_empty(r, *next)) {
            delete(r, next, "is empty and overlapped")?;
            fs::sync_dir(r.dir)?;
        }
        let overlapped = bases.peek().copied().filter(|next| *next < scan.next);
        let cut = scan.valid < segment.size();
        let segment = segments.entry(base).or_insert(segment);
        match overlapped {
            Some(next) => give_way(r, segment, next)?,
            None if cut => {
                end_in(r, segment, &scan, bases.collect())?;
                break;
            }
            None => {}
        }
    }
    if segments.is_empty() {
        segments.insert(0, Segment::create(r.dir, 0, r.config, r.now)?);
    }
    let mut loaded = finish(r, segments)?;
    if loaded.next < r.recovery_point && !r.clean {
        return distrust(r, loaded.next);
    }
    if let Some(from) = recover_from.filter(|_| !r.clean) {
        // What was read is what the system holds of it, and it may hold more than the disk.
        loaded.recovery_point = loaded.recovery_point.min(from);
    }
    Ok(loaded)
}

/// What was flushed does not get lost, so the recovery point speaks of another log than the one that is
/// there: it says nothing of what is below either.
fn distrust(r: &Recovery<'_>, next: Offset) -> Result<Loaded> {
    warn!(
        "The recovery point {} of {} lies behind the log's end {next}: recovering all of it.",
        r.recovery_point,
        r.dir.display()
    );
    load(&Recovery {
        recovery_point: 0,
        ..*r
    })
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
        recovery_point: if r.clean { next } else { r.recovery_point },
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
        active.sync()?;
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
    let segment = Segment::open(base, data, index, r.config, r.now)?;
    if !r.clean {
        cut_zeros(&segment)?;
    }
    Ok(segment)
}

/// Space that was set aside, and given back when the next segment was begun, may be there again when the
/// machine has died in between. 0.9.0.1 then stumbles over it.
fn cut_zeros(segment: &Segment) -> Result<()> {
    let data = segment.data();
    if segment.end()?.is_some() {
        return Ok(());
    }
    let from = segment.index().last().map_or(0, |place| place.position);
    if let Some(at) = zeros_behind(data, from)? {
        warn!(
            "Found {} zero bytes behind the last message of {}, cutting them off.",
            data.size() - at,
            data.path().display()
        );
        data.truncate(at)?;
        data.sync()?;
    }
    Ok(())
}

/// Reads a segment whose messages may not all have reached the disk.
fn recover(r: &Recovery<'_>, base: Offset) -> Result<(Segment, Scan)> {
    let name = r.dir.file_name().unwrap_or_default().to_string_lossy();
    info!("Recovering unflushed segment {base} in log {name}.");
    let data = DataFile::open(files::path(r.dir, base, Kind::Log, State::Plain))?;
    let index = OffsetIndex::create(files::path(r.dir, base, Kind::Index, State::Plain), base)?;
    let scan = rebuild(&data, &index, base, interval(r.config), true)?;
    Ok((Segment::open(base, data, index, r.config, r.now)?, scan))
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

/// A segment that was begun and given up again while the one before went on.
fn is_empty(r: &Recovery<'_>, base: Offset) -> bool {
    let path = files::path(r.dir, base, Kind::Log, State::Plain);
    std::fs::metadata(path).is_ok_and(|m| m.len() == 0)
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
