//! How values are spread: count, extremes, mean and deviation since the start, percentiles of the last
//! minutes, as Kafka's histograms show them.
//!
//! Values fall into buckets: each its own below 64, sixteen to a power of two above, so a percentile is
//! never off by more than a sixteenth. A value costs a few atomic additions and no lock. The buckets are
//! kept for two windows of time, the present one and the one before, and come into being with the first
//! value: an idle histogram costs nothing.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use crate::util::clock::Mono;

/// Percentiles reach back at least so far, and at most twice as far.
const WINDOW: Duration = Duration::from_secs(150);
/// Below, each value has its own bucket.
const EXACT: u64 = 64;
/// Buckets for a power of two.
const PARTS: usize = 16;
/// The power of two beyond which all is one.
const TOP: u32 = 41;
const BUCKETS: usize = EXACT as usize + (TOP as usize - 6) * PARTS;

/// A histogram of whole numbers.
#[derive(Debug, Default)]
pub struct Histogram {
    count: AtomicU64,
    sum: AtomicU64,
    /// Of squares; what does not fit is as large as can be.
    squares: AtomicU64,
    /// One more than the smallest, so that 0 is none.
    least: AtomicU64,
    most: AtomicU64,
    windows: OnceLock<Box<[Window; 2]>>,
    /// Held while a window is emptied.
    turning: Mutex<()>,
}

#[derive(Debug)]
struct Window {
    /// One more than the number of its window of time, so that 0 is none.
    number: AtomicU64,
    counts: [AtomicU32; BUCKETS],
}

impl Default for Window {
    fn default() -> Window {
        Window {
            number: AtomicU64::new(0),
            counts: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }
}

/// What a histogram shows. All 0 while it is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Values since the start.
    pub count: u64,
    /// The smallest since the start.
    pub min: f64,
    /// The largest since the start.
    pub max: f64,
    /// Mean since the start.
    pub mean: f64,
    /// Standard deviation since the start.
    pub std_dev: f64,
    /// At 50, 75, 95, 98, 99 and 99.9 percent of the last minutes' values.
    pub percentiles: [f64; 6],
}

/// Which percentiles are shown.
pub const PERCENTILES: [f64; 6] = [0.5, 0.75, 0.95, 0.98, 0.99, 0.999];

impl Distribution {
    /// The same in a unit that is `factor` times as large.
    #[must_use]
    pub fn in_units_of(self, factor: f64) -> Distribution {
        Distribution {
            count: self.count,
            min: self.min / factor,
            max: self.max / factor,
            mean: self.mean / factor,
            std_dev: self.std_dev / factor,
            percentiles: self.percentiles.map(|p| p / factor),
        }
    }
}

impl Histogram {
    /// Takes a value of the time `now`.
    pub fn update(&self, now: Mono, value: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
        let square = value.saturating_mul(value);
        let _ = self
            .squares
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| {
                Some(sum.saturating_add(square))
            });
        let marked = value.saturating_add(1);
        let _ = self
            .least
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |least| {
                (least == 0 || marked < least).then_some(marked)
            });
        self.most.fetch_max(value, Ordering::Relaxed);
        self.window(now).counts[bucket(value)].fetch_add(1, Ordering::Relaxed);
    }

    /// Values since the start.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// What it shows at `now`.
    pub fn distribution(&self, now: Mono) -> Distribution {
        let count = self.count();
        if count == 0 {
            return Distribution::default();
        }
        let n = count as f64;
        let mean = self.sum.load(Ordering::Relaxed) as f64 / n;
        let squares = self.squares.load(Ordering::Relaxed) as f64;
        let variance = if count > 1 {
            (squares - n * mean * mean) / (n - 1.0)
        } else {
            0.0
        };
        Distribution {
            count,
            min: self.least.load(Ordering::Relaxed).saturating_sub(1) as f64,
            max: self.most.load(Ordering::Relaxed) as f64,
            mean,
            std_dev: variance.max(0.0).sqrt(),
            percentiles: self.percentiles(now),
        }
    }

    /// The window of the time `now`, emptied if it held another time's values.
    fn window(&self, now: Mono) -> &Window {
        let windows = self.windows.get_or_init(Box::default);
        let number = number(now);
        let window = &windows[(number % 2) as usize];
        if window.number.load(Ordering::Acquire) < number {
            let _one = self.turning.lock().expect("a histogram's user panicked");
            if window.number.load(Ordering::Relaxed) < number {
                for count in &window.counts {
                    count.store(0, Ordering::Relaxed);
                }
                window.number.store(number, Ordering::Release);
            }
        }
        window
    }

    fn percentiles(&self, now: Mono) -> [f64; 6] {
        let mut counts = vec![0u64; BUCKETS];
        for window in self.windows.get().iter().flat_map(|w| w.iter()) {
            if window.number.load(Ordering::Acquire) + 1 >= number(now) {
                for (sum, count) in counts.iter_mut().zip(&window.counts) {
                    *sum += u64::from(count.load(Ordering::Relaxed));
                }
            }
        }
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return [0.0; 6];
        }
        // The value with that many values before it.
        let nth = |n: u64| {
            let mut seen = 0;
            let at = counts.iter().position(|count| {
                seen += count;
                seen > n
            });
            value_of(at.unwrap_or(BUCKETS - 1))
        };
        PERCENTILES.map(|quantile| {
            // Between two values, as Kafka's histograms interpolate.
            let position = quantile * (total + 1) as f64;
            if position < 1.0 {
                return nth(0);
            }
            if position >= total as f64 {
                return nth(total - 1);
            }
            let below = position.floor();
            let (lower, upper) = (nth(below as u64 - 1), nth(below as u64));
            lower + (position - below) * (upper - lower)
        })
    }
}

