//! The cleaner's threads: each takes the filthiest log that is free, cleans it, and looks again; when there is
//! none it waits. A log that cannot be cleaned is set aside, with an error line and a gauge, and tried again
//! after a while; the others are cleaned as before. (0.9.0.1's thread dies, silently, KAFKA-3894.)

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use ::log::{error, info, warn};

use crate::log::Log;
use crate::metrics::{Meter, Name, Registry};
use crate::util::blocking::on_thread;
use crate::util::clock::Clock;
use crate::util::shutdown::Stop;

use super::clean::{Standing, Work};
use super::plan::{Candidate, FirstDirty, filthiest};
use super::stats::Stats;
use super::throttle::Throttle;
use super::turns::SetAside;
use super::{Error, TARGET};

/// How long a log is left alone after its first failure; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// No longer than this.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// The broker's settings for compaction.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanerSettings {
    /// `log.cleaner.threads`, at least one.
    pub threads: usize,
    /// `log.cleaner.dedupe.buffer.size`: bytes for the tables of keys of all threads.
    pub dedupe_buffer_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`: the share of a table that may be filled.
    pub load_factor: f64,
    /// `log.cleaner.io.buffer.size`: bytes for reading and writing, of all threads.
    pub io_buffer_bytes: usize,
    /// `message.max.bytes`: to what size a buffer is doubled.
    pub max_message_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`, read and written by all threads.
    pub io_max_bytes_per_second: f64,
    /// `log.cleaner.backoff.ms`: the wait when there is nothing to clean.
    pub backoff: Duration,
}

impl Default for CleanerSettings {
    fn default() -> CleanerSettings {
        CleanerSettings {
            threads: 1,
            dedupe_buffer_bytes: 128 << 20,
            load_factor: 0.9,
            io_buffer_bytes: 512 << 10,
            max_message_bytes: 1_000_012,
            io_max_bytes_per_second: f64::MAX,
            backoff: Duration::from_secs(15),
        }
    }
}

impl CleanerSettings {
    /// What one of a thread's two buffers holds.
    pub(super) fn buffer_bytes(&self) -> usize {
        self.io_buffer_bytes / self.threads.max(1) / 2
    }

    /// What one thread's table may take: no more than 2 GiB, as in Kafka, so that the same settings make for
    /// the same cleanings.
    pub(super) fn table_bytes(&self) -> usize {
        let share = self.dedupe_buffer_bytes / self.threads.max(1) as u64;
        usize::try_from(share.min(i32::MAX as u64)).unwrap_or(usize::MAX)
    }
}

/// What all threads share. See the module.
#[derive(Debug)]
pub struct Cleaner {
    pub(super) settings: CleanerSettings,
    pub(super) clock: Clock,
    throttle: Throttle,
    io: OnceLock<Arc<Meter>>,
    /// Each thread's last cleaning.
    last: Mutex<Vec<Stats>>,
    /// The largest dirty share that was seen, in percent.
    dirtiest: AtomicU64,
    set_aside: AtomicUsize,
}

impl Cleaner {
    /// Nothing is cleaned yet.
    pub fn new(settings: CleanerSettings, clock: Clock) -> Cleaner {
        if settings.dedupe_buffer_bytes / settings.threads.max(1) as u64 > i32::MAX as u64 {
            warn!(
                target: TARGET,
                "Cannot use more than 2G of cleaner buffer space per cleaner thread, ignoring excess buffer space..."
            );
        }
        Cleaner {
            throttle: Throttle::new(settings.io_max_bytes_per_second),
            last: Mutex::new(vec![Stats::default(); settings.threads.max(1)]),
            settings,
            clock,
            io: OnceLock::new(),
            dirtiest: AtomicU64::new(0),
            set_aside: AtomicUsize::new(0),
        }
    }

    /// How many threads it is to have.
    pub fn threads(&self) -> usize {
        self.settings.threads.max(1)
    }

