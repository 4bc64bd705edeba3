//! What all connections of a broker share: how many per address, and how much memory for requests.

use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ::log::warn;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::NetworkSettings;

/// Shared by the listeners of one broker.
#[derive(Debug)]
pub struct Limits {
    default_per_ip: usize,
    per_ip: HashMap<IpAddr, usize>,
    counts: Mutex<HashMap<IpAddr, usize>>,
    memory: Arc<Semaphore>,
    /// Held by the one request that may exceed the bound, so that requests which fill it together
    /// do not wait for each other for ever.
    overdraft: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// The unit of memory accounting.
const UNIT: usize = 1024;

impl Limits {
    /// Resolves the hosts of the overrides, once; one that does not resolve is logged and ignored.
    pub fn new(settings: &NetworkSettings) -> Arc<Limits> {
        let mut per_ip = HashMap::new();
        for (host, most) in &settings.max_connections_overrides {
            match (host.as_str(), 0).to_socket_addrs() {
                Ok(addresses) => per_ip.extend(addresses.map(|a| (a.ip().to_canonical(), *most))),
                Err(e) => warn!("max.connections.per.ip.overrides: cannot resolve {host}: {e}"),
            }
        }
        let units = (settings.request_memory_bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Limits {
            default_per_ip: settings.max_connections_per_ip,
            per_ip,
            counts: Mutex::default(),
            memory: Arc::new(Semaphore::new(units)),
            overdraft: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Counts one more connection from `ip`, until the returned value is dropped.
    ///
    /// # Errors
    /// The maximum, if there are that many already.
    pub(super) fn admit(self: &Arc<Self>, ip: IpAddr) -> std::result::Result<Admission, usize> {
        let ip = ip.to_canonical();
        let most = self.per_ip.get(&ip).copied().unwrap_or(self.default_per_ip);
        let mut counts = self.counts.lock().expect("a holder of the counts panicked");
        let count = counts.entry(ip).or_insert(0);
        if *count >= most {
            if *count == 0 {
                counts.remove(&ip);
            }
            return Err(most);
        }
        *count += 1;
        Ok(Admission {
            limits: self.clone(),
            ip,
        })
    }

    /// Whether some connection waits for memory that others hold.
    pub(super) fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Waits until `held` may grow to `bytes`. First come, first served; the first that finds no
    /// memory goes on without.
    pub(super) async fn grow(&self, held: &mut Held, bytes: usize) {
        let units = bytes.div_ceil(UNIT);
        let have = held.memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if held.overdraft.is_some() || units <= have {
            return;
        }
        let Ok(more) = u32::try_from(units - have) else {
            return;
        };
        let taken = match self.memory.clone().try_acquire_many_owned(more) {
            Ok(taken) => taken,
            Err(_) => {
                self.waiting.fetch_add(1, Ordering::Relaxed);
                let _waiting = Waiting(&self.waiting);
                tokio::select! {
                    biased;
                    Ok(taken) = self.memory.clone().acquire_many_owned(more) => taken,
                    Ok(overdraft) = self.overdraft.clone().acquire_owned() => {
                        held.overdraft = Some(overdraft);
                        return;
                    }
                    // The semaphores are never closed.
                    else => return,
                }
            }
        };
        match &mut held.memory {
            Some(memory) => memory.merge(taken),
            none => *none = Some(taken),
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection's place in the count of its address.
#[derive(Debug)]
pub(super) struct Admission {
    limits: Arc<Limits>,
    ip: IpAddr,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self
            .limits
            .counts
            .lock()
            .expect("a holder of the counts panicked");
        if let Some(count) = counts.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.ip);
            }
        }
    }
}

/// One connection's share of the memory; given back when dropped.
#[derive(Debug, Default)]
pub(super) struct Held {
    memory: Option<OwnedSemaphorePermit>,
    overdraft: Option<OwnedSemaphorePermit>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn the_override_of_a_host_counts_before_the_default_and_a_close_frees_a_place() {
        let limits = Limits::new(&NetworkSettings {
            max_connections_per_ip: 1,
            max_connections_overrides: HashMap::from([("127.0.0.1".to_owned(), 2)]),
            ..NetworkSettings::default()
        });
        let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let first = limits.admit(other).unwrap();
        assert_eq!(limits.admit(other).unwrap_err(), 1);
        drop(first);
        let _again = limits.admit(other).unwrap();
        let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        let _held = (limits.admit(HERE).unwrap(), limits.admit(mapped).unwrap());
        assert_eq!(limits.admit(HERE).unwrap_err(), 2);
    }

    #[tokio::test]
    async fn one_request_may_exceed_the_memory_and_the_next_waits_for_it() {
        let limits = Limits::new(&NetworkSettings {
            request_memory_bytes: 100 * UNIT,
            ..NetworkSettings::default()
        });
        let (mut a, mut b, mut c) = (Held::default(), Held::default(), Held::default());
        limits.grow(&mut a, 60 * UNIT).await;
        limits.grow(&mut b, 60 * UNIT).await;
        assert!(b.overdraft.is_some());
        {
            let third = limits.grow(&mut c, 60 * UNIT);
            tokio::pin!(third);
            tokio::select! {
                biased;
                () = &mut third => panic!("there was no memory left"),
                () = tokio::task::yield_now() => assert!(limits.is_short()),
            }
            drop(b);
            third.await;
        }
        assert!(!limits.is_short());
        assert!(c.overdraft.is_some());
        drop((a, c));
        assert_eq!(limits.memory.available_permits(), 100);
    }
}
