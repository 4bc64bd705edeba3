//! What was counted lately, in windows of a fixed width (org.apache.kafka.common.metrics.stats.SampledStat and
//! Rate). Pure: whoever counts and asks says what time it is.

use std::time::Duration;

use crate::util::clock::Mono;

/// One window.
#[derive(Clone, Copy, Debug)]
struct Window {
    begun: Mono,
    sum: f64,
    events: u64,
}

impl Window {
    fn new(begun: Mono) -> Window {
        Window {
            begun,
            sum: 0.0,
            events: 0,
        }
    }
}

/// How many windows there are and how long each is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// At least 1.
    pub(super) windows: usize,
    /// Whole milliseconds, at least one.
    pub(super) width: Duration,
}

/// Sums of the last windows. A window begins when something is counted after the one before has ended, so that a
/// time without events takes none.
#[derive(Debug)]
pub(super) struct Windows {
    span: Span,
    /// At most `span.windows`; the last begun is at `current`.
    windows: Vec<Window>,
    current: usize,
}

/// What [`Windows`] hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sums {
    /// Of all that was counted.
    pub(super) sum: f64,
    /// How many times something was.
    pub(super) events: u64,
    /// The time that this is of: at least all windows but one, even if counting has only begun.
    pub(super) over: Duration,
}

impl Sums {
    /// The mean per second.
    pub(super) fn per_second(&self) -> f64 {
        self.sum / self.over.as_secs_f64()
    }

    /// The mean of an event; 0 without any.
    pub(super) fn mean(&self) -> f64 {
        if self.events == 0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        let events = self.events as f64;
        self.sum / events
    }
}

impl Windows {
    /// Nothing counted yet.
    pub(super) fn new(span: Span) -> Windows {
        Windows {
            span,
            windows: Vec::new(),
            current: 0,
        }
    }

    /// Counts.
    pub(super) fn record(&mut self, now: Mono, value: f64) {
        match self.windows.get(self.current) {
            None => self.windows.push(Window::new(now)),
            Some(window) if now.since(window.begun) >= self.span.width => self.advance(now),
            Some(_) => {}
        }
        let window = &mut self.windows[self.current];
        window.sum += value;
        window.events += 1;
    }

    fn advance(&mut self, now: Mono) {
        let next = self.current + 1;
        self.current = if next < self.span.windows { next } else { 0 };
        match self.windows.get_mut(self.current) {
            Some(oldest) => *oldest = Window::new(now),
            None => self.windows.push(Window::new(now)),
        }
    }

    /// What is in the windows that are not too old; those that are begin anew.
    pub(super) fn sums(&mut self, now: Mono) -> Sums {
        let Span { windows, width } = self.span;
        let age = width.saturating_mul(u32::try_from(windows).unwrap_or(u32::MAX));
        for window in &mut self.windows {
            if now.since(window.begun) >= age {
                *window = Window::new(now);
            }
        }
        let oldest = self.windows.iter().map(|w| w.begun).min().unwrap_or(now);
        // The clock's unit in 0.9.0.1, which clients are told in, too.
        let elapsed = whole_millis(now).saturating_sub(whole_millis(oldest));
        let width_ms = width.as_millis();
        let missing = (windows as u128 - 1).saturating_sub(elapsed / width_ms);
        let over = elapsed + missing * width_ms;
        Sums {
            sum: self.windows.iter().map(|w| w.sum).sum(),
            events: self.windows.iter().map(|w| w.events).sum(),
            over: Duration::from_millis(u64::try_from(over).unwrap_or(u64::MAX)),
        }
    }
}

fn whole_millis(t: Mono) -> u128 {
    t.0.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(windows: usize) -> Windows {
        Windows::new(Span {
            windows,
            width: Duration::from_secs(1),
        })
    }

    fn at(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    #[test]
    fn what_has_just_begun_counts_as_all_windows_but_one() {
        let mut bytes = seconds(11);
        bytes.record(at(5_000), 4_000.0);
        let sums = bytes.sums(at(5_000));
        assert_eq!((sums.sum, sums.over), (4_000.0, Duration::from_secs(10)));
        // The part of the window that has passed comes to it.
        assert_eq!(bytes.sums(at(5_400)).over, Duration::from_millis(10_400));
        assert_eq!(bytes.sums(at(6_000)).over, Duration::from_secs(10));
    }

    #[test]
    fn a_window_that_is_as_old_as_all_together_is_forgotten() {
        let mut bytes = seconds(11);
        bytes.record(at(0), 1.0);
        bytes.record(at(1_000), 2.0);
        assert_eq!(bytes.sums(at(10_999)).sum, 3.0);
        assert_eq!(bytes.sums(at(11_000)).sum, 2.0);
        let sums = bytes.sums(at(30_000));
        assert_eq!((sums.sum, sums.over), (0.0, Duration::from_secs(10)));
    }

    #[test]
    fn the_oldest_window_makes_room() {
        let mut bytes = seconds(2);
        for (ms, value) in [(0, 1.0), (999, 2.0), (1_000, 4.0), (2_500, 8.0)] {
            bytes.record(at(ms), value);
        }
        let sums = bytes.sums(at(2_500));
        assert_eq!((sums.sum, sums.events), (12.0, 2));
        assert_eq!(sums.over, Duration::from_millis(1_500));
    }

    #[test]
    fn means_are_of_events() {
        let mut held = seconds(2);
        assert_eq!(held.sums(at(0)).mean(), 0.0);
        held.record(at(0), 10.0);
        held.record(at(1), 20.0);
        assert_eq!(held.sums(at(2)).mean(), 15.0);
    }

    #[test]
    fn one_window_has_no_length_at_first() {
        let mut bytes = seconds(1);
        bytes.record(at(0), 10.0);
        assert_eq!(bytes.sums(at(0)).over, Duration::ZERO);
        assert!(bytes.sums(at(0)).per_second().is_infinite());
    }
}
