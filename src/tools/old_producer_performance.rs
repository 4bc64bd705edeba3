//! kafka.tools.ProducerPerformance, the older of the two: how much some threads send to some topics, by the old
//! producer or the new one.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ::log::{error, info, warn};
use bytes::Bytes;
use tokio::task::JoinSet;

use super::options::{ArgType, OptionParser, OptionSet, check_required_args};
use super::perf_options::{self, Refused, Report, Sum};
use super::{Tool, console_producer, options, runtime};
use crate::client::metadata::Metadata;
use crate::client::producer::partitioner::java_bytes_hash;
use crate::client::producer::{self, Ack};
use crate::client::{BrokerClient, ConnectionSettings, Producer, ProducerSettings, Record};
use crate::config::{OldProducerConfig, ProducerConfig, Properties};
use crate::util::clock::Clock;
use crate::util::random;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-old-producer-perf-test",
    class: "kafka.tools.ProducerPerformance",
    run,
};

/// What 0.9 names its log lines after.
const LOGGER: &str = "kafka.tools.ProducerPerformance$";
/// By their number in messages.
const CODECS: [&str; 4] = ["none", "gzip", "snappy", "lz4"];

fn parser() -> OptionParser {
    use ArgType::{Integer, String};
    let mut p = OptionParser::new();
    perf_options::accept(&mut p);
    for (name, what, kind, default, help) in [
        (
            "broker-list",
            "hostname:port,..,hostname:port",
            String,
            "",
            "REQUIRED: broker info the list of broker host and port for bootstrap.",
        ),
        (
            "producer.config",
            "config file",
            String,
            "",
            "Producer config properties file.",
        ),
        (
            "topics",
            "topic1,topic2..",
            String,
            "",
            "REQUIRED: The comma separated list of topics to produce to",
        ),
        (
            "request-timeout-ms",
            "",
            Integer,
            "3000",
            "The producer request timeout in ms",
        ),
        (
            "producer-num-retries",
            "",
            Integer,
            "3",
            "The producer retries number",
        ),
        (
            "producer-retry-backoff-ms",
            "",
            Integer,
            "100",
            "The producer retry backoff time in milliseconds",
        ),
        (
            "request-num-acks",
            "",
            Integer,
            "-1",
            "Number of acks required for producer request to complete",
        ),
        (
            "threads",
            "number of threads",
            Integer,
            "1",
            "Number of sending threads.",
        ),
        (
            "initial-message-id",
            "initial message id",
            Integer,
            "",
            "The is used for generating test data, If set, messages will be tagged with an ID and sent by producer starting from this ID sequentially. Message content will be String type and in the form of 'Message:000...1:xxx...'",
        ),
        (
            "message-send-gap-ms",
            "message send time gap",
            Integer,
            "0",
            "If set, the send thread will wait for specified time between two sends",
        ),
        (
            "metrics-dir",
            "metrics directory",
            String,
            "",
            "If csv-reporter-enable is set, and this parameter isset, the csv metrics will be outputted here",
        ),
    ] {
        p.accepts_value(name, what, kind, default, help);
    }
    for (name, help) in [
        (
            "vary-message-size",
            "If set, message size will vary up to the given maximum.",
        ),
        ("sync", "If set, messages are sent synchronously."),
        (
            "csv-reporter-enabled",
            "If set, the CSV metrics reporter will be enabled",
        ),
        ("new-producer", "Use the new producer implementation."),
    ] {
        p.accepts(name, help);
    }
    p
}

/// What to send and how.
#[derive(Clone, Debug)]
struct Job {
    settings: ProducerSettings,
    /// Keys are stored, and choose the partition as the new producer does it. The old producer's choose
    /// it by Java's hash and are not stored.
    new: bool,
    /// Each record is awaited before the next.
    sync: bool,
    topics: Vec<String>,
    messages: u64,
    /// Bytes of each message, or at most.
    size: usize,
    varies: bool,
    /// Its number in messages.
    codec: i32,
    batch: i32,
    threads: u64,
    /// Number of the first message, if messages are texts that tell their number.
    first_id: Option<i64>,
    gap: Duration,
    report: Report,
}

fn run(args: &[String]) -> ExitCode {
    match prepare(&parser(), args) {
        Ok(job) => runtime::run(measure(job)),
        Err(refused) => refused.report(),
    }
}

