//! What the core and a connection's task share: packets on their way out, and how far the requests of
//! the connection are.

use std::sync::{Mutex, MutexGuard};

use bytes::BytesMut;
use tokio::sync::Notify;

/// A client that lets so much pile up is cut off; only events can pile up so.
const MOST_BYTES: usize = 64 << 20;
/// With so much unsent, no further request of the connection is read.
const FULL_BYTES: usize = 1 << 20;
/// How many requests with long answers may be on the way at a time.
const BULKY_AT_ONCE: usize = 16;

/// The shared state of a connection. The lock is held for a copy at most.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    /// For the writer: there is something to send, or the end has come.
    ready: Notify,
    /// For the reader: something was answered or sent.
    progress: Notify,
    /// For the end's timer.
    ending: Notify,
}

#[derive(Debug, Default)]
struct State {
    bytes: BytesMut,
    /// Requests given to the core and not answered.
    unanswered: usize,
    established: bool,
    closing: bool,
}

impl Outbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a holder of the outbox panicked")
    }

    /// Adds a packet; false if the client reads nothing and the connection has to go.
    pub(super) fn push(&self, packet: &[u8], reply: bool) -> bool {
        let mut state = self.state();
        if reply {
            state.unanswered = state.unanswered.saturating_sub(1);
        }
        let fits = state.bytes.len() <= MOST_BYTES;
        if fits {
            state.bytes.extend_from_slice(packet);
        }
        drop(state);
        self.ready.notify_one();
        if reply {
            self.progress.notify_one();
        }
        fits
    }

    /// Nothing is added after this; what is there is sent.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.ready.notify_one();
        self.progress.notify_one();
        self.ending.notify_one();
    }

    /// Requests may be read now.
    pub(super) fn establish(&self) {
        self.state().established = true;
        self.progress.notify_one();
    }

    /// A request was given to the core.
    pub(super) fn asked(&self) {
        self.state().unanswered += 1;
    }

    /// For the writer: what is to be sent next, or `None` at the end.
    pub(super) async fn next(&self) -> Option<BytesMut> {
        loop {
            {
                let mut state = self.state();
                if !state.bytes.is_empty() {
                    return Some(std::mem::take(&mut state.bytes));
                }
                if state.closing {
                    return None;
                }
            }
            self.progress.notify_one();
            self.ready.notified().await;
        }
    }

    /// Waits until closing is asked.
    pub(super) async fn closing(&self) {
        while !self.state().closing {
            self.ending.notified().await;
        }
    }

    /// For the reader: waits until the session is there; false if it is not to be.
    pub(super) async fn established(&self) -> bool {
        loop {
            {
                let state = self.state();
                if state.established || state.closing {
                    return state.established && !state.closing;
                }
            }
            self.progress.notified().await;
        }
    }

    /// For the reader: waits until another request of the connection may be taken. `busy` tells whether
    /// the server as a whole has enough to do.
    pub(super) async fn room(&self, bulky: bool, busy: impl Fn() -> bool) {
        loop {
            {
                let state = self.state();
                let full = state.bytes.len() > FULL_BYTES
                    || bulky && state.unanswered >= BULKY_AT_ONCE
                    || state.unanswered > 0 && busy();
                if !full || state.closing {
                    return;
                }
            }
            self.progress.notified().await;
        }
    }
}
