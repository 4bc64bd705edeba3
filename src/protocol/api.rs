//! The requests that exist, and in which versions (kafka.api.RequestKeys, ApiKeys).

/// A request's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
#[allow(missing_docs)] // The names are the field's own; each has a file or a struct in this module.
pub enum ApiKey {
    Produce = 0,
    Fetch = 1,
    Offsets = 2,
    Metadata = 3,
    LeaderAndIsr = 4,
    StopReplica = 5,
    UpdateMetadata = 6,
    ControlledShutdown = 7,
    OffsetCommit = 8,
    OffsetFetch = 9,
    GroupCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    DescribeGroups = 15,
    ListGroups = 16,
}

impl ApiKey {
    /// All of them, by number.
    pub const ALL: [ApiKey; 17] = [
        ApiKey::Produce,
        ApiKey::Fetch,
        ApiKey::Offsets,
        ApiKey::Metadata,
        ApiKey::LeaderAndIsr,
        ApiKey::StopReplica,
        ApiKey::UpdateMetadata,
        ApiKey::ControlledShutdown,
        ApiKey::OffsetCommit,
        ApiKey::OffsetFetch,
        ApiKey::GroupCoordinator,
        ApiKey::JoinGroup,
        ApiKey::Heartbeat,
        ApiKey::LeaveGroup,
        ApiKey::SyncGroup,
        ApiKey::DescribeGroups,
        ApiKey::ListGroups,
    ];

    /// The kind of that number.
    pub fn from_i16(key: i16) -> Option<ApiKey> {
        Self::ALL.get(usize::try_from(key).ok()?).copied()
    }

    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            ApiKey::Produce => "Produce",
            ApiKey::Fetch => "Fetch",
            ApiKey::Offsets => "Offsets",
            ApiKey::Metadata => "Metadata",
            ApiKey::LeaderAndIsr => "LeaderAndIsr",
            ApiKey::StopReplica => "StopReplica",
            ApiKey::UpdateMetadata => "UpdateMetadata",
            ApiKey::ControlledShutdown => "ControlledShutdown",
            ApiKey::OffsetCommit => "OffsetCommit",
            ApiKey::OffsetFetch => "OffsetFetch",
            ApiKey::GroupCoordinator => "GroupCoordinator",
            ApiKey::JoinGroup => "JoinGroup",
            ApiKey::Heartbeat => "Heartbeat",
            ApiKey::LeaveGroup => "LeaveGroup",
            ApiKey::SyncGroup => "SyncGroup",
            ApiKey::DescribeGroups => "DescribeGroups",
            ApiKey::ListGroups => "ListGroups",
        }
    }

    /// The highest version that 0.9.0.1 defines; the lowest is 0 for every kind.
    pub fn max_version(self) -> i16 {
        match self {
            ApiKey::OffsetCommit => 2,
            ApiKey::Produce
            | ApiKey::Fetch
            | ApiKey::UpdateMetadata
            | ApiKey::ControlledShutdown
            | ApiKey::OffsetFetch => 1,
            _ => 0,
        }
    }
}
