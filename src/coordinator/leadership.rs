//! Which partitions of the offsets topic are this broker's: what it gains it reads, what it loses it
//! forgets. And how many there are.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ::log::{debug, error, info, warn};
use tokio::sync::watch;

use super::coordinator::{Cell, GroupCoordinator, LOGGER};
use super::error::Error;
use super::loader::{self, Loaded};
use super::shard::Phase;
use crate::cluster::topic::OFFSETS_TOPIC;
use crate::cluster::{MetadataImage, TopicPartition};
use crate::log;
use crate::replica::Term;
use crate::util::blocking;
use crate::util::shutdown::Stop;
use crate::zookeeper::znodes::topic;
use crate::zookeeper::{self, paths};

/// How long after a failure the log, or ZooKeeper, is read again.
const RETRY: Duration = Duration::from_secs(1);

impl GroupCoordinator {
    /// Looks which of these partitions this broker leads by now; those of other topics are nobody's
    /// business here. To be told after every change of roles, and of copies given up.
    ///
    /// The order of calls does not matter: what counts is what the replicas say at the moment.
    pub fn roles_changed<'a>(self: &Arc<Self>, partitions: impl IntoIterator<Item = &'a TopicPartition>) {
        for id in partitions {
            if &*id.topic == OFFSETS_TOPIC {
                self.role_changed(id);
            }
        }
    }

    fn role_changed(self: &Arc<Self>, id: &TopicPartition) {
        let cell = self.cell(id.partition);
        let term = self.on(&cell, |held, fx| {
            let known = held.shard.term();
            let now = self
                .replicas
                .term(id)
                .filter(|_| self.active.load(Ordering::SeqCst));
            if now == known {
                return None;
            }
            if known.is_some() {
                let (offsets, groups) = (held.shard.offsets.len(), held.shard.len());
                held.shard.give_up(Error::NotCoordinator, fx);
                self.forgot(id, offsets, "offsets");
                self.forgot(id, groups, "groups");
            }
            held.shard.take_over(now?, fx);
            now
        });
        if let Some(term) = term {
            tokio::spawn(self.clone().load(cell, term));
        }
    }

    fn forgot(&self, id: &TopicPartition, n: usize, what: &str) {
        if n > 0 {
            info!(target: LOGGER, "[Group Metadata Manager on Broker {}]: Removed {n} cached {what} for {id} on follower transition.", self.me);
        }
    }

    /// Reads a partition, again after failures, as long as the leadership lasts.
    async fn load(self: Arc<Self>, cell: Arc<Cell>, term: Term) {
        // Never closed.
        let Ok(_turn) = self.loads.acquire().await else {
            return;
        };
        let (me, id) = (self.me, cell.id.clone());
        info!(target: LOGGER, "[Group Metadata Manager on Broker {me}]: Loading offsets and group metadata from {id}");
        let begun = self.clock.now();
        loop {
            match self.read(&cell, term).await {
                Ok(Some(loaded)) => {
                    self.on(&cell, |held, fx| {
                        held.shard.loaded(self.clock.now(), term, loaded, fx)
                    });
                    let took = self.clock.now().since(begun).as_millis();
                    info!(target: LOGGER, "[Group Metadata Manager on Broker {me}]: Finished loading offsets from {id} in {took} milliseconds.");
                    return;
                }
                Ok(None) => {
                    debug!(target: LOGGER, "[Group Metadata Manager on Broker {me}]: {id} is no longer wanted");
                    return;
                }
                // Kafka would go on with what it has, and tell clients that they never committed.
                Err(e) => {
                    error!(target: LOGGER, "[Group Metadata Manager on Broker {me}]: Error in loading offsets from {id}: {e}");
                    self.clock.sleep(RETRY).await;
                }
            }
        }
    }

    async fn read(&self, cell: &Arc<Cell>, term: Term) -> log::Result<Option<Loaded>> {
        let Ok(log) = self.replicas.led_log(&cell.id) else {
            return Ok(None);
        };
        let (buffer, retention) = (self.settings.load_buffer_bytes, self.settings.retention);
        let cell = cell.clone();
        let wanted = move || cell.lock().shard.phase() == Phase::Loading(term);
        blocking::on_thread(move || loader::read(&log, buffer, retention, wanted)).await
    }

    /// Finds out how many partitions the offsets topic has, at the start or when it is made, and forgets
    /// it when the topic is deleted.
    ///
    /// Kafka looks once at its start and takes the configured number if there is no topic yet: then
    /// brokers of different configurations look for a group in different places.
    pub(super) async fn count_partitions(self: Arc<Self>, mut stop: Stop) {
        tokio::select! {
            // Whatever the other waits for: ZooKeeper may not answer for long.
            () = stop.wait() => {}
            () = self.keep_counting() => {}
        }
    }

    async fn keep_counting(&self) {
        let mut image = self.replicas.metadata();
        let mut was_there = false;
        let mut look = true;
        loop {
            let is_there = knows(&image);
            if was_there && !is_there {
                self.partitions.store(0, Ordering::SeqCst);
            }
            look |= is_there && self.partitions.load(Ordering::SeqCst) == 0;
            was_there = is_there;
            if look {
                match self.read_count().await {
                    Ok(count) => {
                        self.partitions.store(count, Ordering::SeqCst);
                        look = false;
                    }
                    Err(e) => {
                        warn!(target: LOGGER, "[Group Metadata Manager on Broker {}]: the partitions of {OFFSETS_TOPIC} cannot be counted: {e}", self.me);
                    }
                }
            }
            tokio::select! {
                changed = image.changed() => if changed.is_err() { return },
                () = self.clock.sleep(RETRY), if look => {}
            }
        }
    }

    /// 0 if there is no such topic.
    async fn read_count(&self) -> Result<i32, String> {
        let node = self.zookeeper.get(&paths::topic(OFFSETS_TOPIC)).await;
        let node = node.map_err(|e: zookeeper::Error| e.to_string())?;
        let Some(data) = node.and_then(|n| n.data) else {
            return Ok(0);
        };
        let assignment = topic::decode(&data).map_err(|e| e.to_string())?;
        i32::try_from(assignment.len()).map_err(|e| e.to_string())
    }
}

fn knows(image: &watch::Receiver<Arc<MetadataImage>>) -> bool {
    image.borrow().topics.contains_key(OFFSETS_TOPIC)
}
