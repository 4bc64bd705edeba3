use std::time::Duration;

use super::*;
use crate::config::{ConfigErrors, Properties};
use crate::message::Codec;

fn properties(text: &str) -> Properties {
    Properties::parse(text.replace(';', "\n").as_bytes(), "f").unwrap()
}

fn first_rule<T: std::fmt::Debug>(result: Result<T, ConfigErrors>) -> String {
    result.unwrap_err().0[0].rule.clone()
}

#[test]
fn the_new_producers_defaults_and_texts_are_kafkas() {
    let read = |text: &str| {
        ProducerConfig::from_properties(&properties(&format!("bootstrap.servers=h:1,[::1]:2;{text}")))
    };
    let (config, warnings) = read("").unwrap();
    assert!(warnings.is_empty());
    assert_eq!(
        config.bootstrap_servers,
        [("h".to_string(), 1), ("::1".to_string(), 2)]
    );
    assert_eq!(
        (
            config.acks,
            config.retries,
            config.batch_size,
            config.max_in_flight
        ),
        (1, 0, 16384, 5)
    );
    assert_eq!(config.codec, Codec::None);
    assert_eq!(read("acks=all").unwrap().0.acks, -1);
    for (text, rule) in [
        (
            "acks=2",
            "Invalid value 2 for configuration acks: String must be one of: all, -1, 0, 1",
        ),
        ("compression.type=GZIP", "Unknown compression name: GZIP"),
        ("bootstrap.servers=h", "Invalid url in bootstrap.servers: h"),
        (
            "bootstrap.servers=",
            "No bootstrap urls given in bootstrap.servers",
        ),
        (
            "linger.ms=-1",
            "Invalid value -1 for configuration linger.ms: Value must be at least 0",
        ),
        (
            "key.serializer=x.Y",
            "Invalid value x.Y for configuration key.serializer: Class x.Y could not be found.",
        ),
    ] {
        assert_eq!(first_rule(read(text)), rule, "{text}");
    }
    let missing = first_rule(ProducerConfig::from_properties(&Properties::new()));
    assert_eq!(
        missing,
        "Missing required configuration \"bootstrap.servers\" which has no default value."
    );
}

#[test]
fn the_new_producers_deprecated_keys_count() {
    let (config, warnings) = ProducerConfig::from_properties(&properties(
        "bootstrap.servers=h:1;timeout.ms=7;foo=1;metadata.fetch.timeout.ms=8",
    ))
    .unwrap();
    assert_eq!(
        (config.request_timeout, config.max_block),
        (Duration::from_millis(7), Duration::from_millis(8))
    );
    assert_eq!(warnings.len(), 3);
    assert_eq!(
        warnings[0],
        "The configuration foo = 1 was supplied but isn't a known config."
    );
}

#[test]
fn the_consumers_defaults_and_texts_are_kafkas() {
    let read =
        |text: &str| ConsumerConfig::from_properties(&properties(&format!("bootstrap.servers=h:1;{text}")));
    let (config, warnings) = read("").unwrap();
    assert!(warnings.is_empty());
    assert_eq!(
        (
            config.group_id.as_str(),
            config.client_id.as_str(),
            config.enable_auto_commit
        ),
        ("", "", true)
    );
    assert_eq!(config.strategies, [AssignmentStrategy::Range]);
    assert_eq!(config.auto_offset_reset, AutoOffsetReset::Latest);
    assert_eq!(config.request_timeout.as_millis(), 40_000);
    let both = "partition.assignment.strategy=org.apache.kafka.clients.consumer.RoundRobinAssignor, \
                org.apache.kafka.clients.consumer.RangeAssignor";
    assert_eq!(
        read(both).unwrap().0.strategies,
        [AssignmentStrategy::RoundRobin, AssignmentStrategy::Range]
    );
    assert_eq!(
        read("group.name=g").unwrap().1,
        ["The configuration group.name = g was supplied but isn't a known config."]
    );
    for (text, rule) in [
        (
            "auto.offset.reset=smallest",
            "Invalid value smallest for configuration auto.offset.reset: String must be one of: latest, earliest, none",
        ),
        (
            "session.timeout.ms=40000",
            "request.timeout.ms should be greater than session.timeout.ms and fetch.max.wait.ms",
        ),
        (
            "heartbeat.interval.ms=30000",
            "Heartbeat must be set lower than the session timeout",
        ),
        (
            "partition.assignment.strategy=range",
            "range ClassNotFoundException exception occured",
        ),
        (
            "value.deserializer=x.Y",
            "Invalid value x.Y for configuration value.deserializer: Class x.Y could not be found.",
        ),
    ] {
        assert_eq!(first_rule(read(text)), rule, "{text}");
    }
}

