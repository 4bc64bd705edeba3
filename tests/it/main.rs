//! All tests that need sockets, processes or peers, in one binary.

#![allow(unreachable_pub)] // One binary: everything is its own.

#[macro_use]
mod support;

mod all_faults;
mod bad_input;
mod broker;
mod check;
mod cluster_tools;
mod compaction;
mod configs;
mod configuration;
mod console;
mod consumer;
mod consumer_groups;
mod controller;
mod crash;
mod csv_metrics;
mod damage;
mod data_path;
mod demo;
mod dev;
mod dump;
mod ensemble;
mod faults;
mod floors;
mod foreign;
mod groups;
mod keeper;
mod launchers;
mod live_settings;
mod log_bytes;
mod metrics;
mod mirror;
mod mixed;
mod old_listener;
mod quotas;
mod replication;
mod scenarios;
mod simulation;
mod state_change;
mod takeover;
mod topics;
mod tutorial;
#[cfg(unix)]
mod windows;
mod znodes;
mod zookeeper_shell;
mod zookeeper_trouble;
