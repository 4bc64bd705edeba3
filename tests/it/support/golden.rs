//! Recordings of what a genuine tool printed for one command line after the other. A case is a line
//! `$ ARGUMENTS => EXIT CODE`, what went to standard output, and behind `E|` what went to standard error.
//! In arguments `|` stands for a blank within a word.

use std::process::Output;

use super::program::text;

/// One command line and what it led to.
pub struct Case {
    /// As recorded.
    pub arguments: String,
    /// What the tool exited with.
    pub code: i32,
    /// Both outputs.
    pub printed: String,
}

impl Case {
    /// The arguments as words.
    pub fn words(&self) -> Vec<String> {
        words(&self.arguments)
    }
}

/// Splits arguments into words.
pub fn words(arguments: &str) -> Vec<String> {
    let words = arguments.split(' ').filter(|word| !word.is_empty());
    words.map(|word| word.replace('|', " ")).collect()
}

/// The cases of a recording.
pub fn cases(recording: &str) -> Vec<Case> {
    let case = |part: &str| {
        let (line, printed) = part.split_once('\n').expect("a case has lines");
        let (arguments, code) = line.rsplit_once(" => ").expect("a case has an exit code");
        Case {
            arguments: arguments.to_owned(),
            code: code.parse().expect("an exit code is a number"),
            printed: printed.to_owned(),
        }
    };
    recording.split("$ ").skip(1).map(case).collect()
}

/// Both outputs as a recording has them, without the lines that are `noise`.
pub fn printed(output: &Output, noise: impl Fn(&str) -> bool) -> String {
    let mut all = String::new();
    for line in text(&output.stdout).lines().filter(|line| !noise(line)) {
        all += &format!("{line}\n");
    }
    for line in text(&output.stderr).lines().filter(|line| !noise(line)) {
        all += &format!("E|{line}\n");
    }
    all
}

/// A line of a log, or the frame of a stack trace.
pub fn is_logged(line: &str) -> bool {
    line.starts_with("[20") || line.trim_start().starts_with("at ") || line.starts_with(" (kafka.")
}
