//! Where a broker listens and what it tells clients: which keys win, and the rules between the lists.
//! Does not resolve a name or open a socket.

use std::collections::BTreeMap;

use crate::cluster::{Endpoint, SecurityProtocol};
use crate::config::Mistake;
use crate::config::definition::Values;

/// The two lists, and the protocol that brokers use.
#[derive(Debug)]
pub(super) struct Listeners {
    /// The key that decided where to listen.
    bound_key: &'static str,
    /// Where to listen.
    pub(super) bound: Vec<Endpoint>,
    /// What clients are told.
    pub(super) advertised: Vec<Endpoint>,
    /// What brokers use among themselves.
    pub(super) inter_broker: SecurityProtocol,
    /// Something could not be read, so that rules between the lists mean nothing.
    unreadable: bool,
}

/// Reads all keys about addresses. What cannot be read is a mistake and left out of the lists.
pub(super) fn read(v: &Values, mistakes: &mut Vec<Mistake>, warnings: &mut Vec<String>) -> Listeners {
    let before = mistakes.len();
    let (bound_key, bound) = match v.text_or_null("listeners") {
        Some(list) => ("listeners", parse(v, "listeners", &list, mistakes)),
        None => {
            let list = format!("PLAINTEXT://{}:{}", v.text("host.name"), v.int("port"));
            (
                if v.is_set("host.name") {
                    "host.name"
                } else {
                    "port"
                },
                one(v, "host.name", &list, mistakes),
            )
        }
    };
    let advertised = match v.text_or_null("advertised.listeners") {
        Some(list) => {
            let endpoints = parse(v, "advertised.listeners", &list, mistakes);
            if endpoints.iter().any(is_wildcard) {
                let rule = "requirement failed: advertised.listeners cannot use the address 0.0.0.0 or ::, which no \
                            client can connect to";
                mistakes.push(v.mistake("advertised.listeners", rule));
            }
            endpoints
        }
        // The missing half comes from host.name or port, never from listeners: Kafka's rule.
        None if v.is_set("advertised.host.name") || v.is_set("advertised.port") => {
            let host = v
                .text_or_null("advertised.host.name")
                .unwrap_or_else(|| v.text("host.name"));
            let port = v
                .number_or_null("advertised.port")
                .unwrap_or_else(|| v.long("port"));
            one(
                v,
                "advertised.host.name",
                &format!("PLAINTEXT://{host}:{port}"),
                mistakes,
            )
        }
        None => bound.iter().map(|e| named(v, bound_key, e, warnings)).collect(),
    };
    let inter_broker = v.text("security.inter.broker.protocol");
    let inter_broker = SecurityProtocol::parse(&inter_broker).unwrap_or_else(|| {
        let rule =
            format!("No enum constant org.apache.kafka.common.protocol.SecurityProtocol.{inter_broker}");
        mistakes.push(v.mistake("security.inter.broker.protocol", rule));
        SecurityProtocol::Plaintext
    });
    if let Err(mistake) = connection_limits(v) {
        mistakes.push(mistake);
    }
    Listeners {
        bound_key,
        bound,
        advertised,
        inter_broker,
        unreadable: mistakes.len() > before,
    }
}

/// `0.0.0.0` is a place to listen at but none to connect to: clients are told this machine's name instead,
/// as with an empty host.
fn named(v: &Values, key: &str, endpoint: &Endpoint, warnings: &mut Vec<String>) -> Endpoint {
    if !is_wildcard(endpoint) {
        return endpoint.clone();
    }
    let place = v.mistake(key, "").place;
    warnings.push(format!(
        "{place}: no client can connect to {}, so they are told this machine's name; set advertised.listeners to \
         tell them another",
        endpoint.host
    ));
    Endpoint {
        host: String::new(),
        ..endpoint.clone()
    }
}

fn is_wildcard(endpoint: &Endpoint) -> bool {
    matches!(endpoint.host.as_str(), "0.0.0.0" | "::")
}

/// A list of endpoints; empty ones between commas do not count.
fn parse(v: &Values, key: &str, list: &str, mistakes: &mut Vec<Mistake>) -> Vec<Endpoint> {
    let texts: Vec<&str> = list.split(',').map(str::trim).filter(|t| !t.is_empty()).collect();
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for text in &texts {
        match Endpoint::parse(text) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(e) => {
                mistakes.push(v.mistake(key, format!("Error creating broker listeners from '{list}': {e}")));
            }
        }
    }
    let different = |what: &str, differ: bool, mistakes: &mut Vec<Mistake>| {
        if !differ {
            mistakes.push(v.mistake(
                key,
                format!("requirement failed: Each listener must have a different {what}"),
            ));
        }
    };
    let mut ports: Vec<i32> = endpoints.iter().map(|e| e.port).filter(|&p| p != 0).collect();
    let count = ports.len();
    ports.sort_unstable();
    ports.dedup();
    different("port", ports.len() == count, mistakes);
    let mut protocols: Vec<SecurityProtocol> = endpoints.iter().map(|e| e.protocol).collect();
    protocols.sort_unstable();
    protocols.dedup();
    different("protocol", protocols.len() == endpoints.len(), mistakes);
    endpoints
}

/// An endpoint made of the old keys.
fn one(v: &Values, key: &str, text: &str, mistakes: &mut Vec<Mistake>) -> Vec<Endpoint> {
    match Endpoint::parse(text) {
        Ok(endpoint) => vec![endpoint],
        Err(e) => {
            mistakes.push(v.mistake(key, e.to_string()));
            Vec::new()
        }
    }
}

impl Listeners {
    /// The rules between the lists.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str, &str)) {
        if self.unreadable {
            return;
        }
        let bound: Vec<SecurityProtocol> = self.bound.iter().map(|e| e.protocol).collect();
        let advertised: Vec<SecurityProtocol> = self.advertised.iter().map(|e| e.protocol).collect();
        require(
            advertised.contains(&self.inter_broker),
            if advertised.is_empty() {
                self.bound_key
            } else {
                "security.inter.broker.protocol"
            },
            &format!(
                "security.inter.broker.protocol must be a protocol in the configured set of advertised.listeners. \
                 The valid options based on currently configured protocols are {}",
                set(&advertised)
            ),
        );
        require(
            advertised.iter().all(|p| bound.contains(p)),
            "advertised.listeners",
            &format!(
                "advertised.listeners protocols must be equal to or a subset of listeners protocols. Found {}. The \
                 valid options based on currently configured protocols are {}",
                set(&advertised),
                set(&bound)
            ),
        );
    }
}

/// As Scala shows a set.
fn set(protocols: &[SecurityProtocol]) -> String {
    let names: Vec<&str> = protocols.iter().map(|p| p.name()).collect();
    format!("Set({})", names.join(", "))
}

/// `max.connections.per.ip.overrides`: host and number, parted by the last colon.
///
/// # Errors
/// The mistake to report.
pub(super) fn connection_limits(v: &Values) -> Result<BTreeMap<String, usize>, Mistake> {
    let key = "max.connections.per.ip.overrides";
    v.text(key)
        .split(',')
        .map(str::trim)
        .filter(|t| !t.is_empty())
        .map(|text| {
            text.rsplit_once(':')
                .and_then(|(host, number)| Some((host.trim().to_string(), number.trim().parse().ok()?)))
                .ok_or_else(|| {
                    v.mistake(
                        key,
                        format!("Error parsing configuration property '{key}': {text} is not host:number"),
                    )
                })
        })
        .collect()
}
