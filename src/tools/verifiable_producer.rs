//! kafka-verifiable-producer (org.apache.kafka.tools.VerifiableProducer): sends the numbers from 0 on and
//! prints a line of JSON for each one that was acknowledged or lost, for tests of systems.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::log::warn;

use super::arguments::{Argument, ArgumentParser, Arguments, Error, Kind};
use super::signals::{Ending, Signals};
use super::{Tool, runtime};
use crate::client::producer::{self, Ack, Producer, ProducerSettings, Record};
use crate::config::{ProducerConfig, Properties};
use crate::protocol::ErrorCode;
use crate::util::clock::Clock;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-verifiable-producer",
    class: "org.apache.kafka.tools.VerifiableProducer",
    run,
};

const PURPOSE: &str = "This tool produces increasing integers to the specified topic and prints JSON metadata to stdout on each \"send\" request, making externally visible which messages have been acked and which have not.";

fn parser() -> ArgumentParser {
    use Kind::{Integer, Text};
    let arguments = vec![
        Argument::new("--topic", "TOPIC", Text, "Produce messages to this topic.").required(),
        Argument::new(
            "--broker-list",
            "HOST1:PORT1[,HOST2:PORT2[...]]",
            Text,
            "Comma-separated list of Kafka brokers in the form HOST1:PORT1,HOST2:PORT2,...",
        )
        .required(),
        Argument::new(
            "--max-messages",
            "MAX-MESSAGES",
            Integer,
            "Produce this many messages. If -1, produce messages until the process is killed externally.",
        )
        .defaults_to("-1"),
        Argument::new(
            "--throughput",
            "THROUGHPUT",
            Integer,
            "If set >= 0, throttle maximum message throughput to *approximately* THROUGHPUT messages/sec.",
        )
        .defaults_to("-1"),
        Argument::new(
            "--acks",
            "ACKS",
            Integer,
            "Acks required on each produced message. See Kafka docs on request.required.acks for details.",
        )
        .defaults_to("-1")
        .choices(&["0", "1", "-1"]),
        Argument::new(
            "--producer.config",
            "CONFIG_FILE",
            Text,
            "Producer config properties file.",
        ),
    ];
    ArgumentParser::new("verifiable-producer", PURPOSE, arguments)
}

/// What to send and how.
#[derive(Debug)]
struct Job {
    settings: ProducerSettings,
    topic: String,
    /// No end if negative.
    messages: i64,
    /// Per second; as fast as it goes if negative, none at all if 0.
    throughput: i64,
}

fn run(args: &[String]) -> ExitCode {
    let parser = parser();
    match parser.read(args, |found| job(&parser, found)) {
        Ok(job) => runtime::run(produce(job)),
        Err(code) => code,
    }
}

fn job(parser: &ArgumentParser, found: &Arguments) -> Result<Job, Error> {
    let mut properties = Properties::new();
    let text = |name| found.value(name).unwrap_or_default();
    properties.set("bootstrap.servers", text("--broker-list"), "--broker-list");
    properties.set("acks", text("--acks"), "--acks");
    properties.set("retries", "0", "kafka-verifiable-producer");
    // What the file says counts.
    for entry in parser.properties(found, "--producer.config")?.entries() {
        properties.set(&entry.key, &entry.value, "--producer.config");
    }
    let read = ProducerConfig::from_properties(&properties);
    let (config, warnings) = read.map_err(|e| Error::uncaught(&e.exception()))?;
    for warning in warnings {
        warn!(target: "org.apache.kafka.clients.producer.ProducerConfig", "{warning}");
    }
    Ok(Job {
        settings: config.into(),
        topic: text("--topic").to_owned(),
        messages: found.number("--max-messages"),
        throughput: found.number("--throughput"),
    })
}

