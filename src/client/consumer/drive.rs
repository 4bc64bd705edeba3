//! The shell: sends what the cores want sent, feeds them the answers, and waits.

use ::log::{debug, info, warn};
use tokio::sync::oneshot;

use super::commits::{self, Committed, Told};
use super::lanes::Kind;
use super::membership::{Ask, Try};
use super::view::Topics;
use super::{Consumer, Error, Result, protocol};
use crate::client::connection;
use crate::client::metadata::Metadata;
use crate::cluster::{BrokerId, TopicPartition};
use crate::protocol::Request;
use crate::protocol::fetch::FetchResponse;
use crate::protocol::groups::{
    ErrorOnlyResponse, GroupCoordinatorResponse, GroupProtocol, JoinGroupResponse, SyncGroupResponse,
};
use crate::protocol::list_offsets::ListOffsetsResponse;
use crate::protocol::offset_commit::OffsetCommitResponse;
use crate::protocol::offset_fetch::OffsetFetchResponse;
use crate::util::clock::Mono;

/// What 0.9 names its log lines after.
const LOGGER: &str = "org.apache.kafka.clients.consumer.internals.ConsumerCoordinator";

/// An answer, or that there is none.
pub(super) enum Event {
    Metadata(connection::Result<Metadata>),
    Coordinator(connection::Result<GroupCoordinatorResponse>),
    Joined(Try, connection::Result<JoinGroupResponse>),
    Synced(Try, connection::Result<SyncGroupResponse>),
    Beaten(Try, connection::Result<ErrorOnlyResponse>),
    Left(connection::Result<ErrorOnlyResponse>),
    Committed(u64, connection::Result<OffsetCommitResponse>),
    Stored(Asker, connection::Result<OffsetFetchResponse>),
    Ends(BrokerId, connection::Result<ListOffsetsResponse>),
    Fetched(BrokerId, connection::Result<FetchResponse>),
}

/// Who asked for committed offsets.
pub(super) enum Asker {
    /// The consumer itself, to find positions.
    Positions,
    /// A call.
    Call(oneshot::Sender<Result<Committed>>),
}

/// How far a call drives the consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effort {
    /// Heartbeats and metadata.
    Idle,
    /// And looks for the coordinator.
    Coordinator,
    /// And finds positions.
    Positions,
    /// And joins the group, fetches, and commits when it is time.
    Poll,
}

impl Consumer {
    pub(super) fn now(&self) -> Mono {
        self.settings.clock.now()
    }

    /// Whether partitions are shared with a group at present.
    pub(super) fn shares(&self) -> bool {
        self.subscription.shared_topics().is_some()
    }

    fn needs_coordinator(&self, effort: Effort) -> bool {
        match effort {
            Effort::Idle => false,
            Effort::Coordinator => true,
            Effort::Positions | Effort::Poll => {
                (effort == Effort::Poll && self.shares())
                    || !self.subscription.commits_wanted().is_empty()
                    || self.commits.timer().is_some()
            }
        }
    }

    /// Sends all that is due.
    pub(super) fn send_due(&mut self, effort: Effort) {
        let now = self.now();
        if let Some(topics) = self.view.due(now) {
            self.lanes
                .metadata(self.view.metadata.clone(), topics, Event::Metadata);
        }
        self.send_to_group(now, effort);
        if effort >= Effort::Positions {
            self.find_positions(now);
        }
        if effort == Effort::Poll && (!self.shares() || self.membership.is_stable()) {
            self.fetch(now);
        }
    }

