//! The promise: what is acknowledged survives links that are cut, one way or both, slow, or dropped: between
//! brokers, to clients, to ZooKeeper.

use std::time::Duration;

use super::ground::{Ground, PARTITIONS, PARTS, Part, TOPIC};
use crate::support::fleet::LIMIT;
use crate::support::link::{Of, Way};
use crate::support::wait_until;

#[test]
fn brokers_are_cut_off_from_zookeeper() {
    let mut ground = Ground::new("");
    for (part, way) in PARTS.into_iter().zip([Way::Both, Way::Requests, Way::Answers]) {
        ground.goes_on("the last fault");
        let id = ground.who(part);
        ground.fleet.machine(id).zookeeper_link.cut(Of::Everybody, way);
        ground.wait_left_out(id);
        ground.goes_on(&format!("the {part:?} is cut off from ZooKeeper"));
        ground.fleet.machine(id).zookeeper_link.heal();
        ground.heals();
    }
    ground.reckon();
}

#[test]
fn other_brokers_do_not_reach_one_or_do_not_hear_it() {
    let mut ground = Ground::new("");
    for (part, way) in [
        (Part::Leader, Way::Both),
        (Part::Leader, Way::Answers),
        (Part::Controller, Way::Requests),
    ] {
        ground.goes_on("the last fault");
        let id = ground.who(part);
        // Followers cannot copy from it, the controller cannot tell it anything; ZooKeeper and clients can be
        // reached.
        ground.fleet.machine(id).link.cut(Of::Brokers, way);
        ground.goes_on_somewhere("brokers are cut off from one");
        // What it leads alone is not acknowledged any more: its in-sync set shrinks to itself.
        wait_until("its followers are out of sync", LIMIT, || {
            (0..PARTITIONS).all(|p| {
                ground
                    .fleet
                    .state(TOPIC, p)
                    .is_some_and(|(leader, isr)| leader != id || isr == [id])
            })
        });
        ground.fleet.machine(id).link.heal();
        ground.heals();
        ground.goes_on("the link is healed");
    }
    ground.reckon();
}

#[test]
fn clients_are_cut_off_and_connections_dropped_while_all_is_slow() {
    let mut ground = Ground::new("");
    for id in 0..3 {
        ground.fleet.machine(id).link.delay(Duration::from_millis(20));
    }
    for way in [Way::Both, Way::Requests, Way::Answers] {
        ground.goes_on_somewhere("the last fault");
        let id = ground.who(Part::Leader);
        ground.fleet.machine(id).link.cut(Of::Clients, way);
        ground.goes_on_somewhere("a leader's clients are cut off");
        ground.fleet.machine(id).link.heal();
        for machine in &ground.fleet.machines {
            machine.link.drop_connections();
            machine.zookeeper_link.drop_connections();
        }
    }
    ground.heals();
    ground.reckon();
}
