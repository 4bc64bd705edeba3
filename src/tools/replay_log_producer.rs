//! kafka-replay-log-producer (kafka.tools.ReplayLogProducer): reads a topic from its beginning with the old
//! consumer and sends every message to another topic.

use std::process::ExitCode;
use std::time::Duration;

use ::log::{error, info, warn};
use tokio::task::JoinSet;

use super::options::{ArgType, OptionParser, check_required_args, parse_key_value_args};
use super::{Tool, console_producer, options, runtime, session};
use crate::client::old_consumer::{
    self, OffsetReset, OldConsumer, OldConsumerSettings, Stream, Subscription,
};
use crate::client::producer::{Producer, ProducerSettings, Record};
use crate::config::{ConfigErrors, ProducerConfig, Properties};
use crate::zookeeper::paths;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-replay-log-producer",
    class: "kafka.tools.ReplayLogProducer",
    run,
};

/// What 0.9 names its log lines after.
const LOGGER: &str = "kafka.tools.ReplayLogProducer$";
const GROUP: &str = "replay-log-producer";

fn parser() -> OptionParser {
    use ArgType::{Integer, String};
    let mut p = OptionParser::new();
    for (name, what, kind, default, help) in [
        (
            "zookeeper",
            "zookeeper url",
            String,
            "127.0.0.1:2181",
            "REQUIRED: The connection string for the zookeeper connection in the form host:port. Multiple URLS can be given to allow fail-over.",
        ),
        (
            "broker-list",
            "hostname:port",
            String,
            "",
            "REQUIRED: the broker list must be specified.",
        ),
        (
            "inputtopic",
            "input-topic",
            String,
            "",
            "REQUIRED: The topic to consume from.",
        ),
        (
            "outputtopic",
            "output-topic",
            String,
            "",
            "REQUIRED: The topic to produce to",
        ),
        (
            "messages",
            "count",
            Integer,
            "-1",
            "The number of messages to send.",
        ),
        ("threads", "threads", Integer, "1", "Number of sending threads."),
        (
            "reporting-interval",
            "size",
            Integer,
            "5000",
            "Interval at which to print progress info.",
        ),
        (
            "property",
            "producer properties",
            String,
            "",
            "A mechanism to pass properties in the form key=value to the producer. This allows the user to override producer properties that are not exposed by the existing command line arguments",
        ),
    ] {
        p.accepts_value(name, what, kind, default, help);
    }
    p.accepts(
        "sync",
        "If set message send requests to the brokers are synchronously, one at a time as they arrive.",
    );
    p
}

/// What to read and where to send it.
#[derive(Clone, Debug)]
struct Job {
    zookeeper: String,
    producer: ProducerSettings,
    from: String,
    to: String,
    /// Of each stream; no end when `None`.
    messages: Option<u64>,
    streams: usize,
    sync: bool,
}

/// Why the program does not start.
enum Refused {
    Options(options::Error),
    Config(ConfigErrors),
}

impl From<options::Error> for Refused {
    fn from(e: options::Error) -> Self {
        Refused::Options(e)
    }
}

fn run(args: &[String]) -> ExitCode {
    match prepare(&parser(), args) {
        Ok(job) => runtime::run(replay(job)),
        Err(Refused::Options(e)) => e.report(),
        Err(Refused::Config(e)) => {
            eprintln!("Exception in thread \"main\" {}", e.exception());
            ExitCode::FAILURE
        }
    }
}

