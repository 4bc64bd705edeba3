//! Replicas in a quiet cluster: what acks=-1 acknowledged is on all in-sync replicas, each may go and come back,
//! and what an unclean election costs is said and counted. Under load and faults: `faults`.

mod former_lives;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use kafka::message::Codec;
use kafka::metrics::Shown;
use kafka::util::clock::Clock;
use kafka::zookeeper::{Session, SessionSettings, paths};

use crate::support::cluster::{session, wait_in_sync};
use crate::support::dev_cluster::Cluster;
use crate::support::wire::{Wire, set, wait_leaders};
use crate::support::{free_port, ours, wait_for, wait_until, wait_until_async};

const LIMIT: Duration = Duration::from_secs(60);

/// Error codes.
const UNKNOWN_PARTITION: i16 = 3;
const NOT_LEADER: i16 = 6;

fn one(n: usize) -> Bytes {
    set(Codec::None, &[n.to_string().as_bytes()])
}

fn segment(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("kafka-logs/t-0/00000000000000000000.log")).unwrap_or_default()
}

/// Leader and in-sync replicas as the broker at `port` tells them.
fn state(port: u16) -> Option<(i32, Vec<i32>)> {
    let answer = Wire::connect(port, Duration::from_secs(5))
        .ok()?
        .metadata(&["t"])
        .ok()?;
    let partition = answer.topics.first()?.partitions.first()?;
    let mut isr = partition.isr.clone();
    isr.sort_unstable();
    Some((partition.leader, isr))
}

