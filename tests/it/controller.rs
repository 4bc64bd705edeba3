//! The controller in a cluster of brokers that only listen: our ZooKeeper, real sockets, everything in
//! one process.

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

#[tokio::test(flavor = "multi_thread")]
async fn a_single_broker_is_controller_leader_and_deleter() {
    let ground = Ground::new().await;
    let broker = ground.broker(0).await;
    let controller = controller(&broker);
    until_active(&controller).await;
    let node = ground.operator.get(paths::CONTROLLER).await.unwrap().unwrap();
    assert_eq!(node.stat.ephemeral_owner, broker.session.session_id());
    assert_eq!(znodes::controller::decode(&node.data.unwrap()), Ok(BrokerId(0)));
    let epoch = ground
        .operator
        .get(paths::CONTROLLER_EPOCH)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(epoch.data.as_deref(), Some(&b"1"[..]));

    broker.forget();
    ground.create_topic("t", &[&[0], &[0], &[0]]).await;
    wait_until_async("the leader is told everywhere", LIMIT, || async {
        broker.picture("t", 2) == Some(0)
    })
    .await;
    for p in 0..3 {
        // To the byte what 0.9.0.1 writes.
        let state = r#"{"controller_epoch":1,"leader":0,"version":1,"leader_epoch":0,"isr":[0]} v0"#;
        assert_eq!(ground.state("t", p).await.as_deref(), Some(state));
        let parent = format!("{}/{p}", paths::topic_partitions("t"));
        assert_eq!(ground.operator.get(&parent).await.unwrap().unwrap().data, None);
    }
    let told = broker.told();
    let [Told::Roles(roles), Told::Picture(picture)] = &told[..] else {
        panic!("one request of each kind, roles first: {told:?}");
    };
    assert_eq!(roles.partitions.len(), 3);
    assert_eq!((roles.controller_id, roles.controller_epoch), (0, 1));
    assert_eq!(roles.live_leaders.len(), 1);
    assert_eq!(picture.partitions, roles.partitions);
    assert_eq!(picture.brokers[0].endpoints[0].protocol, 0);

    broker.forget();
    let began = Instant::now();
    ground.delete_topic("t").await;
    wait_until_async("the topic is gone", LIMIT, || ground.is_gone("t")).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let told = broker.told();
    let [Told::Picture(picture), Told::Stop(stop), Told::Stop(delete)] = &told[..] else {
        panic!("forgotten, stopped, deleted: {told:?}");
    };
    assert!(picture.partitions.iter().all(|p| p.leader == -2) && picture.partitions.len() == 3);
    assert!(!stop.delete_partitions && delete.delete_partitions);
    assert_eq!(delete.partitions.len(), 3);

    // The same name again, at once.
    ground.create_topic("t", &[&[0]]).await;
    wait_until_async("it is led again", LIMIT, || async {
        broker.role("t", 0) == Some((0, 0))
    })
    .await;
    controller.stop().await;
    broker.stop().await;
    ground.stop().await;
}

