//! kafka.tools.VerifyConsumerRebalance: whether each partition that an old group wants has an owner among
//! the group's threads.

use std::collections::BTreeSet;
use std::process::ExitCode;

use ::log::{error, info, warn};

use super::old_groups;
use super::options::{OptionParser, OptionSet};
use super::{Tool, runtime, session};
use crate::admin::{self, groups};
use crate::client::old_consumer;
use crate::cluster::TopicPartition;
use crate::zookeeper::Session;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-verify-consumer-rebalance",
    class: "kafka.tools.VerifyConsumerRebalance",
    run,
};

const LOGGER: &str = "kafka.tools.VerifyConsumerRebalance$";

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Groups(#[from] old_groups::Error),
    #[error(transparent)]
    Members(#[from] old_consumer::Error),
}

impl From<admin::Error> for Failure {
    fn from(e: admin::Error) -> Failure {
        Failure::Groups(e.into())
    }
}

fn parser() -> OptionParser {
    let mut p = OptionParser::new();
    old_groups::accept_connect(&mut p, "zookeeper.connect");
    p.accepts("group", "Consumer group.").with_required_arg();
    p.accepts("help", "Print this message.");
    p
}

fn run(args: &[String]) -> ExitCode {
    let purpose = "Validate that all partitions have a consumer for a given consumer group.";
    match old_groups::understood(&parser(), args, purpose, "group") {
        Ok(options) => runtime::run(verify(options)),
        Err(code) => code,
    }
}

async fn verify(options: OptionSet) -> ExitCode {
    let text = |name| options.value(name).map(Option::unwrap_or_default);
    let (connect, group) = match (text("zookeeper.connect"), text("group")) {
        (Ok(connect), Ok(group)) => (connect, group),
        (Err(e), _) | (_, Err(e)) => return e.report(),
    };
    let session = match session::connect(&connect).await {
        Ok(session) => session,
        Err(code) => return code,
    };
    let done = mistakes(&session, &group).await;
    session.close().await;
    match done {
        Ok(mistakes) if mistakes.is_empty() => {
            println!("Rebalance operation successful !");
            ExitCode::SUCCESS
        }
        Ok(mistakes) => {
            for mistake in mistakes {
                error!(target: LOGGER, "{mistake}");
            }
            println!("Rebalance operation failed !");
            ExitCode::FAILURE
        }
        Err(e) => {
            error!(target: LOGGER, "Error while verifying current rebalancing operation: {e}");
            ExitCode::FAILURE
        }
    }
}

/// What is wrong with the group's ownership, in the words and the order of the original.
async fn mistakes(session: &Session, group: &str) -> Result<Vec<String>, Failure> {
    info!(target: LOGGER, "Verifying rebalancing operation for consumer group {group}");
    let members = old_consumer::threads_of_group(session, group).await?;
    if members.is_empty() {
        warn!(target: LOGGER, "group {group} has no members, so nothing is wrong");
    }
    let topics: Vec<String> = members.keys().cloned().collect();
    let mut wrong = Vec::new();
    for (topic, assignment) in admin::assignments(session, &topics).await? {
        let threads = &members[&topic];
        let owned: BTreeSet<String> = groups::owned_partitions(session, group, &topic)
            .await?
            .into_iter()
            .collect();
        if owned.is_empty() {
            wrong.push(format!("No owners for any partitions for topic {topic}"));
        }
        for partition in assignment.keys() {
            let at = TopicPartition::new(topic.as_str(), *partition);
            let nobody = format!("No owner for partition {at}");
            if !owned.contains(&partition.to_string()) {
                wrong.push(nobody.clone());
            }
            match groups::owner(session, group, &at).await? {
                None => wrong.push(nobody),
                Some(owner) if !threads.contains(&owner) => wrong.push(format!(
                    "Owner {owner} for partition {at} is not a valid member of consumer group {group}"
                )),
                Some(owner) => info!(target: LOGGER, "Owner of partition {at} is {owner}"),
            }
        }
    }
    Ok(wrong)
}
