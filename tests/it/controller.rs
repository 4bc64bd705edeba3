//! The controller in a cluster of brokers that only listen: our ZooKeeper, real sockets, everything in
//! one process.

mod brokers;
mod reigns;
mod topics;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka::cluster::BrokerId;
use kafka::config::KeeperConfig;
use kafka::controller::{ControlledShutdownError, Controller, ControllerSettings};
use kafka::keeper::Keeper;
use kafka::util::clock::{Clock, WallMs};
use kafka::zookeeper::{CreateMode, Session, paths, znodes};

use crate::support::fake_broker::{FakeBroker, Manner, Told, session};
use crate::support::slow_link::SlowLink;
use crate::support::wait_until_async;

const LIMIT: Duration = Duration::from_secs(20);

/// ZooKeeper with the nodes that every broker makes at its start.
struct Ground {
    keeper: Keeper,
    connect: String,
    /// An operator's session.
    operator: Session,
    _dir: tempfile::TempDir,
}

impl Ground {
    async fn new() -> Ground {
        let dir = tempfile::tempdir().unwrap();
        let config = KeeperConfig {
            client_port: 0,
            client_port_address: Some("127.0.0.1".into()),
            ..KeeperConfig::new(dir.path())
        };
        let keeper = Keeper::start(config, Clock::system()).unwrap();
        let connect = format!("127.0.0.1:{}", keeper.port());
        let operator = session(&connect).await;
        for path in paths::COMMON {
            operator.ensure_path(path).await.unwrap();
        }
        Ground {
            keeper,
            connect,
            operator,
            _dir: dir,
        }
    }

    async fn broker(&self, id: i32) -> FakeBroker {
        FakeBroker::start(id, &self.connect).await
    }

    /// What the topic tool writes.
    async fn create_topic(&self, topic: &str, assignment: &[&[i32]]) {
        let config = znodes::config::encode(&BTreeMap::new());
        let replicas = |ids: &&[i32]| ids.iter().map(|id| BrokerId(*id)).collect();
        let assignment = (0..).zip(assignment.iter().map(replicas)).collect();
        let assignment = znodes::topic::encode(&assignment);
        for (path, data) in [
            (paths::topic_config(topic), config),
            (paths::topic(topic), assignment),
        ] {
            self.operator
                .create(&path, Some(data.as_bytes()), CreateMode::Persistent)
                .await
                .unwrap();
        }
    }

    async fn delete_topic(&self, topic: &str) {
        let path = paths::delete_topic(topic);
        self.operator
            .create(&path, Some(b""), CreateMode::Persistent)
            .await
            .unwrap();
    }

    async fn state(&self, topic: &str, partition: i32) -> Option<String> {
        let node = self
            .operator
            .get(&paths::partition_state(topic, partition))
            .await
            .unwrap()?;
        Some(format!(
            "{} v{}",
            String::from_utf8(node.data?.to_vec()).unwrap(),
            node.stat.version
        ))
    }

    async fn is_gone(&self, topic: &str) -> bool {
        let mut there = false;
        for path in [
            paths::topic(topic),
            paths::topic_config(topic),
            paths::delete_topic(topic),
        ] {
            there |= self.operator.exists(&path).await.unwrap().is_some();
        }
        !there
    }

    async fn stop(self) {
        self.operator.close().await;
        self.keeper.stop().await;
    }
}

fn settings(id: i32) -> ControllerSettings {
    let mut settings = ControllerSettings {
        broker_id: BrokerId(id),
        retry_backoff: Duration::from_millis(20),
        socket_timeout: Duration::from_secs(2),
        auto_rebalance: false,
        ..ControllerSettings::default()
    };
    settings.rules.delete_topics = true;
    settings
}

fn controller(broker: &FakeBroker) -> Controller {
    Controller::start(settings(broker.id.0), broker.session.clone(), Clock::system())
}

async fn until_active(controller: &Controller) {
    let mut active = controller.active_receiver();
    tokio::time::timeout(LIMIT, active.wait_for(|a| *a))
        .await
        .expect("it is elected")
        .unwrap();
}
