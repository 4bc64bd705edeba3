//! The console programs and GetOffsetShell, beside and crossed with the genuine ones: what they print,
//! what they send and fetch in every codec, how old consumers of both kinds share a group, and that no
//! line is lost, held back or said twice.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use kafka::zookeeper::paths;

use crate::support::cluster::Whose::{self, Genuine, Ours};
use crate::support::cluster::{Cluster, session};
use crate::support::program::{Program, run, text};
use crate::support::{reference, wait_until};

const LIMIT: Duration = Duration::from_secs(120);

fn lines(count: usize, name: &str) -> String {
    (0..count).map(|i| format!("{name} {i}\n")).collect()
}

/// Exit code, output and errors without what differs by nature: times, Java's traces, our words for what
/// Java tells by an exception's name, and the noise of sessions.
fn shown(out: &Output, cluster: &Cluster) -> String {
    let kept = |line: &&str| {
        !line.starts_with("\tat ")
            && !line.starts_with("\t... ")
            && !line.starts_with("Caused by:")
            && !line.contains("ClientCnxn")
            && !line.starts_with("kafka.consumer.")
    };
    let clean = |bytes: &[u8]| -> String {
        text(bytes)
            .lines()
            .filter(kept)
            .map(|line| {
                let line = match line.strip_prefix('[').and_then(|l| l.split_once("] ")) {
                    Some((_, rest)) => rest,
                    None => line,
                };
                format!("{line}\n")
            })
            .collect()
    };
    format!(
        "exit {:?}\n{}--\n{}",
        out.status.code(),
        clean(&out.stdout),
        clean(&out.stderr)
    )
    .replace(&cluster.brokers(), "BROKER")
}

/// Runs a program of either make and compares what they print.
#[track_caller]
fn same(cluster: &Cluster, tool: &str, first: &[&str], more: &[&str]) {
    let [theirs, mine] = [Genuine, Ours].map(|w| {
        let mut command = w.command(tool);
        command.args(first).args(more);
        run(command, b"", LIMIT)
    });
    assert_eq!(shown(&mine, cluster), shown(&theirs, cluster), "{more:?}");
}

#[test]
fn our_console_programs_print_what_the_genuine_ones_print() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Genuine);
    cluster.create("t", 1);
    let keyed = "k1\tv1\nk2\t\n\tv3\n";
    let with_keys = ["--property", "parse.key=true", "--request-required-acks", "1"];
    let broken = "a\tb\nno key here\nc\td\n";
    for (more, input) in [
        (&with_keys[..], keyed),
        (&with_keys[..], broken),
        (
            &[
                "--property",
                "parse.key=true",
                "--property",
                "ignore.error=true",
                "--sync",
                // With its default of acks=0 the genuine tool may lose all of these at its exit.
                "--request-required-acks",
                "1",
            ],
            broken,
        ),
        (&["--compression-codec", "foo"], "x\n"),
        (&["--line-reader", "no.Such"], "x\n"),
        (&["--request-required-acks", "many"], "x\n"),
        (&["--property", "a=b=c"], "x\n"),
    ] {
        let [theirs, mine] = [Genuine, Ours].map(|w| cluster.produce(w, "t", more, input));
        let (theirs, mine) = (shown(&theirs, &cluster), shown(&mine, &cluster));
        if theirs.contains("Failed to construct") || theirs.contains("ClassNotFound") {
            assert_eq!(mine.lines().next(), theirs.lines().next(), "{more:?}");
        } else {
            assert_eq!(mine, theirs, "{more:?}");
        }
    }
    // 2 x (3 + 1 + 3)
    assert_eq!(cluster.offsets("t"), [14]);
    for more in [
        &[
            "--topic",
            "t",
            "--from-beginning",
            "--max-messages",
            "6",
            "--property",
            "print.key=true",
        ][..],
        &[
            "--whitelist",
            "t,u",
            "--from-beginning",
            "--max-messages",
            "5",
            "--property",
            "print.key=true",
            "--property",
            "key.separator==",
            "--property",
            "line.separator=;",
        ],
        &[
            "--topic",
            "t",
            "--from-beginning",
            "--max-messages",
            "3",
            "--formatter",
            "kafka.tools.ChecksumMessageFormatter",
            "--property",
            "topic=t",
        ],
        &[
            "--topic",
            "t",
            "--from-beginning",
            "--max-messages",
            "3",
            "--formatter",
            "kafka.tools.NoOpMessageFormatter",
        ],
        &["--topic", "none", "--from-beginning", "--max-messages", "0"],
        &["--topic", "t", "--blacklist", "u"],
        &["--whitelist", "[a"],
        &["--topic", "t", "--max-messages", "x"],
        &["--topic", "t", "--formatter", "no.Such"],
    ] {
        same(
            &cluster,
            "kafka-console-consumer",
            &["--zookeeper", &cluster.zookeeper],
            more,
        );
    }
    let new = ["--new-consumer", "--bootstrap-server", &cluster.brokers()];
    for more in [
        "--topic t --from-beginning --max-messages 14 --property print.key=true",
        "--topic t --from-beginning --max-messages 3 --formatter kafka.tools.ChecksumMessageFormatter",
        "--whitelist t",
        "--topic t --max-messages x",
    ] {
        let more: Vec<&str> = more.split(' ').collect();
        same(&cluster, "kafka-console-consumer", &new, &more);
    }
    for more in [
        &["--topic", "t", "--time", "-1"][..],
        &["--topic", "t", "--time", "-2", "--offsets", "5"],
        &["--topic", "t", "--time", "-1", "--partitions", "0,7"],
        &["--topic", "t", "--time", "x"],
        &["--topic", "t"],
    ] {
        same(
            &cluster,
            "GetOffsetShell",
            &["--broker-list", &cluster.brokers()],
            more,
        );
    }
}