fn prepare(parser: &OptionParser, args: &[String]) -> Result<Job, Refused> {
    let options = parser.parse(args)?;
    check_required_args(parser, &options, &["topics", "broker-list", "messages"])?;
    let list = options.value("broker-list")?.unwrap_or_default();
    console_producer::check_broker_list(parser, &list)?;
    let number = |name| -> options::Result<u64> {
        let number = options.int(name)?.unwrap_or_default();
        Ok(u64::try_from(number).unwrap_or(0))
    };
    let id = options.int("compression-codec")?.unwrap_or_default();
    let codec = usize::try_from(id).ok().and_then(|id| CODECS.get(id));
    let codec = codec.ok_or_else(|| {
        Refused::Thrown(format!(
            "kafka.common.UnknownCodecException: {id} is an unknown compression codec"
        ))
    })?;
    let properties = match options.value("producer.config")? {
        Some(file) => Properties::load(Path::new(&file))
            .map_err(|e| Refused::Thrown(format!("java.io.FileNotFoundException: {e}")))?,
        None => Properties::new(),
    };
    let new = options.has("new-producer");
    if options.has("csv-reporter-enabled") {
        warn!(target: LOGGER, "--csv-reporter-enabled has no effect");
    }
    let topics = options.value("topics")?.unwrap_or_default();
    let messages = options.long("messages")?.unwrap_or_default();
    Ok(Job {
        settings: if new {
            new_settings(&options, properties, codec)?
        } else {
            old_settings(&options, properties, codec)?
        },
        new,
        // The new one is never waited for.
        sync: options.has("sync") && !new,
        topics: topics.split(',').map(str::to_owned).collect(),
        messages: u64::try_from(messages).unwrap_or(0),
        size: usize::try_from(number("message-size")?).unwrap_or(0),
        varies: options.has("vary-message-size"),
        codec: id,
        batch: options.int("batch-size")?.unwrap_or_default(),
        threads: number("threads")?.max(1),
        first_id: options.int("initial-message-id")?.map(i64::from),
        gap: Duration::from_millis(number("message-send-gap-ms")?),
        report: Report::read(&options)?,
    })
}

/// Options and the properties that they set, over those of the file.
fn put(options: &OptionSet, rows: &[(&str, &str)], properties: &mut Properties) -> options::Result<()> {
    perf_options::put(options, rows, properties)?;
    properties.set("send.buffer.bytes", "65536", "kafka.tools.ProducerPerformance");
    properties.set(
        "client.id",
        "producer-performance",
        "kafka.tools.ProducerPerformance",
    );
    Ok(())
}

fn new_settings(
    options: &OptionSet,
    mut properties: Properties,
    codec: &str,
) -> Result<ProducerSettings, Refused> {
    let rows = [
        ("broker-list", "bootstrap.servers"),
        ("request-num-acks", "acks"),
        ("request-timeout-ms", "timeout.ms"),
        ("producer-num-retries", "retries"),
        ("producer-retry-backoff-ms", "retry.backoff.ms"),
    ];
    put(options, &rows, &mut properties)?;
    properties.set("compression.type", codec, "--compression-codec");
    let read = ProducerConfig::from_properties(&properties);
    let (config, warnings) = read.map_err(|e| Refused::Thrown(e.exception()))?;
    for warning in warnings {
        warn!(target: "org.apache.kafka.clients.producer.ProducerConfig", "{warning}");
    }
    Ok(config.into())
}

fn old_settings(
    options: &OptionSet,
    mut properties: Properties,
    codec: &str,
) -> Result<ProducerSettings, Refused> {
    let rows = [
        ("broker-list", "metadata.broker.list"),
        ("request-num-acks", "request.required.acks"),
        ("request-timeout-ms", "request.timeout.ms"),
        ("producer-num-retries", "message.send.max.retries"),
        ("producer-retry-backoff-ms", "retry.backoff.ms"),
    ];
    put(options, &rows, &mut properties)?;
    properties.set("compression.codec", codec, "--compression-codec");
    if !options.has("sync") {
        let batch = options.value("batch-size")?.unwrap_or_default();
        properties.set("producer.type", "async", "--sync");
        properties.set("batch.num.messages", &batch, "--batch-size");
        properties.set("queue.enqueue.timeout.ms", "-1", "--sync");
    }
    let read = OldProducerConfig::from_properties(&properties);
    let wrong = |e: crate::config::ConfigErrors| {
        Refused::Thrown(format!("java.lang.IllegalArgumentException: {}", e.first_rule()))
    };
    let (config, warnings) = read.map_err(wrong)?;
    for warning in warnings {
        warn!(target: "kafka.utils.VerifiableProperties", "{warning}");
    }
    Ok(config.into())
}

async fn measure(job: Job) -> ExitCode {
    if job.varies {
        info!(target: LOGGER, "WARN: Throughput will be slower due to changing message size per request");
    }
    let clock = Clock::system();
    let (began, wall) = (clock.now(), clock.wall());
    if job.report.header {
        println!(
            "start.time, end.time, compression, message.size, batch.size, total.data.sent.in.MB, MB.sec, total.data.sent.in.nMsg, nMsg.sec"
        );
    }
    let job = Arc::new(job);
    let counts = Arc::new(partition_counts(&job).await);
    let mut threads = JoinSet::new();
    for thread in 0..job.threads {
        threads.spawn(send_all(job.clone(), thread, counts.clone(), clock.clone()));
    }
    let mut sum = Sum::default();
    while let Some(sent) = threads.join_next().await {
        let sent = sent.unwrap_or_default();
        sum.messages += sent.messages;
        sum.bytes += sent.bytes;
    }
    let elapsed = clock.now().since(began);
    let (megabytes, messages) = sum.per_second(elapsed);
    println!(
        "{}, {}, {}, {}, {}, {:.2}, {megabytes:.4}, {}, {messages:.4}",
        job.report.date.format(wall),
        job.report.date.format(clock.wall()),
        job.codec,
        job.size,
        job.batch,
        sum.megabytes(),
        sum.messages
    );
    ExitCode::SUCCESS
}

