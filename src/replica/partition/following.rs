//! A follower's side of a partition: compares its copy with the leader's, cuts what differs, appends what
//! is new.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::log::{error, info, warn};
use bytes::{Bytes, BytesMut};

use crate::cluster::BrokerId;
use crate::log::{self, Log};
use crate::message::{self, Codec, Offset, SetIter, set};
use crate::replica::agreement::{Extent, Question, Range, Verdict};
use crate::replica::compare::{Compacted, Compared, compare, position_of};
use crate::replica::error::{Error, Result};
use crate::util::clock::WallMs;
use crate::util::fs;

use super::Partition;

/// How much of a compacted copy is read at once to be compared.
const PIECE: usize = 1 << 20;

/// What an answer of the leader's did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::replica) struct Copied {
    /// The answer was used: it was not overtaken by a change of role.
    pub(in crate::replica) counted: bool,
    /// The answer held no whole entry, though it held something.
    pub(in crate::replica) stuck: bool,
    /// Messages that were cut off, as the leader has others.
    pub(in crate::replica) cut: u64,
    /// How many of them were below the high watermark: acknowledged, and lost.
    pub(in crate::replica) lost: u64,
}

/// How a piece of the leader's went with the copy.
enum Piece {
    /// Equal, up to the copy's end; the rest of the piece is new.
    Reached(Bytes),
    /// Equal, and the copy goes on.
    Within,
    /// Different; this begins where the difference is.
    Differs(Bytes),
}

impl Partition {
    /// Where a follower of `leader` asks from, over the connection of that number. `None` if this broker
    /// follows another.
    ///
    /// # Errors
    /// Those of the disk.
    pub(in crate::replica) fn ask(&self, leader: BrokerId, connection: u64) -> Result<Option<Question>> {
        let held = self.hold();
        let Some(log) = &*held else { return Ok(None) };
        let asked = self
            .standing()
            .ask(leader, connection, extent(log), |before, bytes| {
                log.back(before, bytes)
            });
        Ok(asked?)
    }

    /// The leader answered that it does not lead: the copy is compared before more is taken over.
    pub(in crate::replica) fn refused(&self, leader: BrokerId, question: &Question) {
        self.standing().refused(leader, question);
    }

    /// Takes over what the leader answered. Nothing if the question no longer counts.
    ///
    /// # Errors
    /// [`Error::CommittedDiffers`] if the topic forbids to cut what was acknowledged; what the log refuses;
    /// bytes of the leader's that are no messages.
    pub(in crate::replica) fn take_fetched(
        &self,
        leader: BrokerId,
        question: &Question,
        set: Bytes,
        leader_high_watermark: Offset,
        now: WallMs,
    ) -> Result<Copied> {
        let held = self.hold();
        let mut copied = Copied::default();
        let Some(log) = &*held else { return Ok(copied) };
        let is_whole = {
            let mut standing = self.standing();
            let Some(agreement) = standing.following(leader) else {
                return Ok(copied);
            };
            if !agreement.is_current(question) || agreement.verified(log.end().offset) != question.offset {
                return Ok(copied);
            }
            agreement.is_whole()
        };
        copied.counted = true;
        copied.stuck = !set.is_empty() && set::next_entry(&set, 0).map_err(log::Error::from)?.is_none();
        let rest = if is_whole {
            Some(set)
        } else {
            self.agree(leader, log, set, &mut copied)?
        };
        if let Some(rest) = rest {
            log.append_as_follower(rest, now)?;
        }
        let high_watermark = self
            .standing()
            .follow_high_watermark(leader_high_watermark, log.end().offset);
        log.set_high_watermark(high_watermark);
        let lag = leader_high_watermark.saturating_sub(log.end().offset);
        self.lag.store(lag.max(0), Ordering::Relaxed);
        Ok(copied)
    }