/// KAFKA-3175: 0.9.0.1 tells brokers to drop such a topic at the next failover.
#[tokio::test(flavor = "multi_thread")]
async fn where_deletion_is_disabled_a_marked_topic_lives_on_under_every_controller() {
    let ground = Ground::new().await;
    let broker = ground.broker(0).await;
    for (reign, new_topic) in [(1, "a"), (2, "b")] {
        let mut settings = settings(0);
        settings.rules.delete_topics = false;
        let controller = Controller::start(settings, broker.session.clone(), Clock::system());
        until_active(&controller).await;
        if reign == 1 {
            ground.create_topic("t", &[&[0]]).await;
            wait_until_async("it is led", LIMIT, || async { broker.picture("t", 0) == Some(0) }).await;
            ground.delete_topic("t").await;
        }
        // Its picture would speak of what is being deleted, too.
        ground.create_topic(new_topic, &[&[0]]).await;
        wait_until_async("the new topic is led", LIMIT, || async {
            broker.picture(new_topic, 0) == Some(0)
        })
        .await;
        controller.stop().await;
        // It would go with the session, which goes on here.
        ground.operator.delete(paths::CONTROLLER, -1).await.unwrap();
    }
    let told = broker.told();
    let dropped = |told: &Told| match told {
        Told::Picture(picture) => picture.partitions.iter().any(|p| p.leader == -2),
        Told::Stop(_) => true,
        Told::Roles(_) => false,
    };
    assert!(!told.iter().any(dropped), "{told:?}");
    assert!(ground.state("t", 0).await.is_some());
    broker.stop().await;
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_partition_is_led_and_an_unreadable_topic_harms_none_but_itself() {
    let ground = Ground::new().await;
    let broker = ground.broker(0).await;
    ground
        .operator
        .create(&paths::topic("bad"), Some(b"{"), CreateMode::Persistent)
        .await
        .unwrap();
    let controller = controller(&broker);
    until_active(&controller).await;
    ground.create_topic("t", &[&[0]]).await;
    wait_until_async("t is led", LIMIT, || async {
        broker.role("t", 0) == Some((0, 0))
    })
    .await;
    let two = r#"{"version":1,"partitions":{"1":[0],"0":[0]}}"#;
    ground
        .operator
        .set(&paths::topic("t"), two.as_bytes(), -1)
        .await
        .unwrap();
    ground
        .operator
        .set(&paths::topic("bad"), two.as_bytes(), -1)
        .await
        .unwrap();
    for topic in ["t", "bad"] {
        wait_until_async("the second partition is led", LIMIT, || async {
            broker.role(topic, 1) == Some((0, 0))
        })
        .await;
    }
    controller.stop().await;
    broker.stop().await;
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_loses_its_leaderships_and_hears_of_all_when_it_comes_back() {
    let ground = Ground::new().await;
    let (one, two) = (ground.broker(1).await, ground.broker(2).await);
    let controller = controller(&one);
    until_active(&controller).await;
    ground.create_topic("t", &[&[2, 1], &[1, 2]]).await;
    wait_until_async("t is led", LIMIT, || async { one.role("t", 0) == Some((2, 0)) }).await;
    two.stop().await;
    wait_until_async("1 leads", LIMIT, || async { one.role("t", 0) == Some((1, 1)) }).await;
    let shrunk = r#"{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":1,"isr":[1]} v1"#;
    assert_eq!(ground.state("t", 0).await.as_deref(), Some(shrunk));
    assert_eq!(ground.state("t", 1).await.as_deref(), Some(shrunk));

    let two = ground.broker(2).await;
    wait_until_async("2 follows", LIMIT, || async { two.role("t", 1) == Some((1, 1)) }).await;
    assert!(
        matches!(&two.told()[0], Told::Picture(p) if p.brokers.len() == 2 && p.partitions.len() == 2),
        "a broker hears of everything before its roles: {:?}",
        two.told()
    );

    // It bounces so fast that nobody sees it gone: its new life is told all the same (KAFKA-1120). It was
    // in no ISR, and a new epoch sees to it that no word from before takes it in.
    two.stop().await;
    let two = ground.broker(2).await;
    wait_until_async("2 follows again", LIMIT, || async {
        two.role("t", 1) == Some((1, 2))
    })
    .await;

    // A leader changes its ISR and says so: all hear of it, and the word is taken away.
    let grown = r#"{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":2,"isr":[1,2]}"#;
    for p in 0..2 {
        ground
            .operator
            .set(&paths::partition_state("t", p), grown.as_bytes(), 2)
            .await
            .unwrap();
    }
    let word = r#"{"version":1,"partitions":[{"topic":"t","partition":0},{"topic":"t","partition":1}]}"#;
    let sequence = paths::isr_change_sequence();
    let mode = CreateMode::PersistentSequential;
    ground
        .operator
        .create(&sequence, Some(word.as_bytes()), mode)
        .await
        .unwrap();
    wait_until_async("the word is taken away", LIMIT, || async {
        let (left, _) = ground
            .operator
            .children(paths::ISR_CHANGES)
            .await
            .unwrap()
            .unwrap();
        left.is_empty()
    })
    .await;

    // The preferred leaders, as asked for.
    let wish = r#"{"version":1,"partitions":[{"topic":"t","partition":0},{"topic":"x","partition":9}]}"#;
    let path = paths::PREFERRED_REPLICA_ELECTION;
    ground
        .operator
        .create_recursive(path, Some(wish.as_bytes()), CreateMode::Persistent)
        .await
        .unwrap();
    wait_until_async("2 leads 0 again", LIMIT, || async {
        two.role("t", 0) == Some((2, 3))
    })
    .await;
    wait_until_async("the wish is taken away", LIMIT, || async {
        ground.operator.exists(path).await.unwrap().is_none()
    })
    .await;

    // 2 wants to go.
    assert_eq!(
        controller.controlled_shutdown(BrokerId(2), None).await,
        Ok(vec![])
    );
    wait_until_async("1 leads", LIMIT, || async { one.role("t", 0) == Some((1, 4)) }).await;
    let unknown = controller.controlled_shutdown(BrokerId(7), None).await;
    assert_eq!(
        unknown,
        Err(ControlledShutdownError::BrokerNotAvailable(BrokerId(7)))
    );
    controller.stop().await;
    one.stop().await;
    two.stop().await;
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_survives_the_controllers_death_and_waits_for_a_broker_that_is_away() {
    let ground = Ground::new().await;
    let (one, two) = (ground.broker(1).await, ground.broker(2).await);
    let first = controller(&one);
    until_active(&first).await;
    let second = controller(&two);
    ground.create_topic("t", &[&[2, 1]]).await;
    wait_until_async("t is led", LIMIT, || async { two.picture("t", 0) == Some(2) }).await;
    assert_eq!(
        second.controlled_shutdown(BrokerId(1), None).await,
        Err(ControlledShutdownError::NotController)
    );

    two.behave(Manner::Silent);
    ground.delete_topic("t").await;
    let deleted = |broker: &FakeBroker| {
        let told = broker.told();
        told.iter()
            .any(|t| matches!(t, Told::Stop(s) if s.delete_partitions))
    };
    wait_until_async("1 has deleted", LIMIT, || async { deleted(&one) }).await;
    // The controller dies in the middle.
    first.stop().await;
    one.stop().await;
    two.behave(Manner::Willing);
    until_active(&second).await;
    wait_until_async("2 has deleted", LIMIT, || async { deleted(&two) }).await;
    assert!(!ground.is_gone("t").await, "1 may still have a copy");
    let epoch = ground
        .operator
        .get(paths::CONTROLLER_EPOCH)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((epoch.data.as_deref(), epoch.stat.version), (Some(&b"2"[..]), 1));

    let one = ground.broker(1).await;
    wait_until_async("the topic is gone", LIMIT, || ground.is_gone("t")).await;
    assert!(deleted(&one));

    // A broker that cannot delete is asked again.
    ground.create_topic("u", &[&[1]]).await;
    wait_until_async("u is led", LIMIT, || async { one.picture("u", 0) == Some(1) }).await;
    one.behave(Manner::Undeleting(-1));
    ground.delete_topic("u").await;
    one.forget();
    wait_until_async("1 has refused", LIMIT, || async { deleted(&one) }).await;
    one.behave(Manner::Willing);
    wait_until_async("u is gone", LIMIT, || ground.is_gone("u")).await;
    second.stop().await;
    one.stop().await;
    two.stop().await;
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_session_ends_the_reign_and_the_next_begins_after_the_registration() {
    let ground = Ground::new().await;
    let broker = ground.broker(0).await;
    let controller = controller(&broker);
    until_active(&controller).await;
    ground.create_topic("t", &[&[0]]).await;
    wait_until_async("t is led", LIMIT, || async {
        broker.role("t", 0) == Some((0, 0))
    })
    .await;

    let generation = broker.session.generation();
    end_session(&ground.connect, &broker.session).await;
    let mut active = controller.active_receiver();
    tokio::time::timeout(LIMIT, active.wait_for(|a| !*a))
        .await
        .expect("it resigns")
        .unwrap();
    let mut state = broker.session.state();
    let next = state.wait_for(|s| s.generation > generation && s.connected);
    tokio::time::timeout(LIMIT, next)
        .await
        .expect("a new session")
        .unwrap();
    assert!(
        ground.operator.exists(paths::CONTROLLER).await.unwrap().is_none(),
        "nobody stands before it is registered"
    );
    broker.forget();
    broker.register().await;
    until_active(&controller).await;
    wait_until_async("the role is told anew", LIMIT, || async {
        broker.role("t", 0) == Some((0, 0))
    })
    .await;
    let Told::Picture(picture) = &broker.told()[0] else {
        panic!("the picture comes first");
    };
    assert_eq!(picture.controller_epoch, 2);
    controller.stop().await;
    broker.stop().await;
    ground.stop().await;
}

/// Ends a session as its expiry would: another connection takes it over and closes it.
async fn end_session(connect: &str, session: &Session) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(connect).await.unwrap();
    let mut hello = Vec::new();
    hello.extend(0_i32.to_be_bytes());
    hello.extend(0_i64.to_be_bytes());
    hello.extend(6000_i32.to_be_bytes());
    hello.extend(session.session_id().to_be_bytes());
    let password = session.password();
    hello.extend(i32::try_from(password.len()).unwrap().to_be_bytes());
    hello.extend(&password[..]);
    hello.push(0);
    stream
        .write_i32(i32::try_from(hello.len()).unwrap())
        .await
        .unwrap();
    stream.write_all(&hello).await.unwrap();
    let size = stream.read_i32().await.unwrap();
    let mut answer = vec![0; usize::try_from(size).unwrap()];
    stream.read_exact(&mut answer).await.unwrap();
    // xid 1, closeSession.
    stream
        .write_all(&[0, 0, 0, 8, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xf5])
        .await
        .unwrap();
    let _ = stream.read_i32().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_left_by_an_earlier_life_of_the_broker_is_replaced_at_once() {
    let ground = Ground::new().await;
    let ghost = session(&ground.connect).await;
    let left = znodes::controller::encode(BrokerId(0), WallMs(1));
    ghost
        .create(paths::CONTROLLER, Some(left.as_bytes()), CreateMode::Ephemeral)
        .await
        .unwrap();
    let broker = ground.broker(0).await;
    let controller = controller(&broker);
    until_active(&controller).await;
    let node = ground.operator.get(paths::CONTROLLER).await.unwrap().unwrap();
    assert_eq!(node.stat.ephemeral_owner, broker.session.session_id());

    // Somebody takes the office away: it is not fought over, and not taken back while it is held.
    ground.operator.delete(paths::CONTROLLER, -1).await.unwrap();
    let other = znodes::controller::encode(BrokerId(9), WallMs(1));
    let made = ground
        .operator
        .create(paths::CONTROLLER, Some(other.as_bytes()), CreateMode::Ephemeral)
        .await;
    if made.is_ok() {
        let mut active = controller.active_receiver();
        tokio::time::timeout(LIMIT, active.wait_for(|a| !*a))
            .await
            .expect("it resigns")
            .unwrap();
        let node = ground.operator.get(paths::CONTROLLER).await.unwrap().unwrap();
        assert_eq!(node.stat.ephemeral_owner, ground.operator.session_id());
    }
    ghost.close().await;
    controller.stop().await;
    broker.stop().await;
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_whose_epoch_was_raised_by_another_decides_nothing_more() {
    let ground = Ground::new().await;
    let broker = ground.broker(0).await;
    let controller = controller(&broker);
    until_active(&controller).await;
    // Another controller, which this one has not heard of.
    ground
        .operator
        .set(paths::CONTROLLER_EPOCH, b"7", -1)
        .await
        .unwrap();
    ground.create_topic("t", &[&[0]]).await;
    wait_until_async("t is led under a newer epoch", LIMIT, || async {
        let state = ground.state("t", 0).await;
        state.is_some_and(|s| s.starts_with(r#"{"controller_epoch":8,"#))
    })
    .await;
    // A broker that knows of a newer controller says so.
    broker.behave(Manner::Refusing(11));
    ground
        .operator
        .set(paths::CONTROLLER_EPOCH, b"20", -1)
        .await
        .unwrap();
    broker.forget();
    ground
        .operator
        .set(&paths::topic("t"), br#"{"version":1,"partitions":{"0":[0]}}"#, -1)
        .await
        .unwrap();
    let gone = ground.broker(5).await;
    wait_until_async("the broker hears of epoch 21", LIMIT, || async {
        let told = broker.told();
        told.iter()
            .any(|t| matches!(t, Told::Picture(p) if p.controller_epoch == 21))
    })
    .await;
    controller.stop().await;
    gone.stop().await;
    broker.stop().await;
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_answer_keeps_nobody_else_waiting() {
    let ground = Ground::new().await;
    let (one, two) = (ground.broker(1).await, ground.broker(2).await);
    two.behave(Manner::Silent);
    let controller = controller(&one);
    until_active(&controller).await;
    for i in 0..20 {
        let topic = format!("t{i}");
        ground.create_topic(&topic, &[&[1, 2]]).await;
        wait_until_async("the topic is led", LIMIT, || async {
            one.role(&topic, 0) == Some((1, 0))
        })
        .await;
    }
    // What waited for it comes in few requests, its roles among them.
    two.behave(Manner::Willing);
    wait_until_async("2 has caught up", LIMIT, || async {
        two.role("t19", 0) == Some((1, 0))
    })
    .await;
    assert!(two.told().len() < 12, "{} requests", two.told().len());
    assert_eq!(two.role("t0", 0), Some((1, 0)));
    controller.stop().await;
    one.stop().await;
    two.stop().await;
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_moved_as_wished_and_the_wish_is_taken_away() {
    let ground = Ground::new().await;
    let (one, two) = (ground.broker(1).await, ground.broker(2).await);
    let controller = controller(&one);
    until_active(&controller).await;
    ground.create_topic("t", &[&[1]]).await;
    wait_until_async("t is led", LIMIT, || async { one.role("t", 0) == Some((1, 0)) }).await;
    let wish = r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[2]}]}"#;
    let path = paths::REASSIGN_PARTITIONS;
    ground
        .operator
        .create_recursive(path, Some(wish.as_bytes()), CreateMode::Persistent)
        .await
        .unwrap();
    wait_until_async("2 is to follow", LIMIT, || async {
        two.role("t", 0) == Some((1, 1))
    })
    .await;
    // The leader takes it into the ISR.
    let grown = r#"{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":1,"isr":[1,2]}"#;
    ground
        .operator
        .set(&paths::partition_state("t", 0), grown.as_bytes(), 1)
        .await
        .unwrap();
    wait_until_async("the wish is taken away", LIMIT, || async {
        ground.operator.exists(path).await.unwrap().is_none()
    })
    .await;
    let node = ground.operator.get(&paths::topic("t")).await.unwrap().unwrap();
    assert_eq!(
        node.data.as_deref(),
        Some(&br#"{"version":1,"partitions":{"0":[2]}}"#[..])
    );
    let state = r#"{"controller_epoch":1,"leader":2,"version":1,"leader_epoch":3,"isr":[2]} v4"#;
    assert_eq!(ground.state("t", 0).await.as_deref(), Some(state));
    wait_until_async("1 deletes its copy", LIMIT, || async {
        one.told()
            .iter()
            .any(|t| matches!(t, Told::Stop(s) if s.delete_partitions))
    })
    .await;
    controller.stop().await;
    one.stop().await;
    two.stop().await;
    ground.stop().await;
}

/// Pain of 0.9.0.1: creation, failover and controlled shutdown ask ZooKeeper once per partition and wait
/// for each answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_zookeeper_costs_round_trips_and_not_partitions() {
    const PARTITIONS: i32 = 400;
    let ground = Ground::new().await;
    let link = SlowLink::start(&ground.connect).await;
    let (one, two) = (
        FakeBroker::start(1, &link.address()).await,
        FakeBroker::start(2, &link.address()).await,
    );
    let first = controller(&one);
    until_active(&first).await;
    let mut before = link.batches();
    let mut few = |what: &str| {
        let batches = link.batches() - before;
        before = link.batches();
        assert!(
            batches < usize::try_from(PARTITIONS / 3).unwrap(),
            "{what}: {batches} batches"
        );
    };
    let assignment: Vec<&[i32]> = (0..PARTITIONS).map(|_| &[1, 2][..]).collect();
    ground.create_topic("t", &assignment).await;
    wait_until_async("all are led", LIMIT * 3, || async {
        (0..PARTITIONS).all(|p| two.role("t", p) == Some((1, 0)))
    })
    .await;
    few("creation");
    assert_eq!(first.controlled_shutdown(BrokerId(1), None).await, Ok(vec![]));
    few("controlled shutdown");
    wait_until_async("all have moved", LIMIT * 3, || async {
        (0..PARTITIONS).all(|p| two.role("t", p) == Some((2, 1)))
    })
    .await;
    // The other takes the office over, and the leader of all is gone with the first.
    let second = controller(&two);
    few("between");
    first.stop().await;
    one.stop().await;
    until_active(&second).await;
    wait_until_async("all are told anew", LIMIT * 3, || async {
        two.told()
            .iter()
            .any(|t| matches!(t, Told::Roles(r) if r.controller_epoch == 2 && r.partitions.len() > 300))
    })
    .await;
    few("failover");
    second.stop().await;
    two.stop().await;
    ground.stop().await;
}
