//! Two threads on one topic: one sends numbered messages with integer keys, for ever, the other receives them. It does
//! what Kafka's example of that name does; `examples/java` has its twin on the Java clients.
//!
//!     kafka_consumer_producer_demo [sync|async] [BOOTSTRAP] [TOPIC] [PAUSE_MS]
//!
//! With `sync` each message is acknowledged before the next is sent; with anything else, or nothing, the producer goes
//! on and is told later. The broker is localhost:9092, the topic topic1, and there is no pause between messages, unless
//! told; Ctrl-C ends it.

use std::error::Error;
use std::io::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka::client::{Consumer, ConsumerSettings, HostPort, Producer, ProducerSettings, Record};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let sync = arguments
        .next()
        .is_some_and(|mode| mode.trim().eq_ignore_ascii_case("sync"));
    let bootstrap = HostPort::parse_list(&arguments.next().unwrap_or("localhost:9092".to_owned()))?;
    let topic = arguments.next().unwrap_or("topic1".to_owned());
    let pause = Duration::from_millis(arguments.next().unwrap_or("0".to_owned()).parse()?);

    let (to, from) = (bootstrap.clone(), bootstrap);
    let (sent, received) = (topic.clone(), topic);
    let producer = std::thread::spawn(move || produce(to, sent, sync, pause));
    let consumer = std::thread::spawn(move || consume(from, received));
    // Neither ends but by an error.
    producer.join().map_err(|_| "the producer panicked")??;
    consumer.join().map_err(|_| "the consumer panicked")?
}

/// A line, whole, although two threads print.
fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

#[tokio::main(flavor = "current_thread")]
async fn produce(bootstrap: Vec<HostPort>, topic: String, sync: bool, pause: Duration) -> Outcome {
    let producer = Producer::start(ProducerSettings {
        bootstrap,
        client_id: "DemoProducer".to_owned(),
        ..ProducerSettings::default()
    });
    for number in 1_i32.. {
        let value = format!("Message_{number}");
        let record = Record {
            topic: topic.as_str().into(),
            key: Some(Bytes::copy_from_slice(&number.to_be_bytes())),
            value: Some(value.clone().into()),
            ..Record::default()
        };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        if sync {
            producer.send(record).await?.await?;
            say(&format!("Sent message: ({number}, {value})"))?;
            continue;
        }
        let begin = Instant::now();
        let told = move |result: Result<kafka::client::producer::Ack, _>| {
            let took = begin.elapsed().as_millis();
            let said = match result {
                Ok(ack) => say(&format!(
                    "message({number}, {value}) sent to partition({}), offset({}) in {took} ms",
                    ack.partition.partition, ack.offset
                )),
                Err(e) => writeln!(std::io::stderr(), "message({number}, {value}) was not sent: {e}"),
            };
            if said.is_err() {
                // Nobody reads any more.
                std::process::exit(1);
            }
        };
        producer.send_then(record, Box::new(told)).await?;
    }
    producer.close(None).await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn consume(bootstrap: Vec<HostPort>, topic: String) -> Outcome {
    let mut consumer = Consumer::new(ConsumerSettings {
        bootstrap,
        group_id: "DemoConsumer".into(),
        auto_commit: true,
        auto_commit_interval: Duration::from_secs(1),
        session_timeout: Duration::from_secs(30),
        ..ConsumerSettings::default()
    })?;
    consumer.subscribe([topic])?;
    loop {
        for record in consumer.poll(Duration::from_secs(1)).await? {
            let key = record.key.as_deref().unwrap_or_default();
            let key = i32::from_be_bytes(key.try_into().map_err(|_| "a key that is no integer")?);
            let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
            say(&format!(
                "Received message: ({key}, {value}) at offset {}",
                record.offset
            ))?;
        }
    }
}
