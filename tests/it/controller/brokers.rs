//! Brokers that go, come back or do not answer.

use super::*;

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
    assert!(two.is_meant().await);

    // It bounces so fast that nobody sees it gone: its new life is told all the same (KAFKA-1120). It was
    // in no ISR, and a new epoch sees to it that no word from before takes it in.
    two.stop().await;
    let two = ground.broker(2).await;
    wait_until_async("2 follows again", LIMIT, || async {
        two.role("t", 1) == Some((1, 2))
    })
    .await;
    assert!(two.is_meant().await);

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
