//! The promise: whatever happens to process, machine or disk in the middle of a cleaning, each key keeps its
//! last value, each offset its message, and the next cleaning ends as if nothing had happened.
//! (testRecoveryAfterCrash of 0.9.0.1's CleanerTest, at every operation instead of four.)

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use super::testing::{clean, compacted, content, put, put_with, roll, state};
use crate::config::LogConfig;
use crate::log::testing::{Ground, Random};
use crate::log::{Log, LogManager};
use crate::message::Codec;
use crate::util::fs::testing::{Disk, Fault, Op, When};

const EIO: Fault = Fault::Error(ErrorKind::Other);

struct Case {
    ground: Ground,
    disk: Arc<Disk>,
    manager: LogManager,
    log: Arc<Log>,
}

impl Case {
    /// Segments that become two groups: one of several that shrink, one with a marker and wrappers.
    fn new() -> Case {
        let ground = Ground::new(LogConfig {
            delete_retention: Duration::ZERO,
            index_interval_bytes: 0,
            ..compacted(250)
        });
        let disk = Disk::over(ground.root.path());
        let manager = ground.open();
        let log = ground.log(&manager);
        put(&log, &ground, "first", Some("1"));
        put(&log, &ground, "gone", Some("1"));
        roll(&log, &ground);
        // Clean already, so that the markers in it go.
        put(&log, &ground, "gone", None);
        // Cleaned twice, so that the first are small enough to become one with their neighbours.
        for _ in 0..2 {
            for i in 0..12 {
                put(&log, &ground, &format!("{}", i % 3), Some("some value"));
            }
            roll(&log, &ground);
            clean(&manager);
        }
        for i in 0..12 {
            put(&log, &ground, &format!("{}", i % 3), Some("some value"));
        }
        put_with(
            &log,
            &ground,
            Codec::Gzip,
            &[(Some("0"), Some("wrapped")), (Some("w"), Some("1"))],
        );
        put_with(
            &log,
            &ground,
            Codec::Snappy,
            &[(Some("w"), Some("2")), (Some("x"), Some("1"))],
        );
        roll(&log, &ground);
        log.flush().unwrap();
        manager.run_chores();
        ground.clock.advance(Duration::from_secs(3600));
        manager.run_chores();
        manager.checkpoint_recovery_points().unwrap();
        Case {
            ground,
            disk,
            manager,
            log,
        }
    }

    fn reopen(self, power_lost: Option<&mut dyn FnMut(u64) -> u64>) -> Case {
        let Case {
            ground,
            disk,
            manager,
            log,
        } = self;
        drop((manager, log));
        match power_lost {
            Some(random) => disk.lose_power(random),
            None => disk.restart(),
        }
        let manager = ground.open();
        let log = ground.log(&manager);
        Case {
            ground,
            disk,
            manager,
            log,
        }
    }
}

fn unfinished(ground: &Ground) -> Vec<String> {
    let mut files = ground.files();
    files.retain(|f| !f.ends_with(".log") && !f.ends_with(".index"));
    files
}

#[test]
fn a_crash_at_any_operation_of_a_cleaning_loses_nothing() {
    let expected = {
        let case = Case::new();
        assert!(case.log.segment_count() > 4);
        let before = (state(&case.log), case.log.segment_count());
        assert!(clean(&case.manager));
        assert_eq!(state(&case.log), before.0);
        assert!(case.log.segment_count() < before.1);
        content(&case.log)
    };
    let mut random = Random(7);
    let mut crashes = 0;
    for power_lost in [false, true] {
        for at in 0.. {
            let case = Case::new();
            let (before, end) = (state(&case.log), case.log.end().offset);
            case.disk.fail(When::nth(at, Fault::Crash));
            clean(&case.manager);
            let crashed = case.disk.crashed();
            crashes += u32::from(crashed);
            let case = match power_lost {
                true => case.reopen(Some(&mut |n| random.below(n))),
                false => case.reopen(None),
            };
            let what = format!("operation {at}, power lost {power_lost}");
            assert_eq!(state(&case.log), before, "{what}");
            assert_eq!(case.log.end().offset, end, "{what}");
            assert!(
                unfinished(&case.ground).is_empty(),
                "{what}: {:?}",
                case.ground.files()
            );
            clean(&case.manager);
            assert_eq!(content(&case.log), expected, "{what}");
            put(&case.log, &case.ground, "more", Some("1"));
            if !crashed {
                break;
            }
        }
    }
    assert!(crashes > 60, "{crashes}");
}

#[test]
fn a_rename_that_fails_is_taken_back() {
    for at in 0..100 {
        let case = Case::new();
        let (before, files) = (content(&case.log), case.ground.files());
        case.disk.fail(When {
            after: at,
            times: 1,
            ..When::every(Op::Rename, EIO)
        });
        clean(&case.manager);
        if case.log.check_directory().is_ok() {
            assert!(at > 8, "{at}");
            return;
        }
        // Groups that were done before stay done.
        let after = content(&case.log);
        assert!(after.iter().all(|m| before.contains(m)), "{at}: {after:?}");
        assert!(
            unfinished(&case.ground).iter().all(|f| f.ends_with(".deleted")),
            "{at}"
        );
        if after == before {
            let mut now = case.ground.files();
            now.retain(|f| !f.ends_with(".deleted"));
            assert_eq!(now, files, "{at}");
        }
        let state_before = state(&case.log);
        let case = case.reopen(None);
        assert_eq!(
            (content(&case.log), state(&case.log)),
            (after, state_before),
            "{at}"
        );
    }
    panic!("a cleaning has less than 100 renames");
}

#[test]
fn a_full_disk_sets_the_log_aside_until_there_is_room() {
    let case = Case::new();
    let (before, files) = (content(&case.log), case.ground.files());
    case.disk
        .fail(When::every(Op::Write, Fault::Error(ErrorKind::StorageFull)));
    assert!(clean(&case.manager));
    assert_eq!((content(&case.log), case.ground.files()), (before, files));
    assert!(case.log.check_directory().is_ok(), "nothing was lost");
    assert_eq!(case.log.turns().set_aside().unwrap().failures, 1);
    case.disk.mend();
    assert!(!clean(&case.manager));
    case.ground.clock.advance(Duration::from_secs(61));
    assert!(clean(&case.manager));
    assert_eq!(case.log.turns().set_aside(), None);
}

#[test]
fn a_failed_sync_of_the_cleaner_s_files_takes_the_directory_offline() {
    let case = Case::new();
    case.disk.fail(When {
        path: ".cleaned",
        ..When::every(Op::Sync, EIO)
    });
    let before = content(&case.log);
    clean(&case.manager);
    assert!(case.log.check_directory().is_err());
    assert!(!clean(&case.manager), "nothing is cleaned there any more");
    let case = case.reopen(None);
    assert_eq!(content(&case.log), before);
}

/// What supersedes a value that was flushed may not have been flushed itself.
#[test]
fn a_value_stays_until_its_successor_is_on_disk() {
    let ground = Ground::new(compacted(10_000));
    let disk = Disk::over(ground.root.path());
    let manager = ground.open();
    let log = ground.log(&manager);
    put(&log, &ground, "k", Some("old"));
    roll(&log, &ground);
    log.flush().unwrap();
    put(&log, &ground, "k", Some("new"));
    roll(&log, &ground);
    assert!(clean(&manager));
    drop((manager, log));
    disk.lose_power(&mut |_| 0);
    let manager = ground.open();
    assert_eq!(state(&ground.log(&manager))["k"], "new");
}