/// Every codec, from either producer to either consumer.
#[track_caller]
fn cross(whose: Whose) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), whose);
    for codec in ["none", "gzip", "snappy", "lz4"] {
        cluster.create(codec, 1);
        let mut all = String::new();
        for producer in [Ours, Genuine] {
            let input = lines(300, &format!("{producer:?} ü 三 {codec}"));
            let more = ["--compression-codec", codec, "--request-required-acks", "-1"];
            let out = cluster.produce(producer, codec, &more, &input);
            assert!(out.status.success(), "{}", text(&out.stderr));
            all += &input;
        }
        let old = lines(300, "old");
        let more = [
            "--old-producer",
            "--compression-codec",
            codec,
            "--request-required-acks",
            "1",
        ];
        assert!(cluster.produce(Ours, codec, &more, &old).status.success());
        all += &old;
        for consumer in [Ours, Genuine] {
            assert_eq!(
                cluster.consume(consumer, codec, 900),
                all,
                "{codec} read by {consumer:?}"
            );
        }
    }
}

#[test]
fn lines_cross_a_genuine_broker_in_every_codec() {
    need!(reference());
    cross(Genuine);
}

#[test]
fn lines_cross_our_broker_in_every_codec() {
    need!(reference());
    cross(Ours);
}

#[test]
fn without_acks_no_line_is_lost_at_the_end_not_even_on_a_genuine_broker() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Genuine);
    cluster.create("t", 3);
    let mut sent = 0;
    for round in 0..20i64 {
        let count = 1 + round * 50;
        let input = lines(usize::try_from(count).unwrap(), "line");
        // New topics too: their first leader may not serve yet when its name is known.
        let (topic, before) = match round % 4 {
            0 => (format!("new-{round}"), 0),
            _ => ("t".to_owned(), sent),
        };
        let out = cluster.produce(Ours, &topic, &[], &input);
        assert!(out.status.success());
        let stored: i64 = cluster.offsets(&topic).iter().sum();
        assert_eq!(stored, before + count, "round {round}: {}", text(&out.stderr));
        if topic == "t" {
            sent = stored;
        }
    }
}

/// A running console consumer of a group.
fn member(cluster: &Cluster, whose: Whose, dir: &Path, name: &str) -> Program {
    let config = dir.join(format!("{name}.properties"));
    let text = format!(
        "group.id=shared\nconsumer.id={name}\nauto.commit.interval.ms=200\nrebalance.backoff.ms=300\n\
         zookeeper.session.timeout.ms=3000\nrebalance.max.retries=20\n"
    );
    std::fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    Program::start(cluster.consumer(whose, &["--topic", "t", "--consumer.config", &config]))
}

