//! kafka-mirror-maker (kafka.tools.MirrorMaker): copies topics from one cluster into another, on the old
//! consumer or the new one. Offsets are committed only when all that was read before them is acknowledged
//! by the target.
//!
//! `stream` copies by one consumer; there are as many as `--num.streams` says, and one producer.

mod stream;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::log::{error, info, warn};
use tokio::task::JoinSet;

use self::stream::{Ended, Source};
use super::options::{ArgType, OptionParser, check_required_args};
use super::signals::Signals;
use super::{Tool, options, runtime, session};
use crate::client::consumer::{Consumer, ConsumerSettings};
use crate::client::old_consumer::OldConsumerSettings;
use crate::client::producer::{self, Producer, ProducerSettings, Record};
use crate::client::topic_filter::TopicFilter;
use crate::config::{ConsumerConfig, OldConsumerConfig, ProducerConfig, Properties};
use crate::util::shutdown::Shutdown;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-mirror-maker",
    class: "kafka.tools.MirrorMaker",
    run,
};

const PURPOSE: &str = "Continuously copy data between two Kafka clusters.";
/// What 0.9 names its log lines after.
const LOGGER: &str = "kafka.tools.MirrorMaker$";
/// What the process exits with when a stream ends by itself: Java's -1.
const ABORTED: u8 = 255;

fn parser() -> OptionParser {
    use ArgType::{Integer, String};
    let mut p = OptionParser::new();
    for (name, what, kind, default, help) in [
        (
            "consumer.config",
            "config file",
            String,
            "",
            "Embedded consumer config for consuming from the source cluster.",
        ),
        (
            "producer.config",
            "config file",
            String,
            "",
            "Embedded producer config.",
        ),
        (
            "num.streams",
            "Number of threads",
            Integer,
            "1",
            "Number of consumption streams.",
        ),
        (
            "whitelist",
            "Java regex (String)",
            String,
            "",
            "Whitelist of topics to mirror.",
        ),
        (
            "blacklist",
            "Java regex (String)",
            String,
            "",
            "Blacklist of topics to mirror. Only old consumer supports blacklist.",
        ),
        (
            "offset.commit.interval.ms",
            "offset commit interval in millisecond",
            Integer,
            "60000",
            "Offset commit interval in ms",
        ),
        (
            "consumer.rebalance.listener",
            "A custom rebalance listener of type ConsumerRebalanceListener",
            String,
            "",
            "The consumer rebalance listener to use for mirror maker consumer.",
        ),
        (
            "rebalance.listener.args",
            "Arguments passed to custom rebalance listener constructor as a string.",
            String,
            "",
            "Arguments used by custom rebalance listener for mirror maker consumer",
        ),
        (
            "message.handler",
            "A custom message handler of type MirrorMakerMessageHandler",
            String,
            "",
            "Message handler which will process every record in-between consumer and producer.",
        ),
        (
            "message.handler.args",
            "Arguments passed to message handler constructor.",
            String,
            "",
            "Arguments used by custom rebalance listener for mirror maker consumer",
        ),
        (
            "abort.on.send.failure",
            "Stop the entire mirror maker when a send failure occurs",
            String,
            "true",
            "Configure the mirror maker to exit on a failed send.",
        ),
    ] {
        p.accepts_value(name, what, kind, default, help);
    }
    p.accepts("new.consumer", "Use new consumer in mirror maker.");
    p.accepts("help", "Print this message.");
    p
}

/// What is to be mirrored, and how.
struct Job {
    sources: Vec<Wanted>,
    producer: ProducerSettings,
    /// Each record is awaited before the next.
    sync: bool,
    commit_interval: Duration,
    abort: bool,
}

/// One stream's consumer, not started yet.
enum Wanted {
    Old(Box<OldConsumerSettings>, TopicFilter),
    New(Box<ConsumerSettings>, String),
}

