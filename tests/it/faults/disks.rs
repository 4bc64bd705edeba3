//! The promise: a log directory whose disk fails or vanishes takes its own partitions offline, says which
//! directory it was, and nothing else; the last one takes the broker with it, with exit code 1. A full
//! disk refuses produce and goes on when there is room; what was acknowledged can always be read. What a failed
//! directory led is led by another replica in sync, if there is one, while its broker lives.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use kafka::message::Codec;

use crate::support::mount::Mount;
use crate::support::ours::{self, Server};
use crate::support::program::{launcher, text};
use crate::support::wire::{Wire, set, wait_leaders};
use crate::support::{free_port, genuine, reference, wait_for, wait_until};

const LIMIT: Duration = Duration::from_secs(90);
const NOT_LEADER: i16 = 6;
const UNKNOWN: i16 = -1;

/// A broker on these log directories.
fn broker(dir: &Path, zookeeper: &Server, log_dirs: &[&Path]) -> Server {
    broker_with(dir, zookeeper, log_dirs, "")
}

/// As [`broker`]; `more` are further lines of its properties.
fn broker_with(dir: &Path, zookeeper: &Server, log_dirs: &[&Path], more: &str) -> Server {
    let port = free_port();
    let config = dir.join("server.properties");
    let dirs: Vec<String> = log_dirs.iter().map(|d| d.display().to_string()).collect();
    let lines = format!(
        "broker.id=0\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\nnum.partitions=4\n\
         zookeeper.connect=127.0.0.1:{}\nzookeeper.connection.timeout.ms=30000\n{more}\n",
        dirs.join(","),
        zookeeper.port
    );
    std::fs::write(&config, lines).unwrap();
    let mut command = launcher("kafka-server-start");
    command.arg(&config).env("LOG_DIR", dir.join("logs"));
    let mut program = crate::support::program::Program::start(command);
    program.wait_line("], started", ours::START);
    Server { program, port }
}

fn message(text: &str) -> Bytes {
    set(Codec::None, &[text.as_bytes()])
}

/// Sends until the partition is led, and gives the error and the offset.
fn produce(port: u16, partition: i32, records: &Bytes) -> (i16, i64) {
    let mut wire = Wire::connect(port, LIMIT).unwrap();
    wire.produce("t", partition, records.clone(), 1).unwrap()
}

fn values(port: u16, partition: i32) -> Vec<String> {
    let mut wire = Wire::connect(port, LIMIT).unwrap();
    let all = wire.read_all("t", partition, 0).unwrap();
    all.iter()
        .map(|m| text(m.value.as_deref().unwrap_or_default()))
        .collect()
}

/// The partitions of `t` in a log directory.
fn partitions_in(dir: &Path) -> Vec<i32> {
    let all = 0..4;
    all.filter(|p| dir.join(format!("t-{p}")).is_dir()).collect()
}

#[test]
fn a_full_disk_refuses_produce_and_serves_consumers_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let disk = need!(Mount::tmpfs(&dir.path().join("disk"), 32));
    let zookeeper = ours::zookeeper(dir.path());
    let filler = disk.at.join("filler");
    std::fs::write(&filler, vec![1; 20 << 20]).unwrap();
    let mut broker = broker(dir.path(), &zookeeper, &[&disk.at.join("logs")]);
    wait_leaders(broker.port, "t", LIMIT);

    let block = message(&"x".repeat(500_000));
    let mut acknowledged = 0;
    let refused = loop {
        match produce(broker.port, 0, &block) {
            (0, offset) => {
                assert_eq!(offset, acknowledged);
                acknowledged += 1;
                assert!(acknowledged < 64, "32 MB take no 32 MB");
            }
            (error, _) => break error,
        }
    };
    assert_eq!(refused, UNKNOWN);
    let line = broker.program.wait_line(" is full: ", LIMIT);
    assert!(line.contains(&disk.at.display().to_string()), "{line}");
    assert!(acknowledged > 5);
    assert_eq!(
        values(broker.port, 0).len() as i64,
        acknowledged,
        "consumers still read"
    );

    std::fs::remove_file(&filler).unwrap();
    wait_until("there is room again", LIMIT, || {
        let (error, offset) = produce(broker.port, 0, &message("after"));
        assert!(error != 0 || offset == acknowledged);
        error == 0
    });
    assert_eq!(values(broker.port, 0).last().map(String::as_str), Some("after"));
    assert_eq!(broker.program.stop(LIMIT).code(), Some(143));
    drop(disk);
}

