//! The tutorial for Windows, typed as on its page; then genuine clients, and a person at a console.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Site;
use crate::foreign;
use crate::support::program::{Program, run, text};
use crate::support::python::python;
use crate::support::wine::{LIMIT, Package, windows_path};
use crate::support::wire::{Wire, wait_leaders};
use crate::support::{genuine, reference, wait_for, wait_until};

#[test]
fn the_tutorial_works_as_typed_and_genuine_clients_take_part() {
    let package = need!(Package::unpack());
    need!(reference());
    let kcat = need!(foreign::kcat());
    let python = need!(python(&foreign::PACKAGES));
    let site = Site::new(package);
    let package = &site.package;
    let data = package.plain().join("my data");
    let log_dir = data.join("kafka");
    // Both spellings that Java understands.
    let zookeeper_dir = windows_path(&data.join("zookeeper"));
    package.set(
        "zookeeper.properties",
        "dataDir",
        &zookeeper_dir.replace('\\', "/"),
    );
    let log_dirs = windows_path(&log_dir).replace('\\', "\\\\");
    package.set("server.properties", "log.dirs", &log_dirs);
    let mut servers = site.start();
    let (connect, broker) = (site.connect(), format!("localhost:{}", site.port));

    make_the_topic(package, &connect, &log_dir);
    send_and_receive(package, &connect, &broker);
    genuine_clients(&connect, &broker);
    foreign_clients(kcat, &python, site.port);
    at_a_console(package, &connect, site.port);

    // Stopped as the tutorial says.
    let stopped = package.run("kafka-server-stop", &[], b"");
    assert_eq!(stopped.status.code(), Some(0), "{}", text(&stopped.stdout));
    servers.broker.program.wait(LIMIT);
    assert!(log_dir.join(".kafka_cleanshutdown").exists());
    let stopped = package.run("zookeeper-server-stop", &[], b"");
    assert_eq!(stopped.status.code(), Some(0), "{}", text(&stopped.stdout));
    servers.zookeeper.program.wait(LIMIT);
    for name in ["kafka-server-stop", "zookeeper-server-stop"] {
        assert_eq!(
            package.run(name, &[], b"").status.code(),
            Some(1),
            "nothing is left to stop"
        );
    }
    assert!(package.home().join("logs/server.log").exists());
}

fn make_the_topic(package: &Package, connect: &str, log_dir: &Path) {
    let topics = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let out = package.run("kafka-topics", &words, b"");
        assert_eq!(out.status.code(), Some(0), "{words:?} {}", text(&out.stderr));
        text(&out.stdout).replace('\r', "")
    };
    let created = topics(&format!(
        "--create --zookeeper {connect} --replication-factor 1 --partitions 3 --topic cmb_topic"
    ));
    let warning = "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') \
                   could collide. To avoid issues it is best to use either, but not both.";
    assert_eq!(created, format!("{warning}\nCreated topic \"cmb_topic\".\n"));
    wait_until("the partitions have directories and leaders", LIMIT, || {
        let described = topics(&format!("--describe --zookeeper {connect} --topic cmb_topic"));
        let line = |n| format!("\tTopic: cmb_topic\tPartition: {n}\tLeader: 0\tReplicas: 0\tIsr: 0\n");
        let head = "Topic:cmb_topic\tPartitionCount:3\tReplicationFactor:1\tConfigs:\n";
        let all: String = std::iter::once(head.to_owned()).chain((0..3).map(line)).collect();
        (0..3).all(|n| log_dir.join(format!("cmb_topic-{n}")).is_dir()) && described == all
    });
    assert_eq!(topics(&format!("--list --zookeeper {connect}")), "cmb_topic\n");
}

fn send_and_receive(package: &Package, connect: &str, broker: &str) {
    let words = ["--broker-list", broker, "--topic", "cmb_topic"];
    let sent = package.run(
        "kafka-console-producer",
        &words,
        "Hello\r\n三 😀\nlast".as_bytes(),
    );
    assert_eq!(sent.status.code(), Some(0), "{}", text(&sent.stderr));
    let words = ["--zookeeper", connect, "--topic", "cmb_topic", "--from-beginning"];
    let mut consumer = Program::start(package.bat("kafka-console-consumer", &words));
    for line in ["Hello", "三 😀", "last"] {
        consumer.wait_line(line, LIMIT);
    }
    // What is typed in one window appears in the other.
    let words = ["--broker-list", broker, "--topic", "cmb_topic"];
    let mut producer = Program::start(package.bat("kafka-console-producer", &words));
    producer.write("typed größe\n".as_bytes());
    consumer.wait_line("typed größe", LIMIT);
    producer.close_stdin();
    assert_eq!(producer.wait(LIMIT).code(), Some(0));
    assert_eq!(consumer.stdout().len(), 4, "{:?}", consumer.stdout());

    let words = [
        "kafka.tools.GetOffsetShell",
        "--broker-list",
        broker,
        "--topic",
        "cmb_topic",
        "--time",
        "-1",
    ];
    let offsets = text(&package.run("kafka-run-class", &words, b"").stdout);
    let of_line = |line: &str| {
        line.trim_end()
            .rsplit(':')
            .next()
            .unwrap()
            .parse::<i64>()
            .unwrap()
    };
    assert_eq!(offsets.lines().map(of_line).sum::<i64>(), 4, "{offsets}");
}

