//! kafka-topics (kafka.admin.TopicCommand): make, list, describe, alter and delete topics by way of
//! ZooKeeper, with 0.9.0.1's options, output and exit codes. Knows no broker.
//!
//! What is wrong with the command line as a whole goes to standard error with the table of options;
//! whatever fails later is one line on standard output, its trace's place in the log.

mod describe;
mod options;

use std::process::ExitCode;
use std::time::Duration;

use ::log::{error, warn};

use super::options::{self as jopt, OptionParser, OptionSet, check_required_args};
use super::{large_messages, runtime, session};
use crate::admin::{self, Settings};
use crate::client::topic_filter::TopicFilter;
use crate::cluster::topic::{OFFSETS_TOPIC, has_collision_chars};
use crate::config::LogConfig;
use crate::util::clock::Clock;
use crate::zookeeper::{self, Session, WatchedEvent, paths};

/// How long --delete looks whether the controller acts on the mark.
const DELETE_PATIENCE: Duration = Duration::from_secs(1);

/// What ends a command without success.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Options(#[from] jopt::Error),
    #[error(transparent)]
    Admin(#[from] admin::Error),
    #[error(transparent)]
    ZooKeeper(#[from] zookeeper::Error),
    #[error("{0}")]
    Command(String),
    /// The user answered no; success.
    #[error("Ending your session")]
    Ended,
}

type Result<T> = std::result::Result<T, Error>;

/// Runs the program.
pub fn run(args: &[String]) -> ExitCode {
    let parser = options::parser();
    if args.is_empty() {
        let usage = parser.usage_error("Create, delete, describe, or change a topic.");
        return usage.report();
    }
    let parsed = parser.parse(args).and_then(|parsed| {
        options::check(&parser, &parsed)?;
        Ok(parsed)
    });
    match parsed {
        Ok(parsed) => runtime::run(connect_and_run(parser, parsed)),
        Err(e) => e.report(),
    }
}

async fn connect_and_run(parser: OptionParser, options: OptionSet) -> ExitCode {
    let connect = match options.value("zookeeper") {
        Ok(connect) => connect.unwrap_or_default(),
        Err(e) => return e.report(),
    };
    let session = match session::connect(&connect).await {
        Ok(session) => session,
        Err(code) => return code,
    };
    let command = Command {
        session: &session,
        parser: &parser,
        options: &options,
        connect: &connect,
    };
    let done = command.run().await;
    session.close().await;
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Ended) => {
            println!("{}", Error::Ended);
            ExitCode::SUCCESS
        }
        Err(Error::Options(usage @ jopt::Error::Usage { .. })) => usage.report(),
        Err(e) => {
            println!("Error while executing topic command : {e}");
            error!("{e}");
            ExitCode::FAILURE
        }
    }
}

/// One run of the program.
struct Command<'a> {
    session: &'a Session,
    parser: &'a OptionParser,
    options: &'a OptionSet,
    /// `--zookeeper` as typed.
    connect: &'a str,
}

