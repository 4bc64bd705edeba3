//! A broker that is about to go. The last fetch of a follower that leaves would take it into the in-sync set again,
//! and acks=-1 would wait for it until it lags: a leader of ours does not let it, a genuine one does at once.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::util::shutdown::{Shutdown, Stop};

use super::manager::ReplicaManager;

/// How far a broker is with its leaving.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    begun: AtomicBool,
    copies_no_more: Shutdown,
}

impl ReplicaManager {
    /// The broker is about to ask the controller to let it go: from now on it does not begin to copy what it led, whose
    /// in-sync sets it leaves with the lead.
    pub fn begin_leaving(&self) {
        self.leaving.begun.store(true, Ordering::Relaxed);
    }

    /// The controller has let the broker go, or will not: nothing is copied any more.
    pub fn stop_copying(&self) {
        self.leaving.copies_no_more.ask();
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.begun.load(Ordering::Relaxed)
    }

    /// Waits for [`stop_copying`](Self::stop_copying).
    pub(super) fn copying(&self) -> Stop {
        self.leaving.copies_no_more.stop()
    }
}
