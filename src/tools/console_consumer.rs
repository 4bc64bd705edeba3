//! kafka-console-consumer: prints messages as they come (kafka.tools.ConsoleConsumer), on the old consumer.
//!
//! `formatter` writes messages, `group` does the tool's own work in ZooKeeper.

mod formatter;
mod group;

use std::io::{BufWriter, Write};
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::task::Poll;

use ::log::{error, warn};

pub(super) use self::formatter::Formatter;
use self::group::GroupNodes;
use super::options::{ArgType, OptionParser, OptionSet, check_required_args, parse_key_value_args};
use super::signals::Signals;
use super::{Tool, is_closed_pipe, logging, options, runtime};
use crate::client::old_consumer::{OldConsumer, OldConsumerSettings, Stream, Subscription};
use crate::client::topic_filter::TopicFilter;
use crate::config::client::OffsetStorage;
use crate::config::{OldConsumerConfig, Properties};
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
    filter: TopicFilter,
    formatter: Formatter,
    max_messages: Option<u64>,
    zookeeper: String,
    from_beginning: bool,
    delete_offsets: bool,
    /// The settings' text, checked later, as Kafka does.
    properties: Properties,
    group: String,
    /// The group's name was made up, and its nodes go at the end.
    passing_group: bool,
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
    if options.has("new-consumer") {
        return Err(Refused::Other(
            "--new-consumer is not available yet; the old consumer needs --zookeeper instead of --bootstrap-server"
                .to_owned(),
        ));
    }
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
    let filter = filter.map_err(|e| uncaught("java.lang.RuntimeException", e))?;
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
    check_required_args(parser, &options, &["zookeeper"])?;
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
    let reset = if from_beginning { "smallest" } else { "largest" };
    properties.set("auto.offset.reset", reset, "--from-beginning");
    properties.set("zookeeper.connect", &zookeeper, "--zookeeper");
    if let Some(ms) = timeout.filter(|ms| *ms >= 0) {
        properties.set("consumer.timeout.ms", &ms.to_string(), "--timeout-ms");
    }
    Ok(Job {
        filter,
        formatter,
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

/// Settings of the library from those of the file.
fn settings(properties: &Properties) -> Result<OldConsumerSettings, String> {
    let (c, warnings) = OldConsumerConfig::from_properties(properties).map_err(|e| e.to_string())?;
    for warning in warnings {
        warn!(target: "kafka.utils.VerifiableProperties", "{warning}");
    }
    if c.offsets_storage == OffsetStorage::Kafka {
        return Err("offsets.storage=kafka is not available yet; offsets are kept in ZooKeeper".to_owned());
    }
    Ok(c.into())
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
    let settings = match settings(&job.properties) {
        Ok(settings) => settings,
        Err(e) => return failed(&e),
    };
    let started = tokio::select! {
        started = OldConsumer::start(settings, Subscription::Filter(job.filter.clone(), 1)) => started,
        ending = signals.next() => return ExitCode::from(ending.exit_code()),
    };
    let (consumer, streams) = match started {
        Ok(started) => started,
        Err(e) => return failed(&e),
    };
    let mut count = 0;
    let mut end = ExitCode::SUCCESS;
    for stream in streams {
        end = tokio::select! {
            end = print(&job, stream, &mut count) => end,
            ending = signals.next() => ExitCode::from(ending.exit_code()),
        };
    }
    consumer.close().await;
    eprintln!("Processed a total of {count} messages");
    if job.passing_group {
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
async fn print(job: &Job, mut stream: Stream, count: &mut u64) -> ExitCode {
    let mut out = BufWriter::with_capacity(64 * 1024, super::console::output());
    let end = loop {
        if job.max_messages.is_some_and(|most| *count >= most) {
            break out.flush();
        }
        let next = {
            let mut next = pin!(stream.next());
            let ready = std::future::poll_fn(|cx| {
                Poll::Ready(match next.as_mut().poll(cx) {
                    Poll::Ready(message) => Some(message),
                    Poll::Pending => None,
                })
            });
            match ready.await {
                Some(message) => message,
                None => {
                    // Nothing more is there: let the user see what was.
                    if let Err(e) = out.flush() {
                        break Err(e);
                    }
                    next.await
                }
            }
        };
        match next {
            Ok(Some(consumed)) => {
                if let Err(e) = job.formatter.write(&consumed.message, &mut out) {
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
        assert!(refused("--new-consumer --topic t --bootstrap-server b").contains("not available"));
        assert_eq!(
            refused("--zookeeper z --topic t --formatter x.Y"),
            "Exception in thread \"main\" java.lang.ClassNotFoundException: x.Y"
        );
    }

    #[test]
    fn options_set_where_to_begin_and_how_long_to_wait() {
        let of = |text: &str| {
            let Ok(job) = prepare(&parser(), &args(text)) else {
                panic!("{text} was refused");
            };
            (settings(&job.properties).unwrap(), job)
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
        assert!(!job.filter.is_whitelist());
    }
}