#[test]
fn the_old_producers_defaults_and_texts_are_kafkas() {
    let read = |text: &str| {
        OldProducerConfig::from_properties(&properties(&format!("metadata.broker.list=h:1;{text}")))
    };
    let (config, _) = read("").unwrap();
    assert_eq!(
        (config.request_required_acks, config.message_send_max_retries),
        (0, 3)
    );
    assert_eq!(config.queue_enqueue_timeout, None);
    assert_eq!(read("compression.codec=2").unwrap().0.codec, Codec::Snappy);
    assert_eq!(read("compression.codec=GZIP").unwrap().0.codec, Codec::Gzip);
    assert_eq!(read("foo=x").unwrap().1, ["f:2: Property foo is not valid"]);
    for (text, rule) in [
        (
            "producer.type=x",
            "Invalid value x for producer.type, valid values are sync/async",
        ),
        ("compression.codec=x", "x is an unknown compression codec"),
        (
            "batch.num.messages=99999",
            "Batch size = 99999 can't be larger than queue size = 10000",
        ),
        (
            "request.required.acks=5",
            "requirement failed: request.required.acks has value 5 which is not in the range (-1,1).",
        ),
        (
            "client.id=a b",
            "client.id a b is illegal, contains a character other than ASCII alphanumerics, '.', '_' and '-'",
        ),
        ("metadata.broker.list=h", "h is not host:port"),
    ] {
        assert_eq!(first_rule(read(text)), rule, "{text}");
    }
    let missing = first_rule(OldProducerConfig::from_properties(&Properties::new()));
    assert_eq!(
        missing,
        "requirement failed: Missing required property 'metadata.broker.list'"
    );
}

#[test]
fn the_old_consumers_defaults_and_texts_are_kafkas() {
    let read = |text: &str| {
        OldConsumerConfig::from_properties(&properties(&format!("group.id=g;zookeeper.connect=z;{text}")))
    };
    let (config, warnings) = read("").unwrap();
    assert!(warnings.is_empty());
    assert_eq!((config.client_id.as_str(), config.consumer_timeout), ("g", None));
    assert_eq!(config.rebalance_backoff, Duration::from_secs(2));
    assert_eq!(config.auto_offset_reset, OffsetReset::Largest);
    assert_eq!(
        read("offsets.storage=KAFKA").unwrap().0.offsets_storage,
        OffsetStorage::Kafka
    );
    for (text, rule) in [
        (
            "auto.offset.reset=earliest",
            "Wrong value earliest of auto.offset.reset in ConsumerConfig; Valid values are smallest and largest",
        ),
        (
            "offsets.storage=x",
            "Wrong value x of offsets.storage in consumer config; Valid values are 'zookeeper' and 'kafka'",
        ),
        (
            "partition.assignment.strategy=x",
            "Wrong value x of partition.assignment.strategy in consumer config; Valid values are 'range' and 'roundrobin'",
        ),
        (
            "fetch.wait.max.ms=60000",
            "requirement failed: socket.timeout.ms should always be at least fetch.wait.max.ms to prevent unnecessary socket timeouts",
        ),
        (
            "group.id=a b",
            "client.id a b is illegal, contains a character other than ASCII alphanumerics, '.', '_' and '-'",
        ),
    ] {
        assert_eq!(first_rule(read(text)), rule, "{text}");
    }
    let missing = first_rule(OldConsumerConfig::from_properties(&Properties::new()));
    assert_eq!(
        missing,
        "requirement failed: Missing required property 'zookeeper.connect'"
    );
}
