//! The only reader of the operating system's clocks, and the only sleeper.
//!
//! Two kinds of time with two types: [`Mono`] for deadlines, [`WallMs`] for what is stored or shown.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// A moment on a clock that never goes back; its zero is the clock's creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub Duration);

impl Mono {
    /// The moment `ms` milliseconds after the clock's creation.
    pub fn from_millis(ms: u64) -> Mono {
        Mono(Duration::from_millis(ms))
    }

    /// Time from `earlier` to `self`, zero if `earlier` is later.
    pub fn since(self, earlier: Mono) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, d: Duration) -> Mono {
        Mono(self.0.saturating_add(d))
    }
}

/// Milliseconds since 1970-01-01 UTC, as Kafka and ZooKeeper store them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallMs(pub i64);

impl WallMs {
    /// The wall time of a file's modification stamp.
    pub fn from_system(t: SystemTime) -> WallMs {
        match t.duration_since(UNIX_EPOCH) {
            Ok(d) => WallMs(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
            Err(e) => WallMs(-i64::try_from(e.duration().as_millis()).unwrap_or(i64::MAX)),
        }
    }

    /// The same moment as std's type; times before 1970 become 1970.
    pub fn to_system(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }
}

/// Where time comes from: the system, or a test's hand. Cheap to clone; clones share the time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The operating system's clocks.
    System(Instant),
    /// Moves only by [`Clock::advance`].
    Manual(Arc<Manual>),
}

/// The state of a manual clock.
#[derive(Debug)]
pub struct Manual {
    start: WallMs,
    now: Mutex<Mono>,
    moved: watch::Sender<Mono>,
}

impl Default for Clock {
    fn default() -> Self {
        Clock::system()
    }
}

impl Clock {
    /// The system's time.
    pub fn system() -> Clock {
        Clock::System(Instant::now())
    }

    /// A clock that stands at `start` until advanced.
    pub fn manual(start: WallMs) -> Clock {
        let (moved, _) = watch::channel(Mono::default());
        Clock::Manual(Arc::new(Manual {
            start,
            now: Mutex::new(Mono::default()),
            moved,
        }))
    }

    /// The present moment, for deadlines.
    pub fn now(&self) -> Mono {
        match self {
            Clock::System(start) => Mono(start.elapsed()),
            Clock::Manual(m) => *m.now.lock().expect("a clock holder panicked"),
        }
    }

    /// The present wall time, for storing.
    pub fn wall(&self) -> WallMs {
        match self {
            Clock::System(_) => WallMs::from_system(SystemTime::now()),
            Clock::Manual(m) => {
                let passed = m.now.lock().expect("a clock holder panicked").0;
                WallMs(m.start.0 + i64::try_from(passed.as_millis()).unwrap_or(i64::MAX))
            }
        }
    }

    /// Moves a manual clock on and wakes its sleepers; nothing on a system clock.
    pub fn advance(&self, by: Duration) {
        if let Clock::Manual(m) = self {
            let mut now = m.now.lock().expect("a clock holder panicked");
            *now = *now + by;
            m.moved.send_replace(*now);
        }
    }

    /// Returns at `deadline` or later; at once if it has passed.
    pub async fn sleep_until(&self, deadline: Mono) {
        match self {
            Clock::System(start) => {
                let at = *start + deadline.0.min(Duration::from_secs(u32::MAX.into()));
                tokio::time::sleep_until(at.into()).await;
            }
            Clock::Manual(m) => {
                let mut moved = m.moved.subscribe();
                // The sender lives in `m`, so waiting cannot fail.
                let _ = moved.wait_for(|now| *now >= deadline).await;
            }
        }
    }

    /// As [`Clock::sleep_until`]; for ever when there is no deadline.
    pub async fn sleep_until_some(&self, deadline: Option<Mono>) {
        match deadline {
            Some(d) => self.sleep_until(d).await,
            None => std::future::pending().await,
        }
    }

    /// Returns after `d` has passed on this clock.
    pub async fn sleep(&self, d: Duration) {
        self.sleep_until(self.now() + d).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn manual_clock_wakes_sleepers_only_when_due() {
        let clock = Clock::manual(WallMs(1000));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_millis(50)).await;
                clock.wall()
            }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_millis(49));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_millis(1));
        assert_eq!(sleeper.await.unwrap(), WallMs(1050));
    }
}
