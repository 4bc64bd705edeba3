//! kafka-consumer-offset-checker (kafka.tools.ConsumerOffsetChecker): how far an old group has come in its
//! topics, and who reads them. Told by kafka-consumer-groups too; this one is deprecated.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use ::log::warn;

use super::old_groups::{self, Error, Leaders, Result};
use super::options::{self, ArgType, OptionParser, OptionSet, check_required_args};
use super::{Tool, logging, print, runtime, session};
use crate::admin::{self, groups};
use crate::client::simple;
use crate::cluster::TopicPartition;
use crate::message::Offset;
use crate::protocol::ErrorCode;
use crate::zookeeper::{Session, paths};

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-consumer-offset-checker",
    class: "kafka.tools.ConsumerOffsetChecker",
    run,
};

fn parser() -> OptionParser {
    let mut p = OptionParser::new();
    old_groups::accept_connect(&mut p, "zookeeper");
    p.accepts(
        "topic",
        "Comma-separated list of consumer topics (all topics if absent).",
    )
    .with_required_arg();
    p.accepts("group", "Consumer group.").with_required_arg();
    for (name, help, default) in [
        (
            "socket.timeout.ms",
            "Socket timeout to use when querying for offsets.",
            6000,
        ),
        (
            "retry.backoff.ms",
            "Retry back-off to use for failed offset queries.",
            3000,
        ),
    ] {
        p.accepts(name, help)
            .with_required_arg()
            .of_type(ArgType::Integer)
            .defaults_to(default);
    }
    p.accepts("broker-info", "Print broker info");
    p.accepts("help", "Print this message.");
    p
}

/// What is asked for.
struct Question {
    connect: String,
    group: String,
    /// None means those that the group owns.
    topics: Option<Vec<String>>,
    /// For an answer.
    timeout: Duration,
    /// Between tries.
    backoff: Duration,
    broker_info: bool,
}

fn question(parser: &OptionParser, options: &OptionSet) -> options::Result<Question> {
    check_required_args(parser, options, &["group"])?;
    let text = |name: &str| options.value(name).map(Option::unwrap_or_default);
    let millis = |name: &str| {
        let n = options.int(name)?.unwrap_or_default();
        Ok::<_, options::Error>(Duration::from_millis(u64::try_from(n).unwrap_or_default()))
    };
    let topics = options.value("topic")?;
    Ok(Question {
        connect: text("zookeeper")?,
        group: text("group")?,
        topics: topics.map(|list| list.trim_end_matches(',').split(',').map(str::to_owned).collect()),
        timeout: millis("socket.timeout.ms")?,
        backoff: millis("retry.backoff.ms")?,
        broker_info: options.has("broker-info"),
    })
}

fn run(args: &[String]) -> ExitCode {
    logging::init(logging::Fallback::Tool);
    warn!(
        target: "kafka.tools.ConsumerOffsetChecker$",
        "WARNING: ConsumerOffsetChecker is deprecated and will be dropped in releases following 0.9.0. Use ConsumerGroupCommand instead."
    );
    let parser = parser();
    if args.is_empty() {
        return parser.usage_error("Check the offset of your consumers.").report();
    }
    let options = match parser.parse(args) {
        Ok(options) if options.has("help") => return print(&parser.help()),
        Ok(options) => options,
        Err(e) => return e.report(),
    };
    match question(&parser, &options) {
        Ok(question) => runtime::run(answer(question)),
        Err(e) => e.report(),
    }
}

async fn answer(q: Question) -> ExitCode {
    let session = match session::connect(&q.connect).await {
        Ok(session) => session,
        Err(code) => return code,
    };
    let done = check(&session, &q).await;
    session.close().await;
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            println!("Exiting due to: {e}.");
            ExitCode::FAILURE
        }
    }
}

async fn check(session: &Session, q: &Question) -> Result<()> {
    let mut topics = match &q.topics {
        Some(topics) => topics.clone(),
        None => {
            let owned = groups::owned_topics(session, &q.group).await?;
            owned.ok_or_else(|| Error::NoNode(paths::consumer_owners(&q.group)))?
        }
    };
    topics.sort();
    topics.dedup();
    let assignments = admin::assignments(session, &topics).await?;
    let partitions = assignments.iter().flat_map(|(topic, assignment)| {
        let ids = assignment.keys();
        ids.map(|p| TopicPartition::new(topic.as_str(), *p))
    });
    let partitions: Vec<TopicPartition> = partitions.collect();
    let offsets = offsets(session, q, &partitions).await?;
    let line = |columns: [&str; 7]| {
        let [group, topic, partition, offset, size, lag, owner] = columns;
        println!("{group:<15} {topic:<30} {partition:<3} {offset:<15} {size:<15} {lag:<15} {owner}");
    };
    line(["Group", "Topic", "Pid", "Offset", "logSize", "Lag", "Owner"]);
    let mut leaders = Leaders::new(session, "ConsumerOffsetChecker");
    for at in &partitions {
        let Some(leader) = old_groups::leader(session, at).await? else {
            println!("No broker for partition {} - {}", at.topic, at.partition);
            continue;
        };
        let Some(end) = leaders.offset_at(leader, at, simple::LATEST).await? else {
            old_groups::tell_unregistered(leader);
            continue;
        };
        let offset = offsets.get(at).copied();
        let lag = offset.filter(|o| *o != -1).map(|o| end - o);
        let or_unknown = |n: Option<Offset>| n.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
        line([
            &q.group,
            &at.topic,
            &at.partition.to_string(),
            &or_unknown(offset),
            &end.to_string(),
            &or_unknown(lag),
            groups::owner(session, &q.group, at)
                .await?
                .as_deref()
                .unwrap_or("none"),
        ]);
    }
    if q.broker_info {
        println!("BROKER INFO");
        for (id, at) in leaders.asked() {
            println!("{id} -> {at}");
        }
    }
    Ok(())
}

/// How far the group has come, by the offsets topic or else by ZooKeeper; -1 where only other partitions
/// of the topic have a position.
async fn offsets(
    session: &Session,
    q: &Question,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, Offset>> {
    let mut known = BTreeMap::new();
    for (at, c) in old_groups::offsets_in_kafka(session, &q.group, partitions, q.timeout, q.backoff).await? {
        if c.error != ErrorCode::NONE {
            println!("Could not fetch offset for {at} due to {}.", c.error);
        } else if c.offset != -1 {
            known.insert(at, c.offset);
        } else if let Some(offset) = groups::stored_offset(session, &q.group, &at).await? {
            known.insert(at, offset);
        } else {
            let dir = paths::consumer_topic_offsets(&q.group, &at.topic);
            if session.exists(&dir).await?.is_none() {
                return Err(Error::NoNode(paths::consumer_offset(
                    &q.group,
                    &at.topic,
                    at.partition,
                )));
            }
            known.insert(at, -1);
        }
    }
    Ok(known)
}
