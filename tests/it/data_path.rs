//! The promise: what was received is appended, in the order in which it was sent, whether or not the
//! client stays for an answer; and who waits for a message hears of it at once.

use std::time::{Duration, Instant};

use kafka::message::Codec;
use kafka::protocol::{fetch, produce};

use crate::support::wire::{Wire, produce_request, set, wait_leaders};
use crate::support::{ours, wait_until};

const LIMIT: Duration = Duration::from_secs(30);

struct Case {
    _zookeeper: ours::Server,
    broker: ours::Server,
    _dir: tempfile::TempDir,
}

impl Case {
    fn start() -> Case {
        let dir = tempfile::tempdir().unwrap();
        let zookeeper = ours::zookeeper(dir.path());
        let connect = format!("127.0.0.1:{}", zookeeper.port);
        let broker = ours::broker(dir.path(), &connect, "num.partitions=2");
        wait_leaders(broker.port, "t", LIMIT);
        Case {
            _zookeeper: zookeeper,
            broker,
            _dir: dir,
        }
    }

    fn connect(&self) -> Wire {
        Wire::connect(self.broker.port, LIMIT).unwrap()
    }
}

fn number(n: usize) -> bytes::Bytes {
    set(Codec::None, &[n.to_string().as_bytes()])
}

#[test]
fn a_thousand_acks_0_requests_are_appended_although_the_client_closes_at_once() {
    let case = Case::start();
    for round in 0..5 {
        let mut wire = case.connect();
        for n in 0..1000 {
            wire.send(&produce_request("t", 0, number(round * 1000 + n), 0), 1)
                .unwrap();
        }
        drop(wire);
        let expected = (round as i64 + 1) * 1000;
        let mut reader = case.connect();
        wait_until("all are appended", LIMIT, || {
            reader.offset_at("t", 0, -1).is_ok_and(|o| o == [expected])
        });
    }
    let all = case.connect().read_all("t", 0, 0).unwrap();
    let values = all
        .iter()
        .map(|m| String::from_utf8(m.value.as_ref().unwrap().to_vec()).unwrap());
    assert!(values.eq((0..5000).map(|n| n.to_string())));
}

#[test]
fn a_waiting_fetch_hears_of_a_message_at_once() {
    let case = Case::start();
    let (mut reader, mut writer) = (case.connect(), case.connect());
    let mut times = Vec::new();
    for n in 0..20 {
        let (sent, fetched) = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let fetched = reader.fetch("t", 1, n, 20_000).unwrap();
                (Instant::now(), fetched)
            });
            // The request is on its way; whether it waits already makes no difference to what is asked.
            writer.metadata(&["t"]).unwrap();
            let sent = Instant::now();
            writer.produce("t", 1, number(1), 1).unwrap();
            (sent, waiting.join().unwrap())
        });
        assert!(!fetched.1.2.is_empty());
        times.push(fetched.0.saturating_duration_since(sent));
    }
    times.sort_unstable();
    assert!(
        times[10] < Duration::from_millis(100),
        "half of them took longer than {:?}",
        times[10]
    );
}

#[test]
fn a_request_over_several_partitions_is_answered_for_each_in_its_version() {
    let case = Case::start();
    let mut wire = case.connect();
    let entry = |partition, records| produce::ProducePartition { partition, records };
    let request = produce::ProduceRequest {
        acks: -1,
        timeout_ms: 1000,
        topics: vec![
            produce::ProduceTopic {
                topic: "t".to_owned(),
                // Named twice: the last counts.
                partitions: vec![
                    entry(1, number(1)),
                    entry(0, number(2)),
                    entry(1, number(3)),
                    entry(7, number(4)),
                ],
            },
            produce::ProduceTopic {
                topic: "unknown".to_owned(),
                partitions: vec![entry(0, number(5))],
            },
        ],
    };
    for version in 0..=1 {
        let answer = wire.call(&request, version).unwrap();
        let mut results: Vec<_> = answer
            .topics
            .iter()
            .flat_map(|t| {
                t.partitions
                    .iter()
                    .map(|p| (t.topic.as_str(), p.partition, p.error, p.base_offset))
            })
            .collect();
        results.sort_unstable();
        let base = i64::from(version);
        assert_eq!(
            results,
            [
                ("t", 0, 0, base),
                ("t", 1, 0, base),
                ("t", 7, 3, -1),
                ("unknown", 0, 3, -1)
            ]
        );
    }
    let wish = |partition, max_bytes| fetch::FetchPartition {
        partition,
        fetch_offset: 0,
        max_bytes,
    };
    let request = fetch::FetchRequest {
        replica_id: -1,
        max_wait_ms: 60_000,
        min_bytes: 1 << 30,
        topics: vec![fetch::FetchTopic {
            topic: "t".to_owned(),
            partitions: vec![wish(0, 1000), wish(1, 20), wish(7, 1000)],
        }],
    };
    for version in 0..=1 {
        // One partition's error answers all at once.
        let answer = wire.call(&request, version).unwrap();
        let found: Vec<_> = answer.topics[0]
            .partitions
            .iter()
            .map(|p| (p.partition, p.error, p.high_watermark, p.records.len()))
            .collect();
        assert_eq!(found, [(0, 0, 2, 54), (1, 0, 2, 20), (7, 3, -1, 0)]);
    }
}
