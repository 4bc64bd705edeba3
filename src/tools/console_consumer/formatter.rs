//! How a message is written (kafka.tools.MessageFormatter and its classes).

use std::io::{self, Write};

use bytes::BytesMut;

use crate::message::MessageRef;
use crate::message::builder::put_entry;

/// The formatters by their class names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tools) enum Formatter {
    /// `kafka.tools.DefaultMessageFormatter`
    Default {
        print_key: bool,
        key_separator: Vec<u8>,
        line_separator: Vec<u8>,
    },
    /// `kafka.tools.NoOpMessageFormatter`
    NoOp,
    /// `kafka.tools.ChecksumMessageFormatter`
    Checksum { before: String },
}

impl Formatter {
    /// The formatter of a class, with its `--property` arguments; the last of a name counts.
    pub(in crate::tools) fn of_class(class: &str, arguments: &[(String, String)]) -> Option<Formatter> {
        let argument = |name: &str| {
            arguments
                .iter()
                .rev()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.as_str())
        };
        let bytes = |name: &str, default: &str| argument(name).unwrap_or(default).as_bytes().to_vec();
        Some(match class {
            "kafka.tools.DefaultMessageFormatter" => Formatter::Default {
                print_key: argument("print.key").is_some_and(|v| v.trim().eq_ignore_ascii_case("true")),
                key_separator: bytes("key.separator", "\t"),
                line_separator: bytes("line.separator", "\n"),
            },
            "kafka.tools.NoOpMessageFormatter" => Formatter::NoOp,
            "kafka.tools.ChecksumMessageFormatter" => Formatter::Checksum {
                before: argument("topic").map(|t| format!("{t}:")).unwrap_or_default(),
            },
            _ => return None,
        })
    }

    pub(in crate::tools) fn write(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        match self {
            Formatter::Default {
                print_key,
                key_separator,
                line_separator,
            } => {
                if *print_key {
                    out.write_all(key.unwrap_or(b"null"))?;
                    out.write_all(key_separator)?;
                }
                out.write_all(value.unwrap_or(b"null"))?;
                out.write_all(line_separator)
            }
            Formatter::NoOp => Ok(()),
            Formatter::Checksum { before } => writeln!(out, "{before}checksum:{}", checksum(key, value)),
        }
    }
}

/// The checksum of an uncompressed message of this key and value.
fn checksum(key: Option<&[u8]>, value: Option<&[u8]>) -> u32 {
    let mut entry = BytesMut::new();
    put_entry(&mut entry, 0, 0, key, value);
    crate::message::SetIter::new(&entry)
        .next()
        .and_then(Result::ok)
        .map_or(0, |m: MessageRef<'_>| m.crc)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(
        class: &str,
        arguments: &[(&str, &str)],
        key: Option<&'static str>,
        value: Option<&'static str>,
    ) -> String {
        let arguments: Vec<(String, String)> = arguments
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let mut out = Vec::new();
        Formatter::of_class(class, &arguments)
            .unwrap()
            .write(key.map(str::as_bytes), value.map(str::as_bytes), &mut out)
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn keys_and_values_are_written_as_they_are_and_null_by_name() {
        let class = "kafka.tools.DefaultMessageFormatter";
        assert_eq!(written(class, &[], Some("k"), Some("v")), "v\n");
        let with_key = [
            ("print.key", "True"),
            ("key.separator", "="),
            ("line.separator", ";"),
        ];
        assert_eq!(written(class, &with_key, Some("k"), Some("")), "k=;");
        assert_eq!(written(class, &with_key, None, None), "null=null;");
    }

    #[test]
    fn checksums_are_unsigned_and_may_name_a_topic() {
        let class = "kafka.tools.ChecksumMessageFormatter";
        // 0xa7ec6803, and 0x592a4787
        assert_eq!(written(class, &[], None, None), "checksum:2817288195\n");
        assert_eq!(
            written(class, &[("topic", "t")], None, Some("test")),
            "t:checksum:1495943047\n"
        );
        assert_eq!(
            written("kafka.tools.NoOpMessageFormatter", &[], None, Some("v")),
            ""
        );
        assert_eq!(Formatter::of_class("kafka.tools.Other", &[]), None);
    }
}
