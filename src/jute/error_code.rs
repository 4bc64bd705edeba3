//! The errors that a ZooKeeper server answers with.

use std::fmt;

/// The `err` of a reply. Zero is success.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ErrorCode(pub i32);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: ErrorCode = ErrorCode($value);)*

            /// ZooKeeper's name of the code without underscores, or "unknown".
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($value => stringify!($name),)*
                    _ => "UNKNOWN",
                }
            }
        }
    };
}

codes! {
    /// Success.
    OK = 0;
    /// Something broke inside the server.
    SYSTEM_ERROR = -1;
    /// An operation of a failed multi that came after the failing one.
    RUNTIME_INCONSISTENCY = -2;
    /// Data does not fit together.
    DATA_INCONSISTENCY = -3;
    /// The connection was lost; made by clients, never sent.
    CONNECTION_LOSS = -4;
    /// The body of a request could not be read.
    MARSHALLING_ERROR = -5;
    /// The operation does not exist here.
    UNIMPLEMENTED = -6;
    /// Too slow; made by clients.
    OPERATION_TIMEOUT = -7;
    /// A path or an argument breaks its rule.
    BAD_ARGUMENTS = -8;
    /// The group of the following.
    API_ERROR = -100;
    /// The node, or the parent of a new node, does not exist.
    NO_NODE = -101;
    /// The node's ACL does not allow it.
    NO_AUTH = -102;
    /// The expected version is not the node's.
    BAD_VERSION = -103;
    /// Ephemeral nodes have no children.
    NO_CHILDREN_FOR_EPHEMERALS = -108;
    /// The node exists already.
    NODE_EXISTS = -110;
    /// The node has children.
    NOT_EMPTY = -111;
    /// The session is over.
    SESSION_EXPIRED = -112;
    /// Made by clients.
    INVALID_CALLBACK = -113;
    /// The ACL is empty or has an illegal entry.
    INVALID_ACL = -114;
    /// Authentication failed; the connection closes.
    AUTH_FAILED = -115;
    /// The session lives on another server.
    SESSION_MOVED = -118;
    /// A write to a read-only server.
    NOT_READ_ONLY = -119;
    /// No such watch to remove (3.5).
    NO_WATCHER = -121;
    /// Reconfiguration is off (3.5).
    RECONFIG_DISABLED = -123;
    /// A quota forbids it (3.7).
    QUOTA_EXCEEDED = -125;
}

impl ErrorCode {
    /// `Ok` for success, the code itself for all else.
    ///
    /// # Errors
    /// The code, if it is not [`ErrorCode::OK`].
    pub fn into_result(self) -> std::result::Result<(), ErrorCode> {
        if self == ErrorCode::OK { Ok(()) } else { Err(self) }
    }
}

impl super::Record for ErrorCode {
    fn read(r: &mut super::Reader) -> super::Result<ErrorCode> {
        r.i32().map(ErrorCode)
    }
    fn write(&self, out: &mut bytes::BytesMut) {
        self.0.write(out);
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