#[test]
fn of_two_directories_a_read_only_one_goes_offline_and_the_other_serves() {
    let dir = tempfile::tempdir().unwrap();
    let disk = need!(Mount::ext4(
        &dir.path().join("disk"),
        &dir.path().join("image"),
        64 << 20
    ));
    let zookeeper = ours::zookeeper(dir.path());
    let (healthy, failing) = (dir.path().join("healthy"), disk.at.join("logs"));
    let mut broker = broker(dir.path(), &zookeeper, &[&healthy, &failing]);
    wait_leaders(broker.port, "t", LIMIT);
    let (good, bad) = (partitions_in(&healthy), partitions_in(&failing));
    assert_eq!((good.len(), bad.len()), (2, 2));
    for partition in 0..4 {
        assert_eq!(produce(broker.port, partition, &message("before")).0, 0);
    }
    need!(disk.break_it());
    for partition in &bad {
        let error = wait_for("the failure is met", LIMIT, || {
            Some(produce(broker.port, *partition, &message("lost")).0).filter(|e| *e != 0)
        });
        assert_eq!(error, NOT_LEADER);
    }
    let line = broker.program.wait_line("Stopping serving logs in dir", LIMIT);
    assert!(line.contains(&failing.display().to_string()), "{line}");
    for partition in &good {
        assert_eq!(produce(broker.port, *partition, &message("after")).0, 0);
        assert_eq!(values(broker.port, *partition), ["before", "after"]);
    }
    assert!(broker.program.is_running());
    broker.program.stop(LIMIT);
    assert!(healthy.join(".kafka_cleanshutdown").exists());
}

#[test]
fn a_directory_that_is_taken_away_is_noticed_and_comes_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let (stays, goes) = (dir.path().join("stays"), dir.path().join("goes"));
    let elsewhere = dir.path().join("elsewhere");
    let mut first = broker(dir.path(), &zookeeper, &[&stays, &goes]);
    wait_leaders(first.port, "t", LIMIT);
    let (here, away) = (partitions_in(&stays), partitions_in(&goes));
    for partition in 0..4 {
        assert_eq!(produce(first.port, partition, &message("before")).0, 0);
    }
    std::fs::rename(&goes, &elsewhere).unwrap();
    let line = first.program.wait_line("has vanished", LIMIT);
    assert!(line.contains(&goes.display().to_string()), "{line}");
    wait_until("its partitions are offline", LIMIT, || {
        away.iter()
            .all(|p| produce(first.port, *p, &message("refused")).0 == NOT_LEADER)
    });
    for partition in &here {
        assert_eq!(produce(first.port, *partition, &message("after")).0, 0);
    }
    first.program.stop(LIMIT);

    std::fs::rename(&elsewhere, &goes).unwrap();
    let second = broker(dir.path(), &zookeeper, &[&stays, &goes]);
    wait_leaders(second.port, "t", LIMIT);
    for partition in &away {
        let values = wait_for("it is served again", LIMIT, || {
            let mut wire = Wire::connect(second.port, LIMIT).ok()?;
            wire.read_all("t", *partition, 0).ok()
        });
        assert_eq!(
            values[0].value.as_deref(),
            Some(&b"before"[..]),
            "what was acknowledged is there"
        );
    }
    for partition in &here {
        assert_eq!(values(second.port, *partition), ["before", "after"]);
    }
}

#[test]
fn without_any_directory_the_broker_ends_with_code_1_and_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let only = dir.path().join("only");
    let mut broker = broker(dir.path(), &zookeeper, &[&only]);
    wait_leaders(broker.port, "t", LIMIT);
    std::fs::rename(&only, dir.path().join("elsewhere")).unwrap();
    assert_eq!(broker.program.wait(LIMIT).code(), Some(1));
    let said = broker.program.printed();
    let line = format!(
        "Shutdown broker because all log dirs in {} have failed",
        only.display()
    );
    assert!(said.contains(&line), "{said}");
}

