//! Which log is cleaned, how far, and who keeps the cleaner off.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::cluster::TopicPartition;
use crate::config::LogConfig;
use crate::log::cleaner::clean::Standing;
use crate::log::cleaner::testing::{clean, compacted, content, put, put_with, roll, state, text};
use crate::log::testing::{Ground, read_all, small, tp};
use crate::log::{Log, LogManager, files};
use crate::message::{Codec, Offset};
use crate::metrics::{Registry, Shown};
use crate::util::shutdown::Shutdown;

/// testLogToClean
#[test]
fn dirt_counts_all_but_the_segment_that_grows() {
    let ground = Ground::new(compacted(100));
    let manager = ground.open();
    let log = ground.log(&manager);
    for _ in 0..6 {
        put(&log, &ground, "1", Some(&"0".repeat(50)));
    }
    assert_eq!(log.segment_count(), 6);
    let standing = Standing::of(&log).unwrap();
    let active = log.size_bytes() / 6;
    assert_eq!(
        standing.dirt.clean + standing.dirt.dirty,
        log.size_bytes() - active
    );
    assert_eq!(standing.dirt.ratio(), Some(1.0));
    log.set_cleaner_point(log.end().segment).unwrap();
    assert_eq!(Standing::of(&log).unwrap().dirt.ratio(), Some(0.0));
}

/// testCleanSegmentsWithAbort
#[test]
fn an_interrupted_cleaning_leaves_the_log_as_it_was() {
    let ground = Ground::new(compacted(200));
    let manager = ground.open();
    let log = ground.log(&manager);
    for i in 0..40 {
        put(&log, &ground, &format!("{}", i % 3), Some("value"));
    }
    let (before, files) = (content(&log), ground.files());
    let stop = Shutdown::new();
    stop.ask();
    assert!(
        manager
            .cleaner()
            .unwrap()
            .clean_filthiest(0, manager.all(), &stop.stop())
    );
    assert_eq!((content(&log), ground.files()), (before.clone(), files.clone()));
    assert_eq!(log.cleaner_point(), None);
    // A pause, and another policy, keep the cleaner off likewise.
    let paused = log.turns().pause();
    assert!(!clean(&manager));
    drop(paused);
    log.set_config(Arc::new(small(200)));
    assert!(!clean(&manager));
    assert_eq!((content(&log), ground.files()), (before, files));
}

#[test]
fn what_replicas_have_not_agreed_on_supersedes_nothing() {
    let ground = Ground::new(compacted(100));
    let manager = ground.open();
    let log = ground.log(&manager);
    for i in 0..8 {
        put(&log, &ground, "a", Some(&format!("{i}{}", "x".repeat(60))));
    }
    log.set_high_watermark(3);
    assert!(clean(&manager));
    assert_eq!(log.cleaner_point(), Some(3));
    let offsets = |log: &Log| -> Vec<Offset> { read_all(log, 0, 10_000).iter().map(|m| m.offset).collect() };
    assert_eq!(offsets(&log), [2, 3, 4, 5, 6, 7]);
    log.set_high_watermark(8);
    assert!(clean(&manager));
    assert_eq!(offsets(&log), [6, 7]);
}

#[test]
fn a_log_larger_than_the_table_is_cleaned_in_several_goes() {
    // A table of 43,690 slots holds 9 keys with this load.
    let mut ground = Ground::new(compacted(100_000));
    ground.cleaner.dedupe_buffer_bytes = 1 << 20;
    ground.cleaner.load_factor = 9.5 / 43_690.0;
    let manager = ground.open();
    let log = ground.log(&manager);
    // One segment with far more keys than fit, plain and in wrappers, with a marker in the middle.
    for round in 0..3 {
        for i in 0..25 {
            put(&log, &ground, &format!("k{i}"), Some(&format!("{round}")));
        }
        put_with(
            &log,
            &ground,
            Codec::Gzip,
            &[
                (Some("w1"), Some("1")),
                (Some("k3"), None),
                (Some("w2"), Some("1")),
                (Some("k4"), Some("w")),
            ],
        );
    }
    roll(&log, &ground);
    let before = state(&log);
    let stop = Shutdown::new();
    let cleaner = manager.cleaner().unwrap();
    let mut goes = 0;
    while cleaner.clean_filthiest(0, manager.all(), &stop.stop()) {
        goes += 1;
        assert_eq!(state(&log), before, "after {goes}");
        assert!(goes < 100);
    }
    assert!(goes > 5, "{goes}");
    assert_eq!(log.cleaner_point(), Some(log.end().segment));
    // A key that came back in a later go is superseded then.
    let offsets: Vec<_> = read_all(&log, 0, 100_000).iter().map(|m| text(&m.key)).collect();
    let mut once = offsets.clone();
    once.sort();
    once.dedup();
    assert_eq!(offsets.len(), once.len(), "{offsets:?}");
}

