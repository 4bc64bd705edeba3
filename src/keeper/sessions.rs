//! Sessions: who is alive, until when, and how one proves to be who it says.
//!
//! Deadlines are rounded up to whole ticks, so that a session ends between its timeout and one tick
//! more after its last packet. Knows no connection's socket and no tree; reads no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::util::clock::{Mono, WallMs};

use super::ConnId;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// The connection that it lives on now.
    pub(super) conn: Option<ConnId>,
    /// Its end is on the way through the log.
    pub(super) closing: bool,
    /// How long it lives after a packet, in milliseconds.
    pub(super) timeout_ms: i32,
    expires_ms: u64,
}

/// All sessions, by number and by the tick in which they end.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    tick_ms: u64,
    by_id: BTreeMap<i64, Session>,
    /// Every session that is not closing is in exactly one bucket, under its `expires_ms`.
    buckets: BTreeMap<u64, BTreeSet<i64>>,
    next_id: i64,
}

impl Sessions {
    /// Numbers of new sessions begin with the time of the start, so that they differ between starts.
    pub(super) fn new(tick: Duration, started: WallMs) -> Sessions {
        let stamp = ((started.0 << 24) as u64 >> 8) as i64;
        Sessions {
            tick_ms: (tick.as_millis() as u64).max(1),
            by_id: BTreeMap::new(),
            buckets: BTreeMap::new(),
            next_id: stamp | 1 << 56,
        }
    }

    /// Begins a session.
    pub(super) fn create(&mut self, timeout_ms: i32, conn: ConnId, now: Mono) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        self.restore(id, timeout_ms, now);
        self.attach(id, conn);
        id
    }

    /// Puts back a session of before the start; it has its whole timeout again.
    pub(super) fn restore(&mut self, id: i64, timeout_ms: i32, now: Mono) {
        // A number of a session that lives must not be given again.
        if id >= self.next_id && id >> 56 == self.next_id >> 56 {
            self.next_id = id + 1;
        }
        let expires_ms = self.deadline(now, timeout_ms);
        let session = Session {
            conn: None,
            closing: false,
            timeout_ms,
            expires_ms,
        };
        self.by_id.insert(id, session);
        self.buckets.entry(expires_ms).or_default().insert(id);
    }

    /// A session that lives, closing or not.
    pub(super) fn get(&self, id: i64) -> Option<&Session> {
        self.by_id.get(&id)
    }

    /// Moves a session to a connection and returns the one it was on.
    pub(super) fn attach(&mut self, id: i64, conn: ConnId) -> Option<ConnId> {
        self.by_id.get_mut(&id)?.conn.replace(conn)
    }

    /// The connection is gone; the session lives on.
    pub(super) fn detach(&mut self, id: i64, conn: ConnId) {
        if let Some(session) = self.by_id.get_mut(&id)
            && session.conn == Some(conn)
        {
            session.conn = None;
        }
    }

    /// The session showed life: it lives for its timeout from `now`. False if it is over or closing.
    pub(super) fn touch(&mut self, id: i64, now: Mono) -> bool {
        let Some(session) = self.by_id.get(&id).filter(|s| !s.closing) else {
            return false;
        };
        let deadline = self.deadline(now, session.timeout_ms);
        if deadline > session.expires_ms {
            self.unbucket(id);
            self.buckets.entry(deadline).or_default().insert(id);
            if let Some(session) = self.by_id.get_mut(&id) {
                session.expires_ms = deadline;
            }
        }
        true
    }

    /// As [`Sessions::touch`], with another timeout from now on.
    pub(super) fn renegotiate(&mut self, id: i64, timeout_ms: i32, now: Mono) -> bool {
        if let Some(session) = self.by_id.get_mut(&id) {
            session.timeout_ms = timeout_ms;
        }
        self.touch(id, now)
    }

    /// From now on the session does not expire by itself and answers to nothing. False if it was so
    /// already, or is over.
    pub(super) fn set_closing(&mut self, id: i64) -> bool {
        match self.by_id.get_mut(&id) {
            Some(session) if !session.closing => session.closing = true,
            _ => return false,
        }
        self.unbucket(id);
        true
    }

    /// Ends a session.
    pub(super) fn remove(&mut self, id: i64) -> Option<Session> {
        self.unbucket(id);
        self.by_id.remove(&id)
    }

    /// Gives every session `late` more: for so long the server itself stood still and heard nobody.
    pub(super) fn postpone(&mut self, late: Duration) {
        let ticks = (late.as_millis() as u64).div_ceil(self.tick_ms);
        let late_ms = ticks * self.tick_ms;
        let buckets = std::mem::take(&mut self.buckets);
        self.buckets = buckets.into_iter().map(|(ms, ids)| (ms + late_ms, ids)).collect();
        for session in self.by_id.values_mut() {
            session.expires_ms += late_ms;
        }
    }

    /// When the next session may be due.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.buckets.keys().next().map(|ms| Mono::from_millis(*ms))
    }

    /// A session whose time is over.
    pub(super) fn due(&self, now: Mono) -> Option<i64> {
        let (expires_ms, ids) = self.buckets.first_key_value()?;
        (Mono::from_millis(*expires_ms) <= now).then(|| ids.first().copied())?
    }

    /// The ticks in which sessions end, with these, in order.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (Mono, &BTreeSet<i64>)> {
        self.buckets.iter().map(|(ms, ids)| (Mono::from_millis(*ms), ids))
    }

    fn deadline(&self, now: Mono, timeout_ms: i32) -> u64 {
        let end = now.0.as_millis() as u64 + u64::try_from(timeout_ms).unwrap_or(0);
        (end / self.tick_ms + 1) * self.tick_ms
    }

    fn unbucket(&mut self, id: i64) {
        let Some(session) = self.by_id.get(&id) else {
            return;
        };
        if let Some(ids) = self.buckets.get_mut(&session.expires_ms) {
            ids.remove(&id);
            if ids.is_empty() {
                self.buckets.remove(&session.expires_ms);
            }
        }
    }
}

