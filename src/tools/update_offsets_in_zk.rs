//! kafka.tools.UpdateOffsetsInZK: sets an old group's offsets of one topic to the beginning or the end of
//! each partition.

use std::path::Path;
use std::process::ExitCode;

use super::console_consumer;
use super::old_groups::{self, Error, Leaders};
use super::{Tool, logging, runtime};
use crate::admin;
use crate::client::old_consumer::OldConsumerSettings;
use crate::client::simple;
use crate::cluster::{BrokerId, TopicPartition};
use crate::config::Properties;
use crate::util::clock::Clock;
use crate::zookeeper::znodes::consumer::encode_offset;
use crate::zookeeper::{Session, SessionSettings, paths};

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-update-offsets-in-zk",
    class: "kafka.tools.UpdateOffsetsInZK",
    run,
};

/// Why not all offsets were set.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Groups(#[from] Error),
    #[error("Broker None is unavailable. Cannot issue getOffsetsBefore request for partition {0}")]
    NoLeader(TopicPartition),
    #[error("Broker information for broker id {0} does not exist in ZK")]
    NotRegistered(BrokerId),
}

fn run(args: &[String]) -> ExitCode {
    logging::init(logging::Fallback::Tool);
    let [to, file, topic, ..] = args else {
        return usage();
    };
    let properties = match Properties::load(Path::new(file)) {
        Ok(properties) => properties,
        Err(e) => return old_groups::uncaught("java.io.FileNotFoundException", &e),
    };
    let settings = match console_consumer::old_settings(&properties) {
        Ok(settings) => settings,
        Err(e) => return old_groups::uncaught("java.lang.IllegalArgumentException", &e),
    };
    let time = match to.as_str() {
        "earliest" => simple::EARLIEST,
        "latest" => simple::LATEST,
        _ => return usage(),
    };
    runtime::run(update(settings, topic.clone(), time))
}

fn usage() -> ExitCode {
    println!("USAGE: kafka.tools.UpdateOffsetsInZK$ [earliest | latest] consumer.properties topic");
    ExitCode::FAILURE
}

async fn update(settings: OldConsumerSettings, topic: String, time: i64) -> ExitCode {
    let patience = SessionSettings {
        session_timeout: settings.zookeeper_session_timeout,
        connection_timeout: settings.zookeeper_connection_timeout,
    };
    let connected = Session::connect(&settings.zookeeper_connect, patience, Clock::system()).await;
    let session = match connected {
        Ok(session) => session,
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::FAILURE;
        }
    };
    let done = set_all(&session, &settings.group_id, topic, time).await;
    session.close().await;
    match done {
        Ok(count) => {
            println!("updated the offset for {count} partitions");
            ExitCode::SUCCESS
        }
        Err(e) => old_groups::uncaught("kafka.common.KafkaException", &e),
    }
}

/// Sets the offsets, in the order of the partitions; returns how many.
async fn set_all(session: &Session, group: &str, topic: String, time: i64) -> Result<usize, Failure> {
    let assignments = admin::assignments(session, std::slice::from_ref(&topic)).await;
    let assignment = assignments
        .map_err(Error::from)?
        .remove(&topic)
        .unwrap_or_default();
    let mut leaders = Leaders::new(session, "UpdateOffsetsInZk");
    for partition in assignment.keys() {
        let at = TopicPartition::new(topic.as_str(), *partition);
        let leader = old_groups::leader(session, &at).await?;
        let Some(leader) = leader.filter(|leader| *leader != BrokerId::NONE) else {
            return Err(Failure::NoLeader(at));
        };
        let Some(offset) = leaders.offset_at(leader, &at, time).await? else {
            return Err(Failure::NotRegistered(leader));
        };
        println!("updating partition {partition} with new offset: {offset}");
        let path = paths::consumer_offset(group, &topic, *partition);
        let put = session.put(&path, encode_offset(offset).as_bytes()).await;
        put.map_err(Error::from)?;
    }
    Ok(assignment.len())
}
