//! Ours beside the genuine 0.9.0.1 in one cluster, and in each other's place.
//!
//! The promise: whoever leads, follows and controls, what acks=-1 acknowledged is read back in order, whatever
//! broker is killed; and a whole cluster is swapped to ours and back, broker by broker on the same data
//! directories, while it is written to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kafka::message::Codec;

use crate::support::cluster::wait_in_sync;
use crate::support::program::{Program, kafka, launcher, run, text};
use crate::support::wire::{Wire, set};
use crate::support::{free_port, genuine, ours, pause, reference, wait_for, wait_until};

const LIMIT: Duration = Duration::from_secs(120);

/// Whose broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Genuine,
    Ours,
}

/// A broker's place, which one kind or the other takes.
struct Seat {
    id: i32,
    port: u16,
    dir: tempfile::TempDir,
    program: Option<Program>,
}

impl Seat {
    fn new(id: i32) -> Seat {
        Seat {
            id,
            port: free_port(),
            dir: tempfile::tempdir().unwrap(),
            program: None,
        }
    }

    /// Starts a broker of that kind on the seat's directory.
    fn start(&mut self, kind: Kind, zookeeper: &str) {
        let config = self.dir.path().join("server.properties");
        let properties = format!(
            "broker.id={}\nlisteners=PLAINTEXT://127.0.0.1:{}\nlog.dirs={}\nzookeeper.connect={zookeeper}\n\
             zookeeper.connection.timeout.ms=60000\nzookeeper.session.timeout.ms=4000\ncontrolled.shutdown.enable=true\n\
             unclean.leader.election.enable=false\nauto.leader.rebalance.enable=false\n\
             controlled.shutdown.retry.backoff.ms=500\nauto.create.topics.enable=false\n\
             replica.fetch.wait.max.ms=100\nreplica.fetch.backoff.ms=200\n",
            self.id,
            self.port,
            self.dir.path().join("kafka-logs").display(),
        );
        std::fs::write(&config, properties).unwrap();
        let mut program = Program::start(match kind {
            Kind::Genuine => genuine::command(&["kafka-server-start", &config.display().to_string()]),
            Kind::Ours => {
                let mut command = launcher("kafka-server-start");
                command.arg(&config).env("LOG_DIR", self.dir.path().join("logs"));
                command
            }
        });
        program.wait_line("], started", genuine::START);
        self.program = Some(program);
    }

    fn kill(&mut self) {
        self.program.take().expect("it runs").kill();
    }

    fn stop(&mut self) {
        self.program.take().expect("it runs").stop(LIMIT);
    }

    /// The messages of a partition, segment files put together.
    fn bytes(&self, partition: &str) -> Vec<u8> {
        let dir = self.dir.path().join("kafka-logs").join(partition);
        let mut files: Vec<_> = std::fs::read_dir(&dir)
            .map(|entries| entries.flatten().map(|e| e.path()).collect())
            .unwrap_or_default();
        files.retain(|f: &std::path::PathBuf| f.extension().is_some_and(|e| e == "log"));
        files.sort();
        files
            .iter()
            .flat_map(|f| std::fs::read(f).unwrap_or_default())
            .collect()
    }
}

/// What a tool of ours prints.
fn tool(arguments: &[&str]) -> String {
    let mut command = kafka();
    command.args(arguments);
    let done = run(command, b"", LIMIT);
    assert!(done.status.success(), "{arguments:?}: {}", text(&done.stderr));
    text(&done.stdout)
}

/// Leader and in-sync replicas of a partition, as any of these brokers tells them.
fn state(ports: &[u16], topic: &str, partition: i32) -> Option<(i32, BTreeSet<i32>)> {
    ports.iter().find_map(|port| {
        let mut wire = Wire::connect(*port, Duration::from_secs(10)).ok()?;
        let answer = wire.metadata(&[topic]).ok()?;
        let found = answer
            .topics
            .first()?
            .partitions
            .iter()
            .find(|p| p.partition == partition)?;
        (found.leader >= 0).then(|| (found.leader, found.isr.iter().copied().collect()))
    })
}

