//! kafka-producer-perf-test (org.apache.kafka.tools.ProducerPerformance): how many records a second a producer
//! sends, and how long each takes to be acknowledged.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::log::warn;
use bytes::Bytes;
use hdrhistogram::Histogram;

use super::arguments::{Argument, ArgumentParser, Arguments, Error, Kind};
use super::{Tool, runtime};
use crate::client::producer::{self, Ack, Producer, ProducerSettings, Record};
use crate::config::{ProducerConfig, Properties};
use crate::util::clock::{Clock, Mono};

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-producer-perf-test",
    class: "org.apache.kafka.tools.ProducerPerformance",
    run,
};

/// How often a line is printed meanwhile.
const WINDOW: Duration = Duration::from_secs(5);
const MEGABYTE: f64 = 1024.0 * 1024.0;

fn parser() -> ArgumentParser {
    use Kind::{Integer, Long, Text};
    let arguments = vec![
        Argument::new("--topic", "TOPIC", Text, "produce messages to this topic").required(),
        Argument::new(
            "--num-records",
            "NUM-RECORDS",
            Long,
            "number of messages to produce",
        )
        .required(),
        Argument::new("--record-size", "RECORD-SIZE", Integer, "message size in bytes").required(),
        Argument::new(
            "--throughput",
            "THROUGHPUT",
            Integer,
            "throttle maximum message throughput to *approximately* THROUGHPUT messages/sec",
        )
        .required(),
        Argument::new(
            "--producer-props",
            "PROP-NAME=PROP-VALUE",
            Text,
            "kafka producer related configuaration properties like bootstrap.servers,client.id etc..",
        )
        .required()
        .many(),
    ];
    ArgumentParser::new(
        "producer-performance",
        "This tool is used to verify the producer performance.",
        arguments,
    )
}

/// What to send and how fast.
#[derive(Debug)]
struct Job {
    settings: ProducerSettings,
    topic: String,
    records: u64,
    size: usize,
    /// Per second; as fast as it goes if negative, none after the first if 0.
    throughput: i64,
}

fn run(args: &[String]) -> ExitCode {
    match parser().read(args, job) {
        Ok(job) => runtime::run_client(measure(job)),
        Err(code) => code,
    }
}

fn job(found: &Arguments) -> Result<Job, Error> {
    let mut properties = Properties::new();
    for pair in found.values("--producer-props") {
        // Java's split drops empty strings at the end.
        let pieces: Vec<&str> = pair.trim_end_matches('=').split('=').collect();
        let [key, value] = pieces[..] else {
            let text = format!("java.lang.IllegalArgumentException: Invalid property: {pair}");
            return Err(Error::uncaught(&text));
        };
        properties.set(key, value, "--producer-props");
    }
    let read = ProducerConfig::from_properties(&properties);
    let (config, warnings) = read.map_err(|e| Error::uncaught(&e.exception()))?;
    for warning in warnings {
        warn!(target: "org.apache.kafka.clients.producer.ProducerConfig", "{warning}");
    }
    let size = usize::try_from(found.number("--record-size"));
    Ok(Job {
        settings: config.into(),
        topic: found.value("--topic").unwrap_or_default().to_owned(),
        records: u64::try_from(found.number("--num-records")).unwrap_or(0),
        size: size.map_err(|_| Error::uncaught("java.lang.NegativeArraySizeException: --record-size"))?,
        throughput: found.number("--throughput"),
    })
}

/// What was acknowledged, since the beginning and since the last line.
#[derive(Debug)]
struct Stats {
    began: Mono,
    window_began: Mono,
    /// Milliseconds.
    latencies: Histogram<u64>,
    total: Sums,
    window: Sums,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    records: u64,
    bytes: u64,
    latency_ms: u64,
    longest_ms: u64,
}

impl Sums {
    fn add(&mut self, latency_ms: u64, bytes: u64) {
        self.records += 1;
        self.bytes += bytes;
        self.latency_ms += latency_ms;
        self.longest_ms = self.longest_ms.max(latency_ms);
    }

    fn per_second(&self, elapsed: Duration) -> (f64, f64) {
        let seconds = elapsed.as_secs_f64().max(0.001);
        (
            self.records as f64 / seconds,
            self.bytes as f64 / seconds / MEGABYTE,
        )
    }

    fn average(&self) -> f64 {
        self.latency_ms as f64 / self.records.max(1) as f64
    }
}

impl Stats {
    fn new(now: Mono) -> Result<Stats, String> {
        Ok(Stats {
            began: now,
            window_began: now,
            latencies: Histogram::new(3).map_err(|e| e.to_string())?,
            total: Sums::default(),
            window: Sums::default(),
        })
    }

