//! All metrics of one broker by name, and the [`Scope`] that takes those of a part away when it goes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use super::{Distribution, Gauge, Histogram, Meter, Name, Rates, Timer};
use crate::util::clock::Mono;

#[derive(Clone)]
enum Metric {
    Set(Gauge),
    Asked(Arc<dyn Fn() -> i64 + Send + Sync>),
    Meter(Arc<Meter>),
    Histogram(Arc<Histogram>),
    Timer(Arc<Timer>),
}

/// A metric and which of those that had its name it is.
#[derive(Clone)]
struct Entry {
    id: u64,
    metric: Metric,
}

/// What a metric showed when asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// A gauge's value.
    Value(i64),
    /// A meter's count and rates.
    Rates(Rates),
    /// A histogram's.
    Distribution(Distribution),
    /// A timer's, times in milliseconds.
    Timer(Rates, Distribution),
}

#[derive(Default)]
struct Shared {
    metrics: RwLock<BTreeMap<Name, Entry>>,
    next_id: AtomicU64,
}

/// See the module. Cheap to clone; clones share everything.
#[derive(Clone, Default)]
pub struct Registry {
    shared: Arc<Shared>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry({} metrics)", self.read().len())
    }
}

/// Returns the metric of that name and kind, made if it is not there.
macro_rules! shared_metric {
    ($self:ident, $name:ident, $kind:ident) => {{
        if let Some(Metric::$kind(metric)) = $self.read().get(&$name).map(|e| &e.metric) {
            return metric.clone();
        }
        let mut metrics = $self.write();
        if let Some(Metric::$kind(metric)) = metrics.get(&$name).map(|e| &e.metric) {
            return metric.clone();
        }
        let metric = Default::default();
        let entry = $self.entry(Metric::$kind(Clone::clone(&metric)));
        metrics.insert($name, entry);
        metric
    }};
}

impl Registry {
    /// Nothing counted yet.
    pub fn new() -> Registry {
        Registry::default()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Name, Entry>> {
        self.shared
            .metrics
            .read()
            .expect("a holder of the registry panicked")
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<Name, Entry>> {
        self.shared
            .metrics
            .write()
            .expect("a holder of the registry panicked")
    }

    fn entry(&self, metric: Metric) -> Entry {
        Entry {
            id: self.shared.next_id.fetch_add(1, Ordering::Relaxed),
            metric,
        }
    }

    /// Puts a metric in the place of what had the name.
    fn insert(&self, name: Name, metric: Metric) -> u64 {
        let entry = self.entry(metric);
        let id = entry.id;
        self.write().insert(name, entry);
        id
    }

    /// The gauge of that name, made if it is not there. Replaces a metric of another kind.
    pub fn gauge(&self, name: Name) -> Gauge {
        shared_metric!(self, name, Set)
    }

    /// A gauge whose value is computed when somebody looks. Replaces what had the name.
    pub fn gauge_of(&self, name: Name, value: impl Fn() -> i64 + Send + Sync + 'static) {
        self.insert(name, Metric::Asked(Arc::new(value)));
    }

    /// The meter of that name, made if it is not there. Replaces a metric of another kind.
    pub fn meter(&self, name: Name) -> Arc<Meter> {
        shared_metric!(self, name, Meter)
    }

    /// The histogram of that name, made if it is not there. Replaces a metric of another kind.
    pub fn histogram(&self, name: Name) -> Arc<Histogram> {
        shared_metric!(self, name, Histogram)
    }

    /// The timer of that name, made if it is not there. Replaces a metric of another kind.
    pub fn timer(&self, name: Name) -> Arc<Timer> {
        shared_metric!(self, name, Timer)
    }

    /// Shows a timer that is kept elsewhere. Replaces what had the name.
    pub fn show_timer(&self, name: Name, timer: Arc<Timer>) {
        self.insert(name, Metric::Timer(timer));
    }

    /// Forgets a metric, as of a partition that went away.
    pub fn remove(&self, name: &Name) {
        self.write().remove(name);
    }

    /// Room for metrics that go together.
    pub fn scope(&self) -> Scope {
        Scope {
            registry: self.clone(),
            held: Mutex::default(),
        }
    }

    /// Every metric's name and what it shows at `now`, by name.
    pub fn snapshot(&self, now: Mono) -> Vec<(Name, Shown)> {
        // Computed gauges may take locks of their own, so they run after this one is released.
        let metrics = self.read().clone();
        metrics
            .into_iter()
            .map(|(name, entry)| {
                let shown = match entry.metric {
                    Metric::Set(gauge) => Shown::Value(gauge.get()),
                    Metric::Asked(value) => Shown::Value(value()),
                    Metric::Meter(meter) => Shown::Rates(meter.rates(now)),
                    Metric::Histogram(histogram) => Shown::Distribution(histogram.distribution(now)),
                    Metric::Timer(timer) => {
                        let (rates, took) = timer.shown(now);
                        Shown::Timer(rates, took)
                    }
                };
                (name, shown)
            })
            .collect()
    }
}

/// The metrics of something that may go: they go when this is dropped. A metric that has taken the name
/// of one of them since stays.
pub struct Scope {
    registry: Registry,
    held: Mutex<Vec<(Name, u64)>>,
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({} metrics)", self.held().len())
    }
}

impl Scope {
    fn held(&self) -> std::sync::MutexGuard<'_, Vec<(Name, u64)>> {
        self.held.lock().expect("a holder of the registry panicked")
    }

