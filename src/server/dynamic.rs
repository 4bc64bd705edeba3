//! Settings that change while the broker runs (kafka.server.DynamicConfigManager): each change is
//! a notification node under `/config/changes` that names whose settings to read again.
//!
//! Knows where settings are kept and to whom they go, not what they do. A notification that nobody
//! can read is skipped with a warning and never holds up the ones behind it.

use std::sync::Arc;
use std::time::Duration;

use ::log::{info, warn};
use tokio::task::JoinHandle;

use crate::admin;
use crate::config::LogConfig;
use crate::log::LogManager;
use crate::server::quota::Quotas;
use crate::util::clock::{Clock, WallMs};
use crate::util::shutdown::{Shutdown, Stop};
use crate::zookeeper::paths::{self, CONFIG_CHANGE_PREFIX, EntityType};
use crate::zookeeper::{self, Session, znodes};

/// Notifications older than this are removed by whoever sees them.
const PURGE_AFTER: Duration = Duration::from_secs(15 * 60);

/// Pause before ZooKeeper is asked again after it failed.
const RETRY: Duration = Duration::from_millis(500);

/// Follows the notifications until stopped.
#[derive(Debug)]
pub struct DynamicConfigManager {
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl DynamicConfigManager {
    /// Starts with whatever notifications stand; settings read by their topics' logs at start are
    /// read once more, which changes nothing.
    pub fn start(
        zookeeper: Session,
        logs: Arc<LogManager>,
        defaults: LogConfig,
        quotas: Arc<Quotas>,
        clock: Clock,
    ) -> DynamicConfigManager {
        let shutdown = Shutdown::new();
        let stop = shutdown.stop();
        let follower = Follower {
            zookeeper,
            logs,
            defaults,
            quotas,
            clock,
            last: -1,
        };
        DynamicConfigManager {
            shutdown,
            task: tokio::spawn(follower.run(stop)),
        }
    }

    /// Stops following; a topic's settings are applied whole or not at all.
    pub async fn stop(self) {
        self.shutdown.ask();
        let _ = self.task.await;
    }
}

struct Follower {
    zookeeper: Session,
    logs: Arc<LogManager>,
    defaults: LogConfig,
    quotas: Arc<Quotas>,
    clock: Clock,
    /// The highest number that was processed.
    last: i64,
}

impl Follower {
    /// Follows until told to stop, whatever it waits for then: ZooKeeper may not answer for long.
    async fn run(mut self, mut stop: Stop) {
        tokio::select! {
            () = stop.wait() => {}
            () = self.follow() => {}
        }
    }

    /// Ends when the session is closed.
    async fn follow(&mut self) {
        loop {
            let seen = match self.zookeeper.children_watched(paths::CONFIG_CHANGES).await {
                Ok((children, watch)) => self.process(children.unwrap_or_default()).await.map(|()| watch),
                Err(e) => Err(e),
            };
            match seen {
                Ok(watch) => {
                    watch.fired().await;
                }
                Err(e) => {
                    if self.zookeeper.state().borrow().closed {
                        return;
                    }
                    warn!("reading {}: {e}; trying again", paths::CONFIG_CHANGES);
                    self.clock.sleep(RETRY).await;
                }
            }
        }
    }

    async fn process(&mut self, names: Vec<String>) -> zookeeper::Result<()> {
        let names = in_order(names);
        let done = self.last;
        for (number, name) in names.iter().filter(|(number, _)| *number > done) {
            self.apply(name).await?;
            self.last = *number;
        }
        self.purge(&names).await
    }

    async fn apply(&self, name: &str) -> zookeeper::Result<()> {
        let path = format!("{}/{name}", paths::CONFIG_CHANGES);
        let Some(node) = self.zookeeper.get(&path).await? else {
            return Ok(());
        };
        match znodes::config::Change::decode(node.data.as_deref().unwrap_or_default()) {
            Ok(Some(change)) => match change.entity {
                EntityType::Topic => self.apply_topic(&change.name).await,
                EntityType::Client => self.apply_client(&change.name).await,
            },
            // What 0.8 wrote.
            Ok(None) => Ok(()),
            Err(e) => {
                warn!("ignoring {path}: {e}");
                Ok(())
            }
        }
    }

    async fn apply_topic(&self, topic: &str) -> zookeeper::Result<()> {
        let Some(overrides) = self.read(EntityType::Topic, topic).await? else {
            return Ok(());
        };
        match self.defaults.with_overrides(&overrides) {
            Ok(config) => {
                info!("topic {topic} now has the settings [{}]", shown(&overrides));
                self.logs.set_topic_config(topic, config);
            }
            Err(e) => warn!("keeping the settings of topic {topic}: {e}"),
        }
        Ok(())
    }

    async fn apply_client(&self, client: &str) -> zookeeper::Result<()> {
        if let Some(settings) = self.read(EntityType::Client, client).await? {
            info!("client {client} now has the settings [{}]", shown(&settings));
            self.quotas.set(client, &settings);
        }
        Ok(())
    }

    /// The settings as they are now; `None` if they cannot be understood, which is told.
    async fn read(&self, entity: EntityType, name: &str) -> zookeeper::Result<Option<admin::Settings>> {
        match admin::fetch_config(&self.zookeeper, entity, name).await {
            Ok(settings) => Ok(Some(settings)),
            Err(admin::Error::ZooKeeper(e)) => Err(e),
            Err(e) => {
                warn!("ignoring {}: {e}", paths::entity_config(entity, name));
                Ok(None)
            }
        }
    }

    /// Removes what every broker has had time to see; stops at the first that is young.
    async fn purge(&self, names: &[(i64, String)]) -> zookeeper::Result<()> {
        for (_, name) in names {
            let path = format!("{}/{name}", paths::CONFIG_CHANGES);
            let Some(stat) = self.zookeeper.exists(&path).await? else {
                continue;
            };
            if !is_old(WallMs(stat.ctime), self.clock.wall()) {
                break;
            }
            match self.zookeeper.delete(&path, -1).await {
                Ok(()) => info!("purged the config change notification {name}"),
                Err(zookeeper::Error::NoNode) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

fn shown(settings: &admin::Settings) -> String {
    let shown: Vec<_> = settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
    shown.join(", ")
}

/// The notifications by their number, others left out.
fn in_order(names: Vec<String>) -> Vec<(i64, String)> {
    let mut numbered: Vec<_> = names
        .into_iter()
        .filter_map(|name| {
            let number = paths::sequence_number(&name, CONFIG_CHANGE_PREFIX)?;
            Some((number, name))
        })
        .collect();
    numbered.sort();
    numbered
}

fn is_old(made: WallMs, now: WallMs) -> bool {
    i128::from(now.0) - i128::from(made.0) > PURGE_AFTER.as_millis() as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_are_taken_by_number_and_strangers_left_out() {
        let names = [
            "config_change_0000000010",
            "x",
            "config_change_0000000002",
            "config_change_y",
        ];
        let numbers: Vec<_> = in_order(names.map(str::to_owned).to_vec())
            .into_iter()
            .map(|(n, _)| n)
            .collect();
        assert_eq!(numbers, [2, 10]);
    }

    #[test]
    fn a_notification_is_old_after_fifteen_minutes() {
        assert!(!is_old(WallMs(0), WallMs(900_000)));
        assert!(is_old(WallMs(0), WallMs(900_001)));
        assert!(!is_old(WallMs(i64::MAX), WallMs(0)));
    }
}
