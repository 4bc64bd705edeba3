//! kafka.tools.SimpleConsumerPerformance: how fast one partition is read from its leader, request by request.

use std::process::ExitCode;
use std::time::Duration;

use super::options::{ArgType, OptionParser, check_required_args};
use super::perf_options::{self, Refused, Report, Sum};
use super::{Tool, runtime};
use crate::client::{Connection, ConnectionSettings, HostPort, simple};
use crate::cluster::TopicPartition;
use crate::message::{Offset, flatten};
use crate::util::clock::Clock;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-simple-consumer-perf-test",
    class: "kafka.tools.SimpleConsumerPerformance",
    run,
};

/// What the original's socket waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

fn parser() -> OptionParser {
    use ArgType::{Integer, String};
    let mut p = OptionParser::new();
    perf_options::accept(&mut p);
    for (name, what, kind, default, help) in [
        (
            "server",
            "kafka://hostname:port",
            String,
            "",
            "REQUIRED: The hostname of the server to connect to.",
        ),
        (
            "partition",
            "partition",
            Integer,
            "0",
            "The topic partition to consume from.",
        ),
        (
            "fetch-size",
            "bytes",
            Integer,
            "1048576",
            "REQUIRED: The fetch size to use for consumption.",
        ),
        (
            "clientId",
            "clientId",
            String,
            "SimpleConsumerPerformanceClient",
            "The ID of this client.",
        ),
    ] {
        p.accepts_value(name, what, kind, default, help);
    }
    perf_options::accept_topic_to_consume(&mut p);
    p
}

/// What to read.
#[derive(Debug)]
struct Job {
    server: HostPort,
    at: TopicPartition,
    /// [`simple::EARLIEST`] or [`simple::LATEST`].
    from: i64,
    fetch_size: i32,
    client_id: String,
    /// Reading ends with the first answer after so many.
    messages: u64,
    report: Report,
}

fn run(args: &[String]) -> ExitCode {
    match prepare(&parser(), args) {
        Ok(job) => runtime::run(async {
            match measure(&job).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(text) => Refused::Thrown(text).report(),
            }
        }),
        Err(refused) => refused.report(),
    }
}

fn prepare(parser: &OptionParser, args: &[String]) -> Result<Job, Refused> {
    let options = parser.parse(args)?;
    check_required_args(parser, &options, &["topic", "server"])?;
    let url = options.value("server")?.unwrap_or_default();
    let address = url.split_once("://").map(|(_, rest)| rest.trim_end_matches('/'));
    let server = address.and_then(|text| HostPort::parse(text).ok());
    let server = server.ok_or_else(|| {
        Refused::Thrown(format!(
            "java.net.URISyntaxException: Expected kafka://hostname:port: {url}"
        ))
    })?;
    let partition = options.int("partition")?.unwrap_or_default();
    let from = match options.has("from-latest") {
        true => simple::LATEST,
        false => simple::EARLIEST,
    };
    // The original throws as soon as it looks at the number of messages.
    let messages = options
        .long("messages")?
        .ok_or_else(|| Refused::Thrown("java.lang.NullPointerException".to_owned()))?;
    Ok(Job {
        server,
        at: TopicPartition::new(options.value("topic")?.unwrap_or_default(), partition),
        from,
        fetch_size: options.int("fetch-size")?.unwrap_or_default(),
        client_id: options.value("clientId")?.unwrap_or_default(),
        messages: u64::try_from(messages).unwrap_or(0),
        report: Report::read(&options)?,
    })
}

async fn measure(job: &Job) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("kafka.common.KafkaException: {e}");
    job.report.head(" fetch.size,");
    let settings = ConnectionSettings {
        client_id: job.client_id.clone(),
        request_timeout: PATIENCE,
        connect_timeout: PATIENCE,
        ..ConnectionSettings::default()
    };
    let opened = Connection::connect(&job.server.host, job.server.port, settings).await;
    let connection = opened.map_err(|e| failed(&e))?;
    let one = std::slice::from_ref(&job.at);
    let found = simple::offsets_before(&connection, simple::CONSUMER, one, job.from, 1).await;
    let first = found
        .map_err(|e| failed(&e))?
        .remove(&job.at)
        .and_then(|(_, offsets)| offsets.first().copied());
    let first = first.ok_or("java.lang.UnsupportedOperationException: empty.head")?;
    read_all(job, &connection, first).await
}

/// Reads until an answer is empty or there is enough, and prints what is to be printed.
async fn read_all(job: &Job, connection: &Connection, mut offset: Offset) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("kafka.common.KafkaException: {e}");
    let clock = Clock::system();
    let (began, wall) = (clock.now(), clock.wall());
    let (mut sum, mut told, mut told_at) = (Sum::default(), Sum::default(), began);
    loop {
        let wish = (&job.at, offset, job.fetch_size);
        let read = simple::fetch(connection, simple::CONSUMER, 0, &[wish]).await;
        let records = read.map_err(|e| failed(&e))?.remove(&job.at);
        let records = records.map(|r| r.records).unwrap_or_default();
        let messages = flatten(&records, false).map_err(|e| failed(&e))?;
        let enough = sum.messages > job.messages;
        for message in &messages {
            sum.messages += 1;
            sum.bytes += message.value.as_ref().map_or(0, |v| v.len() as u64);
        }
        if sum.messages - told.messages > job.report.interval {
            if job.report.detailed {
                let now = clock.now();
                println!(
                    "{}, {}, {}",
                    job.report.date.format(clock.wall()),
                    job.fetch_size,
                    sum.rates_since(told, now.since(told_at))
                );
            }
            (told, told_at) = (sum, clock.now());
        }
        match messages.last() {
            Some(last) if !enough => offset = last.offset + 1,
            _ => break,
        }
    }
    if !job.report.detailed {
        println!(
            "{}, {}, {}, {}",
            job.report.date.format(wall),
            job.report.date.format(clock.wall()),
            job.fetch_size,
            sum.rates_since(Sum::default(), clock.now().since(began))
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(line: &str) -> Result<Job, String> {
        let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        prepare(&parser(), &args).map_err(|e| match e {
            Refused::Options(e) => e.to_string(),
            Refused::Thrown(text) => text,
        })
    }

    #[test]
    fn the_server_is_an_address_with_a_scheme() {
        let ok = job("--server kafka://h:9092 --topic t --messages 5 --from-latest").unwrap();
        assert_eq!((ok.server.to_string().as_str(), ok.from), ("h:9092", -1));
        assert!(
            job("--server h:9092 --topic t --messages 5")
                .unwrap_err()
                .contains("h:9092")
        );
        assert_eq!(
            job("--topic t").unwrap_err(),
            "Missing required argument \"[server]\""
        );
    }
}
