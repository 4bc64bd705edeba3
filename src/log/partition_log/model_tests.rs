//! A random life of a log against a plain `Vec`, also where tests have no disk of their own (Windows). A failure prints the seed; `PARTITION_MODEL_SEED` repeats it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crate::config::LogConfig;
use crate::log::testing::{Ground, Random, bytes, read_all, stored};
use crate::log::{Log, LogManager};
use crate::message::{Codec, Offset, SetBuilder, flatten};

/// What the log must hold.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    offset: Offset,
    value: Vec<u8>,
    /// The last offset of the wrapper it is in, or its own.
    group: Offset,
}

struct Life {
    random: Random,
    ground: Ground,
    manager: LogManager,
    log: Arc<Log>,
    model: Vec<Kept>,
    start: Offset,
    next: Offset,
}

#[test]
fn any_life_of_a_log_is_that_of_a_vec() {
    let given = std::env::var("PARTITION_MODEL_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    let lives = if given.is_some() { 1 } else { 12 };
    for _ in 0..lives {
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0));
        println!("PARTITION_MODEL_SEED={seed}");
        let mut life = Life::new(seed);
        for _ in 0..150 {
            life.step();
            life.check();
        }
    }
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut random = Random(seed);
        let config = LogConfig {
            segment_bytes: 300 + i32::try_from(random.below(3000)).unwrap(),
            index_interval_bytes: i32::try_from(random.below(200)).unwrap(),
            segment_index_bytes: 8 * (2 + i32::try_from(random.below(50)).unwrap()),
            retention: Some(Duration::from_secs(100)),
            retention_bytes: if random.below(2) == 0 { -1 } else { 3000 },
            segment: Duration::from_secs(50),
            segment_jitter: Duration::from_secs(random.below(20)),
            preallocate: random.below(3) == 0,
            ..LogConfig::default()
        };
        let ground = Ground::new(config);
        let manager = ground.open();
        let log = ground.log(&manager);
        Life {
            random,
            ground,
            manager,
            log,
            model: Vec::new(),
            start: 0,
            next: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..60 => self.append(),
            60..66 => self.copy_with_gap(),
            66..74 => self.truncate(),
            74..75 => self.restart(),
            75..81 => self
                .ground
                .clock
                .advance(Duration::from_secs(self.random.below(40))),
            81..86 => self.retain(),
            86..89 => self.log.flush().unwrap(),
            89..91 => self.manager.run_chores(),
            91..93 => self.manager.checkpoint_recovery_points().unwrap(),
            93..96 => self.stop_in_order(),
            _ => self.die(),
        }
    }

    fn append(&mut self) {
        let codec = Codec::from_attributes(i8::try_from(self.random.below(4)).unwrap()).unwrap();
        let mut builder = SetBuilder::new(codec, usize::MAX);
        let count = 1 + self.random.below(5);
        let mut values = Vec::new();
        for _ in 0..count {
            let value = self
                .random
                .next()
                .to_be_bytes()
                .repeat(usize::try_from(self.random.below(4)).unwrap());
            assert!(builder.append(None, Some(&value)));
            values.push(value);
        }
        let set = bytes::BytesMut::from(&builder.finish()[..]);
        let appended = self.log.append_as_leader(set, self.ground.now()).unwrap();
        assert_eq!((appended.first, appended.messages), (self.next, count));
        for (value, offset) in values.into_iter().zip(self.next..) {
            let group = if codec == Codec::None {
                offset
            } else {
                appended.last
            };
            self.model.push(Kept { offset, value, group });
        }
        self.next = appended.last + 1;
    }

    fn copy_with_gap(&mut self) {
        let offset = self.next + Offset::try_from(self.random.below(4)).unwrap();
        let value = vec![1; 20];
        self.log
            .append_as_follower(stored(offset, &value), self.ground.now())
            .unwrap();
        self.model.push(Kept {
            offset,
            value,
            group: offset,
        });
        self.next = offset + 1;
    }

    fn truncate(&mut self) {
        let back = Offset::try_from(self.random.below(12)).unwrap();
        let target = (self.next - back).max(0);
        self.log.truncate_to(target).unwrap();
        self.model.retain(|k| k.group < target);
        self.start = self.start.min(target);
        self.next = target;
    }

    fn restart(&mut self) {
        let target = Offset::try_from(self.random.below(1000)).unwrap();
        self.log.truncate_fully_and_start_at(target).unwrap();
        self.model.clear();
        (self.start, self.next) = (target, target);
    }

    fn retain(&mut self) {
        let before = self.log.size_bytes();
        self.log.delete_old_segments(self.ground.now()).unwrap();
        let start = self.log.start_offset();
        assert!(start >= self.start && start <= self.next);
        let bound = u64::try_from(self.ground.config.retention_bytes).unwrap_or(0);
        if self.log.size_bytes() < before.min(bound) {
            // Only time takes a log below its size bound.
            assert!(self.model.iter().any(|k| k.offset < start));
        }
        self.start = start;
        self.model.retain(|k| k.offset >= start);
    }

    fn reopen(&mut self) {
        self.manager = self.ground.open();
        self.log = self.ground.log(&self.manager);
        // What a truncation left empty at the end is forgotten with the process.
        let after_last = self.model.last().map_or(self.start, |k| k.offset + 1);
        let end = self.log.end().offset;
        assert!(
            end >= after_last && end <= self.next,
            "{after_last} {end} {}",
            self.next
        );
        self.next = end;
    }

    fn close(&mut self) {
        // A stand-in until the directory is opened again: only one manager may hold it.
        let elsewhere = Ground::new(self.ground.config.clone());
        self.manager = elsewhere.open();
        self.log = elsewhere.log(&self.manager);
    }

    fn stop_in_order(&mut self) {
        self.manager.shutdown().unwrap();
        self.close();
        self.damage_an_index();
        self.reopen();
    }

    fn die(&mut self) {
        let (end, flushed) = (self.log.end(), self.log.locate(self.log.recovery_point()));
        let active = self.ground.segment(end.segment);
        // Where each group that is in the active segment ends.
        let ends: Vec<(Offset, u64)> = self
            .model
            .iter()
            .filter(|k| self.log.locate(k.offset).unwrap().segment == end.segment)
            .map(|k| (k.group, self.end_of(k)))
            .collect();
        self.close();
        let file = std::fs::OpenOptions::new().write(true).open(&active).unwrap();
        let mut kept = end.position;
        match self.random.below(4) {
            // A write that was under way.
            0 => {
                let torn = stored(self.next, b"never acknowledged");
                let n = usize::try_from(self.random.below(torn.len() as u64)).unwrap();
                crate::util::fs::write_all_at(&file, &torn[..n], end.position).unwrap();
            }
            // The machine died: what was not flushed may be lost, from some byte on.
            1 => {
                let flushed = flushed
                    .filter(|f| f.segment == end.segment)
                    .map_or(0, |f| f.position);
                kept = flushed.max(end.position.saturating_sub(self.random.below(100)));
                file.set_len(kept).unwrap();
            }
            // Space that was set aside.
            2 => file.set_len(end.position + self.random.below(5000)).unwrap(),
            _ => {}
        }
        drop(file);
        self.damage_an_index();
        let lost = |k: &Kept| ends.iter().any(|(group, end)| k.group == *group && *end > kept);
        self.model.retain(|k| !lost(k));
        self.reopen();
    }

    fn end_of(&self, kept: &Kept) -> u64 {
        let after = self.model.iter().find(|k| k.offset > kept.group);
        let after = after.map(|k| self.log.locate(k.offset).unwrap());
        let end = self.log.end();
        after.filter(|a| a.segment == end.segment).unwrap_or(end).position
    }

    fn damage_an_index(&mut self) {
        let indexes: Vec<_> = std::fs::read_dir(self.ground.log_dir())
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "index"))
            .collect();
        let index = &indexes[usize::try_from(self.random.below(indexes.len() as u64)).unwrap()];
        match self.random.below(4) {
            0 => std::fs::remove_file(index).unwrap(),
            1 => std::fs::write(index, [0; 64]).unwrap(),
            _ => {}
        }
    }

    fn check(&mut self) {
        assert_eq!(self.log.start_offset(), self.start);
        assert_eq!(self.log.end().offset, self.next);
        let max = 200 + i32::try_from(self.random.below(2000)).unwrap();
        let all = read_all(&self.log, self.start, max);
        let seen = all.iter().map(|m| (m.offset, m.value.as_deref().unwrap()));
        assert!(seen.eq(self.model.iter().map(|k| (k.offset, &k.value[..]))));
        if self.next > self.start {
            let span = u64::try_from(self.next - self.start).unwrap();
            let from = self.start + Offset::try_from(self.random.below(span)).unwrap();
            let bound = self.start + Offset::try_from(self.random.below(span + 1)).unwrap();
            let got = flatten(&bytes(&self.log, from, 10_000, Some(bound)), true).unwrap();
            let first = self.model.iter().find(|k| k.group >= from);
            match first {
                Some(k) if k.group < bound => assert!(!got.is_empty()),
                _ => assert!(got.is_empty()),
            }
            assert!(got.iter().all(|m| m.offset < bound));
        }
    }
}
