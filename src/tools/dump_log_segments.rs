//! kafka.tools.DumpLogSegments: prints what is in segment files, and checks indexes against them. Opens
//! files for reading only (the genuine tool opens indexes for writing) and never holds more than one
//! message.

mod decoders;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;

use super::options::{self, ArgType, OptionParser, check_required_args};
use crate::message::set::{ENTRY_OVERHEAD, MIN_MESSAGE, u32_at, u64_at};
use crate::message::{Codec, MessageRef, Offset, SetIter, deep};
use decoders::Decoder;

const PURPOSE: &str = "Parse a log file and dump its contents to the console, useful for debugging a seemingly corrupt log segment.";
const STRING_DECODER: &str = "kafka.serializer.StringDecoder";

/// Runs the program.
pub(super) fn run(args: &[String]) -> ExitCode {
    let settings = match Settings::parse(args) {
        Ok(settings) => settings,
        Err(e) => return e.report(),
    };
    let mut dump = Dump {
        settings,
        out: BufWriter::new(io::stdout().lock()),
        mismatches: BTreeMap::new(),
        gaps: BTreeMap::new(),
    };
    let result = dump.run();
    // What was found up to a failure is shown before it, as the genuine tool does.
    let flushed = dump.out.flush().map_err(Error::Output);
    match result.and(flushed) {
        Ok(()) => {
            dump.report();
            ExitCode::SUCCESS
        }
        Err(Error::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("Exception in thread \"main\" {e}");
            ExitCode::FAILURE
        }
    }
}

/// What ends the program; the texts are those of the genuine one's exceptions.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("java.lang.NumberFormatException: For input string: \"{0}\"")]
    NoNumber(String),
    #[error("java.io.FileNotFoundException: {} ({reason})", path.display())]
    NotFound { path: PathBuf, reason: String },
    #[error("java.io.IOException: {}: {source}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "kafka.message.InvalidMessageException: Message size exceeds the largest allowable message size ({0})."
    )]
    TooLarge(i32),
    #[error("java.util.NoSuchElementException: no message at position {position} of {}", path.display())]
    NoMessage { path: PathBuf, position: u64 },
    #[error("kafka.common.KafkaException: {0}")]
    Undecodable(String),
    #[error("java.lang.ClassNotFoundException: {0}")]
    UnknownDecoder(String),
    #[error("{0}")]
    Output(#[source] io::Error),
}

type Result<T> = std::result::Result<T, Error>;

impl From<crate::message::Error> for Error {
    fn from(e: crate::message::Error) -> Error {
        Error::Undecodable(e.to_string())
    }
}

/// What the command line asks for.
struct Settings {
    files: Vec<String>,
    print: bool,
    verify_only: bool,
    deep: bool,
    max_message_size: i32,
    key_decoder: String,
    value_decoder: String,
    offsets: bool,
}

impl Settings {
    fn parse(args: &[String]) -> options::Result<Settings> {
        let parser = parser();
        if args.is_empty() {
            return Err(parser.usage_error(PURPOSE));
        }
        let set = parser.parse(args)?;
        check_required_args(&parser, &set, &["files"])?;
        let text = |name: &str| set.value(name).map(Option::unwrap_or_default);
        Ok(Settings {
            // As Java splits: empty parts at the end do not count.
            files: text("files")?
                .trim_end_matches(',')
                .split(',')
                .map(str::to_owned)
                .collect(),
            print: set.has("print-data-log"),
            verify_only: set.has("verify-index-only"),
            deep: set.has("deep-iteration"),
            max_message_size: set.int("max-message-size")?.unwrap_or(0),
            key_decoder: text("key-decoder-class")?,
            value_decoder: text("value-decoder-class")?,
            offsets: set.has("offsets-decoder"),
        })
    }
}

fn parser() -> OptionParser {
    let mut parser = OptionParser::new();
    parser.accepts(
        "print-data-log",
        "if set, printing the messages content when dumping data logs",
    );
    parser.accepts(
        "verify-index-only",
        "if set, just verify the index log without printing its content",
    );
    parser
        .accepts(
            "files",
            "REQUIRED: The comma separated list of data and index log files to be dumped",
        )
        .with_required_arg()
        .described_as("file1, file2, ...");
    parser
        .accepts("max-message-size", "Size of largest message.")
        .with_required_arg()
        .described_as("size")
        .of_type(ArgType::Integer)
        .defaults_to(5 * 1024 * 1024);
    parser.accepts("deep-iteration", "if set, uses deep instead of shallow iteration");
    for (option, what) in [("value-decoder-class", "messages"), ("key-decoder-class", "keys")] {
        let description = format!(
            "if set, used to deserialize the {what}. This class should implement kafka.serializer.Decoder trait. \
             Custom jar should be available in kafka/libs directory."
        );
        parser
            .accepts(option, &description)
            .with_optional_arg()
            .defaults_to(STRING_DECODER);
    }
    parser.accepts(
        "offsets-decoder",
        "if set, log data will be parsed as offset data from __consumer_offsets topic",
    );
    parser
}

