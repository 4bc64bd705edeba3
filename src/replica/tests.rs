//! The manager over real logs, with partition states in memory.

mod following;
mod leading;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::isr_store::{Outcome, Store};
use super::partition::Round;
use super::standing::Role;
use super::*;
use crate::cluster::{
    BrokerId, ControllerEpoch, LeaderAndIsr, LeaderEpoch, MetadataImage, SecurityProtocol, TopicPartition,
};
use crate::config::LogConfig;
use crate::log::{Appended, LogManager, ManagerSettings};
use crate::message::{Codec, Offset, SetBuilder};
use crate::metrics::Registry;
use crate::util::clock::{Clock, WallMs};
use crate::util::shutdown::Shutdown;
use crate::zookeeper;

/// What stands in for ZooKeeper.
#[derive(Clone, Debug, Default)]
pub(super) struct States(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Answers to writes to come, the last first; then every write succeeds.
    script: Vec<zookeeper::Result<Outcome>>,
    written: Vec<LeaderAndIsr>,
    told: Vec<Vec<TopicPartition>>,
}

impl States {
    pub(super) fn write(&self, _: &TopicPartition, state: &LeaderAndIsr) -> zookeeper::Result<Outcome> {
        let mut inner = self.0.lock().unwrap();
        inner.written.push(state.clone());
        let next = inner.script.pop();
        next.unwrap_or(Ok(Outcome::Written(state.zk_version + 1)))
    }

    /// As it was last written.
    pub(super) fn read(&self) -> Option<LeaderAndIsr> {
        self.written().pop()
    }

    pub(super) fn topic_config(&self, defaults: &LogConfig) -> LogConfig {
        defaults.clone()
    }

    pub(super) fn notify(&self, changed: &[TopicPartition]) -> zookeeper::Result<()> {
        self.0.lock().unwrap().told.push(changed.to_vec());
        Ok(())
    }

    fn written(&self) -> Vec<LeaderAndIsr> {
        self.0.lock().unwrap().written.clone()
    }
}

const ME: i32 = 1;
const LAG: Duration = Duration::from_secs(10);

struct Case {
    replicas: Arc<ReplicaManager>,
    states: States,
    clock: Clock,
    halts: Arc<AtomicUsize>,
    _image: watch::Sender<Arc<MetadataImage>>,
    shutdown: Shutdown,
    tasks: Vec<JoinHandle<()>>,
    dir: Arc<tempfile::TempDir>,
}

impl Case {
    fn new() -> Case {
        Case::with(LogConfig::default())
    }

    fn with(log_defaults: LogConfig) -> Case {
        Case::in_dir(Arc::new(tempfile::tempdir().unwrap()), log_defaults)
    }

    fn in_dir(dir: Arc<tempfile::TempDir>, log_defaults: LogConfig) -> Case {
        let log_dirs = [dir.path().to_owned()];
        Case::on(&log_dirs, dir, log_defaults)
    }

    /// With these log directories, all of them in `dir`.
    fn on(log_dirs: &[PathBuf], dir: Arc<tempfile::TempDir>, log_defaults: LogConfig) -> Case {
        let clock = Clock::manual(WallMs(1_000_000));
        let logs = LogManager::open(
            log_dirs,
            log_defaults.clone(),
            &HashMap::new(),
            ManagerSettings::default(),
            clock.clone(),
        );
        let settings = ReplicaSettings {
            id: BrokerId(ME),
            lag_time_max: LAG,
            checkpoint_interval: Duration::from_secs(5),
            inter_broker_protocol: SecurityProtocol::Plaintext,
            log_defaults,
            fetcher: fetcher(),
            metrics: Registry::new(),
        };
        let (states, halts) = (States::default(), Arc::new(AtomicUsize::new(0)));
        let (image, metadata) = watch::channel(Arc::new(MetadataImage::default()));
        let fatal = Fatal::new({
            let halts = halts.clone();
            move |_| {
                halts.fetch_add(1, Ordering::SeqCst);
            }
        });
        let store = Store::Memory(states.clone());
        let logs = Arc::new(logs.unwrap());
        let replicas =
            ReplicaManager::with_store(settings, logs, store, metadata, fatal, clock.clone()).unwrap();
        Case {
            replicas,
            states,
            clock,
            halts,
            _image: image,
            shutdown: Shutdown::new(),
            tasks: Vec::new(),
            dir,
        }
    }

    /// With the tasks in the background.
    fn started() -> Case {
        let mut case = Case::new();
        case.tasks = case.replicas.start(case.shutdown.stop());
        case
    }

