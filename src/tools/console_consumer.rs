//! kafka-console-consumer: prints messages as they come (kafka.tools.ConsoleConsumer), on the old consumer
//! or the new one.
//!
//! `source` is either consumer, `formatter` writes messages, `group` does the tool's own work in ZooKeeper.

mod formatter;
mod group;
mod source;

use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ::log::{error, warn};

pub(super) use self::formatter::Formatter;
use self::group::GroupNodes;
use self::source::{NewSource, OldSource, Source};
use super::options::{ArgType, OptionParser, OptionSet, check_required_args, parse_key_value_args};
use super::signals::Signals;
use super::{Tool, is_closed_pipe, logging, options, runtime};
use crate::client::consumer::{Consumer, ConsumerSettings, Records};
use crate::client::old_consumer::{OldConsumer, OldConsumerSettings, Subscription};
use crate::client::topic_filter::TopicFilter;
use crate::config::{ConsumerConfig, OldConsumerConfig, Properties};
use crate::util::random;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-console-consumer",
    class: "kafka.tools.ConsoleConsumer",
    run,
};

const PURPOSE: &str =
    "The console consumer is a tool that reads data from Kafka and outputs it to standard output.";
const LOGGER: &str = "kafka.tools.ConsoleConsumer$";
const DEFAULT_FORMATTER: &str = "kafka.tools.DefaultMessageFormatter";

fn parser() -> OptionParser {
    let mut p = OptionParser::new();
    let mut text = |name: &str, what: &str, help: &str| {
        p.accepts(name, help).with_required_arg().described_as(what);
    };
    text("topic", "topic", "The topic id to consume on.");
    text(
        "whitelist",
        "whitelist",
        "Whitelist of topics to include for consumption.",
    );
    text(
        "blacklist",
        "blacklist",
        "Blacklist of topics to exclude from consumption.",
    );
    text(
        "zookeeper",
        "urls",
        "REQUIRED: The connection string for the zookeeper connection in the form host:port. Multiple URLS can be given to allow fail-over.",
    );
    text(
        "consumer.config",
        "config file",
        "Consumer config properties file.",
    );
    text("property", "prop", "");
    text(
        "metrics-dir",
        "metrics directory",
        "If csv-reporter-enable is set, and this parameter isset, the csv metrics will be outputed here",
    );
    text("bootstrap-server", "server to connect to", "");
    text("key-deserializer", "deserializer for key", "");
    text("value-deserializer", "deserializer for values", "");
    p.accepts(
        "formatter",
        "The name of a class to use for formatting kafka messages for display.",
    )
    .with_required_arg()
    .described_as("class")
    .defaults_to(DEFAULT_FORMATTER);
    p.accepts(
        "max-messages",
        "The maximum number of messages to consume before exiting. If not set, consumption is continual.",
    )
    .with_required_arg()
    .described_as("num_messages")
    .of_type(ArgType::Integer);
    p.accepts(
        "timeout-ms",
        "If specified, exit if no message is available for consumption for the specified interval.",
    )
    .with_required_arg()
    .described_as("timeout_ms")
    .of_type(ArgType::Integer);
    p.accepts(
        "delete-consumer-offsets",
        "If specified, the consumer path in zookeeper is deleted when starting up",
    );
    p.accepts(
        "from-beginning",
        "If the consumer does not already have an established offset to consume from, start with the earliest message present in the log rather than the latest message.",
    );
    p.accepts(
        "skip-message-on-error",
        "If there is an error when processing a message, skip it instead of halt.",
    );
    p.accepts(
        "csv-reporter-enabled",
        "If set, the CSV metrics reporter will be enabled",
    );
    p.accepts("new-consumer", "Use the new consumer implementation.");
    p
}

/// What is to be done, read from options and file.
struct Job {
    from: Wanted,
    formatter: Formatter,
    max_messages: Option<u64>,
    /// `None` waits for ever.
    timeout: Option<Duration>,
    /// Empty if it was not given, which only the new consumer suffers.
    zookeeper: String,
    from_beginning: bool,
    delete_offsets: bool,
    /// The settings' text, checked later, as Kafka does.
    properties: Properties,
    group: String,
    /// The group's name was made up, and its nodes go at the end.
    passing_group: bool,
}

/// By which consumer, and what.
enum Wanted {
    Old(TopicFilter),
    New { topic: String },
}

