//! What a user may ask of a consumer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use regex::Regex;

use super::commits::Commits;
use super::drive::{Effort, Event};
use super::fetches::{self, Fetches};
use super::lanes::{Kind, Lanes};
use super::listener::Listener;
use super::lookups::Lookups;
use super::membership::{self, Membership};
use super::subscription::Subscription;
use super::view::{Topics, View};
use super::{Consumer, ConsumerSettings, Error, RebalanceListener, Records, Result, Wakeup};
use crate::cluster::TopicPartition;
use crate::cluster::topic::MAX_NAME_LENGTH;
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

    /// Ends this consumer's calls from elsewhere.
    pub fn wakeup(&self) -> Wakeup {
        self.wakeup.clone()
    }

    /// Commits the positions, if that is automatic, waits for commits under way, leaves the group, of which it
    /// has told the coordinator then, and closes the connections; at most `request.timeout.ms` for all of it.
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
        self.lanes.close(&mut self.inbox, deadline).await;
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

/// A text that a request can carry.
pub(super) fn bounded(what: &str, text: &str) -> Result<()> {
    if text.len() > LONGEST {
        return Err(Error::Argument(format!(
            "{what} is longer than {LONGEST} bytes, and no request can carry it"
        )));
    }
    Ok(())
}
