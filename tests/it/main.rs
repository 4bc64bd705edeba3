//! All tests that need sockets, processes or peers, in one binary.

#[macro_use]
mod support;
