//! What a broker counts reaches its operator: kafka.metrics.KafkaCSVMetricsReporter's files, as the genuine
//! broker writes them, and the ones that it loses.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use kafka::dev::{DevCluster, DevSettings};
use kafka::message::Codec;
use kafka::metrics::csv;

use crate::support::wire::{Wire, set, wait_leaders};
use crate::support::{genuine, ours, reference, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// Lines of properties that switch the reporter on.
fn settings(dir: &Path) -> String {
    format!(
        "kafka.metrics.reporters=com.example.Ganglia,kafka.metrics.KafkaCSVMetricsReporter\n\
         kafka.metrics.polling.interval.secs=1\nkafka.csv.metrics.reporter.enabled=true\n\
         kafka.csv.metrics.dir={}\n",
        dir.display()
    )
}

/// All of a file; nothing if it is not there.
fn text(dir: &Path, file: &str) -> String {
    std::fs::read_to_string(dir.join(file)).unwrap_or_default()
}

/// The numbers of a file's lines, the seconds first. What follows the last line's end is not written yet.
fn rows(dir: &Path, file: &str) -> Vec<Vec<f64>> {
    let text = text(dir, file);
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines().skip(1).filter(|line| !line.is_empty());
    lines
        .map(|line| line.split(',').map(|n| n.parse().unwrap()).collect())
        .collect()
}

/// The second column of a file's last line.
fn last(dir: &Path, file: &str) -> Option<f64> {
    rows(dir, file).last().map(|row| row[1])
}

fn files(dir: &Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(dir).unwrap();
    names
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Makes a topic by asking for it, and appends three messages to it.
fn produce(port: u16, topic: &str) {
    let mut wire = Wire::connect(port, LIMIT).unwrap();
    let _ = wire.metadata(&[topic]).unwrap();
    wait_leaders(port, topic, LIMIT);
    let three = set(Codec::None, &[b"one", b"two", b"three"]);
    assert_eq!(wire.produce(topic, 0, three, 1).unwrap().0, 0);
}

#[test]
fn what_is_counted_is_written_to_files() {
    let dir = tempfile::tempdir().unwrap();
    let csv = dir.path().join("csv");
    std::fs::create_dir_all(csv.join("sub")).unwrap();
    std::fs::write(csv.join("LeaderCount.csv"), "# time,value\n7,77\n").unwrap();
    let foreign = ["accounts.csv", "sub/LeaderCount.csv"];
    for file in foreign {
        std::fs::write(csv.join(file), "mine\n").unwrap();
    }
    let zookeeper = ours::zookeeper(dir.path());
    let connect = format!("127.0.0.1:{}", zookeeper.port);
    let mut broker = ours::broker(dir.path(), &connect, &settings(&csv));
    broker
        .program
        .wait_line("Class com.example.Ganglia could not be found", LIMIT);
    broker.program.wait_line(
        "Started Kafka CSV metrics reporter with polling period 1 seconds",
        LIMIT,
    );

    let (all, of_t) = (
        "MessagesInPerSec.csv",
        "MessagesInPerSec.BrokerTopicMetrics.topic=t.csv",
    );
    wait_until("every round adds a line", LIMIT, || rows(&csv, all).len() > 2);
    let first = rows(&csv, all).remove(0);
    assert!(first[0] >= 1.0, "{first:?}");
    assert_eq!(first[1..], [0.0; 5]);
    assert!(rows(&csv, all).is_sorted_by(|a, b| a[0] < b[0]));
    assert!(!text(&csv, "LeaderCount.csv").contains("7,77"));
    assert!(!csv.join(of_t).exists());
    // Both counts rise, that of the topic in a file that comes with it.
    for round in [3.0, 6.0] {
        produce(broker.port, "t");
        for file in [all, of_t] {
            wait_until("the count rises", LIMIT, || last(&csv, file) == Some(round));
        }
    }
    let partition = "LogEndOffset.Log.topic=t.partition=0.csv";
    wait_until("the log has grown", LIMIT, || last(&csv, partition) == Some(6.0));
    for (file, columns) in [
        (all, "count,1 min rate,mean rate,5 min rate,15 min rate"),
        (of_t, "count,1 min rate,mean rate,5 min rate,15 min rate"),
        ("LeaderCount.csv", "value"),
        (partition, "value"),
        (
            "TotalTimeMs.RequestMetrics.request=Produce.csv",
            "min,max,mean,median,stddev,95%,99%,99.9%",
        ),
        (
            "LogFlushRateAndTimeMs.csv",
            "min,max,mean,median,stddev,95%,99%,99.9%",
        ),
    ] {
        assert_eq!(
            text(&csv, file).lines().next().unwrap(),
            format!("# time,{columns}")
        );
    }
    assert_eq!(last(&csv, "BrokerState.csv"), Some(3.0));

    broker.program.stop(LIMIT);
    broker.program.wait_line("shut down completed", LIMIT);
    assert_eq!(last(&csv, "BrokerState.csv"), Some(7.0));
    for file in foreign {
        assert_eq!(text(&csv, file), "mine\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_last_is_written_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let overrides = settings(dir.path()).replace("secs=1", "secs=3600");
    let overrides = overrides.lines().map(|line| line.split_once('=').unwrap());
    let settings = DevSettings {
        topics: vec![("t".to_owned(), 1)],
        overrides: overrides.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        ..DevSettings::default()
    };
    let cluster = DevCluster::start(settings).await.unwrap();
    let port = cluster.broker().bound()[0].port;
    let port = u16::try_from(port).unwrap();
    tokio::task::spawn_blocking(move || produce(port, "t"))
        .await
        .unwrap();
    assert!(files(dir.path()).is_empty());
    cluster.stop().await;
    for (file, shown) in [
        ("MessagesInPerSec.csv", 3.0),
        ("MessagesInPerSec.BrokerTopicMetrics.topic=t.csv", 3.0),
        ("LogEndOffset.Log.topic=t.partition=0.csv", 3.0),
        ("BrokerState.csv", 7.0),
    ] {
        assert_eq!(rows(dir.path(), file).len(), 1, "{file}");
        assert_eq!(last(dir.path(), file), Some(shown), "{file}");
    }
}

/// Also where upper case is lower case.
#[tokio::test(flavor = "multi_thread")]
async fn no_two_metrics_of_a_broker_have_one_file() {
    let settings = DevSettings {
        topics: vec![("t".to_owned(), 2)],
        ..DevSettings::default()
    };
    let cluster = DevCluster::start(settings).await.unwrap();
    let services = cluster.broker().services();
    let all = services.metrics.snapshot(services.clock.now());
    let mut files = BTreeSet::new();
    for (name, _) in &all {
        let file = csv::file_name(name);
        assert!(files.insert(file.to_lowercase()), "{name}: {file}");
    }
    assert!(files.len() > 50, "{files:?}");
    cluster.stop().await;
}

#[test]
fn files_read_as_the_genuine_brokers() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let connect = |chroot: &str| format!("127.0.0.1:{}/{chroot}", zookeeper.port);
    let [theirs, csv] = ["theirs", "csv"].map(|name| dir.path().join(name));
    let more =
        settings(&theirs).replace("com.example.Ganglia,", "") + "log.cleaner.dedupe.buffer.size=4000000\n";
    let _genuine = genuine::broker(dir.path(), &connect("theirs"), &more);
    let broker = ours::broker(dir.path(), &connect("ours"), &settings(&csv));
    produce(broker.port, "t");
    let name = |file: &str| file.split('.').next().unwrap().to_owned();
    // Its first name that two metrics have ends its round: which ones it comes to is a matter of hashes.
    wait_until("the genuine broker has written", LIMIT, || {
        theirs.is_dir()
            && files(&theirs).contains("LeaderCount.csv")
            && files(&theirs).iter().all(|file| rows(&theirs, file).len() > 1)
    });
    wait_until("ours has written of the topic", LIMIT, || {
        rows(&csv, "LogEndOffset.Log.topic=t.partition=0.csv").len() > 1
    });
    assert!(files(&csv).contains("LeaderCount.csv"));
    let mut compared = 0;
    for file in files(&theirs) {
        for twin in files(&csv).iter().filter(|twin| name(twin) == name(&file)) {
            let shape = |dir: &Path, file: &str| {
                let text = text(dir, file);
                let mut lines = text.lines().map(str::to_owned);
                let header = lines.next().unwrap();
                let columns: Vec<usize> = lines.take(3).map(|line| line.split(',').count()).collect();
                (header, columns)
            };
            wait_until("there are three lines", LIMIT, || {
                [text(&theirs, &file), text(&csv, twin)]
                    .iter()
                    .all(|text| text.lines().count() > 4)
            });
            assert_eq!(shape(&theirs, &file), shape(&csv, twin), "{file} {twin}");
            compared += 1;
        }
    }
    assert!(compared > 3, "{compared}");
}
