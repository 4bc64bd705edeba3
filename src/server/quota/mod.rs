//! Quotas of clients (kafka.server.ClientQuotaManager, KIP-13): how many bytes a second all connections of one
//! client id together may produce to this broker, and fetch from it. Whoever takes more is answered later, so much
//! later that the rate is what it may be; nothing is refused.
//!
//! [`windows`] holds the arithmetic of rates; this file who may take how much, and has.

mod windows;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use ::log::{debug, info, warn};

use crate::admin::CLIENT_RATES;
use crate::config::BrokerConfig;
use crate::metrics::{Gauge, Name, Registry, Scope};
use crate::util::clock::{Clock, Mono};

use windows::{Span, Sums, Windows};

/// What was not heard of for so long is forgotten.
const IDLE: Duration = Duration::from_secs(3600);

/// The rate that no client reaches, and the default.
const NO_LIMIT: i64 = i64::MAX;

/// Clients that are kept before idle ones are looked for.
const FEW: usize = 64;

/// A broker's quotas.
#[derive(Debug)]
pub struct Quotas {
    /// Of what clients produce: bytes of requests.
    pub produce: ClientQuotas,
    /// Of what consumers fetch: bytes of answers. Followers are never held back.
    pub fetch: ClientQuotas,
}

/// What all quotas have in common.
#[derive(Clone, Copy, Debug)]
struct Measure {
    /// `quota.window.num` of `quota.window.size.seconds`.
    rate: Span,
    /// `metrics.num.samples` of `metrics.sample.window.ms`.
    held: Span,
}

impl Quotas {
    /// With the defaults of the broker's settings, shown in `metrics`.
    pub fn new(config: &BrokerConfig, metrics: &Registry, clock: &Clock) -> Quotas {
        let measure = Measure {
            rate: Span {
                windows: config.quota_window_num,
                width: config.quota_window_size,
            },
            held: Span {
                windows: config.metrics_num_samples,
                width: config.metrics_sample_window,
            },
        };
        let new = |kind, default| ClientQuotas::new(kind, default, measure, metrics, clock);
        Quotas {
            produce: new("Produce", config.quota_producer_default),
            fetch: new("Fetch", config.quota_consumer_default),
        }
    }

    /// Takes over what ZooKeeper holds of a client: rates that are not among its settings are the defaults again,
    /// unlike in 0.9.0.1 (KAFKA-4158). A rate that is no number, or below 1, is told and changes nothing.
    pub fn set(&self, client: &str, settings: &BTreeMap<String, String>) {
        for (quotas, key) in [&self.produce, &self.fetch].into_iter().zip(CLIENT_RATES) {
            match settings.get(key).map(|value| (value, value.parse::<i64>())) {
                None => quotas.set(client, None),
                Some((_, Ok(rate))) if rate >= 1 => quotas.set(client, Some(rate)),
                Some((value, _)) => warn!(
                    "keeping the {} quota of client {client}: {key}={value} is not a whole number of at least 1",
                    quotas.kind
                ),
            }
        }
    }
}

/// How much clients may produce, or how much they may fetch.
#[derive(Debug)]
pub struct ClientQuotas {
    /// The request that it is about, for metrics and the log.
    kind: &'static str,
    /// Bytes per second of who has no rate of its own; [`NO_LIMIT`] is none.
    default: i64,
    measure: Measure,
    known: RwLock<Known>,
    /// Answers that are held back now.
    waiting: Gauge,
    metrics: Registry,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Known {
    /// Rates of clients that have their own.
    overrides: HashMap<String, i64>,
    clients: HashMap<Arc<str>, Arc<Client>>,
    /// Idle clients are looked for when there are so many.
    sweep_at: usize,
}

/// One client id.
#[derive(Debug)]
struct Client {
    /// Bytes per second.
    bound: AtomicI64,
    counted: Mutex<Counted>,
}

#[derive(Debug)]
struct Counted {
    bytes: Windows,
    /// How long answers were held back, in milliseconds.
    held: Windows,
    last: Mono,
    /// Its metrics, for as long as it is known.
    shown: Option<Scope>,
}

impl Client {
    fn lock(&self) -> MutexGuard<'_, Counted> {
        // Counts are whole whoever panicked.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long an answer is held back.
#[derive(Debug)]
#[must_use = "the answer is to wait"]
pub struct Hold {
    ms: i32,
    /// Counts it while it is not over.
    waiting: Option<Gauge>,
}

impl Hold {
    /// An answer that goes at once.
    pub fn none() -> Hold {
        Hold { ms: 0, waiting: None }
    }

    /// What the client is told, in milliseconds; 0 for not at all.
    pub fn ms(&self) -> i32 {
        self.ms
    }

