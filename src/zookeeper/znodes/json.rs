//! JSON as the JVM's Kafka reads and writes it in ZooKeeper.
//!
//! Its writer puts no white space and escapes nothing; its reader takes every number for a signed
//! 32-bit integer, takes raw control characters and lone backslashes within strings, and lets the
//! last of equal keys win. Knows no znode.

use super::{Error, Result};

/// Arrays and objects may be nested this deep; nothing that Kafka writes passes four.
const DEPTH: usize = 64;

/// A value as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Int(i32),
    Text(String),
    Array(Vec<Json>),
    /// In order of first appearance, without duplicates.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads `bytes` whole; the root is an object or an array.
    pub(super) fn parse(bytes: &[u8]) -> Result<Json> {
        let input = String::from_utf8_lossy(bytes);
        let mut p = Parser {
            chars: input.chars().collect(),
            at: 0,
            input: &input,
        };
        p.space();
        if !matches!(p.peek(), Some('{' | '[')) {
            return Err(p.syntax());
        }
        let value = p.value(0)?;
        p.space();
        match p.peek() {
            None => Ok(value),
            Some(_) => Err(p.syntax()),
        }
    }

    /// The member `key` of an object.
    pub(super) fn get(&self, key: &'static str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The member `key`, which must be there.
    pub(super) fn need(&self, key: &'static str) -> Result<&Json> {
        self.get(key).ok_or(Error::Missing(key))
    }

    /// The member `key`, a number.
    pub(super) fn int(&self, key: &'static str) -> Result<i32> {
        match self.need(key)? {
            Json::Int(n) => Ok(*n),
            _ => Err(Error::Kind(key)),
        }
    }

    /// The member `key`, a string.
    pub(super) fn text(&self, key: &'static str) -> Result<&str> {
        match self.need(key)? {
            Json::Text(s) => Ok(s),
            _ => Err(Error::Kind(key)),
        }
    }

    /// The member `key`, an object's members.
    pub(super) fn members(&self, key: &'static str) -> Result<&[(String, Json)]> {
        match self.need(key)? {
            Json::Object(members) => Ok(members),
            _ => Err(Error::Kind(key)),
        }
    }

    /// The member `key`, an array.
    pub(super) fn array(&self, key: &'static str) -> Result<&[Json]> {
        match self.need(key)? {
            Json::Array(items) => Ok(items),
            _ => Err(Error::Kind(key)),
        }
    }

    /// The integers of an array that is the value of `key`.
    pub(super) fn ints(&self, key: &'static str) -> Result<Vec<i32>> {
        let Json::Array(items) = self else {
            return Err(Error::Kind(key));
        };
        items
            .iter()
            .map(|item| match item {
                Json::Int(n) => Ok(*n),
                _ => Err(Error::Kind(key)),
            })
            .collect()
    }
}

struct Parser<'a> {
    chars: Vec<char>,
    at: usize,
    input: &'a str,
}

