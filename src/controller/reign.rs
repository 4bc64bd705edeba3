//! The acting controller: handles one event after the other, each from reading what changed over a
//! decision to its plan carried out. Decides nothing itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use ::log::{error, info, warn};
use tokio::sync::oneshot;

use super::channels::{Answer, Channels};
use super::context::{CONTROLLER, Context, Ids, List};
use super::decide::{brokers, deletion, partitions, preferred, topics, trust};
use super::elect;
use super::error::{Error, Result};
use super::event::{Event, ShutdownReply, Timer};
use super::plan::{self, Plan, Removal};
use super::settings::{ControllerSettings, RETRY};
use super::store::{Store, data};
use super::watches::Watches;
use crate::cluster::{BrokerId, TopicPartition};
use crate::util::clock::{Clock, Mono};
use crate::util::timer::DeadlineQueue;
use crate::zookeeper::{self, each, paths, znodes};

/// One broker's time in office.
#[derive(Debug)]
pub(super) struct Reign {
    pub(super) context: Context,
    pub(super) store: Store,
    pub(super) watches: Watches,
    /// Topics whose assignment is watched.
    pub(super) watched_topics: BTreeSet<Arc<str>>,
    pub(super) timers: DeadlineQueue<Timer>,
    /// Brokers that want to go and have not been answered.
    pub(super) leaving: Vec<(BrokerId, oneshot::Sender<ShutdownReply>)>,
    /// When brokers changed, while what follows from that is not all decided.
    pub(super) electing_since: Option<Mono>,
    pub(super) settings: ControllerSettings,
    pub(super) clock: Clock,
}

impl Reign {
    /// Takes in what happened and does what follows from it.
    ///
    /// # Errors
    /// The reign is over.
    pub(super) async fn handle(&mut self, event: Event, channels: &mut Channels) -> Result<()> {
        match event {
            Event::ControllerNode => {
                let watch = elect::confirm(&self.store.session).await?;
                self.watches.add(watch, Event::ControllerNode);
            }
            Event::Brokers => self.brokers_changed(channels).await?,
            Event::Topics => {
                let (names, watch) = self.store.session.children_watched(paths::BROKER_TOPICS).await?;
                self.watches.add(watch, Event::Topics);
                self.topics_changed(names.unwrap_or_default(), channels).await?;
            }
            Event::TopicAssignment(topic) => {
                self.watched_topics.remove(&topic);
                // Also a topic that could not be read so far, which is not known yet.
                self.assignments_changed(vec![topic], channels).await?;
            }
            Event::DeletionWishes => self.deletions_wished(channels).await?,
            Event::IsrChanges => self.isr_changed(channels).await?,
            Event::PreferredElectionWish => self.preferred_election_wished(channels).await?,
            Event::ReassignmentWish => self.reassignment_wished(channels).await?,
            Event::PartitionState(at) => self.moving_partitions_changed(vec![at]).await?,
            Event::Answered(Answer::Refused(id)) => {
                if !self.store.still_newest().await? {
                    return Err(Error::Fenced(self.store.epoch));
                }
                error!(target: CONTROLLER,
                    "[Controller {}]: Broker {id} knows of a controller newer than epoch {}, ZooKeeper does not; its requests are lost",
                    self.context.me, self.context.epoch);
            }
            Event::Answered(Answer::Heeds(id, czxid, moment)) => {
                let plan = trust::heard(&mut self.context, id, czxid, moment);
                self.read_before_leaving(&plan).await?;
                self.carry_out(plan, channels).await?;
            }
            Event::Answered(Answer::Deleted(id, partitions)) => {
                let plan = deletion::answered(&mut self.context, id, &partitions);
                self.carry_out(plan, channels).await?;
            }
            Event::ControlledShutdown(id, registration, reply) => {
                self.broker_leaves(id, registration, reply, channels).await?;
            }
            Event::Due(Timer::BalanceLeaders) => {
                self.read_again(preferred::led_elsewhere(&self.context)).await?;
                let plan = preferred::balance(&self.context);
                self.carry_out(plan, channels).await?;
                self.timers.set(
                    Timer::BalanceLeaders,
                    self.clock.now() + self.settings.rebalance_interval,
                );
            }
            Event::Due(Timer::Retry) => {
                let plan = deletion::retry(&mut self.context);
                self.carry_out(plan, channels).await?;
            }
        }
        self.move_partitions(channels).await?;
        self.answer_leaving();
        self.time_elections();
        if deletion::wants_retry(&self.context) && self.timers.get(&Timer::Retry).is_none() {
            self.timers.set(Timer::Retry, self.clock.now() + RETRY);
        }
        Ok(())
    }

