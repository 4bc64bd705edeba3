//! One row per key: name, type, default, rule, importance, doc, and whether the product heeds it.
//! Does not know any key, nor what a value is for.

mod parse;

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Mistake, Properties};

pub use crate::util::java::double as java_double;

/// The Java type of a value (org.apache.kafka.common.config.ConfigDef.Type).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false` in any case.
    Boolean,
    /// Any text, trimmed.
    String,
    /// 32 bits.
    Int,
    /// 16 bits.
    Short,
    /// 64 bits.
    Long,
    /// 64 bits, floating.
    Double,
    /// Texts between commas.
    List,
    /// The name of a Java class; only the names that the product knows exist.
    Class,
    /// A text that is never shown.
    Password,
}

impl Kind {
    /// As Kafka's messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "BOOLEAN",
            Kind::String => "STRING",
            Kind::Int => "INT",
            Kind::Short => "SHORT",
            Kind::Long => "LONG",
            Kind::Double => "DOUBLE",
            Kind::List => "LIST",
            Kind::Class => "CLASS",
            Kind::Password => "PASSWORD",
        }
    }
}

/// What stands when a key is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// It must be set.
    Required,
    /// Nothing; another key or a rule decides.
    Null,
    /// This, as one would type it.
    Text(&'static str),
}

/// What a value must satisfy beyond its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Nothing.
    Any,
    /// A number of at least this.
    AtLeast(i64),
    /// A number in this closed range.
    Between(i64, i64),
    /// One of these texts, exactly.
    OneOf(&'static [&'static str]),
}

/// Kafka's grading of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// Look at it before going to production.
    High,
    /// Look at it when tuning.
    Medium,
    /// Rarely touched.
    Low,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Key {
    /// As typed in the file.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What stands when it is not set.
    pub default: Default,
    /// What its value must satisfy.
    pub rule: Rule,
    /// How much it matters.
    pub importance: Importance,
    /// What it does, for docs/configuration.md.
    pub doc: &'static str,
    /// Whether the product heeds it. A key that is set without being heeded is warned about at start.
    pub acted_on: bool,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident $kind:ident;)*) => {
        $($(#[$doc])* pub const fn $name(name: &'static str) -> Key { Key::new(name, Kind::$kind) })*
    };
}

impl Key {
    const fn new(name: &'static str, kind: Kind) -> Key {
        Key {
            name,
            kind,
            default: Default::Required,
            rule: Rule::Any,
            importance: Importance::Medium,
            doc: "",
            acted_on: true,
        }
    }

    constructors! {
        /// A row of [`Kind::Boolean`].
        boolean Boolean;
        /// A row of [`Kind::String`].
        string String;
        /// A row of [`Kind::Int`].
        int Int;
        /// A row of [`Kind::Short`].
        short Short;
        /// A row of [`Kind::Long`].
        long Long;
        /// A row of [`Kind::Double`].
        double Double;
        /// A row of [`Kind::List`].
        list List;
        /// A row of [`Kind::Class`].
        class Class;
        /// A row of [`Kind::Password`].
        password Password;
    }

    /// What stands when it is not set, as one would type it.
    pub const fn default(mut self, text: &'static str) -> Key {
        self.default = Default::Text(text);
        self
    }

    /// Nothing stands when it is not set.
    pub const fn optional(mut self) -> Key {
        self.default = Default::Null;
        self
    }

    /// The smallest number allowed.
    pub const fn at_least(mut self, min: i64) -> Key {
        self.rule = Rule::AtLeast(min);
        self
    }

    /// The range allowed.
    pub const fn between(mut self, min: i64, max: i64) -> Key {
        self.rule = Rule::Between(min, max);
        self
    }

    /// The texts allowed.
    pub const fn one_of(mut self, texts: &'static [&'static str]) -> Key {
        self.rule = Rule::OneOf(texts);
        self
    }

    /// Graded high.
    pub const fn high(mut self) -> Key {
        self.importance = Importance::High;
        self
    }

    /// Graded low.
    pub const fn low(mut self) -> Key {
        self.importance = Importance::Low;
        self
    }

    /// The product does not heed it yet.
    pub const fn not_acted_on(mut self) -> Key {
        self.acted_on = false;
        self
    }

    /// What it does.
    pub const fn doc(mut self, text: &'static str) -> Key {
        self.doc = text;
        self
    }
}

/// A parsed value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Not set, no default.
    Null,
    /// [`Kind::Boolean`]
    Boolean(bool),
    /// [`Kind::Int`], [`Kind::Short`] and [`Kind::Long`], within their bounds.
    Number(i64),
    /// [`Kind::Double`]
    Double(f64),
    /// [`Kind::String`], [`Kind::Class`]
    Text(String),
    /// [`Kind::Password`]
    Password(String),
    /// [`Kind::List`]
    List(Vec<String>),
}

/// A set of rows without duplicates.
#[derive(Clone, Debug)]
pub struct Definition {
    keys: BTreeMap<&'static str, &'static Key>,
}

