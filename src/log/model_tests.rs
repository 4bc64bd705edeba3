//! The promise: whatever befalls a log, it says what a plain list says, and what was flushed outlives the
//! machine. Random lives of a log: appends, flushes, truncations, compaction, retention, other settings,
//! deletion, stops, damaged indexes, full and failing disks, and the death of the process or of the machine at
//! any call to the system, recovery's own among them. What may be there after each is in [`expected`].
//!
//! `LOG_MODEL_STEPS` says how many steps there are, a thousand to a life, and `LOG_MODEL_SEED` the seed of the
//! first life, each other life's being one more; all are printed. Without it the lives are always the same, as
//! long as `LOG_MODEL_THREADS`, the threads that recover the log, is 1, which it is unless it is set.

mod expected;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::log::cleaner::testing::clean;
use crate::log::testing::{Ground, Random, bytes, tp};
use crate::log::{Log, LogManager, Result};
use crate::message::builder::put_entry;
use crate::message::{Codec, Offset, SetBuilder, SetIter, flatten};
use crate::util::fs::testing::{Disk, Fault, When};

use expected::{Doing, End, Expected, Kept, Seen};
use trouble::{Counts, Trouble, arrange, below, calls, config, offset};

const LIFE: u64 = 1000;
/// A log that grew beyond it is cut short next: what is compared at each step is all of it.
const LARGE: u64 = 8000;

struct Life {
    random: Random,
    ground: Ground,
    disk: Arc<Disk>,
    /// `None` between a death and the next start.
    open: Option<(LogManager, Arc<Log>)>,
    expected: Expected,
    counts: Counts,
}

#[test]
fn a_log_says_what_a_list_says_whatever_befalls_it() {
    let seed = number("LOG_MODEL_SEED").unwrap_or(1);
    let steps = number("LOG_MODEL_STEPS").unwrap_or(10_000);
    let mut all = Counts::default();
    for life in 0..steps.div_ceil(LIFE) {
        let seed = seed.wrapping_add(life);
        println!("LOG_MODEL_SEED={seed}");
        let mut life = Life::new(seed);
        for step in 0..LIFE {
            life.step(step);
        }
        all.add(&life.counts);
    }
    println!("{all:?}");
    if steps >= 10_000 {
        assert!(all.all_happened(), "{all:?}");
    }
}

