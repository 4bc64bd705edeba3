//! What the next start would do to one log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::config::LogConfig;
use crate::log::Result;
use crate::log::data_file::DataFile;
use crate::log::files::{self, Kind, State};
use crate::log::offset_index::{OffsetIndex, Place};
use crate::log::recovery;
use crate::log::scan::{Passed, Scan, walk, zeros_behind};
use crate::log::segment::Segment;
use crate::message::Offset;
use crate::util::clock::WallMs;
use crate::util::fs;

use super::{Extent, Fate, Finding, Report};

const TORN: &str = "the last message is not there whole";

/// What the look at a log goes by, as [`Recovery`](recovery::Recovery).
pub(super) struct LogCheck<'a> {
    /// The partition's directory.
    pub(super) dir: &'a Path,
    /// Everything below was flushed.
    pub(super) recovery_point: Offset,
    /// The broker stopped in order.
    pub(super) clean: bool,
}

/// A segment as it is once leftovers are cleared.
struct Stretch {
    base: Offset,
    /// Where its messages are now.
    path: PathBuf,
    /// The cleaner's output: its index is made anew.
    swapped: bool,
    /// The first offset that belongs to the next segment.
    limit: Offset,
}

impl LogCheck<'_> {
    /// Adds to `report` what is not as it should be.
    ///
    /// # Errors
    /// When files cannot be read.
    pub(super) fn run(&self, report: &mut Report) -> Result<Extent> {
        let mut seen = Report::default();
        let mut extent = self.look(&mut seen);
        if extent.as_ref().is_ok_and(|e| e.end < self.recovery_point) && !self.clean {
            // Recovery distrusts such a point, and begins again without one.
            seen = Report::default();
            let anew = LogCheck {
                recovery_point: 0,
                ..*self
            };
            extent = anew.look(&mut seen);
        }
        report.take_in(seen);
        extent
    }

    fn look(&self, report: &mut Report) -> Result<Extent> {
        let stretches = self.stretches(report)?;
        let bases = stretches.iter().map(|s| s.base).collect();
        let from = recovery::recover_from(&bases, self.recovery_point);
        let Some(start) = stretches.first().map(|s| s.base) else {
            report.add(
                Fate::Corrected,
                self.dir,
                "there is no segment",
                "an empty one is made",
            );
            return Ok(Extent { start: 0, end: 0 });
        };
        let (mut end, mut is_cut) = (start, false);
        let last = stretches.last().map(|s| s.base);
        let mut stretches = stretches.iter().peekable();
        while let Some(stretch) = stretches.next() {
            if is_cut {
                let rule = "it follows the log's end";
                report.add(Fate::Removed, &stretch.path, rule, "it is deleted, and its index");
                continue;
            }
            let data = DataFile::open_to_read(stretch.path.clone())?;
            report.segments += 1;
            report.bytes += data.size();
            let unflushed = !self.clean && from.is_none_or(|from| stretch.base >= from);
            (end, is_cut) = match unflushed {
                true => {
                    let scan = unflushed_segment(&data, stretch.base, report)?;
                    while let Some(next) = stretches.next_if(|next| next.base < scan.next && is_empty(next)) {
                        let rule = "it is empty, and the segment before reaches beyond its beginning";
                        report.add(Fate::Removed, &next.path, rule, "it is deleted, and its index");
                    }
                    match stretches.peek().filter(|next| next.base < scan.next) {
                        Some(next) => (give_way(&data, stretch.base, next.base, report)?, false),
                        None => (scan.next, cut_invalid(&data, &scan, report)),
                    }
                }
                false => self.trusted_segment(stretch, data, last == Some(stretch.base), report)?,
            };
        }
        Ok(Extent { start, end })
    }

    /// Tells what is left half done, and lists the segments that there are when that is cleared.
    fn stretches(&self, report: &mut Report) -> Result<Vec<Stretch>> {
        let mut names = fs::list(self.dir)?;
        names.sort_unstable();
        for path in names.iter().map(|name| self.dir.join(name)) {
            if fs::is_removed(&path) {
                report.add(
                    Fate::Removed,
                    path,
                    "it was removed while it was open",
                    "it is deleted",
                );
            }
        }
        let mut found = recovery::list(self.dir)?;
        found.sort_unstable_by_key(|f| f.name());
        let plain = |base, kind| files::path(self.dir, base, kind, State::Plain);
        let mut logs: BTreeMap<Offset, (PathBuf, bool)> = recovery::plain(&found, Kind::Log)
            .into_iter()
            .map(|base| (base, (plain(base, Kind::Log), false)))
            .collect();
        let mut indexes: BTreeSet<Offset> = recovery::plain(&found, Kind::Index);
        for file in &found {
            let path = self.dir.join(file.name());
            let rule = match (file.state, file.kind) {
                (State::Plain, _) => continue,
                (State::Swap, Kind::Log) => {
                    self.swap(file.base, path, &mut logs, &mut indexes, report)?;
                    continue;
                }
                (State::Deleted, _) => "it waited for its deletion",
                (State::Cleaned, _) => "it is the unfinished work of a cleaner",
                (State::Swap, Kind::Index) => "an index is made anew when a swap is finished",
            };
            report.add(Fate::Removed, path, rule, "it is deleted");
        }
        for base in indexes.iter().filter(|base| !logs.contains_key(base)) {
            let rule = "there is no log file for it";
            report.add(Fate::Removed, plain(*base, Kind::Index), rule, "it is deleted");
        }
        let limits: Vec<Offset> = logs.keys().skip(1).copied().chain([Offset::MAX]).collect();
        let stretch = |((base, (path, swapped)), limit)| Stretch {
            base,
            path,
            swapped,
            limit,
        };
        Ok(logs.into_iter().zip(limits).map(stretch).collect())
    }

    /// A swap that is to be finished.
    fn swap(
        &self,
        base: Offset,
        path: PathBuf,
        logs: &mut BTreeMap<Offset, (PathBuf, bool)>,
        indexes: &mut BTreeSet<Offset>,
        report: &mut Report,
    ) -> Result<()> {
        let next = walk(&DataFile::open_to_read(path.clone())?, base, false, |_, _| Ok(()))?.next;
        let then = "it takes the place of the segments that it was made of";
        report.add(Fate::Renamed, &path, "a cleaner's swap was interrupted", then);
        let replaced: Vec<Offset> = logs.keys().copied().filter(|b| *b > base && *b < next).collect();
        for other in replaced {
            let rule = "what it holds is in the swap file";
            for kind in [Kind::Log, Kind::Index] {
                let path = files::path(self.dir, other, kind, State::Plain);
                if path.exists() {
                    report.add(Fate::Removed, path, rule, "it is deleted");
                }
            }
            logs.remove(&other);
            indexes.remove(&other);
        }
        logs.insert(base, (path, true));
        indexes.insert(base);
        Ok(())
    }

    /// A segment that is opened as it is. Returns where it ends, and whether that is by a cut.
    fn trusted_segment(
        &self,
        stretch: &Stretch,
        data: DataFile,
        is_last: bool,
        report: &mut Report,
    ) -> Result<(Offset, bool)> {
        let index = match stretch.swapped {
            true => None,
            false => self.index(stretch.base, data.size(), report)?,
        };
        let mut entries = index.as_ref().map(Entries::new);
        let scan = walk(&data, stretch.base, true, |_, passed| match &mut entries {
            Some(entries) => entries.pass(passed),
            None => Ok(()),
        })?;
        let wrong = match entries {
            // Behind a message that is none, nobody can tell.
            Some(entries) if scan.valid == data.size() => entries.finish()?,
            Some(entries) => entries.wrong,
            None => None,
        };
        // As recovery reads what was flushed: without a look at the contents.
        let sizes = match scan.valid == data.size() {
            true => scan.clone(),
            false => walk(&data, stretch.base, false, |_, _| Ok(()))?,
        };
        let (size, path) = (data.size(), data.path().to_owned());
        let index_path = files::path(self.dir, stretch.base, Kind::Index, State::Plain);
        let mut end = sizes.next;
        let mut remade = false;
        if is_last {
            let ended = match index {
                Some(index) => {
                    let config = LogConfig::default();
                    Segment::open(stretch.base, data, index, &config, WallMs(0))?.end()?
                }
                None => (sizes.valid == size).then_some(sizes.next),
            };
            match ended {
                Some(next) => end = next,
                None => {
                    remade = true;
                    if !stretch.swapped && index_path.exists() {
                        let rule = "it does not lead to the end of the log file";
                        report.add(Fate::Rebuilt, &index_path, rule, "it is made anew");
                    }
                    if sizes.valid < size {
                        cut(&path, size, &sizes, report);
                    }
                }
            }
        } else if !self.clean
            && let (Some(at), from) = self.zeros(stretch, &path, index)?
        {
            if at <= from && from > 0 {
                let rule = "it leads behind the last message";
                report.add(Fate::Rebuilt, &index_path, rule, "it is made anew");
            }
            let then = format!("{} bytes are cut off", size - at);
            let finding = Finding::new(
                Fate::Cut,
                path,
                "nothing but zeros follows the last message",
                then,
            );
            report.findings.push(finding.at(at, sizes.next));
            return Ok((end, false));
        }
        if scan.valid < size && !(remade && scan.valid == sizes.valid) {
            let rule = scan.problem.as_deref().unwrap_or(TORN);
            let then = "it was flushed and stays: whoever reads it finds out";
            let finding = Finding::new(Fate::Stays, path.clone(), rule, then);
            report.findings.push(finding.at(scan.valid, scan.next));
        }
        if let Some((place, rule)) = wrong.filter(|_| !remade) {
            let then = "it stays; when the file is removed, the next start makes it anew";
            let finding = Finding::new(Fate::Stays, index_path, rule, then);
            report.findings.push(finding.at(place.position, place.offset));
        }
        overlap(stretch, &path, &scan, report);
        Ok((end, false))
    }

    /// Where a segment ends that was flushed and has but zeros behind its messages; and where its index leads.
    fn zeros(
        &self,
        stretch: &Stretch,
        path: &Path,
        index: Option<OffsetIndex>,
    ) -> Result<(Option<u64>, u64)> {
        let data = DataFile::open_to_read(path.to_owned())?;
        let Some(index) = index else {
            return Ok((zeros_behind(&data, 0)?, 0));
        };
        let from = index.last().map_or(0, |place| place.position);
        let segment = Segment::open(stretch.base, data, index, &LogConfig::default(), WallMs(0))?;
        let at = match segment.end()? {
            Some(_) => None,
            None => zeros_behind(segment.data(), from)?,
        };
        Ok((at, from))
    }

    /// The index of a segment, if it is used as it is.
    fn index(&self, base: Offset, data_size: u64, report: &mut Report) -> Result<Option<OffsetIndex>> {
        let path = files::path(self.dir, base, Kind::Index, State::Plain);
        if !path.exists() {
            report.add(
                Fate::Rebuilt,
                path,
                "the index is missing",
                "it is made from the log file",
            );
            return Ok(None);
        }
        let index = OffsetIndex::open_to_read(path.clone(), base)?;
        if index.is_sane(data_size, !self.clean)? {
            return Ok(Some(index));
        }
        let rule = "it is no index of this log file";
        report.add(Fate::Rebuilt, path, rule, "it is made from the log file");
        Ok(None)
    }
}

