//! kafka-simple-consumer-shell (kafka.tools.SimpleConsumerShell): prints the messages of one partition, read
//! from its leader or from a replica that the user names.

use std::io::{BufWriter, Write};
use std::process::ExitCode;
use std::time::Duration;

use ::log::{error, info};

use super::console_consumer::Formatter;
use super::options::{ArgType, OptionParser, check_required_args, parse_key_value_args};
use super::signals::Signals;
use super::{Tool, console_producer, options, runtime};
use crate::client::metadata::Metadata;
use crate::client::{BrokerClient, ConnectionSettings, HostPort, simple};
use crate::cluster::{BrokerId, TopicPartition};
use crate::message::{Message, Offset, SetIter, flatten};
use crate::protocol::ErrorCode;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-simple-consumer-shell",
    class: "kafka.tools.SimpleConsumerShell",
    run,
};

const PURPOSE: &str = "A low-level tool for fetching data directly from a particular replica.";
/// The log target.
const LOGGER: &str = "kafka.tools.SimpleConsumerShell$";
/// `--replica` that means the leader.
const LEADER: i32 = -1;
/// What the original's sockets wait for an answer, beside what the broker may wait.
const PATIENCE: Duration = Duration::from_secs(10);

fn parser() -> OptionParser {
    use ArgType::{Integer, Long, String};
    let mut p = OptionParser::new();
    p.accepts_value(
        "broker-list",
        "hostname:port,...,hostname:port",
        String,
        "",
        "REQUIRED: The list of hostname and port of the server to connect to.",
    );
    p.accepts_value(
        "topic",
        "topic",
        String,
        "",
        "REQUIRED: The topic to consume from.",
    );
    p.accepts_value(
        "partition",
        "partition",
        Integer,
        "0",
        "The partition to consume from.",
    );
    p.accepts_value(
        "replica",
        "replica id",
        Integer,
        "-1",
        "The replica id to consume from, default -1 means leader broker.",
    );
    p.accepts_value(
        "offset",
        "consume offset",
        Long,
        "-2",
        "The offset id to consume from, default to -2 which means from beginning; while value -1 means from end",
    );
    p.accepts_value(
        "clientId",
        "clientId",
        String,
        "SimpleConsumerShell",
        "The ID of this client.",
    );
    p.accepts_value(
        "fetchsize",
        "fetchsize",
        Integer,
        "1048576",
        "The fetch size of each request.",
    );
    p.accepts_value(
        "formatter",
        "class",
        String,
        "kafka.tools.DefaultMessageFormatter",
        "The name of a class to use for formatting kafka messages for display.",
    );
    p.accepts_value("property", "prop", String, "", "");
    p.accepts_value(
        "max-wait-ms",
        "ms",
        Integer,
        "1000",
        "The max amount of time each fetch request waits.",
    );
    p.accepts_value(
        "max-messages",
        "max-messages",
        Integer,
        "2147483647",
        "The number of messages to consume",
    );
    for (name, help) in [
        ("print-offsets", "Print the offsets returned by the iterator"),
        (
            "skip-message-on-error",
            "If there is an error when processing a message, skip it instead of halt.",
        ),
        (
            "no-wait-at-logend",
            "If set, when the simple consumer reaches the end of the Log, it will stop, not waiting for new produced messages",
        ),
    ] {
        p.accepts(name, help);
    }
    p
}

/// What to print.
#[derive(Debug)]
struct Job {
    brokers: Vec<HostPort>,
    at: TopicPartition,
    replica: i32,
    offset: Offset,
    client_id: String,
    fetch_size: i32,
    max_wait_ms: i32,
    max_messages: u64,
    formatter: Formatter,
    print_offsets: bool,
    skip_on_error: bool,
    stop_at_end: bool,
}

