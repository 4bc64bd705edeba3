//! Who may do what: matching identities against ACLs, and the rules for an ACL that is stored.
//!
//! Pure; identities come with the connection, ACLs from the tree. The schemes are `world`, `digest`,
//! `ip`, and `auth`, which stands for the identities of whoever stores it.

use std::net::{IpAddr, Ipv4Addr};

use crate::jute::{Acl, ErrorCode, Id};

use super::digest::digest_id;

/// The rules that hold for the whole server.
#[derive(Clone, Debug, Default)]
pub(super) struct AclRules {
    /// Nothing is checked (`skipACL=yes`).
    pub(super) skip: bool,
    /// The digest id whose owner may do everything.
    pub(super) super_digest: Option<String>,
}

impl AclRules {
    /// Whether someone with `ids` may do what needs one of the bits `need`.
    ///
    /// # Errors
    /// [`ErrorCode::NO_AUTH`] if not.
    pub(super) fn check(&self, acl: &[Acl], need: i32, ids: &[Id]) -> Result<(), ErrorCode> {
        if self.skip || acl.is_empty() || ids.iter().any(|id| id.scheme == "super") {
            return Ok(());
        }
        let allowed = acl
            .iter()
            .filter(|entry| entry.perms & need != 0)
            .any(|entry| is_anyone(&entry.id) || ids.iter().any(|id| matches(id, &entry.id)));
        if allowed { Ok(()) } else { Err(ErrorCode::NO_AUTH) }
    }

    /// The ACL to store when someone with `ids` asks for `asked`: no duplicates, `auth` replaced.
    ///
    /// # Errors
    /// [`ErrorCode::INVALID_ACL`] if it is empty or an entry is illegal.
    pub(super) fn fix(&self, asked: Vec<Acl>, ids: &[Id]) -> Result<Vec<Acl>, ErrorCode> {
        let mut fixed = Vec::with_capacity(asked.len());
        let mut expanded = Vec::new();
        let mut seen = Vec::with_capacity(asked.len());
        for entry in asked {
            if seen.contains(&entry) {
                continue;
            }
            seen.push(entry.clone());
            if self.skip || is_anyone(&entry.id) {
                fixed.push(entry);
            } else if entry.id.scheme == "auth" {
                let before = expanded.len();
                expanded.extend(ids.iter().filter(|id| id.scheme == "digest").map(|id| Acl {
                    perms: entry.perms,
                    id: id.clone(),
                }));
                if expanded.len() == before {
                    return Err(ErrorCode::INVALID_ACL);
                }
            } else if is_valid(&entry.id) {
                fixed.push(entry);
            } else {
                return Err(ErrorCode::INVALID_ACL);
            }
        }
        fixed.append(&mut expanded);
        if fixed.is_empty() && !self.skip {
            return Err(ErrorCode::INVALID_ACL);
        }
        Ok(fixed)
    }

    /// The identities that an auth packet proves.
    ///
    /// # Errors
    /// [`ErrorCode::AUTH_FAILED`] for an unknown scheme.
    pub(super) fn authenticate(
        &self,
        scheme: &str,
        proof: Option<&[u8]>,
        peer: IpAddr,
    ) -> Result<Vec<Id>, ErrorCode> {
        match (scheme, proof) {
            ("digest", Some(proof)) => {
                let id = digest_id(&String::from_utf8_lossy(proof));
                let mut ids = Vec::new();
                if self.super_digest.as_deref() == Some(id.as_str()) {
                    ids.push(new_id("super", ""));
                }
                ids.push(new_id("digest", &id));
                Ok(ids)
            }
            ("ip", _) => Ok(vec![address_id(peer)]),
            _ => Err(ErrorCode::AUTH_FAILED),
        }
    }
}

/// The identity that every connection has from its start.
pub(super) fn address_id(peer: IpAddr) -> Id {
    new_id("ip", &peer.to_canonical().to_string())
}

fn new_id(scheme: &str, id: &str) -> Id {
    Id {
        scheme: scheme.to_owned(),
        id: id.to_owned(),
    }
}

fn is_anyone(id: &Id) -> bool {
    id.scheme == "world" && id.id == "anyone"
}

