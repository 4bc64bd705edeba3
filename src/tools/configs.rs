//! kafka-configs (kafka.admin.ConfigCommand): describes and changes the settings of topics and clients by
//! way of ZooKeeper, with 0.9.0.1's options and output. Knows no broker: those that run read a change as
//! soon as it is notified.
//!
//! What is wrong with the command line as a whole goes to standard error; what fails later is one line on
//! standard output (the genuine tool lets its trace follow) and, unlike there, exit code 1.

use std::process::ExitCode;

use super::options::{self as jopt, OptionParser, OptionSet, check_invalid_args, check_required_args};
use super::{Tool, large_messages, runtime, session};
use crate::admin::{self, Settings};
use crate::config::topic;
use crate::zookeeper::Session;
use crate::zookeeper::paths::EntityType;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-configs",
    class: "kafka.admin.ConfigCommand",
    run,
};

/// What ends a command without success.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Options(#[from] jopt::Error),
    #[error(transparent)]
    Admin(#[from] admin::Error),
    #[error("{0}")]
    Command(String),
    /// The user answered no; success.
    #[error("Ending your session")]
    Ended,
}

type Result<T> = std::result::Result<T, Error>;

/// What the command line asks for.
struct Command {
    zookeeper: String,
    entity: EntityType,
    name: Option<String>,
    alter: bool,
    options: OptionSet,
}

/// What is wrong with a command line.
enum Wrong {
    Options(jopt::Error),
    /// The genuine tool dies of an IllegalArgumentException with this text.
    Argument(&'static str),
}

impl From<jopt::Error> for Wrong {
    fn from(e: jopt::Error) -> Wrong {
        Wrong::Options(e)
    }
}

fn run(args: &[String]) -> ExitCode {
    match parse(args) {
        Ok(command) => runtime::run(connect_and_run(command)),
        Err(Wrong::Options(e)) => e.report(),
        Err(Wrong::Argument(text)) => {
            eprintln!("Exception in thread \"main\" java.lang.IllegalArgumentException: {text}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String]) -> std::result::Result<Command, Wrong> {
    let parser = parser();
    let options = parser.parse(args)?;
    if args.is_empty() {
        return Err(parser
            .usage_error("Add/Remove entity (topics/clients) configs")
            .into());
    }
    let has = |name| options.has(name);
    if has("alter") == has("describe") {
        let rule = "Command must include exactly one action: --describe, --alter";
        return Err(parser.usage_error(rule).into());
    }
    check_required_args(&parser, &options, &["zookeeper", "entity-type"])?;
    check_invalid_args(&parser, &options, "describe", &["add-config", "delete-config"])?;
    if has("alter") && !has("entity-name") {
        return Err(Wrong::Argument("--entity-name must be specified with --alter"));
    }
    if has("alter") && !options.has_any(&["add-config", "delete-config"]) {
        let rule = "At least one of --add-config or --delete-config must be specified with --alter";
        return Err(Wrong::Argument(rule));
    }
    let entity = EntityType::parse(&options.value("entity-type")?.unwrap_or_default())
        .ok_or(Wrong::Argument("--entity-type must be 'topics' or 'clients'"))?;
    Ok(Command {
        zookeeper: options.value("zookeeper")?.unwrap_or_default(),
        entity,
        name: options.value("entity-name")?,
        alter: has("alter"),
        options,
    })
}

fn parser() -> OptionParser {
    let mut p = OptionParser::new();
    session::accept_zookeeper(&mut p);
    p.accepts("alter", "Alter the configuration for the entity.");
    p.accepts("describe", "List configs for the given entity.");
    p.accepts("entity-type", "Type of entity (topics/clients)")
        .with_required_arg();
    p.accepts("entity-name", "Name of entity (topic name/client id)")
        .with_required_arg();
    let of_topics: String = topic::KEYS
        .iter()
        .map(|key| format!("\t{}\n", key.name))
        .collect();
    let of_clients = admin::CLIENT_RATES.map(|name| format!("\t{name}")).join("\n");
    p.accepts(
        "add-config",
        &format!(
            "Key Value pairs configs to add 'k1=v1,k2=v2'. The following is a list of valid configurations: For entity_type 'topics': \n{of_topics}For entity_type 'clients': \n{of_clients}"
        ),
    )
    .with_required_arg()
    .values_separated_by(',');
    p.accepts("delete-config", "config keys to remove 'k1,k2'")
        .with_required_arg()
        .values_separated_by(',');
    p.accepts("help", "Print usage information.");
    p
}

async fn connect_and_run(command: Command) -> ExitCode {
    let session = match session::connect(&command.zookeeper).await {
        Ok(session) => session,
        Err(code) => return code,
    };
    let done = match command.alter {
        true => command.alter(&session).await,
        false => command.describe(&session).await,
    };
    session.close().await;
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Ended) => {
            println!("{}", Error::Ended);
            ExitCode::SUCCESS
        }
        Err(e) => {
            // Without a colon, and of topics also when a client is meant: the genuine words.
            println!("Error while executing topic command {e}");
            ExitCode::FAILURE
        }
    }
}

impl Command {
    async fn alter(&self, session: &Session) -> Result<()> {
        let added = self.added()?;
        let deleted = self.options.values("delete-config")?;
        confirm_large_messages(&added)?;
        let name = self.name.as_deref().unwrap_or_default();
        let mut settings = admin::fetch_config(session, self.entity, name).await?;
        settings.extend(added);
        for key in deleted {
            settings.remove(key.trim());
        }
        match self.entity {
            EntityType::Topic => {
                admin::change_topic_config(session, name, &settings).await?;
                println!("Updated config for topic: \"{name}\".");
            }
            EntityType::Client => {
                admin::change_client_config(session, name, &settings).await?;
                println!("Updated config for clientId: \"{name}\".");
            }
        }
        Ok(())
    }

    /// `--add-config name=value,…`
    fn added(&self) -> Result<Settings> {
        let mut settings = Settings::new();
        for typed in self.options.values("add-config")? {
            // Java's split drops empty parts at the end.
            let parts: Vec<&str> = typed.trim_end_matches('=').split('=').collect();
            let [name, value] = parts[..] else {
                let rule = "requirement failed: Invalid entity config: all configs to be added must be in the format \"key=val\".";
                return Err(Error::Command(rule.to_owned()));
            };
            settings.insert(name.trim().to_owned(), value.trim().to_owned());
        }
        Ok(settings)
    }

    async fn describe(&self, session: &Session) -> Result<()> {
        let names = match &self.name {
            Some(name) => vec![name.clone()],
            None => admin::configured(session, self.entity).await?,
        };
        for name in names {
            let settings = admin::fetch_config_in_order(session, self.entity, &name).await?;
            let settings: Vec<String> = settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
            println!(
                "Configs for {}:{name} are {}",
                self.entity.name(),
                settings.join(",")
            );
        }
        Ok(())
    }
}

/// Asks before messages become larger than brokers take by default.
fn confirm_large_messages(settings: &Settings) -> Result<()> {
    let Some(asked) = settings.get("max.message.bytes") else {
        return Ok(());
    };
    let size: i32 = asked
        .parse()
        .map_err(|_| Error::Command(format!("For input string: \"{asked}\"")))?;
    match large_messages::is_large(size) && !large_messages::confirm(size) {
        true => Err(Error::Ended),
        false => Ok(()),
    }
}
