//! What a line looks like (org.apache.log4j.PatternLayout).

use ::log::Record;

use super::date::DateFormat;
use crate::util::clock::WallMs;

/// All that a pattern may show of a line.
pub(super) struct Line<'a> {
    /// Level, message, place in the source.
    pub(super) record: &'a Record<'a>,
    /// The logger's name.
    pub(super) logger: &'a str,
    /// When it was logged.
    pub(super) now: WallMs,
    /// When logging began.
    pub(super) start: WallMs,
}

/// A parsed `ConversionPattern`.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Field { what: Field, width: Width },
}

#[derive(Clone, Debug)]
enum Field {
    Date(DateFormat),
    Level,
    Message,
    /// The logger's last so many components; all for 0.
    Logger(usize),
    Thread,
    Newline,
    /// Milliseconds since logging began.
    Elapsed,
    File,
    Line,
    Module,
    /// What this program has nothing for.
    Nothing,
}

/// `%-5.30c`: padded to 5 on the right, cut to the last 30.
#[derive(Clone, Copy, Debug, Default)]
struct Width {
    left: bool,
    min: usize,
    max: Option<usize>,
}

impl Pattern {
    /// Of a pattern such as `[%d] %p %m (%c)%n`. A conversion that does not exist stands for itself.
    pub(super) fn new(pattern: &str) -> Pattern {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = pattern;
        while let Some(at) = rest.find('%') {
            text += &rest[..at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                text.push('%');
                rest = after;
                continue;
            }
            let whole = rest;
            let width = width(&mut rest);
            let Some(letter) = rest.chars().next() else {
                text.push('%');
                text += whole;
                rest = "";
                break;
            };
            rest = &rest[letter.len_utf8()..];
            let mut option = None;
            if let Some((inside, after)) = rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
                (option, rest) = (Some(inside), after);
            }
            match field(letter, option) {
                Some(what) => {
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text)));
                    }
                    parts.push(Part::Field { what, width });
                }
                None => {
                    text.push('%');
                    text += &whole[..whole.len() - rest.len()];
                }
            }
        }
        text += rest;
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Pattern { parts }
    }

    /// The text of a line.
    pub(super) fn format(&self, line: &Line<'_>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text += literal,
                Part::Field { what, width } => {
                    let field = what.format(line);
                    let count = field.chars().count();
                    let skip = width.max.map_or(0, |max| count.saturating_sub(max));
                    let pad = " ".repeat(width.min.saturating_sub(count - skip));
                    if !width.left {
                        text += &pad;
                    }
                    text.extend(field.chars().skip(skip));
                    if width.left {
                        text += &pad;
                    }
                }
            }
        }
        text
    }
}

fn width(rest: &mut &str) -> Width {
    let mut width = Width::default();
    if let Some(after) = rest.strip_prefix('-') {
        width.left = true;
        *rest = after;
    }
    let number = |rest: &mut &str| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        *rest = after;
        // A width of more digits than any line has columns is a typing error, and no reason for memory.
        digits.parse::<u16>().ok().map(usize::from)
    };
    width.min = number(rest).unwrap_or(0);
    if let Some(after) = rest.strip_prefix('.') {
        *rest = after;
        width.max = number(rest);
    }
    width
}

fn field(letter: char, option: Option<&str>) -> Option<Field> {
    Some(match letter {
        'd' => Field::Date(DateFormat::new(match option {
            None | Some("" | "ISO8601") => "yyyy-MM-dd HH:mm:ss,SSS",
            Some("ABSOLUTE") => "HH:mm:ss,SSS",
            Some("DATE") => "dd MMM yyyy HH:mm:ss,SSS",
            Some(format) => format,
        })),
        'p' => Field::Level,
        'm' => Field::Message,
        'c' => Field::Logger(option.and_then(|n| n.trim().parse().ok()).unwrap_or(0)),
        't' => Field::Thread,
        'n' => Field::Newline,
        'r' => Field::Elapsed,
        'F' => Field::File,
        'L' => Field::Line,
        'C' => Field::Module,
        'M' | 'x' | 'X' | 'l' => Field::Nothing,
        _ => return None,
    })
}

impl Field {
    fn format(&self, line: &Line<'_>) -> String {
        match self {
            Field::Date(format) => format.format(line.now),
            Field::Level => line.record.level().to_string(),
            Field::Message => line.record.args().to_string(),
            Field::Logger(0) => line.logger.to_string(),
            Field::Logger(last) => {
                let parts: Vec<&str> = line.logger.split('.').collect();
                parts[parts.len().saturating_sub(*last)..].join(".")
            }
            Field::Thread => std::thread::current().name().unwrap_or("main").to_string(),
            Field::Newline => if cfg!(windows) { "\r\n" } else { "\n" }.to_string(),
            Field::Elapsed => line.now.0.saturating_sub(line.start.0).to_string(),
            Field::File => line.record.file().unwrap_or("?").to_string(),
            Field::Line => line
                .record
                .line()
                .map_or_else(|| "?".to_string(), |l| l.to_string()),
            Field::Module => line.record.module_path().unwrap_or("?").to_string(),
            Field::Nothing => String::new(),
        }
    }
}
