//! The promise: a disk that fails takes its own directory's logs offline and nothing else; nothing that
//! was acknowledged is lost; a disk that is full only refuses, and goes on when there is room.

use std::io::ErrorKind;

use super::*;
use crate::log::testing::{Ground, read_all, single, small, values};
use crate::util::fs::testing::{Disk, Fault, Op, When};

const EIO: Fault = Fault::Error(ErrorKind::Other);
const ENOSPC: Fault = Fault::Error(ErrorKind::StorageFull);

struct Case {
    ground: Ground,
    disk: Arc<Disk>,
    manager: LogManager,
}

impl Case {
    /// Two directories, one partition in each: `t-0` in `a`, `t-1` in `b`.
    fn new(config: LogConfig) -> Case {
        let mut ground = Ground::new(config);
        ground.dirs = ["a", "b"].map(|d| ground.root.path().join(d)).to_vec();
        let disk = Disk::over(ground.root.path());
        let manager = ground.open();
        let case = Case {
            ground,
            disk,
            manager,
        };
        for partition in [0, 1] {
            case.log(partition);
        }
        assert!(case.log(0).dir().starts_with(&case.ground.dirs[0]));
        case
    }

    fn log(&self, partition: i32) -> Arc<Log> {
        let tp = TopicPartition::new("t", partition);
        self.manager
            .get_or_create(&tp, self.ground.config.clone())
            .unwrap()
    }

    fn append(&self, log: &Log, value: &str) -> Result<()> {
        log.append_as_leader(single(value.as_bytes()), self.ground.now())
            .map(|_| ())
    }

    /// Everything on `b` of this kind fails from now on.
    fn fail(&self, op: Op, fault: Fault) {
        self.disk.fail(When {
            path: "/b/",
            ..When::every(op, fault)
        });
    }

    /// Its process is gone; what it had open is closed.
    fn gone(self) -> (Ground, Arc<Disk>) {
        drop(self.manager);
        (self.ground, self.disk)
    }

    fn reopen(self) -> Case {
        let (ground, disk) = self.gone();
        disk.restart();
        let manager = ground.open();
        Case {
            ground,
            disk,
            manager,
        }
    }

    /// Nothing that was not synced outlives the machine here.
    fn after_power_loss(self) -> Arc<Log> {
        let (ground, disk) = self.gone();
        disk.lose_power(&mut |_| 0);
        let found = ground.open().find(&TopicPartition::new("t", 1), false);
        found.unwrap().expect("its directory was synced")
    }
}

fn is_offline(result: &Result<()>) -> bool {
    matches!(result, Err(Error::Offline { .. }))
}

#[test]
fn a_failed_write_takes_its_directory_offline_and_no_other() {
    let case = Case::new(LogConfig::default());
    let (healthy, failing) = (case.log(0), case.log(1));
    case.append(&failing, "kept").unwrap();
    case.fail(Op::Write, EIO);
    let refused = case.append(&failing, "lost").unwrap_err();
    assert!(refused.to_string().contains("/b/t-1/"), "{refused}");
    case.disk.mend();
    assert!(
        is_offline(&case.append(&failing, "refused")),
        "mending does not help"
    );
    assert!(case.manager.find(failing.topic_partition(), true).is_err());
    assert_eq!(case.manager.dirs(), [case.ground.dirs[0].clone()]);
    assert_eq!(*case.manager.failures().borrow(), 1);

    case.append(&healthy, "goes on").unwrap();
    for n in 10..14 {
        let log = case.log(n);
        assert!(
            log.dir().starts_with(&case.ground.dirs[0]),
            "new ones go where the disk is well"
        );
    }
    assert!(case.manager.shutdown().is_err());
    let mark = |dir: &Path| dir.join(files::CLEAN_SHUTDOWN).exists();
    assert!(mark(&case.ground.dirs[0]) && !mark(&case.ground.dirs[1]));
    drop((healthy, failing));

    let case = case.reopen();
    assert_eq!(values(&read_all(&case.log(1), 0, 1000)), ["kept"]);
    assert_eq!(values(&read_all(&case.log(0), 0, 1000)), ["goes on"]);
}

#[test]
fn a_failed_fsync_is_final_even_if_the_next_would_succeed() {
    for op in [Op::Sync, Op::SyncDir] {
        let case = Case::new(LogConfig::default());
        let log = case.log(1);
        case.append(&log, "x").unwrap();
        case.disk.fail(When {
            times: 1,
            path: "/b",
            ..When::every(op, EIO)
        });
        assert!(log.flush().is_err());
        assert_eq!(log.recovery_point(), 0);
        assert!(is_offline(&log.flush()), "not tried again");
        assert!(is_offline(&case.append(&log, "y")));
        case.manager.checkpoint_recovery_points().unwrap();
        assert!(case.manager.shutdown().is_err());
        let dir = &case.ground.dirs[1];
        assert!(!dir.join(files::CLEAN_SHUTDOWN).exists());
        assert!(
            !dir.join(files::RECOVERY_CHECKPOINT).exists(),
            "it vouches for nothing"
        );
    }
}

