//! Which number each error has on the wire. Nobody else decides that.

use crate::log;
use crate::protocol::ErrorCode;
use crate::replica::{self, AfterAppend};

/// Of what a replica answered.
pub(super) fn of_replica(error: &replica::Error) -> ErrorCode {
    use replica::Error as E;
    match error {
        E::UnknownPartition(_) | E::NotInReplicas { .. } => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        E::NotLeader(_) => ErrorCode::NOT_LEADER_FOR_PARTITION,
        E::ReplicaNotAvailable(_) => ErrorCode::REPLICA_NOT_AVAILABLE,
        E::InternalTopic(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
        E::InvalidAcks(_) => ErrorCode::INVALID_REQUIRED_ACKS,
        E::NotEnoughReplicas { .. } => ErrorCode::NOT_ENOUGH_REPLICAS,
        E::AfterAppend { cause, .. } => match cause {
            AfterAppend::TimedOut => ErrorCode::REQUEST_TIMED_OUT,
            AfterAppend::TooFew => ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            AfterAppend::NotLeader => ErrorCode::NOT_LEADER_FOR_PARTITION,
            AfterAppend::Gone => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        },
        E::StaleController { .. } => ErrorCode::STALE_CONTROLLER_EPOCH,
        E::StaleLeader { .. } => ErrorCode::STALE_LEADER_EPOCH,
        E::Log(e) => of_log(e),
        // Classes of exceptions that 0.9.0.1 maps to nothing.
        E::NotAssigned { .. }
        | E::NegativeCount(_)
        | E::CommittedDiffers { .. }
        | E::Refused { .. }
        | E::TopicConfig { .. } => ErrorCode::UNKNOWN,
    }
}

fn of_log(error: &log::Error) -> ErrorCode {
    use log::Error as E;
    match error {
        E::TooLarge { .. } => ErrorCode::RECORD_TOO_LARGE,
        E::Corrupt { .. } | E::MissingKey => ErrorCode::CORRUPT_MESSAGE,
        E::SetTooLarge { .. } => ErrorCode::RECORD_LIST_TOO_LARGE,
        E::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        // Deleted between two looks at it.
        E::Closed(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        _ => ErrorCode::UNKNOWN,
    }
}
