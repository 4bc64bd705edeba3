//! What a cleaning read and wrote, and how it tells so in the words of 0.9.0.1's log-cleaner.log.

use std::time::Duration;

use crate::message::Offset;

/// The figures of one cleaning. Messages are counted as entries: a wrapper is one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stats {
    /// Entries of the segments that were written anew, and their bytes.
    pub(crate) read: Amount,
    /// Those that were kept.
    pub(crate) written: Amount,
    /// Bytes that were read for the table of keys.
    pub(crate) indexed_bytes: u64,
    /// Messages without a key, which are dropped.
    pub(crate) keyless: u64,
    /// Entries that nobody can read, which are kept.
    pub(crate) unreadable: u64,
    /// How full the table of keys got, from 0 to 1.
    pub(crate) utilization: f64,
    /// What the table of keys took.
    pub(crate) indexing: Duration,
    /// What all took.
    pub(crate) elapsed: Duration,
}

/// How many, and how many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Amount {
    /// Counts one more entry.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }
}

impl Stats {
    /// The report about a log that was cleaned from `from` up to `to`.
    pub(crate) fn report(&self, thread: usize, log: &str, from: Offset, to: Offset) -> String {
        let mb = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
        let (all, indexing) = (seconds(self.elapsed), seconds(self.indexing));
        let copying = all - indexing;
        let (read, written) = (mb(self.read.bytes), mb(self.written.bytes));
        let indexed = mb(self.indexed_bytes);
        let fewer = |kept: u64, of: u64| 100.0 * (1.0 - kept as f64 / of as f64);
        [
            String::new(),
            format!("\tLog cleaner thread {thread} cleaned log {log} (dirty section = [{from}, {to}])"),
            format!(
                "\t{} MB of log processed in {} seconds ({} MB/sec).",
                grouped(read),
                grouped(all),
                grouped(read / all)
            ),
            format!(
                "\tIndexed {} MB in {} seconds ({} Mb/sec, {}% of total time)",
                grouped(indexed),
                plain(indexing),
                grouped(indexed / indexing),
                plain(100.0 * indexing / all)
            ),
            format!("\tBuffer utilization: {}%", plain(100.0 * self.utilization)),
            format!(
                "\tCleaned {} MB in {} seconds ({} Mb/sec, {}% of total time)",
                grouped(read),
                plain(copying),
                grouped(read / copying),
                plain(100.0 * copying / all)
            ),
            format!(
                "\tStart size: {} MB ({} messages)",
                grouped(read),
                thousands(&self.read.messages.to_string())
            ),
            format!(
                "\tEnd size: {} MB ({} messages)",
                grouped(written),
                thousands(&self.written.messages.to_string())
            ),
            format!(
                "\t{}% size reduction ({}% fewer messages)",
                plain(fewer(self.written.bytes, self.read.bytes)),
                plain(fewer(self.written.messages, self.read.messages))
            ),
            String::new(),
        ]
        .join("\n")
    }
}

/// Whole milliseconds, as 0.9.0.1's clock counts.
fn seconds(d: Duration) -> f64 {
    d.as_millis() as f64 / 1000.0
}

/// As Java's `%.1f`.
fn plain(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".to_owned(),
        v if v.is_infinite() && v > 0.0 => "Infinity".to_owned(),
        v if v.is_infinite() => "-Infinity".to_owned(),
        v => format!("{v:.1}"),
    }
}

/// As Java's `%,.1f`.
fn grouped(value: f64) -> String {
    let text = plain(value);
    match text.split_once('.') {
        Some((whole, rest)) => format!("{}.{rest}", thousands(whole)),
        None => text,
    }
}

/// Digits with a comma before every third from the end.
fn thousands(digits: &str) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits),
    };
    let mut text = String::from(sign);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_reads_as_kafka_s() {
        let stats = Stats {
            read: Amount {
                messages: 1_234_567,
                bytes: 3 << 30,
            },
            written: Amount {
                messages: 1000,
                bytes: 1 << 20,
            },
            indexed_bytes: 1 << 30,
            keyless: 0,
            unreadable: 0,
            utilization: 0.123_45,
            indexing: Duration::from_millis(2500),
            elapsed: Duration::from_millis(10_000),
        };
        assert_eq!(
            stats.report(0, "t-0", 5, 99),
            "\n\tLog cleaner thread 0 cleaned log t-0 (dirty section = [5, 99])\n\
             \t3,072.0 MB of log processed in 10.0 seconds (307.2 MB/sec).\n\
             \tIndexed 1,024.0 MB in 2.5 seconds (409.6 Mb/sec, 25.0% of total time)\n\
             \tBuffer utilization: 12.3%\n\
             \tCleaned 3,072.0 MB in 7.5 seconds (409.6 Mb/sec, 75.0% of total time)\n\
             \tStart size: 3,072.0 MB (1,234,567 messages)\n\
             \tEnd size: 1.0 MB (1,000 messages)\n\
             \t100.0% size reduction (99.9% fewer messages)\n"
        );
    }

    #[test]
    fn no_time_and_no_bytes_print_as_java_prints_them() {
        let text = Stats::default().report(1, "t-0", 0, 0);
        assert!(text.contains("0.0 MB of log processed in 0.0 seconds (NaN MB/sec)."));
        assert!(text.contains("NaN% size reduction (NaN% fewer messages)"));
        assert_eq!(grouped(f64::INFINITY), "Infinity");
        assert_eq!(grouped(-1234.56), "-1,234.6");
        assert_eq!(thousands("100"), "100");
        assert_eq!(thousands("-1000"), "-1,000");
    }
}
