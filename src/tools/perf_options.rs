//! What the Scala performance tools share: their options (kafka.tools.PerfConfig), and how results are told.

use std::process::ExitCode;
use std::time::Duration;

use super::logging::date::DateFormat;
use super::options::ArgType::{Integer, Long, String};
use super::options::{self, OptionParser, OptionSet, Result};
use crate::config::Properties;

const MEGABYTE: f64 = 1024.0 * 1024.0;

/// Declares them.
pub(super) fn accept(p: &mut OptionParser) {
    p.accepts_value(
        "messages",
        "count",
        Long,
        "",
        "REQUIRED: The number of messages to send or consume",
    );
    p.accepts_value(
        "reporting-interval",
        "size",
        Integer,
        "5000",
        "Interval at which to print progress info.",
    );
    p.accepts_value(
        "date-format",
        "date format",
        String,
        "yyyy-MM-dd HH:mm:ss:SSS",
        "The date format to use for formatting the time field. See java.text.SimpleDateFormat for options.",
    );
    p.accepts(
        "show-detailed-stats",
        "If set, stats are reported for each reporting interval as configured by reporting-interval",
    );
    p.accepts("hide-header", "If set, skips printing the header for the stats ");
    p.accepts_value(
        "message-size",
        "size",
        Integer,
        "100",
        "The size of each message.",
    );
    p.accepts_value(
        "batch-size",
        "size",
        Integer,
        "200",
        "Number of messages to write in a single batch.",
    );
    p.accepts_value(
        "compression-codec",
        "supported codec: NoCompressionCodec as 0, GZIPCompressionCodec as 1, SnappyCompressionCodec as 2, LZ4CompressionCodec as 3",
        Integer,
        "0",
        "If set, messages are sent compressed",
    );
    p.accepts("help", "Print usage.");
}

/// Declares what the tools that consume have besides.
pub(super) fn accept_topic_to_consume(p: &mut OptionParser) {
    p.accepts_value(
        "topic",
        "topic",
        String,
        "",
        "REQUIRED: The topic to consume from.",
    );
    p.accepts(
        "from-latest",
        "If the consumer does not already have an established offset to consume from, start with the latest message present in the log rather than the earliest message.",
    );
}

/// Sets the properties, named second, that options stand for, over those of a file.
///
/// # Errors
/// An option's value that is not of its type.
pub(super) fn put(options: &OptionSet, rows: &[(&str, &str)], properties: &mut Properties) -> Result<()> {
    for (option, key) in rows {
        let value = options.value(option)?.unwrap_or_default();
        properties.set(key, &value, &format!("--{option}"));
    }
    Ok(())
}

/// Why a program does not start, or does not go on.
#[derive(Debug)]
pub(super) enum Refused {
    /// The command line breaks a rule.
    Options(options::Error),
    /// The class and text of what the original throws, or would.
    Thrown(std::string::String),
}

impl From<options::Error> for Refused {
    fn from(e: options::Error) -> Self {
        Refused::Options(e)
    }
}

impl Refused {
    /// Tells the user and returns what the process exits with.
    pub(super) fn report(&self) -> ExitCode {
        match self {
            Refused::Options(e) => e.report(),
            Refused::Thrown(text) => {
                eprintln!("Exception in thread \"main\" {text}");
                ExitCode::FAILURE
            }
        }
    }
}

/// How results are printed.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// Of all times.
    pub(super) date: DateFormat,
    /// A line at intervals instead of one at the end.
    pub(super) detailed: bool,
    /// Names above the columns.
    pub(super) header: bool,
    /// In messages, at least 1.
    pub(super) interval: u64,
}

impl Report {
    /// As the options say.
    ///
    /// # Errors
    /// An option's value that is not of its type.
    pub(super) fn read(options: &OptionSet) -> Result<Report> {
        let interval = options.int("reporting-interval")?.unwrap_or_default();
        Ok(Report {
            date: DateFormat::new(&options.value("date-format")?.unwrap_or_default()),
            detailed: options.has("show-detailed-stats"),
            header: !options.has("hide-header"),
            interval: u64::try_from(interval).unwrap_or(0).max(1),
        })
    }

    /// Prints the names of a consumer's columns, with `more` behind the times.
    pub(super) fn head(&self, more: &str) {
        let times = match self.detailed {
            true => "time",
            false => "start.time, end.time",
        };
        if self.header {
            println!("{times},{more} data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec");
        }
    }
}

/// Messages and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    pub(super) messages: u64,
    /// Of keys and values, as the tool counts them.
    pub(super) bytes: u64,
}

impl Sum {
    /// Of 2^20 bytes.
    pub(super) fn megabytes(self) -> f64 {
        self.bytes as f64 / MEGABYTE
    }

    /// Megabytes and messages per second. A time below a millisecond counts as one.
    pub(super) fn per_second(self, elapsed: Duration) -> (f64, f64) {
        let seconds = elapsed.as_secs_f64().max(0.001);
        (self.megabytes() / seconds, self.messages as f64 / seconds)
    }

    /// The last four columns: all so far, and what came per second since an earlier sum.
    pub(super) fn rates_since(self, earlier: Sum, elapsed: Duration) -> std::string::String {
        let fresh = Sum {
            messages: self.messages - earlier.messages,
            bytes: self.bytes - earlier.bytes,
        };
        let (megabytes, messages) = fresh.per_second(elapsed);
        format!(
            "{:.4}, {megabytes:.4}, {}, {messages:.4}",
            self.megabytes(),
            self.messages
        )
    }
}
