//! Taking office: the epoch, the watches, everything that stands in ZooKeeper, and the first plans.
//! All that does not depend on one another is read at once (0.9.0.1 reads node after node).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::log::{debug, info};
use tokio::sync::mpsc;

use super::channels::Channels;
use super::context::{CONTROLLER, Context, List};
use super::decide::{deletion, takeover};
use super::elect;
use super::error::{Error, Result};
use super::event::{Event, Timer};
use super::reign::Reign;
use super::settings::{ControllerSettings, FIRST_REBALANCE};
use super::store::{Store, data};
use super::watches::Watches;
use crate::cluster::{ControllerEpoch, TopicPartition};
use crate::util::clock::Clock;
use crate::util::timer::DeadlineQueue;
use crate::zookeeper::{self, CreateMode, Session, paths, znodes};

/// Raises `/controller_epoch` by one and returns the new epoch with its node's version.
///
/// # Errors
/// [`Error::Fenced`] if another broker raised it meanwhile; 0.9.0.1 goes on with the old epoch then.
async fn raise_epoch(session: &Session) -> Result<(ControllerEpoch, i32)> {
    let path = paths::CONTROLLER_EPOCH;
    match session.get(path).await? {
        None => {
            let first = ControllerEpoch(1);
            let text = znodes::controller::encode_epoch(first);
            match session
                .create_recursive(path, Some(text.as_bytes()), CreateMode::Persistent)
                .await
            {
                Ok(_) => Ok((first, 0)),
                Err(zookeeper::Error::NodeExists) => Err(Error::Fenced(first)),
                Err(e) => Err(e.into()),
            }
        }
        Some(node) => {
            let last = znodes::controller::decode_epoch(data(&node)).map_err(|why| Error::Unreadable {
                path: path.to_owned(),
                why,
            })?;
            let next = ControllerEpoch(last.0.wrapping_add(1));
            let text = znodes::controller::encode_epoch(next);
            match session.set(path, text.as_bytes(), node.stat.version).await {
                Ok(stat) => Ok((next, stat.version)),
                Err(zookeeper::Error::BadVersion | zookeeper::Error::NoNode) => Err(Error::Fenced(next)),
                Err(e) => Err(e.into()),
            }
        }
    }
}

/// Begins a reign after the election is won. When it returns, every living broker has been sent what
/// it must know.
///
/// # Errors
/// Any: the caller gives the office up.
pub(super) async fn take_office(
    session: Session,
    settings: &ControllerSettings,
    clock: &Clock,
    answers: mpsc::Sender<Event>,
    channels: &mut Option<Channels>,
) -> Result<Reign> {
    let me = settings.broker_id;
    info!(target: CONTROLLER, "[Controller {me}]: Broker {me} starting become controller state transition");
    let deposed = elect::confirm(&session).await?;
    let (epoch, epoch_version) = raise_epoch(&session).await?;
    info!(target: CONTROLLER, "[Controller {me}]: Controller {me} incremented epoch to {epoch}");
    let store = Store {
        session,
        epoch,
        epoch_version,
    };
    let channels = channels.insert(Channels::new(settings.clone(), epoch, clock.clone(), answers));
    let mut reign = Reign {
        context: Context {
            me,
            epoch,
            rules: settings.rules.clone(),
            ..Context::default()
        },
        store,
        watches: Watches::default(),
        watched_topics: BTreeSet::new(),
        timers: DeadlineQueue::default(),
        leaving: Vec::new(),
        electing_since: None,
        settings: settings.clone(),
        clock: clock.clone(),
    };
    reign.watches.add(deposed, Event::ControllerNode);
    let wishes = reign.load().await?;
    for live in reign.context.brokers.values() {
        channels.open(live);
    }
    // Before the first plan, so that no broker is given a role in a topic that goes.
    let deletions = deletion::requested(&mut reign.context, &wishes);
    let plan = takeover::take_over(&mut reign.context);
    reign.carry_out(plan, channels).await?;
    reign.carry_out(deletions, channels).await?;
    // These two watch and read for themselves.
    reign.handle(Event::ReassignmentWish, channels).await?;
    reign.handle(Event::PreferredElectionWish, channels).await?;
    if settings.auto_rebalance {
        info!(target: CONTROLLER, "[Controller {me}]: starting the partition rebalance scheduler");
        reign
            .timers
            .set(Timer::BalanceLeaders, clock.now() + FIRST_REBALANCE);
    }
    info!(target: CONTROLLER,
        "[Controller {me}]: Broker {me} is ready to serve as the new controller with epoch {epoch}");
    Ok(reign)
}

impl Reign {
    /// Watches and reads everything; returns the topics that somebody wants deleted.
    async fn load(&mut self) -> Result<Vec<Arc<str>>> {
        let session = self.store.session.clone();
        let deletions = async {
            match self.settings.rules.delete_topics {
                true => session.children_watched(paths::DELETE_TOPICS).await.map(Some),
                false => Ok(None),
            }
        };
        let (brokers, topics, isr_changes, deletions) = tokio::join!(
            session.children_watched(paths::BROKER_IDS),
            session.children_watched(paths::BROKER_TOPICS),
            session.children_watched(paths::ISR_CHANGES),
            deletions,
        );
        let (brokers, watch) = brokers?;
        self.watches.add(watch, Event::Brokers);
        let (topics, watch) = topics?;
        self.watches.add(watch, Event::Topics);
        let (isr_changes, watch) = isr_changes?;
        self.watches.add(watch, Event::IsrChanges);
        let mut wishes = Vec::new();
        if let Some((names, watch)) = deletions? {
            self.watches.add(watch, Event::DeletionWishes);
            wishes = names
                .unwrap_or_default()
                .iter()
                .map(|name| name.as_str().into())
                .collect();
            info!(target: CONTROLLER,
                "[Controller {}]: List of topics to be deleted: {}", self.context.me, List(wishes.iter()));
        }
        self.context.brokers = self.store.brokers(brokers.unwrap_or_default()).await?;
        let topics: Vec<Arc<str>> = topics
            .unwrap_or_default()
            .iter()
            .map(|t| t.as_str().into())
            .collect();
        let assignments: BTreeMap<_, _> = self.watch_assignments(topics).await?.into_iter().collect();
        let partitions = assignments.iter().flat_map(|(topic, assignment)| {
            assignment.keys().map(|p| TopicPartition::new(topic.clone(), *p))
        });
        let states = self.store.states(partitions.collect()).await?;
        takeover::load(&mut self.context, assignments, states);
        // What these tell has just been read; 0.9.0.1 leaves them until the next one comes.
        let told = isr_changes.unwrap_or_default();
        debug!(target: CONTROLLER, "{} ISR changes were told to the last controller", told.len());
        self.forget_isr_changes(told).await?;
        Ok(wishes)
    }
}
