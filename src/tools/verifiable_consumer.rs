//! kafka-verifiable-consumer (org.apache.kafka.tools.VerifiableConsumer): consumes a topic as a member of a
//! group and prints a line of JSON for each thing that happens, for tests of systems.

use std::process::ExitCode;
use std::time::Duration;

use ::log::warn;
use bytes::Bytes;

use super::arguments::{Argument, ArgumentParser, Arguments, Error, Kind};
use super::signals::Signals;
use super::verifiable_producer::quoted;
use super::{Tool, runtime};
use crate::client::consumer::{
    self, Consumer, ConsumerRecord, ConsumerSettings, Listening, Offsets, RebalanceListener, Records,
};
use crate::cluster::TopicPartition;
use crate::config::ConsumerConfig;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-verifiable-consumer",
    class: "org.apache.kafka.tools.VerifiableConsumer",
    run,
};

const PURPOSE: &str = "This tool consumes messages from a specific topic and emits consumer events (e.g. group rebalances, received messages, and offsets committed) as JSON objects to STDOUT.";

fn parser() -> ArgumentParser {
    use Kind::{Flag, Integer, Text};
    let arguments = vec![
        Argument::new(
            "--broker-list",
            "HOST1:PORT1[,HOST2:PORT2[...]]",
            Text,
            "Comma-separated list of Kafka brokers in the form HOST1:PORT1,HOST2:PORT2,...",
        )
        .required(),
        Argument::new("--topic", "TOPIC", Text, "Consumes messages from this topic.").required(),
        Argument::new(
            "--group-id",
            "GROUP_ID",
            Text,
            "The groupId shared among members of the consumer group",
        )
        .required(),
        Argument::new(
            "--max-messages",
            "MAX-MESSAGES",
            Integer,
            "Consume this many messages. If -1 (the default), the consumer will consume until the process is killed externally",
        )
        .defaults_to("-1"),
        Argument::new(
            "--session-timeout",
            "TIMEOUT_MS",
            Integer,
            "Set the consumer's session timeout",
        )
        .defaults_to("30000"),
        Argument::new("--verbose", "", Flag, "Enable to log individual consumed records"),
        Argument::new(
            "--enable-autocommit",
            "",
            Flag,
            "Enable offset auto-commit on consumer",
        ),
        Argument::new(
            "--reset-policy",
            "RESETPOLICY",
            Text,
            "Set reset policy (must be either 'earliest', 'latest', or 'none'",
        )
        .defaults_to("earliest"),
        Argument::new(
            "--consumer.config",
            "CONFIG_FILE",
            Text,
            "Consumer config properties file (config options shared with command line parameters will be overridden).",
        ),
    ];
    ArgumentParser::new("verifiable-consumer", PURPOSE, arguments)
}

/// What to consume and what to print of it.
#[derive(Debug)]
struct Job {
    settings: ConsumerSettings,
    topic: String,
    /// No end to what is summed up if negative.
    messages: i64,
    verbose: bool,
    commits_by_itself: bool,
}

fn run(args: &[String]) -> ExitCode {
    let parser = parser();
    match parser.read(args, |found| job(&parser, found)) {
        Ok(job) => runtime::run(consume(job)),
        Err(code) => code,
    }
}

fn job(parser: &ArgumentParser, found: &Arguments) -> Result<Job, Error> {
    let mut properties = parser.properties(found, "--consumer.config")?;
    let text = |name| found.value(name).unwrap_or_default();
    let commits_by_itself = found.flag("--enable-autocommit");
    for (key, value, place) in [
        ("group.id", text("--group-id"), "--group-id"),
        ("bootstrap.servers", text("--broker-list"), "--broker-list"),
        (
            "enable.auto.commit",
            if commits_by_itself { "true" } else { "false" },
            "--enable-autocommit",
        ),
        ("auto.offset.reset", text("--reset-policy"), "--reset-policy"),
        (
            "session.timeout.ms",
            text("--session-timeout"),
            "--session-timeout",
        ),
    ] {
        properties.set(key, value, place);
    }
    let read = ConsumerConfig::from_properties(&properties);
    let (config, warnings) = read.map_err(|e| Error::uncaught(&e.exception()))?;
    for warning in warnings {
        warn!(target: "org.apache.kafka.clients.consumer.ConsumerConfig", "{warning}");
    }
    Ok(Job {
        settings: config.into(),
        topic: text("--topic").to_owned(),
        messages: found.number("--max-messages"),
        verbose: found.flag("--verbose"),
        commits_by_itself,
    })
}

async fn consume(job: Job) -> ExitCode {
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(e) => return failed(&e),
    };
    let mut consumer = match Consumer::new(job.settings.clone()) {
        Ok(consumer) => consumer,
        Err(e) => return failed(&e),
    };
    if let Err(e) = consumer.subscribe_with([&job.topic], Printer) {
        return failed(&e);
    }
    let wakeup = consumer.wakeup();
    let waker = tokio::spawn(async move {
        let ending = signals.next().await;
        wakeup.wakeup();
        ending
    });
    let end = consume_until_woken(&job, &mut consumer).await;
    // What fails at the end is logged.
    let _ = consumer.close().await;
    println!("{}", event("shutdown_complete"));
    match end {
        consumer::Error::Wakeup => waker
            .await
            .map_or(ExitCode::SUCCESS, |ending| ExitCode::from(ending.exit_code())),
        e => failed(&e),
    }
}

fn failed(e: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{e}");
    ExitCode::FAILURE
}

