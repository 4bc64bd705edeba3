//! How the .bat files are called, and that each does what its .sh does.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::support::program::{launcher, run, text};
use crate::support::wine::{LIMIT, Package, windows_path};

/// A program's output without what differs between systems and runs, such as how often it tried.
fn told(bytes: &[u8]) -> Vec<String> {
    let mask = |line: &str| {
        let line = if line.starts_with("[20") && line.get(24..25) == Some("]") {
            format!("[TIME{}", &line[24..])
        } else {
            line.to_owned()
        };
        // The system's own words follow the last colon.
        let system = line.contains("os error") || line.contains("Cannot resolve");
        match line.rfind(": ") {
            Some(reason) if system => line[..reason].to_owned(),
            _ => line,
        }
    };
    let mut lines: Vec<String> = text(bytes).replace('\r', "").lines().map(mask).collect();
    lines.dedup();
    lines
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
    let calls = all
        .iter()
        .flat_map(|name| ["--help", "--no-such-option"].map(|argument| (name.clone(), argument)));
    let calls = Mutex::new(calls.collect::<Vec<_>>());
    // Some wait for a server of that name.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some((name, argument)) = calls.lock().unwrap().pop() else {
                        return;
                    };
                    let mut sh = launcher(&name);
                    sh.arg(argument).env_remove("KAFKA_HEAP_OPTS");
                    let sh = run(sh, b"", LIMIT);
                    let bat = package.run(&name, &[argument], b"");
                    let what = format!("{name} {argument}");
                    assert_eq!(told(&bat.stdout), told(&sh.stdout), "{what}");
                    assert_eq!(told(&bat.stderr), told(&sh.stderr), "{what}");
                    assert_eq!(bat.status.code(), sh.status.code(), "{what}");
                }
            });
        }
    });
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
