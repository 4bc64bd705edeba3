//! Who is asking. Knows no socket and no resource: listeners make principals, authorizers judge them.
//!
//! A PLAINTEXT listener cannot tell its clients apart, so all of them are [`Principal::anonymous`].

use std::borrow::Cow;
use std::fmt;

/// An identity as Kafka writes it: a type and a name, `User:alice`. The type is always `User` for
/// clients; other types occur only in rules that operators write.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal {
    /// The part before the first colon.
    pub kind: Cow<'static, str>,
    /// The part after it; may hold colons itself, as certificate names do.
    pub name: Cow<'static, str>,
}

/// Text that is no principal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a string in format principalType:principalName but got {0}")]
pub struct Unparsable(pub String);

impl Principal {
    /// The type of every client's identity.
    pub const USER: &'static str = "User";

    /// `User:ANONYMOUS`: whoever comes over a listener that does not authenticate.
    pub fn anonymous() -> Principal {
        Principal {
            kind: Cow::Borrowed(Principal::USER),
            name: Cow::Borrowed("ANONYMOUS"),
        }
    }

    /// A client of that name.
    pub fn user(name: impl Into<String>) -> Principal {
        Principal {
            kind: Cow::Borrowed(Principal::USER),
            name: Cow::Owned(name.into()),
        }
    }

    /// Reads `type:name`, split at the first colon; neither part may be empty.
    pub fn parse(text: &str) -> Result<Principal, Unparsable> {
        match text.split_once(':') {
            Some((kind, name)) if !kind.is_empty() && !name.is_empty() => Ok(Principal {
                kind: Cow::Owned(kind.to_owned()),
                name: Cow::Owned(name.to_owned()),
            }),
            _ => Err(Unparsable(text.to_owned())),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_split_at_its_first_colon_and_written_back_the_same() {
        let p = Principal::parse("User:CN=a:b").unwrap();
        assert_eq!((&*p.kind, &*p.name), ("User", "CN=a:b"));
        assert_eq!(p.to_string(), "User:CN=a:b");
        assert_eq!(Principal::anonymous().to_string(), "User:ANONYMOUS");
        assert_eq!(Principal::user("ANONYMOUS"), Principal::anonymous());
        for bad in ["", "alice", ":alice", "User:"] {
            assert!(Principal::parse(bad).is_err(), "{bad}");
        }
    }
}
