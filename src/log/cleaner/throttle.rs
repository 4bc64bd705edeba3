//! Keeps the reading and writing of all cleaner threads together below a rate
//! (`log.cleaner.io.max.bytes.per.second`). Pure: told what was done and when, it says how long to sleep.

use std::sync::Mutex;
use std::time::Duration;

use crate::util::clock::Mono;

/// How much passes before the rate is looked at, as in 0.9.0.1.
const PERIOD: Duration = Duration::from_millis(300);

/// See the module.
#[derive(Debug)]
pub(crate) struct Throttle {
    bytes_per_second: f64,
    period: Mutex<Period>,
}

#[derive(Debug, Default)]
struct Period {
    /// When it began; in the future while somebody sleeps off what was too much.
    start: Mono,
    bytes: f64,
}

impl Throttle {
    /// Allows that many bytes per second.
    pub(crate) fn new(bytes_per_second: f64) -> Throttle {
        Throttle {
            bytes_per_second,
            period: Mutex::default(),
        }
    }

    /// Counts `bytes` that were read or written, and returns how long the one who did it is to sleep.
    pub(crate) fn observe(&self, now: Mono, bytes: u64) -> Duration {
        let mut period = self.period.lock().expect("a cleaner panicked while counting");
        period.bytes += bytes as f64;
        if now < period.start {
            return period.start.since(now);
        }
        let elapsed = now.since(period.start);
        if elapsed <= PERIOD {
            return Duration::ZERO;
        }
        let needed = period.bytes / self.bytes_per_second;
        // A rate of nothing, or less, lets nothing more pass for a long while.
        let needed = Duration::try_from_secs_f64(needed).unwrap_or(Duration::from_hours(1));
        let sleep = needed.saturating_sub(elapsed);
        *period = Period {
            start: now + sleep,
            bytes: 0.0,
        };
        sleep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_over_a_long_run_of_two_threads() {
        let throttle = Throttle::new(1000.0);
        let (mut now, mut bytes) = ([Mono::default(); 2], 0);
        while now.iter().all(|n| n.0 < Duration::from_secs(100)) {
            let who = usize::from(now[1] < now[0]);
            // Naturally ten times as fast.
            now[who] = now[who] + Duration::from_millis(20);
            now[who] = now[who] + throttle.observe(now[who], 100);
            bytes += 100;
        }
        assert!((90_000..=110_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn who_is_slow_by_nature_never_sleeps() {
        let throttle = Throttle::new(1000.0);
        for n in 1..100 {
            assert_eq!(throttle.observe(Mono::from_millis(n * 100), 90), Duration::ZERO);
        }
        let free = Throttle::new(f64::MAX);
        assert_eq!(free.observe(Mono::from_millis(5000), u64::MAX), Duration::ZERO);
        assert!(Throttle::new(0.0).observe(Mono::from_millis(5000), 1) > Duration::from_secs(60));
        assert!(Throttle::new(-1.0).observe(Mono::from_millis(5000), 1) > Duration::from_secs(60));
    }
}
