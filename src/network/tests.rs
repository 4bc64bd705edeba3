//! The network with an echo behind it.
