//! The bytes that the JVM writes, and what its readers take.

use std::collections::BTreeMap;

use super::*;
use crate::cluster::{BrokerId, ControllerEpoch, LeaderAndIsr, LeaderEpoch, TopicPartition};
use crate::util::clock::WallMs;
use crate::zookeeper::paths::EntityType;

fn ids(numbers: &[i32]) -> Vec<BrokerId> {
    numbers.iter().copied().map(BrokerId).collect()
}

#[test]
fn broker_registrations_are_written_as_version_2() {
    let json = r#"{"jmx_port":-1,"timestamp":"1455200000000","endpoints":["PLAINTEXT://h:9092","SSL://h:9093"],"host":"h","version":2,"port":9092}"#;
    let registration = broker::Registration::decode(BrokerId(3), json.as_bytes()).unwrap();
    assert_eq!(registration.broker.id, BrokerId(3));
    assert_eq!(registration.broker.endpoints.len(), 2);
    assert_eq!(registration.encode(), json);
    let without_plain = r#"{"jmx_port":9999,"timestamp":"1","endpoints":["SSL://[::1]:9093"],"host":null,"version":2,"port":-1}"#;
    let registration = broker::Registration::decode(BrokerId(3), without_plain.as_bytes()).unwrap();
    assert_eq!(registration.encode(), without_plain);
}

#[test]
fn broker_registrations_of_version_1_have_one_plain_endpoint() {
    let json = r#"{"host":"a","version":1,"port":1,"jmx_port":2,"timestamp":"3"}"#;
    let registration = broker::Registration::decode(BrokerId(0), json.as_bytes()).unwrap();
    assert_eq!(registration.broker.endpoints[0].to_string(), "PLAINTEXT://a:1");
    let old = r#"{"host":"a","version":0,"port":1}"#;
    assert_eq!(
        broker::Registration::decode(BrokerId(0), old.as_bytes())
            .unwrap_err()
            .to_string(),
        format!(
            "Failed to parse the broker info from zookeeper: Unsupported version of broker registration: {old}"
        )
    );
}

#[test]
fn partition_states_keep_the_order_of_their_isr() {
    let json = r#"{"controller_epoch":1,"leader":0,"version":1,"leader_epoch":2,"isr":[1,0]}"#;
    let state = leader_and_isr::decode(json.as_bytes(), 7).unwrap();
    assert_eq!(
        state,
        LeaderAndIsr {
            leader: BrokerId(0),
            leader_epoch: LeaderEpoch(2),
            isr: ids(&[1, 0]),
            controller_epoch: ControllerEpoch(1),
            zk_version: 7,
        }
    );
    assert_eq!(leader_and_isr::encode(&state), json);
}

