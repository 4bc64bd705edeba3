//! Quotas of clients: held back are the same requests as by the genuine broker and for as long, by the defaults and by
//! rates of a client's own, which change while the broker runs; and genuine clients stay within them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka::message::Codec;
use kafka::protocol::{Request, fetch, frame_request, produce};

use crate::support::program::{Program, launcher, run, text};
use crate::support::wire::{Wire, produce_request, set, wait_leaders};
use crate::support::{free_port, genuine, ours, reference, wait_until};

const LIMIT: Duration = Duration::from_secs(120);

/// Bytes a second that clients without a rate of their own have. Over ten windows of a second that is ten times as
/// much at once, and a millisecond for each byte above it.
const RATE: usize = 1000;
const BROKER: &str = "quota.producer.default=1000\nquota.consumer.default=1000\n";

/// More than the windows of ten seconds allow, by half a second or so.
fn too_much() -> Bytes {
    set(Codec::None, &[&[b'x'; 10_400]])
}

/// A running broker of either make.
struct Bench<'a> {
    port: u16,
    connect: &'a str,
    program: &'a mut Program,
    /// How many milliseconds the clock may move between what 0.9.0.1 reads of it; it counts them as part of the time.
    slack: i32,
}

/// What a quota counts of a request.
fn counted<R: Request>(request: &R, version: i16, client: &str) -> usize {
    // Neither the size of the frame nor the key.
    frame_request(request, version, 0, Some(client)).len() - 6
}

impl Bench<'_> {
    fn client(&self, id: &str) -> Wire {
        Wire::connect(self.port, LIMIT)
            .unwrap()
            .calling_itself(id.to_owned())
    }

    /// Does something that is held back for so long as `bytes` are too many at once, and says what was answered.
    fn held_back<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> (T, i32) {
        let expected = i32::try_from(bytes - 10 * RATE).unwrap();
        let begin = Instant::now();
        let done = work();
        let took = i32::try_from(begin.elapsed().as_millis()).unwrap();
        assert!(took >= expected - self.slack, "{took} of {expected} ms");
        (done, expected)
    }

    fn assert_told(&self, told: i32, expected: i32) {
        let least = expected - self.slack;
        assert!((least..=expected).contains(&told), "{told} instead of {expected}");
    }

    fn produce(&self, client: &str) -> i32 {
        let request = produce_request("t", 0, too_much(), -1);
        let answer: produce::ProduceResponse = self.client(client).call(&request, 1).unwrap();
        assert_eq!(answer.topics[0].partitions[0].error, 0);
        answer.throttle_time_ms
    }

    /// Fetches a message that is too much. Says also how many bytes the answer had.
    fn fetch(&self, client: &str, version: i16) -> (i32, usize) {
        let wish = fetch::FetchPartition {
            partition: 0,
            fetch_offset: 0,
            max_bytes: i32::try_from(too_much().len()).unwrap(),
        };
        let request = fetch::FetchRequest {
            replica_id: -1,
            max_wait_ms: 0,
            min_bytes: 1,
            topics: vec![fetch::FetchTopic {
                topic: "t".to_owned(),
                partitions: vec![wish],
            }],
        };
        let mut wire = self.client(client);
        let answer = wire.call(&request, version).unwrap();
        assert_eq!(answer.topics[0].partitions[0].records.len(), too_much().len());
        let fixed = if version == 0 { 8 } else { 12 };
        // The topic's name, the count of its partitions, and what stands before the messages.
        (answer.throttle_time_ms, fixed + 3 + 4 + 18 + too_much().len())
    }

    /// Changes what ZooKeeper holds of a client, and returns when the broker has said that a rate is `rate` now.
    fn configure(&mut self, client: &str, words: &[&str], rate: &str) {
        let mut command = launcher("kafka-configs");
        command.args(["--zookeeper", self.connect, "--alter", "--entity-type", "clients"]);
        command.args(["--entity-name", client]).args(words);
        let done = run(command, b"", LIMIT);
        assert!(done.status.success(), "{}", text(&done.stderr));
        let changed = format!("Changing quota for clientId {client} to {rate}");
        self.program.wait_line(&changed, LIMIT);
    }

    /// All of it; `last` is how the broker writes the rate that it hears of last.
    fn all_hold(&mut self, last: &str) {
        wait_leaders(self.port, "t", LIMIT);
        self.defaults_hold();
        self.defaults_hold_for_fetches();
        self.rates_of_its_own_hold(last);
    }

    fn defaults_hold(&self) {
        let request = produce_request("t", 0, too_much(), -1);
        let bytes = counted(&request, 1, "producer");
        let (told, expected) = self.held_back(bytes, || self.produce("producer"));
        self.assert_told(told, expected);
        // A client that cannot be told is held back all the same.
        self.held_back(counted(&request, 0, "old"), || {
            self.client("old").call(&request, 0).unwrap()
        });
        // One that wants no answer, too: what it asks next waits.
        let silent = produce_request("t", 0, too_much(), 0);
        self.held_back(counted(&silent, 1, "silent"), || {
            let mut wire = self.client("silent");
            wire.send(&silent, 1).unwrap();
            wire.metadata(&["t"]).unwrap()
        });
        // All connections of a client share its quota.
        let little = produce_request("t", 0, set(Codec::None, &[&[b'x'; 800]]), -1);
        assert!(self.client("silent").call(&little, 1).unwrap().throttle_time_ms > 200);
    }

    fn defaults_hold_for_fetches(&self) {
        for (client, version) in [("consumer", 1), ("old", 0)] {
            let begin = Instant::now();
            let (told, bytes) = self.fetch(client, version);
            let took = i32::try_from(begin.elapsed().as_millis()).unwrap();
            let expected = i32::try_from(bytes - 10 * RATE).unwrap();
            assert!(took >= expected - self.slack, "{took} of {expected} ms");
            match version {
                0 => assert_eq!(told, 0),
                _ => self.assert_told(told, expected),
            }
        }
    }

    fn rates_of_its_own_hold(&mut self, last: &str) {
        let rates = "producer_byte_rate=1000000,consumer_byte_rate=1000001";
        self.configure("privileged", &["--add-config", rates], last);
        assert_eq!(self.produce("privileged"), 0);
        // It is told before it holds.
        wait_until("a fetch is not held back", LIMIT, || {
            self.fetch("privileged", 1).0 == 0
        });
        assert_eq!(self.produce("privileged"), 0);
    }
}

