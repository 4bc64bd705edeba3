//! One broker assembled, and its requests answered.
//!
//! Reading order: [`services`] (what handlers may touch), [`handlers`] (one function per request),
//! [`metadata_cache`] (what the controller told us), [`quota`] (how much clients may send and fetch),
//! [`identity`] (which broker this is), [`registration`] (being known to the others), [`csv_reporter`] (metrics
//! to files).

pub mod broker;
mod controlled_shutdown;
mod csv_reporter;
pub mod dynamic;
mod error_codes;
mod handlers;
pub mod identity;
mod local_host;
pub mod metadata_cache;
pub mod quota;
pub mod registration;
pub mod services;

pub use broker::{Broker, Error};