/// A segment that is read, as its messages may not all have reached the disk.
fn unflushed_segment(data: &DataFile, base: Offset, report: &mut Report) -> Result<Scan> {
    report.unflushed.segments += 1;
    report.unflushed.bytes += data.size();
    walk(data, base, true, |_, _| Ok(()))
}

fn is_empty(stretch: &Stretch) -> bool {
    DataFile::open_to_read(stretch.path.clone()).is_ok_and(|data| data.size() == 0)
}

/// Returns whether something is cut off.
fn cut_invalid(data: &DataFile, scan: &Scan, report: &mut Report) -> bool {
    let is_cut = scan.valid < data.size();
    if is_cut {
        cut(data.path(), data.size(), scan, report);
    }
    is_cut
}

/// What reaches beyond the beginning of the next segment is cut off. Returns where that is.
fn give_way(data: &DataFile, base: Offset, next: Offset, report: &mut Report) -> Result<Offset> {
    let mut first = None;
    walk(data, base, false, |_, passed| {
        if passed.offset >= next && first.is_none() {
            first = Some(passed);
        }
        Ok(())
    })?;
    if let Some(Passed { position, offset, .. }) = first {
        let rule = format!("it reaches to offset {offset}, where the next segment begins with {next}");
        let then = format!("{} bytes are cut off", data.size() - position);
        let finding = Finding::new(Fate::Cut, data.path(), rule, then);
        report.findings.push(finding.at(position, offset));
    }
    Ok(next)
}

