//! Error numbers of the wire (org.apache.kafka.common.protocol.Errors, kafka.common.ErrorMapping).

use std::fmt;

/// An error as it travels. 0 is none; numbers outside the list exist only in later Kafkas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub i16);

macro_rules! codes {
    ($($name:ident = $number:literal, $text:literal, $retriable:literal;)*) => {
        impl ErrorCode {
            $(#[doc = $text] pub const $name: ErrorCode = ErrorCode($number);)*

            /// The name as in Kafka's Errors; `UNKNOWN` for a number that 0.9.0.1 does not know.
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($number => stringify!($name),)*
                    _ => "UNKNOWN",
                }
            }

            /// What a Java client prints for it.
            pub fn message(self) -> &'static str {
                match self.0 {
                    $($number => $text,)*
                    _ => Self::UNKNOWN.message(),
                }
            }

            /// Whether the 0.9 producer tries again after it.
            pub fn is_retriable(self) -> bool {
                match self.0 {
                    $($number => $retriable,)*
                    _ => false,
                }
            }
        }
    };
}

codes! {
    UNKNOWN = -1, "The server experienced an unexpected error when processing the request", false;
    NONE = 0, "No error", false;
    OFFSET_OUT_OF_RANGE = 1, "The requested offset is not within the range of offsets maintained by the server.", false;
    CORRUPT_MESSAGE = 2, "The message contents does not match the message CRC or the message is otherwise corrupt.", true;
    UNKNOWN_TOPIC_OR_PARTITION = 3, "This server does not host this topic-partition.", true;
    INVALID_FETCH_SIZE = 4, "The fetch size is not valid.", false;
    LEADER_NOT_AVAILABLE = 5, "There is no leader for this topic-partition as we are in the middle of a leadership election.", true;
    NOT_LEADER_FOR_PARTITION = 6, "This server is not the leader for that topic-partition.", true;
    REQUEST_TIMED_OUT = 7, "The request timed out.", true;
    BROKER_NOT_AVAILABLE = 8, "The broker is not available.", false;
    REPLICA_NOT_AVAILABLE = 9, "The replica is not available for the requested topic-partition", false;
    RECORD_TOO_LARGE = 10, "The request included a message larger than the max message size the server will accept.", false;
    STALE_CONTROLLER_EPOCH = 11, "The controller moved to another broker.", false;
    OFFSET_METADATA_TOO_LARGE = 12, "The metadata field of the offset request was too large.", false;
    STALE_LEADER_EPOCH = 13, "The leader epoch is not newer than the one in force.", true;
    GROUP_LOAD_IN_PROGRESS = 14, "The coordinator is loading and hence can't process requests for this group.", true;
    GROUP_COORDINATOR_NOT_AVAILABLE = 15, "The group coordinator is not available.", true;
    NOT_COORDINATOR_FOR_GROUP = 16, "This is not the correct coordinator for this group.", true;
    INVALID_TOPIC_EXCEPTION = 17, "The request attempted to perform an operation on an invalid topic.", false;
    RECORD_LIST_TOO_LARGE = 18, "The request included message batch larger than the configured segment size on the server.", false;
    NOT_ENOUGH_REPLICAS = 19, "Messages are rejected since there are fewer in-sync replicas than required.", true;
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20, "Messages are written to the log, but to fewer in-sync replicas than required.", true;
    INVALID_REQUIRED_ACKS = 21, "Produce request specified an invalid value for required acks.", false;
    ILLEGAL_GENERATION = 22, "Specified group generation id is not valid.", false;
    INCONSISTENT_GROUP_PROTOCOL = 23, "The group member's supported protocols are incompatible with those of existing members.", false;
    INVALID_GROUP_ID = 24, "The configured groupId is invalid", false;
    UNKNOWN_MEMBER_ID = 25, "The coordinator is not aware of this member.", false;
    INVALID_SESSION_TIMEOUT = 26, "The session timeout is not within an acceptable range.", false;
    REBALANCE_IN_PROGRESS = 27, "The group is rebalancing, so a rejoin is needed.", false;
    INVALID_COMMIT_OFFSET_SIZE = 28, "The committing offset data size is not valid", false;
    TOPIC_AUTHORIZATION_FAILED = 29, "Topic authorization failed.", false;
    GROUP_AUTHORIZATION_FAILED = 30, "Group authorization failed.", false;
    CLUSTER_AUTHORIZATION_FAILED = 31, "Cluster authorization failed.", false;
}

impl ErrorCode {
    /// Whether this is no error.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}
