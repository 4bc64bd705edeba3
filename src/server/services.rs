//! Everything that handlers may touch, in one place. Holds no logic.

use crate::metrics::Registry;
use crate::server::metadata_cache::MetadataCache;
use crate::util::clock::Clock;

/// One broker's parts, as its handlers see them.
#[derive(Debug)]
pub struct Services {
    /// What the controller told of the cluster.
    pub metadata: MetadataCache,
    /// Counts.
    pub metrics: Registry,
    /// Time.
    pub clock: Clock,
}