fn number(now: Mono) -> u64 {
    now.0.as_secs() / WINDOW.as_secs() + 1
}

fn bucket(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let power = 63 - value.leading_zeros();
    if power >= TOP {
        return BUCKETS - 1;
    }
    let part = (value >> (power - 4)) as usize & (PARTS - 1);
    EXACT as usize + (power as usize - 6) * PARTS + part
}

/// The middle of a bucket.
fn value_of(bucket: usize) -> f64 {
    if bucket < EXACT as usize {
        return bucket as f64;
    }
    let (power, part) = ((bucket - EXACT as usize) / PARTS + 6, bucket % PARTS);
    let step = (1u64 << (power - 4)) as f64;
    (PARTS + part) as f64 * step + (step - 1.0) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Mono {
        Mono::from_millis(secs * 1000)
    }

    #[test]
    fn small_values_are_exact_and_interpolated() {
        let histogram = Histogram::default();
        assert_eq!(histogram.distribution(at(0)), Distribution::default());
        for value in 1..=9 {
            histogram.update(at(1), value);
        }
        let seen = histogram.distribution(at(2));
        assert_eq!((seen.count, seen.min, seen.max, seen.mean), (9, 1.0, 9.0, 5.0));
        assert!((seen.std_dev - 7.5f64.sqrt()).abs() < 1e-9);
        assert_eq!(seen.percentiles, [5.0, 7.5, 9.0, 9.0, 9.0, 9.0]);
        assert_eq!(seen.in_units_of(10.0).mean, 0.5);
    }

    #[test]
    fn large_values_are_off_by_a_sixteenth_at_most() {
        let mut value = 1u64;
        while value < 1 << 40 {
            let shown = value_of(bucket(value));
            assert!(
                (shown - value as f64).abs() <= value as f64 / 16.0,
                "{value} {shown}"
            );
            value = value * 17 / 13 + 1;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert!((0..1 << 20).map(bucket).is_sorted());
    }

    #[test]
    fn percentiles_forget_what_is_minutes_old() {
        let histogram = Histogram::default();
        histogram.update(at(10), 50);
        histogram.update(at(200), 10);
        assert_eq!(histogram.distribution(at(250)).percentiles[5], 50.0);
        histogram.update(at(310), 10);
        let later = histogram.distribution(at(320));
        assert_eq!((later.max, later.percentiles[5]), (50.0, 10.0));
        assert_eq!(histogram.distribution(at(1000)).percentiles, [0.0; 6]);
    }

    #[test]
    fn values_from_many_threads_are_all_counted() {
        let histogram = Histogram::default();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let histogram = &histogram;
                scope.spawn(move || (0..1000).for_each(|n| histogram.update(at(n / 2), thread)));
            }
        });
        let seen = histogram.distribution(at(500));
        assert_eq!((seen.count, seen.min, seen.max, seen.mean), (4000, 0.0, 3.0, 1.5));
    }
}
