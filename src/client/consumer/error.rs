//! What can go wrong for a consumer. The texts are Kafka's where it has one.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::client::connection;
use crate::cluster::TopicPartition;
use crate::message::{self, Offset};
use crate::protocol::ErrorCode;
use crate::util::codec;

/// Why a call of the consumer failed. After any of these the consumer can be used on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// [`Wakeup::wakeup`](super::Wakeup::wakeup) ended the call, or ended it before it began.
    #[error("the consumer was woken up")]
    Wakeup,
    /// The call does not fit what was called before.
    #[error("{0}")]
    State(&'static str),
    /// A name, an offset or a text that no request can carry.
    #[error("{0}")]
    Argument(String),
    /// The partition is not this consumer's at present.
    #[error("No current assignment for partition {}", .0.dir_name())]
    NotAssigned(TopicPartition),
    /// No position is stored, and `auto.offset.reset` is `none`.
    #[error("Undefined offset with no reset policy for partition: {}", .0.dir_name())]
    NoOffset(TopicPartition),
    /// The position does not exist, or exists no more, and `auto.offset.reset` is `none`.
    #[error("Offsets out of range with no configured reset policy for partitions: {{{}={offset}}}", partition.dir_name())]
    OutOfRange {
        /// Where.
        partition: TopicPartition,
        /// What was asked for.
        offset: Offset,
    },
    /// A message does not fit a fetch. It comes again at each poll until the position is moved.
    #[error("There are some messages at [Partition=Offset]: {{{}={offset}}} whose size is larger than the fetch size {fetch_bytes} and hence cannot be ever returned. Increase the fetch size, or decrease the maximum message size the broker will allow.", partition.dir_name())]
    TooLarge {
        /// Where.
        partition: TopicPartition,
        /// The offset that was asked for.
        offset: Offset,
        /// `max.partition.fetch.bytes`
        fetch_bytes: i32,
    },
    /// A message cannot be read. It comes again at each poll until the position is moved.
    #[error("partition {} has an unreadable message at or after offset {offset}: {source}", partition.dir_name())]
    Corrupt {
        /// Where.
        partition: TopicPartition,
        /// The first offset that was not read.
        offset: Offset,
        /// What is wrong with it.
        #[source]
        source: message::Error,
    },
    /// The group may not be used.
    #[error("Not authorized to access group: {0}")]
    GroupAuthorization(String),
    /// The topics may not be used.
    #[error("Not authorized to access topics: [{}]", .0.iter().cloned().collect::<Vec<_>>().join(", "))]
    TopicAuthorization(BTreeSet<String>),
    /// No topic can have this name.
    #[error("Topic '{0}' is invalid")]
    InvalidTopic(String),
    /// The group has moved on without this member; it joins again at the next poll.
    #[error("Commit cannot be completed due to group rebalance")]
    CommitFailed,
    /// More commits wait for an answer than the consumer keeps.
    #[error("too many commits wait for an answer")]
    TooManyCommits,
    /// A broker refused with this code.
    #[error("{}{}", .context, .code.message())]
    Broker {
        /// What was refused, in Kafka's words, or nothing where Kafka says no more than the code's text.
        context: &'static str,
        /// The answer.
        code: ErrorCode,
    },
    /// The group's leader, or a member, sent something that cannot be read.
    #[error("what {whose} says cannot be read: {source}")]
    Unreadable {
        /// Who wrote it.
        whose: String,
        /// What is wrong with it.
        #[source]
        source: codec::Error,
    },
    /// No usable answer within `request.timeout.ms`.
    #[error("Timeout expired while {what}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        waited: Duration,
    },
    /// A broker could not be asked.
    #[error(transparent)]
    Connection(#[from] connection::Error),
}

/// Result of a consumer's call.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A broker's refusal for which Kafka has no words but the code's own.
    pub(super) fn code(code: ErrorCode) -> Error {
        Error::Broker { context: "", code }
    }

    /// Whether trying again may help (Kafka's RetriableException and lost connections).
    pub fn is_retriable(&self) -> bool {
        match self {
            Error::Broker { context: "", code } => code.is_retriable(),
            Error::Connection(_) => true,
            _ => false,
        }
    }
}
