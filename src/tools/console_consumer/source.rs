//! Where messages come from: the old consumer or the new one.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use crate::client::consumer::{Consumer, IntoIter};
use crate::client::old_consumer::{OldConsumer, Stream};

/// A key and a value.
pub(super) type Pair = (Option<Bytes>, Option<Bytes>);

/// A running consumer.
pub(super) enum Source {
    Old(Box<OldSource>),
    New(Box<NewSource>),
}

/// The old consumer and its one stream.
pub(super) struct OldSource {
    pub(super) consumer: OldConsumer,
    pub(super) stream: Stream,
}

/// The new consumer and what its last poll brought.
pub(super) struct NewSource {
    pub(super) consumer: Consumer,
    pub(super) records: IntoIter,
    /// How long a poll waits.
    pub(super) timeout: Duration,
}

impl Source {
    /// The next message if it is there already.
    pub(super) async fn ready(&mut self) -> Option<Result<Option<Pair>, String>> {
        match self {
            Source::New(new) => {
                let record = new.records.next()?;
                Some(Ok(Some((record.key, record.value))))
            }
            Source::Old(old) => {
                let mut next = pin!(old.stream.next());
                let looked = std::future::poll_fn(|cx| {
                    Poll::Ready(match next.as_mut().poll(cx) {
                        Poll::Ready(message) => Some(message),
                        Poll::Pending => None,
                    })
                });
                looked.await.map(of_stream)
            }
        }
    }

    /// The next message; `None` when there will be none. An error when none came in time, or when one
    /// cannot be had.
    pub(super) async fn next(&mut self) -> Result<Option<Pair>, String> {
        match self {
            Source::Old(old) => of_stream(old.stream.next().await),
            Source::New(new) => {
                if new.records.len() == 0 {
                    let polled = new.consumer.poll(new.timeout).await;
                    new.records = polled.map_err(|e| e.to_string())?.into_iter();
                }
                match new.records.next() {
                    Some(record) => Ok(Some((record.key, record.value))),
                    None => Err("no message within --timeout-ms".to_owned()),
                }
            }
        }
    }

    /// Commits what was printed, if that is automatic, and leaves the group.
    pub(super) async fn close(self) {
        match self {
            Source::Old(old) => old.consumer.close().await,
            Source::New(new) => {
                let NewSource {
                    mut consumer,
                    records,
                    ..
                } = *new;
                // What was fetched beyond the last message printed is for the group's next member.
                let mut unprinted: Vec<_> = records.map(|r| (r.partition, r.offset)).collect();
                unprinted.reverse();
                for (partition, offset) in unprinted {
                    // A partition that was given away meanwhile needs none.
                    let _ = consumer.seek(&partition, offset);
                }
                // What fails is logged.
                let _ = consumer.close().await;
            }
        }
    }
}

fn of_stream(
    next: crate::client::old_consumer::Result<Option<crate::client::old_consumer::Consumed>>,
) -> Result<Option<Pair>, String> {
    match next {
        Ok(consumed) => Ok(consumed.map(|c| (c.message.key, c.message.value))),
        Err(e) => Err(e.to_string()),
    }
}
