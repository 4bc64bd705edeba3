//! `/consumers/G/…`: members of old consumer groups, and their offsets (TopicCount,
//! ZookeeperConsumerConnector).

use super::json::{self, Json};
use super::{Result, decimal};
use crate::util::clock::WallMs;

/// How a member chose its topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// By name.
    Static,
    /// All that match an expression.
    WhiteList,
    /// All that do not match an expression.
    BlackList,
}

impl Pattern {
    /// The word in the node.
    pub fn name(self) -> &'static str {
        match self {
            Pattern::Static => "static",
            Pattern::WhiteList => "white_list",
            Pattern::BlackList => "black_list",
        }
    }
}

/// One member's registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Number of threads by topic; for a list pattern one entry, by the expression.
    pub subscription: Vec<(String, i32)>,
    /// How the topics were chosen.
    pub pattern: Pattern,
    /// When it registered.
    pub timestamp: WallMs,
}

impl Registration {
    /// The node's data. An expression is escaped as Kafka does it; topic names need none.
    pub fn encode(&self) -> String {
        let escaped: Vec<(String, i32)> = self
            .subscription
            .iter()
            .map(|(topic, threads)| match self.pattern {
                Pattern::Static => (topic.clone(), *threads),
                _ => (escape(topic), *threads),
            })
            .collect();
        let subscription = escaped.iter().map(|(t, n)| (t.as_str(), n.to_string()));
        json::object([
            ("version", "1".to_owned()),
            ("subscription", json::object(subscription)),
            ("pattern", json::text(self.pattern.name())),
            ("timestamp", json::text(&self.timestamp.0.to_string())),
        ])
    }

    /// Reads a member's registration. An unknown pattern and an empty subscription count as static.
    ///
    /// # Errors
    /// If it is no JSON, or `pattern` or `subscription` is missing.
    pub fn decode(data: &[u8]) -> Result<Registration> {
        let root = Json::parse(data)?;
        let pattern = match root.text("pattern")? {
            "white_list" => Pattern::WhiteList,
            "black_list" => Pattern::BlackList,
            _ => Pattern::Static,
        };
        let mut subscription = Vec::new();
        for (topic, threads) in root.members("subscription")? {
            match threads {
                Json::Int(n) => subscription.push((topic.clone(), *n)),
                _ => return Err(super::Error::Kind("subscription")),
            }
        }
        let pattern = if subscription.is_empty() {
            Pattern::Static
        } else {
            pattern
        };
        let timestamp = root.text("timestamp").ok().and_then(|t| t.parse().ok());
        Ok(Registration {
            subscription,
            pattern,
            timestamp: WallMs(timestamp.unwrap_or(-1)),
        })
    }
}

/// Escapes as Scala's JSON does (JSONFormat.quoteString): quotes, both slashes and control
/// characters.
fn escape(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        match c {
            '"' | '\\' | '/' => out.extend(['\\', c]),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' || ('\u{7f}'..='\u{9f}').contains(&c) => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

/// The data of an offset's node.
pub fn encode_offset(offset: i64) -> String {
    offset.to_string()
}

/// Reads the data of an offset's node.
///
/// # Errors
/// [`super::Error::NotANumber`].
pub fn decode_offset(data: &[u8]) -> Result<i64> {
    decimal(data)
}
