//! What is counted of this broker's replicas, and Kafka's gauges of them.

use std::collections::HashSet;
use std::sync::Arc;

use crate::metrics::{Meter, Name, Registry};

use super::manager::ReplicaManager;
use super::partition::Partition;
use super::purgatory::WaitList;

/// What has happened, of all partitions together.
#[derive(Debug)]
pub(super) struct Meters {
    /// Proposals to take a replica into an in-sync set.
    pub(super) isr_expands: Arc<Meter>,
    /// Proposals to leave lagging ones out.
    pub(super) isr_shrinks: Arc<Meter>,
    /// Messages that followers here cut off.
    cut: Arc<Meter>,
    /// Those of them that had been committed.
    lost: Arc<Meter>,
}

impl Meters {
    pub(super) fn new(metrics: &Registry) -> Meters {
        let meter = |name| metrics.meter(Name::new("kafka.server", "ReplicaManager", name, &[]));
        Meters {
            isr_expands: meter("IsrExpandsPerSec"),
            isr_shrinks: meter("IsrShrinksPerSec"),
            cut: meter("TruncatedMessagesPerSec"),
            lost: meter("LostMessagesPerSec"),
        }
    }
}

impl ReplicaManager {
    /// Shows Kafka's gauges of what this broker leads, holds and copies.
    pub fn show_in(self: &Arc<Self>, metrics: &Registry) {
        let show = |name: Name, count: fn(&ReplicaManager) -> usize| {
            let replicas = Arc::downgrade(self);
            metrics.gauge_of(name, move || {
                let count = replicas.upgrade().map_or(0, |r| count(&r));
                i64::try_from(count).unwrap_or(i64::MAX)
            });
        };
        let name = |name| Name::new("kafka.server", "ReplicaManager", name, &[]);
        show(name("LeaderCount"), |r| r.counts().0);
        show(name("PartitionCount"), |r| r.counts().1);
        show(name("UnderReplicatedPartitions"), |r| r.counts().2);
        let waiting = |name, operation| {
            let tags = [("delayedOperation", operation)];
            Name::new("kafka.server", "DelayedOperationPurgatory", name, &tags)
        };
        show(waiting("PurgatorySize", "Fetch"), |r| r.waiting().0);
        show(waiting("NumDelayedOperations", "Fetch"), |r| r.delayed().0);
        show(waiting("PurgatorySize", "Produce"), |r| r.waiting().1);
        show(waiting("NumDelayedOperations", "Produce"), |r| r.delayed().1);
        self.show_fetchers(metrics);
    }

    /// How many partitions this broker leads, follows or leads, and leads with less than all assigned
    /// replicas in sync.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let all = self.all();
        let states: Vec<_> = all.iter().filter_map(|p| p.sync_state()).collect();
        let under = states
            .iter()
            .filter(|(in_sync, assigned)| in_sync < assigned)
            .count();
        (
            states.len(),
            all.iter().filter(|p| p.log().is_some()).count(),
            under,
        )
    }

    /// How many requests wait for data and how many for replicas, each counted on every partition it
    /// waits for.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let all = self.all();
        let sum = |f: fn(&Partition) -> usize| all.iter().map(|p| f(p)).sum();
        (
            sum(|p| p.readers.len() + p.followers.len()),
            sum(|p| p.writers.len()),
        )
    }

    /// As [`waiting`](Self::waiting), but each request is counted once.
    fn delayed(&self) -> (usize, usize) {
        let all = self.all();
        let distinct = |list: fn(&Partition) -> &WaitList| {
            let ids = all.iter().flat_map(|p| list(p).ids());
            ids.collect::<HashSet<_>>().len()
        };
        (
            distinct(|p| &p.readers) + distinct(|p| &p.followers),
            distinct(|p| &p.writers),
        )
    }

    /// So many messages were cut off a copy, of which so many had been committed.
    pub(super) fn count_cut(&self, cut: u64, lost: u64) {
        if cut > 0 {
            self.meters.cut.mark(self.clock.now(), cut);
            self.meters.lost.mark(self.clock.now(), lost);
        }
    }
}
