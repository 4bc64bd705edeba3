//! kafka.Kafka: a broker, from its properties file until it is told to end.

use std::path::Path;
use std::process::ExitCode;

use ::log::{error, warn};

use super::options::{self, OptionParser, parse_key_value_args};
use super::runtime;
use super::signals::{Ending, Signals};
use super::stop::StopRequests;
use crate::config::{BrokerConfig, Properties};
use crate::server::Broker;
use crate::util::clock::Clock;

const USAGE: &str = "USAGE: java [options] KafkaServer server.properties [--override property=value]*";

/// The class that Kafka's launcher passes.
pub(super) const CLASS: &str = "kafka.Kafka";

/// Exit code 0 after an end in order that nobody asked for by a signal, 143 and 130 after SIGTERM and
/// SIGINT as a JVM has it, 1 when the broker cannot start or its disk fails.
pub(super) fn run(args: &[String]) -> ExitCode {
    let properties = match properties(args) {
        Ok(properties) => properties,
        Err(code) => return code,
    };
    let (config, warnings) = match BrokerConfig::from_properties(&properties) {
        Ok(read) => read,
        Err(mistakes) => {
            for line in mistakes.to_string().lines() {
                error!(target: TARGET, "{line}");
            }
            return ExitCode::FAILURE;
        }
    };
    for warning in warnings {
        warn!(target: TARGET, "{warning}");
    }
    runtime::run(serve(config))
}

/// The logger's name in 0.9.
const TARGET: &str = "kafka.server.KafkaServer";

fn parser() -> OptionParser {
    let mut parser = OptionParser::new();
    parser
        .accepts(
            "override",
            "Optional property that should override values set in server.properties file",
        )
        .with_required_arg();
    parser
}

/// The file's settings with the overrides over them, or the exit code after saying what is wrong.
fn properties(args: &[String]) -> Result<Properties, ExitCode> {
    let parser = parser();
    let usage = |e: options::Error| e.report();
    let Some(file) = args.first() else {
        return Err(usage(parser.usage_error(USAGE)));
    };
    if file == "--help" {
        return Err(super::print(&format!("{USAGE}\n{}", parser.help())));
    }
    let mut properties = Properties::load(Path::new(file)).map_err(|e| {
        eprintln!("{e}");
        ExitCode::FAILURE
    })?;
    let options = parser.parse(&args[1..]).map_err(usage)?;
    let strangers = options.non_option_arguments();
    if !strangers.is_empty() {
        let text = format!("Found non argument parameters: {}", strangers.join(","));
        return Err(usage(parser.usage_error(&text)));
    }
    let overrides = options.values("override").map_err(usage)?;
    for (key, value) in parse_key_value_args(&overrides).map_err(usage)? {
        properties.set(&key, &value, "--override");
    }
    Ok(properties)
}

async fn serve(config: BrokerConfig) -> ExitCode {
    let clock = Clock::system();
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(e) => {
            error!(target: TARGET, "cannot listen for signals: {e}");
            return ExitCode::FAILURE;
        }
    };
    let requests = match StopRequests::listen(CLASS, clock.clone()) {
        Ok(requests) => requests,
        Err(e) => {
            error!(target: TARGET, "cannot listen for stop requests: {e}");
            return ExitCode::FAILURE;
        }
    };
    let mut told = async || {
        tokio::select! {
            ending = signals.next() => ending,
            () = requests.asked() => Ending::Terminated,
        }
    };
    let broker = match Broker::start_unless(config, clock, told()).await {
        Ok(Ok(broker)) => broker,
        Ok(Err(ending)) => return ExitCode::from(ending.exit_code()),
        Err(e) => {
            error!(target: TARGET, "Fatal error during KafkaServer startup. Prepare to shutdown: {e}");
            return ExitCode::FAILURE;
        }
    };
    let ending = tokio::select! {
        ending = told() => ending,
        why = broker.failed() => {
            error!(target: TARGET, "{why}");
            return ExitCode::FAILURE;
        }
    };
    match ending {
        Ending::Closing => broker.stop_soon().await,
        Ending::Interrupted | Ending::Terminated => broker.stop().await,
    }
    ExitCode::from(ending.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn overrides_win_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.properties");
        std::fs::write(&file, "port=1\nbroker.id=3\n").unwrap();
        let file = file.to_str().unwrap();
        let p = properties(&words(&[
            file,
            "--override",
            "port=2",
            "--override",
            "num.partitions=5",
        ]))
        .unwrap();
        assert_eq!(p.get("port"), Some("2"));
        assert_eq!(p.get("num.partitions"), Some("5"));
        assert_eq!(p.get("broker.id"), Some("3"));
        assert!(properties(&words(&[file, "stray"])).is_err());
        assert!(properties(&words(&["no such file"])).is_err());
        assert!(properties(&[]).is_err());
    }
}
