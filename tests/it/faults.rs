//! Faults of real processes; each file opens with the promise it checks. [`disks`] has disks of its own, all
//! others a [`ground`](crate::faults::ground): a whole cluster with producers at work.

mod clock;
mod disks;
mod ground;
mod links;
mod mix;
mod pauses;
mod stops;
mod zookeeper;