    /// Notes a record's end. Returns the line that is due, if one is.
    fn record(&mut self, now: Mono, latency: Duration, bytes: u64) -> Option<String> {
        let ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(ms);
        self.total.add(ms, bytes);
        self.window.add(ms, bytes);
        let elapsed = now.since(self.window_began);
        if elapsed < WINDOW {
            return None;
        }
        let window = std::mem::take(&mut self.window);
        self.window_began = now;
        let (records, megabytes) = window.per_second(elapsed);
        Some(format!(
            "{} records sent, {records:.1} records/sec ({megabytes:.2} MB/sec), {:.1} ms avg latency, {:.1} max latency.",
            window.records,
            window.average(),
            window.longest_ms as f64
        ))
    }

    fn summary(&self, now: Mono) -> String {
        let (records, megabytes) = self.total.per_second(now.since(self.began));
        let at = |quantile| self.latencies.value_at_quantile(quantile);
        format!(
            "{} records sent, {records:.6} records/sec ({megabytes:.2} MB/sec), {:.2} ms avg latency, {:.2} ms max latency, {} ms 50th, {} ms 95th, {} ms 99th, {} ms 99.9th.",
            self.total.records,
            self.total.average(),
            self.total.longest_ms as f64,
            at(0.5),
            at(0.95),
            at(0.99),
            at(0.999)
        )
    }
}

async fn measure(job: Job) -> ExitCode {
    let clock = job.settings.clock.clone();
    let stats = match Stats::new(clock.now()) {
        Ok(stats) => Arc::new(Mutex::new(stats)),
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::FAILURE;
        }
    };
    let bytes = job.size as u64;
    let listener = {
        let stats = stats.clone();
        move |sent_at: u64, result: &Result<Ack, producer::Error>, ended_at: Mono| {
            let taken = ended_at.since(Mono(Duration::from_nanos(sent_at)));
            note(&stats, ended_at, taken, bytes, result.as_ref().err());
        }
    };
    let producer = Producer::start_with_listener(job.settings.clone(), Box::new(listener));
    let (topic, payload) = (Arc::from(job.topic), Bytes::from(vec![1; job.size]));
    let began = clock.now();
    for number in 0..job.records {
        pace(&clock, began, number, job.throughput).await;
        let record = Record {
            topic: Arc::clone(&topic),
            value: Some(payload.clone()),
            ..Record::default()
        };
        let sent_at = clock.now();
        let nanos = u64::try_from(sent_at.0.as_nanos()).unwrap_or(u64::MAX);
        if let Err(e) = producer.send_numbered(record, nanos).await {
            // The listener was not told.
            let now = clock.now();
            note(&stats, now, now.since(sent_at), bytes, Some(&e));
        }
    }
    producer.close(None).await;
    let summary = stats
        .lock()
        .expect("no code panics while holding this lock")
        .summary(clock.now());
    println!("{summary}");
    ExitCode::SUCCESS
}

/// Notes a record's end, and prints what is due.
fn note(stats: &Mutex<Stats>, now: Mono, taken: Duration, bytes: u64, failure: Option<&producer::Error>) {
    let line = stats
        .lock()
        .expect("no code panics while holding this lock")
        .record(now, taken, bytes);
    if let Some(line) = line {
        println!("{line}");
    }
    if let Some(e) = failure {
        eprintln!("{e}");
    }
}

/// Returns when it is time for that record.
async fn pace(clock: &Clock, began: Mono, number: u64, per_second: i64) {
    match u64::try_from(per_second) {
        Err(_) => {}
        Ok(0) if number > 0 => std::future::pending().await,
        Ok(0) => {}
        Ok(rate) => {
            let due = Duration::from_secs_f64(number as f64 / rate as f64);
            if clock.now().since(began) < due {
                clock.sleep_until(began + due).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_genuine_tool() {
        let at = Mono::from_millis;
        let mut stats = Stats::new(at(0)).unwrap();
        for i in 1..100 {
            assert_eq!(stats.record(at(i), Duration::from_millis(i), 1 << 20), None);
        }
        assert_eq!(
            stats
                .record(at(5000), Duration::from_millis(100), 1 << 20)
                .as_deref(),
            Some(
                "100 records sent, 20.0 records/sec (20.00 MB/sec), 50.5 ms avg latency, 100.0 max latency."
            )
        );
        assert_eq!(
            stats.summary(at(10_000)),
            "100 records sent, 10.000000 records/sec (10.00 MB/sec), 50.50 ms avg latency, 100.00 ms max latency, 50 ms 50th, 95 ms 95th, 99 ms 99th, 100 ms 99.9th."
        );
    }

    #[test]
    fn properties_have_exactly_one_equals_sign() {
        let parse = |text: &str| {
            let args: Vec<String> = text.split(' ').map(str::to_owned).collect();
            job(&parser().parse(&args).unwrap())
        };
        let before = "--topic t --num-records 5 --record-size 7 --throughput -1 --producer-props";
        let ok = parse(&format!("{before} bootstrap.servers=h:1 acks=all")).unwrap();
        assert_eq!(
            (ok.settings.acks, ok.records, ok.size, ok.throughput),
            (-1, 5, 7, -1)
        );
        let refused = parse(&format!("{before} bootstrap.servers=h:1 a=b=c")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "Exception in thread \"main\" java.lang.IllegalArgumentException: Invalid property: a=b=c\n"
        );
    }
}