#[test]
fn the_controller_is_an_object_or_a_bare_number() {
    let json = controller::encode(BrokerId(4), WallMs(12));
    assert_eq!(json, r#"{"version":1,"brokerid":4,"timestamp":"12"}"#);
    assert_eq!(controller::decode(json.as_bytes()), Ok(BrokerId(4)));
    assert_eq!(controller::decode(b"5"), Ok(BrokerId(5)));
    assert!(controller::decode(b"{}").is_err());
    assert_eq!(controller::decode_epoch(b"17"), Ok(ControllerEpoch(17)));
    assert!(controller::decode_epoch(b"").is_err());
}

/// The order of partitions in the data of a node.
fn order(json: &str) -> Vec<i32> {
    json.split('"').filter_map(|part| part.parse().ok()).collect()
}

fn assignment(partitions: i32) -> topic::Assignment {
    (0..partitions).map(|p| (p, ids(&[p % 3]))).collect()
}

#[test]
fn a_new_topics_partitions_stand_in_the_order_of_an_immutable_scala_map() {
    let two = BTreeMap::from([(0, ids(&[1, 2])), (1, ids(&[2, 0]))]);
    let json = topic::encode(&two);
    assert_eq!(json, r#"{"version":1,"partitions":{"1":[2,0],"0":[1,2]}}"#);
    assert_eq!(topic::decode(json.as_bytes()), Ok(two));
    for (partitions, want) in [
        (3, &[2, 1, 0][..]),
        (4, &[2, 1, 3, 0]),
        (5, &[4, 1, 0, 2, 3]),
        (8, &[4, 5, 6, 1, 0, 2, 7, 3]),
    ] {
        assert_eq!(order(&topic::encode(&assignment(partitions))), want);
    }
}

#[test]
fn settings_are_strings_and_version_1_or_an_error() {
    let settings = config::decode(Some(br#"{"version":1,"config":{"retention.ms":"1000"}}"#)).unwrap();
    assert_eq!(settings["retention.ms"], "1000");
    assert_eq!(
        config::encode(&settings),
        r#"{"version":1,"config":{"retention.ms":"1000"}}"#
    );
    assert_eq!(config::encode(&BTreeMap::new()), r#"{"version":1,"config":{}}"#);
    assert!(config::decode(None).unwrap().is_empty());
    assert!(config::decode(Some(b"nothing")).unwrap().is_empty());
    for bad in [
        r#"{"version":2,"config":{}}"#,
        r#"{"version":1}"#,
        r#"{"version":1,"config":{"a":1}}"#,
        "[]",
    ] {
        assert!(config::decode(Some(bad.as_bytes())).is_err(), "{bad}");
    }
}

#[test]
fn notifications_of_0_8_are_passed_over() {
    let change = config::Change {
        entity: EntityType::Topic,
        name: "T".into(),
    };
    let json = r#"{"version":1,"entity_type":"topics","entity_name":"T"}"#;
    assert_eq!(change.encode(), json);
    assert_eq!(config::Change::decode(json.as_bytes()), Ok(Some(change)));
    assert_eq!(config::Change::decode(b"\"T\""), Ok(None));
    assert!(config::Change::decode(br#"{"version":2,"entity_type":"topics","entity_name":"T"}"#).is_err());
    assert!(config::Change::decode(br#"{"version":1,"entity_type":"users","entity_name":"T"}"#).is_err());
}

#[test]
fn wishes_of_operators_name_partitions() {
    let tp = TopicPartition::new("t", 0);
    let json = r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,2]}]}"#;
    let wish = BTreeMap::from([(tp.clone(), ids(&[1, 2]))]);
    assert_eq!(admin::encode_reassignment(&wish), json);
    assert_eq!(admin::decode_reassignment(json.as_bytes()), Ok(wish));
    assert!(
        admin::decode_reassignment(br#"{"version":1}"#)
            .unwrap()
            .is_empty()
    );

    let json = r#"{"version":1,"partitions":[{"topic":"t","partition":0}]}"#;
    assert_eq!(admin::encode_preferred_election([&tp]), json);
    assert_eq!(isr_change::encode([&tp]), json);
    assert_eq!(isr_change::decode(json.as_bytes()), Ok(vec![tp]));
    let twice = r#"{"version":1,"partitions":[{"topic":"t","partition":0},{"topic":"t","partition":0}]}"#;
    assert!(admin::decode_preferred_election(twice.as_bytes()).is_err());
}

#[test]
fn expressions_of_members_are_escaped_and_topics_are_not() {
    let json = r#"{"version":1,"subscription":{"t":2},"pattern":"static","timestamp":"1447000000000"}"#;
    let member = consumer::Registration::decode(json.as_bytes()).unwrap();
    assert_eq!(member.encode(), json);
    let listed = consumer::Registration {
        subscription: vec![("a\\.b/\"c\"".into(), 1)],
        pattern: consumer::Pattern::WhiteList,
        timestamp: WallMs(1),
    };
    let json = listed.encode();
    assert_eq!(
        json,
        r#"{"version":1,"subscription":{"a\\.b\/\"c\"":1},"pattern":"white_list","timestamp":"1"}"#
    );
    assert_eq!(consumer::Registration::decode(json.as_bytes()), Ok(listed));
    let unknown = br#"{"version":1,"subscription":{"t":2},"pattern":"x"}"#;
    assert_eq!(
        consumer::Registration::decode(unknown).unwrap().pattern,
        consumer::Pattern::Static
    );
    assert!(consumer::Registration::decode(br#"{"version":1,"pattern":"static"}"#).is_err());
    assert_eq!(consumer::decode_offset(b"-1"), Ok(-1));
}
