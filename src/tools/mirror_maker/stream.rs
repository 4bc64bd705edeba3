//! Copying by one consumer: read, send, and from time to time wait for the acknowledgements and commit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ::log::{info, warn};

use super::{LOGGER, Target};
use crate::client::consumer::{self, Consumer, Listening, Offsets, RebalanceListener};
use crate::client::old_consumer::{self, Held, OldConsumer, OldConsumerSettings, Stream, Subscription};
use crate::client::producer::Record;
use crate::client::topic_filter::TopicFilter;
use crate::cluster::TopicPartition;
use crate::message::Offset;
use crate::util::clock::{Clock, Mono};
use crate::util::shutdown::Stop;

/// How long the new consumer waits for records before it looks whether to commit.
const POLL: Duration = Duration::from_secs(1);

/// How a stream ended.
pub(super) enum Ended {
    /// It was told to, or a record could not be sent.
    Stopped,
    /// Its consumer cannot go on.
    Failed(String),
}

/// Offsets behind what was given to the producer and is not committed yet, as the consumer writes them.
#[derive(Clone, Default)]
pub(super) struct Sent<T>(Arc<Mutex<T>>);

/// The old consumer's.
type OldOffsets = BTreeMap<TopicPartition, Offset>;

impl<T> Sent<T> {
    fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("no code panics while holding this lock")
    }
}

/// Where one stream's messages come from.
pub(super) enum Source {
    Old {
        consumer: OldConsumer,
        stream: Box<Stream>,
        sent: Sent<OldOffsets>,
    },
    New {
        consumer: Box<Consumer>,
        sent: Sent<Offsets>,
    },
}

impl Source {
    /// The old consumer, started, which commits to `target`'s acknowledgements before it gives partitions up.
    pub(super) async fn old(
        settings: OldConsumerSettings,
        filter: TopicFilter,
        target: Arc<Target>,
    ) -> Result<Source, String> {
        let sent = Sent::default();
        let before = CommitBefore {
            target,
            sent: sent.clone(),
        };
        let started = OldConsumer::start_with(settings, Subscription::Filter(filter, 1), before).await;
        let (consumer, mut streams) = started.map_err(|e| e.to_string())?;
        let stream = Box::new(streams.pop().ok_or("the consumer has no stream")?);
        Ok(Source::Old {
            consumer,
            stream,
            sent,
        })
    }

    /// The new consumer, which commits to `target`'s acknowledgements before it gives partitions up.
    pub(super) fn new(mut consumer: Consumer, pattern: &str, target: Arc<Target>) -> Result<Source, String> {
        let sent = Sent::default();
        let before = CommitBefore {
            target,
            sent: sent.clone(),
        };
        consumer
            .subscribe_pattern_with(pattern, before)
            .map_err(|e| e.to_string())?;
        let consumer = Box::new(consumer);
        Ok(Source::New { consumer, sent })
    }

    /// Copies until told to stop, then commits what is acknowledged and leaves the group.
    pub(super) async fn copy(self, target: &Arc<Target>, stop: Stop) -> Ended {
        let ended = match self {
            Source::Old {
                consumer,
                mut stream,
                sent,
            } => {
                let ended = copy_old(&consumer, &mut stream, &sent, target, stop).await;
                info!(target: LOGGER, "Flushing producer.");
                if target.flush().await {
                    info!(target: LOGGER, "Committing consumer offsets.");
                    commit_old(&consumer).await;
                }
                consumer.close().await;
                ended
            }
            Source::New { mut consumer, sent } => {
                let ended = copy_new(&mut consumer, &sent, target, stop).await;
                info!(target: LOGGER, "Flushing producer.");
                if target.flush().await {
                    info!(target: LOGGER, "Committing consumer offsets.");
                    commit_new(&mut consumer, &sent).await;
                }
                // What fails is logged.
                let _ = consumer.close().await;
                ended
            }
        };
        info!(target: LOGGER, "Shutting down consumer connectors.");
        ended
    }
}

/// When the next commit is due.
struct Pace {
    clock: Clock,
    interval: Duration,
    last: Mono,
}

impl Pace {
    fn new(target: &Target) -> Pace {
        let clock = Clock::system();
        Pace {
            interval: target.commit_interval,
            last: clock.now(),
            clock,
        }
    }

    fn is_due(&self) -> bool {
        self.clock.now().since(self.last) > self.interval
    }

    fn done(&mut self) {
        self.last = self.clock.now();
    }
}

