//! The same load on a broker that nobody kills, for as long as `WINDOWS_SOAK_SECONDS` says (an hour of it was
//! run for docs/windows.md): it stays, needs no more memory or handles than at first, and when all topics are
//! deleted nothing of them is left.

use std::path::Path;
use std::time::{Duration, Instant};

use super::load::{self, End, Load};
use super::{Site, leftovers, wait_clean};
use crate::support::wine::{LIMIT, Package, Window};
use crate::support::{holds_within, wait_until};

/// How long the load goes on where nothing else is said.
const SECONDS: u64 = 10;

/// What a process has at a moment.
#[derive(Clone, Copy, Debug)]
struct Used {
    /// Resident memory in kB.
    memory: u64,
    /// Open file descriptors; Wine keeps one for each file that the program has open.
    files: u64,
}

fn used(process: u32) -> Used {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the broker runs");
    let memory = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
        .expect("Linux tells it");
    Used {
        memory: memory.trim().parse().expect("a number"),
        files: open_files(process).len() as u64,
    }
}

fn open_files(process: u32) -> Vec<String> {
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).expect("the broker runs");
    let path = |entry: std::fs::DirEntry| std::fs::read_link(entry.path()).ok();
    open.flatten()
        .filter_map(path)
        .map(|path| path.display().to_string())
        .collect()
}

/// The most that was used at a time in some part of the load.
fn most(samples: &[Used]) -> Used {
    let most = |what: fn(&Used) -> u64| samples.iter().map(what).max().unwrap_or(0);
    Used {
        memory: most(|used| used.memory),
        files: most(|used| used.files),
    }
}

/// Lines of the broker's log that it should not have to write.
fn complaints(lines: &[String]) -> Vec<&String> {
    let bad = |line: &&String| {
        [" ERROR ", " FATAL ", "panicked"]
            .iter()
            .any(|mark| line.contains(mark))
    };
    lines.iter().filter(bad).collect()
}

/// What it said last, and whether it lives still after a while in which an end would show.
fn last_words(broker: &mut Window) -> String {
    let died = holds_within(Duration::from_secs(10), || !broker.program.is_running());
    let stdout = broker.program.stdout();
    let last = stdout[stdout.len().saturating_sub(300)..].join("\n");
    format!("died: {died}\n{last}\n{:?}", broker.program.stderr())
}

/// No client has had any.
#[track_caller]
fn check_trouble(load: &Load, broker: &mut Window) {
    let trouble = load.trouble.lock().unwrap().clone();
    assert!(trouble.is_empty(), "{trouble:?}\n{}", last_words(broker));
}

#[test]
fn a_broker_that_rolls_compacts_and_deletes_all_the_time_lives_on_and_leaves_nothing_behind() {
    let seconds = std::env::var("WINDOWS_SOAK_SECONDS").ok();
    let seconds = seconds.map_or(SECONDS, |s| s.parse().expect("a number of seconds"));
    let site = Site::new(need!(Package::unpack()));
    let log_dir = load::configure(&site.package);
    let mut servers = site.start();
    let operator = load::make_topics(&site);
    let process = servers.broker.process("kafka.exe");
    let load = Load::default();
    let mut samples = Vec::new();
    std::thread::scope(|scope| {
        let _end = End(&load);
        load.start(scope, &site, &operator);
        // Retention begins half a minute after the start; until then there are more and more files.
        load::wait_retention(site.port, || check_trouble(&load, &mut servers.broker));
        let start = Instant::now();
        let mut told = start;
        while start.elapsed() < Duration::from_secs(seconds) {
            std::thread::sleep(Duration::from_millis(500));
            let running = servers.broker.program.is_running();
            assert!(running, "the broker died: {}", last_words(&mut servers.broker));
            check_trouble(&load, &mut servers.broker);
            let used = used(process);
            samples.push(used);
            if told.elapsed() > Duration::from_secs(60) {
                told = Instant::now();
                tell(start.elapsed(), &load, used, &log_dir);
                let stdout = servers.broker.program.stdout();
                assert_eq!(complaints(&stdout), Vec::<&String>::new());
            }
        }
        // However short it was, each of them has been at it.
        wait_until("all of the load has gone on", LIMIT, || {
            check_trouble(&load, &mut servers.broker);
            load.counts().iter().all(|count| *count > 0)
        });
        tell(start.elapsed(), &load, used(process), &log_dir);
    });
    load::check(&site, &log_dir, &load);
    wait_clean(&log_dir, LIMIT);

    // A fifth of the time to get into its stride.
    let (early, late) = (
        most(&samples[samples.len() / 5..samples.len() * 2 / 5]),
        most(&samples[samples.len() * 4 / 5..]),
    );
    assert!(
        late.memory < early.memory + early.memory / 4 + 32_768,
        "{early:?} {late:?}"
    );
    assert!(late.files < early.files * 2 + 200, "{early:?} {late:?}");

    for topic in operator.topics().unwrap() {
        let deleted = operator.delete(&topic);
        assert!(deleted.is_ok() || topic == "gone", "{topic}: {deleted:?}");
    }
    wait_until("the topics are deleted", LIMIT, || {
        operator.topics().is_ok_and(|topics| topics.is_empty())
    });
    wait_until("their directories are gone", LIMIT, || {
        directories(&log_dir).is_empty()
    });
    wait_until("their files are closed", LIMIT, || {
        let files = open_files(process);
        !files
            .iter()
            .any(|file| file.contains(".log") && file.contains("-0"))
    });
    wait_clean(&log_dir, LIMIT);
    assert_eq!(
        process,
        servers.broker.process("kafka.exe"),
        "it is the same process"
    );
    servers.broker.interrupt();
    servers.zookeeper.interrupt();
    assert!(log_dir.join(".kafka_cleanshutdown").exists());
    assert_eq!(leftovers(&log_dir), Vec::<std::path::PathBuf>::new());
    let stdout = servers.broker.program.stdout();
    assert_eq!(complaints(&stdout), Vec::<&String>::new());
    let warnings: Vec<_> = stdout.iter().filter(|line| line.contains(" WARN ")).collect();
    let shown = &warnings[..warnings.len().min(20)];
    eprintln!("{} warnings: {shown:#?}", warnings.len());
    eprintln!("at first {early:?}, at last {late:?}");
}

fn tell(elapsed: Duration, load: &Load, used: Used, log_dir: &Path) {
    let [rolled, compacted, kept, reads, deleted] = load.counts();
    eprintln!(
        "{:>4} s: messages: {rolled} rolled ({} segments now), {compacted} compacted ({} now), {kept} kept; \
         {reads} reads, {deleted} topics made and deleted twice; {used:?}",
        elapsed.as_secs(),
        load::segments(log_dir, "rolled-0"),
        load::segments(log_dir, "compacted-0"),
    );
}

fn directories(log_dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(log_dir).into_iter().flatten().flatten();
    entries.map(|e| e.path()).filter(|path| path.is_dir()).collect()
}
