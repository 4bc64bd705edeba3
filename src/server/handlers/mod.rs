//! From a request to its answer: `mod.rs` is the match and nothing else, each request has one free
//! function in the file of its kind.

mod groups;
mod versions;
