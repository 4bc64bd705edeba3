//! How often something happens: a count, the mean rate, and rates that forget exponentially over
//! one, five and fifteen minutes, as Kafka's meters show them.
//!
//! Time is cut into ticks of five seconds. Whoever comes first after a tick has ended closes it, so
//! no timer is needed and an idle meter costs nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::util::clock::Mono;

const TICK: Duration = Duration::from_secs(5);
const MINUTES: [f64; 3] = [1.0, 5.0, 15.0];

/// A meter. Its time starts with the clock's.
#[derive(Debug, Default)]
pub struct Meter {
    count: AtomicU64,
    /// Marks of the tick that runs.
    open: AtomicU64,
    /// How many ticks are closed; written under `rates`, read without it.
    ticks: AtomicU64,
    /// Events per second over the last 1, 5 and 15 minutes; `None` before the first tick closed.
    rates: Mutex<Option<[f64; 3]>>,
}

/// What a meter shows; rates are events per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Events since the start.
    pub count: u64,
    /// Mean since the clock's start.
    pub mean: f64,
    /// Weighted over the last minute.
    pub one_minute: f64,
    /// Weighted over the last five minutes.
    pub five_minutes: f64,
    /// Weighted over the last fifteen minutes.
    pub fifteen_minutes: f64,
}

impl Meter {
    /// Counts `events` that happened at `now`.
    pub fn mark(&self, now: Mono, events: u64) {
        self.close_ticks(now);
        self.count.fetch_add(events, Ordering::Relaxed);
        self.open.fetch_add(events, Ordering::Relaxed);
    }

    /// Events since the start.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Count and rates as of `now`.
    pub fn rates(&self, now: Mono) -> Rates {
        self.close_ticks(now);
        let count = self.count();
        let [one_minute, five_minutes, fifteen_minutes] = self
            .rates
            .lock()
            .expect("a meter's holder panicked")
            .unwrap_or_default();
        let seconds = now.0.as_secs_f64();
        Rates {
            count,
            mean: if seconds > 0.0 {
                count as f64 / seconds
            } else {
                0.0
            },
            one_minute,
            five_minutes,
            fifteen_minutes,
        }
    }

    fn close_ticks(&self, now: Mono) {
        let due = now.0.as_secs() / TICK.as_secs();
        if self.ticks.load(Ordering::Relaxed) >= due {
            return;
        }
        let mut rates = self.rates.lock().expect("a meter's holder panicked");
        let closed = self.ticks.load(Ordering::Relaxed);
        if closed >= due {
            return;
        }
        // The marks belong to the oldest tick still open; the ones after it saw nothing.
        let seen = self.open.swap(0, Ordering::Relaxed) as f64 / TICK.as_secs_f64();
        let idle = (due - closed - 1) as f64;
        *rates = Some(match *rates {
            None => MINUTES.map(|m| seen * (-idle * TICK.as_secs_f64() / 60.0 / m).exp()),
            Some(old) => std::array::from_fn(|i| {
                let keep = (-TICK.as_secs_f64() / 60.0 / MINUTES[i]).exp();
                (old[i] * keep + seen * (1.0 - keep)) * keep.powf(idle)
            }),
        });
        self.ticks.store(due, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_shows_its_rate_and_silence_lets_it_fade() {
        let meter = Meter::default();
        for second in 0..600 {
            meter.mark(Mono::from_millis(second * 1000), 10);
        }
        let r = meter.rates(Mono::from_millis(600_000));
        assert_eq!(r.count, 6000);
        for rate in [r.mean, r.one_minute, r.five_minutes, r.fifteen_minutes] {
            assert!((rate - 10.0).abs() < 0.01, "{r:?}");
        }
        let later = meter.rates(Mono::from_millis(660_000));
        assert!(
            (later.one_minute - 10.0 * (-1f64).exp()).abs() < 0.01,
            "{later:?}"
        );
        assert_eq!(later.count, 6000);
    }
}