#[test]
fn the_genuine_broker_holds_back_as_these_tests_expect() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let connect = format!("localhost:{}", zookeeper.port);
    let mut broker = genuine::broker(dir.path(), &connect, BROKER);
    let mut bench = Bench {
        port: broker.port,
        connect: &connect,
        program: &mut broker.program,
        slack: 300,
    };
    bench.all_hold("1000001.0");
}

#[test]
fn our_broker_holds_back_as_the_genuine_one() {
    let dir = tempfile::tempdir().unwrap();
    // The session of a broker that was killed ends soon.
    let zookeeper = ours::zookeeper_with(dir.path(), free_port(), ours::SHORT_SESSIONS);
    let connect = format!("localhost:{}", zookeeper.port);
    let settings = format!("{BROKER}zookeeper.session.timeout.ms=2000\n");
    let mut broker = ours::broker(dir.path(), &connect, &settings);
    let mut bench = Bench {
        port: broker.port,
        connect: &connect,
        program: &mut broker.program,
        slack: 0,
    };
    bench.all_hold("1000001");
    // A rate that is taken away is the default again (KAFKA-4158).
    bench.configure("once", &["--add-config", "producer_byte_rate=1000000"], "1000000");
    bench.configure("once", &["--delete-config", "producer_byte_rate"], "1000");
    assert!(bench.produce("once") > 0);
    // What ZooKeeper holds is known from the start.
    let port = broker.port;
    broker.program.kill();
    let broker = ours::broker_on(dir.path(), &connect, port, &settings);
    let known = "Changing quota for clientId privileged to 1000001";
    assert!(broker.program.stdout().iter().any(|line| line.contains(known)));
}

#[test]
fn genuine_clients_stay_within_their_quotas() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let connect = format!("localhost:{}", zookeeper.port);
    let limits = "quota.producer.default=500000\nquota.consumer.default=500000\nquota.window.num=2";
    let broker = ours::broker(dir.path(), &connect, limits);
    wait_leaders(broker.port, "t", LIMIT);
    let servers = format!("localhost:{}", broker.port);
    // Two megabytes are four seconds; what comes within the first window is not held back at once.
    let least = Duration::from_millis(2500);
    let properties = format!("bootstrap.servers={servers}");
    let sent = genuine::tool(
        &[
            "run",
            "org.apache.kafka.tools.ProducerPerformance",
            "--topic",
            "t",
            "--num-records",
            "2000",
            "--record-size",
            "1000",
            "--throughput",
            "-1",
            "--producer-props",
            &properties,
            "batch.size=16384",
        ],
        b"",
    );
    let printed = text(&sent.stdout);
    let rate = printed.lines().find_map(|line| {
        let rest = line.strip_prefix("2000 records sent, ")?;
        rest.split_once(" records/sec")?.0.parse::<f64>().ok()
    });
    let rate = rate.unwrap_or_else(|| panic!("{printed}{}", text(&sent.stderr)));
    assert!(rate <= 2000.0 / least.as_secs_f64(), "{printed}");
    let begin = Instant::now();
    let received = genuine::tool(
        &[
            "kafka-console-consumer",
            "--new-consumer",
            "--bootstrap-server",
            &servers,
            "--topic",
            "t",
            "--from-beginning",
            "--max-messages",
            "2000",
        ],
        b"",
    );
    assert_eq!(text(&received.stdout).lines().count(), 2000);
    assert!(begin.elapsed() >= least, "{:?}", begin.elapsed());
}
