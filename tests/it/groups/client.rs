//! A group's requests on one connection, and what the tests ask of them.

use std::time::Duration;

use bytes::Bytes;
use kafka::protocol::groups::{
    DescribeGroupsRequest, DescribedGroup, GroupAssignment, GroupCoordinatorRequest, GroupProtocol,
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest,
    SyncGroupRequest,
};
use kafka::protocol::offset_commit::{OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic};
use kafka::protocol::offset_fetch::{OffsetFetchRequest, OffsetFetchTopic};
use kafka::util::codec::Reader;

use crate::support::wait_for;
use crate::support::wire::Wire;

/// How long anything may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A connection that speaks of groups.
pub struct Client {
    pub wire: Wire,
}

impl Client {
    #[track_caller]
    pub fn connect(port: u16) -> Client {
        Client {
            wire: wait_for("the broker takes a connection", LIMIT, || {
                Wire::connect(port, LIMIT).ok()
            }),
        }
    }

    /// Error, and the coordinator's id and port.
    pub fn coordinator(&mut self, group: &str) -> Result<(i16, i32, i32), String> {
        let request = GroupCoordinatorRequest {
            group_id: group.to_owned(),
        };
        let answer = self.wire.call(&request, 0)?;
        Ok((answer.error, answer.node_id, answer.port))
    }

    /// Sends a join and does not wait.
    pub fn send_join(&mut self, group: &str, member: &str, timeout_ms: i32, protocols: &[(&str, &str)]) {
        let request = JoinGroupRequest {
            group_id: group.to_owned(),
            session_timeout_ms: timeout_ms,
            member_id: member.to_owned(),
            protocol_type: "consumer".to_owned(),
            protocols: protocols
                .iter()
                .map(|(name, metadata)| GroupProtocol {
                    name: (*name).to_owned(),
                    metadata: Bytes::copy_from_slice(metadata.as_bytes()),
                })
                .collect(),
        };
        self.wire.send(&request, 0).unwrap();
    }

    /// The answer to a join.
    pub fn joined(&mut self) -> JoinGroupResponse {
        let mut r = Reader::new(self.wire.read_frame().unwrap());
        r.i32().unwrap();
        kafka::protocol::Body::decode(&mut r, 0).unwrap()
    }

    /// Joins with the protocol `range`.
    pub fn join(&mut self, group: &str, member: &str) -> JoinGroupResponse {
        self.send_join(group, member, 30_000, &[("range", "x")]);
        self.joined()
    }

    /// Error and share.
    pub fn sync(
        &mut self,
        group: &str,
        member: &str,
        generation: i32,
        shares: &[(&str, &str)],
    ) -> (i16, String) {
        let request = SyncGroupRequest {
            group_id: group.to_owned(),
            generation_id: generation,
            member_id: member.to_owned(),
            assignments: shares
                .iter()
                .map(|(id, share)| GroupAssignment {
                    member_id: (*id).to_owned(),
                    assignment: Bytes::copy_from_slice(share.as_bytes()),
                })
                .collect(),
        };
        let answer = self.wire.call(&request, 0).unwrap();
        let share = String::from_utf8(answer.assignment.to_vec()).unwrap();
        (answer.error, share)
    }

    pub fn heartbeat(&mut self, group: &str, member: &str, generation: i32) -> i16 {
        let request = HeartbeatRequest {
            group_id: group.to_owned(),
            generation_id: generation,
            member_id: member.to_owned(),
        };
        self.wire.call(&request, 0).unwrap().error
    }

    pub fn leave(&mut self, group: &str, member: &str) -> i16 {
        let request = LeaveGroupRequest {
            group_id: group.to_owned(),
            member_id: member.to_owned(),
        };
        self.wire.call(&request, 0).unwrap().error
    }

    /// The groups with members here, with the error beside them.
    pub fn list(&mut self) -> (i16, Vec<(String, String)>) {
        let answer = self.wire.call(&ListGroupsRequest {}, 0).unwrap();
        let groups = answer.groups.into_iter().map(|g| (g.group_id, g.protocol_type));
        (answer.error, groups.collect())
    }

    pub fn describe(&mut self, group: &str) -> Result<DescribedGroup, String> {
        let request = DescribeGroupsRequest {
            group_ids: vec![group.to_owned()],
        };
        Ok(self.wire.call(&request, 0)?.groups.remove(0))
    }

    /// Commits and returns the errors of the partitions, in the order of the answer.
    pub fn commit(&mut self, version: i16, request: &OffsetCommitRequest) -> Vec<i16> {
        let answer = self.wire.call(request, version).unwrap();
        let topics = answer.topics.into_iter().flat_map(|t| t.partitions);
        topics.map(|p| p.error).collect()
    }

    /// Offset, metadata and error of one partition.
    pub fn fetch(&mut self, version: i16, group: &str, topic: &str, partition: i32) -> (i64, String, i16) {
        let request = OffsetFetchRequest {
            group_id: group.to_owned(),
            topics: vec![OffsetFetchTopic {
                topic: topic.to_owned(),
                partitions: vec![partition],
            }],
        };
        let mut answer = self.wire.call(&request, version).unwrap();
        let p = answer.topics.remove(0).partitions.remove(0);
        (p.offset, p.metadata.unwrap_or_default(), p.error)
    }

    /// All offsets of a group.
    pub fn fetch_all(&mut self, group: &str) -> Vec<(String, i32, i64)> {
        let request = OffsetFetchRequest {
            group_id: group.to_owned(),
            topics: Vec::new(),
        };
        let answer = self.wire.call(&request, 1).unwrap();
        let topics = answer.topics.into_iter();
        let mut all: Vec<_> = topics
            .flat_map(|t| {
                let of = move |p: kafka::protocol::offset_fetch::OffsetFetchPartitionResult| {
                    (t.topic.clone(), p.partition, p.offset)
                };
                t.partitions.into_iter().map(of)
            })
            .collect();
        all.sort();
        all
    }
}

/// Waits until a group has a coordinator, and returns its id and port.
#[track_caller]
pub fn wait_coordinator(port: u16, group: &str) -> (i32, u16) {
    wait_for(&format!("{group} has a coordinator"), LIMIT, || {
        let mut client = Client {
            wire: Wire::connect(port, Duration::from_secs(5)).ok()?,
        };
        match client.coordinator(group).ok()? {
            (0, id, port) => Some((id, u16::try_from(port).unwrap())),
            _ => None,
        }
    })
}

/// A commit of one offset of `topic` by somebody without a group's membership.
pub fn simple_commit(group: &str, topic: &str, partition: i32, offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id: -1,
        member_id: String::new(),
        retention_time_ms: -1,
        topics: vec![OffsetCommitTopic {
            topic: topic.to_owned(),
            partitions: vec![OffsetCommitPartition {
                partition,
                offset,
                timestamp: -1,
                metadata: Some(format!("at {offset}")),
            }],
        }],
    }
}
