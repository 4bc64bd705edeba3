//! A ZooKeeper-coordinated broker, faithful to Apache Kafka 0.9.0.1 on the wire, on disk and in
//! ZooKeeper. ARCHITECTURE.md draws the floors; a module imports lower floors only.

pub mod admin;
pub mod client;
pub mod cluster;
pub mod config;
pub mod controller;
pub mod coordinator;
pub mod dev;
pub mod jute;
pub mod keeper;
pub mod log;
pub mod message;
pub mod metrics;
pub mod network;
pub mod protocol;
pub mod replica;
pub mod security;
pub mod server;
pub mod tools;
pub mod util;
pub mod zookeeper;