    /// Runs one thread until asked to stop. `logs` are all logs as of each moment.
    pub async fn run(self: Arc<Self>, thread: usize, logs: impl Fn() -> Vec<Arc<Log>>, mut stop: Stop) {
        info!(target: TARGET, "[kafka-log-cleaner-thread-{thread}], Starting ");
        while !stop.is_asked() {
            let (cleaner, all, asked) = (Arc::clone(&self), logs(), stop.clone());
            if on_thread(move || cleaner.clean_filthiest(thread, all, &asked)).await {
                continue;
            }
            tokio::select! {
                () = stop.wait() => {}
                () = self.clock.sleep(self.settings.backoff) => {}
            }
        }
        for what in ["Shutting down", "Stopped ", "Shutdown completed"] {
            info!(target: TARGET, "[kafka-log-cleaner-thread-{thread}], {what}");
        }
    }

    /// Cleans the filthiest of `logs` that is free. Returns whether there may be more to do. Blocking.
    pub(crate) fn clean_filthiest(&self, thread: usize, mut logs: Vec<Arc<Log>>, stop: &Stop) -> bool {
        logs.retain(|log| log.config().compact && log.check_directory().is_ok());
        logs.sort_by(|a, b| a.topic_partition().cmp(b.topic_partition()));
        let Some(log) = self.choose(thread, &logs) else {
            return false;
        };
        if let Some(running) = log.turns().begin() {
            let mut work = Work::new(self, thread, &log, running, stop);
            // A mistake of ours must not keep the other logs from being cleaned.
            let ended = catch_unwind(AssertUnwindSafe(|| self.clean(&mut work)));
            drop(work);
            match ended {
                Ok(Ok(())) => log.turns().put_aside(None),
                Ok(Err(Error::Interrupted)) => {}
                Ok(Err(Error::Log(e))) => {
                    // A disk that failed takes its directory with it, one that was full does not.
                    let failed = log.directory().watch(Err::<(), _>(e));
                    failed.unwrap_or_else(|e| self.set_aside(thread, &log, &e.to_string()));
                }
                Err(_) => self.set_aside(thread, &log, "the cleaner panicked"),
            }
        }
        true
    }

    fn choose(&self, thread: usize, logs: &[Arc<Log>]) -> Option<Arc<Log>> {
        let now = self.clock.now();
        let (mut dirtiest, mut set_aside) = (0.0, 0);
        let mut candidates = Vec::new();
        for log in logs.iter().filter(|log| log.turns().is_free()) {
            let aside = log.turns().set_aside();
            set_aside += usize::from(aside.is_some());
            let ratio = match Standing::of(log) {
                Ok(standing) => standing.dirt.ratio(),
                Err(e) if aside.is_none() => {
                    self.set_aside(thread, log, &e.to_string());
                    set_aside += 1;
                    None
                }
                Err(_) => None,
            };
            let Some(ratio) = ratio else { continue };
            dirtiest = f64::max(dirtiest, ratio);
            if aside.is_none_or(|a| a.again <= now) {
                candidates.push(Candidate {
                    log,
                    ratio,
                    least: log.config().min_cleanable_dirty_ratio,
                });
            }
        }
        self.dirtiest.store((100.0 * dirtiest) as u64, Ordering::Relaxed);
        self.set_aside.store(set_aside, Ordering::Relaxed);
        filthiest(candidates).map(Arc::clone)
    }

