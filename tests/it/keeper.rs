//! The bundled ZooKeeper server over TCP: beside the genuine one, on its files, with foreign clients,
//! with clients that mean no good, and across restarts.

mod differential;
mod foreign;
mod interop;
mod limits;
mod program;
mod restart;
mod server;
mod tree;
mod wire;
