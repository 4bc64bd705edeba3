//! kafka-reassign-partitions (kafka.admin.ReassignPartitionsCommand): proposes, starts and checks moves of
//! partitions between brokers, by way of ZooKeeper.

use std::process::ExitCode;

use ::log::error;

use super::options::{self as jopt, OptionParser, OptionSet, check_required_args};
use super::{Tool, runtime, session};
use crate::admin::reassign::{self, MoveStatus};
use crate::admin::{self};
use crate::cluster::{BrokerId, TopicPartition};
use crate::zookeeper::znodes::{self, admin::Move};
use crate::zookeeper::{self, Session};

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-reassign-partitions",
    class: "kafka.admin.ReassignPartitionsCommand",
    run,
};

const PURPOSE: &str = "This command moves topic partitions between replicas.";
/// Of these exactly one is asked for.
const ACTIONS: [&str; 3] = ["generate", "execute", "verify"];
/// What each action cannot do without, and what it says then.
const NEEDS_FILE: [(&str, &str); 2] = [
    (
        "verify",
        "If --verify option is used, command must include --reassignment-json-file that was used during the --execute option",
    ),
    (
        "execute",
        "If --execute option is used, command must include --reassignment-json-file that was output during the --generate option",
    ),
];

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
}

type Result<T> = std::result::Result<T, Error>;

fn parser() -> OptionParser {
    let mut p = OptionParser::new();
    session::accept_zookeeper(&mut p);
    let mut text = |name: &str, what: &str, help: &str| {
        p.accepts(name, help).with_required_arg().described_as(what);
    };
    text(
        "reassignment-json-file",
        "manual assignment json file path",
        "The JSON file with the partition reassignment configurationThe format to use is - \n{\"partitions\":\n\t[{\"topic\": \"foo\",\n\t  \"partition\": 1,\n\t  \"replicas\": [1,2,3] }],\n\"version\":1\n}",
    );
    text(
        "topics-to-move-json-file",
        "topics to reassign json file path",
        "Generate a reassignment configuration to move the partitions of the specified topics to the list of brokers specified by the --broker-list option. The format to use is - \n{\"topics\":\n\t[{\"topic\": \"foo\"},{\"topic\": \"foo1\"}],\n\"version\":1\n}",
    );
    text(
        "broker-list",
        "brokerlist",
        "The list of brokers to which the partitions need to be reassigned in the form \"0,1,2\". This is required if --topics-to-move-json-file is used to generate reassignment configuration",
    );
    p.accepts(
        "generate",
        "Generate a candidate partition reassignment configuration. Note that this only generates a candidate assignment, it does not execute it.",
    );
    p.accepts(
        "execute",
        "Kick off the reassignment as specified by the --reassignment-json-file option.",
    );
    p.accepts(
        "verify",
        "Verify if the reassignment completed as specified by the --reassignment-json-file option.",
    );
    p
}

fn check(parser: &OptionParser, options: &OptionSet) -> jopt::Result<()> {
    if ACTIONS.iter().filter(|action| options.has(action)).count() != 1 {
        return Err(
            parser.usage_error("Command must include exactly one action: --generate, --execute or --verify")
        );
    }
    check_required_args(parser, options, &["zookeeper"])?;
    for (action, message) in NEEDS_FILE {
        if options.has(action) && !options.has("reassignment-json-file") {
            return Err(parser.usage_error(message));
        }
    }
    let both = options.has("topics-to-move-json-file") && options.has("broker-list");
    if options.has("generate") && !both {
        return Err(parser.usage_error(
            "If --generate option is used, command must include both --topics-to-move-json-file and --broker-list options",
        ));
    }
    Ok(())
}

fn run(args: &[String]) -> ExitCode {
    let parser = parser();
    if args.is_empty() {
        return parser.usage_error(PURPOSE).report();
    }
    let parsed = parser.parse(args).and_then(|options| {
        check(&parser, &options)?;
        let connect = options.value("zookeeper")?.unwrap_or_default();
        Ok((options, connect))
    });
    match parsed {
        Ok((options, connect)) => runtime::run(connect_and_run(options, connect)),
        Err(e) => e.report(),
    }
}

async fn connect_and_run(options: OptionSet, connect: String) -> ExitCode {
    let session = match session::connect(&connect).await {
        Ok(session) => session,
        Err(code) => return code,
    };
    let done = if options.has("verify") {
        verify(&session, &options).await
    } else if options.has("generate") {
        generate(&session, &options).await
    } else {
        execute(&session, &options).await
    };
    session.close().await;
    match done {
        Ok(code) => code,
        // 0.9.0.1 exits with 0 here, and a script goes on.
        Err(e) => {
            println!("Partitions reassignment failed due to {e}");
            error!("{e}");
            ExitCode::FAILURE
        }
    }
}

