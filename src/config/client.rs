//! Settings of clients: the producer and the consumer of 0.9 (`producer`, `consumer`) with what both have
//! of TLS and SASL (`security`), and those before them (`old_producer`, `old_consumer`). Does not know
//! what a connection is.

mod consumer;
mod old_consumer;
mod old_producer;
mod producer;
mod security;

pub use consumer::{AssignmentStrategy, AutoOffsetReset, ConsumerConfig, KEYS as CONSUMER_KEYS};
pub use old_consumer::{KEYS as OLD_CONSUMER_KEYS, OffsetReset, OffsetStorage, OldConsumerConfig};
pub use old_producer::{KEYS as OLD_PRODUCER_KEYS, OldProducerConfig};
pub use producer::{KEYS as PRODUCER_KEYS, ProducerConfig};
pub use security::KEYS as SECURITY_KEYS;

use super::definition::{Definition, Values};
use super::{Mistake, Properties};

/// A host and a port out of `host:port`, IPv6 in brackets or not.
fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    if host.is_empty() {
        return None;
    }
    Some((host.to_string(), port.parse().ok()?))
}

/// The new clients' words for an unknown key.
fn unknown(definition: &Definition, properties: &Properties) -> Vec<String> {
    properties
        .entries()
        .filter_map(|e| match definition.key(&e.key) {
            None => Some(format!(
                "The configuration {} = {} was supplied but isn't a known config.",
                e.key, e.value
            )),
            Some(key) if !key.acted_on => Some(format!(
                "{}: Property {} is known but has no effect yet",
                e.place, e.key
            )),
            Some(_) => None,
        })
        .collect()
}

/// The new clients' `bootstrap.servers`.
fn servers(v: &Values, mistakes: &mut Vec<Mistake>) -> Vec<(String, u16)> {
    let mut servers = Vec::new();
    let list = v.list("bootstrap.servers");
    for url in list.iter().filter(|url| !url.is_empty()) {
        match host_port(url) {
            Some(server) => servers.push(server),
            None => mistakes.push(v.mistake(
                "bootstrap.servers",
                format!("Invalid url in bootstrap.servers: {url}"),
            )),
        }
    }
    if v.is_set("bootstrap.servers") && list.iter().all(String::is_empty) {
        mistakes.push(v.mistake(
            "bootstrap.servers",
            "No bootstrap urls given in bootstrap.servers",
        ));
    }
    servers
}

/// The old clients' rule for group.id and client.id. The text speaks of client.id for both.
fn legal_id(id: &str) -> Result<(), String> {
    if id
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    {
        Ok(())
    } else {
        Err(format!(
            "client.id {id} is illegal, contains a character other than ASCII alphanumerics, '.', '_' and '-'"
        ))
    }
}

/// The mistake of an old client's required key that is missing.
fn require(v: &Values, key: &str) -> Option<Mistake> {
    (!v.is_set(key)).then(|| {
        v.mistake(
            key,
            format!("requirement failed: Missing required property '{key}'"),
        )
    })
}

#[cfg(test)]
mod tests;
