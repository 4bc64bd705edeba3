use super::*;

fn read(text: &str) -> Result<(BrokerConfig, Vec<String>), ConfigErrors> {
    let text = format!("zookeeper.connect=localhost:2181\n{}", text.replace(';', "\n"));
    BrokerConfig::from_properties(&Properties::parse(text.as_bytes(), "server.properties").unwrap())
}

fn config(text: &str) -> BrokerConfig {
    read(text).unwrap().0
}

fn rules(text: &str) -> Vec<String> {
    read(text)
        .map(|_| ())
        .unwrap_err()
        .0
        .into_iter()
        .map(|m| m.rule)
        .collect()
}

fn shown(endpoints: &[Endpoint]) -> Vec<String> {
    endpoints.iter().map(ToString::to_string).collect()
}

#[test]
fn defaults_are_those_of_0_9() {
    let c = config("");
    assert_eq!(c.broker_id, -1);
    assert_eq!(shown(&c.listeners), ["PLAINTEXT://:9092"]);
    assert_eq!(shown(&c.advertised_listeners), ["PLAINTEXT://:9092"]);
    assert_eq!(c.log_dirs, [PathBuf::from("/tmp/kafka-logs")]);
    assert_eq!(c.log, LogConfig::default());
    assert_eq!(c.zookeeper_connection_timeout, Duration::from_secs(6));
    assert_eq!(c.inter_broker_protocol, InterBrokerProtocol::V0_9_0);
    assert_eq!(c.connections_max_idle, Some(Duration::from_secs(600)));
    assert!(c.auto_create_topics_enable && !c.delete_topic_enable);
}

/// Texts seen from the genuine KafkaConfig.
#[test]
fn rules_between_keys_have_kafkas_texts() {
    for (text, rule) in [
        (
            "broker.id=-2",
            "broker.id must be equal or greater than -1 and not greater than reserved.broker.max.id",
        ),
        (
            "broker.id=1001",
            "broker.id must be equal or greater than -1 and not greater than reserved.broker.max.id",
        ),
        (
            "broker.id.generation.enable=false",
            "broker.id must be equal or greater than 0",
        ),
        ("log.roll.ms=0", "log.roll.ms must be equal or greater than 1"),
        (
            "log.retention.ms=0",
            "log.retention.ms must be unlimited (-1) or, equal or greater than 1",
        ),
        (
            "log.retention.minutes=0",
            "log.retention.ms must be unlimited (-1) or, equal or greater than 1",
        ),
        (
            "log.cleaner.dedupe.buffer.size=1000",
            "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.",
        ),
        (
            "replica.socket.timeout.ms=100",
            "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket timeouts",
        ),
        (
            "replica.fetch.max.bytes=1",
            "replica.fetch.max.bytes should be equal or greater than message.max.bytes",
        ),
        (
            "replica.fetch.wait.max.ms=20000",
            "replica.fetch.wait.max.ms should always be at least replica.lag.time.max.ms to prevent frequent changes in ISR",
        ),
        (
            "offsets.commit.required.acks=4",
            "offsets.commit.required.acks must be greater or equal -1 and less or equal to offsets.topic.replication.factor",
        ),
        (
            "security.inter.broker.protocol=SSL",
            "security.inter.broker.protocol must be a protocol in the configured set of advertised.listeners. The valid options based on currently configured protocols are Set(PLAINTEXT)",
        ),
        (
            "advertised.listeners=PLAINTEXT://a:1,SSL://b:2",
            "advertised.listeners protocols must be equal to or a subset of listeners protocols. Found Set(PLAINTEXT, SSL). The valid options based on currently configured protocols are Set(PLAINTEXT)",
        ),
        (
            "listeners=PLAINTEXT://a:1,SSL://b:1",
            "Each listener must have a different port",
        ),
        (
            "listeners=PLAINTEXT://a:1,PLAINTEXT://b:2",
            "Each listener must have a different protocol",
        ),
    ] {
        assert_eq!(rules(text), [format!("requirement failed: {rule}")], "{text}");
    }
    assert_eq!(
        rules("compression.type=x")[0],
        "requirement failed: compression.type : x is not valid. Valid options are uncompressed,snappy,lz4,gzip,producer"
    );
}

#[test]
fn what_cannot_be_read_has_kafkas_texts() {
    for (text, rule) in [
        ("inter.broker.protocol.version=0.10.0", "key not found: 0.10.0"),
        ("inter.broker.protocol.version=0.8", "key not found: 0.8"),
        (
            "offsets.topic.compression.codec=7",
            "7 is an unknown compression codec",
        ),
        (
            "listeners=plaintext://a:1",
            "Error creating broker listeners from 'plaintext://a:1': No enum constant org.apache.kafka.common.protocol.SecurityProtocol.plaintext",
        ),
        (
            "listeners=PLAINTEXT://a_b:1",
            "Error creating broker listeners from 'PLAINTEXT://a_b:1': Unable to parse PLAINTEXT://a_b:1 to a broker endpoint",
        ),
        (
            "host.name=a_b",
            "Unable to parse PLAINTEXT://a_b:9092 to a broker endpoint",
        ),
        (
            "security.inter.broker.protocol=foo",
            "No enum constant org.apache.kafka.common.protocol.SecurityProtocol.foo",
        ),
    ] {
        assert_eq!(rules(text), [rule], "{text}");
    }
}

