//! kafka.tools.EndToEndLatency: how long a message takes from the producer through the broker to the consumer,
//! one at a time.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;

use super::{Tool, runtime, session};
use crate::client::consumer::{Consumer, ConsumerSettings};
use crate::client::producer::{Producer, ProducerSettings, Record};
use crate::config::definition::java_double;
use crate::config::{ConfigErrors, ConsumerConfig, ProducerConfig, Properties};
use crate::util::clock::Clock;
use crate::util::random;

/// The row of the table.
pub(super) const TOOL: Tool = Tool {
    name: "kafka-end-to-end-latency",
    class: "kafka.tools.EndToEndLatency",
    run,
};

const USAGE: &str = "USAGE: java kafka.tools.EndToEndLatency$ broker_list topic num_messages producer_acks message_size_bytes [optional] ssl_properties_file";
/// How long one message may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What to send.
#[derive(Debug)]
struct Job {
    producer: ProducerSettings,
    consumer: ConsumerSettings,
    topic: Arc<str>,
    messages: u64,
    size: usize,
}

fn run(args: &[String]) -> ExitCode {
    let told = match args.len() {
        5 | 6 => prepare(args),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    let measured = told.and_then(|job| {
        let mut outcome = Ok(());
        let code = runtime::run(async {
            outcome = measure(job).await;
            ExitCode::SUCCESS
        });
        outcome.map(|()| code)
    });
    measured.unwrap_or_else(|e| {
        eprintln!("Exception in thread \"main\" {e}");
        ExitCode::FAILURE
    })
}

fn prepare(args: &[String]) -> Result<Job, String> {
    let number = |text: &String| -> Result<u32, String> {
        text.parse()
            .map_err(|_| format!("java.lang.NumberFormatException: For input string: \"{text}\""))
    };
    let (messages, acks, size) = (number(&args[2])?, args[3].as_str(), number(&args[4])?);
    if !["1", "all"].contains(&acks) {
        return Err("java.lang.IllegalArgumentException: Latency testing requires synchronous acknowledgement. Please use 1 or all".to_owned());
    }
    let mut properties = Properties::new();
    if let Some(file) = args.get(5) {
        let bytes = session::read_file(file).map_err(|e| format!("java.io.FileNotFoundException: {e}"))?;
        properties = Properties::parse(&bytes, file).map_err(|e| e.to_string())?;
    }
    let clock = Clock::system();
    let with = |rows: &[(&str, &str)]| {
        let mut properties = properties.clone();
        for (key, value) in rows {
            properties.set(key, value, "kafka.tools.EndToEndLatency");
        }
        properties
    };
    let group = format!("test-group-{}", clock.wall().0);
    let consumer = with(&[
        ("bootstrap.servers", &args[0]),
        ("group.id", &group),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "latest"),
        ("fetch.max.wait.ms", "0"),
    ]);
    let producer = with(&[
        ("bootstrap.servers", &args[0]),
        ("linger.ms", "0"),
        ("block.on.buffer.full", "true"),
        ("acks", acks),
    ]);
    let wrong = |e: ConfigErrors| e.exception();
    Ok(Job {
        producer: ProducerConfig::from_properties(&producer)
            .map_err(wrong)?
            .0
            .into(),
        consumer: ConsumerConfig::from_properties(&consumer)
            .map_err(wrong)?
            .0
            .into(),
        topic: args[1].as_str().into(),
        messages: messages.into(),
        size: size as usize,
    })
}

async fn measure(job: Job) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("java.lang.RuntimeException: {e}");
    let clock = Clock::system();
    let mut consumer = Consumer::new(job.consumer).map_err(|e| failed(&e))?;
    consumer.subscribe([&*job.topic]).map_err(|e| failed(&e))?;
    let producer = Producer::start(job.producer);
    // Joins, and finds the end, so that the first message is seen.
    consumer.poll(Duration::ZERO).await.map_err(|e| failed(&e))?;
    let mut latencies: Histogram<u64> = Histogram::new(3).map_err(|e| failed(&e))?;
    let mut total = Duration::ZERO;
    for number in 0..job.messages {
        let message = letters(job.size);
        let began = clock.now();
        let record = Record {
            topic: job.topic.clone(),
            value: Some(message.clone()),
            ..Record::default()
        };
        let delivery = producer.send(record).await.map_err(|e| failed(&e))?;
        delivery.await.map_err(|e| failed(&e))?;
        let records = consumer.poll(TIMEOUT).await.map_err(|e| failed(&e))?;
        let elapsed = clock.now().since(began);
        let mut records = records.into_iter();
        let Some(first) = records.next() else {
            let ms = TIMEOUT.as_millis();
            return Err(failed(&format!(
                "poll() timed out before finding a result (timeout:[{ms}])"
            )));
        };
        if first.value.as_ref() != Some(&message) {
            let text = |b: &Bytes| String::from_utf8_lossy(b).into_owned();
            let read = first.value.as_ref().map(text).unwrap_or_default();
            let sent = text(&message);
            return Err(failed(&format!(
                "The message read [{read}] did not match the message sent [{sent}]"
            )));
        }
        if records.len() > 0 {
            let count = 1 + records.len();
            return Err(failed(&format!(
                "Only one result was expected during this test. We found [{count}]"
            )));
        }
        if number % 1000 == 0 {
            println!("{number}\t{}", java_double(elapsed.as_nanos() as f64 / 1e6));
        }
        total += elapsed;
        latencies.saturating_record(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
    }
    let average = total.as_secs_f64() * 1000.0 / job.messages.max(1) as f64;
    println!("Avg latency: {average:.4} ms\n");
    let at = |quantile| latencies.value_at_quantile(quantile);
    println!(
        "Percentiles: 50th = {}, 99th = {}, 99.9th = {}",
        at(0.5),
        at(0.99),
        at(0.999)
    );
    consumer.commit_sync().await.map_err(|e| failed(&e))?;
    producer.close(None).await;
    // What fails is logged.
    let _ = consumer.close().await;
    Ok(())
}

/// Random capital letters.
fn letters(count: usize) -> Bytes {
    let letter = |_| b'A' + u8::try_from(random::below(26)).unwrap_or(0);
    (0..count).map(letter).collect::<Vec<u8>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_are_needed() {
        let job = |text: &str| prepare(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let ok = job("h:1 t 10 all 20").unwrap();
        assert_eq!((ok.producer.acks, ok.messages, ok.size), (-1, 10, 20));
        assert!(ok.consumer.fetch_max_wait.is_zero());
        assert!(
            job("h:1 t 10 0 20")
                .unwrap_err()
                .contains("synchronous acknowledgement")
        );
        assert!(
            job("h:1 t many 1 20")
                .unwrap_err()
                .contains("For input string: \"many\"")
        );
        assert!(letters(50).iter().all(u8::is_ascii_uppercase));
    }
}