#[test]
fn a_checkpoint_that_cannot_be_written_takes_its_directory_offline() {
    let case = Case::new(LogConfig::default());
    let log = case.log(1);
    case.append(&log, "x").unwrap();
    log.flush().unwrap();
    case.fail(Op::Rename, EIO);
    assert!(case.manager.checkpoint_recovery_points().is_err());
    assert!(is_offline(&case.append(&log, "y")));
    assert!(
        case.ground.dirs[0].join(files::RECOVERY_CHECKPOINT).exists(),
        "the other is written nevertheless"
    );
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    for fault in [ENOSPC, Fault::Short] {
        let case = Case::new(LogConfig::default());
        let log = case.log(1);
        case.append(&log, "before").unwrap();
        for _ in 0..3 {
            case.fail(Op::Write, fault);
            assert!(case.append(&log, "no room").unwrap_err().is_full());
            assert_eq!(values(&read_all(&log, 0, 1000)), ["before"], "readers go on");
        }
        assert_eq!(case.manager.dirs().len(), 2, "a full disk is no failed one");
        case.disk.mend();
        case.append(&log, "after").unwrap();
        assert_eq!(log.end().offset, 2);
        drop(log);
        let case = case.reopen();
        assert_eq!(values(&read_all(&case.log(1), 0, 1000)), ["before", "after"]);
    }
}

#[test]
fn a_roll_that_finds_no_room_leaves_the_log_as_it_was() {
    // Each file that a roll makes may be the one.
    for after in 0..2 {
        let case = Case::new(crate::log::testing::small(60));
        let log = case.log(1);
        case.append(&log, "0").unwrap();
        case.append(&log, "1").unwrap();
        case.disk.fail(When {
            after,
            path: "/b/",
            ..When::every(Op::Create, ENOSPC)
        });
        assert!(case.append(&log, "2").unwrap_err().is_full());
        assert_eq!((log.segment_count(), log.end().offset), (1, 2));
        case.disk.mend();
        case.append(&log, "2").unwrap();
        assert_eq!((log.segment_count(), log.end().offset), (2, 3));
        drop(log);
        assert_eq!(values(&read_all(&case.reopen().log(1), 0, 1000)), ["0", "1", "2"]);
    }
}

#[test]
fn a_checkpoint_without_room_keeps_the_old_one() {
    let case = Case::new(LogConfig::default());
    let log = case.log(1);
    case.append(&log, "x").unwrap();
    log.flush().unwrap();
    case.manager.checkpoint_recovery_points().unwrap();
    case.append(&log, "y").unwrap();
    log.flush().unwrap();
    case.fail(Op::Create, ENOSPC);
    assert!(case.manager.checkpoint_recovery_points().unwrap_err().is_full());
    case.disk.mend();
    assert_eq!(case.manager.dirs().len(), 2);
    let written = || std::fs::read_to_string(case.ground.dirs[1].join(files::RECOVERY_CHECKPOINT)).unwrap();
    assert_eq!(written(), "0\n1\nt 1 1\n");
    case.manager.checkpoint_recovery_points().unwrap();
    assert_eq!(written(), "0\n1\nt 1 2\n");
}

/// Half of it was written and cut off again; the next message began another segment, so that no flush came by
/// here any more.
#[test]
fn what_a_full_disk_refused_does_not_come_back_when_the_power_is_lost() {
    for seed in 0..20 {
        println!("seed {seed}");
        let case = Case::new(small(150));
        let log = case.log(1);
        case.append(&log, "kept").unwrap();
        log.flush().unwrap();
        case.fail(Op::Write, Fault::Short);
        case.append(&log, &"refused".repeat(9)).unwrap_err();
        case.disk.mend();
        let next = "next".repeat(25);
        case.append(&log, &next).unwrap();
        assert_eq!(log.segment_count(), 2);
        case.manager.shutdown().unwrap();
        drop(log);
        let (ground, disk) = case.gone();
        let mut random = crate::log::testing::Random(seed);
        disk.lose_power(&mut |n| random.below(n));
        let first = ground.dirs[1].join("t-1/00000000000000000000.log");
        assert_eq!(std::fs::metadata(first).unwrap().len(), 30);
        let manager = ground.open();
        let log = manager.get(&TopicPartition::new("t", 1)).unwrap();
        assert_eq!(values(&read_all(&log, 0, 1000)), ["kept", next.as_str()]);
    }
}

