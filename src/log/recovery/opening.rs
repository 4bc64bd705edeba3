//! Opening one segment: as it is, or reading all of it.

use ::log::{info, warn};

use crate::log::Result;
use crate::log::data_file::DataFile;
use crate::log::files::{self, Kind, State};
use crate::log::offset_index::OffsetIndex;
use crate::log::scan::{Scan, rebuild, zeros_behind};
use crate::log::segment::Segment;
use crate::message::Offset;

use super::{Recovery, interval};

/// Opens a segment whose messages are trusted.
pub(super) fn trust(r: &Recovery<'_>, base: Offset) -> Result<Segment> {
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
        rebuild(&data, &index, base, interval(r.config), false, &|_| {})?;
    }
    index.rest()?;
    let segment = Segment::open(base, data, index, r.config, r.now)?;
    if !r.clean {
        cut_zeros(r, &segment)?;
    }
    Ok(segment)
}

/// Space that was set aside, and given back when the next segment was begun, may be there again when the
/// machine has died in between. 0.9.0.1 then stumbles over it.
fn cut_zeros(r: &Recovery<'_>, segment: &Segment) -> Result<()> {
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
        if at <= from && from > 0 {
            // It led into the zeros.
            rebuild(
                data,
                segment.index(),
                segment.base(),
                interval(r.config),
                false,
                &|_| {},
            )?;
        }
        segment.sync()?;
        segment.index().rest()?;
    }
    Ok(())
}

/// Reads a segment whose messages may not all have reached the disk. `progress` is told of the bytes that
/// are messages.
pub(super) fn recover(r: &Recovery<'_>, base: Offset, progress: &dyn Fn(u64)) -> Result<(Segment, Scan)> {
    let name = r.dir.file_name().unwrap_or_default().to_string_lossy();
    info!("Recovering unflushed segment {base} in log {name}.");
    let data = DataFile::open(files::path(r.dir, base, Kind::Log, State::Plain))?;
    let index = OffsetIndex::create(files::path(r.dir, base, Kind::Index, State::Plain), base)?;
    let scan = rebuild(&data, &index, base, interval(r.config), true, progress)?;
    index.let_go();
    Ok((Segment::open(base, data, index, r.config, r.now)?, scan))
}
