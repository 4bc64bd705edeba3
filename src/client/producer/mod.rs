//! Sending records: batched per partition, in order, with bounded memory.
//!
//! [`Producer::send`] picks the partition ([`partitioner`]) and puts the record into a batch
//! (`accumulator`, a core without clock and socket). One task (`sender`) drains batches into one
//! `lane` per broker and settles them by the answers; another keeps the metadata fresh.
//!
//! ```
//! use kafka::client::{HostPort, Producer, ProducerSettings, Record};
//! use kafka::dev::{DevCluster, DevSettings};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = DevCluster::start(DevSettings {
//!     port: 0,
//!     zookeeper_port: 0,
//!     topics: vec![("orders".to_owned(), 3)],
//!     ..DevSettings::default()
//! })
//! .await?;
//! let producer = Producer::start(ProducerSettings {
//!     bootstrap: HostPort::parse_list(cluster.bootstrap_servers())?,
//!     acks: -1,
//!     ..ProducerSettings::default()
//! });
//!
//! let record = |key: &'static str, value: &'static str| Record {
//!     topic: "orders".into(),
//!     key: Some(key.into()),
//!     value: Some(value.into()),
//!     ..Record::default()
//! };
//! // One after the other: wait for each.
//! let first = producer.send(record("anna", "ten apples")).await?.await?;
//! // Or go on, and be told later.
//! let (tell, told) = tokio::sync::oneshot::channel();
//! let callback = move |result| {
//!     let _ = tell.send(result);
//! };
//! producer
//!     .send_then(record("anna", "a pear"), Box::new(callback))
//!     .await?;
//! producer.flush().await;
//! let second = told.await??;
//! assert_eq!(second.partition, first.partition, "they have the same key");
//! assert_eq!((first.offset, second.offset), (0, 1));
//!
//! producer.close(None).await;
//! cluster.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! With acks=0 nobody answers, so the first batches of a partition on a connection ask for an answer
//! all the same, and a connection is closed only after the broker has confirmed that it read all.

mod accumulator;
mod lane;
pub mod partitioner;
mod record;
mod sender;
mod settings;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

use self::accumulator::{Accumulator, Rules};
use self::partitioner::{Partitions, RoundRobin, Sticky};
use self::record::Delivered;
pub use self::record::{Ack, Callback, Delivery, Error, Listener, Record};
use self::sender::Sender;
pub use self::settings::{Partitioning, ProducerSettings, RecordQueue};
use super::broker_client::BrokerClient;
use super::connection::ConnectionSettings;
use super::metadata::Metadata;
use crate::message::builder::entry_size;
use crate::protocol::ErrorCode;
use crate::util::clock::Mono;
use crate::util::shutdown::Shutdown;

/// What callers and the producer's tasks have in common.
#[derive(Debug)]
struct Shared {
    settings: ProducerSettings,
    accumulator: Mutex<Accumulator>,
    partitioner: Mutex<Partitioner>,
    /// Bytes that may still be buffered.
    memory: Semaphore,
    /// Records that may still be taken, if they are counted.
    places: Option<Semaphore>,
    waiting_for_memory: AtomicUsize,
    topics: Mutex<BTreeSet<String>>,
    metadata: watch::Sender<Arc<Metadata>>,
    want_metadata: Notify,
    /// Wakes the sender.
    wake: Notify,
    /// The first unsettled batch; the greatest number when there is none.
    settled: watch::Sender<u64>,
    closed: AtomicBool,
    listener: Told,
}

/// Who is told of records with a number.
struct Told(Option<Listener>);

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Told").field(&self.0.is_some()).finish()
    }
}

#[derive(Debug)]
enum Partitioner {
    RoundRobin(RoundRobin),
    Sticky(Sticky),
}

