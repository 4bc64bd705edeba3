//! The controller's decisions: pure functions from what it knows and what happened to a
//! [`Plan`](super::plan::Plan). They log each state change, and neither wait, read nor send.
//!
//! [`leader`] holds the rules of election, [`trust`] whom to believe, `change` what a wish makes of a partition,
//! [`partitions`] turns wishes into conditional writes; then one file per kind of occasion:
//! [`brokers`], [`topics`], [`deletion`], [`preferred`], [`reassign`], [`takeover`].

pub mod brokers;
mod change;
pub mod deletion;
pub mod leader;
pub mod partitions;
pub mod preferred;
pub mod reassign;
pub mod takeover;
pub mod topics;
pub mod trust;