/// Why the program does not start.
enum Refused {
    Options(options::Error),
    /// Told on standard output.
    Rule(&'static str),
    /// Told as the cause of a failed start.
    Start(String),
}

impl From<options::Error> for Refused {
    /// What Java throws is caught there, and the threads that are missing then end the program.
    fn from(e: options::Error) -> Self {
        match e.exception() {
            Some(exception) => Refused::Start(format!("{exception}: {e}")),
            None => Refused::Options(e),
        }
    }
}

fn run(args: &[String]) -> ExitCode {
    let parser = parser();
    if args.is_empty() {
        return parser.usage_error(PURPOSE).report();
    }
    match prepare(&parser, args) {
        Ok(Some(job)) => runtime::run(mirror(job)),
        Ok(None) => super::print(&parser.help()),
        Err(Refused::Options(e)) => e.report(),
        Err(Refused::Rule(text)) => {
            super::print(&format!("{text}\n"));
            ExitCode::FAILURE
        }
        Err(Refused::Start(text)) => {
            error!(target: LOGGER, "Exception when starting mirror maker. {text}");
            ExitCode::FAILURE
        }
    }
}

/// `None` when only the help is wanted.
fn prepare(parser: &OptionParser, args: &[String]) -> Result<Option<Job>, Refused> {
    let options = parser.parse(args)?;
    if options.has("help") {
        return Ok(None);
    }
    check_required_args(parser, &options, &["consumer.config", "producer.config"])?;
    if options.has("whitelist") == options.has("blacklist") {
        return Err(Refused::Rule(
            "Exactly one of whitelist or blacklist is required.",
        ));
    }
    let abort = match options.value("abort.on.send.failure")?.unwrap_or_default() {
        text if text.eq_ignore_ascii_case("true") => true,
        text if text.eq_ignore_ascii_case("false") => false,
        text => {
            let why = format!("java.lang.IllegalArgumentException: For input string: \"{text}\"");
            return Err(Refused::Start(why));
        }
    };
    let interval = options.int("offset.commit.interval.ms")?.unwrap_or_default();
    let streams = options.int("num.streams")?.unwrap_or_default();
    for class in ["consumer.rebalance.listener", "message.handler"] {
        if let Some(name) = options.value(class)? {
            let why = format!("java.lang.ClassNotFoundException: {name}");
            return Err(Refused::Start(why));
        }
    }
    let file = |option| -> Result<Properties, Refused> {
        let path = options.value(option)?.unwrap_or_default();
        let missing = |e| Refused::Start(format!("java.io.FileNotFoundException: {e}"));
        let bytes = session::read_file(&path).map_err(missing)?;
        Properties::parse(&bytes, &path).map_err(|e| Refused::Start(e.to_string()))
    };
    let (producer, sync) = producer_settings(file("producer.config")?)?;
    let whitelist = options.value("whitelist")?;
    let blacklist = options.value("blacklist")?;
    let mut properties = file("consumer.config")?;
    let group = properties.get("group.id").unwrap_or("null").to_owned();
    let mut sources = Vec::new();
    for stream in 0..streams {
        properties.set("client.id", &format!("{group}-{stream}"), "kafka-mirror-maker");
        sources.push(if options.has("new.consumer") {
            let Some(pattern) = &whitelist else {
                let why = "java.lang.IllegalArgumentException: White list cannot be empty for new consumer";
                return Err(Refused::Start(why.to_owned()));
            };
            new_consumer(&mut properties, pattern)?
        } else {
            let filter = match (&whitelist, &blacklist) {
                (Some(list), _) => TopicFilter::whitelist(list),
                (None, list) => TopicFilter::blacklist(list.as_deref().unwrap_or_default()),
            };
            let filter = filter.map_err(|e| Refused::Start(e.to_string()))?;
            old_consumer(&mut properties, filter)?
        });
    }
    Ok(Some(Job {
        sources,
        producer,
        sync,
        commit_interval: Duration::from_millis(u64::try_from(interval).unwrap_or(0)),
        abort,
    }))
}

/// Sets what is safe unless the file says otherwise.
fn set_unless_set(properties: &mut Properties, key: &str, value: &str) {
    match properties.get(key) {
        Some(other) if other != value => info!(
            target: LOGGER,
            "Property {key} is overridden to {other} - data loss or message reordering is possible."
        ),
        Some(_) => {}
        None => properties.set(key, value, "kafka-mirror-maker"),
    }
}

fn producer_settings(mut properties: Properties) -> Result<(ProducerSettings, bool), Refused> {
    for (key, value) in [
        ("retries", "2147483647"),
        ("block.on.buffer.full", "true"),
        ("acks", "all"),
        ("max.in.flight.requests.per.connection", "1"),
    ] {
        set_unless_set(&mut properties, key, value);
    }
    let sync = properties.get("producer.type") == Some("sync");
    let read = ProducerConfig::from_properties(&properties);
    let (config, warnings) = read.map_err(|e| Refused::Start(e.exception()))?;
    for warning in warnings {
        warn!(target: "org.apache.kafka.clients.producer.ProducerConfig", "{warning}");
    }
    Ok((config.into(), sync))
}

fn new_consumer(properties: &mut Properties, pattern: &str) -> Result<Wanted, Refused> {
    set_unless_set(properties, "enable.auto.commit", "false");
    let read = ConsumerConfig::from_properties(properties);
    let (config, warnings) = read.map_err(|e| Refused::Start(e.exception()))?;
    for warning in warnings {
        warn!(target: "org.apache.kafka.clients.consumer.ConsumerConfig", "{warning}");
    }
    Ok(Wanted::New(Box::new(config.into()), pattern.to_owned()))
}

fn old_consumer(properties: &mut Properties, filter: TopicFilter) -> Result<Wanted, Refused> {
    set_unless_set(properties, "auto.commit.enable", "false");
    // So that offsets are committed though nothing comes.
    set_unless_set(properties, "consumer.timeout.ms", "10000");
    let read = OldConsumerConfig::from_properties(properties);
    let (config, warnings) = read.map_err(|e| Refused::Start(e.to_string()))?;
    for warning in warnings {
        warn!(target: "kafka.utils.VerifiableProperties", "{warning}");
    }
    Ok(Wanted::Old(Box::new(config.into()), filter))
}

/// The one producer, and what became of its records.
struct Target {
    producer: Producer,
    sync: bool,
    abort: bool,
    commit_interval: Duration,
    /// Asked when a record could not be sent and that ends everything.
    failed: Shutdown,
    dropped: AtomicU64,
}

impl Target {
    /// Sends a record. What becomes of it is known after [`Target::flush`].
    async fn send(self: &Arc<Self>, record: Record) {
        if self.sync {
            let sent = match self.producer.send(record).await {
                Ok(delivery) => delivery.await.map(drop),
                Err(e) => Err(e),
            };
            return self.settle(sent);
        }
        let target = self.clone();
        let told = Box::new(move |result: Result<producer::Ack, producer::Error>| {
            target.settle(result.map(drop));
        });
        if let Err(e) = self.producer.send_then(record, told).await {
            self.settle(Err(e));
        }
    }

