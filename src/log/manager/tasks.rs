//! What a manager does of its own accord. A task that fails says so and tries again at its next turn;
//! a log whose disk failed refuses appends by itself.

use std::sync::Arc;
use std::time::Duration;

use ::log::{debug, error, info};
use tokio::task::JoinHandle;

use crate::log::{Error, cleaner};
use crate::util::blocking::on_thread;
use crate::util::shutdown::Stop;

use super::LogManager;

/// How often it is looked whether the directories are still there. Until it is noticed that one is not,
/// appends go where nobody finds them.
const LOOK: Duration = Duration::from_secs(1);

impl LogManager {
    /// Starts retention, flushing, checkpoints and chores. They end when asked to `stop`; the caller
    /// joins them before [`LogManager::shutdown`]. Must be called within a tokio runtime.
    pub fn start(self: &Arc<Self>, stop: Stop) -> Vec<JoinHandle<()>> {
        vec![
            self.every(self.settings.retention_check, &stop, LogManager::apply_retention),
            self.every(self.settings.checkpoint, &stop, |manager| {
                if let Err(e) = manager.checkpoint_recovery_points() {
                    failed("kafka-recovery-point-checkpoint", &e);
                }
            }),
            tokio::spawn(Arc::clone(self).keep_looking(stop.clone())),
            tokio::spawn(Arc::clone(self).flush_by_time(stop.clone())),
            tokio::spawn(Arc::clone(self).do_chores(stop)),
        ]
    }

    /// Starts the cleaner's threads, if logs are compacted at all. They end and are joined as those of
    /// [`LogManager::start`]. To be started when high watermarks are known: they bound what is cleaned.
    pub fn start_cleaner(self: &Arc<Self>, stop: &Stop) -> Vec<JoinHandle<()>> {
        let Some(cleaner) = &self.cleaner else {
            return Vec::new();
        };
        info!(target: cleaner::TARGET, "Starting the log cleaner");
        let start = |thread| {
            let (cleaner, manager) = (Arc::clone(cleaner), Arc::clone(self));
            tokio::spawn(cleaner.run(thread, move || manager.all(), stop.clone()))
        };
        (0..cleaner.threads()).map(start).collect()
    }

    /// Removes what every log's retention no longer lets stay.
    pub fn apply_retention(&self) {
        debug!("Beginning log cleanup...");
        let mut deleted = 0;
        for log in self.all() {
            match log.delete_old_segments(self.clock.wall()) {
                Ok(n) => deleted += n,
                Err(Error::Closed(_)) => {}
                Err(e) => failed("kafka-log-retention", &e),
            }
        }
        debug!("Log cleanup completed. {deleted} files deleted");
    }

    /// Flushes the logs whose `flush.ms` has passed.
    pub fn flush_dirty_logs(&self) {
        for log in self.all() {
            if !log.wants_flush(self.clock.wall()) {
                continue;
            }
            if let Err(e) = log.flush() {
                error!("Error flushing topic {}: {e}", log.topic_partition().topic);
            }
        }
    }

    /// Flushes logs that rolled and removes files whose time has come.
    pub fn run_chores(&self) {
        for tp in self.chores.take_flushes() {
            if let Some(log) = self.get(&tp)
                && let Err(e) = log.flush_rolled()
            {
                failed("flush-log", &e);
            }
        }
        self.chores.remove_due(self.clock.now());
        self.finish_removals();
    }

    fn every(
        self: &Arc<Self>,
        period: Duration,
        stop: &Stop,
        work: impl Fn(&LogManager) + Copy + Send + 'static,
    ) -> JoinHandle<()> {
        let (manager, mut stop) = (Arc::clone(self), stop.clone());
        tokio::spawn(async move {
            let mut next = manager.clock.now() + manager.settings.first_delay;
            loop {
                tokio::select! {
                    () = stop.wait() => return,
                    () = manager.clock.sleep_until(next) => {}
                }
                let worker = Arc::clone(&manager);
                on_thread(move || work(&worker)).await;
                next = manager.clock.now() + period;
            }
        })
    }

    /// Looks whether the directories are still there.
    async fn keep_looking(self: Arc<Self>, mut stop: Stop) {
        loop {
            tokio::select! {
                () = stop.wait() => return,
                () = self.clock.sleep(LOOK) => {}
            }
            let manager = Arc::clone(&self);
            on_thread(move || manager.look_at_dirs()).await;
        }
    }

    /// Looks at all logs as often as the settings say, and as the most demanding log's `flush.ms`:
    /// 0.9.0.1 heeds `flush.ms` only if the broker's interval was set too.
    async fn flush_by_time(self: Arc<Self>, mut stop: Stop) {
        let mut next = self.clock.now() + self.settings.first_delay;
        loop {
            tokio::select! {
                () = stop.wait() => return,
                () = self.flush_changed.notified() => {
                    next = next.min(self.clock.now() + self.flush_period());
                    continue;
                }
                () = self.clock.sleep_until(next) => {}
            }
            let worker = Arc::clone(&self);
            on_thread(move || worker.flush_dirty_logs()).await;
            next = self.clock.now() + self.flush_period();
        }
    }

    fn flush_period(&self) -> Duration {
        let logs = self.logs();
        let shortest = logs.values().map(|log| log.config().flush).min();
        let period = self.settings.flush_check;
        // Not without end for a flush.ms of 0.
        shortest.map_or(period, |s| period.min(s.max(Duration::from_millis(10))))
    }

    async fn do_chores(self: Arc<Self>, mut stop: Stop) {
        loop {
            tokio::select! {
                () = stop.wait() => return,
                () = self.chores.noted.notified() => {}
                () = self.clock.sleep_until_some(self.chores.next()) => {}
            }
            let worker = Arc::clone(&self);
            on_thread(move || worker.run_chores()).await;
        }
    }
}

fn failed(task: &str, e: &Error) {
    error!("Uncaught exception in scheduled task '{task}': {e}");
}
