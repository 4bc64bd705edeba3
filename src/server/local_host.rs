//! What this machine calls itself, for a broker that was not told what to advertise, and whether
//! others have a chance to find it by what it advertises.

use std::net::{IpAddr, ToSocketAddrs};

use ::log::{info, warn};

use crate::cluster::Endpoint;

/// The endpoints with this machine's name in place of empty hosts.
pub(super) fn fill_in(endpoints: &[Endpoint]) -> Vec<Endpoint> {
    let mut name = None;
    endpoints
        .iter()
        .map(|e| {
            let mut e = e.clone();
            if e.host.trim().is_empty() {
                e.host = name.get_or_insert_with(canonical_name).clone();
            }
            e
        })
        .collect()
}

/// Says in the log where clients will be told to go, and warns of what will not work for them.
pub(super) fn announce(endpoints: &[Endpoint]) {
    for endpoint in endpoints {
        match addresses(&endpoint.host) {
            Ok(found) if found.iter().all(IpAddr::is_unspecified) => warn!(
                "clients are told {endpoint}, which is no address that anybody can connect to; set advertised.listeners or advertised.host.name to this machine's name"
            ),
            Ok(found) => {
                let shown: Vec<_> = found.iter().map(IpAddr::to_string).collect();
                let reach = if found.iter().all(IpAddr::is_loopback) {
                    ": only clients on this machine can use that"
                } else {
                    ""
                };
                info!(
                    "clients are told {endpoint}, which resolves to {} here{reach}",
                    shown.join(", ")
                );
            }
            Err(e) => warn!(
                "clients are told {endpoint}, but this machine cannot resolve that name ({e}): the broker itself and clients on this machine cannot connect; set advertised.host.name or advertised.listeners"
            ),
        }
    }
}

fn addresses(host: &str) -> std::io::Result<Vec<IpAddr>> {
    let mut found: Vec<IpAddr> = Vec::new();
    for address in (host, 0).to_socket_addrs()? {
        if !found.contains(&address.ip()) {
            found.push(address.ip());
        }
    }
    Ok(found)
}

/// The machine's canonical name: the first name that the hosts file gives for the address of its
/// host name, else the host name. A name that does not resolve would shut everybody out, so then it
/// is `localhost`, with a warning; a name that Kafka's clients cannot parse becomes its address.
fn canonical_name() -> String {
    let Some(name) = host_name() else {
        warn!("this machine has no host name; telling clients localhost");
        return "localhost".to_owned();
    };
    let found = match addresses(&name) {
        Ok(found) if !found.is_empty() => found,
        Ok(_) | Err(_) => {
            warn!(
                "this machine's host name {name} does not resolve; telling clients localhost, which works on this machine only. Set advertised.host.name to a name that others can resolve"
            );
            return "localhost".to_owned();
        }
    };
    let name = hosts_file_name(found[0]).unwrap_or(name);
    if name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-.:".contains(&b))
    {
        name
    } else {
        warn!(
            "this machine's name {name} has characters that Kafka does not allow in addresses; telling clients {}",
            found[0]
        );
        found[0].to_string()
    }
}

#[cfg(unix)]
fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Some(name).filter(|n| !n.is_empty() && n != "(none)")
}

#[cfg(windows)]
fn host_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok().filter(|n| !n.is_empty())
}

fn hosts_file_name(address: IpAddr) -> Option<String> {
    let path = if cfg!(windows) {
        let root = std::env::var_os("SystemRoot")?;
        std::path::Path::new(&root).join(r"System32\drivers\etc\hosts")
    } else {
        "/etc/hosts".into()
    };
    name_in_hosts(&std::fs::read_to_string(path).ok()?, address)
}

fn name_in_hosts(text: &str, address: IpAddr) -> Option<String> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let at: IpAddr = words.next()?.parse().ok()?;
        if at == address {
            words.next().map(str::to_owned)
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_gives_the_first_name_of_an_address() {
        let text = "127.0.0.1 localhost\n# 10.0.0.1 old\n10.0.0.1\tbox.example.org box # ours\n";
        assert_eq!(
            name_in_hosts(text, "10.0.0.1".parse().unwrap()).as_deref(),
            Some("box.example.org")
        );
        assert_eq!(name_in_hosts(text, "10.0.0.2".parse().unwrap()), None);
    }

    #[test]
    fn an_empty_host_becomes_a_name_that_resolves() {
        let filled = fill_in(&[Endpoint::parse("PLAINTEXT://:9092").unwrap()]);
        assert!(!addresses(&filled[0].host).unwrap().is_empty());
        let kept = Endpoint::parse("PLAINTEXT://a.b:1").unwrap();
        assert_eq!(fill_in(std::slice::from_ref(&kept)), [kept]);
    }
}
