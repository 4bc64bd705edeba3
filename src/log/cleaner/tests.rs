//! The rules of compaction, each on a log of its own. The row of 0.9.0.1's CleanerTest or
//! LogCleanerIntegrationTest that a test answers to is named beside it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::LogConfig;
use crate::log::testing::{Ground, bytes, keyed, read_all, single, small, stored, tp};
use crate::log::{Log, LogManager, files};
use crate::message::{Codec, Message, Offset, SetIter};
use crate::util::clock::WallMs;
use crate::util::shutdown::Shutdown;

/// Settings of a compacted log with small segments, dirty as soon as there is something.
pub(super) fn compacted(segment_bytes: i32) -> LogConfig {
    LogConfig {
        compact: true,
        min_cleanable_dirty_ratio: 0.0,
        ..small(segment_bytes)
    }
}

pub(super) fn put(log: &Log, ground: &Ground, key: &str, value: Option<&str>) -> Offset {
    put_with(log, ground, Codec::None, &[(Some(key), value)])
}

pub(super) fn put_with(
    log: &Log,
    ground: &Ground,
    codec: Codec,
    messages: &[(Option<&str>, Option<&str>)],
) -> Offset {
    log.append_as_leader(keyed(codec, messages), ground.now())
        .unwrap()
        .first
}

/// Begins a new segment.
pub(super) fn roll(log: &Log, ground: &Ground) {
    let end = log.end().offset;
    let config = log.config();
    log.set_config(Arc::new(LogConfig {
        segment: Duration::ZERO,
        ..(*config).clone()
    }));
    ground.clock.advance(Duration::from_millis(1));
    put(log, ground, "last", Some("x"));
    log.set_config(config);
    assert_eq!(log.end().segment, end);
}

/// Cleans until nothing is dirty enough; returns whether anything was.
pub(super) fn clean(manager: &LogManager) -> bool {
    let stop = Shutdown::new();
    let cleaner = manager.cleaner().unwrap();
    let mut some = false;
    while cleaner.clean_filthiest(0, manager.all(), &stop.stop()) {
        some = true;
    }
    some
}

fn text(bytes: &Option<bytes::Bytes>) -> String {
    match bytes {
        Some(b) => String::from_utf8_lossy(b).into_owned(),
        None => "-".to_owned(),
    }
}

/// `offset key=value` of each message.
pub(super) fn content(log: &Log) -> Vec<String> {
    let show = |m: &Message| format!("{} {}={}", m.offset, text(&m.key), text(&m.value));
    read_all(log, log.start_offset(), 100_000)
        .iter()
        .map(show)
        .collect()
}

/// The last value of each key; deleted keys are not there.
pub(super) fn state(log: &Log) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for m in read_all(log, log.start_offset(), 100_000) {
        match m.value {
            Some(_) => state.insert(text(&m.key), text(&m.value)),
            None => state.remove(&text(&m.key)),
        };
    }
    state
}

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
    let standing = clean::Standing::of(&log).unwrap();
    let active = log.size_bytes() / 6;
    assert_eq!(
        standing.dirt.clean + standing.dirt.dirty,
        log.size_bytes() - active
    );
    assert_eq!(standing.dirt.ratio(), Some(1.0));
    log.set_cleaner_point(log.end().segment).unwrap();
    assert_eq!(clean::Standing::of(&log).unwrap().dirt.ratio(), Some(0.0));
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
            let tp = crate::cluster::TopicPartition::new("t", p);
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
    let other = crate::cluster::TopicPartition::new("t", 1);
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

    let metrics = crate::metrics::Registry::new();
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
    use crate::metrics::Shown;
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
