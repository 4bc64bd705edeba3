//! What fetchers count (kafka.server.AbstractFetcherThread, AbstractFetcherManager): how far copies are
//! behind, and what was asked and got. A fetcher's metrics go with it, a partition's with its role.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::cluster::{Endpoint, TopicPartition};
use crate::metrics::{Meter, Name, Registry, Scope};
use crate::replica::manager::ReplicaManager;
use crate::replica::partition::Partition;
use crate::replica::standing::Role;
use crate::util::clock::Clock;

/// The `clientId` of what is told of all fetchers together.
const ALL: [(&str, &str); 1] = [("clientId", "Replica")];

/// The requests of each fetcher that is connected.
#[derive(Debug, Default)]
pub(in crate::replica) struct Running(Mutex<HashMap<String, Arc<Meter>>>);

impl Running {
    fn held(&self) -> MutexGuard<'_, HashMap<String, Arc<Meter>>> {
        self.0.lock().expect("a holder of the fetchers' meters panicked")
    }

    /// The least requests per second of the last minute among them, rounded; 0 without any.
    fn least(&self, clock: &Clock) -> i64 {
        let now = clock.now();
        let rates = self
            .held()
            .values()
            .map(|m| m.rates(now).one_minute)
            .collect::<Vec<_>>();
        let least = rates.into_iter().reduce(f64::min).unwrap_or(0.0);
        least.round() as i64
    }
}

impl ReplicaManager {
    /// Shows `MaxLag` and `MinFetchRate`.
    pub(in crate::replica) fn show_fetchers(self: &Arc<Self>, metrics: &Registry) {
        let name = |name| Name::new("kafka.server", "ReplicaFetcherManager", name, &ALL);
        let me = Arc::downgrade(self);
        metrics.gauge_of(name("MaxLag"), move || {
            me.upgrade().map_or(0, |replicas| {
                let all = replicas.all();
                let following = all.iter().filter(|p| matches!(p.role(), Role::Follower(_)));
                following.map(|p| p.lag()).max().unwrap_or(0).max(0)
            })
        });
        let me = Arc::downgrade(self);
        metrics.gauge_of(name("MinFetchRate"), move || {
            me.upgrade()
                .map_or(0, |replicas| replicas.fetchers.least(&replicas.clock))
        });
    }
}

/// One fetcher's.
#[derive(Debug)]
pub(super) struct Gauges {
    replicas: Arc<ReplicaManager>,
    /// The fetcher's name.
    client: String,
    lags: HashMap<TopicPartition, Scope>,
    stats: Option<Stats>,
}

/// What went to and came from one address.
#[derive(Debug)]
struct Stats {
    address: Endpoint,
    requests: Arc<Meter>,
    bytes: Arc<Meter>,
    _scope: Scope,
}

impl Gauges {
    pub(super) fn new(replicas: Arc<ReplicaManager>, client: &str) -> Gauges {
        Gauges {
            replicas,
            client: client.to_owned(),
            lags: HashMap::new(),
            stats: None,
        }
    }

    fn metrics(&self) -> &Registry {
        &self.replicas.settings.metrics
    }

    /// These are what it copies from now on.
    pub(super) fn list(&mut self, partitions: &[Arc<Partition>]) {
        let mut before = std::mem::take(&mut self.lags);
        for partition in partitions {
            let id = &partition.id;
            let scope = before.remove(id).unwrap_or_else(|| self.show_lag(partition));
            self.lags.insert(id.clone(), scope);
        }
    }

    fn show_lag(&self, partition: &Arc<Partition>) -> Scope {
        let number = partition.id.partition.to_string();
        let tags = [
            ("clientId", self.client.as_str()),
            ("topic", &*partition.id.topic),
            ("partition", number.as_str()),
        ];
        let scope = self.metrics().scope();
        let partition = Arc::downgrade(partition);
        let name = Name::new("kafka.server", "FetcherLagMetrics", "ConsumerLag", &tags);
        scope.gauge_of(name, move || partition.upgrade().map_or(-1, |p| p.lag()));
        scope
    }

    /// It talks to `address` from now on.
    pub(super) fn connected(&mut self, address: &Endpoint) {
        if self.stats.as_ref().is_some_and(|s| s.address == *address) {
            return;
        }
        self.stats = None;
        let port = address.port.to_string();
        let tags = [
            ("clientId", self.client.as_str()),
            ("brokerHost", address.host.as_str()),
            ("brokerPort", port.as_str()),
        ];
        let scope = self.metrics().scope();
        let meter = |name| scope.meter(Name::new("kafka.server", "FetcherStats", name, &tags));
        let (requests, bytes) = (meter("RequestsPerSec"), meter("BytesPerSec"));
        self.replicas
            .fetchers
            .held()
            .insert(self.client.clone(), requests.clone());
        self.stats = Some(Stats {
            address: address.clone(),
            requests,
            bytes,
            _scope: scope,
        });
    }

    /// A request was sent.
    pub(super) fn asked(&self) {
        if let Some(stats) = &self.stats {
            stats.requests.mark(self.replicas.clock.now(), 1);
        }
    }

    /// So many bytes of messages came.
    pub(super) fn got(&self, bytes: usize) {
        if let Some(stats) = &self.stats {
            stats.bytes.mark(self.replicas.clock.now(), bytes as u64);
        }
    }
}

impl Drop for Gauges {
    fn drop(&mut self) {
        self.replicas.fetchers.held().remove(&self.client);
    }
}
