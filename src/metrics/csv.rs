//! Metrics as the CSV files of com.yammer.metrics.reporting.CsvReporter 2.2.0, which
//! kafka.metrics.KafkaCSVMetricsReporter of 0.9.0.1 runs: which file a metric has, its first line, and a
//! line of it. Bytes only; knows neither directory nor clock.
//!
//! | kind | columns after `time` |
//! |---|---|
//! | gauge | value |
//! | meter | count, rates of 1 minute, mean, 5 and 15 minutes, in events per second |
//! | histogram, timer | min, max, mean, median, standard deviation, 95, 99 and 99.9 percent |
//!
//! A histogram's line has an empty one behind it, a timer's has none, and a timer says nothing of its rates:
//! all of it is that reporter's doing, and what reads such files knows it.
//!
//! Its files are named by a metric's `name` alone, so that of all partitions' `Size` one would get a file;
//! the second makes it give up the rest of that round. Here a metric with tags has a file of its own.

use std::fmt::Write;

use super::{Distribution, Name, Rates, Shown};
use crate::util::java;

/// How every file begins, whatever its kind.
pub const MARK: &str = "# time,";

/// What ends a line: that of the system, as Java prints it.
const END: &str = if cfg!(windows) { "\r\n" } else { "\n" };

/// The tag of the metrics of all of a broker's replica fetchers together. A broker has no others of these
/// names, so it tells nothing.
const ALL_FETCHERS: (&str, &str) = ("clientId", "Replica");

/// Values of tags that are longer are cut, and told apart by a hash: a topic's name may have 249
/// characters, a file's 255.
const LONGEST_VALUE: usize = 147;

/// The types of clients' quotas. They are no metrics of that reporter in 0.9.0.1, and have the same names.
const QUOTAS: [&str; 2] = ["Produce", "Fetch"];

/// The file of a metric: `NAME.csv` if it has no tags, as in 0.9.0.1, else `NAME.TYPE.TAG=VALUE….csv` with
/// the tags in the metric's order, as those of quotas always have.
///
/// Characters other than ASCII letters, digits, `-`, `_` and (in values) `.` stand as `%` and their UTF-8
/// bytes, so a file can have the name on every system. Different metrics of one group have different files.
pub fn file_name(metric: &Name) -> String {
    let mut kind = "";
    let mut name = "";
    let mut tags = Vec::new();
    for (key, value) in metric.pairs() {
        match key {
            "type" => kind = value,
            "name" => name = value,
            _ if (key, value) == ALL_FETCHERS => {}
            _ => tags.push((key, value)),
        }
    }
    let mut file = escaped(name, "");
    if !tags.is_empty() || name.is_empty() || QUOTAS.contains(&kind) {
        if !name.is_empty() {
            file.push('.');
        }
        file += &escaped(kind, "");
    }
    for (key, value) in tags {
        let value = shortened(escaped(value, "."), value);
        file = file + "." + &escaped(key, "") + "=" + &value;
    }
    file + ".csv"
}

/// The first line of a metric's file, with its end.
pub fn header(shown: &Shown) -> String {
    let columns = match shown {
        Shown::Value(_) => "value",
        Shown::Rates(_) => "count,1 min rate,mean rate,5 min rate,15 min rate",
        Shown::Distribution(_) | Shown::Timer(..) => "min,max,mean,median,stddev,95%,99%,99.9%",
    };
    format!("{MARK}{columns}{END}")
}

/// What a metric shows `seconds` after the reporter's start, with the line's end.
pub fn line(seconds: u64, shown: &Shown) -> String {
    let mut text = seconds.to_string();
    match shown {
        Shown::Value(value) => {
            // Writing to a string cannot fail.
            let _ = write!(text, ",{value}");
        }
        Shown::Rates(rates) => push_rates(&mut text, rates),
        Shown::Timer(_, took) => push_spread(&mut text, took),
        Shown::Distribution(spread) => {
            push_spread(&mut text, spread);
            text += END;
        }
    }
    text + END
}

fn push_rates(text: &mut String, rates: &Rates) {
    let _ = write!(text, ",{}", rates.count);
    push_all(
        text,
        &[
            rates.one_minute,
            rates.mean,
            rates.five_minutes,
            rates.fifteen_minutes,
        ],
    );
}

fn push_spread(text: &mut String, spread: &Distribution) {
    let [median, _, p95, _, p99, p999] = spread.percentiles;
    push_all(text, &[spread.min, spread.max, spread.mean, median]);
    push_all(text, &[spread.std_dev, p95, p99, p999]);
}

fn push_all(text: &mut String, numbers: &[f64]) {
    for number in numbers {
        text.push(',');
        *text += &java::double(*number);
    }
}

