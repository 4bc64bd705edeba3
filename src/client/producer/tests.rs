//! A producer against a scripted broker.

use std::sync::mpsc as std_mpsc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::client::metadata::HostPort;
use crate::message::flatten;
use crate::protocol::metadata::{
    MetadataBroker, MetadataPartition, MetadataRequest, MetadataResponse, MetadataTopic,
};
use crate::protocol::produce::{ProducePartitionResult, ProduceRequest, ProduceResponse, ProduceTopicResult};
use crate::protocol::{ApiKey, Body, RequestHeader, frame_response};
use crate::util::codec::Reader;

/// What the scripted broker does with the n-th Produce request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reaction {
    Accept,
    Refuse(i16),
    Hang,
}

#[derive(Debug, PartialEq)]
enum Seen {
    Produce { acks: i16, values: Vec<String> },
    Metadata,
    Closed,
}

/// A broker with one topic `t` of one partition.
struct Scripted {
    port: i32,
    seen: std_mpsc::Receiver<Seen>,
}

async fn scripted(reactions: &'static [Reaction]) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = i32::from(listener.local_addr().unwrap().port());
    let (tell, seen) = std_mpsc::channel();
    tokio::spawn(async move {
        let count = Arc::new(AtomicUsize::new(0));
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, port, reactions, count.clone(), tell.clone()));
        }
    });
    Scripted { port, seen }
}

async fn serve(
    mut socket: TcpStream,
    port: i32,
    reactions: &[Reaction],
    count: Arc<AtomicUsize>,
    tell: std_mpsc::Sender<Seen>,
) {
    while let Ok(size) = socket.read_i32().await {
        let mut frame = vec![0; usize::try_from(size).unwrap()];
        socket.read_exact(&mut frame).await.unwrap();
        let mut r = Reader::new(frame.into());
        let header = RequestHeader::decode(&mut r).unwrap();
        let answer: BytesMut = if header.key == ApiKey::Metadata as i16 {
            tell.send(Seen::Metadata).unwrap();
            MetadataRequest::decode(&mut r, 0).unwrap();
            frame_response(&metadata(port), 0, header.correlation_id)
        } else {
            let request = ProduceRequest::decode(&mut r, header.version).unwrap();
            let values = flatten(&request.topics[0].partitions[0].records, true)
                .unwrap()
                .iter()
                .map(|m| String::from_utf8(m.value.clone().unwrap().to_vec()).unwrap())
                .collect();
            let acks = request.acks;
            tell.send(Seen::Produce { acks, values }).unwrap();
            let n = count.fetch_add(1, Ordering::SeqCst);
            let error = match reactions.get(n).copied().unwrap_or(Reaction::Accept) {
                Reaction::Accept => 0,
                Reaction::Refuse(code) => code,
                Reaction::Hang => std::future::pending().await,
            };
            if acks == 0 {
                continue;
            }
            let response = ProduceResponse {
                topics: vec![ProduceTopicResult {
                    topic: "t".into(),
                    partitions: vec![ProducePartitionResult {
                        partition: 0,
                        error,
                        base_offset: 40,
                    }],
                }],
                throttle_time_ms: 0,
            };
            frame_response(&response, header.version, header.correlation_id)
        };
        socket.write_all(&answer).await.unwrap();
    }
    let _ = tell.send(Seen::Closed);
}

fn metadata(port: i32) -> MetadataResponse {
    MetadataResponse {
        brokers: vec![MetadataBroker {
            node_id: 0,
            host: "127.0.0.1".into(),
            port,
        }],
        topics: vec![MetadataTopic {
            error: 0,
            topic: "t".into(),
            partitions: vec![MetadataPartition {
                error: 0,
                partition: 0,
                leader: 0,
                replicas: vec![0],
                isr: vec![0],
            }],
        }],
    }
}

fn settings(port: i32) -> ProducerSettings {
    ProducerSettings {
        bootstrap: vec![HostPort {
            host: "127.0.0.1".into(),
            port,
        }],
        retry_backoff: Duration::from_millis(5),
        reconnect_backoff: Duration::from_millis(5),
        ..ProducerSettings::default()
    }
}

fn record(value: &str) -> Record {
    Record {
        topic: "t".into(),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        ..Record::default()
    }
}

fn values(seen: &[Seen]) -> Vec<&str> {
    seen.iter()
        .filter_map(|s| match s {
            Seen::Produce { values, .. } => Some(values),
            _ => None,
        })
        .flatten()
        .map(String::as_str)
        .collect()
}

#[tokio::test]
async fn offsets_count_up_from_the_batchs_base() {
    let broker = scripted(&[]).await;
    let p = Producer::start(ProducerSettings {
        linger: Duration::from_secs(60),
        ..settings(broker.port)
    });
    let a = p.send(record("a")).await.unwrap();
    let b = p.send(record("b")).await.unwrap();
    p.flush().await;
    assert_eq!(a.await.unwrap().offset, 40);
    assert_eq!(b.await.unwrap().offset, 41);
    p.close(None).await;
    assert!(matches!(p.send(record("c")).await, Err(Error::Closed)));
}

