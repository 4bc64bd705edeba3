//! Records waiting to be sent, in batches per partition, and the decision which batches go now.
//!
//! A core: it reads no clock and no socket, and does not wait. The sender asks [`Accumulator::ready`]
//! and [`Accumulator::drain`], and gives batches back with [`Accumulator::retry`] or
//! [`Accumulator::done`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Delivered;
use crate::cluster::{BrokerId, TopicPartition};
use crate::message::{Codec, SetBuilder};
use crate::util::clock::Mono;

/// The rules of batching, see the producer's settings of the same names.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) codec: Codec,
    pub(super) compressed_topics: Vec<String>,
    pub(super) batch_size: usize,
    pub(super) batch_messages: Option<usize>,
    pub(super) linger: Duration,
    pub(super) retry_backoff: Duration,
    pub(super) request_timeout: Duration,
    /// One request in flight per broker and retries: no batch may overtake another of its partition.
    pub(super) keep_order: bool,
}

impl Rules {
    /// How batches of a topic are compressed.
    fn codec_of(&self, topic: &str) -> Codec {
        if self.compressed_topics.is_empty() || self.compressed_topics.iter().any(|t| t == topic) {
            self.codec
        } else {
            Codec::None
        }
    }

    /// When the first batch of a queue has waited too long. A lingering batch is not waiting yet.
    fn expiry(&self, queue: &Queue) -> Option<Mono> {
        let batch = queue.batches.front().filter(|_| !queue.muted)?;
        let waits_since = if batch.attempts > 0 {
            batch.last_attempt
        } else if queue.batches.len() > 1 {
            batch.followed
        } else {
            batch.last_attempt + self.linger
        };
        Some(waits_since + self.request_timeout)
    }
}

/// Records of one partition that travel and succeed or fail together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) partition: TopicPartition,
    /// Rises within the producer: batches of one partition are sent in this order.
    pub(super) id: u64,
    pub(super) attempts: u32,
    /// Bytes to give back to the producer's memory.
    pub(super) reserved: usize,
    /// One for each record, in order.
    pub(super) deliveries: Vec<Delivered>,
    content: Content,
    last_attempt: Mono,
    /// When the next batch of its partition began.
    followed: Mono,
}

#[derive(Debug)]
enum Content {
    Open(SetBuilder),
    Closed(Bytes),
}

impl Batch {
    /// The message set as it goes on the wire; the batch takes no more records from then on.
    fn seal(&mut self) -> Bytes {
        match &mut self.content {
            Content::Closed(bytes) => bytes.clone(),
            Content::Open(set) => {
                let set = std::mem::replace(set, SetBuilder::new(Codec::None, 0));
                let bytes = set.finish();
                self.content = Content::Closed(bytes.clone());
                bytes
            }
        }
    }

    /// The message set of a drained batch.
    pub(super) fn bytes(&self) -> Bytes {
        match &self.content {
            Content::Closed(bytes) => bytes.clone(),
            Content::Open(_) => Bytes::new(),
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<Batch>,
    /// A batch of this partition is on its way and must not be overtaken.
    muted: bool,
}

/// The queues that hold something, or are muted, by topic and number.
///
/// They are looked up by the name alone: a counted name for each record would go back and forth between the processors of
/// who appends and who sends.
#[derive(Debug, Default)]
struct Queues(BTreeMap<Arc<str>, BTreeMap<i32, Queue>>);

impl Queues {
    fn iter(&self) -> impl Iterator<Item = &Queue> {
        self.0.values().flat_map(BTreeMap::values)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.0.values_mut().flat_map(BTreeMap::values_mut)
    }

    fn get_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Queue> {
        self.0.get_mut(topic)?.get_mut(&partition)
    }

    /// The partition's queue, made if need be.
    fn of(&mut self, at: &TopicPartition) -> &mut Queue {
        let topic = self.0.entry(at.topic.clone()).or_default();
        topic.entry(at.partition).or_default()
    }

    fn remove(&mut self, at: &TopicPartition) {
        if let Some(topic) = self.0.get_mut(&at.topic) {
            topic.remove(&at.partition);
            if topic.is_empty() {
                self.0.remove(&at.topic);
            }
        }
    }
}

/// What is to be done at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ready {
    /// Brokers for which something may go now.
    pub(super) brokers: BTreeSet<BrokerId>,
    /// When something else may, if nothing happens before.
    pub(super) next: Option<Mono>,
    /// Something waits for a partition without a known leader.
    pub(super) unknown_leaders: bool,
}

/// All batches of a producer that are not settled, but for those on their way.
#[derive(Debug)]
pub(super) struct Accumulator {
    rules: Rules,
    queues: Queues,
    /// Unsettled batches, on their way or not.
    unsettled: BTreeSet<u64>,
    next_id: u64,
    /// Everything up to this batch goes without lingering.
    flush_up_to: Option<u64>,
    closing: bool,
    /// A sender of records waits for memory: nothing lingers.
    exhausted: bool,
    /// Compressed size over plain size, as seen of late.
    ratio: f64,
    /// Where the next drain begins, so that no partition starves.
    turn: usize,
}

impl Accumulator {
    pub(super) fn new(rules: Rules) -> Accumulator {
        Accumulator {
            rules,
            queues: Queues::default(),
            unsettled: BTreeSet::new(),
            next_id: 0,
            flush_up_to: None,
            closing: false,
            exhausted: false,
            ratio: 1.0,
            turn: 0,
        }
    }

