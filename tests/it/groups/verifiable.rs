//! What Kafka's system tests promise of consumers (kafkatest's consumer_test, and replication_test's acknowledged
//! messages), with the verifiable clients of either make on a pair of our brokers:
//!
//! - brokers that are restarted one after the other, or die, make no group rebalance, and consumption goes on;
//! - a consumer that leaves in order loses nothing and repeats nothing; one that is killed may repeat, and its partition
//!   has another owner when its session has ended; so it is when they are bounced, one by one or all at once;
//! - nobody begins before what is committed;
//! - what is committed is what was consumed, and what was acknowledged stands in the topic.

mod bounces;
mod group;
mod members;

use self::group::{Group, committed, produce};
use super::client::{LIMIT, wait_coordinator};
use crate::support::cluster::Whose;
use crate::support::ours::Pair;
use crate::support::reference;
use crate::support::wire::wait_leaders;

/// How many members the brokers have put out, rather than heard from that they leave.
fn put_out(pair: &Pair) -> usize {
    pair.logged(|line| line.contains("is out of group") && !line.contains(": it left"))
}

/// Nobody was put out since `before`, as nobody is who leaves in order and is heard.
///
/// So it must be with ours. The genuine consumer does not see to it: it polls its connections once and closes them, and
/// that poll sends nothing but a request for metadata if one is due. Its session ends then, and nothing else is lost.
#[track_caller]
fn who_left_was_heard(whose: Whose, pair: &Pair, before: usize) {
    if whose == Whose::Ours {
        assert_eq!(put_out(pair), before, "the coordinator did not hear who left");
    }
}

fn promises(whose: Whose) {
    // Leaders move when a broker ends, and no more: nobody shall ask to leave while his coordinator moves.
    let mut pair = Pair::start("offsets.topic.num.partitions=1\nauto.leader.rebalance.enable=false");
    wait_leaders(pair.ports[0], "t", LIMIT);
    wait_coordinator(pair.ports[0], "g");
    let mut group = Group {
        whose,
        session_timeout: "10000",
        members: vec![],
    };
    group.join(&pair, 3);
    let producer = produce(whose, &pair);
    group.is_whole(pair.ports[0], 1, "three have joined");
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
    let put_out = put_out(&pair);
    let owner = group.owner("somebody owns the partition");
    group.members[owner].program.stop(LIMIT);
    assert_ne!(group.owner("it has another owner"), owner);
    group.goes_on("after the owner left");
    // All leave and come again.
    group.leave();
    let (total, end) = group.consumed();
    assert_eq!(total, end, "lost or repeated, though all left in order");
    assert_eq!(committed(port, 0), end, "committed is what was consumed");
    group.session_timeout = "6000";
    group.join(&pair, 2);
    group.is_whole(port, 1, "all came again");
    group.goes_on("after all came again");
    group.took_turns(0..group.members.len());
    who_left_was_heard(whose, &pair, put_out);

    // The owner is killed: its session ends first.
    let owner = group.owner("somebody owns the partition");
    group.members[owner].program.kill();
    assert_ne!(group.owner("it has another owner"), owner);
    group.goes_on("after the owner was killed");

    group.all_is_consumed(producer, &pair, port);
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