fn is_valid(id: &Id) -> bool {
    match id.scheme.as_str() {
        "digest" => id.id.trim_end_matches(':').split(':').count() == 2,
        "ip" => network(&id.id).is_some(),
        _ => false,
    }
}

fn matches(who: &Id, entry: &Id) -> bool {
    if who.scheme != entry.scheme {
        return false;
    }
    match entry.scheme.as_str() {
        "digest" => who.id == entry.id,
        "ip" => match (who.id.parse::<Ipv4Addr>(), network(&entry.id)) {
            (Ok(address), Some((net, bits))) => {
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                u32::from(address) & mask == u32::from(net) & mask
            }
            _ => false,
        },
        _ => false,
    }
}

/// An address with the count of leading bits that matter: `10.1.0.0/16`, or 32 without a slash.
fn network(text: &str) -> Option<(Ipv4Addr, u32)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, bits.parse().ok().filter(|bits| *bits <= 32)?),
        None => (text, 32),
    };
    Some((address.parse().ok()?, bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::perms;

    const NO_AUTH: Result<(), ErrorCode> = Err(ErrorCode::NO_AUTH);

    fn ids() -> Vec<Id> {
        vec![new_id("ip", "10.1.2.3"), new_id("digest", "u:x")]
    }

    #[test]
    fn an_entry_counts_only_for_its_bits() {
        let rules = AclRules::default();
        let acl = [Acl::new(perms::READ, "world", "anyone")];
        assert_eq!(rules.check(&acl, perms::READ, &[]), Ok(()));
        assert_eq!(rules.check(&acl, perms::WRITE, &[]), NO_AUTH);
        assert_eq!(rules.check(&[], perms::WRITE, &[]), Ok(()));
    }

    #[test]
    fn addresses_match_by_their_leading_bits() {
        let rules = AclRules::default();
        let may = |net: &str| rules.check(&[Acl::new(31, "ip", net)], perms::READ, &ids());
        assert_eq!(may("10.1.2.3"), Ok(()));
        assert_eq!(may("10.1.0.0/16"), Ok(()));
        assert_eq!(may("11.0.0.0/0"), Ok(()));
        assert_eq!(may("10.1.2.4"), NO_AUTH);
        assert_eq!(may("10.1.2.3/33"), NO_AUTH);
    }

    #[test]
    fn super_may_do_everything() {
        let rules = AclRules {
            super_digest: Some(digest_id("super:test")),
            ..AclRules::default()
        };
        let peer = "10.0.0.1".parse().unwrap();
        let ids = rules.authenticate("digest", Some(b"super:test"), peer).unwrap();
        assert_eq!(
            rules.check(&[Acl::new(1, "digest", "a:b")], perms::ADMIN, &ids),
            Ok(())
        );
        assert_eq!(
            rules.authenticate("kerberos", Some(b""), peer),
            Err(ErrorCode::AUTH_FAILED)
        );
    }

    #[test]
    fn auth_stands_for_the_proven_ids_and_comes_last() {
        let rules = AclRules::default();
        let asked = vec![
            Acl::new(31, "auth", ""),
            Acl::new(1, "world", "anyone"),
            Acl::new(1, "world", "anyone"),
        ];
        let fixed = rules.fix(asked.clone(), &ids()).unwrap();
        assert_eq!(
            fixed,
            [Acl::new(1, "world", "anyone"), Acl::new(31, "digest", "u:x")]
        );
        assert_eq!(rules.fix(asked, &[]), Err(ErrorCode::INVALID_ACL));
    }

    #[test]
    fn illegal_entries_are_refused() {
        let rules = AclRules::default();
        for (scheme, id) in [
            ("world", "me"),
            ("digest", "nocolon"),
            ("digest", "a:b:c"),
            ("ip", "10.1.2"),
            ("ip", "x"),
            ("sasl", "me"),
            ("foo", "bar"),
        ] {
            let asked = vec![Acl::new(31, scheme, id)];
            assert_eq!(
                rules.fix(asked, &ids()),
                Err(ErrorCode::INVALID_ACL),
                "{scheme}:{id}"
            );
        }
        assert_eq!(rules.fix(vec![], &ids()), Err(ErrorCode::INVALID_ACL));
    }
}
