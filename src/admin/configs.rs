//! Dynamic settings of topics and clients: the whole set is written to the entity's node, then a
//! notification tells the brokers to read it.

use std::collections::BTreeMap;

use ::log::warn;

use super::error::{Error, Result};
use super::topics::topic_exists;
use crate::config::LogConfig;
use crate::jute::CreateMode;
use crate::zookeeper::paths::{self, EntityType};
use crate::zookeeper::{Session, each, znodes};

/// Settings by name, as typed.
pub type Settings = BTreeMap<String, String>;

/// Checks a topic's settings, names and values.
///
/// # Errors
/// [`Error::Config`] with Kafka's words for the first mistake.
pub(super) fn validate(settings: &Settings) -> Result<()> {
    LogConfig::validate(settings).map_err(|e| {
        let first = e.0.first().map(|mistake| mistake.rule.clone());
        Error::Config(first.unwrap_or_default())
    })
}

/// Replaces all of a topic's settings and notifies the brokers.
///
/// # Errors
/// [`Error::NoTopicToConfigure`], [`Error::Config`]; nothing is written then.
pub async fn change_topic_config(session: &Session, topic: &str, settings: &Settings) -> Result<()> {
    if !topic_exists(session, topic).await? {
        return Err(Error::NoTopicToConfigure(topic.to_owned()));
    }
    validate(settings)?;
    change(session, EntityType::Topic, topic, settings).await
}

/// What brokers of 0.9.0.1 read of a client's settings: bytes per second that it may send or fetch.
pub const CLIENT_RATES: [&str; 2] = ["producer_byte_rate", "consumer_byte_rate"];

/// Replaces all of a client's settings and notifies the brokers. Names that no broker reads are let
/// through with a warning.
///
/// # Errors
/// [`Error::Config`] for a rate that is no number; nothing is written then. 0.9.0.1 writes it, and its
/// brokers stop following changes when they read it.
pub async fn change_client_config(session: &Session, client: &str, settings: &Settings) -> Result<()> {
    for (name, value) in settings {
        if !CLIENT_RATES.contains(&name.as_str()) {
            warn!("No broker reads the setting {name} of a client.");
        } else if value.parse::<i64>().is_err() {
            return Err(Error::Config(format!(
                "Invalid value {value} for configuration {name}: Not a number of type LONG"
            )));
        }
    }
    change(session, EntityType::Client, client, settings).await
}

async fn change(session: &Session, entity: EntityType, name: &str, settings: &Settings) -> Result<()> {
    write(session, entity, name, settings).await?;
    let change = znodes::config::Change {
        entity,
        name: name.to_owned(),
    };
    let path = paths::config_change_sequence();
    let data = change.encode();
    let mode = CreateMode::PersistentSequential;
    session
        .create_recursive(&path, Some(data.as_bytes()), mode)
        .await?;
    Ok(())
}

/// Writes an entity's settings, notifying nobody.
pub(super) async fn write(
    session: &Session,
    entity: EntityType,
    name: &str,
    settings: &Settings,
) -> Result<()> {
    let path = paths::entity_config(entity, name);
    let old = session.get(&path).await?.and_then(|node| node.data);
    let data = znodes::config::encode_over(old.as_deref(), settings);
    Ok(session.put(&path, data.as_bytes()).await?)
}

/// The settings of one topic; empty if it has none.
///
/// # Errors
/// [`Error::Settings`] if the node holds something else.
pub async fn fetch_topic_config(session: &Session, topic: &str) -> Result<Settings> {
    fetch_config(session, EntityType::Topic, topic).await
}

/// The settings of one topic or client; empty if it has none.
///
/// # Errors
/// [`Error::Settings`] if the node holds something else.
pub async fn fetch_config(session: &Session, entity: EntityType, name: &str) -> Result<Settings> {
    let settings = fetch_config_in_order(session, entity, name).await?;
    Ok(settings.into_iter().collect())
}

/// As [`fetch_config`], in the order in which Kafka's tools print them.
///
/// # Errors
/// [`Error::Settings`] if the node holds something else.
pub async fn fetch_config_in_order(
    session: &Session,
    entity: EntityType,
    name: &str,
) -> Result<Vec<(String, String)>> {
    let path = paths::entity_config(entity, name);
    let data = session.get(&path).await?.and_then(|node| node.data);
    znodes::config::decode_in_order(data.as_deref()).map_err(|reason| Error::Settings {
        entity,
        name: name.to_owned(),
        data: String::from_utf8_lossy(&data.unwrap_or_default()).into_owned(),
        reason,
    })
}

/// The topics or clients that have a node for settings, in ZooKeeper's order.
pub async fn configured(session: &Session, entity: EntityType) -> Result<Vec<String>> {
    let names = session.children(&paths::entity_configs(entity)).await?;
    Ok(names.map(|(names, _)| names).unwrap_or_default())
}

/// The settings of all topics that have a node for them, by topic.
pub async fn fetch_topic_configs(session: &Session) -> Result<BTreeMap<String, Settings>> {
    fetch_configs(session, EntityType::Topic).await
}

/// The settings of all topics or all clients that have a node for them, by name.
///
/// A node that holds something else is left out with a warning; 0.9.0.1 does not start then.
pub async fn fetch_configs(session: &Session, entity: EntityType) -> Result<BTreeMap<String, Settings>> {
    let names = configured(session, entity).await?;
    let mut all = BTreeMap::new();
    for (name, settings) in fetch_each_config(session, entity, names).await {
        match settings {
            Ok(settings) => {
                all.insert(name, settings);
            }
            Err(Error::Settings { reason, .. }) => {
                let path = paths::entity_config(entity, &name);
                warn!("Ignoring the configuration in {path}: {reason}");
            }
            Err(e) => return Err(e),
        }
    }
    Ok(all)
}

/// The settings of these topics or clients, read all at once, each with what [`fetch_config`] says of it.
pub async fn fetch_each_config(
    session: &Session,
    entity: EntityType,
    names: Vec<String>,
) -> Vec<(String, Result<Settings>)> {
    let read = |name: String| {
        let session = session.clone();
        async move {
            let settings = fetch_config(&session, entity, &name).await;
            (name, settings)
        }
    };
    each(names, read).await
}
