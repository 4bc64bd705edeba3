//! kafka.tools.DumpLogSegments beside the genuine one, on what a genuine broker wrote and on damage.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use crate::support::genuine_data::{COMPACTED, TOPICS, genuine_data};
use crate::support::program::{kafka, run, text};
use crate::support::{genuine, reference};

const LIMIT: Duration = Duration::from_secs(120);

/// The files with that ending, of the partitions whose directory begins so, in order.
fn files(dir: &Path, partition: &str, suffix: &str) -> Vec<PathBuf> {
    let list = |dir: &Path| {
        let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
        let mut paths: Vec<PathBuf> = entries.collect();
        paths.sort();
        paths
    };
    let named = |path: &PathBuf, part: &str| path.file_name().unwrap().to_str().unwrap().starts_with(part);
    let dirs = list(dir)
        .into_iter()
        .filter(|d| d.is_dir() && named(d, partition));
    let all = dirs.flat_map(|d| list(&d));
    all.filter(|f| f.to_str().unwrap().ends_with(suffix)).collect()
}

fn joined(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    names.join(",")
}

fn our_dump(arguments: &[&str]) -> Output {
    let mut command = kafka();
    command.arg("kafka.tools.DumpLogSegments").args(arguments);
    run(command, b"", LIMIT)
}

/// Both outputs in lines, without the frames of a trace. The genuine tool reports on files in the order
/// of a hash: reports are sorted by file.
fn lines(output: &Output) -> (Vec<String>, Vec<String>) {
    let errors = text(&output.stderr);
    let mut reports: Vec<Vec<&str>> = Vec::new();
    let trace = |line: &&str| line.starts_with('\t') || line.starts_with("Caused by: ");
    for line in errors.lines().filter(|line| !trace(line)) {
        match (line.starts_with("  "), reports.last_mut()) {
            (true, Some(report)) => report.push(line),
            _ => reports.push(vec![line]),
        }
    }
    reports.sort();
    let errors = reports.concat().into_iter().map(str::to_owned).collect();
    (text(&output.stdout).lines().map(str::to_owned).collect(), errors)
}

/// Dumps with both tools and returns what ours printed.
#[track_caller]
fn same(arguments: &[&str]) -> String {
    let (printed, errors, their_errors) = same_output(arguments);
    assert_eq!(errors, their_errors, "{arguments:?}");
    printed
}

/// As [`same`], but what went to standard error is only returned, ours first.
#[track_caller]
fn same_output(arguments: &[&str]) -> (String, Vec<String>, Vec<String>) {
    let all = [&["run", "kafka.tools.DumpLogSegments"], arguments].concat();
    let mut command = genuine::command(&all);
    // Java writes text as the locale says.
    command.env("LC_ALL", "C.UTF-8");
    let (theirs, ours) = (run(command, b"", LIMIT), our_dump(arguments));
    let ((got, got_errors), (wanted, wanted_errors)) = (lines(&ours), lines(&theirs));
    for (got, wanted) in got.iter().zip(&wanted) {
        assert_eq!(got, wanted, "{arguments:?}");
    }
    assert_eq!(
        got.len(),
        wanted.len(),
        "{arguments:?}\n{got_errors:?}\n{wanted_errors:?}"
    );
    assert_eq!(ours.status.code(), theirs.status.code(), "{arguments:?}");
    (text(&ours.stdout), got_errors, wanted_errors)
}

#[test]
fn what_a_genuine_broker_wrote_is_printed_as_the_genuine_tool_prints_it() {
    need!(reference());
    let data = genuine_data();
    let logs = files(&data.stopped, "", ".log");
    assert!(logs.len() >= 12, "{logs:?}");
    let shallow = same(&["--files", &joined(&logs)]);
    for (topic, codec) in TOPICS {
        assert!(shallow.contains(codec.name()), "{topic}");
    }
    let deep = same(&["--deep-iteration", "--print-data-log", "--files", &joined(&logs)]);
    assert!(deep.lines().count() > shallow.lines().count() + 1000);
    // Compaction left gaps, which both report.
    assert!(!files(&data.stopped, COMPACTED, ".log").is_empty());

    let offsets = joined(&files(&data.stopped, "__consumer_offsets", ".log"));
    let seen = same(&["--offsets-decoder", "--print-data-log", "--files", &offsets]);
    for part in [
        "key: offset::others:gzip:0 payload: 8:a note",
        "key: offset::more:gzip:0 payload: 9:x:y",
        "key: offset::readers:plain:0 payload: ",
        "key: metadata::readers payload: consumer:range:1:{consumer-1-",
        "=[gzip-0, gzip-2, t-1]}",
    ] {
        assert!(seen.contains(part), "{part}\n{seen}");
    }
    let indexes = files(&data.stopped, "", ".index");
    same(&["--files", &joined(&indexes)]);
    same(&["--files", &joined(&indexes), "--verify-index-only"]);
    // Both kinds in turn, the files of a broker that was killed, a suffix that is none.
    let running = [
        files(&data.running, "gzip-0", ".index"),
        files(&data.running, "gzip-0", ".log"),
        vec![data.running.join("recovery-point-offset-checkpoint")],
    ];
    same(&["--files", &joined(&running.concat()), "--print-data-log"]);
    let one = joined(&files(&data.stopped, "plain", ".log")[..1]);
    same(&[
        "--files",
        &one,
        "--print-data-log",
        "--key-decoder-class",
        "kafka.serializer.StringDecoder",
        "--value-decoder-class",
    ]);
}

