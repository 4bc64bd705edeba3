//! Produce: append to the leader's logs, and with acks -1 wait for their in-sync replicas.

use std::sync::Arc;
use std::time::Duration;

use ::log::{debug, error};
use bytes::BytesMut;

use crate::cluster::{TopicPartition, topic};
use crate::log::Appended;
use crate::util::blocking;

use super::delayed::Replicated;
use super::error::{AfterAppend, Error, Result};
use super::manager::ReplicaManager;
use super::partition::Partition;
use super::purgatory::wait_until;

/// One partition's append, while acks -1 is waited for.
struct Waits {
    partition: Arc<Partition>,
    /// Its place among the results.
    at: usize,
    appended: Appended,
    state: Replicated,
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
        let mut waits = Vec::new();
        let mut results = Vec::with_capacity(sets.len());
        for (id, set) in sets {
            let done = blocking::in_place(|| self.append_one(acks, &id, set, allow_internal));
            if let Ok((partition, appended)) = &done
                && acks == -1
                && appended.messages > 0
            {
                waits.push(Waits {
                    partition: partition.clone(),
                    at: results.len(),
                    appended: *appended,
                    state: Replicated::NotYet,
                });
            }
            results.push((id, done.map(|(_, appended)| appended)));
        }
        if !waits.is_empty() {
            self.await_replicas(&mut waits, timeout).await;
            for wait in waits {
                let cause = match wait.state {
                    Replicated::Yes => continue,
                    Replicated::NotYet => AfterAppend::TimedOut,
                    Replicated::Failed(cause) => cause,
                };
                results[wait.at].1 = Err(Error::AfterAppend {
                    base: wait.appended.first,
                    cause,
                });
            }
        }
        results
    }

    fn append_one(
        &self,
        acks: i16,
        id: &TopicPartition,
        set: BytesMut,
        allow_internal: bool,
    ) -> Result<(Arc<Partition>, Appended)> {
        let attempt = || {
            if !(-1..=1).contains(&acks) {
                return Err(Error::InvalidAcks(acks));
            }
            if &*id.topic == topic::OFFSETS_TOPIC && !allow_internal {
                return Err(Error::InternalTopic(id.clone()));
            }
            let partition = self.need(id)?;
            let appended = partition.append(set, acks, self.clock.wall())?;
            Ok((partition, appended))
        };
        attempt().inspect_err(|e| match e {
            e if e.is_storage() => {
                self.fatal.halt(&format!(
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

    async fn await_replicas(&self, waits: &mut [Waits], timeout: Duration) {
        let partitions: Vec<_> = waits.iter().map(|w| w.partition.clone()).collect();
        let lists = partitions.iter().map(|p| &p.writers).collect();
        let deadline = self.clock.now() + timeout;
        wait_until(lists, &self.clock, deadline, || {
            for wait in waits.iter_mut().filter(|w| w.state == Replicated::NotYet) {
                wait.state = wait.partition.replicated(wait.appended.last);
            }
            waits.iter().all(|w| w.state != Replicated::NotYet)
        })
        .await;
    }
}
