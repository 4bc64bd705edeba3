//! What Kafka's system tests promise of consumers (kafkatest's consumer_test, and replication_test's acknowledged
//! messages), with the verifiable clients of either make on a pair of our brokers:
//!
//! - brokers that are restarted one after the other, or die, make no group rebalance, and consumption goes on;
//! - a consumer that leaves in order loses nothing and repeats nothing; one that is killed may repeat, and its partition
//!   has another owner when its session has ended; so it is when they are bounced, one by one or all at once;
//! - what is committed is what was consumed, and what was acknowledged stands in the topic.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;

use super::client::{Client, LIMIT, wait_coordinator};
use crate::support::cluster::Whose;
use crate::support::ours::Pair;
use crate::support::program::Program;
use crate::support::wire::{Wire, wait_leaders};
use crate::support::{reference, wait_for, wait_until};

/// A consumer of the group, or one that has been.
struct Member(Program);

impl Member {
    fn start(whose: Whose, dir: &Path, servers: &str, session_timeout: &str) -> Member {
        let config = dir.join("verifiable.properties");
        std::fs::write(&config, "heartbeat.interval.ms=500\nmetadata.max.age.ms=2000\n").unwrap();
        let mut command = whose.command("kafka-verifiable-consumer");
        command.args(["--broker-list", servers, "--topic", "t", "--group-id", "g"]);
        command
            .args(["--session-timeout", session_timeout, "--consumer.config"])
            .arg(config);
        Member(Program::start(command))
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let name = format!("\"name\":\"{name}\"");
        let lines = self.0.stdout().into_iter();
        lines.filter(|l| l.contains(&name)).collect()
    }

    /// How often it was told its share.
    fn rebalances(&self) -> usize {
        self.lines("partitions_assigned").len()
    }

    /// Whether the topic's only partition is its own, as far as it knows.
    fn owns(&mut self) -> bool {
        let last = |l: &String| l.contains("partitions_assigned") || l.contains("partitions_revoked");
        let last = self.0.stdout().into_iter().rfind(last);
        self.0.is_running() && last.is_some_and(|l| l.contains("\"partition\":0"))
    }

    /// From and to which offset, both included, each batch was that it has consumed.
    fn batches(&self) -> Vec<(i64, i64)> {
        let offset = |line: &str, name: &str| {
            let pattern = Regex::new(&format!("\"{name}\":(\\d+)")).unwrap();
            pattern.captures(line).map(|c| c[1].parse::<i64>().unwrap())
        };
        let lines = self.lines("records_consumed");
        lines
            .iter()
            .filter_map(|l| Some((offset(l, "minOffset")?, offset(l, "maxOffset")?)))
            .collect()
    }
}

/// All who were ever in the group.
struct Group {
    /// Of those that join next.
    whose: Whose,
    /// Milliseconds, of those that join next.
    session_timeout: &'static str,
    members: Vec<Member>,
}

impl Group {
    fn join(&mut self, pair: &Pair, count: usize) {
        for _ in 0..count {
            let member = Member::start(self.whose, pair.dir(0), &pair.servers(), self.session_timeout);
            self.members.push(member);
        }
    }

    fn rebalances(&self) -> usize {
        self.members.iter().map(Member::rebalances).sum()
    }

    /// How many records were consumed, and behind which offset that ends.
    fn consumed(&self) -> (i64, i64) {
        let batches: Vec<(i64, i64)> = self.members.iter().flat_map(Member::batches).collect();
        let total = batches.iter().map(|(from, to)| to - from + 1).sum();
        let end = batches.iter().map(|(_, to)| to + 1).max().unwrap_or(0);
        (total, end)
    }

    /// Waits until more is consumed.
    #[track_caller]
    fn goes_on(&self, why: &str) {
        let (before, _) = self.consumed();
        wait_until(why, LIMIT, || self.consumed().0 > before + 100);
    }

    /// Waits until one member owns the partition, and returns which.
    #[track_caller]
    fn owner(&mut self, why: &str) -> usize {
        let members = &mut self.members;
        wait_for(why, LIMIT, || {
            let owners: Vec<usize> = (0..members.len()).filter(|i| members[*i].owns()).collect();
            (owners.len() == 1).then(|| owners[0])
        })
    }

