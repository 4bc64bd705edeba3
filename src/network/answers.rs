//! Answers on their way to the socket: those of requests that came together leave together.

use std::io;

use tokio::net::TcpStream;

use super::send::{self, VECTORS};
use super::service::{Part, Response, Times};
use crate::util::clock::Mono;

/// Answers of more bytes than these wait for no others.
const ENOUGH: usize = 64 << 10;

/// What was answered on one connection and has not gone to the socket yet.
#[derive(Debug, Default)]
pub(super) struct Answers {
    parts: Vec<Part>,
    due: Vec<Due>,
    bytes: usize,
    /// Why the peer takes no more answers; what it sent before is handled all the same.
    gone: Option<io::Error>,
}

/// One answer among them.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) key: i16,
    pub(super) tag: u8,
    pub(super) received: Mono,
    pub(super) answered: Mono,
}

impl Due {
    /// All of its times, once it has gone to the socket.
    pub(super) fn sent(&self, at: Mono) -> Times {
        Times {
            received: self.received,
            answered: self.answered,
            sent: at,
        }
    }
}

impl Answers {
    /// Whether nothing waits to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// Whether the peer takes no more answers.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.is_some()
    }

    /// Why the peer took no more answers, if it did not take all.
    pub(super) fn into_gone(self) -> Option<io::Error> {
        self.gone
    }

    /// Adds an answer, which is dropped if nobody takes it. Returns whether all are to be sent before another request is
    /// handled.
    pub(super) fn push(&mut self, mut response: Response, due: Due) -> bool {
        if self.is_gone() {
            return false;
        }
        let mut file = false;
        for part in &response.parts {
            match part {
                Part::Bytes(bytes) => self.bytes += bytes.len(),
                Part::File(_) => file = true,
            }
        }
        self.parts.append(&mut response.parts);
        self.due.push(due);
        file || response.close_after || self.bytes > ENOUGH || self.parts.len() >= VECTORS
    }

    /// Sends all, and tells of each. A peer that takes no more is noted.
    ///
    /// # Errors
    /// `UnexpectedEof` when a file fell short: the peer waits for bytes that never come.
    pub(super) async fn flush(
        &mut self,
        stream: &mut TcpStream,
        told: impl FnOnce(&[Due]),
    ) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let sent = send::send(stream, &self.parts).await;
        if sent.is_ok() {
            told(&self.due);
        }
        self.parts.clear();
        self.due.clear();
        self.bytes = 0;
        match sent {
            Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => self.gone = Some(e),
            sent => return sent,
        }
        Ok(())
    }
}
