//! What the broker's `log.*` keys mean: where the logs are, and the defaults of the topics' keys.

use std::path::PathBuf;

use crate::config::definition::{Value, Values};
use crate::config::{LogConfig, Mistake};

/// `log.dirs`, else `log.dir`; empty names between commas do not count.
pub(super) fn log_dirs(v: &Values) -> Vec<PathBuf> {
    v.text_or_null("log.dirs")
        .unwrap_or_else(|| v.text("log.dir"))
        .split(',')
        .map(str::trim)
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .collect()
}

/// The first of `keys` (with its unit in milliseconds) that is set, else the last one's default.
fn first_set(v: &Values, keys: &[(&'static str, i64)]) -> (&'static str, i64) {
    let (name, unit) = keys
        .iter()
        .copied()
        .find(|(name, _)| v.number_or_null(name).is_some())
        .unwrap_or(keys[keys.len() - 1]);
    (name, v.long(name).saturating_mul(unit))
}

const HOUR: i64 = 3_600_000;

/// The key that `log.retention.ms` results from, and its value.
pub(super) fn retention(v: &Values) -> (&'static str, i64) {
    let (name, ms) = first_set(
        v,
        &[
            ("log.retention.ms", 1),
            ("log.retention.minutes", 60_000),
            ("log.retention.hours", HOUR),
        ],
    );
    (name, ms.max(-1))
}

pub(super) fn roll(v: &Values) -> (&'static str, i64) {
    first_set(v, &[("log.roll.ms", 1), ("log.roll.hours", HOUR)])
}

pub(super) fn roll_jitter(v: &Values) -> (&'static str, i64) {
    first_set(v, &[("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", HOUR)])
}

/// The defaults of the topics' keys. They must pass the topics' rules too, which are stricter here and
/// there; a mistake names the broker's key.
pub(super) fn log_config(v: &Values) -> (LogConfig, Vec<Mistake>) {
    let same = |name: &'static str| (name, v.get(name).clone());
    let number = |(name, n): (&'static str, i64)| (name, Value::Number(n));
    let flush = first_set(
        v,
        &[
            ("log.flush.interval.ms", 1),
            ("log.flush.scheduler.interval.ms", 1),
        ],
    );
    let mapped: Vec<(&'static str, (&'static str, Value))> = vec![
        ("segment.bytes", same("log.segment.bytes")),
        ("segment.ms", number(roll(v))),
        ("segment.jitter.ms", number(roll_jitter(v))),
        ("segment.index.bytes", same("log.index.size.max.bytes")),
        ("flush.messages", same("log.flush.interval.messages")),
        ("flush.ms", number(flush)),
        ("retention.bytes", same("log.retention.bytes")),
        ("retention.ms", number(retention(v))),
        ("max.message.bytes", same("message.max.bytes")),
        ("index.interval.bytes", same("log.index.interval.bytes")),
        ("delete.retention.ms", same("log.cleaner.delete.retention.ms")),
        ("file.delete.delay.ms", same("log.segment.delete.delay.ms")),
        (
            "min.cleanable.dirty.ratio",
            same("log.cleaner.min.cleanable.ratio"),
        ),
        ("cleanup.policy", same("log.cleanup.policy")),
        (
            "unclean.leader.election.enable",
            same("unclean.leader.election.enable"),
        ),
        ("min.insync.replicas", same("min.insync.replicas")),
        ("compression.type", same("compression.type")),
        ("preallocate", same("log.preallocate")),
    ];
    let values: Vec<(&'static str, Value)> = mapped
        .iter()
        .map(|(topic, (_, value))| (*topic, value.clone()))
        .collect();
    LogConfig::from_broker(&values, |topic| {
        let key = mapped
            .iter()
            .find(|(t, _)| *t == topic)
            .map_or("", |(_, (key, _))| key);
        v.mistake(key, "")
    })
}