/// Consumes until it is woken up, or cannot go on.
async fn consume_until_woken(job: &Job, consumer: &mut Consumer) -> consumer::Error {
    let mut left = u64::try_from(job.messages).ok();
    loop {
        let records = match consumer.poll(Duration::MAX).await {
            Ok(records) => records,
            Err(e) => return e,
        };
        let offsets = report(job, &records, &mut left);
        if job.commits_by_itself {
            continue;
        }
        let mut committed = consumer.commit_sync_offsets(offsets.clone()).await;
        let woken = matches!(committed, Err(consumer::Error::Wakeup));
        if woken {
            // It is woken up only once, and what was printed is to be committed.
            committed = consumer.commit_sync_offsets(offsets.clone()).await;
        }
        println!("{}", commit_line(&offsets, committed.as_ref().err()));
        if woken {
            return consumer::Error::Wakeup;
        }
    }
}

/// Prints a poll's records, as many as are `left`, and returns what is to be committed.
fn report(job: &Job, records: &Records, left: &mut Option<u64>) -> Offsets {
    let mut offsets = Offsets::new();
    let mut summaries = Vec::new();
    for (partition, records) in records.by_partition() {
        let most = left.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let records = &records[..records.len().min(most)];
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            continue;
        };
        offsets.insert(partition.clone(), (last.offset + 1).into());
        summaries.push(format!(
            "{{{},\"count\":{},\"minOffset\":{},\"maxOffset\":{}}}",
            place(partition),
            records.len(),
            first.offset,
            last.offset
        ));
        if job.verbose {
            for record in records {
                println!("{}", record_line(record));
            }
        }
        if let Some(left) = left {
            *left -= records.len() as u64;
        }
    }
    println!(
        "{{\"count\":{},\"name\":\"records_consumed\",\"partitions\":[{}],{CLASS}}}",
        records.len(),
        summaries.join(",")
    );
    offsets
}

const CLASS: &str = "\"class\":\"org.apache.kafka.tools.VerifiableConsumer\"";

fn event(name: &str) -> String {
    format!("{{\"name\":\"{name}\",{CLASS}}}")
}

fn place(partition: &TopicPartition) -> String {
    format!(
        "\"topic\":{},\"partition\":{}",
        quoted(&partition.topic),
        partition.partition
    )
}

fn record_line(record: &ConsumerRecord) -> String {
    let text = |bytes: &Option<Bytes>| match bytes {
        Some(bytes) => quoted(&String::from_utf8_lossy(bytes)),
        None => "null".to_owned(),
    };
    format!(
        "{{\"name\":\"record_data\",\"value\":{},\"offset\":{},\"key\":{},{},{CLASS}}}",
        text(&record.value),
        record.offset,
        text(&record.key),
        place(&record.partition)
    )
}

fn commit_line(offsets: &Offsets, error: Option<&consumer::Error>) -> String {
    let offsets: Vec<String> = offsets
        .iter()
        .map(|(partition, committed)| format!("{{{},\"offset\":{}}}", place(partition), committed.offset))
        .collect();
    let why = error.map_or(String::new(), |e| {
        format!("\"error\":{},", quoted(&e.to_string()))
    });
    format!(
        "{{\"offsets\":[{}],{why}\"success\":{},\"name\":\"offsets_committed\",{CLASS}}}",
        offsets.join(","),
        error.is_none()
    )
}

fn partitions_line(name: &str, partitions: &[TopicPartition]) -> String {
    let all: Vec<String> = partitions.iter().map(|p| format!("{{{}}}", place(p))).collect();
    format!(
        "{{\"partitions\":[{}],\"name\":\"{name}\",{CLASS}}}",
        all.join(",")
    )
}

/// Prints what comes and goes.
struct Printer;

impl RebalanceListener for Printer {
    fn on_partitions_revoked<'a>(
        &'a mut self,
        _: &'a mut Consumer,
        partitions: &'a [TopicPartition],
    ) -> Listening<'a> {
        println!("{}", partitions_line("partitions_revoked", partitions));
        Box::pin(async { Ok(()) })
    }

    fn on_partitions_assigned<'a>(
        &'a mut self,
        _: &'a mut Consumer,
        partitions: &'a [TopicPartition],
    ) -> Listening<'a> {
        println!("{}", partitions_line("partitions_assigned", partitions));
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noted from the genuine tool.
    #[test]
    fn lines_are_those_of_the_genuine_tool() {
        let two = TopicPartition::new("t1", 2);
        assert_eq!(
            partitions_line("partitions_revoked", &[]),
            r#"{"partitions":[],"name":"partitions_revoked","class":"org.apache.kafka.tools.VerifiableConsumer"}"#
        );
        assert_eq!(
            partitions_line("partitions_assigned", std::slice::from_ref(&two)),
            r#"{"partitions":[{"topic":"t1","partition":2}],"name":"partitions_assigned","class":"org.apache.kafka.tools.VerifiableConsumer"}"#
        );
        let record = ConsumerRecord {
            partition: two.clone(),
            offset: 0,
            key: None,
            value: Some("3".into()),
        };
        assert_eq!(
            record_line(&record),
            r#"{"name":"record_data","value":"3","offset":0,"key":null,"topic":"t1","partition":2,"class":"org.apache.kafka.tools.VerifiableConsumer"}"#
        );
        let offsets = Offsets::from([(two, 333.into())]);
        assert_eq!(
            commit_line(&offsets, None),
            r#"{"offsets":[{"topic":"t1","partition":2,"offset":333}],"success":true,"name":"offsets_committed","class":"org.apache.kafka.tools.VerifiableConsumer"}"#
        );
        assert!(
            commit_line(&offsets, Some(&consumer::Error::CommitFailed))
                .contains(r#","error":"Commit cannot be completed due to group rebalance","success":false,"#)
        );
        assert_eq!(
            event("shutdown_complete"),
            r#"{"name":"shutdown_complete","class":"org.apache.kafka.tools.VerifiableConsumer"}"#
        );
    }
}
