//! The command line of 0.9's Java tools (org.apache.kafka.tools): argparse4j 0.5's grammar, messages and
//! help layout, as [`options`](super::options) is for the Scala ones. Does not know any program's arguments.
//!
//! Names may be shortened to any unambiguous beginning; `--name=v` and `--name v` are the same; a word
//! that looks like a negative number is a value. Errors go to standard error below the usage, exit code 1.

use std::collections::BTreeMap;
use std::process::ExitCode;

use crate::config::Properties;

/// Columns of everything that is printed.
const WIDTH: usize = 75;
/// Where the help's right column begins.
const HELP_AT: usize = 25;

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A Java `Integer`.
    Integer,
    /// A Java `Long`.
    Long,
    /// Takes no value; true when given.
    Flag,
}

/// One argument as a program declares it.
#[derive(Clone, Debug)]
pub struct Argument {
    name: &'static str,
    metavar: &'static str,
    help: &'static str,
    kind: Kind,
    required: bool,
    default: Option<&'static str>,
    choices: &'static [&'static str],
    many: bool,
}

impl Argument {
    /// `--name METAVAR`, not required. For a [`Kind::Flag`] the metavar is not shown.
    pub fn new(name: &'static str, metavar: &'static str, kind: Kind, help: &'static str) -> Argument {
        Argument {
            name,
            metavar,
            help,
            kind,
            required: false,
            default: (kind == Kind::Flag).then_some("false"),
            choices: &[],
            many: false,
        }
    }

    /// It must be given.
    pub fn required(mut self) -> Argument {
        self.required = true;
        self
    }

    /// Its value when it is not given, shown in the help.
    pub fn defaults_to(mut self, value: &'static str) -> Argument {
        self.default = Some(value);
        self
    }

    /// Its only values.
    pub fn choices(mut self, choices: &'static [&'static str]) -> Argument {
        self.choices = choices;
        self
    }

    /// It takes all words up to the next argument, at least one.
    pub fn many(mut self) -> Argument {
        self.many = true;
        self
    }

    /// The argument with what stands for its value.
    fn title(&self) -> String {
        match (self.kind, self.many) {
            (Kind::Flag, _) => self.name.to_owned(),
            (_, false) => format!("{} {}", self.name, self.metavar),
            (_, true) => format!("{} {m} [{m} ...]", self.name, m = self.metavar),
        }
    }
}

/// The arguments a program knows.
#[derive(Clone, Debug)]
pub struct ArgumentParser {
    program: &'static str,
    purpose: &'static str,
    arguments: Vec<Argument>,
}

/// Values by name.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    values: BTreeMap<&'static str, Vec<String>>,
}

/// Why a program does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `--help` was asked for; the text for standard output. Exit code 1, as there.
    #[error("{0}")]
    Help(String),
    /// The command line breaks a rule; all that standard error gets.
    #[error("{0}")]
    Wrong(String),
}

impl Error {
    /// What a JVM prints of an exception that nobody catches, without its trace.
    pub fn uncaught(exception: &str) -> Error {
        Error::Wrong(format!("Exception in thread \"main\" {exception}\n"))
    }

    /// Tells the user and returns what the process exits with.
    pub fn report(&self) -> ExitCode {
        match self {
            Error::Help(text) => {
                super::print(text);
            }
            Error::Wrong(text) => eprint!("{text}"),
        }
        ExitCode::FAILURE
    }
}

impl Arguments {
    /// The value given, else the default; none if there is neither.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).first().map(String::as_str)
    }

    /// All values of one that takes many.
    pub fn values(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The value of a number, which has been checked; 0 if there is none.
    pub fn number(&self, name: &str) -> i64 {
        self.value(name).and_then(|v| v.parse().ok()).unwrap_or_default()
    }

    /// Whether a flag was given.
    pub fn flag(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }
}

impl ArgumentParser {
    /// A parser of `program`, whose help begins with `purpose`. The order of `arguments` is that of the
    /// help, and of the search for missing ones.
    pub fn new(program: &'static str, purpose: &'static str, arguments: Vec<Argument>) -> ArgumentParser {
        ArgumentParser {
            program,
            purpose,
            arguments,
        }
    }

    /// Reads a program's whole command line into its job. Without any word the help is shown.
    ///
    /// # Errors
    /// What the process exits with; the user has been told why.
    pub fn read<T>(
        &self,
        args: &[String],
        job: impl FnOnce(&Arguments) -> Result<T, Error>,
    ) -> Result<T, ExitCode> {
        if args.is_empty() {
            return Err(super::print(&self.help()));
        }
        self.parse(args)
            .and_then(|found| job(&found))
            .map_err(|e| e.report())
    }

    /// The properties in the file that an argument names; none if it was not given.
    ///
    /// # Errors
    /// [`Error::Wrong`] if it cannot be read, or is no such file.
    pub fn properties(&self, found: &Arguments, name: &str) -> Result<Properties, Error> {
        let Some(file) = found.value(name) else {
            return Ok(Properties::new());
        };
        let bytes = super::session::read_file(file).map_err(|e| self.wrong(&e))?;
        Properties::parse(&bytes, file).map_err(|e| self.wrong(&e.to_string()))
    }