#[test]
fn two_replicas_agree_and_either_may_die_and_return() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    // A dead broker's session ends soon.
    let zookeeper = ours::zookeeper_with(dirs[0].path(), free_port(), ours::SHORT_SESSIONS);
    let connect = format!("127.0.0.1:{}", zookeeper.port);
    let ports = [free_port(), free_port()];
    let start = |id: usize| {
        let more = format!(
            "broker.id={id}\nreplica.lag.time.max.ms=2000\nzookeeper.session.timeout.ms=2000\ndefault.replication.factor=2\n\
             controlled.shutdown.enable=true\nreplica.fetch.wait.max.ms=100\nunclean.leader.election.enable=false\nmin.insync.replicas=1\n\
             auto.leader.rebalance.enable=false"
        );
        ours::broker_on(dirs[id].path(), &connect, ports[id], &more)
    };
    let mut brokers = [Some(start(0)), Some(start(1))];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let settings = SessionSettings {
            session_timeout: Duration::from_secs(10),
            connection_timeout: Duration::from_secs(10),
        };
        let session = Session::connect(&connect, settings, Clock::system())
            .await
            .unwrap();
        kafka::admin::create_topic(&session, "t", 1, 2, &std::collections::BTreeMap::new())
            .await
            .unwrap();
        session.close().await;
    });
    wait_leaders(ports[0], "t", LIMIT);
    let both = |port| {
        wait_until("both are in sync", LIMIT, || {
            state(port).is_some_and(|(_, isr)| isr == [0, 1])
        })
    };
    both(ports[0]);
    let mut leader = usize::try_from(state(ports[0]).unwrap().0).unwrap();
    let mut wire = Wire::connect(ports[leader], LIMIT).unwrap();
    let mut count = 0;
    for _ in 0..50 {
        assert_eq!(
            wire.produce("t", 0, one(count), -1),
            Ok((0, i64::try_from(count).unwrap()))
        );
        count += 1;
    }
    assert_eq!(segment(dirs[0].path()), segment(dirs[1].path()));

    for _ in 0..2 {
        // The follower dies; once it is out of the set, acks=-1 goes on without it.
        let follower = 1 - leader;
        brokers[follower].take().unwrap().program.kill();
        wait_until("the dead follower is out", LIMIT, || {
            state(ports[leader]).is_some_and(|(_, isr)| isr.len() == 1)
        });
        for _ in 0..50 {
            assert_eq!(
                wire.produce("t", 0, one(count), -1),
                Ok((0, i64::try_from(count).unwrap()))
            );
            count += 1;
        }
        // It comes back, copies what it missed, and takes over when the leader dies.
        brokers[follower] = Some(start(follower));
        wait_in_sync(&connect, &["t"], &[0, 1]);
        assert_eq!(
            wire.produce("t", 0, one(count), -1),
            Ok((0, i64::try_from(count).unwrap()))
        );
        count += 1;
        assert_eq!(segment(dirs[0].path()), segment(dirs[1].path()));
        brokers[leader].take().unwrap().program.kill();
        let new = wait_for("another leader", LIMIT, || {
            state(ports[follower]).filter(|(l, _)| *l == i32::try_from(follower).unwrap())
        });
        assert_eq!(new.0, i32::try_from(follower).unwrap());
        wire = Wire::connect(ports[follower], LIMIT).unwrap();
        assert_eq!(
            wire.produce("t", 0, one(count), 1),
            Ok((0, i64::try_from(count).unwrap()))
        );
        count += 1;
        brokers[leader] = Some(start(leader));
        wait_in_sync(&connect, &["t"], &[0, 1]);
        leader = follower;
    }
    both(ports[leader]);
    let all = wire.read_all("t", 0, 0).unwrap();
    let values: Vec<_> = all
        .iter()
        .map(|m| String::from_utf8_lossy(m.value.as_ref().unwrap()).into_owned())
        .collect();
    assert_eq!(values, (0..count).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// Appends these values one by one.
#[track_caller]
fn append(cluster: &Cluster, id: i32, topic: &str, values: &[&str], acks: i16) {
    let mut wire = cluster.wire(id);
    for value in values {
        wait_until("it is appended", LIMIT, || {
            let appended = wire.produce(topic, 0, set(Codec::None, &[value.as_bytes()]), acks);
            let (code, _) = appended.expect("the broker answers");
            // Who leads stands in ZooKeeper before it is told.
            assert!(
                [0, UNKNOWN_PARTITION, NOT_LEADER].contains(&code),
                "{value}: {code}"
            );
            code == 0
        });
    }
}

#[track_caller]
fn values(cluster: &Cluster, id: i32, topic: &str) -> Vec<String> {
    let read = cluster.wire(id).read_all(topic, 0, 0).unwrap();
    let text = |m: &kafka::message::Message| String::from_utf8(m.value.as_ref().unwrap().to_vec()).unwrap();
    read.iter().map(text).collect()
}

async fn wait_equal(cluster: &Cluster, topic: &str) {
    wait_until_async("both replicas have the same", LIMIT, || async {
        cluster.log(0, topic) == cluster.log(1, topic)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unclean_election_is_as_the_topic_says_and_its_losses_are_counted() {
    let quick = ("replica.high.watermark.checkpoint.interval.ms", "50");
    let builder = Cluster::builder().brokers(2).setting(quick.0, quick.1);
    let mut cluster = builder.start().await;
    let clean = [("unclean.leader.election.enable", "false")];
    cluster.create_topic("unclean", &[0, 1], &[]).await;
    cluster.create_topic("clean", &[0, 1], &clean).await;
    append(&cluster, 0, "unclean", &["a", "b"], -1);
    append(&cluster, 0, "clean", &["a", "b"], -1);
    cluster.0.kill_broker(1).await;
    cluster.wait_state("unclean", 0, &[0]).await;
    append(&cluster, 0, "unclean", &["c", "d", "e"], -1);
    append(&cluster, 0, "clean", &["c"], -1);
    // How many were committed is known afterwards as far as it was written down.
    let checkpoint = cluster
        .0
        .data_dir()
        .join("kafka-logs/replication-offset-checkpoint");
    wait_until_async("the high watermark is written down", LIMIT, || async {
        std::fs::read_to_string(&checkpoint).is_ok_and(|text| text.contains("unclean 0 5"))
    })
    .await;

    // The one that has all goes, the other comes back: it leads where the topic allows it.
    cluster.0.kill_broker(0).await;
    cluster.0.start_broker(1).await.unwrap();
    cluster.wait_state("unclean", 1, &[1]).await;
    cluster.wait_state("clean", -1, &[0]).await;
    append(&cluster, 1, "unclean", &["x"], -1);

    // And comes back: what it had alone is cut and counted, where it must not be it leads.
    cluster.0.start_broker(0).await.unwrap();
    cluster.wait_state("clean", 0, &[0, 1]).await;
    cluster.wait_state("unclean", 1, &[0, 1]).await;
    wait_equal(&cluster, "unclean").await;
    wait_equal(&cluster, "clean").await;
    assert_eq!(values(&cluster, 1, "unclean"), ["a", "b", "x"]);
    assert_eq!(values(&cluster, 0, "clean"), ["a", "b", "c"]);
    assert_eq!(cluster.meter(0, "LostMessagesPerSec"), 3);
    assert_eq!(cluster.meter(0, "TruncatedMessagesPerSec"), 3);
    assert_eq!(cluster.meter(1, "LostMessagesPerSec"), 0);
    cluster.0.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_was_never_committed_goes_without_a_loss() {
    let setting = [("min.insync.replicas", "2")];
    // Sessions outlast what happens in the beginning, and end when they are told to.
    let builder = Cluster::builder()
        .brokers(3)
        .setting("zookeeper.session.timeout.ms", "60000");
    let mut cluster = builder.setting("replica.lag.time.max.ms", "30000").start().await;
    cluster.create_topic("t", &[0, 1, 2], &setting).await;
    append(&cluster, 0, "t", &["a", "b"], -1);
    // The followers go; what the leader takes alone is not committed: both are still in sync when it goes, too.
    cluster.0.kill_broker(1).await;
    cluster.0.kill_broker(2).await;
    append(&cluster, 0, "t", &["alone", "again"], 1);
    assert_eq!(cluster.state("t").await, Some((0, vec![0, 1, 2])));
    cluster.0.kill_broker(0).await;
    end_registrations(&cluster, &[0, 1, 2]).await;

    cluster.0.start_broker(1).await.unwrap();
    cluster.0.start_broker(2).await.unwrap();
    let (leader, _) = wait_leader(&cluster, "t").await;
    wait_until_async("acks=-1 is answered", LIMIT, || async {
        let answer = cluster
            .wire(leader)
            .produce("t", 0, set(Codec::None, &[b"c"]), -1);
        matches!(answer, Ok((0, _)))
    })
    .await;
    cluster.0.start_broker(0).await.unwrap();
    cluster.wait_state("t", leader, &[0, 1, 2]).await;
    wait_equal(&cluster, "t").await;
    let read = values(&cluster, leader, "t");
    assert_eq!(&read[..2], ["a", "b"]);
    assert!(read[2..].iter().all(|v| v == "c"), "{read:?}");
    assert_eq!(cluster.meter(0, "TruncatedMessagesPerSec"), 2);
    assert_eq!(cluster.meter(0, "LostMessagesPerSec"), 0);
    cluster.0.stop().await;
}

/// Takes away what ZooKeeper takes away when the sessions of these brokers, which are dead, expire.
async fn end_registrations(cluster: &Cluster, ids: &[i32]) {
    let nodes = session(&cluster.0.zookeeper_connect()).await;
    let brokers = ids.iter().map(|id| paths::broker(*id));
    for path in brokers.chain([paths::CONTROLLER.to_owned()]) {
        nodes.delete(&path, -1).await.unwrap();
    }
    nodes.close().await;
}

async fn wait_leader(cluster: &Cluster, topic: &str) -> (i32, Vec<i32>) {
    wait_until_async("there is a leader that lives", LIMIT, || async {
        cluster.state(topic).await.is_some_and(|(leader, _)| leader > 0)
    })
    .await;
    cluster.state(topic).await.unwrap()
}

/// What broker 1 shows of its fetchers.
fn fetchers(cluster: &Cluster) -> std::collections::BTreeMap<String, Shown> {
    let services = cluster.broker(1).services();
    let all = services.metrics.snapshot(services.clock.now()).into_iter();
    let all = all.map(|(name, shown)| (name.to_string(), shown));
    all.filter(|(name, _)| name.contains("Fetcher")).collect()
}

/// A follower tells how far it is behind and what it copied, and no longer tells it of what it copies no more.
#[tokio::test(flavor = "multi_thread")]
async fn what_followers_copy_is_counted() {
    let mut cluster = Cluster::builder().brokers(2).start().await;
    let all = [
        "kafka.server:type=ReplicaFetcherManager,name=MaxLag,clientId=Replica",
        "kafka.server:type=ReplicaFetcherManager,name=MinFetchRate,clientId=Replica",
    ];
    let zero = all.map(|name| (name.to_owned(), Shown::Value(0)));
    assert_eq!(fetchers(&cluster), zero.clone().into());

    cluster.create_topic("t", &[0, 1], &[]).await;
    append(&cluster, 0, "t", &["a", "b"], -1);
    let bytes = cluster.log(0, "t").len() as u64;
    let port = cluster.broker(0).bound()[0].port;
    let lag = "kafka.server:type=FetcherLagMetrics,name=ConsumerLag,clientId=ReplicaFetcherThread-0-0,topic=t,partition=0";
    let stats = |name| {
        format!(
            "kafka.server:type=FetcherStats,name={name},clientId=ReplicaFetcherThread-0-0,brokerHost=127.0.0.1,brokerPort={port}"
        )
    };
    wait_until_async("the copy is whole, and counted", LIMIT, || async {
        let shown = fetchers(&cluster);
        let count = |name| match shown.get(&stats(name)) {
            Some(Shown::Rates(rates)) => rates.count,
            _ => 0,
        };
        shown.get(lag) == Some(&Shown::Value(0))
            && shown[all[0]] == Shown::Value(0)
            && count("BytesPerSec") == bytes
            && count("RequestsPerSec") > 1
    })
    .await;

    cluster.0.kill_broker(0).await;
    cluster.wait_state("t", 1, &[1]).await;
    wait_until_async("a leader fetches nothing", LIMIT, || async {
        fetchers(&cluster) == zero.clone().into()
    })
    .await;
}
