//! log4j.properties steers what the `log` crate's macros write: levels and appenders per logger, as
//! log4j 1.2 does. Does not know what is logged.
//!
//! env_logger has one target for all lines; here a line may go to several appenders with files of their
//! own (server.log, controller.log, state-change.log …), so this is a [`log::Log`] of its own.
//!
//! A logger's name is the record's target. A module path is turned into the name its counterpart has in
//! Kafka, so that the shipped files and everyone's own keep working: `kafka::server::broker` is
//! `kafka.server.broker`, the bundled ZooKeeper is `org.apache.zookeeper`. Code whose line belongs to a
//! named logger says so: `target: "state.change.logger"`.
//!
//! Read in this order: this file, `settings` (the file's words), `appender` (where lines go), `pattern`
//! (what a line looks like), `date` (Java's date formats).

mod appender;
pub(super) mod date;
mod pattern;
mod settings;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Mutex;

use ::log::{LevelFilter, Log, Metadata, Record};

use self::appender::Appender;
use self::settings::Settings;
use crate::config::Properties;
use crate::util::clock::{Clock, WallMs};

/// What stands without a log4j.properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Servers: INFO and worse to standard output.
    Server,
    /// Tools: WARN and worse to standard error; standard output is the tool's own.
    Tool,
}

impl Fallback {
    fn properties(self) -> &'static str {
        match self {
            Fallback::Server => {
                "log4j.rootLogger=INFO, console\n\
                 log4j.appender.console=org.apache.log4j.ConsoleAppender\n\
                 log4j.appender.console.layout=org.apache.log4j.PatternLayout\n\
                 log4j.appender.console.layout.ConversionPattern=[%d] %p %m (%c)%n\n"
            }
            Fallback::Tool => {
                "log4j.rootLogger=WARN, console\n\
                 log4j.appender.console=org.apache.log4j.ConsoleAppender\n\
                 log4j.appender.console.Target=System.err\n\
                 log4j.appender.console.layout=org.apache.log4j.PatternLayout\n\
                 log4j.appender.console.layout.ConversionPattern=[%d] %p %m (%c)%n\n"
            }
        }
    }
}

/// Sets up logging for this process from the file that `-Dlog4j.configuration` names (`file:PATH`, or a
/// bare path), else as `fallback` says. A file that cannot be read is told on standard error, and the
/// fallback stands. Later calls change nothing.
pub fn init(fallback: Fallback) {
    let mut complaints = Vec::new();
    let properties = super::system_property("log4j.configuration").and_then(|url| {
        let path = url.strip_prefix("file:").unwrap_or(url);
        Properties::load(Path::new(path))
            .map_err(|e| complaints.push(format!("Could not read configuration file from URL [{url}]: {e}")))
            .ok()
    });
    let properties = properties.unwrap_or_else(|| {
        Properties::parse(fallback.properties().as_bytes(), "log4j").expect("the text above is well formed")
    });
    let system = |name: &str| super::system_property(name).map(String::from);
    let settings = Settings::read(&properties, &system, &mut complaints);
    for complaint in complaints {
        eprintln!("log4j:WARN {complaint}");
    }
    let loggers = Loggers::new(settings, Clock::system());
    let max = loggers.max_level();
    if ::log::set_boxed_logger(Box::new(loggers)).is_ok() {
        ::log::set_max_level(max);
    }
}

/// A logger as the file configures it.
struct Logger {
    /// Dotted; empty for the root.
    name: String,
    /// `None` takes the level of the logger above.
    level: Option<LevelFilter>,
    /// Indexes into [`Loggers::appenders`].
    appenders: Vec<usize>,
    /// Whether its lines also go to the appenders above.
    additive: bool,
}

/// All loggers and appenders.
struct Loggers {
    clock: Clock,
    start: WallMs,
    /// Sorted by length of name, longest first; the root is last.
    loggers: Vec<Logger>,
    /// Consoles first: who watches the console sees a line no later than who watches the file.
    appenders: Vec<Mutex<Appender>>,
}

impl Loggers {
    fn new(settings: Settings, clock: Clock) -> Loggers {
        let mut named: Vec<(String, Appender)> = settings.appenders;
        named.sort_by_key(|(_, a)| !a.is_console());
        let index = |name: &String| named.iter().position(|(n, _)| n == name);
        let mut loggers: Vec<Logger> = settings
            .loggers
            .iter()
            .map(|l| Logger {
                name: l.name.clone(),
                level: l.level,
                appenders: l.appenders.iter().filter_map(index).collect(),
                additive: l.additive,
            })
            .collect();
        loggers.sort_by_key(|l| std::cmp::Reverse(l.name.len()));
        Loggers {
            start: clock.wall(),
            clock,
            loggers,
            appenders: named.into_iter().map(|(_, a)| Mutex::new(a)).collect(),
        }
    }

    /// The loggers above and including `name`, nearest first.
    fn chain<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Logger> {
        self.loggers.iter().filter(move |l| {
            l.name.is_empty()
                || name
                    .strip_prefix(l.name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    fn level(&self, name: &str) -> LevelFilter {
        self.chain(name)
            .find_map(|l| l.level)
            .unwrap_or(LevelFilter::Debug)
    }

    fn max_level(&self) -> LevelFilter {
        self.loggers
            .iter()
            .filter_map(|l| l.level)
            .max()
            .unwrap_or(LevelFilter::Debug)
    }

    fn append(&self, record: &Record<'_>, now: WallMs) {
        let name = logger_name(record.target());
        if record.level() > self.level(&name) {
            return;
        }
        let mut targets: Vec<usize> = Vec::new();
        for logger in self.chain(&name) {
            targets.extend(&logger.appenders);
            if !logger.additive {
                break;
            }
        }
        targets.sort_unstable();
        targets.dedup();
        for target in targets {
            // A panic while formatting must not silence the log for good.
            let mut appender = self.appenders[target].lock().unwrap_or_else(|e| e.into_inner());
            appender.append(&pattern::Line {
                record,
                logger: &name,
                now,
                start: self.start,
            });
        }
    }
}

impl Log for Loggers {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level(&logger_name(metadata.target()))
    }

    fn log(&self, record: &Record<'_>) {
        self.append(record, self.clock.wall());
    }

    /// Every line is written at once; there is nothing left to write.
    fn flush(&self) {}
}

/// A record's target as a logger's name.
fn logger_name(target: &str) -> Cow<'_, str> {
    /// Our folders whose counterparts are other people's packages.
    const ELSEWHERE: &[(&str, &str)] = &[
        ("kafka::keeper", "org.apache.zookeeper.server"),
        ("kafka::zookeeper", "org.apache.zookeeper"),
        ("kafka::jute", "org.apache.jute"),
        ("kafka::client", "org.apache.kafka.clients"),
    ];
    if !target.contains("::") {
        return Cow::Borrowed(target);
    }
    for (ours, theirs) in ELSEWHERE {
        if let Some(rest) = target.strip_prefix(ours)
            && (rest.is_empty() || rest.starts_with("::"))
        {
            return Cow::Owned(format!("{theirs}{}", rest.replace("::", ".")));
        }
    }
    Cow::Owned(target.replace("::", "."))
}

#[cfg(test)]
mod tests;
