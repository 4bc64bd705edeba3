//! kafka-console-producer: each line of standard input becomes a message (kafka.tools.ConsoleProducer).
//!
//! Reads in a thread of its own (`lines`), so that a line is sent as soon as it is there; `reader` makes
//! records of lines, `settings` makes a producer's settings of the options.

mod lines;
mod reader;
mod settings;

use std::process::ExitCode;
use std::sync::Arc;

use ::log::error;

use self::reader::LineReader;
use self::settings::{Kind, Settings};
use super::options::{ArgType, OptionParser, OptionSet, check_required_args, parse_key_value_args};
use super::signals::Signals;
use super::{Tool, logging, options, runtime};
use crate::client::producer::{Error, Producer, Record};
use crate::client::{HostPort, producer};

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-console-producer",
    class: "kafka.tools.ConsoleProducer",
    run,
};

const PURPOSE: &str = "Read data from standard input and publish it to Kafka.";
const LINE_READER: &str = "kafka.tools.ConsoleProducer$LineMessageReader";

fn parser() -> OptionParser {
    let mut p = OptionParser::new();
    let mut text = |name: &str, what: &str, help: &str| {
        p.accepts(name, help).with_required_arg().described_as(what);
    };
    text("topic", "topic", "REQUIRED: The topic id to produce messages to.");
    text(
        "broker-list",
        "broker-list",
        "REQUIRED: The broker list string in the form HOST1:PORT1,HOST2:PORT2.",
    );
    text(
        "property",
        "prop",
        "A mechanism to pass user-defined properties in the form key=value to the message reader. This allows custom configuration for a user-defined message reader.",
    );
    text(
        "producer-property",
        "producer_prop",
        "A mechanism to pass user-defined properties in the form key=value to the producer. ",
    );
    text(
        "producer.config",
        "config file",
        "Producer config properties file. Note that [producer-property] takes precedence over this config.",
    );
    p.accepts(
        "sync",
        "If set message send requests to the brokers are synchronously, one at a time as they arrive.",
    );
    p.accepts("old-producer", "Use the old producer implementation.");
    p.accepts(
        "compression-codec",
        "The compression codec: either 'none', 'gzip', 'snappy', or 'lz4'.If specified without value, then it defaults to 'gzip'",
    )
    .with_optional_arg()
    .described_as("compression-codec");
    accept_numbers(&mut p);
    for (name, help) in [("value-serializer", "values"), ("key-serializer", "keys")] {
        p.accepts(
            name,
            &format!("The class name of the message encoder implementation to use for serializing {help}."),
        )
        .with_required_arg()
        .described_as("encoder_class")
        .defaults_to("kafka.serializer.DefaultEncoder");
    }
    p.accepts(
        "line-reader",
        "The class name of the class to use for reading lines from standard in. By default each line is read as a separate message.",
    )
    .with_required_arg()
    .described_as("reader_class")
    .defaults_to(LINE_READER);
    p
}

fn accept_numbers(p: &mut OptionParser) {
    use ArgType::{Integer, Long};
    let mut number = |name: &str, kind: ArgType, what: &str, default: i64, help: &str| {
        let spec = p
            .accepts(name, help)
            .with_required_arg()
            .of_type(kind)
            .defaults_to(default);
        if !what.is_empty() {
            spec.described_as(what);
        }
    };
    number(
        "batch-size",
        Integer,
        "size",
        200,
        "Number of messages to send in a single batch if they are not being sent synchronously.",
    );
    number(
        "message-send-max-retries",
        Integer,
        "",
        3,
        "Brokers can fail receiving the message for multiple reasons, and being unavailable transiently is just one of them. This property specifies the number of retires before the producer give up and drop this message.",
    );
    number(
        "retry-backoff-ms",
        Integer,
        "",
        100,
        "Before each retry, the producer refreshes the metadata of relevant topics. Since leader election takes a bit of time, this property specifies the amount of time that the producer waits before refreshing the metadata.",
    );
    number(
        "timeout",
        Integer,
        "timeout_ms",
        1000,
        "If set and the producer is running in asynchronous mode, this gives the maximum amount of time a message will queue awaiting sufficient batch size. The value is given in ms.",
    );
    number(
        "queue-size",
        Integer,
        "queue_size",
        10000,
        "If set and the producer is running in asynchronous mode, this gives the maximum amount of  messages will queue awaiting sufficient batch size.",
    );
    number(
        "queue-enqueuetimeout-ms",
        Integer,
        "queue enqueuetimeout ms",
        2_147_483_647,
        "Timeout for event enqueue",
    );
    number(
        "request-required-acks",
        Integer,
        "request required acks",
        0,
        "The required acks of the producer requests",
    );
    number(
        "request-timeout-ms",
        Integer,
        "request timeout ms",
        1500,
        "The ack timeout of the producer requests. Value must be non-negative and non-zero",
    );
    number(
        "metadata-expiry-ms",
        Long,
        "metadata expiration interval",
        300_000,
        "The period of time in milliseconds after which we force a refresh of metadata even if we haven't seen any leadership changes.",
    );
    number(
        "max-block-ms",
        Long,
        "max block on send",
        60_000,
        "The max time that the producer will block for during a send request",
    );
    number(
        "max-memory-bytes",
        Long,
        "total memory in bytes",
        33_554_432,
        "The total memory used by the producer to buffer records waiting to be sent to the server.",
    );
    number(
        "max-partition-memory-bytes",
        Long,
        "memory in bytes per partition",
        16384,
        "The buffer size allocated for a partition. When records are received which are smaller than this size the producer will attempt to optimistically group them together until this size is reached.",
    );
    number(
        "socket-buffer-size",
        Integer,
        "size",
        102_400,
        "The size of the tcp RECV size.",
    );
}