impl Shared {
    fn accumulator(&self) -> MutexGuard<'_, Accumulator> {
        self.accumulator
            .lock()
            .expect("no code panics while holding this lock")
    }

    fn topics(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.topics
            .lock()
            .expect("no code panics while holding this lock")
    }

    fn partitioner(&self) -> MutexGuard<'_, Partitioner> {
        self.partitioner
            .lock()
            .expect("no code panics while holding this lock")
    }

    fn give_back(&self, records: usize, bytes: usize) {
        self.memory.add_permits(bytes);
        if let Some(places) = &self.places {
            places.add_permits(records);
        }
    }

    fn forget_partitions(&self) {
        if let Partitioner::Sticky(p) = &mut *self.partitioner() {
            p.forget();
        }
    }
}

/// A producer; share it by reference or `Arc`. Dropping it cuts off what is not delivered,
/// [`Producer::close`] delivers it.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    stop: Shutdown,
    tasks: Mutex<Option<Tasks>>,
}

#[derive(Debug)]
struct Tasks {
    sender: JoinHandle<()>,
    refresher: JoinHandle<()>,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.sender.abort();
        self.refresher.abort();
    }
}

impl Producer {
    /// Starts the producer's tasks; connects only when there is something to send. Must be called
    /// within a tokio runtime.
    pub fn start(settings: ProducerSettings) -> Producer {
        Producer::start_told(settings, None)
    }

    /// As [`Producer::start`]; `listener` is told of the records that are sent with a number.
    pub fn start_with_listener(settings: ProducerSettings, listener: Listener) -> Producer {
        Producer::start_told(settings, Some(listener))
    }

    fn start_told(settings: ProducerSettings, listener: Option<Listener>) -> Producer {
        let connections = ConnectionSettings {
            client_id: settings.client_id.clone(),
            request_timeout: settings.request_timeout,
            connect_timeout: settings.request_timeout,
            send_buffer_bytes: settings.send_buffer_bytes,
            receive_buffer_bytes: settings.receive_buffer_bytes,
            clock: settings.clock.clone(),
            ..ConnectionSettings::default()
        };
        let client = Arc::new(BrokerClient::new(
            settings.bootstrap.clone(),
            connections,
            settings.reconnect_backoff,
        ));
        let rules = Rules {
            codec: settings.codec,
            compressed_topics: settings.compressed_topics.clone(),
            batch_size: settings.batch_size,
            batch_messages: settings.batch_messages,
            linger: settings.linger,
            retry_backoff: settings.retry_backoff,
            request_timeout: settings.request_timeout,
            keep_order: settings.max_in_flight == 1,
        };
        let shared = Arc::new(Shared {
            accumulator: Mutex::new(Accumulator::new(rules)),
            partitioner: Mutex::new(match settings.partitioning {
                Partitioning::RoundRobin => Partitioner::RoundRobin(RoundRobin::default()),
                Partitioning::Sticky => Partitioner::Sticky(Sticky::default()),
            }),
            memory: Semaphore::new(settings.buffer_memory.min(Semaphore::MAX_PERMITS)),
            places: settings.queue.map(|q| Semaphore::new(q.records)),
            waiting_for_memory: AtomicUsize::new(0),
            topics: Mutex::default(),
            metadata: watch::channel(Arc::default()).0,
            want_metadata: Notify::new(),
            wake: Notify::new(),
            settled: watch::channel(u64::MAX).0,
            closed: AtomicBool::new(false),
            listener: Told(listener),
            settings,
        });
        let stop = Shutdown::new();
        let sender = Sender::new(shared.clone(), client.clone());
        let tasks = Tasks {
            sender: tokio::spawn(sender.run(stop.stop())),
            refresher: tokio::spawn(sender::refresh_metadata(shared.clone(), client, stop.stop())),
        };
        Producer {
            shared,
            stop,
            tasks: Mutex::new(Some(tasks)),
        }
    }

    /// Puts the record into a batch, waiting at most `max.block.ms` for the topic's metadata and for
    /// memory, and returns a future of its delivery, which need not be polled.
    ///
    /// Records of one partition are sent in the order of their sends.
    pub async fn send(&self, record: Record) -> Result<Delivery, Error> {
        let (sender, receiver) = oneshot::channel();
        self.enqueue(record, Delivered::Future(sender)).await?;
        Ok(Delivery(receiver))
    }