#[test]
fn old_consumers_of_both_kinds_share_a_group_on_a_genuine_broker() {
    need!(reference());
    sharing(Genuine);
}

#[test]
fn old_consumers_of_both_kinds_share_a_group_on_our_broker() {
    need!(reference());
    sharing(Ours);
}

fn sharing(whose: Whose) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), whose);
    cluster.create("t", 4);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let nodes = runtime.block_on(session(&cluster.zookeeper));
    let owner = |partition: i32| {
        let path = paths::consumer_owner("shared", "t", partition);
        let node = runtime.block_on(nodes.get(&path)).unwrap();
        text(&node.and_then(|n| n.data).unwrap_or_default())
    };
    let owners_are = |wanted: [&str; 4]| {
        wait_until(&format!("the owners are {wanted:?}"), LIMIT, || {
            (0..4).map(&owner).eq(wanted.map(str::to_owned))
        });
    };
    let (java, rust) = ("shared_a-java-0", "shared_b-rust-0");
    let mut genuine = member(&cluster, Genuine, dir.path(), "a-java");
    owners_are([java; 4]);
    let mut mine = member(&cluster, Ours, dir.path(), "b-rust");
    owners_are([java, java, rust, rust]);

    let stored = |partition: i32| -> Option<i64> {
        let path = paths::consumer_offset("shared", "t", partition);
        let node = runtime.block_on(nodes.get(&path)).unwrap();
        text(&node?.data?).parse().ok()
    };
    // Whoever begins at the end must know where that is before more comes.
    wait_until("every partition has a position", LIMIT, || {
        (0..4).all(|p| stored(p).is_some_and(|o| o >= 0))
    });

    let mut expected = BTreeSet::new();
    let mut send = |name: &str| {
        for key in 0..40 {
            expected.insert(format!("{name} {key}"));
        }
        let input: String = (0..40).map(|k| format!("{k}:{name} {k}\n")).collect();
        let keyed = [
            "--property",
            "parse.key=true",
            "--property",
            "key.separator=:",
            "--request-required-acks",
            "1",
        ];
        assert!(cluster.produce(Ours, "t", &keyed, &input).status.success());
    };
    let got = |programs: &[&Program]| -> Vec<String> { programs.iter().flat_map(|p| p.stdout()).collect() };
    send("both");
    wait_until("both got their share", LIMIT, || {
        got(&[&genuine, &mine]).len() >= 40
    });
    assert!(!genuine.stdout().is_empty() && !mine.stdout().is_empty());

    // Ours leaves: what it consumed is committed, the genuine one goes on behind it.
    mine.signal("INT");
    assert_eq!(mine.wait(LIMIT).code(), Some(130));
    owners_are([java; 4]);
    let left = mine.stdout();
    assert!(
        mine.stderr()
            .iter()
            .any(|l| *l == format!("Processed a total of {} messages", left.len()))
    );
    send("genuine alone");
    wait_until("the genuine one gets all", LIMIT, || {
        got(&[&genuine, &mine]).len() >= 80
    });

    // Ours comes back, the genuine one dies without a word: its session must expire first.
    let mine_again = member(&cluster, Ours, dir.path(), "b-rust");
    owners_are([java, java, rust, rust]);
    wait_until("the genuine one has committed", LIMIT, || {
        (0..4).filter_map(stored).sum::<i64>() == 80
    });
    genuine.kill();
    owners_are([rust; 4]);
    send("ours alone");
    wait_until("ours gets all", LIMIT, || {
        got(&[&genuine, &mine, &mine_again]).len() >= 120
    });
    let all = got(&[&genuine, &mine, &mine_again]);
    assert_eq!(all.len(), 120, "nothing twice");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn lines_go_out_while_the_input_stays_open_and_come_in_while_they_go() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Ours);
    cluster.create("t", 1);
    let mut producer = Program::start(cluster.producer(Ours, "t", &[]));
    let mut consumer = Program::start(cluster.consumer(Ours, &["--topic", "t", "--from-beginning"]));
    for line in ["first", "second", ""] {
        producer.write(format!("{line}\n").as_bytes());
        let seen = consumer.stdout().len() + 1;
        wait_until("the line has come", LIMIT, || consumer.stdout().len() >= seen);
        assert_eq!(consumer.stdout().last().unwrap(), line);
    }
    // Without an end of line it waits for the end of the input, and goes then.
    producer.write(b"last");
    producer.close_stdin();
    assert!(producer.wait(LIMIT).success());
    consumer.wait_line("last", LIMIT);
    consumer.signal("TERM");
    assert_eq!(consumer.wait(LIMIT).code(), Some(143));
    wait_until("the count is told", LIMIT, || {
        consumer
            .stderr()
            .iter()
            .any(|l| l == "Processed a total of 4 messages")
    });
}

