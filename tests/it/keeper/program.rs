//! The programs: what the start program prints, how it ends, and that what it acknowledged outlives
//! kill -9.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use kafka::jute::{Acl, CreateRequest, ErrorCode, OpCode, Record, WatchableRequest};

use super::wire::Wire;
use crate::support::genuine::four_letters;
use crate::support::program::{Program, kafka, run, text};
use crate::support::{free_port, wait_until};

const CLASS: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
const SOON: Duration = Duration::from_secs(20);

fn start(dir: &Path, port: u16) -> Program {
    let config = dir.join("zookeeper.properties");
    let data = dir.join("data");
    let lines = format!("dataDir={}\nclientPort={port}\n", data.display());
    std::fs::write(&config, lines).unwrap();
    let mut command = kafka();
    command.args([CLASS, &config.display().to_string()]);
    let mut program = Program::start(command);
    program.wait_line(&format!("binding to port 0.0.0.0/0.0.0.0:{port}"), SOON);
    wait_until("it serves", SOON, || {
        four_letters(port, "srvr").contains("Mode: standalone")
    });
    program
}

fn ended(mut command: Command) -> (Option<i32>, String) {
    command.env_remove("KAFKA_OPTS");
    let out = run(command, b"", SOON);
    (out.status.code(), text(&out.stderr) + &text(&out.stdout))
}

#[test]
fn a_server_ends_in_order_within_a_second() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut program = start(dir.path(), port);
        let _idle = Wire::connect(port, 30_000);
        program.wait_line("serving clients on port", SOON);
        let asked = std::time::Instant::now();
        program.signal(signal);
        let status = program.wait(SOON);
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        if cfg!(unix) {
            assert_eq!(status.code(), Some(code));
        }
    }
}

#[test]
fn wrong_settings_and_a_taken_port_are_told_with_their_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let with = |arguments: &[&str]| {
        let mut command = kafka();
        command.arg("zookeeper-server-start").args(arguments);
        ended(command)
    };
    let config = dir.path().join("bad.properties");
    std::fs::write(&config, "clientPort=0\n").unwrap();
    let bad = config.display().to_string();
    let (code, told) = with(&[&bad]);
    assert_eq!(code, Some(2));
    assert!(told.contains("Invalid config, exiting abnormally"), "{told}");
    assert!(told.contains("dataDir is not set"), "{told}");
    assert_eq!(with(&["/no/such/file"]).0, Some(2));
    let (code, told) = with(&[]);
    assert_eq!(code, Some(2));
    assert!(
        told.starts_with("Usage: ZooKeeperServerMain configfile"),
        "{told}"
    );

    let port = free_port();
    let _first = start(dir.path(), port);
    let other = dir.path().join("other").display().to_string();
    let (code, told) = with(&[&port.to_string(), &other]);
    assert_eq!(code, Some(1));
    assert!(
        told.contains(&format!("cannot listen on 0.0.0.0/0.0.0.0:{port}")),
        "{told}"
    );
    let same = dir.path().join("data").display().to_string();
    let (code, told) = with(&[&free_port().to_string(), &same]);
    assert_eq!(code, Some(1));
    assert!(told.contains("is in use by another server"), "{told}");
}

/// Under a name of its own, so that no other test's servers are found.
#[test]
fn the_stop_program_ends_the_servers_of_its_binary() {
    let dir = tempfile::tempdir().unwrap();
    let name = format!("keeper-{}{}", std::process::id(), std::env::consts::EXE_SUFFIX);
    let binary = dir.path().join(name);
    if std::fs::hard_link(env!("CARGO_BIN_EXE_kafka"), &binary).is_err() {
        std::fs::copy(env!("CARGO_BIN_EXE_kafka"), &binary).unwrap();
    }
    let stop = || {
        let mut command = Command::new(&binary);
        command.arg("zookeeper-server-stop");
        ended(command)
    };
    let none = (Some(1), "No zookeeper server to stop".to_owned());
    let told = |(code, text): (Option<i32>, String)| (code, text.trim().to_owned());
    assert_eq!(told(stop()), none);
    let port = free_port();
    let mut command = Command::new(&binary);
    let data = dir.path().join("data").display().to_string();
    command.args(["-Dzookeeper.snapCount=50", CLASS, &port.to_string(), &data]);
    let mut program = Program::start(command);
    program.wait_line("serving clients on port", SOON);
    assert_eq!(told(stop()), (Some(0), String::new()));
    program.wait(SOON);
    assert_eq!(told(stop()), none);
}

#[test]
fn what_was_acknowledged_outlives_twenty_kills() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..20 {
        let mut program = start(dir.path(), port);
        let mut wire = Wire::connect(port, 30_000);
        // The newest and some of the others.
        for path in acknowledged
            .iter()
            .rev()
            .take(40)
            .chain(acknowledged.iter().step_by(17))
        {
            let ask = WatchableRequest {
                path: path.clone(),
                watch: false,
            };
            assert_eq!(
                wire.call(OpCode::Exists, &ask).header.err,
                ErrorCode::OK,
                "{path}"
            );
        }
        let many = 200;
        for i in 0..many {
            let request = CreateRequest {
                path: format!("/r{round}-{i}"),
                data: Some(Bytes::from_static(b"data")),
                acl: Acl::open(),
                flags: 0,
            };
            wire.send(OpCode::Create, &request.to_bytes());
        }
        let enough = 1 + round * 9;
        for i in 0..enough {
            assert_eq!(wire.answer().unwrap().header.err, ErrorCode::OK);
            acknowledged.push(format!("/r{round}-{i}"));
        }
        program.kill();
        // What came meanwhile was acknowledged too.
        let mut i = enough;
        while let Some(answer) = wire.answer() {
            assert_eq!(answer.header.err, ErrorCode::OK);
            acknowledged.push(format!("/r{round}-{i}"));
            i += 1;
        }
    }
}
