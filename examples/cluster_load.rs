//! What a cluster does while something happens to it, seen by its clients. `bench/cluster` runs it against
//! ours and against genuine brokers.
//!
//!     cluster_load produce   HOST:PORT,... TOPIC RECORD_BYTES BATCH_BYTES TOTAL_MB
//!     cluster_load latency   HOST:PORT,... TOPIC COUNT PAUSE_MS
//!     cluster_load gaps      HOST:PORT,... TOPIC PARTITIONS     until standard input ends
//!     cluster_load announced HOST:PORT,... TOPIC PARTITIONS NOT_LED_BY
//!     cluster_load gone      ZOOKEEPER BROKER
//!
//! All produce with acks=-1. Prints `name value` lines: `announced` and `gone` the wall clock's
//! milliseconds when every broker named a leader for every partition, other than that one; when the
//! registration was gone.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use kafka::client::{Connection, ConnectionSettings, HostPort};
use kafka::message::{Codec, SetBuilder};
use kafka::protocol::Request;
use kafka::protocol::metadata::{MetadataRequest, MetadataResponse};
use kafka::protocol::produce::{ProducePartition, ProduceRequest, ProduceTopic};
use kafka::util::clock::Clock;
use kafka::zookeeper::{Session, SessionSettings, paths};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How many requests travel at once.
const IN_FLIGHT: usize = 5;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // One thread, so that no change of threads in here counts with what the brokers do.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match words[..] {
            ["produce", brokers, topic, record, batch, total] => {
                produce(brokers, topic, record.parse()?, batch.parse()?, total.parse()?).await
            }
            ["latency", brokers, topic, count, pause] => {
                latency(
                    brokers,
                    topic,
                    count.parse()?,
                    Duration::from_millis(pause.parse()?),
                )
                .await
            }
            ["gaps", brokers, topic, partitions] => gaps(brokers, topic, partitions.parse()?).await,
            ["announced", brokers, topic, partitions, dead] => {
                announced(brokers, topic, partitions.parse()?, dead.parse()?).await
            }
            ["gone", zookeeper, broker] => gone(zookeeper, broker.parse()?).await,
            _ => Err("cluster_load produce | latency | gaps | announced | gone".into()),
        }
    })
}

async fn connect(at: &HostPort) -> Outcome<Connection> {
    let settings = ConnectionSettings {
        client_id: "load".to_owned(),
        ..ConnectionSettings::default()
    };
    Ok(Connection::connect(&at.host, at.port, settings).await?)
}

async fn metadata(at: &HostPort, topic: &str) -> Outcome<MetadataResponse> {
    let connection = connect(at).await?;
    let topics = vec![topic.to_owned()];
    Ok(connection.call(&MetadataRequest { topics }).await?)
}

/// The address of the leader of each partition.
async fn leaders(brokers: &[HostPort], topic: &str) -> Outcome<BTreeMap<i32, HostPort>> {
    for at in brokers {
        let Ok(answer) = metadata(at, topic).await else {
            continue;
        };
        let address = |id: i32| {
            let b = answer.brokers.iter().find(|b| b.node_id == id)?;
            let host = b.host.clone();
            Some(HostPort { host, port: b.port })
        };
        let partitions = answer.topics.iter().flat_map(|t| &t.partitions);
        return Ok(partitions
            .filter_map(|p| Some((p.partition, address(p.leader)?)))
            .collect());
    }
    Err("no broker answers".into())
}

fn filled(record: usize, batch: usize) -> Bytes {
    let mut set = SetBuilder::new(Codec::None, batch);
    let value = vec![1; record];
    while set.append(None, Some(&value)) {}
    set.finish()
}

fn request(topic: &str, partition: i32, records: Bytes) -> ProduceRequest {
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topics: vec![ProduceTopic {
            topic: topic.to_owned(),
            partitions: vec![ProducePartition { partition, records }],
        }],
    }
}