/// The password of a session. It follows from the number alone, so that another server on the same
/// data directory knows it too: what `java.util.Random` gives for that seed.
pub(super) fn password(id: i64) -> [u8; 16] {
    const MASK: u64 = (1 << 48) - 1;
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    let mut seed = (id as u64 ^ 0xB341_5C00 ^ MULTIPLIER) & MASK;
    let mut out = [0; 16];
    for word in out.chunks_exact_mut(4) {
        seed = seed.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        word.copy_from_slice(&((seed >> 16) as u32).to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Sessions {
        Sessions::new(Duration::from_millis(1000), WallMs(1_700_000_000_000))
    }

    #[test]
    fn the_password_is_the_one_that_java_computes() {
        let expected = [
            0x68, 0xff, 0x7d, 0x62, 0x57, 0xd1, 0x10, 0x51, 0x76, 0x6c, 0x4d, 0xf7, 0x39, 0x40, 0x26, 0xd4,
        ];
        assert_eq!(password(0x01a2_06d7_b457_011d), expected);
    }

    #[test]
    fn a_session_ends_between_its_timeout_and_a_tick_more() {
        let mut s = sessions();
        let id = s.create(2500, ConnId(1), Mono::from_millis(100));
        assert_eq!(id >> 56, 1);
        assert_eq!(s.due(Mono::from_millis(2999)), None);
        assert_eq!(s.due(Mono::from_millis(3000)), Some(id));
        assert!(s.touch(id, Mono::from_millis(600)));
        assert_eq!(s.due(Mono::from_millis(3999)), None);
        assert_eq!(s.due(Mono::from_millis(4000)), Some(id));
        assert!(s.set_closing(id));
        assert!(!s.set_closing(id));
        assert!(!s.touch(id, Mono::from_millis(700)));
        assert_eq!(s.due(Mono::from_millis(9000)), None);
        assert_eq!(s.next_deadline(), None);
    }

    #[test]
    fn a_touch_never_shortens_a_life() {
        let mut s = sessions();
        let id = s.create(9000, ConnId(1), Mono::default());
        assert!(s.renegotiate(id, 2000, Mono::default()));
        assert_eq!(s.due(Mono::from_millis(9500)), None);
        assert_eq!(s.due(Mono::from_millis(10_000)), Some(id));
    }

    #[test]
    fn time_that_the_server_slept_through_is_given_back() {
        let mut s = sessions();
        let id = s.create(2500, ConnId(1), Mono::default());
        s.postpone(Duration::from_millis(4100));
        assert_eq!(s.due(Mono::from_millis(7999)), None);
        assert_eq!(s.due(Mono::from_millis(8000)), Some(id));
        assert!(s.touch(id, Mono::from_millis(9000)));
        assert_eq!(s.due(Mono::from_millis(11_999)), None);
    }

    #[test]
    fn numbers_of_living_sessions_are_not_given_again() {
        let mut s = sessions();
        let first = s.create(1000, ConnId(1), Mono::default());
        s.restore(first + 5, 1000, Mono::default());
        assert_eq!(s.create(1000, ConnId(2), Mono::default()), first + 6);
    }

    #[test]
    fn a_late_detach_does_not_touch_the_new_connection() {
        let mut s = sessions();
        let id = s.create(1000, ConnId(1), Mono::default());
        assert_eq!(s.attach(id, ConnId(2)), Some(ConnId(1)));
        s.detach(id, ConnId(1));
        assert_eq!(s.get(id).unwrap().conn, Some(ConnId(2)));
    }
}
