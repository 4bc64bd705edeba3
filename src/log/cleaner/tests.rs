//! What a cleaning keeps and what it drops, each rule on a log of its own. The row of 0.9.0.1's CleanerTest or
//! LogCleanerIntegrationTest that a test answers to is named beside it. Which log is cleaned, and how far, is
//! in `tests/choice.rs`.

mod choice;

use std::sync::Arc;
use std::time::Duration;

use super::testing::{clean, compacted, content, put, put_with, roll, state};
use crate::config::LogConfig;
use crate::log::testing::{Ground, bytes, read_all, single, stored};
use crate::message::{Codec, Offset, SetIter};
use crate::util::clock::WallMs;

/// testCleanSegments
#[test]
fn the_last_value_of_each_key_is_kept_with_its_offset() {
    let ground = Ground::new(compacted(1024));
    let manager = ground.open();
    let log = ground.log(&manager);
    for (key, value) in [("a", "1"), ("b", "1"), ("a", "2"), ("c", "1"), ("b", "2")] {
        put(&log, &ground, key, Some(value));
    }
    roll(&log, &ground);
    let end = log.end();
    assert!(clean(&manager));
    assert_eq!(content(&log), ["2 a=2", "3 c=1", "4 b=2", "5 last=x"]);
    assert_eq!(log.end(), end);
    assert_eq!(log.start_offset(), 0);
    assert_eq!(log.cleaner_point(), Some(5));
    assert!(!clean(&manager), "nothing is dirty any more");
}

#[test]
fn the_segment_that_grows_is_never_cleaned() {
    let ground = Ground::new(compacted(1024));
    let manager = ground.open();
    let log = ground.log(&manager);
    put(&log, &ground, "a", Some("1"));
    put(&log, &ground, "a", Some("2"));
    assert!(!clean(&manager));
    roll(&log, &ground);
    put(&log, &ground, "a", Some("3"));
    assert!(clean(&manager));
    assert_eq!(content(&log), ["1 a=2", "2 last=x", "3 a=3"]);
}

/// testCleaningWithDeletes
#[test]
fn a_deleted_key_s_marker_stays_for_its_time() {
    let ground = Ground::new(LogConfig {
        delete_retention: Duration::from_secs(10),
        // Too small for two segments to become one, which would take the later one's time.
        ..compacted(60)
    });
    let manager = ground.open();
    let log = ground.log(&manager);
    put(&log, &ground, "a", Some("1"));
    put(&log, &ground, "a", None);
    roll(&log, &ground);
    assert!(clean(&manager));
    assert_eq!(
        content(&log),
        ["1 a=-", "2 last=x"],
        "nothing was clean before: it stays"
    );
    // Nine seconds later, by the time of the last clean segment, it is kept still.
    for (wait, kept) in [(9, true), (2, true), (0, false)] {
        ground.clock.advance(Duration::from_secs(wait));
        put(&log, &ground, "b", Some("1"));
        roll(&log, &ground);
        assert!(clean(&manager));
        let marker = content(&log).iter().any(|m| m == "1 a=-");
        assert_eq!(marker, kept, "{:?}", content(&log));
    }
    assert!(!state(&log).contains_key("a"));
}

#[test]
fn a_marker_is_not_forgotten_before_it_was_cleaned_once() {
    let ground = Ground::new(LogConfig {
        delete_retention: Duration::ZERO,
        ..compacted(10_000)
    });
    let manager = ground.open();
    let log = ground.log(&manager);
    put(&log, &ground, "a", Some("1"));
    roll(&log, &ground);
    assert!(clean(&manager));
    put(&log, &ground, "a", None);
    roll(&log, &ground);
    drop((log, manager));
    // Copied files may have any times.
    let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    let file = std::fs::File::options()
        .write(true)
        .open(ground.segment(1))
        .unwrap();
    file.set_modified(old).unwrap();
    let manager = ground.open();
    let log = ground.log(&manager);
    assert!(clean(&manager));
    assert!(content(&log).contains(&"2 a=-".to_owned()), "{:?}", content(&log));
}

/// testCleaningWithUnkeyedMessages
#[test]
fn messages_without_a_key_are_dropped_and_counted() {
    let ground = Ground::new(LogConfig {
        compact: false,
        ..compacted(1024)
    });
    let manager = ground.open();
    let log = ground.log(&manager);
    log.append_as_leader(single(b"no key"), ground.now()).unwrap();
    put(&log, &ground, "a", Some("1"));
    put_with(
        &log,
        &ground,
        Codec::Gzip,
        &[(None, Some("none")), (Some("b"), Some("1"))],
    );
    put_with(&log, &ground, Codec::Lz4, &[(None, Some("none"))]);
    log.set_config(Arc::new(compacted(1024)));
    roll(&log, &ground);
    assert!(clean(&manager));
    assert_eq!(content(&log), ["1 a=1", "3 b=1", "5 last=x"]);
    assert_eq!(manager.cleaner().unwrap().last_of(0).keyless, 3);
}

