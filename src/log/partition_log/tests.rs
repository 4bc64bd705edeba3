use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::*;
use crate::log::testing::{Ground, bytes, read_all, set, single, small, stored, values};
use crate::message::{Codec, flatten};

fn filled(config: LogConfig, n: usize) -> (Ground, Arc<Log>) {
    let ground = Ground::new(config);
    let manager = ground.open();
    let log = ground.log(&manager);
    for i in 0..n {
        log.append_as_leader(single(i.to_string().as_bytes()), ground.now())
            .unwrap();
    }
    (ground, log)
}

#[test]
fn an_append_says_which_offsets_it_gave() {
    let (ground, log) = filled(LogConfig::default(), 3);
    let appended = log
        .append_as_leader(set(Codec::Gzip, &[b"a", b"b"]), ground.now())
        .unwrap();
    assert_eq!((appended.first, appended.last, appended.messages), (3, 4, 2));
    assert_eq!(appended.bytes + 3 * 27, log.size_bytes());
    let end = log.end();
    assert_eq!((end.offset, end.segment, end.position), (5, 0, log.size_bytes()));
}

#[test]
fn nothing_in_gives_minus_one_and_writes_nothing() {
    let (ground, log) = filled(LogConfig::default(), 1);
    for nothing in [&b""[..], &[0; 5], &single(b"x")[..26]] {
        let appended = log
            .append_as_leader(BytesMut::from(nothing), ground.now())
            .unwrap();
        assert_eq!(appended, Appended::NOTHING);
        let copied = log
            .append_as_follower(Bytes::copy_from_slice(nothing), ground.now())
            .unwrap();
        assert_eq!(copied, Appended::NOTHING);
    }
    assert_eq!(log.size_bytes(), 27);
}

#[test]
fn a_refused_set_leaves_the_log_as_it_was() {
    let (ground, log) = filled(LogConfig::default(), 1);
    let mut bad = set(Codec::None, &[b"good", b"bad"]);
    let last = bad.len() - 1;
    bad[last] ^= 1;
    assert!(matches!(
        log.append_as_leader(bad, ground.now()),
        Err(Error::Corrupt { .. })
    ));
    assert_eq!((log.end().offset, log.size_bytes()), (1, 27));
}

#[test]
fn a_set_larger_than_a_segment_is_refused_from_producers_and_taken_from_leaders() {
    let (ground, log) = filled(small(100), 1);
    assert!(matches!(
        log.append_as_leader(single(&[0; 80]), ground.now()),
        Err(Error::SetTooLarge {
            size: 106,
            limit: 100
        })
    ));
    log.append_as_follower(stored(1, &[0; 200]), ground.now())
        .unwrap();
    log.append_as_follower(stored(2, &[0; 200]), ground.now())
        .unwrap();
    assert_eq!(log.segment_count(), 3);
    assert_eq!(read_all(&log, 0, 1000).len(), 3);
}

#[test]
fn a_follower_takes_gaps_and_refuses_what_it_has() {
    let (ground, log) = filled(LogConfig::default(), 2);
    log.append_as_follower(stored(5, b"x"), ground.now()).unwrap();
    assert_eq!(log.end().offset, 6);
    assert!(matches!(
        log.append_as_follower(stored(5, b"x"), ground.now()),
        Err(Error::OutOfOrder { .. })
    ));
    assert_eq!(values(&read_all(&log, 3, 1000)), ["x"]);
}

#[test]
fn offsets_too_far_from_the_base_begin_a_new_segment() {
    let (ground, log) = filled(LogConfig::default(), 1);
    let far = i64::from(i32::MAX);
    log.append_as_follower(stored(far, b"a"), ground.now()).unwrap();
    assert_eq!(log.segment_count(), 1);
    log.append_as_follower(stored(far + 1, b"b"), ground.now())
        .unwrap();
    assert_eq!(log.segment_count(), 2);
    assert_eq!(log.end().segment, far + 1);
    assert_eq!(values(&read_all(&log, 0, 1000)), ["0", "a", "b"]);
}

#[test]
fn a_segment_rolls_by_size_time_and_full_index() {
    let (_ground, log) = filled(small(60), 5);
    assert_eq!(log.segment_count(), 3);
    let (ground, log) = filled(
        LogConfig {
            segment: Duration::from_secs(10),
            ..LogConfig::default()
        },
        1,
    );
    ground.clock.advance(Duration::from_secs(10));
    log.append_as_leader(single(b"x"), ground.now()).unwrap();
    assert_eq!(log.segment_count(), 1, "not before the time has passed");
    ground.clock.advance(Duration::from_millis(1));
    log.append_as_leader(single(b"x"), ground.now()).unwrap();
    assert_eq!(log.segment_count(), 2);
    let (_ground, log) = filled(
        LogConfig {
            segment_index_bytes: 16,
            index_interval_bytes: 0,
            ..LogConfig::default()
        },
        6,
    );
    // The first append has no entry, the next two fill the index.
    assert_eq!((log.segment_count(), log.end().segment), (2, 3));
}

