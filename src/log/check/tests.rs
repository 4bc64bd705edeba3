//! The promise: what is predicted is what the next start does, and looking changes nothing.

use super::*;
use crate::config::LogConfig;
use crate::log::testing::{Ground, Random, set, single, small, stored, tp};
use crate::message::Codec;

/// All files below a directory, with their bytes.
type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files(dir: &Path) -> Files {
    let mut found = Files::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false => drop(found.insert(path.clone(), std::fs::read(path).unwrap())),
            }
        }
    }
    found
}

/// A log with the values 0..9, two to a segment, whose every message has an index entry.
fn ground(is_clean: bool) -> Ground {
    let ground = Ground::new(LogConfig {
        index_interval_bytes: 0,
        file_delete_delay: std::time::Duration::MAX,
        ..small(70)
    });
    let manager = ground.open();
    let log = ground.log(&manager);
    for i in 0..9 {
        log.append_as_leader(single(format!("{i}").as_bytes()), ground.now())
            .unwrap();
    }
    if is_clean {
        manager.shutdown().unwrap();
    }
    ground
}

/// Looks, without changing anything.
#[track_caller]
fn looked(ground: &Ground) -> Report {
    let before = files(ground.root.path());
    let report = check(&ground.dirs[0]);
    assert!(before == files(ground.root.path()), "looking changes nothing");
    report
}

/// The `.log` files that there are to be, by the findings.
fn predicted(ground: &Ground, report: &Report) -> Files {
    let mut logs = files(&ground.log_dir());
    for finding in &report.findings {
        match finding.fate {
            Fate::Cut => {
                let at = usize::try_from(finding.position.unwrap()).unwrap();
                logs.get_mut(&finding.path).unwrap().truncate(at);
            }
            Fate::Removed => {
                logs.remove(&finding.path).expect("what is to go is there");
            }
            Fate::Corrected if finding.path == ground.log_dir() => {
                logs.insert(ground.segment(0), Vec::new());
            }
            _ => {}
        }
    }
    for finding in report.findings.iter().filter(|f| f.fate == Fate::Renamed) {
        let bytes = logs.remove(&finding.path).unwrap();
        logs.insert(finding.path.with_extension(""), bytes);
    }
    logs.retain(|path, _| path.extension().is_none_or(|e| e != "index"));
    logs
}

/// What is predicted is what a start does: the files of messages, the log's end, and which indexes are
/// made anew. Returns the findings.
#[track_caller]
fn comes_true(ground: &Ground) -> Vec<Finding> {
    let report = looked(ground);
    let expected = predicted(ground, &report);
    let before = files(&ground.log_dir());
    let manager = ground.open();
    let log = manager.get(&tp()).expect("it was there");
    let extent = Extent {
        start: log.start_offset(),
        end: log.end().offset,
    };
    assert_eq!(report.logs.get(&tp()), Some(&extent), "{:?}", report.findings);
    let mut after = files(&ground.log_dir());
    let indexes: Files = after
        .extract_if(.., |path, _| path.extension().is_some_and(|e| e == "index"))
        .collect();
    assert!(
        after == expected,
        "{:?}\nexpected {:?}\n found {:?}",
        report.findings,
        sizes(&expected),
        sizes(&after)
    );
    let is_read = report.findings.iter().any(|f| f.fate == Fate::Read);
    for (path, bytes) in indexes.iter().filter(|_| !is_read) {
        let remade = before.get(path) != Some(bytes);
        let told = |f: &&Finding| f.path == *path && f.fate == Fate::Rebuilt;
        let swapped = report
            .findings
            .iter()
            .any(|f| f.fate == Fate::Renamed || f.path == ground.log_dir());
        assert!(
            swapped || !remade || report.findings.iter().any(|f| told(&f)),
            "{} was made anew",
            path.display()
        );
    }
    // What was repaired is not found again.
    manager.shutdown().unwrap();
    let again = looked(ground);
    assert!(
        again.findings.iter().all(|f| !f.fate.is_repair()),
        "{:?}",
        again.findings
    );
    report.findings
}

fn sizes(files: &Files) -> Vec<(String, usize)> {
    let name = |p: &Path| p.file_name().unwrap().to_string_lossy().into_owned();
    files
        .iter()
        .map(|(path, bytes)| (name(path), bytes.len()))
        .collect()
}

