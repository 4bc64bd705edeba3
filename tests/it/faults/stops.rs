//! The promise: what is acknowledged survives clean stops and kill -9 of leader, follower and controller, one after
//! the other and all at once; and a broker that leaves is not taken in again by its last fetch.

use super::ground::{Ground, PARTS, Part};

#[test]
fn clean_stops_of_leader_follower_and_controller() {
    let mut ground = Ground::new("");
    for part in PARTS {
        ground.goes_on("the last fault");
        let id = ground.who(part);
        ground.fleet.machine(id).stop();
        ground.goes_on(&format!("the {part:?} has stopped"));
        ground.fleet.launch(id);
        ground.heals();
    }
    ground.reckon();
}

#[test]
fn kills_of_leader_follower_and_controller() {
    let mut ground = Ground::new("");
    for part in PARTS {
        ground.goes_on("the last fault");
        let id = ground.who(part);
        ground.fleet.machine(id).kill();
        ground.goes_on(&format!("the {part:?} was killed"));
        ground.fleet.launch(id);
        ground.heals();
    }
    ground.reckon();
}

#[test]
fn kills_in_turn_that_wait_for_nobody() {
    let mut ground = Ground::new("");
    for round in 0..6 {
        ground.goes_on_somewhere("the last fault");
        let id = round % 3;
        ground.fleet.machine(id).kill();
        ground.fleet.launch(id);
        ground.fleet.machine(id).wait_started();
    }
    ground.reckon();
}

#[test]
fn all_are_killed_at_once() {
    let mut ground = Ground::new("");
    for with_zookeeper in [false, true] {
        ground.goes_on("the last fault");
        for id in 0..3 {
            ground.fleet.machine(id).kill();
        }
        if with_zookeeper {
            ground.fleet.kill_zookeeper();
            ground.fleet.start_zookeeper();
        }
        for id in 0..3 {
            ground.fleet.launch(id);
        }
        ground.heals();
    }
    ground.reckon();
}

#[test]
fn a_leaving_broker_does_not_come_into_sync_again() {
    let mut ground = Ground::new("");
    ground.goes_on("the start");
    let id = ground.who(Part::Follower);
    let others: Vec<i32> = (0..3).filter(|other| *other != id).collect();
    let joined = |ground: &mut Ground| {
        let mut lines = Vec::new();
        for other in &others {
            let program = ground.fleet.machine(*other).program.as_ref().expect("it runs");
            let joins = |line: &String| {
                line.contains("Expanding ISR")
                    && line
                        .rsplit("to ")
                        .next()
                        .is_some_and(|set| set.contains(&id.to_string()))
            };
            lines.extend(program.stdout().into_iter().filter(joins));
        }
        lines
    };
    let before = joined(&mut ground).len();
    ground.fleet.machine(id).stop();
    ground.wait_left_out(id);
    ground.goes_on("it has left");
    let after = joined(&mut ground);
    assert_eq!(after.len(), before, "{after:?}");
    ground.fleet.launch(id);
    ground.heals();
    ground.reckon();
}
