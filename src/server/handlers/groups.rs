//! Consumer groups: from the wire to the coordinator and back. Decides nothing but who coordinates.

use std::collections::BTreeSet;
use std::net::IpAddr;

use bytes::Bytes;

use super::{Caller, metadata};
use crate::cluster::topic::OFFSETS_TOPIC;
use crate::coordinator::{Description, Join, Joined, Protocol, Sync};
use crate::protocol::ErrorCode;
use crate::protocol::groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedMember, ErrorOnlyResponse,
    GroupCoordinatorRequest, GroupCoordinatorResponse, HeartbeatRequest, JoinGroupMember, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, ListGroupsResponse, ListedGroup,
    SyncGroupRequest, SyncGroupResponse,
};
use crate::server::error_codes::{of_group, of_sync};
use crate::server::services::Services;
use crate::util::random;

/// A member's id is its client's with a UUID behind; both together must fit the wire.
const CLIENT_ID_IN_MEMBER_ID: usize = 32_767 - 37;

/// Who coordinates a group: the leader of its partition of the offsets topic, which is made by the first
/// question.
pub(super) async fn group_coordinator(
    s: &Services,
    who: &Caller,
    request: GroupCoordinatorRequest,
) -> GroupCoordinatorResponse {
    let image = s.metadata.snapshot();
    let topic = image.topics.get(OFFSETS_TOPIC);
    if topic.is_none() {
        // Made or not, it has no leader that this broker knows of.
        metadata::unknown(s, &image, OFFSETS_TOPIC).await;
    }
    let found = s.coordinator.partition_for(&request.group_id).and_then(|p| {
        let state = topic?.get(&p)?;
        let broker = image.brokers.get(&state.leader_and_isr.leader)?;
        Some((broker.id, broker.endpoint(who.listener)?))
    });
    match found {
        Some((id, endpoint)) => GroupCoordinatorResponse {
            error: ErrorCode::NONE.0,
            node_id: id.0,
            host: endpoint.host.clone(),
            port: endpoint.port,
        },
        None => GroupCoordinatorResponse {
            error: ErrorCode::GROUP_COORDINATOR_NOT_AVAILABLE.0,
            node_id: -1,
            host: String::new(),
            port: -1,
        },
    }
}

/// Lets a member in, when its group has rebalanced. `None` if there is to be no answer.
pub(super) async fn join_group(
    s: &Services,
    who: &Caller,
    request: JoinGroupRequest,
) -> Option<JoinGroupResponse> {
    let member_id = request.member_id.clone();
    let protocols = request.protocols.into_iter().map(|p| Protocol {
        name: p.name,
        metadata: p.metadata,
    });
    let join = Join {
        group: request.group_id,
        member_id: request.member_id,
        new_member_id: new_member_id(&who.client_id),
        client_id: who.client_id.clone(),
        client_host: java_address(who.host),
        session_timeout_ms: request.session_timeout_ms,
        protocol_type: request.protocol_type,
        protocols: protocols.collect(),
    };
    Some(match s.coordinator.join_group(join).await? {
        Ok(joined) => let_in(joined),
        Err(e) => JoinGroupResponse {
            error: of_group(e).0,
            generation_id: 0,
            protocol: String::new(),
            leader_id: String::new(),
            member_id,
            members: Vec::new(),
        },
    })
}

fn let_in(joined: Joined) -> JoinGroupResponse {
    let member = |(id, metadata): (std::sync::Arc<str>, Bytes)| JoinGroupMember {
        member_id: id.to_string(),
        metadata,
    };
    JoinGroupResponse {
        error: ErrorCode::NONE.0,
        generation_id: joined.generation,
        protocol: joined.protocol,
        leader_id: joined.leader_id.to_string(),
        member_id: joined.member_id.to_string(),
        members: joined.members.into_iter().map(member).collect(),
    }
}

fn new_member_id(client_id: &str) -> String {
    let shown = &client_id[..client_id.floor_char_boundary(CLIENT_ID_IN_MEMBER_ID)];
    format!("{shown}-{}", random::uuid())
}