    /// Adds a record to the batch of its partition that takes more. Its `reserved` bytes were taken from the producer's
    /// memory. Returns whether the sender has something to do now, or if there is no such batch gives `delivered` back:
    /// then a batch must [begin](Accumulator::begin).
    pub(super) fn extend(
        &mut self,
        (topic, partition): (&str, i32),
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        reserved: usize,
        delivered: Delivered,
    ) -> Result<bool, Delivered> {
        let most = self.rules.batch_messages.unwrap_or(usize::MAX);
        let limit = self.plain_limit(self.rules.codec_of(topic));
        let queue = self.queues.get_mut(topic, partition);
        if let Some(batch) = queue.and_then(|q| q.batches.back_mut())
            && let Content::Open(set) = &mut batch.content
            && batch.deliveries.len() < most
            && set.append(key, value)
        {
            batch.deliveries.push(delivered);
            batch.reserved += reserved;
            return Ok(batch.deliveries.len() >= most || set.len() >= limit);
        }
        Err(delivered)
    }

    /// As [`Accumulator::extend`], in a new batch, of which the sender is to know.
    pub(super) fn begin(
        &mut self,
        now: Mono,
        (topic, partition): (&str, i32),
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        reserved: usize,
        delivered: Delivered,
    ) {
        let codec = self.rules.codec_of(topic);
        let partition = TopicPartition::new(topic, partition);
        let mut set = SetBuilder::new(codec, self.plain_limit(codec));
        // The first record always fits.
        let _ = set.append(key, value);
        let id = self.next_id;
        self.next_id += 1;
        self.unsettled.insert(id);
        let queue = self.queues.of(&partition);
        if let Some(before) = queue.batches.back_mut() {
            before.followed = now;
        }
        queue.batches.push_back(Batch {
            partition,
            id,
            attempts: 0,
            reserved,
            deliveries: vec![delivered],
            content: Content::Open(set),
            last_attempt: now,
            followed: now,
        });
    }

    /// How many bytes before compression are expected to become a full batch.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )] // an estimate
    fn plain_limit(&self, codec: Codec) -> usize {
        if codec == Codec::None {
            return self.rules.batch_size;
        }
        // Five percent are kept back, as Kafka's Compressor does, since the ratio is of the past.
        (self.rules.batch_size as f64 / (self.ratio * 1.05).clamp(0.02, 1.05)) as usize
    }

    /// What may be sent at `now`, given who leads.
    pub(super) fn ready(&self, now: Mono, leader: impl Fn(&TopicPartition) -> Option<BrokerId>) -> Ready {
        let mut ready = Ready::default();
        for queue in self.queues.iter() {
            let Some(batch) = queue.batches.front() else {
                continue;
            };
            let Some(broker) = leader(&batch.partition) else {
                ready.unknown_leaders = true;
                continue;
            };
            if queue.muted {
                continue;
            }
            let at = self.sendable_at(queue, batch);
            if at <= now {
                ready.brokers.insert(broker);
            } else {
                ready.next = Some(ready.next.map_or(at, |n| n.min(at)));
            }
        }
        ready
    }

    /// From when on a queue's first batch may go.
    fn sendable_at(&self, queue: &Queue, batch: &Batch) -> Mono {
        if batch.attempts > 0 {
            return batch.last_attempt + self.rules.retry_backoff;
        }
        let full = queue.batches.len() > 1
            || self
                .rules
                .batch_messages
                .is_some_and(|n| batch.deliveries.len() >= n)
            || match &batch.content {
                Content::Open(set) => {
                    let codec = self.rules.codec_of(&batch.partition.topic);
                    set.len() >= self.plain_limit(codec)
                }
                Content::Closed(_) => true,
            };
        let flushed = self.flush_up_to.is_some_and(|id| batch.id <= id);
        if full || flushed || self.closing || self.exhausted {
            Mono::default()
        } else {
            batch.last_attempt + self.rules.linger
        }
    }

