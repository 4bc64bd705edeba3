use super::*;
use crate::log::testing::{Ground, read_all, set, single, small, stored, values};
use crate::message::Codec;

const DAY: std::time::Duration = std::time::Duration::from_secs(86400);

/// A log with the values 0..n as one message each, two to a segment, not stopped in order.
fn killed(n: usize) -> Ground {
    let ground = Ground::new(LogConfig {
        index_interval_bytes: 0,
        ..small(70)
    });
    let manager = ground.open();
    let log = ground.log(&manager);
    for i in 0..n {
        log.append_as_leader(single(format!("{i}").as_bytes()), ground.now())
            .unwrap();
    }
    ground
}

fn reopened(ground: &Ground) -> Vec<String> {
    let manager = ground.open();
    values(&read_all(&ground.log(&manager), 0, 1000))
}

fn expected(n: usize) -> Vec<String> {
    (0..n).map(|i| i.to_string()).collect()
}

fn append(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn everything_written_survives_the_death_of_the_process() {
    let ground = killed(7);
    assert_eq!(reopened(&ground), expected(7));
}

#[test]
fn a_torn_tail_is_cut_and_appends_go_on_behind_the_last_message() {
    let ground = killed(7);
    let last = ground.segment(6);
    let whole = std::fs::read(&last).unwrap();
    for torn in 1..27 {
        append(&last, &stored(7, b"x")[..torn]);
        assert_eq!(reopened(&ground), expected(7), "{torn}");
        assert_eq!(std::fs::read(&last).unwrap(), whole);
    }
    let manager = ground.open();
    let log = ground.log(&manager);
    assert_eq!(log.append_as_leader(single(b"7"), ground.now()).unwrap().first, 7);
}

#[test]
fn zeros_of_a_preallocated_file_are_cut() {
    let ground = killed(7);
    append(&ground.segment(6), &[0; 5000]);
    assert_eq!(reopened(&ground), expected(7));
    assert_eq!(std::fs::metadata(ground.segment(6)).unwrap().len(), 27);
}

#[test]
fn a_damaged_message_ends_the_log_and_later_segments_go() {
    let ground = killed(7);
    let path = ground.segment(2);
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(reopened(&ground), expected(3));
    assert!(!ground.segment(4).exists());
    assert!(!ground.index(6).exists());
}

#[test]
fn zeros_in_a_flushed_segment_are_cut_from_the_last_message_on_though_its_index_leads_behind() {
    let ground = killed(7);
    let path = ground.segment(2);
    let mut bytes = std::fs::read(&path).unwrap();
    let whole = bytes.len() / 2;
    bytes[whole..].fill(0);
    bytes.extend([0; 100]);
    std::fs::write(&path, bytes).unwrap();
    let checkpoint = ground.dirs[0].join(files::RECOVERY_CHECKPOINT);
    std::fs::write(checkpoint, "0\n1\nt 0 5\n").unwrap();
    let manager = ground.open();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), whole as u64);
    assert_eq!(std::fs::read(ground.index(2)).unwrap(), [0; 0]);
    let left = values(&read_all(&ground.log(&manager), 0, 1000));
    assert_eq!(left, ["0", "1", "2", "4", "5", "6"]);
}

/// 0.9.0.1 asks the last message only, too.
#[test]
fn a_damaged_offset_in_a_log_left_in_order_does_not_move_its_end() {
    for (at, byte) in [(2, 1), (7, 0)] {
        let ground = Ground::new(LogConfig::default());
        let manager = ground.open();
        for value in ["0", "1", "2"] {
            ground
                .log(&manager)
                .append_as_leader(single(value.as_bytes()), ground.now())
                .unwrap();
        }
        manager.shutdown().unwrap();
        drop(manager);
        let path = ground.segment(0);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[27 + at] = byte;
        std::fs::write(&path, bytes).unwrap();
        let manager = ground.open();
        assert_eq!(ground.log(&manager).end().offset, 3, "{at}");
    }
}

/// Whatever operation of a recovery is the last before a crash: the next recovery ends the log at the same
/// message, with no segment left behind it.
#[cfg(unix)]
#[test]
fn a_recovery_that_is_interrupted_is_done_again_and_leaves_no_hole() {
    use crate::util::fs::testing::{Disk, Fault, When};
    for power in [false, true] {
        for at in 0.. {
            let ground = killed(9);
            let path = ground.segment(2);
            let mut bytes = std::fs::read(&path).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let disk = Disk::over(ground.root.path());
            disk.fail(When::nth(at, Fault::Crash));
            let interrupted = ground.try_open().is_err();
            match power {
                true => disk.lose_power(&mut |n| (at * 7 + 3) % n),
                false => disk.restart(),
            }
            assert_eq!(reopened(&ground), expected(3), "operation {at}, power {power}");
            if !interrupted {
                break;
            }
        }
    }
}