async fn produce(job: Job) -> ExitCode {
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::FAILURE;
        }
    };
    let clock = Clock::system();
    let began = clock.now();
    let acked = Arc::new(AtomicU64::new(0));
    let producer = Producer::start(job.settings.clone());
    let mut sent = 0;
    let ending = tokio::select! {
        ending = signals.next() => Some(ending),
        () = send_all(&job, &producer, &clock, &mut sent, &acked) => None,
    };
    producer.close(None).await;
    let acked = acked.load(Ordering::Relaxed);
    let elapsed_ms = clock.now().since(began).as_millis().max(1);
    let average = 1000.0 * (acked as f64 / elapsed_ms as f64);
    println!(
        "{{\"avg_throughput\":{},\"target_throughput\":{},\"name\":\"tool_data\",{CLASS},\"sent\":{sent},\"acked\":{acked}}}",
        java_double(average),
        job.throughput
    );
    ending.map_or(ExitCode::SUCCESS, |ending: Ending| {
        ExitCode::from(ending.exit_code())
    })
}

async fn send_all(job: &Job, producer: &Producer, clock: &Clock, sent: &mut u64, acked: &Arc<AtomicU64>) {
    let began = clock.now();
    let last = u64::try_from(job.messages).unwrap_or(u64::MAX);
    for number in 0..last {
        if job.throughput >= 0 {
            let Some(after) = due_after(number, job.throughput) else {
                return std::future::pending().await;
            };
            clock.sleep_until(began + after).await;
        }
        *sent += 1;
        let value = number.to_string();
        let record = Record {
            topic: job.topic.as_str().into(),
            partition: None,
            key: None,
            value: Some(value.clone().into()),
        };
        let (topic, acked, clock_then) = (job.topic.clone(), acked.clone(), clock.clone());
        let number = value.clone();
        let told = Box::new(move |result: Result<Ack, producer::Error>| {
            let now = clock_then.wall().0;
            match result {
                Ok(ack) => {
                    acked.fetch_add(1, Ordering::Relaxed);
                    println!("{}", success(&ack, &topic, &number, now));
                }
                Err(e) => println!("{}", failure(&e, &topic, &number, now)),
            }
        });
        if let Err(e) = producer.send_then(record, told).await {
            println!("{}", failure(&e, &job.topic, &value, clock.wall().0));
        }
    }
}

/// When a message is due after the first; none if it never is.
fn due_after(number: u64, per_second: i64) -> Option<Duration> {
    let per_second = u64::try_from(per_second).ok().filter(|n| *n > 0);
    match (number, per_second) {
        (0, _) => Some(Duration::ZERO),
        (_, None) => None,
        (n, Some(rate)) => Some(Duration::from_nanos(n.saturating_mul(1_000_000_000 / rate))),
    }
}

/// In the place of its order, which is that of a Java HashMap.
const CLASS: &str = "\"class\":\"class org.apache.kafka.tools.VerifiableProducer\"";

fn success(ack: &Ack, topic: &str, value: &str, now: i64) -> String {
    format!(
        "{{\"partition\":{},\"offset\":{},\"time_ms\":{now},\"name\":\"producer_send_success\",\"topic\":{},{CLASS},\"value\":\"{value}\",\"key\":null}}",
        ack.partition.partition,
        ack.offset,
        quoted(topic),
    )
}

fn failure(error: &producer::Error, topic: &str, value: &str, now: i64) -> String {
    format!(
        "{{\"exception\":\"class {}\",\"time_ms\":{now},\"name\":\"producer_send_error\",\"topic\":{},\"message\":{},{CLASS},\"value\":\"{value}\",\"key\":null}}",
        exception(error),
        quoted(topic),
        quoted(&error.to_string()),
    )
}