/// Checks a broker list as Kafka's tools do.
pub(super) fn check_broker_list(parser: &OptionParser, list: &str) -> options::Result<Vec<HostPort>> {
    let all: Result<Vec<HostPort>, _> = list
        .split(',')
        .map(|entry| HostPort::parse(entry.trim()))
        .collect();
    all.map_err(|_| parser.usage_error("Please provide valid host:port like host1:9091,host2:9092\n "))
}

fn run(args: &[String]) -> ExitCode {
    logging::init(logging::Fallback::Tool);
    let parser = parser();
    if args.is_empty() {
        return parser.usage_error(PURPOSE).report();
    }
    let (settings, reader) = match prepare(&parser, args) {
        Ok(ready) => ready,
        Err(Refused::Options(e)) => return e.report_plainly(),
        Err(Refused::Other(text)) => {
            eprintln!("{text}");
            return ExitCode::FAILURE;
        }
    };
    runtime::run(produce(settings, reader))
}

/// Why the program does not start.
#[derive(Debug)]
enum Refused {
    Options(options::Error),
    Other(String),
}

impl From<options::Error> for Refused {
    fn from(e: options::Error) -> Self {
        Refused::Options(e)
    }
}

fn prepare(parser: &OptionParser, args: &[String]) -> Result<(Settings, LineReader), Refused> {
    let options: OptionSet = parser.parse(args)?;
    check_required_args(parser, &options, &["topic", "broker-list"])?;
    let class = options.value("line-reader")?.unwrap_or_default();
    let topic = options.value("topic")?.unwrap_or_default();
    let list = options.value("broker-list")?.unwrap_or_default();
    check_broker_list(parser, &list)?;
    let properties = parse_key_value_args(&options.values("property")?)?;
    if class != LINE_READER {
        return Err(Refused::Other(format!(
            "java.lang.ClassNotFoundException: {class}"
        )));
    }
    let reader = LineReader::new(&topic, &properties);
    let settings = settings::read(&options).map_err(|e| match e {
        settings::Refused::Options(e) => Refused::Options(e),
        settings::Refused::Config(e) => {
            Refused::Other(format!("org.apache.kafka.common.config.ConfigException: {e}"))
        }
        settings::Refused::File(e) => Refused::Other(format!("java.io.FileNotFoundException: {e}")),
    })?;
    Ok((settings, reader))
}

/// Sends lines until there are no more, or until told to end; then delivers what was read.
async fn produce(settings: Settings, mut reader: LineReader) -> ExitCode {
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(e) => {
            eprintln!("cannot listen for signals: {e}");
            return ExitCode::FAILURE;
        }
    };
    let producer = Producer::start(settings.producer.clone());
    let mut chunks = lines::read_standard_input();
    let mut end = ExitCode::SUCCESS;
    'reading: loop {
        let chunk = tokio::select! {
            chunk = chunks.recv() => chunk,
            ending = signals.next() => {
                end = ExitCode::from(ending.exit_code());
                break;
            }
        };
        let lines = match chunk {
            Some(Ok(lines)) => lines,
            Some(Err(e)) => {
                eprintln!("java.io.IOException: {e}");
                end = ExitCode::FAILURE;
                break;
            }
            None => break,
        };
        for line in lines {
            let sent = match reader.record(line) {
                Ok(record) => tokio::select! {
                    sent = send(&producer, &settings, record) => sent,
                    ending = signals.next() => {
                        end = ExitCode::from(ending.exit_code());
                        break 'reading;
                    }
                },
                Err(e) => Err(format!("kafka.common.KafkaException: {e}")),
            };
            if let Err(text) = sent {
                eprintln!("{text}");
                end = ExitCode::FAILURE;
                break 'reading;
            }
        }
    }
    producer.close(None).await;
    end
}