    /// Returns when the answer may go.
    pub async fn over(self, clock: &Clock) {
        if let Ok(ms @ 1..) = u64::try_from(self.ms) {
            clock.sleep(Duration::from_millis(ms)).await;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(waiting) = &self.waiting {
            waiting.add(-1);
        }
    }
}

impl ClientQuotas {
    fn new(
        kind: &'static str,
        default: i64,
        measure: Measure,
        metrics: &Registry,
        clock: &Clock,
    ) -> ClientQuotas {
        ClientQuotas {
            kind,
            default,
            measure,
            known: RwLock::default(),
            waiting: metrics.gauge(Name::new("kafka.server", kind, "queue-size", &[])),
            metrics: metrics.clone(),
            clock: clock.clone(),
        }
    }

    /// Counts bytes of a client, and says how long its answer is to be held back for them: not at all as long as its
    /// rate is within its quota.
    pub fn record(&self, client: &str, bytes: usize) -> Hold {
        let now = self.clock.now();
        let client_of_now = self.client(client, now);
        let bound = client_of_now.bound.load(Ordering::Relaxed);
        let mut counted = client_of_now.lock();
        counted.last = now;
        #[expect(clippy::cast_precision_loss, reason = "a frame is far from 2^52 bytes")]
        counted.bytes.record(now, bytes as f64);
        if bound == NO_LIMIT {
            return Hold::none();
        }
        let ms = excess(counted.bytes.sums(now), bound);
        if ms == 0 {
            return Hold::none();
        }
        counted.held.record(now, f64::from(ms));
        drop(counted);
        debug!(
            "Quota violated for sensor ({}-{client}). Delay time: ({ms})",
            self.kind
        );
        self.waiting.add(1);
        Hold {
            ms,
            waiting: Some(self.waiting.clone()),
        }
    }

    /// Gives a client a rate of its own in bytes per second, or the default again.
    fn set(&self, client: &str, rate: Option<i64>) {
        let mut known = self.write();
        let before = known.bound(client, self.default);
        match rate {
            Some(rate) => known.overrides.insert(client.to_owned(), rate),
            None => known.overrides.remove(client),
        };
        let bound = known.bound(client, self.default);
        if let Some(client) = known.clients.get(client) {
            client.bound.store(bound, Ordering::Relaxed);
        }
        if bound != before {
            info!("Changing quota for clientId {client} to {bound} ({})", self.kind);
        }
    }

    fn client(&self, id: &str, now: Mono) -> Arc<Client> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known.clients.get(id) {
            return client.clone();
        }
        drop(known);
        let mut known = self.write();
        if known.clients.len() >= known.sweep_at.max(FEW) {
            known
                .clients
                .retain(|_, client| now.since(client.lock().last) < IDLE);
            known.sweep_at = 2 * known.clients.len();
        }
        let bound = known.bound(id, self.default);
        let new = || self.new_client(id, bound, now);
        known.clients.entry(id.into()).or_insert_with(new).clone()
    }

    fn new_client(&self, id: &str, bound: i64, now: Mono) -> Arc<Client> {
        let client = Arc::new(Client {
            bound: AtomicI64::new(bound),
            counted: Mutex::new(Counted {
                bytes: Windows::new(self.measure.rate),
                held: Windows::new(self.measure.held),
                last: now,
                shown: None,
            }),
        });
        let scope = self.metrics.scope();
        let show = |name, value: fn(&mut Counted, Mono) -> f64| {
            let (client, clock) = (Arc::downgrade(&client), self.clock.clone());
            let name = Name::new("kafka.server", self.kind, name, &[("client-id", id)]);
            scope.gauge_of(name, move || {
                let value = client.upgrade().map(|c| value(&mut c.lock(), clock.now()));
                #[expect(clippy::cast_possible_truncation, reason = "saturates")]
                let whole = value.unwrap_or(0.0).round() as i64;
                whole
            });
        };
        show("byte-rate", |counted, now| counted.bytes.sums(now).per_second());
        show("throttle-time", |counted, now| counted.held.sums(now).mean());
        client.lock().shown = Some(scope);
        client
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn bound(&self, client: &str, default: i64) -> i64 {
        self.overrides.get(client).copied().unwrap_or(default)
    }
}

/// How many milliseconds without another byte bring a rate down to `bound` bytes a second: with the rate O over the
/// time W that is `(O - bound) / bound * W`.
fn excess(bytes: Sums, bound: i64) -> i32 {
    #[expect(clippy::cast_precision_loss, reason = "nobody sends 2^52 bytes a second")]
    let bound = bound as f64;
    let rate = bytes.per_second();
    if rate <= bound {
        return 0;
    }
    let ms = (rate - bound) / bound * bytes.over.as_secs_f64() * 1000.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, and is 0 for what is no number"
    )]
    let ms = ms.round() as i32;
    ms
}

#[cfg(test)]
mod tests;
