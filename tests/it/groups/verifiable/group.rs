//! A group of verifiable consumers, and a verifiable producer for its topic.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use regex::Regex;

use super::super::client::{Client, LIMIT, wait_coordinator};
use super::members::{Member, Turn};
use crate::support::cluster::Whose;
use crate::support::ours::Pair;
use crate::support::program::Program;
use crate::support::wire::{Wire, wait_leaders};
use crate::support::{wait_for, wait_until};

/// All who were ever in the group.
pub(super) struct Group {
    /// Of those that join next.
    pub(super) whose: Whose,
    /// Milliseconds, of those that join next.
    pub(super) session_timeout: &'static str,
    /// In the order in which they came.
    pub(super) members: Vec<Member>,
}

impl Group {
    /// Starts so many members, side by side.
    pub(super) fn join(&mut self, pair: &Pair, count: usize) {
        for _ in 0..count {
            let member = Member::start(self.whose, pair.dir(0), &pair.servers(), self.session_timeout);
            self.members.push(member);
        }
    }

    fn running(&mut self) -> Vec<&mut Member> {
        let mut running: Vec<&mut Member> = self.members.iter_mut().collect();
        running.retain_mut(|m| m.program.is_running());
        running
    }

    /// How often members were told their shares.
    pub(super) fn rebalances(&mut self) -> usize {
        self.members.iter_mut().map(Member::rebalances).sum()
    }

    /// How many records were consumed, and how many would have been enough.
    pub(super) fn consumed(&mut self) -> (i64, i64) {
        let turns = self.turns(0..self.members.len());
        let total = turns.iter().map(|t| t.to - t.from).sum();
        (total, ends(&turns).values().sum())
    }

    /// The turns of these members, by partition and from where they begin.
    fn turns(&mut self, of: Range<usize>) -> Vec<Turn> {
        let members = self.members[of].iter_mut();
        let mut turns: Vec<Turn> = members.flat_map(|m| m.turns().to_vec()).collect();
        turns.sort();
        turns
    }

    /// Waits until more is consumed.
    #[track_caller]
    pub(super) fn goes_on(&mut self, why: &str) {
        let (before, _) = self.consumed();
        wait_until(why, LIMIT, || self.consumed().0 > before + 100);
    }

    /// Waits until one member owns partition 0, and returns which.
    #[track_caller]
    pub(super) fn owner(&mut self, why: &str) -> usize {
        let members = &mut self.members;
        wait_for(why, LIMIT, || {
            let shares = members.iter_mut().map(Member::share).enumerate();
            let owners: Vec<usize> = shares
                .filter_map(|(i, share)| share?.contains(&0).then_some(i))
                .collect();
            (owners.len() == 1).then(|| owners[0])
        })
    }

    /// Waits until the group consists of those that run, each has been told its share, and the topic's partitions are
    /// shared out evenly.
    #[track_caller]
    pub(super) fn is_whole(&mut self, port: u16, partitions: i32, why: &str) {
        let mut running = self.running();
        wait_until(why, LIMIT, || {
            // In this order: a member gives its old share up before the group becomes stable again.
            if stable_members(port) != Some(running.len()) {
                return false;
            }
            let shares: Option<Vec<BTreeSet<i32>>> = running.iter_mut().map(|m| m.share()).collect();
            let Some(shares) = shares else { return false };
            let sizes = || shares.iter().map(BTreeSet::len);
            let mut owned: Vec<i32> = shares.iter().flatten().copied().collect();
            owned.sort_unstable();
            owned.into_iter().eq(0..partitions) && sizes().max().unwrap() - sizes().min().unwrap() <= 1
        });
    }

    /// Those that run leave in order.
    pub(super) fn leave(&mut self) {
        let running = self.running();
        running.iter().for_each(|m| m.program.signal("TERM"));
        for member in running {
            member.program.wait(LIMIT);
            assert!(member.left(), "{}", member.program.printed());
        }
    }

    /// Each turn of these members began where the one before it had ended: nothing was lost, nothing came twice, and no
    /// two had a partition at a time.
    #[track_caller]
    pub(super) fn took_turns(&mut self, of: Range<usize>) {
        let turns = self.turns(of);
        for (one, next) in turns.iter().zip(&turns[1..]) {
            let follows = one.partition != next.partition || one.to == next.from;
            assert!(follows, "{next:?} follows {one:?} in {turns:?}");
        }
    }

    /// Each turn of anybody began neither behind what was consumed before, nor before what was committed.
    #[track_caller]
    fn lost_nothing(&mut self) {
        let turns = self.turns(0..self.members.len());
        let mut at: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
        for turn in &turns {
            let (committed, end) = at.entry(turn.partition).or_insert((0, 0));
            assert!(
                (*committed..=*end).contains(&turn.from),
                "{turn:?} follows what was committed to {committed} and consumed to {end}: {turns:?}"
            );
            *committed = turn.committed.unwrap_or(0).max(*committed);
            *end = turn.to.max(*end);
        }
    }

    /// Ends all: what was acknowledged is there, what is there was consumed, and that is what is committed.
    #[track_caller]
    pub(super) fn all_is_consumed(mut self, mut producer: Program, pair: &Pair, port: u16) {
        producer.stop(LIMIT);
        let value = Regex::new("\"value\":\"(\\d+)\"").unwrap();
        let acknowledged: BTreeSet<String> = producer
            .stdout()
            .iter()
            .filter(|l| l.contains("producer_send_success"))
            .map(|l| value.captures(l).unwrap()[1].to_owned())
            .collect();
        let mut there = BTreeSet::new();
        let mut log_ends = BTreeMap::new();
        for (partition, leader) in wait_leaders(port, "t", LIMIT) {
            let leader = pair.ports[usize::try_from(leader).unwrap()];
            let mut wire = Wire::connect(leader, LIMIT).unwrap();
            let messages = wire.read_all("t", partition, 0).unwrap();
            log_ends.insert(partition, i64::try_from(messages.len()).unwrap());
            let values = messages.into_iter().map(|m| m.value.unwrap().to_vec());
            there.extend(values.map(|v| String::from_utf8(v).unwrap()));
        }
        let lost: Vec<&String> = acknowledged.difference(&there).collect();
        assert!(!acknowledged.is_empty() && lost.is_empty(), "lost: {lost:?}");
        let all = 0..self.members.len();
        wait_until("all is consumed", LIMIT, || {
            ends(&self.turns(all.clone())) == log_ends
        });
        self.leave();
        self.lost_nothing();
        for (partition, end) in log_ends {
            assert_eq!(
                committed(port, partition),
                end,
                "what is committed of {partition}"
            );
        }
    }
}

/// Behind which offset of each partition all these turns end.
fn ends(turns: &[Turn]) -> BTreeMap<i32, i64> {
    let mut ends = BTreeMap::new();
    for turn in turns {
        let end = ends.entry(turn.partition).or_insert(0);
        *end = turn.to.max(*end);
    }
    ends
}

/// The group's committed position.
pub(super) fn committed(port: u16, partition: i32) -> i64 {
    let (_, port) = wait_coordinator(port, "g");
    let mut client = Client::connect(port);
    wait_for("the position can be had", LIMIT, || {
        let (offset, _, error) = client.fetch(1, "g", "t", partition);
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
pub(super) fn produce(whose: Whose, pair: &Pair) -> Program {
    let mut producer = whose.command("kafka-verifiable-producer");
    producer.args(["--broker-list", &pair.servers(), "--topic", "t"]);
    producer.args(["--throughput", "300", "--acks", "-1"]);
    Program::start(producer)
}
