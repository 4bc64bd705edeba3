//! How long a broker waits for its former life's node to go. Pure but for what it is told of the connection.

use std::time::Duration;

use ::log::warn;
use tokio::sync::watch;

use crate::util::clock::Mono;
use crate::zookeeper::SessionState;

/// How far two answers to looks at the node may be apart before ZooKeeper counts as having stood still in between.
const OUTAGE: Duration = Duration::from_secs(2);

/// How long a broker still waits for its former session to end, in a time in which ZooKeeper keeps answering.
///
/// A ZooKeeper that stood still or was started anew gives all sessions their whole time again, and so does the
/// wait.
#[derive(Debug)]
pub(super) struct Patience {
    whole: Duration,
    ends: Mono,
    /// When ZooKeeper last answered.
    answered: Mono,
    connection: watch::Receiver<SessionState>,
}

impl Patience {
    /// `whole` from `now` on, when ZooKeeper answered over the present `connection`.
    pub(super) fn new(whole: Duration, now: Mono, mut connection: watch::Receiver<SessionState>) -> Patience {
        connection.mark_unchanged();
        Patience {
            whole,
            ends: now + whole,
            answered: now,
            connection,
        }
    }

    /// Whether any is left, now that ZooKeeper has answered again.
    pub(super) fn lasts(&mut self, now: Mono) -> bool {
        let silent = now.since(self.answered);
        // The owner of the session has closed it, and nothing answers any more, if that is an error.
        let reconnected = self.connection.has_changed().unwrap_or(false);
        self.connection.mark_unchanged();
        self.answered = now;
        if silent > OUTAGE || reconnected {
            warn!(
                "ZooKeeper answers again after {} ms; sessions may have their whole time again, waiting up to {} ms more",
                silent.as_millis(),
                self.whole.as_millis()
            );
            self.ends = now + self.whole;
        }
        now < self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zookeeper_that_was_silent_begins_the_wait_anew() {
        let known = SessionState {
            generation: 1,
            connected: true,
            closed: false,
        };
        let (connection, seen) = watch::channel(known);
        let at = Mono::from_millis;
        let mut patience = Patience::new(Duration::from_secs(7), at(0), seen);
        for second in 1..=6 {
            assert!(patience.lasts(at(second * 1000)));
        }
        // It stood still.
        assert!(patience.lasts(at(11_000)));
        for second in 12..=17 {
            assert!(patience.lasts(at(second * 1000)));
        }
        // It was started anew, and quickly.
        connection.send_replace(known);
        assert!(patience.lasts(at(18_500)));
        for second in 20..=25 {
            assert!(patience.lasts(at(second * 1000)));
        }
        assert!(!patience.lasts(at(25_500)));
    }
}
