//! Stories for pure cores: `tests/scenarios/<core>/*.txt`. A file is a list of scenes, each some lines
//! of script, a line `----`, and what the core does then, up to an empty line. All scenes of a file run
//! on one core. Lines that start with `#` before a scene tell what it is about.
//!
//! `REWRITE_GOLDEN=1` writes what the core does into the files; read the difference before you believe
//! it.

mod controller;
mod group;
mod partition;

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A core that can be told a story.
pub trait Core: Default {
    /// Does one line of script; what it does in turn is appended to `out`, a line each.
    fn line(&mut self, words: &[&str], out: &mut String);
}

/// Runs all stories for one core.
pub fn run<C: Core>(core: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/scenarios")
        .join(core);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no stories in {}", folder.display());
    let rewrite = std::env::var_os("REWRITE_GOLDEN").is_some_and(|v| v == "1");
    let mut different = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file)
            .expect("a readable story")
            .replace("\r\n", "\n");
        let told = tell::<C>(&text);
        if told == text {
            continue;
        }
        if rewrite {
            std::fs::write(&file, told).expect("a writable story");
        } else {
            let _ = writeln!(
                different,
                "--- {}\n{}",
                file.display(),
                first_difference(&text, &told)
            );
        }
    }
    assert!(
        different.is_empty(),
        "stories went otherwise (REWRITE_GOLDEN=1 accepts that):\n{different}"
    );
}

/// The story with what the core really does.
fn tell<C: Core>(text: &str) -> String {
    let mut core = C::default();
    let mut told = String::new();
    let mut did = String::new();
    let mut expected = false;
    for line in text.lines() {
        match line {
            "----" => {
                let _ = writeln!(told, "----");
                told.push_str(&std::mem::take(&mut did));
                expected = true;
            }
            "" => {
                told.push('\n');
                expected = false;
            }
            _ if expected => {}
            comment if comment.starts_with('#') => {
                let _ = writeln!(told, "{comment}");
            }
            script => {
                let _ = writeln!(told, "{script}");
                core.line(&script.split_whitespace().collect::<Vec<_>>(), &mut did);
            }
        }
    }
    told
}

fn first_difference(expected: &str, got: &str) -> String {
    let mut lines = expected.lines().zip(got.lines()).enumerate();
    match lines.find(|(_, (e, g))| e != g) {
        Some((n, (e, g))) => format!("line {}\nexpected: {e}\n     got: {g}\nall of it:\n{got}", n + 1),
        None => format!("one is longer; got:\n{got}"),
    }
}
