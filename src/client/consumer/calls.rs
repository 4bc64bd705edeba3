//! What a user may ask of a consumer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ::log::debug;
use regex::Regex;
use tokio::sync::oneshot;

use super::commits::{CommitCallback, Commits, Offsets, Told};
use super::drive::{Asker, Effort, Event};
use super::fetches::{self, Fetches};
use super::lanes::{Kind, Lanes};
use super::listener::Listener;
use super::lookups::Lookups;
use super::membership::{self, Membership};
use super::subscription::{End, OffsetAndMetadata, Subscription};
use super::view::{Topics, View};
use super::{Consumer, ConsumerSettings, Error, RebalanceListener, Records, Result, Wakeup};
use crate::client::metadata::{Metadata, Partition};
use crate::cluster::TopicPartition;
use crate::cluster::topic::MAX_NAME_LENGTH;
use crate::message::Offset;
use crate::protocol::ErrorCode;
use crate::util::clock::Mono;

/// The longest text that a request can carry, in bytes.
const LONGEST: usize = i16::MAX as usize;

impl Consumer {
    /// A consumer that wants nothing yet and speaks to nobody.
    ///
    /// # Errors
    /// [`Error::Argument`] for a group or client id that no request can carry, an empty list of brokers, or
    /// of ways to assign.
    pub fn new(settings: ConsumerSettings) -> Result<Consumer> {
        let client_id = settings.name();
        bounded("group.id", &settings.group_id)?;
        bounded("client.id", &client_id)?;
        if settings.bootstrap.is_empty() {
            return Err(Error::Argument(
                "No bootstrap urls given in bootstrap.servers".to_owned(),
            ));
        }
        if settings.strategies.is_empty() {
            return Err(Error::Argument(
                "No assignors given in partition.assignment.strategy".to_owned(),
            ));
        }
        let (lanes, inbox) = Lanes::new(
            settings.bootstrap.clone(),
            settings.connections(&client_id),
            settings.reconnect_backoff,
            settings.connections_max_idle,
        );
        Ok(Consumer {
            subscription: Subscription::new(settings.reset, !settings.group_id.is_empty()),
            membership: Membership::new(membership::Rules {
                group: settings.group_id.clone(),
                session_timeout: settings.session_timeout,
                heartbeat_interval: settings.heartbeat_interval,
                retry_backoff: settings.retry_backoff,
            }),
            shared_out: BTreeMap::new(),
            lookups: Lookups::new(settings.retry_backoff),
            fetches: Fetches::new(fetches::Rules {
                min_bytes: settings.fetch_min_bytes,
                max_wait: settings.fetch_max_wait,
                max_partition_bytes: settings.max_partition_fetch_bytes,
                check_crcs: settings.check_crcs,
                retry_backoff: settings.retry_backoff,
            }),
            commits: Commits::new(settings.auto_commit_interval),
            view: View::new(settings.metadata_max_age, settings.retry_backoff),
            lanes,
            inbox,
            committed_asked: false,
            committed_at: Mono::default(),
            failures: VecDeque::new(),
            listener: None,
            wakeup: Wakeup::default(),
            deaf: false,
            settings,
        })
    }

    /// Shares these topics with the group's other members, from the next poll on. The list replaces the one
    /// before; an empty one is as good as [`Consumer::unsubscribe`].
    ///
    /// # Errors
    /// [`Error::State`] if partitions are assigned by hand or a pattern is subscribed.
    pub fn subscribe<T: Into<String>>(&mut self, topics: impl IntoIterator<Item = T>) -> Result<()> {
        self.subscribe_listened(topics, None)
    }

    /// As [`Consumer::subscribe`]; `listener` is told of rebalances, in the place of any before.
    pub fn subscribe_with<T: Into<String>>(
        &mut self,
        topics: impl IntoIterator<Item = T>,
        listener: impl RebalanceListener + 'static,
    ) -> Result<()> {
        self.subscribe_listened(topics, Some(Box::new(listener)))
    }

    fn subscribe_listened<T: Into<String>>(
        &mut self,
        topics: impl IntoIterator<Item = T>,
        listener: Option<Box<dyn RebalanceListener>>,
    ) -> Result<()> {
        self.not_while_listening()?;
        let topics: BTreeSet<String> = topics.into_iter().map(Into::into).collect();
        if let Some(bad) = topics.iter().find(|t| t.is_empty() || t.len() > MAX_NAME_LENGTH) {
            return Err(Error::InvalidTopic(bad.clone()));
        }
        if topics.is_empty() {
            self.unsubscribe();
            return Ok(());
        }
        if self.subscription.subscribe(topics)? {
            self.membership.request_rejoin();
            self.want_topics();
        }
        self.listener = listener.map(Listener::new);
        Ok(())
    }

    /// Shares all topics whose whole name matches the regular expression with the group's other members,
    /// those that are created later too. Kafka's own topic is never among them.
    ///
    /// # Errors
    /// [`Error::Argument`] for a pattern that cannot be read; [`Error::State`] if partitions are assigned by
    /// hand or topics are subscribed.
    pub fn subscribe_pattern(&mut self, pattern: &str) -> Result<()> {
        self.subscribe_pattern_listened(pattern, None)
    }