/// The number that a variable of the environment says.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut random = Random(seed);
        let mut ground = Ground::new(config(&mut random));
        ground.threads = usize::try_from(number("LOG_MODEL_THREADS").unwrap_or(1)).unwrap();
        ground.cleaner.io_buffer_bytes = below(&mut random, 800) + 2;
        ground.cleaner.max_message_bytes = below(&mut random, 300);
        if random.one_in(2) {
            // A table of so few keys that a segment may not fit.
            ground.cleaner.dedupe_buffer_bytes = 1 << 20;
            ground.cleaner.load_factor = (1.5 + random.below(12) as f64) / 43_690.0;
        }
        let disk = Disk::over(ground.root.path());
        let manager = ground.open();
        let log = ground.log(&manager);
        Life {
            random,
            ground,
            disk,
            open: Some((manager, log)),
            expected: Expected::default(),
            counts: Counts::default(),
        }
    }

    fn log(&self) -> &Arc<Log> {
        &self.open.as_ref().expect("it is open between steps").1
    }

    fn manager(&self) -> &LogManager {
        &self.open.as_ref().expect("it is open between steps").0
    }

    fn step(&mut self, number: u64) {
        let trouble = arrange(&mut self.random, &self.disk);
        let large = self.log().size_bytes() > LARGE;
        let choice = self.random.below(100);
        let (doing, result) = match choice {
            _ if large && choice < 50 => self.truncate(30),
            _ if large => self.start_anew(),
            0..45 => self.append(),
            45..51 => self.copy_with_gaps(),
            51..57 => self.truncate(1),
            57..58 => self.start_anew(),
            58..72 => self.clean(),
            72..76 => self.retain(),
            76..82 => (Doing::Nothing, self.log().flush()),
            82..85 => (Doing::Nothing, self.manager().checkpoint_recovery_points()),
            85..88 => {
                self.manager().run_chores();
                (Doing::Nothing, Ok(()))
            }
            88..92 => {
                let seconds = self.random.below(60);
                self.ground.clock.advance(Duration::from_secs(seconds));
                (Doing::Nothing, Ok(()))
            }
            92..95 => {
                let config = config(&mut self.random);
                self.ground.config = config.clone();
                self.manager().set_topic_config("t", config);
                (Doing::Nothing, Ok(()))
            }
            95..96 => self.delete(),
            96..98 => self.stop(),
            _ => (Doing::Nothing, Ok(())),
        };
        println!(
            "{number} {choice} {doing:?} {trouble:?} {:?}",
            result.as_ref().err()
        );
        let dies = choice >= 98;
        let offline = self.log().check_directory().is_err();
        if self.disk.crashed() || offline || dies {
            let power = trouble == Trouble::Failure || self.random.one_in(2);
            self.die(&doing, power);
            return;
        }
        self.disk.mend();
        let whole = result.is_ok() && !(trouble == Trouble::Full && doing.is_silent());
        if !whole && let Doing::Append(new) = &doing {
            self.expected.refused(new);
        }
        let flushes = self.log().config().flush_messages < Offset::MAX;
        let (end, doing) = match (whole, &doing) {
            (true, _) => (End::Done, &doing),
            // Refused, so that nothing has changed; unless it is the flush that failed.
            (false, Doing::Append(_)) if !flushes => (End::Done, &Doing::Nothing),
            (false, _) => (End::Cut, &doing),
        };
        self.counts.full += u64::from(!whole);
        if matches!(doing, Doing::Stopped | Doing::Deleted) {
            // Done or not, this manager has given the log up.
            match (whole, doing) {
                (false, _) => return self.die(doing, false),
                (true, Doing::Stopped) => self.expected.all_is_durable(),
                (true, _) => self.expected.begin_anew(),
            }
            let power = self.random.one_in(2);
            return self.die(&Doing::Nothing, power);
        }
        let seen = self.seen();
        self.expected.check(doing, end, &seen);
        self.expected.become_(doing, seen);
        self.expected.flushed(self.log().recovery_point());
        self.read_some();
    }

    fn append(&mut self) -> (Doing, Result<()>) {
        let codec = Codec::from_attributes(i8::try_from(self.random.below(4)).unwrap()).unwrap();
        let first = self.log().end().offset;
        let mut builder = SetBuilder::new(codec, usize::MAX);
        let mut new = Vec::new();
        for offset in first..=first + offset(&mut self.random, 5) {
            let (key, value) = self.message();
            assert!(builder.append(
                key.as_deref().map(str::as_bytes),
                value.as_deref().map(str::as_bytes)
            ));
            new.push(Kept {
                offset,
                key,
                value,
                group: offset,
            });
        }
        if codec != Codec::None {
            let last = new.last().expect("one at least").offset;
            new.iter_mut().for_each(|k| k.group = last);
        }
        let set = BytesMut::from(&builder.finish()[..]);
        let result = self.log().append_as_leader(set, self.ground.now());
        if let Ok(appended) = &result {
            assert_eq!((appended.first, appended.messages), (first, new.len() as u64));
        }
        (Doing::Append(new), result.map(|_| ()))
    }

    /// As a follower does of a leader whose log was compacted.
    fn copy_with_gaps(&mut self) -> (Doing, Result<()>) {
        let (mut set, mut new) = (BytesMut::new(), Vec::new());
        let mut next = self.log().end().offset;
        for _ in 0..=self.random.below(3) {
            let (key, value) = self.message();
            let offset = next + offset(&mut self.random, 4);
            put_entry(
                &mut set,
                offset,
                0,
                key.as_deref().map(str::as_bytes),
                value.as_deref().map(str::as_bytes),
            );
            new.push(Kept {
                offset,
                key,
                value,
                group: offset,
            });
            next = offset + 1;
        }
        let result = self.log().append_as_follower(set.freeze(), self.ground.now());
        (Doing::Append(new), result.map(|_| ()))
    }

    fn message(&mut self) -> (Option<String>, Option<String>) {
        let keyless = !self.log().config().compact && self.random.one_in(3);
        let key = (!keyless).then(|| format!("k{}", self.random.below(12)));
        let value = (!self.random.one_in(5)).then(|| {
            let times = below(&mut self.random, 4);
            format!("{:x}", self.random.next() >> 40).repeat(times)
        });
        (key, value)
    }

    fn truncate(&mut self, more: u64) -> (Doing, Result<()>) {
        let target = (self.log().end().offset - offset(&mut self.random, 12 * more)).max(0);
        let starts_behind = self.log().start_offset() > target;
        let doing = match starts_behind {
            true => Doing::StartAt(target),
            false => Doing::Truncate(target),
        };
        (doing, self.log().truncate_to(target))
    }

    fn start_anew(&mut self) -> (Doing, Result<()>) {
        let target = offset(&mut self.random, 1000);
        let result = self.log().truncate_fully_and_start_at(target);
        (Doing::StartAt(target), result)
    }

    fn clean(&mut self) -> (Doing, Result<()>) {
        self.agree();
        let cleanable = self.log().cleanable().last().map_or(0, |(_, next)| *next);
        let end = self.log().end();
        self.counts.cleanings += u64::from(clean(self.manager()));
        assert_eq!(self.log().end(), end);
        let compact = self.log().config().compact;
        let point = self.log().cleaner_point().unwrap_or(0).min(cleanable);
        let clean_below = if compact { point } else { 0 };
        (
            Doing::Clean {
                cleanable,
                clean_below,
            },
            Ok(()),
        )
    }

    fn retain(&mut self) -> (Doing, Result<()>) {
        self.agree();
        let result = self.log().delete_old_segments(self.ground.now());
        (Doing::Retain, result.map(|_| ()))
    }

    /// Replicas have agreed up to somewhere.
    fn agree(&mut self) {
        let back = offset(&mut self.random, 40);
        let all = back < 30;
        let up_to = self.log().end().offset - back;
        self.log()
            .set_high_watermark(if all { Offset::MAX } else { up_to.max(0) });
    }

    fn delete(&mut self) -> (Doing, Result<()>) {
        (Doing::Deleted, self.manager().delete(&tp()))
    }

    fn stop(&mut self) -> (Doing, Result<()>) {
        (Doing::Stopped, self.manager().shutdown())
    }

    /// The process or the machine dies; the log is opened again, with what that takes.
    fn die(&mut self, doing: &Doing, mut power: bool) {
        for attempt in 0.. {
            self.open = None;
            match power {
                true => {
                    self.counts.power_losses += 1;
                    let random = &mut self.random;
                    self.disk.lose_power(&mut |n| random.below(n));
                }
                false => {
                    self.counts.process_deaths += 1;
                    self.disk.restart();
                    self.damage_an_index();
                }
            }
            if attempt < 2 && self.random.one_in(4) {
                let after = calls(&mut self.random);
                self.disk.fail(When::nth(after, Fault::Crash));
            }
            let opened = self.ground.try_open().and_then(|manager| {
                let log = manager.get_or_create(&tp(), self.ground.config.clone())?;
                Ok((manager, log))
            });
            if !self.disk.crashed() {
                self.disk.mend();
                self.open = Some(opened.unwrap());
                break;
            }
            drop(opened);
            self.counts.failed_starts += 1;
            power |= self.random.one_in(2);
        }
        println!("    power {power}: {:?}", self.ground.files());
        let seen = self.seen();
        let end = if power { End::PowerLoss } else { End::Cut };
        self.expected.check(doing, end, &seen);
        self.expected.died(doing, power, seen);
    }

    fn damage_an_index(&mut self) {
        let Ok(entries) = std::fs::read_dir(self.ground.log_dir()) else {
            return;
        };
        let mut indexes: Vec<_> = entries
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "index"))
            .collect();
        indexes.sort();
        if indexes.is_empty() {
            return;
        }
        let index = &indexes[below(&mut self.random, indexes.len() as u64)];
        match self.random.below(8) {
            0 => std::fs::remove_file(index).unwrap(),
            1 => std::fs::write(index, [0; 64]).unwrap(),
            2 => std::fs::write(index, b"garbage").unwrap(),
            _ => {}
        }
    }

    fn seen(&mut self) -> Seen {
        let max = 700 + i32::try_from(self.random.below(8000)).unwrap();
        let log = self.log();
        let (start, end) = (log.start_offset(), log.end().offset);
        let (mut kept, mut next) = (Vec::new(), start);
        loop {
            let part = bytes(log, next, max, None);
            let groups: Vec<Offset> = SetIter::new(&part).map(|m| m.unwrap().offset).collect();
            let Some(last) = groups.last() else { break };
            let text = |b: Bytes| String::from_utf8(b.to_vec()).unwrap();
            for m in flatten(&part, true).unwrap() {
                if m.offset >= next {
                    kept.push(Kept {
                        offset: m.offset,
                        group: groups[groups.partition_point(|g| *g < m.offset)],
                        key: m.key.map(text),
                        value: m.value.map(text),
                    });
                }
            }
            next = last + 1;
        }
        Seen { start, end, kept }
    }

    /// A read from anywhere up to anywhere begins where it should and hands out nothing beyond.
    fn read_some(&mut self) {
        let (start, end) = (self.expected.start, self.expected.end);
        if start == end {
            return;
        }
        let span = u64::try_from(end - start).unwrap();
        let from = start + offset(&mut self.random, span);
        let bound = start + offset(&mut self.random, span + 1);
        let got = flatten(&bytes(self.log(), from, 1000, Some(bound)), true).unwrap();
        let first = self.expected.kept.iter().find(|k| k.group >= from);
        assert_eq!(
            first.is_some_and(|k| k.group < bound),
            !got.is_empty(),
            "{from} {bound}"
        );
        assert!(got.iter().all(|m| m.offset < bound));
    }
}
