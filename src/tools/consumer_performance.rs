//! kafka-consumer-perf-test (kafka.tools.ConsumerPerformance): how many messages a second a consumer reads, the
//! old one or the new one.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ::log::warn;
use tokio::task::JoinSet;

use super::options::{ArgType, OptionParser, OptionSet, check_required_args};
use super::perf_options::{self, Refused, Report, Sum};
use super::{Tool, runtime};
use crate::client::consumer::{Consumer, ConsumerRecord, ConsumerSettings};
use crate::client::old_consumer::{self, OldConsumer, OldConsumerSettings, Stream, Subscription};
use crate::config::{ConsumerConfig, OldConsumerConfig, Properties};
use crate::util::clock::{Clock, Mono, WallMs};
use crate::util::random;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-consumer-perf-test",
    class: "kafka.tools.ConsumerPerformance",
    run,
};

/// How long joining the group may take, and how long no message ends the test.
const JOIN: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(100);

fn parser() -> OptionParser {
    use ArgType::{Integer, String};
    let mut p = OptionParser::new();
    perf_options::accept(&mut p);
    let group = format!("perf-consumer-{}", random::below(100_000));
    for (name, what, kind, default, help) in [
        (
            "zookeeper",
            "urls",
            String,
            "",
            "The connection string for the zookeeper connection in the form host:port. Multiple URLS can be given to allow fail-over. This option is only used with the old consumer.",
        ),
        (
            "broker-list",
            "host",
            String,
            "",
            "A broker list to use for connecting if using the new consumer.",
        ),
        (
            "group",
            "gid",
            String,
            group.as_str(),
            "The group id to consume on.",
        ),
        (
            "fetch-size",
            "size",
            Integer,
            "1048576",
            "The amount of data to fetch in a single request.",
        ),
        (
            "socket-buffer-size",
            "size",
            Integer,
            "2097152",
            "The size of the tcp RECV size.",
        ),
        ("threads", "count", Integer, "10", "Number of processing threads."),
        (
            "num-fetch-threads",
            "count",
            Integer,
            "1",
            "Number of fetcher threads.",
        ),
        (
            "consumer.config",
            "config file",
            String,
            "",
            "Consumer config properties file.",
        ),
    ] {
        p.accepts_value(name, what, kind, default, help);
    }
    perf_options::accept_topic_to_consume(&mut p);
    p.accepts("new-consumer", "Use the new consumer implementation.");
    p
}

/// What to read and how to tell of it.
struct Job {
    by: By,
    topic: String,
    report: Report,
    messages: u64,
}

enum By {
    Old {
        settings: Box<OldConsumerSettings>,
        streams: usize,
    },
    New(Box<ConsumerSettings>),
}

fn run(args: &[String]) -> ExitCode {
    let parser = parser();
    match prepare(&parser, args) {
        Ok(job) => runtime::run(measure(job)),
        Err(refused) => refused.report(),
    }
}

fn prepare(parser: &OptionParser, args: &[String]) -> Result<Job, Refused> {
    let options = parser.parse(args)?;
    check_required_args(parser, &options, &["topic", "messages"])?;
    let properties = match options.value("consumer.config")? {
        Some(file) => Properties::load(Path::new(&file))
            .map_err(|e| Refused::Thrown(format!("java.io.FileNotFoundException: {e}")))?,
        None => Properties::new(),
    };
    let by = if options.has("new-consumer") {
        By::New(Box::new(new_settings(&options, properties)?))
    } else {
        check_required_args(parser, &options, &["zookeeper", "messages"])?;
        By::Old {
            settings: Box::new(old_settings(&options, properties)?),
            streams: usize::try_from(options.int("threads")?.unwrap_or_default()).unwrap_or(0),
        }
    };
    Ok(Job {
        by,
        topic: options.value("topic")?.unwrap_or_default(),
        messages: u64::try_from(options.long("messages")?.unwrap_or_default()).unwrap_or(0),
        report: Report::read(&options)?,
    })
}

