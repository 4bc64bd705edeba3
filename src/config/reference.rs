//! docs/configuration.md, printed from the rows. A test compares the file with this text.

use super::definition::{Default, Importance, Key, Rule};
use super::{broker, client, keeper, topic};

/// The whole page.
pub fn page() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         Every key of every properties file, printed from the table that the programs read it with. A file is\n\
         read as java.util.Properties: ISO-8859-1, a backslash is an escape, the last of several lines counts.\n\
         All mistakes of a file are listed at start with file, line, key, value and rule. A key that is unknown,\n\
         or known without effect yet (marked \"no effect yet\"), is warned about.\n\n\
         To rewrite this page after changing a row: `REWRITE_GOLDEN=1 cargo test --test it configuration`.\n",
    );
    section(&mut text, "server.properties: the broker", broker::KEYS);
    section(
        &mut text,
        "server.properties: keys of metrics reporters and of the authorizer",
        broker::OUTSIDE_KEYS,
    );
    section(&mut text, "Topics", topic::KEYS);
    section(
        &mut text,
        "zookeeper.properties: the bundled ZooKeeper server",
        keeper::KEYS,
    );
    section(&mut text, "Producers", client::PRODUCER_KEYS);
    section(&mut text, "Consumers", client::CONSUMER_KEYS);
    section(
        &mut text,
        "Producers and consumers: TLS and SASL",
        client::SECURITY_KEYS,
    );
    section(&mut text, "Old producers", client::OLD_PRODUCER_KEYS);
    section(&mut text, "Old consumers", client::OLD_CONSUMER_KEYS);
    text
}

fn section(text: &mut String, title: &str, keys: &[Key]) {
    *text += &format!("\n## {title}\n\n");
    *text += "| key | type | default | valid | importance | what it does |\n|---|---|---|---|---|---|\n";
    for key in keys {
        *text += &row(key);
    }
}

fn row(key: &Key) -> String {
    let default = match key.default {
        Default::Required => "**required**".to_string(),
        Default::Null => "not set".to_string(),
        Default::Text("") => "empty".to_string(),
        Default::Text(value) => format!("`{value}`"),
    };
    let valid = match key.rule {
        Rule::Any => String::new(),
        Rule::AtLeast(min) => format!("at least {min}"),
        Rule::Between(min, max) => format!("{min} to {max}"),
        Rule::OneOf(texts) => texts
            .iter()
            .map(|t| format!("`{t}`"))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let importance = match key.importance {
        Importance::High => "high",
        Importance::Medium => "medium",
        Importance::Low => "low",
    };
    let effect = if key.acted_on { "" } else { " *(no effect yet)*" };
    let kind = key.kind.name().to_lowercase();
    format!(
        "| `{}` | {kind} | {default} | {valid} | {importance} | {}{effect} |\n",
        key.name, key.doc
    )
}
