//! A random life of a compacted log against a plain list. A failure prints the seed; `CLEANER_MODEL_SEED`
//! repeats it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crate::config::LogConfig;
use crate::log::testing::{Ground, Random, last_values, read_all};
use crate::log::{Log, LogManager};
use crate::message::{Codec, Message, Offset, SetBuilder};

use super::testing::clean;

/// What the log holds.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    offset: Offset,
    key: Option<String>,
    /// `None` marks a deleted key.
    value: Option<String>,
}

impl Kept {
    fn of(m: &Message) -> Kept {
        let text = |b: &bytes::Bytes| String::from_utf8(b.to_vec()).unwrap();
        Kept {
            offset: m.offset,
            key: m.key.as_ref().map(text),
            value: m.value.as_ref().map(text),
        }
    }
}

struct Life {
    random: Random,
    ground: Ground,
    manager: LogManager,
    log: Arc<Log>,
    model: Vec<Kept>,
    cleanings: u64,
}

#[test]
fn compaction_never_changes_what_a_log_says_of_its_keys() {
    let given = std::env::var("CLEANER_MODEL_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    let lives = if given.is_some() { 1 } else { 10 };
    let mut cleanings = 0;
    for _ in 0..lives {
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0));
        println!("CLEANER_MODEL_SEED={seed}");
        let mut life = Life::new(seed);
        for _ in 0..150 {
            life.step();
            assert_eq!(life.content(), life.model);
        }
        cleanings += life.cleanings;
    }
    println!("{cleanings} cleanings");
    assert!(given.is_some() || cleanings > 0);
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut random = Random(seed);
        let int = |n: u64| i32::try_from(n).unwrap();
        let config = LogConfig {
            compact: true,
            segment_bytes: int(500 + random.below(1000)),
            index_interval_bytes: int(random.below(200)),
            segment_index_bytes: int(8 * (2 + random.below(50))),
            segment: Duration::from_secs(50),
            retention: Some(Duration::from_secs(200)),
            delete_retention: Duration::from_secs(random.below(3) * 30),
            min_cleanable_dirty_ratio: random.below(3) as f64 * 0.2,
            preallocate: random.one_in(3),
            ..LogConfig::default()
        };
        let mut ground = Ground::new(config);
        ground.cleaner.io_buffer_bytes = usize::try_from(2 * (1 + random.below(400))).unwrap();
        ground.cleaner.max_message_bytes = usize::try_from(random.below(300)).unwrap();
        if random.one_in(2) {
            // A table of so few keys that a segment may not fit.
            ground.cleaner.dedupe_buffer_bytes = 1 << 20;
            ground.cleaner.load_factor = (1.5 + random.below(12) as f64) / 43_690.0;
        }
        let manager = ground.open();
        let log = ground.log(&manager);
        Life {
            random,
            ground,
            manager,
            log,
            model: Vec::new(),
            cleanings: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..62 => self.append(),
            62..78 => self.clean(),
            78..82 => self.truncate(),
            82..83 => self.start_anew(),
            83..88 => {
                let seconds = self.random.below(60);
                self.ground.clock.advance(Duration::from_secs(seconds));
            }
            88..90 => self.switch_policy(),
            90..92 => self.retain(),
            92..94 => self.manager.run_chores(),
            94..96 => {
                let end = self.log.end().offset;
                let back = Offset::try_from(self.random.below(20)).unwrap();
                self.log.set_high_watermark(if back < 10 {
                    Offset::MAX
                } else {
                    (end - back).max(0)
                });
            }
            96..98 => self.log.flush().unwrap(),
            _ => self.reopen(),
        }
    }

    fn append(&mut self) {
        let codec = Codec::from_attributes(i8::try_from(self.random.below(4)).unwrap()).unwrap();
        let compact = self.log.config().compact;
        let mut builder = SetBuilder::new(codec, usize::MAX);
        let mut all = Vec::new();
        for _ in 0..=self.random.below(5) {
            let keyless = !compact && self.random.one_in(3);
            let key = (!keyless).then(|| format!("k{}", self.random.below(12)));
            let value = (!self.random.one_in(5)).then(|| {
                let length = usize::try_from(self.random.below(40)).unwrap();
                "v".repeat(length)
            });
            assert!(builder.append(
                key.as_deref().map(str::as_bytes),
                value.as_deref().map(str::as_bytes)
            ));
            all.push((key, value));
        }
        let set = bytes::BytesMut::from(&builder.finish()[..]);
        let first = self.log.append_as_leader(set, self.ground.now()).unwrap().first;
        for ((key, value), offset) in all.into_iter().zip(first..) {
            self.model.push(Kept { offset, key, value });
        }
    }

    fn clean(&mut self) {
        if self.random.one_in(2) {
            self.log.set_high_watermark(Offset::MAX);
        }
        let (end, segments) = (self.log.end(), self.log.cleanable());
        let cleanable = segments.last().map_or(0, |(_, next)| *next);
        self.cleanings += u64::from(clean(&self.manager));
        assert_eq!(self.log.end(), end);
        assert_eq!(self.log.turns().set_aside(), None);
        let left = self.content();
        self.check_what_is_gone(&left, cleanable);
        self.model = left;
    }

    /// The rules: nothing appears or changes; what may not be cleaned is all there; of each key the last
    /// value is there; of what is clean, only the last.
    fn check_what_is_gone(&self, left: &[Kept], cleanable: Offset) {
        let kept: BTreeSet<Offset> = left.iter().map(|k| k.offset).collect();
        assert!(left.iter().all(|k| self.model.contains(k)), "nothing is made up");
        let gone = self.model.iter().filter(|k| !kept.contains(&k.offset));
        for k in gone {
            assert!(k.offset < cleanable, "{k:?} may not be looked at");
            let later = self.model.iter().any(|l| l.key == k.key && l.offset > k.offset);
            assert!(
                k.key.is_none() || later || k.value.is_none(),
                "{k:?} was the last of its key"
            );
        }
        assert_eq!(state(left), state(&self.model));
        if !self.log.config().compact {
            return;
        }
        let point = self.log.cleaner_point().unwrap_or(0).min(cleanable);
        let mut seen = BTreeSet::new();
        for k in left.iter().filter(|k| k.offset < point) {
            assert!(
                seen.insert(k.key.clone()),
                "{k:?} has an earlier one below {point}"
            );
        }
    }

    fn truncate(&mut self) {
        let back = Offset::try_from(self.random.below(30)).unwrap();
        let target = (self.log.end().offset - back).max(self.log.start_offset());
        self.log.truncate_to(target).unwrap();
        // A wrapper that reaches across goes whole.
        let left = self.content();
        assert!(self.model.starts_with(&left));
        assert!(self.model[left.len()..].iter().all(|k| k.offset + 6 > target));
        self.model = left;
    }

    fn start_anew(&mut self) {
        let target = self.log.end().offset + Offset::try_from(self.random.below(100)).unwrap();
        self.log.truncate_fully_and_start_at(target).unwrap();
        self.model.clear();
    }

    fn switch_policy(&mut self) {
        let compact = !self.log.config().compact;
        let config = LogConfig {
            compact,
            ..self.ground.config.clone()
        };
        self.ground.config = config.clone();
        self.manager.set_topic_config("t", config);
    }

    fn retain(&mut self) {
        self.log.delete_old_segments(self.ground.now()).unwrap();
        let start = self.log.start_offset();
        self.model.retain(|k| k.offset >= start);
    }

    /// A stop in order, or the death of the process.
    fn reopen(&mut self) {
        if self.random.one_in(2) {
            self.manager.shutdown().unwrap();
        }
        // A stand-in until the directory is opened again: only one manager may hold it.
        let elsewhere = Ground::new(self.ground.config.clone());
        self.manager = elsewhere.open();
        self.log = elsewhere.log(&self.manager);
        self.manager = self.ground.open();
        self.log = self.ground.log(&self.manager);
    }

    fn content(&self) -> Vec<Kept> {
        let all = read_all(&self.log, self.log.start_offset(), 100_000);
        all.iter().map(Kept::of).collect()
    }
}

fn state(messages: &[Kept]) -> BTreeMap<&str, &str> {
    last_values(messages.iter().map(|k| (k.key.as_deref(), k.value.as_deref())))
}
