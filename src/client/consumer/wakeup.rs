//! Ending another task's call of the consumer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Ends a consumer's waiting from elsewhere: the call that waits at present, or the next that would wait,
/// returns [`Error::Wakeup`](super::Error::Wakeup). Clones wake the same consumer.
#[derive(Clone, Debug, Default)]
pub struct Wakeup(Arc<State>);

#[derive(Debug, Default)]
struct State {
    asked: AtomicBool,
    told: Notify,
}

impl Wakeup {
    /// Wakes the consumer up, once.
    pub fn wakeup(&self) {
        self.0.asked.store(true, Ordering::Release);
        self.0.told.notify_one();
    }

    /// Whether it was asked for; it is not any more afterwards.
    fn take(&self) -> bool {
        self.0.asked.swap(false, Ordering::AcqRel)
    }

    /// Returns when it is asked for.
    pub(super) async fn asked(&self) {
        while !self.take() {
            self.0.told.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wakeup_counts_once_whether_it_comes_before_or_during_the_wait() {
        let wakeup = Wakeup::default();
        wakeup.wakeup();
        wakeup.wakeup();
        wakeup.asked().await;
        let waiting = tokio::spawn({
            let wakeup = wakeup.clone();
            async move { wakeup.asked().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        wakeup.wakeup();
        waiting.await.unwrap();
    }
}
