//! What is counted, for the whole server and per connection, as the four-letter words show it.

use crate::util::clock::{Mono, WallMs};

/// Times between a request's arrival and its answer, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Latency {
    pub(super) last: u64,
    pub(super) min: u64,
    pub(super) max: u64,
    count: u64,
    sum: u64,
}

impl Latency {
    /// Takes in one request.
    pub(super) fn add(&mut self, received: Mono, answered: Mono) {
        let took = answered.since(received).as_millis() as u64;
        self.min = if self.count == 0 { took } else { self.min.min(took) };
        self.max = self.max.max(took);
        self.last = took;
        self.sum += took;
        self.count += 1;
    }

    /// The mean, zero if there was none.
    pub(super) fn average(&self) -> u64 {
        self.sum.checked_div(self.count).unwrap_or(0)
    }
}

/// Counts of the whole server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerStats {
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) latency: Latency,
}

/// Counts of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnStats {
    pub(super) established: WallMs,
    pub(super) received: u64,
    pub(super) sent: u64,
    /// Requests taken but not yet answered.
    pub(super) queued: u64,
    pub(super) last_op: &'static str,
    pub(super) last_cxid: i32,
    pub(super) last_zxid: i64,
    pub(super) last_response_ms: i64,
    pub(super) latency: Latency,
}

impl ConnStats {
    /// Nothing happened yet.
    pub(super) fn new(established: WallMs) -> ConnStats {
        ConnStats {
            established,
            received: 0,
            sent: 0,
            queued: 0,
            last_op: "NA",
            last_cxid: -1,
            last_zxid: -1,
            last_response_ms: 0,
            latency: Latency::default(),
        }
    }

    /// As `crst` resets them.
    pub(super) fn reset(&mut self) {
        *self = ConnStats {
            queued: self.queued,
            ..ConnStats::new(self.established)
        };
    }
}
