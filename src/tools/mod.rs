//! The programs of the one binary: which there are, and how the one that is meant is found and run.
//!
//! A program is chosen by the name the executable was started under (a symlink `kafka-topics`), else by
//! the first argument: our program name or the Java class name that Kafka's launchers pass. What a
//! program does is in its own file; this one knows only the table.
//!
//! Read in this order: this file, [`options`] (the option parser of 0.9's programs), [`logging`]
//! (log4j.properties), then one file per program.

pub mod arguments;
mod check;
mod configs;
mod console;
mod console_consumer;
mod console_producer;
mod consumer_groups;
mod consumer_offset_checker;
mod consumer_performance;
mod dev;
mod dump_log_segments;
mod end_to_end_latency;
mod export_zk_offsets;
mod get_offset_shell;
mod import_zk_offsets;
mod large_messages;
pub mod logging;
mod mirror_maker;
mod old_groups;
pub mod options;
mod parent;
mod perf_options;
mod preferred_replica_election;
mod producer_performance;
mod reassign_partitions;
mod replay_log_producer;
mod replica_verification;
pub mod runtime;
mod server_start;
mod server_stop;
mod service;
mod session;
pub mod signals;
mod simple_consumer_shell;
mod state_change_log_merger;
pub mod stop;
pub mod topics;
mod update_offsets_in_zk;
mod verifiable_consumer;
mod verifiable_producer;
mod verify_consumer_rebalance;
pub mod zookeeper_server_start;
pub mod zookeeper_server_stop;
pub mod zookeeper_shell;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// The name of its launcher without suffix, `kafka-topics`.
    pub name: &'static str,
    /// The class name that Kafka's launchers pass, `kafka.admin.TopicCommand`.
    pub class: &'static str,
    /// Runs it with the arguments that follow the name; returns what the process exits with.
    pub run: fn(&[String]) -> ExitCode,
}

/// All programs, sorted by name. One row per program; `tests/it/launchers.rs` compares `bin/` with it.
pub static TOOLS: &[Tool] = &[
    check::TOOL,
    configs::TOOL,
    console_consumer::TOOL,
    console_producer::TOOL,
    consumer_groups::TOOL,
    consumer_offset_checker::TOOL,
    consumer_performance::TOOL,
    Tool {
        name: "kafka-dev",
        class: "kafka.Dev",
        run: dev::run,
    },
    Tool {
        name: "kafka-dump-log",
        class: "kafka.tools.DumpLogSegments",
        run: dump_log_segments::run,
    },
    end_to_end_latency::TOOL,
    export_zk_offsets::TOOL,
    get_offset_shell::TOOL,
    import_zk_offsets::TOOL,
    state_change_log_merger::TOOL,
    mirror_maker::TOOL,
    preferred_replica_election::TOOL,
    producer_performance::TOOL,
    reassign_partitions::TOOL,
    replay_log_producer::TOOL,
    replica_verification::TOOL,
    Tool {
        name: "kafka-server-start",
        class: server_start::CLASS,
        run: server_start::run,
    },
    Tool {
        name: "kafka-server-stop",
        class: "kafka-server-stop",
        run: server_stop::run,
    },
    service::TOOL,
    simple_consumer_shell::TOOL,
    Tool {
        name: "kafka-topics",
        class: "kafka.admin.TopicCommand",
        run: topics::run,
    },
    update_offsets_in_zk::TOOL,
    verifiable_consumer::TOOL,
    verifiable_producer::TOOL,
    verify_consumer_rebalance::TOOL,
    Tool {
        name: "zookeeper-server-start",
        class: zookeeper_server_start::CLASS,
        run: zookeeper_server_start::run,
    },
    Tool {
        name: "zookeeper-server-stop",
        class: "zookeeper-server-stop",
        run: zookeeper_server_stop::run,
    },
    Tool {
        name: "zookeeper-shell",
        class: zookeeper_shell::CLASS,
        run: zookeeper_shell::run,
    },
];

/// `-Dname=value` arguments, as a JVM's system properties.
static SYSTEM_PROPERTIES: OnceLock<BTreeMap<String, String>> = OnceLock::new();

/// The value of `-Dname=value` on the command line, `None` when it was not given.
pub fn system_property(name: &str) -> Option<&'static str> {
    SYSTEM_PROPERTIES
        .get()
        .and_then(|all| all.get(name))
        .map(String::as_str)
}

/// Runs the program that `args` (with the executable's path first) asks for.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    end_quietly_on_closed_pipe();
    let mut args = args.into_iter();
    let executable = args.next().unwrap_or_default();
    let mut args: Vec<String> = args.map(|a| a.to_string_lossy().into_owned()).collect();
    take_system_properties(&mut args);
    if let Some(tool) = find(&program_name(Path::new(&executable))) {
        return run(tool, &args);
    }
    let Some(first) = args.first().cloned() else {
        return list_programs();
    };
    if matches!(first.as_str(), "--help" | "-h" | "-help" | "help") {
        return list_programs();
    }
    match find(&first) {
        Some(tool) => run(tool, &args[1..]),
        None => {
            eprintln!("Error: Could not find or load main class {first}");
            eprintln!("There is no program of this name or Java class; `kafka --help` lists the programs.");
            ExitCode::FAILURE
        }
    }
}

