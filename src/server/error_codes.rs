//! Which number each error has on the wire. Nobody else decides that.

use crate::coordinator::{self, Unstored};
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
        // For `Full` too: a client that only tries again would not be served sooner.
        E::Storage(e) if !e.blames_the_disk() => ErrorCode::UNKNOWN,
        // Another broker leads soon: clients ask who, followers wait.
        E::Storage(_) | E::Offline { .. } | E::Vanished(_) | E::NoDirectory(_) => {
            ErrorCode::NOT_LEADER_FOR_PARTITION
        }
        _ => ErrorCode::UNKNOWN,
    }
}

/// Of what the coordinator answered to a commit.
pub(super) fn of_commit(error: coordinator::Error) -> ErrorCode {
    match error {
        coordinator::Error::Unstored(Unstored::TooLarge) => ErrorCode::INVALID_COMMIT_OFFSET_SIZE,
        other => of_group(other),
    }
}

/// Of what the coordinator answered to a sync: what was not stored in time is tried again by joining.
pub(super) fn of_sync(error: coordinator::Error) -> ErrorCode {
    match error {
        coordinator::Error::Unstored(Unstored::TimedOut) => ErrorCode::REBALANCE_IN_PROGRESS,
        other => of_group(other),
    }
}

/// Of what the coordinator answered to anything else.
pub(super) fn of_group(error: coordinator::Error) -> ErrorCode {
    use coordinator::Error as E;
    match error {
        E::NotAvailable => ErrorCode::GROUP_COORDINATOR_NOT_AVAILABLE,
        E::NotCoordinator => ErrorCode::NOT_COORDINATOR_FOR_GROUP,
        E::Loading => ErrorCode::GROUP_LOAD_IN_PROGRESS,
        E::InvalidGroupId => ErrorCode::INVALID_GROUP_ID,
        E::InvalidSessionTimeout => ErrorCode::INVALID_SESSION_TIMEOUT,
        E::InconsistentProtocol => ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        E::UnknownMember => ErrorCode::UNKNOWN_MEMBER_ID,
        E::IllegalGeneration => ErrorCode::ILLEGAL_GENERATION,
        E::RebalanceInProgress => ErrorCode::REBALANCE_IN_PROGRESS,
        E::MetadataTooLarge => ErrorCode::OFFSET_METADATA_TOO_LARGE,
        E::Unstored(why) => match why {
            Unstored::NoPartition => ErrorCode::GROUP_COORDINATOR_NOT_AVAILABLE,
            Unstored::NotLeader => ErrorCode::NOT_COORDINATOR_FOR_GROUP,
            Unstored::TimedOut => ErrorCode::REQUEST_TIMED_OUT,
            Unstored::NotEnoughReplicas => ErrorCode::NOT_ENOUGH_REPLICAS,
            Unstored::NotEnoughReplicasAfterAppend => ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            Unstored::TooLarge | Unstored::Failed => ErrorCode::UNKNOWN,
        },
    }
}