    async fn decide(&self, leader: i32, epoch: i32, isr: &[i32], replicas: &[i32]) -> Result<()> {
        let decision = PartitionDecision {
            partition: tp(),
            state: LeaderAndIsr {
                leader: BrokerId(leader),
                leader_epoch: LeaderEpoch(epoch),
                isr: ids(isr),
                controller_epoch: ControllerEpoch(1),
                zk_version: 10 * epoch,
            },
            replicas: ids(replicas),
        };
        let decided = self
            .replicas
            .become_leader_or_follower(ControllerEpoch(1), vec![decision]);
        decided.await.unwrap().pop().unwrap().1
    }

    async fn append(&self, acks: i16, timeout_ms: u64, n: usize) -> Result<Appended> {
        let sets = vec![(tp(), set(n))];
        let timeout = Duration::from_millis(timeout_ms);
        self.replicas
            .append(acks, timeout, sets, false)
            .await
            .pop()
            .unwrap()
            .1
    }

    fn append_soon(&self, acks: i16, timeout_ms: u64, n: usize) -> JoinHandle<Result<Appended>> {
        let replicas = self.replicas.clone();
        tokio::spawn(async move {
            let timeout = Duration::from_millis(timeout_ms);
            replicas
                .append(acks, timeout, vec![(tp(), set(n))], false)
                .await
                .pop()
                .unwrap()
                .1
        })
    }

    async fn read(&self, reader: i32, offset: Offset) -> Result<Read> {
        self.fetch_soon(reader, offset, 0, 1).await.unwrap()
    }

    /// The next write of an in-sync set finds that leader there, alone in sync.
    fn finds_in_zookeeper(&self, leader: i32, epoch: i32, zk_version: i32) {
        let there = LeaderAndIsr {
            leader: BrokerId(leader),
            leader_epoch: LeaderEpoch(epoch),
            isr: ids(&[leader]),
            controller_epoch: ControllerEpoch(2),
            zk_version,
        };
        let mut states = self.states.0.lock().unwrap();
        states.script.push(Ok(Outcome::Overtaken(there)));
    }

    /// A follower that was left out by the decision in force asks from `offset`, as it must to join.
    async fn read_to_join(&self, reader: i32, offset: Offset) {
        self.clock.advance(isr::SETTLING);
        for _ in 0..2 {
            self.read(reader, offset).await.unwrap();
        }
    }

    fn fetch_soon(
        &self,
        reader: i32,
        offset: Offset,
        wait_ms: u64,
        min_bytes: i32,
    ) -> JoinHandle<Result<Read>> {
        let replicas = self.replicas.clone();
        tokio::spawn(async move {
            let mut fetch = Fetch {
                reader: Reader::from_replica_id(reader),
                connection: new_connection(),
                max_wait: Duration::ZERO,
                min_bytes,
                limit: 1 << 30,
            };
            let wish = [Wish {
                partition: tp(),
                offset,
                max_bytes: 1 << 20,
            }];
            if let Reader::Follower(_) = fetch.reader {
                // What it asks first over a connection counts for nothing.
                let _ = replicas.fetch(fetch, &wish).await;
            }
            fetch.max_wait = Duration::from_millis(wait_ms);
            replicas.fetch(fetch, &wish).await.pop().unwrap()
        })
    }

    fn high_watermark(&self) -> Offset {
        self.replicas.high_watermark(&tp()).unwrap()
    }

    async fn until(&self, mut done: impl FnMut() -> bool) {
        for _ in 0..5000 {
            if done() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("waited in vain");
    }

    async fn until_waiting(&self, readers: usize, writers: usize) {
        self.until(|| self.replicas.waiting() == (readers, writers)).await;
    }
}

fn fetcher() -> FetcherSettings {
    FetcherSettings {
        fetchers: 2,
        max_bytes: 1 << 20,
        min_bytes: 1,
        max_wait: Duration::from_millis(500),
        backoff: Duration::from_secs(1),
        socket_timeout: Duration::from_secs(30),
        receive_buffer_bytes: None,
        fetch_version: 1,
    }
}

/// The number of another connection.
fn new_connection() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn tp() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn set(n: usize) -> BytesMut {
    let mut builder = SetBuilder::new(Codec::None, 1 << 20);
    for i in 0..n {
        let _ = builder.append(None, Some(format!("value {i}").as_bytes()));
    }
    BytesMut::from(&builder.finish()[..])
}

fn length(read: &Read) -> usize {
    read.fetched.slice.as_ref().map_or(0, |s| s.len)
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> Error {
    result.unwrap_err()
}
