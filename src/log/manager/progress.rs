//! How far the loading of a log directory is, told every few seconds.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::log::info;

use crate::util::clock::{Clock, Mono};

/// How often a long load says how far it is.
const EVERY: Duration = Duration::from_secs(5);

/// See the module. Shared by all threads that load the directory.
pub(super) struct Progress<'a> {
    dir: &'a Path,
    clock: &'a Clock,
    /// All that there is to do.
    all: Amount,
    segments: AtomicU64,
    bytes: AtomicU64,
    told: Mutex<Mono>,
}

/// How much there is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    /// Segments to open.
    pub(super) segments: u64,
    /// Bytes in those that have to be read.
    pub(super) bytes: u64,
}

impl<'a> Progress<'a> {
    /// Nothing is done yet.
    pub(super) fn new(dir: &'a Path, clock: &'a Clock, all: Amount) -> Progress<'a> {
        Progress {
            dir,
            clock,
            all,
            segments: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            told: Mutex::new(clock.now()),
        }
    }

    /// Bytes that had to be read are done with.
    pub(super) fn read(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    /// A segment is open.
    pub(super) fn opened(&self) {
        self.segments.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        let now = self.clock.now();
        let mut told = self.told.lock().expect("nothing in here panics");
        if now.since(*told) >= EVERY {
            *told = now;
            info!("{}", self.line());
        }
    }

    fn line(&self) -> String {
        let (segments, bytes) = (&self.segments, &self.bytes);
        let (segments, bytes) = (segments.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed));
        let percent = |done: u64, all: u64| u128::from(done) * 100 / u128::from(all.max(1));
        let (all, dir) = (&self.all, self.dir.display());
        match all.bytes {
            0 => format!(
                "Loading logs in {dir}: {}%, {segments} of {} segments.",
                percent(segments, all.segments),
                all.segments
            ),
            _ => format!(
                "Recovering logs in {dir}: {}%, {bytes} of {} bytes, {segments} of {} segments.",
                percent(bytes, all.bytes),
                all.bytes,
                all.segments
            ),
        }
    }

    /// Tells, if something had to be read, how much that was and how long it took.
    pub(super) fn end(&self, begun: Mono) {
        let Amount { segments, bytes } = self.all;
        if bytes > 0 {
            let ms = self.clock.now().since(begun).as_millis();
            let dir = self.dir.display();
            info!("Recovered logs in {dir}: {bytes} bytes, {segments} segments, in {ms} ms.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::clock::WallMs;

    #[test]
    fn progress_is_in_percent_of_bytes_or_else_of_segments() {
        let clock = Clock::manual(WallMs(0));
        let of = |segments, bytes| Progress::new(Path::new("/d"), &clock, Amount { segments, bytes });
        let progress = of(4, 3_000_000_000);
        progress.read(1_000_000_000);
        progress.opened();
        let line = "Recovering logs in /d: 33%, 1000000000 of 3000000000 bytes, 1 of 4 segments.";
        assert_eq!(progress.line(), line);
        progress.read(2_000_000_000);
        assert!(progress.line().contains(" 100%, "));
        let clean = of(3, 0);
        clean.opened();
        assert_eq!(clean.line(), "Loading logs in /d: 33%, 1 of 3 segments.");
    }

    #[test]
    fn it_is_told_at_most_every_few_seconds() {
        let clock = Clock::manual(WallMs(0));
        let progress = Progress::new(Path::new("/d"), &clock, Amount::default());
        let told = || *progress.told.lock().unwrap();
        let begun = told();
        clock.advance(EVERY / 2);
        progress.opened();
        assert_eq!(told(), begun);
        clock.advance(EVERY / 2);
        progress.opened();
        assert_eq!(told(), clock.now());
    }
}
