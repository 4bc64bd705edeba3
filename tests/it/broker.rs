//! How a broker starts, or does not: what stands in its way is told in one clear line with exit code 1,
//! what only needs patience is waited for, and its identity outlives it.

use std::path::Path;
use std::time::{Duration, Instant};

use kafka::cluster::BrokerId;
use kafka::config::{BrokerConfig, Properties};
use kafka::server::Broker;
use kafka::util::clock::Clock;
use kafka::zookeeper::znodes::broker::Registration;

use crate::support::fake_broker::FakeBroker;
use crate::support::genuine::four_letters;
use crate::support::link::{Link, Of, Way};
use crate::support::ours::{self, START, Server};
use crate::support::program::{Program, launcher, text};
use crate::support::wire::wait_leaders;
use crate::support::{free_port, wait_until, wait_until_async};

const LIMIT: Duration = Duration::from_secs(60);

/// A broker's launch on a properties file of these lines.
fn launch(dir: &Path, name: &str, lines: &str) -> Program {
    let config = dir.join(format!("{name}.properties"));
    std::fs::write(&config, lines).unwrap();
    let mut command = launcher("kafka-server-start");
    command.arg(&config).env("LOG_DIR", dir.join("logs"));
    Program::start(command)
}

fn lines(id: i32, port: u16, log_dir: &Path, zookeeper: u16) -> String {
    format!(
        "broker.id={id}\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\n\
         zookeeper.connect=127.0.0.1:{zookeeper}\nzookeeper.connection.timeout.ms=30000\n",
        log_dir.display()
    )
}

/// The broker ends with code 1 and a line that has all of `parts`.
#[track_caller]
fn assert_refused(mut broker: Program, parts: &[&str]) {
    let status = broker.wait(LIMIT);
    let said = broker.printed();
    assert_eq!(status.code(), Some(1), "{said}");
    let has_all = |line: &str| parts.iter().all(|p| line.contains(p));
    assert!(said.lines().any(has_all), "no line with {parts:?}: {said}");
}

#[test]
fn what_stands_in_the_way_is_named_and_ends_the_start_with_code_1() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let zk = ours::zookeeper(dir);
    let running = ours::broker(dir, &format!("127.0.0.1:{}", zk.port), "");
    let running_dir = dir.join("kafka-logs");

    let taken = lines(1, running.port, &dir.join("one"), zk.port);
    assert_refused(
        launch(dir, "port", &taken),
        &[&running.port.to_string(), "in use"],
    );

    let same = lines(1, free_port(), &running_dir, zk.port);
    let lock = [
        "Failed to acquire lock on file .lock in",
        &running_dir.display().to_string(),
    ];
    assert_refused(launch(dir, "same-directory", &same), &lock);

    let file = dir.join("a-file");
    std::fs::write(&file, "").unwrap();
    let no_dir = lines(1, free_port(), &file, zk.port);
    let words = [&*file.display().to_string(), "is not a readable log directory"];
    assert_refused(launch(dir, "file", &no_dir), &words);

    // Nobody, not even root, makes directories there.
    let forbidden = Path::new("/proc/kafka-logs");
    let no_right = lines(1, free_port(), forbidden, zk.port);
    assert_refused(launch(dir, "forbidden", &no_right), &["/proc/kafka-logs"]);

    let double = format!("{},{}", dir.join("two").display(), dir.join("two").display());
    let double = lines(1, free_port(), Path::new(&double), zk.port);
    assert_refused(launch(dir, "double", &double), &["Duplicate log directory found"]);

    // The id of a broker that lives elsewhere.
    let other = lines(0, free_port(), &dir.join("three"), zk.port);
    let words = [
        "A broker is already registered on the path /brokers/ids/0",
        &running.port.to_string(),
    ];
    assert_refused(launch(dir, "same-id", &other), &words);

    // None of them harmed the one that runs.
    wait_leaders(running.port, "still-here", LIMIT);
}

#[test]
fn an_absent_zookeeper_is_waited_for_as_long_as_configured_and_then_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let nobody = free_port();
    let config = lines(0, free_port(), &dir.join("logs-0"), nobody);
    let impatient = config.replace("timeout.ms=30000", "timeout.ms=1500");
    let begin = Instant::now();
    let broker = launch(dir, "absent", &impatient);
    assert_refused(broker, &[&format!("127.0.0.1:{nobody}"), "1500"]);
    assert!(begin.elapsed() >= Duration::from_millis(1500));

    // One that comes while the broker waits is found.
    let mut broker = launch(
        dir,
        "patient",
        &config.replace("timeout.ms=30000", "timeout.ms=60000"),
    );
    broker.wait_line("Connecting to zookeeper", START);
    let zk = ours::zookeeper_on(dir, nobody);
    broker.wait_line("[Kafka Server 0], started", LIMIT);
    drop((broker, zk));
}