/// Why the program does not start.
enum Refused {
    /// The command line cannot be taken apart; Kafka catches only these.
    Words(options::Error),
    Options(options::Error),
    /// Told as it is.
    Other(String),
}

impl From<options::Error> for Refused {
    fn from(e: options::Error) -> Self {
        Refused::Options(e)
    }
}

fn uncaught(exception: &str, text: impl std::fmt::Display) -> Refused {
    Refused::Other(format!("Exception in thread \"main\" {exception}: {text}"))
}

fn prepare(parser: &OptionParser, args: &[String]) -> Result<Job, Refused> {
    let options: OptionSet = parser.parse(args).map_err(Refused::Words)?;
    let new = options.has("new-consumer");
    let from = if new {
        if !options.has("topic") {
            return Err(Refused::Options(parser.usage_error("Topic must be specified.")));
        }
        Wanted::New {
            topic: options.value("topic")?.unwrap_or_default(),
        }
    } else {
        Wanted::Old(filter(parser, &options)?)
    };
    let mut properties = match options.value("consumer.config")? {
        Some(file) => {
            Properties::load(Path::new(&file)).map_err(|e| uncaught("java.io.FileNotFoundException", e))?
        }
        None => Properties::new(),
    };
    let class = options.value("formatter")?.unwrap_or_default();
    let arguments = parse_key_value_args(&options.values("property")?)?;
    let max_messages = options.int("max-messages")?;
    let timeout = options.int("timeout-ms")?;
    let Some(formatter) = Formatter::of_class(&class, &arguments) else {
        return Err(uncaught("java.lang.ClassNotFoundException", class));
    };
    let servers = if new { "bootstrap-server" } else { "zookeeper" };
    check_required_args(parser, &options, &[servers])?;
    if options.has("csv-reporter-enabled") {
        warn!(target: LOGGER, "--csv-reporter-enabled has no effect yet");
    }
    let zookeeper = options.value("zookeeper")?.unwrap_or_default();
    let passing_group = properties.get("group.id").is_none();
    if passing_group {
        let group = format!("console-consumer-{}", random::below(100_000));
        properties.set("group.id", &group, "kafka-console-consumer");
    }
    let from_beginning = options.has("from-beginning");
    let reset = match (new, from_beginning) {
        (false, true) => "smallest",
        (false, false) => "largest",
        (true, true) => "earliest",
        (true, false) => "latest",
    };
    properties.set("auto.offset.reset", reset, "--from-beginning");
    let timeout = timeout.and_then(|ms| u64::try_from(ms).ok());
    if new {
        let servers = options.value("bootstrap-server")?.unwrap_or_default();
        properties.set("bootstrap.servers", &servers, "--bootstrap-server");
        for side in ["key", "value"] {
            if let Some(class) = options.value(&format!("{side}-deserializer"))? {
                let option = format!("--{side}-deserializer");
                properties.set(&format!("{side}.deserializer"), &class, &option);
            }
        }
    } else {
        properties.set("zookeeper.connect", &zookeeper, "--zookeeper");
        if let Some(ms) = timeout {
            properties.set("consumer.timeout.ms", &ms.to_string(), "--timeout-ms");
        }
    }
    Ok(Job {
        from,
        formatter,
        timeout: timeout.map(Duration::from_millis),
        // -1 means no end, and so does nothing else below 0 mean an end.
        max_messages: max_messages
            .filter(|n| *n != -1)
            .map(|n| u64::try_from(n).unwrap_or(0)),
        zookeeper,
        from_beginning,
        delete_offsets: options.has("delete-consumer-offsets"),
        group: properties.get("group.id").unwrap_or_default().to_owned(),
        properties,
        passing_group,
    })
}

/// The topics of the old consumer.
fn filter(parser: &OptionParser, options: &OptionSet) -> Result<TopicFilter, Refused> {
    let given: Vec<&str> = ["topic", "whitelist", "blacklist"]
        .into_iter()
        .filter(|o| options.has(o))
        .collect();
    let [list] = given[..] else {
        return Err(Refused::Options(
            parser.usage_error("Exactly one of whitelist/blacklist/topic is required."),
        ));
    };
    let pattern = options.value(list)?.unwrap_or_default();
    let filter = if list == "blacklist" {
        TopicFilter::blacklist(&pattern)
    } else {
        TopicFilter::whitelist(&pattern)
    };
    filter.map_err(|e| uncaught("java.lang.RuntimeException", e))
}

