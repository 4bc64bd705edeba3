//! What stands in Kafka's nodes: plain structs with the bytes that the JVM writes and with its
//! readers' tolerance. Pure; knows no session, and of paths nothing.
//!
//! ```text
//! /brokers/ids/N                 broker          {"jmx_port":-1,"timestamp":"…","endpoints":[…],…}
//! /brokers/topics/T              topic           {"version":1,"partitions":{"1":[2,0],"0":[1,2]}}
//! …/T/partitions/P/state         leader_and_isr  {"controller_epoch":1,"leader":0,"version":1,…}
//! /controller, /controller_epoch controller      {"version":1,"brokerid":0,"timestamp":"…"}, 1
//! /config/topics/T, …/changes/…  config          {"version":1,"config":{…}}
//! /admin/…                       admin           {"version":1,"partitions":[…]}
//! /isr_change_notification/…     isr_change      {"version":1,"partitions":[…]}
//! /consumers/G/…                 consumer        {"version":1,"subscription":{…},…}
//! ```
//!
//! Two more files serve them: `json` (the JVM's reader and writer) and `order` (the order in which
//! Scala's maps give their entries, which the written bytes and the tools' output show).

pub mod admin;
pub mod broker;
pub mod config;
pub mod consumer;
pub mod controller;
pub mod isr_change;
pub mod leader_and_isr;
pub mod topic;

mod json;
pub(crate) mod order;

/// Why a node's data is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No JSON object or array. The JVM takes this for a node without a value.
    #[error("not JSON at character {at}: {input}")]
    Syntax {
        /// Where, in characters.
        at: usize,
        /// All of it.
        input: String,
    },
    /// A number that is no signed 32-bit integer; an exception in the JVM, with these words.
    #[error("Can't parse json string: {0}")]
    Number(String),
    /// A member that must be there is not.
    #[error("key not found: {0}")]
    Missing(&'static str),
    /// A member's value is of another kind.
    #[error("the value of {0} is of the wrong kind")]
    Kind(&'static str),
    /// A version that is not known.
    #[error("version {0} is not supported")]
    Version(i32),
    /// A broker's registration that cannot be used, with the JVM's words.
    #[error("Failed to parse the broker info from zookeeper: {0}")]
    Broker(String),
    /// Text that is no decimal number.
    #[error("not a number: {0}")]
    NotANumber(String),
}

/// Result of decoding.
pub type Result<T> = std::result::Result<T, Error>;

/// Reads a decimal number as the JVM's `toInt` and `toLong` do: no white space, an optional sign.
fn decimal(bytes: &[u8]) -> Result<i64> {
    let text = String::from_utf8_lossy(bytes);
    text.parse().map_err(|_| Error::NotANumber(text.into_owned()))
}

#[cfg(test)]
mod tests;
