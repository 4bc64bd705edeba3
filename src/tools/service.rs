//! `kafka service`: a ZooKeeper or a broker that Windows starts with the machine, and again when it failed.
//!
//! Read this file (the command line), then `plan` (what is registered for a properties file; pure),
//! `manager` (asks Windows to do it), `being` (the service's own process).

#[cfg(windows)]
mod being;
#[cfg(windows)]
mod manager;
mod plan;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};

use self::plan::Plan;
use super::Tool;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-service",
    class: "kafka-service",
    run,
};

/// Why something did not happen.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The properties file is not good for a server.
    #[error(transparent)]
    Plan(#[from] plan::Error),
    /// There are no services here.
    #[error("services are Windows's own; this is another system")]
    #[cfg_attr(windows, allow(dead_code))]
    NotWindows,
    /// Windows refused.
    #[cfg(windows)]
    #[error("{doing} the service {name}: {why}")]
    Refused {
        doing: &'static str,
        name: String,
        why: String,
    },
    /// It was asked and does not get there.
    #[cfg(windows)]
    #[error("the service {name} is not {wanted} yet; its log is {}", log.display())]
    Late {
        name: String,
        wanted: &'static str,
        log: PathBuf,
    },
    /// Neither Windows nor a file knows where things are.
    #[error("{0}")]
    Other(String),
}

type Result<T> = std::result::Result<T, Error>;

/// Exit code 0 when it is done, 1 when not, 2 for a wrong command line.
fn run(args: &[String]) -> ExitCode {
    let words = std::iter::once("kafka service").chain(args.iter().map(String::as_str));
    let options = match command().try_get_matches_from(words) {
        Ok(options) => options,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(1));
        }
    };
    let (verb, options) = options.subcommand().expect("clap wants one");
    match perform(verb, options) {
        Ok(done) => {
            println!("{done}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("kafka service {verb}: {e}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .required(true)
        .help("The server's properties file; it says whether this is a ZooKeeper or a broker");
    let name = Arg::new("name").long("name").value_name("NAME").help(
        "The service's name; without it, made of what the server is and of its broker.id or clientPort",
    );
    let verb = |verb: &'static str, about: &'static str| {
        let verb = Command::new(verb).about(about);
        verb.arg(config.clone()).arg(name.clone())
    };
    let directory = Arg::new("directory")
        .long("directory")
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .help("Where relative paths in the file begin; without it, the current directory");
    Command::new("kafka service")
        .about("Runs a ZooKeeper or a broker as a Windows service")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            verb("install", "Registers the service; it starts with the machine").arg(directory.clone()),
        )
        .subcommand(verb("uninstall", "Stops the service and forgets it"))
        .subcommand(verb("start", "Starts the service and waits until it runs"))
        .subcommand(verb("stop", "Stops the service in order and waits for its end"))
        .subcommand(
            verb("run", "What Windows itself calls to start the service")
                .hide(true)
                .arg(directory),
        )
}

/// Does what the command line says; returns what to tell.
fn perform(verb: &str, options: &ArgMatches) -> Result<String> {
    let config: &PathBuf = options.get_one("config").expect("clap wants it");
    let name = options.get_one::<String>("name").map(String::as_str);
    let plan = Plan::read(&absolute(config)?, name, &place()?)?;
    match verb {
        "install" => {
            plan.check()?;
            let here = PathBuf::from(".");
            let directory = options.get_one::<PathBuf>("directory").unwrap_or(&here);
            system::install(&plan, &absolute(directory)?)
        }
        "uninstall" => system::uninstall(&plan),
        "start" => system::start(&plan),
        "stop" => system::stop(&plan),
        _ => system::run(
            plan,
            options.get_one::<PathBuf>("directory").map(PathBuf::as_path),
        ),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::Other(format!("{}: {e}", path.display())))
}

/// Where this program is.
fn place() -> Result<plan::Place> {
    let program = std::env::current_exe().map_err(|e| Error::Other(format!("cannot find myself: {e}")))?;
    Ok(plan::Place::of(program, |path| path.is_file()))
}

#[cfg(windows)]
mod system {
    pub(super) use super::being::run;
    pub(super) use super::manager::{install, start, stop, uninstall};
}

#[cfg(not(windows))]
mod system {
    use super::{Error, Path, Plan, Result};

    pub(super) fn install(plan: &Plan, directory: &Path) -> Result<String> {
        // What Windows would be told.
        let arguments = plan.arguments(directory).join(" ");
        ::log::debug!(
            "{} ({}): {arguments} {:?}",
            plan.name,
            plan.title(),
            plan.neighbours
        );
        Err(Error::NotWindows)
    }

    pub(super) fn uninstall(_: &Plan) -> Result<String> {
        Err(Error::NotWindows)
    }

    pub(super) fn start(_: &Plan) -> Result<String> {
        Err(Error::NotWindows)
    }

    pub(super) fn stop(_: &Plan) -> Result<String> {
        Err(Error::NotWindows)
    }

    pub(super) fn run(_: Plan, _: Option<&Path>) -> Result<String> {
        Err(Error::NotWindows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_names_what_to_do_and_with_which_file() {
        let parse = |words: &str| command().try_get_matches_from(words.split(' '));
        for verb in ["install", "uninstall", "start", "stop", "run"] {
            let options = parse(&format!("s {verb} --config a/b.properties --name n")).unwrap();
            let (found, options) = options.subcommand().unwrap();
            assert_eq!(found, verb);
            assert_eq!(
                options.get_one::<PathBuf>("config"),
                Some(&PathBuf::from("a/b.properties"))
            );
        }
        for wrong in [
            "s",
            "s install",
            "s restart --config f",
            "s start --config f more",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[cfg(not(windows))]
    #[test]
    fn elsewhere_it_says_that_there_are_no_services() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("zookeeper.properties");
        std::fs::write(&file, "dataDir=/d\nclientPort=2181\n").unwrap();
        let file = file.to_str().unwrap();
        for verb in ["install", "uninstall", "start", "stop", "run"] {
            let options = command()
                .try_get_matches_from(["s", verb, "--config", file])
                .unwrap();
            let (verb, options) = options.subcommand().unwrap();
            assert!(matches!(perform(verb, options), Err(Error::NotWindows)), "{verb}");
        }
    }
}