#[test]
fn generated_ids_begin_at_1001_and_are_remembered_and_contradictions_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let zk = ours::zookeeper(dir);
    let generated = |name: &str| {
        let lines = lines(-1, free_port(), &dir.join(name), zk.port);
        launch(dir, name, &lines.replace("broker.id=-1\n", ""))
    };
    let mut first = generated("first");
    first.wait_line("[Kafka Server 1001], started", START);
    let mut second = generated("second");
    second.wait_line("[Kafka Server 1002], started", START);
    assert_eq!(first.stop(LIMIT).code(), Some(143));
    let meta = std::fs::read_to_string(dir.join("first/meta.properties")).unwrap();
    assert!(
        meta.contains("version=0\n") && meta.contains("broker.id=1001\n"),
        "{meta}"
    );

    let mut again = generated("first");
    again.wait_line("[Kafka Server 1001], started", START);
    again.stop(LIMIT);

    let other = lines(7, free_port(), &dir.join("first"), zk.port);
    let words = "Configured brokerId 7 doesn't match stored brokerId 1001 in meta.properties";
    assert_refused(launch(dir, "other", &other), &[words]);

    let both = format!("{},{}", dir.join("first").display(), dir.join("third").display());
    std::fs::create_dir(dir.join("third")).unwrap();
    std::fs::write(dir.join("third/meta.properties"), "version=0\nbroker.id=9\n").unwrap();
    let both = lines(-1, free_port(), Path::new(&both), zk.port).replace("broker.id=-1\n", "");
    assert_refused(
        launch(dir, "both", &both),
        &["Failed to match brokerId across logDirs"],
    );
}

/// A ZooKeeper whose sessions may be short.
fn quick_zookeeper(dir: &Path) -> Server {
    zookeeper_with(dir, "tickTime=500\n")
}

fn zookeeper_with(dir: &Path, more: &str) -> Server {
    let port = free_port();
    let config = dir.join("quick-zookeeper.properties");
    let data = dir.join("zookeeper");
    let lines = format!(
        "dataDir={}\nclientPort={port}\nmaxClientCnxns=0\n{more}",
        data.display()
    );
    std::fs::write(&config, lines).unwrap();
    let mut command = launcher("zookeeper-server-start");
    command.arg(&config).env("LOG_DIR", dir.join("logs"));
    let program = Program::start(command);
    wait_until("ZooKeeper serves", START, || {
        four_letters(port, "srvr").contains("Mode:")
    });
    Server { program, port }
}

/// What zookeeper-shell says to one command.
fn shell(zookeeper: u16, words: &[&str]) -> String {
    let mut command = launcher("zookeeper-shell");
    command.arg(format!("127.0.0.1:{zookeeper}")).args(words);
    let out = crate::support::program::run(command, b"", LIMIT);
    text(&out.stdout) + &text(&out.stderr)
}

#[test]
fn a_broker_whose_session_expired_while_it_stood_still_registers_again_and_serves() {
    let dir = tempfile::tempdir().unwrap();
    let zk = quick_zookeeper(dir.path());
    let connect = format!("127.0.0.1:{}", zk.port);
    let mut broker = ours::broker(dir.path(), &connect, "zookeeper.session.timeout.ms=1500\n");
    wait_leaders(broker.port, "before", LIMIT);
    broker.program.signal("STOP");
    wait_until("the broker's node is gone", LIMIT, || {
        shell(zk.port, &["get", "/brokers/ids/0"]).contains("Node does not exist")
    });
    broker.program.signal("CONT");
    broker.program.wait_line("done re-registering broker 0", LIMIT);
    wait_until("the broker's node is back", LIMIT, || {
        shell(zk.port, &["get", "/brokers/ids/0"]).contains("\"port\":")
    });
    // It is controller and leader again: a topic can be made.
    wait_leaders(broker.port, "after", LIMIT);
}

