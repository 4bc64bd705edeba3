//! One broker assembled, and its requests answered.
//!
//! Reading order: [`services`] (what handlers may touch), [`handlers`] (one function per request),
//! [`metadata_cache`] (what the controller told us).

mod handlers;
pub mod metadata_cache;
pub mod services;