/// The text with what no file name should have as `%XX`; characters of `also` stay.
fn escaped(text: &str, also: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-_".contains(c) || also.contains(c) {
            out.push(c);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A value of a tag, cut if it is too long, with a hash of what it was in whole.
fn shortened(mut escaped: String, whole: &str) -> String {
    if escaped.len() > LONGEST_VALUE {
        let hash = format!("~{:016x}", fnv(whole));
        // It is ASCII, so every place is between two characters.
        escaped.truncate(LONGEST_VALUE - hash.len());
        escaped += &hash;
    }
    escaped
}

/// FNV-1a of 64 bits: the same in every run, and good enough for names that nobody chooses to collide.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> String {
        text.replace('\n', END)
    }

    /// As CsvReporter 2.2.0 wrote them of a registry with one metric of each kind.
    #[test]
    fn files_read_as_the_genuine_reporters() {
        let rates = Rates {
            count: 1_234_567,
            mean: 205_134.654_081_688_2,
            one_minute: 246_913.4,
            five_minutes: 246_913.4,
            fifteen_minutes: 246_913.4,
        };
        let spread = Distribution {
            count: 9,
            min: 1.0,
            max: 9.0,
            mean: 5.0,
            std_dev: 2.738_612_787_525_830_6,
            percentiles: [5.0, 7.5, 9.0, 9.0, 9.0, 9.0],
        };
        let quick = Distribution {
            min: 0.25,
            max: 2.25,
            mean: 1.25,
            std_dev: 0.684_653_196_881_457_6,
            percentiles: [1.25, 1.875, 2.25, 2.25, 2.25, 2.25],
            ..spread
        };
        for (shown, seconds, text) in [
            (Shown::Value(-1), 3, "# time,value\n3,-1\n"),
            (
                Shown::Rates(rates),
                6,
                "# time,count,1 min rate,mean rate,5 min rate,15 min rate\n\
                 6,1234567,246913.4,205134.6540816882,246913.4,246913.4\n",
            ),
            (
                Shown::Distribution(spread),
                3,
                "# time,min,max,mean,median,stddev,95%,99%,99.9%\n\
                 3,1.0,9.0,5.0,5.0,2.7386127875258306,9.0,9.0,9.0\n\n",
            ),
            (
                Shown::Timer(rates, quick),
                9,
                "# time,min,max,mean,median,stddev,95%,99%,99.9%\n\
                 9,0.25,2.25,1.25,1.25,0.6846531968814576,2.25,2.25,2.25\n",
            ),
            (
                Shown::Distribution(Distribution::default()),
                2,
                "# time,min,max,mean,median,stddev,95%,99%,99.9%\n\
                 2,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0\n\n",
            ),
        ] {
            assert_eq!(header(&shown) + &line(seconds, &shown), lines(text));
            assert!(header(&shown).starts_with(MARK));
        }
    }

    #[test]
    fn columns_are_in_the_genuine_order() {
        let rates = Rates {
            count: 1,
            one_minute: 2.0,
            mean: 3.0,
            five_minutes: 4.0,
            fifteen_minutes: 5e-4,
        };
        assert_eq!(line(0, &Shown::Rates(rates)), lines("0,1,2.0,3.0,4.0,5.0E-4\n"));
        let spread = Distribution {
            count: 0,
            min: 1.0,
            max: 2.0,
            mean: 3.0,
            std_dev: 5.0,
            percentiles: [4.0, 0.0, 6.0, 0.0, 7.0, 8.0],
        };
        let expected = lines("0,1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0\n");
        assert_eq!(line(0, &Shown::Timer(rates, spread)), expected);
    }

    fn of(kind: &str, name: &str, tags: &[(&str, &str)]) -> String {
        file_name(&Name::new("kafka.server", kind, name, tags))
    }

    #[test]
    fn what_has_no_tags_has_the_genuine_file() {
        assert_eq!(of("ReplicaManager", "LeaderCount", &[]), "LeaderCount.csv");
        assert_eq!(of("Throttler", "cleaner-io", &[]), "cleaner-io.csv");
        assert_eq!(of("Produce", "queue-size", &[]), "queue-size.Produce.csv");
        let fetchers = [("clientId", "Replica")];
        assert_eq!(of("ReplicaFetcherManager", "MaxLag", &fetchers), "MaxLag.csv");
    }

    #[test]
    fn what_has_tags_has_a_file_of_its_own() {
        let topic = [("topic", "a.b")];
        assert_eq!(
            of("BrokerTopicMetrics", "BytesInPerSec", &topic),
            "BytesInPerSec.BrokerTopicMetrics.topic=a.b.csv"
        );
        let partition = [("topic", "t"), ("partition", "0")];
        assert_eq!(of("Log", "Size", &partition), "Size.Log.topic=t.partition=0.csv");
        // No colon can be in a file's name on Windows.
        let host = [("brokerHost", "::1"), ("brokerPort", "9092")];
        assert_eq!(
            of("FetcherStats", "BytesPerSec", &host),
            "BytesPerSec.FetcherStats.brokerHost=%3A%3A1.brokerPort=9092.csv"
        );
        // A comma in a value, which no name quotes, is no other tag.
        let client = [("client", "a,b=/é")];
        assert_eq!(of("T", "N", &client), "N.T.client=a.b=%2F%C3%A9.csv");
        assert_eq!(of("T", "N", &[("client", "a,b")]), "N.T.client=a%2Cb.csv");
    }

    #[test]
    fn long_topics_have_different_files_that_any_system_takes() {
        let topics = ["x", "y"].map(|end| "t".repeat(248) + end);
        let files = topics.each_ref().map(|topic| {
            let client = ("clientId", "ReplicaFetcherThread-10-100000");
            let tags = [client, ("topic", topic.as_str()), ("partition", "100000")];
            of("FetcherLagMetrics", "ConsumerLag", &tags)
        });
        assert_ne!(files[0], files[1]);
        for file in files {
            assert!(
                file.len() <= 255 && file.ends_with(".partition=100000.csv"),
                "{file}"
            );
        }
    }
}
