//! Counting what happens, under the names that Kafka's operators know. Reads no clock and sends
//! nothing anywhere: who marks a meter passes the time, who wants to see takes a [`Registry::snapshot`].
//!
//! [`meter`] holds the arithmetic of rates, [`histogram`] that of spreads, [`timer`] both; [`registry`] who
//! has which name; this file the names. What counts costs a few atomics; docs/metrics.md lists the names.

mod histogram;
mod meter;
mod registry;
mod timer;

pub use histogram::{Distribution, Histogram, PERCENTILES};
pub use meter::{Meter, Rates};
pub use registry::{Registry, Scope, Shown};
pub use timer::Timer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A metric's name as Kafka's registry writes it: `group:type=T,name=N[,tag=value…]`, tags in the
/// order given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// `kafka.server`, `BrokerTopicMetrics`, `MessagesInPerSec`, `[("topic", "t")]`.
    pub fn new(group: &str, kind: &str, name: &str, tags: &[(&str, &str)]) -> Name {
        let mut text = format!("{group}:type={kind},name={name}");
        for (tag, value) in tags {
            text.push(',');
            text.push_str(tag);
            text.push('=');
            text.push_str(value);
        }
        Name(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value that its owner sets; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Replaces the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds to the value, or takes away.
    pub fn add(&self, by: i64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}
