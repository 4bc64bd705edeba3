//! Which layout a request's version stands for.
//!
//! 0.9.0.1 checks versions unevenly, and its clients see this: old requests are read as the nearest
//! layout that exists, new ones of a wrong version get no answer at all.

use crate::protocol::ApiKey;

/// The layout in which to read and answer, or `None` if the request gets silence.
pub(super) fn layout(key: ApiKey, version: i16) -> Option<i16> {
    match key {
        ApiKey::Produce | ApiKey::Fetch | ApiKey::OffsetFetch | ApiKey::ControlledShutdown => {
            Some(version.clamp(0, 1))
        }
        ApiKey::Offsets | ApiKey::Metadata | ApiKey::LeaderAndIsr | ApiKey::StopReplica => Some(0),
        _ => Some(version).filter(|v| (0..=key.max_version()).contains(v)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_requests_fall_to_the_nearest_layout_and_new_ones_to_silence() {
        assert_eq!(layout(ApiKey::Produce, 7), Some(1));
        assert_eq!(layout(ApiKey::Fetch, -1), Some(0));
        assert_eq!(layout(ApiKey::Metadata, 5), Some(0));
        assert_eq!(layout(ApiKey::UpdateMetadata, 1), Some(1));
        assert_eq!(layout(ApiKey::UpdateMetadata, 2), None);
        assert_eq!(layout(ApiKey::OffsetCommit, 2), Some(2));
        assert_eq!(layout(ApiKey::OffsetCommit, 3), None);
        assert_eq!(layout(ApiKey::ListGroups, 0), Some(0));
        assert_eq!(layout(ApiKey::ListGroups, 1), None);
        assert_eq!(layout(ApiKey::JoinGroup, -1), None);
    }
}