/// The Java class of an error.
fn exception(error: &producer::Error) -> String {
    use producer::Error;
    let name = match error {
        Error::Closed | Error::Forced => return "java.lang.IllegalStateException".to_owned(),
        Error::NoSuchPartition { .. } => return "java.lang.IllegalArgumentException".to_owned(),
        Error::Metadata { .. } | Error::Memory | Error::QueueFull | Error::Expired => "TimeoutException",
        Error::TooLarge { .. } => "RecordTooLargeException",
        Error::Connection(_) => "NetworkException",
        Error::Broker(code) => of_code(*code),
    };
    format!("org.apache.kafka.common.errors.{name}")
}

fn of_code(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::OFFSET_OUT_OF_RANGE => "OffsetOutOfRangeException",
        ErrorCode::CORRUPT_MESSAGE => "CorruptRecordException",
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => "UnknownTopicOrPartitionException",
        ErrorCode::LEADER_NOT_AVAILABLE => "LeaderNotAvailableException",
        ErrorCode::NOT_LEADER_FOR_PARTITION => "NotLeaderForPartitionException",
        ErrorCode::REQUEST_TIMED_OUT => "TimeoutException",
        ErrorCode::RECORD_TOO_LARGE => "RecordTooLargeException",
        ErrorCode::STALE_LEADER_EPOCH => "NetworkException",
        ErrorCode::INVALID_TOPIC_EXCEPTION => "InvalidTopicException",
        ErrorCode::RECORD_LIST_TOO_LARGE => "RecordBatchTooLargeException",
        ErrorCode::NOT_ENOUGH_REPLICAS => "NotEnoughReplicasException",
        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => "NotEnoughReplicasAfterAppendException",
        ErrorCode::INVALID_REQUIRED_ACKS => "InvalidRequiredAcksException",
        ErrorCode::TOPIC_AUTHORIZATION_FAILED => "TopicAuthorizationException",
        ErrorCode::CLUSTER_AUTHORIZATION_FAILED => "ClusterAuthorizationException",
        ErrorCode::UNKNOWN => "UnknownServerException",
        _ => "ApiException",
    }
}

/// A JSON string as Jackson writes it.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A number as Java prints a double.
fn java_double(number: f64) -> String {
    if number != 0.0 && !(1e-3..1e7).contains(&number.abs()) {
        let text = format!("{number:E}");
        return match text.split_once('E') {
            Some((digits, power)) if !digits.contains('.') => format!("{digits}.0E{power}"),
            _ => text,
        };
    }
    format!("{number:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::TopicPartition;

    #[test]
    fn lines_are_those_of_the_genuine_tool() {
        let ack = Ack {
            partition: TopicPartition::new("v", 0),
            offset: 2,
        };
        assert_eq!(
            success(&ack, "v", "2", 1_795_613_906_093),
            r#"{"partition":0,"offset":2,"time_ms":1795613906093,"name":"producer_send_success","topic":"v","class":"class org.apache.kafka.tools.VerifiableProducer","value":"2","key":null}"#
        );
        let late = producer::Error::Metadata {
            waited: Duration::from_millis(500),
        };
        assert_eq!(
            failure(&late, "v \"v", "0", 7),
            r#"{"exception":"class org.apache.kafka.common.errors.TimeoutException","time_ms":7,"name":"producer_send_error","topic":"v \"v","message":"Failed to update metadata after 500 ms.","class":"class org.apache.kafka.tools.VerifiableProducer","value":"0","key":null}"#
        );
    }

    #[test]
    fn doubles_are_printed_as_java_prints_them() {
        for (number, text) in [
            (0.0, "0.0"),
            (3.452243958573072, "3.452243958573072"),
            (1e7, "1.0E7"),
            (1.5e-4, "1.5E-4"),
            (123_456.0, "123456.0"),
        ] {
            assert_eq!(java_double(number), text);
        }
    }

    #[test]
    fn messages_are_due_at_an_even_pace() {
        assert_eq!(due_after(3, 1000), Some(Duration::from_millis(3)));
        assert_eq!(due_after(0, 0), Some(Duration::ZERO));
        assert_eq!(due_after(1, 0), None);
    }
}
