//! The promise: what is acknowledged survives the death of ZooKeeper, and ZooKeeper standing still for half a
//! minute; the brokers go on meanwhile, and come back to it by themselves.

use std::time::Duration;

use super::ground::{Ground, Part};
use crate::support::fleet::{LIMIT, SESSION};
use crate::support::wait_until;

#[test]
fn zookeeper_is_killed_and_comes_back() {
    let mut ground = Ground::new("");
    for _ in 0..2 {
        ground.goes_on("the last fault");
        ground.fleet.kill_zookeeper();
        ground.goes_on("ZooKeeper was killed");
        ground.fleet.start_zookeeper();
        ground.heals();
    }
    // And it is of use: a leader that dies is replaced.
    let id = ground.who(Part::Leader);
    ground.fleet.machine(id).kill();
    ground.goes_on("the leader was killed");
    ground.fleet.launch(id);
    ground.heals();
    ground.reckon();
}

#[test]
fn zookeeper_stands_still_while_a_broker_waits_for_its_former_session_to_end() {
    let mut ground = Ground::new("");
    ground.goes_on("the start");
    let id = ground.who(Part::Leader);
    ground.fleet.machine(id).kill();
    ground.fleet.launch(id);
    let program = ground
        .fleet
        .machine(id)
        .program
        .as_mut()
        .expect("it was launched");
    program.wait_line("still stands from this broker's former session", LIMIT);
    let zookeeper = ground.fleet.zookeeper.as_mut().expect("it runs");
    zookeeper.program.signal("STOP");
    // The time itself is the fault: longer than a broker waits while ZooKeeper answers.
    std::thread::sleep(SESSION + Duration::from_secs(6));
    let zookeeper = ground.fleet.zookeeper.as_mut().expect("it runs");
    zookeeper.program.signal("CONT");
    ground.heals();
    ground.goes_on("ZooKeeper stood still");
    ground.reckon();
}

#[test]
fn zookeeper_stands_still_for_half_a_minute() {
    let mut ground = Ground::new("");
    ground.goes_on("the start");
    let zookeeper = ground.fleet.zookeeper.as_mut().expect("it runs");
    zookeeper.program.signal("STOP");
    // The time itself is the fault: ten sessions.
    std::thread::sleep(Duration::from_secs(30));
    ground.goes_on("ZooKeeper stood still");
    let zookeeper = ground.fleet.zookeeper.as_mut().expect("it runs");
    zookeeper.program.signal("CONT");
    wait_until("ZooKeeper answers", LIMIT, || ground.fleet.zookeeper_serves());
    ground.heals();
    let id = ground.who(Part::Controller);
    ground.fleet.machine(id).kill();
    ground.goes_on("the controller was killed");
    ground.fleet.launch(id);
    ground.heals();
    ground.reckon();
}
