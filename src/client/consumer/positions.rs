//! Committing, and where the consumer stands.

use ::log::debug;
use tokio::sync::oneshot;

use super::calls::bounded;
use super::commits::{CommitCallback, Offsets, Told};
use super::drive::{Asker, Effort};
use super::subscription::{End, OffsetAndMetadata};
use super::{Consumer, Error, Result};
use crate::cluster::TopicPartition;
use crate::message::Offset;
use crate::protocol::ErrorCode;
use crate::util::clock::Mono;

impl Consumer {
    /// Commits the positions of all partitions, and waits for it.
    ///
    /// # Errors
    /// As [`Consumer::commit_sync_offsets`].
    pub async fn commit_sync(&mut self) -> Result<()> {
        let consumed = self.subscription.consumed();
        self.commit_sync_offsets(consumed).await
    }

    /// Commits these offsets, each that of the next record to be read, and waits for it; tries again as long
    /// as that may help.
    ///
    /// # Errors
    /// [`Error::CommitFailed`] if the group has moved on without this member; [`Error::Broker`] for other
    /// refusals, without a group for one; [`Error::GroupAuthorization`], [`Error::TopicAuthorization`];
    /// [`Error::Argument`] for a note that is too long; [`Error::Wakeup`].
    pub async fn commit_sync_offsets(&mut self, offsets: Offsets) -> Result<()> {
        self.commit_until(offsets, None).await
    }