    /// As [`Producer::send`]; `callback` is told the end on the producer's own task and must be short.
    /// It is not told of an error that this call returns.
    pub async fn send_then(&self, record: Record, callback: Callback) -> Result<(), Error> {
        self.enqueue(record, Delivered::Callback(callback)).await
    }

    /// As [`Producer::send`]; the producer's listener is told the end together with `number`, whatever that means
    /// to it. Nothing is allocated for that, and without a listener nobody is told. It is not told of an error
    /// that this call returns.
    pub async fn send_numbered(&self, record: Record, number: u64) -> Result<(), Error> {
        self.enqueue(record, Delivered::Number(number)).await
    }

    async fn enqueue(&self, record: Record, delivered: Delivered) -> Result<(), Error> {
        let shared = &self.shared;
        let settings = &shared.settings;
        // The clock is read where something waits or begins, not for each record.
        let mut deadline = None;
        let mut deadline = || *deadline.get_or_insert_with(|| settings.clock.now() + settings.max_block);
        let size = entry_size(record.key.as_deref(), record.value.as_deref());
        let partition = match self.known_partition(&record)? {
            Some(partition) => partition,
            None => self.partition_of(&record, deadline()).await?,
        };
        if size > settings.max_request_size {
            return Err(Error::TooLarge {
                size,
                what: "maximum request size",
                key: "max.request.size",
            });
        }
        if size > settings.buffer_memory {
            return Err(Error::TooLarge {
                size,
                what: "total memory buffer",
                key: "buffer.memory",
            });
        }
        if shared.places.is_some() {
            self.take_place().await?;
        }
        if !self.take_free_memory(size)
            && let Err(e) = self.take_memory(size, deadline()).await
        {
            shared.give_back(1, 0);
            return Err(e);
        }
        let wake = {
            let mut accumulator = shared.accumulator();
            // Under the lock, so that nothing is appended once close has looked.
            if shared.closed.load(Ordering::Relaxed) {
                drop(accumulator);
                shared.give_back(1, size);
                return Err(Error::Closed);
            }
            let place = (&*record.topic, partition);
            let content = (record.key.as_deref(), record.value.as_deref());
            match accumulator.extend(place, content, size, delivered) {
                Ok(full) => full,
                Err(delivered) => {
                    accumulator.begin(settings.clock.now(), place, content, size, delivered);
                    let first = accumulator.first_unsettled().unwrap_or(u64::MAX);
                    shared.settled.send_replace(first);
                    true
                }
            }
        };
        if wake {
            shared.wake.notify_one();
        }
        Ok(())
    }

    /// The record's partition, if it can be told at once, as it nearly always can.
    fn known_partition(&self, record: &Record) -> Result<Option<i32>, Error> {
        let shared = &self.shared;
        if shared.closed.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        self.choose(record, &shared.metadata.borrow())
    }

    async fn partition_of(&self, record: &Record, deadline: Mono) -> Result<i32, Error> {
        let shared = &self.shared;
        let mut changed = shared.metadata.subscribe();
        loop {
            if shared.closed.load(Ordering::Relaxed) {
                return Err(Error::Closed);
            }
            let metadata = changed.borrow_and_update().clone();
            if let Some(partition) = self.choose(record, &metadata)? {
                return Ok(partition);
            }
            if let Some(topic) = metadata.topics.get(&*record.topic)
                && let ErrorCode::TOPIC_AUTHORIZATION_FAILED | ErrorCode::INVALID_TOPIC_EXCEPTION =
                    topic.error
            {
                return Err(Error::Broker(topic.error));
            }
            shared.topics().insert(record.topic.to_string());
            shared.want_metadata.notify_one();
            tokio::select! {
                _ = changed.changed() => {}
                () = shared.settings.clock.sleep_until(deadline) => {
                    return Err(Error::Metadata { waited: shared.settings.max_block });
                }
            }
        }
    }

