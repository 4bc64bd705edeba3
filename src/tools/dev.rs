//! `kafka dev`: a cluster for the desk. ZooKeeper and a broker in this process, ready in a moment,
//! gone without a trace unless told otherwise. What it does is [`crate::dev`]; this file reads the
//! command line and waits for the end.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use ::log::{error, info};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::parent::Parent;
use super::runtime;
use super::signals::Signals;
use crate::dev::{DevCluster, DevSettings};
use crate::util::clock::Clock;
use crate::util::fs;

/// Runs until it is told to end, or its parent does.
pub(super) fn run(args: &[String]) -> ExitCode {
    let words = std::iter::once("kafka dev".into()).chain(args.iter().map(OsString::from));
    let options = match command().try_get_matches_from(words) {
        Ok(options) => options,
        Err(e) => {
            // Help and version are no errors to clap either: they go to standard output with 0.
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(1));
        }
    };
    let parent = options.get_flag("exit-with-parent").then(Parent::of_this_process);
    runtime::run(serve(&options, parent))
}

fn command() -> Command {
    let port = |name: &'static str, default: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("PORT")
            .value_parser(value_parser!(u16))
            .default_value(default)
    };
    Command::new("kafka dev")
        .about("A ZooKeeper and brokers in one process, for development and tests")
        .arg(
            Arg::new("brokers")
                .long("brokers")
                .value_name("NUMBER")
                .value_parser(value_parser!(u16).range(1..=100))
                .default_value("1")
                .help("How many brokers, each with the port after the one before"),
        )
        .arg(port("port", "9092").help("The first broker's port; 0 takes free ones"))
        .arg(port("zookeeper-port", "2181").help("ZooKeeper's port; 0 takes a free one"))
        .arg(
            Arg::new("data-dir")
                .long("data-dir")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Keeps the data there; without it, it goes at the end"),
        )
        .arg(
            Arg::new("topics")
                .long("topics")
                .value_name("NAME[:PARTITIONS],...")
                .value_delimiter(',')
                .value_parser(topic)
                .action(ArgAction::Append)
                .help("Makes these topics before it is ready"),
        )
        .arg(
            Arg::new("override")
                .long("override")
                .value_name("KEY=VALUE")
                .value_parser(key_value)
                .action(ArgAction::Append)
                .help("A line of server.properties"),
        )
        .arg(
            Arg::new("ready-file")
                .long("ready-file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Writes the line with the addresses there too, once clients can use them"),
        )
        .arg(
            Arg::new("exit-with-parent")
                .long("exit-with-parent")
                .action(ArgAction::SetTrue)
                .help("Ends when the process that started it ends, however that happens"),
        )
}

fn topic(text: &str) -> Result<(String, i32), String> {
    let (name, partitions) = text.split_once(':').unwrap_or((text, "1"));
    match partitions.parse() {
        Ok(n) if n > 0 => Ok((name.to_owned(), n)),
        _ => Err(format!("{partitions} is no number of partitions")),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

fn settings(options: &ArgMatches) -> DevSettings {
    let many = |name: &str| options.get_many(name).unwrap_or_default().cloned().collect();
    let number = |name: &str| *options.get_one::<u16>(name).expect("it has a default");
    DevSettings {
        brokers: number("brokers"),
        port: number("port"),
        zookeeper_port: number("zookeeper-port"),
        data_dir: options.get_one("data-dir").cloned(),
        topics: many("topics"),
        overrides: options
            .get_many("override")
            .unwrap_or_default()
            .cloned()
            .collect(),
        clock: Clock::system(),
    }
}

async fn serve(options: &ArgMatches, parent: Option<Parent>) -> ExitCode {
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(e) => return failed(&format!("cannot listen for signals: {e}")),
    };
    let orphaned = async {
        match parent {
            Some(parent) => parent.gone(&Clock::system()).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(orphaned);

    let starting = DevCluster::start(settings(options));
    let cluster = tokio::select! {
        started = starting => match started {
            Ok(cluster) => cluster,
            Err(e) => return failed(&e.to_string()),
        },
        // What was started so far ends by being dropped, the temporary directory with it.
        _ = signals.next() => return ExitCode::SUCCESS,
        () = &mut orphaned => return ExitCode::SUCCESS,
    };
    let line = format!(
        "bootstrap.servers={} zookeeper.connect={}\n",
        cluster.bootstrap_servers(),
        cluster.zookeeper_connect()
    );
    let announced = match options.get_one::<PathBuf>("ready-file") {
        Some(file) => fs::replace(file, line.as_bytes()).map_err(|e| e.to_string()),
        None => Ok(()),
    };
    let mut code = match announced {
        Ok(()) => super::print(&line),
        Err(e) => failed(&e),
    };
    if code == ExitCode::SUCCESS {
        tokio::select! {
            _ = signals.next() => info!("asked to stop"),
            () = &mut orphaned => info!("the parent process is gone"),
            why = cluster.failed() => code = failed(&why),
        }
    }
    cluster.stop().await;
    code
}

fn failed(why: &str) -> ExitCode {
    error!("{why}");
    eprintln!("kafka dev: {why}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_becomes_settings() {
        let words = [
            "kafka dev",
            "--port",
            "0",
            "--topics",
            "a:3,b",
            "--override",
            "k=v=w",
        ];
        let options = command().try_get_matches_from(words).unwrap();
        let s = settings(&options);
        assert_eq!((s.port, s.zookeeper_port), (0, 2181));
        assert_eq!(s.topics, [("a".to_owned(), 3), ("b".to_owned(), 1)]);
        assert_eq!(s.overrides, [("k".to_owned(), "v=w".to_owned())]);
        assert!(s.data_dir.is_none());
        for bad in [["kafka dev", "--topics", "a:0"], ["kafka dev", "--override", "k"]] {
            assert!(command().try_get_matches_from(bad).is_err(), "{bad:?}");
        }
    }
}
