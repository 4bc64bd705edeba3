//! Being known to the cluster: the ephemeral node `/brokers/ids/N`, for as long as the broker lives.
//! Knows nothing of what the broker serves; it is given addresses and keeps them published.
//!
//! The node goes with its session. So a broker that comes back quickly meets the node of its own
//! former life, and a broker whose session expired has none: the first waits for the old node to
//! go, the second registers again, however long it takes.

mod patience;

use std::time::Duration;

use ::log::{info, warn};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::local_host;
use crate::cluster::{Broker, BrokerId, Endpoint};
use crate::replica::isr::SETTLING;
use crate::util::clock::Clock;
use crate::util::shutdown::{Shutdown, Stop};
use crate::zookeeper::{self, Session, paths, znodes};
use patience::Patience;

/// Pause before a failed registration is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// How much longer than its timeout a dead session may live at least: ZooKeeper ends sessions at the beat
/// of its own tick, two seconds unless configured otherwise, and grants none shorter than two ticks.
const EXPIRY_MARGIN: Duration = Duration::from_secs(4);

/// How long after its former life's node went a broker waits before it makes its own: by then what was
/// decided about that life has arrived, and has been refused. Besides, a controller of 0.9.0.1 compares ids
/// only, and would not see that the broker had been gone (KAFKA-1120).
const NOTICE: Duration = SETTLING;

/// How often a broker that waits for its former life's node looks whether ZooKeeper answers.
const LOOK: Duration = Duration::from_millis(500);

/// Whose life it is that ZooKeeper shows under this broker's id.
///
/// Until it is the present one, a controller takes this broker for what it was before: a leader, say, with
/// all that it had then. What it decides on that ground is not for this broker to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// A former one, or none.
    Former,
    /// The node is being made.
    Asking,
    /// The present one, whose node was made by this transaction, the last of them if there were several sessions.
    Present(i64),
}

impl Membership {
    /// Waits while the node is being made for the first time. Afterwards the transaction that made the present life's last
    /// node is known, or `None` if the cluster does not know the present life.
    pub async fn since(mut membership: watch::Receiver<Membership>) -> Option<i64> {
        let known = membership.wait_for(|m| *m != Membership::Asking).await;
        match *known.ok()? {
            Membership::Present(czxid) => Some(czxid),
            Membership::Former | Membership::Asking => None,
        }
    }
}

/// Why the first registration failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another broker has the id. The text is Kafka's.
    #[error(
        "A broker is already registered on the path {path}. This probably indicates that you either have configured a brokerid that is already in use, or else you have shutdown this broker and restarted it faster than the zookeeper timeout so it appears to be re-registering. It is registered as {as_what}"
    )]
    Taken {
        /// The node.
        path: String,
        /// The other broker's addresses.
        as_what: String,
    },
    /// ZooKeeper said no.
    #[error("registering broker {id}: {source}")]
    ZooKeeper {
        /// This broker.
        id: BrokerId,
        /// What it said.
        #[source]
        source: zookeeper::Error,
    },
}

/// What is published.
#[derive(Clone, Debug)]
pub struct Identity {
    /// This broker.
    pub id: BrokerId,
    /// Where clients are told to go. An empty host becomes this machine's name, found anew at each
    /// registration. No port is 0.
    pub advertised: Vec<Endpoint>,
    /// Whether the ports were chosen by the system, so that a former life had others.
    pub free_ports: bool,
    /// How long a dead session keeps its nodes.
    pub session_timeout: Duration,
}

impl Identity {
    fn failed(&self, source: zookeeper::Error) -> Error {
        Error::ZooKeeper { id: self.id, source }
    }
}