#[test]
fn a_message_larger_than_the_fetch_size_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Ours);
    cluster.create("t", 1);
    let input = format!("small\n{}\n", "x".repeat(2000));
    let one = ["--request-required-acks", "1"];
    assert!(cluster.produce(Ours, "t", &one, &input).status.success());
    let config = dir.path().join("c.properties");
    std::fs::write(&config, "group.id=g\nfetch.message.max.bytes=1000\n").unwrap();
    let config = config.display().to_string();
    let arguments = ["--topic", "t", "--from-beginning", "--consumer.config", &config];
    let out = run(cluster.consumer(Ours, &arguments), b"", LIMIT);
    assert_eq!(text(&out.stdout), "small\n");
    let told = text(&out.stderr);
    assert!(told.contains("larger than fetch.message.max.bytes"), "{told}");
    assert!(told.contains("[t,0] at offset 1"), "{told}");
    assert!(told.ends_with("Processed a total of 1 messages\n"), "{told}");
    assert!(out.status.success());
}

#[test]
fn who_closes_the_output_ends_the_consumer_with_code_1() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Ours);
    cluster.create("t", 1);
    let one = ["--request-required-acks", "1"];
    assert!(
        cluster
            .produce(Ours, "t", &one, &lines(20_000, "line"))
            .status
            .success()
    );
    let consumer = format!(
        "{} --zookeeper {} --topic t --from-beginning | head -1; echo ${{PIPESTATUS[0]}}",
        crate::support::install::launcher("kafka-console-consumer").display(),
        cluster.zookeeper
    );
    let mut command = Command::new("bash");
    command.args(["-c", &consumer]);
    let out = run(command, b"", LIMIT);
    assert_eq!(text(&out.stdout), "line 0\n1\n");
    assert!(text(&out.stderr).contains("Unable to write to standard out, closing consumer."));
}

#[test]
fn a_consumer_whose_session_expired_registers_again_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Ours);
    cluster.create("t", 2);
    let config = dir.path().join("c.properties");
    let settings = "group.id=g\nzookeeper.session.timeout.ms=1000\nauto.commit.interval.ms=100\n";
    std::fs::write(&config, settings).unwrap();
    let config = config.display().to_string();
    let arguments = ["--topic", "t", "--from-beginning", "--consumer.config", &config];
    let consumer = Program::start(cluster.consumer(Ours, &arguments));
    let one = ["--request-required-acks", "1"];
    assert!(
        cluster
            .produce(Ours, "t", &one, &lines(10, "before"))
            .status
            .success()
    );
    wait_until("the first come", LIMIT, || consumer.stdout().len() == 10);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let nodes = runtime.block_on(session(&cluster.zookeeper));
    let registered = || {
        let ids = runtime
            .block_on(nodes.children(&paths::consumer_ids("g")))
            .unwrap();
        ids.is_some_and(|(ids, _)| !ids.is_empty())
    };
    consumer.signal("STOP");
    wait_until("the session has expired", LIMIT, || !registered());
    assert!(
        cluster
            .produce(Ours, "t", &one, &lines(10, "meanwhile"))
            .status
            .success()
    );
    consumer.signal("CONT");
    wait_until("it registers again", LIMIT, registered);
    wait_until("the others come", LIMIT, || {
        consumer
            .stdout()
            .iter()
            .filter(|l| l.starts_with("meanwhile"))
            .count()
            == 10
    });
    assert_eq!(consumer.stdout().len(), 20, "{}", consumer.printed());
}
