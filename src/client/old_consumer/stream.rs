//! Where the user takes messages from: chunks of fetched bytes, opened one message at a time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::claim::{Claim, Taken};
use super::{Error, Result};
use crate::message::{DeepIter, Message, Offset, SetIter};
use crate::util::clock::Clock;

/// Bytes of one partition as fetched; the last message may be cut off.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) claim: Arc<Claim>,
    pub(super) bytes: Bytes,
    /// The offset that was asked for; a compressed set may begin before it.
    pub(super) from: Offset,
}

/// A message with where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Offset, key, value and checksum.
    pub message: Message,
}

/// The messages of the partitions that one thread of the consumer owns; which these are changes as
/// members come and go.
#[derive(Debug)]
pub struct Stream {
    queue: mpsc::Receiver<Chunk>,
    current: Option<Open>,
    timeout: Option<Duration>,
    clock: Clock,
}

/// The chunk at hand.
#[derive(Debug)]
struct Open {
    claim: Arc<Claim>,
    from: Offset,
    messages: std::vec::IntoIter<Message>,
    /// What could not be opened, told after the messages before it.
    damage: Option<Error>,
}

impl Stream {
    pub(super) fn new(queue: mpsc::Receiver<Chunk>, timeout: Option<Duration>, clock: Clock) -> Stream {
        Stream {
            queue,
            current: None,
            timeout,
            clock,
        }
    }

    /// The next message, or `None` when the consumer was closed. The message counts as consumed
    /// when it is returned.
    ///
    /// # Errors
    /// [`Error::Timeout`] after `consumer.timeout.ms` without one; the stream goes on if asked again.
    /// [`Error::TooLarge`] and [`Error::Corrupt`] for a message that cannot be had.
    pub async fn next(&mut self) -> Result<Option<Consumed>> {
        loop {
            if let Some(message) = self.open_next()? {
                return Ok(Some(message));
            }
            let deadline = self.timeout.map(|t| self.clock.now() + t);
            let chunk = tokio::select! {
                biased;
                chunk = self.queue.recv() => chunk,
                () = self.clock.sleep_until_some(deadline) => return Err(Error::Timeout),
            };
            let Some(chunk) = chunk else {
                return Ok(None);
            };
            self.current = open(chunk);
        }
    }

    /// The next message of the chunk at hand that is still to be consumed.
    fn open_next(&mut self) -> Result<Option<Consumed>> {
        let Some(open) = self.current.as_mut() else {
            return Ok(None);
        };
        let partition = &open.claim.partition;
        for message in &mut open.messages {
            if message.offset < open.from {
                continue;
            }
            match open.claim.take(message.offset) {
                Taken::Yes => {
                    return Ok(Some(Consumed {
                        topic: partition.topic.clone(),
                        partition: partition.partition,
                        message,
                    }));
                }
                Taken::Before => {}
                Taken::Revoked => {
                    self.current = None;
                    return Ok(None);
                }
            }
        }
        let damage = open.damage.take();
        self.current = None;
        damage.map_or(Ok(None), Err)
    }
}

/// Opens a chunk as far as it can be read. `None` if its partition was given away.
fn open(chunk: Chunk) -> Option<Open> {
    if chunk.claim.is_revoked() {
        return None;
    }
    let mut messages = Vec::new();
    let mut damage = None;
    for message in DeepIter::new(chunk.bytes.clone(), true) {
        match message {
            Ok(message) => messages.push(message),
            Err(e) => damage = Some(e),
        }
    }
    let partition = &chunk.claim.partition;
    let damage = match damage {
        Some(source) => Some(Error::Corrupt {
            partition: partition.clone(),
            offset: messages.last().map_or(chunk.from, |m| m.offset + 1),
            source,
        }),
        None if SetIter::new(&chunk.bytes).next().is_none() => Some(Error::TooLarge {
            partition: partition.clone(),
            offset: chunk.from,
        }),
        None => None,
    };
    Some(Open {
        from: chunk.from,
        claim: chunk.claim,
        messages: messages.into_iter(),
        damage,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::TopicPartition;
    use crate::message::{Codec, SetBuilder};

    fn set(codec: Codec, n: usize) -> Bytes {
        let mut b = SetBuilder::new(codec, 1 << 20);
        for i in 0..n {
            assert!(b.append(None, Some(format!("m{i}").as_bytes())));
        }
        b.finish()
    }

    fn stream(timeout: Option<Duration>) -> (mpsc::Sender<Chunk>, Stream) {
        let (tx, rx) = mpsc::channel(2);
        (tx, Stream::new(rx, timeout, Clock::system()))
    }

    fn claim(next: Offset) -> Arc<Claim> {
        Arc::new(Claim::new(
            TopicPartition::new("t", 0),
            0,
            "c-0".into(),
            Some(next),
        ))
    }

    #[tokio::test]
    async fn messages_before_the_fetch_offset_inside_a_compressed_set_are_skipped() {
        let (tx, mut s) = stream(None);
        tx.send(Chunk {
            claim: claim(2),
            bytes: set(Codec::Gzip, 4),
            from: 2,
        })
        .await
        .unwrap();
        drop(tx);
        let mut got = vec![];
        while let Some(m) = s.next().await.unwrap() {
            got.push((m.message.offset, m.message.value.unwrap()));
        }
        assert_eq!(got, [(2, "m2".into()), (3, "m3".into())]);
    }

    #[tokio::test]
    async fn a_fragment_alone_is_a_message_larger_than_the_fetch_size() {
        let (tx, mut s) = stream(None);
        let bytes = set(Codec::None, 1).slice(..20);
        tx.send(Chunk {
            claim: claim(7),
            bytes,
            from: 7,
        })
        .await
        .unwrap();
        assert!(matches!(s.next().await, Err(Error::TooLarge { offset: 7, .. })));
    }

    #[tokio::test]
    async fn messages_before_a_damaged_one_are_handed_out_first() {
        let (tx, mut s) = stream(None);
        let mut bytes = set(Codec::None, 3).to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        tx.send(Chunk {
            claim: claim(0),
            bytes: bytes.into(),
            from: 0,
        })
        .await
        .unwrap();
        for offset in 0..2 {
            assert_eq!(s.next().await.unwrap().unwrap().message.offset, offset);
        }
        assert!(matches!(s.next().await, Err(Error::Corrupt { offset: 2, .. })));
    }

    #[tokio::test]
    async fn chunks_of_partitions_given_away_are_dropped_even_half_read() {
        let (tx, mut s) = stream(Some(Duration::from_millis(10)));
        let c = claim(0);
        for _ in 0..2 {
            tx.send(Chunk {
                claim: c.clone(),
                bytes: set(Codec::None, 3),
                from: 0,
            })
            .await
            .unwrap();
        }
        assert_eq!(s.next().await.unwrap().unwrap().message.offset, 0);
        c.revoke();
        assert!(matches!(s.next().await, Err(Error::Timeout)));
        assert_eq!(c.next(), Some(1));
    }
}
