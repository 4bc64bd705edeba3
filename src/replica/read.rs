//! Fetch and ListOffsets: read up to what the reader may see, and wait for more if asked to.

use std::sync::Arc;
use std::time::Duration;

use ::log::{debug, error};

use crate::cluster::TopicPartition;
use crate::log::{self, LogPosition};
use crate::message::Offset;
use crate::util::blocking;

use super::delayed::{fetch_done, fetch_worth};
use super::error::{Error, Result};
use super::manager::ReplicaManager;
use super::partition::{Partition, Read, Reader, Round};
use super::purgatory::wait_until;
use super::term::Term;

/// What holds for all partitions of a fetch.
#[derive(Clone, Copy, Debug)]
pub struct Fetch {
    /// Who reads.
    pub reader: Reader,
    /// Over which connection: all that a follower is told over one between two errors is of one leadership.
    pub connection: u64,
    /// How long to wait for `min_bytes`; zero answers at once.
    pub max_wait: Duration,
    /// How many bytes are worth an answer.
    pub min_bytes: i32,
    /// At most so many bytes of all partitions together.
    pub limit: usize,
}

/// What is wanted of one partition.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Which.
    pub partition: TopicPartition,
    /// The first offset.
    pub offset: Offset,
    /// At most so many bytes.
    pub max_bytes: i32,
}

/// One partition's place in a fetch that waits.
struct Waits {
    partition: Arc<Partition>,
    /// The leadership that it waits for.
    term: Option<Term>,
    from: LogPosition,
    max_bytes: i32,
}

impl ReplicaManager {
    /// Reads; answers in the order of `wishes`.
    ///
    /// Without an error, and with fewer than `min_bytes`, waits until there is more or `max_wait` has
    /// passed, and then reads again: whatever is there is the answer. Losing the lead ends the wait; a follower's first
    /// question to a leadership over a connection is not waited with.
    pub async fn fetch(&self, fetch: Fetch, wishes: &[Wish]) -> Vec<Result<Read>> {
        let (first, waits) = self.read_all(&fetch, wishes, &[]);
        let bytes: usize = first.iter().flatten().map(bytes_of).sum();
        let enough = i64::try_from(bytes).unwrap_or(i64::MAX) >= i64::from(fetch.min_bytes);
        let hurries = |read: &Result<Read>| read.as_ref().map_or(true, |read| read.at_once);
        if fetch.max_wait.is_zero() || wishes.is_empty() || enough || first.iter().any(hurries) {
            self.count(&first, &waits);
            return first;
        }
        // The slices hold files open; nobody needs those while waiting.
        drop(first);
        self.await_data(&fetch, &waits).await;
        let (second, read) = self.read_all(&fetch, wishes, &waits);
        self.count(&second, &read);
        second
    }

    /// Counts an answer; `read` are the partitions that could be read.
    fn count(&self, answer: &[Result<Read>], read: &[Waits]) {
        let now = self.clock.now();
        for (read, of) in answer.iter().flatten().zip(read) {
            of.partition.meters.each(|m| {
                m.fetch(now);
                m.sent(now, bytes_of(read) as u64);
            });
        }
    }

    async fn await_data(&self, fetch: &Fetch, waits: &[Waits]) {
        let deadline = self.clock.now() + fetch.max_wait;
        let lists = waits
            .iter()
            .map(|w| w.partition.waiting_like(fetch.reader))
            .collect();
        let done = wait_until(lists, &self.clock, deadline, || {
            let mut worths = Vec::with_capacity(waits.len());
            for wait in waits {
                match wait.partition.readable_end(fetch.reader) {
                    Ok(end) => worths.push(fetch_worth(&wait.from, &end, wait.max_bytes)),
                    Err(_) => return true,
                }
            }
            fetch_done(worths, fetch.min_bytes)
        })
        .await;
        if !done {
            let expired = match fetch.reader {
                Reader::Follower(_) => &self.expiries.followers,
                _ => &self.expiries.consumers,
            };
            expired.mark(self.clock.now(), 1);
        }
    }

    /// Reads, and tells of each partition that can be read where in it. `waited` is what was told so before a
    /// wait, of all `wishes`, or nothing.
    fn read_all(&self, fetch: &Fetch, wishes: &[Wish], waited: &[Waits]) -> (Vec<Result<Read>>, Vec<Waits>) {
        let mut left = fetch.limit;
        let mut waits = Vec::with_capacity(wishes.len());
        let mut results = Vec::with_capacity(wishes.len());
        for (i, wish) in wishes.iter().enumerate() {
            let max_bytes = wish.max_bytes.min(i32::try_from(left).unwrap_or(i32::MAX));
            let round = match waited.get(i) {
                None => Round::First(fetch.connection, fetch.max_wait),
                Some(waited) => Round::Again(waited.term),
            };
            let read = self.read_one(fetch.reader, wish, max_bytes, round);
            if let Ok((partition, read)) = &read {
                left = left.saturating_sub(bytes_of(read));
                waits.push(Waits {
                    partition: partition.clone(),
                    term: read.term,
                    from: read.fetched.at,
                    max_bytes,
                });
            }
            results.push(read.map(|(_, read)| read));
        }
        (results, waits)
    }

    fn read_one(
        &self,
        reader: Reader,
        wish: &Wish,
        max_bytes: i32,
        round: Round,
    ) -> Result<(Arc<Partition>, Read)> {
        let id = &wish.partition;
        let partition = self.replica_for(id, reader)?;
        let now = self.clock.now();
        let (read, change) =
            blocking::in_place(|| partition.read(wish.offset, max_bytes, reader, round, now));
        if let Some(change) = change {
            let joins = matches!(reader, Reader::Follower(id) if change.isr.contains(&id));
            let meter = match joins {
                true => &self.meters.isr_expands,
                false => &self.meters.isr_shrinks,
            };
            meter.mark(now, 1);
            self.proposals.push(partition.clone(), change);
        }
        match read {
            Ok(read) => Ok((partition, read)),
            Err(e) => {
                let now = self.clock.now();
                partition.meters.each(|m| m.fetch(now));
                match &e {
                    Error::Log(log::Error::OutOfRange { .. }) | Error::NotLeader(_) => {
                        debug!(
                            "Fetch of partition {id} at offset {} is refused: {e}",
                            wish.offset
                        );
                    }
                    _ => {
                        partition.meters.each(|m| m.fetch_failed(now));
                        error!(
                            "Error processing fetch operation on partition {id} offset {}: {e}",
                            wish.offset
                        );
                    }
                }
                Err(e)
            }
        }
    }

    /// Segment offsets before a time (ListOffsets); see [`Reader`] for who sees what.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`], [`Error::NotLeader`], [`Error::ReplicaNotAvailable`],
    /// [`Error::NegativeCount`].
    pub fn list_offsets(
        &self,
        id: &TopicPartition,
        timestamp: i64,
        max: i32,
        reader: Reader,
    ) -> Result<Vec<Offset>> {
        let partition = self.replica_for(id, reader)?;
        blocking::in_place(|| partition.offsets_before(timestamp, max, reader, self.clock.wall()))
    }

    fn replica_for(&self, id: &TopicPartition, reader: Reader) -> Result<Arc<Partition>> {
        self.need(id).map_err(|e| match reader {
            Reader::Debugger => Error::ReplicaNotAvailable(id.clone()),
            _ => e,
        })
    }
}

fn bytes_of(read: &Read) -> usize {
    read.fetched.slice.as_ref().map_or(0, |s| s.len)
}
