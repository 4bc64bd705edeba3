//! Fetch. The answer's messages go from file to socket; only what stands between them is built here.
//!
//! ```text
//! [throttle_time_ms:i32 (version 1)]
//! [topic:str [partition:i32 error:i16 high_watermark:i64 size:i32 <slice of a segment file>]]
//! ```

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};

use super::partitions::each_once;
use super::produce::count;
use super::{Answered, Caller};
use crate::cluster::TopicPartition;
use crate::network::{Reply, ResponseBuilder};
use crate::protocol::fetch::FetchRequest;
use crate::protocol::{self, Body, ErrorCode};
use crate::replica::{self, Fetch, Read, Reader, Wish};
use crate::server::error_codes;
use crate::server::quota::Hold;
use crate::server::services::Services;
use crate::util::codec::{self, put_short_string};

/// Where version 1 has the throttle time: behind the frame's size and the correlation id.
const THROTTLE_TIME: Range<usize> = 8..12;

/// Fetch, versions 0 and 1.
///
/// # Errors
/// If the body cannot be read.
pub(super) async fn fetch(
    s: &Services,
    who: &Caller,
    version: i16,
    body: BytesMut,
) -> protocol::Result<Answered> {
    let body_length = body.len();
    let request = FetchRequest::decode(&mut codec::Reader::new(body.freeze()), version)?;
    let mut wanted = Vec::new();
    for topic in request.topics {
        let name: Arc<str> = topic.topic.into();
        let of = |p: &protocol::fetch::FetchPartition| {
            let id = TopicPartition::new(name.clone(), p.partition);
            (id, (p.fetch_offset, p.max_bytes))
        };
        wanted.extend(topic.partitions.iter().map(of));
    }
    let wish = |(partition, (offset, max_bytes))| Wish {
        partition,
        offset,
        max_bytes,
    };
    let wishes: Vec<_> = each_once(wanted).into_iter().map(wish).collect();
    // The answer repeats the request's names and adds 14 bytes for each partition, which takes 16
    // there: that, and some more, must remain for what is not messages.
    let limit = (i32::MAX as usize).saturating_sub(2 * body_length + 1024);
    let fetch = Fetch {
        reader: Reader::from_replica_id(request.replica_id),
        connection: who.connection,
        max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
        min_bytes: request.min_bytes,
        limit,
    };
    let reader = fetch.reader;
    let reads = s.replicas.fetch(fetch, &wishes).await;
    let mut answer = ResponseBuilder::new(who.correlation_id, 2 * body_length + 16);
    encode(&mut answer, version, &wishes, reads);
    let hold = match reader {
        Reader::Follower(_) => Hold::none(),
        _ => s.quotas.fetch.record(&who.client_id, answer.size()),
    };
    if version >= 1 {
        answer.bytes()[THROTTLE_TIME].copy_from_slice(&hold.ms().to_be_bytes());
    }
    let reply = Reply::Frame(answer.finish());
    Ok(Answered { reply, hold })
}

/// The throttle time is left 0: it follows from the size of what is written here.
fn encode(answer: &mut ResponseBuilder, version: i16, wishes: &[Wish], reads: Vec<replica::Result<Read>>) {
    let same_topic = |a: &Wish, b: &Wish| a.partition.topic == b.partition.topic;
    if version >= 1 {
        answer.bytes().put_i32(0);
    }
    answer.bytes().put_i32(count(wishes.chunk_by(same_topic).count()));
    let mut reads = reads.into_iter();
    for topic in wishes.chunk_by(same_topic) {
        put_short_string(answer.bytes(), Some(&topic[0].partition.topic));
        answer.bytes().put_i32(count(topic.len()));
        for (wish, read) in topic.iter().zip(&mut reads) {
            let (code, high_watermark, slice) = match read {
                Ok(read) => (ErrorCode::NONE, read.high_watermark, read.fetched.slice),
                Err(e) => (error_codes::of_replica(&e), -1, None),
            };
            let out = answer.bytes();
            out.put_i32(wish.partition.partition);
            out.put_i16(code.0);
            out.put_i64(high_watermark);
            out.put_i32(count(slice.as_ref().map_or(0, |s| s.len)));
            if let Some(slice) = slice {
                answer.file(slice);
            }
        }
    }
}