    /// Takes batches for `broker`, at most one per partition and `max_bytes` together, but at least
    /// one if any may go.
    pub(super) fn drain(
        &mut self,
        now: Mono,
        broker: BrokerId,
        max_bytes: usize,
        leader: impl Fn(&TopicPartition) -> Option<BrokerId>,
    ) -> Vec<Batch> {
        let goes = |queue: &Queue, batch: &Batch| {
            !queue.muted && self.sendable_at(queue, batch) <= now && leader(&batch.partition) == Some(broker)
        };
        let first = |queue: &Queue| {
            let batch = queue.batches.front().filter(|batch| goes(queue, batch))?;
            Some(batch.partition.clone())
        };
        let mut partitions: Vec<TopicPartition> = self.queues.iter().filter_map(first).collect();
        if partitions.is_empty() {
            return Vec::new();
        }
        self.turn = self.turn.wrapping_add(1);
        let n = partitions.len();
        partitions.rotate_left(self.turn % n);
        let mut taken: Vec<Batch> = Vec::new();
        let mut bytes = 0;
        for partition in partitions {
            let Some(queue) = self.queues.get_mut(&partition.topic, partition.partition) else {
                continue;
            };
            let Some(batch) = queue.batches.front_mut() else {
                continue;
            };
            let plain = match &batch.content {
                Content::Open(set) => Some(set.len()),
                Content::Closed(_) => None,
            };
            let size = batch.seal().len();
            if let Some(plain) = plain {
                let codec = self.rules.codec_of(&partition.topic);
                self.ratio = learn(self.ratio, codec, plain, size);
            }
            if !taken.is_empty() && bytes + size > max_bytes {
                break;
            }
            bytes += size;
            queue.muted = self.rules.keep_order;
            if let Some(mut batch) = queue.batches.pop_front() {
                batch.last_attempt = now;
                taken.push(batch);
            }
        }
        taken
    }

    /// Puts a batch back that shall be sent again, before all that came after it.
    pub(super) fn retry(&mut self, now: Mono, mut batch: Batch) {
        batch.attempts += 1;
        batch.last_attempt = now;
        let queue = self.queues.of(&batch.partition);
        queue.muted = false;
        let at = queue.batches.partition_point(|b| b.id < batch.id);
        queue.batches.insert(at, batch);
    }

    /// Notes that a batch was delivered or given up.
    pub(super) fn done(&mut self, batch: &Batch) {
        self.unsettled.remove(&batch.id);
        let at = &batch.partition;
        if let Some(queue) = self.queues.get_mut(&at.topic, at.partition) {
            queue.muted = false;
            if queue.batches.is_empty() {
                self.queues.remove(at);
            }
        }
    }

    /// Takes out what has waited longer than the request timeout: batches that could not be sent
    /// because their leader is unknown or does not answer. The caller settles them.
    pub(super) fn expired(&mut self, now: Mono) -> Vec<Batch> {
        let mut out = Vec::new();
        for queue in self.queues.iter_mut() {
            while self.rules.expiry(queue).is_some_and(|at| at < now) {
                out.extend(queue.batches.pop_front());
            }
        }
        out
    }

    /// When the next batch expires, if it is not sent before.
    pub(super) fn next_expiry(&self) -> Option<Mono> {
        let first = self.queues.iter().filter_map(|q| self.rules.expiry(q)).min();
        first.map(|t| t + Duration::from_millis(1))
    }

    /// Everything appended so far goes without lingering. Returns the last batch's id, if any is
    /// unsettled.
    pub(super) fn flush(&mut self) -> Option<u64> {
        let last = self.unsettled.last().copied();
        self.flush_up_to = self.flush_up_to.max(last);
        last
    }

    /// Nothing lingers any more.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Whether somebody waits for memory.
    pub(super) fn set_exhausted(&mut self, exhausted: bool) {
        self.exhausted = exhausted;
    }

    /// Takes out everything that is not on its way.
    pub(super) fn abandon(&mut self) -> Vec<Batch> {
        let queues = std::mem::take(&mut self.queues).0.into_values();
        queues
            .flat_map(BTreeMap::into_values)
            .flat_map(|queue| queue.batches)
            .collect()
    }

    /// The first unsettled batch; batches before it are all settled.
    pub(super) fn first_unsettled(&self) -> Option<u64> {
        self.unsettled.first().copied()
    }
}

/// The compression ratio after one more batch: nine parts past, one part present.
#[allow(clippy::cast_precision_loss)] // an estimate
fn learn(ratio: f64, codec: Codec, plain: usize, compressed: usize) -> f64 {
    if codec == Codec::None || plain == 0 {
        return ratio;
    }
    0.9 * ratio + 0.1 * (compressed as f64 / plain as f64).min(1.0)
}

#[cfg(test)]
mod tests;