/// Sends a number until it is acknowledged by all in-sync replicas.
fn send(seats: &[Seat], topic: &str, partition: i32, number: u64) {
    let ports: Vec<u16> = seats
        .iter()
        .filter(|s| s.program.is_some())
        .map(|s| s.port)
        .collect();
    wait_until("the number is acknowledged", LIMIT, || {
        let Some((leader, _)) = state(&ports, topic, partition) else {
            return false;
        };
        let Some(seat) = seats.iter().find(|s| s.id == leader && s.program.is_some()) else {
            return false;
        };
        let records = set(Codec::None, &[number.to_string().as_bytes()]);
        Wire::connect(seat.port, Duration::from_secs(15))
            .and_then(|mut wire| wire.produce(topic, partition, records, -1))
            .is_ok_and(|(error, _)| error == 0)
    });
}

/// The numbers of a partition in the order of their first appearance.
fn numbers(port: u16, topic: &str, partition: i32) -> Vec<u64> {
    let all = wait_for("the partition can be read", LIMIT, || {
        Wire::connect(port, LIMIT)
            .ok()?
            .read_all(topic, partition, 0)
            .ok()
    });
    let mut seen = BTreeSet::new();
    let values = all.iter().map(|m| {
        String::from_utf8_lossy(m.value.as_deref().unwrap())
            .parse()
            .unwrap()
    });
    values.filter(|number| seen.insert(*number)).collect()
}

/// Sees to it that the controller is one of these brokers, by taking the office away from others.
fn controlled_by(zookeeper: &str, ids: &[i32]) {
    wait_until("the controller is of the wanted kind", LIMIT, || {
        let mut command = kafka();
        command.args(["zookeeper-shell", "-server", zookeeper]);
        let printed = text(&run(command, b"get /controller\n", LIMIT).stdout);
        let holder = ids
            .iter()
            .any(|id| printed.contains(&format!("\"brokerid\":{id},")));
        if !holder && printed.contains("brokerid") {
            let mut command = kafka();
            command.args(["zookeeper-shell", "-server", zookeeper]);
            run(command, b"delete /controller\n", LIMIT);
        }
        holder
    });
}

/// Waits until the brokers tell that it is so, seconds after it has become so.
fn told_in_sync(ports: &[u16], topic: &str, partition: i32, ids: &[i32]) {
    wait_until(
        &format!("{topic}/{partition} is in sync on {ids:?}"),
        LIMIT,
        || state(ports, topic, partition).is_some_and(|(_, isr)| isr.iter().copied().eq(ids.iter().copied())),
    );
}

/// Leader and follower of each topic, by name: g genuine, o ours.
const PAIRS: [(&str, &str, [i32; 2]); 4] = [
    ("gg", "1:2", [1, 2]),
    ("go", "1:3", [1, 3]),
    ("og", "3:1", [1, 3]),
    ("oo", "3:4", [3, 4]),
];

#[test]
fn every_pairing_of_leader_follower_and_controller_keeps_what_was_acknowledged() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper_with(dir.path(), free_port(), ours::SHORT_SESSIONS);
    let connect = format!("127.0.0.1:{}", zookeeper.port);
    let mut seats: Vec<Seat> = (1..=4).map(Seat::new).collect();
    let kind = |id: i32| if id <= 2 { Kind::Genuine } else { Kind::Ours };
    for seat in &mut seats {
        seat.start(kind(seat.id), &connect);
    }
    let ports: Vec<u16> = seats.iter().map(|s| s.port).collect();
    for (topic, replicas, _) in PAIRS {
        tool(&[
            "kafka-topics",
            "--zookeeper",
            &connect,
            "--create",
            "--topic",
            topic,
            "--replica-assignment",
            replicas,
        ]);
    }
    let mut sent = 0;
    let send_some = |seats: &[Seat], sent: &mut u64| {
        for _ in 0..10 {
            for (topic, ..) in PAIRS {
                send(seats, topic, 0, *sent);
            }
            *sent += 1;
        }
    };
    // Each round: a controller of one kind, and the death of the leader that is ours, then genuine.
    for (controllers, victim) in [([1, 2], 3), ([3, 4], 1)] {
        for (topic, _, replicas) in PAIRS {
            told_in_sync(&ports, topic, 0, &replicas);
        }
        controlled_by(&connect, &controllers);
        send_some(&seats, &mut sent);
        let place = seats.iter().position(|s| s.id == victim).unwrap();
        seats[place].kill();
        send_some(&seats, &mut sent);
        seats[place].start(kind(victim), &connect);
        for (topic, _, replicas) in PAIRS {
            told_in_sync(&ports, topic, 0, &replicas);
        }
        send_some(&seats, &mut sent);
    }
    for (topic, _, replicas) in PAIRS {
        let (leader, _) = state(&ports, topic, 0).unwrap();
        let read = numbers(ports[usize::try_from(leader - 1).unwrap()], topic, 0);
        assert_eq!(read, (0..sent).collect::<Vec<_>>(), "{topic}");
        let copies = replicas.map(|id| usize::try_from(id - 1).unwrap());
        wait_until("both copies are the same bytes", LIMIT, || {
            let [a, b] = copies.map(|i| seats[i].bytes(&format!("{topic}-0")));
            !a.is_empty() && a == b
        });
    }
    describes_alike(&connect);
}

