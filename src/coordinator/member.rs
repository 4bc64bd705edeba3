//! One member of a group: what it can do, what it was given, and what it waits for. Pure.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::effect::Ticket;
use crate::util::clock::Mono;

/// One way to share work, as a member offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Such as `range`.
    pub name: String,
    /// What the group's leader has to know of the member for it; opaque here.
    pub metadata: Bytes,
}

/// A member (kafka.coordinator.MemberMetadata).
#[derive(Clone, Debug)]
pub struct Member {
    /// `<client id>-<uuid>`
    pub id: Arc<str>,
    /// As the client calls itself.
    pub client_id: String,
    /// As Java prints an address: `/127.0.0.1`.
    pub client_host: String,
    /// Without a sign of life for so long it is out.
    pub session_timeout: Duration,
    /// What it supports, the best first.
    pub protocols: Vec<Protocol>,
    /// Its share; empty before it was given one.
    pub assignment: Bytes,
    /// When its session ends, unless it waits for an answer.
    pub(super) deadline: Mono,
    /// Its JoinGroup that was not answered yet.
    pub(super) joining: Option<Ticket>,
    /// Its SyncGroup that was not answered yet.
    pub(super) syncing: Option<Ticket>,
}

impl Member {
    /// Whether it supports a protocol.
    pub fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|p| p.name == protocol)
    }

    /// What it said for a protocol; `None` for one that it does not support.
    pub fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols
            .iter()
            .find(|p| p.name == protocol)
            .map(|p| &p.metadata)
    }

    /// Whether `protocols` say what it said before: the same names in the same order, the same bytes.
    pub fn matches(&self, protocols: &[Protocol]) -> bool {
        self.protocols == protocols
    }

    /// The first of its protocols that is a candidate; `None` if it supports none of them.
    pub fn vote<'a>(&self, candidates: &[&'a str]) -> Option<&'a str> {
        self.protocols
            .iter()
            .find_map(|p| candidates.iter().copied().find(|c| *c == p.name))
    }

    /// One that waits for an answer is alive, however long that takes.
    pub(super) fn is_waiting(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    /// Starts its session anew.
    pub(super) fn refresh(&mut self, now: Mono) {
        self.deadline = now + self.session_timeout;
    }

    /// Whether its session has ended.
    pub(super) fn is_expired(&self, now: Mono) -> bool {
        !self.is_waiting() && self.deadline <= now
    }
}

/// Copies bytes out of the request that they came in: a member must not keep that alive.
pub(super) fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

#[cfg(test)]
pub(super) fn member(id: &str, protocols: &[(&str, &'static [u8])]) -> Member {
    Member {
        id: id.into(),
        client_id: "clientId".to_owned(),
        client_host: "clientHost".to_owned(),
        session_timeout: Duration::from_secs(10),
        protocols: protocols
            .iter()
            .map(|(name, metadata)| Protocol {
                name: (*name).to_owned(),
                metadata: Bytes::from_static(metadata),
            })
            .collect(),
        assignment: Bytes::new(),
        deadline: Mono::default(),
        joining: None,
        syncing: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_protocols_are_the_same_names_in_the_same_order_with_the_same_bytes() {
        let m = member("m", &[("range", b"")]);
        let same = |protocols: &[(&str, &'static [u8])]| m.matches(&member("m", protocols).protocols);
        assert!(same(&[("range", b"")]));
        assert!(!same(&[("range", b"\0")]));
        assert!(!same(&[("roundrobin", b"")]));
        assert!(!same(&[("range", b""), ("roundrobin", b"")]));
    }

    #[test]
    fn a_member_votes_for_the_first_candidate_of_its_own_list() {
        let m = member("m", &[("range", b""), ("roundrobin", b"")]);
        assert_eq!(m.vote(&["roundrobin", "range"]), Some("range"));
        assert_eq!(m.vote(&["blah", "roundrobin"]), Some("roundrobin"));
        assert_eq!(m.vote(&["blah"]), None);
    }

    #[test]
    fn metadata_belongs_to_a_protocol() {
        let m = member("m", &[("range", b"\0"), ("roundrobin", b"\x01")]);
        assert_eq!(m.metadata("range").unwrap().as_ref(), b"\0");
        assert_eq!(m.metadata("roundrobin").unwrap().as_ref(), b"\x01");
        assert_eq!(m.metadata("blah"), None);
    }
}
