//! Faults of real processes; each file opens with the promise it checks. [`disks`] has brokers of its own, all
//! others a [`ground`](crate::faults::ground): a whole cluster with producers at work. A random mix of them all is
//! in [`all_faults`](crate::all_faults).

pub mod clock;
mod disks;
pub mod full;
pub mod ground;
mod links;
mod pauses;
mod stops;
mod zookeeper;
