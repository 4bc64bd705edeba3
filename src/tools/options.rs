//! The command line of 0.9's programs: jopt-simple 3.2's grammar, messages and help layout, and Kafka's
//! `CommandLineUtils` rules. Does not know any program's options.
//!
//! What users rely on without knowing it: `--opt v`, `--opt=v` and `-opt v` are the same; any unambiguous
//! beginning of a name will do (`--zoo`); an option with a required argument swallows the next word even
//! if it starts with a dash (`--time -1`); other words are collected and mostly ignored.
//!
//! ```
//! use kafka::tools::options::{ArgType, OptionParser};
//! let mut parser = OptionParser::new();
//! parser.accepts("partitions", "How many.").with_required_arg().described_as("n").of_type(ArgType::Integer);
//! let options = parser.parse(&["--part".into(), "3".into()]).unwrap();
//! assert_eq!(options.int("partitions").unwrap(), Some(3));
//! ```

mod help;

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Peekable;
use std::process::ExitCode;

/// The Java type an argument is converted to; the help shows its short name, errors the long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgType {
    /// Any text; the help shows no type.
    String,
    /// `java.lang.Integer`
    Integer,
    /// `java.lang.Long`
    Long,
    /// `java.lang.Double`
    Double,
    /// `java.lang.Boolean`; as Java does, everything but `true` is false.
    Boolean,
}

