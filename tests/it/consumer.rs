//! The consumer's calls, one after the other, against a broker: the cases of Kafka's own PlaintextConsumerTest
//! and BaseConsumerTest for a single member.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::mpsc;
use std::time::Duration;

use kafka::client::consumer::{
    AutoOffsetReset, Consumer, ConsumerRecord, ConsumerSettings, Error, OffsetAndMetadata, Offsets, Records,
};
use kafka::client::{Producer, ProducerSettings, Record};
use kafka::cluster::TopicPartition;
use kafka::message::Codec;

use crate::support::cluster::{Cluster, Whose};
use crate::support::reference;

const LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(200);

/// What makes group tests quick.
pub const QUICK: &str = "offsets.topic.num.partitions=2\ngroup.min.session.timeout.ms=1000";

fn block<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(LIMIT, work)
            .await
            .expect("it takes too long")
    })
}

fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

/// A consumer's settings for these tests.
pub fn settings(cluster: &Cluster, group: &str) -> ConsumerSettings {
    ConsumerSettings {
        bootstrap: cluster.bootstrap(),
        group_id: group.into(),
        reset: AutoOffsetReset::Earliest,
        session_timeout: Duration::from_secs(10),
        heartbeat_interval: Duration::from_millis(300),
        metadata_max_age: Duration::from_millis(500),
        auto_commit: false,
        ..ConsumerSettings::default()
    }
}

fn consumer(cluster: &Cluster, group: &str) -> Consumer {
    Consumer::new(settings(cluster, group)).unwrap()
}

/// Sends values to a partition, all acknowledged.
pub async fn send(cluster: &Cluster, partition: &TopicPartition, values: &[String], codec: Codec) {
    let producer = Producer::start(ProducerSettings {
        bootstrap: cluster.bootstrap(),
        codec,
        ..ProducerSettings::default()
    });
    let mut deliveries = vec![];
    for value in values {
        let record = Record {
            topic: partition.topic.clone(),
            partition: Some(partition.partition),
            key: None,
            value: Some(value.clone().into()),
        };
        deliveries.push(producer.send(record).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    producer.close(None).await;
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|i| i.to_string()).collect()
}

fn text(record: &ConsumerRecord) -> String {
    String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap()
}

/// Polls until there are so many records.
async fn take(consumer: &mut Consumer, count: usize) -> Vec<ConsumerRecord> {
    let mut all = vec![];
    while all.len() < count {
        all.extend(consumer.poll(POLL).await.unwrap());
    }
    assert_eq!(all.len(), count);
    all
}

async fn next(consumer: &mut Consumer) -> Result<Records, Error> {
    loop {
        let records = consumer.poll(POLL).await?;
        if !records.is_empty() {
            return Ok(records);
        }
    }
}

/// A group's records come in order; what was polled is committed at the end, and the next member goes on
/// behind it.
async fn reading_and_closing(cluster: &Cluster) {
    for p in 0..2 {
        send(cluster, &tp("read", p), &numbers(0..50), Codec::None).await;
    }
    let mut first = Consumer::new(ConsumerSettings {
        auto_commit: true,
        ..settings(cluster, "readers")
    })
    .unwrap();
    first.subscribe(["read"]).unwrap();
    let records = take(&mut first, 100).await;
    for p in 0..2 {
        let of_one: Vec<&ConsumerRecord> = records.iter().filter(|r| r.partition.partition == p).collect();
        assert!(of_one.iter().map(|r| text(r)).eq(numbers(0..50)));
        assert!(of_one.iter().map(|r| r.offset).eq(0..50));
    }
    assert_eq!(first.assignment(), [tp("read", 0), tp("read", 1)]);
    first.close().await.unwrap();

    let mut second = Consumer::new(ConsumerSettings {
        reset: AutoOffsetReset::None,
        ..settings(cluster, "readers")
    })
    .unwrap();
    for p in 0..2 {
        let committed = second.committed(&tp("read", p)).await.unwrap();
        assert_eq!(committed, Some(50.into()));
    }
    send(cluster, &tp("read", 1), &["one more".to_owned()], Codec::None).await;
    second.subscribe(["read"]).unwrap();
    let more = take(&mut second, 1).await;
    assert_eq!((text(&more[0]).as_str(), more[0].offset), ("one more", 50));
    second.close().await.unwrap();
}

async fn committing(cluster: &Cluster) {
    let part = tp("read", 0);
    let offsets = |offset: OffsetAndMetadata| -> Offsets { BTreeMap::from([(tp("read", 0), offset)]) };
    let mut c = consumer(cluster, "committers");
    c.assign([part.clone()]).unwrap();
    assert_eq!(c.committed(&part).await.unwrap(), None);
    let noted = OffsetAndMetadata {
        offset: 5,
        metadata: "a note ü".into(),
    };
    c.commit_sync_offsets(offsets(noted.clone())).await.unwrap();
    assert_eq!(c.committed(&part).await.unwrap(), Some(noted.clone()));
    let long = OffsetAndMetadata {
        offset: 6,
        metadata: "x".repeat(5000),
    };
    let refused = c.commit_sync_offsets(offsets(long)).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "The metadata field of the offset request was too large."
    );
    let (tell, told) = mpsc::channel();
    for offset in 7..10 {
        let tell = tell.clone();
        let callback = move |offsets: Offsets, result: Result<(), Error>| {
            let offset = offsets.values().next().unwrap().offset;
            tell.send((offset, result.is_ok())).unwrap();
        };
        c.commit_async_offsets(offsets(offset.into()), Box::new(callback));
    }
    // Another member sees what the broker has.
    let mut other = consumer(cluster, "committers");
    c.close().await.unwrap();
    assert_eq!(
        told.try_iter().collect::<Vec<_>>(),
        [(7, true), (8, true), (9, true)]
    );
    assert_eq!(other.committed(&part).await.unwrap(), Some(9.into()));
    // Positions begin there, without a group's help.
    other.assign([part.clone()]).unwrap();
    assert_eq!(other.position(&part).await.unwrap(), 9);
    assert_eq!(take(&mut other, 41).await[0].offset, 9);
    other.commit_sync().await.unwrap();
    assert_eq!(other.committed(&part).await.unwrap(), Some(50.into()));
    other.close().await.unwrap();

    let mut groupless = consumer(cluster, "");
    groupless.assign([part.clone()]).unwrap();
    assert_eq!(take(&mut groupless, 50).await.len(), 50, "no group is needed");
    let refused = groupless.commit_sync().await.unwrap_err();
    assert_eq!(refused.to_string(), "The configured groupId is invalid");
    groupless.close().await.unwrap();
}

