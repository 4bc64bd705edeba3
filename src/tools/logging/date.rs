//! Java's SimpleDateFormat, in the local time zone: the letters that log patterns use.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::util::clock::WallMs;

/// A parsed pattern.
#[derive(Clone, Debug)]
pub(in crate::tools) struct DateFormat {
    parts: Vec<Part>,
    zone: TimeZone,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    /// A letter and how often it stands.
    Field(char, usize),
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

impl DateFormat {
    /// Of a pattern such as `'.'yyyy-MM-dd-HH`. Text in quotes is literal, two quotes are one.
    pub(in crate::tools) fn new(pattern: &str) -> DateFormat {
        DateFormat::in_zone(pattern, TimeZone::system())
    }

    /// As [`DateFormat::new`], in a zone.
    pub(super) fn in_zone(pattern: &str, zone: TimeZone) -> DateFormat {
        let mut parts: Vec<Part> = Vec::new();
        let mut text = String::new();
        let mut quoted = false;
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '\'' {
                if chars.next_if_eq(&'\'').is_some() {
                    text.push('\'');
                } else {
                    quoted = !quoted;
                }
            } else if quoted || !c.is_ascii_alphabetic() {
                text.push(c);
            } else {
                let mut count = 1;
                while chars.next_if_eq(&c).is_some() {
                    count += 1;
                }
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(Part::Field(c, count));
            }
        }
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        DateFormat { parts, zone }
    }

    /// The text of a moment. Letters that are none of Java's stand for themselves.
    pub(in crate::tools) fn format(&self, at: WallMs) -> String {
        let timestamp = Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH);
        let t = timestamp.to_zoned_datetime(self.zone.clone());
        let mut text = String::new();
        for part in &self.parts {
            let (letter, count) = match part {
                Part::Text(literal) => {
                    text += literal;
                    continue;
                }
                Part::Field(letter, count) => (*letter, *count),
            };
            let name = |names: &[&str], index: i8| {
                let name = names[usize::try_from(index - 1).unwrap_or(0)];
                if count >= 4 {
                    name.to_string()
                } else {
                    name[..3].to_string()
                }
            };
            let padded = |n: i64| format!("{n:0count$}");
            let hour = i64::from(t.hour());
            text += &match letter {
                'y' if count == 2 => format!("{:02}", t.year().rem_euclid(100)),
                'y' => padded(t.year().into()),
                'M' if count >= 3 => name(&MONTHS, t.month()),
                'M' => padded(t.month().into()),
                'd' => padded(t.day().into()),
                'D' => padded(t.day_of_year().into()),
                'H' => padded(hour),
                'k' => padded(if hour == 0 { 24 } else { hour }),
                'K' => padded(hour % 12),
                'h' => padded(if hour % 12 == 0 { 12 } else { hour % 12 }),
                'm' => padded(t.minute().into()),
                's' => padded(t.second().into()),
                'S' => padded(t.millisecond().into()),
                'E' => name(&DAYS, t.weekday().to_monday_one_offset()),
                'a' => if hour < 12 { "AM" } else { "PM" }.to_string(),
                'Z' => t.strftime("%z").to_string(),
                'z' => t.strftime("%Z").to_string(),
                other => std::iter::repeat_n(other, count).collect(),
            };
        }
        text
    }
}
