//! The promise: what is acknowledged survives brokers that stand still (SIGSTOP) for longer than their sessions
//! last and then go on as if nothing had been.

use super::ground::{Ground, PARTS};

#[test]
fn leader_follower_and_controller_stand_still_beyond_their_sessions() {
    let mut ground = Ground::new("");
    for part in PARTS {
        ground.goes_on("the last fault");
        let id = ground.who(part);
        ground.fleet.machine(id).pause();
        ground.wait_left_out(id);
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
