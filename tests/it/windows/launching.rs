//! How the .bat files are called, and that each does what its .sh does.

use std::collections::BTreeSet;

use crate::support::program::{launcher, run, text};
use crate::support::wine::{LIMIT, Package, windows_path};

/// A program's output without what differs between systems and runs: times, a group drawn by lot, how often
/// something was tried, and the system's own words after the last colon.
fn told(bytes: &[u8]) -> Vec<String> {
    let mask = |line: &str| {
        let line = match line.get(24..25) {
            Some("]") if line.starts_with("[20") => format!("[TIME{}", &line[24..]),
            _ => line.to_owned(),
        };
        let cut = |mark: &str| line.find(mark).map(|at| line[..at + mark.len()].to_owned());
        let system = line.contains("os error");
        let colon = line.rfind(": ").filter(|_| system);
        cut("perf-consumer-")
            .or_else(|| cut("Cannot resolve ZooKeeper server "))
            .or_else(|| colon.map(|at| line[..at].to_owned()))
            .unwrap_or(line)
    };
    let mut lines: Vec<String> = text(bytes).replace('\r', "").lines().map(mask).collect();
    lines.dedup();
    lines
}

/// What a program has answered: output, errors, exit code.
fn answered(out: &std::process::Output) -> (Vec<String>, Vec<String>, Option<i32>) {
    (told(&out.stdout), told(&out.stderr), out.status.code())
}

/// Names in a folder without their suffix.
fn names(dir: &std::path::Path, suffix: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name());
    let name = |n: std::ffi::OsString| Some(n.to_str()?.strip_suffix(suffix)?.to_owned());
    entries.filter_map(name).collect()
}

#[test]
fn every_bat_answers_help_and_a_wrong_option_as_its_sh() {
    let package = need!(Package::unpack());
    let all = names(&package.bin(), ".bat");
    assert_eq!(all, names(&crate::support::root().join("bin"), ".sh"));
    let arguments = ["--help", "--no-such-option"];
    let calls: Vec<_> = all
        .iter()
        .flat_map(|name| arguments.map(|argument| (name, argument)))
        .collect();
    // Wine fails now and then when several shells start at a time: one after the other, and likewise the .sh.
    let (bats, shs) = std::thread::scope(|scope| {
        let shs = scope.spawn(|| {
            let sh = |(name, argument): &(&String, &str)| {
                let mut sh = launcher(name);
                sh.arg(argument).env_remove("KAFKA_HEAP_OPTS");
                answered(&run(sh, b"", LIMIT))
            };
            calls.iter().map(sh).collect::<Vec<_>>()
        });
        let bat = |(name, argument): &(&String, &str)| answered(&package.run(name, &[argument], b""));
        let bats: Vec<_> = calls.iter().map(bat).collect();
        (bats, shs.join().expect("every .sh ends"))
    });
    for ((call, bat), sh) in calls.iter().zip(bats).zip(shs) {
        assert_eq!(bat, sh, "{call:?}");
    }
}

#[test]
fn launchers_work_from_anywhere_and_tell_what_is_missing() {
    let package = need!(Package::unpack());
    let reached = |out: &std::process::Output| {
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(
            said.contains("Could not find or load main class no.such.Größe"),
            "{said}"
        );
        assert!(said.contains("no.such.Größe & (x)"), "{said}");
    };
    let class = "no.such.Größe & (x)!";
    let call = |dir: &std::path::Path, bat: &str| run(package.typed(dir, &[bat, class]), b"", LIMIT);
    reached(&call(&package.bin(), "kafka-run-class.bat"));
    reached(&call(&package.home(), "bin\\windows\\kafka-run-class.bat"));
    reached(&call(&package.home(), "bin/windows/kafka-run-class"));
    // cmd /c wants no second pair of quotes in its line: a link without blanks leads there.
    let link = package.plain().join("link");
    std::os::unix::fs::symlink(package.home(), &link).unwrap();
    let path = windows_path(&link.join("bin/windows/kafka-run-class.bat"));
    reached(&call(std::path::Path::new("/"), &path));
    reached(&call(package.plain(), "link\\bin\\windows\\kafka-run-class.bat"));

    // A relative settings file is the caller's.
    std::fs::write(package.plain().join("wrong.properties"), "clientPort=none\n").unwrap();
    let bat = "link\\bin\\windows\\zookeeper-server-start.bat";
    let out = run(
        package.typed(package.plain(), &[bat, "wrong.properties"]),
        b"",
        LIMIT,
    );
    assert_eq!(out.status.code(), Some(2), "{}", text(&out.stdout));
    assert!(
        text(&out.stdout).contains("wrong.properties:1: clientPort=none"),
        "{}",
        text(&out.stdout)
    );
}

#[test]
fn usage_lines_notices_and_missing_programs_are_told() {
    let package = need!(Package::unpack());
    for (name, usage) in [
        ("kafka-run-class", "classname [opts]"),
        (
            "kafka-server-start",
            "server.properties [--override property=value]*",
        ),
        ("zookeeper-server-start", "zookeeper.properties"),
        ("zookeeper-shell", "zookeeper_host:port[/path] [args...]"),
    ] {
        let out = package.run(name, &[], b"");
        assert_eq!(text(&out.stdout), format!("USAGE: {name}.bat {usage}\r\n"));
        assert_eq!(out.status.code(), Some(1), "{name}");
    }

    let mut command = package.bat("kafka-run-class", &["no.such.Class"]);
    command.env("KAFKA_HEAP_OPTS", "-Xmx1G");
    assert_eq!(
        text(&run(command, b"", LIMIT).stderr)
            .matches("KAFKA_HEAP_OPTS")
            .count(),
        1
    );

    // Explorer's window stays when something is to be read in it, and only then.
    let explorer = "C:\\windows\\system32\\cmd.exe /c \"\"D:\\a & b\\x.bat\" \"";
    let typed = "\"C:\\windows\\system32\\cmd.exe\" ";
    for (by, words, stays) in [
        (explorer, &[][..], true),
        (explorer, &["no.such.Class"][..], true),
        (explorer, &["--help"][..], false),
        (typed, &["no.such.Class"][..], false),
    ] {
        let mut command = package.bat("kafka-run-class", words);
        command.env("CMDCMDLINE", by);
        let out = run(command, b"\r\n", LIMIT);
        let asks = text(&out.stdout).contains("Press any key");
        assert_eq!(asks, stays, "{by} {words:?}: {}", text(&out.stdout));
    }

    // The program may be in libs or, in the source tree, where cargo puts it.
    let program = package.bin().join("kafka.exe");
    for place in ["libs", "target/release"] {
        let dir = package.home().join(place);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::rename(&program, dir.join("kafka.exe")).unwrap();
        let out = package.run("kafka-topics", &[], b"");
        assert!(
            text(&out.stderr).starts_with("Create, delete, describe, or change a topic."),
            "{place}"
        );
        std::fs::rename(dir.join("kafka.exe"), &program).unwrap();
    }
    std::fs::remove_file(&program).unwrap();
    let out = package.run("kafka-topics", &[], b"");
    assert!(
        text(&out.stderr).contains("cargo build --release"),
        "{}",
        text(&out.stderr)
    );
    assert_eq!(out.status.code(), Some(2));
}