async fn generate(session: &Session, options: &OptionSet) -> Result<ExitCode> {
    let brokers = brokers(&text(options, "broker-list")?)?;
    reassign::check_lists_to_spread(&[], &brokers)?;
    let file = session::read_file(&text(options, "topics-to-move-json-file")?).map_err(Error::Command)?;
    let topics = unless_syntax(znodes::admin::decode_topics_to_move(&file))?;
    reassign::check_lists_to_spread(&topics, &brokers)?;
    let current = reassign::current_replicas(session, &topics).await?;
    let proposed = reassign::propose(&topics, &current, &brokers)?;
    // Collected anew in the order of the proposal.
    let topics: Vec<String> = proposed.iter().map(|(at, _)| at.topic.to_string()).collect();
    let current = reassign::current_replicas(session, &topics).await?;
    let text = format!(
        "Current partition replica assignment\n\n{}\nProposed partition reassignment configuration\n\n{}\n",
        json(&current),
        json(&proposed)
    );
    Ok(super::print(&text))
}

async fn execute(session: &Session, options: &OptionSet) -> Result<ExitCode> {
    let name = text(options, "reassignment-json-file")?;
    let file = session::read_file(&name).map_err(Error::Command)?;
    let moves = unless_syntax(znodes::admin::decode_moves(&file))?;
    if moves.is_empty() {
        let text = format!("Partition reassignment data file {name} is empty");
        return Err(Error::Command(text));
    }
    reassign::check_moves(&moves)?;
    let topics: Vec<String> = moves.iter().map(|(at, _)| at.topic.to_string()).collect();
    let current = reassign::current_replicas(session, &topics).await?;
    println!(
        "Current partition replica assignment\n\n{}\n\nSave this to use as the --reassignment-json-file option during rollback",
        json(&current)
    );
    let wished = reassign::as_map(moves.clone());
    if reassign::reassign(session, &wished).await? {
        println!(
            "Successfully started reassignment of partitions {}",
            json(&wished)
        );
        return Ok(ExitCode::SUCCESS);
    }
    let pairs: Vec<String> = moves
        .iter()
        .map(|(at, to)| format!("({at},List({}))", joined(to, ", ")))
        .collect();
    println!("Failed to reassign partitions List({})", pairs.join(", "));
    Ok(ExitCode::FAILURE)
}

async fn verify(session: &Session, options: &OptionSet) -> Result<ExitCode> {
    let file = session::read_file(&text(options, "reassignment-json-file")?).map_err(Error::Command)?;
    let moves = reassign::as_map(unless_syntax(znodes::admin::decode_moves(&file))?);
    let mut text = String::from("Status of partition reassignment:\n");
    let statuses = reassign::move_statuses(session, &moves).await?;
    for ((at, wished), status) in moves.iter().zip(&statuses) {
        if let MoveStatus::Failed(assigned) = status {
            text.push_str(&mismatch(at, assigned, wished));
        }
    }
    for ((at, _), status) in moves.iter().zip(&statuses) {
        let end = match status {
            MoveStatus::Completed => "completed successfully",
            MoveStatus::InProgress => "is still in progress",
            MoveStatus::Failed(_) => "failed",
        };
        text.push_str(&format!("Reassignment of partition {at} {end}\n"));
    }
    Ok(super::print(&text))
}

fn mismatch(at: &TopicPartition, assigned: &[BrokerId], wished: &[BrokerId]) -> String {
    format!(
        "ERROR: Assigned replicas ({}) don't match the list of replicas for reassignment ({}) for partition {at}\n",
        joined(assigned, ","),
        joined(wished, ",")
    )
}

fn text(options: &OptionSet, option: &str) -> Result<String> {
    Ok(options.value(option)?.unwrap_or_default())
}

/// `1,2,3`; Java's split drops empty parts at the end.
fn brokers(list: &str) -> Result<Vec<BrokerId>> {
    let number = |id: &str| match id.parse() {
        Ok(id) => Ok(BrokerId(id)),
        Err(_) => Err(Error::Command(format!("For input string: \"{id}\""))),
    };
    list.trim_end_matches(',').split(',').map(number).collect()
}

/// What is no JSON at all counts as an empty list, as in 0.9.0.1.
fn unless_syntax<T>(read: znodes::Result<Vec<T>>) -> Result<Vec<T>> {
    match read {
        Err(znodes::Error::Syntax { .. }) => Ok(Vec::new()),
        read => read.map_err(|e| Error::Command(e.to_string())),
    }
}

fn json(moves: &[Move]) -> String {
    znodes::admin::encode_reassignment(moves.iter().map(|(at, replicas)| (at, replicas)))
}

fn joined(ids: &[BrokerId], separator: &str) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(separator)
}
