//! Clients that others wrote, set to 0.9: kcat (librdkafka) and kafka-python produce and fetch in every
//! codec on our broker, and read what the other and our own producer wrote.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::program::{launcher, run, text};
use crate::support::python::python;
use crate::support::{ours, wire};

const LIMIT: Duration = Duration::from_secs(120);
const CODECS: [&str; 4] = ["none", "gzip", "snappy", "lz4"];

/// kafka-python of the time when 0.9 was common knowledge, and the codecs that it leaves to others.
pub const PACKAGES: [&str; 5] = [
    "kafka-python==2.0.2",
    "python-snappy==0.7.3",
    "lz4",
    "xxhash",
    "six",
];

/// Produces `count` messages with keys to a topic, or fetches as many from its beginning, one per line.
const SCRIPT: &str = r#"
import sys
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
port, what, topic, codec, count = sys.argv[1:]
broker, count = 'localhost:' + port, int(count)
if what == 'produce':
    p = KafkaProducer(bootstrap_servers=broker, api_version=(0, 9), acks='all',
                      compression_type=None if codec == 'none' else codec)
    sent = [p.send(topic, key=b'k%d' % i, value=b'python %d' % i, partition=0) for i in range(count)]
    assert [f.get(60).offset for f in sent] == list(range(sent[0].get(60).offset, sent[0].get(60).offset + count))
    p.close()
else:
    c = KafkaConsumer(bootstrap_servers=broker, api_version=(0, 9), consumer_timeout_ms=60000,
                      enable_auto_commit=False)
    tp = TopicPartition(topic, 0)
    c.assign([tp])
    c.seek(tp, 0)
    for i in range(count):
        m = next(c)
        assert m.offset == i, (m.offset, i)
        print(m.value.decode())
    c.close()
"#;

struct Cluster {
    broker: ours::Server,
    zookeeper: ours::Server,
    _dir: tempfile::TempDir,
}

fn start() -> Cluster {
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let broker = ours::broker(dir.path(), &format!("127.0.0.1:{}", zookeeper.port), "");
    for codec in CODECS {
        // The first question creates a topic.
        wire::wait_leaders(broker.port, codec, LIMIT);
    }
    Cluster {
        broker,
        zookeeper,
        _dir: dir,
    }
}

impl Cluster {
    /// Our console producer's messages.
    fn ours(&self, codec: &str, count: usize) -> String {
        let lines: String = (0..count).map(|i| format!("ours {i}\n")).collect();
        let mut command = launcher("kafka-console-producer");
        let broker = format!("127.0.0.1:{}", self.broker.port);
        command.args([
            "--broker-list",
            &broker,
            "--topic",
            codec,
            "--compression-codec",
            codec,
        ]);
        command.args(["--request-required-acks", "1"]);
        assert!(run(command, lines.as_bytes(), LIMIT).status.success());
        lines
    }

    fn our_consumer(&self, topic: &str, count: usize) -> String {
        let mut command = launcher("kafka-console-consumer");
        let zookeeper = format!("127.0.0.1:{}", self.zookeeper.port);
        command.args(["--zookeeper", &zookeeper, "--topic", topic, "--from-beginning"]);
        command.args(["--max-messages", &count.to_string()]);
        text(&run(command, b"", LIMIT).stdout)
    }
}

/// kafka-python, told to `produce` or to `fetch` `count` messages of partition 0; what it printed.
pub fn call_python(python: &Path, port: u16, what: &str, topic: &str, codec: &str, count: usize) -> String {
    let mut command = Command::new(python);
    command.args([
        "-c",
        SCRIPT,
        &port.to_string(),
        what,
        topic,
        codec,
        &count.to_string(),
    ]);
    let out = run(command, b"", LIMIT);
    assert!(out.status.success(), "{what} {topic}: {}", text(&out.stderr));
    text(&out.stdout)
}

/// The name by which kcat is installed; or that it is not.
pub fn kcat() -> Result<&'static str, &'static str> {
    let kcat = ["kcat", "kafkacat"].into_iter().find(|name| {
        let found = Command::new(name).arg("-V").output();
        found.is_ok_and(|o| o.status.success())
    });
    kcat.ok_or("kcat is not installed")
}

/// kcat on a broker; what it printed.
pub fn call_kcat(kcat: &str, port: u16, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(kcat);
    command.args(["-b", &format!("127.0.0.1:{port}")]);
    let version = ["api.version.request=false", "broker.version.fallback=0.9.0.1"];
    command.args(["-X", version[0], "-X", version[1]]);
    command.args(arguments);
    let out = run(command, input.as_bytes(), LIMIT);
    assert!(out.status.success(), "{arguments:?}: {}", text(&out.stderr));
    text(&out.stdout)
}

#[test]
fn kafka_python_produces_and_fetches_in_every_codec() {
    let python = need!(python(&PACKAGES));
    let cluster = start();
    let call = |what: &str, codec: &str, count: usize| {
        call_python(&python, cluster.broker.port, what, codec, codec, count)
    };
    for codec in CODECS {
        let mut all = cluster.ours(codec, 200);
        call("produce", codec, 200);
        all += &(0..200).map(|i| format!("python {i}\n")).collect::<String>();
        assert_eq!(call("fetch", codec, 400), all, "{codec}");
        assert_eq!(cluster.our_consumer(codec, 400), all, "{codec}");
    }
}

#[test]
fn kcat_produces_and_fetches_in_every_codec() {
    let kcat = need!(kcat());
    let cluster = start();
    let call = |arguments: &[&str], input: &str| call_kcat(kcat, cluster.broker.port, arguments, input);
    for codec in CODECS {
        let mut all = cluster.ours(codec, 200);
        let lines: String = (0..200).map(|i| format!("kcat {i}\n")).collect();
        call(
            &["-P", "-t", codec, "-p", "0", "-z", codec, "-X", "acks=all"],
            &lines,
        );
        all += &lines;
        assert_eq!(
            call(&["-C", "-q", "-t", codec, "-p", "0", "-o", "beginning", "-e"], ""),
            all
        );
        assert_eq!(cluster.our_consumer(codec, 400), all, "{codec}");
    }
    let listed = call(&["-L", "-t", "gzip"], "");
    assert!(listed.contains("topic \"gzip\" with 1 partitions"), "{listed}");
}
