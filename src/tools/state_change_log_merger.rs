//! kafka.tools.StateChangeLogMerger: merges state change logs, of several brokers or days, into one history by
//! the dates in their lines. Holds one line of each file at a time.
//!
//! A line takes part if it has a date and, behind it or before, a `[topic,partition]`. Lines of the same
//! time come in the order in which Scala's heap gives them, as they do from the genuine tool.

mod dates;
mod heap;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use regex::bytes::Regex;

use super::Tool;
use super::options::{self, OptionParser, OptionSet};
use dates::{DATE, Moment};
use heap::Heap;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-merge-state-change-logs",
    class: "kafka.tools.StateChangeLogMerger",
    run,
};

const PURPOSE: &str = "A tool for merging the log files from several brokers to reconnstruct a unified history of what happened.";
/// The first of these in a line says whom it is about.
const PARTITION: &str = r"\[([a-zA-Z0-9._-]+),( )*([0-9]+)\]";

/// What ends the program; where the genuine one dies of an exception, that is named.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Options(#[from] options::Error),
    #[error("The list of partitions contains repeated entries: {0}")]
    Repeated(String),
    #[error("Exception in thread \"main\" java.lang.NumberFormatException: For input string: \"{0}\"")]
    NoNumber(String),
    #[error("Exception in thread \"main\" java.text.ParseException: Unparseable date: \"{0}\"")]
    NoDate(String),
    #[error("Exception in thread \"main\" java.util.regex.PatternSyntaxException: {0}")]
    NoRegex(regex::Error),
    #[error("cannot read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write to standard output: {0}")]
    Write(#[source] io::Error),
}

type Result<T> = std::result::Result<T, Error>;

fn run(args: &[String]) -> ExitCode {
    let result = Merge::parse(args).and_then(|merge| {
        let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
        merge.run(&mut out)?;
        out.flush().map_err(Error::Write)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Options(e)) => e.report(),
        Err(Error::Write(e)) if super::is_closed_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn parser() -> OptionParser {
    let mut p = OptionParser::new();
    p.accepts(
        "logs",
        "Comma separated list of state change logs or a regex for the log file names",
    )
    .with_required_arg()
    .described_as("file1,file2,...");
    p.accepts(
        "logs-regex",
        "Regex to match the state change log files to be merged",
    )
    .with_required_arg()
    .described_as("for example: /tmp/state-change.log*");
    p.accepts("topic", "The topic whose state change logs should be merged")
        .with_required_arg()
        .described_as("topic");
    p.accepts(
        "partitions",
        "Comma separated list of partition ids whose state change logs should be merged",
    )
    .with_required_arg()
    .described_as("0,1,2,...");
    // The genuine table names an object in the place of the format.
    for (name, what, default) in [
        (
            "start-time",
            (
                "start",
                "The earliest timestamp of state change log entries to be merged",
            ),
            "0000-00-00 00:00:00,000",
        ),
        (
            "end-time",
            (
                "end",
                "The latest timestamp of state change log entries to be merged",
            ),
            "9999-12-31 23:59:59,999",
        ),
    ] {
        p.accepts(name, what.1)
            .with_required_arg()
            .described_as(&format!("{} timestamp in the format {}", what.0, dates::FORMAT))
            .defaults_to(default);
    }
    p
}

/// What is to be merged.
struct Merge {
    files: Vec<PathBuf>,
    topic: Option<String>,
    /// All when empty.
    partitions: Vec<i32>,
    from: Moment,
    to: Moment,
    date: Regex,
    partition: Regex,
}

impl Merge {
    fn parse(args: &[String]) -> Result<Merge> {
        let parser = parser();
        if args.is_empty() {
            return Err(parser.usage_error(PURPOSE).into());
        }
        let options = parser.parse(args)?;
        if options.has("logs") == options.has("logs-regex") {
            let rule = "Provide arguments to exactly one of the two options \"[logs]\" or \"[logs-regex]\"";
            return Err(parser.usage_error(rule).into());
        }
        if options.has("partitions") && !options.has("topic") {
            let rule =
                "The option \"[topic]\" needs to be provided an argument when specifying partition ids";
            return Err(parser.usage_error(rule).into());
        }
        Ok(Merge {
            files: files(&options)?,
            topic: options.value("topic")?,
            partitions: partitions(&options)?,
            from: moment(&options, "start-time")?,
            to: moment(&options, "end-time")?,
            date: Regex::new(DATE).expect("the pattern is one"),
            partition: Regex::new(PARTITION).expect("the pattern is one"),
        })
    }

    fn run(&self, out: &mut impl Write) -> Result<()> {
        let mut sources = Vec::new();
        for path in &self.files {
            let file = File::open(path).map_err(|source| failed(path, source))?;
            sources.push(Source {
                path,
                lines: BufReader::new(file),
            });
        }
        let mut first = Vec::new();
        for source in sources {
            first.extend(self.next(source)?);
        }
        let mut heap = Heap::default();
        // The genuine tool's list of them grows at its head.
        for line in first.into_iter().rev() {
            heap.push(line);
        }
        while let Some(line) = heap.pop() {
            out.write_all(&line.text).map_err(Error::Write)?;
            out.write_all(b"\n").map_err(Error::Write)?;
            if let Some(next) = self.next(line.rest)? {
                heap.push(next);
            }
        }
        Ok(())
    }

    /// The next line of a file that takes part.
    fn next<'a>(&self, mut source: Source<'a>) -> Result<Option<Line<'a>>> {
        while let Some(text) = source.line()? {
            let Some(date) = self.date.find(&text) else {
                continue;
            };
            let moment = Moment::parse(&String::from_utf8_lossy(date.as_bytes()));
            if moment.is_none_or(|m| m < self.from || m > self.to) || !self.is_about(&text) {
                continue;
            }
            return Ok(Some(Line {
                date: date.as_bytes().to_vec(),
                text,
                rest: source,
            }));
        }
        Ok(None)
    }

    fn is_about(&self, text: &[u8]) -> bool {
        let Some(found) = self.partition.captures(text) else {
            return false;
        };
        let part = |n| found.get(n).map_or(&b""[..], |m| m.as_bytes());
        let number = || std::str::from_utf8(part(3)).ok().and_then(|n| n.parse().ok());
        self.topic.as_ref().is_none_or(|t| t.as_bytes() == part(1))
            && (self.partitions.is_empty() || number().is_some_and(|n| self.partitions.contains(&n)))
    }
}