async fn produce(brokers: &str, topic: &str, record: usize, batch: usize, total_mb: u64) -> Outcome<()> {
    let brokers = HostPort::parse_list(brokers)?;
    let set = filled(record, batch);
    let leaders = leaders(&brokers, topic).await?;
    let each = total_mb * 1_000_000 / set.len() as u64 / leaders.len() as u64 + 1;
    let bytes = each * leaders.len() as u64 * set.len() as u64;
    let start = Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    for (partition, at) in leaders {
        let request = request(topic, partition, set.clone());
        senders.spawn(async move {
            let connection = connect(&at).await?;
            let mut due = std::collections::VecDeque::new();
            for _ in 0..each {
                if due.len() == IN_FLIGHT {
                    answered(due.pop_front()).await?;
                }
                due.push_back(
                    connection
                        .submit(&request, ProduceRequest::VERSION, Duration::from_secs(60))
                        .await?,
                );
            }
            while !due.is_empty() {
                answered(due.pop_front()).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(done) = senders.join_next().await {
        done??;
    }
    println!("seconds {}", start.elapsed().as_secs_f64());
    println!("megabytes {}", bytes as f64 / 1e6);
    Ok(())
}

async fn answered(pending: Option<kafka::client::Pending<ProduceRequest>>) -> Outcome<()> {
    let Some(pending) = pending else { return Ok(()) };
    match pending.answer().await?.topics[0].partitions[0].error {
        0 => Ok(()),
        error => Err(format!("produce was answered with error {error}").into()),
    }
}

async fn latency(brokers: &str, topic: &str, count: usize, pause: Duration) -> Outcome<()> {
    let brokers = HostPort::parse_list(brokers)?;
    let leaders = leaders(&brokers, topic).await?;
    let (partition, at) = leaders.first_key_value().ok_or("the topic has no leader")?;
    let connection = connect(at).await?;
    let request = request(topic, *partition, filled(100, 150));
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        tokio::time::sleep(pause).await;
        let start = Instant::now();
        connection.call(&request).await?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    println!("p50_ms {}", times[count / 2]);
    println!("p99_ms {}", times[count * 99 / 100]);
    Ok(())
}

/// One message after the other to each of the first partitions, and the longest time between two
/// acknowledgements of one.
async fn gaps(brokers: &str, topic: &str, partitions: i32) -> Outcome<()> {
    let brokers = HostPort::parse_list(brokers)?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = tokio::task::JoinSet::new();
    for partition in 0..partitions {
        let (brokers, topic, stop) = (brokers.clone(), topic.to_owned(), stop.clone());
        writers.spawn(async move { longest_gap(&brokers, &topic, partition, &stop).await });
    }
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    ended.await??;
    stop.store(true, Ordering::Relaxed);
    let mut longest = Duration::ZERO;
    while let Some(gap) = writers.join_next().await {
        longest = longest.max(gap?);
    }
    println!("gap_ms {}", longest.as_millis());
    Ok(())
}

async fn longest_gap(brokers: &[HostPort], topic: &str, partition: i32, stop: &AtomicBool) -> Duration {
    let request = request(topic, partition, filled(100, 150));
    let mut connection: Option<Connection> = None;
    let mut last = Instant::now();
    let mut longest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        if connection.is_none() {
            let leaders = leaders(brokers, topic).await.unwrap_or_default();
            if let Some(at) = leaders.get(&partition) {
                connection = connect(at).await.ok();
            }
        }
        let sent = match &connection {
            Some(c) => c.call(&request).await.ok(),
            None => None,
        };
        match sent.map(|a| a.topics[0].partitions[0].error) {
            Some(0) => {
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            _ => connection = None,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    longest.max(last.elapsed())
}

fn now_ms() -> u128 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_millis())
}

async fn announced(brokers: &str, topic: &str, partitions: usize, dead: i32) -> Outcome<()> {
    for at in HostPort::parse_list(brokers)? {
        let connection = connect(&at).await?;
        loop {
            let topics = vec![topic.to_owned()];
            let answer = connection.call(&MetadataRequest { topics }).await?;
            let led = answer.topics.iter().flat_map(|t| &t.partitions);
            if led.filter(|p| p.leader >= 0 && p.leader != dead).count() >= partitions {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    println!("at_ms {}", now_ms());
    Ok(())
}

async fn gone(zookeeper: &str, broker: i32) -> Outcome<()> {
    let settings = SessionSettings {
        session_timeout: Duration::from_secs(30),
        connection_timeout: Duration::from_secs(30),
    };
    let session = Session::connect(zookeeper, settings, Clock::system()).await?;
    loop {
        let (node, changed) = session.exists_watched(&paths::broker(broker)).await?;
        if node.is_none() {
            break;
        }
        changed.fired().await;
    }
    println!("at_ms {}", now_ms());
    session.close().await;
    Ok(())
}