    fn send_to_group(&mut self, now: Mono, effort: Effort) {
        let needed = self.needs_coordinator(effort);
        let joins = effort == Effort::Poll && self.shares();
        loop {
            let subscription = &self.subscription;
            let strategies = &self.settings.strategies;
            let protocols = || -> Vec<GroupProtocol> {
                let topics = subscription.shared_topics().cloned().unwrap_or_default();
                let metadata = protocol::encode_subscription(&topics);
                let protocol = |s: &super::AssignmentStrategy| GroupProtocol {
                    name: s.name().to_owned(),
                    metadata: metadata.clone(),
                };
                strategies.iter().map(protocol).collect()
            };
            let join: Option<&dyn Fn() -> Vec<GroupProtocol>> = if joins { Some(&protocols) } else { None };
            let Some(ask) = self.membership.due(now, needed, join) else {
                return;
            };
            let of = self.membership.current_try();
            if let Ask::Coordinator(request) = ask {
                self.lanes
                    .call_any(self.view.metadata.clone(), request, Event::Coordinator);
                continue;
            }
            // Every other request is made only when the coordinator is known.
            let Some(at) = self.membership.coordinator().cloned() else {
                return;
            };
            let lanes = &mut self.lanes;
            match ask {
                Ask::Coordinator(_) => {}
                Ask::Join(request) => {
                    debug!(target: LOGGER, "(Re-)joining group {}", request.group_id);
                    lanes.call(Kind::Control, &at, request, move |a| Event::Joined(of, a));
                }
                Ask::Sync(request) => lanes.call(Kind::Control, &at, request, move |a| Event::Synced(of, a)),
                Ask::Heartbeat(request) => {
                    lanes.call(Kind::Control, &at, request, move |a| Event::Beaten(of, a));
                }
            }
        }
    }

    fn find_positions(&mut self, now: Mono) {
        let wanted = self.subscription.commits_wanted();
        if !wanted.is_empty() && !self.committed_asked && self.committed_at <= now {
            self.committed_asked = self.ask_committed(&wanted, Asker::Positions).is_ok();
        }
        // What has no position at all is told by the call that needs it.
        let _ = self.subscription.settle();
        let due = self.lookups.due(now, &self.subscription, &self.view.metadata);
        self.ask_leaders(due, Event::Ends);
    }

    fn fetch(&mut self, now: Mono) {
        let due = self.fetches.due(now, &self.subscription, &self.view.metadata);
        self.ask_leaders(due, Event::Fetched);
    }

    /// Sends each leader its request; when a partition has none, metadata is asked for.
    fn ask_leaders<R>(
        &mut self,
        (requests, leaderless): (Vec<(BrokerId, R)>, bool),
        event: fn(BrokerId, connection::Result<R::Response>) -> Event,
    ) where
        R: Request + Send + Sync + 'static,
        R::Response: Send,
    {
        if leaderless {
            self.view.refresh();
        }
        for (leader, request) in requests {
            match self.view.metadata.brokers.get(&leader) {
                Some(at) => self
                    .lanes
                    .call(Kind::Data, at, request, move |a| event(leader, a)),
                // Metadata names no leader without an address.
                None => {
                    let peer = format!("node {leader}").into();
                    self.handle(event(leader, Err(connection::Error::Closed { peer })));
                }
            }
        }
    }

    /// Asks the coordinator for committed offsets; gives the asker back if it is not known.
    pub(super) fn ask_committed(
        &mut self,
        partitions: &[TopicPartition],
        asker: Asker,
    ) -> std::result::Result<(), Asker> {
        let Some(at) = self.membership.coordinator().cloned() else {
            return Err(asker);
        };
        let request = commits::question(&self.settings.group_id, partitions);
        self.lanes
            .call(Kind::Control, &at, request, move |a| Event::Stored(asker, a));
        Ok(())
    }

    /// Sends a commit, or tells at once that the coordinator is not known.
    pub(super) fn send_commit(&mut self, offsets: super::Offsets, told: Told) {
        let Some(at) = self.membership.coordinator().cloned() else {
            let code = crate::protocol::ErrorCode::GROUP_COORDINATOR_NOT_AVAILABLE;
            return tell(told, offsets, Err(Error::code(code)));
        };
        if self.commits.is_full() {
            return tell(told, offsets, Err(Error::TooManyCommits));
        }
        let of = self.membership.current_try();
        let identity = if self.subscription.is_assigned_by_hand() {
            (-1, "")
        } else {
            self.membership.identity()
        };
        let now = self.settings.clock.now();
        let group = &self.settings.group_id;
        let (id, request) = self.commits.begin(now, group, identity, of, offsets, told);
        self.lanes
            .call(Kind::Control, &at, request, move |a| Event::Committed(id, a));
    }

