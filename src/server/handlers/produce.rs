//! Produce. Answered once the sets are as safe as `acks` asks; for acks 0 there is no answer, and an
//! error closes the connection, as nothing else would tell the client. Either way what follows on the connection
//! waits as long as the client's quota says.

use std::sync::Arc;
use std::time::Duration;

use ::log::info;
use bytes::{BufMut, BytesMut};

use super::partitions::each_once;
use super::{Answered, Caller};
use crate::cluster::TopicPartition;
use crate::log::Appended;
use crate::network::{Reply, Response};
use crate::protocol::produce::ProduceRequest;
use crate::protocol::{self, ErrorCode};
use crate::replica;
use crate::server::error_codes;
use crate::server::services::Services;
use crate::util::codec::put_short_string;

/// The client id that the broker's own tools use, and that alone may write internal topics.
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// What a quota counts of a request besides the client id and the body: version, correlation id and the id's
/// length. Size and key of the frame do not count.
const HEADER: usize = 8;

/// Produce, versions 0 and 1.
///
/// # Errors
/// If the body cannot be read; nothing was appended then.
pub(super) async fn produce(
    s: &Services,
    who: &Caller,
    version: i16,
    body: BytesMut,
) -> protocol::Result<Answered> {
    let size = HEADER + who.client_id.len() + body.len();
    let request = ProduceRequest::decode_owned(body)?;
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let mut sets = Vec::new();
    for topic in request.topics {
        let name: Arc<str> = topic.topic.into();
        let of = |(partition, set)| (TopicPartition::new(name.clone(), partition), set);
        sets.extend(topic.partitions.into_iter().map(of));
    }
    let allow_internal = who.client_id == ADMIN_CLIENT_ID;
    let results = s
        .replicas
        .append(request.acks, timeout, each_once(sets), allow_internal)
        .await;
    // All of the request counts, whatever became of its sets.
    let hold = s.quotas.produce.record(&who.client_id, size);
    let reply = if request.acks == 0 {
        without_answer(who, &results)
    } else {
        Reply::Frame(Response::new(who.correlation_id, |out| {
            encode(out, version, &results, hold.ms());
        }))
    };
    Ok(Answered { reply, hold })
}

fn without_answer(who: &Caller, results: &[(TopicPartition, replica::Result<Appended>)]) -> Reply {
    let failed = results.iter().filter_map(|(id, result)| {
        let error = result.as_ref().err()?;
        Some(format!("{id} -> {}", error_codes::of_replica(error)))
    });
    let failed: Vec<_> = failed.collect();
    if failed.is_empty() {
        return Reply::Nothing;
    }
    info!(
        "Closing connection due to error during produce request with correlation id {} from client id {} with ack=0\nTopic and partition to exceptions: {}",
        who.correlation_id,
        who.client_id,
        failed.join(", ")
    );
    Reply::Close("a produce request with acks=0 failed".to_owned())
}

fn encode(
    out: &mut BytesMut,
    version: i16,
    results: &[(TopicPartition, replica::Result<Appended>)],
    throttle_ms: i32,
) {
    let same_topic = |a: &(TopicPartition, _), b: &(TopicPartition, _)| a.0.topic == b.0.topic;
    out.put_i32(count(results.chunk_by(same_topic).count()));
    for topic in results.chunk_by(same_topic) {
        put_short_string(out, Some(&topic[0].0.topic));
        out.put_i32(count(topic.len()));
        for (id, result) in topic {
            let (code, base) = match result {
                Ok(appended) => (ErrorCode::NONE, appended.first),
                Err(e @ replica::Error::AfterAppend { base, .. }) => (error_codes::of_replica(e), *base),
                Err(e) => (error_codes::of_replica(e), -1),
            };
            out.put_i32(id.partition);
            out.put_i16(code.0);
            out.put_i64(base);
        }
    }
    if version >= 1 {
        out.put_i32(throttle_ms);
    }
}

/// As the wire counts. Never more than the request's own count, which was one.
pub(super) fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
