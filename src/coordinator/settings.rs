//! What the coordinator needs of the broker's configuration.

use std::time::Duration;

use crate::config::BrokerConfig;

/// Which session timeouts members may ask for, in milliseconds; both ends may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// `group.min.session.timeout.ms`
    pub min_ms: i32,
    /// `group.max.session.timeout.ms`
    pub max_ms: i32,
}

impl SessionLimits {
    /// Whether a member may ask for it.
    pub fn allow(&self, session_timeout_ms: i32) -> bool {
        (self.min_ms..=self.max_ms).contains(&session_timeout_ms)
    }
}

/// The coordinator's own settings.
#[derive(Clone, Debug)]
pub struct CoordinatorSettings {
    /// Of the sessions of members.
    pub sessions: SessionLimits,
    /// `offset.metadata.max.bytes`, counted in characters as Java has them.
    pub metadata_max: usize,
    /// `offsets.load.buffer.size`
    pub load_buffer_bytes: usize,
    /// `offsets.retention.minutes`
    pub retention: Duration,
    /// `offsets.retention.check.interval.ms`
    pub retention_check: Duration,
    /// `offsets.commit.timeout.ms`
    pub commit_timeout: Duration,
    /// `offsets.commit.required.acks`
    pub commit_acks: i16,
}

impl From<&BrokerConfig> for CoordinatorSettings {
    fn from(config: &BrokerConfig) -> Self {
        CoordinatorSettings {
            sessions: SessionLimits {
                min_ms: config.group_min_session_timeout_ms,
                max_ms: config.group_max_session_timeout_ms,
            },
            metadata_max: config.offset_metadata_max_bytes,
            load_buffer_bytes: config.offsets_load_buffer_size,
            retention: config.offsets_retention,
            retention_check: config.offsets_retention_check_interval,
            commit_timeout: config.offsets_commit_timeout,
            commit_acks: config.offsets_commit_required_acks,
        }
    }
}