/// Two rows of one name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("Configuration {0} is defined twice.")]
pub struct DefinedTwice(pub &'static str);

impl Definition {
    /// The rows of several tables.
    ///
    /// # Errors
    /// [`DefinedTwice`].
    pub fn new(tables: &[&'static [Key]]) -> Result<Definition, DefinedTwice> {
        let mut keys = BTreeMap::new();
        for key in tables.iter().flat_map(|t| t.iter()) {
            if keys.insert(key.name, key).is_some() {
                return Err(DefinedTwice(key.name));
            }
        }
        Ok(Definition { keys })
    }

    /// The row of a name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.get(name).copied()
    }

    /// All rows by name.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> + '_ {
        self.keys.values().copied()
    }

    /// Parses and checks each key by itself. A key with a mistake has its default in the values, so that
    /// rules between keys can still be checked.
    pub fn read(&self, properties: &Properties) -> (Values, Vec<Mistake>) {
        let mut mistakes = Vec::new();
        let mut values = BTreeMap::new();
        let mut places = BTreeMap::new();
        for key in self.keys() {
            let default = match key.default {
                Default::Text(text) => parse::value(key, text).unwrap_or(Value::Null),
                Default::Required | Default::Null => Value::Null,
            };
            let value = match properties.entry(key.name) {
                None => {
                    if key.default == Default::Required {
                        mistakes.push(Mistake {
                            place: String::new(),
                            key: key.name.to_string(),
                            value: None,
                            rule: format!(
                                "Missing required configuration \"{}\" which has no default value.",
                                key.name
                            ),
                        });
                    }
                    default
                }
                Some(entry) => {
                    places.insert(key.name, (entry.place.clone(), entry.value.trim().to_string()));
                    match parse::value(key, &entry.value) {
                        Ok(value) => value,
                        Err(rule) => {
                            let shown = if key.kind == Kind::Password {
                                "[hidden]"
                            } else {
                                entry.value.trim()
                            };
                            mistakes.push(Mistake {
                                place: entry.place.clone(),
                                key: key.name.to_string(),
                                value: Some(shown.to_string()),
                                rule,
                            });
                            default
                        }
                    }
                }
            };
            values.insert(key.name, value);
        }
        (Values { values, places }, mistakes)
    }

    /// What to say about keys that are set without effect, in order of their lines: unknown ones, and
    /// those that the product does not heed yet.
    pub fn warnings(&self, properties: &Properties) -> Vec<String> {
        properties
            .entries()
            .filter_map(|entry| match self.key(&entry.key) {
                None => Some(format!("{}: Property {} is not valid", entry.place, entry.key)),
                Some(key) if !key.acted_on => Some(format!(
                    "{}: Property {} is known but has no effect yet",
                    entry.place, entry.key
                )),
                Some(_) => None,
            })
            .collect()
    }
}

/// The values of all rows of a [`Definition`].
///
/// Getters panic when a row is not of the getter's type: rows and structs are written side by side, and a
/// test reads every struct.
#[derive(Clone, Debug)]
pub struct Values {
    values: BTreeMap<&'static str, Value>,
    places: BTreeMap<&'static str, (String, String)>,
}

impl Values {
    /// The value of a row.
    pub fn get(&self, name: &str) -> &Value {
        self.values.get(name).expect("the key has a row")
    }

    /// All values by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.values.iter().map(|(name, value)| (*name, value))
    }

    /// Whether the key was set rather than defaulted.
    pub fn is_set(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// A mistake about `name`, placed where it was typed.
    pub fn mistake(&self, name: &str, rule: impl Into<String>) -> Mistake {
        let (place, value) = self.places.get(name).cloned().unwrap_or_default();
        Mistake {
            value: self.is_set(name).then_some(value),
            place,
            key: name.to_string(),
            rule: rule.into(),
        }
    }

    /// A boolean.
    pub fn boolean(&self, name: &str) -> bool {
        matches!(self.get(name), Value::Boolean(true))
    }

    /// A number, `None` when not set.
    pub fn number_or_null(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Value::Number(n) => Some(*n),
            _ => None,
        }
    }

    /// A number; 0 for a required one that is missing, which is a mistake already.
    pub fn long(&self, name: &str) -> i64 {
        self.number_or_null(name).unwrap_or(0)
    }

    /// A number of an int or short row.
    pub fn int(&self, name: &str) -> i32 {
        i32::try_from(self.long(name)).expect("the row is an int")
    }

    /// A number as a size; negative ones are 0.
    pub fn size(&self, name: &str) -> usize {
        usize::try_from(self.long(name).max(0)).unwrap_or(usize::MAX)
    }

    /// Milliseconds; negative ones are 0.
    pub fn millis(&self, name: &str) -> Duration {
        millis(self.long(name))
    }

    /// A double.
    pub fn double(&self, name: &str) -> f64 {
        match self.get(name) {
            Value::Double(d) => *d,
            _ => 0.0,
        }
    }

    /// A text; "" when not set.
    pub fn text(&self, name: &str) -> String {
        self.text_or_null(name).unwrap_or_default()
    }

    /// A text, `None` when not set.
    pub fn text_or_null(&self, name: &str) -> Option<String> {
        match self.get(name) {
            Value::Text(text) | Value::Password(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// A list; empty when not set.
    pub fn list(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Value::List(list) => list.clone(),
            _ => Vec::new(),
        }
    }
}

/// Milliseconds as a duration; negative ones are 0.
pub fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

impl std::fmt::Display for Value {
    /// As Kafka's INFO block at start shows it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Boolean(b) => b.fmt(f),
            Value::Number(n) => n.fmt(f),
            Value::Double(d) => f.write_str(&java_double(*d)),
            Value::Text(text) => f.write_str(text),
            Value::Password(_) => f.write_str("[hidden]"),
            Value::List(list) => write!(f, "[{}]", list.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests;
