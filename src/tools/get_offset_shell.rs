//! kafka.tools.GetOffsetShell: the offsets of a topic's partitions before a time.

use std::process::ExitCode;
use std::time::Duration;

use super::options::{self, ArgType, OptionParser, check_required_args};
use super::{Tool, console_producer, logging, runtime};
use crate::client::metadata::{Metadata, Topic};
use crate::client::{BrokerClient, ConnectionSettings, HostPort, simple};
use crate::cluster::TopicPartition;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-get-offset-shell",
    class: "kafka.tools.GetOffsetShell",
    run,
};

const PURPOSE: &str = "An interactive shell for getting consumer offsets.";
/// The time that SimpleConsumer of the original allows for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

fn parser() -> OptionParser {
    let mut p = OptionParser::new();
    p.accepts(
        "broker-list",
        "REQUIRED: The list of hostname and port of the server to connect to.",
    )
    .with_required_arg()
    .described_as("hostname:port,...,hostname:port");
    p.accepts("topic", "REQUIRED: The topic to get offset from.")
        .with_required_arg()
        .described_as("topic");
    p.accepts(
        "partitions",
        "comma separated list of partition ids. If not specified, it will find offsets for all partitions",
    )
    .with_required_arg()
    .described_as("partition ids")
    .defaults_to("");
    p.accepts("time", "timestamp of the offsets before that")
        .with_required_arg()
        .described_as("timestamp/-1(latest)/-2(earliest)")
        .of_type(ArgType::Long);
    p.accepts("offsets", "number of offsets returned")
        .with_required_arg()
        .described_as("count")
        .of_type(ArgType::Integer)
        .defaults_to(1);
    p.accepts("max-wait-ms", "The max amount of time each fetch request waits.")
        .with_required_arg()
        .described_as("ms")
        .of_type(ArgType::Integer)
        .defaults_to(1000);
    p
}

/// What is asked for.
#[derive(Debug)]
struct Question {
    brokers: Vec<HostPort>,
    topic: String,
    /// As typed; all when empty.
    partitions: String,
    time: i64,
    offsets: i32,
    max_wait: Duration,
}

fn question(parser: &OptionParser, args: &[String]) -> options::Result<Question> {
    let options = parser.parse(args)?;
    check_required_args(parser, &options, &["broker-list", "topic", "time"])?;
    let list = options.value("broker-list")?.unwrap_or_default();
    Ok(Question {
        brokers: console_producer::check_broker_list(parser, &list)?,
        topic: options.value("topic")?.unwrap_or_default(),
        partitions: options.value("partitions")?.unwrap_or_default(),
        time: options.long("time")?.unwrap_or_default(),
        offsets: options.int("offsets")?.unwrap_or_default(),
        max_wait: Duration::from_millis(
            u64::try_from(options.int("max-wait-ms")?.unwrap_or_default()).unwrap_or_default(),
        ),
    })
}

fn run(args: &[String]) -> ExitCode {
    logging::init(logging::Fallback::Tool);
    let parser = parser();
    if args.is_empty() {
        return parser.usage_error(PURPOSE).report();
    }
    match question(&parser, args) {
        Ok(question) => runtime::run(answer(question)),
        Err(e) => e.report(),
    }
}

async fn answer(q: Question) -> ExitCode {
    let settings = |patience| ConnectionSettings {
        client_id: "GetOffsetShell".to_owned(),
        request_timeout: patience,
        connect_timeout: patience,
        ..ConnectionSettings::default()
    };
    let list: Vec<String> = q.brokers.iter().map(ToString::to_string).collect();
    let asked = BrokerClient::new(q.brokers.clone(), settings(q.max_wait), Duration::ZERO);
    let metadata = match asked
        .fetch_metadata(&Metadata::default(), std::slice::from_ref(&q.topic))
        .await
    {
        Ok(metadata) => metadata,
        Err(e) => {
            eprintln!(
                "Exception in thread \"main\" kafka.common.KafkaException: fetching topic metadata for topics [{}] from broker [{}] failed: {e}",
                q.topic,
                list.join(", ")
            );
            return ExitCode::FAILURE;
        }
    };
    asked.close().await;
    let Some(topic) = metadata.topics.get(&q.topic) else {
        eprintln!(
            "Error: no valid topic metadata for topic: {},  probably the topic does not exist, run kafka-list-topic.sh to verify",
            q.topic
        );
        return ExitCode::FAILURE;
    };
    let wanted = match wanted(&q.partitions, topic) {
        Ok(wanted) => wanted,
        Err(bad) => {
            eprintln!(
                "Exception in thread \"main\" java.lang.NumberFormatException: For input string: \"{bad}\""
            );
            return ExitCode::FAILURE;
        }
    };
    let leaders = BrokerClient::new(q.brokers.clone(), settings(PATIENCE), Duration::ZERO);
    let end = print_offsets(&q, &metadata, topic, &wanted, &leaders).await;
    leaders.close().await;
    end
}

/// The partitions asked for, in the order of the question or else of the answer.
fn wanted(list: &str, topic: &Topic) -> Result<Vec<i32>, String> {
    if list.is_empty() {
        return Ok(topic.partitions.iter().map(|p| p.id).collect());
    }
    list.split(',')
        .map(|id| id.parse().map_err(|_| id.to_owned()))
        .collect()
}

async fn print_offsets(
    q: &Question,
    metadata: &Metadata,
    topic: &Topic,
    wanted: &[i32],
    leaders: &BrokerClient,
) -> ExitCode {
    for id in wanted {
        let Some(partition) = topic.partitions.iter().find(|p| p.id == *id) else {
            eprintln!("Error: partition {id} does not exist");
            continue;
        };
        let Some(at) = partition.leader.and_then(|l| metadata.brokers.get(&l)) else {
            eprintln!("Error: partition {id} does not have a leader. Skip getting offsets");
            continue;
        };
        match offsets(q, *id, at, leaders).await {
            Ok(offsets) => {
                let offsets: Vec<String> = offsets.iter().map(ToString::to_string).collect();
                println!("{}:{id}:{}", q.topic, offsets.join(","));
            }
            Err(e) => {
                eprintln!("Exception in thread \"main\" kafka.common.KafkaException: {e}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

async fn offsets(
    q: &Question,
    partition: i32,
    at: &HostPort,
    leaders: &BrokerClient,
) -> crate::client::Result<Vec<i64>> {
    let partition = TopicPartition::new(q.topic.as_str(), partition);
    let connection = leaders.connection(at).await?;
    let one = std::slice::from_ref(&partition);
    let mut found = simple::offsets_before(&connection, simple::CONSUMER, one, q.time, q.offsets).await?;
    // An error's list is empty, and Kafka says no more of it.
    Ok(found
        .remove(&partition)
        .map(|(_, offsets)| offsets)
        .unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_is_kafkas() {
        let help = parser().help();
        assert!(
            help.contains("--time <Long: timestamp/-1(latest)/-2   timestamp of the offsets before that")
        );
        assert!(
            help.contains("--offsets <Integer: count>              number of offsets returned (default: 1)")
        );
    }

    #[test]
    fn a_negative_time_is_an_argument_and_no_option() {
        let args: Vec<String> = "--broker-list h:1 --topic t --time -1"
            .split(' ')
            .map(str::to_owned)
            .collect();
        assert_eq!(question(&parser(), &args).unwrap().time, -1);
    }
}
