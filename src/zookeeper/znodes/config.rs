//! `/config/…`: dynamic configurations and the notifications that they changed
//! (AdminUtils.writeEntityConfig, DynamicConfigManager).

use std::collections::BTreeMap;

use super::json::{self, Json};
use super::order::{immutable, properties};
use super::{Error, Result};
use crate::util::java::string_hash;
use crate::zookeeper::paths::EntityType;

/// The data of an entity's node that had no settings before.
pub fn encode(settings: &BTreeMap<String, String>) -> String {
    encode_over(None, settings)
}

/// The data of an entity's node in the place of `old`. Kafka keeps settings in a Java `Properties`: its
/// order shows, and depends on that of the old data.
pub fn encode_over(old: Option<&[u8]>, settings: &BTreeMap<String, String>) -> String {
    let mut names: Vec<&str> = Vec::new();
    let old = old
        .and_then(|data| members(data).ok().flatten())
        .unwrap_or_default();
    for (name, _) in &old {
        names.extend(settings.get_key_value(name).map(|(name, _)| name.as_str()));
    }
    let new = settings.keys().filter(|name| old.iter().all(|(n, _)| n != *name));
    names.extend(properties(new.map(String::as_str).collect(), |n| string_hash(n)));
    let names = properties(names, |name| string_hash(name));
    let settings = names.into_iter().map(|name| (name, json::text(&settings[name])));
    json::object([("version", "1".to_owned()), ("config", json::object(settings))])
}

/// Reads an entity's settings; no data at all means none.
///
/// # Errors
/// What makes a JVM broker refuse to start: version other than 1, no `config`, a value that is not a
/// string. Data that is no JSON counts as no settings, as there.
pub fn decode(data: Option<&[u8]>) -> Result<BTreeMap<String, String>> {
    Ok(decode_in_order(data)?.into_iter().collect())
}

/// As [`decode`], in the order in which Kafka's tools print the settings.
///
/// # Errors
/// As [`decode`].
pub fn decode_in_order(data: Option<&[u8]>) -> Result<Vec<(String, String)>> {
    let settings = match data {
        Some(data) => members(data)?.unwrap_or_default(),
        None => Vec::new(),
    };
    Ok(properties(settings, |(name, _)| string_hash(name)))
}

/// The settings in the order of the Scala map that they are read into; none if the data is no JSON.
fn members(data: &[u8]) -> Result<Option<Vec<(String, String)>>> {
    let root = match Json::parse(data) {
        Err(Error::Syntax { .. }) => return Ok(None),
        root => root?,
    };
    if let Json::Array(_) = root {
        return Err(Error::Kind("config"));
    }
    let version = root.int("version")?;
    if version != 1 {
        return Err(Error::Version(version));
    }
    let settings = root.members("config")?.iter();
    let settings = settings.map(|(key, value)| match value {
        Json::Text(text) => Ok((key.clone(), text.clone())),
        _ => Err(Error::Kind("config")),
    });
    let settings = settings.collect::<Result<Vec<_>>>()?;
    Ok(Some(immutable(settings, |(name, _)| string_hash(name))))
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
