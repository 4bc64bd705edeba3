//! What record a line is (kafka.tools.ConsoleProducer$LineMessageReader).

use std::sync::Arc;

use bytes::Bytes;

use crate::client::producer::Record;

/// A line without a key where one is needed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("No key found on line {number}: {line}")]
pub(super) struct NoKey {
    number: u64,
    line: String,
}

/// Makes records of lines.
#[derive(Debug)]
pub(super) struct LineReader {
    topic: Arc<str>,
    parse_key: bool,
    separator: Vec<u8>,
    ignore_error: bool,
    number: u64,
}

impl LineReader {
    /// Heeds the properties `parse.key`, `key.separator` and `ignore.error`; the last of a name counts.
    pub(super) fn new(topic: &str, properties: &[(String, String)]) -> LineReader {
        let property = |name: &str| {
            properties
                .iter()
                .rev()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.as_str())
        };
        let is_true = |name: &str| property(name).is_some_and(|v| v.trim().eq_ignore_ascii_case("true"));
        LineReader {
            topic: topic.into(),
            parse_key: is_true("parse.key"),
            separator: property("key.separator").unwrap_or("\t").as_bytes().to_vec(),
            ignore_error: is_true("ignore.error"),
            number: 0,
        }
    }

    /// The record of the next line.
    pub(super) fn record(&mut self, line: Bytes) -> Result<Record, NoKey> {
        self.number += 1;
        let record = |key, value| Record {
            topic: self.topic.clone(),
            partition: None,
            key,
            value: Some(value),
        };
        if !self.parse_key {
            return Ok(record(None, line));
        }
        match find(&line, &self.separator) {
            Some(at) => Ok(record(
                Some(line.slice(..at)),
                line.slice(at + self.separator.len()..),
            )),
            None if self.ignore_error => Ok(record(None, line)),
            None => Err(NoKey {
                number: self.number,
                line: String::from_utf8_lossy(&line).into_owned(),
            }),
        }
    }
}

/// Where `part` begins in `bytes`; an empty part is found at once.
fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    bytes.windows(part.len()).position(|w| w == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(properties: &[(&str, &str)]) -> LineReader {
        let properties: Vec<(String, String)> = properties
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        LineReader::new("t", &properties)
    }

    fn parts(r: Record) -> (Option<Bytes>, Bytes) {
        (r.key, r.value.unwrap())
    }

    #[test]
    fn keys_end_at_the_first_separator() {
        let mut r = reader(&[("parse.key", " TRUE "), ("key.separator", "::")]);
        let got = parts(r.record("k::v::w".into()).unwrap());
        assert_eq!(got, (Some("k".into()), "v::w".into()));
        assert_eq!(
            parts(r.record("::v".into()).unwrap()),
            (Some("".into()), "v".into())
        );
        assert_eq!(
            r.record("none".into()).unwrap_err().to_string(),
            "No key found on line 3: none"
        );
    }

    #[test]
    fn errors_are_ignored_only_when_told_and_keys_looked_for_only_then() {
        let mut r = reader(&[("parse.key", "true"), ("ignore.error", "true")]);
        assert_eq!(parts(r.record("none".into()).unwrap()), (None, "none".into()));
        let mut r = reader(&[]);
        assert_eq!(parts(r.record("a\tb".into()).unwrap()), (None, "a\tb".into()));
        assert_eq!(parts(r.record("".into()).unwrap()), (None, "".into()));
    }
}
