//! kafka-preferred-replica-election (kafka.admin.PreferredReplicaLeaderElectionCommand): asks the
//! controller to give leaderships back to preferred replicas, by way of ZooKeeper.

use std::process::ExitCode;

use ::log::error;

use super::options::{self as jopt, OptionParser, check_required_args};
use super::{Tool, runtime, session};
use crate::admin::{self, elections};
use crate::cluster::TopicPartition;
use crate::zookeeper::znodes;
use crate::zookeeper::{self, Session};

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-preferred-replica-election",
    class: "kafka.admin.PreferredReplicaLeaderElectionCommand",
    run,
};

const PURPOSE: &str = "This tool causes leadership for each partition to be transferred back to the 'preferred replica', it can be used to balance leadership among the servers.";

/// Why no election was started.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Admin(#[from] admin::Error),
    #[error(transparent)]
    ZooKeeper(#[from] zookeeper::Error),
    #[error("{0}")]
    File(String),
    #[error("Preferred replica election data is empty")]
    Empty,
    #[error(transparent)]
    Unreadable(znodes::Error),
}

fn parser() -> OptionParser {
    let mut p = OptionParser::new();
    p.accepts(
        "path-to-json-file",
        "The JSON file with the list of partitions for which preferred replica leader election should be done, in the following format - \n{\"partitions\":\n\t[{\"topic\": \"foo\", \"partition\": 1},\n\t {\"topic\": \"foobar\", \"partition\": 2}]\n}\nDefaults to all existing partitions",
    )
    .with_required_arg()
    .described_as("list of partitions for which preferred replica leader election needs to be triggered");
    session::accept_zookeeper(&mut p);
    p
}

fn run(args: &[String]) -> ExitCode {
    let parser = parser();
    if args.is_empty() {
        return parser.usage_error(PURPOSE).report();
    }
    let parsed = || -> jopt::Result<(String, Option<String>)> {
        let options = parser.parse(args)?;
        check_required_args(&parser, &options, &["zookeeper"])?;
        let connect = options.value("zookeeper")?.unwrap_or_default();
        Ok((connect, options.value("path-to-json-file")?))
    };
    match parsed() {
        Ok((connect, file)) => runtime::run(connect_and_run(connect, file)),
        Err(e) => e.report(),
    }
}

async fn connect_and_run(connect: String, file: Option<String>) -> ExitCode {
    let session = match session::connect(&connect).await {
        Ok(session) => session,
        Err(code) => return code,
    };
    let done = start(&session, file).await;
    session.close().await;
    match done {
        Ok(partitions) => {
            println!(
                "Successfully started preferred replica election for partitions {}",
                elections::set_text(&partitions)
            );
            ExitCode::SUCCESS
        }
        // 0.9.0.1 exits with 0 here, and a script goes on.
        Err(e) => {
            println!("Failed to start preferred replica election");
            println!("{e}");
            error!("{e}");
            ExitCode::FAILURE
        }
    }
}

/// Returns what was asked for, partitions that do not exist among them.
async fn start(session: &Session, file: Option<String>) -> Result<Vec<TopicPartition>, Error> {
    let partitions = match file {
        None => elections::all_partitions(session).await?,
        Some(file) => {
            let data = session::read_file(&file).map_err(Error::File)?;
            elections::distinct(read(&data)?)?
        }
    };
    elections::elect_preferred(session, &partitions).await?;
    Ok(partitions)
}

fn read(data: &[u8]) -> Result<Vec<TopicPartition>, Error> {
    match znodes::admin::decode_partitions(data) {
        Err(znodes::Error::Syntax { .. } | znodes::Error::Missing("partitions")) => Err(Error::Empty),
        read => read.map_err(Error::Unreadable),
    }
}
