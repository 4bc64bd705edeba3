//! What a partition's log costs by itself: appending sets, finding an offset by the index, reading a
//! slice, and opening a log that was not closed. `cargo bench --bench log`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::BytesMut;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};

use kafka::cluster::TopicPartition;
use kafka::config::LogConfig;
use kafka::log::{Log, LogManager, ManagerSettings};
use kafka::message::{Codec, SetBuilder};
use kafka::util::clock::{Clock, WallMs};

fn main() {
    divan::main();
}

/// A set of messages of `record` bytes each, of about `batch` bytes in all.
fn set(record: usize, batch: usize) -> BytesMut {
    let value = vec![b'x'; record];
    let mut builder = SetBuilder::new(Codec::None, batch);
    while builder.append(None, Some(&value)) {}
    BytesMut::from(&builder.finish()[..])
}

fn open(dir: PathBuf) -> LogManager {
    LogManager::open(
        &[dir],
        LogConfig::default(),
        &HashMap::new(),
        ManagerSettings::default(),
        Clock::system(),
    )
    .expect("a temporary directory can hold logs")
}

fn log(manager: &LogManager) -> Arc<Log> {
    manager
        .get_or_create(&TopicPartition::new("bench", 0), LogConfig::default())
        .expect("a temporary directory can hold a log")
}

/// A log of about 100 MB in sets of 16 KB, and its directory.
fn filled() -> (tempfile::TempDir, LogManager, Arc<Log>) {
    let dir = tempfile::tempdir().expect("there is a temporary directory");
    let manager = open(dir.path().to_owned());
    let log = log(&manager);
    let set = set(100, 16384);
    for _ in 0..100_000_000 / set.len() {
        log.append_as_leader(set.clone(), WallMs(0)).expect("a sound set");
    }
    (dir, manager, log)
}

#[divan::bench(args = [(100, 16_384), (1_000, 65_536), (1_000, 1_000_000)])]
fn append(bencher: Bencher, (record, batch): (usize, usize)) {
    let dir = tempfile::tempdir().expect("there is a temporary directory");
    let manager = open(dir.path().to_owned());
    let log = log(&manager);
    let set = set(record, batch);
    bencher
        .counter(BytesCount::new(set.len()))
        .with_inputs(|| set.clone())
        .bench_local_values(|set| log.append_as_leader(set, WallMs(0)).expect("a sound set"));
}

#[divan::bench]
fn locate_an_offset(bencher: Bencher) {
    let (_dir, _manager, log) = filled();
    let end = log.end().offset;
    let mut offset = 0;
    bencher.bench_local(|| {
        // A stride that is no divisor of anything: each look-up is in another place.
        offset = (offset + 7_368_787) % end;
        black_box(log.locate(offset))
    });
}

#[divan::bench]
fn read_a_slice(bencher: Bencher) {
    let (_dir, _manager, log) = filled();
    let end = log.end().offset;
    let mut offset = 0;
    bencher.bench_local(|| {
        offset = (offset + 7_368_787) % end;
        black_box(log.read(offset, 1 << 20, None))
    });
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn recover_100_mb(bencher: Bencher) {
    let (dir, manager, log) = filled();
    // As if killed: no checkpoint and no mark of a clean end.
    drop((log, manager));
    let path = dir.path().to_owned();
    bencher
        .counter(BytesCount::new(100_000_000usize))
        .bench_local(|| open(path.clone()));
}
