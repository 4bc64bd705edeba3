//! Requests on one connection whose answers have not come: the oldest first, as a broker answers
//! them. Knows correlation ids and bytes; knows no socket and no request's content.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use super::connection::{Error, Result};

/// Where an answer's bytes, or the reason why none will come, arrive.
pub(super) type Answer = oneshot::Receiver<Result<Bytes>>;

/// The unanswered requests of one connection, shared by its two tasks and its callers.
///
/// Once failed it stays so: every request waiting then, and every later one, gets the same error.
#[derive(Debug)]
pub(super) struct InFlight {
    state: Mutex<State>,
    /// Told whenever the last answer came, or none will.
    emptied: Notify,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Waiting>,
    failed: Option<Error>,
}

#[derive(Debug)]
struct Waiting {
    correlation_id: i32,
    answer: oneshot::Sender<Result<Bytes>>,
}

/// What was found at the front when an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// The broker answered although nothing was asked.
    Unasked,
    /// The oldest request has this other id.
    Expected(i32),
}

impl InFlight {
    pub(super) fn new() -> InFlight {
        InFlight {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                failed: None,
            }),
            emptied: Notify::new(),
        }
    }

    /// Notes a request that is about to be written; called in the order of writing.
    pub(super) fn push(&self, correlation_id: i32, answer: oneshot::Sender<Result<Bytes>>) {
        let mut state = self.lock();
        match &state.failed {
            Some(e) => {
                let _ = answer.send(Err(e.clone()));
            }
            None => state.waiting.push_back(Waiting {
                correlation_id,
                answer,
            }),
        }
    }

    /// Hands `bytes` to the oldest request, which must have this id.
    pub(super) fn answer(&self, correlation_id: i32, bytes: Bytes) -> std::result::Result<(), Mismatch> {
        let mut state = self.lock();
        match state.waiting.front() {
            None => Err(Mismatch::Unasked),
            Some(w) if w.correlation_id != correlation_id => Err(Mismatch::Expected(w.correlation_id)),
            Some(_) => {
                if let Some(w) = state.waiting.pop_front() {
                    // A caller that went away has no use for its answer; the order is kept all the same.
                    let _ = w.answer.send(Ok(bytes));
                }
                if state.waiting.is_empty() {
                    self.emptied.notify_waiters();
                }
                Ok(())
            }
        }
    }

    /// Ends every request with `error`; the first error given is the one that stays.
    pub(super) fn fail(&self, error: Error) {
        let mut state = self.lock();
        let error = state.failed.get_or_insert(error).clone();
        for w in state.waiting.drain(..) {
            let _ = w.answer.send(Err(error.clone()));
        }
        self.emptied.notify_waiters();
    }

    /// Returns once no answer is due: all came, or none will.
    pub(super) async fn drained(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.emptied.notified());
            // From here on a notice is not missed, even before the first poll.
            emptied.as_mut().enable();
            if self.lock().waiting.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Why the connection is unusable, if it is.
    pub(super) fn failure(&self) -> Option<Error> {
        self.lock().failed.clone()
    }

    /// How many answers are due.
    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while holding this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_to_the_oldest_request_and_must_carry_its_id() {
        let f = InFlight::new();
        let ((a, mut ra), (b, mut rb)) = (oneshot::channel(), oneshot::channel());
        f.push(0, a);
        f.push(1, b);
        assert_eq!(f.answer(1, Bytes::new()), Err(Mismatch::Expected(0)));
        assert_eq!(f.answer(0, Bytes::from_static(b"x")), Ok(()));
        assert_eq!(ra.try_recv().unwrap().unwrap(), Bytes::from_static(b"x"));
        f.fail(Error::Closed { peer: "h:1".into() });
        assert!(rb.try_recv().unwrap().is_err());
        assert_eq!(f.answer(2, Bytes::new()), Err(Mismatch::Unasked));
    }

    #[test]
    fn a_request_after_the_failure_fails_with_the_first_reason() {
        let f = InFlight::new();
        f.fail(Error::Closed {
            peer: "first:1".into(),
        });
        f.fail(Error::Closed {
            peer: "second:1".into(),
        });
        let (a, mut ra) = oneshot::channel();
        f.push(0, a);
        assert!(
            ra.try_recv()
                .unwrap()
                .unwrap_err()
                .to_string()
                .contains("first:1")
        );
    }
}
