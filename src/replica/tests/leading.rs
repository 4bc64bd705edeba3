//! What a leader does: appends, reads, waits, in-sync sets, decisions; and what the checkpoint keeps.

use super::*;

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
async fn no_fetch_is_answered_by_another_leadership_than_it_asked() {
    let case = Case::new();
    case.decide(1, 0, &[1, 2], &[1, 2]).await.unwrap();
    case.append(1, 0, 3).await.unwrap();
    let partition = case.replicas.get("t", 0).unwrap();
    let (follower, now) = (Reader::Follower(BrokerId(2)), case.clock.now());
    let read = |round| partition.read(3, 1000, follower, round, now).0;
    // The first over a connection may be from before this leadership.
    assert!(read(Round::First(7, Duration::ZERO)).unwrap().at_once);
    assert_eq!(case.high_watermark(), 0);
    let read_again = read(Round::First(7, Duration::ZERO)).unwrap();
    assert!(!read_again.at_once);
    let term = read_again.term;
    assert!(term.is_some());
    read(Round::Again(term)).unwrap();
    case.decide(2, 1, &[1, 2], &[1, 2]).await.unwrap();
    case.decide(1, 2, &[1, 2], &[1, 2]).await.unwrap();
    // It has waited meanwhile.
    assert!(matches!(code(read(Round::Again(term))), Error::NotLeader(_)));
    // It asks anew: over the same connection it is told once.
    assert!(matches!(
        code(read(Round::First(7, Duration::ZERO))),
        Error::NotLeader(_)
    ));
    assert_eq!(case.high_watermark(), 3, "as it was");
    let term = read(Round::First(7, Duration::ZERO)).unwrap().term;
    read(Round::Again(term)).unwrap();
    // What a consumer is told does not depend on that.
    let consumer = |round| partition.read(3, 1000, Reader::Consumer, round, now).0;
    consumer(Round::First(7, Duration::ZERO)).unwrap();
    consumer(Round::Again(None)).unwrap();
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
        connection: new_connection(),
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
    case.read_to_join(2, 0).await;
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
async fn a_broker_that_leaves_does_not_copy_what_it_led_and_at_last_nothing() {
    let case = Case::new();
    let role = || case.replicas.get("t", 0).unwrap().role();
    case.decide(2, 0, &[1, 2], &[1, 2, 3]).await.unwrap();
    case.replicas.begin_leaving();
    case.decide(3, 1, &[1, 3], &[1, 2, 3]).await.unwrap();
    assert_eq!(role(), Role::Follower(BrokerId(3)), "it is in sync still");
    case.decide(1, 2, &[1, 3], &[1, 2, 3]).await.unwrap();
    case.decide(3, 3, &[3], &[1, 2, 3]).await.unwrap();
    assert_eq!(role(), Role::Follower(BrokerId::NONE));

    let stop = Shutdown::new();
    let copying = tokio::spawn(case.replicas.clone().keep_fetchers(stop.stop()));
    case.decide(3, 4, &[1, 3], &[1, 2, 3]).await.unwrap();
    case.replicas.stop_copying();
    copying.await.unwrap();
}

#[tokio::test]
async fn a_write_that_came_second_takes_over_the_version_that_stands_there() {
    let case = Case::started();
    case.decide(1, 3, &[1], &[1, 2, 3]).await.unwrap();
    case.finds_in_zookeeper(1, 3, 77);
    case.read_to_join(2, 0).await;
    case.until(|| case.states.written().len() == 1).await;
    // The next question proposes again, on the version found.
    case.until(|| {
        drop(case.fetch_soon(2, 0, 0, 1));
        case.states.written().len() == 2
    })
    .await;
    assert_eq!(case.states.written()[1].zk_version, 77);
}

#[tokio::test]
async fn a_foreign_leadership_in_zookeeper_ends_the_writing() {
    let case = Case::started();
    case.decide(1, 3, &[1], &[1, 2]).await.unwrap();
    case.finds_in_zookeeper(2, 4, 77);
    case.read_to_join(2, 0).await;
    case.until(|| case.states.written().len() == 1).await;
    for _ in 0..20 {
        case.read(2, 0).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(case.states.written().len(), 1);
    case.decide(1, 5, &[1], &[1, 2]).await.unwrap();
    // It missed a decision: what the follower asked first may be about another log.
    case.read_to_join(2, 0).await;
    assert_eq!(case.states.written().len(), 1);
    case.read_to_join(2, 0).await;
    case.until(|| case.states.written().len() == 2).await;
}

#[tokio::test]
async fn an_outage_of_zookeeper_stops_neither_produce_nor_fetch_and_the_write_is_tried_again() {
    let case = Case::started();
    case.decide(1, 0, &[1], &[1, 2]).await.unwrap();
    let lost = || Err(zookeeper::Error::ConnectionLoss);
    case.states.0.lock().unwrap().script = vec![lost(), lost()];
    case.read_to_join(2, 0).await;
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

/// 0.9.0.1 starts, too, and then fails whenever a controller speaks of a replica in that directory.
#[tokio::test]
async fn damaged_high_watermarks_begin_at_0_and_are_written_anew() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let file = dir.path().join("replication-offset-checkpoint");
    for damaged in [
        "0\n1\nt 0\n",
        "0\n2\nt 0 7\n",
        "1\n0\n",
        "\0\0\0\0\0\0\0\0",
        "0\n1\nt 0 seven\n",
    ] {
        std::fs::write(&file, damaged).unwrap();
        let case = Case::in_dir(dir.clone(), LogConfig::default());
        case.decide(1, 0, &[1, 2], &[1, 2]).await.unwrap();
        assert_eq!(case.high_watermark(), 0, "{damaged:?}");
        let end = case.append(1, 0, 10).await.unwrap().last + 1;
        case.read(2, end).await.unwrap();
        assert_eq!(case.high_watermark(), end);
        case.replicas.shutdown();
        case.replicas.logs.shutdown().unwrap();
        let written = std::fs::read_to_string(&file).unwrap();
        assert_eq!(written, format!("0\n1\nt 0 {end}\n"));
    }
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

/// EMFILE: nothing is wrong with the disk.
#[cfg(unix)]
#[tokio::test]
async fn high_watermarks_for_which_no_file_can_be_opened_are_written_later() {
    use crate::util::fs::testing::{Disk, Fault, Op, When};
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let disk = Disk::over(dir.path());
    let case = Case::in_dir(dir.clone(), LogConfig::default());
    case.decide(1, 0, &[1], &[1]).await.unwrap();
    case.append(1, 0, 3).await.unwrap();
    disk.fail(When {
        path: "replication-offset-checkpoint",
        ..When::every(Op::Create, Fault::System(24))
    });
    case.replicas.checkpoint();
    let file = dir.path().join("replication-offset-checkpoint");
    assert!(!file.exists());
    assert_eq!(case.halts.load(Ordering::SeqCst), 0);
    disk.mend();
    case.replicas.checkpoint();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "0\n1\nt 0 3\n");
}
