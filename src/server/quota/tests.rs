//! The cases of ClientQuotaManagerTest and ThrottledResponseExpirationTest, and those that 0.9.0.1 gets wrong.

use super::*;
use crate::metrics::Shown;
use crate::util::clock::WallMs;

struct Bench {
    quotas: Quotas,
    metrics: Registry,
    clock: Clock,
}

/// Both quotas at 500 bytes a second, in 11 windows of a second.
fn bench() -> Bench {
    let clock = Clock::manual(WallMs(0));
    let metrics = Registry::new();
    let measure = Measure {
        rate: Span {
            windows: 11,
            width: Duration::from_secs(1),
        },
        held: Span {
            windows: 2,
            width: Duration::from_secs(30),
        },
    };
    let new = |kind| ClientQuotas::new(kind, 500, measure, &metrics, &clock);
    Bench {
        quotas: Quotas {
            produce: new("Produce"),
            fetch: new("Fetch"),
        },
        metrics,
        clock,
    }
}

impl Bench {
    fn produce(&self, client: &str, bytes: usize) -> i32 {
        self.quotas.produce.record(client, bytes).ms()
    }

    fn set(&self, client: &str, settings: &[(&str, &str)]) {
        let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        self.quotas.set(client, &settings.collect());
    }

    fn shown(&self, name: &str) -> Option<i64> {
        let all = self.metrics.snapshot(self.clock.now());
        all.into_iter()
            .find(|(n, _)| n.to_string() == format!("kafka.server:type=Produce,name={name}"))
            .map(|(_, shown)| match shown {
                Shown::Value(value) => value,
                other => panic!("{other:?}"),
            })
    }
}

#[test]
fn an_answer_is_held_back_until_the_rate_is_the_quota_again() {
    let b = bench();
    let second = Duration::from_secs(1);
    // 400 bytes a second are within the quota.
    for _ in 0..10 {
        assert_eq!(b.produce("a", 400), 0);
        b.clock.advance(second);
    }
    assert_eq!(b.shown("byte-rate,client-id=a"), Some(400));
    // 600 bytes a second over ten and a half seconds are brought down to 500 in 2.1 seconds.
    b.clock.advance(Duration::from_millis(500));
    assert_eq!(b.produce("a", 2300), 2100);
    assert_eq!(b.shown("throttle-time,client-id=a"), Some(2100));
    // Whoever does not wait is held back longer, as all that was taken counts.
    b.clock.advance(second);
    for _ in 0..10 {
        assert!(b.produce("a", 400) > 0);
        b.clock.advance(second);
    }
    // After all windows have passed nothing is remembered.
    b.clock.advance(Duration::from_secs(11));
    assert_eq!(b.produce("a", 0), 0);
    assert_eq!(b.shown("byte-rate,client-id=a"), Some(0));
    // Another client, and what a client fetches, are apart.
    assert_eq!(b.produce("b", 5_000), 0);
    assert_eq!(b.quotas.fetch.record("b", 5_000).ms(), 0);
    assert!(b.produce("b", 1) > 0);
}

#[test]
fn quotas_of_clients_are_set_changed_and_taken_away() {
    let b = bench();
    b.set(
        "a",
        &[("producer_byte_rate", "2000"), ("consumer_byte_rate", "4000")],
    );
    assert_eq!(b.produce("a", 20_000), 0);
    assert_eq!(b.quotas.fetch.record("a", 40_000).ms(), 0);
    assert_eq!(b.produce("other", 6_000), 2_000);
    // A known client's bound changes at once; 20,000 bytes in ten seconds are twice 1,000 a second.
    b.set("a", &[("producer_byte_rate", "1000")]);
    assert_eq!(b.produce("a", 0), 10_000);
    // Not among its settings any more: the default again.
    assert_eq!(b.quotas.fetch.record("a", 0).ms(), 70_000);
    b.set("a", &[]);
    assert_eq!(b.produce("a", 0), 30_000);
}

#[test]
fn rates_that_mean_nothing_change_nothing() {
    let b = bench();
    b.set("a", &[("producer_byte_rate", "1000")]);
    for wrong in ["0", "-1", "x", "", "1.5", "9223372036854775808"] {
        b.set("a", &[("producer_byte_rate", wrong)]);
        assert_eq!(b.quotas.produce.write().overrides["a"], 1000, "{wrong}");
    }
}

#[test]
fn an_answer_that_is_held_back_is_counted_until_it_goes_or_is_given_up() {
    let b = bench();
    assert_eq!(b.shown("queue-size"), Some(0));
    let first = b.quotas.produce.record("a", 6_000);
    let second = b.quotas.produce.record("a", 1);
    assert_eq!(b.shown("queue-size"), Some(2));
    drop(first);
    drop(second);
    assert_eq!(b.shown("queue-size"), Some(0));
}

#[tokio::test]
async fn a_hold_is_over_after_its_time() {
    let b = bench();
    let hold = b.quotas.produce.record("a", 6_000);
    assert_eq!(hold.ms(), 2_000);
    let clock = b.clock.clone();
    let over = tokio::spawn(async move { hold.over(&clock).await });
    tokio::task::yield_now().await;
    b.clock.advance(Duration::from_millis(1_999));
    tokio::task::yield_now().await;
    assert!(!over.is_finished());
    b.clock.advance(Duration::from_millis(1));
    over.await.unwrap();
    assert_eq!(b.shown("queue-size"), Some(0));
}

#[test]
fn clients_that_are_idle_for_an_hour_are_forgotten_when_others_come() {
    let b = bench();
    for n in 0..FEW {
        b.produce(&n.to_string(), 1);
    }
    b.clock.advance(IDLE);
    b.produce("0", 1);
    b.produce("new", 1);
    assert_eq!(b.quotas.produce.write().clients.len(), 2);
    assert_eq!(b.shown("byte-rate,client-id=1"), None);
    assert_eq!(b.shown("byte-rate,client-id=0"), Some(0));
}

#[test]
fn what_cannot_be_waited_for_is_the_longest_wait() {
    let b = bench();
    b.set("a", &[("producer_byte_rate", "1")]);
    assert_eq!(b.produce("a", i32::MAX as usize), i32::MAX);
    // No limit is none, whatever comes.
    b.set("a", &[("producer_byte_rate", "9223372036854775807")]);
    assert_eq!(b.produce("a", usize::MAX), 0);
}