impl Command<'_> {
    async fn run(&self) -> Result<()> {
        let has = |action| self.options.has(action);
        if has("create") {
            self.create().await
        } else if has("alter") {
            self.alter().await
        } else if has("list") {
            self.list().await
        } else if has("describe") {
            describe::describe(self).await
        } else {
            self.delete().await
        }
    }

    fn text(&self, option: &str) -> Result<String> {
        Ok(self.options.value(option)?.unwrap_or_default())
    }

    /// The topics that `--topic` means as an expression; all without it.
    async fn topics(&self) -> Result<Vec<String>> {
        let mut topics = admin::topics(self.session).await?;
        if self.options.has("topic") {
            let filter = TopicFilter::whitelist(&self.text("topic")?);
            let filter = filter.map_err(|e| Error::Command(e.to_string()))?;
            topics.retain(|topic| filter.takes(topic, false));
        }
        Ok(topics)
    }

    /// As [`Command::topics`], but there must be one.
    async fn some_topics(&self) -> Result<Vec<String>> {
        let topics = self.topics().await?;
        if topics.is_empty() {
            let (topic, connect) = (self.text("topic")?, self.connect);
            let text = format!("Topic {topic} does not exist on ZK path {connect}");
            return Err(Error::Command(text));
        }
        Ok(topics)
    }

    async fn create(&self) -> Result<()> {
        let topic = self.text("topic")?;
        let settings = self.settings_to_add()?;
        if has_collision_chars(&topic) {
            println!(
                "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. To avoid issues it is best to use either, but not both."
            );
        }
        if self.options.has("replica-assignment") {
            let assignment = admin::parse_assignment(&self.text("replica-assignment")?)?;
            let replicas = assignment.values().next().map_or(0, Vec::len);
            confirm_large_messages(&settings, replicas)?;
            admin::create_topic_with_assignment(self.session, &topic, &assignment, &settings).await?;
        } else {
            check_required_args(self.parser, self.options, &["partitions", "replication-factor"])?;
            let partitions = self.options.int("partitions")?.unwrap_or(0);
            let replication = self.options.int("replication-factor")?.unwrap_or(0);
            let replicas = usize::try_from(replication).unwrap_or(0);
            confirm_large_messages(&settings, replicas)?;
            admin::create_topic(self.session, &topic, partitions, replication, &settings).await?;
        }
        println!("Created topic \"{topic}\".");
        Ok(())
    }

    async fn alter(&self) -> Result<()> {
        for topic in self.some_topics().await? {
            if self.options.has_any(&["config", "delete-config"]) {
                let mut settings = admin::fetch_topic_config(self.session, &topic).await?;
                println!(
                    "WARNING: Altering topic configuration from this script has been deprecated and may be removed in future releases."
                );
                println!("         Going forward, please use kafka-configs.sh for this functionality");
                settings.extend(self.settings_to_add()?);
                for name in self.settings_to_delete()? {
                    settings.remove(&name);
                }
                admin::change_topic_config(self.session, &topic, &settings).await?;
                println!("Updated config for topic \"{topic}\".");
            }
            if self.options.has("partitions") {
                if topic == OFFSETS_TOPIC {
                    let text = "The number of partitions for the offsets topic cannot be changed.";
                    return Err(Error::Command(text.to_owned()));
                }
                println!(
                    "WARNING: If partitions are increased for a topic that has a key, the partition logic or ordering of the messages will be affected"
                );
                let partitions = self.options.int("partitions")?.unwrap_or(0);
                let replicas = self.options.value("replica-assignment")?;
                admin::add_partitions(self.session, &topic, partitions, replicas.as_deref()).await?;
                println!("Adding partitions succeeded!");
            }
        }
        Ok(())
    }

    async fn list(&self) -> Result<()> {
        let topics = self.topics().await?;
        let marked = self.session.children(paths::DELETE_TOPICS).await?;
        let marked = marked.map(|(names, _)| names).unwrap_or_default();
        let mut text = String::new();
        for topic in topics {
            text.push_str(&topic);
            if marked.contains(&topic) {
                text.push_str(" - marked for deletion");
            }
            text.push('\n');
        }
        super::print(&text);
        Ok(())
    }

    async fn delete(&self) -> Result<()> {
        let mut marked = Vec::new();
        let done = async {
            for topic in self.some_topics().await? {
                if topic == OFFSETS_TOPIC {
                    return Err(admin::Error::Internal(topic).into());
                }
                match admin::delete_topic(self.session, &topic).await {
                    Ok(()) => {
                        println!("Topic {topic} is marked for deletion.");
                        println!("Note: This will have no impact if delete.topic.enable is not set to true.");
                        marked.push(topic);
                    }
                    Err(admin::Error::AlreadyMarked(_)) => {
                        println!("Topic {topic} is already marked for deletion.");
                    }
                    Err(_) => {
                        return Err(Error::Command(format!("Error while deleting topic {topic}")));
                    }
                }
            }
            Ok(())
        }
        .await;
        self.look_at_controller(&marked).await?;
        done
    }

    /// Looks for a moment whether the controller acts on the marks, and says so on standard error if
    /// it does not: the note above leaves the user guessing.
    async fn look_at_controller(&self, marked: &[String]) -> Result<()> {
        if marked.is_empty() {
            return Ok(());
        }
        if self.session.exists(paths::CONTROLLER).await?.is_none() {
            eprintln!("No broker is controller at present; the deletion waits for one.");
            return Ok(());
        }
        let clock = Clock::system();
        let deadline = clock.now() + DELETE_PATIENCE;
        let mut left = Vec::new();
        for topic in marked {
            let (node, watch) = self.session.get_watched(&paths::delete_topic(topic)).await?;
            let gone = node.is_none()
                || tokio::select! {
                    event = watch.fired() => event == WatchedEvent::Deleted,
                    () = clock.sleep_until(deadline) => false,
                };
            if !gone {
                left.push(topic.as_str());
            }
        }
        if !left.is_empty() {
            eprintln!(
                "Not deleted after {} ms: {}. Either delete.topic.enable is not true at the controller, or brokers with replicas are down.",
                DELETE_PATIENCE.as_millis(),
                left.join(", ")
            );
        }
        Ok(())
    }

    /// `--config name=value`, checked.
    fn settings_to_add(&self) -> Result<Settings> {
        let mut settings = Settings::new();
        for typed in self.options.values("config")? {
            // Java's split drops empty parts at the end.
            let parts: Vec<&str> = typed.trim_end_matches('=').split('=').collect();
            let [name, value] = parts[..] else {
                let rule = "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".";
                return Err(Error::Command(rule.to_owned()));
            };
            settings.insert(name.trim().to_owned(), value.trim().to_owned());
        }
        LogConfig::validate(&settings).map_err(|e| first_rule(&e))?;
        Ok(settings)
    }

    /// `--delete-config name`, checked.
    fn settings_to_delete(&self) -> Result<Vec<String>> {
        let names = self.options.values("delete-config")?;
        let names: Vec<String> = names.iter().map(|n| n.trim().to_owned()).collect();
        let checked = LogConfig::validate_names(names.iter().map(String::as_str));
        checked.map_err(|e| first_rule(&e))?;
        Ok(names)
    }
}

fn first_rule(errors: &crate::config::ConfigErrors) -> Error {
    Error::Command(errors.first_rule().to_owned())
}

/// Warns of messages larger than brokers take by default, and asks if there are replicas to suffer.
fn confirm_large_messages(settings: &Settings, replicas: usize) -> Result<()> {
    let asked = settings.get("max.message.bytes").and_then(|n| n.parse().ok());
    match asked.filter(|size| large_messages::is_large(*size)) {
        Some(size) if replicas > 1 => match large_messages::confirm(size) {
            true => Ok(()),
            false => Err(Error::Ended),
        },
        Some(size) => {
            warn!("{}", large_messages::short_warning(size));
            Ok(())
        }
        None => Ok(()),
    }
}