struct Dump<W: Write> {
    settings: Settings,
    out: BufWriter<W>,
    /// Offsets in an index and what its log has there, by file.
    mismatches: BTreeMap<PathBuf, Vec<(Offset, Offset)>>,
    /// Offsets that are not followed by the next one, by file.
    gaps: BTreeMap<PathBuf, Vec<(Offset, Offset)>>,
}

impl<W: Write> Dump<W> {
    fn run(&mut self) -> Result<()> {
        let decoder = Decoder::new(
            self.settings.offsets,
            &self.settings.key_decoder,
            &self.settings.value_decoder,
        )?;
        for file in self.settings.files.clone() {
            let path = PathBuf::from(&file);
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name.ends_with(".log") {
                self.line(&format!("Dumping {file}"))?;
                self.log(&path, &name, &decoder)?;
            } else if name.ends_with(".index") {
                self.line(&format!("Dumping {file}"))?;
                self.index(&path, &name)?;
            }
        }
        Ok(())
    }

    fn line(&mut self, text: &str) -> Result<()> {
        writeln!(self.out, "{text}").map_err(Error::Output)
    }

    fn log(&mut self, path: &Path, name: &str, decoder: &Decoder) -> Result<()> {
        let base = base_offset(name)?;
        self.line(&format!("Starting offset: {base}"))?;
        let mut messages = Messages::open(path)?;
        let mut last = None;
        while let Some(entry) = messages.next(self.settings.max_message_size)? {
            for (bytes, offset) in self.opened(&entry)? {
                let message = MessageRef::parse(&bytes, offset, 0)?;
                let codec = message.codec()?;
                if let Some(last) = last.filter(|l| codec == Codec::None && offset != l + 1) {
                    let gaps = self.gaps.entry(absolute(path)).or_default();
                    gaps.insert(0, (last, offset));
                }
                last = Some(offset);
                self.message(&message, entry.position, codec, decoder)?;
            }
        }
        if messages.at < messages.size {
            let invalid = messages.size - messages.at;
            self.line(&format!("Found {invalid} invalid bytes at the end of {name}"))?;
        }
        Ok(())
    }

    /// The messages of an entry: those inside a wrapper with `--deep-iteration`, else itself.
    fn opened(&self, entry: &Entry) -> Result<Vec<(Bytes, Offset)>> {
        match self.settings.deep {
            true => opened(entry),
            false => Ok(vec![(entry.message.clone(), entry.offset)]),
        }
    }

    /// One line. What cannot be decoded ends the program within it, as the genuine one's does.
    fn message(
        &mut self,
        message: &MessageRef<'_>,
        position: u64,
        codec: Codec,
        decoder: &Decoder,
    ) -> Result<()> {
        let size = message.value.map_or(-1, |v| v.len() as i64);
        let head = format!(
            "offset: {} position: {position} isvalid: {} payloadsize: {size} magic: {} compresscodec: {} crc: {}",
            message.offset,
            message.check_crc().is_ok(),
            message.magic,
            codec.name(),
            message.crc
        );
        write!(self.out, "{head}").map_err(Error::Output)?;
        if let Some(key) = message.key {
            write!(self.out, " keysize: {}", key.len()).map_err(Error::Output)?;
        }
        if self.settings.print
            && let Some(value) = message.value
        {
            let (key, value) = decoder.decode(message.key, value)?;
            if let Some(key) = key {
                write!(self.out, " key: {key}").map_err(Error::Output)?;
            }
            write!(self.out, " payload: {value}").map_err(Error::Output)?;
        }
        self.line("")
    }

    fn index(&mut self, path: &Path, name: &str) -> Result<()> {
        let base = base_offset(name)?;
        let log = path.with_file_name(format!("{}.log", name.split('.').next().unwrap_or_default()));
        let mut messages = Messages::open(&log)?;
        let file = open(path)?;
        let mut entries = BufReader::new(file);
        let mut entry = [0; 8];
        let mut first = true;
        while read_whole(&mut entries, &mut entry, path)? {
            let relative = u32_at(&entry, 0) as i32;
            let position = u64::from(u32_at(&entry, 4));
            let offset = base + Offset::from(relative);
            // A JVM broker's open index is padded with zeros: the first of them ends it.
            if relative == 0 && (!first || messages.size == 0) {
                break;
            }
            first = false;
            let found = messages.first_at(position)?;
            if found != offset {
                let mismatches = self.mismatches.entry(absolute(path)).or_default();
                mismatches.insert(0, (offset, found));
            }
            if !self.settings.verify_only {
                self.line(&format!("offset: {offset} position: {position}"))?;
            }
        }
        Ok(())
    }

