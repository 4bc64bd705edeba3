//! Where the servers are: `host:port,host:port/chroot`.
//!
//! Knows names and addresses; opens no connection.

use std::net::SocketAddr;

use super::error::{Error, Result, validate_path};
use crate::util::random::shuffle;

/// ZooKeeper's port when none is given.
const DEFAULT_PORT: u16 = 2181;

/// A connect string, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectString {
    /// Host names or addresses with their ports, at least one.
    pub servers: Vec<(String, u16)>,
    /// The path under which the session lives, without a slash at its end; empty for none.
    pub chroot: String,
}

impl ConnectString {
    /// Takes a connect string apart.
    ///
    /// # Errors
    /// [`Error::ConnectString`] for no server, a bad port or a bad chroot.
    pub fn parse(connect: &str) -> Result<ConnectString> {
        let fail = |reason: String| Error::ConnectString {
            connect: connect.to_owned(),
            reason,
        };
        let (servers, chroot) = match connect.find('/') {
            Some(at) => connect.split_at(at),
            None => (connect, ""),
        };
        let chroot = if chroot == "/" { "" } else { chroot };
        if !chroot.is_empty() {
            validate_path(chroot).map_err(|e| fail(e.to_string()))?;
        }
        let mut parsed = Vec::new();
        for server in servers.split(',').map(str::trim).filter(|s| !s.is_empty()) {
            let (host, port) = match server.rsplit_once(':') {
                // An IPv6 address in brackets without a port.
                Some((_, rest)) if rest.ends_with(']') => (server, DEFAULT_PORT),
                Some((host, port)) => {
                    let port = port.parse();
                    (host, port.map_err(|_| fail(format!("no port: {server}")))?)
                }
                None => (server, DEFAULT_PORT),
            };
            let host = host.strip_prefix('[').unwrap_or(host);
            let host = host.strip_suffix(']').unwrap_or(host);
            parsed.push((host.to_owned(), port));
        }
        if parsed.is_empty() {
            return Err(fail("it names no server".to_owned()));
        }
        Ok(ConnectString {
            servers: parsed,
            chroot: chroot.to_owned(),
        })
    }

    /// Every address of every server, in a random order. Names are resolved anew on each call, so
    /// that a server which moved is found; those that cannot be resolved are left out.
    pub async fn resolve(&self) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for (host, port) in &self.servers {
            match tokio::net::lookup_host((host.as_str(), *port)).await {
                Ok(found) => addresses.extend(found),
                Err(e) => ::log::warn!("Cannot resolve ZooKeeper server {host}: {e}"),
            }
        }
        addresses.sort_unstable();
        addresses.dedup();
        shuffle(&mut addresses);
        addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_separated_by_commas_and_end_at_the_chroot() {
        let parse = |s| ConnectString::parse(s).unwrap();
        let both = parse("a:1, b,[::1]:3/x/y");
        assert_eq!(
            both.servers,
            [("a".into(), 1), ("b".into(), 2181), ("::1".into(), 3)]
        );
        assert_eq!(both.chroot, "/x/y");
        assert_eq!(parse("a/").chroot, "");
        assert_eq!(parse("[::1]").servers, [("::1".into(), 2181)]);
        for bad in ["", "/x", "a:b", "a:1/x/", "a:1//x", "a:70000"] {
            assert!(ConnectString::parse(bad).is_err(), "{bad}");
        }
    }
}
