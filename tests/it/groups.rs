//! Consumer groups: what the coordinator answers, what it stores, and who can work with it.

mod client;
mod members;
mod old;
mod swap;
mod tools;
mod verifiable;
mod wire;