async fn seeking(cluster: &Cluster) {
    for (topic, codec) in [("plain", Codec::None), ("packed", Codec::Gzip)] {
        let part = tp(topic, 0);
        send(cluster, &part, &numbers(0..300), codec).await;
        let mut c = consumer(cluster, "seekers");
        c.assign([part.clone()]).unwrap();
        c.seek_to_end([]).unwrap();
        assert_eq!(c.position(&part).await.unwrap(), 300);
        assert!(c.poll(Duration::ZERO).await.unwrap().is_empty());
        c.seek_to_beginning([&part]).unwrap();
        assert_eq!(c.position(&part).await.unwrap(), 0);
        for offset in [123, 7, 299] {
            c.seek(&part, offset).unwrap();
            let records = next(&mut c).await.unwrap();
            let first = records.iter().next().unwrap();
            assert_eq!((first.offset, text(first)), (offset, offset.to_string()));
        }
        assert_eq!(c.position(&part).await.unwrap(), 300);
        assert!(matches!(c.seek(&part, -1), Err(Error::Argument(_))));
        assert!(matches!(c.seek(&tp(topic, 1), 0), Err(Error::NotAssigned(_))));
        assert!(matches!(
            c.position(&tp(topic, 1)).await,
            Err(Error::NotAssigned(_))
        ));
        c.close().await.unwrap();
    }
}

async fn pausing(cluster: &Cluster) {
    let part = tp("plain", 0);
    let mut c = consumer(cluster, "");
    c.assign([part.clone()]).unwrap();
    c.pause([&part]).unwrap();
    for _ in 0..3 {
        assert!(c.poll(POLL).await.unwrap().is_empty());
    }
    c.resume([&part]).unwrap();
    assert_eq!(take(&mut c, 300).await.len(), 300);
    c.close().await.unwrap();
}