/// As `InetAddress.toString` prints an address that no name was looked up for.
fn java_address(host: IpAddr) -> String {
    match host {
        IpAddr::V4(v4) => format!("/{v4}"),
        IpAddr::V6(v6) => {
            let groups = v6.segments().map(|group| format!("{group:x}"));
            format!("/{}", groups.join(":"))
        }
    }
}

/// Gives a member its share, when the leader has shared out. `None` if there is to be no answer.
pub(super) async fn sync_group(s: &Services, request: SyncGroupRequest) -> Option<SyncGroupResponse> {
    let assignment = request.assignments.into_iter();
    let sync = Sync {
        group: request.group_id,
        generation: request.generation_id,
        member_id: request.member_id,
        assignment: assignment.map(|a| (a.member_id, a.assignment)).collect(),
    };
    let (error, assignment) = match s.coordinator.sync_group(sync).await? {
        Ok(share) => (ErrorCode::NONE, share),
        Err(e) => (of_sync(e), Bytes::new()),
    };
    Some(SyncGroupResponse {
        error: error.0,
        assignment,
    })
}

/// Takes a sign of life. Never waits.
pub(super) fn heartbeat(s: &Services, request: HeartbeatRequest) -> ErrorOnlyResponse {
    let (group, member) = (&request.group_id, &request.member_id);
    let taken = s.coordinator.heartbeat(group, member, request.generation_id);
    only(taken.map_or_else(of_group, |()| ErrorCode::NONE))
}

/// Lets a member go. Never waits.
pub(super) fn leave_group(s: &Services, request: LeaveGroupRequest) -> ErrorOnlyResponse {
    let left = s.coordinator.leave_group(&request.group_id, &request.member_id);
    only(left.map_or_else(of_group, |()| ErrorCode::NONE))
}

fn only(error: ErrorCode) -> ErrorOnlyResponse {
    ErrorOnlyResponse { error: error.0 }
}

/// How each group stands; one that is named twice is told once.
pub(super) fn describe_groups(s: &Services, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let names: BTreeSet<String> = request.group_ids.into_iter().collect();
    DescribeGroupsResponse {
        groups: names.into_iter().map(|name| describe_group(s, name)).collect(),
    }
}

fn describe_group(s: &Services, group_id: String) -> DescribedGroup {
    let (error, state, described) = match s.coordinator.describe_group(&group_id) {
        Ok(d) => (ErrorCode::NONE, d.state.to_string(), d),
        Err(e) => (of_group(e), String::new(), Description::dead()),
    };
    let members = described.members.into_iter().map(|m| DescribedMember {
        member_id: m.id.to_string(),
        client_id: m.client_id,
        client_host: m.client_host,
        metadata: m.metadata,
        assignment: m.assignment,
    });
    DescribedGroup {
        error: error.0,
        group_id,
        state,
        protocol_type: described.protocol_type,
        protocol: described.protocol,
        members: members.collect(),
    }
}

/// The groups with members that are here; with an error beside them if not all may be known yet.
pub(super) fn list_groups(s: &Services, _: ListGroupsRequest) -> ListGroupsResponse {
    let (error, groups) = match s.coordinator.list_groups() {
        Ok(list) if list.incomplete => (ErrorCode::GROUP_LOAD_IN_PROGRESS, list.groups),
        Ok(list) => (ErrorCode::NONE, list.groups),
        Err(e) => (of_group(e), Vec::new()),
    };
    let listed = groups.into_iter().map(|(id, protocol_type)| ListedGroup {
        group_id: id.to_string(),
        protocol_type,
    });
    ListGroupsResponse {
        error: error.0,
        groups: listed.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_printed_as_java_prints_them() {
        let shown = |text: &str| java_address(text.parse().unwrap());
        assert_eq!(shown("127.0.0.1"), "/127.0.0.1");
        assert_eq!(shown("::1"), "/0:0:0:0:0:0:0:1");
        assert_eq!(shown("2001:db8::ff00:42:8329"), "/2001:db8:0:0:0:ff00:42:8329");
    }

    #[test]
    fn member_ids_fit_the_wire_whatever_the_client_calls_itself() {
        assert!(new_member_id("consumer-1").starts_with("consumer-1-"));
        assert_eq!(new_member_id("c").len(), 38);
        let longest = new_member_id(&"é".repeat(16_383));
        assert!(longest.len() <= 32_767, "{}", longest.len());
    }
}
