//! One partition that this consumer owns for the present, and how far it was consumed.

use std::sync::{Mutex, MutexGuard};

use crate::cluster::TopicPartition;
use crate::message::Offset;

/// Shared by the fetcher that fills the stream, the stream that empties it, and the member that
/// commits and gives the partition away.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) partition: TopicPartition,
    /// The place in the subscription's streams that this partition's messages go to.
    pub(super) stream: usize,
    /// The thread id that stands in the owner node.
    pub(super) thread: String,
    position: Mutex<Position>,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    /// The next offset for the user; `None` until it was looked up.
    next: Option<Offset>,
    revoked: bool,
}

/// Whether a message may be handed to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Yes; it counts as consumed from now on.
    Yes,
    /// No: it was consumed before, a compressed set began with it.
    Before,
    /// No: the partition is no longer ours.
    Revoked,
}

impl Claim {
    pub(super) fn new(
        partition: TopicPartition,
        stream: usize,
        thread: String,
        next: Option<Offset>,
    ) -> Claim {
        Claim {
            partition,
            stream,
            thread,
            position: Mutex::new(Position { next, revoked: false }),
        }
    }

    /// Asks for the message at `offset`, and moves behind it if it may be had.
    pub(super) fn take(&self, offset: Offset) -> Taken {
        let mut p = self.lock();
        if p.revoked {
            Taken::Revoked
        } else if p.next.is_some_and(|next| offset < next) {
            Taken::Before
        } else {
            p.next = Some(offset + 1);
            Taken::Yes
        }
    }

    /// Where to go on.
    pub(super) fn next(&self) -> Option<Offset> {
        self.lock().next
    }

    /// Whether the partition was given away.
    pub(super) fn is_revoked(&self) -> bool {
        self.lock().revoked
    }

    /// Jumps: the stored offset was out of range, or there was none.
    pub(super) fn reset(&self, next: Offset) {
        self.lock().next = Some(next);
    }

    /// Hands out nothing more. What [`Claim::next`] says from then on is final.
    pub(super) fn revoke(&self) {
        self.lock().revoked = true;
    }

    fn lock(&self) -> MutexGuard<'_, Position> {
        self.position
            .lock()
            .expect("no code panics while holding this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revoked_claim_hands_out_nothing_and_keeps_its_position() {
        let c = Claim::new(TopicPartition::new("t", 0), 0, "x-0".into(), Some(5));
        assert_eq!(c.take(4), Taken::Before);
        assert_eq!(c.take(5), Taken::Yes);
        assert_eq!(c.take(9), Taken::Yes, "compacted logs have gaps");
        assert_eq!(c.take(9), Taken::Before);
        c.revoke();
        assert_eq!(c.take(10), Taken::Revoked);
        assert_eq!(c.next(), Some(10));
    }
}
