//! kafka.tools.ImportZkOffsets: writes offsets from a file of [`super::export_zk_offsets`] into ZooKeeper.
//!
//! The whole file is understood before anything is written. The original splits lines at the first colon,
//! which may be part of a group's name, writes whatever stands behind it, and stops at an empty line.

use std::process::ExitCode;

use ::log::{debug, error};

use super::old_groups;
use super::options::{OptionParser, OptionSet};
use super::{Tool, runtime, session};
use crate::message::Offset;
use crate::zookeeper::znodes::consumer::encode_offset;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-import-zk-offsets",
    class: "kafka.tools.ImportZkOffsets",
    run,
};

const LOGGER: &str = "kafka.tools.ImportZkOffsets$";

fn parser() -> OptionParser {
    let mut p = OptionParser::new();
    old_groups::accept_connect(&mut p, "zkconnect");
    p.accepts("input-file", "Input file").with_required_arg();
    p.accepts("help", "Print this message.");
    p
}

fn run(args: &[String]) -> ExitCode {
    let purpose = "Import offsets to zookeeper from files.";
    match old_groups::understood(&parser(), args, purpose, "input-file") {
        Ok(options) => runtime::run(import(options)),
        Err(code) => code,
    }
}

/// The nodes and offsets of a file; what is wrong with its first bad line.
fn entries(text: &str) -> Result<Vec<(String, Offset)>, String> {
    let lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty());
    let entry = |(number, line): (usize, &str)| {
        let (path, offset) = line.trim_end().rsplit_once(':').unwrap_or((line, ""));
        let levels: Vec<&str> = path.split('/').collect();
        match (&levels[..], offset.parse::<Offset>()) {
            (["", "consumers", group, "offsets", topic, partition], Ok(offset))
                if !group.is_empty() && !topic.is_empty() && partition.parse::<i32>().is_ok() =>
            {
                Ok((path.to_owned(), offset))
            }
            _ => Err(format!(
                "line {number} is not /consumers/GROUP/offsets/TOPIC/PARTITION:OFFSET: {line}"
            )),
        }
    };
    lines.map(entry).collect()
}

async fn import(options: OptionSet) -> ExitCode {
    let text = |name| options.value(name).map(Option::unwrap_or_default);
    let (connect, file) = match (text("zkconnect"), text("input-file")) {
        (Ok(connect), Ok(file)) => (connect, file),
        (Err(e), _) | (_, Err(e)) => return e.report(),
    };
    let bytes = match session::read_file(&file) {
        Ok(bytes) => bytes,
        Err(e) => return old_groups::uncaught("java.io.FileNotFoundException", &e),
    };
    let entries = match entries(&String::from_utf8_lossy(&bytes)) {
        Ok(entries) => entries,
        Err(e) => return old_groups::uncaught("kafka.common.KafkaException", &format!("{file}: {e}")),
    };
    let session = match session::connect(&connect).await {
        Ok(session) => session,
        Err(code) => return code,
    };
    let mut code = ExitCode::SUCCESS;
    for (path, offset) in entries {
        debug!(target: LOGGER, "updating [{path}] with offset [{offset}]");
        if let Err(e) = session.put(&path, encode_offset(offset).as_bytes()).await {
            error!(target: LOGGER, "{path} is not set to {offset}: {e}");
            code = ExitCode::FAILURE;
        }
    }
    session.close().await;
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_in_a_groups_name_is_no_end() {
        let text = "/consumers/a:b/offsets/t/3:17\n\n/consumers/g/offsets/t/0:5\r\n";
        let expected = [
            ("/consumers/a:b/offsets/t/3", 17),
            ("/consumers/g/offsets/t/0", 5),
        ];
        assert_eq!(
            entries(text),
            Ok(expected.map(|(p, o)| (p.to_owned(), o)).to_vec())
        );
    }

    #[test]
    fn a_line_that_is_something_else_is_named_and_nothing_is_taken() {
        for bad in [
            "/consumers/g/offsets/t/0",
            "/consumers/g/offsets/t/0:",
            "/consumers/g/offsets/t/0:x",
            "/consumers/g/offsets/t/1-0:5",
            "/consumers//offsets/t/1:5",
            "/brokers/topics/t:1",
        ] {
            let text = format!("/consumers/g/offsets/t/0:5\n{bad}\n");
            let error = entries(&text).unwrap_err();
            assert!(error.starts_with("line 2 ") && error.ends_with(bad), "{error}");
        }
    }
}