/// A file being read.
struct Source<'a> {
    path: &'a PathBuf,
    lines: BufReader<File>,
}

impl Source<'_> {
    /// The next line, without its end: a line feed, with a carriage return before it or not.
    fn line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let read = self.lines.read_until(b'\n', &mut line);
        if read.map_err(|source| failed(self.path, source))? == 0 {
            return Ok(None);
        }
        if line.ends_with(b"\n") {
            line.pop();
        }
        if line.ends_with(b"\r") {
            line.pop();
        }
        Ok(Some(line))
    }
}

/// A line that waits for its turn, and the file that it comes from.
struct Line<'a> {
    date: Vec<u8>,
    text: Vec<u8>,
    rest: Source<'a>,
}

impl heap::Dated for Line<'_> {
    fn date(&self) -> &[u8] {
        &self.date
    }
}

fn failed(path: &std::path::Path, source: io::Error) -> Error {
    Error::Read {
        path: path.to_owned(),
        source,
    }
}

fn files(options: &OptionSet) -> Result<Vec<PathBuf>> {
    if options.has("logs") {
        let list = options.value("logs")?.unwrap_or_default();
        let names = list.trim_end_matches(',').split(',');
        return Ok(names.map(PathBuf::from).collect());
    }
    let regex = options.value("logs-regex")?.unwrap_or_default();
    let (dir, name) = regex.rsplit_once('/').unwrap_or((".", &regex));
    let dir = if dir.is_empty() { "/" } else { dir };
    let name = Regex::new(name).map_err(Error::NoRegex)?;
    let failed = |source| failed(dir.as_ref(), source);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if name.is_match(entry.file_name().to_string_lossy().as_bytes()) {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn partitions(options: &OptionSet) -> Result<Vec<i32>> {
    let Some(list) = options.value("partitions")? else {
        return Ok(Vec::new());
    };
    let number = |text: &str| text.parse().map_err(|_| Error::NoNumber(text.to_owned()));
    let numbers = list.trim_end_matches(',').split(',').map(number);
    let numbers: Vec<i32> = numbers.collect::<Result<_>>()?;
    let mut repeated: Vec<i32> = numbers.clone();
    repeated.sort_unstable();
    let repeated: Vec<i32> = repeated
        .windows(2)
        .filter(|w| w[0] == w[1])
        .map(|w| w[0])
        .collect();
    if repeated.is_empty() {
        return Ok(numbers);
    }
    let mut named: Vec<String> = repeated.iter().map(ToString::to_string).collect();
    named.dedup();
    Err(Error::Repeated(named.join(",")))
}

fn moment(options: &OptionSet, name: &str) -> Result<Moment> {
    let typed = options.value(name)?.unwrap_or_default().replace('"', " ");
    Moment::parse(typed.trim()).ok_or_else(|| Error::NoDate(typed.trim().to_owned()))
}
