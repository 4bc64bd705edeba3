//! How often each request comes and how long it takes (kafka.network.RequestMetrics). A fetch counts
//! twice: as one, and as a consumer's or a follower's.
//!
//! Of Kafka's times there are those that exist here: `LocalTimeMs` (this broker works on it),
//! `RemoteTimeMs` (it waits for replicas, data, other members or ZooKeeper), `ThrottleTimeMs` (the answer is held
//! back by a quota; of produces and fetches only), `ResponseSendTimeMs` (the answer goes to the socket) and
//! `TotalTimeMs`. Requests and answers stand in no queue: there is no time of these.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::metrics::{Histogram, Meter, Name, Registry};
use crate::network::Times;
use crate::protocol::ApiKey;
use crate::server::quota::Hold;
use crate::util::clock::{Clock, Mono};

/// What is counted of one kind of request.
#[derive(Debug)]
struct Kind {
    rate: Arc<Meter>,
    local: Arc<Histogram>,
    remote: Arc<Histogram>,
    throttle: Arc<Histogram>,
    send: Arc<Histogram>,
    total: Arc<Histogram>,
}

impl Kind {
    fn new(metrics: &Registry, request: &str) -> Kind {
        let name = |name| Name::new("kafka.network", "RequestMetrics", name, &[("request", request)]);
        Kind {
            rate: metrics.meter(name("RequestsPerSec")),
            local: metrics.histogram(name("LocalTimeMs")),
            remote: metrics.histogram(name("RemoteTimeMs")),
            throttle: metrics.histogram(name("ThrottleTimeMs")),
            send: metrics.histogram(name("ResponseSendTimeMs")),
            total: metrics.histogram(name("TotalTimeMs")),
        }
    }
}

/// What an answer's tag says of a fetch; 0 is no fetch.
const CONSUMER: u8 = 1;
const FOLLOWER: u8 = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct RequestMetrics {
    kinds: [Kind; ApiKey::ALL.len()],
    consumers: Kind,
    followers: Kind,
}

impl RequestMetrics {
    pub(super) fn new(metrics: &Registry) -> RequestMetrics {
        RequestMetrics {
            kinds: ApiKey::ALL.map(|key| Kind::new(metrics, key.name())),
            consumers: Kind::new(metrics, "FetchConsumer"),
            followers: Kind::new(metrics, "FetchFollower"),
        }
    }

    /// Performs the work of a request, and counts how long that took. Says also when it was done.
    pub(super) async fn of_work<T>(
        &self,
        key: ApiKey,
        tag: u8,
        clock: &Clock,
        work: impl Future<Output = T>,
    ) -> (T, Mono) {
        let started = clock.now();
        let mut now = started;
        let mut first = true;
        let mut local = Duration::ZERO;
        let mut work = pin!(work);
        let done = std::future::poll_fn(|cx| {
            // Most are done at once: no moment is asked for twice.
            let polled = if first { started } else { clock.now() };
            first = false;
            let state = work.as_mut().poll(cx);
            now = clock.now();
            local += now.since(polled);
            state
        })
        .await;
        let remote = now.since(started).saturating_sub(local);
        self.each(key, tag, |kind| {
            kind.rate.mark(now, 1);
            kind.local.update(now, millis(local));
            kind.remote.update(now, millis(remote));
        });
        (done, now)
    }

    /// The answer to a produce or a fetch is held back so long, 0 for not at all.
    pub(super) fn held(&self, key: ApiKey, tag: u8, now: Mono, hold: &Hold) {
        if matches!(key, ApiKey::Produce | ApiKey::Fetch) {
            let ms = u64::try_from(hold.ms()).unwrap_or(0);
            self.each(key, tag, |kind| kind.throttle.update(now, ms));
        }
    }

    /// The answer is on its way, or there is none.
    pub(super) fn answered(&self, key: ApiKey, tag: u8, times: Times) {
        self.each(key, tag, |kind| {
            kind.send
                .update(times.sent, millis(times.sent.since(times.answered)));
            kind.total
                .update(times.sent, millis(times.sent.since(times.received)));
        });
    }

    fn each(&self, key: ApiKey, tag: u8, count: impl Fn(&Kind)) {
        count(&self.kinds[key as usize]);
        match tag {
            CONSUMER => count(&self.consumers),
            FOLLOWER => count(&self.followers),
            _ => {}
        }
    }
}

/// The tag of a request, by the first bytes of its body.
pub(super) fn tag(key: ApiKey, body: &[u8]) -> u8 {
    match (key, body.first_chunk::<4>()) {
        (ApiKey::Fetch, Some(replica)) if i32::from_be_bytes(*replica) >= 0 => FOLLOWER,
        (ApiKey::Fetch, _) => CONSUMER,
        _ => 0,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
