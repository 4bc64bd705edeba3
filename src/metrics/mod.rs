//! Counting what happens, under the names that Kafka's operators know. Reads no clock and sends
//! nothing anywhere: who marks a meter passes the time, who wants to see takes a [`Registry::snapshot`].
//!
//! [`meter`] holds the arithmetic of rates; this file the names and the registry.

mod meter;

pub use meter::{Meter, Rates};

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};

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

#[derive(Clone)]
enum Metric {
    Set(Gauge),
    Asked(Arc<dyn Fn() -> i64 + Send + Sync>),
    Meter(Arc<Meter>),
}

/// What a metric showed when asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// A gauge's value.
    Value(i64),
    /// A meter's count and rates.
    Rates(Rates),
}

/// All metrics of one broker. Cheap to clone; clones share everything.
#[derive(Clone, Default)]
pub struct Registry {
    metrics: Arc<RwLock<BTreeMap<Name, Metric>>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry({} metrics)", self.read().len())
    }
}

impl Registry {
    /// Nothing counted yet.
    pub fn new() -> Registry {
        Registry::default()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Name, Metric>> {
        self.metrics.read().expect("a holder of the registry panicked")
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<Name, Metric>> {
        self.metrics.write().expect("a holder of the registry panicked")
    }

    /// The gauge of that name, made if it is not there. Replaces a metric of another kind.
    pub fn gauge(&self, name: Name) -> Gauge {
        let mut metrics = self.write();
        if let Some(Metric::Set(gauge)) = metrics.get(&name) {
            return gauge.clone();
        }
        let gauge = Gauge::default();
        metrics.insert(name, Metric::Set(gauge.clone()));
        gauge
    }

    /// A gauge whose value is computed when somebody looks. Replaces what had the name.
    pub fn gauge_of(&self, name: Name, value: impl Fn() -> i64 + Send + Sync + 'static) {
        self.write().insert(name, Metric::Asked(Arc::new(value)));
    }

    /// The meter of that name, made if it is not there. Replaces a metric of another kind.
    pub fn meter(&self, name: Name) -> Arc<Meter> {
        if let Some(Metric::Meter(meter)) = self.read().get(&name) {
            return meter.clone();
        }
        let mut metrics = self.write();
        if let Some(Metric::Meter(meter)) = metrics.get(&name) {
            return meter.clone();
        }
        let meter = Arc::new(Meter::default());
        metrics.insert(name, Metric::Meter(meter.clone()));
        meter
    }

    /// Forgets a metric, as of a partition that went away.
    pub fn remove(&self, name: &Name) {
        self.write().remove(name);
    }

    /// Every metric's name and what it shows at `now`, by name.
    pub fn snapshot(&self, now: crate::util::clock::Mono) -> Vec<(Name, Shown)> {
        // Computed gauges may take locks of their own, so they run after this one is released.
        let metrics = self.read().clone();
        metrics
            .into_iter()
            .map(|(name, metric)| {
                let shown = match metric {
                    Metric::Set(gauge) => Shown::Value(gauge.get()),
                    Metric::Asked(value) => Shown::Value(value()),
                    Metric::Meter(meter) => Shown::Rates(meter.rates(now)),
                };
                (name, shown)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::clock::Mono;

    #[test]
    fn the_same_name_gives_the_same_metric() {
        let registry = Registry::new();
        let name = || Name::new("kafka.server", "KafkaServer", "BrokerState", &[]);
        registry.gauge(name()).set(3);
        assert_eq!(registry.gauge(name()).get(), 3);
        let topic = Name::new(
            "kafka.server",
            "BrokerTopicMetrics",
            "BytesInPerSec",
            &[("topic", "t")],
        );
        registry.meter(topic.clone()).mark(Mono::default(), 7);
        registry.gauge_of(
            Name::new("kafka.log", "Log", "Size", &[("topic", "t"), ("partition", "0")]),
            || 9,
        );
        let shown: Vec<_> = registry
            .snapshot(Mono::default())
            .into_iter()
            .map(|(name, shown)| (name.to_string(), shown))
            .collect();
        assert_eq!(
            shown[0],
            (
                "kafka.log:type=Log,name=Size,topic=t,partition=0".into(),
                Shown::Value(9)
            )
        );
        assert_eq!(
            shown[1].0,
            "kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec,topic=t"
        );
        assert!(matches!(shown[1].1, Shown::Rates(Rates { count: 7, .. })));
        assert_eq!(shown[2].1, Shown::Value(3));
        registry.remove(&topic);
        assert_eq!(registry.snapshot(Mono::default()).len(), 2);
    }
}