impl ArgType {
    fn short_name(self) -> &'static str {
        match self {
            ArgType::String => "",
            ArgType::Integer => "Integer",
            ArgType::Long => "Long",
            ArgType::Double => "Double",
            ArgType::Boolean => "Boolean",
        }
    }

    fn accepts(self, text: &str) -> bool {
        match self {
            ArgType::String | ArgType::Boolean => true,
            ArgType::Integer => text.parse::<i32>().is_ok(),
            ArgType::Long => text.parse::<i64>().is_ok(),
            ArgType::Double => text.trim().parse::<f64>().is_ok(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Argument {
    None,
    Required,
    Optional,
}

/// One option as a program declares it; made by [`OptionParser::accepts`] and refined by chaining.
#[derive(Clone, Debug)]
pub struct OptionSpec {
    name: String,
    description: String,
    argument: Argument,
    argument_description: String,
    kind: ArgType,
    separator: Option<char>,
    defaults: Vec<String>,
}

impl OptionSpec {
    /// The option takes an argument, always.
    pub fn with_required_arg(&mut self) -> &mut Self {
        self.argument = Argument::Required;
        self
    }

    /// The option takes an argument if one follows that does not look like an option.
    pub fn with_optional_arg(&mut self) -> &mut Self {
        self.argument = Argument::Optional;
        self
    }

    /// One argument may hold several values with `separator` between them; empty ones do not count.
    pub fn values_separated_by(&mut self, separator: char) -> &mut Self {
        self.separator = Some(separator);
        self
    }

    /// The values in an argument as typed. One that holds nothing but separators is a value itself.
    fn values_in(&self, argument: String) -> Vec<String> {
        let Some(separator) = self.separator else {
            return vec![argument];
        };
        let values: Vec<String> = argument
            .split(separator)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .collect();
        match values.is_empty() {
            true => vec![argument],
            false => values,
        }
    }

    /// The word between the angle brackets in the help.
    pub fn described_as(&mut self, word: &str) -> &mut Self {
        self.argument_description = word.to_string();
        self
    }

    /// What the argument is converted to.
    pub fn of_type(&mut self, kind: ArgType) -> &mut Self {
        self.kind = kind;
        self
    }

    /// The value when the option is absent; shown in the help as `(default: …)`.
    pub fn defaults_to(&mut self, value: impl fmt::Display) -> &mut Self {
        self.defaults.push(value.to_string());
        self
    }
}

/// The options a program knows.
#[derive(Clone, Debug, Default)]
pub struct OptionParser {
    specs: BTreeMap<String, OptionSpec>,
}

impl OptionParser {
    /// A parser that knows no option.
    pub fn new() -> OptionParser {
        OptionParser::default()
    }

    /// Declares `--name`; chain [`OptionSpec`]'s methods to say more.
    pub fn accepts(&mut self, name: &str, description: &str) -> &mut OptionSpec {
        let spec = OptionSpec {
            name: name.to_string(),
            description: description.to_string(),
            argument: Argument::None,
            argument_description: String::new(),
            kind: ArgType::String,
            separator: None,
            defaults: Vec::new(),
        };
        self.specs.insert(name.to_string(), spec);
        self.specs.get_mut(name).expect("inserted above")
    }

    /// Declares `--name` with a required argument of a kind, described as `what`; no default if that is
    /// empty.
    pub fn accepts_value(&mut self, name: &str, what: &str, kind: ArgType, default: &str, description: &str) {
        let spec = self
            .accepts(name, description)
            .with_required_arg()
            .described_as(what)
            .of_type(kind);
        if !default.is_empty() {
            spec.defaults_to(default);
        }
    }

    /// The table of options, as jopt-simple lays it out in 80 columns.
    pub fn help(&self) -> String {
        help::format(self.specs.values())
    }

    /// The usage error of Kafka's programs: `message`, then the table, on standard error; exit code 1.
    pub fn usage_error(&self, message: &str) -> Error {
        Error::Usage {
            message: message.to_string(),
            help: self.help(),
        }
    }

    /// The option that `name` or an unambiguous beginning of its name means.
    fn recognize(&self, name: &str) -> Option<&OptionSpec> {
        if let Some(spec) = self.specs.get(name) {
            return Some(spec);
        }
        let mut matching = self
            .specs
            .range(name.to_string()..)
            .take_while(|(n, _)| n.starts_with(name));
        match (matching.next(), matching.next()) {
            (Some((_, spec)), None) if !name.is_empty() => Some(spec),
            _ => None,
        }
    }

    /// Reads a command line.
    ///
    /// # Errors
    /// [`Error::Unrecognized`], [`Error::MissingArgument`], [`Error::IllegalCluster`]. Arguments are
    /// converted later, when they are asked for, as jopt-simple does.
    pub fn parse(&self, args: &[String]) -> Result<OptionSet> {
        let mut found = OptionSet {
            detected: BTreeMap::new(),
            others: Vec::new(),
            specs: self.specs.clone(),
        };
        let mut args = args.iter().map(String::as_str).peekable();
        while let Some(word) = args.next() {
            if word == "--" {
                found.others.extend(args.by_ref().map(String::from));
            } else if let Some(long) = word.strip_prefix("--") {
                let (name, value) = split_value(long);
                let spec = self.recognize(name).ok_or_else(|| unrecognized(name))?;
                take(spec, value, &mut args, &mut found)?;
            } else if word.len() > 1 && word.starts_with('-') {
                let (name, value) = split_value(&word[1..]);
                match self.recognize(name) {
                    Some(spec) => take(spec, value, &mut args, &mut found)?,
                    None => self.cluster(&word[1..], &mut args, &mut found)?,
                }
            } else {
                found.others.push(word.to_string());
            }
        }
        Ok(found)
    }

    /// `-abc` as the options a, b and c. Every letter is checked before any has effect.
    fn cluster<'a>(
        &self,
        letters: &str,
        args: &mut Peekable<impl Iterator<Item = &'a str>>,
        found: &mut OptionSet,
    ) -> Result<()> {
        let specs: Vec<(usize, &OptionSpec)> = {
            let mut specs = Vec::new();
            for (at, letter) in letters.char_indices() {
                let name = letter.to_string();
                let spec = self.recognize(&name).ok_or_else(|| unrecognized(&name))?;
                let takes = spec.argument != Argument::None;
                if takes && at > 0 {
                    return Err(Error::IllegalCluster { option: name });
                }
                specs.push((at + letter.len_utf8(), spec));
                if takes {
                    break;
                }
            }
            specs
        };
        for (end, spec) in specs {
            let rest = &letters[end..];
            let value = (spec.argument != Argument::None && !rest.is_empty()).then_some(rest);
            take(spec, value, args, found)?;
        }
        Ok(())
    }
}

fn unrecognized(name: &str) -> Error {
    Error::Unrecognized {
        option: name.to_string(),
    }
}

/// Splits at the first `=`. An empty value counts as none: the next word is the argument then.
fn split_value(text: &str) -> (&str, Option<&str>) {
    match text.split_once('=') {
        Some((name, "")) => (name, None),
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    }
}

fn take<'a>(
    spec: &OptionSpec,
    value: Option<&str>,
    args: &mut Peekable<impl Iterator<Item = &'a str>>,
    found: &mut OptionSet,
) -> Result<()> {
    let argument = match (spec.argument, value) {
        (Argument::None, _) => None,
        (_, Some(value)) => Some(value.to_string()),
        (Argument::Required, None) => match args.next() {
            Some(word) => Some(word.to_string()),
            None => {
                return Err(Error::MissingArgument {
                    option: spec.name.clone(),
                });
            }
        },
        (Argument::Optional, None) => {
            let number = matches!(spec.kind, ArgType::Integer | ArgType::Long | ArgType::Double);
            args.next_if(|next| {
                !(next.len() > 1 && next.starts_with('-')) || (number && spec.kind.accepts(next))
            })
            .map(String::from)
        }
    };
    found
        .detected
        .entry(spec.name.clone())
        .or_default()
        .extend(argument.into_iter().flat_map(|a| spec.values_in(a)));
    Ok(())
}

/// What was found on a command line.
#[derive(Clone, Debug)]
pub struct OptionSet {
    detected: BTreeMap<String, Vec<String>>,
    others: Vec<String>,
    specs: BTreeMap<String, OptionSpec>,
}

impl OptionSet {
    /// Whether the option was typed; a default does not count.
    pub fn has(&self, name: &str) -> bool {
        self.detected.contains_key(name)
    }

    /// Whether any of the options was typed.
    pub fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|n| self.has(n))
    }

    /// The words that belong to no option, in order.
    pub fn non_option_arguments(&self) -> &[String] {
        &self.others
    }

    /// All arguments of a repeatable option, else its defaults.
    ///
    /// # Errors
    /// [`Error::Conversion`] if one is not of the option's type.
    pub fn values(&self, name: &str) -> Result<Vec<String>> {
        let Some(spec) = self.specs.get(name) else {
            return Ok(Vec::new());
        };
        let values = self
            .detected
            .get(name)
            .filter(|v| !v.is_empty())
            .unwrap_or(&spec.defaults);
        match values.iter().find(|v| !spec.kind.accepts(v)) {
            Some(bad) => Err(Error::Conversion {
                argument: bad.clone(),
                option: name.to_string(),
                kind: spec.kind,
            }),
            None => Ok(values.clone()),
        }
    }

    /// The one argument, else the default, else `None`.
    ///
    /// # Errors
    /// [`Error::Multiple`] if it was given twice, [`Error::Conversion`] if it is not of the option's type.
    pub fn value(&self, name: &str) -> Result<Option<String>> {
        // Counted before conversion, as jopt-simple does not: both are mistakes, and one is reported.
        let mut values = self.values(name)?;
        if values.len() > 1 {
            return Err(Error::Multiple {
                option: name.to_string(),
            });
        }
        Ok(values.pop())
    }

    /// As [`OptionSet::value`], of an [`ArgType::Integer`] option.
    ///
    /// # Errors
    /// As [`OptionSet::value`].
    pub fn int(&self, name: &str) -> Result<Option<i32>> {
        self.converted(name, ArgType::Integer)
    }

    /// As [`OptionSet::value`], of an [`ArgType::Long`] option.
    ///
    /// # Errors
    /// As [`OptionSet::value`].
    pub fn long(&self, name: &str) -> Result<Option<i64>> {
        self.converted(name, ArgType::Long)
    }

    /// As [`OptionSet::value`], of an [`ArgType::Boolean`] option.
    ///
    /// # Errors
    /// As [`OptionSet::value`].
    pub fn boolean(&self, name: &str) -> Result<Option<bool>> {
        Ok(self.value(name)?.map(|text| text.eq_ignore_ascii_case("true")))
    }

    fn converted<T: std::str::FromStr>(&self, name: &str, kind: ArgType) -> Result<Option<T>> {
        match self.value(name)? {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(Error::Conversion {
                    argument: text,
                    option: name.to_string(),
                    kind,
                }),
            },
        }
    }
}