fn new_settings(options: &OptionSet, mut properties: Properties) -> Result<ConsumerSettings, Refused> {
    let rows = [
        ("broker-list", "bootstrap.servers"),
        ("group", "group.id"),
        ("socket-buffer-size", "receive.buffer.bytes"),
        ("fetch-size", "max.partition.fetch.bytes"),
    ];
    perf_options::put(options, &rows, &mut properties)?;
    let reset = if options.has("from-latest") {
        "latest"
    } else {
        "earliest"
    };
    properties.set("auto.offset.reset", reset, "--from-latest");
    properties.set("check.crcs", "false", "kafka-consumer-perf-test");
    let read = ConsumerConfig::from_properties(&properties);
    let (config, warnings) = read.map_err(|e| Refused::Thrown(e.exception()))?;
    for warning in warnings {
        warn!(target: "org.apache.kafka.clients.consumer.ConsumerConfig", "{warning}");
    }
    Ok(config.into())
}

fn old_settings(options: &OptionSet, mut properties: Properties) -> Result<OldConsumerSettings, Refused> {
    let rows = [
        ("group", "group.id"),
        ("socket-buffer-size", "socket.receive.buffer.bytes"),
        ("fetch-size", "fetch.message.max.bytes"),
        ("zookeeper", "zookeeper.connect"),
        ("num-fetch-threads", "num.consumer.fetchers"),
    ];
    perf_options::put(options, &rows, &mut properties)?;
    let reset = if options.has("from-latest") {
        "largest"
    } else {
        "smallest"
    };
    properties.set("auto.offset.reset", reset, "--from-latest");
    properties.set("consumer.timeout.ms", "1000", "kafka-consumer-perf-test");
    let wrong =
        |e: crate::config::ConfigErrors| Refused::Thrown(format!("java.lang.IllegalArgumentException: {e}"));
    let (config, warnings) = OldConsumerConfig::from_properties(&properties).map_err(wrong)?;
    for warning in warnings {
        warn!(target: "kafka.utils.VerifiableProperties", "{warning}");
    }
    Ok(config.into())
}

impl Report {
    /// The line of all that was read.
    fn total(&self, began: WallMs, ended: WallMs, elapsed: Duration, sum: Sum) -> String {
        format!(
            "{}, {}, {}",
            self.date.format(began),
            self.date.format(ended),
            sum.rates_since(Sum::default(), elapsed)
        )
    }

    /// The line of one reader's progress since its last one.
    fn progress(&self, id: usize, now: WallMs, elapsed: Duration, sum: Sum, last: Sum) -> String {
        format!(
            "{}, {id}, {}",
            self.date.format(now),
            sum.rates_since(last, elapsed)
        )
    }
}

/// One reader's count, which speaks up at intervals.
struct Reader {
    id: usize,
    report: Report,
    clock: Clock,
    sum: Sum,
    last: Sum,
    last_at: Mono,
}

impl Reader {
    fn new(id: usize, report: &Report, clock: &Clock) -> Reader {
        Reader {
            id,
            report: report.clone(),
            last_at: clock.now(),
            clock: clock.clone(),
            sum: Sum::default(),
            last: Sum::default(),
        }
    }

    fn count(&mut self, bytes: usize) {
        self.sum.messages += 1;
        self.sum.bytes += bytes as u64;
        if self.sum.messages.is_multiple_of(self.report.interval) {
            if self.report.detailed {
                self.tell(self.last_at, self.last);
            }
            self.last = self.sum;
            self.last_at = self.clock.now();
        }
    }

    fn tell(&self, since: Mono, last: Sum) {
        let elapsed = self.clock.now().since(since);
        let line = self
            .report
            .progress(self.id, self.clock.wall(), elapsed, self.sum, last);
        println!("{line}");
    }
}

async fn measure(job: Job) -> ExitCode {
    job.report.head("");
    let clock = Clock::system();
    let read = match job.by {
        By::New(settings) => read_new(*settings, &job.topic, job.messages, &job.report, &clock).await,
        By::Old { settings, streams } => {
            read_old(*settings, &job.topic, streams, job.messages, &job.report, &clock).await
        }
    };
    match read {
        Ok((wall, elapsed, sum)) => {
            let ended = WallMs(wall.0 + i64::try_from(elapsed.as_millis()).unwrap_or(0));
            if !job.report.detailed {
                println!("{}", job.report.total(wall, ended, elapsed, sum));
            }
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("Exception in thread \"main\" {e}");
            ExitCode::FAILURE
        }
    }
}

/// When it began, how long it took, and what was read.
type Outcome = Result<(WallMs, Duration, Sum), String>;

