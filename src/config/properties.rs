//! java.util.Properties' file format, as Kafka and ZooKeeper read it. Does not know any key.
//!
//! Bytes are ISO-8859-1; `\u00e9` stands for the rest. A line ends with LF, CR or CRLF; an odd number of
//! backslashes at its end joins the next line, whose leading blanks go. The key ends at the first
//! unescaped `=`, `:` or blank. A backslash before any other character silently vanishes:
//! `log.dirs=D:\Kafka\logs` means `D:Kafkalogs`, and [`Properties::warnings`] says so.

use std::path::{Path, PathBuf};

/// One setting with its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Unescaped.
    pub key: String,
    /// Unescaped; blanks at its end are kept.
    pub value: String,
    /// `server.properties:12`, or what [`Properties::set`] was told.
    pub place: String,
}

/// Settings in the order of their lines. A later one of the same key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    entries: Vec<Entry>,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system's answer.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        #[source]
        error: std::io::Error,
    },
    /// `\u` without four hexadecimal digits; Java's message after the place.
    #[error("{place}: Malformed \\uxxxx encoding.")]
    MalformedUnicode {
        /// File and line.
        place: String,
    },
}

/// A result with this module's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Properties {
    /// No settings.
    pub fn new() -> Properties {
        Properties::default()
    }

    /// Reads a file. Places name it by its last component.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::MalformedUnicode`].
    pub fn load(path: &Path) -> Result<Properties> {
        let bytes = std::fs::read(path).map_err(|error| Error::Io {
            path: path.to_path_buf(),
            error,
        })?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Properties::parse(&bytes, &name)
    }

    /// Reads the text of a file called `name`.
    ///
    /// # Errors
    /// [`Error::MalformedUnicode`].
    pub fn parse(bytes: &[u8], name: &str) -> Result<Properties> {
        let mut entries = Vec::new();
        let mut lines = lines(bytes).into_iter().enumerate();
        while let Some((number, line)) = lines.next() {
            let mut logical = skip_blanks(line).to_vec();
            if logical.is_empty() || matches!(logical[0], b'#' | b'!') {
                continue;
            }
            while ends_with_continuation(&logical) {
                logical.pop();
                match lines.next() {
                    Some((_, next)) => logical.extend(skip_blanks(next)),
                    None => break,
                }
            }
            let place = format!("{name}:{}", number + 1);
            let malformed = |()| Error::MalformedUnicode { place: place.clone() };
            let (key, value) = split(&logical);
            let key = unescape(key).map_err(malformed)?;
            let value = unescape(value).map_err(malformed)?;
            entries.push(Entry { key, value, place });
        }
        Ok(Properties { entries })
    }

    /// The value that counts for `key`, untrimmed.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entry(key).map(|e| e.value.as_str())
    }

    /// The setting that counts for `key`: the last.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|e| e.key == key)
    }

    /// Overrides `key`. `origin` stands for the place, `--override`.
    pub fn set(&mut self, key: &str, value: &str, origin: &str) {
        self.entries.push(Entry {
            key: key.to_string(),
            value: value.to_string(),
            place: origin.to_string(),
        });
    }

    /// The settings that count, in order of their lines.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .enumerate()
            .filter(|(at, e)| !self.entries[at + 1..].iter().any(|later| later.key == e.key))
            .map(|(_, e)| e)
    }

    /// What is legal but surely not meant: a directory that lost its backslashes.
    pub fn warnings<'a>(&'a self, directory_keys: &'a [&str]) -> impl Iterator<Item = String> + 'a {
        self.entries()
            .filter(|e| directory_keys.contains(&e.key.as_str()))
            .flat_map(|e| e.value.split(',').map(move |dir| (e, dir.trim())))
            .filter(|(_, dir)| is_drive_relative(dir))
            .map(|(e, dir)| {
                format!(
                    "{}: {}={dir} is relative to the current directory of its drive. A backslash in a properties \
                     file must be doubled: write C:\\\\kafka\\\\logs or C:/kafka/logs.",
                    e.place, e.key
                )
            })
    }
}

/// `X:` not followed by a slash.
fn is_drive_relative(dir: &str) -> bool {
    let bytes = dir.as_bytes();
    bytes.len() >= 2
        && bytes[0].is_ascii_alphabetic()
        && bytes[1] == b':'
        && !matches!(bytes.get(2), Some(b'/' | b'\\'))
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
        lines.push(&rest[..end]);
        let both = rest[end] == b'\r' && rest.get(end + 1) == Some(&b'\n');
        rest = &rest[end + if both { 2 } else { 1 }..];
    }
    lines.push(rest);
    lines
}

fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | 0x0c)
}

fn skip_blanks(line: &[u8]) -> &[u8] {
    &line[line.iter().position(|&b| !is_blank(b)).unwrap_or(line.len())..]
}

fn ends_with_continuation(line: &[u8]) -> bool {
    line.iter().rev().take_while(|&&b| b == b'\\').count() % 2 == 1
}

/// Key and value of a joined line, both still escaped.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let mut escaped = false;
    let end = line.iter().position(|&b| {
        let ends = !escaped && (is_blank(b) || matches!(b, b'=' | b':'));
        escaped = b == b'\\' && !escaped;
        ends
    });
    let Some(end) = end else { return (line, &[]) };
    let mut value = skip_blanks(&line[end..]);
    if let Some((b'=' | b':', after)) = value.split_first() {
        value = skip_blanks(after);
    }
    (&line[..end], value)
}

fn unescape(bytes: &[u8]) -> std::result::Result<String, ()> {
    let mut units: Vec<u16> = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&b, after)) = rest.split_first() {
        rest = after;
        if b != b'\\' {
            units.push(b.into());
            continue;
        }
        // A lone backslash is left only at the end of the file.
        let Some((&c, after)) = rest.split_first() else {
            break;
        };
        rest = after;
        units.push(match c {
            b't' => 0x09,
            b'n' => 0x0a,
            b'f' => 0x0c,
            b'r' => 0x0d,
            b'u' => {
                let digits = rest
                    .get(..4)
                    .filter(|d| d.iter().all(u8::is_ascii_hexdigit))
                    .ok_or(())?;
                rest = &rest[4..];
                digits.iter().fold(0, |unit, &d| {
                    unit << 4 | u16::try_from(char::from(d).to_digit(16).unwrap_or(0)).unwrap_or(0)
                })
            }
            other => other.into(),
        });
    }
    Ok(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests;
