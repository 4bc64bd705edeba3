//! `kafka-topics --describe`: a line per topic, a line per partition.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Command, Result};
use crate::admin;
use crate::cluster::{BrokerId, LeaderAndIsr};
use crate::zookeeper::paths::{self, EntityType};
use crate::zookeeper::znodes::{self, topic::Assignment};
use crate::zookeeper::{Session, each};

/// Prints what `--topic` and the filters select.
pub(super) async fn describe(command: &Command<'_>) -> Result<()> {
    let topics = command.topics().await?;
    let under_replicated = command.options.has("under-replicated-partitions");
    let unavailable = command.options.has("unavailable-partitions");
    let overridden = command.options.has("topics-with-overrides");
    let live: BTreeSet<BrokerId> = admin::live_broker_ids(command.session)
        .await?
        .into_iter()
        .collect();
    for topic in topics {
        let one = std::slice::from_ref(&topic);
        let Some(assignment) = admin::assignments(command.session, one).await?.remove(&topic) else {
            println!("Topic {topic} doesn't exist!");
            continue;
        };
        let mut text = String::new();
        if !under_replicated && !unavailable {
            let settings = admin::fetch_config_in_order(command.session, EntityType::Topic, &topic).await?;
            if !overridden || !settings.is_empty() {
                let settings: Vec<String> = settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
                text.push_str(&format!(
                    "Topic:{topic}\tPartitionCount:{}\tReplicationFactor:{}\tConfigs:{}\n",
                    assignment.len(),
                    assignment.values().next().map_or(0, Vec::len),
                    settings.join(",")
                ));
            }
        }
        if !overridden {
            let states = states(command.session, &topic, &assignment).await?;
            for ((partition, replicas), state) in assignment.iter().zip(states) {
                let isr = state.as_ref().map_or(&[][..], |s| &s.isr);
                let leader = state.as_ref().map(|s| s.leader);
                let shown = (!under_replicated && !unavailable)
                    || (under_replicated && isr.len() < replicas.len())
                    || (unavailable && leader.is_none_or(|id| !live.contains(&id)));
                if shown {
                    let leader = leader.map_or("none".to_owned(), |id| id.to_string());
                    text.push_str(&format!(
                        "\tTopic: {topic}\tPartition: {partition}\tLeader: {leader}\tReplicas: {}\tIsr: {}\n",
                        join(replicas),
                        join(isr)
                    ));
                }
            }
        }
        super::super::print(&text);
    }
    Ok(())
}

/// The states of a topic's partitions, in their order; none where the node is missing or unreadable.
async fn states(
    session: &Session,
    topic: &str,
    assignment: &Assignment,
) -> Result<Vec<Option<LeaderAndIsr>>> {
    let topic: Arc<str> = topic.into();
    let read = each(assignment.keys().copied().collect(), |partition| {
        let (session, topic) = (session.clone(), topic.clone());
        async move { session.get(&paths::partition_state(&topic, partition)).await }
    });
    let mut states = Vec::with_capacity(assignment.len());
    for node in read.await {
        states.push(node?.and_then(|node| {
            let data = node.data.unwrap_or_default();
            znodes::leader_and_isr::decode(&data, node.stat.version).ok()
        }));
    }
    Ok(states)
}

fn join(ids: &[BrokerId]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(",")
}