async fn read_new(
    settings: ConsumerSettings,
    topic: &str,
    most: u64,
    report: &Report,
    clock: &Clock,
) -> Outcome {
    let text = |e: crate::client::consumer::Error| format!("org.apache.kafka.common.KafkaException: {e}");
    let mut consumer = Consumer::new(settings).map_err(text)?;
    consumer.subscribe([topic]).map_err(text)?;
    let (began, wall) = (clock.now(), clock.wall());
    // Joining counts, as it does there.
    let joined = async {
        while consumer.assignment().is_empty() {
            consumer.poll(POLL).await?;
        }
        Ok(())
    };
    tokio::select! {
        joined = joined => joined.map_err(text)?,
        () = clock.sleep(JOIN) => {
            return Err("java.lang.Exception: Timed out waiting for initial group join.".to_owned());
        }
    }
    consumer.seek_to_beginning([]).map_err(text)?;
    let mut reader = Reader::new(0, report, clock);
    let mut last = clock.now();
    while reader.sum.messages < most && clock.now().since(last) <= SILENCE {
        let records = consumer.poll(POLL).await.map_err(text)?;
        if !records.is_empty() {
            last = clock.now();
        }
        for record in &records {
            reader.count(size(record));
        }
    }
    let outcome = (wall, clock.now().since(began), reader.sum);
    // What fails is logged.
    let _ = consumer.close().await;
    Ok(outcome)
}

fn size(record: &ConsumerRecord) -> usize {
    let length = |b: &Option<bytes::Bytes>| b.as_ref().map_or(0, bytes::Bytes::len);
    length(&record.key) + length(&record.value)
}

async fn read_old(
    settings: OldConsumerSettings,
    topic: &str,
    streams: usize,
    most: u64,
    report: &Report,
    clock: &Clock,
) -> Outcome {
    let timeout = settings.consumer_timeout.unwrap_or_default();
    let wanted = Subscription::Topics([(topic.to_owned(), streams)].into());
    let started = OldConsumer::start(settings, wanted).await;
    let (consumer, streams) = started.map_err(|e| format!("kafka.common.KafkaException: {e}"))?;
    // The genuine tool lets the fetchers begin, too.
    clock.sleep(SILENCE).await;
    let (began, wall) = (clock.now(), clock.wall());
    let mut readers = JoinSet::new();
    for (id, stream) in streams.into_iter().enumerate() {
        readers.spawn(read_stream(Reader::new(id, report, clock), stream, most));
    }
    let mut sum = Sum::default();
    let mut silent = false;
    while let Some(read) = readers.join_next().await {
        let (reader, ended_in_silence) = read.map_err(|e| e.to_string())?;
        silent |= ended_in_silence;
        sum.messages += reader.sum.messages;
        sum.bytes += reader.sum.bytes;
        if reader.report.detailed {
            reader.tell(began, Sum::default());
        }
    }
    // That nothing came for so long is how the end was noticed.
    let silence = if silent { timeout } else { Duration::ZERO };
    let elapsed = clock.now().since(began).saturating_sub(silence);
    consumer.close().await;
    Ok((wall, elapsed, sum))
}

/// Reads one stream to its end, and says whether that was that nothing came.
async fn read_stream(mut reader: Reader, mut stream: Stream, most: u64) -> (Reader, bool) {
    while reader.sum.messages < most {
        match stream.next().await {
            Ok(Some(consumed)) => reader.count(consumed.message.value.map_or(0, |v| v.len())),
            Ok(None) => return (reader, false),
            Err(old_consumer::Error::Timeout) => return (reader, true),
            Err(e) => {
                eprintln!("{e}");
                return (reader, false);
            }
        }
    }
    (reader, false)
}

#[cfg(test)]
mod tests {
    use super::super::logging::date::DateFormat;
    use super::*;

    #[test]
    fn lines_are_those_of_the_genuine_tool() {
        let report = Report {
            date: DateFormat::new("SSS"),
            detailed: false,
            header: true,
            interval: 5000,
        };
        let sum = Sum {
            messages: 300,
            bytes: 3 << 20,
        };
        assert_eq!(
            report.total(WallMs(1001), WallMs(3002), Duration::from_secs(2), sum),
            "001, 002, 3.0000, 1.5000, 300, 150.0000"
        );
        let last = Sum {
            messages: 100,
            bytes: 1 << 20,
        };
        assert_eq!(
            report.progress(7, WallMs(3), Duration::from_millis(500), sum, last),
            "003, 7, 3.0000, 4.0000, 300, 400.0000"
        );
    }
}
