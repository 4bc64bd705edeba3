//! The promise: of a damaged log our broker keeps what Kafka 0.9.0.1 keeps, byte by byte, messages and
//! indexes, and its log ends where that one's does; or it does better by one of the rules that
//! docs/differences.md lists, of which [`judge::Rule`] says what must hold.
//!
//! Every kind of damage is done to logs left in order, to logs of a broker that was killed, and to such
//! with a recovery point, at several places. One start of each broker loads all of them.

mod input;
mod judge;
mod kinds;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kafka::cluster::TopicPartition;
use kafka::log::OffsetCheckpoint;
use kafka::log::files::{CLEAN_SHUTDOWN, RECOVERY_CHECKPOINT};
use kafka::message::Offset;

use crate::log_bytes::{genuine_dump, our_dump};
use crate::support::chance::Chance;
use crate::support::program::{Program, text};
use crate::support::{genuine, ours, reference};
use input::Files;
use judge::{Left, Rule, reason};
use kinds::{FILES, INDEX, Kind, MESSAGES, Victim};

const LIMIT: Duration = Duration::from_secs(120);

/// How a log directory was left: in order; by a kill before any checkpoint; by a kill, with everything up to
/// the middle flushed; by a kill with a checkpoint that cannot be read.
const MODES: [&str; 4] = ["clean", "killed", "flushed", "unvouched"];
/// The number of the segment that is damaged: below the recovery point of a flushed log, above it, the last.
const EARLY: usize = 1;
const LATE: usize = 4;
const LAST: usize = usize::MAX;

/// A log to be damaged.
#[derive(Clone, Copy)]
struct Case {
    mode: &'static str,
    base: &'static str,
    kind: Kind,
    place: usize,
}

impl Case {
    /// Without `.index` in it, which 0.9.0.1 takes for the suffix and removes every index below.
    fn topic(&self) -> String {
        let place = match self.place {
            EARLY => "early",
            LATE => "late",
            _ => "last",
        };
        format!("{}_{}_{}_{place}", self.mode, self.kind.0, self.base)
    }

    /// What 0.9.0.1 may fail to start with: it trusts the last index entry of a log left in order and reads
    /// on from there, whatever it finds, allocating what a size claims.
    fn may_be_refused(&self) -> bool {
        let kinds = [
            "size-zero",
            "size-negative",
            "size-huge",
            "size-below-least",
            "size-too-large",
            "size-too-small",
            "twice",
            "order-changed",
            "tail-zeroed",
            "hole",
            "index-off-by-five-bytes",
        ];
        self.mode == "clean" && self.place == LAST && kinds.contains(&self.kind.0)
    }
}