    /// The record's partition, or `None` while that cannot be told.
    fn choose(&self, record: &Record, metadata: &Metadata) -> Result<Option<i32>, Error> {
        let Some(topic) = metadata.topics.get(&*record.topic) else {
            return Ok(None);
        };
        let count = topic.count();
        if count == 0 {
            return Ok(None);
        }
        if let Some(partition) = record.partition {
            if !(0..count).contains(&partition) {
                return Err(Error::NoSuchPartition { partition, count });
            }
            return Ok(Some(partition));
        }
        let partitions = Partitions {
            count,
            available: &topic.available,
        };
        Ok(match &mut *self.shared.partitioner() {
            Partitioner::RoundRobin(p) => Some(p.choose(record.key.as_deref(), partitions)),
            Partitioner::Sticky(p) => p.choose(&record.topic, record.key.as_deref(), partitions),
        })
    }

    async fn take_place(&self) -> Result<(), Error> {
        let shared = &self.shared;
        let (Some(places), Some(queue)) = (&shared.places, shared.settings.queue) else {
            return Ok(());
        };
        if let Ok(permit) = places.try_acquire() {
            permit.forget();
            return Ok(());
        }
        let clock = &shared.settings.clock;
        let deadline = queue.patience.map(|p| clock.now() + p);
        tokio::select! {
            permit = places.acquire() => {
                permit.map_err(|_| Error::Closed)?.forget();
                Ok(())
            }
            () = clock.sleep_until_some(deadline) => Err(Error::QueueFull),
        }
    }

    /// Takes memory if there is as much; says whether there was.
    fn take_free_memory(&self, size: usize) -> bool {
        let n = u32::try_from(size).unwrap_or(u32::MAX);
        let permit = self.shared.memory.try_acquire_many(n);
        permit.map(|p| p.forget()).is_ok()
    }

    async fn take_memory(&self, size: usize, deadline: Mono) -> Result<(), Error> {
        let shared = &self.shared;
        let n = u32::try_from(size).unwrap_or(u32::MAX);
        shared.waiting_for_memory.fetch_add(1, Ordering::Relaxed);
        shared.accumulator().set_exhausted(true);
        shared.wake.notify_one();
        let taken = tokio::select! {
            permit = shared.memory.acquire_many(n) => match permit {
                Ok(permit) => { permit.forget(); Ok(()) }
                Err(_) => Err(Error::Closed),
            },
            () = shared.settings.clock.sleep_until(deadline) => Err(Error::Memory),
        };
        if shared.waiting_for_memory.fetch_sub(1, Ordering::Relaxed) == 1 {
            shared.accumulator().set_exhausted(false);
        }
        taken
    }

    /// Sends everything appended before without lingering, and returns when all of it is settled:
    /// delivered or failed.
    pub async fn flush(&self) {
        let last = self.shared.accumulator().flush();
        self.shared.wake.notify_one();
        if let Some(last) = last {
            let mut settled = self.shared.settled.subscribe();
            let _ = settled.wait_for(|first| *first > last).await;
        }
    }

    /// Takes no more records, delivers those there are and ends the producer's tasks. What is not
    /// settled after `timeout` (`None` waits as long as it takes) fails with [`Error::Forced`].
    pub async fn close(&self, timeout: Option<Duration>) {
        let shared = &self.shared;
        let clock = &shared.settings.clock;
        let deadline = timeout.map(|t| clock.now() + t);
        shared.closed.store(true, Ordering::Relaxed);
        shared.memory.close();
        if let Some(places) = &shared.places {
            places.close();
        }
        shared.accumulator().close();
        shared.wake.notify_one();
        let mut settled = shared.settled.subscribe();
        tokio::select! {
            _ = settled.wait_for(|first| *first == u64::MAX) => {}
            () = clock.sleep_until_some(deadline) => {
                let abandoned = shared.accumulator().abandon();
                for batch in abandoned {
                    shared.settle(batch, |_| Err(Error::Forced));
                }
            }
        }
        self.stop.ask();
        let tasks = self
            .tasks
            .lock()
            .expect("no code panics while holding this lock")
            .take();
        let Some(mut tasks) = tasks else { return };
        tokio::select! {
            _ = async { (&mut tasks.sender).await.is_ok() && (&mut tasks.refresher).await.is_ok() } => {}
            // What is in flight is cut off when the tasks are dropped.
            () = clock.sleep_until_some(deadline) => {}
        }
    }
}

#[cfg(test)]
mod tests;
