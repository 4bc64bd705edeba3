//! How often something is done and how long it takes, as Kafka's timers show it: in milliseconds.

use std::time::Duration;

use super::histogram::{Distribution, Histogram};
use super::meter::{Meter, Rates};
use crate::util::clock::Mono;

/// A timer. Kept in microseconds, so that what is quick shows too.
#[derive(Debug, Default)]
pub struct Timer {
    rate: Meter,
    took: Histogram,
}

impl Timer {
    /// Counts one that ended at `now` after `took`.
    pub fn update(&self, now: Mono, took: Duration) {
        self.rate.mark(now, 1);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.took.update(now, micros);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.rate.count()
    }

    /// How often, and how many milliseconds each, as of `now`.
    pub fn shown(&self, now: Mono) -> (Rates, Distribution) {
        (
            self.rate.rates(now),
            self.took.distribution(now).in_units_of(1000.0),
        )
    }
}
