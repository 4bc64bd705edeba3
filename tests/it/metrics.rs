//! What a broker counts: under Kafka's names (`tests/golden/metrics.txt` is what a genuine broker of 0.9.0.1
//! showed by JMX after the same), right, and gone with what it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka::admin;
use kafka::dev::{DevCluster, DevSettings};
use kafka::message::Codec;
use kafka::metrics::Shown;

use crate::support::program::{Program, kafka, run};
use crate::support::wire::{Wire, set, wait_leaders};
use crate::support::{free_port, genuine, ours, reference, root, wait_until, wait_until_async};

const LIMIT: Duration = Duration::from_secs(60);

/// Names, or beginnings of names, that a genuine broker has and this one does not, and why:
/// docs/metrics.md says it to operators.
const ABSENT: &[&str] = &[
    // There are neither such threads nor such queues.
    "kafka.network:type=Processor,",
    "kafka.network:type=RequestChannel,",
    "kafka.network:type=SocketServer,",
    "kafka.network:type=RequestMetrics,name=RequestQueueTimeMs,",
    "kafka.network:type=RequestMetrics,name=ResponseQueueTimeMs,",
    "kafka.server:type=KafkaRequestHandlerPool,",
    "kafka.server:type=DelayedOperationPurgatory,name=NumDelayedOperations,delayedOperation=Heartbeat",
    "kafka.server:type=DelayedOperationPurgatory,name=NumDelayedOperations,delayedOperation=Rebalance",
    "kafka.server:type=DelayedOperationPurgatory,name=PurgatorySize,delayedOperation=Heartbeat",
    "kafka.server:type=DelayedOperationPurgatory,name=PurgatorySize,delayedOperation=Rebalance",
];

fn snapshot(cluster: &DevCluster) -> BTreeMap<String, Shown> {
    let services = cluster.broker().services();
    let all = services.metrics.snapshot(services.clock.now());
    all.into_iter()
        .map(|(name, shown)| (name.to_string(), shown))
        .collect()
}

fn value(all: &BTreeMap<String, Shown>, name: &str) -> i64 {
    match all.get(name) {
        Some(Shown::Value(value)) => *value,
        Some(Shown::Rates(rates)) => i64::try_from(rates.count).unwrap(),
        Some(Shown::Distribution(spread)) => i64::try_from(spread.count).unwrap(),
        Some(Shown::Timer(rates, _)) => i64::try_from(rates.count).unwrap(),
        None => panic!("{name} is not there: {:?}", all.keys()),
    }
}

async fn start() -> DevCluster {
    let overrides = [
        ("log.flush.interval.messages", "1"),
        ("delete.topic.enable", "true"),
        ("message.max.bytes", "2000"),
    ];
    let settings = DevSettings {
        topics: vec![("t".to_owned(), 1)],
        overrides: overrides.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec(),
        ..DevSettings::default()
    };
    DevCluster::start(settings).await.unwrap()
}

/// Two sets of three messages appended, one refused, all read.
fn use_topic(port: u16, topic: &str) -> usize {
    let mut wire = Wire::connect(port, LIMIT).unwrap();
    let good = set(Codec::None, &[b"one", b"two", b"three"]);
    for _ in 0..2 {
        assert_eq!(wire.produce(topic, 0, good.clone(), 1).unwrap().0, 0);
    }
    let large = set(Codec::None, &[&[b'x'; 3000]]);
    assert_eq!(wire.produce(topic, 0, large, 1).unwrap().0, 10);
    assert_eq!(wire.read_all(topic, 0, 0).unwrap().len(), 6);
    good.len()
}

