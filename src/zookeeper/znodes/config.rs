//! `/config/…`: dynamic configurations and the notifications that they changed
//! (AdminUtils.writeEntityConfig, DynamicConfigManager).

use std::collections::BTreeMap;

use super::json::{self, Json};
use super::order::{java_hash, properties};
use super::{Error, Result};
use crate::zookeeper::paths::EntityType;

/// The settings in the order in which a Java `Properties` gives them, which is that of the node's data
/// and of what the tools print.
pub fn in_java_order(settings: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    let entries = settings.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    properties(entries.collect(), |(k, _)| java_hash(k))
}

/// The data of an entity's node.
pub fn encode(settings: &BTreeMap<String, String>) -> String {
    let settings = in_java_order(settings).into_iter();
    json::object([
        ("version", "1".to_owned()),
        ("config", json::object(settings.map(|(k, v)| (k, json::text(v))))),
    ])
}

/// Reads an entity's settings; no data at all means none.
///
/// # Errors
/// What makes a JVM broker refuse to start: version other than 1, no `config`, a value that is not a
/// string. Data that is no JSON counts as no settings, as there.
pub fn decode(data: Option<&[u8]>) -> Result<BTreeMap<String, String>> {
    let root = match data.map(Json::parse) {
        None | Some(Err(Error::Syntax { .. })) => return Ok(BTreeMap::new()),
        Some(root) => root?,
    };
    if let Json::Array(_) = root {
        return Err(Error::Kind("config"));
    }
    let version = root.int("version")?;
    if version != 1 {
        return Err(Error::Version(version));
    }
    let settings = root.members("config")?.iter();
    settings
        .map(|(key, value)| match value {
            Json::Text(text) => Ok((key.clone(), text.clone())),
            _ => Err(Error::Kind("config")),
        })
        .collect()
}

/// Says whose configuration changed. It has no content of its own: the reader reads the entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Topic or client.
    pub entity: EntityType,
    /// Its name.
    pub name: String,
}

impl Change {
    /// The notification's data.
    pub fn encode(&self) -> String {
        json::object([
            ("version", "1".to_owned()),
            ("entity_type", json::text(self.entity.name())),
            ("entity_name", json::text(&self.name)),
        ])
    }

    /// Reads a notification; `None` for the bare string that 0.8 wrote, which is to be passed over.
    ///
    /// # Errors
    /// A JSON object of another version or for another type of entity.
    pub fn decode(data: &[u8]) -> Result<Option<Change>> {
        let root = match Json::parse(data) {
            Err(Error::Syntax { .. }) => return Ok(None),
            root => root?,
        };
        let version = root.int("version")?;
        if version != 1 {
            return Err(Error::Version(version));
        }
        let entity = EntityType::parse(root.text("entity_type")?).ok_or(Error::Kind("entity_type"))?;
        Ok(Some(Change {
            entity,
            name: root.text("entity_name")?.to_owned(),
        }))
    }
}