#[tokio::test]
async fn the_listener_is_told_each_numbers_end_in_order() {
    let broker = scripted(&[Reaction::Refuse(10)]).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let listener = move |number, end: &Result<Ack, Error>, at| {
        let _ = tell.send(((number, end.as_ref().ok().map(|ack| ack.offset)), at));
    };
    let lingers = ProducerSettings {
        linger: Duration::from_secs(60),
        ..settings(broker.port)
    };
    let p = Producer::start_with_listener(lingers, Box::new(listener));
    p.send_numbered(record("too large"), u64::MAX).await.unwrap();
    p.flush().await;
    p.send_numbered(record("a"), 7).await.unwrap();
    p.send_numbered(record("b"), 7).await.unwrap();
    let c = p.send(record("c")).await.unwrap();
    p.send_numbered(record("d"), 0).await.unwrap();
    p.close(None).await;
    assert_eq!(c.await.unwrap().offset, 42);
    let (mut ends, mut moments) = (Vec::new(), Vec::new());
    while let Ok((end, at)) = told.try_recv() {
        ends.push(end);
        moments.push(at);
    }
    assert_eq!(
        ends,
        [(u64::MAX, None), (7, Some(40)), (7, Some(41)), (0, Some(43))]
    );
    assert!(moments[0] < moments[1], "{moments:?}");
    assert!(moments[1..].iter().all(|at| *at == moments[1]), "{moments:?}");
    assert!(matches!(
        p.send_numbered(record("e"), 1).await,
        Err(Error::Closed)
    ));
}

#[tokio::test]
async fn a_number_without_a_listener_is_nobodys() {
    let broker = scripted(&[]).await;
    let p = Producer::start(settings(broker.port));
    p.send_numbered(record("a"), 1).await.unwrap();
    p.close(None).await;
    let seen: Vec<Seen> = broker.seen.try_iter().collect();
    assert_eq!(values(&seen), ["a"]);
}

#[tokio::test]
async fn a_retriable_error_is_tried_again_in_order_and_another_is_not() {
    let broker = scripted(&[Reaction::Refuse(6), Reaction::Refuse(7)]).await;
    let p = Producer::start(ProducerSettings {
        retries: 2,
        max_in_flight: 1,
        batch_messages: Some(1),
        ..settings(broker.port)
    });
    let mut all = vec![];
    for v in ["a", "b", "c"] {
        all.push(p.send(record(v)).await.unwrap());
    }
    for d in all {
        d.await.unwrap();
    }
    p.close(None).await;
    let seen: Vec<Seen> = broker.seen.try_iter().collect();
    assert_eq!(values(&seen), ["a", "a", "a", "b", "c"]);

    let broker = scripted(&[Reaction::Refuse(10), Reaction::Refuse(6)]).await;
    let p = Producer::start(settings(broker.port));
    let too_large = p.send(record("a")).await.unwrap().await;
    assert!(matches!(
        too_large,
        Err(Error::Broker(ErrorCode::RECORD_TOO_LARGE))
    ));
    let no_retries = p.send(record("b")).await.unwrap().await;
    assert!(matches!(
        no_retries,
        Err(Error::Broker(ErrorCode::NOT_LEADER_FOR_PARTITION))
    ));
    p.close(None).await;
}

#[tokio::test]
async fn without_acks_the_connection_closes_only_after_a_last_answer() {
    let broker = scripted(&[]).await;
    let p = Producer::start(ProducerSettings {
        acks: 0,
        batch_messages: Some(1),
        ..settings(broker.port)
    });
    p.send(record("first")).await.unwrap().await.unwrap();
    for v in ["x", "y"] {
        assert_eq!(p.send(record(v)).await.unwrap().await.unwrap().offset, -1);
    }
    p.close(None).await;
    let seen: Vec<Seen> = broker.seen.iter().take(5).collect();
    let produce = |acks, v: &str| Seen::Produce {
        acks,
        values: vec![v.into()],
    };
    // The first asks for an answer: it shows that the partition takes records.
    assert_eq!(
        seen,
        [
            Seen::Metadata,
            produce(1, "first"),
            produce(0, "x"),
            produce(0, "y"),
            Seen::Metadata
        ]
    );
}

#[tokio::test]
async fn a_broker_that_does_not_answer_fails_the_record_in_time() {
    let broker = scripted(&[Reaction::Hang]).await;
    let p = Producer::start(ProducerSettings {
        request_timeout: Duration::from_millis(50),
        ..settings(broker.port)
    });
    let e = p.send(record("a")).await.unwrap().await.unwrap_err();
    assert!(matches!(e, Error::Connection(_)), "{e}");
    p.send(record("b")).await.unwrap().await.unwrap();
    p.close(None).await;
}

#[tokio::test]
async fn unknown_topics_and_full_memory_fail_within_max_block() {
    let broker = scripted(&[Reaction::Hang]).await;
    let p = Producer::start(ProducerSettings {
        max_block: Duration::from_millis(30),
        buffer_memory: 100,
        ..settings(broker.port)
    });
    let unknown = Record {
        topic: "u".into(),
        ..Record::default()
    };
    assert_eq!(
        p.send(unknown).await.unwrap_err().to_string(),
        "Failed to update metadata after 30 ms."
    );
    let large = record(&"x".repeat(75));
    assert!(matches!(
        p.send(large).await,
        Err(Error::TooLarge {
            key: "buffer.memory",
            ..
        })
    ));
    p.send(record(&"x".repeat(70))).await.unwrap();
    assert!(matches!(p.send(record("y")).await, Err(Error::Memory)));
    let wrong = Record {
        partition: Some(1),
        ..record("a")
    };
    assert!(matches!(
        p.send(wrong).await,
        Err(Error::NoSuchPartition {
            partition: 1,
            count: 1
        })
    ));
}

#[tokio::test]
async fn closing_without_patience_drops_what_is_not_sent() {
    let broker = scripted(&[]).await;
    let p = Producer::start(ProducerSettings {
        linger: Duration::from_secs(60),
        ..settings(broker.port)
    });
    let d = p.send(record("a")).await.unwrap();
    // Closing lets the batch go; with no time at all, either end is right, but there is one.
    p.close(Some(Duration::ZERO)).await;
    let _ = d.await;
    assert!(matches!(p.send(record("b")).await, Err(Error::Closed)));
}
