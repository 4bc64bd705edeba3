//! What the tools that work by way of ZooKeeper share: the session, and their files.

use std::process::ExitCode;
use std::time::Duration;

use super::options::OptionParser;
use crate::util::clock::Clock;
use crate::zookeeper::{Session, SessionSettings};

/// Both patiences of a tool with ZooKeeper.
const PATIENCE: Duration = Duration::from_secs(30);

/// Declares `--zookeeper`.
pub(super) fn accept_zookeeper(parser: &mut OptionParser) {
    parser
        .accepts(
            "zookeeper",
            "REQUIRED: The connection string for the zookeeper connection in the form host:port. Multiple URLS can be given to allow fail-over.",
        )
        .with_required_arg()
        .described_as("urls");
}

/// Connects to ZooKeeper; what is wrong has been said when this fails.
pub(super) async fn connect(connect: &str) -> Result<Session, ExitCode> {
    let settings = SessionSettings {
        session_timeout: PATIENCE,
        connection_timeout: PATIENCE,
    };
    Session::connect(connect, settings, Clock::system())
        .await
        .map_err(|e| {
            eprintln!("{e}");
            ExitCode::FAILURE
        })
}

/// A file's bytes, or why it cannot be read in the words of a JVM.
pub(super) fn read_file(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| no_file(path, &e))
}

/// Why a file cannot be opened, in the words of a JVM.
pub(super) fn no_file(path: &str, error: &std::io::Error) -> String {
    let reason = error.to_string();
    let reason = reason.split(" (os error").next().unwrap_or_default();
    format!("{path} ({reason})")
}