/// The first of `required` that is absent is a usage error.
///
/// # Errors
/// [`Error::Usage`].
pub fn check_required_args(parser: &OptionParser, options: &OptionSet, required: &[&str]) -> Result<()> {
    match required.iter().find(|name| !options.has(name)) {
        Some(name) => Err(parser.usage_error(&format!("Missing required argument \"[{name}]\""))),
        None => Ok(()),
    }
}

/// If `used` was typed, the first of `invalid` that was typed too is a usage error.
///
/// # Errors
/// [`Error::Usage`].
pub fn check_invalid_args(
    parser: &OptionParser,
    options: &OptionSet,
    used: &str,
    invalid: &[&str],
) -> Result<()> {
    if !options.has(used) {
        return Ok(());
    }
    match invalid.iter().find(|name| options.has(name)) {
        // The blank that is missing before the last quote is missing in Kafka's text too.
        Some(name) => Err(parser.usage_error(&format!(
            "Option \"[{used}]\" can't be used with option\"[{name}]\""
        ))),
        None => Ok(()),
    }
}

/// `key=value` words as pairs; `key` and `key=` have the value "", and `=` alone is nothing.
///
/// # Errors
/// [`Error::InvalidProperties`] for a word with a second `=` inside; Kafka's programs take no such value.
pub fn parse_key_value_args<S: AsRef<str>>(args: &[S]) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for arg in args {
        // Java's split drops empty strings at the end, so `a=` has one part and `=` none.
        let parts: Vec<&str> = arg.as_ref().trim_end_matches('=').split('=').collect();
        match parts[..] {
            [""] if arg.as_ref().contains('=') => {}
            [key] => pairs.push((key.to_string(), String::new())),
            [key, value] => pairs.push((key.to_string(), value.to_string())),
            _ => {
                let all: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
                return Err(Error::InvalidProperties { args: all.join(" ") });
            }
        }
    }
    Ok(pairs)
}

