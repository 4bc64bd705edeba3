//! What keys and values look like in print: text, or the records of the topic of consumer groups'
//! offsets.
//!
//! ```text
//! key   = 0|1:i16  group  topic  partition:i32          -> offset::<group>:<topic>:<partition>
//!         2:i16    group                                -> metadata::<group>
//! value = 0:i16  offset:i64  metadata  timestamp:i64    (of an offset; version 1 adds an expiry)
//!         0:i16  type  generation:i32  protocol  leader  members
//! ```

use std::fmt::Write as _;

use bytes::Bytes;

use super::{Error, Result, STRING_DECODER};
use crate::util::codec::{self, Reader};

/// How to print a message.
pub(super) enum Decoder {
    /// Both as text, or as hexadecimal bytes where the second says so.
    Plain { key: Shown, value: Shown },
    /// Both as the offsets topic has them.
    Offsets,
}

/// How to print bytes.
#[derive(Clone, Copy)]
pub(super) enum Shown {
    Text,
    Hex,
}

impl Decoder {
    pub(super) fn new(offsets: bool, key: &str, value: &str) -> Result<Decoder> {
        if offsets {
            return Ok(Decoder::Offsets);
        }
        Ok(Decoder::Plain {
            key: shown(key)?,
            value: shown(value)?,
        })
    }

    /// The key, if there is one, and the value as they are printed.
    pub(super) fn decode(&self, key: Option<&[u8]>, value: &[u8]) -> Result<(Option<String>, String)> {
        match self {
            Decoder::Plain {
                key: as_key,
                value: as_value,
            } => Ok((key.map(|k| as_key.show(k)), as_value.show(value))),
            Decoder::Offsets => {
                let key = key.ok_or_else(|| undecodable("message had a missing key"))?;
                let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                let (key, value) = offsets_record(key, value)?;
                Ok((Some(key), value))
            }
        }
    }
}

fn undecodable(why: impl std::fmt::Display) -> Error {
    Error::Undecodable(format!(
        "Failed to decode message using offset topic decoder ({why})"
    ))
}

impl From<codec::Error> for Error {
    fn from(e: codec::Error) -> Error {
        undecodable(e)
    }
}

/// Classes of users cannot be loaded; the two that Kafka has are known.
fn shown(class: &str) -> Result<Shown> {
    match class {
        STRING_DECODER => Ok(Shown::Text),
        "kafka.serializer.DefaultDecoder" => Ok(Shown::Hex),
        other => Err(Error::UnknownDecoder(other.to_owned())),
    }
}

impl Shown {
    fn show(self, bytes: &[u8]) -> String {
        match self {
            Shown::Text => java_text(bytes),
            Shown::Hex => hex(bytes),
        }
    }
}

fn offsets_record(key: Bytes, value: Bytes) -> Result<(String, String)> {
    let (mut key, mut value) = (Reader::new(key), Reader::new(value));
    match key.i16()? {
        0 | 1 => {
            let (group, topic) = (text(&mut key)?, text(&mut key)?);
            let partition = key.i32()?;
            let version = value.i16()?;
            if !(0..=1).contains(&version) {
                return Err(Error::Undecodable(format!(
                    "Unknown offset schema version {version}"
                )));
            }
            let offset = value.i64()?;
            let shown = match text(&mut value)? {
                metadata if metadata.is_empty() => offset.to_string(),
                metadata => format!("{offset}:{metadata}"),
            };
            Ok((format!("offset::{group}:{topic}:{partition}"), shown))
        }
        2 => {
            let group = text(&mut key)?;
            Ok((format!("metadata::{group}"), group_metadata(&mut value)?))
        }
        version => Err(Error::Undecodable(format!(
            "Unknown offset schema version {version}"
        ))),
    }
}

fn group_metadata(r: &mut Reader) -> Result<String> {
    let version = r.i16()?;
    if version != 0 {
        return Err(Error::Undecodable(format!(
            "Unknown group metadata version {version}"
        )));
    }
    let protocol_type = text(r)?;
    let generation = r.i32()?;
    let protocol = text(r)?;
    text(r)?;
    let mut members = Vec::new();
    for _ in 0..r.i32()? {
        let member = text(r)?;
        text(r)?;
        text(r)?;
        r.i32()?;
        r.nullable_bytes()?;
        let assignment = r.nullable_bytes()?.unwrap_or_default();
        let shown = match protocol_type.as_str() {
            "consumer" => consumer_assignment(assignment)?,
            _ => hex(&assignment),
        };
        members.push(format!("{member}={shown}"));
    }
    Ok(format!(
        "{protocol_type}:{protocol}:{generation}:{{{}}}",
        members.join(",")
    ))
}

/// What a consumer was assigned: `[t-0, t-1]`, and its own bytes if it has some.
fn consumer_assignment(bytes: Bytes) -> Result<String> {
    let mut r = Reader::new(bytes);
    r.i16()?;
    let mut partitions = Vec::new();
    for _ in 0..r.i32()? {
        let topic = text(&mut r)?;
        for _ in 0..r.i32()? {
            partitions.push(format!("{topic}-{}", r.i32()?));
        }
    }
    let own = hex(&r.nullable_bytes()?.unwrap_or_default());
    let colon = if own.is_empty() { "" } else { ":" };
    Ok(format!("[{}]{colon}{own}", partitions.join(", ")))
}

/// Bytes as Java reads UTF-8: what is malformed becomes the replacement character as in Rust, but the
/// three bytes that would be a surrogate become one rather than three.
fn java_text(bytes: &[u8]) -> String {
    let mut clean = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        rest = match rest {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, after @ ..] | [0xed, 0xa0..=0xbf, after @ ..] => {
                clean.extend_from_slice("\u{fffd}".as_bytes());
                after
            }
            _ => {
                clean.push(*first);
                after
            }
        };
    }
    String::from_utf8_lossy(&clean).into_owned()
}

/// Null is printed as Java prints it.
fn text(r: &mut Reader) -> Result<String> {
    Ok(r.nullable_short_string()?.unwrap_or_else(|| "null".to_owned()))
}

/// As a number, so without zeros in front: the genuine tool's way.
fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        write!(out, "{byte:02X}").expect("a String takes every write");
    }
    match out.trim_start_matches('0') {
        "" if !out.is_empty() => "0".to_owned(),
        number => number.to_owned(),
    }
}
