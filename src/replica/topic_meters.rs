//! What goes in and out, of each topic and of all (kafka.server.BrokerTopicStats), and which waits ended
//! for nothing. A topic's meters go with its last partition; 0.9.0.1 keeps them for ever.

use std::sync::Arc;

use crate::metrics::{Meter, Name, Registry, Scope};
use crate::util::clock::Mono;

/// Kafka's eight meters of a topic, or of all.
#[derive(Debug)]
pub(super) struct TopicRates {
    messages_in: Arc<Meter>,
    bytes_in: Arc<Meter>,
    bytes_out: Arc<Meter>,
    bytes_rejected: Arc<Meter>,
    failed_produces: Arc<Meter>,
    failed_fetches: Arc<Meter>,
    produces: Arc<Meter>,
    fetches: Arc<Meter>,
}

impl TopicRates {
    /// Those of all topics together.
    pub(super) fn of_all(metrics: &Registry) -> TopicRates {
        TopicRates::new(|name| metrics.meter(Name::new("kafka.server", "BrokerTopicMetrics", name, &[])))
    }

    fn new(meter: impl Fn(&str) -> Arc<Meter>) -> TopicRates {
        TopicRates {
            messages_in: meter("MessagesInPerSec"),
            bytes_in: meter("BytesInPerSec"),
            bytes_out: meter("BytesOutPerSec"),
            bytes_rejected: meter("BytesRejectedPerSec"),
            failed_produces: meter("FailedProduceRequestsPerSec"),
            failed_fetches: meter("FailedFetchRequestsPerSec"),
            produces: meter("TotalProduceRequestsPerSec"),
            fetches: meter("TotalFetchRequestsPerSec"),
        }
    }

    /// A set was to be appended.
    pub(super) fn produce(&self, now: Mono) {
        self.produces.mark(now, 1);
    }

    /// It was.
    pub(super) fn appended(&self, now: Mono, messages: u64, bytes: u64) {
        self.messages_in.mark(now, messages);
        self.bytes_in.mark(now, bytes);
    }

    /// It holds a message, or is, too large.
    pub(super) fn rejected(&self, now: Mono, bytes: u64) {
        self.bytes_rejected.mark(now, bytes);
    }

    /// It was not appended, for a reason that is not the client's.
    pub(super) fn produce_failed(&self, now: Mono) {
        self.failed_produces.mark(now, 1);
    }

    /// A partition was read.
    pub(super) fn fetch(&self, now: Mono) {
        self.fetches.mark(now, 1);
    }

    /// So much of it was sent.
    pub(super) fn sent(&self, now: Mono, bytes: u64) {
        self.bytes_out.mark(now, bytes);
    }

    /// It could not be read, for a reason that is not the client's.
    pub(super) fn fetch_failed(&self, now: Mono) {
        self.failed_fetches.mark(now, 1);
    }
}

/// One topic's meters, and with them those of all.
#[derive(Debug)]
pub(super) struct TopicMeters {
    own: TopicRates,
    all: Arc<TopicRates>,
    _scope: Scope,
}

impl TopicMeters {
    /// Shown from now on, until dropped.
    pub(super) fn new(topic: &str, all: &Arc<TopicRates>, metrics: &Registry) -> TopicMeters {
        let scope = metrics.scope();
        let tags = [("topic", topic)];
        TopicMeters {
            own: TopicRates::new(|name| {
                scope.meter(Name::new("kafka.server", "BrokerTopicMetrics", name, &tags))
            }),
            all: all.clone(),
            _scope: scope,
        }
    }

    /// Counts something of the topic and of all.
    pub(super) fn each(&self, count: impl Fn(&TopicRates)) {
        count(&self.own);
        count(&self.all);
    }
}

/// Waits that ended by their time.
#[derive(Debug)]
pub(super) struct Expiries {
    /// Of produces, for each partition that was waited for.
    pub(super) produces: Arc<Meter>,
    /// Of consumers' fetches.
    pub(super) consumers: Arc<Meter>,
    /// Of followers' fetches.
    pub(super) followers: Arc<Meter>,
}

impl Expiries {
    pub(super) fn new(metrics: &Registry) -> Expiries {
        let name = |kind, tags: &[_]| Name::new("kafka.server", kind, "ExpiresPerSec", tags);
        let fetches = |who| metrics.meter(name("DelayedFetchMetrics", &[("fetcherType", who)]));
        Expiries {
            produces: metrics.meter(name("DelayedProduceMetrics", &[])),
            consumers: fetches("consumer"),
            followers: fetches("follower"),
        }
    }
}