    /// As [`Consumer::subscribe_pattern`]; `listener` is told of rebalances, in the place of any before.
    pub fn subscribe_pattern_with(
        &mut self,
        pattern: &str,
        listener: impl RebalanceListener + 'static,
    ) -> Result<()> {
        self.subscribe_pattern_listened(pattern, Some(Box::new(listener)))
    }

    fn subscribe_pattern_listened(
        &mut self,
        pattern: &str,
        listener: Option<Box<dyn RebalanceListener>>,
    ) -> Result<()> {
        self.not_while_listening()?;
        // The pattern must be one by itself: ")(" would be made legal by the group around it.
        let whole = Regex::new(pattern)
            .and_then(|_| Regex::new(&format!("^(?:{pattern})$")))
            .map_err(|e| Error::Argument(e.to_string()))?;
        self.subscription.subscribe_pattern(whole)?;
        self.membership.request_rejoin();
        self.view.want(Topics::All);
        self.view.refresh();
        self.listener = listener.map(Listener::new);
        Ok(())
    }

    /// Wants nothing any more, and leaves the group without waiting for its answer. Nothing is committed.
    pub fn unsubscribe(&mut self) {
        self.subscription.clear();
        self.commits.stop_timer();
        self.shared_out.clear();
        self.leave();
        self.want_topics();
    }

