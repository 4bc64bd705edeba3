//! Topics, and where their partitions go.

use super::*;

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

    // The picture with which the reign begins may still be on its way.
    wait_until_async("it is told of the reign", LIMIT, || async {
        !broker.told().is_empty()
    })
    .await;
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
