//! Settings of clients: the producer of 0.9 (`producer`), the producer before it (`old_producer`) and the
//! old consumer (`consumer`). Does not know what a connection is.

mod consumer;
mod old_producer;
mod producer;

pub use consumer::{ConsumerConfig, KEYS as CONSUMER_KEYS, OffsetReset, OffsetStorage};
pub use old_producer::{KEYS as OLD_PRODUCER_KEYS, OldProducerConfig};
pub use producer::{KEYS as PRODUCER_KEYS, ProducerConfig};

use super::definition::Values;

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
fn require(v: &Values, key: &str) -> Option<super::Mistake> {
    (!v.is_set(key)).then(|| {
        v.mistake(
            key,
            format!("requirement failed: Missing required property '{key}'"),
        )
    })
}

#[cfg(test)]
mod tests;
