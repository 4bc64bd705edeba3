//! From a request to its answer: this file is the match and nothing else, each request has one free
//! function in the file of its kind.
//!
//! [`versions`] says which layout is meant; then [`produce`] and [`fetch`] (which build their own
//! replies), [`list_offsets`], [`metadata`], [`offsets`], [`groups`], and [`cluster_control`] (what
//! controllers and brokers say to each other).

mod cluster_control;
mod fetch;
mod groups;
mod list_offsets;
mod metadata;
mod offsets;
mod partitions;
mod produce;
mod request_metrics;
mod versions;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::BytesMut;

use super::quota::Hold;
use super::services::Services;
use crate::cluster::SecurityProtocol;
use crate::network::{Incoming, Reply, Response, Service, Times};
use crate::protocol::{self, ApiKey, Body};
use crate::util::codec::Reader;
use request_metrics::RequestMetrics;

/// Who asks, and what the answer must carry.
#[derive(Debug)]
pub(super) struct Caller {
    /// Comes back in the answer.
    pub(super) correlation_id: i32,
    /// As the client calls itself; empty when it does not.
    pub(super) client_id: String,
    /// The protocol of the listener that it came in on.
    pub(super) listener: SecurityProtocol,
    /// Where the client is.
    pub(super) host: IpAddr,
    /// The number of its connection.
    pub(super) connection: u64,
}

/// What becomes of a request, and how long that is held back.
#[derive(Debug)]
struct Answered {
    reply: Reply,
    hold: Hold,
}

impl From<Reply> for Answered {
    fn from(reply: Reply) -> Answered {
        let hold = Hold::none();
        Answered { reply, hold }
    }
}

/// The broker as its listeners see it.
#[derive(Debug)]
pub(super) struct Dispatch {
    services: Arc<Services>,
    metrics: RequestMetrics,
}

impl Dispatch {
    /// Answers with these services.
    pub(super) fn new(services: Arc<Services>) -> Dispatch {
        let metrics = RequestMetrics::new(&services.metrics);
        Dispatch { services, metrics }
    }
}

impl Service for Dispatch {
    async fn call(&self, request: Incoming) -> Reply {
        let header = request.header;
        // Unknown requests get silence and the connection stays, as clients of 0.9.0.1 expect.
        let Some(key) = ApiKey::from_i16(header.key) else {
            return Reply::Silence;
        };
        let Some(version) = versions::layout(key, header.version) else {
            return Reply::Silence;
        };
        let who = Caller {
            correlation_id: header.correlation_id,
            client_id: header.client_id.unwrap_or_default(),
            listener: request.listener,
            host: request.peer.ip(),
            connection: request.connection,
        };
        let tag = request_metrics::tag(key, &request.body);
        let work = answer(&self.services, &who, key, version, request.body);
        let clock = &self.services.clock;
        let (answered, now) = self.metrics.of_work(key, tag, clock, work).await;
        let Answered { reply, hold } = match answered {
            Ok(answered) => answered,
            Err(e) => return unreadable(key, header.version, &e),
        };
        self.metrics.held(key, tag, now, &hold);
        hold.over(clock).await;
        match reply {
            Reply::Frame(response) => Reply::Frame(Response { tag, ..response }),
            reply => reply,
        }
    }

    fn answered(&self, key: i16, tag: u8, times: Times) {
        if let Some(key) = ApiKey::from_i16(key) {
            self.metrics.answered(key, tag, times);
        }
    }
}

/// What 0.9.0.1 shows to who sent it: a closed connection for keys 10-16 and for a StopReplica that
/// neither keeps nor deletes; no answer for the others.
fn unreadable(key: ApiKey, version: i16, e: &protocol::Error) -> Reply {
    let closes = match key {
        ApiKey::StopReplica => matches!(e, protocol::Error::Value { .. }),
        _ => key >= ApiKey::GroupCoordinator,
    };
    if closes {
        Reply::Close(format!(
            "unreadable {} request, version {version}: {e}",
            key.name()
        ))
    } else {
        ::log::debug!("Unreadable {} request, version {version}: {e}", key.name());
        Reply::Silence
    }
}

async fn answer(
    s: &Services,
    who: &Caller,
    key: ApiKey,
    version: i16,
    body: BytesMut,
) -> protocol::Result<Answered> {
    /// Reads the body, then frames what the expression makes of it.
    macro_rules! answered {
        ($request:ident => $answer:expr) => {{
            let $request = Body::decode(&mut Reader::new(body.freeze()), version)?;
            framed(who, version, &$answer)
        }};
    }
    let reply = match key {
        ApiKey::Produce => return produce::produce(s, who, version, body).await,
        ApiKey::Fetch => return fetch::fetch(s, who, version, body).await,
        ApiKey::Offsets => answered!(r => list_offsets::list_offsets(&s.replicas, r)),
        ApiKey::LeaderAndIsr => answered!(r => cluster_control::leader_and_isr(s, who, r).await),
        ApiKey::StopReplica => answered!(r => cluster_control::stop_replica(s, who, r).await),
        ApiKey::UpdateMetadata => answered!(r => cluster_control::update_metadata(s, who, r).await),
        ApiKey::ControlledShutdown => answered!(r => cluster_control::controlled_shutdown(s, who, r).await),
        ApiKey::Metadata => answered!(r => metadata::metadata(s, who, r).await),
        ApiKey::OffsetCommit => answered!(r => offsets::offset_commit(s, version, r).await),
        ApiKey::OffsetFetch => answered!(r => offsets::offset_fetch(s, version, r).await),
        ApiKey::GroupCoordinator => answered!(r => groups::group_coordinator(s, who, r).await),
        ApiKey::JoinGroup => {
            let request = Body::decode(&mut Reader::new(body.freeze()), version)?;
            match groups::join_group(s, who, request).await {
                Some(answer) => framed(who, version, &answer),
                None => overtaken(key),
            }
        }
        ApiKey::SyncGroup => {
            let request = Body::decode(&mut Reader::new(body.freeze()), version)?;
            match groups::sync_group(s, request).await {
                Some(answer) => framed(who, version, &answer),
                None => overtaken(key),
            }
        }
        ApiKey::Heartbeat => answered!(r => groups::heartbeat(s, r)),
        ApiKey::LeaveGroup => answered!(r => groups::leave_group(s, r)),
        ApiKey::DescribeGroups => answered!(r => groups::describe_groups(s, r)),
        ApiKey::ListGroups => answered!(r => groups::list_groups(s, r)),
    };
    Ok(reply.into())
}

/// Kafka leaves the client without an answer and the connection open until one of them gives up.
fn overtaken(key: ApiKey) -> Reply {
    Reply::Close(format!(
        "its {} will not be answered: the member sent another, or is out of the group",
        key.name()
    ))
}

fn framed(who: &Caller, version: i16, body: &impl Body) -> Reply {
    Reply::Frame(Response::new(who.correlation_id, |out| body.encode(out, version)))
}