fn fates(findings: &[Finding]) -> Vec<Fate> {
    findings.iter().map(|f| f.fate).collect()
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap_or_default();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn nothing_is_found_after_an_orderly_stop() {
    let ground = ground(true);
    assert_eq!(comes_true(&ground), []);
    let report = looked(&ground);
    assert_eq!((report.segments, report.logs.len()), (5, 1));
}

#[test]
fn without_the_mark_of_an_orderly_stop_segments_from_the_recovery_point_on_are_read() {
    let ground = ground(false);
    let findings = comes_true(&ground);
    assert_eq!(fates(&findings), [Fate::Read]);
    assert!(
        findings[0]
            .to_string()
            .ends_with("5 segments with 243 bytes are read, and their indexes made anew")
    );
    std::fs::remove_file(ground.dirs[0].join(files::CLEAN_SHUTDOWN)).unwrap();
    let report = looked(&ground);
    assert_eq!(report.findings.len(), 1);
    assert!(
        report.findings[0].then.starts_with("1 segments with 27 bytes"),
        "{}",
        report.findings[0]
    );
}

#[test]
fn a_line_names_fate_file_place_rule_and_what_happens() {
    let ground = ground(false);
    change(&ground.segment(8), |bytes| bytes.extend([0; 40]));
    let path = ground.segment(8).display().to_string();
    assert_eq!(
        looked(&ground).findings[0].to_string(),
        format!(
            "cut {path}: byte 27, offset 9, {}: the log ends here, 40 bytes are cut off",
            "the last message is not there whole"
        )
    );
}

/// One kind of damage, to a log of which segment 4 is in the middle and segment 8 the last.
type Damage = (&'static str, fn(&Ground));

const DAMAGE: &[Damage] = &[
    ("torn tail", |g| {
        change(&g.segment(8), |b| b.extend(&stored(9, b"x")[..13]))
    }),
    ("zeros behind", |g| change(&g.segment(8), |b| b.extend([0; 100]))),
    ("no size behind", |g| {
        change(&g.segment(8), |b| b.extend([7; 100]))
    }),
    ("flipped in the middle", |g| change(&g.segment(4), |b| b[26] ^= 1)),
    ("flipped at the end", |g| change(&g.segment(8), |b| b[26] ^= 1)),
    ("size flipped", |g| change(&g.segment(4), |b| b[37] ^= 64)),
    ("offset far too high", |g| change(&g.segment(4), |b| b[30] ^= 64)),
    ("cut short", |g| change(&g.segment(4), |b| b.truncate(40))),
    ("offset too low", |g| change(&g.segment(4), |b| b[7] = 1)),
    ("offset too high", |g| change(&g.segment(4), |b| b[34] = 99)),
    ("emptied", |g| change(&g.segment(4), Vec::clear)),
    ("last emptied", |g| change(&g.segment(8), Vec::clear)),
    ("log gone", |g| std::fs::remove_file(g.segment(4)).unwrap()),
    ("index gone", |g| std::fs::remove_file(g.index(4)).unwrap()),
    ("last index gone", |g| std::fs::remove_file(g.index(8)).unwrap()),
    ("index padded", |g| change(&g.index(4), |b| b.extend([0; 64]))),
    ("index torn", |g| change(&g.index(4), |b| b.truncate(5))),
    ("last index leads astray", |g| {
        change(&g.index(8), |b| *b = vec![0, 0, 0, 1, 0, 0, 0, 5])
    }),
    ("index beyond the file", |g| {
        change(&g.index(4), |b| *b = vec![0, 0, 0, 1, 0, 1, 0, 0])
    }),
    ("index emptied", |g| change(&g.index(4), Vec::clear)),
    ("leftovers", |g| {
        for name in [
            "00000000000000000000.log.deleted",
            "00000000000000000003.index.deleted",
            "00000000000000000004.log.cleaned",
            "00000000000000000004.index.cleaned",
            "00000000000000000004.index.swap",
            "00000000000000000005.index",
            "00000000000000000006.log.gone-7",
        ] {
            std::fs::write(g.log_dir().join(name), b"x").unwrap();
        }
    }),
    ("swap of one", |g| {
        std::fs::write(g.log_dir().join("00000000000000000004.log.swap"), stored(5, b"5")).unwrap();
    }),
    ("swap of three", |g| {
        let kept = [stored(2, b"2"), stored(7, b"7")].concat();
        std::fs::write(g.log_dir().join("00000000000000000002.log.swap"), kept).unwrap();
    }),
    ("swap of the damaged", |g| {
        let mut kept = [stored(2, b"2"), stored(5, b"5")].concat();
        kept[26] ^= 1;
        std::fs::write(g.log_dir().join("00000000000000000002.log.swap"), kept).unwrap();
    }),
    ("nothing left", |g| {
        std::fs::remove_dir_all(g.log_dir()).unwrap();
        std::fs::create_dir(g.log_dir()).unwrap();
    }),
    ("recovery point too high", |g| {
        std::fs::write(g.dirs[0].join(files::RECOVERY_CHECKPOINT), "0\n1\nt 0 99\n").unwrap();
    }),
    ("recovery point in the middle", |g| {
        std::fs::write(g.dirs[0].join(files::RECOVERY_CHECKPOINT), "0\n1\nt 0 5\n").unwrap();
    }),
    ("zeros behind a flushed segment", |g| {
        change(&g.segment(2), |b| b.extend([0; 100]));
        std::fs::write(g.dirs[0].join(files::RECOVERY_CHECKPOINT), "0\n1\nt 0 5\n").unwrap();
    }),
    ("zeros in a flushed segment where its index leads", |g| {
        change(&g.segment(2), |b| {
            let whole = b.len();
            b[whole / 2..].fill(0);
            b.extend([0; 100]);
        });
        std::fs::write(g.dirs[0].join(files::RECOVERY_CHECKPOINT), "0\n1\nt 0 5\n").unwrap();
    }),
    ("an empty segment that the one before overlaps", |g| {
        change(&g.segment(4), |b| b[34] = 6);
        change(&g.segment(6), Vec::clear);
    }),
    ("recovery points damaged", |g| {
        std::fs::write(g.dirs[0].join(files::RECOVERY_CHECKPOINT), "0\n7\nt 0 5\n").unwrap();
    }),
    ("cleaned beyond the end", |g| {
        std::fs::write(g.dirs[0].join(files::CLEANER_CHECKPOINT), "0\n1\nt 0 99\n").unwrap();
    }),
];

#[test]
fn what_is_predicted_of_each_kind_of_damage_is_what_a_start_does() {
    for is_clean in [true, false] {
        for (name, damage) in DAMAGE {
            let ground = ground(is_clean);
            damage(&ground);
            println!("{name}, clean {is_clean}");
            let findings = comes_true(&ground);
            for finding in &findings {
                println!("  {finding}");
            }
        }
    }
}

#[test]
fn what_is_predicted_of_random_damage_is_what_a_start_does() {
    for seed in 0..60 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let ground = ground(random.one_in(2));
        for _ in 0..=random.below(3) {
            let (name, damage) = DAMAGE[usize::try_from(random.below(DAMAGE.len() as u64)).unwrap()];
            let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| damage(&ground)));
            println!("  {name}{}", if left.is_ok() { "" } else { ", not any more" });
        }
        comes_true(&ground);
    }
}