/// Sends one record. An error ends the program; in the background errors are only logged, as Kafka does.
async fn send(producer: &Producer, settings: &Settings, record: Record) -> Result<(), String> {
    if settings.sync {
        let delivered = match producer.send(record).await {
            Ok(delivery) => {
                producer.flush().await;
                delivery.await.map(drop)
            }
            Err(e) => Err(e),
        };
        return delivered.map_err(|e| match settings.kind {
            Kind::New => format!("java.util.concurrent.ExecutionException: {e}"),
            Kind::Old { tries } => {
                error!(target: "kafka.producer.async.DefaultEventHandler", "Failed to send the message: {e}");
                format!(
                    "kafka.common.FailedToSendMessageException: Failed to send messages after {tries} tries."
                )
            }
        });
    }
    let report = ErrorReport {
        kind: settings.kind,
        topic: record.topic.clone(),
        key: record.key.as_ref().map(|k| k.len()),
        value: record.value.as_ref().map(|v| v.len()),
    };
    let for_callback = report.clone();
    let callback: producer::Callback = Box::new(move |result| {
        if let Err(e) = result {
            for_callback.log(&e);
        }
    });
    match producer.send_then(record, callback).await {
        // The callback was dropped untold.
        Err(e @ (Error::Metadata { .. } | Error::Memory | Error::TooLarge { .. } | Error::Broker(_))) => {
            report.log(&e);
            Ok(())
        }
        other => other.map_err(|e| e.to_string()),
    }
}

/// What the log says of a record that was not delivered.
#[derive(Clone, Debug)]
struct ErrorReport {
    kind: Kind,
    topic: Arc<str>,
    key: Option<usize>,
    value: Option<usize>,
}

impl ErrorReport {
    fn log(&self, e: &Error) {
        let size = |n: Option<usize>| n.map_or_else(|| "null".to_owned(), |n| format!("{n} bytes"));
        let (topic, key, value) = (&self.topic, size(self.key), size(self.value));
        match self.kind {
            Kind::New => error!(
                target: "org.apache.kafka.clients.producer.internals.ErrorLoggingCallback",
                "Error when sending message to topic {topic} with key: {key}, value: {value} with error: {e}"
            ),
            Kind::Old { tries } => error!(
                target: "kafka.producer.async.ProducerSendThread",
                "Error in handling batch of events: Failed to send messages after {tries} tries. ({topic}, key: {key}, value: {value}: {e})"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn required_options_and_broker_lists_are_checked_in_kafkas_order_and_words() {
        let refused = |text: &str| match prepare(&parser(), &args(text)) {
            Err(Refused::Options(e)) => e.to_string(),
            Err(Refused::Other(text)) => text,
            Ok(_) => panic!("{text} was accepted"),
        };
        assert_eq!(
            refused("--broker-list h:1"),
            "Missing required argument \"[topic]\""
        );
        assert_eq!(
            refused("--topic t"),
            "Missing required argument \"[broker-list]\""
        );
        assert!(refused("--topic t --broker-list h").starts_with("Please provide valid host:port"));
        assert_eq!(
            refused("--topic t --broker-list h:1 --line-reader x.Y"),
            "java.lang.ClassNotFoundException: x.Y"
        );
        assert!(refused("--topic t --broker-list h:1 --request-required-acks 5").contains("acks"));
        assert!(
            refused("--topic t --broker-list h:1 --compression-codec foo")
                .contains("Unknown compression name: foo")
        );
    }

    #[test]
    fn the_options_with_their_defaults_win_over_file_and_properties() {
        let (s, _) = prepare(
            &parser(),
            &args("--topic t --broker-list h:1,g:2 --producer-property linger.ms=5 --producer-property max.request.size=77"),
        )
        .unwrap();
        assert_eq!(s.producer.linger.as_millis(), 1000);
        assert_eq!(s.producer.max_request_size, 77);
        assert_eq!((s.producer.acks, s.producer.retries), (0, 3));
        assert_eq!(s.producer.client_id, "console-producer");
        assert_eq!(s.producer.bootstrap.len(), 2);
        assert!(!s.sync);
    }

    #[test]
    fn the_codec_without_a_value_is_gzip() {
        let codec = |text: &str| {
            let text = format!("--topic t --broker-list h:1 {text}");
            prepare(&parser(), &args(&text)).unwrap().0.producer.codec
        };
        use crate::message::Codec;
        assert_eq!(codec(""), Codec::None);
        assert_eq!(codec("--compression-codec"), Codec::Gzip);
        assert_eq!(codec("--compression-codec lz4"), Codec::Lz4);
        assert_eq!(codec("--old-producer --compression-codec snappy"), Codec::Snappy);
    }

    #[test]
    fn the_old_producer_batches_by_messages_and_knows_sync() {
        let of = |text: &str| {
            let text = format!("--topic t --broker-list h:1 --old-producer {text}");
            prepare(&parser(), &args(&text)).unwrap().0
        };
        let s = of("--batch-size 7");
        assert!(!s.sync);
        assert_eq!(s.producer.batch_messages, Some(7));
        assert_eq!(s.producer.linger.as_millis(), 1000);
        assert!(of("--sync").sync);
    }
}
