//! Text to typed settings. This module alone knows the names of properties and their defaults.
//!
//! A file is read once ([`properties`], java.util.Properties' grammar with line numbers), checked against
//! a table of [`definition::Key`] rows, and becomes a struct. All mistakes of a file are found before any
//! is reported, each with file, line, key, value and the rule it breaks, in Kafka's words. The rows serve
//! parsing, checking, topic overrides, the `KafkaConfig values:` block and docs/configuration.md alike.
//!
//! Read in this order: [`properties`], [`definition`], [`topic`] (what a log heeds), [`broker`],
//! [`keeper`] (zookeeper.properties), [`client`] (producers and consumers), [`mod@reference`] (the page).
//! Does not know what the settings are for.

pub mod broker;
pub mod client;
pub mod definition;
pub mod keeper;
pub mod properties;
pub mod reference;
pub mod topic;

pub use broker::BrokerConfig;
pub use client::{ConsumerConfig, OldConsumerConfig, OldProducerConfig, ProducerConfig};
pub use keeper::KeeperConfig;
pub use properties::Properties;
pub use topic::LogConfig;

use std::fmt;

/// One wrong setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it was typed: `server.properties:12`, or where it came from, `--override`. Empty for a
    /// setting that is missing or a default.
    pub place: String,
    /// The key it is about; the first one if several are at odds.
    pub key: String,
    /// As typed; `None` when it is missing or not about one value.
    pub value: Option<String>,
    /// Kafka's own message.
    pub rule: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        match &self.value {
            Some(value) => write!(f, "{}={value}: {}", self.key, self.rule),
            None => f.write_str(&self.rule),
        }
    }
}

/// Every mistake of a configuration, in the order of their lines. Displayed one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Mistake>);

impl ConfigErrors {
    /// Orders mistakes by their lines; those without a line come last.
    fn new(mut mistakes: Vec<Mistake>) -> ConfigErrors {
        let line = |m: &Mistake| {
            m.place
                .rsplit_once(':')
                .and_then(|(_, n)| n.parse().ok())
                .unwrap_or(u64::MAX)
        };
        mistakes.sort_by_key(line);
        ConfigErrors(mistakes)
    }
}

impl ConfigErrors {
    /// Kafka's text for the first mistake, without the place.
    pub fn first_rule(&self) -> &str {
        self.0.first().map_or("", |mistake| &mistake.rule)
    }

    /// How a Java client's first mistake is told: the exception's class and text.
    pub fn exception(&self) -> String {
        format!(
            "org.apache.kafka.common.config.ConfigException: {}",
            self.first_rule()
        )
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