fn prepare(parser: &OptionParser, args: &[String]) -> Result<Job, Refused> {
    let options = parser.parse(args)?;
    check_required_args(parser, &options, &["broker-list", "inputtopic"])?;
    let list = options.value("broker-list")?.unwrap_or_default();
    console_producer::check_broker_list(parser, &list)?;
    let mut properties = Properties::new();
    for (key, value) in parse_key_value_args(&options.values("property")?)? {
        properties.set(&key, &value, "--property");
    }
    properties.set("bootstrap.servers", &list, "--broker-list");
    let (config, warnings) = ProducerConfig::from_properties(&properties).map_err(Refused::Config)?;
    for warning in warnings {
        warn!(target: "org.apache.kafka.clients.producer.ProducerConfig", "{warning}");
    }
    let messages = options.int("messages")?.unwrap_or_default();
    let streams = options.int("threads")?.unwrap_or_default();
    Ok(Job {
        zookeeper: options.value("zookeeper")?.unwrap_or_default(),
        producer: config.into(),
        from: options.value("inputtopic")?.unwrap_or_default(),
        to: options.value("outputtopic")?.unwrap_or_default(),
        messages: u64::try_from(messages).ok(),
        streams: usize::try_from(streams).unwrap_or(0),
        sync: options.has("sync"),
    })
}

async fn replay(job: Job) -> ExitCode {
    // So that it begins at the beginning.
    match session::connect(&job.zookeeper).await {
        Ok(session) => {
            if let Err(e) = session.delete_recursive(&paths::consumer_group(GROUP)).await {
                warn!(target: LOGGER, "The nodes of group {GROUP} remain: {e}");
            }
            session.close().await;
        }
        Err(code) => return code,
    }
    let settings = OldConsumerSettings {
        group_id: GROUP.to_owned(),
        client_id: GROUP.to_owned(),
        zookeeper_connect: job.zookeeper.clone(),
        consumer_timeout: Some(Duration::from_secs(10)),
        reset: OffsetReset::Smallest,
        socket_receive_buffer_bytes: Some(2 << 20),
        ..OldConsumerSettings::default()
    };
    let wanted = Subscription::Topics([(job.from.clone(), job.streams)].into());
    let (consumer, streams) = match OldConsumer::start(settings, wanted).await {
        Ok(started) => started,
        Err(e) => {
            eprintln!("Exception in thread \"main\" kafka.common.KafkaException: {e}");
            return ExitCode::FAILURE;
        }
    };
    let mut copies = JoinSet::new();
    for stream in streams {
        copies.spawn(copy(job.clone(), stream));
    }
    while copies.join_next().await.is_some() {}
    consumer.close().await;
    ExitCode::SUCCESS
}

/// Sends a stream's messages until there are enough or none comes any more.
async fn copy(job: Job, mut stream: Stream) {
    let producer = Producer::start(job.producer);
    let mut sent: u64 = 0;
    while job.messages.is_none_or(|most| sent < most) {
        let consumed = match stream.next().await {
            Ok(Some(consumed)) => consumed,
            Ok(None) => break,
            Err(e @ old_consumer::Error::Timeout) => {
                error!(target: LOGGER, "consumer thread timing out: {e}");
                break;
            }
            Err(e) => {
                error!(target: LOGGER, "{e}");
                break;
            }
        };
        let record = Record {
            topic: job.to.as_str().into(),
            partition: None,
            key: consumed.message.key,
            value: consumed.message.value,
        };
        let delivered = match producer.send(record).await {
            Ok(delivery) if job.sync => delivery.await.map(drop),
            Ok(_) => Ok(()),
            Err(e) => Err(e),
        };
        match delivered {
            Ok(()) => sent += 1,
            Err(e) => error!(target: LOGGER, "Skipping this message: {e}"),
        }
    }
    producer.close(None).await;
    info!(target: LOGGER, "Sent {sent} messages");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_and_the_source_are_required() {
        let parse = |text: &str| {
            let args: Vec<String> = text.split(' ').map(str::to_owned).collect();
            prepare(&parser(), &args)
        };
        let Ok(job) = parse("--broker-list h:1 --inputtopic a --outputtopic b --property acks=all --sync")
        else {
            panic!("refused");
        };
        assert_eq!(
            (job.producer.acks, job.messages, job.streams, job.sync),
            (-1, None, 1, true)
        );
        assert!(matches!(
            parse("--broker-list h:1 --outputtopic b"),
            Err(Refused::Options(e)) if e.to_string() == "Missing required argument \"[inputtopic]\""
        ));
    }
}