    /// Compares the copy with `set`, and cuts it where they differ. Returns what is to be appended, once
    /// the whole copy is the leader's.
    fn agree(
        &self,
        leader: BrokerId,
        log: &Arc<Log>,
        set: Bytes,
        copied: &mut Copied,
    ) -> Result<Option<Bytes>> {
        let piece = match log.config().compact {
            true => self.compare_compacted(leader, log, set)?,
            false => self.compare(leader, log, set)?,
        };
        let rest = match piece {
            Piece::Within => return Ok(None),
            Piece::Reached(rest) => return Ok(Some(rest)),
            Piece::Differs(rest) => rest,
        };
        let verdict = match self.standing().following(leader) {
            Some(agreement) => agreement.differs(),
            None => return Ok(None),
        };
        match verdict {
            Verdict::LookBack { before, bytes } => {
                let from = log.back(before, bytes)?;
                info!(
                    "Replica of partition {} differs from leader {leader}'s at offset {before}, below its high watermark; comparing from offset {from} on",
                    self.id
                );
                if let Some(agreement) = self.standing().following(leader) {
                    agreement.look_from(from);
                }
                Ok(None)
            }
            Verdict::Cut(at) => {
                self.cut(leader, log, at, copied)?;
                Ok(Some(rest))
            }
        }
    }

    fn compare(&self, leader: BrokerId, log: &Arc<Log>, mut set: Bytes) -> Result<Piece> {
        loop {
            let end = log.end().offset;
            let Some(verified) = self.verified(leader, log) else {
                return Ok(Piece::Within);
            };
            if verified >= end {
                return Ok(Piece::Reached(set));
            }
            if set::next_entry(&set, 0).map_err(log::Error::from)?.is_none() {
                return Ok(Piece::Within);
            }
            if verified < log.start_offset() {
                return Ok(Piece::Differs(set));
            }
            let mine = own(log, verified, set.len())?;
            if mine.is_empty() {
                self.equal_up_to(leader, log, end);
                continue;
            }
            let compared = compare(&set, &mine, verified).map_err(log::Error::from)?;
            set = set.slice(compared.bytes..);
            self.equal_up_to(leader, log, compared.up_to);
            // Without progress, and not at the end of what was read, the copy is no message.
            if compared.differs || compared.bytes == 0 {
                return Ok(Piece::Differs(set));
            }
        }
    }

    fn compare_compacted(&self, leader: BrokerId, log: &Arc<Log>, set: Bytes) -> Result<Piece> {
        let mut theirs = Compacted::new(&set).map_err(log::Error::from)?;
        let Some(last) = theirs.last() else {
            return Ok(match self.verified(leader, log) {
                Some(verified) if verified >= log.end().offset => Piece::Reached(set),
                _ => Piece::Within,
            });
        };
        let rest = |from| Ok::<_, Error>(set.slice(position_of(&set, from).map_err(log::Error::from)?..));
        loop {
            let end = log.end().offset;
            let Some(verified) = self.verified(leader, log) else {
                return Ok(Piece::Within);
            };
            if verified >= end {
                return Ok(Piece::Reached(rest(end)?));
            }
            if verified > last {
                return Ok(Piece::Within);
            }
            if verified < log.start_offset() {
                return Ok(Piece::Differs(set));
            }
            let mine = own_whole(log, verified)?;
            if mine.is_empty() {
                self.equal_up_to(leader, log, end);
                continue;
            }
            let Compared {
                up_to,
                bytes,
                differs,
            } = theirs.compare(&mine, verified).map_err(log::Error::from)?;
            if differs || (bytes == 0 && up_to == verified) {
                self.equal_up_to(leader, log, up_to);
                return Ok(Piece::Differs(rest(up_to)?));
            }
            self.equal_up_to(leader, log, up_to);
        }
    }

    /// Up to where the copy is known to be the leader's; `None` if this broker does not follow it.
    fn verified(&self, leader: BrokerId, log: &Log) -> Option<Offset> {
        let mut standing = self.standing();
        let agreement = standing.following(leader)?;
        Some(agreement.verified(log.end().offset))
    }

    fn equal_up_to(&self, leader: BrokerId, log: &Log, to: Offset) {
        if let Some(agreement) = self.standing().following(leader) {
            agreement.equal_up_to(to, log.end().offset);
        }
    }

