//! Leaving without a gap: a broker that stops asks the controller to move its leaderships first.
//! Knows the one request and who to send it to; moving is the controller's business.

use std::time::Duration;

use ::log::{info, warn};

use crate::client::{Connection, ConnectionSettings};
use crate::cluster::{BrokerId, SecurityProtocol};
use crate::protocol::ErrorCode;
use crate::protocol::controlled_shutdown::{ControlledShutdownRequest, ControlledShutdownResponse};
use crate::protocol::registration;
use crate::util::clock::Clock;
use crate::zookeeper::{Session, paths, znodes};

/// How often and how long to try.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// This broker.
    pub(super) id: BrokerId,
    /// `controlled.shutdown.max.retries`: how many attempts there are.
    pub(super) attempts: u32,
    /// `controlled.shutdown.retry.backoff.ms`.
    pub(super) backoff: Duration,
    /// `controller.socket.timeout.ms`.
    pub(super) timeout: Duration,
    /// `security.inter.broker.protocol`.
    pub(super) protocol: SecurityProtocol,
    /// 1, or 0 among brokers older than 0.9.
    pub(super) version: i16,
}

/// How long ZooKeeper may take to say who the controller is. Nobody can move anything without it,
/// and it may have been stopped just before this broker.
const ZOOKEEPER_PATIENCE: Duration = Duration::from_secs(1);

/// Asks until nothing is led here any more, or until the attempts are used up. Says in the log how
/// it went; the broker stops either way.
pub(super) async fn leave(settings: &Settings, zookeeper: &Session, clock: &Clock) {
    info!("[Kafka Server {}], Starting controlled shutdown", settings.id);
    for attempt in 1..=settings.attempts {
        match ask(settings, zookeeper, clock).await {
            Ok(answer) if answer.error == ErrorCode::NONE.0 && answer.partitions.is_empty() => {
                info!("[Kafka Server {}], Controlled shutdown succeeded", settings.id);
                return;
            }
            Ok(answer) if answer.error == ErrorCode::NONE.0 => {
                let left: Vec<_> = answer
                    .partitions
                    .iter()
                    .map(|p| format!("[{},{}]", p.topic, p.partition))
                    .collect();
                info!(
                    "[Kafka Server {}], Remaining partitions to move: {}",
                    settings.id,
                    left.join(",")
                );
                if is_last(settings, zookeeper, clock).await {
                    info!(
                        "[Kafka Server {}], no other broker is there to take them",
                        settings.id
                    );
                    break;
                }
            }
            Ok(answer) => {
                info!(
                    "[Kafka Server {}], Error code from controller: {}",
                    settings.id, answer.error
                );
            }
            Err(Failure::NoController(why)) => {
                warn!(
                    "[Kafka Server {}], nobody to hand leaderships to: {why}",
                    settings.id
                );
                break;
            }
            Err(Failure::Transport(why)) => {
                warn!(
                    "[Kafka Server {}], Error during controlled shutdown: {why}",
                    settings.id
                );
            }
        }
        if attempt < settings.attempts {
            warn!(
                "[Kafka Server {}], Retrying controlled shutdown after the previous attempt failed...",
                settings.id
            );
            clock.sleep(settings.backoff).await;
        }
    }
    warn!(
        "[Kafka Server {}], Proceeding to do an unclean shutdown as all the controlled shutdown attempts failed",
        settings.id
    );
}

enum Failure {
    /// More attempts would not help.
    NoController(String),
    /// The controller may have moved, or be slow.
    Transport(String),
}

async fn ask(
    settings: &Settings,
    zookeeper: &Session,
    clock: &Clock,
) -> Result<ControlledShutdownResponse, Failure> {
    let find = async {
        let address = controller_address(settings, zookeeper).await?;
        let node = zookeeper.get(&paths::broker(settings.id.0)).await;
        let czxid = node.ok().flatten().map(|node| node.stat.czxid);
        Ok((address, czxid))
    };
    let ((host, port), czxid) = tokio::select! {
        found = find => found?,
        _ = clock.sleep(ZOOKEEPER_PATIENCE) => {
            return Err(Failure::NoController("ZooKeeper does not answer".to_owned()));
        }
    };
    let connection_settings = ConnectionSettings {
        client_id: match czxid {
            Some(czxid) => registration::client_id(settings.id.0, czxid),
            None => settings.id.to_string(),
        },
        request_timeout: settings.timeout,
        connect_timeout: settings.timeout,
        clock: clock.clone(),
        ..ConnectionSettings::default()
    };
    let transport = |e: crate::client::connection::Error| Failure::Transport(e.to_string());
    let connection = Connection::connect(&host, port, connection_settings)
        .await
        .map_err(transport)?;
    let request = ControlledShutdownRequest {
        broker_id: settings.id.0,
    };
    connection
        .call_version(&request, settings.version)
        .await
        .map_err(transport)
}

/// Whether no other broker is registered: trying again would not help.
async fn is_last(settings: &Settings, zookeeper: &Session, clock: &Clock) -> bool {
    let registered = tokio::select! {
        found = zookeeper.children(paths::BROKER_IDS) => found,
        _ = clock.sleep(ZOOKEEPER_PATIENCE) => return false,
    };
    let me = settings.id.to_string();
    matches!(registered, Ok(Some((ids, _))) if ids.iter().all(|id| *id == me))
}

async fn controller_address(settings: &Settings, zookeeper: &Session) -> Result<(String, i32), Failure> {
    let none = |why: &dyn std::fmt::Display| Failure::NoController(why.to_string());
    let node = zookeeper.get(paths::CONTROLLER).await.map_err(|e| none(&e))?;
    let node = node.ok_or_else(|| none(&"no controller is elected"))?;
    let controller =
        znodes::controller::decode(node.data.as_deref().unwrap_or_default()).map_err(|e| none(&e))?;
    let path = paths::broker(controller.0);
    let node = zookeeper.get(&path).await.map_err(|e| none(&e))?;
    let node = node.ok_or_else(|| Failure::Transport(format!("{path} is not there")))?;
    let registered =
        znodes::broker::Registration::decode(controller, node.data.as_deref().unwrap_or_default())
            .map_err(|e| none(&e))?;
    let endpoint = registered
        .broker
        .endpoint(settings.protocol)
        .ok_or_else(|| none(&format!("{path} has no {} address", settings.protocol)))?;
    Ok((endpoint.host.clone(), endpoint.port))
}
