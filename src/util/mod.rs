//! What std lacks: time that can be steered, deadlines, orderly stops, careful files and checked
//! big-endian reads. Knows no word of the domain.
//!
//! Read [`clock`] first, then [`timer`], [`shutdown`], [`codec`], [`fs`], [`blocking`],
//! [`random`], [`date`], [`java`].

pub mod blocking;
pub mod clock;
pub mod codec;
pub mod date;
pub mod fs;
pub mod java;
pub mod random;
pub mod shutdown;
pub mod timer;
