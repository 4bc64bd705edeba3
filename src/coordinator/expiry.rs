//! The coordinator's clocks: sessions that end, and offsets that expire.

use std::sync::Arc;
use std::time::Duration;

use ::log::{error, info, warn};

use super::coordinator::{Cell, GroupCoordinator, LOGGER};
use super::offsets::Expiring;
use super::shard::Phase;
use super::store;
use crate::util::shutdown::Stop;

impl GroupCoordinator {
    /// Looks at each group when its time has come.
    pub(super) async fn keep_time(self: Arc<Self>, mut stop: Stop) {
        loop {
            let due = self.timers.lock().pop_due(self.clock.now());
            if let Some(partition) = due {
                self.tick(partition);
                continue;
            }
            let next = self.timers.lock().next();
            tokio::select! {
                () = stop.wait() => return,
                () = self.timers.earlier.notified() => {}
                () = self.clock.sleep_until_some(next) => {}
            }
        }
    }

    /// Forgets expired offsets, now and then every `offsets.retention.check.interval.ms`.
    pub(super) async fn keep_expiring(self: Arc<Self>, mut stop: Stop) {
        loop {
            let begun = self.clock.now();
            let expired: usize = self.all_cells().iter().map(|cell| self.expire(cell)).sum();
            let took = self.clock.now().since(begun).as_millis();
            info!(target: LOGGER, "[Group Metadata Manager on Broker {}]: Removed {expired} expired offsets in {took} milliseconds.", self.me);
            tokio::select! {
                () = stop.wait() => return,
                () = self.clock.sleep(self.settings.retention_check) => {}
            }
        }
    }

    /// Forgets a partition's expired offsets and says so in its log, where nobody's acknowledgement is
    /// waited for: a tombstone that is lost is written again by the next leader. Returns how many.
    fn expire(self: &Arc<Self>, cell: &Arc<Cell>) -> usize {
        self.on(cell, |held, _| {
            if !matches!(held.shard.phase(), Phase::Here(_)) {
                return 0;
            }
            let now = self.clock.wall();
            let expired = held.shard.expire(now);
            for set in store::tombstones(&expired) {
                if let Err(e) = self.replicas.append_local(1, &cell.id, set) {
                    error!(target: LOGGER, "[Group Metadata Manager on Broker {}]: Failed to mark {} expired offsets for deletion in {}: {e}", self.me, expired.len(), cell.id);
                }
            }
            for soon in held.shard.offsets.expiring(now, self.ahead()) {
                self.warn(&soon, now.0);
            }
            expired.len()
        })
    }

    /// How long before the end a group is warned of: at least two looks before.
    fn ahead(&self) -> Duration {
        (self.settings.retention / 10).max(self.settings.retention_check * 2)
    }

    fn warn(&self, soon: &Expiring, now: i64) {
        let Expiring {
            group,
            offsets,
            first,
            topic,
        } = soon;
        let left = (first.0 - now).max(0) / 1000;
        warn!(
            target: LOGGER,
            "[Group Metadata Manager on Broker {}]: {offsets} offsets of group {group}, which has no members, will expire, the first (of topic {topic}) in {left} s; a consumer that comes later begins where its auto.offset.reset says. Commit again, or raise offsets.retention.minutes",
            self.me
        );
    }
}