fn run(tool: &Tool, args: &[String]) -> ExitCode {
    logging::init(match tool.name {
        "kafka-server-start" | "zookeeper-server-start" => logging::Fallback::Server,
        _ => logging::Fallback::Tool,
    });
    (tool.run)(args)
}

/// Classes that stand for another row's program.
const OTHER_CLASSES: &[(&str, &str)] = &[(zookeeper_shell::WRAPPER_CLASS, zookeeper_shell::CLASS)];

/// The row of a program name (`kafka-topics`, or `topics` for short) or class name.
pub fn find(name: &str) -> Option<&'static Tool> {
    let other = OTHER_CLASSES.iter().find(|(class, _)| *class == name);
    let name = other.map_or(name, |(_, class)| *class);
    TOOLS
        .iter()
        .find(|t| t.name == name || t.class == name || t.name.strip_prefix("kafka-") == Some(name))
}

/// The executable's file name as a program name: no directory, no `.exe`, `.sh` or `.bat`.
fn program_name(executable: &Path) -> String {
    let name = executable.file_name().unwrap_or_default().to_string_lossy();
    [".exe", ".sh", ".bat"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(&name)
        .to_string()
}

/// Takes the JVM's options away from the front: `-Dname=value` is kept as a system property, the others
/// that KAFKA_OPTS and its kin may hold steer a JVM and mean nothing here.
fn take_system_properties(args: &mut Vec<String>) {
    let mut properties = BTreeMap::new();
    let mut count = 0;
    for arg in args.iter() {
        if let Some(property) = arg.strip_prefix("-D") {
            let (name, value) = property.split_once('=').unwrap_or((property, ""));
            properties.insert(name.to_string(), value.to_string());
        } else if !["-X", "-javaagent:", "-agentlib:", "-server", "-ea"]
            .iter()
            .any(|p| arg.starts_with(p))
        {
            break;
        }
        count += 1;
    }
    args.drain(..count);
    // A second call in one process, in tests only, keeps the first call's properties.
    let _ = SYSTEM_PROPERTIES.set(properties);
}

fn list_programs() -> ExitCode {
    let width = TOOLS.iter().map(|t| t.name.len()).max().unwrap_or(0);
    let mut text =
        String::from("usage: kafka PROGRAM [ARGUMENT...]\n\nprograms (the Java class names work too):\n");
    for tool in TOOLS {
        text += &format!("  {:width$}  {}\n", tool.name, tool.class);
    }
    print(&text)
}

/// Writes `text` to standard output. A reader that went away is success: it had what it wanted.
pub fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if !is_closed_pipe(&e) => {
            eprintln!("cannot write to standard output: {e}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Whether the error says that the other end of a pipe is gone. Windows has three codes for it, of which
/// std maps two to [`io::ErrorKind::BrokenPipe`].
pub fn is_closed_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
        || (cfg!(windows) && matches!(error.raw_os_error(), Some(109 | 232 | 233)))
}

/// `println!` panics when its reader is gone (`kafka-topics --list | head -1`): ends the process with 0
/// then, as a Unix program would. Every other panic is reported as usual.
fn end_quietly_on_closed_pipe() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or("");
        let codes: &[&str] = if cfg!(windows) {
            &["109", "232", "233"]
        } else {
            &["32"]
        };
        if text.starts_with("failed printing to std")
            && codes.iter().any(|c| text.contains(&format!("(os error {c})")))
        {
            std::process::exit(0);
        }
        report(panic);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_name_loses_directory_and_suffix() {
        assert_eq!(
            program_name(Path::new("/opt/kafka/bin/kafka-topics")),
            "kafka-topics"
        );
        assert_eq!(program_name(Path::new("kafka-topics.sh")), "kafka-topics");
        assert_eq!(program_name(Path::new("kafka.exe")), "kafka");
    }

    #[test]
    fn jvm_options_before_the_class_are_taken_away() {
        let mut args: Vec<String> = ["-Xmx1G", "-Da.b=c=d", "-server", "kafka.Kafka", "-Dx=y"]
            .map(String::from)
            .to_vec();
        take_system_properties(&mut args);
        assert_eq!(args, ["kafka.Kafka", "-Dx=y"]);
        assert_eq!(system_property("a.b"), Some("c=d"));
    }

    #[test]
    fn every_name_and_class_is_there_once() {
        // A program without a Java class has its own name in the class's place.
        let own = |t: &'static Tool| std::iter::once(t.name).chain((t.class != t.name).then_some(t.class));
        let mut names: Vec<&str> = TOOLS.iter().flat_map(own).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(TOOLS.is_sorted_by_key(|t| t.name), "sorted by name");
    }
}
