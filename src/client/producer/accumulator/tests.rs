//! Batching by hand-made time.

use super::*;

const BROKER: BrokerId = BrokerId(1);

fn at(ms: u64) -> Mono {
    Mono::from_millis(ms)
}

fn rules() -> Rules {
    Rules {
        codec: Codec::None,
        compressed_topics: Vec::new(),
        // Two records of 74 bytes with their 26 bytes of overhead.
        batch_size: 200,
        batch_messages: None,
        linger: Duration::from_millis(50),
        retry_backoff: Duration::from_millis(100),
        request_timeout: Duration::from_millis(1000),
        keep_order: false,
    }
}

fn one_leader(_: &TopicPartition) -> Option<BrokerId> {
    Some(BROKER)
}

/// Adds a record, and says whether the sender is to be woken.
fn add(a: &mut Accumulator, now: u64, partition: i32) -> bool {
    let (tx, _) = tokio::sync::oneshot::channel();
    let (place, record) = (("t", partition), (None, Some(&[7; 74][..])));
    let added = a.extend(place, record, 100, Delivered::Future(tx));
    added.unwrap_or_else(|delivered| {
        a.begin(at(now), place, record, 100, delivered);
        true
    })
}

fn drain(a: &mut Accumulator, now: u64) -> Vec<Batch> {
    a.drain(at(now), BROKER, 1 << 20, one_leader)
}

#[test]
fn a_batch_goes_when_full_or_lingered_and_not_before() {
    let mut a = Accumulator::new(rules());
    assert!(add(&mut a, 0, 0));
    assert_eq!(
        a.ready(at(0), one_leader),
        Ready {
            next: Some(at(50)),
            ..Ready::default()
        }
    );
    assert!(drain(&mut a, 49).is_empty());
    assert!(add(&mut a, 10, 0), "full wakes the sender");
    assert!(a.ready(at(10), one_leader).brokers.contains(&BROKER));
    let batches = drain(&mut a, 10);
    assert_eq!(batches.len(), 1);
    assert_eq!((batches[0].deliveries.len(), batches[0].reserved), (2, 200));
    assert_eq!(batches[0].bytes().len(), 200);
    add(&mut a, 20, 0);
    assert!(a.ready(at(70), one_leader).brokers.contains(&BROKER), "lingered");
}

#[test]
fn one_batch_per_partition_and_as_many_bytes_as_a_request_may_have() {
    let mut a = Accumulator::new(Rules {
        linger: Duration::ZERO,
        ..rules()
    });
    for partition in [0, 1, 2] {
        for _ in 0..3 {
            add(&mut a, 0, partition);
        }
    }
    let first = a.drain(at(0), BROKER, 400, one_leader);
    assert_eq!(first.len(), 2);
    assert!(first[0].partition != first[1].partition);
    let second = a.drain(at(0), BROKER, 1, one_leader);
    assert_eq!(second.len(), 1, "at least one goes, however large");
    let mut partitions: Vec<i32> = first
        .iter()
        .chain(&second)
        .map(|b| b.partition.partition)
        .collect();
    partitions.sort_unstable();
    partitions.dedup();
    assert!(partitions.len() >= 2, "the start rotates");
}

#[test]
fn without_a_leader_nothing_goes_and_metadata_is_wanted() {
    let mut a = Accumulator::new(rules());
    add(&mut a, 0, 0);
    let ready = a.ready(at(99), |_| None);
    assert!(ready.unknown_leaders && ready.brokers.is_empty() && ready.next.is_none());
    assert!(
        a.expired(at(1050)).is_empty(),
        "lingering does not count as waiting"
    );
    assert_eq!(a.next_expiry(), Some(at(1051)));
    assert_eq!(a.expired(at(1051)).len(), 1);
}