    /// Cuts the copy to `at`, or to where the wrapper begins that reaches across, and says what that costs.
    fn cut(&self, leader: BrokerId, log: &Arc<Log>, at: Offset, copied: &mut Copied) -> Result<()> {
        let (end, high_watermark) = (log.end().offset, self.high_watermark());
        let at = entry_start(log, at)?.unwrap_or(at);
        let count = |to: Offset| u64::try_from(to - at.max(log.start_offset())).unwrap_or(0);
        (copied.cut, copied.lost) = (count(end), count(high_watermark.min(end)));
        if copied.lost > 0 && !log.config().unclean_leader_election_enable {
            error!(
                "Log truncation is not allowed for topic {}, Current leader {leader} has other messages than this replica from offset {at} on, below the high watermark {high_watermark}",
                self.id.topic
            );
            return Err(Error::CommittedDiffers {
                partition: self.id.clone(),
                at,
                high_watermark,
            });
        }
        if copied.lost > 0 {
            warn!(
                "Replica of partition {} differs from leader {leader}'s from offset {at} on: {} messages are cut off, of which {} were below the high watermark {high_watermark} and are lost",
                self.id, copied.cut, copied.lost
            );
        } else {
            info!(
                "Replica of partition {} differs from leader {leader}'s from offset {at} on: {} messages that were never committed are cut off",
                self.id, copied.cut
            );
        }
        log.truncate_to(at)?;
        self.standing().was_cut(log.end().offset);
        Ok(())
    }

    /// The leader, whose log spans `theirs`, does not have what was asked for: begins the copy anew, or
    /// goes on elsewhere.
    ///
    /// # Errors
    /// Those of the disk.
    pub(in crate::replica) fn out_of_range(
        &self,
        leader: BrokerId,
        question: &Question,
        theirs: Extent,
    ) -> Result<()> {
        let held = self.hold();
        let Some(log) = &*held else { return Ok(()) };
        let mine = extent(log);
        let range = {
            let mut standing = self.standing();
            let high_watermark = standing.high_watermark().offset;
            let Some(agreement) = standing.following(leader) else {
                return Ok(());
            };
            if !agreement.is_current(question) {
                return Ok(());
            }
            agreement.out_of_range(question.offset, mine, theirs, high_watermark)
        };
        match range {
            Range::Again => {}
            Range::StartAt(start) => {
                warn!(
                    "Replica of partition {} ends at offset {}, before current leader {leader}'s start offset {start}: it begins anew there",
                    self.id, mine.end
                );
                log.truncate_fully_and_start_at(start)?;
                self.standing().was_cut(start);
            }
            Range::Shorter { end, bytes } => {
                let missing = self.high_watermark() - end;
                if missing > 0 {
                    warn!(
                        "Current leader {leader}'s latest offset {end} of partition {} is less than this replica's high watermark: {missing} committed messages are missing there; this replica keeps its own until the leader has others",
                        self.id
                    );
                }
                let from = if end > mine.start {
                    log.back(end, bytes)?
                } else {
                    end
                };
                if let Some(agreement) = self.standing().following(leader) {
                    agreement.look_from(from);
                }
            }
        }
        Ok(())
    }
}

fn extent(log: &Log) -> Extent {
    Extent {
        start: log.start_offset(),
        end: log.end().offset,
    }
}

/// The copy's bytes from the entry at `from` on, at most `most`.
fn own(log: &Log, from: Offset, most: usize) -> log::Result<Bytes> {
    let fetched = log.read(from, i32::try_from(most).unwrap_or(i32::MAX), None)?;
    let Some(slice) = fetched.slice else {
        return Ok(Bytes::new());
    };
    let mut bytes = BytesMut::zeroed(slice.len);
    let read = fs::read_at(&slice.file, &mut bytes, slice.position).map_err(|source| fs::Error {
        op: "read",
        path: log.dir().to_owned(),
        source,
    })?;
    bytes.truncate(read);
    Ok(bytes.freeze())
}

/// As [`own`], with one whole entry at least, however large.
fn own_whole(log: &Log, from: Offset) -> log::Result<Bytes> {
    let mut most = PIECE;
    loop {
        let bytes = own(log, from, most)?;
        if bytes.len() < most || set::next_entry(&bytes, 0)?.is_some() {
            return Ok(bytes);
        }
        most = most.saturating_mul(4);
    }
}

/// Where the entry begins that holds `offset`, if it is a wrapper that begins before.
fn entry_start(log: &Log, offset: Offset) -> log::Result<Option<Offset>> {
    if offset < log.start_offset() || offset >= log.end().offset {
        return Ok(None);
    }
    let bytes = own_whole(log, offset)?;
    let Some(Ok(entry)) = SetIter::new(&bytes).next() else {
        return Ok(None);
    };
    if entry.codec().is_ok_and(|codec| codec == Codec::None) {
        return Ok(None);
    }
    let inner = message::flatten(&bytes.slice(..entry.end()), false);
    // What cannot be read begins nowhere else.
    Ok(inner.ok().and_then(|i| i.first().map(|m| m.offset.min(offset))))
}
