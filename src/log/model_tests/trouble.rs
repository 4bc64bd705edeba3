//! What is arranged to go wrong, and under which settings. Chosen at random.

use std::io::ErrorKind;
use std::time::Duration;

use crate::config::LogConfig;
use crate::log::testing::Random;
use crate::message::Offset;
use crate::util::fs::testing::{Disk, Fault, Op, When};

/// What happened, so that a test in which nothing does cannot pass.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) cleanings: u64,
    pub(super) process_deaths: u64,
    pub(super) power_losses: u64,
    pub(super) failed_starts: u64,
    pub(super) full: u64,
}

/// What is arranged for a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Trouble {
    None,
    Crash,
    /// The disk fails, and is replaced by what was durable.
    Failure,
    Full,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Counts) {
        self.cleanings += other.cleanings;
        self.process_deaths += other.process_deaths;
        self.power_losses += other.power_losses;
        self.failed_starts += other.failed_starts;
        self.full += other.full;
    }

    pub(super) fn all_happened(&self) -> bool {
        let counts = [
            self.cleanings,
            self.process_deaths,
            self.power_losses,
            self.failed_starts,
            self.full,
        ];
        counts.iter().all(|n| *n > 0)
    }
}

/// One step in four has something go wrong at one of its calls.
pub(super) fn arrange(random: &mut Random, disk: &Disk) -> Trouble {
    let trouble = match random.below(24) {
        0..4 => Trouble::Crash,
        4 => Trouble::Failure,
        5 => Trouble::Full,
        _ => return Trouble::None,
    };
    let after = calls(random);
    disk.fail(match trouble {
        Trouble::Crash => When::nth(after, Fault::Crash),
        Trouble::Failure => When::nth(after, Fault::Error(ErrorKind::Other)),
        _ => {
            let op = if random.one_in(4) { Op::Create } else { Op::Write };
            let fault = match op {
                Op::Write if random.one_in(2) => Fault::Short,
                _ => Fault::Error(ErrorKind::StorageFull),
            };
            When {
                after: after / 4,
                ..When::every(op, fault)
            }
        }
    });
    trouble
}

/// How many calls go well before.
pub(super) fn calls(random: &mut Random) -> u64 {
    match random.below(3) {
        0 => random.below(60),
        _ => random.below(8),
    }
}

/// Any settings that matter here.
pub(super) fn config(random: &mut Random) -> LogConfig {
    let int = |n: u64| i32::try_from(n).expect("small numbers");
    LogConfig {
        compact: random.one_in(2),
        segment_bytes: int(700 + random.below(1500)),
        index_interval_bytes: int(random.below(200)),
        segment_index_bytes: int(8 * (2 + random.below(50))),
        segment: Duration::from_secs(50),
        flush_messages: if random.one_in(4) {
            1 + offset(random, 20)
        } else {
            Offset::MAX
        },
        retention: Some(Duration::from_secs(100)),
        retention_bytes: if random.one_in(2) { -1 } else { 3000 },
        delete_retention: Duration::from_secs(random.below(3) * 30),
        min_cleanable_dirty_ratio: random.below(3) as f64 * 0.2,
        preallocate: random.one_in(3),
        ..LogConfig::default()
    }
}

pub(super) fn below(random: &mut Random, n: u64) -> usize {
    usize::try_from(random.below(n)).expect("small numbers")
}

pub(super) fn offset(random: &mut Random, n: u64) -> Offset {
    Offset::try_from(random.below(n)).expect("small numbers")
}