async fn looking_around(cluster: &Cluster) {
    let mut c = consumer(cluster, "");
    let ids = |partitions: &[kafka::client::metadata::Partition]| -> Vec<i32> {
        let mut ids: Vec<i32> = partitions.iter().map(|p| p.id).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(&c.partitions_for("read").await.unwrap()), [0, 1]);
    let made = c.partitions_for("made-on-demand").await.unwrap();
    assert_eq!(ids(&made), [0]);
    assert_eq!((made[0].replicas.len(), made[0].isr.len()), (1, 1));
    let wrong = c.partitions_for(";3# ads,{234").await.unwrap_err();
    assert_eq!(wrong.to_string(), "Topic ';3# ads,{234' is invalid");
    let all = c.list_topics().await.unwrap();
    for topic in ["read", "plain", "packed", "made-on-demand"] {
        assert!(all.contains_key(topic), "{all:?}");
    }
    c.close().await.unwrap();
}

async fn waking_up(cluster: &Cluster) {
    let mut c = consumer(cluster, "");
    c.assign([tp("made-on-demand", 0)]).unwrap();
    let wakeup = c.wakeup();
    wakeup.wakeup();
    let woken = c.poll(LIMIT).await.unwrap_err();
    assert!(matches!(woken, Error::Wakeup));
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        wakeup.wakeup();
    });
    assert!(matches!(c.poll(LIMIT).await, Err(Error::Wakeup)));
    // Cut short, a poll loses nothing.
    let cut = tokio::time::timeout(Duration::from_millis(50), c.poll(LIMIT)).await;
    assert!(cut.is_err());
    send(cluster, &tp("made-on-demand", 0), &numbers(0..1), Codec::None).await;
    assert_eq!(take(&mut c, 1).await.len(), 1);
    c.close().await.unwrap();
}

async fn losing_ones_place(cluster: &Cluster) {
    let part = tp("plain", 0);
    let with = |reset| {
        let mut c = Consumer::new(ConsumerSettings {
            reset,
            max_partition_fetch_bytes: 2000,
            ..settings(cluster, "lost")
        })
        .unwrap();
        c.assign([tp("plain", 0)]).unwrap();
        c
    };
    let mut c = with(AutoOffsetReset::None);
    let told = next(&mut c).await.unwrap_err();
    assert!(matches!(told, Error::NoOffset(p) if p == part));
    c.seek(&part, 17).unwrap();
    assert_eq!(next(&mut c).await.unwrap().iter().next().unwrap().offset, 17);
    c.seek(&part, 1_000_000).unwrap();
    let told = next(&mut c).await.unwrap_err();
    assert!(matches!(
        told,
        Error::OutOfRange {
            offset: 1_000_000,
            ..
        }
    ));
    c.close().await.unwrap();
    for (reset, position) in [(AutoOffsetReset::Earliest, 0), (AutoOffsetReset::Latest, 300)] {
        let mut c = with(reset);
        c.seek(&part, 1_000_000).unwrap();
        while c.position(&part).await.unwrap() == 1_000_000 {
            c.poll(Duration::ZERO).await.unwrap();
        }
        c.pause([&part]).unwrap();
        assert!(c.position(&part).await.unwrap() >= position);
        c.close().await.unwrap();
    }
    // A record that no fetch can hold is told, again and again.
    send(cluster, &part, &["y".repeat(5000)], Codec::None).await;
    let mut c = with(AutoOffsetReset::None);
    c.seek(&part, 300).unwrap();
    for _ in 0..2 {
        let told = next(&mut c).await.unwrap_err();
        assert!(matches!(
            told,
            Error::TooLarge {
                offset: 300,
                fetch_bytes: 2000,
                ..
            }
        ));
    }
    c.close().await.unwrap();
}

/// Topics that match are consumed, those that appear later too, and Kafka's own never.
async fn a_pattern(cluster: &Cluster) {
    send(cluster, &tp("pat-1", 0), &numbers(0..5), Codec::None).await;
    let mut c = consumer(cluster, "patterns");
    assert!(c.subscribe_pattern("pat-[").is_err());
    c.subscribe_pattern("(pat-.*|__consumer_offsets)").unwrap();
    assert_eq!(take(&mut c, 5).await.len(), 5);
    c.commit_sync().await.unwrap();
    assert_eq!(c.subscription().into_iter().collect::<Vec<_>>(), ["pat-1"]);
    send(cluster, &tp("pat-2", 0), &numbers(0..3), Codec::None).await;
    assert_eq!(take(&mut c, 3).await[0].topic(), "pat-2");
    c.unsubscribe();
    assert!(c.assignment().is_empty());
    c.subscribe(["pat-2"]).unwrap();
    let again = take(&mut c, 3).await;
    assert_eq!(again[0].offset, 0, "nothing of it was committed");
    c.close().await.unwrap();
}

