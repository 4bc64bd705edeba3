//! Stops the brokers of this machine, in order.

use std::process::ExitCode;

use super::server_start::CLASS;
use super::signals::Ending;
use super::stop;

/// Takes no arguments. Exit code 0 if a broker was asked to end, 1 if there was none.
pub(super) fn run(arguments: &[String]) -> ExitCode {
    if !arguments.is_empty() {
        // Asking what this does must not stop anything.
        println!("USAGE: kafka-server-stop");
        return ExitCode::FAILURE;
    }
    match stop::ask_all(CLASS, Ending::Terminated) {
        Ok(0) => {
            println!("No kafka server to stop");
            ExitCode::FAILURE
        }
        Ok(_) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("cannot look for running brokers: {e}");
            ExitCode::FAILURE
        }
    }
}