    /// Commits the positions if it is time. Only called when the user has dealt with what he was handed.
    pub(super) fn commit_in_time(&mut self) {
        let now = self.now();
        if self.commits.timer().is_none_or(|at| at > now) {
            return;
        }
        let consumed = self.subscription.consumed();
        if consumed.is_empty() || self.membership.coordinator().is_none() || self.commits.is_full() {
            let at = now + self.settings.retry_backoff;
            return self.commits.postpone(at);
        }
        self.send_commit(consumed, Told::Timer);
    }

    /// To be told by the next poll.
    pub(super) fn fail(&mut self, e: Error) {
        // One of a kind is enough until it is told.
        if self.failures.len() < 16 {
            self.failures.push_back(e);
        }
    }

    /// Takes in an answer.
    pub(super) fn handle(&mut self, event: Event) {
        let now = self.now();
        let failed = match event {
            Event::Metadata(answer) => {
                if self.view.answered(now, answer) {
                    self.look_at_metadata();
                }
                Ok(())
            }
            Event::Coordinator(answer) => {
                let found = self.membership.coordinator_found(now, answer);
                if self.membership.coordinator().is_none() {
                    self.view.refresh();
                }
                found
            }
            Event::Joined(of, answer) => self.membership.joined(now, of, answer),
            Event::Synced(of, answer) => self.membership.synced(now, of, answer),
            Event::Beaten(of, answer) => {
                self.membership.beaten(now, of, answer);
                Ok(())
            }
            Event::Left(answer) => {
                match answer {
                    Ok(answer) if answer.error == 0 => {}
                    Ok(answer) => info!(
                        target: LOGGER,
                        "LeaveGroup request failed with error {}",
                        crate::protocol::ErrorCode(answer.error).name()
                    ),
                    Err(e) => info!(target: LOGGER, "LeaveGroup request failed: {e}"),
                }
                Ok(())
            }
            Event::Committed(id, answer) => {
                self.commit_answered(now, id, answer);
                Ok(())
            }
            Event::Stored(asker, answer) => self.stored(now, asker, answer),
            Event::Ends(leader, answer) => {
                match self.lookups.answered(now, leader, answer, &mut self.subscription) {
                    Ok(stale) => {
                        if stale {
                            self.view.refresh();
                        }
                        Ok(())
                    }
                    Err(e) => Err(e),
                }
            }
            Event::Fetched(leader, answer) => {
                if self.fetches.answered(now, leader, answer, &mut self.subscription) {
                    self.view.refresh();
                }
                Ok(())
            }
        };
        if let Err(e) = failed {
            self.fail(e);
        }
    }

    fn commit_answered(&mut self, now: Mono, id: u64, answer: connection::Result<OffsetCommitResponse>) {
        let Some(outcome) = self.commits.answered(&self.settings.group_id, id, answer) else {
            return;
        };
        for partition in &outcome.taken {
            let committed = outcome.offsets.get(partition).cloned();
            self.subscription.set_committed(partition, committed);
        }
        if outcome.coordinator_lost {
            self.membership.coordinator_lost(now);
        }
        if let Some(of) = outcome.moved_on
            && self.shares()
        {
            self.membership.moved_on(of);
        }
        tell(outcome.told, outcome.offsets, outcome.result);
    }