/// After an orderly stop the index is trusted; where it is wrong, the messages are right.
#[test]
fn an_index_that_points_into_a_message_costs_no_message() {
    let ground = Ground::new(LogConfig {
        index_interval_bytes: 0,
        ..LogConfig::default()
    });
    let manager = ground.open();
    let log = ground.log(&manager);
    for i in 0..7 {
        log.append_as_leader(single(format!("{i}").as_bytes()), ground.now())
            .unwrap();
    }
    manager.shutdown().unwrap();
    drop((manager, log));
    let mut index = std::fs::read(ground.index(0)).unwrap();
    let last = index.len() - 1;
    index[last] ^= 1;
    std::fs::write(ground.index(0), index).unwrap();
    assert_eq!(reopened(&ground), expected(7));
}

#[test]
fn offsets_that_do_not_rise_end_the_log() {
    let ground = killed(7);
    append(&ground.segment(6), &stored(6, b"again"));
    assert_eq!(reopened(&ground), expected(7));
}

/// As a machine leaves it that died after a roll found no room.
#[test]
fn an_empty_segment_that_the_one_before_reaches_beyond_is_removed() {
    let ground = killed(7);
    std::fs::write(ground.segment(1), b"").unwrap();
    assert_eq!(reopened(&ground), expected(7));
    assert!(!ground.segment(1).exists());
}

/// As a machine leaves it that died after a truncation and a roll, before either was on disk.
#[test]
fn a_segment_that_reaches_into_the_next_gives_way() {
    let ground = killed(7);
    for offset in 2..5 {
        append(&ground.segment(0), &stored(offset, b"given up"));
    }
    assert_eq!(reopened(&ground), expected(7));
    assert_eq!(std::fs::metadata(ground.segment(0)).unwrap().len(), 54);
}

#[test]
fn zeros_behind_flushed_messages_are_cut() {
    let ground = killed(7);
    std::fs::write(ground.dirs[0].join(files::RECOVERY_CHECKPOINT), "0\n1\nt 0 7\n").unwrap();
    append(&ground.segment(2), &[0; 5000]);
    assert_eq!(reopened(&ground), expected(7));
    assert_eq!(std::fs::metadata(ground.segment(2)).unwrap().len(), 54);
}