#[test]
fn segments_that_do_not_fit_together_wait_for_the_next_go() {
    let mut ground = Ground::new(compacted(400));
    ground.cleaner.dedupe_buffer_bytes = 1 << 20;
    ground.cleaner.load_factor = 30.5 / 43_690.0;
    let manager = ground.open();
    let log = ground.log(&manager);
    while log.segment_count() < 6 {
        let key = log.end().offset.to_string();
        put(&log, &ground, &key, Some("x"));
    }
    let bases: Vec<_> = log.cleanable().iter().map(|(s, _)| s.base()).collect();
    let per_segment = bases[1];
    assert!(
        (11..=15).contains(&per_segment),
        "two fit, three do not: {per_segment}"
    );
    let stop = Shutdown::new();
    assert!(
        manager
            .cleaner()
            .unwrap()
            .clean_filthiest(0, manager.all(), &stop.stop())
    );
    assert_eq!(log.cleaner_point(), Some(bases[2]));
}

#[test]
fn the_filthiest_log_comes_first() {
    let ground = Ground::new(compacted(1024));
    let manager = ground.open();
    let logs: Vec<_> = (0..3)
        .map(|p| {
            let tp = TopicPartition::new("t", p);
            manager.get_or_create(&tp, ground.config.clone()).unwrap()
        })
        .collect();
    for (log, share) in logs.iter().zip([3, 9, 6]) {
        for i in 0..12 {
            put(log, &ground, "a", Some("x"));
            if i == 12 - share - 1 {
                roll(log, &ground);
                log.set_cleaner_point(log.end().segment).unwrap();
            }
        }
        roll(log, &ground);
    }
    let stop = Shutdown::new();
    let mut order = Vec::new();
    let done = |log: &Arc<Log>| log.cleaner_point() == Some(log.end().segment);
    while manager
        .cleaner()
        .unwrap()
        .clean_filthiest(0, manager.all(), &stop.stop())
    {
        order.extend(
            (0..3)
                .filter(|p| done(&logs[*p]) && !order.contains(p))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(order, [1, 2, 0]);
}

#[test]
fn a_log_that_cannot_be_cleaned_is_set_aside_and_the_others_are_cleaned() {
    let ground = Ground::new(compacted(1024));
    let manager = ground.open();
    let bad = ground.log(&manager);
    let other = TopicPartition::new("t", 1);
    let good = manager.get_or_create(&other, ground.config.clone()).unwrap();
    for log in [&bad, &good] {
        put(log, &ground, "a", Some("1"));
        put(log, &ground, "a", Some("2"));
        roll(log, &ground);
    }
    let whole = std::fs::read(ground.segment(0)).unwrap();
    let mut damaged = whole.clone();
    damaged[8..12].copy_from_slice(&5i32.to_be_bytes());
    std::fs::write(ground.segment(0), &damaged).unwrap();

    let metrics = Registry::new();
    manager.cleaner().unwrap().show_in(&metrics);
    let shown = |name: &str| {
        let all = metrics.snapshot(ground.clock.now());
        let found = all.iter().find(|(n, _)| n.to_string().contains(name)).unwrap();
        found.1.clone()
    };
    assert!(clean(&manager));
    assert_eq!(content(&good), ["1 a=2", "2 last=x"]);
    assert_eq!(bad.turns().set_aside().unwrap().failures, 1);
    assert!(!clean(&manager));
    assert_eq!(shown("uncleanable-partitions-count"), Shown::Value(1));
    assert_eq!(shown("max-dirty-percent"), Shown::Value(100));
    assert_eq!(
        std::fs::read(ground.segment(0)).unwrap(),
        damaged,
        "nothing was touched"
    );

    // Tried again after a while, and each time later.
    for (seconds, failures) in [(59, 1), (2, 2), (119, 2), (2, 3)] {
        ground.clock.advance(Duration::from_secs(seconds));
        clean(&manager);
        assert_eq!(bad.turns().set_aside().unwrap().failures, failures, "{seconds}");
    }
    std::fs::write(ground.segment(0), &whole).unwrap();
    bad.set_config(Arc::new(ground.config.clone()));
    assert!(clean(&manager), "other settings take it up again");
    assert_eq!(bad.turns().set_aside(), None);
    assert!(!clean(&manager));
    assert_eq!(shown("uncleanable-partitions-count"), Shown::Value(0));
    assert_eq!(shown("max-dirty-percent"), Shown::Value(0));
}

#[test]
fn truncation_lowers_what_counts_as_clean() {
    let ground = Ground::new(compacted(100));
    let manager = ground.open();
    let log = ground.log(&manager);
    for i in 0..8 {
        put(&log, &ground, &format!("{i}"), Some(&"x".repeat(60)));
    }
    assert!(clean(&manager));
    assert_eq!(log.cleaner_point(), Some(7));
    log.truncate_to(4).unwrap();
    assert_eq!(log.cleaner_point(), Some(4), "KAFKA-3330");
    for _ in 0..4 {
        put(&log, &ground, "0", Some(&"y".repeat(60)));
    }
    assert!(clean(&manager));
    let offsets: Vec<_> = read_all(&log, 0, 10_000).iter().map(|m| m.offset).collect();
    assert_eq!(offsets, [1, 2, 3, 6, 7]);
    log.truncate_fully_and_start_at(3).unwrap();
    assert_eq!(log.cleaner_point(), Some(3));
    let written = std::fs::read_to_string(ground.dirs[0].join(files::CLEANER_CHECKPOINT)).unwrap();
    assert_eq!(written, "0\n1\nt 0 3\n");
}

#[test]
fn a_checkpoint_from_another_life_of_the_log_is_forgotten() {
    let ground = Ground::new(compacted(1024));
    let manager = ground.open();
    let log = ground.log(&manager);
    put(&log, &ground, "a", Some("1"));
    drop((log, manager));
    let file = ground.dirs[0].join(files::CLEANER_CHECKPOINT);
    std::fs::write(&file, "0\n2\nt 0 500\ngone 0 3\n").unwrap();
    let manager = ground.open();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "0\n0\n");
    let log = ground.log(&manager);
    log.set_cleaner_point(1).unwrap();
    drop(log);
    manager.delete(&tp()).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "0\n0\n");
    assert_eq!(ground.log(&manager).cleaner_point(), None);
}