    /// Sends, writes, sends and removes what a plan asks for.
    pub(super) async fn carry_out(&mut self, plan: Plan, channels: &Channels) -> Result<()> {
        self.send(plan.before, channels);
        self.store.assign(plan.assignments).await?;
        let mut batch = plan.after;
        let mut aims = plan.aims;
        while !aims.is_empty() {
            let ask = partitions::topics_to_ask(&self.context, &aims);
            let rules = self
                .store
                .unclean_rules(ask, self.context.rules.unclean_election)
                .await?;
            self.context.unclean_by_topic.extend(rules);
            let writes = partitions::decide(&mut self.context, aims);
            let outcomes = self.store.write(writes).await?;
            let settled = partitions::settle(&mut self.context, outcomes, &mut batch);
            if settled.unclean > 0 {
                let meter = self.settings.unclean_elections();
                meter.mark(self.clock.now(), settled.unclean);
            }
            if settled.fenced {
                return Err(Error::Fenced(self.store.epoch));
            }
            aims = settled.again;
        }
        self.context.unclean_by_topic.clear();
        self.send(batch, channels);
        let store = self.store.clone();
        let removed = each(plan::gathered(plan.removals), move |removal| {
            let store = store.clone();
            async move { store.remove(&removal).await.map(|()| removal) }
        });
        for removal in removed.await {
            if let Removal::Topic(topic) = removal? {
                deletion::completed(&mut self.context, &topic);
            }
        }
        Ok(())
    }

    fn send(&self, batch: super::batch::RequestBatch, channels: &Channels) {
        channels.now_is(self.context.moment);
        for (to, request) in batch.build(&self.context, self.settings.inter_broker_protocol) {
            channels.send(to, request);
        }
    }

    async fn brokers_changed(&mut self, channels: &mut Channels) -> Result<()> {
        let (names, watch) = self.store.session.children_watched(paths::BROKER_IDS).await?;
        self.watches.add(watch, Event::Brokers);
        let registered = self.store.brokers(names.unwrap_or_default()).await?;
        let difference = brokers::difference(&self.context, &registered);
        if difference == brokers::Difference::default() {
            return Ok(());
        }
        let bounced = difference.bounced();
        info!(target: CONTROLLER,
            "[BrokerChangeListener on Controller {}]: Newly added brokers: {}, deleted brokers: {}, bounced brokers: {}, all live brokers: {}",
            self.context.me, List(difference.come.keys()), Ids(&difference.gone), Ids(&bounced),
            List(registered.keys()));
        self.electing_since.get_or_insert(self.clock.now());
        for id in &difference.gone {
            channels.close(*id);
        }
        if !difference.gone.is_empty() {
            let plan = brokers::failed(&mut self.context, &difference.gone, &bounced);
            self.carry_out(plan, channels).await?;
        }
        if !difference.come.is_empty() {
            for live in difference.come.values() {
                channels.open(live);
            }
            let come: Vec<BrokerId> = difference.come.keys().copied().collect();
            let shared = brokers::shared_with(&self.context, &come);
            let states = self.store.states(shared).await?;
            let plan = brokers::started(&mut self.context, difference.come, states);
            self.carry_out(plan, channels).await?;
        }
        Ok(())
    }

    /// Counts the elections after a change of brokers, once all are decided.
    fn time_elections(&mut self) {
        if self.context.awaiting.is_empty()
            && let Some(since) = self.electing_since.take()
        {
            let now = self.clock.now();
            self.settings.elections().update(now, now.since(since));
        }
    }

    async fn topics_changed(&mut self, names: Vec<String>, channels: &Channels) -> Result<()> {
        let listed: BTreeSet<Arc<str>> = names.iter().map(|name| name.as_str().into()).collect();
        let known = &self.context.topics;
        let new: Vec<Arc<str>> = listed
            .iter()
            .filter(|t| !known.contains_key(*t))
            .cloned()
            .collect();
        let vanished: Vec<Arc<str>> = known.keys().filter(|t| !listed.contains(*t)).cloned().collect();
        if !new.is_empty() || !vanished.is_empty() {
            info!(target: CONTROLLER,
                "[TopicChangeListener on Controller {}]: New topics: [{}], deleted topics: [{}]",
                self.context.me, List(new.iter()), List(vanished.iter()));
        }
        topics::vanished(&mut self.context, &vanished);
        self.assignments_changed(new, channels).await
    }

    async fn assignments_changed(&mut self, topics: Vec<Arc<str>>, channels: &Channels) -> Result<()> {
        let read = self.watch_assignments(topics).await?;
        let plan = topics::assigned(&mut self.context, read);
        self.carry_out(plan, channels).await
    }

