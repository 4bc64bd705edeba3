//! The promise: what is acknowledged survives brokers that stand still (SIGSTOP) for longer than their sessions
//! last and then go on as if nothing had been.

use super::{Ground, PARTS};
use crate::support::fleet::LIMIT;
use crate::support::wait_until;

#[test]
fn leader_follower_and_controller_stand_still_beyond_their_sessions() {
    let mut ground = Ground::new("");
    for part in PARTS {
        ground.goes_on("the last fault");
        let id = ground.who(part);
        ground.fleet.machine(id).pause();
        wait_until("the others go on without it", LIMIT, || {
            (0..super::PARTITIONS).all(|p| {
                ground
                    .fleet
                    .state(super::TOPIC, p)
                    .is_some_and(|(leader, isr)| leader != id && !isr.contains(&id))
            })
        });
        ground.goes_on(&format!("the {part:?} stands still"));
        ground.fleet.machine(id).go_on();
        ground.heals();
    }
    ground.reckon();
}

#[test]
fn short_pauses_of_each_broker() {
    let mut ground = Ground::new("");
    for round in 0..6 {
        ground.goes_on_somewhere("the last fault");
        let id = round % 3;
        ground.fleet.machine(id).pause();
        // The time itself is the fault here: less than a session.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        ground.fleet.machine(id).go_on();
    }
    ground.heals();
    ground.reckon();
}