#[test]
fn what_cannot_be_dumped_is_told_as_the_genuine_tool_tells_it() {
    need!(reference());
    let data = genuine_data();
    let one = joined(&files(&data.stopped, "plain", ".log")[..1]);
    let index = joined(&files(&data.stopped, "plain", ".index")[..1]);
    same(&["--files", &one, "--max-message-size", "40"]);
    same(&["--files", &index, "--max-message-size", "40"]);
    same(&["--files", &one, "--print-data-log", "--offsets-decoder"]);
    same(&["--files", &one, "--value-decoder-class", "no.such.Decoder"]);
    same(&["--files", &one, "--max-message-size", "large"]);
    same(&["--files", &one, "--index-sanity-check"]);
    same(&["--files", "/no/such/00000000000000000000.log"]);
    same(&["--files", "/no/such/00000000000000000000.index"]);
    same(&["--files", "/no/such/x.log"]);
}

/// Writes damaged copies of `original`, each in a directory of its own, with its index beside it.
fn damaged(original: &Path, to: &Path, seed: &mut u64) -> Vec<PathBuf> {
    let mut random = |n: usize| {
        // xorshift
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        usize::try_from(*seed % n as u64).unwrap()
    };
    let bytes = std::fs::read(original).unwrap();
    let index = std::fs::read(original.with_extension("index")).unwrap();
    let mut written = Vec::new();
    for case in 0..8 {
        let (mut bytes, mut index) = (bytes.clone(), index.clone());
        match case {
            0 => bytes.truncate(random(bytes.len())),
            1 => bytes.extend((0..random(200)).map(|i| i as u8)),
            2 => bytes.extend([0; 100]),
            // The value of the last message, so that what follows can be read.
            3 | 4 => {
                let at = bytes.len() - 1 - random(3);
                bytes[at] ^= 1 << random(8);
            }
            5 => bytes[8 + random(4)] ^= 1 << random(8),
            6 => index.truncate(index.len() / 2 + 3),
            _ => {
                let at = random(index.len());
                index[at] ^= 1 << random(8);
            }
        }
        let dir = to.join(format!("case-{case}"));
        std::fs::create_dir_all(&dir).unwrap();
        let log = dir.join(original.file_name().unwrap());
        std::fs::write(&log, bytes).unwrap();
        std::fs::write(log.with_extension("index"), index).unwrap();
        written.push(log);
    }
    written
}

#[test]
fn damage_is_printed_as_the_genuine_tool_prints_it() {
    need!(reference());
    let data = genuine_data();
    let root = tempfile::tempdir().unwrap();
    let first = std::env::var("SEED").ok().and_then(|s| s.parse().ok());
    let mut seed: u64 = first.unwrap_or(0x9e37_79b9_7f4a_7c15);
    println!("SEED={seed}");
    for (topic, _) in TOPICS {
        let original = &files(&data.stopped, &format!("{topic}-0"), ".log")[0];
        let logs = damaged(original, &root.path().join(topic), &mut seed);
        // What may make the tools give up comes last.
        let wild = vec![logs[5].clone()];
        let calm = [&logs[..5], &logs[6..]].concat();
        same(&["--print-data-log", "--files", &joined(&[calm, wild].concat())]);
        let index = |case: usize| logs[case].with_extension("index");
        same(&["--files", &joined(&[index(1), index(6)])]);
        // An entry that names no message's place ends both; the genuine tool may take what it finds there
        // for a message of gigabytes, and die of that.
        let (_, errors, their_errors) = same_output(&["--files", &joined(&[index(7)])]);
        let died = |errors: &[String]| errors.iter().any(|e| e.starts_with("Exception in thread"));
        assert_eq!(died(&errors), died(&their_errors));
        if !died(&errors) {
            assert_eq!(errors, their_errors);
        }
    }
}