#[test]
fn topics_can_be_deleted_from_a_full_disk() {
    let case = Case::new(LogConfig::default());
    let log = case.log(1);
    case.append(&log, "x").unwrap();
    let (tp, path) = (log.topic_partition().clone(), log.dir().to_owned());
    drop(log);
    case.fail(Op::Create, ENOSPC);
    // The checkpoint finds no room either.
    let _ = case.manager.delete(&tp);
    assert!(!path.exists());
    assert_eq!(case.manager.dirs().len(), 2);
}

#[test]
fn reading_that_fails_takes_the_directory_offline() {
    let case = Case::new(LogConfig::default());
    let log = case.log(1);
    case.append(&log, "x").unwrap();
    // Where the newest is needs no looking up.
    case.append(&log, "z").unwrap();
    case.fail(Op::Read, EIO);
    assert!(log.read(1, 100, None).is_ok());
    assert!(log.read(0, 100, None).is_err());
    assert!(is_offline(&case.append(&log, "y")));
}

/// What is sent to a socket does not pass through this process: whoever sends it looks whether it was the
/// file's fault that it failed.
#[test]
fn a_slice_that_cannot_be_sent_takes_the_directory_offline_if_it_cannot_be_read() {
    let case = Case::new(LogConfig::default());
    let log = case.log(1);
    case.append(&log, "x").unwrap();
    let slice = log.read(0, 100, None).unwrap().slice.unwrap();
    slice.look_into(0);
    assert_eq!(case.manager.dirs().len(), 2, "it was the socket's");
    case.fail(Op::Read, EIO);
    slice.look_into(0);
    let refused = case.append(&log, "y");
    assert!(is_offline(&refused));
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("/b/t-1/00000000000000000000.log"), "{said}");
    assert_eq!(case.manager.dirs(), [case.ground.dirs[0].clone()]);
}

#[test]
fn a_truncation_that_fails_half_way_is_final() {
    for op in [Op::Rename, Op::SetLen] {
        let case = Case::new(crate::log::testing::small(60));
        let log = case.log(1);
        for value in ["0", "1", "2", "3", "4"] {
            case.append(&log, value).unwrap();
        }
        case.fail(op, EIO);
        assert!(log.truncate_to(1).is_err());
        assert!(is_offline(&case.append(&log, "x")));
        drop(log);
        // What a crash at that place leaves: the beginning of what was there.
        let case = case.reopen();
        let left = values(&read_all(&case.log(1), 0, 1000));
        assert!(["0", "1", "2", "3", "4"].starts_with(&left.iter().map(|v| &**v).collect::<Vec<_>>()));
    }
}

#[test]
fn what_a_truncation_cut_off_stays_off_behind_a_roll() {
    for orderly in [false, true] {
        let case = Case::new(LogConfig {
            segment: Duration::from_secs(1),
            ..LogConfig::default()
        });
        let log = case.log(1);
        for value in ["0", "1", "2"] {
            case.append(&log, value).unwrap();
        }
        log.flush().unwrap();
        case.manager.checkpoint_recovery_points().unwrap();
        log.truncate_to(1).unwrap();
        case.ground.clock.advance(Duration::from_secs(3600));
        case.append(&log, "new").unwrap();
        assert_eq!(log.segment_count(), 2);
        log.flush().unwrap();
        if orderly {
            case.manager.shutdown().unwrap();
        }
        drop(log);
        assert_eq!(values(&read_all(&case.after_power_loss(), 0, 1000)), ["0", "new"]);
    }
}

#[test]
fn space_that_was_given_back_does_not_come_back_in_the_middle() {
    for orderly in [false, true] {
        let case = Case::new(LogConfig {
            preallocate: true,
            ..crate::log::testing::small(60)
        });
        let log = case.log(1);
        for value in ["0", "1", "2"] {
            case.append(&log, value).unwrap();
            // Before the roll gives it back.
            log.flush().unwrap();
        }
        case.manager.checkpoint_recovery_points().unwrap();
        if orderly {
            case.manager.shutdown().unwrap();
        }
        drop(log);
        assert_eq!(
            values(&read_all(&case.after_power_loss(), 0, 1000)),
            ["0", "1", "2"]
        );
    }
}

#[test]
fn a_log_that_began_anew_begins_there_after_a_power_loss() {
    let case = Case::new(LogConfig::default());
    let log = case.log(1);
    log.flush().unwrap();
    log.truncate_fully_and_start_at(500).unwrap();
    drop(log);
    let log = case.after_power_loss();
    assert_eq!((log.start_offset(), log.end().offset), (500, 500));
}

