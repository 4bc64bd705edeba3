//! Why a request got no answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::util::codec;

/// Why a request got no answer. Cheap to clone: all requests of a broken connection share one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The name has no address, or nobody accepted at any of its addresses.
    #[error("cannot connect to {peer}: {source}")]
    Connect {
        /// `host:port` of the broker.
        peer: Arc<str>,
        /// The system's answer for the last address tried.
        #[source]
        source: Arc<io::Error>,
    },
    /// Nobody accepted in time.
    #[error("cannot connect to {peer} within {} ms", timeout.as_millis())]
    ConnectTimeout {
        /// `host:port` of the broker.
        peer: Arc<str>,
        /// What was waited.
        timeout: Duration,
    },
    /// Reading or writing failed.
    #[error("connection to {peer} failed: {source}")]
    Io {
        /// `host:port` of the broker.
        peer: Arc<str>,
        /// The system's answer.
        #[source]
        source: Arc<io::Error>,
    },
    /// The broker closed the connection, or this side did.
    #[error("connection to {peer} is closed")]
    Closed {
        /// `host:port` of the broker.
        peer: Arc<str>,
    },
    /// No answer in time; the connection is closed with it.
    #[error("{peer} did not answer {api} within {} ms", timeout.as_millis())]
    Timeout {
        /// `host:port` of the broker.
        peer: Arc<str>,
        /// The request's name.
        api: &'static str,
        /// What was waited.
        timeout: Duration,
    },
    /// An answer to something else than the oldest request.
    #[error("{peer} answered out of order: correlation id {got} where {expected} was due")]
    OutOfOrder {
        /// `host:port` of the broker.
        peer: Arc<str>,
        /// The id that came.
        got: i32,
        /// The id that was due, or `nothing`.
        expected: String,
    },
    /// An answer whose size is negative or above the limit.
    #[error("{peer} sent an answer of {size} bytes, where at most {limit} are taken")]
    Size {
        /// `host:port` of the broker.
        peer: Arc<str>,
        /// The size as claimed.
        size: i32,
        /// The largest size taken.
        limit: usize,
    },
    /// An answer that cannot be read.
    #[error("{peer} sent an unreadable answer to {api}: {source}")]
    Unreadable {
        /// `host:port` of the broker.
        peer: Arc<str>,
        /// The request's name.
        api: &'static str,
        /// What was wrong with it.
        #[source]
        source: codec::Error,
    },
}

impl Error {
    /// Whether the broker may have taken the request although no answer came.
    pub fn may_have_arrived(&self) -> bool {
        !matches!(self, Error::Connect { .. } | Error::ConnectTimeout { .. })
    }
}

/// Result of a request.
pub type Result<T> = std::result::Result<T, Error>;