#[test]
fn what_was_flushed_is_not_read_again() {
    let ground = killed(7);
    std::fs::write(ground.dirs[0].join(files::RECOVERY_CHECKPOINT), "0\n1\nt 0 5\n").unwrap();
    // Damage below the recovery point's segment stays, and takes nothing with it.
    let path = ground.segment(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[26] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let manager = ground.open();
    let log = ground.log(&manager);
    assert_eq!((log.start_offset(), log.end().offset), (0, 7));
    assert_eq!(values(&read_all(&log, 2, 1000)), expected(7)[2..]);
}

/// A log that was there before was flushed so far; nothing is known of this one.
#[test]
fn a_recovery_point_above_the_log_vouches_for_nothing() {
    let ground = killed(7);
    std::fs::write(ground.dirs[0].join(files::RECOVERY_CHECKPOINT), "0\n1\nt 0 500\n").unwrap();
    let mut bytes = std::fs::read(ground.segment(2)).unwrap();
    bytes[26] ^= 1;
    std::fs::write(ground.segment(2), bytes).unwrap();
    let manager = ground.open();
    let log = ground.log(&manager);
    assert_eq!((log.recovery_point(), log.end().offset), (0, 2));
    let written = std::fs::read_to_string(ground.dirs[0].join(files::RECOVERY_CHECKPOINT)).unwrap();
    assert_eq!(written, "0\n1\nt 0 0\n");
}

#[test]
fn lost_and_damaged_indexes_are_rebuilt_after_any_stop() {
    for clean in [false, true] {
        for damage in [None, Some(&b"garbage"[..]), Some(&[0; 4096])] {
            let ground = Ground::new(LogConfig {
                index_interval_bytes: 50,
                ..small(10_000)
            });
            let manager = ground.open();
            let log = ground.log(&manager);
            for i in 0..1000 {
                log.append_as_leader(single(format!("{i}").as_bytes()), ground.now())
                    .unwrap();
            }
            manager.shutdown().unwrap();
            drop((manager, log));
            if !clean {
                std::fs::remove_file(ground.dirs[0].join(files::CLEAN_SHUTDOWN)).unwrap();
            }
            let bases = [0, 348, 692];
            let before: Vec<_> = bases
                .iter()
                .map(|b| std::fs::read(ground.index(*b)).unwrap())
                .collect();
            assert!(
                before.iter().all(|index| index.len() > 500),
                "{:?}",
                ground.files()
            );
            for base in bases {
                match damage {
                    Some(bytes) => std::fs::write(ground.index(base), bytes).unwrap(),
                    None => std::fs::remove_file(ground.index(base)).unwrap(),
                }
            }
            assert_eq!(reopened(&ground), expected(1000));
            for (base, index) in bases.iter().zip(before) {
                let rebuilt = std::fs::read(ground.index(*base)).unwrap();
                assert!(
                    rebuilt.len().is_multiple_of(8) && rebuilt.len() * 2 > index.len(),
                    "{base}"
                );
            }
        }
    }
}

#[test]
fn messages_larger_than_the_read_buffer_are_checked_too() {
    let ground = Ground::new(LogConfig::default());
    let manager = ground.open();
    let log = ground.log(&manager);
    log.append_as_leader(single(&vec![b'a'; 900_000]), ground.now())
        .unwrap();
    log.append_as_leader(single(&vec![b'b'; 900_000]), ground.now())
        .unwrap();
    drop((manager, log));
    let manager = ground.open();
    assert_eq!(ground.log(&manager).end().offset, 2);
    drop(manager);
    let mut bytes = std::fs::read(ground.segment(0)).unwrap();
    bytes[1_500_000] ^= 1;
    std::fs::write(ground.segment(0), bytes).unwrap();
    let manager = ground.open();
    assert_eq!(ground.log(&manager).end().offset, 1);
}

#[test]
fn leftovers_and_orphans_are_removed_and_strangers_ignored() {
    let ground = killed(3);
    for name in [
        "00000000000000000000.log.deleted",
        "00000000000000000000.index.deleted",
        "00000000000000000009.log.cleaned",
        "00000000000000000009.index.swap",
        "00000000000000000009.index",
        "0.log",
        "note.txt",
    ] {
        std::fs::write(ground.log_dir().join(name), b"").unwrap();
    }
    assert_eq!(reopened(&ground), expected(3));
    assert_eq!(
        ground.files(),
        [
            "0.log",
            "00000000000000000000.index",
            "00000000000000000000.log",
            "00000000000000000002.index",
            "00000000000000000002.log",
            "note.txt"
        ]
    );
}

#[test]
fn an_interrupted_swap_is_finished_and_spares_the_segment_below() {
    // Segments 0, 2, 4, 6. The cleaner made one of 2 and 4; the plain 2 had been renamed away already.
    let ground = killed(7);
    let swapped = [stored(3, b"3"), stored(5, b"5")].concat();
    std::fs::write(ground.log_dir().join("00000000000000000002.log.swap"), swapped).unwrap();
    std::fs::remove_file(ground.segment(2)).unwrap();
    assert_eq!(reopened(&ground), ["0", "1", "3", "5", "6"]);
    assert!(!ground.segment(4).exists());
}

#[test]
fn compressed_sets_are_recovered_without_being_opened() {
    let ground = Ground::new(LogConfig {
        index_interval_bytes: 0,
        ..LogConfig::default()
    });
    let manager = ground.open();
    let log = ground.log(&manager);
    for _ in 0..3 {
        log.append_as_leader(set(Codec::Lz4, &[b"a", b"b"]), ground.now())
            .unwrap();
    }
    log.flush().unwrap();
    drop((manager, log));
    let before = std::fs::read(ground.index(0)).unwrap();
    assert_eq!(reopened(&ground).len(), 6);
    assert_eq!(before.len(), 16);
    assert_eq!(
        std::fs::read(ground.index(0)).unwrap(),
        before,
        "as the appends wrote it"
    );
}

#[test]
fn a_topic_whose_name_holds_index_keeps_its_indexes() {
    let ground = Ground::new(small(70));
    let tp = crate::cluster::TopicPartition::new("a.index.b", 0);
    let manager = ground.open();
    let log = manager.get_or_create(&tp, ground.config.clone()).unwrap();
    for _ in 0..5 {
        log.append_as_leader(single(b"x"), ground.now()).unwrap();
    }
    manager.shutdown().unwrap();
    drop((manager, log));
    let manager = ground.open();
    assert_eq!(manager.get(&tp).unwrap().end().offset, 5);
    assert!(
        ground.dirs[0]
            .join("a.index.b-0/00000000000000000000.index")
            .exists()
    );
}

#[test]
fn a_restart_does_not_keep_a_segment_from_rolling_by_time() {
    let ground = Ground::new(LogConfig {
        segment: DAY,
        ..LogConfig::default()
    });
    let manager = ground.open();
    ground
        .log(&manager)
        .append_as_leader(single(b"x"), ground.now())
        .unwrap();
    manager.shutdown().unwrap();
    drop(manager);
    ground.clock.advance(DAY * 2);
    let manager = ground.open();
    let log = ground.log(&manager);
    log.append_as_leader(single(b"y"), ground.now()).unwrap();
    let born = std::fs::metadata(ground.segment(0)).unwrap().created();
    assert_eq!(log.segment_count(), if born.is_ok() { 2 } else { 1 });
}

/// Many segments, read by several threads: what is behind the first damage goes, whoever read it.
#[test]
fn segments_read_side_by_side_end_the_log_at_the_first_damage() {
    for seed in 0..6 {
        println!("seed {seed}");
        let mut random = crate::log::testing::Random(seed);
        let mut ground = killed(60);
        ground.threads = 4;
        let mut first = 60;
        for _ in 0..3 {
            let offset = Offset::try_from(random.below(60)).unwrap();
            let path = ground.segment(offset / 2 * 2);
            let mut bytes = std::fs::read(&path).unwrap();
            // Two messages of one size to a segment: the last byte of either is its value's.
            let end = if offset % 2 == 0 {
                bytes.len() / 2
            } else {
                bytes.len()
            };
            bytes[end - 1] = b'x';
            std::fs::write(&path, bytes).unwrap();
            first = first.min(usize::try_from(offset).unwrap());
        }
        assert_eq!(reopened(&ground), expected(first));
        let last = format!("{:020}.log", first / 2 * 2);
        assert_eq!(ground.files().last(), Some(&last));
        assert_eq!(reopened(&ground), expected(first));
    }
}

/// All that has to be read is told of, also what is behind a damage; none of that is opened.
#[test]
fn progress_comes_to_all_bytes() {
    for damaged in [false, true] {
        let ground = killed(9);
        if damaged {
            let path = ground.segment(2);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[26] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }
        let (config, dir) = (ground.config.clone(), ground.log_dir());
        let plan = Plan::of(Recovery {
            dir: &dir,
            config: &config,
            recovery_point: 0,
            clean: false,
            now: ground.now(),
        })
        .unwrap();
        let told = std::cell::Cell::new(0);
        let read = |piece| plan.read(piece, &|bytes| told.set(told.get() + bytes)).unwrap();
        let read: Vec<_> = plan.pieces.iter().map(read).collect();
        assert_eq!(told.get(), 9 * 27);
        let opened = read.iter().filter(|opened| opened.is_some()).count();
        assert_eq!(opened, if damaged { 2 } else { 5 });
        let Outcome::Loaded(loaded) = plan.assemble(read).unwrap() else {
            panic!("there is no recovery point to distrust");
        };
        assert_eq!(loaded.next, if damaged { 2 } else { 9 });
    }
}

/// One list of segments for all logs: damage in one takes nothing from the others, and a log whose recovery
/// point is distrusted is read again, the others not.
#[test]
fn logs_of_a_directory_are_told_apart() {
    let ground = Ground::new(small(70));
    let manager = ground.open();
    let tp = |partition| crate::cluster::TopicPartition::new("t", partition);
    for partition in 0..5 {
        let log = manager
            .get_or_create(&tp(partition), ground.config.clone())
            .unwrap();
        for i in 0..10 {
            log.append_as_leader(single(format!("{i}").as_bytes()), ground.now())
                .unwrap();
        }
    }
    drop(manager);
    // What is flushed of partition 3 is damaged and stays; the point of partition 4 is another log's.
    let points = "0\n2\nt 3 6\nt 4 60\n";
    std::fs::write(ground.dirs[0].join(files::RECOVERY_CHECKPOINT), points).unwrap();
    for (partition, base) in [(1, 4), (3, 2), (4, 2)] {
        let path = ground.dirs[0].join(format!("t-{partition}/{base:020}.log"));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[26] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
    let manager = ground.open();
    let log = |partition| manager.get(&tp(partition)).unwrap();
    let ends: Vec<Offset> = (0..5).map(|partition| log(partition).end().offset).collect();
    assert_eq!(ends, [10, 4, 10, 10, 2]);
    let points = std::fs::read_to_string(ground.dirs[0].join(files::RECOVERY_CHECKPOINT)).unwrap();
    assert_eq!(points, "0\n2\nt 3 6\nt 4 0\n");
}
