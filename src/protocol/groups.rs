//! The requests of consumer groups (keys 10 to 16), all in version 0.

use bytes::Bytes;

use super::wire::{body, fields, request};

fields! {
    /// Who coordinates a group?
    GroupCoordinatorRequest {
        /// The group.
        group_id: String,
    }
    /// The answer; node -1, host empty and port -1 with an error.
    GroupCoordinatorResponse {
        /// An [`ErrorCode`](super::ErrorCode).
        error: i16,
        /// The coordinator.
        node_id: i32,
        /// Its address.
        host: String,
        /// Its address.
        port: i32,
    }

    /// Let me in, or let me stay.
    JoinGroupRequest {
        /// The group.
        group_id: String,
        /// Without a sign of life for so many milliseconds the member is out.
        session_timeout_ms: i32,
        /// Empty for a new member.
        member_id: String,
        /// Such as `consumer`.
        protocol_type: String,
        /// In order of preference.
        protocols: Vec<GroupProtocol>,
    }
    /// One way to assign, with the member's metadata for it.
    GroupProtocol {
        /// Such as `range`.
        name: String,
        /// Opaque to the broker.
        metadata: Bytes,
    }
    /// The answer; members only for the leader.
    JoinGroupResponse {
        /// An [`ErrorCode`](super::ErrorCode).
        error: i16,
        /// Counts rebalances.
        generation_id: i32,
        /// The protocol chosen.
        protocol: String,
        /// The leader's member id.
        leader_id: String,
        /// The asker's member id.
        member_id: String,
        /// All members, for the leader.
        members: Vec<JoinGroupMember>,
    }
    /// One member.
    JoinGroupMember {
        /// Its id.
        member_id: String,
        /// Its metadata for the protocol chosen.
        metadata: Bytes,
    }

    /// I live.
    HeartbeatRequest {
        /// The group.
        group_id: String,
        /// The generation it thinks it is in.
        generation_id: i32,
        /// The member.
        member_id: String,
    }
    /// An answer that is just a code.
    ErrorOnlyResponse {
        /// An [`ErrorCode`](super::ErrorCode).
        error: i16,
    }

    /// I go.
    LeaveGroupRequest {
        /// The group.
        group_id: String,
        /// The member.
        member_id: String,
    }

    /// What is mine? The leader brings the answer for all.
    SyncGroupRequest {
        /// The group.
        group_id: String,
        /// The generation.
        generation_id: i32,
        /// The member.
        member_id: String,
        /// From the leader only.
        assignments: Vec<GroupAssignment>,
    }
    /// One member's share.
    GroupAssignment {
        /// The member.
        member_id: String,
        /// Opaque to the broker.
        assignment: Bytes,
    }
    /// The answer.
    SyncGroupResponse {
        /// An [`ErrorCode`](super::ErrorCode).
        error: i16,
        /// The asker's share; empty with an error.
        assignment: Bytes,
    }

    /// How do these groups stand?
    DescribeGroupsRequest {
        /// Which.
        group_ids: Vec<String>,
    }
    /// The answer.
    DescribeGroupsResponse {
        /// One each, in no promised order.
        groups: Vec<DescribedGroup>,
    }
    /// One group.
    DescribedGroup {
        /// An [`ErrorCode`](super::ErrorCode).
        error: i16,
        /// The group.
        group_id: String,
        /// `Stable`, `PreparingRebalance`, `AwaitingSync` or `Dead`.
        state: String,
        /// Such as `consumer`.
        protocol_type: String,
        /// The protocol in force; empty unless stable.
        protocol: String,
        /// Its members.
        members: Vec<DescribedMember>,
    }
    /// One member.
    DescribedMember {
        /// Its id.
        member_id: String,
        /// Its client id.
        client_id: String,
        /// Its address, such as `/127.0.0.1`.
        client_host: String,
        /// Its metadata; empty unless stable.
        metadata: Bytes,
        /// Its share; empty unless stable.
        assignment: Bytes,
    }

    /// Which groups are here?
    ListGroupsRequest {}
    /// The answer.
    ListGroupsResponse {
        /// An [`ErrorCode`](super::ErrorCode).
        error: i16,
        /// Groups with members on this broker.
        groups: Vec<ListedGroup>,
    }
    /// One group.
    ListedGroup {
        /// The group.
        group_id: String,
        /// Such as `consumer`.
        protocol_type: String,
    }
}
body!(GroupCoordinatorRequest, Java);
body!(GroupCoordinatorResponse, Java);
body!(JoinGroupRequest, Java);
body!(JoinGroupResponse, Java);
body!(HeartbeatRequest, Java);
body!(ErrorOnlyResponse, Java);
body!(LeaveGroupRequest, Java);
body!(SyncGroupRequest, Java);
body!(SyncGroupResponse, Java);
body!(DescribeGroupsRequest, Java);
body!(DescribeGroupsResponse, Java);
body!(ListGroupsRequest, Java);
body!(ListGroupsResponse, Java);
request!(GroupCoordinatorRequest => GroupCoordinatorResponse, GroupCoordinator);
request!(JoinGroupRequest => JoinGroupResponse, JoinGroup);
request!(HeartbeatRequest => ErrorOnlyResponse, Heartbeat);
request!(LeaveGroupRequest => ErrorOnlyResponse, LeaveGroup);
request!(SyncGroupRequest => SyncGroupResponse, SyncGroup);
request!(DescribeGroupsRequest => DescribeGroupsResponse, DescribeGroups);
request!(ListGroupsRequest => ListGroupsResponse, ListGroups);
