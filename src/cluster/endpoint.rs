//! Where a broker listens and by which protocol (kafka.cluster.EndPoint, Broker).

use std::fmt;

use super::ids::BrokerId;

/// How a connection is secured. The numbers and names are those of the wire and of ZooKeeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityProtocol {
    /// Nothing.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without TLS.
    SaslPlaintext,
    /// SASL within TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// All of them, by number.
    pub const ALL: [SecurityProtocol; 4] = [
        SecurityProtocol::Plaintext,
        SecurityProtocol::Ssl,
        SecurityProtocol::SaslPlaintext,
        SecurityProtocol::SaslSsl,
    ];

    /// The number in UpdateMetadata v1.
    pub fn id(self) -> i16 {
        match self {
            SecurityProtocol::Plaintext => 0,
            SecurityProtocol::Ssl => 1,
            SecurityProtocol::SaslPlaintext => 2,
            SecurityProtocol::SaslSsl => 3,
        }
    }

    /// The protocol of that number.
    pub fn from_id(id: i16) -> Option<SecurityProtocol> {
        Self::ALL.into_iter().find(|p| p.id() == id)
    }

    /// The name in `listeners` and in ZooKeeper.
    pub fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }

    /// The protocol of exactly that name, upper case.
    pub fn parse(name: &str) -> Option<SecurityProtocol> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One address of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// What is spoken there.
    pub protocol: SecurityProtocol,
    /// A name or an address, IPv6 without brackets; empty means all interfaces.
    pub host: String,
    /// 0 asks for a free port; -1 stands for none.
    pub port: i32,
}

/// Why a text is no endpoint. The texts are Kafka's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IllegalEndpoint {
    /// Not `PROTOCOL://host:port`, or a host with a character outside `[0-9a-zA-Z-.:]`.
    #[error("Unable to parse {0} to a broker endpoint")]
    Syntax(String),
    /// A protocol that does not exist, or not in upper case.
    #[error("No enum constant org.apache.kafka.common.protocol.SecurityProtocol.{0}")]
    Protocol(String),
}

impl Endpoint {
    /// Reads `PROTOCOL://host:port`; the host may be empty, or an IPv6 address in brackets.
    pub fn parse(text: &str) -> Result<Endpoint, IllegalEndpoint> {
        let syntax = || IllegalEndpoint::Syntax(text.to_owned());
        let (protocol, address) = text.rsplit_once("://").ok_or_else(syntax)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(syntax)?;
        let host = host.strip_prefix('[').unwrap_or(host);
        let host = host.strip_suffix(']').unwrap_or(host);
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"-.:".contains(&b);
        if !host.bytes().all(legal) {
            return Err(syntax());
        }
        let digits = port.strip_prefix('-').unwrap_or(port);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(syntax());
        }
        Ok(Endpoint {
            protocol: SecurityProtocol::parse(protocol)
                .ok_or_else(|| IllegalEndpoint::Protocol(protocol.to_owned()))?,
            host: host.to_owned(),
            port: port.parse().map_err(|_| syntax())?,
        })
    }

    /// `host:port`, IPv6 in brackets.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// As in `listeners` and in ZooKeeper: `PLAINTEXT://h:9092`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.protocol, self.address())
    }
}

/// A broker as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its number.
    pub id: BrokerId,
    /// Its addresses, at most one per protocol.
    pub endpoints: Vec<Endpoint>,
}

impl Broker {
    /// Its address for that protocol.
    pub fn endpoint(&self, protocol: SecurityProtocol) -> Option<&Endpoint> {
        self.endpoints.iter().find(|e| e.protocol == protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_read_back_as_written() {
        for text in ["PLAINTEXT://:9092", "SSL://a-b.c:0", "PLAINTEXT://[::1]:9092"] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Endpoint::parse("PLAINTEXT://[::1]:1").unwrap().host, "::1");
        for bad in [
            "",
            "h:1",
            "PLAINTEXT://h",
            "PLAINTEXT://a_b:1",
            "PLAINTEXT://h:x",
            "plaintext://h:1",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