fn port(cluster: &DevCluster) -> u16 {
    cluster
        .bootstrap_servers()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted_under_kafkas_names() {
    let cluster = start().await;
    let port = port(&cluster);
    let bytes = tokio::task::spawn_blocking(move || use_topic(port, "t"))
        .await
        .unwrap();
    let bytes = i64::try_from(bytes).unwrap();
    let all = snapshot(&cluster);
    for (suffix, of_topic) in [("", false), (",topic=t", true)] {
        let rate = |name: &str| {
            value(
                &all,
                &format!("kafka.server:type=BrokerTopicMetrics,name={name}{suffix}"),
            )
        };
        assert_eq!(rate("MessagesInPerSec"), 6);
        assert_eq!(rate("BytesInPerSec"), 2 * bytes);
        assert!(rate("BytesOutPerSec") >= 2 * bytes, "{of_topic}");
        assert!(rate("BytesRejectedPerSec") > 3000);
        assert_eq!(rate("TotalProduceRequestsPerSec"), 3);
        assert!(rate("TotalFetchRequestsPerSec") >= 1);
        assert_eq!(rate("FailedProduceRequestsPerSec"), 0);
        assert_eq!(rate("FailedFetchRequestsPerSec"), 0);
    }
    let log = |name: &str| {
        value(
            &all,
            &format!("kafka.log:type=Log,name={name},topic=t,partition=0"),
        )
    };
    assert_eq!(
        [
            log("LogStartOffset"),
            log("LogEndOffset"),
            log("Size"),
            log("NumLogSegments")
        ],
        [0, 6, 2 * bytes, 1]
    );
    assert!(value(&all, "kafka.log:type=LogFlushStats,name=LogFlushRateAndTimeMs") >= 2);
    let request = |name: &str, request: &str| {
        value(
            &all,
            &format!("kafka.network:type=RequestMetrics,name={name},request={request}"),
        )
    };
    for name in [
        "RequestsPerSec",
        "LocalTimeMs",
        "RemoteTimeMs",
        "ResponseSendTimeMs",
        "TotalTimeMs",
    ] {
        assert_eq!(request(name, "Produce"), 3, "{name}");
        assert_eq!(request(name, "Fetch"), request(name, "FetchConsumer"), "{name}");
        assert!(request(name, "Fetch") >= 1);
        assert_eq!(request(name, "FetchFollower"), 0);
    }
    let replicas = |name: &str| value(&all, &format!("kafka.server:type=ReplicaManager,name={name}"));
    assert_eq!([replicas("PartitionCount"), replicas("LeaderCount")], [1, 1]);
    assert_eq!(replicas("UnderReplicatedPartitions"), 0);
    assert_eq!(
        value(
            &all,
            "kafka.cluster:type=Partition,name=UnderReplicated,topic=t,partition=0"
        ),
        0
    );
    assert_eq!(
        value(
            &all,
            "kafka.controller:type=KafkaController,name=ActiveControllerCount"
        ),
        1
    );
    assert_eq!(value(&all, "kafka.server:type=KafkaServer,name=BrokerState"), 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_go_with_topics_and_clients() {
    let cluster = start().await;
    let port = port(&cluster);
    let session = cluster.broker().zookeeper().clone();
    // A client's rates stay for an hour after its last request.
    tokio::task::spawn_blocking(move || use_topic(port, "t"))
        .await
        .unwrap();
    let before: BTreeSet<String> = snapshot(&cluster).into_keys().collect();
    for round in 0..3 {
        for topic in ["a", "b"] {
            let settings = admin::Settings::new();
            admin::create_topic(&session, topic, 2, 1, &settings)
                .await
                .unwrap();
            let topic = topic.to_owned();
            tokio::task::spawn_blocking(move || {
                wait_leaders(port, &topic, LIMIT);
                use_topic(port, &topic)
            })
            .await
            .unwrap();
        }
        let with: BTreeSet<String> = snapshot(&cluster).into_keys().collect();
        assert!(
            with.contains("kafka.log:type=Log,name=Size,topic=b,partition=1"),
            "{round}"
        );
        assert!(with.contains("kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec,topic=a"));
        for topic in ["a", "b"] {
            admin::delete_topic(&session, topic).await.unwrap();
        }
        wait_until_async("the topics are gone", LIMIT, || async {
            admin::topics(&session).await.is_ok_and(|topics| topics == ["t"])
        })
        .await;
        // A connection's task may hold what it read last for a moment.
        wait_until_async("no metric is left of them", LIMIT, || async {
            snapshot(&cluster).into_keys().collect::<BTreeSet<_>>() == before
        })
        .await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_genuine_broker_shows_is_there() {
    let path = root().join("tests/golden/metrics.txt");
    if std::env::var_os("REWRITE_GOLDEN").is_some() {
        need!(reference());
        let names = tokio::task::spawn_blocking(genuine_names).await.unwrap();
        std::fs::write(&path, names).unwrap();
    }
    let wanted = std::fs::read_to_string(path).unwrap();
    let cluster = start().await;
    let port = port(&cluster);
    tokio::task::spawn_blocking(move || use_topic(port, "t"))
        .await
        .unwrap();
    let all = snapshot(&cluster);
    let missing: Vec<&str> = wanted
        .lines()
        .filter(|name| !all.contains_key(*name) && !ABSENT.iter().any(|absent| name.starts_with(absent)))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
    for absent in ABSENT {
        assert!(wanted.lines().any(|name| name.starts_with(absent)), "{absent}");
    }
    cluster.stop().await;
}

/// The names of a genuine broker's metrics, of topic t among them.
fn genuine_names() -> String {
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let connect = format!("127.0.0.1:{}", zookeeper.port);
    let jmx = free_port();
    let mut command = genuine::command(&["kafka-server-start", &dir.path().join("s").display().to_string()]);
    let listen = free_port();
    let settings = format!(
        "broker.id=0\nlisteners=PLAINTEXT://127.0.0.1:{listen}\nlog.dirs={}\nzookeeper.connect={connect}\n\
         message.max.bytes=2000\nlog.cleaner.dedupe.buffer.size=4000000\nlog.flush.interval.messages=1\n",
        dir.path().join("logs").display()
    );
    std::fs::write(dir.path().join("s"), settings).unwrap();
    command.env(
        "KAFKA_OPTS",
        format!(
            "-Dcom.sun.management.jmxremote.port={jmx} -Dcom.sun.management.jmxremote.authenticate=false \
             -Dcom.sun.management.jmxremote.ssl=false -Djava.rmi.server.hostname=127.0.0.1"
        ),
    );
    let mut broker = Program::start(command);
    broker.wait_line("started (kafka.server.KafkaServer)", genuine::START);
    let mut create = kafka();
    create.args([
        "kafka-topics",
        "--zookeeper",
        &connect,
        "--create",
        "--topic",
        "t",
    ]);
    create.args(["--partitions", "1", "--replication-factor", "1"]);
    run(create, b"", LIMIT);
    wait_leaders(listen, "t", LIMIT);
    use_topic(listen, "t");
    let url = format!("service:jmx:rmi:///jndi/rmi://127.0.0.1:{jmx}/jmxrmi");
    let mut tool = Program::start(genuine::command(&[
        "run",
        "kafka.tools.JmxTool",
        "--jmx-url",
        &url,
    ]));
    let mut header = String::new();
    wait_until("the names are shown", LIMIT, || {
        header = tool
            .stdout()
            .into_iter()
            .find(|line| line.contains("kafka."))
            .unwrap_or_default();
        !header.is_empty() || !tool.is_running()
    });
    tool.kill();
    let ours = |name: &&str| name.starts_with("kafka.") && name.contains(",name=");
    let names = header.split('"').filter(ours);
    let names: BTreeSet<&str> = names.filter_map(|name| Some(name.rsplit_once(':')?.0)).collect();
    names.into_iter().map(|name| format!("{name}\n")).collect()
}