    fn hold(&self, name: Name, metric: Metric) {
        let id = self.registry.insert(name.clone(), metric);
        self.held().push((name, id));
    }

    /// As [`Registry::gauge_of`].
    pub fn gauge_of(&self, name: Name, value: impl Fn() -> i64 + Send + Sync + 'static) {
        self.hold(name, Metric::Asked(Arc::new(value)));
    }

    /// A new meter of that name. Replaces what had it.
    pub fn meter(&self, name: Name) -> Arc<Meter> {
        let meter = Arc::new(Meter::default());
        self.hold(name, Metric::Meter(meter.clone()));
        meter
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let mut metrics = self.registry.write();
        for (name, id) in self.held().drain(..) {
            if metrics.get(&name).is_some_and(|entry| entry.id == id) {
                metrics.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn names(registry: &Registry) -> Vec<String> {
        let all = registry.snapshot(Mono::default());
        all.into_iter().map(|(name, _)| name.to_string()).collect()
    }

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

    #[test]
    fn a_timer_shows_milliseconds() {
        let registry = Registry::new();
        let name = || Name::new("kafka.log", "LogFlushStats", "LogFlushRateAndTimeMs", &[]);
        registry
            .timer(name())
            .update(Mono::default(), Duration::from_micros(2500));
        let (_, shown) = registry.snapshot(Mono::default()).remove(0);
        let Shown::Timer(rates, took) = shown else {
            panic!("{shown:?}")
        };
        assert_eq!((rates.count, took.count, took.max), (1, 1, 2.5));
    }

    #[test]
    fn a_scope_takes_its_metrics_with_it_but_not_its_successors() {
        let registry = Registry::new();
        let name = |n: &str| Name::new("kafka.log", "Log", n, &[]);
        registry.gauge(name("Other"));
        let (first, second) = (registry.scope(), registry.scope());
        first.gauge_of(name("Size"), || 1);
        first.meter(name("Rate")).mark(Mono::default(), 1);
        second.gauge_of(name("Size"), || 2);
        drop(first);
        let left = ["kafka.log:type=Log,name=Other", "kafka.log:type=Log,name=Size"];
        assert_eq!(names(&registry), left);
        drop(second);
        assert_eq!(names(&registry), left[..1]);
    }
}
