//! Where lines go: console or file, and when a file is put aside. A line is one write, at once; one that
//! cannot be written is lost, and the first such is told on standard error.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ::log::LevelFilter;

use super::date::DateFormat;
use super::pattern::{Line, Pattern};
use crate::util::clock::WallMs;

/// When a file is put aside under another name and begun anew.
#[derive(Debug)]
pub(super) enum Rolling {
    /// It grows for ever.
    Never,
    /// When the formatted date is another than at its last line: `server.log.2016-02-01-13`.
    ByDate(DateFormat),
    /// When it has grown past this: `x.log.1` is the youngest of those put aside.
    BySize {
        /// The size.
        max_bytes: u64,
        /// How many are kept; with 0 the file is emptied.
        backups: u32,
    },
}

/// A file that is opened with its first line.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    rolling: Rolling,
    open: Option<File>,
    /// Bytes in the open file.
    len: u64,
    /// The suffix that the open file will be put aside with, and the minute it was last computed for.
    period: Option<(String, i64)>,
}

/// Where an appender writes.
#[derive(Debug)]
pub(super) enum Sink {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file.
    File(LogFile),
    /// Nowhere.
    Nothing,
}

impl Sink {
    /// A file, not opened yet.
    pub(super) fn file(path: PathBuf, rolling: Rolling) -> Sink {
        Sink::File(LogFile {
            path,
            rolling,
            open: None,
            len: 0,
            period: None,
        })
    }
}

/// One appender of the configuration.
#[derive(Debug)]
pub(super) struct Appender {
    sink: Sink,
    pattern: Pattern,
    threshold: LevelFilter,
    /// Whether a file's old content stays.
    appends: bool,
    /// A failure was told already.
    failed: bool,
}

impl Appender {
    /// An appender that takes lines of `threshold` and worse.
    pub(super) fn new(sink: Sink, pattern: Pattern, threshold: LevelFilter, appends: bool) -> Appender {
        Appender {
            sink,
            pattern,
            threshold,
            appends,
            failed: false,
        }
    }

    /// Whether it writes to the console.
    pub(super) fn is_console(&self) -> bool {
        matches!(self.sink, Sink::Stdout | Sink::Stderr)
    }

    /// Writes a line.
    pub(super) fn append(&mut self, line: &Line<'_>) {
        if line.record.level() > self.threshold {
            return;
        }
        let text = self.pattern.format(line);
        let written = match &mut self.sink {
            Sink::Nothing => Ok(()),
            // One write for the whole line, so that lines of several processes on one terminal stay whole.
            Sink::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush())
            }
            Sink::Stderr => io::stderr().lock().write_all(text.as_bytes()),
            Sink::File(file) => file.write(text.as_bytes(), line.now, self.appends),
        };
        if let Err(e) = written
            && !std::mem::replace(&mut self.failed, true)
            && let Sink::File(file) = &self.sink
        {
            // The console is where a failing console would be told, too: only files are spoken of.
            let _ = writeln!(
                io::stderr(),
                "log4j:ERROR cannot write {}: {e}",
                file.path.display()
            );
        }
    }
}

impl LogFile {
    fn write(&mut self, text: &[u8], now: WallMs, appends: bool) -> io::Result<()> {
        if self.open.is_none() {
            self.open(now, appends)?;
        }
        self.roll_if_due(now)?;
        if let Some(file) = &mut self.open {
            file.write_all(text)?;
            self.len += text.len() as u64;
        }
        Ok(())
    }

    /// Opens or makes the file and the directories above it. A file from an earlier run is put aside with
    /// the date of its last change.
    fn open(&mut self, now: WallMs, appends: bool) -> io::Result<()> {
        if let Some(parent) = self.path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent)?;
        }
        let mut options = OpenOptions::new();
        options.create(true);
        if appends {
            options.append(true);
        } else {
            options.write(true).truncate(true);
        }
        let file = options.open(&self.path)?;
        let metadata = file.metadata()?;
        self.len = metadata.len();
        if let Rolling::ByDate(format) = &self.rolling {
            let since = match metadata.modified() {
                Ok(modified) if self.len > 0 => WallMs::from_system(modified),
                _ => now,
            };
            self.period = Some((format.format(since), minute(since)));
        }
        self.open = Some(file);
        Ok(())
    }

    fn roll_if_due(&mut self, now: WallMs) -> io::Result<()> {
        match &self.rolling {
            Rolling::Never => Ok(()),
            Rolling::ByDate(format) => match &mut self.period {
                Some((_, at)) if *at == minute(now) => Ok(()),
                Some((suffix, at)) => {
                    let current = format.format(now);
                    if *suffix == current {
                        *at = minute(now);
                        return Ok(());
                    }
                    let aside = with_suffix(&self.path, suffix);
                    self.put_aside(&aside, now)
                }
                None => Ok(()),
            },
            Rolling::BySize { max_bytes, backups } => {
                if self.len < *max_bytes {
                    return Ok(());
                }
                let backups = *backups;
                if backups == 0 {
                    self.open = None;
                    return self.open(now, false);
                }
                for n in (1..backups).rev() {
                    let older = with_suffix(&self.path, &format!(".{}", n + 1));
                    let _ = std::fs::rename(with_suffix(&self.path, &format!(".{n}")), older);
                }
                let aside = with_suffix(&self.path, ".1");
                self.put_aside(&aside, now)
            }
        }
    }

    /// Renames the file and begins anew. Windows renames no open file, so it is closed first. If it cannot
    /// be renamed (someone reads it there), writing goes on in it.
    fn put_aside(&mut self, aside: &Path, now: WallMs) -> io::Result<()> {
        self.open = None;
        let renamed = std::fs::rename(&self.path, aside);
        self.open(now, true)?;
        if let (Rolling::ByDate(format), Err(_)) = (&self.rolling, renamed) {
            self.period = Some((format.format(now), minute(now)));
        }
        Ok(())
    }
}

fn minute(at: WallMs) -> i64 {
    at.0.div_euclid(60_000)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    PathBuf::from(name)
}