fn run(args: &[String]) -> ExitCode {
    logging::init(logging::Fallback::Tool);
    let parser = parser();
    if args.is_empty() {
        return parser.usage_error(PURPOSE).report();
    }
    match prepare(&parser, args) {
        Ok(job) => runtime::run(consume(job)),
        Err(Refused::Words(e)) => e.report_plainly(),
        Err(Refused::Options(e)) => e.report(),
        Err(Refused::Other(text)) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// The old consumer's settings from those of the file.
pub(super) fn old_settings(properties: &Properties) -> Result<OldConsumerSettings, String> {
    let (c, warnings) = OldConsumerConfig::from_properties(properties).map_err(|e| e.to_string())?;
    for warning in warnings {
        warn!(target: "kafka.utils.VerifiableProperties", "{warning}");
    }
    Ok(c.into())
}

/// The new consumer's.
pub(super) fn new_settings(properties: &Properties) -> Result<ConsumerSettings, String> {
    let (c, warnings) = ConsumerConfig::from_properties(properties).map_err(|e| e.to_string())?;
    for warning in warnings {
        warn!(target: "org.apache.kafka.clients.consumer.ConsumerConfig", "{warning}");
    }
    Ok(c.into())
}

/// Starts the consumer.
async fn start(job: &Job) -> Result<Source, String> {
    match &job.from {
        Wanted::Old(filter) => {
            let settings = old_settings(&job.properties)?;
            let subscription = Subscription::Filter(filter.clone(), 1);
            let started = OldConsumer::start(settings, subscription).await;
            let (consumer, mut streams) = started.map_err(|e| e.to_string())?;
            let stream = streams.pop().ok_or("the consumer has no stream")?;
            Ok(Source::Old(Box::new(OldSource { consumer, stream })))
        }
        Wanted::New { topic } => {
            let settings = new_settings(&job.properties)?;
            let mut consumer = Consumer::new(settings).map_err(|e| e.to_string())?;
            consumer.subscribe([topic]).map_err(|e| e.to_string())?;
            Ok(Source::New(Box::new(NewSource {
                consumer,
                records: Records::default().into_iter(),
                timeout: job.timeout.unwrap_or(Duration::MAX),
            })))
        }
    }
}

async fn consume(job: Job) -> ExitCode {
    let failed = |e: &dyn std::fmt::Display| {
        error!(target: LOGGER, "Unknown error when running consumer: {e}");
        ExitCode::FAILURE
    };
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(e) => return failed(&e),
    };
    let nodes = GroupNodes {
        connect: &job.zookeeper,
        group: &job.group,
    };
    if let Wanted::Old(_) = job.from {
        let checked = tokio::select! {
            checked = nodes.check(job.from_beginning, job.delete_offsets) => checked,
            ending = signals.next() => return ExitCode::from(ending.exit_code()),
        };
        match checked {
            Ok(None) => {}
            Ok(Some(refusal)) => {
                eprintln!("{refusal}");
                return ExitCode::FAILURE;
            }
            Err(e) => return failed(&e),
        }
    }
    let started = tokio::select! {
        started = start(&job) => started,
        ending = signals.next() => return ExitCode::from(ending.exit_code()),
    };
    let mut source = match started {
        Ok(source) => source,
        Err(e) => return failed(&e),
    };
    let mut count = 0;
    let end = tokio::select! {
        end = print(&job, &mut source, &mut count) => end,
        ending = signals.next() => ExitCode::from(ending.exit_code()),
    };
    source.close().await;
    eprintln!("Processed a total of {count} messages");
    if job.passing_group && !job.zookeeper.is_empty() {
        tokio::select! {
            deleted = nodes.delete() => if let Err(e) = deleted {
                warn!(target: LOGGER, "The nodes of group {} remain: {e}", job.group);
            },
            _ = signals.next() => {}
        }
    }
    end
}

/// Prints messages until there are enough, none comes any more, or nobody reads them.
async fn print(job: &Job, source: &mut Source, count: &mut u64) -> ExitCode {
    let mut out = BufWriter::with_capacity(64 * 1024, super::console::output());
    let end = loop {
        if job.max_messages.is_some_and(|most| *count >= most) {
            break out.flush();
        }
        let next = match source.ready().await {
            Some(next) => next,
            None => {
                // Nothing more is there: let the user see what was.
                if let Err(e) = out.flush() {
                    break Err(e);
                }
                source.next().await
            }
        };
        match next {
            Ok(Some((key, value))) => {
                let written = job.formatter.write(key.as_deref(), value.as_deref(), &mut out);
                if let Err(e) = written {
                    break Err(e);
                }
                *count += 1;
            }
            Ok(None) => break out.flush(),
            Err(e) => {
                let flushed = out.flush();
                error!(target: LOGGER, "Error processing message, terminating consumer process: {e}");
                break flushed;
            }
        }
    };
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // What could not be written must not be tried again when the writer goes.
            let _ = out.into_parts();
            if !is_closed_pipe(&e) {
                error!(target: LOGGER, "Cannot write to standard output: {e}");
            }
            eprintln!("Unable to write to standard out, closing consumer.");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::consumer::AutoOffsetReset;
    use crate::client::old_consumer::OffsetReset;

    fn args(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn refused(text: &str) -> String {
        match prepare(&parser(), &args(text)) {
            Err(Refused::Words(e) | Refused::Options(e)) => e.to_string(),
            Err(Refused::Other(text)) => text,
            Ok(_) => panic!("{text} was accepted"),
        }
    }

    #[test]
    fn exactly_one_list_is_needed_then_zookeeper() {
        let one = "Exactly one of whitelist/blacklist/topic is required.";
        assert_eq!(refused("--zookeeper z"), one);
        assert_eq!(refused("--zookeeper z --topic t --whitelist w"), one);
        assert_eq!(refused("--topic t"), "Missing required argument \"[zookeeper]\"");
        assert_eq!(
            refused("--zookeeper z --whitelist [a"),
            "Exception in thread \"main\" java.lang.RuntimeException: [a is an invalid regex."
        );
        assert_eq!(
            refused("--new-consumer --whitelist t --bootstrap-server b"),
            "Topic must be specified."
        );
        assert_eq!(
            refused("--new-consumer --topic t --zookeeper z"),
            "Missing required argument \"[bootstrap-server]\""
        );
        assert_eq!(
            refused("--zookeeper z --topic t --formatter x.Y"),
            "Exception in thread \"main\" java.lang.ClassNotFoundException: x.Y"
        );
    }

    fn job(text: &str) -> Job {
        let Ok(job) = prepare(&parser(), &args(text)) else {
            panic!("{text} was refused");
        };
        job
    }

    #[test]
    fn options_set_where_to_begin_and_how_long_to_wait() {
        let of = |text: &str| {
            let job = job(text);
            (old_settings(&job.properties).unwrap(), job)
        };
        let (s, job) = of("--zookeeper z:1/c --topic t --from-beginning --timeout-ms 7 --max-messages 3");
        assert_eq!(s.reset, OffsetReset::Smallest);
        assert_eq!(s.consumer_timeout.unwrap().as_millis(), 7);
        assert_eq!(job.max_messages, Some(3));
        assert!(job.passing_group && job.group.starts_with("console-consumer-"));
        assert_eq!(s.client_id, s.group_id);
        let (s, job) = of("--zookeeper z:1 --blacklist t --timeout-ms -1 --max-messages -1");
        assert_eq!((s.reset, s.consumer_timeout), (OffsetReset::Largest, None));
        assert_eq!(job.max_messages, None);
        assert!(matches!(&job.from, Wanted::Old(filter) if !filter.is_whitelist()));
    }

    #[test]
    fn the_new_consumer_has_settings_of_its_own() {
        let of = |text: &str| {
            let job = job(text);
            (new_settings(&job.properties), job)
        };
        let (s, job) =
            of("--new-consumer --topic a.b --bootstrap-server h:1 --from-beginning --timeout-ms 7");
        assert_eq!(s.unwrap().reset, AutoOffsetReset::Earliest);
        assert_eq!(job.timeout, Some(Duration::from_millis(7)));
        assert!(matches!(&job.from, Wanted::New { topic } if topic == "a.b"));
        let (s, job) = of("--new-consumer --topic t --bootstrap-server h:1,g:2");
        let s = s.unwrap();
        assert_eq!((s.reset, s.bootstrap.len()), (AutoOffsetReset::Latest, 2));
        assert_eq!((s.group_id, job.timeout), (job.group, None));
        let (s, _) = of("--new-consumer --topic t --bootstrap-server h:1 --value-deserializer x.Y");
        assert!(s.unwrap_err().contains("Class x.Y could not be found."));
    }
}
