//! One controller after the other.

use super::*;

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
