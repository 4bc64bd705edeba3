//! kafka.tools.ExportZkOffsets: writes the offsets that groups keep in ZooKeeper into a file, a line
//! `/consumers/GROUP/offsets/TOPIC/PARTITION:OFFSET` each.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

use ::log::{debug, error};

use super::old_groups::{self, Error};
use super::options::{OptionParser, OptionSet};
use super::{Tool, runtime, session};
use crate::admin::groups;
use crate::zookeeper::{Session, paths};

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-export-zk-offsets",
    class: "kafka.tools.ExportZkOffsets",
    run,
};

const LOGGER: &str = "kafka.tools.ExportZkOffsets$";

/// Why the export ends before its end.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Groups(#[from] Error),
    #[error("cannot write {file}: {cause}")]
    Write { file: String, cause: std::io::Error },
}

fn parser() -> OptionParser {
    let mut p = OptionParser::new();
    old_groups::accept_connect(&mut p, "zkconnect");
    p.accepts("group", "Consumer group.").with_required_arg();
    p.accepts("output-file", "Output file").with_required_arg();
    p.accepts("help", "Print this message.");
    p
}

fn run(args: &[String]) -> ExitCode {
    let purpose = "Export consumer offsets to an output file.";
    match old_groups::understood(&parser(), args, purpose, "output-file") {
        Ok(options) => runtime::run(export(options)),
        Err(code) => code,
    }
}

async fn export(options: OptionSet) -> ExitCode {
    let words = (|| {
        let text = |name| options.value(name).map(Option::unwrap_or_default);
        Ok::<_, super::options::Error>((text("zkconnect")?, options.values("group")?, text("output-file")?))
    })();
    let (connect, groups, file) = match words {
        Ok(words) => words,
        Err(e) => return e.report(),
    };
    // Before anything is asked, as the original: a file that cannot be written is known at once.
    let mut out = match File::create(&file) {
        Ok(out) => BufWriter::new(out),
        Err(e) => return old_groups::uncaught("java.io.FileNotFoundException", &session::no_file(&file, &e)),
    };
    let session = match session::connect(&connect).await {
        Ok(session) => session,
        Err(code) => return code,
    };
    let done = write_all(&session, &groups, &mut out, &file).await;
    session.close().await;
    // What was found is kept, whatever came then.
    let flushed = out.flush().map_err(|cause| Failure::Write { file, cause });
    match done.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Groups(e @ Error::NoNode(_))) => {
            old_groups::uncaught("org.I0Itec.zkclient.exception.ZkNoNodeException", &e)
        }
        Err(e) => old_groups::uncaught("kafka.common.KafkaException", &e),
    }
}

/// Writes the offsets of `groups`, of all that have any if there are none.
async fn write_all(
    session: &Session,
    groups: &[String],
    out: &mut impl Write,
    file: &str,
) -> Result<(), Failure> {
    let all = match groups {
        [] => {
            let all = groups::consumer_groups(session).await.map_err(Error::from)?;
            all.ok_or_else(|| Error::NoNode(paths::CONSUMERS.to_owned()))?
        }
        some => some.to_vec(),
    };
    for group in all {
        let topics = groups::topics_with_offsets(session, &group)
            .await
            .map_err(Error::from)?;
        let Some(topics) = topics else {
            if groups.is_empty() {
                debug!(target: LOGGER, "group {group} has no offsets");
                continue;
            }
            return Err(Error::NoNode(paths::consumer_offsets(&group)).into());
        };
        for topic in topics {
            let names = groups::partitions_with_offsets(session, &group, &topic).await;
            for name in names.map_err(Error::from)? {
                let path = format!("{}/{name}", paths::consumer_topic_offsets(&group, &topic));
                let node = session.get(&path).await.map_err(Error::from)?;
                let Some(offset) = node.and_then(|node| node.data) else {
                    error!(target: LOGGER, "Could not retrieve offset value from {path}");
                    continue;
                };
                let line = writeln!(out, "{path}:{}", String::from_utf8_lossy(&offset));
                line.map_err(|cause| Failure::Write {
                    file: file.to_owned(),
                    cause,
                })?;
            }
        }
    }
    Ok(())
}