/// A published broker. Ends with [`Registration::stop`]; the node itself ends with the session.
#[derive(Debug)]
pub struct Registration {
    registered: watch::Receiver<u64>,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Registration {
    /// Registers and keeps the registration alive. Afterwards the node stands; `membership` tells those who
    /// cannot wait for that.
    ///
    /// # Errors
    /// [`Error::Taken`] if the id belongs to another broker: at once if the other one's address
    /// cannot have been ours, else after a dead session's node would have gone, however long ZooKeeper does not
    /// answer meanwhile.
    pub async fn start(
        identity: Identity,
        zookeeper: Session,
        clock: Clock,
        membership: watch::Sender<Membership>,
    ) -> Result<Registration, Error> {
        let (published, registered) = watch::channel(0);
        let generation = register(&identity, &zookeeper, &clock, &membership).await?;
        published.send_replace(generation);
        let shutdown = Shutdown::new();
        let told = (published, membership);
        let task = tokio::spawn(keep(identity, zookeeper, clock, told, shutdown.stop()));
        Ok(Registration {
            registered,
            shutdown,
            task,
        })
    }

    /// The generation of the ZooKeeper session in which the node was made last. Whoever acts for
    /// the cluster waits until this is the current one, so that it does not take itself for dead.
    pub fn registered(&self) -> watch::Receiver<u64> {
        self.registered.clone()
    }

    /// Stops looking after the node; closing the session removes it.
    pub async fn stop(self) {
        self.shutdown.ask();
        let _ = self.task.await;
    }
}

/// Registers anew in each session that follows an expired one, until stopped.
async fn keep(
    identity: Identity,
    zookeeper: Session,
    clock: Clock,
    (published, membership): (watch::Sender<u64>, watch::Sender<Membership>),
    mut stop: Stop,
) {
    let mut state = zookeeper.state();
    loop {
        let done = *published.borrow();
        let changed = state.wait_for(|s| s.closed || s.generation != done);
        let closed = tokio::select! {
            seen = changed => seen.map_or(true, |s| s.closed),
            _ = stop.wait() => return,
        };
        if closed {
            return;
        }
        info!("re-registering broker info in ZK for broker {}", identity.id);
        let outcome = tokio::select! {
            outcome = register(&identity, &zookeeper, &clock, &membership) => outcome,
            _ = stop.wait() => return,
        };
        match outcome {
            Ok(generation) => {
                info!("done re-registering broker {}", identity.id);
                published.send_replace(generation);
            }
            Err(e) => {
                warn!("{e}; trying again");
                tokio::select! {
                    _ = clock.sleep(RETRY) => {}
                    _ = stop.wait() => return,
                }
            }
        }
    }
}

/// Makes the node and returns the generation of the session that owns it. `membership` is told how far it
/// is; who was present once stays so while the node is made again.
async fn register(
    identity: &Identity,
    zookeeper: &Session,
    clock: &Clock,
    membership: &watch::Sender<Membership>,
) -> Result<u64, Error> {
    let tell = |now| {
        membership.send_if_modified(|known| {
            let newer = matches!(now, Membership::Present(_)) || !matches!(known, Membership::Present(_));
            if newer {
                *known = now;
            }
            newer
        });
    };
    let path = paths::broker(identity.id.0);
    let mut patience: Option<Patience> = None;
    loop {
        // Whatever happens from here on happens in one session, or fails.
        let zookeeper = zookeeper.pinned();
        let endpoints = local_host::fill_in(&identity.advertised);
        let node = znodes::broker::Registration {
            broker: Broker {
                id: identity.id,
                endpoints: endpoints.clone(),
            },
            jmx_port: -1,
            timestamp: clock.wall(),
        };
        tell(Membership::Asking);
        let made = make(&zookeeper, &path, &node).await;
        tell(match made {
            Ok(czxid) => Membership::Present(czxid),
            Err(_) => Membership::Former,
        });
        match made {
            Ok(_) => {
                info!(
                    "Registered broker {} at path {path} with addresses: {}",
                    identity.id,
                    shown(&endpoints)
                );
                return Ok(zookeeper.generation());
            }
            Err(zookeeper::Error::NodeExists) => {}
            Err(zookeeper::Error::SessionExpired) => continue,
            Err(e) => return Err(identity.failed(e)),
        }

        // Somebody has the id: we ourselves a moment ago, or another.
        outlive(identity, &zookeeper, clock, &endpoints, &mut patience).await?;
    }
}

/// Waits until the node that stands under this broker's id is gone and that has been noticed, or until the
/// session is over. `patience` begins when the node is first seen.
async fn outlive(
    identity: &Identity,
    zookeeper: &Session,
    clock: &Clock,
    endpoints: &[Endpoint],
    patience: &mut Option<Patience>,
) -> Result<(), Error> {
    let path = paths::broker(identity.id.0);
    loop {
        let (found, gone) = match zookeeper.get_watched(&path).await {
            Err(zookeeper::Error::SessionExpired) => return Ok(()),
            seen => seen.map_err(|source| identity.failed(source))?,
        };
        let Some(found) = found else {
            clock.sleep(NOTICE).await;
            return Ok(());
        };
        let theirs =
            znodes::broker::Registration::decode(identity.id, found.data.as_deref().unwrap_or_default());
        let taken = Error::Taken {
            path: path.clone(),
            as_what: match &theirs {
                Ok(r) => shown(&r.broker.endpoints),
                Err(_) => "what no broker writes".to_owned(),
            },
        };
        if !theirs.is_ok_and(|r| may_be_former_self(endpoints, identity.free_ports, &r.broker)) {
            return Err(taken);
        }
        let patience = patience.get_or_insert_with(|| {
            // The server grants this session what it granted the former one.
            let granted = zookeeper.timeout().max(identity.session_timeout);
            let whole = granted + EXPIRY_MARGIN.max(granted / 2);
            warn!(
                "{path} still stands from this broker's former session 0x{:x}; waiting up to {} ms for it to go",
                found.stat.ephemeral_owner,
                whole.as_millis()
            );
            Patience::new(whole, clock.now(), zookeeper.state())
        });
        if !patience.lasts(clock.now()) {
            return Err(taken);
        }
        tokio::select! {
            _ = gone.fired() => {
                clock.sleep(NOTICE).await;
                return Ok(());
            }
            _ = clock.sleep(LOOK) => {}
        }
    }
}

/// The addresses as one line.
fn shown(endpoints: &[Endpoint]) -> String {
    let shown: Vec<_> = endpoints.iter().map(Endpoint::to_string).collect();
    shown.join(",")
}

/// Makes the node; returns the transaction that did.
async fn make(
    zookeeper: &Session,
    path: &str,
    node: &znodes::broker::Registration,
) -> zookeeper::Result<i64> {
    zookeeper
        .create_ephemeral_checked(path, node.encode().as_bytes())
        .await?;
    match zookeeper.exists(path).await? {
        Some(stat) => Ok(stat.czxid),
        // Only the end of the session takes it away.
        None => Err(zookeeper::Error::SessionExpired),
    }
}

/// Whether a node with the addresses of `found` can be what this broker left behind: one of its
/// addresses is ours, the port aside if it was not ours to choose.
fn may_be_former_self(mine: &[Endpoint], free_ports: bool, found: &Broker) -> bool {
    found.endpoints.iter().any(|theirs| {
        mine.iter()
            .any(|ours| theirs.host == ours.host && (free_ports || theirs.port == ours.port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_node_with_our_address_can_be_our_former_self() {
        let at = |text: &str| Endpoint::parse(text).unwrap();
        let found = |text: &str| Broker {
            id: BrokerId(0),
            endpoints: vec![at(text)],
        };
        let mine = [at("PLAINTEXT://h:9092")];
        assert!(may_be_former_self(&mine, false, &found("PLAINTEXT://h:9092")));
        assert!(!may_be_former_self(&mine, false, &found("PLAINTEXT://h:9093")));
        assert!(!may_be_former_self(
            &mine,
            false,
            &found("PLAINTEXT://other:9092")
        ));
        assert!(may_be_former_self(&mine, true, &found("PLAINTEXT://h:4711")));
        assert!(!may_be_former_self(&mine, true, &found("PLAINTEXT://other:9092")));
    }
}