/// Each kind at each place in each mode, done to the kinds of logs in turn; with `DAMAGE_ALL` to each.
fn cases() -> Vec<Case> {
    let all = std::env::var_os("DAMAGE_ALL").is_some();
    let mut cases = Vec::new();
    let groups: [(&[Kind], &[usize], &[&'static str]); 3] = [
        (MESSAGES, &[EARLY, LATE, LAST], &["plain", "packed"]),
        (INDEX, &[EARLY, LATE, LAST], &["plain", "gaps", "packed"]),
        (FILES, &[EARLY, LATE], &["plain", "gaps", "high"]),
    ];
    for mode in MODES {
        for (kinds, places, bases) in groups {
            for (n, kind) in kinds.iter().enumerate() {
                if mode == "unvouched" && !["untouched", "flipped-value"].contains(&kind.0) {
                    continue;
                }
                for (m, place) in places.iter().enumerate() {
                    let one = bases[(n + m) % bases.len()];
                    for base in bases.iter().filter(|base| all || **base == one) {
                        let (kind, place) = (*kind, *place);
                        cases.push(Case {
                            mode,
                            base,
                            kind,
                            place,
                        });
                    }
                }
            }
        }
    }
    cases
}

/// Writes damaged logs for both; returns them by topic.
fn write_damaged(root: &Path, cases: &[Case], chance: &mut Chance) -> BTreeMap<String, Files> {
    let bases = input::bases(chance);
    let mut points = BTreeMap::<&str, BTreeMap<_, _>>::new();
    let mut all = BTreeMap::new();
    for case in cases {
        let files = &bases[case.base];
        let count = files.len() / 2;
        let mut victim = Victim {
            files: files.clone(),
            chance,
            point: &mut None,
            segment: case.place.min(count - 1),
        };
        let segments = victim.bases();
        let mut point = match case.mode {
            "clean" => Some(segments[count - 1] + 5),
            "flushed" => Some(segments[3] + 2),
            _ => None,
        };
        victim.point = &mut point;
        (case.kind.1)(&mut victim);
        let (topic, files) = (case.topic(), victim.files);
        for who in ["theirs", "ours"] {
            input::write(&root.join(who).join(case.mode).join(format!("{topic}-0")), &files);
        }
        if let Some(point) = point {
            let of_mode = points.entry(case.mode).or_default();
            of_mode.insert(TopicPartition::new(&*topic, 0), point);
        }
        all.insert(topic, files);
    }
    for (who, mode) in ["theirs", "ours"]
        .into_iter()
        .flat_map(|who| MODES.map(|mode| (who, mode)))
    {
        let dir = root.join(who).join(mode);
        std::fs::create_dir_all(&dir).unwrap();
        let file = OffsetCheckpoint::new(dir.join(RECOVERY_CHECKPOINT));
        match mode {
            "unvouched" => std::fs::write(file.path(), "0\n3\nunvouched 0 7\n").unwrap(),
            _ => file.write(&points.remove(mode).unwrap_or_default()).unwrap(),
        }
        if mode == "clean" {
            std::fs::write(dir.join(CLEAN_SHUTDOWN), "").unwrap();
        }
        if who == "theirs" {
            points.insert(mode, file.read().unwrap_or_default());
        }
    }
    all
}

fn settings(dir: &Path) -> String {
    let dirs = MODES.map(|mode| dir.join(mode).display().to_string());
    format!(
        "log.segment.bytes={}\nlog.index.interval.bytes={}\nlog.index.size.max.bytes={}\n\
         log.cleaner.enable=false\nlog.dirs={}",
        input::SEGMENT_BYTES,
        input::INDEX_INTERVAL,
        input::INDEX_BYTES,
        dirs.join(",")
    )
}

/// What a broker left of each log when it was stopped again.
fn left(mut broker: Program, dir: &Path, cases: &[Case]) -> BTreeMap<String, Left> {
    assert!(broker.stop(LIMIT).code().is_some(), "{}", broker.printed());
    let mut ends = BTreeMap::new();
    for line in broker.printed().lines() {
        let rest = line.split_once("Completed load of log ").map(|(_, rest)| rest);
        if let Some((name, end)) = rest.and_then(|r| r.split_once(" with log end offset ")) {
            let number = end.split_whitespace().next().expect("a number");
            ends.insert(name.to_owned(), number.parse::<Offset>().unwrap());
        }
    }
    let of = |case: &Case| {
        let name = format!("{}-0", case.topic());
        let left = Left {
            files: input::read(&dir.join(case.mode).join(&name)),
            end: ends.get(&name).copied(),
        };
        (case.topic(), left)
    };
    cases.iter().map(of).collect()
}

fn kept_by_ours(root: &Path, connect: &str, cases: &[Case]) -> BTreeMap<String, Left> {
    let dir = root.join("ours");
    let broker = ours::broker(root, connect, &format!("broker.id=1\n{}", settings(&dir)));
    left(broker.program, &dir, cases)
}

fn seed() -> u64 {
    let seed = std::env::var("DAMAGE_SEED").map_or_else(
        |_| kafka::util::clock::Clock::system().wall().0.cast_unsigned(),
        |seed| seed.parse().expect("a number"),
    );
    println!("DAMAGE_SEED={seed}");
    seed
}

#[test]
fn of_each_kind_of_damage_ours_keeps_what_the_genuine_broker_keeps_or_does_better_by_a_rule() {
    need!(reference());
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let mut cases = cases();
    cases.retain(|case| !case.may_be_refused());
    let damaged = write_damaged(root, &cases, &mut Chance::new(seed()));
    let zookeeper = ours::zookeeper(root);
    let connect = format!("127.0.0.1:{}", zookeeper.port);
    let ours = kept_by_ours(root, &connect, &cases);
    let dir = root.join("theirs");
    let broker = genuine::broker(root, &connect, &settings(&dir));
    let theirs = left(broker.program, &dir, &cases);

    let mut found = BTreeMap::<Rule, BTreeSet<&str>>::new();
    let mut same = 0;
    for case in &cases {
        let topic = case.topic();
        let (was, theirs, ours) = (&damaged[&topic], &theirs[&topic], &ours[&topic]);
        if theirs == ours {
            same += 1;
            continue;
        }
        let why = reason(was, theirs, ours);
        let expected = why.is_some_and(|rule| applies(rule, case));
        assert!(
            expected,
            "{topic}: {why:?}\n  it was\n{}  theirs, which ends at {:?}\n{}  ours, which ends at {:?}\n{}",
            judge::told(was),
            theirs.end,
            judge::told(&theirs.files),
            ours.end,
            judge::told(&ours.files)
        );
        found
            .entry(why.expect("just seen"))
            .or_default()
            .insert(case.kind.0);
    }
    println!("{same} of {} are the same; the others: {found:#?}", cases.len());
    assert!(same > cases.len() / 2, "most of the rules are shared");
    assert!(found.len() >= 7, "a rule that nothing shows is none: {found:?}");
    same_dump(root, &cases, &ours);
}

/// Where a rule may be the reason for a difference.
fn applies(rule: Rule, case: &Case) -> bool {
    let (mode, kind) = (case.mode, case.kind.0);
    let moved = kind.starts_with("offset-") || ["twice", "order-changed", "overlapping"].contains(&kind);
    match rule {
        Rule::OffsetsRise => mode != "clean" && moved,
        // Of a killed broker's log every index is made anew by both.
        Rule::IndexIsMadeAnew => mode != "killed",
        Rule::WrappersStayShut => case.base == "packed",
        Rule::EndIsFound => mode == "clean" && case.place == LAST,
        Rule::TornEndIsCut => {
            let torn = [
                "torn-header",
                "torn-body",
                "zeros-behind",
                "garbage-behind",
                "tail-zeroed",
            ];
            mode != "killed" && torn.contains(&kind)
        }
        Rule::NoHoleIsLeft => mode != "clean" && kind == "index-and-message-damaged",
        Rule::FlushedIsKept => mode != "killed" && kind == "index-and-message-damaged",
        Rule::SwapReplacesItsOwn => kind == "swap-half-way",
    }
}

/// Both dump tools say the same of what ours left where a log was recovered.
fn same_dump(root: &Path, cases: &[Case], ours: &BTreeMap<String, Left>) {
    let mut paths = Vec::new();
    for case in cases.iter().filter(|case| case.mode == "killed") {
        let topic = case.topic();
        let dir = root.join("ours").join(case.mode).join(format!("{topic}-0"));
        let files = ours[&topic].files.iter();
        let dumped = files.filter(|(name, bytes)| {
            (name.ends_with(".log") || name.ends_with(".index")) && !bytes.is_empty()
        });
        let last: Vec<PathBuf> = dumped.map(|(name, _)| dir.join(name)).collect();
        paths.extend(last.iter().rev().take(4).map(|path| path.display().to_string()));
    }
    let arguments = ["--print-data-log", "--files", &paths.join(",")];
    let (theirs, ours) = (genuine_dump(&arguments), our_dump(&arguments));
    let (expected, got) = (text(&theirs.stdout), text(&ours.stdout));
    for (got, expected) in got.lines().zip(expected.lines()) {
        assert_eq!(got, expected);
    }
    assert_eq!(got.len(), expected.len(), "{}", text(&theirs.stderr));
    assert!(got.lines().count() > 1000);
    // The genuine one tells of files in the order of its hash table.
    let sorted = |bytes: &[u8]| {
        let mut lines: Vec<String> = text(bytes).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&ours.stderr), sorted(&theirs.stderr));
}

/// The genuine broker ends with an error or for want of memory at some of these.
#[test]
fn what_may_keep_the_genuine_broker_from_starting_keeps_ours_from_nothing() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let mut cases = cases();
    cases.retain(Case::may_be_refused);
    let damaged = write_damaged(root, &cases, &mut Chance::new(seed()));
    let zookeeper = ours::zookeeper(root);
    let kept = kept_by_ours(root, &format!("127.0.0.1:{}", zookeeper.port), &cases);
    for case in &cases {
        let topic = case.topic();
        let (was, left) = (&damaged[&topic], &kept[&topic]);
        let name = was
            .keys()
            .rfind(|name| name.ends_with(".log"))
            .expect("it has segments");
        let base = name[..20].parse().unwrap();
        let (before, after) = (&was[name], &left.files[name]);
        let index = name.replace(".log", ".index");
        let (index_before, index) = (&was[&index], &left.files[&index]);
        if let Some(end) = judge::trusted_end(base, before, index_before) {
            let untouched = (before, index_before, Some(end)) == (after, index, left.end);
            assert!(untouched, "{topic}: what its index leads to is trusted");
            continue;
        }
        let whole = input::entries(before);
        assert!(before.starts_with(after), "{topic}");
        assert_eq!(
            input::entries(after),
            whole,
            "{topic}: every whole message is kept"
        );
        let last = whole.last().expect("its first messages are whole");
        assert_eq!(after.len(), last.end, "{topic}: and nothing else");
        assert_eq!(left.end, Some(last.offset + 1), "{topic}");
        assert!(judge::index_is_right(base, after, index), "{topic}");
    }
}