    /// Reads exactly these partitions, whoever else reads them. Those that stay keep their position. The
    /// group, if one is named, only keeps what is committed.
    ///
    /// # Errors
    /// [`Error::State`] if topics or a pattern are subscribed.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) -> Result<()> {
        self.not_while_listening()?;
        let partitions: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        let bad = |p: &&TopicPartition| p.topic.is_empty() || p.topic.len() > MAX_NAME_LENGTH;
        if let Some(bad) = partitions.iter().find(bad) {
            return Err(Error::InvalidTopic(bad.topic.to_string()));
        }
        self.subscription.assign(partitions)?;
        self.want_topics();
        if self.settings.auto_commit && !self.settings.group_id.is_empty() {
            self.commits.start_timer(self.now());
        }
        Ok(())
    }

    /// The partitions that are this consumer's at present.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.subscription.partitions().cloned().collect()
    }

    /// The topics subscribed to; those that matched a pattern when it was last looked at.
    pub fn subscription(&self) -> BTreeSet<String> {
        self.subscription.shared_topics().cloned().unwrap_or_default()
    }

    /// The next records; none if there are none within `timeout`. Their positions count as consumed when the
    /// next call commits, so one is best done with them before.
    ///
    /// Joining the group, rebalancing and finding positions come first, and are waited for as long as they
    /// take, as with the Java client; `timeout` only bounds the wait for records after that. To bound all of
    /// it, drop the future or use a [`Wakeup`].
    ///
    /// # Errors
    /// [`Error::Wakeup`]; [`Error::State`] within a listener; and what a broker, a message or the reset rule
    /// said, which ends this poll only: [`Error::NoOffset`], [`Error::OutOfRange`], [`Error::TooLarge`],
    /// [`Error::Corrupt`], [`Error::GroupAuthorization`], [`Error::TopicAuthorization`], [`Error::Broker`],
    /// [`Error::Unreadable`].
    pub async fn poll(&mut self, timeout: Duration) -> Result<Records> {
        self.not_while_listening()?;
        let mut deadline = None;
        loop {
            self.take_in();
            let shares = self.subscription.shared_topics().is_some();
            if shares && self.membership.needs_preparation() {
                self.prepare().await?;
                continue;
            }
            let now = self.now();
            if let Some(share) = self.membership.take_share(now) {
                self.adopt(share).await?;
                continue;
            }
            self.lead()?;
            if let Some(e) = self.failures.pop_front() {
                return Err(e);
            }
            self.commit_in_time();
            self.send_due(Effort::Poll);
            self.subscription.settle()?;
            let settled = (!shares || self.membership.is_stable()) && self.subscription.is_settled();
            if settled {
                let records = self.fetches.hand_out(&mut self.subscription)?;
                if !records.is_empty() {
                    // The next ones come while the user is busy with these.
                    self.send_due(Effort::Poll);
                    return Ok(records);
                }
                let deadline = *deadline.get_or_insert(now + timeout);
                if deadline <= now {
                    // Who polls without patience in a loop must not keep others from running.
                    tokio::task::yield_now().await;
                    return Ok(Records::default());
                }
            }
            self.wait(Effort::Poll, deadline).await?;
        }
    }

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

    async fn pause_before_retry(&mut self, deadline: Option<Mono>, what: &'static str) -> Result<()> {
        let clock = self.settings.clock.clone();
        let pause = Box::pin(clock.sleep(self.settings.retry_backoff));
        match self.during(Effort::Coordinator, deadline, pause).await? {
            Some(()) => Ok(()),
            None => Err(self.timed_out(what)),
        }
    }

    fn timed_out(&self, what: &'static str) -> Error {
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

    /// Hands out nothing of these partitions until they are resumed. A rebalance resumes them.
    ///
    /// # Errors
    /// [`Error::NotAssigned`]
    pub fn pause<'a>(&mut self, partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Result<()> {
        partitions
            .into_iter()
            .try_for_each(|p| self.subscription.pause(p, true))
    }

    /// Hands out records of these partitions again.
    ///
    /// # Errors
    /// [`Error::NotAssigned`]
    pub fn resume<'a>(&mut self, partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Result<()> {
        partitions
            .into_iter()
            .try_for_each(|p| self.subscription.pause(p, false))
    }

    /// The partitions of a topic; a broker that creates topics by itself creates one that does not exist.
    /// Empty if the topic does not exist.
    ///
    /// # Errors
    /// [`Error::InvalidTopic`], [`Error::TopicAuthorization`]; [`Error::Timeout`] after
    /// `request.timeout.ms`; [`Error::Wakeup`].
    pub async fn partitions_for(&mut self, topic: &str) -> Result<Vec<Partition>> {
        if topic.is_empty() || topic.len() > MAX_NAME_LENGTH {
            return Err(Error::InvalidTopic(topic.to_owned()));
        }
        if let Some(known) = self.view.metadata.topics.get(topic)
            && !known.partitions.is_empty()
        {
            return Ok(known.partitions.clone());
        }
        let mut topics = self.look_up(vec![topic.to_owned()]).await?;
        Ok(topics.remove(topic).unwrap_or_default())
    }

    /// All topics there are that this client may see, with their partitions.
    ///
    /// # Errors
    /// As [`Consumer::partitions_for`].
    pub async fn list_topics(&mut self) -> Result<BTreeMap<String, Vec<Partition>>> {
        self.look_up(Vec::new()).await
    }

    async fn look_up(&mut self, topics: Vec<String>) -> Result<BTreeMap<String, Vec<Partition>>> {
        let what = "fetching topic metadata";
        let deadline = Some(self.now() + self.settings.request_timeout);
        loop {
            let (client, known) = (self.lanes.client(), self.view.metadata.clone());
            let fetch = Box::pin(async { client.fetch_metadata(&known, &topics).await });
            let answer = self.during(Effort::Idle, deadline, fetch).await?;
            let again = match answer.ok_or_else(|| self.timed_out(what))? {
                Ok(metadata) => match usable(metadata)? {
                    Some(topics) => return Ok(topics),
                    None => "a topic has no leader yet".to_owned(),
                },
                Err(e) => e.to_string(),
            };
            debug!("Metadata is asked for again: {again}");
            self.pause_before_retry(deadline, what).await?;
        }
    }

    /// Ends this consumer's calls from elsewhere.
    pub fn wakeup(&self) -> Wakeup {
        self.wakeup.clone()
    }

    /// Commits the positions, if that is automatic, waits for commits under way, leaves the group and closes
    /// the connections; at most `request.timeout.ms` for all of it.
    ///
    /// # Errors
    /// None so far: what fails is logged.
    pub async fn close(mut self) -> Result<()> {
        self.deaf = true;
        let patience = self.settings.request_timeout;
        let deadline = self.now() + patience;
        self.commit_at_rest(Some(patience)).await?;
        while self.commits.len() > 0 && self.now() < deadline {
            self.wait(Effort::Idle, Some(deadline)).await?;
        }
        self.leave();
        self.lanes.close(&mut self.inbox).await;
        Ok(())
    }

    fn leave(&mut self) {
        let at = self.membership.coordinator().cloned();
        if let (Some(request), Some(at)) = (self.membership.leave(), at) {
            self.lanes.call(Kind::Control, &at, request, Event::Left);
        }
    }

    fn not_while_listening(&self) -> Result<()> {
        self.listener.as_ref().map_or(Ok(()), |l| l.lock().map(drop))
    }
}

/// What a user sees of topics; `None` while one of them is being made.
fn usable(metadata: Metadata) -> Result<Option<BTreeMap<String, Vec<Partition>>>> {
    let mut denied = BTreeSet::new();
    let mut all = BTreeMap::new();
    for (name, topic) in metadata.topics {
        match topic.error {
            ErrorCode::INVALID_TOPIC_EXCEPTION => return Err(Error::InvalidTopic(name)),
            ErrorCode::TOPIC_AUTHORIZATION_FAILED => {
                denied.insert(name);
            }
            // It does not exist: it is not in the list.
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {}
            error if error.is_retriable() => return Ok(None),
            ErrorCode::NONE => {
                all.insert(name, topic.partitions);
            }
            code => {
                let context = "Unexpected error fetching metadata: ";
                return Err(Error::Broker { context, code });
            }
        }
    }
    if denied.is_empty() {
        Ok(Some(all))
    } else {
        Err(Error::TopicAuthorization(denied))
    }
}

fn bounded(what: &str, text: &str) -> Result<()> {
    if text.len() > LONGEST {
        return Err(Error::Argument(format!(
            "{what} is longer than {LONGEST} bytes, and no request can carry it"
        )));
    }
    Ok(())
}
