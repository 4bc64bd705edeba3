//! The promise: with three replicas, acks=-1 and min.insync.replicas=2, no message that was acknowledged is
//! lost and no two replicas keep different messages at one offset, whatever brokers and controllers bounce,
//! stand still, lose ZooKeeper or leave, and though one machine at a time forgets what it had not synced.
//!
//! One partition on three of four brokers, moved from some to others now and then, made of the product's own pure cores: [`Standing`] with its in-sync set
//! and agreement on each broker, the controller's `decide`. All else is a list of events in a simulated time:
//! logs are lists of numbers, ZooKeeper is a few variables, messages take as long as chance wants. A run is a
//! function of its seed. `SIMULATION_SEED=n` repeats one, `SIMULATION_RUNS=n` tries more.
//!
//! [`Standing`]: kafka::replica::standing::Standing

mod broker;
mod controller;
mod world;

use world::{Habits, World};

/// How many runs there are unless more are wanted.
const RUNS: u64 = 150;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Lives through one seed's faults: the number of acknowledged messages and of moves, or what went wrong.
fn live(seed: u64, habits: Habits) -> Result<(usize, usize), String> {
    let mut world = World::new(seed, habits);
    world.live().map_err(|wrong| {
        format!(
            "seed {seed}: {wrong}\nthe last events:\n{}",
            world.story.join("\n")
        )
    })
}

/// Lives through as many seeds as are wanted.
fn keeps_its_promise(habits: Habits) {
    let first = from_environment("SIMULATION_SEED");
    let runs = from_environment("SIMULATION_RUNS").unwrap_or(if first.is_some() { 1 } else { RUNS });
    let first = first.unwrap_or_else(|| kafka::util::random::number() >> 16);
    let (mut acknowledged, mut moves) = (0, 0);
    for seed in first..first + runs {
        match live(seed, habits) {
            Ok((some, moved)) => {
                acknowledged += some;
                moves += moved;
            }
            Err(wrong) => panic!("{wrong}"),
        }
    }
    println!(
        "seeds {first} and on: {acknowledged} messages were acknowledged in {runs} runs with {moves} moves, none is lost"
    );
    let expected = usize::try_from(runs).expect("a small number");
    assert!(
        acknowledged > 100 * expected && moves >= expected / 4,
        "only {acknowledged} messages were acknowledged and {moves} moves made in {runs} runs"
    );
}

#[test]
fn nothing_acknowledged_is_lost_and_replicas_agree() {
    keeps_its_promise(Habits::default());
}

/// By default one in-sync replica is enough for an acknowledgement. Then what a machine forgets may be lost, and nothing else.
#[test]
fn nothing_acknowledged_by_one_in_sync_replica_is_lost_if_no_machine_forgets() {
    keeps_its_promise(Habits {
        forget: false,
        min_in_sync: 1,
        ..Habits::default()
    });
}

/// The simulation can tell: with 0.9.0.1's cut to the high watermark it finds a loss.
#[test]
fn brokers_that_cut_to_their_high_watermark_lose_what_was_acknowledged() {
    let habits = Habits {
        cut_to_high_watermark: true,
        forget: false,
        ..Habits::default()
    };
    let lost = (1..400).filter(|seed| live(*seed, habits).is_err()).count();
    assert!(lost > 0, "no run of 400 lost anything");
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let story = |seed| {
        let mut world = World::new(seed, Habits::default());
        let end = world.live();
        (end, world.story)
    };
    assert_eq!(story(7), story(7));
    assert_ne!(story(7), story(8));
}