fn job(parser: &OptionParser, args: &[String]) -> options::Result<Result<Job, String>> {
    let o = parser.parse(args)?;
    check_required_args(parser, &o, &["broker-list", "topic"])?;
    let text = |name| Ok(o.value(name)?.unwrap_or_default());
    let int = |name| Ok(o.int(name)?.unwrap_or_default());
    let topic: String = text("topic")?;
    let class: String = text("formatter")?;
    let properties = parse_key_value_args(&o.values("property")?)?;
    let list: String = text("broker-list")?;
    let brokers = console_producer::check_broker_list(parser, &list)?;
    let Some(formatter) = Formatter::of_class(&class, &properties) else {
        return Ok(Err(format!(
            "Exception in thread \"main\" java.lang.ClassNotFoundException: {class}"
        )));
    };
    Ok(Ok(Job {
        brokers,
        at: TopicPartition::new(topic, int("partition")?),
        replica: int("replica")?,
        offset: o.long("offset")?.unwrap_or_default(),
        client_id: text("clientId")?,
        fetch_size: int("fetchsize")?,
        max_wait_ms: int("max-wait-ms")?,
        max_messages: u64::try_from(int("max-messages")?).unwrap_or(0),
        formatter,
        print_offsets: o.has("print-offsets"),
        skip_on_error: o.has("skip-message-on-error"),
        stop_at_end: o.has("no-wait-at-logend"),
    }))
}

fn run(args: &[String]) -> ExitCode {
    let parser = parser();
    if args.is_empty() {
        return parser.usage_error(PURPOSE).report();
    }
    match job(&parser, args) {
        Ok(Ok(job)) => runtime::run(print_until_told(job)),
        Ok(Err(text)) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
        Err(e) => e.report(),
    }
}

async fn print_until_told(job: Job) -> ExitCode {
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::FAILURE;
        }
    };
    let work = async {
        let patience = PATIENCE + Duration::from_millis(u64::try_from(job.max_wait_ms).unwrap_or(0));
        let settings = ConnectionSettings {
            client_id: job.client_id.clone(),
            request_timeout: patience,
            connect_timeout: PATIENCE,
            ..ConnectionSettings::default()
        };
        let client = BrokerClient::new(job.brokers.clone(), settings, Duration::ZERO);
        let end = match target(&job, &client).await {
            Ok((at, offset)) => print(&job, &client, &at, offset).await,
            Err(text) => {
                eprintln!("{text}");
                ExitCode::FAILURE
            }
        };
        client.close().await;
        end
    };
    tokio::select! {
        end = work => end,
        ending = signals.next() => ExitCode::from(ending.exit_code()),
    }
}

/// Whom to ask, and from which offset on; or what is wrong, in the original's words.
async fn target(job: &Job, client: &BrokerClient) -> Result<(HostPort, Offset), String> {
    let (topic, partition) = (&*job.at.topic, job.at.partition);
    let asked = client
        .fetch_metadata(&Metadata::default(), &[topic.to_owned()])
        .await;
    let metadata = asked.map_err(|e| {
        let list: Vec<String> = job.brokers.iter().map(ToString::to_string).collect();
        format!(
            "Exception in thread \"main\" kafka.common.KafkaException: fetching topic metadata for topics [Set({topic})] from broker [{}] failed: {e}",
            list.join(", ")
        )
    })?;
    let Some(known) = metadata.topics.get(topic) else {
        return Err(format!(
            "Error: no valid topic metadata for topic: {topic}, what we get from server is only: List()"
        ));
    };
    let Some(found) = known.partitions.iter().find(|p| p.id == partition) else {
        return Err(format!(
            "Error: partition {partition} does not exist for topic {topic}"
        ));
    };
    let id = match job.replica {
        LEADER => found.leader.ok_or(format!(
            "Error: user specifies to fetch from leader for partition ({topic}, {partition}) which has not been elected yet"
        ))?,
        id => BrokerId(id),
    };
    let address = metadata
        .brokers
        .get(&id)
        .filter(|_| job.replica == LEADER || found.replicas.contains(&id));
    let Some(address) = address else {
        return Err(format!(
            "Error: replica {id} does not exist for partition ({topic}, {partition})"
        ));
    };
    if job.offset < simple::EARLIEST {
        return Err(format!("Invalid starting offset: {}", job.offset));
    }
    let mut offset = job.offset;
    if offset < 0 {
        offset = resolve(job, client, address)
            .await
            .map_err(|e| format!("Error in getting earliest or latest offset due to: {e}"))?;
    }
    info!(target: LOGGER,
        "Starting simple consumer shell to partition [{topic}, {partition}], replica [{}], host and port: [{}, {}], from offset [{offset}]",
        job.replica, address.host, address.port);
    Ok((address.clone(), offset))
}

