//! The options of kafka-topics, and what they must not be combined with.

use crate::config::topic;
use crate::tools::options::{
    ArgType, OptionParser, OptionSet, Result, check_invalid_args, check_required_args,
};
use crate::tools::session;

/// Of these exactly one is asked for.
pub(super) const ACTIONS: [&str; 5] = ["create", "list", "alter", "describe", "delete"];

/// The words that declare the options.
pub(super) fn parser() -> OptionParser {
    let mut p = OptionParser::new();
    session::accept_zookeeper(&mut p);
    p.accepts("list", "List all available topics.");
    p.accepts("create", "Create a new topic.");
    p.accepts("delete", "Delete a topic");
    p.accepts(
        "alter",
        "Alter the number of partitions, replica assignment, and/or configuration for the topic.",
    );
    p.accepts("describe", "List details for the given topics.");
    p.accepts("help", "Print usage information.");
    p.accepts(
        "topic",
        "The topic to be create, alter or describe. Can also accept a regular expression except for --create option",
    )
    .with_required_arg()
    .described_as("topic");
    let settings: String = topic::KEYS
        .iter()
        .map(|key| format!("\t{}\n", key.name))
        .collect();
    p.accepts(
        "config",
        &format!(
            "A topic configuration override for the topic being created or altered.The following is a list of valid configurations: \n{settings}See the Kafka documentation for full details on the topic configs."
        ),
    )
    .with_required_arg()
    .described_as("name=value");
    p.accepts(
        "delete-config",
        "A topic configuration override to be removed for an existing topic (see the list of configurations under the --config option).",
    )
    .with_required_arg()
    .described_as("name");
    p.accepts(
        "partitions",
        "The number of partitions for the topic being created or altered (WARNING: If partitions are increased for a topic that has a key, the partition logic or ordering of the messages will be affected",
    )
    .with_required_arg()
    .described_as("# of partitions")
    .of_type(ArgType::Integer);
    p.accepts(
        "replication-factor",
        "The replication factor for each partition in the topic being created.",
    )
    .with_required_arg()
    .described_as("replication factor")
    .of_type(ArgType::Integer);
    p.accepts(
        "replica-assignment",
        "A list of manual partition-to-broker assignments for the topic being created or altered.",
    )
    .with_required_arg()
    .described_as(
        "broker_id_for_part1_replica1 : broker_id_for_part1_replica2 , broker_id_for_part2_replica1 : broker_id_for_part2_replica2 , ...",
    );
    p.accepts(
        "under-replicated-partitions",
        "if set when describing topics, only show under replicated partitions",
    );
    p.accepts(
        "unavailable-partitions",
        "if set when describing topics, only show partitions whose leader is not available",
    );
    p.accepts(
        "topics-with-overrides",
        "if set when describing topics, only show topics that have overridden configs",
    );
    p
}

/// Refuses what does not go together (TopicCommandOptions.checkArgs).
pub(super) fn check(parser: &OptionParser, options: &OptionSet) -> Result<()> {
    if ACTIONS.iter().filter(|action| options.has(action)).count() != 1 {
        return Err(parser.usage_error(
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete",
        ));
    }
    check_required_args(parser, options, &["zookeeper"])?;
    if !options.has_any(&["list", "describe"]) {
        check_required_args(parser, options, &["topic"])?;
    }
    let but = |allowed: &[&str]| -> Vec<&str> {
        let others = ACTIONS.into_iter().filter(|a| !allowed.contains(a));
        others.collect()
    };
    let invalid = |used, invalid: &[&str]| check_invalid_args(parser, options, used, invalid);
    invalid("config", &but(&["alter", "create"]))?;
    invalid("delete-config", &but(&["alter"]))?;
    invalid("partitions", &but(&["alter", "create"]))?;
    invalid("replication-factor", &but(&["create"]))?;
    invalid("replica-assignment", &but(&["create", "alter"]))?;
    if options.has("create") {
        invalid("replica-assignment", &["partitions", "replication-factor"])?;
    }
    let filters = [
        "under-replicated-partitions",
        "unavailable-partitions",
        "topics-with-overrides",
    ];
    for used in filters {
        let mut others = but(&["describe"]);
        others.extend(filters.iter().filter(|f| **f != used));
        invalid(used, &others)?;
    }
    Ok(())
}
