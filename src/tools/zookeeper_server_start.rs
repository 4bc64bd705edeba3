//! org.apache.zookeeper.server.quorum.QuorumPeerMain: the bundled ZooKeeper server, from its properties
//! file until it is told to end.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ::log::{error, info, warn};

use super::signals::{Ending, Signals};
use super::stop::StopRequests;
use super::{runtime, system_property};
use crate::config::{KeeperConfig, Properties};
use crate::keeper::Keeper;
use crate::util::clock::Clock;

/// The class that Kafka's launcher passes.
pub const CLASS: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

const USAGE: &str = "Usage: ZooKeeperServerMain configfile | port datadir [ticktime] [maxcnxns]";
/// The loggers' names in ZooKeeper.
const CONFIG: &str = "org.apache.zookeeper.server.quorum.QuorumPeerConfig";
const SERVER: &str = "org.apache.zookeeper.server.ZooKeeperServerMain";

/// A file asked for is wrong or missing, or the arguments are.
const INVALID: u8 = 2;
/// The log cannot be written.
const DISK_FAILED: u8 = 11;
/// Harnesses that read a line at a time see the line about the port only when another one follows.
const ANOTHER_LINE: Duration = Duration::from_millis(150);

/// System properties that ZooKeeper reads beside its file.
const SYSTEM: [&str; 7] = [
    "snapCount",
    "preAllocSize",
    "globalOutstandingLimit",
    "forceSync",
    "skipACL",
    "4lw.commands.whitelist",
    "extendedTypesEnabled",
];
/// Those without its prefix.
const BARE_SYSTEM: [&str; 2] = ["jute.maxbuffer", "fsync.warningthresholdms"];

/// Exit code 143 and 130 after SIGTERM and SIGINT as a JVM has it, 2 for a wrong configuration, 1 when
/// the server cannot start, 11 when its disk fails.
pub fn run(args: &[String]) -> ExitCode {
    let properties = match args {
        [flag] if matches!(flag.as_str(), "--help" | "-h" | "-help") => {
            return super::print(&format!("{USAGE}\n"));
        }
        [file] => {
            info!(target: CONFIG, "Reading configuration from: {file}");
            Properties::load(Path::new(file)).map_err(|e| e.to_string())
        }
        [port, dir, rest @ ..] if rest.len() <= 2 => Ok(from_arguments(port, dir, rest)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(INVALID);
        }
    };
    let read = properties.and_then(|mut properties| {
        take_system_properties(&mut properties);
        KeeperConfig::from_properties(&properties).map_err(|mistakes| mistakes.to_string())
    });
    let (config, warnings) = match read {
        Ok(read) => read,
        Err(mistakes) => {
            for line in mistakes.lines() {
                error!(target: SERVER, "Invalid config, exiting abnormally: {line}");
            }
            eprintln!("Invalid config, exiting abnormally");
            return ExitCode::from(INVALID);
        }
    };
    for warning in warnings {
        warn!(target: CONFIG, "{warning}");
    }
    runtime::run(serve(config))
}

fn from_arguments(port: &str, dir: &str, rest: &[String]) -> Properties {
    let mut properties = Properties::new();
    properties.set("clientPort", port, "the command line");
    properties.set("dataDir", dir, "the command line");
    for (key, value) in ["tickTime", "maxClientCnxns"].into_iter().zip(rest) {
        properties.set(key, value, "the command line");
    }
    properties
}

/// What the file says wins.
fn take_system_properties(properties: &mut Properties) {
    let prefixed = SYSTEM.map(|key| (key, format!("zookeeper.{key}")));
    let bare = BARE_SYSTEM.map(|key| (key, key.to_owned()));
    for (key, name) in prefixed.into_iter().chain(bare) {
        if let (Some(value), None) = (system_property(&name), properties.get(key)) {
            properties.set(key, value, &format!("-D{name}"));
        }
    }
}

async fn serve(config: KeeperConfig) -> ExitCode {
    let clock = Clock::system();
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(e) => {
            error!(target: SERVER, "cannot listen for signals: {e}");
            return ExitCode::FAILURE;
        }
    };
    let requests = match StopRequests::listen(CLASS, clock.clone()) {
        Ok(requests) => requests,
        Err(e) => {
            error!(target: SERVER, "cannot listen for stop requests: {e}");
            return ExitCode::FAILURE;
        }
    };
    info!(target: SERVER, "Starting server");
    let keeper = match Keeper::start(config, clock.clone()) {
        Ok(keeper) => keeper,
        Err(e) => {
            error!(target: SERVER, "Unexpected exception, exiting abnormally: {e}");
            return ExitCode::FAILURE;
        }
    };
    let said = async {
        clock.sleep(ANOTHER_LINE).await;
        info!(target: SERVER, "serving clients on port {}", keeper.port());
        std::future::pending::<()>().await;
    };
    let ending = tokio::select! {
        ending = signals.next() => ending,
        () = requests.asked() => Ending::Interrupted,
        error = keeper.failed() => {
            error!(target: SERVER, "Severe unrecoverable error, exiting: {error}");
            return ExitCode::from(DISK_FAILED);
        }
        () = said => Ending::Interrupted,
    };
    keeper.stop().await;
    info!(target: SERVER, "shutdown complete");
    ExitCode::from(ending.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_and_directory_may_stand_in_for_a_file() {
        let rest = ["500".to_owned(), "7".to_owned()];
        let properties = from_arguments("2181", "/d", &rest);
        let (config, _) = KeeperConfig::from_properties(&properties).unwrap();
        assert_eq!(config.client_port, 2181);
        assert_eq!(config.tick, Duration::from_millis(500));
        assert_eq!(config.max_client_cnxns, 7);
    }
}