    /// Reads a command line.
    ///
    /// # Errors
    /// [`Error::Help`], [`Error::Wrong`].
    pub fn parse(&self, args: &[String]) -> Result<Arguments, Error> {
        let mut found = Arguments::default();
        let mut words = args.iter().peekable();
        while let Some(word) = words.next() {
            let (name, inline) = match word.split_once('=') {
                Some((name, value)) if word.starts_with("--") => (name, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            if name == "-h" || (name.len() > 3 && "--help".starts_with(name)) {
                return Err(Error::Help(self.help()));
            }
            let argument = self.recognize(word, name)?;
            if argument.kind == Kind::Flag {
                found.values.insert(argument.name, vec!["true".to_owned()]);
                continue;
            }
            let mut values: Vec<String> = inline.into_iter().collect();
            while values.is_empty() || argument.many {
                match words.next_if(|next| !is_name(next)) {
                    Some(value) => values.push(value.clone()),
                    None => break,
                }
            }
            self.check(argument, &values)?;
            found.values.insert(argument.name, values);
        }
        for argument in &self.arguments {
            if !found.values.contains_key(argument.name) {
                if argument.required {
                    return Err(self.wrong(&format!("argument {} is required", argument.name)));
                }
                if let Some(default) = argument.default {
                    found.values.insert(argument.name, vec![default.to_owned()]);
                }
            }
        }
        Ok(found)
    }

    fn recognize(&self, word: &str, name: &str) -> Result<&Argument, Error> {
        if let Some(argument) = self.arguments.iter().find(|a| a.name == name) {
            return Ok(argument);
        }
        let mut like = self.arguments.iter().filter(|a| a.name.starts_with(name));
        match (like.next(), like.next()) {
            (Some(argument), None) if name.len() > 2 && name.starts_with("--") => Ok(argument),
            (Some(_), Some(_)) if name.len() > 2 && name.starts_with("--") => {
                let all = self.arguments.iter().filter(|a| a.name.starts_with(name));
                let mut all: Vec<&str> = all.map(|a| a.name).collect();
                all.sort_unstable();
                Err(self.wrong(&format!(
                    "ambiguous option: {name} could match {}",
                    all.join(", ")
                )))
            }
            _ => Err(self.wrong(&format!("unrecognized arguments: '{word}'"))),
        }
    }

    fn check(&self, argument: &Argument, values: &[String]) -> Result<(), Error> {
        let name = argument.name;
        if values.is_empty() {
            let wants = match argument.many {
                true => "1 argument(s)",
                false => "one argument",
            };
            return Err(self.wrong(&format!("argument {name}: expected {wants}")));
        }
        for value in values {
            let (fits, class) = match argument.kind {
                Kind::Text | Kind::Flag => (true, ""),
                Kind::Integer => (value.parse::<i32>().is_ok(), "Integer"),
                Kind::Long => (value.parse::<i64>().is_ok(), "Long"),
            };
            if !fits {
                return Err(self.wrong(&format!(
                    "argument {name}: could not convert '{value}' to {class} (For input string: \"{value}\")"
                )));
            }
            if !argument.choices.is_empty() && !argument.choices.contains(&value.as_str()) {
                return Err(self.wrong(&format!(
                    "argument {name}: invalid choice: '{value}' (choose from {{{}}})",
                    argument.choices.join(",")
                )));
            }
        }
        Ok(())
    }

    /// An error below the usage.
    pub fn wrong(&self, message: &str) -> Error {
        let line = format!("{}: error: {message}", self.program);
        Error::Wrong(format!("{}{}\n", self.usage(), wrap(&line, WIDTH, 0)))
    }

    /// The usage lines.
    fn usage(&self) -> String {
        let start = format!("usage: {}", self.program);
        let mut text = start.clone();
        let mut column = start.len();
        let titles = self.arguments.iter().map(|a| match a.required {
            true => a.title(),
            false => format!("[{}]", a.title()),
        });
        for title in std::iter::once("[-h]".to_owned()).chain(titles) {
            if column + 1 + title.len() > WIDTH {
                text.push_str(&format!("\n{:1$}", "", start.len()));
                column = start.len();
            }
            text.push_str(&format!(" {title}"));
            column += 1 + title.len();
        }
        text + "\n"
    }

    /// The help's text.
    pub fn help(&self) -> String {
        let mut text = format!(
            "{}\n{}\n\noptional arguments:\n",
            self.usage(),
            wrap(self.purpose, WIDTH, 0)
        );
        let rows = self.arguments.iter().map(|a| {
            let help = match a.default {
                Some(default) => format!("{} (default: {default})", a.help),
                None => a.help.to_owned(),
            };
            (a.title(), help)
        });
        let own = (
            "-h, --help".to_owned(),
            "show this help message and exit".to_owned(),
        );
        for (title, help) in std::iter::once(own).chain(rows) {
            let title = format!("  {title}");
            let fits = title.len() + 2 <= HELP_AT;
            text.push_str(&match fits {
                true => format!("{title:HELP_AT$}"),
                false => format!("{title}\n{:HELP_AT$}", ""),
            });
            text.push_str(&wrap(&help, WIDTH - HELP_AT, HELP_AT));
            text.push('\n');
        }
        text
    }
}

/// Whether a word is an argument's name rather than a value.
fn is_name(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-') && word.parse::<f64>().is_err()
}

/// Breaks a text into lines, all but the last filled to `width` with blanks between its words; lines
/// after the first are indented.
fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for piece in pieces(text) {
        if !line.is_empty() && line.len() + piece.len() > width {
            lines.push(fill(line.trim_end(), width));
            line.clear();
        }
        line.push_str(piece);
    }
    lines.push(line);
    lines.join(&format!("\n{:indent$}", ""))
}

/// What may not be broken: Java breaks lines after a blank or a hyphen and before a bracket.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut from = 0;
    let mut last = ' ';
    for (at, c) in text.char_indices() {
        let breaks = match last {
            ' ' => c != ' ',
            '-' => c.is_alphabetic(),
            last => c == '(' && last.is_alphanumeric(),
        };
        if breaks && at > from {
            pieces.push(&text[from..at]);
            from = at;
        }
        last = c;
    }
    pieces.push(&text[from..]);
    pieces
}

