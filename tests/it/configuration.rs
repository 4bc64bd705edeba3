//! The shipped settings and the printed reference agree with the rows.

use std::path::Path;

use kafka::config::{
    BrokerConfig, KeeperConfig, OldConsumerConfig, OldProducerConfig, Properties, reference,
};

use super::support::root;

fn shipped(name: &str) -> Properties {
    Properties::load(&root().join("config").join(name)).unwrap()
}

/// `REWRITE_GOLDEN=1` writes the page instead.
#[test]
fn the_reference_page_is_printed_from_the_rows() {
    let path = root().join("docs/configuration.md");
    let page = reference::page();
    if std::env::var_os("REWRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, page).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "{} differs from the rows: REWRITE_GOLDEN=1 cargo test --test it configuration",
        path.display()
    );
}

#[test]
fn every_row_says_what_it_is_for() {
    for line in reference::page().lines().filter(|l| l.starts_with("| `")) {
        let doc = line.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        assert!(doc.len() > 3 && doc.contains('.'), "{line}");
    }
}

#[test]
fn the_shipped_settings_have_no_warning() {
    let (broker, warnings) = BrokerConfig::from_properties(&shipped("server.properties")).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(broker.broker_id, 0);
    assert_eq!(broker.log_dirs, [Path::new("/tmp/kafka-logs")]);
    assert_eq!(broker.zookeeper_connection_timeout.as_millis(), 6000);
    let (keeper, warnings) = KeeperConfig::from_properties(&shipped("zookeeper.properties")).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!((keeper.client_port, keeper.max_client_cnxns), (2181, 0));
    let (producer, warnings) = OldProducerConfig::from_properties(&shipped("producer.properties")).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(!producer.is_async);
    let (consumer, warnings) = OldConsumerConfig::from_properties(&shipped("consumer.properties")).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(consumer.group_id, "test-consumer-group");
}

/// The active keys and values of 0.9.0.1's own files.
#[test]
fn the_shipped_settings_are_those_of_0_9() {
    for (file, expected) in [
        (
            "server.properties",
            "broker.id=0 listeners=PLAINTEXT://:9092 num.network.threads=3 num.io.threads=8 \
             socket.send.buffer.bytes=102400 socket.receive.buffer.bytes=102400 socket.request.max.bytes=104857600 \
             log.dirs=/tmp/kafka-logs num.partitions=1 num.recovery.threads.per.data.dir=1 log.retention.hours=168 \
             log.segment.bytes=1073741824 log.retention.check.interval.ms=300000 zookeeper.connect=localhost:2181 \
             zookeeper.connection.timeout.ms=6000",
        ),
        (
            "zookeeper.properties",
            "dataDir=/tmp/zookeeper clientPort=2181 maxClientCnxns=0",
        ),
        (
            "producer.properties",
            "metadata.broker.list=localhost:9092 producer.type=sync compression.codec=none \
             serializer.class=kafka.serializer.DefaultEncoder",
        ),
        (
            "consumer.properties",
            "zookeeper.connect=127.0.0.1:2181 zookeeper.connection.timeout.ms=6000 group.id=test-consumer-group",
        ),
    ] {
        let found: Vec<String> = shipped(file)
            .entries()
            .map(|e| format!("{}={}", e.key, e.value))
            .collect();
        assert_eq!(found.join(" "), expected, "{file}");
    }
}
