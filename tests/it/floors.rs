//! The house stands: a module imports lower floors only, crates stay behind their walls, clocks are read
//! in one file, and nothing is left for later.

use std::fs;
use std::path::{Path, PathBuf};

use super::support::root;

/// The floors, lowest first. ARCHITECTURE.md draws them.
const FLOORS: &[&[&str]] = &[
    &["util"],
    &["cluster", "message", "protocol", "security", "metrics", "jute"],
    &["config"],
    &["log", "network", "zookeeper", "keeper"],
    // The old consumer is a client of ZooKeeper as much as of the brokers.
    &["client"],
    &["replica", "admin"],
    &["controller", "coordinator"],
    &["server"],
    &["dev"],
    &["tools"],
];

/// All that `keeper` may import: it could leave as a crate of its own.
const KEEPER: &[&str] = &["util", "metrics", "config", "jute"];

fn floor(module: &str) -> usize {
    FLOORS
        .iter()
        .position(|floor| floor.contains(&module))
        .unwrap_or_else(|| {
            panic!("module {module} stands on no floor: add it to FLOORS and to ARCHITECTURE.md")
        })
}

fn files(dir: &Path, suffixes: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, suffixes, found);
        } else if suffixes.iter().any(|s| path.to_string_lossy().ends_with(s)) {
            found.push(path);
        }
    }
}

/// The product's source files with their code: no comments, no unit tests, with line numbers.
fn sources() -> Vec<(String, Vec<(usize, String)>)> {
    let src = root().join("src");
    let mut found = Vec::new();
    files(&src, &[".rs"], &mut found);
    found
        .iter()
        .map(|path| {
            let name = path
                .strip_prefix(&src)
                .unwrap()
                .to_string_lossy()
                .replace('\\', "/");
            (name, path)
        })
        .filter(|(name, _)| {
            let of_tests = ["tests.rs", "testing.rs"].iter().any(|end| name.ends_with(end));
            !of_tests && !name.contains("/tests/") && !name.contains("/testing/")
        })
        .map(|(name, path)| {
            let text = fs::read_to_string(path).unwrap();
            let product = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or("");
            let code = product
                .lines()
                .enumerate()
                .map(|(n, line)| (n + 1, line.split(" // ").next().unwrap_or("").to_string()))
                .filter(|(_, line)| !line.trim_start().starts_with("//"))
                .collect();
            (name, code)
        })
        .collect()
}

/// Lines of product code that match, as `file:line: text`.
fn lines_with(found: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut all = Vec::new();
    for (name, code) in sources() {
        for (n, line) in code {
            if found(&name, &line) {
                all.push(format!("src/{name}:{n}: {}", line.trim()));
            }
        }
    }
    all
}

fn none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

/// The module that a source file belongs to; `lib.rs` and `main.rs` belong to none.
fn module(name: &str) -> Option<&str> {
    name.split_once('/').map(|(module, _)| module)
}

/// The modules that a line names by `crate::`, also in `crate::{a, b}`.
fn imports(line: &str) -> Vec<String> {
    let word = |text: &str| {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    line.split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(list) => list
                .split('}')
                .next()
                .unwrap_or("")
                .split(',')
                .map(|w| word(w.trim()))
                .collect(),
            None => vec![word(rest)],
        })
        .filter(|w| !w.is_empty())
        .collect()
}

#[test]
fn a_module_imports_lower_floors_only() {
    let found = lines_with(|name, line| {
        let Some(own) = module(name) else { return false };
        imports(line).iter().any(|other| {
            let macro_or_item = FLOORS.iter().all(|floor| !floor.contains(&other.as_str()));
            other != own && !macro_or_item && floor(other) >= floor(own)
        })
    });
    none(&found, "a module imports lower floors only");
}

#[test]
fn every_module_stands_on_a_floor() {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for line in text.lines() {
        if let Some(module) = line
            .strip_prefix("pub mod ")
            .or_else(|| line.strip_prefix("mod "))
        {
            floor(module.trim_end_matches(';'));
        }
    }
}

#[test]
fn the_keeper_could_leave() {
    let found = lines_with(|name, line| {
        module(name) == Some("keeper")
            && imports(line)
                .iter()
                .any(|other| other != "keeper" && !KEEPER.contains(&other.as_str()))
    });
    none(&found, "keeper imports util, metrics, config and jute only");
}

#[test]
fn crates_stay_behind_their_walls() {
    let names = |line: &str, name: &str| {
        line.contains(&format!("{name}::")) || line.contains(&format!("use {name};"))
    };
    let found = lines_with(|name, line| names(line, "clap") && module(name).is_some_and(|m| m != "tools"));
    none(&found, "only tools may use clap");
    let found = lines_with(|_, line| {
        ["kafka_protocol", "zookeeper_client"]
            .iter()
            .any(|peer| names(&line.replace(&format!("crate::{peer}"), ""), peer))
    });
    none(&found, "peers of the tests are no part of the product");
}

#[test]
fn clocks_are_read_in_one_file() {
    let reads = [
        "Instant::now(",
        "SystemTime::now(",
        "Timestamp::now(",
        "Zoned::now(",
    ];
    let found = lines_with(|name, line| name != "util/clock.rs" && reads.iter().any(|r| line.contains(r)));
    none(&found, "only util/clock.rs reads the clock");
    // util may also pause between attempts at what Windows refuses while someone looks at a file.
    let sleeps = ["thread::sleep(", "time::sleep(", "time::sleep_until("];
    let found =
        lines_with(|name, line| module(name) != Some("util") && sleeps.iter().any(|s| line.contains(s)));
    none(&found, "only util sleeps");
}

#[test]
fn nothing_panics_for_convenience() {
    let found = lines_with(|_, line| line.contains(".unwrap()"));
    none(
        &found,
        "outside tests, errors are handled, or expected with a reason",
    );
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let words = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["XX", "X"].concat(),
        ["to", "do!"].concat(),
        ["unimple", "mented!"].concat(),
        ["place", "holder"].concat(),
        ["for ", "now,"].concat(),
    ];
    let mut all = Vec::new();
    for dir in ["src", "tests/it", "bin", "config", "docs"] {
        if root().join(dir).is_dir() {
            files(
                &root().join(dir),
                &[".rs", ".sh", ".bat", ".properties", ".md"],
                &mut all,
            );
        }
    }
    let mut found = Vec::new();
    for path in all {
        let text = fs::read_to_string(&path).unwrap();
        for (n, line) in text.lines().enumerate() {
            if words.iter().any(|w| line.contains(w.as_str())) {
                found.push(format!("{}:{}: {}", path.display(), n + 1, line.trim()));
            }
        }
    }
    none(&found, "nothing is left for later");
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut all = Vec::new();
    files(&root().join("src"), &[".rs"], &mut all);
    let found: Vec<String> = all
        .iter()
        .filter(|path| !path.to_string_lossy().ends_with("tests.rs"))
        .filter(|path| !fs::read_to_string(path).unwrap().starts_with("//!"))
        .map(|path| path.display().to_string())
        .collect();
    none(&found, "a file opens with what it is for");
}
