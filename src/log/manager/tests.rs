use super::*;
use crate::log::testing::{Ground, read_all, single, small, tp, values};
use crate::util::fs;

fn append(log: &Log, ground: &Ground, value: &str) {
    log.append_as_leader(single(value.as_bytes()), ground.now())
        .unwrap();
}

#[test]
fn a_clean_stop_leaves_mark_and_checkpoint_and_the_next_start_takes_the_mark() {
    let ground = Ground::new(LogConfig::default());
    let manager = ground.open();
    assert!(!manager.was_clean());
    append(&ground.log(&manager), &ground, "x");
    manager.shutdown().unwrap();
    let dir = &ground.dirs[0];
    assert!(dir.join(files::CLEAN_SHUTDOWN).exists());
    assert_eq!(
        std::fs::read(dir.join(files::RECOVERY_CHECKPOINT)).unwrap(),
        b"0\n1\nt 0 1\n"
    );
    let manager = ground.open();
    assert!(manager.was_clean());
    assert!(!dir.join(files::CLEAN_SHUTDOWN).exists());
    assert_eq!(values(&read_all(&ground.log(&manager), 0, 100)), ["x"]);
}

#[test]
fn a_closed_log_refuses_appends_and_still_reads() {
    let ground = Ground::new(LogConfig::default());
    let manager = ground.open();
    let log = ground.log(&manager);
    append(&log, &ground, "x");
    manager.shutdown().unwrap();
    assert!(matches!(
        log.append_as_leader(single(b"y"), ground.now()),
        Err(Error::Closed(_))
    ));
    assert_eq!(values(&read_all(&log, 0, 100)), ["x"]);
}

#[test]
fn a_second_broker_on_the_same_directory_is_refused() {
    let ground = Ground::new(LogConfig::default());
    let manager = ground.open();
    let refused = ground.try_open().unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "Failed to acquire lock on file .lock in {}. A Kafka instance in another process or thread is using this directory.",
            ground.dirs[0].display()
        )
    );
    drop(manager);
    ground.open();
}

#[test]
fn the_same_directory_twice_is_refused_however_it_is_written() {
    let mut ground = Ground::new(LogConfig::default());
    let again = ground.root.path().join("x/../logs");
    std::fs::create_dir(ground.root.path().join("x")).unwrap();
    ground.dirs.push(again);
    assert!(matches!(ground.try_open(), Err(Error::DuplicateDirectory(_))));
}

#[test]
fn a_file_in_the_place_of_a_directory_is_refused() {
    let ground = Ground::new(LogConfig::default());
    std::fs::write(&ground.dirs[0], b"").unwrap();
    let refused = ground.try_open().unwrap_err().to_string();
    assert!(refused.ends_with("is not a readable log directory."), "{refused}");
}

#[test]
fn strange_directories_stop_the_start_except_the_file_system_s_own() {
    let ground = Ground::new(LogConfig::default());
    std::fs::create_dir_all(ground.dirs[0].join("lost+found")).unwrap();
    std::fs::write(ground.dirs[0].join("a file"), b"").unwrap();
    drop(ground.open());
    std::fs::create_dir(ground.dirs[0].join("stranger")).unwrap();
    let refused = ground.try_open().unwrap_err().to_string();
    assert!(
        refused.contains("'stranger' is not in the form of topic-partition\n"),
        "{refused}"
    );
}

#[test]
fn a_partition_in_two_directories_stops_the_start() {
    let mut ground = Ground::new(LogConfig::default());
    ground.dirs.push(ground.root.path().join("more"));
    for dir in &ground.dirs {
        std::fs::create_dir_all(dir.join("t-0")).unwrap();
    }
    assert!(matches!(ground.try_open(), Err(Error::DuplicateLog(..))));
}

#[test]
fn new_partitions_go_where_the_fewest_are() {
    let mut ground = Ground::new(LogConfig::default());
    ground.dirs = ["a", "b", "c"].map(|d| ground.root.path().join(d)).to_vec();
    let manager = ground.open();
    for i in 0..9 {
        manager
            .get_or_create(&TopicPartition::new("t", i), LogConfig::default())
            .unwrap();
    }
    for dir in &ground.dirs {
        let partitions = std::fs::read_dir(dir).unwrap();
        assert_eq!(
            partitions.filter(|e| e.as_ref().unwrap().path().is_dir()).count(),
            3
        );
    }
}

#[test]
fn deletion_takes_the_directory_and_the_checkpoint_s_line() {
    let ground = Ground::new(small(70));
    let manager = ground.open();
    let log = ground.log(&manager);
    for _ in 0..5 {
        append(&log, &ground, "x");
    }
    log.flush().unwrap();
    manager.checkpoint_recovery_points().unwrap();
    manager.delete(&tp()).unwrap();
    assert!(manager.get(&tp()).is_none());
    assert!(matches!(
        log.append_as_leader(single(b"y"), ground.now()),
        Err(Error::Closed(_))
    ));
    // Windows lets no directory go while a file in it is open.
    assert!(!ground.log_dir().exists() || cfg!(windows));
    drop(log);
    ground.clock.advance(Duration::from_secs(1));
    manager.run_chores();
    assert!(!ground.log_dir().exists());
    let checkpoint = std::fs::read(ground.dirs[0].join(files::RECOVERY_CHECKPOINT)).unwrap();
    assert_eq!(checkpoint, b"0\n0\n");
    // Made again it starts anew.
    assert_eq!(ground.log(&manager).end().offset, 0);
}

