//! What the tests stand on: waiting for conditions, free ports, the real programs, the genuine
//! systems, Python peers, and a way to say that a test could not run.

#![allow(dead_code)] // Each test file uses its own part.

pub mod chance;
pub mod cluster;
pub mod dev_cluster;
pub mod fake_broker;
pub mod fleet;
pub mod genuine;
pub mod genuine_data;
pub mod golden;
pub mod install;
pub mod link;
pub mod mount;
pub mod ours;
pub mod program;
pub mod python;
pub mod slow_link;
#[cfg(unix)]
pub mod wine;
pub mod wire;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use genuine::reference;

/// Polls until `condition` holds; fails the test with `what` after `limit`.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, condition: impl FnMut() -> bool) {
    assert!(holds_within(limit, condition), "waited {limit:?} in vain: {what}");
}

/// Polls until `condition` holds; whether it did within `limit`.
pub fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        pause();
    }
    true
}

/// Polls until `probe` returns something; fails the test with `what` after `limit`.
#[track_caller]
pub fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    wait_until(what, limit, || {
        found = probe();
        found.is_some()
    });
    found.expect("the wait ended because it was found")
}

/// As [`wait_until`], for conditions that must be awaited.
pub async fn wait_until_async<F: Future<Output = bool>>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> F,
) {
    let deadline = Instant::now() + limit;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The one pause between two looks at a condition.
pub fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

/// A port that was free a moment ago. Ports come from a range below the system's own, in a different
/// order for each process, so that parallel tests hardly ever meet.
pub fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let seed = std::process::id().wrapping_mul(7919);
    for _ in 0..2000 {
        let n = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(seed);
        let port = 11_000 + u16::try_from(n % 20_000).expect("below 20000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// Whether something accepts connections there.
pub fn accepts(port: u16) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
}

/// A folder that lives as long as the test run's target folder, for what is worth keeping between runs.
pub fn cache_dir() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&dir).expect("the target folder can be written");
    dir
}

/// Copies a directory with all in it.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the target folder can be written");
    for entry in std::fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let entry = entry.expect("the folder can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("a file can be copied");
        }
    }
}

/// The root of the source tree.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Says that this test cannot run here and why: counted in `skipped.txt` of [`cache_dir`], which the
/// test command prints. In CI it is a failure, for there nothing is skipped.
#[track_caller]
pub fn skip(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var_os("CI").is_none(), "{test} cannot run: {reason}");
    eprintln!("skipped {test}: {reason}");
    use std::io::Write;
    let list = cache_dir().join("skipped.txt");
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(list)
        .expect("the target folder can be written");
    writeln!(file, "{test}: {reason}").expect("the target folder can be written");
}

/// The value, or the end of the test with [`skip`](crate::support::skip) when it is an error.
#[macro_export]
macro_rules! need {
    ($what:expr) => {
        match $what {
            Ok(value) => value,
            Err(reason) => {
                $crate::support::skip(&reason.to_string());
                return;
            }
        }
    };
}