    /// Reads topics' assignments and watches those that are there and not watched yet. One that
    /// cannot be read is left out until it changes.
    pub(super) async fn watch_assignments(
        &mut self,
        topics: Vec<Arc<str>>,
    ) -> Result<Vec<(Arc<str>, topics::Assignment)>> {
        let session = self.store.session.clone();
        let watched = self.watched_topics.clone();
        let read = each(topics, move |topic| {
            let session = session.clone();
            let watched = watched.contains(&topic);
            async move {
                let path = paths::topic(&topic);
                let read = match watched {
                    true => session.get(&path).await.map(|node| (node, None)),
                    false => session
                        .get_watched(&path)
                        .await
                        .map(|(node, watch)| (node, Some(watch))),
                };
                (topic, read)
            }
        });
        let mut assignments = Vec::new();
        for (topic, read) in read.await {
            // Of a topic that is gone the parent's watch tells when it comes again.
            let (Some(node), watch) = read? else { continue };
            if let Some(watch) = watch {
                self.watched_topics.insert(topic.clone());
                self.watches.add(watch, Event::TopicAssignment(topic.clone()));
            }
            match znodes::topic::decode(data(&node)) {
                Ok(assignment) => assignments.push((topic, assignment)),
                Err(e) => error!(target: CONTROLLER,
                    "{} cannot be read; the topic is passed over until it changes: {e}", paths::topic(&topic)),
            }
        }
        Ok(assignments)
    }

    async fn deletions_wished(&mut self, channels: &Channels) -> Result<()> {
        let (names, watch) = self.store.session.children_watched(paths::DELETE_TOPICS).await?;
        self.watches.add(watch, Event::DeletionWishes);
        let names = names.unwrap_or_default();
        let wishes: Vec<Arc<str>> = names.iter().map(|name| name.as_str().into()).collect();
        if wishes
            .iter()
            .any(|topic| !self.context.topics.contains_key(topic))
        {
            // It may have been created just before: only what is not there is unknown.
            let listed = self.store.session.children(paths::BROKER_TOPICS).await?;
            let (names, _) = listed.unwrap_or_default();
            self.topics_changed(names, channels).await?;
        }
        let plan = deletion::requested(&mut self.context, &wishes);
        self.carry_out(plan, channels).await
    }

    async fn isr_changed(&mut self, channels: &Channels) -> Result<()> {
        let (names, watch) = self.store.session.children_watched(paths::ISR_CHANGES).await?;
        self.watches.add(watch, Event::IsrChanges);
        let names = names.unwrap_or_default();
        let session = self.store.session.clone();
        let read = each(names.clone(), move |name| {
            let session = session.clone();
            async move { session.get(&format!("{}/{name}", paths::ISR_CHANGES)).await }
        });
        let mut changed = BTreeSet::new();
        for node in read.await {
            let Some(node) = node? else { continue };
            match znodes::isr_change::decode(data(&node)) {
                Ok(partitions) => changed.extend(partitions),
                Err(e) => warn!(target: CONTROLLER, "an ISR change cannot be read and is dropped: {e}"),
            }
        }
        let states = self.store.states(changed.into_iter().collect()).await?;
        let states = states.into_iter().map(|(at, (state, _))| (at, state));
        let plan = topics::isr_changed(&mut self.context, states.collect());
        self.carry_out(plan, channels).await?;
        self.forget_isr_changes(names).await
    }

    /// Deletes ISR changes that have been taken in.
    pub(super) async fn forget_isr_changes(&self, names: Vec<String>) -> Result<()> {
        let session = self.store.session.clone();
        let deleted = each(names, move |name| {
            let session = session.clone();
            async move {
                session
                    .delete(&format!("{}/{name}", paths::ISR_CHANGES), -1)
                    .await
            }
        });
        for deleted in deleted.await {
            match deleted {
                Ok(()) | Err(zookeeper::Error::NoNode) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    async fn preferred_election_wished(&mut self, channels: &Channels) -> Result<()> {
        let path = paths::PREFERRED_REPLICA_ELECTION;
        let (node, watch) = self.store.session.get_watched(path).await?;
        self.watches.add(watch, Event::PreferredElectionWish);
        let Some(node) = node else { return Ok(()) };
        let wished = match znodes::admin::decode_preferred_election(data(&node)) {
            Ok(wished) => wished,
            Err(e) => {
                error!(target: CONTROLLER, "{path} cannot be read and is left as it is: {e}");
                return Ok(());
            }
        };
        self.read_again(wished.clone()).await?;
        let plan = preferred::requested(&mut self.context, wished);
        self.carry_out(plan, channels).await?;
        let plan = preferred::finished(&mut self.context);
        self.carry_out(plan, channels).await
    }

    /// Reads the states of partitions before a decision that may refuse: leaders tell of grown in-sync
    /// sets only seconds later, and a refusal writes nothing that would meet the newer state.
    pub(super) async fn read_again(&mut self, partitions: Vec<TopicPartition>) -> Result<()> {
        for (at, (state, _)) in self.store.states(partitions).await? {
            if let Some(partition) = self.context.partition_mut(&at) {
                partition.leadership = Some(state);
            }
        }
        Ok(())
    }
}
