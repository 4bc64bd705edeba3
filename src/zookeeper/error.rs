//! How an operation on ZooKeeper can end without success.

use crate::jute::ErrorCode;

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The node, or the parent of a new one, does not exist.
    #[error("KeeperErrorCode = NoNode")]
    NoNode,
    /// The node exists already.
    #[error("KeeperErrorCode = NodeExists")]
    NodeExists,
    /// The node's version is not the one expected. Never the session's own doing: a conditional
    /// write that was repeated after a lost connection reads back what stands there first.
    #[error("KeeperErrorCode = BadVersion")]
    BadVersion,
    /// The node has children.
    #[error("KeeperErrorCode = Directory not empty")]
    NotEmpty,
    /// The node's access control list does not allow it.
    #[error("KeeperErrorCode = NoAuth")]
    NoAuth,
    /// An ephemeral node can have no children.
    #[error("KeeperErrorCode = NoChildrenForEphemerals")]
    NoChildrenForEphemerals,
    /// The session in which the operation was asked for is over; it may or may not have happened.
    #[error("KeeperErrorCode = Session expired")]
    SessionExpired,
    /// The connection was lost and the operation is not one to repeat; it may or may not have happened.
    #[error("KeeperErrorCode = ConnectionLoss")]
    ConnectionLoss,
    /// The server refused the credentials.
    #[error("KeeperErrorCode = AuthFailed")]
    AuthFailed,
    /// Any other error of the server.
    #[error("KeeperErrorCode = {0}")]
    Server(ErrorCode),
    /// A multi of which one operation failed, so that none has happened.
    #[error("operation {at} of a transaction failed: KeeperErrorCode = {code}")]
    Multi {
        /// The operation that failed, from 0.
        at: usize,
        /// Its error.
        code: ErrorCode,
        /// Whether the multi was sent again after a lost connection: then the first sending may have
        /// happened, and this be its echo.
        retried: bool,
    },
    /// No server could be reached in time. The words are those of 0.9.0.1.
    #[error("Unable to connect to zookeeper server within timeout: {timeout_ms}")]
    Timeout {
        /// `zookeeper.connection.timeout.ms`.
        timeout_ms: u128,
    },
    /// The chroot of the connect string does not exist. The words are those of 0.9.0.1.
    #[error("Zookeeper namespace does not exist")]
    NoNamespace,
    /// The connect string breaks its rules.
    #[error("illegal ZooKeeper connect string {connect}: {reason}")]
    ConnectString {
        /// All of it.
        connect: String,
        /// The rule.
        reason: String,
    },
    /// A path breaks ZooKeeper's rules.
    #[error("{reason}")]
    Path {
        /// The path.
        path: String,
        /// The rule.
        reason: String,
    },
    /// The session was closed by its owner.
    #[error("the ZooKeeper session is closed")]
    Closed,
    /// The server's answer cannot be read.
    #[error("unreadable answer from ZooKeeper: {0}")]
    Unreadable(#[from] crate::jute::Error),
}

/// Result of an operation.
pub type Result<T> = std::result::Result<T, Error>;

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Error {
        match code {
            ErrorCode::NO_NODE => Error::NoNode,
            ErrorCode::NODE_EXISTS => Error::NodeExists,
            ErrorCode::BAD_VERSION => Error::BadVersion,
            ErrorCode::NOT_EMPTY => Error::NotEmpty,
            ErrorCode::NO_AUTH => Error::NoAuth,
            ErrorCode::NO_CHILDREN_FOR_EPHEMERALS => Error::NoChildrenForEphemerals,
            ErrorCode::SESSION_EXPIRED => Error::SessionExpired,
            ErrorCode::CONNECTION_LOSS => Error::ConnectionLoss,
            ErrorCode::AUTH_FAILED => Error::AuthFailed,
            other => Error::Server(other),
        }
    }
}

/// Checks a path by ZooKeeper's rules (PathUtils.validatePath), with its words.
pub(super) fn validate_path(path: &str) -> Result<()> {
    let fail = |reason: String| {
        Err(Error::Path {
            path: path.to_owned(),
            reason,
        })
    };
    if path.is_empty() {
        return fail("Path length must be > 0".to_owned());
    }
    if !path.starts_with('/') {
        return fail("Path must start with / character".to_owned());
    }
    if path == "/" {
        return Ok(());
    }
    if path.ends_with('/') {
        return fail("Path must not end with / character".to_owned());
    }
    let within =
        |reason: &str, at: usize| fail(format!("Invalid path string \"{path}\" caused by {reason} @{at}"));
    let mut at = 0;
    for part in path[1..].split('/') {
        at += 1;
        match part {
            "" => return within("empty node name specified", at),
            "." | ".." => return within("relative paths not allowed", at),
            _ => {}
        }
        if let Some(place) = part.chars().position(illegal_character) {
            // Misspelt by ZooKeeper too.
            return within("invalid charater", at + place);
        }
        at += part.chars().count();
    }
    Ok(())
}

fn illegal_character(c: char) -> bool {
    matches!(u32::from(c), 0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..)
}