#[test]
fn an_empty_segment_never_rolls() {
    let (ground, log) = filled(
        LogConfig {
            segment: Duration::ZERO,
            segment_index_bytes: 0,
            ..LogConfig::default()
        },
        0,
    );
    ground.clock.advance(Duration::from_secs(1));
    log.append_as_leader(single(b"x"), ground.now()).unwrap();
    assert_eq!(log.segment_count(), 1);
}

#[test]
fn reads_begin_at_the_offset_and_end_at_the_size_or_the_segment() {
    let (_ground, log) = filled(small(100), 7);
    for offset in 0..7 {
        let got = flatten(&bytes(&log, offset, 1000, None), true).unwrap();
        assert_eq!(got[0].offset, offset);
        assert_eq!(
            got.last().unwrap().offset,
            (offset / 3 * 3 + 2).min(6),
            "one segment at most"
        );
        for max in 0..60 {
            assert_eq!(
                bytes(&log, offset, max, None).len(),
                (max as usize).min(got.len() * 27)
            );
        }
    }
}

#[test]
fn reads_outside_are_out_of_range_and_at_the_end_empty() {
    let (ground, log) = filled(LogConfig::default(), 0);
    log.truncate_fully_and_start_at(10).unwrap();
    log.append_as_leader(single(b"x"), ground.now()).unwrap();
    for offset in [-1, 0, 9, 12, i64::MAX] {
        let refused = log.read(offset, 100, None).unwrap_err().to_string();
        assert_eq!(
            refused,
            format!("Request for offset {offset} but we only have log segments in the range 10 to 11.")
        );
    }
    let at_end = log.read(11, 100, None).unwrap();
    assert!(at_end.slice.is_none());
    assert_eq!(at_end.at, log.end());
    assert!(matches!(log.read(10, -1, None), Err(Error::NegativeSize(-1))));
}

#[test]
fn a_bound_hides_what_is_at_it_and_above() {
    let (_ground, log) = filled(small(100), 7);
    for offset in 0..=7 {
        for bound in 0..=8 {
            let got = flatten(&bytes(&log, offset, 1000, Some(bound)), true).unwrap();
            assert!(got.iter().all(|m| m.offset < bound), "{offset} {bound}");
            assert_eq!(got.is_empty(), offset >= bound || offset == 7);
        }
    }
}

#[test]
fn a_wrapper_is_read_whole_and_hidden_whole() {
    let (ground, log) = filled(LogConfig::default(), 1);
    log.append_as_leader(set(Codec::Snappy, &[b"a", b"b", b"c"]), ground.now())
        .unwrap();
    log.append_as_leader(single(b"d"), ground.now()).unwrap();
    let from_inside = flatten(&bytes(&log, 2, 1000, None), true).unwrap();
    assert_eq!(values(&from_inside), ["a", "b", "c", "d"]);
    for bound in [1, 2, 3] {
        assert_eq!(
            values(&flatten(&bytes(&log, 0, 1000, Some(bound)), true).unwrap()),
            ["0"]
        );
    }
    assert_eq!(flatten(&bytes(&log, 0, 1000, Some(4)), true).unwrap().len(), 4);
}

#[test]
fn locate_tells_bytes_between_offsets_of_one_segment() {
    let (_ground, log) = filled(small(100), 4);
    let at = |offset| log.locate(offset).unwrap();
    assert_eq!(at(2).bytes_since(&at(0)), Some(54));
    assert_eq!(at(3).bytes_since(&at(2)), None);
    assert_eq!(at(4), log.end());
    assert_eq!(log.locate(5), None);
}

#[test]
fn offsets_by_time_are_beginnings_of_segments_and_the_end() {
    let ground = Ground::new(small(60));
    let manager = ground.open();
    let log = ground.log(&manager);
    let start = ground.now();
    for i in 0..5 {
        log.append_as_leader(single(b"x"), ground.now()).unwrap();
        if i % 2 == 1 {
            ground.clock.advance(Duration::from_secs(10));
        }
    }
    // Segments 0 and 2, last grown at 0 s and 10 s; segment 4, grown at 20 s, is now's.
    let now = ground.now();
    assert_eq!(log.offsets_before(-1, 10, now), [5, 4, 2, 0]);
    assert_eq!(log.offsets_before(-1, 1, now), [5]);
    assert_eq!(log.offsets_before(-2, 10, now), [0]);
    assert_eq!(log.offsets_before(start.0 - 1, 10, now), [] as [i64; 0]);
    assert_eq!(log.offsets_before(start.0 + 5000, 10, now), [0]);
    assert_eq!(log.offsets_before(start.0 + 10_000, 10, now), [2, 0]);
    assert_eq!(log.offsets_before(now.0 + 1, 2, now), [5, 4]);
    assert_eq!(log.offsets_before(-1, 0, now), [] as [i64; 0]);
}