#[test]
fn a_restart_within_the_old_sessions_life_waits_for_the_old_node_to_go() {
    let dir = tempfile::tempdir().unwrap();
    // It grants longer sessions than the broker asks for.
    let zk = zookeeper_with(dir.path(), "tickTime=500\nminSessionTimeout=6000\n");
    let connect = format!("127.0.0.1:{}", zk.port);
    let port = free_port();
    let short = "zookeeper.session.timeout.ms=1000\n";
    let mut broker = ours::broker_on(dir.path(), &connect, port, short);
    wait_leaders(port, "kept", LIMIT);
    broker.program.kill();
    let mut broker = ours::broker_on(dir.path(), &connect, port, short);
    broker
        .program
        .wait_line("still stands from this broker's former session", LIMIT);
    wait_leaders(port, "kept", LIMIT);
}

/// Windows gives a process whose window is closed five seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_without_time_closes_its_logs_though_the_controller_does_not_take_its_leaderships() {
    let dir = tempfile::tempdir().unwrap();
    let zk = ours::zookeeper(dir.path());
    let connect = format!("127.0.0.1:{}", zk.port);
    let controller = FakeBroker::start(7, &connect).await;
    let node = br#"{"version":1,"brokerid":7,"timestamp":"0"}"#;
    let session = &controller.session;
    session
        .create_ephemeral_checked("/controller", node)
        .await
        .unwrap();

    let log_dir = dir.path().join("logs");
    let text = lines(1, 0, &log_dir, zk.port) + "controlled.shutdown.retry.backoff.ms=3600000\n";
    let properties = Properties::parse(text.as_bytes(), "test").unwrap();
    let (config, _) = BrokerConfig::from_properties(&properties).unwrap();
    let broker = Broker::start(config, Clock::system()).await.unwrap();
    tokio::time::timeout(LIMIT, broker.stop_soon())
        .await
        .expect("it does not wait for the controller");
    assert!(log_dir.join(".kafka_cleanshutdown").exists());
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_told_to_end_while_it_starts_closes_its_logs() {
    let dir = tempfile::tempdir().unwrap();
    let zk = ours::zookeeper(dir.path());
    // Its own node, as if from a former session: it waits for that to go.
    let former = FakeBroker::start(7, &format!("127.0.0.1:{}", zk.port)).await;
    let node = former.session.get("/brokers/ids/7").await.unwrap().unwrap();
    let node = Registration::decode(BrokerId(7), &node.data.unwrap()).unwrap();
    let port = node.broker.endpoints[0].port;

    let log_dir = dir.path().join("logs");
    let text =
        lines(7, 0, &log_dir, zk.port) + &format!("advertised.host.name=127.0.0.1\nadvertised.port={port}\n");
    let properties = Properties::parse(text.as_bytes(), "test").unwrap();
    let (config, _) = BrokerConfig::from_properties(&properties).unwrap();
    let identified = || async { log_dir.join("meta.properties").exists() };
    let end = wait_until_async("the broker knows its directory", LIMIT, identified);
    let started = Broker::start_unless(config, Clock::system(), end).await.unwrap();
    assert!(started.is_err(), "it had to wait for the node");
    assert!(log_dir.join(".kafka_cleanshutdown").exists());
    former.stop().await;
}

/// ZooKeeper answers late, and then no more; the broker is told to end at that moment, at one of many of its
/// start or soon after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_ends_whatever_it_waits_for_from_zookeeper() {
    let dir = tempfile::tempdir().unwrap();
    let zk = ours::zookeeper(dir.path());
    let endings = (0..40).map(|number| {
        let link = Link::to(zk.port);
        link.delay(Duration::from_millis(100));
        let log_dir = dir.path().join(format!("logs-{number}"));
        let text = lines(number, 0, &log_dir, link.port) + "zookeeper.connection.timeout.ms=600000\n";
        tokio::spawn(async move {
            let properties = Properties::parse(text.as_bytes(), "test").unwrap();
            let (config, _) = BrokerConfig::from_properties(&properties).unwrap();
            let end = async {
                tokio::time::sleep(Duration::from_millis(60) * u32::try_from(number).unwrap()).await;
                link.cut(Of::Everybody, Way::Answers);
            };
            tokio::pin!(end);
            let started = Broker::start_unless(config, Clock::system(), &mut end)
                .await
                .unwrap();
            if let Ok(broker) = started {
                end.await;

                broker.stop().await;
                assert!(log_dir.join(".kafka_cleanshutdown").exists());
            }
            number
        })
    });
    let endings: Vec<_> = endings.collect();
    let mut stuck = Vec::new();
    for (number, ending) in endings.into_iter().enumerate() {
        match tokio::time::timeout(LIMIT, ending).await {
            Ok(ended) => assert_eq!(ended.unwrap(), i32::try_from(number).unwrap()),
            Err(_) => stuck.push(number),
        }
    }
    assert!(stuck.is_empty(), "they do not end: {stuck:?}");
}
