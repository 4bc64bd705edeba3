//! kafka-replica-verification (kafka.tools.ReplicaVerificationTool): reads all replicas of the chosen
//! partitions side by side, compares checksums up to the high watermark, and reports differences and the
//! largest lag. `compare` holds the rules; this file asks the brokers.

mod compare;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ::log::{debug, info};
use tokio::task::JoinSet;

use self::compare::{Difference, Held, Progress};
use super::logging::date::DateFormat;
use super::options::{ArgType, OptionParser, check_required_args};
use super::signals::Signals;
use super::{Tool, console_producer, options, runtime};
use crate::client::metadata::Metadata;
use crate::client::topic_filter::TopicFilter;
use crate::client::{BrokerClient, ConnectionSettings, HostPort, simple};
use crate::cluster::{BrokerId, TopicPartition};
use crate::message::Offset;
use crate::protocol::ErrorCode;
use crate::util::clock::Clock;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-replica-verification",
    class: "kafka.tools.ReplicaVerificationTool",
    run,
};

const PURPOSE: &str = "Validate that all replicas for a set of topics have the same data.";
/// The log target.
const LOGGER: &str = "kafka.tools.ReplicaVerificationTool$";
/// What the original's sockets wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

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
        "fetch-size",
        "bytes",
        Integer,
        "1048576",
        "The fetch size of each request.",
    );
    p.accepts_value(
        "max-wait-ms",
        "ms",
        Integer,
        "1000",
        "The max amount of time each fetch request waits.",
    );
    p.accepts_value(
        "topic-white-list",
        "Java regex (String)",
        String,
        ".*",
        "White list of topics to verify replica consistency. Defaults to all topics.",
    );
    p.accepts_value(
        "time",
        "timestamp/-1(latest)/-2(earliest)",
        Long,
        "-1",
        "Timestamp for getting the initial offsets.",
    );
    p.accepts_value(
        "report-interval-ms",
        "ms",
        Long,
        "30000",
        "The reporting interval.",
    );
    p
}

/// What to compare.
#[derive(Debug)]
struct Job {
    brokers: Vec<HostPort>,
    filter: TopicFilter,
    fetch_size: i32,
    max_wait_ms: i32,
    time: i64,
    report_interval: Duration,
}

fn job(parser: &OptionParser, args: &[String]) -> options::Result<Result<Job, String>> {
    let o = parser.parse(args)?;
    check_required_args(parser, &o, &["broker-list"])?;
    let filter = match TopicFilter::whitelist(&o.value("topic-white-list")?.unwrap_or_default()) {
        Ok(filter) => filter,
        Err(e) => return Ok(Err(format!("java.lang.RuntimeException: {e}"))),
    };
    let interval = o.long("report-interval-ms")?.unwrap_or_default();
    let list = o.value("broker-list")?.unwrap_or_default();
    Ok(Ok(Job {
        fetch_size: o.int("fetch-size")?.unwrap_or_default(),
        max_wait_ms: o.int("max-wait-ms")?.unwrap_or_default(),
        time: o.long("time")?.unwrap_or_default(),
        report_interval: Duration::from_millis(u64::try_from(interval).unwrap_or(0)),
        brokers: console_producer::check_broker_list(parser, &list)?,
        filter,
    }))
}

fn run(args: &[String]) -> ExitCode {
    let parser = parser();
    if args.is_empty() {
        return parser.usage_error(PURPOSE).report();
    }
    match job(&parser, args) {
        Ok(Ok(job)) => runtime::run(verify_until_told(job)),
        Ok(Err(text)) => fail(&text),
        Err(e) => e.report(),
    }
}

fn fail(text: &str) -> ExitCode {
    eprintln!("Exception in thread \"main\" {text}");
    ExitCode::FAILURE
}

async fn verify_until_told(job: Job) -> ExitCode {
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(e) => return fail(&e.to_string()),
    };
    let settings = ConnectionSettings {
        client_id: "replicaVerificationTool".to_owned(),
        request_timeout: PATIENCE,
        connect_timeout: PATIENCE,
        ..ConnectionSettings::default()
    };
    let client = Arc::new(BrokerClient::new(
        job.brokers.clone(),
        settings,
        Duration::from_millis(100),
    ));
    let end = tokio::select! {
        end = verify(&job, &client) => match end {
            Some(text) => fail(&text),
            None => ExitCode::FAILURE,
        },
        ending = signals.next() => {
            info!(target: LOGGER, "Stopping all fetchers");
            ExitCode::from(ending.exit_code())
        }
    };
    client.close().await;
    end
}

/// Whose copies are compared.
#[derive(Debug, Default)]
struct Replicas {
    /// Per broker: its address and the partitions it has copies of.
    by_broker: BTreeMap<BrokerId, (HostPort, Vec<TopicPartition>)>,
    /// Per leader: its address and the partitions it leads.
    by_leader: BTreeMap<BrokerId, (HostPort, Vec<TopicPartition>)>,
}

