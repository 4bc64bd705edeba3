//! What a client knows of a cluster: brokers, topics, leaders; and the list it starts from. Pure;
//! `broker_client` fetches it.

use std::collections::BTreeMap;
use std::fmt;

use crate::cluster::BrokerId;
use crate::protocol::ErrorCode;
use crate::protocol::metadata::{MetadataResponse, MetadataTopic};

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// Name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: i32,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// An entry of a broker list that is not `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid url in bootstrap.servers: {0}")]
pub struct InvalidAddress(pub String);

impl HostPort {
    /// Reads `host:port` or `[address]:port`; anything before them, such as `PLAINTEXT://`, is
    /// skipped, as Kafka's clients skip it.
    pub fn parse(text: &str) -> Result<HostPort, InvalidAddress> {
        let invalid = || InvalidAddress(text.to_owned());
        let (before, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        let port = port.parse().ok().filter(|p| *p <= 65535).ok_or_else(invalid)?;
        let before = before.strip_suffix(']').unwrap_or(before);
        let legal = |c: char| c.is_ascii_alphanumeric() || "-%.:".contains(c);
        let host = before
            .rsplit(|c| !legal(c))
            .next()
            .filter(|h| !h.is_empty())
            .ok_or_else(invalid)?;
        Ok(HostPort {
            host: host.to_owned(),
            port,
        })
    }

    /// The addresses of a setting's hosts and ports.
    pub fn all(list: Vec<(String, u16)>) -> Vec<HostPort> {
        list.into_iter()
            .map(|(host, port)| HostPort {
                host,
                port: port.into(),
            })
            .collect()
    }

    /// Reads a list with commas; blanks around entries and empty entries are skipped.
    pub fn parse_list(list: &str) -> Result<Vec<HostPort>, InvalidAddress> {
        let all: Vec<HostPort> = list
            .split(',')
            .map(str::trim)
            .filter(|e| !e.is_empty())
            .map(HostPort::parse)
            .collect::<Result<_, _>>()?;
        if all.is_empty() {
            return Err(InvalidAddress(list.to_owned()));
        }
        Ok(all)
    }
}

/// One partition as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub id: i32,
    /// Why there is no leader; REPLICA_NOT_AVAILABLE comes with a usable one.
    pub error: ErrorCode,
    /// The leader, if there is one and its address is known.
    pub leader: Option<BrokerId>,
    /// Those of the assigned replicas whose broker lives, the preferred one first.
    pub replicas: Vec<BrokerId>,
    /// Those of them that are in sync.
    pub isr: Vec<BrokerId>,
}

/// One topic as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Why there are no partitions, if so.
    pub error: ErrorCode,
    /// In the answer's order.
    pub partitions: Vec<Partition>,
    /// Numbers of the partitions that have a leader, in the answer's order.
    pub available: Vec<i32>,
}

impl Topic {
    fn of(topic: MetadataTopic, brokers: &BTreeMap<BrokerId, HostPort>) -> Topic {
        let partitions: Vec<Partition> = topic
            .partitions
            .into_iter()
            .map(|p| Partition {
                id: p.partition,
                error: ErrorCode(p.error),
                leader: Some(BrokerId(p.leader)).filter(|id| brokers.contains_key(id)),
                replicas: p.replicas.into_iter().map(BrokerId).collect(),
                isr: p.isr.into_iter().map(BrokerId).collect(),
            })
            .collect();
        Topic {
            error: ErrorCode(topic.error),
            available: partitions
                .iter()
                .filter(|p| p.leader.is_some())
                .map(|p| p.id)
                .collect(),
            partitions,
        }
    }

    /// How many partitions there are.
    pub fn count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }
}

/// A picture of the cluster at one moment; replaced as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The live brokers.
    pub brokers: BTreeMap<BrokerId, HostPort>,
    /// The topics that were asked for.
    pub topics: BTreeMap<String, Topic>,
    /// The id of the request that was answered so, for log lines.
    pub correlation_id: i32,
}

impl Metadata {
    /// The picture that an answer gives.
    pub fn of(response: MetadataResponse, correlation_id: i32) -> Metadata {
        let brokers: BTreeMap<BrokerId, HostPort> = response
            .brokers
            .into_iter()
            .map(|b| {
                let at = HostPort {
                    host: b.host,
                    port: b.port,
                };
                (BrokerId(b.node_id), at)
            })
            .collect();
        let topics = response
            .topics
            .into_iter()
            .map(|t| (t.topic.clone(), Topic::of(t, &brokers)))
            .collect();
        Metadata {
            brokers,
            topics,
            correlation_id,
        }
    }

    /// The topics that have an error, in their order, as `t=LEADER_NOT_AVAILABLE`.
    pub fn errors(&self) -> Vec<String> {
        let wrong = self.topics.iter().filter(|(_, t)| !t.error.is_none());
        wrong
            .map(|(name, t)| format!("{name}={}", t.error.name()))
            .collect()
    }

    /// The leader of a partition.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<BrokerId> {
        let topic = self.topics.get(topic)?;
        // Partitions mostly stand at their own index.
        let at = usize::try_from(partition).ok()?;
        match topic.partitions.get(at) {
            Some(p) if p.id == partition => p.leader,
            _ => topic.partitions.iter().find(|p| p.id == partition)?.leader,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::metadata::{MetadataBroker, MetadataPartition};

    #[test]
    fn addresses_are_read_as_kafkas_clients_read_them() {
        let at = |h: &str, port| Ok(HostPort { host: h.into(), port });
        assert_eq!(HostPort::parse("127.0.0.1:8000"), at("127.0.0.1", 8000));
        assert_eq!(
            HostPort::parse("PLAINTEXT://mydomain.com:80"),
            at("mydomain.com", 80)
        );
        assert_eq!(HostPort::parse("[::1]:1234"), at("::1", 1234));
        for bad in ["host", "host:", ":9092", "host:x", "host:70000", ""] {
            assert!(HostPort::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(HostPort::parse_list(" a:1, b:2,").unwrap().len(), 2);
        assert!(HostPort::parse_list(" , ").is_err());
    }

    #[test]
    fn a_leader_without_an_address_is_none() {
        let partition = |partition, leader| MetadataPartition {
            error: 0,
            partition,
            leader,
            replicas: vec![],
            isr: vec![],
        };
        let m = Metadata::of(
            MetadataResponse {
                brokers: vec![MetadataBroker {
                    node_id: 1,
                    host: "h".into(),
                    port: 9,
                }],
                topics: vec![MetadataTopic {
                    error: 0,
                    topic: "t".into(),
                    partitions: vec![partition(1, 1), partition(0, 2), partition(2, -1)],
                }],
            },
            7,
        );
        assert!(m.errors().is_empty());
        assert_eq!(m.leader("t", 1), Some(BrokerId(1)));
        assert_eq!(m.leader("t", 0), None);
        assert_eq!(m.topics["t"].available, [1]);
        assert_eq!(m.topics["t"].count(), 3);
        assert_eq!(m.leader("u", 0), None);
    }
}