    fn clean(&self, work: &mut Work<'_>) -> super::Result<()> {
        let log = work.log;
        // Looked at again: until the turn was taken others could cut the log.
        let standing = Standing::of(log)?;
        if standing.dirt.dirty == 0 {
            return Ok(());
        }
        if let FirstDirty::Reset { start, remembered } = standing.first_dirty {
            error!(
                target: TARGET,
                "Resetting first dirty offset to log start offset {start} since the checkpointed offset {remembered} is invalid."
            );
        }
        let cleaned = work.clean(&standing)?;
        log.set_cleaner_point(cleaned)?;
        let from = standing.first_dirty.offset();
        let report = work.stats.report(work.thread, &log.name(), from, cleaned);
        info!(target: TARGET, "[kafka-log-cleaner-thread-{}], {report}", work.thread);
        if work.stats.keyless > 0 {
            warn!(
                target: TARGET,
                "[kafka-log-cleaner-thread-{}], \tFound {} invalid messages during compaction.",
                work.thread, work.stats.keyless
            );
        }
        if work.stats.unreadable > 0 {
            warn!(
                target: TARGET,
                "[kafka-log-cleaner-thread-{}], \tFound {} unreadable messages during compaction, which are kept.",
                work.thread, work.stats.unreadable
            );
        }
        self.last()[work.thread] = std::mem::take(&mut work.stats);
        Ok(())
    }

    fn set_aside(&self, thread: usize, log: &Log, reason: &str) {
        let failures = log.turns().set_aside().map_or(0, |a| a.failures);
        let pause = FIRST_PAUSE
            .saturating_mul(1 << failures.min(10))
            .min(LONGEST_PAUSE);
        error!(
            target: TARGET,
            "[kafka-log-cleaner-thread-{thread}], Log {} cannot be cleaned and is set aside for {} seconds, others are cleaned as before: {reason}",
            log.name(), pause.as_secs()
        );
        log.turns().put_aside(Some(SetAside {
            failures: failures + 1,
            again: self.clock.now() + pause,
        }));
    }

    /// Counts bytes read or written; how long to sleep for it.
    pub(super) fn count_io(&self, bytes: u64) -> Duration {
        let now = self.clock.now();
        if let Some(meter) = self.io.get() {
            meter.mark(now, bytes);
        }
        self.throttle.observe(now, bytes)
    }

    /// Shows Kafka's metrics of the cleaner, and how many logs are set aside.
    pub fn show_in(self: &Arc<Self>, metrics: &Registry) {
        let throttled = Name::new("kafka.utils", "Throttler", "cleaner-io", &[]);
        let _ = self.io.set(metrics.meter(throttled));
        let show = |kind: &str, name: &str, value: fn(&Cleaner) -> i64| {
            let cleaner = Arc::downgrade(self);
            metrics.gauge_of(Name::new("kafka.log", kind, name, &[]), move || {
                cleaner.upgrade().map_or(0, |c| value(&c))
            });
        };
        show("LogCleaner", "max-buffer-utilization-percent", |c| {
            c.most(|s| 100.0 * s.utilization)
        });
        show("LogCleaner", "max-clean-time-secs", |c| {
            c.most(|s| s.elapsed.as_secs_f64())
        });
        show("LogCleaner", "cleaner-recopy-percent", Cleaner::recopied_percent);
        show("LogCleanerManager", "max-dirty-percent", |c| {
            c.dirtiest.load(Ordering::Relaxed).cast_signed()
        });
        show("LogCleanerManager", "uncleanable-partitions-count", |c| {
            i64::try_from(c.set_aside.load(Ordering::Relaxed)).unwrap_or(i64::MAX)
        });
    }

    fn most(&self, figure: impl Fn(&Stats) -> f64) -> i64 {
        self.last().iter().map(figure).fold(0.0, f64::max) as i64
    }

    fn recopied_percent(&self) -> i64 {
        let last = self.last();
        let (read, written) = last.iter().fold((0, 0), |(read, written), s| {
            (read + s.read.bytes, written + s.written.bytes)
        });
        (100.0 * written as f64 / read.max(1) as f64) as i64
    }

    /// The figures of a thread's last cleaning.
    #[cfg(test)]
    pub(super) fn last_of(&self, thread: usize) -> Stats {
        self.last()[thread].clone()
    }

    fn last(&self) -> MutexGuard<'_, Vec<Stats>> {
        self.last.lock().expect("a cleaner panicked while reporting")
    }
}
