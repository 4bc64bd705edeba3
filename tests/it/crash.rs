//! The promise: what was acknowledged is there, in order, whatever of the two servers is killed.
//!
//! A producer sends numbered messages with acks=1, one at a time, and sends a number again until it is
//! acknowledged. Meanwhile the broker, ZooKeeper or both are killed with -9 and started again. At the
//! end every number is read back, first appearances in order; duplicates are allowed, gaps are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kafka::message::Codec;

use crate::support::wire::{Wire, set, wait_leaders};
use crate::support::{free_port, ours, pause, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// Sends numbers until told to stop, counting what was acknowledged.
fn produce(port: u16, stop: &AtomicBool, acknowledged: &AtomicU64) {
    let mut connection: Option<Wire> = None;
    while !stop.load(Ordering::Relaxed) {
        let number = acknowledged.load(Ordering::Relaxed);
        let records = set(Codec::None, &[number.to_string().as_bytes()]);
        let result = match &mut connection {
            Some(c) => c.produce("numbers", 0, records, 1),
            None => {
                connection = Wire::connect(port, Duration::from_secs(2)).ok();
                if connection.is_none() {
                    pause();
                }
                continue;
            }
        };
        match result {
            Ok((0, _)) => acknowledged.store(number + 1, Ordering::Relaxed),
            // Not leader yet, or not known yet: the connection is fine.
            Ok(_) => pause(),
            Err(_) => connection = None,
        }
    }
}

#[test]
fn every_acknowledged_message_survives_twenty_kills_of_broker_zookeeper_or_both() {
    let dir = tempfile::tempdir().unwrap();
    let (zk_port, port) = (free_port(), free_port());
    let connect = format!("127.0.0.1:{zk_port}");
    // The session of a broker that was killed ends soon.
    let zookeeper_again = || ours::zookeeper_with(dir.path(), zk_port, ours::SHORT_SESSIONS);
    let broker_again = || ours::broker_on(dir.path(), &connect, port, "zookeeper.session.timeout.ms=2000");
    let mut zookeeper = zookeeper_again();
    let mut broker = broker_again();
    wait_leaders(port, "numbers", LIMIT);

    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let producer = std::thread::spawn({
        let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
        move || produce(port, &stop, &acknowledged)
    });
    // In the middle of producing: some more must be acknowledged before each kill and after the last.
    let goes_on = || {
        let before = acknowledged.load(Ordering::Relaxed);
        wait_until("messages are acknowledged again", LIMIT, || {
            acknowledged.load(Ordering::Relaxed) > before + 50
        });
    };
    for kill in 0..20 {
        goes_on();
        let (kill_broker, kill_zookeeper) = (kill % 3 != 1, kill % 3 != 0);
        if kill_zookeeper {
            zookeeper.program.kill();
        }
        if kill_broker {
            broker.program.kill();
        }
        if kill_zookeeper {
            zookeeper = zookeeper_again();
        }
        if kill_broker {
            broker = broker_again();
        }
    }
    goes_on();
    stop.store(true, Ordering::Relaxed);
    producer.join().unwrap();

    let acknowledged = acknowledged.load(Ordering::Relaxed);
    let read = Wire::connect(port, LIMIT)
        .unwrap()
        .read_all("numbers", 0, 0)
        .unwrap();
    let mut next = 0_u64;
    for message in read {
        let number: u64 = String::from_utf8(message.value.unwrap().to_vec())
            .unwrap()
            .parse()
            .unwrap();
        assert!(number <= next, "{number} stands where {next} should be");
        next = next.max(number + 1);
    }
    assert!(
        next >= acknowledged,
        "read up to {next}, acknowledged up to {acknowledged}"
    );
    drop((broker, zookeeper));
}
