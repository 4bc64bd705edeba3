//! The old consumer.
pub mod assignor;
pub mod filter;
