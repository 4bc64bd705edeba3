//! A small blocking client that speaks frames and nothing more, so that a test sees what the broker
//! really answers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use kafka::message::{Codec, Message, SetBuilder, flatten};
use kafka::protocol::{Body, Request, fetch, frame_request, list_offsets, metadata, produce};
use kafka::util::codec::Reader;

/// One connection.
pub struct Wire {
    stream: TcpStream,
    correlation: i32,
    client_id: String,
}

type Outcome<T> = Result<T, String>;

impl Wire {
    /// Connects, with a limit on every later wait.
    pub fn connect(port: u16, limit: Duration) -> Outcome<Wire> {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let stream = TcpStream::connect_timeout(&address, limit).map_err(|e| e.to_string())?;
        stream.set_read_timeout(Some(limit)).map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        Ok(Wire {
            stream,
            correlation: 0,
            client_id: "test".to_owned(),
        })
    }

    /// Calls itself so from now on.
    pub fn calling_itself(self, client_id: String) -> Wire {
        Wire { client_id, ..self }
    }

    /// Sends a request without waiting.
    pub fn send<R: Request>(&mut self, request: &R, version: i16) -> Outcome<()> {
        self.correlation += 1;
        let frame = frame_request(request, version, self.correlation, Some(&self.client_id));
        self.stream.write_all(&frame).map_err(|e| e.to_string())
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.stream.write_all(bytes).map_err(|e| e.to_string())
    }

    /// Reads one frame without its size.
    pub fn read_frame(&mut self) -> Outcome<Bytes> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).map_err(|e| e.to_string())?;
        let size = usize::try_from(i32::from_be_bytes(size)).map_err(|e| e.to_string())?;
        let mut frame = vec![0; size];
        self.stream.read_exact(&mut frame).map_err(|e| e.to_string())?;
        Ok(frame.into())
    }

    /// Sends a request and reads its answer.
    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> Outcome<R::Response> {
        self.send(request, version)?;
        let mut r = Reader::new(self.read_frame()?);
        let correlation = r.i32().map_err(|e| e.to_string())?;
        if correlation != self.correlation {
            return Err(format!(
                "answer to {correlation} where {} was asked",
                self.correlation
            ));
        }
        R::Response::decode(&mut r, version).map_err(|e| e.to_string())
    }

    /// The metadata of these topics; none for all.
    pub fn metadata(&mut self, topics: &[&str]) -> Outcome<metadata::MetadataResponse> {
        let topics = topics.iter().map(|t| (*t).to_owned()).collect();
        self.call(&metadata::MetadataRequest { topics }, 0)
    }

    /// Produces one message set; the error code and base offset.
    pub fn produce(&mut self, topic: &str, partition: i32, records: Bytes, acks: i16) -> Outcome<(i16, i64)> {
        let answer = self.call(&produce_request(topic, partition, records, acks), 1)?;
        let result = &answer.topics[0].partitions[0];
        Ok((result.error, result.base_offset))
    }

    /// Fetches one partition; the error code, high watermark and bytes.
    pub fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_wait_ms: i32,
    ) -> Outcome<(i16, i64, Bytes)> {
        self.fetch_with(topic, partition, offset, max_wait_ms, -1)
    }

    /// As [`Wire::fetch`] without waiting, as another than a consumer: -2 a tool that any replica answers.
    pub fn fetch_as(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        replica_id: i32,
    ) -> Outcome<(i16, i64, Bytes)> {
        self.fetch_with(topic, partition, offset, 0, replica_id)
    }

    fn fetch_with(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_wait_ms: i32,
        replica_id: i32,
    ) -> Outcome<(i16, i64, Bytes)> {
        let wish = fetch::FetchPartition {
            partition,
            fetch_offset: offset,
            max_bytes: 1 << 20,
        };
        let topics = vec![fetch::FetchTopic {
            topic: topic.to_owned(),
            partitions: vec![wish],
        }];
        let request = fetch::FetchRequest {
            replica_id,
            max_wait_ms,
            min_bytes: 1,
            topics,
        };
        let mut answer = self.call(&request, 1)?;
        let result = answer.topics.remove(0).partitions.remove(0);
        Ok((result.error, result.high_watermark, result.records))
    }

    /// All messages of a partition from `offset` up to the high watermark.
    pub fn read_all(&mut self, topic: &str, partition: i32, mut offset: i64) -> Outcome<Vec<Message>> {
        let mut all = Vec::new();
        loop {
            let (error, high_watermark, records) = self.fetch(topic, partition, offset, 0)?;
            if error != 0 {
                return Err(format!("fetch at {offset} was answered with error {error}"));
            }
            let messages = flatten(&records, true).map_err(|e| e.to_string())?;
            let fresh: Vec<_> = messages.into_iter().filter(|m| m.offset >= offset).collect();
            match fresh.last() {
                Some(last) => offset = last.offset + 1,
                None if offset >= high_watermark => return Ok(all),
                None => {
                    return Err(format!(
                        "nothing at {offset} below the high watermark {high_watermark}"
                    ));
                }
            }
            all.extend(fresh);
        }
    }

    /// The offsets of that time (-1 latest, -2 earliest), at most one.
    pub fn offset_at(&mut self, topic: &str, partition: i32, timestamp: i64) -> Outcome<Vec<i64>> {
        let wish = list_offsets::ListOffsetsPartition {
            partition,
            timestamp,
            max_offsets: 1,
        };
        let topics = vec![list_offsets::ListOffsetsTopic {
            topic: topic.to_owned(),
            partitions: vec![wish],
        }];
        let mut answer = self.call(
            &list_offsets::ListOffsetsRequest {
                replica_id: -1,
                topics,
            },
            0,
        )?;
        Ok(answer.topics.remove(0).partitions.remove(0).offsets)
    }
}

/// A produce request for one partition.
pub fn produce_request(topic: &str, partition: i32, records: Bytes, acks: i16) -> produce::ProduceRequest {
    let partitions = vec![produce::ProducePartition { partition, records }];
    let topics = vec![produce::ProduceTopic {
        topic: topic.to_owned(),
        partitions,
    }];
    produce::ProduceRequest {
        acks,
        timeout_ms: 10_000,
        topics,
    }
}

/// A message set of these values, without keys.
pub fn set(codec: Codec, values: &[&[u8]]) -> Bytes {
    let mut builder = SetBuilder::new(codec, 1 << 20);
    for value in values {
        assert!(builder.append(None, Some(value)), "the set is full");
    }
    builder.finish()
}

/// The leaders of a topic's partitions, once every one has one; asks again until then.
#[track_caller]
pub fn wait_leaders(port: u16, topic: &str, limit: Duration) -> BTreeMap<i32, i32> {
    super::wait_for(&format!("{topic} has leaders"), limit, || {
        let answer = Wire::connect(port, Duration::from_secs(5))
            .ok()?
            .metadata(&[topic])
            .ok()?;
        let partitions = &answer.topics.first()?.partitions;
        let all = !partitions.is_empty() && partitions.iter().all(|p| p.leader >= 0);
        all.then(|| partitions.iter().map(|p| (p.partition, p.leader)).collect())
    })
}
