//! What the user may do when partitions of an old consumer come and go (ConsumerRebalanceListener of
//! `kafka.javaapi.consumer`).

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

use super::Result;
use super::member::Member;
use crate::cluster::TopicPartition;
use crate::message::Offset;

/// What a listener does, which may take a while: the partitions stand still meanwhile.
pub type Listening<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// The thread ids that own the partitions of this consumer's topics, all members' together.
pub type Assignment = BTreeMap<TopicPartition, String>;

/// Told of rebalances by the consumer's own task, while nothing is fetched or handed out. An error fails this
/// try to rebalance; the next one follows after `rebalance.backoff.ms` and tells the listener again.
///
/// It must not call the [`OldConsumer`](super::OldConsumer), whose task waits for it: positions are committed
/// by [`Held`].
///
/// ```
/// use kafka::client::old_consumer::{Held, Listening, RebalanceListener};
///
/// struct CommitFirst;
///
/// impl RebalanceListener for CommitFirst {
///     fn before_releasing_partitions<'a>(&'a mut self, held: Held<'a>) -> Listening<'a> {
///         Box::pin(held.commit())
///     }
/// }
/// ```
pub trait RebalanceListener: Send {
    /// A rebalance has begun: these partitions, all that are owned, are about to be given up. They are none at
    /// the first rebalance, and again when a try is repeated after they were given up.
    ///
    /// With `auto.commit.enable` their positions were stored just before.
    fn before_releasing_partitions<'a>(&'a mut self, held: Held<'a>) -> Listening<'a> {
        let _ = held;
        Box::pin(async { Ok(()) })
    }

    /// The group's partitions are shared out, and this consumer's owner nodes are written; it begins to fetch
    /// when the listener is done. The threads of this consumer are its id, `-` and their number from 0.
    fn before_starting_fetchers<'a>(
        &'a mut self,
        consumer_id: &'a str,
        assignment: &'a Assignment,
    ) -> Listening<'a> {
        let _ = (consumer_id, assignment);
        Box::pin(async { Ok(()) })
    }
}

/// The partitions that are about to be given up. Nothing more of them is handed out.
pub struct Held<'a> {
    member: &'a mut Member,
}

impl<'a> Held<'a> {
    pub(super) fn new(member: &'a mut Member) -> Held<'a> {
        Held { member }
    }

    /// Which they are.
    pub fn partitions(&self) -> BTreeSet<TopicPartition> {
        self.member.claims.iter().map(|c| c.partition.clone()).collect()
    }

    /// How far each was handed out: the offset of the next message, for those of which it is known.
    pub fn positions(&self) -> BTreeMap<TopicPartition, Offset> {
        self.member.positions()
    }

    /// Stores [`Held::positions`].
    ///
    /// # Errors
    /// As of [`OldConsumer::commit`](super::OldConsumer::commit), but that it tries once only.
    pub async fn commit(self) -> Result<()> {
        let positions = self.positions();
        self.commit_offsets(&positions).await
    }

    /// Stores these offsets, each that of the next message to consume.
    ///
    /// # Errors
    /// As of [`Held::commit`].
    pub async fn commit_offsets(self, offsets: &BTreeMap<TopicPartition, Offset>) -> Result<()> {
        self.member.commit_offsets(offsets, 1).await
    }
}

impl std::fmt::Debug for Held<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Held").field(&self.partitions()).finish()
    }
}