/// The genuine tool's description of the same cluster, line by line.
fn describes_alike(zookeeper: &str) {
    for filter in [&[][..], &["--under-replicated-partitions"]] {
        let words = [
            &["kafka-topics", "--zookeeper", zookeeper, "--describe"][..],
            filter,
        ]
        .concat();
        let theirs = text(&genuine::tool(&words, b"").stdout);
        assert_eq!(tool(&words), theirs, "{filter:?}");
    }
}

#[test]
fn a_cluster_is_swapped_to_ours_and_back_on_the_same_directories_while_it_is_written_to() {
    need!(reference());
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper_with(dir.path(), free_port(), ours::SHORT_SESSIONS);
    let connect = format!("127.0.0.1:{}", zookeeper.port);
    let mut seats: Vec<Seat> = (0..3).map(Seat::new).collect();
    for seat in &mut seats {
        seat.start(Kind::Genuine, &connect);
    }
    let ports: Vec<u16> = seats.iter().map(|s| s.port).collect();
    tool(&[
        "kafka-topics",
        "--zookeeper",
        &connect,
        "--create",
        "--topic",
        "t",
        "--partitions",
        "2",
        "--replication-factor",
        "3",
        "--config",
        "min.insync.replicas=2",
    ]);
    wait_in_sync(&connect, &["t"], &[0, 1, 2]);
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let writer = std::thread::spawn({
        let (stop, acknowledged, ports) = (stop.clone(), acknowledged.clone(), ports.clone());
        move || write(&ports, &stop, &acknowledged)
    });
    let goes_on = || {
        let before = acknowledged.load(Ordering::Relaxed);
        wait_until("more is acknowledged", LIMIT, || {
            acknowledged.load(Ordering::Relaxed) > before + 20
        });
    };
    goes_on();
    for kind in [Kind::Ours, Kind::Genuine] {
        for seat in &mut seats {
            seat.stop();
            goes_on();
            seat.start(kind, &connect);
            wait_in_sync(&connect, &["t"], &[0, 1, 2]);
            goes_on();
        }
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    let acknowledged = acknowledged.load(Ordering::Relaxed);
    for partition in 0..2 {
        let (leader, _) = state(&ports, "t", partition).unwrap();
        let read = numbers(ports[usize::try_from(leader).unwrap()], "t", partition);
        let mine = |n: &u64| n % 2 == u64::try_from(partition).unwrap();
        let expected: Vec<u64> = (0..acknowledged).filter(mine).collect();
        assert_eq!(&read[..expected.len()], expected, "partition {partition}");
    }
}

/// Sends even numbers to partition 0 and odd ones to 1, one at a time, each until it is acknowledged.
fn write(ports: &[u16], stop: &AtomicBool, acknowledged: &AtomicU64) {
    let mut leaders: [Option<Wire>; 2] = [None, None];
    while !stop.load(Ordering::Relaxed) {
        let number = acknowledged.load(Ordering::Relaxed);
        let partition = i32::try_from(number % 2).unwrap();
        let place = &mut leaders[usize::try_from(partition).unwrap()];
        if place.is_none() {
            let leader =
                state(ports, "t", partition).and_then(|(id, _)| ports.get(usize::try_from(id).ok()?));
            *place = leader.and_then(|port| Wire::connect(*port, Duration::from_secs(15)).ok());
        }
        let records = set(Codec::None, &[number.to_string().as_bytes()]);
        match place
            .as_mut()
            .map(|wire| wire.produce("t", partition, records, -1))
        {
            Some(Ok((0, _))) => acknowledged.store(number + 1, Ordering::Relaxed),
            // Not the leader any more, or gone.
            _ => {
                *place = None;
                pause();
            }
        }
    }
}