impl Parser<'_> {
    fn syntax(&self) -> Error {
        Error::Syntax {
            at: self.at,
            input: self.input.to_owned(),
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Result<char> {
        let c = self.peek().ok_or_else(|| self.syntax())?;
        self.at += 1;
        Ok(c)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, c: char) -> bool {
        self.space();
        let there = self.peek() == Some(c);
        self.at += usize::from(there);
        there
    }

    fn value(&mut self, depth: usize) -> Result<Json> {
        if depth > DEPTH {
            return Err(self.syntax());
        }
        self.space();
        match self.peek() {
            Some('{') => self.object(depth),
            Some('[') => self.list(depth),
            Some('"') => self.string().map(Json::Text),
            Some('-' | '0'..='9') => self.number(),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json> {
        self.at += 1;
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        if self.eat('}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            if self.peek() != Some('"') {
                return Err(self.syntax());
            }
            let key = self.string()?;
            if !self.eat(':') {
                return Err(self.syntax());
            }
            let value = self.value(depth + 1)?;
            match places.get(&key) {
                Some(&at) => {
                    let old: &mut (String, Json) = &mut members[at];
                    old.1 = value;
                }
                None => {
                    places.insert(key.clone(), members.len());
                    members.push((key, value));
                }
            }
            if self.eat('}') {
                return Ok(Json::Object(members));
            }
            if !self.eat(',') {
                return Err(self.syntax());
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Json> {
        self.at += 1;
        let mut items = Vec::new();
        if self.eat(']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.eat(']') {
                return Ok(Json::Array(items));
            }
            if !self.eat(',') {
                return Err(self.syntax());
            }
        }
    }

    /// A quoted string. A backslash that starts no known escape stands for itself.
    fn string(&mut self) -> Result<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            match self.next()? {
                '"' => return Ok(out),
                '\n' => return Err(self.syntax()),
                '\\' => {
                    let plain = match self.peek() {
                        Some(c @ ('"' | '\\' | '/')) => c,
                        Some('b') => '\u{8}',
                        Some('f') => '\u{c}',
                        Some('n') => '\n',
                        Some('r') => '\r',
                        Some('t') => '\t',
                        Some('u') if self.hex().is_some() => {
                            // A surrogate has no place of its own in UTF-8.
                            let unit = self.hex().unwrap_or_default();
                            self.at += 4;
                            char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)
                        }
                        _ => {
                            out.push('\\');
                            continue;
                        }
                    };
                    self.at += 1;
                    out.push(plain);
                }
                c => out.push(c),
            }
        }
    }

    /// The four hexadecimal digits after the `u` at the cursor.
    fn hex(&self) -> Option<u32> {
        let digits = self.chars.get(self.at + 1..self.at + 5)?;
        digits.iter().try_fold(0, |n, c| Some(n * 16 + c.to_digit(16)?))
    }

    fn number(&mut self) -> Result<Json> {
        let start = self.at;
        while matches!(self.peek(), Some('-' | '+' | '.' | 'e' | 'E' | '0'..='9')) {
            self.at += 1;
        }
        let text: String = self.chars[start..self.at].iter().collect();
        let digits = text.strip_prefix('-').unwrap_or(&text);
        if !digits.starts_with(|c: char| c.is_ascii_digit())
            || (digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit())
        {
            return Err(self.syntax());
        }
        match text.parse() {
            Ok(n) => Ok(Json::Int(n)),
            Err(_) => Err(Error::Number(self.input.to_owned())),
        }
    }

    fn word(&mut self) -> Result<Json> {
        for (word, value) in [
            ("true", Json::Bool(true)),
            ("false", Json::Bool(false)),
            ("null", Json::Null),
        ] {
            let end = self.at + word.len();
            let here = self.chars.get(self.at..end);
            let ends = !self.chars.get(end).is_some_and(|c| c.is_alphanumeric());
            if ends && here.is_some_and(|h| h.iter().copied().eq(word.chars())) {
                self.at = end;
                return Ok(value);
            }
        }
        Err(self.syntax())
    }
}

/// Writes integers as a JSON array.
pub(super) fn ints(items: impl IntoIterator<Item = i32>) -> String {
    let items: Vec<String> = items.into_iter().map(|n| n.to_string()).collect();
    format!("[{}]", items.join(","))
}

/// Writes already encoded items as a JSON array.
pub(super) fn array(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("[{}]", items.join(","))
}

/// Writes already encoded members as a JSON object, keys as they are.
pub(super) fn object<'a>(members: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let members: Vec<String> = members
        .into_iter()
        .map(|(key, value)| format!("\"{key}\":{value}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// Writes a string in quotes and nothing else: Kafka's writer does not escape.
pub(super) fn text(s: &str) -> String {
    format!("\"{s}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(s: &str) -> Result<Json> {
        Json::parse(s.as_bytes())
    }

    #[test]
    fn numbers_are_signed_32_bit_or_an_error_of_their_own() {
        assert_eq!(
            parse("[-1, 0,2147483647]").unwrap().ints("").unwrap(),
            [-1, 0, i32::MAX]
        );
        for n in ["[1.0]", "[1e3]", "[1455200000000]"] {
            let Err(Error::Number(input)) = parse(n) else {
                panic!("{n} was taken for a number");
            };
            assert_eq!(input, n);
            assert_eq!(
                Error::Number(input).to_string(),
                format!("Can't parse json string: {n}")
            );
        }
    }

    #[test]
    fn strings_keep_raw_control_characters_and_unknown_escapes() {
        let v = parse("{\"a\":\"x\ty\\d\\u0041\\/\\\"\"}").unwrap();
        assert_eq!(v.text("a").unwrap(), "x\ty\\dA/\"");
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        assert_eq!(parse("{\"a\":1,\"b\":2,\"a\":3}").unwrap().int("a").unwrap(), 3);
    }

    #[test]
    fn what_is_no_object_or_array_is_a_syntax_error() {
        let deep = "[".repeat(100_000);
        for bad in [
            "", "1", "\"a\"", "{", "{\"a\"}", "{a:1}", "[1,]", "[01]", "[-]", "{} x", "[nul]", &deep,
        ] {
            assert!(matches!(parse(bad), Err(Error::Syntax { .. })), "{bad:.20}");
        }
    }
}
