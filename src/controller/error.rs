//! Why a reign ends.

use crate::cluster::ControllerEpoch;
use crate::zookeeper;

/// What keeps the acting controller from going on. Whatever concerns one partition, topic or broker
/// alone is logged and passed over instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another controller has taken over: `/controller_epoch` or a partition's state says so.
    #[error("controller epoch {0} is no longer the newest: another controller acts")]
    Fenced(ControllerEpoch),
    /// `/controller` is not this session's any more.
    #[error("/controller no longer belongs to this broker's session")]
    Deposed,
    /// What must be read is not what it should be.
    #[error("{path}: {why}")]
    Unreadable {
        /// Where.
        path: String,
        /// Why.
        why: zookeeper::znodes::Error,
    },
    /// ZooKeeper refused, or the session is over.
    #[error(transparent)]
    Zookeeper(#[from] zookeeper::Error),
}

/// Result of a step of a reign.
pub type Result<T> = std::result::Result<T, Error>;
