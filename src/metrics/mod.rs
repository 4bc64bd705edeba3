//! Counting what happens, under the names that Kafka's operators know. Reads no clock and sends
//! nothing anywhere: who marks a meter passes the time, who wants to see takes a [`Registry::snapshot`].
//!
//! [`meter`] holds the arithmetic of rates, [`histogram`] that of spreads, [`timer`] both; [`registry`] who
//! has which name; [`csv`] how they read in files; this file the names. What counts costs a few atomics;
//! docs/metrics.md lists the names.

pub mod csv;
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

    /// What stands after the group, as `(type, T)`, `(name, N)` and the tags, in their order. A comma that
    /// no `tag=` follows belongs to the value before it: nothing is quoted in a name.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = self.0.split_once(':').map_or("", |(_, pairs)| pairs);
        std::iter::from_fn(move || {
            let (key, after) = rest.split_once('=')?;
            let next = after.match_indices(',').map(|(at, _)| at);
            let mut ends = next.filter(|at| {
                let piece = after[at + 1..].split(',').next().unwrap_or("");
                piece.contains('=')
            });
            let end = ends.next().unwrap_or(after.len());
            rest = after.get(end + 1..).unwrap_or("");
            Some((key, &after[..end]))
        })
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