#[test]
fn a_retried_batch_waits_its_back_off_and_goes_before_later_ones() {
    let mut a = Accumulator::new(Rules {
        linger: Duration::ZERO,
        ..rules()
    });
    for _ in 0..4 {
        add(&mut a, 0, 0);
    }
    let (first, second) = (drain(&mut a, 0).remove(0), drain(&mut a, 0).remove(0));
    assert!(first.id < second.id);
    // Two in flight fail in the order of their sending.
    a.retry(at(5), first);
    a.retry(at(5), second);
    assert!(drain(&mut a, 104).is_empty());
    let again = drain(&mut a, 105).remove(0);
    assert_eq!((again.id, again.attempts), (0, 1));
    assert_eq!(drain(&mut a, 105).remove(0).id, 1);
}

#[test]
fn with_order_kept_a_partition_waits_for_its_batch_on_the_way() {
    let mut a = Accumulator::new(Rules {
        linger: Duration::ZERO,
        keep_order: true,
        ..rules()
    });
    for _ in 0..4 {
        add(&mut a, 0, 0);
    }
    let first = drain(&mut a, 0).remove(0);
    assert!(drain(&mut a, 0).is_empty());
    assert_eq!(a.next_expiry(), None);
    a.retry(at(1), first);
    let first = drain(&mut a, 101).remove(0);
    assert!(drain(&mut a, 101).is_empty());
    a.done(&first);
    assert_eq!(drain(&mut a, 102).remove(0).id, 1);
}

#[test]
fn flush_and_close_and_full_memory_end_the_lingering() {
    let mut a = Accumulator::new(rules());
    assert_eq!(a.flush(), None);
    add(&mut a, 0, 0);
    assert_eq!(a.flush(), Some(0));
    let batch = drain(&mut a, 0).remove(0);
    assert_eq!(a.first_unsettled(), Some(0));
    a.done(&batch);
    assert_eq!(a.first_unsettled(), None);
    add(&mut a, 1, 0);
    assert!(drain(&mut a, 1).is_empty(), "later records linger again");
    a.set_exhausted(true);
    assert_eq!(drain(&mut a, 1).len(), 1);
    a.set_exhausted(false);
    add(&mut a, 2, 0);
    a.close();
    assert_eq!(drain(&mut a, 2).len(), 1);
}

#[test]
fn a_batch_holds_no_more_records_than_asked_for() {
    let mut a = Accumulator::new(Rules {
        batch_messages: Some(1),
        ..rules()
    });
    assert!(add(&mut a, 0, 0));
    assert!(add(&mut a, 0, 0));
    assert_eq!(drain(&mut a, 0).remove(0).deliveries.len(), 1);
}

#[test]
fn compressible_batches_take_more_records_as_the_ratio_is_learnt() {
    let mut a = Accumulator::new(Rules {
        codec: Codec::Gzip,
        batch_size: 1000,
        ..rules()
    });
    let before = a.plain_limit(Codec::Gzip);
    for _ in 0..30 {
        for _ in 0..40 {
            add(&mut a, 0, 0);
        }
        drain(&mut a, 60);
    }
    assert!(
        a.plain_limit(Codec::Gzip) > 2 * before,
        "{} after {before}",
        a.plain_limit(Codec::Gzip)
    );
}

#[test]
fn only_the_topics_named_are_compressed_if_any_are_named() {
    for (named, compressed) in [(vec!["t"], true), (vec!["u"], false), (vec![], true)] {
        let mut a = Accumulator::new(Rules {
            codec: Codec::Gzip,
            compressed_topics: named.iter().map(|t| (*t).to_owned()).collect(),
            linger: Duration::ZERO,
            ..rules()
        });
        add(&mut a, 0, 0);
        let set = drain(&mut a, 0).remove(0).bytes();
        let codec = crate::message::SetIter::new(&set)
            .next()
            .unwrap()
            .unwrap()
            .codec();
        assert_eq!(codec == Ok(Codec::Gzip), compressed, "{named:?}");
    }
}