    fn settle(&self, result: Result<(), producer::Error>) {
        let Err(e) = result else { return };
        error!(target: LOGGER, "Error when sending message: {e}");
        self.dropped.fetch_add(1, Ordering::Relaxed);
        if self.abort && !self.failed.is_asked() {
            info!(target: LOGGER, "Closing producer due to send failure.");
            self.failed.ask();
        }
    }

    /// Waits until every record is acknowledged or lost. Says whether offsets may be committed.
    async fn flush(&self) -> bool {
        let mut failed = self.failed.stop();
        tokio::select! {
            () = self.producer.flush() => {}
            () = failed.wait() => {}
        }
        if self.failed.is_asked() {
            info!(target: LOGGER, "Exiting on send failure, skip committing offsets.");
        }
        !self.failed.is_asked()
    }
}

async fn mirror(job: Job) -> ExitCode {
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(e) => {
            error!(target: LOGGER, "Exception when starting mirror maker. {e}");
            return ExitCode::FAILURE;
        }
    };
    let target = Arc::new(Target {
        producer: Producer::start(job.producer),
        sync: job.sync,
        abort: job.abort,
        commit_interval: job.commit_interval,
        failed: Shutdown::new(),
        dropped: AtomicU64::new(0),
    });
    let stop = Shutdown::new();
    let mut streams = JoinSet::new();
    for (number, wanted) in job.sources.into_iter().enumerate() {
        let (target, stop) = (target.clone(), stop.stop());
        streams.spawn(async move {
            info!(target: LOGGER, "Starting mirror maker thread mirrormaker-thread-{number}");
            let source = match wanted {
                Wanted::New(settings, pattern) => match Consumer::new(*settings) {
                    Ok(consumer) => Source::new(consumer, &pattern, target.clone()),
                    Err(e) => Err(e.to_string()),
                },
                Wanted::Old(settings, filter) => Source::old(*settings, filter, target.clone()).await,
            };
            let ended = match source {
                Ok(source) => source.copy(&target, stop).await,
                Err(e) => Ended::Failed(e),
            };
            if let Ended::Failed(e) = &ended {
                error!(target: LOGGER, "Mirror maker thread failure due to {e}");
            }
            info!(target: LOGGER, "Mirror maker thread stopped");
            ended
        });
    }
    let code = tokio::select! {
        ending = signals.next() => ending.exit_code(),
        _ = streams.join_next() => {
            error!(target: LOGGER, "Mirror maker thread exited abnormally, stopping the whole mirror maker.");
            ABORTED
        }
    };
    info!(target: LOGGER, "Start clean shutdown.");
    stop.ask();
    while streams.join_next().await.is_some() {}
    let patience = target.failed.is_asked().then_some(Duration::ZERO);
    target.producer.close(patience).await;
    let dropped = target.dropped.load(Ordering::Relaxed);
    if dropped > 0 {
        warn!(target: LOGGER, "{dropped} messages could not be sent");
    }
    info!(target: LOGGER, "Kafka mirror maker shutdown successfully");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_unless_the_file_says_so() {
        let mut properties = Properties::new();
        properties.set("bootstrap.servers", "h:1", "f");
        let Ok((settings, sync)) = producer_settings(properties.clone()) else {
            panic!("refused");
        };
        assert_eq!((settings.acks, settings.max_in_flight, sync), (-1, 1, false));
        assert_eq!(
            (settings.retries, settings.max_block),
            (i32::MAX as u32, Duration::MAX)
        );
        properties.set("acks", "1", "f");
        properties.set("producer.type", "sync", "f");
        let Ok((settings, sync)) = producer_settings(properties) else {
            panic!("refused");
        };
        assert_eq!((settings.acks, sync), (1, true));
    }
}
