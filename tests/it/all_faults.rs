//! The promise of all [`faults`](crate::faults), under a random mix of them that overlap as chance wants: brokers
//! and ZooKeeper die, stand still, are cut off, have full disks and clocks that jump.
//!
//! It takes longer than any other test, so its name comes first, and with it its turn. `FAULTS_SECONDS` says how
//! long (180 unless it is set), `FAULTS_SEED` repeats the choices of a run; the seed is
//! printed. What the processes make of it differs from run to run all the same.

use std::time::{Duration, Instant};

use std::path::PathBuf;

use crate::faults::clock::{self, WallClock};
use crate::faults::full::own_disks;
use crate::faults::ground::Ground;
use crate::support::chance::Chance;
use crate::support::fleet::Fleet;
use crate::support::link::{Of, Way, Who};
use crate::support::mount::Mount;
use crate::support::skip;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What is wrong with a machine, or with ZooKeeper, for the time being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    Dead,
    Paused,
    Cut,
    Full,
    Elsewhen,
}

struct Mix {
    ground: Ground,
    /// Each broker's, if this machine lets them be made.
    disks: Vec<Mount>,
    /// Each broker's and ZooKeeper's, if this machine has the library.
    clocks: Vec<WallClock>,
    chance: Chance,
    /// Of the three brokers, and of ZooKeeper.
    troubles: [Trouble; 4],
    /// What was told of.
    steps: usize,
    begun: Instant,
}

const ZOOKEEPER: usize = 3;

impl Mix {
    fn tell(&mut self, line: String) {
        self.steps += 1;
        println!("{:>7.1} s {line}", self.begun.elapsed().as_secs_f32());
    }

    fn way(&mut self) -> Way {
        self.chance
            .one_of(&[Way::Both, Way::Requests, Way::Answers])
            .expect("three")
    }

    /// Something breaks.
    fn breaks(&mut self, at: usize) {
        let id = i32::try_from(at).expect("few");
        let kind = self.chance.between(0, 11);
        let hour = self.chance.one_of(&["+1h", "-1h"]).expect("two");
        let trouble = match (at, kind) {
            (_, 10) if at != ZOOKEEPER && !self.disks.is_empty() => {
                self.disks[at].fill();
                Trouble::Full
            }
            (_, 11) if !self.clocks.is_empty() => {
                self.clocks[at].jump(hour);
                Trouble::Elsewhen
            }
            (ZOOKEEPER, 0..=4) => {
                self.ground.fleet.kill_zookeeper();
                Trouble::Dead
            }
            (ZOOKEEPER, _) => {
                let zookeeper = self.ground.fleet.zookeeper.as_mut().expect("it runs");
                zookeeper.program.signal("STOP");
                Trouble::Paused
            }
            (_, 0..=3) => {
                self.ground.fleet.machine(id).kill();
                Trouble::Dead
            }
            (_, 4) => {
                self.ground.fleet.machine(id).stop();
                Trouble::Dead
            }
            (_, 5 | 6) => {
                self.ground.fleet.machine(id).pause();
                Trouble::Paused
            }
            (_, 7) => {
                let way = self.way();
                self.ground
                    .fleet
                    .machine(id)
                    .zookeeper_link
                    .cut(Of::Everybody, way);
                Trouble::Cut
            }
            (_, 8) => {
                let (of, way) = (self.of(id), self.way());
                self.tell(format!("{of:?} do not reach {id}: {way:?}"));
                self.ground.fleet.machine(id).link.cut(of, way);
                Trouble::Cut
            }
            _ => {
                let machine = self.ground.fleet.machine(id);
                machine.link.drop_connections();
                machine.zookeeper_link.drop_connections();
                machine.link.delay(Duration::from_millis(30));
                Trouble::Cut
            }
        };
        self.troubles[at] = trouble;
        self.tell(format!("{}: {trouble:?}", name(at)));
    }

