//! All tests that need sockets, processes or peers, in one binary.

#![allow(unreachable_pub)] // One binary: everything is its own.

#[macro_use]
mod support;

mod bad_input;
mod broker;
mod cluster_tools;
mod configs;
mod configuration;
mod console;
mod controller;
mod crash;
mod data_path;
mod dev;
mod faults;
mod floors;
mod foreign;
mod keeper;
mod launchers;
mod live_settings;
mod log_bytes;
mod replication;
mod scenarios;
mod simulation;
mod topics;
mod tutorial;
mod znodes;
mod zookeeper_shell;