#[test]
fn every_mistake_is_listed_with_its_line() {
    let errors = read("num.partitions=abc;log.roll.hours=0;broker.id=-5").unwrap_err();
    let expected = "server.properties:2: num.partitions=abc: Invalid value abc for configuration num.partitions: Not a number of type INT\n\
         server.properties:3: log.roll.hours=0: Invalid value 0 for configuration log.roll.hours: Value must be at least 1\n\
         server.properties:4: broker.id=-5: requirement failed: broker.id must be equal or greater than -1 and not greater than reserved.broker.max.id";
    assert_eq!(errors.to_string(), expected);
}

#[test]
fn the_smaller_unit_wins() {
    assert_eq!(
        config("log.retention.hours=1").log.retention,
        Some(Duration::from_hours(1))
    );
    let c = config("log.retention.hours=1;log.retention.minutes=2");
    assert_eq!(c.log.retention, Some(Duration::from_secs(120)));
    assert_eq!(
        config("log.retention.minutes=2;log.retention.ms=-5")
            .log
            .retention,
        None
    );
    assert_eq!(
        config("log.roll.hours=5;log.roll.ms=7").log.segment,
        Duration::from_millis(7)
    );
    assert_eq!(
        config("log.flush.scheduler.interval.ms=9").log.flush,
        Duration::from_millis(9)
    );
    assert_eq!(
        config("log.dir=/a;log.dirs=/b, /c,,").log_dirs,
        ["/b", "/c"].map(PathBuf::from)
    );
}

#[test]
fn the_topics_rules_hold_for_the_brokers_values_too() {
    let errors = read("log.flush.interval.ms=-1;compression.type=GZIP").unwrap_err();
    assert_eq!(
        errors.to_string(),
        "server.properties:2: log.flush.interval.ms=-1: Invalid value -1 for configuration flush.ms: Value must be at least 0\n\
         server.properties:3: compression.type=GZIP: Invalid value GZIP for configuration compression.type: String must be one of: uncompressed, snappy, lz4, gzip, producer"
    );
}

#[test]
fn advertised_addresses_follow_kafkas_precedence() {
    for (text, bound, advertised) in [
        ("port=1;host.name=h", "PLAINTEXT://h:1", "PLAINTEXT://h:1"),
        (
            "listeners=PLAINTEXT://h:1;port=2;host.name=g",
            "PLAINTEXT://h:1",
            "PLAINTEXT://h:1",
        ),
        (
            "listeners=PLAINTEXT://h:1;advertised.host.name=a",
            "PLAINTEXT://h:1",
            "PLAINTEXT://a:9092",
        ),
        (
            "host.name=h;advertised.port=3",
            "PLAINTEXT://h:9092",
            "PLAINTEXT://h:3",
        ),
        (
            "advertised.host.name=a;advertised.listeners=PLAINTEXT://b:4",
            "PLAINTEXT://:9092",
            "PLAINTEXT://b:4",
        ),
        (
            "listeners=PLAINTEXT://0.0.0.0:1",
            "PLAINTEXT://0.0.0.0:1",
            "PLAINTEXT://:1",
        ),
    ] {
        let c = config(text);
        assert_eq!(
            (shown(&c.listeners), shown(&c.advertised_listeners)),
            (vec![bound.into()], vec![advertised.into()]),
            "{text}"
        );
    }
    assert!(
        read("listeners=PLAINTEXT://0.0.0.0:1").unwrap().1[0]
            .starts_with("server.properties:2: no client can")
    );
    assert_eq!(rules("advertised.listeners=PLAINTEXT://0.0.0.0:1").len(), 1);
}

#[test]
fn settings_without_effect_are_warned_about() {
    let (_, warnings) = read("num.partition=1;ssl.protocol=TLS;log.dirs=D:\\\\a,C:b").unwrap();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[0].contains("log.dirs=C:b is relative"));
    assert_eq!(
        warnings[1],
        "server.properties:2: Property num.partition is not valid"
    );
    assert_eq!(
        warnings[2],
        "server.properties:3: Property ssl.protocol is known but has no effect yet"
    );
}

#[test]
fn the_block_of_values_hides_passwords() {
    let block = config("ssl.key.password=p;log.dirs=/a").values_block();
    assert!(block.starts_with("KafkaConfig values: \n\tadvertised.host.name = null\n"));
    assert!(block.contains("\tssl.key.password = [hidden]\n") && block.contains("\tlog.dirs = /a\n"));
    assert!(block.contains("\tsasl.kerberos.principal.to.local.rules = [DEFAULT]\n"));
    assert!(block.contains("\tprincipal.builder.class = class org.apache"));
    assert_eq!(block.lines().count(), 1 + KEYS.len());
}