/// Java's clients on Linux reach the broker under Wine.
fn genuine_clients(connect: &str, broker: &str) {
    let topics = [
        "kafka-topics",
        "--describe",
        "--zookeeper",
        connect,
        "--topic",
        "cmb_topic",
    ];
    let described = text(&genuine::tool(&topics, b"").stdout);
    assert_eq!(described.matches("Leader: 0").count(), 3, "{described}");
    let producer = [
        "kafka-console-producer",
        "--broker-list",
        broker,
        "--topic",
        "cmb_topic",
        "--request-required-acks",
        "-1",
    ];
    let sent = genuine::tool(&producer, "from Java\n".as_bytes());
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    let old = ["--zookeeper", connect];
    let new = ["--new-consumer", "--bootstrap-server", broker];
    for which in [&old[..], &new[..]] {
        let mut words = vec![
            "kafka-console-consumer",
            "--topic",
            "cmb_topic",
            "--from-beginning",
        ];
        words.extend(which);
        words.extend(["--max-messages", "5"]);
        let received = genuine::tool(&words, b"");
        let received = text(&received.stdout);
        let mut lines: Vec<&str> = received.lines().collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            ["Hello", "from Java", "last", "typed größe", "三 😀"],
            "{which:?}"
        );
    }
}

/// kcat and kafka-python on Linux do so too, and read what the other wrote.
fn foreign_clients(kcat: &str, python: &Path, port: u16) {
    wait_leaders(port, "foreign", LIMIT);
    foreign::call_python(python, port, "produce", "foreign", "gzip", 50);
    let lines = |who: &str| -> String { (0..50).map(|i| format!("{who} {i}\n")).collect() };
    let to = ["-t", "foreign", "-p", "0"];
    let produce = [&["-P", "-z", "snappy", "-X", "acks=all"][..], &to].concat();
    foreign::call_kcat(kcat, port, &produce, &lines("kcat"));
    let all = lines("python") + &lines("kcat");
    let fetch = [&["-C", "-q", "-o", "beginning", "-e"][..], &to].concat();
    assert_eq!(foreign::call_kcat(kcat, port, &fetch, ""), all);
    assert_eq!(
        foreign::call_python(python, port, "fetch", "foreign", "none", 100),
        all
    );
}

/// What `probe` finds within a second.
fn wait_a_moment<T>(mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + Duration::from_secs(1);
    loop {
        let found = probe();
        if found.is_some() || Instant::now() > end {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Keys come as characters and go as UTF-8; Ctrl-Z ends.
fn at_a_console(package: &Package, connect: &str, port: u16) {
    let broker = &format!("localhost:{port}");
    let topic = [
        "--create",
        "--zookeeper",
        connect,
        "--topic",
        "console",
        "--partitions",
        "1",
    ];
    let made = package.run(
        "kafka-topics",
        &[&topic[..], &["--replication-factor", "1"]].concat(),
        b"",
    );
    assert!(made.status.success(), "{}", text(&made.stdout));

    let words = ["--broker-list", broker, "--topic", "console"];
    let mut producer = Program::start(package.at_terminal("kafka-console-producer", &words));
    // What is typed before the console is ready is lost, or its end alone.
    let arrived = || {
        let newest = Wire::connect(port, LIMIT)
            .ok()?
            .offset_at("console", 0, -1)
            .ok()?
            .pop()?;
        (newest > 0).then_some(newest)
    };
    let first = wait_for("the console takes what is typed", LIMIT, || {
        producer.write("三 😀 größe\r".as_bytes());
        wait_a_moment(arrived)
    });
    assert!(first > 0);
    wait_until("Ctrl-Z ends the input", LIMIT, || {
        producer.write(b"\x1a\r");
        wait_a_moment(|| (!producer.is_running()).then_some(())).is_some()
    });
    let words = [
        "--zookeeper",
        connect,
        "--topic",
        "console",
        "--from-beginning",
        "--max-messages",
        "1",
    ];
    let received = text(&package.run("kafka-console-consumer", &words, b"").stdout);
    let rest = received.replace("三 😀 größe", "");
    assert!(received.len() > 1 && rest == "\n", "{received:?}");
    // On a console what is no text is shown as such; files get the bytes.
    let mut raw = package.bat(
        "kafka-console-producer",
        &["--broker-list", broker, "--topic", "raw"],
    );
    raw.stdin(std::process::Stdio::piped());
    assert!(run(raw, b"no \xff text\n", LIMIT).status.success());
    let words: Vec<&str> = words
        .iter()
        .map(|w| if *w == "console" { "raw" } else { w })
        .collect();
    let received = package.run("kafka-console-consumer", &words, b"");
    assert_eq!(received.stdout, b"no \xff text\n");
    let mut shown = Program::start(package.at_terminal("kafka-console-consumer", &words));
    shown.wait_line("no \u{fffd} text", LIMIT);
    shown.wait(LIMIT);
}
