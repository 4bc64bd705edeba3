//! kafka.tools.StateChangeLogMerger, line by line: `tests/golden/state-change.txt` is what the genuine tool
//! printed of the logs in `tests/golden/state-change`.

use std::process::Command;
use std::time::Duration;

use crate::support::program::{kafka, run};
use crate::support::{genuine, golden, reference, root};

const LIMIT: Duration = Duration::from_secs(120);
const CLASS: &str = "kafka.tools.StateChangeLogMerger";

/// The command lines; a file's name stands for its path.
const LINES: &[&str] = &[
    "",
    "--topic orders",
    "--logs state-change.log --logs-regex x",
    "--logs state-change.log --partitions 1",
    "--logs state-change.log",
    "--logs state-change.log,state-change.log.2016-02-16-10,other.log,odd.log,empty.log",
    "--logs other.log,state-change.log.2016-02-16-10,state-change.log",
    "--logs state-change.log,state-change.log,state-change.log",
    "--logs odd.log,other.log --topic orders",
    "--logs state-change.log,other.log,odd.log --topic orders --partitions 1,2",
    "--logs state-change.log,other.log --topic a.b_c --partitions 3",
    "--logs state-change.log --topic nothing",
    "--logs state-change.log,odd.log --topic orders --partitions 1,2,1",
    "--logs state-change.log --topic orders --partitions one",
    "--logs state-change.log,other.log --start-time 2016-02-16|10:38:47,250 --end-time 2016-02-16|10:38:50,000",
    "--logs state-change.log --start-time \"2016-02-16|10:38:47,250\"",
    "--logs state-change.log --start-time yesterday",
    "--logs state-change.log --end-time 2016-02-16",
    "--logs odd.log --end-time 2016-02-16|10:38:45,9999",
    "--logs no-such.log",
    "--logs-regex state-change\\.log$",
    "--logs-regex no-such-file",
];

fn record(tool: impl Fn() -> Command) -> String {
    let dir = root().join("tests/golden/state-change");
    let mut recording = String::new();
    for line in LINES {
        let mut command = tool();
        command.current_dir(&dir).args(golden::words(line));
        let done = run(command, b"", LIMIT);
        let code = done.status.code().unwrap_or(-1);
        let mut printed = String::new();
        for shown in golden::printed(&done, |line| line.starts_with("\tat ")).lines() {
            // The genuine table names an object in the place of the format; its rows are laid out by it.
            if shown.starts_with("E|--end-time") || shown.starts_with("E|Option ") {
                printed += "E|the table\n";
                break;
            }
            printed += &format!("{shown}\n");
        }
        // A file that cannot be read is named in the words of the system.
        if printed.starts_with("E|Exception in thread \"main\" java.io.FileNotFoundException: no-such.log")
            || printed.starts_with("E|cannot read no-such.log: ")
        {
            printed = "E|no-such.log cannot be read\n".to_owned();
        }
        recording += &format!("$ {line} => {code}\n{printed}");
    }
    recording
}

#[test]
fn logs_are_merged_as_the_genuine_tool_merges_them() {
    let path = root().join("tests/golden/state-change.txt");
    if std::env::var_os("REWRITE_GOLDEN").is_some() {
        need!(reference());
        std::fs::write(&path, record(|| genuine::command(&["run", CLASS]))).unwrap();
    }
    let ours = record(|| {
        let mut command = kafka();
        command.arg(CLASS);
        command
    });
    let wanted = std::fs::read_to_string(path).unwrap();
    for (case, wanted) in ours.split("$ ").zip(wanted.split("$ ")) {
        assert_eq!(case, wanted);
    }
    assert_eq!(ours, wanted);
}
