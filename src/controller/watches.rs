//! What the controller watches. Each watch fires once and becomes an event; the event's handler reads
//! and watches again. Knows no meaning of an event.

use tokio::task::JoinSet;

use super::event::Event;
use crate::zookeeper::Watch;

/// Watches that have not fired. Dropping them forgets them.
#[derive(Debug, Default)]
pub(super) struct Watches {
    waiting: JoinSet<Event>,
}

impl Watches {
    /// When `watch` fires, `event` has happened.
    pub(super) fn add(&mut self, watch: Watch, event: Event) {
        self.waiting.spawn(async move {
            // What fired it is read anew; a session that ended is noticed by the shell itself.
            let _ = watch.fired().await;
            event
        });
    }

    /// The next event; for ever while nothing is watched.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            match self.waiting.join_next().await {
                Some(Ok(event)) => return event,
                // Aborted with the runtime; a waiting task cannot panic.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}