/// Spreads the blanks that are missing over the gaps of a line; what is left over goes to the middle,
/// rather to its right.
fn fill(line: &str, width: usize) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let gaps = words.len() - 1;
    if gaps == 0 {
        return line.to_owned();
    }
    let missing = width.saturating_sub(line.len());
    let (each, left) = (missing / gaps, missing % gaps);
    let first = (gaps - left).div_ceil(2);
    let mut filled = String::with_capacity(width);
    for (i, word) in words.iter().enumerate() {
        filled.push_str(word);
        if i < gaps {
            let more = usize::from((first..first + left).contains(&i));
            filled.extend(std::iter::repeat_n(' ', 1 + each + more));
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The genuine org.apache.kafka.tools.ProducerPerformance's.
    fn parser() -> ArgumentParser {
        let required = |name, metavar, kind, help| Argument::new(name, metavar, kind, help).required();
        ArgumentParser::new(
            "producer-performance",
            "This tool is used to verify the producer performance.",
            vec![
                required("--topic", "TOPIC", Kind::Text, "produce messages to this topic"),
                required(
                    "--throughput",
                    "THROUGHPUT",
                    Kind::Integer,
                    "throttle maximum message throughput to *approximately* THROUGHPUT messages/sec",
                ),
                required(
                    "--producer-props",
                    "PROP-NAME=PROP-VALUE",
                    Kind::Text,
                    "kafka producer related configuaration properties like bootstrap.servers,client.id etc..",
                )
                .many(),
            ],
        )
    }

    fn parse(line: &str) -> Result<Arguments, Error> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parser().parse(&words)
    }

    #[test]
    fn the_help_is_laid_out_as_argparse4js() {
        let usage = "\
usage: producer-performance [-h] --topic TOPIC --throughput THROUGHPUT
                            --producer-props PROP-NAME=PROP-VALUE [PROP-NAME=PROP-VALUE ...]
";
        let help = "
This tool is used to verify the producer performance.

optional arguments:
  -h, --help             show this help message and exit
  --topic TOPIC          produce messages to this topic
  --throughput THROUGHPUT
                         throttle    maximum    message    throughput    to
                         *approximately* THROUGHPUT messages/sec
  --producer-props PROP-NAME=PROP-VALUE [PROP-NAME=PROP-VALUE ...]
                         kafka producer  related  configuaration properties
                         like bootstrap.servers,client.id etc..
";
        assert_eq!(parse("-h").unwrap_err(), Error::Help(format!("{usage}{help}")));
        let wrong = parse("--topic t --throughput x").unwrap_err().to_string();
        assert_eq!(
            wrong,
            format!(
                "{usage}producer-performance: error: argument --throughput:  could  not convert 'x'\n\
                 to Integer (For input string: \"x\")\n"
            )
        );
    }

    #[test]
    fn names_may_be_shortened_and_values_may_be_negative_or_many() {
        let found = parse("--top=t --thr -1 --producer-props a=b c=d").unwrap();
        assert_eq!(found.value("--topic"), Some("t"));
        assert_eq!(found.number("--throughput"), -1);
        assert_eq!(found.values("--producer-props"), ["a=b", "c=d"]);
    }

    #[test]
    fn what_is_wrong_is_said_below_the_usage() {
        for (line, message) in [
            ("--topic t", "argument --throughput is required"),
            ("--topic", "argument --topic: expected one argument"),
            (
                "--t x",
                "ambiguous option: --t could match -- throughput, --topic",
            ),
            ("--no", "unrecognized arguments: '--no'"),
            (
                "--producer-props --topic",
                "argument --producer-props: expected 1 argument (s)",
            ),
        ] {
            let text = parse(line).unwrap_err().to_string();
            let text = text.split("error: ").nth(1).unwrap_or_default();
            let plain: Vec<&str> = text.split_whitespace().collect();
            assert_eq!(plain.join(" "), message, "{line}");
        }
    }
}
