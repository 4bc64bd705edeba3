//! Stops the bundled ZooKeeper servers of this machine.

use std::process::ExitCode;

use super::signals::Ending;
use super::stop;
use super::zookeeper_server_start::CLASS;

/// Exit code 0 if a server was asked to end, 1 if there was none.
pub fn run(_: &[String]) -> ExitCode {
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