#[test]
fn a_directory_that_fails_at_start_is_left_out_and_its_partitions_are_not_made_anew() {
    for (op, listed) in [(Op::Open, true), (Op::List, false)] {
        let case = Case::new(LogConfig::default());
        case.append(&case.log(1), "x").unwrap();
        let Case {
            ground,
            disk,
            manager,
        } = case;
        manager.shutdown().unwrap();
        drop(manager);
        disk.fail(When {
            path: "/b",
            ..When::every(op, EIO)
        });
        let manager = ground.open();
        assert_eq!(manager.dirs(), [ground.dirs[0].clone()], "{op:?}");
        let tp = TopicPartition::new("t", 1);
        assert!(
            matches!(manager.find(&tp, false), Err(Error::Offline { .. })),
            "{op:?}"
        );
        let unknown = TopicPartition::new("t", 7);
        assert_eq!(manager.find(&unknown, false).is_ok(), listed, "{op:?}");
        assert!(manager.find(&unknown, true).unwrap().is_none());
        drop(manager);
        disk.restart();
        let manager = ground.open();
        let log = manager.find(&tp, false).unwrap().unwrap();
        assert_eq!(values(&read_all(&log, 0, 1000)), ["x"]);
    }
}

#[test]
fn without_any_directory_there_is_no_start() {
    let case = Case::new(LogConfig::default());
    let (ground, disk) = case.gone();
    disk.fail(When::every(Op::List, EIO));
    let refused = ground.try_open().unwrap_err();
    assert!(matches!(refused, Error::Storage(_)), "{refused}");
}

#[test]
fn a_directory_that_is_taken_away_is_noticed() {
    let case = Case::new(LogConfig::default());
    let log = case.log(1);
    case.append(&log, "x").unwrap();
    case.manager.look_at_dirs();
    assert_eq!(case.manager.dirs().len(), 2);
    std::fs::rename(&case.ground.dirs[1], case.ground.root.path().join("elsewhere")).unwrap();
    case.manager.look_at_dirs();
    let refused = case.append(&log, "y");
    assert!(is_offline(&refused));
    assert!(refused.unwrap_err().to_string().contains("has vanished"));
}

/// A crash at each single operation of each kind of work, the death of the process and that of the
/// machine: what was flushed is there, and the log goes on.
#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_flushed() {
    type Work = fn(&Case, &Log);
    let works: [(&str, Work); 7] = [
        ("append and roll", |case, log| {
            for value in ["3", "4", "5", "6"] {
                let _ = case.append(log, value);
            }
        }),
        ("flush", |case, log| {
            let _ = case.append(log, "3");
            let _ = log.flush();
        }),
        ("checkpoint", |case, log| {
            let _ = log.flush();
            let _ = case.manager.checkpoint_recovery_points();
        }),
        ("truncate nothing flushed", |case, log| {
            let _ = case.append(log, "3");
            let _ = log.truncate_to(3);
            let _ = case.append(log, "3");
        }),
        ("stop", |case, _| {
            let _ = case.manager.shutdown();
        }),
        ("remove old files", |case, _| {
            case.ground.clock.advance(Duration::from_secs(3600));
            case.manager.run_chores();
        }),
        ("make another", |case, _| {
            let _ = case
                .manager
                .get_or_create(&TopicPartition::new("u", 0), LogConfig::default());
        }),
    ];
    let mut state = 1_u64;
    let mut random = |n: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n.max(1)
    };
    for (name, work) in works {
        for power in [false, true] {
            for at in 0.. {
                let case = Case::new(crate::log::testing::small(60));
                let log = case.log(1);
                for value in ["0", "1", "2"] {
                    case.append(&log, value).unwrap();
                }
                log.flush().unwrap();
                case.disk.fail(When::nth(at, Fault::Crash));
                work(&case, &log);
                let crashed = case.disk.crashed();
                drop(log);
                let (ground, disk) = case.gone();
                match power {
                    true => disk.lose_power(&mut random),
                    false => disk.restart(),
                }
                let manager = ground.open();
                let log = manager
                    .find(&TopicPartition::new("t", 1), false)
                    .unwrap()
                    .unwrap();
                let left = values(&read_all(&log, 0, 1000));
                let all = ["0", "1", "2", "3", "4", "5", "6"];
                assert!(
                    left.len() >= 3 && all.starts_with(&left.iter().map(|v| &**v).collect::<Vec<_>>()),
                    "{name}, operation {at}, power {power}: {left:?}"
                );
                log.append_as_leader(single(b"more"), ground.now()).unwrap();
                if !crashed {
                    break;
                }
            }
        }
    }
}