    fn stored(
        &mut self,
        now: Mono,
        asker: Asker,
        answer: connection::Result<OffsetFetchResponse>,
    ) -> Result<()> {
        let stored = commits::committed(&self.settings.group_id, answer).map_err(|(e, lost)| {
            if lost {
                self.membership.coordinator_lost(now);
            }
            e
        });
        match asker {
            Asker::Call(told) => {
                let _ = told.send(stored);
                Ok(())
            }
            Asker::Positions => {
                self.committed_asked = false;
                match stored {
                    Ok(stored) => {
                        for (partition, offset) in stored {
                            self.subscription.set_committed(&partition, offset);
                        }
                        Ok(())
                    }
                    Err(e) => {
                        self.committed_at = now + self.settings.retry_backoff;
                        if e.is_retriable() { Ok(()) } else { Err(e) }
                    }
                }
            }
        }
    }

    /// Wants metadata of what is subscribed or assigned.
    pub(super) fn want_topics(&mut self) {
        let topics = match self.subscription.is_pattern() {
            true => Topics::All,
            false => Topics::Some(self.subscription.topics()),
        };
        self.view.want(topics);
    }

    /// When something is due although nothing comes.
    fn next_deadline(&self, effort: Effort) -> Option<Mono> {
        let now = self.now();
        let needed = self.needs_coordinator(effort);
        let joins = effort == Effort::Poll && self.shares();
        let mut all = vec![self.view.deadline(), self.membership.deadline(needed, joins)];
        if effort >= Effort::Positions {
            all.push(self.lookups.deadline(now, &self.subscription));
            let waits = self.committed_at > now && !self.subscription.commits_wanted().is_empty();
            all.push(waits.then_some(self.committed_at));
        }
        if effort == Effort::Poll {
            all.push(self.fetches.deadline(now));
            all.push(self.commits.timer());
        }
        all.into_iter().flatten().min()
    }

    /// Waits until something has come, is due, or the deadline has passed, and takes in what has come.
    ///
    /// # Errors
    /// [`Error::Wakeup`]
    pub(super) async fn wait(&mut self, effort: Effort, deadline: Option<Mono>) -> Result<()> {
        let next = match (self.next_deadline(effort), deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let event = tokio::select! {
            biased;
            () = self.wakeup.asked(), if !self.deaf => return Err(Error::Wakeup),
            event = self.inbox.recv() => event,
            () = self.settings.clock.sleep_until_some(next) => None,
        };
        if let Some(event) = event {
            self.handle(event);
        }
        self.take_in();
        Ok(())
    }

    /// Takes in what has come already.
    pub(super) fn take_in(&mut self) {
        while let Ok(event) = self.inbox.try_recv() {
            self.handle(event);
        }
    }

    /// `work`'s result; the consumer goes on meanwhile.
    pub(super) async fn during<T>(
        &mut self,
        effort: Effort,
        deadline: Option<Mono>,
        mut work: impl Future<Output = T> + Unpin,
    ) -> Result<Option<T>> {
        loop {
            self.take_in();
            self.send_due(effort);
            if deadline.is_some_and(|d| d <= self.now()) {
                return Ok(None);
            }
            tokio::select! {
                biased;
                done = &mut work => return Ok(Some(done)),
                waited = self.wait(effort, deadline) => waited?,
            }
        }
    }
}

fn tell(told: Told, offsets: super::Offsets, result: Result<()>) {
    match told {
        Told::Callback(callback) => callback(offsets, result),
        Told::Waiter(waiter) => {
            let _ = waiter.send(result);
        }
        Told::Timer => {
            if let Err(e) = result {
                warn!(target: LOGGER, "Auto offset commit failed: {e}");
            }
        }
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Event::Metadata(_) => "Metadata",
            Event::Coordinator(_) => "Coordinator",
            Event::Joined(..) => "Joined",
            Event::Synced(..) => "Synced",
            Event::Beaten(..) => "Beaten",
            Event::Left(_) => "Left",
            Event::Committed(..) => "Committed",
            Event::Stored(..) => "Stored",
            Event::Ends(..) => "Ends",
            Event::Fetched(..) => "Fetched",
        })
    }
}