#[test]
fn truncation_removes_from_the_offset_on_and_the_log_ends_there() {
    for target in 0..=7 {
        let (ground, log) = filled(small(100), 7);
        log.truncate_to(target).unwrap();
        assert_eq!(log.end().offset, target);
        assert_eq!(read_all(&log, 0, 1000).len() as i64, target);
        log.append_as_leader(single(b"new"), ground.now()).unwrap();
        assert_eq!(values(&read_all(&log, target, 1000)), ["new"]);
    }
}

#[test]
fn truncation_above_the_end_does_nothing_and_below_the_start_restarts() {
    let (ground, log) = filled(LogConfig::default(), 2);
    log.truncate_to(5).unwrap();
    assert_eq!(log.end().offset, 2);
    log.truncate_fully_and_start_at(100).unwrap();
    assert_eq!((log.start_offset(), log.end().offset), (100, 100));
    log.append_as_leader(single(b"x"), ground.now()).unwrap();
    log.truncate_to(50).unwrap();
    assert_eq!((log.start_offset(), log.end().offset), (50, 50));
    assert!(matches!(log.truncate_to(-1), Err(Error::NegativeOffset(-1))));
}

#[test]
fn a_wrapper_across_the_target_goes_whole() {
    let (ground, log) = filled(LogConfig::default(), 1);
    log.append_as_leader(set(Codec::Lz4, &[b"a", b"b", b"c"]), ground.now())
        .unwrap();
    log.truncate_to(2).unwrap();
    assert_eq!(log.end().offset, 2);
    assert_eq!(values(&read_all(&log, 0, 1000)), ["0"]);
    log.append_as_follower(stored(2, b"b"), ground.now()).unwrap();
    assert_eq!(values(&read_all(&log, 0, 1000)), ["0", "b"]);
}

#[test]
fn readers_of_a_removed_segment_finish() {
    let (_ground, log) = filled(small(100), 7);
    let slice = log.read(0, 1000, None).unwrap().slice.unwrap();
    log.truncate_fully_and_start_at(0).unwrap();
    let mut bytes = vec![0; slice.len];
    crate::util::fs::read_at(&slice.file, &mut bytes, slice.position).unwrap();
    assert_eq!(flatten(&bytes.into(), true).unwrap().len(), 3);
}

#[test]
fn recovery_point_follows_flushes_and_never_passes_the_end() {
    let (ground, log) = filled(small(100), 7);
    assert_eq!(log.recovery_point(), 0);
    log.flush().unwrap();
    assert_eq!(log.recovery_point(), 7);
    log.truncate_to(4).unwrap();
    assert_eq!(log.recovery_point(), 4);
    log.append_as_leader(single(b"x"), ground.now()).unwrap();
    assert_eq!(log.recovery_point(), 4);
}

#[test]
fn truncation_lowers_the_written_recovery_point_before_anything_is_appended() {
    let ground = Ground::new(small(100));
    let manager = ground.open();
    let log = ground.log(&manager);
    for _ in 0..7 {
        log.append_as_leader(single(b"x"), ground.now()).unwrap();
    }
    log.flush().unwrap();
    manager.checkpoint_recovery_points().unwrap();
    let checkpoint = || std::fs::read(ground.dirs[0].join("recovery-point-offset-checkpoint")).unwrap();
    assert_eq!(checkpoint(), b"0\n1\nt 0 7\n");
    log.truncate_to(2).unwrap();
    assert_eq!(checkpoint(), b"0\n1\nt 0 2\n");
}

#[test]
fn flush_messages_flushes_by_count() {
    let (_ground, log) = filled(
        LogConfig {
            flush_messages: 3,
            ..LogConfig::default()
        },
        5,
    );
    assert_eq!(log.recovery_point(), 3);
}

#[test]
fn a_flush_that_comes_after_the_deletion_finds_nothing_to_do() {
    let ground = Ground::new(small(100));
    let manager = ground.open();
    let log = ground.log(&manager);
    for _ in 0..10 {
        log.append_as_leader(single(b"x"), ground.now()).unwrap();
    }
    manager.delete(log.topic_partition()).unwrap();
    log.flush_rolled().unwrap();
    log.flush().unwrap();
    assert!(manager.offline_dirs().is_empty());
}

