//! kafka-consumer-groups (kafka.admin.ConsumerGroupCommand): lists groups, shows how far they have come,
//! and removes old ones; of old consumers by way of ZooKeeper, of new ones by way of brokers.
//!
//! `zookeeper` and `brokers` are the two ways. What fails later than the command line is told on standard
//! output (the genuine tool lets its trace follow) and, unlike there, exit code 1.

mod brokers;
mod zookeeper;

use std::fmt;
use std::process::ExitCode;

use super::options::{self, OptionParser, OptionSet, check_invalid_args, check_required_args};
use super::{Tool, runtime};
use crate::cluster::TopicPartition;
use crate::message::Offset;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-consumer-groups",
    class: "kafka.admin.ConsumerGroupCommand",
    run,
};

const HEADER: &str = "GROUP, TOPIC, PARTITION, CURRENT OFFSET, LOG END OFFSET, LAG, OWNER";

/// One line of a description.
struct Row<'a> {
    group: &'a str,
    at: &'a TopicPartition,
    offset: Option<Offset>,
    end: Option<Offset>,
    owner: Option<String>,
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_unknown = |n: Option<Offset>| n.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
        let known = self.offset.filter(|offset| *offset != -1);
        let lag = known.and_then(|offset| Some(self.end? - offset));
        write!(
            f,
            "{}, {}, {}, {}, {}, {}, {}",
            self.group,
            self.at.topic,
            self.at.partition,
            or_unknown(self.offset),
            or_unknown(self.end),
            or_unknown(lag),
            self.owner.as_deref().unwrap_or("none")
        )
    }
}

fn parser() -> OptionParser {
    let mut p = OptionParser::new();
    let mut text = |name: &str, what: &str, help: &str| {
        p.accepts(name, help).with_required_arg().described_as(what);
    };
    text(
        "zookeeper",
        "urls",
        "REQUIRED (unless new-consumer is used): The connection string for the zookeeper connection in the form host:port. Multiple URLS can be given to allow fail-over.",
    );
    text(
        "bootstrap-server",
        "server to connect to",
        "REQUIRED (only when using new-consumer): The server to connect to.",
    );
    text("group", "consumer group", "The consumer group we wish to act on.");
    text(
        "topic",
        "topic",
        "The topic whose consumer group information should be deleted.",
    );
    p.accepts("list", "List all consumer groups.");
    p.accepts(
        "describe",
        "Describe consumer group and list offset lag related to given group.",
    );
    p.accepts(
        "delete",
        "Pass in groups to delete topic partition offsets and ownership information over the entire consumer group. For instance --group g1 --group g2\n\
         Pass in groups with a single topic to just delete the given topic's partition offsets and ownership information for the given consumer groups. For instance --group g1 --group g2 --topic t1\n\
         Pass in just a topic to delete the given topic's partition offsets and ownership information for every consumer group. For instance --topic t1\n\
         WARNING: Group deletion only works for old ZK-based consumer groups, and one has to use it carefully to only delete groups that are not active.",
    );
    p.accepts("new-consumer", "Use new consumer.");
    p.accepts(
        "command-config",
        "Property file containing configs to be passed to Admin Client and Consumer.",
    )
    .with_required_arg()
    .described_as("command config property file");
    p
}

fn parse(args: &[String]) -> options::Result<OptionSet> {
    let parser = parser();
    let options = parser.parse(args)?;
    if args.is_empty() {
        return Err(parser.usage_error(
            "List all consumer groups, describe a consumer group, or delete consumer group info.",
        ));
    }
    let actions = ["list", "describe", "delete"];
    if actions.iter().filter(|a| options.has(a)).count() != 1 {
        return Err(
            parser.usage_error("Command must include exactly one action: --list, --describe, --delete")
        );
    }
    if options.has("new-consumer") {
        check_required_args(&parser, &options, &["bootstrap-server"])?;
        if options.has("zookeeper") {
            return Err(parser.usage_error("Option [zookeeper] is not valid with [new-consumer]"));
        }
        if options.has("delete") {
            return Err(parser.usage_error(
                "Option [delete] is not valid with [new-consumer]. Note that there's no need to delete group metadata for the new consumer as it is automatically deleted when the last member leaves",
            ));
        }
    } else {
        check_required_args(&parser, &options, &["zookeeper"])?;
        if options.has("bootstrap-server") {
            return Err(parser.usage_error("Option [bootstrap-server] is only valid with [new-consumer]"));
        }
    }
    if options.has("describe") {
        check_required_args(&parser, &options, &["group"])?;
    }
    if options.has("delete") && !options.has_any(&["group", "topic"]) {
        return Err(parser.usage_error("Option [delete] either takes [group], [topic], or both"));
    }
    check_invalid_args(&parser, &options, "group", &["list"])?;
    check_invalid_args(&parser, &options, "topic", &["list", "describe"])?;
    Ok(options)
}

fn run(args: &[String]) -> ExitCode {
    let options = match parse(args) {
        Ok(options) => options,
        Err(e) => return e.report(),
    };
    if options.has("new-consumer") {
        runtime::run(brokers::carry_out(options))
    } else {
        runtime::run(zookeeper::carry_out(options))
    }
}

/// The end of a command.
fn told<E: fmt::Display>(done: Result<(), E>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            println!("Error while executing consumer group command {e}");
            ExitCode::FAILURE
        }
    }
}