/// The leaders of `t`, as a broker says, once all partitions have one and two replicas in sync.
fn leaders_in_sync(port: u16) -> Vec<(i32, i32)> {
    wait_for("all are in sync", LIMIT, || {
        let answer = Wire::connect(port, LIMIT).ok()?.metadata(&["t"]).ok()?;
        let partitions = &answer.topics.first()?.partitions;
        let ready = partitions.len() == 4 && partitions.iter().all(|p| p.leader >= 0 && p.isr.len() == 2);
        ready.then(|| partitions.iter().map(|p| (p.partition, p.leader)).collect())
    })
}

/// Broker 1, which is the controller, has a copy of all that broker 0 has on two disks, of which one goes.
fn leadership_is_handed_on(is_genuine: bool) {
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let settings = "default.replication.factor=2\nunclean.leader.election.enable=false\nbroker.id=";
    let other_dir = dir.path().join("other");
    std::fs::create_dir(&other_dir).unwrap();
    let (other, _other) = if is_genuine {
        let connect = format!("127.0.0.1:{}", zookeeper.port);
        let other = genuine::broker(&other_dir, &connect, &format!("num.partitions=4\n{settings}1"));
        (other.port, other.program)
    } else {
        let logs = other_dir.join("logs");
        let other = broker_with(&other_dir, &zookeeper, &[&logs], &format!("{settings}1"));
        (other.port, other.program)
    };
    let dirs = ["a", "b"].map(|name| dir.path().join(name));
    let mut broker = broker_with(
        dir.path(),
        &zookeeper,
        &[&dirs[0], &dirs[1]],
        &format!("{settings}0"),
    );
    wait_until("both brokers are known", LIMIT, || {
        let answer = Wire::connect(other, LIMIT).and_then(|mut w| w.metadata(&[]));
        answer.is_ok_and(|a| a.brokers.len() == 2)
    });
    wait_leaders(broker.port, "t", LIMIT);
    let leaders = leaders_in_sync(broker.port);
    let led: Vec<i32> = leaders
        .iter()
        .filter(|(_, leader)| *leader == 0)
        .map(|(p, _)| *p)
        .collect();
    assert_eq!(led.len(), 2, "{leaders:?}");
    let goes = dirs.iter().find(|d| partitions_in(d).contains(&led[0])).unwrap();
    let lost = partitions_in(goes);
    for (partition, leader) in &leaders {
        let mut wire = Wire::connect([broker.port, other][*leader as usize], LIMIT).unwrap();
        // Whom the others call the leader may be the last to hear.
        wait_until("the leader leads", LIMIT, || {
            wire.produce("t", *partition, message("before"), -1).unwrap().0 == 0
        });
    }
    std::fs::rename(goes, dir.path().join("elsewhere")).unwrap();
    broker.program.wait_line("has vanished", LIMIT);
    for partition in &led {
        let is_lost = lost.contains(partition);
        let port = if is_lost { other } else { broker.port };
        wait_until("whoever has it leads", LIMIT, || {
            let mut wire = Wire::connect(port, LIMIT).unwrap();
            wire.produce("t", *partition, message("after"), -1)
                .is_ok_and(|(error, _)| error == 0)
        });
        let read = values(port, *partition);
        assert_eq!(
            read.first().map(String::as_str),
            Some("before"),
            "nothing acknowledged is lost"
        );
        assert_eq!(read.last().map(String::as_str), Some("after"));
        let leader = if is_lost { 1 } else { 0 };
        for asked in [broker.port, other] {
            wait_until("all brokers know who leads", LIMIT, || {
                let answer = Wire::connect(asked, LIMIT).and_then(|mut w| w.metadata(&["t"]));
                let known = answer.ok().and_then(|a| {
                    let partitions = a.topics.into_iter().next()?.partitions;
                    partitions.into_iter().find(|p| p.partition == *partition)
                });
                known.is_some_and(|p| p.leader == leader)
            });
        }
    }
    let line = broker
        .program
        .wait_line("hands the leadership of partition", LIMIT);
    assert!(line.contains("over to broker 1 with epoch 1"), "{line}");
    assert!(broker.program.is_running());
}

#[test]
fn the_lead_of_a_failed_directory_is_handed_to_a_replica_in_sync_while_its_broker_lives() {
    leadership_is_handed_on(false);
}

#[test]
fn a_genuine_broker_and_controller_take_the_lead_of_a_failed_directory() {
    need!(reference());
    leadership_is_handed_on(true);
}
