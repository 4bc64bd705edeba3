//! Stops the bundled ZooKeeper servers of this machine.

use std::process::ExitCode;

use super::signals::Ending;
use super::stop;
use super::zookeeper_server_start::CLASS;

/// Takes no arguments. Exit code 0 if a server was asked to end, 1 if there was none.
pub(super) fn run(arguments: &[String]) -> ExitCode {
    if !arguments.is_empty() {
        // Asking what this does must not stop anything.
        println!("USAGE: zookeeper-server-stop");
        return ExitCode::FAILURE;
    }
    match stop::ask_all(CLASS, Ending::Interrupted) {
        Ok(0) => {
            println!("No zookeeper server to stop");
            ExitCode::FAILURE
        }
        Ok(_) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("cannot look for running servers: {e}");
            ExitCode::FAILURE
        }
    }
}
