//! A load that does not hide the broker: prepared frames down one blocking socket, answers counted and
//! thrown away. `bench/compare` runs it against ours and against the genuine broker.
//!
//!     load produce HOST:PORT TOPIC RECORD_BYTES BATCH_BYTES TOTAL_MB
//!     load produce HOST:PORT TOPIC RECORD_BYTES BATCH_BYTES TOTAL_MB KEYS CODEC
//!     load fetch   HOST:PORT TOPIC MAX_BYTES TOTAL_MB
//!     load limits
//!
//! Prints `name value` lines: seconds and MB per second of the load (MB = 1,000,000 bytes of message
//! sets), or for `limits` what this machine can do at best.

use std::io::{Error, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use kafka::message::{Codec, SetBuilder, crc32};
use kafka::protocol::{Body, Request, fetch, frame_request, metadata, produce};
use kafka::util::codec::Reader;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// How many requests travel at once.
const IN_FLIGHT: u64 = 5;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["produce", broker, topic, record, batch, total] => {
            produce(broker, topic, record.parse()?, batch.parse()?, total.parse()?)
        }
        ["produce", broker, topic, record, batch, total, keys, codec] => produce_keys(
            broker,
            topic,
            record.parse()?,
            batch.parse()?,
            total.parse()?,
            keys.parse()?,
            codec,
        ),
        ["fetch", broker, topic, max, total] => fetch(broker, topic, max.parse()?, total.parse()?),
        ["limits"] => limits(),
        _ => {
            Err("load produce HOST:PORT TOPIC RECORD BATCH MB | fetch HOST:PORT TOPIC MAX MB | limits".into())
        }
    }
}

/// A connection to the leader of the topic's partition 0, which is created on first use.
fn leader(broker: &str, topic: &str) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(broker)?;
    stream.set_nodelay(true)?;
    for attempt in 0..400 {
        let request = metadata::MetadataRequest {
            topics: vec![topic.to_owned()],
        };
        stream.write_all(&frame_request(&request, 0, attempt, Some("load")))?;
        let answer =
            metadata::MetadataResponse::decode(&mut Reader::new(read_frame(&mut stream)?.slice(4..)), 0)?;
        let found = answer.topics.first().and_then(|t| t.partitions.first());
        if found.is_some_and(|p| p.leader >= 0) {
            return Ok(stream);
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    Err("the topic got no leader".into())
}

fn read_frame(stream: &mut TcpStream) -> Outcome<Bytes> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(size))?];
    stream.read_exact(&mut frame)?;
    Ok(frame.into())
}

fn produce(broker: &str, topic: &str, record: usize, batch: usize, total_mb: u64) -> Outcome<()> {
    let mut set = SetBuilder::new(Codec::None, batch);
    let value = vec![1; record];
    while set.append(None, Some(&value)) {}
    send(broker, topic, &[set.finish()], total_mb)
}

/// Sets with as many keys, one after the other and then again from the first; values that compress a
/// little.
fn produce_keys(
    broker: &str,
    topic: &str,
    record: usize,
    batch: usize,
    total_mb: u64,
    keys: u64,
    codec: &str,
) -> Outcome<()> {
    let codec = Codec::parse(codec).ok_or("the codec is none, gzip, snappy or lz4")?;
    let (mut sets, mut key, mut seed) = (Vec::new(), 0, 1_u64);
    while key < keys {
        let mut set = SetBuilder::new(codec, batch);
        loop {
            let value: Vec<u8> = (0..record)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    b'a' + (seed >> 61) as u8
                })
                .collect();
            if !set.append(Some(format!("key {key:012}").as_bytes()), Some(&value)) {
                break;
            }
            key += 1;
        }
        sets.push(set.finish());
    }
    send(broker, topic, &sets, total_mb)
}

/// Sends the sets, one a request, over and over.
fn send(broker: &str, topic: &str, sets: &[Bytes], total_mb: u64) -> Outcome<()> {
    let frame = |set: &Bytes| {
        let request = produce::ProduceRequest {
            acks: 1,
            timeout_ms: 30_000,
            topics: vec![produce::ProduceTopic {
                topic: topic.to_owned(),
                partitions: vec![produce::ProducePartition {
                    partition: 0,
                    records: set.clone(),
                }],
            }],
        };
        frame_request(&request, produce::ProduceRequest::VERSION, 0, Some("load"))
    };
    let frames: Vec<Bytes> = sets.iter().map(frame).map(Into::into).collect();
    let mut stream = leader(broker, topic)?;
    let all: u64 = sets.iter().map(|s| s.len() as u64).sum();
    let requests = total_mb * 1_000_000 * sets.len() as u64 / all + 1;
    let start = Instant::now();
    let (mut sent, mut answered, mut bytes) = (0, 0, 0);
    while answered < requests {
        while sent < requests && sent - answered < IN_FLIGHT {
            let next = usize::try_from(sent % sets.len() as u64)?;
            stream.write_all(&frames[next])?;
            bytes += sets[next].len() as u64;
            sent += 1;
        }
        let answer =
            produce::ProduceResponse::decode(&mut Reader::new(read_frame(&mut stream)?.slice(4..)), 1)?;
        let error = answer.topics[0].partitions[0].error;
        if error != 0 {
            return Err(format!("produce was answered with error {error}").into());
        }
        answered += 1;
    }
    report(start, bytes)
}