    fn running(&mut self) -> Vec<&mut Member> {
        let mut running: Vec<&mut Member> = self.members.iter_mut().collect();
        running.retain_mut(|m| m.0.is_running());
        running
    }

    /// Waits until the group consists of those that run, each with its share.
    #[track_caller]
    fn is_whole(&mut self, port: u16, why: &str) {
        let mut running = self.running();
        wait_until(why, LIMIT, || {
            running.iter_mut().all(|m| m.rebalances() > 0) && stable_members(port) == Some(running.len())
        });
    }

    /// Those that run leave in order.
    fn leave(&mut self) {
        let running = self.running();
        running.iter().for_each(|m| m.0.signal("TERM"));
        for member in running {
            member.0.wait(LIMIT);
            assert_eq!(
                member.lines("shutdown_complete").len(),
                1,
                "{}",
                member.0.printed()
            );
        }
    }
}

/// The group's committed position.
fn committed(port: u16) -> i64 {
    let (_, port) = wait_coordinator(port, "g");
    let mut client = Client::connect(port);
    wait_for("the position can be had", LIMIT, || {
        let (offset, _, error) = client.fetch(1, "g", "t", 0);
        (error == 0).then_some(offset)
    })
}

/// How many members the group has, once it is stable.
fn stable_members(port: u16) -> Option<usize> {
    let (_, port) = wait_coordinator(port, "g");
    let group = Client::connect(port).describe("g").ok()?;
    (group.error == 0 && group.state == "Stable").then_some(group.members.len())
}

/// A producer of numbers.
fn produce(whose: Whose, pair: &Pair) -> Program {
    let mut producer = whose.command("kafka-verifiable-producer");
    producer.args(["--broker-list", &pair.servers(), "--topic", "t"]);
    producer.args(["--throughput", "300", "--acks", "-1"]);
    Program::start(producer)
}

/// Ends all: what was acknowledged is there, what is there was consumed, and that is what is committed.
fn all_is_consumed(mut group: Group, mut producer: Program, pair: &Pair, port: u16) {
    producer.stop(LIMIT);
    let value = Regex::new("\"value\":\"(\\d+)\"").unwrap();
    let acknowledged: BTreeSet<String> = producer
        .stdout()
        .iter()
        .filter(|l| l.contains("producer_send_success"))
        .map(|l| value.captures(l).unwrap()[1].to_owned())
        .collect();
    let leader = wait_leaders(port, "t", LIMIT)[&0];
    let mut wire = Wire::connect(pair.ports[usize::try_from(leader).unwrap()], LIMIT).unwrap();
    let messages = wire.read_all("t", 0, 0).unwrap();
    let there: BTreeSet<String> = messages
        .iter()
        .map(|m| String::from_utf8(m.value.clone().unwrap().to_vec()).unwrap())
        .collect();
    let lost: Vec<&String> = acknowledged.difference(&there).collect();
    assert!(!acknowledged.is_empty() && lost.is_empty(), "lost: {lost:?}");
    let log_end = i64::try_from(messages.len()).unwrap();
    wait_until("all is consumed", LIMIT, || group.consumed().1 >= log_end);
    group.leave();
    let (total, end) = group.consumed();
    assert!(total >= end, "{total} consumed of {end}");
    let mut batches: Vec<(i64, i64)> = group.members.iter().flat_map(Member::batches).collect();
    batches.sort_unstable();
    let mut next = 0;
    for (from, to) in batches {
        assert!(from <= next, "nobody has consumed what is at {next}");
        next = next.max(to + 1);
    }
    assert_eq!((next, committed(port)), (end, end));
}

