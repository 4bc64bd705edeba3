//! One value from text, with Kafka's messages. Does not know keys.

use super::{Key, Kind, Rule, Value};

/// Parses and checks one value; the error is Kafka's whole message.
pub(super) fn value(key: &Key, text: &str) -> Result<Value, String> {
    let text = text.trim();
    let wrong =
        |shown: &str, why: String| format!("Invalid value {shown} for configuration {}: {why}", key.name);
    let not_a_number = || wrong(text, format!("Not a number of type {}", key.kind.name()));
    let value = match key.kind {
        Kind::Boolean if text.eq_ignore_ascii_case("true") => Value::Boolean(true),
        Kind::Boolean if text.eq_ignore_ascii_case("false") => Value::Boolean(false),
        Kind::Boolean => return Err(wrong(text, "Expected value to be either true or false".into())),
        Kind::String => Value::Text(text.to_string()),
        Kind::Password => Value::Password(text.to_string()),
        Kind::Int => Value::Number(text.parse::<i32>().map_err(|_| not_a_number())?.into()),
        Kind::Short => Value::Number(text.parse::<i16>().map_err(|_| not_a_number())?.into()),
        Kind::Long => Value::Number(text.parse().map_err(|_| not_a_number())?),
        // Java allows a type suffix.
        Kind::Double => Value::Double(
            text.strip_suffix(['d', 'D', 'f', 'F'])
                .unwrap_or(text)
                .parse()
                .map_err(|_| not_a_number())?,
        ),
        Kind::List if text.is_empty() => Value::List(Vec::new()),
        Kind::List => Value::List(text.split(',').map(|t| t.trim().to_string()).collect()),
        Kind::Class => Value::Text(text.to_string()),
    };
    match (key.rule, &value) {
        (Rule::AtLeast(min), Value::Number(n)) if *n < min => {
            Err(wrong(&n.to_string(), format!("Value must be at least {min}")))
        }
        (Rule::Between(min, _), v) if number(v).is_some_and(|n| n < min as f64) => {
            Err(wrong(&v.to_string(), format!("Value must be at least {min}")))
        }
        (Rule::Between(_, max), v) if number(v).is_some_and(|n| n > max as f64) => {
            Err(wrong(&v.to_string(), format!("Value must be no more than {max}")))
        }
        (Rule::OneOf(texts), Value::Text(t)) if key.kind == Kind::Class && !texts.contains(&t.as_str()) => {
            Err(wrong(t, format!("Class {t} could not be found.")))
        }
        (Rule::OneOf(texts), Value::Text(t)) if !texts.contains(&t.as_str()) => {
            Err(wrong(t, format!("String must be one of: {}", texts.join(", "))))
        }
        _ => Ok(value),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(n) => Some(*n as f64),
        Value::Double(d) => Some(*d),
        _ => None,
    }
}