/// The number of each topic's partitions, 0 if it is not known yet; nothing for the new producer.
async fn partition_counts(job: &Job) -> Vec<i32> {
    if job.new {
        return vec![0; job.topics.len()];
    }
    let settings = ConnectionSettings {
        client_id: job.settings.client_id.clone(),
        request_timeout: job.settings.request_timeout,
        ..ConnectionSettings::default()
    };
    let client = BrokerClient::new(job.settings.bootstrap.clone(), settings, Duration::ZERO);
    let asked = client.fetch_metadata(&Metadata::default(), &job.topics).await;
    client.close().await;
    let known = asked.unwrap_or_default();
    let count = |topic: &String| known.topics.get(topic.as_str()).map_or(0, |t| t.count());
    job.topics.iter().map(count).collect()
}

/// One thread's part.
async fn send_all(job: Arc<Job>, thread: u64, counts: Arc<Vec<i32>>, clock: Clock) -> Sum {
    let producer = Producer::start(job.settings.clone());
    let each = job.messages / job.threads;
    let mut sum = Sum::default();
    for number in 0..each {
        for (topic, count) in job.topics.iter().zip(counts.iter()) {
            let value = message(&job, thread, topic, number, each);
            let key = java_big_integer(number);
            let record = Record {
                topic: topic.as_str().into(),
                partition: (*count > 0).then(|| java_bytes_hash(&key).wrapping_abs().max(0) % count),
                key: job.new.then(|| key.into()),
                value: Some(value.clone()),
            };
            if let Err(e) = send(&job, &producer, record).await {
                error!(target: LOGGER, "Error when sending message {}: {e}", String::from_utf8_lossy(&value));
                break;
            }
            sum.messages += 1;
            sum.bytes += value.len() as u64;
            if !job.gap.is_zero() {
                clock.sleep(job.gap).await;
            }
        }
    }
    producer.close(None).await;
    sum
}

/// Hands a record over, and waits for its acknowledgement if that is wanted.
async fn send(job: &Job, producer: &Producer, record: Record) -> Result<(), producer::Error> {
    if job.sync {
        return producer.send(record).await?.await.map(drop);
    }
    let told = |result: Result<Ack, producer::Error>| {
        if let Err(e) = result {
            error!(target: LOGGER, "Error when sending message: {e}");
        }
    };
    producer.send_then(record, Box::new(told)).await
}

/// The bytes of one message: zeros, or a text that tells where it comes from, filled with x.
fn message(job: &Job, thread: u64, topic: &str, number: u64, each: u64) -> Bytes {
    let size = match job.varies {
        true => 1 + random::below(job.size),
        false => job.size,
    };
    let Some(first) = job.first_id else {
        return vec![0; size].into();
    };
    let id = first.saturating_add_unsigned(each * thread + number);
    let text = format!("Topic:{topic}:ThreadID:{thread}:MessageID:{id:010}:");
    format!("{text:x<size$}").replace(' ', "x").into()
}

/// A number as java.math.BigInteger's bytes: two's complement, as short as it goes.
fn java_big_integer(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    let mut out = bytes[zeros..].to_vec();
    if out.first().is_none_or(|first| first & 0x80 != 0) {
        out.insert(0, 0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Codec;

    fn job(line: &str) -> Job {
        let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match prepare(&parser(), &args) {
            Ok(job) => job,
            Err(Refused::Options(e)) => panic!("{e}"),
            Err(Refused::Thrown(e)) => panic!("{e}"),
        }
    }

    #[test]
    fn keys_are_javas_big_integers() {
        for (number, bytes) in [
            (0, &[0][..]),
            (127, &[127]),
            (128, &[0, 128]),
            (256, &[1, 0]),
            (32768, &[0, 128, 0]),
        ] {
            assert_eq!(java_big_integer(number), bytes, "{number}");
        }
    }

    #[test]
    fn messages_tell_their_thread_and_number() {
        let j = job("--broker-list h:1 --topics a,b --messages 20 --message-size 50 --initial-message-id 7");
        assert_eq!(
            message(&j, 1, "a", 3, 10),
            "Topic:a:ThreadID:1:MessageID:0000000020:xxxxxxxxxx"
        );
        let plain = job("--broker-list h:1 --topics a --messages 20 --message-size 5");
        assert_eq!(message(&plain, 0, "a", 3, 10), [0u8; 5].as_slice());
    }

    #[test]
    fn each_kind_of_producer_gets_its_settings() {
        let old = job("--broker-list h:1 --topics a --messages 1 --compression-codec 1 --batch-size 7");
        assert_eq!((old.settings.acks, old.settings.codec), (-1, Codec::Gzip));
        assert_eq!((old.settings.batch_messages, old.sync), (Some(7), false));
        let new = job("--broker-list h:1 --topics a --messages 1 --new-producer --sync --request-num-acks 1");
        assert_eq!(
            (new.settings.acks, new.settings.batch_messages, new.sync),
            (1, None, false)
        );
    }
}