#[test]
fn policies_can_be_switched_both_ways() {
    let ground = Ground::new(LogConfig {
        retention: Some(Duration::from_secs(10)),
        ..compacted(100)
    });
    let manager = ground.open();
    let log = ground.log(&manager);
    let more = || {
        for i in 0..4 {
            put(&log, &ground, &format!("{}", i % 2), Some(&"x".repeat(60)));
        }
    };
    more();
    ground.clock.advance(Duration::from_secs(20));
    manager.apply_retention();
    assert_eq!(log.start_offset(), 0, "compacted: time removes nothing");
    assert!(clean(&manager));
    let switched = |compact| {
        manager.set_topic_config(
            "t",
            LogConfig {
                compact,
                ..ground.config.clone()
            },
        );
    };
    switched(false);
    more();
    assert!(!clean(&manager));
    manager.apply_retention();
    assert_eq!(log.start_offset(), 4, "all that had not grown for long");
    switched(true);
    assert!(clean(&manager));
    assert_eq!(log.cleaner_point(), Some(7));
    ground.clock.advance(Duration::from_secs(20));
    manager.apply_retention();
    let offsets: Vec<_> = read_all(&log, 4, 10_000).iter().map(|m| m.offset).collect();
    assert_eq!(offsets, [5, 6, 7]);
}

/// Begins a cleaning that sleeps, by a clock that stands still, until somebody needs the log or the end comes.
async fn asleep(manager: &Arc<LogManager>, log: &Log, shutdown: &Shutdown) -> JoinHandle<bool> {
    let (worker, stop) = (Arc::clone(manager), shutdown.stop());
    let clean = move || {
        let cleaner = worker.cleaner().unwrap();
        cleaner.clean_filthiest(0, worker.all(), &stop)
    };
    let cleaning = tokio::task::spawn_blocking(clean);
    while log.turns().is_free() {
        tokio::task::yield_now().await;
    }
    cleaning
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_cleaning_sleeps_and_lets_go_at_once() {
    let mut ground = Ground::new(compacted(200));
    ground.cleaner.io_max_bytes_per_second = 1.0;
    let manager = Arc::new(ground.open());
    let log = ground.log(&manager);
    for i in 0..40 {
        put(&log, &ground, &format!("{}", i % 3), Some("value"));
    }
    ground.clock.advance(Duration::from_secs(1));
    let before = content(&log);
    let shutdown = Shutdown::new();

    let cleaning = asleep(&manager, &log, &shutdown).await;
    let cut = Arc::clone(&log);
    tokio::task::spawn_blocking(move || cut.truncate_to(20).unwrap())
        .await
        .unwrap();
    assert!(cleaning.await.unwrap());
    assert_eq!(
        (content(&log), log.cleaner_point()),
        (before[..20].to_vec(), None)
    );

    let cleaning = asleep(&manager, &log, &shutdown).await;
    shutdown.ask();
    assert!(cleaning.await.unwrap());
    assert_eq!(
        (content(&log), log.cleaner_point()),
        (before[..20].to_vec(), None)
    );
}