fn promises(whose: Whose) {
    let mut pair = Pair::start("offsets.topic.num.partitions=1");
    wait_leaders(pair.ports[0], "t", LIMIT);
    wait_coordinator(pair.ports[0], "g");
    let mut group = Group {
        whose,
        session_timeout: "10000",
        members: vec![],
    };
    group.join(&pair, 3);
    let producer = produce(whose, &pair);
    wait_until("all are members", LIMIT, || {
        stable_members(pair.ports[0]) == Some(3)
    });
    group.owner("somebody owns the partition");
    group.goes_on("messages are consumed");

    // Both brokers are restarted, each when both have everything: nobody rejoins, nothing comes twice.
    let before = group.rebalances();
    for id in [0, 1] {
        pair.restart(id, &["t", "__consumer_offsets"]);
        group.goes_on("after a broker was restarted");
    }
    assert_eq!(group.rebalances(), before, "restarts made the group rebalance");
    let (total, end) = group.consumed();
    assert_eq!(total, end, "lost or repeated, while brokers were restarted");

    // The coordinator dies, and leads nothing any more: as little happens.
    let (dies, _) = wait_coordinator(pair.ports[0], "g");
    let dies = usize::try_from(dies).unwrap();
    pair.kill(dies, &["t", "__consumer_offsets"]);
    group.goes_on("after a broker died");
    group.goes_on("after a broker died");
    assert_eq!(group.rebalances(), before, "a death made the group rebalance");
    let (total, end) = group.consumed();
    assert_eq!(total, end, "lost or repeated, while a broker died");
    pair.revive(dies);
    let port = pair.ports[1 - dies];

    // The owner leaves: another one goes on where it was.
    let owner = group.owner("somebody owns the partition");
    group.members[owner].0.signal("TERM");
    group.members[owner].0.wait(LIMIT);
    assert_ne!(group.owner("it has another owner"), owner);
    group.goes_on("after the owner left");
    // All leave and come again.
    group.leave();
    let (total, end) = group.consumed();
    assert_eq!(total, end, "lost or repeated, though all left in order");
    assert_eq!(committed(port), end, "committed is what was consumed");
    group.join(&pair, 2);
    group.owner("somebody owns the partition");
    group.goes_on("after all came again");
    let (total, end) = group.consumed();
    assert_eq!(total, end, "lost or repeated, though all came again in order");

    // The owner is killed: its session ends first.
    wait_until("both are members", LIMIT, || stable_members(port) == Some(2));
    let owner = group.owner("somebody owns the partition");
    group.members[owner].0.kill();
    assert_ne!(group.owner("it has another owner"), owner);
    group.goes_on("after the owner was killed");

    all_is_consumed(group, producer, &pair, port);
}

#[test]
fn what_kafkas_system_tests_promise_of_consumers_holds_with_the_genuine_verifiable_clients() {
    need!(reference());
    promises(Whose::Genuine);
}

#[test]
fn what_kafkas_system_tests_promise_of_consumers_holds_with_ours() {
    promises(Whose::Ours);
}

/// Each kind of bounce, of members that others of the other make follow.
#[test]
fn bounced_consumers_of_both_makes_lose_nothing_one_by_one_or_all_at_once() {
    need!(reference());
    let pair = Pair::start("offsets.topic.num.partitions=1");
    let port = pair.ports[0];
    wait_leaders(port, "t", LIMIT);
    wait_coordinator(port, "g");
    let mut group = Group {
        whose: Whose::Genuine,
        // The shortest that brokers allow.
        session_timeout: "6000",
        members: vec![],
    };
    group.join(&pair, 3);
    let producer = produce(Whose::Ours, &pair);
    group.is_whole(port, "three have joined");
    group.goes_on("messages are consumed");

    group.whose = Whose::Ours;
    for leaves in 0..3 {
        group.members[leaves].0.stop(LIMIT);
        group.join(&pair, 1);
        group.is_whole(port, "another one has come for who left");
        group.goes_on("after one left");
    }
    let (total, end) = group.consumed();
    assert_eq!(total, end, "lost or repeated, though each left in order");

    group.whose = Whose::Genuine;
    for dies in 3..6 {
        group.members[dies].0.kill();
        group.join(&pair, 1);
        group.is_whole(port, "another one has come for who died");
        group.owner("one owns the partition");
        group.goes_on("after one died");
    }

    for (whose, die) in [(Whose::Ours, 6..9), (Whose::Genuine, 9..12)] {
        group.whose = whose;
        group.members[die].iter_mut().for_each(|m| m.0.kill());
        group.join(&pair, 3);
        group.is_whole(port, "others have come for all");
        group.owner("one owns the partition");
        group.goes_on("after all died");
    }
    all_is_consumed(group, producer, &pair, port);
}
