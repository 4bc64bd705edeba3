//! zookeeper-shell (org.apache.zookeeper.ZooKeeperMain of 3.4): a shell for the nodes of a ZooKeeper.
//!
//! Commands come from standard input, one per line; at a terminal with history and completion. A
//! command given behind the options is run alone, and the exit code says whether it succeeded (3.4.6
//! does not run it at all). Results go to standard output, stats, confirmations and errors to standard
//! error, as in the genuine shell.
//!
//! Read this file (start and loop), then `commands`, `quota`, `lines` (where lines come from).

mod commands;
mod lines;
mod quota;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self::commands::Shell;
use self::lines::Lines;
use crate::util::clock::Clock;
use crate::zookeeper::{self, ConnectString, Session, SessionSettings};

/// The Java class that the launchers name.
pub const CLASS: &str = "org.apache.zookeeper.ZooKeeperMain";
/// The class that Kafka wraps around it.
pub const WRAPPER_CLASS: &str = "kafka.tools.ZooKeeperMainWrapper";

/// The session of the moment; none after `close`.
type Current = Arc<Mutex<Option<Session>>>;

/// The command line.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    server: String,
    timeout: Duration,
    /// The command to run alone; empty for none.
    command: Vec<String>,
}

impl Options {
    /// Everything from the first word that is no option on is the command.
    fn parse(args: &[String]) -> Options {
        let mut options = Options {
            server: "localhost:2181".into(),
            timeout: Duration::from_secs(30),
            command: Vec::new(),
        };
        let mut args = args.iter();
        while let Some(word) = args.next() {
            match word.as_str() {
                "-server" | "-timeout" => match args.next() {
                    Some(value) if word == "-server" => options.server.clone_from(value),
                    Some(value) => match value.parse() {
                        Ok(ms) => options.timeout = Duration::from_millis(ms),
                        Err(_) => eprintln!("Error: not a number for option -timeout: {value}"),
                    },
                    None => {
                        eprintln!("Error: no argument found for option {word}");
                        return options;
                    }
                },
                other if other.starts_with('-') => {}
                _ => {
                    options.command.push(word.clone());
                    options.command.extend(args.by_ref().cloned());
                }
            }
        }
        options
    }
}

/// Runs the program.
pub fn run(args: &[String]) -> ExitCode {
    let options = Options::parse(args);
    // One thread: what a watch prints never comes into the middle of what a command prints.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(main(options));
            // A thread may still wait for a line.
            runtime.shutdown_background();
            code
        }
        Err(e) => {
            eprintln!("cannot start: {e}");
            ExitCode::FAILURE
        }
    }
}

async fn main(options: Options) -> ExitCode {
    let terminal = options.command.is_empty() && lines::is_terminal();
    println!("Connecting to {}", options.server);
    if options.command.is_empty() {
        println!("Welcome to ZooKeeper!");
        // The genuine shell has the same choice of two lines.
        let editing = if terminal { "enabled" } else { "disabled" };
        println!("JLine support is {editing}");
    }
    let current: Current = Arc::default();
    let mut shell = Shell::new(options.server.clone(), options.timeout, Arc::clone(&current));
    match ConnectString::parse(&options.server) {
        // Unlike a server that is not there yet, which is waited for.
        Ok(servers) if servers.resolve().await.is_empty() => {
            eprintln!("Cannot resolve any server of {}", options.server);
            return ExitCode::FAILURE;
        }
        _ => {}
    }
    let mut lines = options
        .command
        .is_empty()
        .then(|| Lines::start(terminal, Arc::clone(&current)));
    let mut first = None;
    if let Some(lines) = lines.as_mut().filter(|_| !terminal) {
        // Nobody is waited for on behalf of no command.
        first = lines.next(String::new()).await;
        if first.is_none() {
            return ExitCode::SUCCESS;
        }
    }
    if let Err(e) = shell.connect(&options.server).await {
        eprintln!("{e}");
        return ExitCode::FAILURE;
    }
    let code = match lines {
        Some(lines) => {
            read_commands(&mut shell, first, lines).await;
            ExitCode::SUCCESS
        }
        None if shell.execute(&options.command).await => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    };
    shell.close().await;
    code
}

/// Executes the line that was read already, then those to come.
async fn read_commands(shell: &mut Shell, mut read: Option<String>, mut lines: Lines) {
    loop {
        let line = match read.take() {
            Some(line) => line,
            None => match lines.next(shell.prompt()).await {
                Some(line) => line,
                None => return,
            },
        };
        if line.is_empty() {
            continue;
        }
        shell.execute_line(&line).await;
        // Watches that the command fired come before the next one's output.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        if shell.is_done() {
            return;
        }
    }
}

/// Establishes a session.
async fn connect(server: &str, timeout: Duration) -> zookeeper::Result<Session> {
    let settings = SessionSettings {
        session_timeout: timeout,
        connection_timeout: timeout,
    };
    Session::connect(server, settings, Clock::system()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_that_is_no_option_begins_the_command() {
        let words = |text: &str| -> Vec<String> { text.split(' ').map(String::from).collect() };
        let options = Options::parse(&words("-server h:1/c -r -timeout 500 create -e /a b"));
        assert_eq!(options.server, "h:1/c");
        assert_eq!(options.timeout, Duration::from_millis(500));
        assert_eq!(options.command, ["create", "-e", "/a", "b"]);
        assert!(Options::parse(&words("-server")).command.is_empty());
    }
}
