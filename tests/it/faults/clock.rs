//! The promise: what is acknowledged survives clocks that jump an hour, forwards and back, on leader, follower and
//! controller while they run.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::ground::{Ground, PARTS};

/// The library that lets a process see another time.
fn library() -> Result<PathBuf, String> {
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

#[test]
fn clocks_jump_an_hour_on_leader_follower_and_controller() {
    let library = need!(library());
    let dir = tempfile::tempdir().unwrap();
    let file = |id: i32| dir.path().join(format!("time-{id}"));
    let mut ground = Ground::new("");
    for id in 0..3 {
        std::fs::write(file(id), "+0").unwrap();
        let machine = ground.fleet.machine(id);
        machine.environment = [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", file(id).display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into();
        machine.stop();
        ground.fleet.launch(id);
        ground.heals();
    }
    let mut jumped = Vec::new();
    for (part, jump) in PARTS.into_iter().zip(["+1h", "-1h", "+1h"]) {
        ground.goes_on("the last fault");
        let id = ground.who(part);
        std::fs::write(file(id), jump).unwrap();
        ground.goes_on(&format!("the {part:?}'s clock jumped by {jump}"));
        // It can die in that time, too.
        ground.fleet.machine(id).kill();
        ground.fleet.launch(id);
        ground.heals();
        if jump == "+1h" {
            jumped.push(id);
        }
        ground.goes_on(&format!("the {part:?} is back"));
        std::fs::write(file(id), "+0").unwrap();
    }
    for id in jumped {
        let program = ground.fleet.machine(id).program.as_ref().unwrap();
        let soon = in_minutes(30);
        let later = |line: &String| line.get(1..17).is_some_and(|time| time > soon.as_str());
        assert!(
            program.stdout().iter().any(later),
            "its clock really jumped: {}",
            program.printed()
        );
    }
    ground.reckon();
}
