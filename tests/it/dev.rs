//! `kafka dev`: ready in a moment on free ports, used, and gone without a trace, fifty times in a row;
//! and gone as well when the process that started it dies.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use kafka::message::Codec;

use crate::support::program::{Program, kafka};
use crate::support::wait_until;
use crate::support::wire::{Wire, set};

const LIMIT: Duration = Duration::from_secs(30);
const FREE: [&str; 7] = [
    "dev",
    "--port",
    "0",
    "--zookeeper-port",
    "0",
    "--topics",
    "a:3,b:1",
];

/// The broker's port in the line that says where it listens.
fn port_of(line: &str) -> u16 {
    let address = line
        .split_whitespace()
        .next()
        .unwrap()
        .strip_prefix("bootstrap.servers=")
        .unwrap();
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// A temporary folder for everything that a `kafka dev` makes.
fn start(temporary: &std::path::Path, ready: &std::path::Path) -> Command {
    let mut command = kafka();
    command
        .args(FREE)
        .arg("--ready-file")
        .arg(ready)
        .env("TMPDIR", temporary);
    command
}

fn is_empty(dir: &std::path::Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn fifty_starts_in_a_row_are_ready_usable_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let temporary = dir.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let ready: PathBuf = dir.path().join("ready");
    for round in 0..50 {
        let mut program = Program::start(start(&temporary, &ready));
        let line = program.wait_line("bootstrap.servers=", LIMIT);
        assert_eq!(std::fs::read_to_string(&ready).unwrap().trim(), line);
        let mut wire = Wire::connect(port_of(&line), LIMIT).unwrap();
        let metadata = wire.metadata(&["a"]).unwrap();
        assert_eq!(metadata.topics[0].partitions.len(), 3, "round {round}");
        assert!(metadata.topics[0].partitions.iter().all(|p| p.leader >= 0));
        let (error, offset) = wire.produce("b", 0, set(Codec::None, &[b"x"]), 1).unwrap();
        assert_eq!((error, offset), (0, 0));
        assert_eq!(wire.read_all("b", 0, 0).unwrap().len(), 1);
        assert!(!is_empty(&temporary));
        program.signal("INT");
        assert!(program.wait(LIMIT).success(), "{}", program.printed());
        assert!(is_empty(&temporary), "round {round} left something behind");
        std::fs::remove_file(&ready).unwrap();
    }
}

#[test]
fn it_ends_with_its_parent_and_takes_its_directory_along() {
    let dir = tempfile::tempdir().unwrap();
    let temporary = dir.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let ready = dir.path().join("ready");
    // A shell that stays as its parent until it is killed.
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "\"$@\" & wait", "sh"])
        .arg(env!("CARGO_BIN_EXE_kafka"))
        .args(FREE);
    shell
        .arg("--exit-with-parent")
        .arg("--ready-file")
        .arg(&ready)
        .env("TMPDIR", &temporary);
    let mut parent = Program::start(shell);
    let line = parent.wait_line("bootstrap.servers=", LIMIT);
    let port = port_of(&line);
    assert!(Wire::connect(port, LIMIT).is_ok());
    parent.kill();
    wait_until("it ends", LIMIT, || {
        Wire::connect(port, Duration::from_secs(1)).is_err()
    });
    wait_until("its directory goes", LIMIT, || is_empty(&temporary));
}

#[test]
fn a_kept_directory_keeps_its_messages() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let mut command = kafka();
        command.args(FREE).arg("--data-dir").arg(dir.path().join("data"));
        let mut program = Program::start(command);
        let line = program.wait_line("bootstrap.servers=", LIMIT);
        let mut wire = Wire::connect(port_of(&line), LIMIT).unwrap();
        assert_eq!(wire.read_all("b", 0, 0).unwrap().len(), round);
        assert_eq!(wire.produce("b", 0, set(Codec::None, &[b"x"]), -1).unwrap().0, 0);
        program.signal("INT");
        assert!(program.wait(LIMIT).success(), "{}", program.printed());
    }
}
