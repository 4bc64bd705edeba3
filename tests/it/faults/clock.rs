//! The promise: what is acknowledged survives clocks that jump an hour, forwards and back, on leader, follower,
//! controller and ZooKeeper while they run, with retention, rolls and flushes at work. Nobody loses a session or its
//! place in an in-sync set by it, and nothing is deleted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::ground::{Ground, PARTITIONS, PARTS, TOPIC};
use crate::support::fleet::{Fleet, LIMIT};
use crate::support::wait_until;

/// What goes on by the clock: a look every second, an age that no jump here reaches.
const CHORES: &str = "log.retention.check.interval.ms=1000\nlog.retention.minutes=180\nlog.segment.bytes=500000\n\
                      log.flush.interval.ms=1000\nlog.flush.scheduler.interval.ms=500\nlog.roll.ms=7200000";

/// The library that lets a process see another time.
///
/// # Errors
/// It is not installed.
pub fn library() -> Result<PathBuf, String> {
    let name = "faketime/libfaketime.so.1";
    let folders = [
        "/usr/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
    ];
    let mut paths = folders.iter().map(|f| Path::new(f).join(name));
    paths
        .find(|p| p.exists())
        .ok_or_else(|| "libfaketime is not installed".into())
}

/// The wall clock of one process. Its monotonic one goes on as a machine's does whose clock is set.
pub struct WallClock {
    file: PathBuf,
}

impl WallClock {
    /// The right time, told by a file.
    pub fn new(file: PathBuf) -> WallClock {
        let clock = WallClock { file };
        clock.jump("+0");
        clock
    }

    /// Sets it, as libfaketime wants it said.
    pub fn jump(&self, to: &str) {
        // Whole, as it may be read at any time.
        let new = self.file.with_extension("new");
        std::fs::write(&new, to).expect("the folder can be written");
        std::fs::rename(&new, &self.file).expect("the folder can be written");
    }

    /// What a process needs to go by it.
    pub fn environment(&self, library: &Path) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("FAKETIME_DISABLE_SHM", "1".into()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// The time so many minutes from now, as logs print it.
fn in_minutes(minutes: i32) -> String {
    let output = Command::new("date")
        .args(["-d", &format!("{minutes} minutes"), "+%Y-%m-%d %H:%M"])
        .output();
    String::from_utf8(output.expect("date runs").stdout)
        .expect("digits")
        .trim()
        .to_owned()
}

/// Leader epochs, and the transactions that made the registrations: nobody was missed as long as they stay.
fn lives(ground: &Ground) -> (Vec<i32>, BTreeMap<i32, i64>) {
    let epochs = (0..PARTITIONS).map(|p| ground.fleet.leader_epoch(TOPIC, p));
    (epochs.collect(), ground.fleet.registrations())
}

#[test]
fn clocks_jump_an_hour_on_leader_follower_controller_and_zookeeper() {
    let library = need!(library());
    let dir = tempfile::tempdir().unwrap();
    let clocks: Vec<WallClock> = (0..4)
        .map(|at| WallClock::new(dir.path().join(format!("time-{at}"))))
        .collect();
    let (zookeeper, brokers) = clocks.split_last().expect("four");
    let mut fleet = Fleet::prepare_in(3, CHORES, zookeeper.environment(&library));
    for (machine, clock) in fleet.machines.iter_mut().zip(brokers) {
        machine.environment = clock.environment(&library);
    }
    fleet.launch_all();
    let mut ground = Ground::on(fleet);
    ground.goes_on("the start");
    let before = lives(&ground);
    let mut topics = 0;

    for part in PARTS {
        let id = ground.who(part);
        let clock = &brokers[usize::try_from(id).unwrap()];
        for (jump, minutes) in [("+1h", 60), ("-1h", -60), ("+0", 0)] {
            clock.jump(jump);
            let then = in_minutes(minutes - 5)..in_minutes(minutes + 5);
            wait_until(&format!("the {part:?} lives at {jump}"), LIMIT, || {
                topics += 1;
                let topic = format!("at-{topics}");
                ground.fleet.create_topic(&topic, 1);
                let program = ground.fleet.machine(id).program.as_ref().expect("it runs");
                let lines = program.stdout();
                let line = lines
                    .iter()
                    .find(|l| l.contains(&format!("Created log for partition [{topic},")));
                line.and_then(|l| l.get(1..17))
                    .is_some_and(|time| then.contains(&time.to_owned()))
            });
            ground.goes_on(&format!("the {part:?}'s clock jumped to {jump}"));
        }
    }
    for jump in ["+1h", "-1h", "+0"] {
        zookeeper.jump(jump);
        // The time itself counts here: longer than a session lives.
        std::thread::sleep(crate::support::fleet::SESSION + Duration::from_secs(1));
        ground.goes_on(&format!("ZooKeeper's clock jumped to {jump}"));
    }
    assert_eq!(
        lives(&ground),
        before,
        "nobody was missed:\n{}",
        ground.fleet.printed()
    );

    // And who dies in another time comes back in it.
    for (part, jump) in PARTS.into_iter().zip(["+1h", "-1h", "+1h"]) {
        let id = ground.who(part);
        let clock = &brokers[usize::try_from(id).unwrap()];
        clock.jump(jump);
        ground.fleet.machine(id).kill();
        ground.fleet.launch(id);
        ground.heals();
        ground.goes_on(&format!("the {part:?} is back at {jump}"));
        clock.jump("+0");
    }
    ground.reckon();
}