fn cut(path: &Path, size: u64, scan: &Scan, report: &mut Report) {
    let rule = scan.problem.as_deref().unwrap_or(TORN);
    let then = format!("the log ends here, {} bytes are cut off", size - scan.valid);
    let finding = Finding::new(Fate::Cut, path, rule, then);
    report.findings.push(finding.at(scan.valid, scan.next));
}

fn overlap(stretch: &Stretch, path: &Path, scan: &Scan, report: &mut Report) {
    if scan.next > stretch.limit {
        let rule = format!(
            "it reaches to offset {}, where the next segment begins with {}",
            scan.next - 1,
            stretch.limit
        );
        report.add(Fate::Stays, path, rule, "nothing is done about it");
    }
}

/// An index's entries beside the messages that they lead to.
struct Entries<'a> {
    index: &'a OffsetIndex,
    some: std::vec::IntoIter<Place>,
    read: u64,
    next: Option<Place>,
    wrong: Option<(Place, String)>,
}

impl<'a> Entries<'a> {
    fn new(index: &'a OffsetIndex) -> Entries<'a> {
        Entries {
            index,
            some: Vec::new().into_iter(),
            read: 0,
            next: None,
            wrong: None,
        }
    }

    /// The entry that is due.
    fn due(&mut self) -> Result<Option<Place>> {
        if self.next.is_none() {
            if self.some.as_slice().is_empty() {
                let some = self.index.places(self.read)?;
                self.read += some.len() as u64;
                self.some = some.into_iter();
            }
            self.next = self.some.next();
        }
        Ok(self.next)
    }

    /// Compares the entries up to a message with it.
    fn pass(&mut self, passed: Passed) -> Result<()> {
        while self.wrong.is_none()
            && let Some(place) = self.due()?
            && place.position <= passed.position
        {
            self.next = None;
            if place.position < passed.position {
                self.wrong = Some((place, "no message begins where it leads".to_owned()));
            } else if place.offset < passed.due || place.offset > passed.offset {
                let rule = format!(
                    "it leads to a message with offset {} behind {}",
                    passed.offset,
                    passed.due - 1
                );
                self.wrong = Some((place, rule));
            }
        }
        Ok(())
    }

    /// The first entry that is wrong, when all messages have passed.
    fn finish(mut self) -> Result<Option<(Place, String)>> {
        if self.wrong.is_none()
            && let Some(place) = self.due()?
        {
            self.wrong = Some((place, "no message begins where it leads".to_owned()));
        }
        Ok(self.wrong)
    }
}
