//! Who leads what, cluster-wide: the one acting controller (kafka.controller).
pub mod batch;
pub mod channels;
pub mod context;
pub mod decide;
pub mod event;
pub mod plan;
pub mod queue;
pub mod settings;
pub mod state;