    pub(super) async fn commit_until(&mut self, offsets: Offsets, deadline: Option<Mono>) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        self.check_offsets(&offsets)?;
        loop {
            self.coordinator_known(deadline, "committing").await?;
            let (told, answer) = oneshot::channel();
            self.send_commit(offsets.clone(), Told::Waiter(told));
            let done = self.during(Effort::Idle, deadline, answer).await?;
            match done.ok_or_else(|| self.timed_out("committing"))? {
                Ok(Err(e)) if e.is_retriable() => {
                    debug!("A commit is tried again: {e}");
                    self.pause_before_retry(deadline, "committing").await?;
                }
                Ok(end) => return end,
                // The waiter is told or dropped with the consumer only.
                Err(_) => return Err(Error::State("the consumer is closed")),
            }
        }
    }

    /// Commits the positions of all partitions without waiting: `callback` is told the end within a later
    /// call, or at once if the commit cannot be sent.
    pub fn commit_async(&mut self, callback: CommitCallback) {
        let consumed = self.subscription.consumed();
        self.commit_async_offsets(consumed, callback);
    }

    /// As [`Consumer::commit_async`], of these offsets. Commits reach the coordinator in the order of their
    /// calls; none is tried again.
    pub fn commit_async_offsets(&mut self, offsets: Offsets, callback: CommitCallback) {
        if offsets.is_empty() {
            return callback(offsets, Ok(()));
        }
        if let Err(e) = self.check_offsets(&offsets) {
            return callback(offsets, Err(e));
        }
        self.send_commit(offsets, Told::Callback(callback));
    }

    fn check_offsets(&self, offsets: &Offsets) -> Result<()> {
        if self.settings.group_id.is_empty() {
            return Err(Error::code(ErrorCode::INVALID_GROUP_ID));
        }
        for (partition, committed) in offsets {
            bounded("topic", &partition.topic)?;
            bounded("metadata", &committed.metadata)?;
        }
        Ok(())
    }

    /// What the group has committed for a partition, be it this consumer's or not; `None` if nothing.
    ///
    /// # Errors
    /// As [`Consumer::commit_sync_offsets`], but for [`Error::CommitFailed`].
    pub async fn committed(&mut self, partition: &TopicPartition) -> Result<Option<OffsetAndMetadata>> {
        if let Some(known) = self.subscription.committed(partition) {
            return Ok(Some(known.clone()));
        }
        if self.settings.group_id.is_empty() {
            return Err(Error::code(ErrorCode::INVALID_GROUP_ID));
        }
        bounded("topic", &partition.topic)?;
        loop {
            self.coordinator_known(None, "fetching committed offsets").await?;
            let (told, answer) = oneshot::channel();
            let asked = self.ask_committed(std::slice::from_ref(partition), Asker::Call(told));
            if asked.is_err() {
                continue;
            }
            match self.during(Effort::Idle, None, answer).await? {
                Some(Ok(Ok(mut stored))) => {
                    let offset = stored.remove(partition).flatten();
                    self.subscription.set_committed(partition, offset.clone());
                    return Ok(offset);
                }
                Some(Ok(Err(e))) if !e.is_retriable() => return Err(e),
                _ => {
                    self.pause_before_retry(None, "fetching committed offsets")
                        .await?
                }
            }
        }
    }

    /// Drives on until the coordinator is known.
    async fn coordinator_known(&mut self, deadline: Option<Mono>, what: &'static str) -> Result<()> {
        loop {
            self.take_in();
            if self.membership.coordinator().is_some() {
                return Ok(());
            }
            if let Some(e) = self.failures.pop_front() {
                return Err(e);
            }
            if deadline.is_some_and(|d| d <= self.now()) {
                return Err(self.timed_out(what));
            }
            self.send_due(Effort::Coordinator);
            self.wait(Effort::Coordinator, deadline).await?;
        }
    }

    pub(super) async fn pause_before_retry(
        &mut self,
        deadline: Option<Mono>,
        what: &'static str,
    ) -> Result<()> {
        let clock = self.settings.clock.clone();
        let pause = Box::pin(clock.sleep(self.settings.retry_backoff));
        match self.during(Effort::Coordinator, deadline, pause).await? {
            Some(()) => Ok(()),
            None => Err(self.timed_out(what)),
        }
    }

    pub(super) fn timed_out(&self, what: &'static str) -> Error {
        Error::Timeout {
            what,
            waited: self.settings.request_timeout,
        }
    }

    /// Goes to an offset; the next poll reads from there.
    ///
    /// # Errors
    /// [`Error::NotAssigned`]; [`Error::Argument`] for a negative offset.
    pub fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        if offset < 0 {
            let text = "seek offset must not be a negative number";
            return Err(Error::Argument(text.to_owned()));
        }
        self.subscription.seek(partition, offset)
    }

    /// Goes to the first record that there is, of these partitions or, if none are given, of all. Where that
    /// is is found out by the next poll or [`Consumer::position`].
    ///
    /// # Errors
    /// [`Error::NotAssigned`]
    pub fn seek_to_beginning<'a>(
        &mut self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Result<()> {
        self.seek_to(partitions, End::Earliest)
    }

    /// Goes behind the last record, as [`Consumer::seek_to_beginning`] to the first.
    ///
    /// # Errors
    /// [`Error::NotAssigned`]
    pub fn seek_to_end<'a>(
        &mut self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Result<()> {
        self.seek_to(partitions, End::Latest)
    }

    fn seek_to<'a>(
        &mut self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
        end: End,
    ) -> Result<()> {
        let mut partitions: Vec<TopicPartition> = partitions.into_iter().cloned().collect();
        if partitions.is_empty() {
            partitions = self.assignment();
        }
        for partition in &partitions {
            self.subscription.seek_to(partition, end)?;
        }
        Ok(())
    }

    /// The offset of the next record to be read; waits until it is known.
    ///
    /// # Errors
    /// [`Error::NotAssigned`], [`Error::NoOffset`], [`Error::Wakeup`], and what brokers said.
    pub async fn position(&mut self, partition: &TopicPartition) -> Result<Offset> {
        loop {
            self.take_in();
            if let Some(position) = self.subscription.position(partition) {
                return Ok(position);
            }
            if !self.subscription.owns(partition) {
                return Err(Error::NotAssigned(partition.clone()));
            }
            if let Some(e) = self.failures.pop_front() {
                return Err(e);
            }
            self.send_due(Effort::Positions);
            match self.subscription.settle() {
                Err(Error::NoOffset(p)) if p == *partition => return Err(Error::NoOffset(p)),
                // Another partition's lack is told by the poll that needs it.
                _ if self.subscription.position(partition).is_some() => {}
                _ => self.wait(Effort::Positions, None).await?,
            }
        }
    }
}