/// Compares for ever; returns what ended it, none if that has been said.
async fn verify(job: &Job, client: &Arc<BrokerClient>) -> Option<String> {
    info!(target: LOGGER, "Getting topic metatdata...");
    let replicas = match client.fetch_metadata(&Metadata::default(), &[]).await {
        Ok(metadata) => match chosen(job, &metadata) {
            Ok(replicas) => replicas,
            Err(text) => return Some(text),
        },
        Err(e) => {
            return Some(format!(
                "kafka.common.KafkaException: fetching topic metadata failed: {e}"
            ));
        }
    };
    let mut progress = match first_offsets(job, client, &replicas).await {
        Ok(offsets) => Progress::new(offsets),
        Err(text) => return Some(text),
    };
    let clock = Clock::system();
    let format = DateFormat::new("yyyy-MM-dd HH:mm:ss,SSS");
    let say = |text: &str| println!("{}: {text}", format.format(clock.wall()));
    say("verification process is started.");
    let mut reported = clock.now();
    loop {
        let round = round(job, client, &replicas, &progress).await;
        let (differences, lag) = match progress.compare(&round) {
            Ok(compared) => compared,
            Err(text) => return Some(format!("java.lang.RuntimeException: {text}")),
        };
        for difference in differences {
            match difference {
                Difference::Checksum(text) => say(&text),
                Difference::Offset(text) => {
                    say(&text);
                    return None;
                }
            }
        }
        let now = clock.now();
        if now.since(reported) > job.report_interval {
            let partition = lag.partition.map_or("null".to_owned(), |at| at.to_string());
            say(&format!(
                "max lag is {} for partition {partition} at offset {} among {} partitions",
                lag.messages,
                lag.offset,
                progress.partitions()
            ));
            reported = now;
        }
    }
}

fn chosen(job: &Job, metadata: &Metadata) -> Result<Replicas, String> {
    let mut replicas = Replicas::default();
    let topics: BTreeSet<&String> = metadata.topics.keys().collect();
    for topic in topics.into_iter().filter(|t| job.filter.takes(t, false)) {
        for p in &metadata.topics[topic].partitions {
            let at = TopicPartition::new(topic.as_str(), p.id);
            let address = |id: &BrokerId| {
                let found = metadata.brokers.get(id).cloned();
                found.ok_or(format!("java.util.NoSuchElementException: key not found: {id}"))
            };
            let leader = p.leader.ok_or(format!(
                "java.util.NoSuchElementException: None.get: partition {at} has no leader"
            ))?;
            for id in &p.replicas {
                let of = replicas
                    .by_broker
                    .entry(*id)
                    .or_insert((address(id)?, Vec::new()));
                of.1.push(at.clone());
            }
            let of = replicas
                .by_leader
                .entry(leader)
                .or_insert((address(&leader)?, Vec::new()));
            of.1.push(at);
        }
    }
    match replicas.by_broker.is_empty() {
        true => Err("java.util.NoSuchElementException: no topic matches the white list".to_owned()),
        false => Ok(replicas),
    }
}

async fn first_offsets(
    job: &Job,
    client: &BrokerClient,
    replicas: &Replicas,
) -> Result<BTreeMap<TopicPartition, Offset>, String> {
    let mut all = BTreeMap::new();
    for (address, partitions) in replicas.by_leader.values() {
        let asked = async {
            let connection = client.connection(address).await?;
            simple::offsets_before(&connection, simple::CONSUMER, partitions, job.time, 1).await
        };
        for (at, (error, offsets)) in asked.await.map_err(|e| e.to_string())? {
            match offsets.first().filter(|_| error.is_none()) {
                Some(offset) => all.insert(at, *offset),
                None => {
                    return Err(format!(
                        "java.lang.AssertionError: assertion failed: no offset of partition {at}: {error}"
                    ));
                }
            };
        }
    }
    Ok(all)
}

/// Asks every broker at once. One that does not answer holds nothing this time.
async fn round(
    job: &Job,
    client: &Arc<BrokerClient>,
    replicas: &Replicas,
    progress: &Progress,
) -> BTreeMap<TopicPartition, Vec<Held>> {
    let mut asked = JoinSet::new();
    for (id, (address, partitions)) in &replicas.by_broker {
        let (id, address, client) = (*id, address.clone(), client.clone());
        let (fetch_size, max_wait_ms) = (job.fetch_size, job.max_wait_ms);
        let wishes: Vec<(TopicPartition, Offset)> = partitions
            .iter()
            .map(|at| (at.clone(), progress.offset(at)))
            .collect();
        asked.spawn(async move {
            let wishes: Vec<simple::Wish<'_>> = wishes
                .iter()
                .map(|(at, offset)| (at, *offset, fetch_size))
                .collect();
            let read = async {
                let connection = client.connection(&address).await?;
                simple::fetch(&connection, simple::DEBUGGING, max_wait_ms, &wishes).await
            };
            let mut read = read.await.unwrap_or_else(|e| {
                debug!(target: LOGGER, "Broker {id} holds nothing this time: {e}");
                BTreeMap::new()
            });
            let held = |(at, _, _): &simple::Wish<'_>| {
                let got = read.remove(at).filter(|p| ErrorCode(p.error).is_none());
                let held = Held {
                    replica: id,
                    high_watermark: got.as_ref().map_or(-1, |p| p.high_watermark),
                    records: got.map(|p| p.records).unwrap_or_default(),
                };
                ((*at).clone(), held)
            };
            wishes.iter().map(held).collect::<Vec<_>>()
        });
    }
    let mut round: BTreeMap<TopicPartition, Vec<Held>> = BTreeMap::new();
    while let Some(answer) = asked.join_next().await {
        for (at, held) in answer.into_iter().flatten() {
            round.entry(at).or_default().push(held);
        }
    }
    for held in round.values_mut() {
        held.sort_by_key(|h| h.replica);
    }
    round
}
