//! The wire's names, versions and frames: a plain struct for each request and response of 0.9.0.1.
//! Raw numbers only; what they mean is decided above.
//!
//! A frame is `size:i32` and then: a request header ([`header`]) and body, or a correlation id and a
//! body. All integers are big-endian. 0.9.0.1 reads requests in two dialects ([`wire::Dialect`]): keys
//! 0-9 take a negative length for null or empty, keys 10-16 refuse it.
//!
//! Read [`api`], [`header`], [`wire`], then one file per request, and
//! [`registration`]: which life of a broker one is about.

mod api;
mod error_code;
mod frame;
mod header;
pub mod wire;

pub mod controlled_shutdown;
pub mod fetch;
pub mod groups;
pub mod leader_and_isr;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_fetch;
pub mod produce;
pub mod registration;
pub mod stop_replica;
pub mod update_metadata;

pub use crate::util::codec::{Error, Result};
pub use api::ApiKey;
pub use error_code::ErrorCode;
pub use frame::{finish_frame, frame_request, frame_response};
pub use header::RequestHeader;
pub use wire::{Body, Request};

#[cfg(test)]
mod tests;