async fn copy_old(
    consumer: &OldConsumer,
    stream: &mut Stream,
    sent: &Sent<OldOffsets>,
    target: &Arc<Target>,
    mut stop: Stop,
) -> Ended {
    let mut failed = target.failed.stop();
    let mut pace = Pace::new(target);
    loop {
        let next = tokio::select! {
            biased;
            () = stop.wait() => return Ended::Stopped,
            () = failed.wait() => return Ended::Stopped,
            next = stream.next() => next,
        };
        match next {
            Ok(Some(consumed)) => {
                let partition = TopicPartition::new(consumed.topic.clone(), consumed.partition);
                let record = Record {
                    topic: consumed.topic,
                    partition: None,
                    key: consumed.message.key,
                    value: consumed.message.value,
                };
                // Not to be cut short: it counts as consumed.
                tokio::select! {
                    () = target.send(record) => {}
                    () = failed.wait() => return Ended::Stopped,
                }
                sent.lock().insert(partition, consumed.message.offset + 1);
            }
            Ok(None) => return Ended::Failed("the consumer is closed".to_owned()),
            Err(old_consumer::Error::Timeout) => {}
            Err(e) => return Ended::Failed(e.to_string()),
        }
        if pace.is_due() {
            if target.flush().await {
                commit_old(consumer).await;
            }
            pace.done();
        }
    }
}

async fn commit_old(consumer: &OldConsumer) {
    if let Err(e) = consumer.commit().await {
        warn!(target: LOGGER, "Offsets could not be committed: {e}");
    }
}

async fn copy_new(
    consumer: &mut Consumer,
    sent: &Sent<Offsets>,
    target: &Arc<Target>,
    mut stop: Stop,
) -> Ended {
    let mut failed = target.failed.stop();
    let mut pace = Pace::new(target);
    loop {
        let records = tokio::select! {
            biased;
            () = stop.wait() => return Ended::Stopped,
            () = failed.wait() => return Ended::Stopped,
            polled = consumer.poll(POLL) => match polled {
                Ok(records) => records,
                Err(e) => return Ended::Failed(e.to_string()),
            },
        };
        for record in records {
            let copy = Record {
                topic: record.partition.topic.clone(),
                partition: None,
                key: record.key,
                value: record.value,
            };
            tokio::select! {
                biased;
                () = failed.wait() => return Ended::Stopped,
                () = stop.wait() => return Ended::Stopped,
                () = target.send(copy) => {}
            }
            sent.lock().insert(record.partition, (record.offset + 1).into());
        }
        if pace.is_due() {
            if target.flush().await {
                commit_new(consumer, sent).await;
            }
            pace.done();
        }
    }
}

/// Commits what was sent; every record of it is acknowledged.
async fn commit_new(consumer: &mut Consumer, sent: &Sent<Offsets>) {
    let offsets = sent.lock().clone();
    match consumer.commit_sync_offsets(offsets).await {
        Ok(()) => sent.lock().clear(),
        Err(e) => warn!(target: LOGGER, "Offsets could not be committed: {e}"),
    }
}

/// Commits before partitions are given up, so that the next member begins behind what was copied.
struct CommitBefore<T> {
    target: Arc<Target>,
    sent: Sent<T>,
}

impl RebalanceListener for CommitBefore<Offsets> {
    fn on_partitions_revoked<'a>(
        &'a mut self,
        consumer: &'a mut Consumer,
        _: &'a [TopicPartition],
    ) -> Listening<'a> {
        Box::pin(async move {
            if self.target.flush().await {
                commit_new(consumer, &self.sent).await;
            }
            // Others decide from here on.
            self.sent.lock().clear();
            Ok::<(), consumer::Error>(())
        })
    }
}

impl old_consumer::RebalanceListener for CommitBefore<OldOffsets> {
    fn before_releasing_partitions<'a>(&'a mut self, held: Held<'a>) -> old_consumer::Listening<'a> {
        Box::pin(async move {
            // Not what it handed out: a message may be on its way to the producer at this moment.
            let sent = self.sent.lock().clone();
            if self.target.flush().await {
                let owned = held.partitions();
                let offsets = sent.into_iter().filter(|(p, _)| owned.contains(p)).collect();
                if let Err(e) = held.commit_offsets(&offsets).await {
                    warn!(target: LOGGER, "Offsets could not be committed: {e}");
                }
            }
            Ok(())
        })
    }

    fn before_starting_fetchers<'a>(
        &'a mut self,
        _: &'a str,
        _: &'a old_consumer::Assignment,
    ) -> old_consumer::Listening<'a> {
        // What was sent of partitions that had other owners meanwhile is theirs to tell.
        self.sent.lock().clear();
        Box::pin(async { Ok(()) })
    }
}
