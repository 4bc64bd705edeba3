//! Consumer groups: this broker coordinates none, and says so in each answer's own way.
//!
//! A client that looks for its coordinator is told that there is none for now (15), and asks again.
//! ListGroups answers that there are no groups, which is true, and which tells clients that probe
//! for a broker's age that this one speaks 0.9.

use crate::protocol::ErrorCode;
use crate::protocol::groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, ErrorOnlyResponse,
    GroupCoordinatorRequest, GroupCoordinatorResponse, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, ListGroupsRequest, ListGroupsResponse, SyncGroupRequest, SyncGroupResponse,
};

const NO_COORDINATOR: i16 = ErrorCode::GROUP_COORDINATOR_NOT_AVAILABLE.0;

/// Who coordinates a group: nobody.
pub(super) fn group_coordinator(_: GroupCoordinatorRequest) -> GroupCoordinatorResponse {
    GroupCoordinatorResponse {
        error: NO_COORDINATOR,
        node_id: -1,
        host: String::new(),
        port: -1,
    }
}

/// Nobody can be let in; the member keeps its id.
pub(super) fn join_group(request: JoinGroupRequest) -> JoinGroupResponse {
    JoinGroupResponse {
        error: NO_COORDINATOR,
        generation_id: 0,
        protocol: String::new(),
        leader_id: String::new(),
        member_id: request.member_id,
        members: Vec::new(),
    }
}

/// Nobody has a share.
pub(super) fn sync_group(_: SyncGroupRequest) -> SyncGroupResponse {
    SyncGroupResponse {
        error: NO_COORDINATOR,
        assignment: bytes::Bytes::new(),
    }
}

/// Nobody's life is watched.
pub(super) fn heartbeat(_: HeartbeatRequest) -> ErrorOnlyResponse {
    ErrorOnlyResponse {
        error: NO_COORDINATOR,
    }
}

/// Nobody was in.
pub(super) fn leave_group(_: LeaveGroupRequest) -> ErrorOnlyResponse {
    ErrorOnlyResponse {
        error: NO_COORDINATOR,
    }
}

/// Each group asked for, with the error and nothing else.
pub(super) fn describe_groups(request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let group = |group_id| DescribedGroup {
        error: NO_COORDINATOR,
        group_id,
        state: String::new(),
        protocol_type: String::new(),
        protocol: String::new(),
        members: Vec::new(),
    };
    DescribeGroupsResponse {
        groups: request.group_ids.into_iter().map(group).collect(),
    }
}

/// None.
pub(super) fn list_groups(_: ListGroupsRequest) -> ListGroupsResponse {
    ListGroupsResponse {
        error: ErrorCode::NONE.0,
        groups: Vec::new(),
    }
}
