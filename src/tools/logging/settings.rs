//! The words of log4j.properties (org.apache.log4j.PropertyConfigurator) as loggers and appenders. Opens
//! no file: an appender does so with its first line.

use std::path::PathBuf;

use ::log::LevelFilter;

use super::appender::{Appender, Rolling, Sink};
use super::date::DateFormat;
use super::pattern::Pattern;
use crate::config::Properties;

/// One `log4j.logger.NAME` or the root.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LoggerSettings {
    /// Dotted; empty for the root.
    pub(super) name: String,
    /// `None` when inherited.
    pub(super) level: Option<LevelFilter>,
    /// Names of appenders.
    pub(super) appenders: Vec<String>,
    /// `log4j.additivity.NAME`
    pub(super) additive: bool,
}

/// What a file says.
pub(super) struct Settings {
    /// The root is among them.
    pub(super) loggers: Vec<LoggerSettings>,
    /// By name.
    pub(super) appenders: Vec<(String, Appender)>,
}

impl Settings {
    /// Reads a file. What it does not understand goes to `complaints` and is left out. `system` knows the
    /// JVM's properties, `${kafka.logs.dir}` above all.
    pub(super) fn read(
        properties: &Properties,
        system: &dyn Fn(&str) -> Option<String>,
        complaints: &mut Vec<String>,
    ) -> Settings {
        let reader = Reader { properties, system };
        let mut loggers = Vec::new();
        for entry in properties.entries() {
            let root = ["log4j.rootLogger", "log4j.rootCategory"].contains(&entry.key.as_str());
            let named = ["log4j.logger.", "log4j.category."]
                .iter()
                .find_map(|p| entry.key.strip_prefix(p));
            let name = match named {
                Some(name) => name,
                None if root => "",
                None => continue,
            };
            let value = reader.substitute(&entry.value);
            let mut words = value.split(',').map(str::trim);
            let level = words.next().unwrap_or("");
            loggers.push(LoggerSettings {
                name: name.to_string(),
                level: match (level.is_empty() || is_inherited(level), level_of(level)) {
                    (true, _) => None,
                    (false, Some(level)) => Some(level),
                    (false, None) => {
                        complaints.push(format!("{}: unknown level {level}, DEBUG taken", entry.place));
                        Some(LevelFilter::Debug)
                    }
                },
                appenders: words.filter(|w| !w.is_empty()).map(String::from).collect(),
                additive: !reader
                    .get(&format!("log4j.additivity.{name}"))
                    .is_some_and(|v| v.eq_ignore_ascii_case("false")),
            });
        }
        if loggers.iter().all(|l| !l.name.is_empty()) {
            loggers.push(LoggerSettings {
                name: String::new(),
                level: Some(LevelFilter::Debug),
                appenders: Vec::new(),
                additive: true,
            });
        }
        if let Some(threshold) = reader.get("log4j.threshold").and_then(|t| level_of(&t)) {
            for level in loggers.iter_mut().filter_map(|l| l.level.as_mut()) {
                *level = (*level).min(threshold);
            }
        }
        let mut names: Vec<&String> = loggers.iter().flat_map(|l| &l.appenders).collect();
        names.sort_unstable();
        names.dedup();
        let appenders = names
            .into_iter()
            .filter_map(|name| match reader.appender(name) {
                Ok(appender) => Some((name.clone(), appender)),
                Err(complaint) => {
                    complaints.push(complaint);
                    None
                }
            })
            .collect();
        Settings { loggers, appenders }
    }
}

fn is_inherited(level: &str) -> bool {
    level.eq_ignore_ascii_case("INHERITED") || level.eq_ignore_ascii_case("NULL")
}

/// log4j's levels. FATAL shows errors too: there is no worse level to tell them apart by.
fn level_of(name: &str) -> Option<LevelFilter> {
    Some(match name.to_ascii_uppercase().as_str() {
        "OFF" => LevelFilter::Off,
        "FATAL" | "ERROR" => LevelFilter::Error,
        "WARN" => LevelFilter::Warn,
        "INFO" => LevelFilter::Info,
        "DEBUG" => LevelFilter::Debug,
        "TRACE" | "ALL" => LevelFilter::Trace,
        _ => return None,
    })
}

