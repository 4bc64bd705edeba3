//! Standing for election: whoever creates `/controller` acts. Knows nothing of what the controller does.

use ::log::{info, warn};

use super::context::CONTROLLER;
use super::error::{Error, Result};
use super::store::data;
use crate::cluster::BrokerId;
use crate::util::clock::Clock;
use crate::zookeeper::{self, Session, Watch, paths, znodes};

/// Waits until this broker is elected. `session` is pinned: it works in one ZooKeeper session only.
///
/// A broker stands only when its own registration is there, made by this very session: 0.9.0.1 elects
/// first and then takes itself for dead.
///
/// # Errors
/// [`Error::Zookeeper`], above all when the session ends.
pub(super) async fn stand(session: &Session, me: BrokerId, clock: &Clock) -> Result<()> {
    let registration = paths::broker(me.0);
    loop {
        let (node, changed) = session.exists_watched(&registration).await?;
        if node.is_none_or(|stat| stat.ephemeral_owner != session.session_id()) {
            changed.fired().await;
            continue;
        }
        let wish = znodes::controller::encode(me, clock.wall());
        match session
            .create_ephemeral_checked(paths::CONTROLLER, wish.as_bytes())
            .await
        {
            Ok(()) => {
                info!(target: ELECTOR, "{me} successfully elected as leader");
                return Ok(());
            }
            Err(zookeeper::Error::NodeExists) => {}
            Err(e) => return Err(e.into()),
        }
        let (node, changed) = session.get_watched(paths::CONTROLLER).await?;
        let Some(node) = node else {
            continue;
        };
        match znodes::controller::decode(data(&node)) {
            Ok(id) if id == me && node.stat.ephemeral_owner != session.session_id() => {
                // An earlier life of this broker; its registration could not be ours otherwise. 0.9.0.1
                // takes it for its own and acts on nothing until it expires.
                warn!(target: ELECTOR,
                    "{} still names an earlier session of broker {me}; it is replaced", paths::CONTROLLER);
                match session.delete(paths::CONTROLLER, node.stat.version).await {
                    Ok(()) | Err(zookeeper::Error::NoNode | zookeeper::Error::BadVersion) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            Ok(id) => {
                info!(target: ELECTOR, "New leader is {id}");
                changed.fired().await;
            }
            Err(e) => {
                warn!(target: CONTROLLER, "{} cannot be read: {e}", paths::CONTROLLER);
                changed.fired().await;
            }
        }
    }
}

/// Watches that `/controller` stays this session's.
///
/// # Errors
/// [`Error::Deposed`] if it is not.
pub(super) async fn confirm(session: &Session) -> Result<Watch> {
    let (node, changed) = session.exists_watched(paths::CONTROLLER).await?;
    match node {
        Some(stat) if stat.ephemeral_owner == session.session_id() => Ok(changed),
        _ => Err(Error::Deposed),
    }
}

/// Gives `/controller` up, if it is still this session's. 0.9.0.1 deletes it whoever owns it.
///
/// # Errors
/// [`Error::Zookeeper`].
pub(super) async fn give_up(session: &Session) -> Result<()> {
    let Some(stat) = session.exists(paths::CONTROLLER).await? else {
        return Ok(());
    };
    if stat.ephemeral_owner != session.session_id() {
        return Ok(());
    }
    match session.delete(paths::CONTROLLER, stat.version).await {
        Ok(()) | Err(zookeeper::Error::NoNode | zookeeper::Error::BadVersion) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// The log target of elections.
const ELECTOR: &str = "kafka.server.ZookeeperLeaderElector";
