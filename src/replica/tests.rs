//! The manager over real logs, with partition states in memory.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::isr_store::{Outcome, Store};
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
        let clock = Clock::manual(WallMs(1_000_000));
        let logs = LogManager::open(
            &[dir.path().to_owned()],
            log_defaults.clone(),
            &HashMap::new(),
            ManagerSettings::default(),
            clock.clone(),
        );
        let settings = ReplicaSettings {
            metrics: Registry::new(),
            id: BrokerId(ME),
            lag_time_max: LAG,
            checkpoint_interval: Duration::from_secs(5),
            inter_broker_protocol: SecurityProtocol::Plaintext,
            log_defaults,
            fetcher: fetcher(),
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

    fn fetch_soon(
        &self,
        reader: i32,
        offset: Offset,
        wait_ms: u64,
        min_bytes: i32,
    ) -> JoinHandle<Result<Read>> {
        let replicas = self.replicas.clone();
        tokio::spawn(async move {
            let fetch = Fetch {
                reader: Reader::from_replica_id(reader),
                max_wait: Duration::from_millis(wait_ms),
                min_bytes,
                limit: 1 << 30,
            };
            let wish = Wish {
                partition: tp(),
                offset,
                max_bytes: 1 << 20,
            };
            replicas.fetch(fetch, &[wish]).await.pop().unwrap()
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

#[tokio::test]
async fn a_single_replica_agrees_with_itself_and_answers_all_acks_at_once() {
    let case = Case::new();
    case.decide(1, 0, &[1], &[1]).await.unwrap();
    for (acks, first) in [(1, 0), (-1, 3), (0, 6)] {
        assert_eq!(case.append(acks, 0, 3).await.unwrap().first, first);
    }
    assert_eq!(case.high_watermark(), 9);
    let read = case.read(-1, 0).await.unwrap();
    assert_eq!((read.high_watermark, length(&read) > 0), (9, true));
}

#[tokio::test]
async fn produce_is_refused_where_there_is_no_partition_no_lead_or_no_right() {
    let case = Case::new();
    assert!(matches!(
        code(case.append(1, 0, 1).await),
        Error::UnknownPartition(_)
    ));
    let refused = case.decide(2, 0, &[2], &[2, 3]).await;
    assert!(matches!(code(refused), Error::NotInReplicas { .. }));
    assert!(
        matches!(code(case.append(1, 0, 1).await), Error::NotLeader(_)),
        "known, though not here"
    );
    assert!(matches!(code(case.append(7, 0, 1).await), Error::InvalidAcks(7)));
    let offsets = TopicPartition::new("__consumer_offsets", 0);
    let sets = vec![(offsets, set(1))];
    let refused = case
        .replicas
        .append(1, Duration::ZERO, sets, false)
        .await
        .pop()
        .unwrap()
        .1;
    assert!(matches!(code(refused), Error::InternalTopic(_)));
}

#[tokio::test]
async fn acks_all_waits_for_the_followers_fetch_and_acks_one_does_not() {
    let case = Case::new();
    case.decide(1, 0, &[1, 2], &[1, 2]).await.unwrap();
    case.read(2, 0).await.unwrap();
    case.append(1, 0, 2).await.unwrap();
    assert_eq!(case.high_watermark(), 0);
    let waiting = case.append_soon(-1, 60_000, 3);
    case.until_waiting(0, 1).await;
    case.read(2, 4).await.unwrap();
    assert_eq!(case.high_watermark(), 4);
    assert!(!waiting.is_finished());
    case.read(2, 5).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().first, 2);
    case.until_waiting(0, 0).await;
}

#[tokio::test]
async fn acks_all_times_out_with_the_offset_that_was_given() {
    let case = Case::new();
    case.decide(1, 0, &[1, 2], &[1, 2]).await.unwrap();
    let expired = case.append(-1, 0, 3).await;
    assert!(matches!(
        code(expired),
        Error::AfterAppend {
            base: 0,
            cause: AfterAppend::TimedOut
        }
    ));
    let waiting = case.append_soon(-1, 500, 3);
    case.until_waiting(0, 1).await;
    case.clock.advance(Duration::from_millis(500));
    let expired = waiting.await.unwrap();
    assert!(matches!(
        code(expired),
        Error::AfterAppend {
            base: 3,
            cause: AfterAppend::TimedOut
        }
    ));
}

#[tokio::test]
async fn losing_the_lead_or_the_partition_ends_every_wait_at_once() {
    let case = Case::new();
    case.decide(1, 0, &[1, 2], &[1, 2]).await.unwrap();
    let (produce, fetch) = (case.append_soon(-1, 60_000, 1), case.fetch_soon(-1, 0, 60_000, 1));
    case.until_waiting(1, 1).await;
    case.decide(2, 1, &[1, 2], &[1, 2]).await.unwrap();
    let lost = produce.await.unwrap();
    assert!(matches!(
        code(lost),
        Error::AfterAppend {
            base: 0,
            cause: AfterAppend::NotLeader
        }
    ));
    assert!(matches!(code(fetch.await.unwrap()), Error::NotLeader(_)));

    case.decide(1, 2, &[1, 2], &[1, 2]).await.unwrap();
    let (produce, fetch) = (case.append_soon(-1, 60_000, 1), case.fetch_soon(-1, 0, 60_000, 1));
    case.until_waiting(1, 1).await;
    case.replicas
        .stop_replicas(ControllerEpoch(1), true, vec![tp()])
        .await
        .unwrap();
    let gone = produce.await.unwrap();
    assert!(matches!(
        code(gone),
        Error::AfterAppend {
            cause: AfterAppend::Gone,
            ..
        }
    ));
    assert!(matches!(code(fetch.await.unwrap()), Error::UnknownPartition(_)));
    assert!(std::fs::read_dir(case.dir.path()).unwrap().all(|f| {
        let name = f.unwrap().file_name().into_string().unwrap();
        !name.starts_with("t-0") || name.contains("delete")
    }));
}

#[tokio::test]
async fn acks_all_needs_enough_in_sync_replicas_before_and_after() {
    let least_two = LogConfig {
        min_insync_replicas: 2,
        ..LogConfig::default()
    };
    let case = Case::with(least_two);
    case.decide(1, 0, &[1], &[1, 2]).await.unwrap();
    assert!(matches!(
        code(case.append(-1, 0, 1).await),
        Error::NotEnoughReplicas {
            there: 1,
            least: 2,
            ..
        }
    ));
    assert_eq!(
        case.append(1, 0, 1).await.unwrap().first,
        0,
        "nothing was appended by the refused one"
    );

    case.decide(1, 1, &[1, 2], &[1, 2]).await.unwrap();
    let waiting = case.append_soon(-1, 60_000, 1);
    case.until_waiting(0, 1).await;
    // The controller took the other one out: everyone left has it, but they are too few.
    case.decide(1, 2, &[1], &[1, 2]).await.unwrap();
    let too_few = waiting.await.unwrap();
    assert!(matches!(
        code(too_few),
        Error::AfterAppend {
            base: 1,
            cause: AfterAppend::TooFew
        }
    ));
}

#[tokio::test]
async fn consumers_stop_at_the_high_watermark_and_followers_read_to_the_end() {
    let case = Case::new();
    case.decide(1, 0, &[1, 2], &[1, 2]).await.unwrap();
    case.append(1, 0, 10).await.unwrap();
    assert_eq!(length(&case.read(-1, 0).await.unwrap()), 0);
    let all = length(&case.read(2, 0).await.unwrap());
    assert!(all > 0);
    case.read(2, 4).await.unwrap();
    let some = case.read(-1, 0).await.unwrap();
    assert_eq!(some.high_watermark, 4);
    assert!(length(&some) > 0 && length(&some) < all);
    assert_eq!(
        length(&case.read(-2, 0).await.unwrap()),
        length(&some),
        "a debugger sees what a consumer sees"
    );
    // Between high watermark and end: nothing, and no error.
    assert_eq!(length(&case.read(-1, 7).await.unwrap()), 0);
    for outside in [11, -1] {
        let refused = case.read(-1, outside).await;
        assert!(matches!(
            code(refused),
            Error::Log(crate::log::Error::OutOfRange { .. })
        ));
    }
    let stranger = case.read(9, 0).await;
    assert!(matches!(code(stranger), Error::NotAssigned { .. }));
}

#[tokio::test]
async fn a_waiting_fetch_wakes_on_append_and_counts_bytes() {
    let case = Case::new();
    case.decide(1, 0, &[1], &[1]).await.unwrap();
    let (one, many) = (
        case.fetch_soon(-1, 0, 60_000, 1),
        case.fetch_soon(-1, 0, 60_000, 100),
    );
    case.until_waiting(2, 0).await;
    case.append(1, 0, 1).await.unwrap();
    assert!(length(&one.await.unwrap().unwrap()) > 0);
    case.until_waiting(1, 0).await;
    assert!(!many.is_finished());
    case.append(1, 0, 3).await.unwrap();
    assert!(length(&many.await.unwrap().unwrap()) >= 100);
    case.until_waiting(0, 0).await;
}

#[tokio::test]
async fn a_waiting_fetch_answers_with_what_there_is_when_its_time_is_over() {
    let case = Case::new();
    case.decide(1, 0, &[1], &[1]).await.unwrap();
    let waiting = case.fetch_soon(-1, 0, 500, 1_000_000);
    case.until_waiting(1, 0).await;
    case.append(1, 0, 1).await.unwrap();
    case.clock.advance(Duration::from_millis(500));
    assert!(length(&waiting.await.unwrap().unwrap()) > 0);
}

#[tokio::test]
async fn an_error_of_one_partition_is_answered_without_waiting_for_others() {
    let case = Case::new();
    case.decide(1, 0, &[1], &[1]).await.unwrap();
    let fetch = Fetch {
        reader: Reader::Consumer,
        max_wait: Duration::from_secs(60),
        min_bytes: 1,
        limit: 1 << 30,
    };
    let wish = |topic: &str| Wish {
        partition: TopicPartition::new(topic, 0),
        offset: 0,
        max_bytes: 100,
    };
    let both = case.replicas.fetch(fetch, &[wish("t"), wish("unknown")]).await;
    assert!(both[0].is_ok());
    assert!(matches!(both[1], Err(Error::UnknownPartition(_))));
    let negative = Wish {
        max_bytes: -1,
        ..wish("t")
    };
    assert!(case.replicas.fetch(fetch, &[negative]).await[0].is_err());
}

#[tokio::test]
async fn a_consumer_waits_for_the_high_watermark_not_for_the_append() {
    let case = Case::new();
    case.decide(1, 0, &[1, 2], &[1, 2]).await.unwrap();
    let waiting = case.fetch_soon(-1, 0, 60_000, 1);
    case.until_waiting(1, 0).await;
    case.append(1, 0, 5).await.unwrap();
    case.read(2, 0).await.unwrap();
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    case.read(2, 5).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().high_watermark, 5);
}

#[tokio::test]
async fn a_follower_that_catches_up_joins_and_the_controller_is_told() {
    let case = Case::started();
    case.decide(1, 0, &[1], &[1, 2]).await.unwrap();
    case.append(1, 0, 5).await.unwrap();
    case.read(2, 0).await.unwrap();
    assert!(case.states.written().is_empty());
    case.read(2, 5).await.unwrap();
    case.until(|| case.replicas.counts().2 == 0).await;
    let expected = LeaderAndIsr {
        leader: BrokerId(1),
        leader_epoch: LeaderEpoch(0),
        isr: ids(&[1, 2]),
        controller_epoch: ControllerEpoch(1),
        zk_version: 0,
    };
    assert_eq!(case.states.written(), [expected]);
    for _ in 0..5 {
        case.clock.advance(Duration::from_millis(2600));
        case.read(2, 5).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    case.until(|| case.states.0.lock().unwrap().told == [vec![tp()]])
        .await;
}

#[tokio::test]
async fn a_follower_that_lags_leaves_and_what_waited_for_it_is_answered() {
    let case = Case::started();
    case.decide(1, 0, &[1, 2], &[1, 2]).await.unwrap();
    let waiting = case.append_soon(-1, 60_000, 5);
    case.until_waiting(0, 1).await;
    // The sweeper begins to sleep at some moment after the start.
    let mut rounds = 0;
    while !waiting.is_finished() && rounds < 1000 {
        case.clock.advance(Duration::from_millis(2500));
        tokio::time::sleep(Duration::from_millis(2)).await;
        rounds += 1;
        if rounds == 2 {
            assert!(case.states.written().is_empty(), "not before its time");
        }
    }
    assert_eq!(waiting.await.unwrap().unwrap().first, 0);
    assert_eq!(case.states.written()[0].isr, ids(&[1]));
    assert_eq!(case.high_watermark(), 5);
}

#[tokio::test]
async fn a_write_that_came_second_takes_over_the_version_that_stands_there() {
    let case = Case::started();
    case.decide(1, 3, &[1], &[1, 2, 3]).await.unwrap();
    let there = LeaderAndIsr {
        leader: BrokerId(1),
        leader_epoch: LeaderEpoch(3),
        isr: ids(&[1]),
        controller_epoch: ControllerEpoch(2),
        zk_version: 77,
    };
    case.states
        .0
        .lock()
        .unwrap()
        .script
        .push(Ok(Outcome::Overtaken(there)));
    case.read(2, 0).await.unwrap();
    case.until(|| case.states.written().len() == 1).await;
    // The next question proposes again, on the version found.
    case.until(|| {
        let replicas = case.replicas.clone();
        tokio::spawn(async move {
            let fetch = Fetch {
                reader: Reader::Follower(BrokerId(2)),
                max_wait: Duration::ZERO,
                min_bytes: 1,
                limit: 1000,
            };
            let wish = Wish {
                partition: tp(),
                offset: 0,
                max_bytes: 100,
            };
            replicas.fetch(fetch, &[wish]).await;
        });
        case.states.written().len() == 2
    })
    .await;
    assert_eq!(case.states.written()[1].zk_version, 77);
}

#[tokio::test]
async fn a_foreign_leadership_in_zookeeper_ends_the_writing() {
    let case = Case::started();
    case.decide(1, 3, &[1], &[1, 2]).await.unwrap();
    let there = LeaderAndIsr {
        leader: BrokerId(2),
        leader_epoch: LeaderEpoch(4),
        isr: ids(&[2]),
        controller_epoch: ControllerEpoch(2),
        zk_version: 77,
    };
    case.states
        .0
        .lock()
        .unwrap()
        .script
        .push(Ok(Outcome::Overtaken(there)));
    case.read(2, 0).await.unwrap();
    case.until(|| case.states.written().len() == 1).await;
    for _ in 0..20 {
        case.read(2, 0).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(case.states.written().len(), 1);
    case.decide(1, 5, &[1], &[1, 2]).await.unwrap();
    case.read(2, 0).await.unwrap();
    case.until(|| case.states.written().len() == 2).await;
}

#[tokio::test]
async fn an_outage_of_zookeeper_stops_neither_produce_nor_fetch_and_the_write_is_tried_again() {
    let case = Case::started();
    case.decide(1, 0, &[1], &[1, 2]).await.unwrap();
    let lost = || Err(zookeeper::Error::ConnectionLoss);
    case.states.0.lock().unwrap().script = vec![lost(), lost()];
    case.read(2, 0).await.unwrap();
    case.until(|| case.states.written().len() == 1).await;
    case.append(-1, 0, 1).await.unwrap_err();
    assert_eq!(case.high_watermark(), 0, "the follower may be in by now");
    case.append(1, 0, 1).await.unwrap();
    for _ in 0..100 {
        case.clock.advance(Duration::from_millis(500));
        tokio::time::sleep(Duration::from_millis(1)).await;
        if case.states.written().len() == 3 {
            break;
        }
    }
    assert_eq!(case.states.written().len(), 3);
    case.read(2, 2).await.unwrap();
    case.until(|| case.high_watermark() == 2).await;
}

#[tokio::test]
async fn decisions_are_taken_in_order_of_their_epochs() {
    let case = Case::new();
    case.decide(1, 5, &[1], &[1]).await.unwrap();
    for epoch in [4, 5] {
        assert!(matches!(
            code(case.decide(2, epoch, &[2], &[1, 2]).await),
            Error::StaleLeader { .. }
        ));
    }
    assert!(case.replicas.leads(&tp()));
    case.replicas.admit_controller(ControllerEpoch(7)).unwrap();
    let stale = case
        .replicas
        .become_leader_or_follower(ControllerEpoch(6), Vec::new())
        .await;
    assert!(matches!(stale, Err(Error::StaleController { .. })));
    let stale = case
        .replicas
        .stop_replicas(ControllerEpoch(6), true, vec![tp()])
        .await;
    assert!(matches!(stale, Err(Error::StaleController { .. })));
    let stopped = case
        .replicas
        .stop_replicas(ControllerEpoch(7), false, vec![tp()])
        .await
        .unwrap();
    assert!(stopped[0].1.is_ok());
    assert!(case.replicas.leads(&tp()), "without deletion the role stays");
}

#[tokio::test]
async fn a_new_follower_cuts_its_log_to_the_high_watermark() {
    let case = Case::new();
    case.decide(1, 0, &[1, 2], &[1, 2]).await.unwrap();
    case.append(1, 0, 10).await.unwrap();
    case.read(2, 6).await.unwrap();
    case.decide(-1, 1, &[1, 2], &[1, 2]).await.unwrap();
    assert_eq!(case.read(-2, 0).await.unwrap().high_watermark, 6);
    case.decide(2, 2, &[2], &[1, 2]).await.unwrap();
    let log = case.replicas.logs.get(&tp()).unwrap();
    assert_eq!(log.end().offset, 6);
    assert!(matches!(code(case.append(1, 0, 1).await), Error::NotLeader(_)));
}

#[tokio::test]
async fn high_watermarks_outlive_a_restart_and_entries_without_a_role_yet_stay() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    {
        let case = Case::in_dir(dir.clone(), LogConfig::default());
        case.decide(1, 0, &[1, 2], &[1, 2]).await.unwrap();
        case.append(1, 0, 10).await.unwrap();
        case.read(2, 7).await.unwrap();
        case.replicas.shutdown();
        case.replicas.logs.shutdown().unwrap();
    }
    let case = Case::in_dir(dir.clone(), LogConfig::default());
    let file = dir.path().join("replication-offset-checkpoint");
    let text = |file: &Path| std::fs::read_to_string(file).unwrap();
    assert_eq!(text(&file), "0\n1\nt 0 7\n");
    case.replicas.checkpoint();
    assert_eq!(text(&file), "0\n1\nt 0 7\n", "no role yet, and nothing forgotten");
    case.decide(1, 1, &[1, 2], &[1, 2]).await.unwrap();
    assert_eq!(case.high_watermark(), 7);
    assert_eq!(case.read(-1, 0).await.unwrap().high_watermark, 7);
}

#[tokio::test]
async fn listed_offsets_end_at_the_high_watermark_for_consumers_alone() {
    let case = Case::new();
    case.decide(1, 0, &[1, 2], &[1, 2]).await.unwrap();
    case.append(1, 0, 10).await.unwrap();
    case.read(2, 4).await.unwrap();
    let list = |timestamp, max, reader| {
        case.replicas
            .list_offsets(&tp(), timestamp, max, Reader::from_replica_id(reader))
    };
    assert_eq!(list(-1, 10, -1).unwrap(), [4, 0]);
    assert_eq!(list(-1, 10, 2).unwrap(), [10, 0]);
    assert_eq!(list(-2, 10, -1).unwrap(), [0]);
    assert!(list(-1, 0, -1).unwrap().is_empty());
    assert!(matches!(code(list(-1, -1, -1)), Error::NegativeCount(-1)));
    let unknown = TopicPartition::new("u", 0);
    let of = |reader| {
        case.replicas
            .list_offsets(&unknown, -1, 1, Reader::from_replica_id(reader))
    };
    assert!(matches!(code(of(-1)), Error::UnknownPartition(_)));
    assert!(matches!(code(of(-2)), Error::ReplicaNotAvailable(_)));
}

#[cfg(not(windows))] // There no directory goes while a file in it is open.
#[tokio::test]
async fn a_failing_disk_halts_the_broker() {
    let case = Case::new();
    case.decide(1, 0, &[1], &[1]).await.unwrap();
    std::fs::remove_dir_all(case.dir.path()).unwrap();
    case.replicas.checkpoint();
    assert_eq!(case.halts.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn bad_sets_are_refused_one_by_one() {
    let case = Case::new();
    case.decide(1, 0, &[1], &[1]).await.unwrap();
    let mut wrong = set(1);
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    let sets = vec![(tp(), wrong), (TopicPartition::new("u", 0), set(1))];
    let results = case.replicas.append(1, Duration::ZERO, sets, false).await;
    assert!(matches!(
        results[0].1,
        Err(Error::Log(crate::log::Error::Corrupt { .. }))
    ));
    assert!(matches!(results[1].1, Err(Error::UnknownPartition(_))));
    let empty = vec![(tp(), BytesMut::new())];
    assert_eq!(
        case.replicas.append(-1, Duration::ZERO, empty, false).await[0]
            .1
            .as_ref()
            .unwrap()
            .first,
        -1
    );
    assert_eq!(case.append(1, 0, 1).await.unwrap().first, 0);
}
