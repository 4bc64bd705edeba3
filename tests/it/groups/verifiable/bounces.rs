//! Consumers of either make are replaced one by one or all at once, in order or by kill -9.

use super::super::client::{LIMIT, wait_coordinator};
use super::group::{Group, produce};
use super::{put_out, who_left_was_heard};
use crate::support::cluster::Whose::{self, Genuine, Ours};
use crate::support::ours::Pair;
use crate::support::reference;
use crate::support::wire::wait_leaders;

const MEMBERS: usize = 3;

/// The topic's.
const PARTITIONS: i32 = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// SIGTERM, and its end is waited for.
    InOrder,
    /// SIGKILL.
    Killed,
}
use How::{InOrder, Killed};

/// Ends the members that came last, `at_once` so many before as many others come, each time waiting for the group to
/// be whole.
fn bounce(group: &mut Group, pair: &Pair, how: How, at_once: usize) {
    let last = group.members.len() - MEMBERS..group.members.len();
    for first in last.clone().step_by(at_once) {
        for member in &mut group.members[first..first + at_once] {
            match how {
                InOrder => drop(member.program.stop(LIMIT)),
                Killed => member.program.kill(),
            }
            assert_eq!(member.left(), how == InOrder, "{}", member.program.printed());
        }
        group.join(pair, at_once);
        let why = format!("{at_once} of {:?} have come for those {how:?}", group.whose);
        group.is_whole(pair.ports[0], PARTITIONS, &why);
        group.goes_on(&why);
    }
}

#[test]
fn bounced_consumers_of_both_makes_lose_nothing_one_by_one_or_all_at_once() {
    need!(reference());
    let settings = format!(
        "offsets.topic.num.partitions=1\nnum.partitions={PARTITIONS}\ngroup.min.session.timeout.ms=3000"
    );
    let pair = Pair::start(&settings);
    let port = pair.ports[0];
    wait_leaders(port, "t", LIMIT);
    wait_coordinator(port, "g");
    let mut group = Group {
        whose: Genuine,
        // Each kill waits for its end.
        session_timeout: "3000",
        members: vec![],
    };
    group.join(&pair, MEMBERS);
    let producer = produce(Ours, &pair);
    group.is_whole(port, PARTITIONS, "three have joined");
    group.goes_on("messages are consumed");

    // Each make comes for the other one.
    let kills: [(usize, Whose, &str); 4] = [
        (1, Ours, "3000"),
        (1, Genuine, "3000"),
        (MEMBERS, Ours, "3000"),
        // A busy machine shall not take these for dead.
        (MEMBERS, Genuine, "10000"),
    ];
    for (at_once, whose, session_timeout) in kills {
        (group.whose, group.session_timeout) = (whose, session_timeout);
        bounce(&mut group, &pair, Killed, at_once);
    }

    let orderly = group.members.len() - MEMBERS;
    group.whose = Ours;
    for leaves in [Genuine, Ours] {
        let put_out = put_out(&pair);
        bounce(&mut group, &pair, InOrder, 1);
        who_left_was_heard(leaves, &pair, put_out);
    }
    group.took_turns(orderly..group.members.len());
    group.all_is_consumed(producer, &pair, port);
}
