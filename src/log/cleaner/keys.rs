//! The first pass: which offset is the last of each key in the dirty part.

use std::sync::Arc;

use ::log::info;

use crate::log::segment::Segment;
use crate::message::Offset;
use crate::message::set::next_entry;

use super::clean::Work;
use super::entry::{Content, messages};
use super::offset_map::OffsetMap;
use super::plan::{SegmentFacts, Share, share};
use super::{Result, TARGET};

/// Fills `map` from `segments`, in order, beginning at the offset `first_dirty`, and returns the offset up
/// to which it is complete: a segment's end, or a place within one that does not fit as a whole.
pub(super) fn gather(
    work: &mut Work<'_>,
    segments: &[(Arc<Segment>, SegmentFacts)],
    first_dirty: Offset,
    map: &mut OffsetMap,
) -> Result<Offset> {
    let end = segments.last().map_or(first_dirty, |(_, facts)| facts.next);
    info!(
        target: TARGET,
        "Cleaner {}: Building offset map for log {} for {} segments in offset range [{first_dirty}, {end}).",
        work.thread, work.log.name(), segments.len()
    );
    let mut gathered = first_dirty;
    for (segment, facts) in segments {
        work.check()?;
        let room = map.capacity() - map.len();
        if share(facts, first_dirty, room as u64, map.capacity() as u64) == Share::Nothing {
            break;
        }
        match take_in(work, segment, first_dirty, map)? {
            None => gathered = facts.next,
            Some(stop) => {
                gathered = stop;
                break;
            }
        }
    }
    info!(target: TARGET, "Cleaner {}: Offset map for log {} complete.", work.thread, work.log.name());
    Ok(gathered)
}

/// Takes in one segment from `first_dirty` on; returns the offset of the first message there was no room for.
fn take_in(
    work: &mut Work<'_>,
    segment: &Segment,
    first_dirty: Offset,
    map: &mut OffsetMap,
) -> Result<Option<Offset>> {
    let from = match segment.find(first_dirty, segment.size())? {
        Some(header) => header.position,
        None => return Ok(None),
    };
    let mut buffer = std::mem::take(&mut work.buffer);
    let mut chunks = work.chunks(segment, from, &mut buffer);
    let mut put =
        |offset, key: Option<&[u8]>| offset < first_dirty || key.is_none_or(|key| map.put(key, offset));
    let mut stop = None;
    while stop.is_none() {
        work.check()?;
        let Some(chunk) = chunks.next(|grown| work.say_grown(grown))? else {
            break;
        };
        let mut at = 0;
        while stop.is_none()
            && let Some(entry) = next_entry(chunk, at).map_err(crate::log::Error::from)?
        {
            match Content::of(&entry, at) {
                Content::Message(m) if !put(m.offset, m.key) => stop = Some(m.offset),
                Content::Wrapper(_, inner) => {
                    let refused = messages(&inner).find(|m| !put(m.offset, m.key));
                    stop = refused.map(|m| m.offset);
                }
                _ => {}
            }
            at = entry.end;
        }
        work.stats.indexed_bytes += chunk.len() as u64;
        work.pace(chunk.len())?;
    }
    work.buffer = buffer;
    Ok(stop)
}