/// testSegmentGrouping, on files
#[test]
fn neighbours_that_became_small_become_one_segment() {
    let ground = Ground::new(compacted(300));
    let manager = ground.open();
    let log = ground.log(&manager);
    let write = |keys: i32, times: i32| {
        for i in 0..keys * times {
            put(&log, &ground, &format!("{}", i % keys), Some("some value"));
        }
    };
    write(50, 1);
    assert!(log.segment_count() > 5);
    for _ in 0..2 {
        write(50, 1);
        let before = log.segment_count();
        assert!(clean(&manager));
        // They were full before, and what was superseded has left them nearly empty.
        assert!(log.segment_count() <= before);
    }
    let before = log.segment_count();
    write(5, 4);
    assert!(clean(&manager));
    assert!(log.segment_count() < before, "{} {before}", log.segment_count());
    assert_eq!(state(&log).len(), 50);
    manager.run_chores();
    let bases: Vec<Offset> = log.cleanable().iter().map(|(s, _)| s.base()).collect();
    assert!(bases.is_sorted());
    for base in bases {
        assert!(ground.segment(base).exists() && ground.index(base).exists());
    }
}

/// LogCleanerIntegrationTest, with each codec
#[test]
fn compaction_of_every_codec_keeps_the_state_and_goes_on_after_more_writes() {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
        let ground = Ground::new(compacted(2000));
        let manager = ground.open();
        let log = ground.log(&manager);
        let mut counter = 0;
        for round in 0..3 {
            for _ in 0..100 {
                let keys: Vec<String> = (0..5).map(|i| format!("{}", (counter + i * 7) % 100)).collect();
                let values: Vec<String> = (0..5).map(|i| format!("{}", counter + i)).collect();
                let set: Vec<_> = keys
                    .iter()
                    .zip(&values)
                    .map(|(k, v)| (Some(&k[..]), Some(&v[..])))
                    .collect();
                put_with(&log, &ground, codec, &set);
                counter += 5;
            }
            let (before, size) = (state(&log), log.size_bytes());
            assert!(clean(&manager), "{codec:?} {round}");
            assert_eq!(state(&log), before);
            assert!(log.size_bytes() < size);
            assert!(log.cleaner_point() >= Some(log.end().segment));
        }
        let segment = ground.segment(log.start_offset());
        let set = std::fs::read(segment).unwrap();
        for message in SetIter::new(&set) {
            assert_eq!(
                message.unwrap().codec().unwrap(),
                codec,
                "wrappers keep their codec"
            );
        }
        let cleaner = manager.cleaner().unwrap().last_of(0);
        assert!(cleaner.utilization > 0.0 && cleaner.written.bytes < cleaner.read.bytes);
    }
}

#[test]
fn a_wrapper_gets_the_offset_of_the_last_message_it_keeps() {
    let ground = Ground::new(compacted(10_000));
    let manager = ground.open();
    let log = ground.log(&manager);
    let (one, two) = (Some("1"), Some("2"));
    put_with(
        &log,
        &ground,
        Codec::Gzip,
        &[(Some("a"), one), (Some("b"), one), (Some("c"), one)],
    );
    put_with(
        &log,
        &ground,
        Codec::Snappy,
        &[(Some("d"), one), (Some("e"), one)],
    );
    put_with(
        &log,
        &ground,
        Codec::Lz4,
        &[(Some("c"), two), (Some("d"), two), (Some("e"), two)],
    );
    let untouched = bytes(&log, 5, 100_000, None);
    roll(&log, &ground);
    assert!(clean(&manager));
    let expected = ["0 a=1", "1 b=1", "5 c=2", "6 d=2", "7 e=2", "8 last=x"];
    assert_eq!(content(&log), expected);
    let set = std::fs::read(ground.segment(0)).unwrap();
    let wrappers: Vec<_> = SetIter::new(&set)
        .map(|m| m.unwrap())
        .map(|m| (m.offset, m.codec().unwrap()))
        .collect();
    assert_eq!(wrappers, [(1, Codec::Gzip), (7, Codec::Lz4)]);
    assert!(
        set.ends_with(&untouched),
        "a wrapper that keeps all stays as it is"
    );
}

