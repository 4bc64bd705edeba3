//! Rebalancing, as far as it concerns the user's partitions: giving up, sharing out as the leader, taking
//! over.

use std::collections::BTreeSet;
use std::time::Duration;

use ::log::{debug, error, warn};
use bytes::Bytes;

use super::assignor::Subscriptions;
use super::view::Topics;
use super::{Consumer, Error, Result, protocol};
use crate::cluster::TopicPartition;
use crate::protocol::groups::GroupAssignment;

/// What 0.9 names its log lines after.
const LOGGER: &str = "org.apache.kafka.clients.consumer.internals.ConsumerCoordinator";

impl Consumer {
    /// What a new picture of the cluster means for the group.
    pub(super) fn look_at_metadata(&mut self) {
        if self.subscription.match_topics(self.view.metadata.topics.keys()) {
            self.membership.request_rejoin();
        }
        let denied = self.view.unauthorized();
        let denied: BTreeSet<String> = match self.subscription.is_pattern() {
            true => denied,
            false => denied
                .intersection(&self.subscription.topics())
                .cloned()
                .collect(),
        };
        if !denied.is_empty() {
            self.fail(Error::TopicAuthorization(denied));
        }
        self.look_at_counts();
    }

    /// A leader shares out anew when topics have grown.
    fn look_at_counts(&mut self) {
        let topics = self.shared_out.keys().cloned().collect();
        if self.membership.leads() && self.view.counts(&topics) != self.shared_out {
            debug!(target: LOGGER, "The partitions of the group's topics have changed");
            self.membership.request_rejoin();
        }
    }

    /// As the group's leader, shares the partitions out, once metadata is fresh enough for that.
    pub(super) fn lead(&mut self) -> Result<()> {
        let now = self.now();
        let Some((strategy, members)) = self.membership.leading() else {
            return Ok(());
        };
        let mut wants = Subscriptions::new();
        let mut unreadable = None;
        for member in members {
            match protocol::decode_subscription(member.metadata.clone()) {
                Ok(topics) => {
                    wants.insert(member.member_id.clone(), topics);
                }
                Err(source) => {
                    let whose = format!("member {}", member.member_id);
                    unreadable = Some(Error::Unreadable { whose, source });
                }
            }
        }
        if let Some(e) = unreadable {
            self.membership.led_in_vain(now);
            return Err(e);
        }
        let Some(strategy) = strategy else {
            self.membership.led_in_vain(now);
            return Err(Error::State(
                "the coordinator chose a way to assign that this member did not offer",
            ));
        };
        let topics = wants.values().flatten().cloned().collect();
        if !self.subscription.is_pattern() {
            self.view.want(Topics::Some(topics));
        }
        let topics = wants.values().flatten().cloned().collect();
        if !self.view.is_fresh(now, &topics, self.settings.heartbeat_interval) {
            self.view.refresh();
            return Ok(());
        }
        let counts = self.view.counts(&topics);
        debug!(target: LOGGER, "Performing {} assignment for subscriptions {wants:?}", strategy.name());
        let shares = strategy.assign(&wants, &counts);
        debug!(target: LOGGER, "Finished assignment: {shares:?}");
        self.shared_out = counts;
        let share = |(member_id, partitions): (String, Vec<TopicPartition>)| GroupAssignment {
            member_id,
            assignment: protocol::encode_assignment(&partitions),
        };
        self.membership.led(shares.into_iter().map(share).collect());
        Ok(())
    }

    /// Gives up what is owned before the group is joined anew: commits, if that is automatic, and tells the
    /// listener.
    pub(super) async fn prepare(&mut self) -> Result<()> {
        self.commit_at_rest(None).await?;
        let revoked: Vec<TopicPartition> = self.subscription.partitions().cloned().collect();
        debug!(target: LOGGER, "Revoking previously assigned partitions {revoked:?}");
        if let Some(listener) = self.listener.clone() {
            let mut listener = listener.lock()?;
            tell_listener(listener.on_partitions_revoked(self, &revoked).await, "revocation")?;
        }
        self.membership.prepared();
        Ok(())
    }

    /// Commits the positions before a rebalance or the end, if that is automatic, and stops the timer.
    /// `patience` bounds it.
    ///
    /// # Errors
    /// [`Error::Wakeup`]; everything else is logged.
    pub(super) async fn commit_at_rest(&mut self, patience: Option<Duration>) -> Result<()> {
        if !self.settings.auto_commit || self.settings.group_id.is_empty() {
            return Ok(());
        }
        self.commits.stop_timer();
        let consumed = self.subscription.consumed();
        if consumed.is_empty() {
            return Ok(());
        }
        let deadline = patience.map(|p| self.now() + p);
        match self.commit_until(consumed, deadline).await {
            Err(Error::Wakeup) => Err(Error::Wakeup),
            Err(e) => {
                warn!(target: LOGGER, "Auto offset commit failed: {e}");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Takes over what the group gave this member.
    pub(super) async fn adopt(&mut self, share: Bytes) -> Result<()> {
        let now = self.now();
        let partitions = match protocol::decode_assignment(share) {
            Ok(partitions) => partitions,
            Err(source) => {
                self.membership.request_rejoin();
                let whose = "the group's leader".to_owned();
                return Err(Error::Unreadable { whose, source });
            }
        };
        if !self.subscription.adopt(partitions) {
            self.membership.request_rejoin();
        }
        if !self.membership.leads() {
            self.shared_out.clear();
            // A leader knows of everybody's topics; others of their own.
            self.want_topics();
        }
        self.look_at_counts();
        if self.settings.auto_commit {
            self.commits.start_timer(now);
        }
        let assigned: Vec<TopicPartition> = self.subscription.partitions().cloned().collect();
        debug!(target: LOGGER, "Setting newly assigned partitions {assigned:?}");
        if let Some(listener) = self.listener.clone() {
            let mut listener = listener.lock()?;
            tell_listener(
                listener.on_partitions_assigned(self, &assigned).await,
                "assignment",
            )?;
        }
        Ok(())
    }
}

fn tell_listener(told: Result<()>, what: &str) -> Result<()> {
    match told {
        Err(Error::Wakeup) => Err(Error::Wakeup),
        Err(e) => {
            error!(target: LOGGER, "User provided listener failed on partition {what}: {e}");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
