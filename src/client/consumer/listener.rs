//! What the user may do when partitions come and go.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};

use super::Consumer;
use super::error::{Error, Result};
use crate::cluster::TopicPartition;

/// What a listener does, which may take a while; the group waits for it no longer than the session timeout.
pub type Listening<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// Told of rebalances, within the poll that notices them. The consumer may be used meanwhile to commit, to
/// look at positions and to seek, but not to poll or to subscribe. An error is logged and changes nothing,
/// but for [`Error::Wakeup`], which ends the poll.
///
/// ```
/// use kafka::client::consumer::{Consumer, Listening, RebalanceListener};
/// use kafka::cluster::TopicPartition;
///
/// struct CommitFirst;
///
/// impl RebalanceListener for CommitFirst {
///     fn on_partitions_revoked<'a>(
///         &'a mut self,
///         consumer: &'a mut Consumer,
///         _partitions: &'a [TopicPartition],
///     ) -> Listening<'a> {
///         Box::pin(consumer.commit_sync())
///     }
/// }
/// ```
pub trait RebalanceListener: Send {
    /// These partitions, all that were owned, are about to be given up. What is to be committed for them is
    /// best committed now.
    fn on_partitions_revoked<'a>(
        &'a mut self,
        consumer: &'a mut Consumer,
        partitions: &'a [TopicPartition],
    ) -> Listening<'a> {
        let _ = (consumer, partitions);
        Box::pin(async { Ok(()) })
    }

    /// These partitions, all that are owned from now on, were taken over. Nothing is paused, and positions
    /// are those committed unless they are moved now.
    fn on_partitions_assigned<'a>(
        &'a mut self,
        consumer: &'a mut Consumer,
        partitions: &'a [TopicPartition],
    ) -> Listening<'a> {
        let _ = (consumer, partitions);
        Box::pin(async { Ok(()) })
    }
}

/// What a listener may not do.
const NOT_NOW: Error = Error::State("a rebalance listener may neither poll nor change the subscription");

/// The listener of a consumer, which is used by the consumer while it is told, so that a call cut short
/// cannot lose it.
#[derive(Clone)]
pub(super) struct Listener(Arc<Mutex<Box<dyn RebalanceListener>>>);

impl Listener {
    pub(super) fn new(listener: Box<dyn RebalanceListener>) -> Listener {
        Listener(Arc::new(Mutex::new(listener)))
    }

    /// To tell it something; an error if it is being told something already.
    pub(super) fn lock(&self) -> Result<MutexGuard<'_, Box<dyn RebalanceListener>>> {
        self.0.try_lock().map_err(|_| NOT_NOW)
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}