async fn other_topics(cluster: &Cluster) {
    for topic in ["sub-1", "sub-2"] {
        send(cluster, &tp(topic, 0), &numbers(0..4), Codec::None).await;
    }
    let mut c = consumer(cluster, "changing");
    c.subscribe(["sub-1"]).unwrap();
    assert_eq!(take(&mut c, 4).await.len(), 4);
    c.commit_sync().await.unwrap();
    c.subscribe(["sub-1", "sub-2"]).unwrap();
    assert_eq!(take(&mut c, 4).await[0].topic(), "sub-2");
    assert_eq!(c.assignment().len(), 2);
    c.commit_sync().await.unwrap();
    c.subscribe(["sub-2"]).unwrap();
    assert_eq!(c.assignment(), [tp("sub-2", 0)], "at once");
    send(cluster, &tp("sub-1", 0), &numbers(4..5), Codec::None).await;
    send(cluster, &tp("sub-2", 0), &numbers(4..5), Codec::None).await;
    assert_eq!(take(&mut c, 1).await[0].topic(), "sub-2");
    c.commit_sync().await.unwrap();
    // A topic that is made later is found.
    c.subscribe(["sub-2", "not-yet"]).unwrap();
    assert!(c.poll(POLL).await.unwrap().is_empty());
    send(cluster, &tp("not-yet", 0), &numbers(0..1), Codec::None).await;
    assert_eq!(take(&mut c, 1).await[0].topic(), "not-yet");
    c.close().await.unwrap();
}

async fn every_codec(cluster: &Cluster) {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
        let part = tp("codecs", 0);
        send(cluster, &part, &numbers(0..500), codec).await;
    }
    let mut c = consumer(cluster, "");
    c.assign([tp("codecs", 0)]).unwrap();
    let all: Vec<String> = take(&mut c, 2000).await.iter().map(text).collect();
    assert_eq!(
        all,
        [numbers(0..500), numbers(0..500), numbers(0..500), numbers(0..500)].concat()
    );
    c.close().await.unwrap();
}

/// Positions are committed from time to time while it polls, but not what is still being processed.
async fn committing_by_itself(cluster: &Cluster) {
    let part = tp("sub-1", 0);
    for subscribes in [true, false] {
        let group = format!("timer-{subscribes}");
        let mut c = Consumer::new(ConsumerSettings {
            auto_commit: true,
            auto_commit_interval: Duration::from_millis(100),
            ..settings(cluster, &group)
        })
        .unwrap();
        if subscribes {
            c.subscribe(["sub-1"]).unwrap();
        } else {
            c.assign([part.clone()]).unwrap();
        }
        assert_eq!(take(&mut c, 5).await.len(), 5);
        let mut other = consumer(cluster, &group);
        assert_ne!(other.committed(&part).await.unwrap(), Some(5.into()));
        while other.committed(&part).await.unwrap() != Some(5.into()) {
            assert!(c.poll(POLL).await.unwrap().is_empty());
        }
        // Nobody closes it: its connections are cut.
        drop(c);
        other.close().await.unwrap();
    }
}

fn calls(whose: Whose) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_with(dir.path(), whose, QUICK);
    for (topic, partitions) in [
        ("read", 2),
        ("plain", 1),
        ("packed", 1),
        ("pat-1", 1),
        ("sub-1", 1),
        ("sub-2", 1),
        ("codecs", 1),
    ] {
        cluster.create(topic, partitions);
    }
    block(async {
        reading_and_closing(&cluster).await;
        committing(&cluster).await;
        seeking(&cluster).await;
        pausing(&cluster).await;
        looking_around(&cluster).await;
        waking_up(&cluster).await;
        losing_ones_place(&cluster).await;
        a_pattern(&cluster).await;
        other_topics(&cluster).await;
        every_codec(&cluster).await;
        committing_by_itself(&cluster).await;
    });
}

#[test]
fn calls_on_a_genuine_broker() {
    need!(reference());
    calls(Whose::Genuine);
}

#[test]
fn calls_on_our_broker() {
    calls(Whose::Ours);
}