    fn of(&mut self, id: i32) -> Of {
        let other = Who::Broker((id + 1) % 3);
        self.chance
            .one_of(&[Of::Everybody, Of::Brokers, Of::Clients, Of::Only(other)])
            .expect("four")
    }

    /// And is mended.
    fn mends(&mut self, at: usize) {
        let id = i32::try_from(at).expect("few");
        self.tell(format!("{}: mended", name(at)));
        match (at, self.troubles[at]) {
            (_, Trouble::None) => {}
            (ZOOKEEPER, Trouble::Dead) => self.ground.fleet.start_zookeeper(),
            (ZOOKEEPER, Trouble::Paused) => {
                let zookeeper = self.ground.fleet.zookeeper.as_mut().expect("it runs");
                zookeeper.program.signal("CONT");
            }
            (_, Trouble::Dead) => self.ground.fleet.launch(id),
            (_, Trouble::Paused) => self.ground.fleet.machine(id).go_on(),
            (_, Trouble::Cut) => {
                self.ground.fleet.machine(id).link.heal();
                self.ground.fleet.machine(id).zookeeper_link.heal();
            }
            (_, Trouble::Full) => self.disks[at].empty(),
            (_, Trouble::Elsewhen) => self.clocks[at].jump("+0"),
        }
        self.troubles[at] = Trouble::None;
    }
}

fn name(at: usize) -> String {
    match at {
        ZOOKEEPER => "ZooKeeper".into(),
        id => format!("broker {id}"),
    }
}

#[test]
fn a_random_mix_of_faults() {
    let seed = number("FAULTS_SEED").unwrap_or_else(|| kafka::util::random::number() >> 16);
    let time = Duration::from_secs(number("FAULTS_SECONDS").unwrap_or(180));
    println!("FAULTS_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let (library, clocks) = match clock::library() {
        Ok(library) => {
            let file = |at| folder.path().join(format!("time-{at}"));
            let clocks: Vec<_> = (0..4).map(|at| WallClock::new(file(at))).collect();
            (library, clocks)
        }
        Err(why) => {
            skip(&format!("without clocks that jump: {why}"));
            (PathBuf::new(), Vec::new())
        }
    };
    let environment = |at: usize| match clocks.get(at) {
        Some(clock) => clock.environment(&library),
        None => Vec::new(),
    };
    let mut fleet = Fleet::prepare_in(3, "", environment(ZOOKEEPER));
    for at in 0..3 {
        fleet.machines[at].environment = environment(at);
    }
    let disks = own_disks(&mut fleet, folder.path()).unwrap_or_else(|why| {
        skip(&format!("without full disks: {why}"));
        Vec::new()
    });
    fleet.launch_all();
    let mut mix = Mix {
        ground: Ground::on(fleet),
        disks,
        clocks,
        chance: Chance::new(seed),
        troubles: [Trouble::None; 4],
        steps: 0,
        begun: Instant::now(),
    };
    mix.ground.goes_on("the start");
    mix.begun = Instant::now();
    while mix.begun.elapsed() < time {
        // Times and targets do not depend on what happens, so a seed makes the same choices again.
        let at = usize::try_from(mix.chance.between(0, 6)).expect("few");
        let at = if at == 6 { ZOOKEEPER } else { at % 3 };
        match mix.troubles[at] {
            Trouble::None => mix.breaks(at),
            _ => mix.mends(at),
        }
        let pause = match mix.chance.between(0, 9) {
            0..=5 => mix.chance.between(50, 1500),
            _ => mix.chance.between(1500, 6000),
        };
        std::thread::sleep(Duration::from_millis(pause));
    }
    for at in 0..4 {
        if mix.troubles[at] != Trouble::None {
            mix.mends(at);
        }
    }
    let faults = mix.steps / 2;
    mix.ground.heals();
    let acknowledged = mix.ground.reckon();
    println!("seed {seed}: {acknowledged} records acknowledged over {faults} faults, none is lost");
    assert!(acknowledged > 100, "{acknowledged} records are no load");
}