/// What is wrong with a command line. The texts are jopt-simple's and Kafka's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// No option has this name or beginning.
    #[error("'{option}' is not a recognized option")]
    Unrecognized {
        /// As typed, without dashes.
        option: String,
    },
    /// The last word is an option that requires an argument.
    #[error("Option ['{option}'] requires an argument")]
    MissingArgument {
        /// Its full name.
        option: String,
    },
    /// An option that takes one argument was given several times.
    #[error("Found multiple arguments for option ['{option}'], but you asked for only one")]
    Multiple {
        /// Its full name.
        option: String,
    },
    /// An argument is not of its option's type.
    #[error("Cannot convert argument '{argument}' of option ['{option}'] to class java.lang.{}", kind.short_name())]
    Conversion {
        /// As typed.
        argument: String,
        /// The option's full name.
        option: String,
        /// What it should have been.
        kind: ArgType,
    },
    /// A letter inside `-abc` takes an argument.
    #[error("Option cluster contains option '{option}', which accepts an argument")]
    IllegalCluster {
        /// The letter.
        option: String,
    },
    /// A rule between options is broken: reported with the table of options.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// The table.
        help: String,
    },
    /// A `key=value` list cannot be read.
    #[error("Invalid command line properties: {args}")]
    InvalidProperties {
        /// The whole list, joined with blanks.
        args: String,
    },
}

/// A result with this module's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The Java exception the genuine programs die of, `None` where they print a text of their own.
    pub fn exception(&self) -> Option<&'static str> {
        Some(match self {
            Error::Unrecognized { .. } => "joptsimple.UnrecognizedOptionException",
            Error::MissingArgument { .. } => "joptsimple.OptionMissingRequiredArgumentException",
            Error::Multiple { .. } => "joptsimple.MultipleArgumentsForOptionException",
            Error::Conversion { .. } => "joptsimple.OptionArgumentConversionException",
            Error::IllegalCluster { .. } => "joptsimple.IllegalOptionClusterException",
            Error::Usage { .. } | Error::InvalidProperties { .. } => return None,
        })
    }

    /// Tells the user on standard error as most of the genuine programs do: the first line of an uncaught
    /// exception (without its trace), or the message and the table. Exit code 1.
    pub fn report(&self) -> ExitCode {
        match (self.exception(), self) {
            (Some(exception), _) => eprintln!("Exception in thread \"main\" {exception}: {self}"),
            (None, Error::Usage { message, help }) => eprint!("{message}\n{help}"),
            (None, _) => eprintln!("{self}"),
        }
        ExitCode::FAILURE
    }

    /// As [`Error::report`], without the exception's name: the console programs catch it.
    pub fn report_plainly(&self) -> ExitCode {
        match self {
            Error::Usage { .. } => self.report(),
            _ => {
                eprintln!("{self}");
                ExitCode::FAILURE
            }
        }
    }
}

#[cfg(test)]
mod tests;
