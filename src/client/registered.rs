//! Where brokers listen, as their registrations in ZooKeeper say: for those who know ZooKeeper and no
//! broker yet.

use ::log::warn;

use super::metadata::HostPort;
use crate::cluster::{BrokerId, SecurityProtocol};
use crate::zookeeper::znodes::broker::Registration;
use crate::zookeeper::{Result, Session, paths};

/// Where a broker listens for plain connections; `None` if it is not registered or does not.
///
/// # Errors
/// ZooKeeper's. A registration that cannot be read is only told.
pub async fn broker(session: &Session, id: BrokerId) -> Result<Option<HostPort>> {
    let node = session.get(&paths::broker(id.0)).await?;
    let Some(data) = node.and_then(|n| n.data) else {
        return Ok(None);
    };
    match Registration::decode(id, &data) {
        Ok(registration) => {
            let endpoint = registration.broker.endpoint(SecurityProtocol::Plaintext);
            Ok(endpoint.map(|e| HostPort {
                host: e.host.clone(),
                port: e.port,
            }))
        }
        Err(e) => {
            warn!("broker {id} has a registration that cannot be read: {e}");
            Ok(None)
        }
    }
}

/// Where all registered brokers listen for plain connections, in no promised order.
///
/// # Errors
/// ZooKeeper's.
pub async fn brokers(session: &Session) -> Result<Vec<HostPort>> {
    let ids = session.children(paths::BROKER_IDS).await?;
    let mut all = Vec::new();
    for id in ids.map(|(ids, _)| ids).unwrap_or_default() {
        let Ok(id) = id.parse() else { continue };
        all.extend(broker(session, BrokerId(id)).await?);
    }
    Ok(all)
}