async fn resolve(job: &Job, client: &BrokerClient, address: &HostPort) -> Result<Offset, String> {
    let connection = client.connection(address).await.map_err(|e| e.to_string())?;
    let one = std::slice::from_ref(&job.at);
    let found = simple::offsets_before(&connection, simple::DEBUGGING, one, job.offset, 1).await;
    match found.map_err(|e| e.to_string())?.remove(&job.at) {
        Some((ErrorCode::NONE, offsets)) => offsets.first().copied().ok_or("no offset was given".to_owned()),
        Some((error, _)) => Err(error.to_string()),
        None => Err("no offset was given".to_owned()),
    }
}

/// Why printing stopped before there was enough.
enum Stopped {
    /// The broker or its messages; told in the log.
    Error(String),
    /// Nobody reads.
    Output,
}

async fn print(job: &Job, client: &BrokerClient, address: &HostPort, offset: Offset) -> ExitCode {
    let mut out = BufWriter::with_capacity(64 * 1024, std::io::stdout());
    let mut offset = offset;
    let mut count = 0;
    let stopped = print_all(job, client, address, &mut offset, &mut count, &mut out).await;
    info!(target: LOGGER, "Consumed {count} messages");
    match stopped {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stopped::Error(e)) => {
            // What was read is shown; a reader that is gone hears nothing more.
            let _ = out.flush();
            error!(target: LOGGER,
                "Error consuming topic, partition, replica ({}, {}, {}) with offset [{offset}]: {e}",
                job.at.topic, job.at.partition, job.replica);
            ExitCode::FAILURE
        }
        Err(Stopped::Output) => {
            // What could not be written must not be tried again when the writer goes.
            let _ = out.into_parts();
            eprintln!("Unable to write to standard out, closing consumer.");
            ExitCode::FAILURE
        }
    }
}

async fn print_all(
    job: &Job,
    client: &BrokerClient,
    address: &HostPort,
    offset: &mut Offset,
    count: &mut u64,
    out: &mut impl Write,
) -> Result<(), Stopped> {
    let failed = |e: &dyn std::fmt::Display| Stopped::Error(e.to_string());
    while *count < job.max_messages {
        out.flush().map_err(|_| Stopped::Output)?;
        let connection = client.connection(address).await.map_err(|e| failed(&e))?;
        let wish = (&job.at, *offset, job.fetch_size);
        let read = simple::fetch(&connection, simple::DEBUGGING, job.max_wait_ms, &[wish]).await;
        let Some(read) = read.map_err(|e| failed(&e))?.remove(&job.at) else {
            return Err(failed(&"the broker left the partition out of its answer"));
        };
        if read.error != 0 {
            return Err(failed(&ErrorCode(read.error)));
        }
        if job.stop_at_end && SetIter::new(&read.records).next().is_none() {
            let (topic, partition) = (&job.at.topic, job.at.partition);
            return writeln!(
                out,
                "Terminating. Reached the end of partition ({topic}, {partition}) at offset {offset}"
            )
            .and_then(|()| out.flush())
            .map_err(|_| Stopped::Output);
        }
        let messages = match flatten(&read.records, false) {
            Ok(messages) => messages,
            Err(e) if job.skip_on_error => {
                error!(target: LOGGER, "Error processing message, skipping this message: {e}");
                *offset += 1;
                continue;
            }
            Err(e) => return Err(failed(&e)),
        };
        // A compressed set may begin before the offset that was asked for; 0.9.0.1 prints that too.
        for message in messages.iter().filter(|m| m.offset >= wish.1) {
            if *count >= job.max_messages {
                break;
            }
            *offset = message.offset + 1;
            one(job, message, *offset, out).map_err(|_| Stopped::Output)?;
            *count += 1;
        }
    }
    out.flush().map_err(|_| Stopped::Output)
}

fn one(job: &Job, message: &Message, next: Offset, out: &mut impl Write) -> std::io::Result<()> {
    if job.print_offsets {
        writeln!(out, "next offset = {next}")?;
    }
    let (key, value) = (message.key.as_deref(), message.value.as_deref());
    job.formatter.write(key, value, out)
}