#[test]
fn who_reads_a_log_while_it_is_deleted_reads_on_and_no_disk_is_blamed() {
    let ground = Ground::new(LogConfig {
        index_interval_bytes: 0,
        ..small(100)
    });
    let manager = ground.open();
    let log = ground.log(&manager);
    for _ in 0..10 {
        log.append_as_leader(single(b"x"), ground.now()).unwrap();
    }
    manager.delete(log.topic_partition()).unwrap();
    for offset in 0..10 {
        // The indexes of segments that grow no more are opened for each use, and are gone.
        let found = log.read(offset, 1000, Some(offset + 1)).unwrap();
        assert_eq!((found.at.offset, found.slice.unwrap().len), (offset, 27));
    }
    assert!(manager.offline_dirs().is_empty());
}

#[test]
fn preallocated_segments_are_trimmed_when_they_end() {
    let (ground, log) = filled(
        LogConfig {
            preallocate: true,
            ..small(100)
        },
        4,
    );
    let length = |base| std::fs::metadata(ground.segment(base)).unwrap().len();
    assert_eq!((length(0), length(3)), (81, 100));
    assert_eq!(read_all(&log, 0, 1000).len(), 4);
    log.close().unwrap();
    assert_eq!(length(3), 27);
}

#[test]
fn retention_keeps_what_is_not_committed() {
    let (ground, log) = filled(
        LogConfig {
            retention: Some(Duration::from_secs(1)),
            ..small(60)
        },
        6,
    );
    log.set_high_watermark(3);
    ground.clock.advance(Duration::from_secs(5));
    assert_eq!(log.delete_old_segments(ground.now()).unwrap(), 1);
    assert_eq!(log.start_offset(), 2);
}

#[test]
fn retention_by_size_leaves_at_least_that_size() {
    let (ground, log) = filled(
        LogConfig {
            retention: None,
            retention_bytes: 100,
            ..small(60)
        },
        7,
    );
    // Segments of 54, 54, 54 and 27 bytes: one can go with 100 left, not two.
    assert_eq!(log.delete_old_segments(ground.now()).unwrap(), 1);
    assert_eq!(log.size_bytes(), 135);
}

#[test]
fn readers_and_one_writer_do_not_disturb_each_other() {
    let (ground, log) = filled(small(2000), 1);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut next = 0;
                while !done.load(Ordering::Relaxed) || next < log.end().offset {
                    for message in flatten(&bytes(&log, next, 500, None), true).unwrap() {
                        assert_eq!(message.offset, next);
                        assert_eq!(message.value.unwrap(), next.to_string().as_bytes());
                        next += 1;
                    }
                }
            });
        }
        for i in 1..5000 {
            log.append_as_leader(single(i.to_string().as_bytes()), ground.now())
                .unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn after_a_failed_write_the_log_refuses_writes_and_still_reads() {
    let (ground, log) = filled(small(60), 2);
    // The next append rolls; the directory being gone makes that fail.
    std::fs::remove_dir_all(ground.log_dir()).unwrap();
    assert!(matches!(
        log.append_as_leader(single(b"x"), ground.now()),
        Err(Error::Storage(_))
    ));
    assert_eq!(log.end().offset, 2);
    assert!(matches!(
        log.append_as_leader(single(b"x"), ground.now()),
        Err(Error::Offline { .. })
    ));
    assert_eq!(read_all(&log, 0, 1000).len(), 2);
}

#[test]
fn looking_back_finds_an_entry_not_much_further_than_asked() {
    let config = LogConfig {
        segment_bytes: 3000,
        index_interval_bytes: 200,
        ..LogConfig::default()
    };
    let (ground, log) = filled(config, 500);
    log.append_as_follower(stored(700, b"after a gap"), ground.now())
        .unwrap();
    let from_start = |offset: Offset| {
        let mut bytes = 0;
        for segment in log.segments().values() {
            let end = segment.find(offset, segment.size()).unwrap();
            bytes += end.map_or(segment.size(), |h| h.position);
            if end.is_some() {
                break;
            }
        }
        bytes
    };
    for offset in [0, 1, 77, 300, 499, 500, 650, 700, 701] {
        for bytes in [0, 1, 500, 2999, 7000, 1 << 40] {
            let back = log.back(offset, bytes).unwrap();
            let between = from_start(offset) - from_start(back);
            assert!(back <= offset, "{back} is above {offset}");
            assert!(
                between >= bytes || back == 0,
                "{offset} back {bytes}: only {between}"
            );
            assert!(between <= bytes + 300, "{offset} back {bytes}: {between}");
        }
    }
    assert!(matches!(log.back(702, 5), Err(Error::OutOfRange { .. })));
}