    /// Tells on standard error what does not fit.
    fn report(&self) {
        for (path, list) in &self.mismatches {
            eprintln!("Mismatches in :{}", path.display());
            for (index, log) in list {
                eprintln!("  Index offset: {index}, log offset: {log}");
            }
        }
        for (path, list) in &self.gaps {
            eprintln!("Non-secutive offsets in :{}", path.display());
            for (last, next) in list {
                eprintln!("  {last} is followed by {next}");
            }
        }
    }
}

/// An entry of a file.
struct Entry {
    offset: Offset,
    position: u64,
    message: Bytes,
}

/// The messages inside a wrapper; a plain message as itself.
fn opened(entry: &Entry) -> Result<Vec<(Bytes, Offset)>> {
    let message = MessageRef::parse(&entry.message, entry.offset, 0)?;
    let codec = message.codec()?;
    if codec == Codec::None {
        return Ok(vec![(entry.message.clone(), entry.offset)]);
    }
    let inner = deep::inflate(codec, message.value, deep::INFLATE_LIMIT)?;
    let shared = |m: MessageRef<'_>| (inner.slice_ref(m.bytes()), m.offset);
    let messages: crate::message::Result<Vec<_>> = SetIter::new(&inner).map(|m| m.map(shared)).collect();
    Ok(messages?)
}

/// Reads a `.log` file entry by entry.
struct Messages {
    path: PathBuf,
    file: BufReader<File>,
    size: u64,
    at: u64,
}

impl Messages {
    fn open(path: &Path) -> Result<Messages> {
        let file = open(path)?;
        let size = file.metadata().map_err(|e| failed(path, e))?.len();
        Ok(Messages {
            path: path.to_owned(),
            file: BufReader::with_capacity(64 * 1024, file),
            size,
            at: 0,
        })
    }

    /// The next entry; `None` at the end and where no whole message is.
    fn next(&mut self, max_size: i32) -> Result<Option<Entry>> {
        let position = self.at;
        if position + ENTRY_OVERHEAD as u64 > self.size {
            return Ok(None);
        }
        let mut header = [0; ENTRY_OVERHEAD];
        if !read_whole(&mut self.file, &mut header, &self.path)? {
            return Ok(None);
        }
        let size = u32_at(&header, 8) as i32;
        let end = position + ENTRY_OVERHEAD as u64 + u64::try_from(size).unwrap_or(0);
        if size < MIN_MESSAGE as i32 {
            return Ok(None);
        }
        if size > max_size {
            return Err(Error::TooLarge(max_size));
        }
        if end > self.size {
            return Ok(None);
        }
        let mut message = vec![0; size as usize];
        if !read_whole(&mut self.file, &mut message, &self.path)? {
            return Ok(None);
        }
        self.at = end;
        Ok(Some(Entry {
            offset: u64_at(&header, 0) as i64,
            position,
            message: message.into(),
        }))
    }

    /// The offset of the first message at `position`, that inside a wrapper.
    fn first_at(&mut self, position: u64) -> Result<Offset> {
        let none = |path: &Path| Error::NoMessage {
            path: path.to_owned(),
            position,
        };
        self.file
            .seek(SeekFrom::Start(position))
            .map_err(|e| failed(&self.path, e))?;
        self.at = position;
        let Some(entry) = self.next(i32::MAX)? else {
            return Err(none(&self.path));
        };
        let first = opened(&entry)?.first().map(|(_, offset)| *offset);
        first.ok_or_else(|| none(&self.path))
    }
}

/// The offset that a segment's file is named by.
fn base_offset(name: &str) -> Result<Offset> {
    let digits = name.split('.').next().unwrap_or_default();
    digits.parse().map_err(|_| Error::NoNumber(digits.to_owned()))
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Error::NotFound {
            path: path.to_owned(),
            reason: match e.kind() {
                io::ErrorKind::NotFound => "No such file or directory".to_owned(),
                _ => "Permission denied".to_owned(),
            },
        },
        _ => failed(path, e),
    })
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Read {
        path: path.to_owned(),
        source,
    }
}

/// Fills `into`; false if the file ends before.
fn read_whole(from: &mut impl Read, into: &mut [u8], path: &Path) -> Result<bool> {
    match from.read_exact(into) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(failed(path, e)),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
