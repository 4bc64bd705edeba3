//! java.util.Properties' file format, as Kafka and ZooKeeper read it. Does not know any key.
//!
//! A line ends with LF, CR or CRLF; an odd number of backslashes at its end joins the next line, whose
//! leading blanks go. The key ends at the first unescaped `=`, `:` or blank. A backslash before any other
//! character silently vanishes: `log.dirs=D:\Kafka\logs` means `D:Kafkalogs`, and
//! [`Properties::warnings`] says so.
//!
//! Two things are read as they were meant instead of as Java reads them. A file that is UTF-8 as a whole
//! is read as that, with or without a byte order mark; any other is ISO-8859-1, as Java takes all of them
//! (`\u00e9` works in both). And on Windows, where nothing else can be meant by it, a value with a drive
//! and a single backslash behind it (`D:\Kafka\logs`) is a path, whose backslashes all stay.

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

    /// Reads a file, with paths as Windows writes them if that is the system. Places name it by its last
    /// component.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::MalformedUnicode`].
    pub fn load(path: &Path) -> Result<Properties> {
        let bytes = std::fs::read(path).map_err(|error| Error::Io {
            path: path.to_path_buf(),
            error,
        })?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Properties::read(&bytes, &name, cfg!(windows))
    }

    /// Reads the text of a file called `name`; backslashes are Java's everywhere.
    ///
    /// # Errors
    /// [`Error::MalformedUnicode`].
    pub fn parse(bytes: &[u8], name: &str) -> Result<Properties> {
        Properties::read(bytes, name, false)
    }

    fn read(bytes: &[u8], name: &str, windows: bool) -> Result<Properties> {
        let text = decode(bytes);
        let mut entries = Vec::new();
        let mut lines = lines(&text).into_iter().enumerate();
        while let Some((number, line)) = lines.next() {
            let mut logical = skip_blanks(line).to_owned();
            if logical.is_empty() || logical.starts_with(['#', '!']) {
                continue;
            }
            let literal = |line: &str| windows && is_windows_path(split(line).1);
            while ends_with_continuation(&logical) && !literal(&logical) {
                logical.pop();
                match lines.next() {
                    Some((_, next)) => logical += skip_blanks(next),
                    None => break,
                }
            }
            let place = format!("{name}:{}", number + 1);
            let malformed = |()| Error::MalformedUnicode { place: place.clone() };
            let (key, value) = split(&logical);
            let key = unescape(key).map_err(malformed)?;
            let value = if literal(&logical) {
                value.to_owned()
            } else {
                unescape(value).map_err(malformed)?
            };
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

/// Whether one of the directories of a value that is still escaped is written as on Windows: `D:\x`,
/// where Java wants `D:\\x` or `D:/x`.
fn is_windows_path(value: &str) -> bool {
    value.split(',').any(|dir| {
        let mut chars = dir.trim_start().chars();
        let start = (chars.next(), chars.next(), chars.next(), chars.next());
        matches!(start, (Some(drive), Some(':'), Some('\\'), next)
            if drive.is_ascii_alphabetic() && next != Some('\\'))
    })
}

/// UTF-8 if it is that, else ISO-8859-1.
fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(['\n', '\r']) {
        lines.push(&rest[..end]);
        let both = rest[end..].starts_with("\r\n");
        rest = &rest[end + if both { 2 } else { 1 }..];
    }
    lines.push(rest);
    lines
}

const BLANKS: [char; 3] = [' ', '\t', '\x0c'];

fn skip_blanks(line: &str) -> &str {
    line.trim_start_matches(BLANKS)
}

fn ends_with_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 1
}

/// Key and value of a joined line, both still escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c| {
        let ends = !escaped && (BLANKS.contains(&c) || matches!(c, '=' | ':'));
        escaped = c == '\\' && !escaped;
        ends
    });
    let Some(end) = end else { return (line, "") };
    let mut value = skip_blanks(&line[end..]);
    if let Some(after) = value.strip_prefix(['=', ':']) {
        value = skip_blanks(after);
    }
    (&line[..end], value)
}

fn unescape(text: &str) -> std::result::Result<String, ()> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let meant = match (c, (c == '\\').then(|| rest.next())) {
            (plain, None) => plain,
            // A lone backslash is left only at the end of the file.
            (_, Some(None)) => break,
            (_, Some(Some('t'))) => '\t',
            (_, Some(Some('n'))) => '\n',
            (_, Some(Some('f'))) => '\x0c',
            (_, Some(Some('r'))) => '\r',
            (_, Some(Some('u'))) => {
                let digits = rest.as_str().get(..4).ok_or(())?;
                if !digits.bytes().all(|d| d.is_ascii_hexdigit()) {
                    return Err(());
                }
                units.push(u16::from_str_radix(digits, 16).map_err(|_| ())?);
                rest = rest.as_str()[4..].chars();
                continue;
            }
            (_, Some(Some(other))) => other,
        };
        units.extend_from_slice(meant.encode_utf16(&mut [0; 2]));
    }
    Ok(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests;