/// How a file in the console's place is kept from growing for ever.
const CONSOLE_FILE: Rolling = Rolling::BySize {
    max_bytes: 10 << 20,
    backups: 5,
};

struct Reader<'a> {
    properties: &'a Properties,
    system: &'a dyn Fn(&str) -> Option<String>,
}

impl Reader<'_> {
    fn get(&self, key: &str) -> Option<String> {
        self.properties.get(key).map(|v| self.substitute(v.trim()))
    }

    /// Replaces `${name}` by the system property or the file's own setting of that name, else by nothing.
    fn substitute(&self, text: &str) -> String {
        let mut result = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                break;
            };
            result += before;
            result += &(self.system)(name)
                .or_else(|| self.properties.get(name).map(|v| v.trim().to_string()))
                .unwrap_or_default();
            rest = after;
        }
        result + rest
    }

    fn appender(&self, name: &str) -> Result<Appender, String> {
        let key = format!("log4j.appender.{name}");
        let option = |option: &str| self.get(&format!("{key}.{option}"));
        let class = self
            .get(&key)
            .ok_or_else(|| format!("Could not find value for key {key}"))?;
        let pattern = match option("layout").as_deref() {
            Some("org.apache.log4j.SimpleLayout") => "%p - %m%n".to_string(),
            _ => option("layout.ConversionPattern").unwrap_or_else(|| "%m%n".to_string()),
        };
        let file = || {
            option("File")
                .or_else(|| option("file"))
                .map(PathBuf::from)
                .ok_or_else(|| format!("File option not set for appender [{name}]."))
        };
        let sink = match class.rsplit('.').next().unwrap_or("") {
            // A Windows service has no console.
            "ConsoleAppender" if let Some(path) = (self.system)("kafka.console.file") => {
                Sink::file(PathBuf::from(path), CONSOLE_FILE)
            }
            "ConsoleAppender" => match option("Target").or_else(|| option("target")).as_deref() {
                Some("System.err") => Sink::Stderr,
                _ => Sink::Stdout,
            },
            "FileAppender" => Sink::file(file()?, Rolling::Never),
            "DailyRollingFileAppender" => {
                let pattern = option("DatePattern").unwrap_or_else(|| "'.'yyyy-MM-dd".to_string());
                Sink::file(file()?, Rolling::ByDate(DateFormat::new(&pattern)))
            }
            "RollingFileAppender" => {
                let size = option("MaxFileSize").or_else(|| option("maxFileSize"));
                let backups = option("MaxBackupIndex").or_else(|| option("maxBackupIndex"));
                let rolling = Rolling::BySize {
                    max_bytes: size.as_deref().and_then(bytes).unwrap_or(10 << 20),
                    backups: backups.and_then(|b| b.parse().ok()).unwrap_or(1),
                };
                Sink::file(file()?, rolling)
            }
            "NullAppender" => Sink::Nothing,
            _ => return Err(format!("There is no appender of class {class} for [{name}]")),
        };
        let threshold = option("Threshold").or_else(|| option("threshold"));
        let appends = !option("Append")
            .or_else(|| option("append"))
            .is_some_and(|a| a.eq_ignore_ascii_case("false"));
        Ok(Appender::new(
            sink,
            Pattern::new(&pattern),
            threshold.and_then(|t| level_of(&t)).unwrap_or(LevelFilter::Trace),
            appends,
        ))
    }
}

/// `10MB`, `512KB`, `1GB` or bytes.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_uppercase();
    let units = [("KB", 1 << 10), ("MB", 1 << 20), ("GB", 1_u64 << 30)];
    let (digits, unit) = units
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))
        .unwrap_or((&text, 1));
    digits.trim().parse::<u64>().ok()?.checked_mul(unit)
}