fn fetch(broker: &str, topic: &str, max: i32, total_mb: u64) -> Outcome<()> {
    let mut stream = leader(broker, topic)?;
    let mut buffer = vec![0; usize::try_from(max)? + 4096];
    let (mut offset, mut read) = (0, 0);
    let start = Instant::now();
    while read < total_mb * 1_000_000 {
        let request = fetch::FetchRequest {
            replica_id: -1,
            max_wait_ms: 1000,
            min_bytes: 1,
            topics: vec![fetch::FetchTopic {
                topic: topic.to_owned(),
                partitions: vec![fetch::FetchPartition {
                    partition: 0,
                    fetch_offset: offset,
                    max_bytes: max,
                }],
            }],
        };
        stream.write_all(&frame_request(&request, 1, 0, Some("load")))?;
        let mut size = [0; 4];
        stream.read_exact(&mut size)?;
        let size = usize::try_from(i32::from_be_bytes(size))?;
        let frame = buffer.get_mut(..size).ok_or("an answer larger than asked for")?;
        stream.read_exact(frame)?;
        // Correlation id, throttle time, one topic, one partition, its error and high watermark.
        let set_at = 4 + 4 + 4 + 2 + topic.len() + 4 + 4 + 2 + 8 + 4;
        let set = &frame[set_at..];
        if set.is_empty() {
            offset = 0;
            continue;
        }
        let (whole, last) = walk(set);
        offset = last.ok_or("a message larger than the fetch")? + 1;
        read += whole as u64;
    }
    report(start, read)
}

/// Bytes of whole messages at the front of a set, and the last one's offset. Looks at headers only.
fn walk(set: &[u8]) -> (usize, Option<i64>) {
    let (mut at, mut last) = (0, None);
    while let Some(header) = set.get(at..at + 12) {
        let offset = i64::from_be_bytes(header[..8].try_into().expect("eight bytes"));
        let size = i32::from_be_bytes(header[8..].try_into().expect("four bytes"));
        let end = at + 12 + usize::try_from(size).unwrap_or(usize::MAX / 2);
        if end > set.len() {
            break;
        }
        (at, last) = (end, Some(offset));
    }
    (at, last)
}

fn report(start: Instant, bytes: u64) -> Outcome<()> {
    let seconds = start.elapsed().as_secs_f64();
    println!("seconds {seconds:.3}");
    println!("megabytes {:.1}", bytes as f64 / 1e6);
    println!("mb_per_second {:.1}", bytes as f64 / 1e6 / seconds);
    Ok(())
}

/// CPU seconds of this process so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .map(|f| f.parse().unwrap_or(0.0))
        .collect();
    // utime and stime, in hundredths of a second.
    (fields.get(11).unwrap_or(&0.0) + fields.get(12).unwrap_or(&0.0)) / 100.0
}

/// Times one thing done to a gigabyte.
fn limit(name: &str, mut work: impl FnMut(u64) -> Outcome<()>) -> Outcome<()> {
    const BYTES: u64 = 1_000_000_000;
    let (start, cpu) = (Instant::now(), cpu_seconds());
    work(BYTES)?;
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!(
        "{name} {:.0} MB/s {cpu:.2} CPU s/GB",
        BYTES as f64 / 1e6 / seconds
    );
    Ok(())
}

fn limits() -> Outcome<()> {
    let block = vec![7_u8; 65_536];
    let path = std::env::temp_dir().join(format!("load-{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(&path)?;
    let outcome = (|| {
        limit("page-cache write (64 KB blocks)", |bytes| {
            for _ in 0..bytes / block.len() as u64 {
                file.write_all(&block)?;
            }
            Ok(())
        })?;
        limit("CRC-32", |bytes| {
            let mut sum = 0_u32;
            for _ in 0..bytes / block.len() as u64 {
                sum = sum.wrapping_add(crc32(std::hint::black_box(&block)));
            }
            std::hint::black_box(sum);
            Ok(())
        })?;
        limit("loopback, both ends (64 KB writes)", |bytes| {
            over_loopback(bytes, |stream| {
                for _ in 0..bytes / block.len() as u64 {
                    stream.write_all(&block)?;
                }
                Ok(())
            })
        })?;
        limit("sendfile to loopback, both ends", |bytes| {
            over_loopback(bytes, |stream| {
                let mut at = 0;
                while at < bytes / 65_536 * 65_536 {
                    let sent = rustix::fs::sendfile(stream.as_fd(), file.as_fd(), Some(&mut at), 1 << 20)?;
                    if sent == 0 {
                        return Err(Error::other("the file ended"));
                    }
                }
                Ok(())
            })
        })
    })();
    std::fs::remove_file(&path)?;
    outcome
}

/// Runs `send` on one end of a loopback connection while a thread reads the other.
fn over_loopback(bytes: u64, send: impl FnOnce(&mut TcpStream) -> Result<(), Error>) -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (mut receiver, _) = listener.accept()?;
    let reader = std::thread::spawn(move || {
        let mut buffer = BytesMut::zeroed(1 << 18);
        let mut read = 0;
        while let Ok(n) = receiver.read(&mut buffer) {
            if n == 0 {
                break;
            }
            read += n as u64;
        }
        read
    });
    send(&mut sender)?;
    drop(sender);
    let read = reader.join().map_err(|_| "the reader panicked")?;
    if read < bytes / 65_536 * 65_536 {
        return Err("bytes were lost".into());
    }
    Ok(())
}