#[test]
fn a_log_of_which_nothing_is_left_is_an_empty_segment_and_goes_on() {
    let ground = Ground::new(compacted(80));
    let manager = ground.open();
    let log = ground.log(&manager);
    put(&log, &ground, "last", Some("1"));
    put(&log, &ground, "last", Some("2"));
    roll(&log, &ground);
    roll(&log, &ground);
    assert!(clean(&manager));
    assert_eq!(std::fs::metadata(ground.segment(0)).unwrap().len(), 0);
    assert_eq!(content(&log), ["2 last=x", "3 last=x"]);
    assert_eq!(put(&log, &ground, "a", Some("1")), 4);
    drop((log, manager));
    let manager = ground.open();
    let log = ground.log(&manager);
    assert_eq!(content(&log), ["2 last=x", "3 last=x", "4 a=1"]);
    assert_eq!((log.start_offset(), log.cleaner_point()), (0, Some(3)));
}

#[test]
fn times_of_change_are_those_of_the_last_segment_that_went_in() {
    let ground = Ground::new(compacted(1024));
    let manager = ground.open();
    let log = ground.log(&manager);
    put(&log, &ground, "a", Some("1"));
    let written = ground.now();
    roll(&log, &ground);
    drop((log, manager));
    let stamp = WallMs(written.0 - 500_000);
    for path in [ground.segment(0), ground.index(0)] {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(stamp.to_system()).unwrap();
    }
    let manager = ground.open();
    let log = ground.log(&manager);
    assert!(clean(&manager));
    for path in [ground.segment(0), ground.index(0)] {
        let modified = std::fs::metadata(path).unwrap().modified().unwrap();
        assert_eq!(WallMs::from_system(modified), stamp);
    }
    assert_eq!(log.cleanable()[0].0.modified(), stamp);
}

#[test]
fn what_cannot_be_read_is_kept_and_supersedes_nothing() {
    let ground = Ground::new(compacted(1024));
    let manager = ground.open();
    let log = ground.log(&manager);
    put(&log, &ground, "a", Some("1"));
    put(&log, &ground, "a", Some("2"));
    put_with(&log, &ground, Codec::Gzip, &[(Some("b"), Some("1"))]);
    put(&log, &ground, "b", Some("2"));
    roll(&log, &ground);
    // The value of the second, and the wrapper's: their checksums are wrong now.
    let mut set = std::fs::read(ground.segment(0)).unwrap();
    let ends: Vec<usize> = SetIter::new(&set).map(|m| m.unwrap().end()).collect();
    set[ends[1] - 1] ^= 1;
    set[ends[2] - 1] ^= 1;
    std::fs::write(ground.segment(0), &set).unwrap();
    assert!(clean(&manager));
    assert_eq!(std::fs::read(ground.segment(0)).unwrap(), set, "nothing may go");
    assert_eq!(manager.cleaner().unwrap().last_of(0).unreadable, 2);
}

#[test]
fn readers_of_a_segment_that_is_replaced_go_on() {
    let ground = Ground::new(LogConfig {
        index_interval_bytes: 0,
        ..compacted(100_000)
    });
    let manager = ground.open();
    let log = ground.log(&manager);
    for i in 0..2000 {
        put(&log, &ground, &format!("{}", i % 1500), Some("some value"));
    }
    roll(&log, &ground);
    // Held as by a fetch that is under way.
    let (held, _) = log.cleanable().remove(0);
    held.index().rest().unwrap();
    let before = held.find(1234, held.size()).unwrap().unwrap();
    assert!(clean(&manager));
    ground.clock.advance(Duration::from_secs(100));
    manager.run_chores();
    assert!(!ground.files().iter().any(|f| f.ends_with(".deleted")));
    assert_eq!(held.find(1234, held.size()).unwrap(), Some(before));
    held.sync().unwrap();
    assert_eq!(read_all(&log, 1000, 10_000)[0].offset, 1000);
}

#[test]
fn gaps_and_followers_sets_are_cleaned_as_others() {
    let ground = Ground::new(compacted(10_000));
    let manager = ground.open();
    let log = ground.log(&manager);
    let mut set = bytes::BytesMut::new();
    for (offset, key) in [(5, "a"), (9, "b"), (100, "a"), (5000, "c")] {
        crate::message::builder::put_entry(&mut set, offset, 0, Some(key.as_bytes()), Some(b"v"));
    }
    log.append_as_follower(set.freeze(), ground.now()).unwrap();
    log.append_as_follower(stored(5001, b"no key"), ground.now())
        .unwrap();
    roll(&log, &ground);
    assert!(clean(&manager));
    assert_eq!(content(&log), ["9 b=v", "100 a=v", "5000 c=v", "5002 last=x"]);
    assert_eq!(log.cleaner_point(), Some(5002));
}
