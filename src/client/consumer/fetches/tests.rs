//! Fetching from hand-made leaders.

use bytes::Bytes;

use super::*;
use crate::client::consumer::settings::AutoOffsetReset;
use crate::client::metadata::{HostPort, Partition, Topic};
use crate::message::{Codec, SetBuilder};
use crate::protocol::fetch::FetchTopicResult;

fn at(ms: u64) -> Mono {
    Mono::from_millis(ms)
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

/// Broker 1 leads the even partitions, broker 2 the odd ones; partition 4 has no leader.
fn metadata() -> Metadata {
    let partition = |id: i32| Partition {
        id,
        error: ErrorCode::NONE,
        leader: (id != 4).then_some(BrokerId(1 + id % 2)),
        replicas: vec![],
        isr: vec![],
    };
    let at = HostPort {
        host: "h".into(),
        port: 9,
    };
    Metadata {
        brokers: [1, 2].map(|id| (BrokerId(id), at.clone())).into(),
        topics: BTreeMap::from([(
            "t".to_owned(),
            Topic {
                error: ErrorCode::NONE,
                partitions: (0..5).map(partition).collect(),
                available: vec![],
            },
        )]),
        correlation_id: 0,
    }
}

fn standing_at(positions: &[(i32, Offset)]) -> Subscription {
    let mut s = Subscription::new(AutoOffsetReset::None, false);
    s.assign(positions.iter().map(|(p, _)| tp(*p)).collect()).unwrap();
    for (p, offset) in positions {
        s.seek(&tp(*p), *offset).unwrap();
    }
    s
}

fn fetches() -> Fetches {
    Fetches::new(Rules {
        min_bytes: 1,
        max_wait: Duration::from_millis(500),
        max_partition_bytes: 1000,
        check_crcs: true,
        retry_backoff: Duration::from_millis(10),
    })
}

fn asked(requests: &[(BrokerId, FetchRequest)]) -> Vec<String> {
    requests
        .iter()
        .flat_map(|(leader, r)| {
            let partitions = r.topics.iter().flat_map(|t| &t.partitions);
            partitions.map(move |p| format!("{leader}: {} from {}", p.partition, p.fetch_offset))
        })
        .collect()
}

/// What is asked at that moment.
fn due(f: &mut Fetches, now: u64, s: &Subscription) -> Vec<String> {
    asked(&f.due(at(now), s, &metadata()).0)
}

fn answer(partition: i32, error: ErrorCode, records: Bytes) -> connection::Result<FetchResponse> {
    Ok(FetchResponse {
        throttle_time_ms: 0,
        topics: vec![FetchTopicResult {
            topic: "t".into(),
            partitions: vec![FetchPartitionResult {
                partition,
                error: error.0,
                high_watermark: 100,
                records,
            }],
        }],
    })
}

fn set(codec: Codec, values: &[&str]) -> Bytes {
    let mut builder = SetBuilder::new(codec, 1 << 20);
    for value in values {
        assert!(builder.append(None, Some(value.as_bytes())));
    }
    builder.finish()
}

fn handed(f: &mut Fetches, s: &mut Subscription) -> Vec<(Offset, String)> {
    let records = f.hand_out(s).unwrap();
    records
        .iter()
        .map(|r| {
            let value = r.value.clone().unwrap();
            (r.offset, String::from_utf8(value.to_vec()).unwrap())
        })
        .collect()
}

const BROKER: BrokerId = BrokerId(1);

#[test]
fn each_leader_has_one_request_for_all_of_its_partitions() {
    let mut s = standing_at(&[(0, 5), (1, 6), (2, 7), (3, 8), (4, 9)]);
    s.pause(&tp(3), true).unwrap();
    let mut f = fetches();
    let (requests, leaderless) = f.due(at(0), &s, &metadata());
    assert_eq!(asked(&requests), ["1: 0 from 5", "1: 2 from 7", "2: 1 from 6"]);
    assert!(leaderless);
    assert_eq!(due(&mut f, 0, &s), [""; 0], "they are under way");
}

#[test]
fn the_next_request_goes_out_when_what_came_is_handed_out() {
    let mut s = standing_at(&[(0, 1)]);
    let mut f = fetches();
    due(&mut f, 0, &s);
    let three = set(Codec::Gzip, &["a", "b", "c"]);
    f.answered(at(0), BROKER, answer(0, ErrorCode::NONE, three), &mut s);
    assert_eq!(due(&mut f, 0, &s), [""; 0]);
    assert_eq!(handed(&mut f, &mut s), [(1, "b".into()), (2, "c".into())]);
    assert_eq!(due(&mut f, 0, &s), ["1: 0 from 3"]);
}

#[test]
fn no_more_than_a_fetch_of_bytes_is_handed_out_at_once_however_small_it_was_compressed() {
    let mut s = standing_at(&[(0, 0)]);
    let mut f = fetches();
    due(&mut f, 0, &s);
    let long = "x".repeat(400);
    let five = set(Codec::Gzip, &[long.as_str(); 5]);
    assert!(five.len() < 200);
    f.answered(at(0), BROKER, answer(0, ErrorCode::NONE, five), &mut s);
    assert_eq!(handed(&mut f, &mut s).len(), 3);
    assert_eq!(s.position(&tp(0)), Some(3));
    assert_eq!(due(&mut f, 0, &s), [""; 0], "there is more");
    assert_eq!(handed(&mut f, &mut s).len(), 2);
    assert_eq!(handed(&mut f, &mut s), []);
    assert_eq!(due(&mut f, 0, &s), ["1: 0 from 5"]);
}

#[test]
fn what_was_fetched_for_another_position_is_dropped() {
    let mut s = standing_at(&[(0, 0)]);
    let mut f = fetches();
    due(&mut f, 0, &s);
    s.seek(&tp(0), 9).unwrap();
    let one = set(Codec::None, &["a"]);
    f.answered(at(0), BROKER, answer(0, ErrorCode::NONE, one.clone()), &mut s);
    assert_eq!(handed(&mut f, &mut s), []);
    assert_eq!(due(&mut f, 0, &s), ["1: 0 from 9"]);
    f.answered(at(0), BROKER, answer(0, ErrorCode::NONE, one), &mut s);
    s.seek(&tp(0), 5).unwrap();
    assert_eq!(
        due(&mut f, 0, &s),
        ["1: 0 from 5"],
        "what has come does not hinder"
    );
    assert_eq!(handed(&mut f, &mut s), []);
}

#[test]
fn what_was_fetched_of_a_paused_partition_waits_and_hinders_nobody() {
    let mut s = standing_at(&[(0, 0), (2, 0)]);
    let mut f = fetches();
    due(&mut f, 0, &s);
    f.answered(
        at(0),
        BROKER,
        answer(0, ErrorCode::NONE, set(Codec::None, &["a"])),
        &mut s,
    );
    s.pause(&tp(0), true).unwrap();
    assert_eq!(handed(&mut f, &mut s), []);
    assert_eq!(due(&mut f, 0, &s), ["1: 2 from 0"]);
    s.pause(&tp(0), false).unwrap();
    assert_eq!(handed(&mut f, &mut s), [(0, "a".into())]);
}

#[test]
fn errors_are_told_or_asked_again_after_a_pause() {
    for (code, stale) in [
        (ErrorCode::NOT_LEADER_FOR_PARTITION, true),
        (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, true),
        (ErrorCode::UNKNOWN, true),
        (ErrorCode::LEADER_NOT_AVAILABLE, true),
    ] {
        let mut s = standing_at(&[(0, 0)]);
        let mut f = fetches();
        due(&mut f, 0, &s);
        let told = f.answered(at(0), BROKER, answer(0, code, Bytes::new()), &mut s);
        assert_eq!(told, stale, "{code}");
        assert_eq!(due(&mut f, 9, &s), [""; 0], "{code}");
        assert_eq!(f.deadline(at(9)), Some(at(10)));
        assert_eq!(due(&mut f, 10, &s), ["1: 0 from 0"], "{code}");
    }
    let told = |code, records: Bytes| {
        let mut s = standing_at(&[(0, 3)]);
        let mut f = fetches();
        due(&mut f, 0, &s);
        f.answered(at(0), BROKER, answer(0, code, records), &mut s);
        f.hand_out(&mut s).unwrap_err().to_string()
    };
    assert_eq!(
        told(ErrorCode::TOPIC_AUTHORIZATION_FAILED, Bytes::new()),
        "Not authorized to access topics: [t]"
    );
    assert_eq!(
        told(ErrorCode::OFFSET_OUT_OF_RANGE, Bytes::new()),
        "Offsets out of range with no configured reset policy for partitions: {t-0=3}"
    );
    let cut = set(Codec::None, &["a long value"]).slice(..20);
    assert!(told(ErrorCode::NONE, cut).starts_with(
        "There are some messages at [Partition=Offset]: {t-0=3} whose size is larger than the fetch size 1000"
    ));
}

#[test]
fn a_leader_that_cannot_be_reached_is_left_alone_for_a_moment() {
    let mut s = standing_at(&[(0, 0), (1, 0)]);
    let mut f = fetches();
    due(&mut f, 0, &s);
    let closed = connection::Error::Closed { peer: "h:1".into() };
    assert!(f.answered(at(0), BROKER, Err(closed), &mut s));
    assert_eq!(due(&mut f, 9, &s), [""; 0]);
    assert_eq!(due(&mut f, 10, &s), ["1: 0 from 0"]);
}

#[test]
fn messages_before_a_damaged_one_come_first_then_the_damage_is_told_until_one_moves_on() {
    let mut s = standing_at(&[(0, 0)]);
    let mut f = fetches();
    let mut bytes = set(Codec::None, &["a", "b", "c"]).to_vec();
    let entry = bytes.len() / 3;
    bytes[2 * entry - 1] ^= 1;
    for round in 0..2 {
        assert_eq!(due(&mut f, 0, &s).len(), 1);
        f.answered(
            at(0),
            BROKER,
            answer(0, ErrorCode::NONE, bytes.clone().into()),
            &mut s,
        );
        if round == 0 {
            assert_eq!(handed(&mut f, &mut s), [(0, "a".into())]);
        }
        let told = f.hand_out(&mut s).unwrap_err();
        assert!(matches!(told, Error::Corrupt { offset: 1, .. }), "{told}");
        assert_eq!(s.position(&tp(0)), Some(1));
        // The leader sends the same entry again.
        bytes.drain(..if round == 0 { entry } else { 0 });
    }
    s.seek(&tp(0), 2).unwrap();
    assert_eq!(due(&mut f, 0, &s), ["1: 0 from 2"]);
}

#[test]
fn a_wrapper_whose_last_messages_are_gone_is_read_to_its_end() {
    let mut s = standing_at(&[(0, 0)]);
    let mut f = fetches();
    due(&mut f, 0, &s);
    // A cleaner has taken away 1 and 2 of 0..=2.
    let one = set(Codec::None, &["a"]);
    let wrapper = crate::message::builder::wrap(Codec::Gzip, &one, 2).freeze();
    f.answered(at(0), BROKER, answer(0, ErrorCode::NONE, wrapper), &mut s);
    assert_eq!(handed(&mut f, &mut s), [(0, "a".into())]);
    assert_eq!(due(&mut f, 0, &s), ["1: 0 from 3"]);
}
