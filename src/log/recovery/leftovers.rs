//! What a crash left half done in a log's directory: files that waited for their removal, a cleaner's work.

use std::path::Path;

use ::log::{info, warn};

use crate::log::Result;
use crate::log::data_file::DataFile;
use crate::log::files::{self, Kind, SegmentFile, State};
use crate::log::offset_index::OffsetIndex;
use crate::log::scan::rebuild;
use crate::message::Offset;
use crate::util::fs;

use super::{Recovery, interval, list, plain, segment_files};

/// Clears what was left half done: files waiting for removal go, a cleaner's unfinished output goes,
/// its finished output takes the place of what it was made of. Returns the segment files that are there
/// then.
pub(super) fn clear(r: &Recovery<'_>) -> Result<Vec<SegmentFile>> {
    let names = fs::list(r.dir)?;
    let found = segment_files(&names);
    let some_removed = names.iter().any(|name| fs::is_removed(Path::new(name)));
    if !some_removed && found.iter().all(|file| file.state == State::Plain) {
        return Ok(found);
    }
    fs::finish_removals(r.dir)?;
    let mut swaps = Vec::new();
    for file in found {
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
    list(r.dir)
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
        rebuild(&data, &index, base, interval(r.config), false, &|_| {})?
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
