//! Produce: append to the leader's logs, and with acks -1 wait for their in-sync replicas.

use std::sync::Arc;
use std::time::Duration;

use ::log::{debug, error};
use bytes::BytesMut;

use crate::cluster::{TopicPartition, topic};
use crate::log::{self, Appended};
use crate::util::blocking;

use super::delayed::Replicated;
use super::error::{AfterAppend, Error, Result};
use super::manager::ReplicaManager;
use super::partition::Partition;
use super::purgatory::wait_until;

/// A set that stands in the leader's log, and what its writer still waits for.
#[derive(Debug)]
pub struct LocalAppend {
    partition: Arc<Partition>,
    appended: Appended,
    state: Replicated,
}

impl LocalAppend {
    /// What there is to say by now: nothing while in-sync replicas lack it; at once for acks 0 and 1.
    ///
    /// # Errors
    /// [`Error::AfterAppend`]
    pub fn outcome(&self) -> Option<Result<Appended>> {
        let cause = match self.state {
            Replicated::NotYet => return None,
            Replicated::Yes => return Some(Ok(self.appended)),
            Replicated::Failed(cause) => cause,
        };
        Some(Err(self.failed(cause)))
    }

    fn look(&mut self) {
        if self.state == Replicated::NotYet {
            self.state = self.partition.replicated(self.appended.last);
        }
    }

    /// What there is to say when nobody waits any more.
    fn last_word(&self) -> Result<Appended> {
        self.outcome()
            .unwrap_or_else(|| Err(self.failed(AfterAppend::TimedOut)))
    }

    fn failed(&self, cause: AfterAppend) -> Error {
        Error::AfterAppend {
            base: self.appended.first,
            cause,
        }
    }
}

impl ReplicaManager {
    /// Appends to each partition on its own; answers in the order of `sets`.
    ///
    /// Acks 0 and 1 answer after the local append; -1 after all in-sync replicas have it, at most
    /// `timeout` later. Only with `allow_internal` is the offsets topic written to.
    pub async fn append(
        &self,
        acks: i16,
        timeout: Duration,
        sets: Vec<(TopicPartition, BytesMut)>,
        allow_internal: bool,
    ) -> Vec<(TopicPartition, Result<Appended>)> {
        let mut appends = Vec::with_capacity(sets.len());
        for (id, set) in sets {
            let done = self.append_one(acks, &id, set, allow_internal);
            appends.push((id, done));
        }
        let waits = appends.iter_mut().filter_map(|(_, done)| done.as_mut().ok());
        self.await_replicas(waits.collect(), timeout).await;
        appends
            .into_iter()
            .map(|(id, done)| (id, done.and_then(|append| append.last_word())))
            .collect()
    }

    /// Appends one set to the log that this broker leads, the offsets topic's too, and waits for nobody.
    ///
    /// # Errors
    /// [`Error::InvalidAcks`], [`Error::UnknownPartition`], [`Error::NotLeader`];
    /// [`Error::NotEnoughReplicas`] for acks -1; what the log refuses.
    pub fn append_local(&self, acks: i16, id: &TopicPartition, set: BytesMut) -> Result<LocalAppend> {
        self.append_one(acks, id, set, true)
    }

    fn append_one(
        &self,
        acks: i16,
        id: &TopicPartition,
        set: BytesMut,
        allow_internal: bool,
    ) -> Result<LocalAppend> {
        let attempt = || {
            if !(-1..=1).contains(&acks) {
                return Err(Error::InvalidAcks(acks));
            }
            if &*id.topic == topic::OFFSETS_TOPIC && !allow_internal {
                return Err(Error::InternalTopic(id.clone()));
            }
            let partition = self.need(id)?;
            let appended = self.append_counted(&partition, set, acks)?;
            let mut append = LocalAppend {
                partition,
                appended,
                state: Replicated::Yes,
            };
            if acks == -1 && appended.messages > 0 {
                append.state = Replicated::NotYet;
                append.look();
            }
            Ok(append)
        };
        attempt().inspect_err(|e| match e {
            e if e.is_storage() => {
                self.disk_failed(&format!(
                    "Halting due to unrecoverable I/O error while handling produce request: {e}"
                ));
            }
            Error::Log(e) => error!(
                "[Replica Manager on Broker {}]: Error processing append operation on partition {id}: {e}",
                self.settings.id
            ),
            e => debug!("Produce to partition {id} is refused: {e}"),
        })
    }

    /// Appends, and counts what came of it.
    fn append_counted(&self, partition: &Partition, set: BytesMut, acks: i16) -> Result<Appended> {
        let (meters, now, bytes) = (&partition.meters, self.clock.now(), set.len() as u64);
        meters.each(|m| m.produce(now));
        let result = blocking::in_place(|| partition.append(set, acks, self.clock.wall()));
        match &result {
            Ok(appended) => meters.each(|m| m.appended(now, appended.messages, bytes)),
            Err(Error::NotLeader(_)) => {}
            Err(Error::Log(log::Error::TooLarge { .. } | log::Error::SetTooLarge { .. })) => {
                meters.each(|m| m.rejected(now, bytes));
            }
            Err(_) => meters.each(|m| m.produce_failed(now)),
        }
        result
    }

    /// Returns when the in-sync replicas have it, or will not have it, or `timeout` has passed.
    ///
    /// # Errors
    /// [`Error::AfterAppend`]
    pub async fn replicated(&self, mut append: LocalAppend, timeout: Duration) -> Result<Appended> {
        self.await_replicas(vec![&mut append], timeout).await;
        append.last_word()
    }

    async fn await_replicas(&self, mut waits: Vec<&mut LocalAppend>, timeout: Duration) {
        waits.retain(|w| w.state == Replicated::NotYet);
        if waits.is_empty() {
            return;
        }
        let partitions: Vec<_> = waits.iter().map(|w| w.partition.clone()).collect();
        let lists = partitions.iter().map(|p| &p.writers).collect();
        let deadline = self.clock.now() + timeout;
        let done = wait_until(lists, &self.clock, deadline, || {
            waits.iter_mut().for_each(|w| w.look());
            waits.iter().all(|w| w.state != Replicated::NotYet)
        })
        .await;
        if !done {
            let late = waits.iter().filter(|w| w.state == Replicated::NotYet).count();
            self.expiries.produces.mark(self.clock.now(), late as u64);
        }
    }
}