#[test]
fn a_partition_is_made_again_while_a_reader_of_the_deleted_one_goes_on() {
    let ground = Ground::new(small(70));
    let manager = ground.open();
    let old = ground.log(&manager);
    for _ in 0..5 {
        append(&old, &ground, "old");
    }
    let slice = old.read(0, 1000, None).unwrap().slice.unwrap();
    manager.delete(&tp()).unwrap();
    let new = ground.log(&manager);
    append(&new, &ground, "new");
    let mut bytes = vec![0; slice.len];
    assert_eq!(
        fs::read_at(&slice.file, &mut bytes, slice.position).unwrap(),
        slice.len
    );
    drop((old, slice));
    ground.clock.advance(Duration::from_secs(1));
    manager.run_chores();
    assert_eq!(values(&read_all(&new, 0, 1000)), ["new"]);
    let names = ["00000000000000000000.index", "00000000000000000000.log"];
    assert_eq!(ground.files(), names);
}

#[test]
fn names_of_devices_are_known() {
    for (name, is) in [
        ("con.x-0", true),
        ("Aux.-1", true),
        ("com1.t-0", true),
        ("con-0", false),
        ("com10.t-0", false),
        ("comx.t-0", false),
        ("console.x-0", false),
    ] {
        assert_eq!(is_device(name), is, "{name}");
    }
}

#[test]
fn a_deletion_that_a_crash_interrupted_is_finished_at_start() {
    let ground = Ground::new(small(70));
    let manager = ground.open();
    let log = ground.log(&manager);
    for _ in 0..5 {
        append(&log, &ground, "x");
    }
    drop((manager, log));
    std::fs::write(ground.log_dir().join(files::DELETING), b"").unwrap();
    std::fs::remove_file(ground.segment(0)).unwrap();
    let manager = ground.open();
    assert!(manager.get(&tp()).is_none());
    assert!(!ground.log_dir().exists());
}

#[test]
fn retention_and_delayed_removal_run_on_the_manager_s_time() {
    let ground = Ground::new(LogConfig {
        retention: Some(Duration::from_secs(100)),
        file_delete_delay: Duration::from_secs(60),
        ..small(70)
    });
    let manager = ground.open();
    let log = ground.log(&manager);
    for i in 0..3 {
        append(&log, &ground, &i.to_string());
    }
    ground.clock.advance(Duration::from_secs(101));
    append(&log, &ground, "3");
    manager.apply_retention();
    assert_eq!((log.start_offset(), log.end().offset), (2, 4));
    manager.run_chores();
    assert!(ground.log_dir().join("00000000000000000000.log.deleted").exists());
    ground.clock.advance(Duration::from_secs(60));
    manager.run_chores();
    assert_eq!(
        ground.files(),
        ["00000000000000000002.index", "00000000000000000002.log"]
    );
    // All of it expires: an empty segment is left at the end.
    ground.clock.advance(Duration::from_secs(101));
    manager.apply_retention();
    assert_eq!((log.start_offset(), log.end().offset), (4, 4));
    append(&log, &ground, "4");
    assert_eq!(values(&read_all(&log, 4, 100)), ["4"]);
}

#[test]
fn compacted_logs_lose_nothing_to_retention() {
    let ground = Ground::new(LogConfig {
        retention: Some(Duration::from_secs(1)),
        retention_bytes: 1,
        compact: true,
        ..small(70)
    });
    let manager = ground.open();
    let log = ground.log(&manager);
    for _ in 0..5 {
        let mut set = bytes::BytesMut::new();
        crate::message::builder::put_entry(&mut set, 0, 0, Some(b"k"), Some(b"v"));
        log.append_as_leader(set, ground.now()).unwrap();
    }
    ground.clock.advance(Duration::from_secs(100));
    manager.apply_retention();
    assert_eq!(log.start_offset(), 0);
}

#[test]
fn other_settings_take_effect_on_the_logs_of_their_topic() {
    let ground = Ground::new(LogConfig::default());
    let manager = ground.open();
    let log = ground.log(&manager);
    let other = manager
        .get_or_create(&TopicPartition::new("u", 0), LogConfig::default())
        .unwrap();
    manager.set_topic_config("t", small(70));
    assert_eq!(
        (log.config().segment_bytes, other.config().segment_bytes),
        (70, 1 << 30)
    );
}

#[test]
fn a_rolled_segment_is_flushed_as_a_chore() {
    let ground = Ground::new(small(70));
    let manager = ground.open();
    let log = ground.log(&manager);
    for _ in 0..3 {
        append(&log, &ground, "x");
    }
    assert_eq!(log.recovery_point(), 0);
    manager.run_chores();
    assert_eq!(log.recovery_point(), 2);
}

#[tokio::test]
async fn flush_ms_is_heeded_without_the_broker_s_interval() {
    let ground = Ground::new(LogConfig {
        flush: Duration::from_secs(3),
        ..LogConfig::default()
    });
    let manager = Arc::new(ground.open());
    let log = ground.log(&manager);
    append(&log, &ground, "x");
    let shutdown = crate::util::shutdown::Shutdown::new();
    let tasks = manager.start(shutdown.stop());
    while log.recovery_point() < 1 {
        ground.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    shutdown.ask();
    for task in tasks {
        task.await.unwrap();
    }
}
