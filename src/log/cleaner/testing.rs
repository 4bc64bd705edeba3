//! What the tests of this folder share: a compacted log, its content as text, a cleaning.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::LogConfig;
use crate::log::testing::{Ground, keyed, read_all, small};
use crate::log::{Log, LogManager};
use crate::message::{Codec, Message, Offset};
use crate::util::shutdown::Shutdown;

/// Settings of a compacted log with small segments, dirty as soon as there is something.
pub(crate) fn compacted(segment_bytes: i32) -> LogConfig {
    LogConfig {
        compact: true,
        min_cleanable_dirty_ratio: 0.0,
        ..small(segment_bytes)
    }
}

pub(crate) fn put(log: &Log, ground: &Ground, key: &str, value: Option<&str>) -> Offset {
    put_with(log, ground, Codec::None, &[(Some(key), value)])
}

pub(crate) fn put_with(
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
pub(crate) fn roll(log: &Log, ground: &Ground) {
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
pub(crate) fn clean(manager: &LogManager) -> bool {
    let stop = Shutdown::new();
    let cleaner = manager.cleaner().unwrap();
    let mut some = false;
    while cleaner.clean_filthiest(0, manager.all(), &stop.stop()) {
        some = true;
    }
    some
}

pub(crate) fn text(bytes: &Option<bytes::Bytes>) -> String {
    match bytes {
        Some(b) => String::from_utf8_lossy(b).into_owned(),
        None => "-".to_owned(),
    }
}

/// `offset key=value` of each message.
pub(crate) fn content(log: &Log) -> Vec<String> {
    let show = |m: &Message| format!("{} {}={}", m.offset, text(&m.key), text(&m.value));
    read_all(log, log.start_offset(), 100_000)
        .iter()
        .map(show)
        .collect()
}

/// The last value of each key; deleted keys are not there.
pub(crate) fn state(log: &Log) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for m in read_all(log, log.start_offset(), 100_000) {
        match m.value {
            Some(_) => state.insert(text(&m.key), text(&m.value)),
            None => state.remove(&text(&m.key)),
        };
    }
    state
}
