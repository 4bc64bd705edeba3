//! What is sent, what becomes of it, and who is told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::client::connection;
use crate::cluster::TopicPartition;
use crate::protocol::ErrorCode;
use crate::util::clock::Mono;

/// Why a record was not delivered, or may not have been.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The producer is closed or closing.
    #[error("Cannot send after the producer is closed.")]
    Closed,
    /// The producer was closed before the record could be sent.
    #[error("Producer is closed forcefully.")]
    Forced,
    /// The topic's partitions were not learnt in time.
    #[error("Failed to update metadata after {} ms.", waited.as_millis())]
    Metadata {
        /// `max.block.ms`
        waited: Duration,
    },
    /// The buffer stayed full for too long.
    #[error("Failed to allocate memory within the configured max blocking time")]
    Memory,
    /// The queue of records stayed full for too long.
    #[error("Event queue is full of unsent messages")]
    QueueFull,
    /// The record alone passes a limit.
    #[error(
        "The message is {size} bytes when serialized which is larger than the {what} you have configured with the {key} configuration."
    )]
    TooLarge {
        /// Bytes of the record in a message set.
        size: usize,
        /// What it passes.
        what: &'static str,
        /// The limit's name.
        key: &'static str,
    },
    /// The partition asked for does not exist.
    #[error("Invalid partition given with record: {partition} is not in the range [0...{count}].")]
    NoSuchPartition {
        /// As asked for.
        partition: i32,
        /// How many there are.
        count: i32,
    },
    /// The record waited for its leader longer than the request timeout.
    #[error("Batch Expired")]
    Expired,
    /// The broker refused it, for good or once too often.
    #[error("{}", .0.message())]
    Broker(ErrorCode),
    /// The request's fate is unknown, or it was not sent.
    #[error(transparent)]
    Connection(#[from] connection::Error),
}

/// What is to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The topic; a name that many records share is best cloned.
    pub topic: Arc<str>,
    /// The partition, or `None` to let the producer choose.
    pub partition: Option<i32>,
    /// `None` for null.
    pub key: Option<Bytes>,
    /// `None` for null.
    pub value: Option<Bytes>,
}

/// Where a record went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Its partition.
    pub partition: TopicPartition,
    /// Its offset; -1 with acks=0.
    pub offset: i64,
}

/// Told once what became of a record.
pub type Callback = Box<dyn FnOnce(Result<Ack, Error>) + Send>;

/// Told what became of each record that was sent with a number, see [`send_numbered`](super::Producer::send_numbered), and
/// when, by the clock of the producer's settings: one moment for all that were sent in one batch. It runs on the producer's
/// own task and must be short.
pub type Listener = Box<dyn Fn(u64, &Result<Ack, Error>, Mono) + Send + Sync>;

/// A record's end, which may come later.
#[derive(Debug)]
pub struct Delivery(pub(super) oneshot::Receiver<Result<Ack, Error>>);

impl Future for Delivery {
    type Output = Result<Ack, Error>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0)
            .poll(cx)
            .map(|r| r.unwrap_or(Err(Error::Closed)))
    }
}

/// Who is told of a record's end.
pub(super) enum Delivered {
    Future(oneshot::Sender<Result<Ack, Error>>),
    Callback(Callback),
    /// The listener, with the record's number.
    Number(u64),
}

impl Delivered {
    pub(super) fn settle(self, listener: Option<&Listener>, result: &Result<Ack, Error>, at: Mono) {
        match self {
            Delivered::Future(f) => {
                let _ = f.send(result.clone());
            }
            Delivered::Callback(f) => f(result.clone()),
            Delivered::Number(number) => {
                if let Some(listener) = listener {
                    listener(number, result, at);
                }
            }
        }
    }
}

impl std::fmt::Debug for Delivered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Delivered::Future(_) => "Future",
            Delivered::Callback(_) => "Callback",
            Delivered::Number(_) => "Number",
        })
    }
}
