use super::*;

fn index(entries: u32) -> (tempfile::TempDir, OffsetIndex) {
    let dir = tempfile::tempdir().unwrap();
    let index = OffsetIndex::create(dir.path().join("i"), 50).unwrap();
    for i in 1..=entries {
        index
            .append(50 + Offset::from(i) * 5, u64::from(i) * 100)
            .unwrap();
    }
    (dir, index)
}

fn at(offset: Offset, position: u64) -> Place {
    Place { offset, position }
}

#[test]
fn an_entry_is_eight_bytes_relative_to_the_base() {
    let (_dir, index) = index(0);
    index.append(55, 8192).unwrap();
    index.write_out().unwrap();
    assert_eq!(std::fs::read(index.path()).unwrap(), [0, 0, 0, 5, 0, 0, 0x20, 0]);
}

#[test]
fn lookup_finds_the_greatest_entry_at_or_below_in_memory_and_on_disk() {
    // 5000 entries: the oldest are on disk alone; reopened: all are.
    let (dir, written) = index(5000);
    written.write_out().unwrap();
    let reopened = OffsetIndex::open(dir.path().join("i"), 50).unwrap();
    for index in [&written, &reopened] {
        assert_eq!(index.lookup(0).unwrap(), at(50, 0));
        assert_eq!(index.lookup(54).unwrap(), at(50, 0));
        for i in 1..=5000 {
            let offset = 50 + i * 5;
            let expected = at(offset, i as u64 * 100);
            assert_eq!(index.lookup(offset).unwrap(), expected);
            assert_eq!(index.lookup(offset + 4).unwrap(), expected);
        }
        assert_eq!(index.lookup(i64::MAX).unwrap(), at(25_050, 500_000));
        assert_eq!(index.last(), Some(at(25_050, 500_000)));
    }
}

#[test]
fn offsets_that_do_not_rise_or_are_too_far_are_left_out() {
    let (_dir, index) = index(1);
    for offset in [55, 54, 49, 50 + i64::from(i32::MAX) + 1] {
        index.append(offset, 200).unwrap();
    }
    assert_eq!(index.count(), 1);
    index.append(50 + i64::from(i32::MAX), 200).unwrap();
    assert_eq!(index.count(), 2);
}

#[test]
fn truncation_drops_what_is_at_the_offset_and_above() {
    for entries in [10, 3000] {
        let (dir, index) = index(entries);
        index.truncate_to(71).unwrap();
        assert_eq!((index.count(), index.last()), (4, Some(at(70, 400))));
        index.truncate_to(70).unwrap();
        assert_eq!((index.count(), index.last()), (3, Some(at(65, 300))));
        index.append(80, 350).unwrap();
        index.sync().unwrap();
        assert_eq!(std::fs::metadata(dir.path().join("i")).unwrap().len(), 32);
        assert_eq!(index.lookup(1000).unwrap(), at(80, 350));
        index.truncate_to(50).unwrap();
        assert_eq!((index.count(), index.last()), (0, None));
    }
}

#[test]
fn an_index_that_is_not_of_its_log_is_insane() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("i");
    let entry = |relative: u32, position: u32| [relative.to_be_bytes(), position.to_be_bytes()].concat();
    for (bytes, quick, thorough) in [
        (vec![], true, true),
        (entry(5, 100), true, true),
        // Padding of a JVM broker that died.
        ([entry(5, 100), entry(0, 0)].concat(), false, false),
        // A torn entry.
        (entry(5, 100)[..7].to_vec(), false, false),
        // Behind the end of the log, and not an offset at all.
        (entry(5, 1000), false, false),
        (entry(0x8000_0000, 100), false, false),
        // Damage in the middle.
        (
            [entry(5, 100), entry(3, 200), entry(9, 300)].concat(),
            true,
            false,
        ),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        let index = OffsetIndex::open(path.clone(), 50).unwrap();
        assert_eq!(index.is_sane(1000, false).unwrap(), quick, "{bytes:?}");
        assert_eq!(index.is_sane(1000, true).unwrap(), thorough, "{bytes:?}");
    }
}

#[test]
fn a_removed_index_sends_readers_to_the_beginning() {
    let (dir, index) = index(3000);
    index.rest().unwrap();
    index.sync().unwrap();
    index.rest().unwrap();
    std::fs::remove_file(dir.path().join("i")).unwrap();
    assert_eq!(index.lookup(100).unwrap(), at(50, 0));
}

/// A broker has as many indexes as segments, and a limit of open files.
#[test]
fn an_index_that_was_let_go_of_is_open_only_while_its_name_is_not_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("i");
    let index = OffsetIndex::create(path.clone(), 0).unwrap();
    let is_open = || index.lock().file.is_some();
    index.let_go();
    for offset in 1..=2000 {
        index.append(offset, u64::try_from(offset).unwrap() * 10).unwrap();
    }
    index.sync().unwrap();
    assert_eq!(index.lookup(7).unwrap().position, 70);
    index.truncate_to(1000).unwrap();
    assert_eq!(index.lookup(5000).unwrap().position, 9990);
    assert!(!is_open());
    index.detach();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(index.lookup(7).unwrap().position, 70);
    index.let_go();
    assert!(is_open());
}