#[test]
fn an_index_that_leads_elsewhere_and_a_damaged_message_that_was_flushed_stay() {
    let ground = ground(true);
    change(&ground.index(2), |b| *b = vec![0, 0, 0, 1, 0, 0, 0, 5]);
    change(&ground.segment(4), |b| b[26] ^= 1);
    let findings = comes_true(&ground);
    assert_eq!(fates(&findings), [Fate::Stays, Fate::Stays]);
    assert_eq!((findings[0].position, findings[0].offset), (Some(5), Some(3)));
    assert_eq!((findings[1].position, findings[1].offset), (Some(0), Some(4)));
}

/// Entries of wrappers name a message inside or the first that may be.
#[test]
fn the_index_of_compressed_messages_is_right() {
    let ground = Ground::new(LogConfig {
        index_interval_bytes: 0,
        ..LogConfig::default()
    });
    let manager = ground.open();
    let log = ground.log(&manager);
    for _ in 0..7 {
        log.append_as_leader(set(Codec::Gzip, &[b"a", b"b", b"c"]), ground.now())
            .unwrap();
    }
    manager.shutdown().unwrap();
    assert_eq!(comes_true(&ground), []);
}

#[test]
fn what_keeps_a_broker_from_starting_is_refused() {
    let ground = ground(true);
    std::fs::create_dir(ground.dirs[0].join("backup")).unwrap();
    std::fs::create_dir(ground.dirs[0].join("lost+found")).unwrap();
    let report = looked(&ground);
    assert_eq!(fates(&report.findings), [Fate::Refused]);
    assert!(ground.try_open().is_err());
    let nowhere = check(&ground.dirs[0].join("nowhere"));
    assert_eq!(fates(&nowhere.findings), [Fate::Refused]);
}

#[test]
fn damaged_high_watermarks_count_as_none() {
    let ground = ground(true);
    let marks = ground.dirs[0].join(files::HIGH_WATERMARK_CHECKPOINT);
    std::fs::write(marks, "0\n1\nt 0 x\n").unwrap();
    let report = looked(&ground);
    assert_eq!(fates(&report.findings), [Fate::Corrected]);
    let rule = "Malformed line in offset checkpoint file: 't 0 x'. It is line 3";
    assert_eq!(report.findings[0].rule, rule);
}

#[test]
fn entries_of_logs_that_are_gone_or_ended_before_are_corrected() {
    let ground = ground(true);
    let marks = ground.dirs[0].join(files::HIGH_WATERMARK_CHECKPOINT);
    std::fs::write(marks, "0\n2\nt 0 12\nu 0 3\n").unwrap();
    let report = looked(&ground);
    assert_eq!(fates(&report.findings), [Fate::Corrected, Fate::Corrected]);
    assert_eq!(report.findings[0].rule, "[t,0] has 12, above the log's end 9");
}
