//! The states of a partition and of a replica as the controller sees them, under Kafka's names.
//! Only names and legal moves; what a move writes and sends is decided in `decide`.

use std::fmt;

/// Where a partition stands.
///
/// ```text
/// NonExistent -> New -> Online <-> Offline -> NonExistent
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartitionState {
    /// Assigned, but nobody has led it yet and its state znode does not exist.
    New,
    /// Has a leader that lives, as far as is known.
    Online,
    /// Had a leader, and has none that lives.
    Offline,
    /// Gone, or not there yet.
    NonExistent,
}

impl fmt::Display for PartitionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}Partition")
    }
}

/// Where one copy of a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReplicaState {
    /// Assigned, and its broker has not been told.
    New,
    /// Its broker lives and knows.
    Online,
    /// Its broker is gone, or has been told to stop.
    Offline,
    /// Its broker has been told to delete it and has not answered.
    DeletionStarted,
    /// Its broker has deleted it.
    DeletionSuccessful,
    /// It cannot be deleted now: its broker is gone, or said no.
    DeletionIneligible,
    /// Gone, or not there yet.
    NonExistent,
}

impl fmt::Display for ReplicaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplicaState::New | ReplicaState::Online | ReplicaState::Offline | ReplicaState::NonExistent => {
                write!(f, "{self:?}Replica")
            }
            deletion => write!(f, "Replica{deletion:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_named_as_in_kafkas_state_change_log() {
        assert_eq!(PartitionState::NonExistent.to_string(), "NonExistentPartition");
        assert_eq!(ReplicaState::Online.to_string(), "OnlineReplica");
        assert_eq!(
            ReplicaState::DeletionStarted.to_string(),
            "ReplicaDeletionStarted"
        );
    }
}
