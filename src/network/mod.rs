//! Sockets to requests, replies back to sockets.
//!
//! Knows frames and request headers; does not know what a request means or who answers it: that is
//! the [`Service`] it is given. One task per connection reads a frame, awaits the answer in place
//! and writes it, so replies leave in the order of their requests and at most one request per
//! connection is in progress. No queue, no hop to another thread.
//!
//! Reading order: [`service`] (the trait and what passes through it), [`frames`] (bytes to frames,
//! no socket), [`connection`] (one peer), [`send`] (bytes and file slices to a socket), [`limits`]
//! (what all connections share), [`listener`] (accepting, sweeping, stopping).

mod answers;
mod connection;
mod frames;
mod limits;
mod listener;
mod send;
mod service;

pub use limits::Limits;
pub use listener::{Error, Listener, Result};
pub use service::{Incoming, Part, Reply, Response, ResponseBuilder, Service, Times};

use std::collections::HashMap;
use std::time::Duration;

/// What a listener is allowed; the broker fills it from its properties.
#[derive(Clone, Debug)]
pub struct NetworkSettings {
    /// `socket.request.max.bytes`: the largest frame accepted.
    pub request_max_bytes: usize,
    /// Bytes of unfinished and unanswered requests held for all connections together, beyond the
    /// first 64 KB of each. One request at a time may exceed it.
    pub request_memory_bytes: usize,
    /// `socket.send.buffer.bytes`; -1 leaves the system's default.
    pub send_buffer_bytes: i32,
    /// `socket.receive.buffer.bytes`; -1 leaves the system's default.
    pub receive_buffer_bytes: i32,
    /// `connections.max.idle.ms`: a connection without traffic for so long is closed.
    pub max_idle: Duration,
    /// `max.connections.per.ip`.
    pub max_connections_per_ip: usize,
    /// `max.connections.per.ip.overrides`: host names or addresses with their own maximum.
    pub max_connections_overrides: HashMap<String, usize>,
}

impl Default for NetworkSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        NetworkSettings {
            request_max_bytes: 100 << 20,
            request_memory_bytes: 256 << 20,
            send_buffer_bytes: 100 << 10,
            receive_buffer_bytes: 100 << 10,
            max_idle: Duration::from_millis(600_000),
            max_connections_per_ip: i32::MAX as usize,
            max_connections_overrides: HashMap::new(),
        }
    }
}

#[cfg(test)]
mod tests;
