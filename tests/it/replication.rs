//! The promise: with two replicas, what acks=-1 acknowledged is on both, and either may go and come back.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use kafka::message::Codec;
use kafka::util::clock::Clock;
use kafka::zookeeper::{Session, SessionSettings};

use crate::support::wire::{Wire, set, wait_leaders};
use crate::support::{free_port, ours, wait_for, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

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
    let zookeeper = ours::zookeeper(dirs[0].path());
    let connect = format!("127.0.0.1:{}", zookeeper.port);
    let ports = [free_port(), free_port()];
    let start = |id: usize| {
        let more = format!(
            "broker.id={id}\nreplica.lag.time.max.ms=2000\nzookeeper.session.timeout.ms=2000\ndefault.replication.factor=2\n\
             controlled.shutdown.enable=true\nreplica.fetch.wait.max.ms=100\nunclean.leader.election.enable=false\nmin.insync.replicas=1"
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
        both(ports[leader]);
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
        both(ports[follower]);
        leader = follower;
    }
    let all = wire.read_all("t", 0, 0).unwrap();
    let values: Vec<_> = all
        .iter()
        .map(|m| String::from_utf8_lossy(m.value.as_ref().unwrap()).into_owned())
        .collect();
    assert_eq!(values, (0..count).map(|n| n.to_string()).collect::<Vec<_>>());
}
