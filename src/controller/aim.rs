//! What the controller wishes for a partition. Data only.

use crate::cluster::BrokerId;

/// What is to become of one partition. It is stated as a wish and not as a value, so that it can be
/// decided anew when the state znode turns out to have changed under the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    /// A registered leader, created or elected if need be, and no unregistered member in the ISR.
    Lead,
    /// As [`Aim::Lead`], and written even if nothing changes, so that what the leader has proposed
    /// before is refused: it may count a broker in that is gone.
    Fence,
    /// The ISR and leadership without these: they are in it from before their present registration, and
    /// somebody better has just been heard.
    Evict(Vec<BrokerId>),
    /// Led by its preferred replica.
    Prefer,
    /// The broker neither leads nor is in the ISR, as it wants to shut down.
    Leave(BrokerId),
    /// Led by one of these, the partition's new replicas.
    LeadAmong(Vec<BrokerId>),
    /// The same leader under a new epoch, so that brokers take in another set of replicas. Sent to
    /// these.
    Renew(Vec<BrokerId>),
    /// The ISR and leadership without these, whose copies are about to be deleted; written even if nothing changes, so that
    /// the leader hears which replicas are assigned.
    Without(Vec<BrokerId>),
}

impl Aim {
    /// Whether it wants no more than a living leader and living members.
    pub fn elects(&self) -> bool {
        matches!(self, Aim::Lead | Aim::Fence)
    }
}
