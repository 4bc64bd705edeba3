//! kafka-check on directories that brokers wrote, genuine and ours: what it says, that it changes nothing,
//! and what it finds in ZooKeeper.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, SystemTime};

use crate::support::genuine_data::genuine_data;
use crate::support::program::{kafka, run, text};
use crate::support::wire::{Wire, wait_leaders};
use crate::support::{copy_dir, ours, reference};

const LIMIT: Duration = Duration::from_secs(120);

fn check(arguments: &[&str]) -> Output {
    let mut command = kafka();
    command.arg("check").args(arguments);
    run(command, b"", LIMIT)
}

/// All below a directory, with its bytes and its time of change.
fn state(dir: &Path) -> BTreeMap<PathBuf, (SystemTime, Option<Vec<u8>>)> {
    let mut found = BTreeMap::new();
    let mut paths = vec![dir.to_owned()];
    while let Some(path) = paths.pop() {
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        let bytes = match path.is_dir() {
            true => {
                paths.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
                None
            }
            false => Some(std::fs::read(&path).unwrap()),
        };
        found.insert(path, (modified, bytes));
    }
    found
}

/// Checks a directory, which is the same afterwards; returns exit code and lines.
#[track_caller]
fn checked(dir: &Path, more: &[&str]) -> (Option<i32>, Vec<String>) {
    let before = state(dir);
    let mut arguments = vec![dir.to_str().unwrap()];
    arguments.extend(more);
    let output = check(&arguments);
    assert!(state(dir) == before, "the check changed something");
    assert_eq!(text(&output.stderr), "");
    let lines = text(&output.stdout).lines().map(str::to_owned).collect();
    (output.status.code(), lines)
}

#[test]
fn nothing_is_wrong_after_a_genuine_broker_s_stop_and_after_its_death_segments_are_to_be_read() {
    need!(reference());
    let data = genuine_data();
    let dir = tempfile::tempdir().unwrap();
    let (stopped, running) = (dir.path().join("stopped"), dir.path().join("running"));
    copy_dir(&data.stopped, &stopped);
    copy_dir(&data.running, &running);
    let (code, lines) = checked(&stopped, &[]);
    // Its cleaner's old segments waited for their deletion, which a stop does not bring forward.
    let findings = &lines[..lines.len() - 2];
    let waits = |line: &String| line.starts_with("removed ") && line.contains(".deleted: ");
    assert!(findings.iter().all(waits), "{lines:#?}");
    assert_eq!(code, Some(i32::from(!findings.is_empty())));
    let (code, lines) = checked(&running, &[]);
    assert_ne!(code, Some(0), "{lines:#?}");
    assert!(
        lines
            .iter()
            .any(|l| l.starts_with("read ") && l.contains(".kafka_cleanshutdown")),
        "{lines:#?}"
    );
}

#[test]
fn what_is_predicted_is_what_a_killed_broker_repairs_and_zookeeper_is_compared() {
    let dir = tempfile::tempdir().unwrap();
    let zookeeper = ours::zookeeper(dir.path());
    let connect = format!("127.0.0.1:{}", zookeeper.port);
    let named = ["--zookeeper", &connect];
    let mut broker = ours::broker(dir.path(), &connect, "zookeeper.session.timeout.ms=3000");
    let logs = dir.path().join("kafka-logs");
    wait_leaders(broker.port, "t", LIMIT);
    let mut wire = Wire::connect(broker.port, LIMIT).unwrap();
    for _ in 0..3 {
        let mut set = kafka::message::SetBuilder::new(kafka::message::Codec::None, usize::MAX);
        assert!(set.append(None, Some(b"value")));
        assert_eq!(wire.produce("t", 0, set.finish(), 1).unwrap().0, 0);
    }
    let (code, lines) = checked_while_used(&logs);
    assert_eq!(code, Some(2), "{lines}");
    assert!(lines.contains("is using this directory"), "{lines}");
    broker.program.kill();

    let segment = logs.join("t-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    let whole = bytes.len();
    let last = whole / 3 * 2;
    bytes[whole - 1] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    std::fs::create_dir(logs.join("u-0")).unwrap();
    std::fs::write(logs.join("u-0/00000000000000000000.log"), b"").unwrap();
    let (code, lines) = checked(&logs, &[]);
    assert_eq!(code, Some(1), "{lines:#?}");
    let cut = format!(
        "cut {}: byte {last}, offset 2, Message is corrupt",
        segment.display()
    );
    assert!(lines.iter().any(|l| l.starts_with(&cut)), "{lines:#?}");
    assert!(lines.iter().any(|l| l.starts_with("read ")), "{lines:#?}");

    // The topic u is in no ZooKeeper, and the killed broker's session ends at last.
    crate::support::wait_until("the session has ended", LIMIT, || {
        let (code, lines) = checked(&logs, &named);
        assert_eq!(code, Some(2), "{lines:#?}");
        let gone = format!(
            "stays {}: there is no topic u in ZooKeeper",
            logs.join("u-0").display()
        );
        assert!(lines.iter().any(|l| l.starts_with(&gone)), "{lines:#?}");
        !lines.iter().any(|l| l.contains("is registered in ZooKeeper"))
    });
    std::fs::remove_dir_all(logs.join("u-0")).unwrap();

    let mut broker = ours::broker(dir.path(), &connect, "");
    assert_eq!(std::fs::metadata(&segment).unwrap().len() as usize, last);
    broker.program.stop(LIMIT);
    let (code, lines) = checked(&logs, &named);
    assert_eq!(code, Some(0), "{lines:#?}");
    assert_eq!(lines.last().map(String::as_str), Some("Nothing to repair"));

    // Settings that no broker can heed.
    let mut shell = kafka();
    shell.args(["zookeeper-shell", "-server", &connect]);
    let set = "create /config/topics/t {\"version\":1,\"config\":{\"retention.ms\":\"soon\"}}\n\
               set /config/topics/t {\"version\":1,\"config\":{\"retention.ms\":\"soon\"}}\n";
    run(shell, set.as_bytes(), LIMIT);
    let (code, lines) = checked(&logs, &named);
    assert_eq!(code, Some(2), "{lines:#?}");
    let stays = |l: &String| l.starts_with("stays /config/topics/t: ") && l.contains("retention.ms");
    assert!(lines.iter().any(stays), "{lines:#?}");
    let mut shell = kafka();
    shell.args(["zookeeper-shell", "-server", &connect]);
    run(shell, b"delete /config/topics/t\n", LIMIT);

    // Another broker's id, and a directory that is not there any more.
    std::fs::remove_dir_all(logs.join("t-0")).unwrap();
    let (code, lines) = checked(&logs, &named);
    assert_eq!(code, Some(1), "{lines:#?}");
    assert!(
        lines
            .iter()
            .any(|l| l.contains("assigns [t,0] to broker 0, and it is in no directory"))
    );
}

/// As [`checked`], while a broker writes there.
fn checked_while_used(dir: &Path) -> (Option<i32>, String) {
    let output = check(&[dir.to_str().unwrap()]);
    (output.status.code(), text(&output.stdout))
}

#[test]
fn what_it_cannot_look_at_and_a_wrong_command_line_are_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    assert_eq!(checked(dir.path(), &[]).0, Some(0), "an empty directory is fine");
    let none = check(&[]);
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("--zookeeper"));
    assert_eq!(check(&[path, "--nonsense"]).status.code(), Some(2));
    assert_eq!(check(&[&format!("{path}/nowhere")]).status.code(), Some(2));
    // Two directories that belong to different brokers.
    for id in [1, 2] {
        let one = dir.path().join(id.to_string());
        std::fs::create_dir(&one).unwrap();
        std::fs::write(
            one.join("meta.properties"),
            format!("version=0\nbroker.id={id}\n"),
        )
        .unwrap();
    }
    let both = check(&[&format!("{path}/1"), &format!("{path}/2")]);
    assert_eq!(both.status.code(), Some(2));
    assert!(text(&both.stdout).contains("Failed to match brokerId across logDirs"));
}
